//! Refused handshakes: all are counted, the first of each period are logged.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use chord_core::time::Micros;

use crate::clock;

/// Lines logged in one period: who floods us must not fill the disk with it.
const LINES_MAX: u64 = 32;
/// Length of a period.
const PERIOD: Micros = Micros::from_secs(10);

/// Counts and logs.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    count: AtomicU64,
    period: AtomicU64,
    lines: AtomicU64,
}

impl Refusals {
    /// One more refused handshake.
    pub(super) fn note(&self, peer: SocketAddr, reason: &dyn Display) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let period = clock::mono().0 / PERIOD.0;
        if self.period.swap(period, Ordering::Relaxed) != period {
            let silent = self
                .lines
                .swap(0, Ordering::Relaxed)
                .saturating_sub(LINES_MAX);
            if silent > 0 {
                tracing::warn!(
                    handshakes = silent,
                    "more handshakes were refused than logged"
                );
            }
        }
        if self.lines.fetch_add(1, Ordering::Relaxed) < LINES_MAX {
            tracing::warn!(%peer, %reason, "handshake refused");
        }
    }

    /// How many since the start.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
