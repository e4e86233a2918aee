//! What a host shows without being asked: counters, and whether it is a member.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::counters::Counters;
use crate::endpoint::{Endpoint, Handshakes, Refusals};
use crate::identity::Identity;

/// Written by the driver, read by handles on other threads.
#[derive(Debug)]
pub(crate) struct Board {
    counters: Mutex<Counters>,
    joined: watch::Sender<bool>,
    bytes_received: Arc<AtomicU64>,
    refusals: Arc<Refusals>,
    handshakes: Arc<Handshakes>,
    identity: Identity,
}

impl Board {
    /// Nothing counted, no member.
    pub(super) fn new(
        bytes_received: Arc<AtomicU64>,
        endpoint: &Endpoint,
        identity: Identity,
    ) -> Self {
        Self {
            counters: Mutex::default(),
            joined: watch::Sender::new(false),
            bytes_received,
            refusals: endpoint.refusals(),
            handshakes: endpoint.handshakes(),
            identity,
        }
    }

    /// The latest counters.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = *self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.bytes_received = self.bytes_received.load(Ordering::Relaxed);
        counters.handshakes_refused = self.refusals.count();
        counters.handshakes_retried = self.handshakes.retried();
        counters.reloads_failed = self.identity.reloads_failed();
        counters.crl_next_update = self.identity.trust().crl_next_update().as_secs();
        counters
    }

    /// Shows these counters from now on.
    pub(super) fn show(&self, counters: &Counters) {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = *counters;
    }

    /// Says whether every position is a member.
    pub(super) fn set_joined(&self, joined: bool) {
        self.joined
            .send_if_modified(|known| std::mem::replace(known, joined) != joined);
    }

    /// To wait for membership.
    pub(crate) fn watch_joined(&self) -> watch::Receiver<bool> {
        self.joined.subscribe()
    }
}
