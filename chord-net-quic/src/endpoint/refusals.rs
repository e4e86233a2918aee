//! Handshakes of others that we refused: all are counted, the first of each period logged.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;
use crate::lines::Lines;

/// Counts and logs.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    count: AtomicU64,
    lines: Lines,
}

impl Refusals {
    /// One more refused handshake.
    pub(super) fn note(&self, peer: SocketAddr, reason: &dyn Display) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let leave = self.lines.ask(clock::mono());
        if leave.kept_back > 0 {
            tracing::warn!(
                handshakes = leave.kept_back,
                "more handshakes were refused than logged"
            );
        }
        if leave.granted {
            tracing::warn!(%peer, %reason, "handshake refused");
        }
    }

    /// How many since the start.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
