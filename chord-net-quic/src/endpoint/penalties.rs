//! Addresses whose handshakes fail one after the other: a handshake is the dearest thing that
//! somebody without a certificate can ask for, about a millisecond of the thread that drives
//! the whole host.
//!
//! Each failure fills the bucket of its address, time drains it, and while it is full attempts
//! are refused before anything is computed. Only failures that prove the address count:
//! otherwise forged packets could close the door to somebody else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use chord_core::time::{Instant, Micros};

/// Failures that fill a bucket: a misconfigured host among good ones behind one address stays
/// far below, dialling each peer once a second.
const BURST: u64 = 64;
/// Time that drains one failure: 50 a second, a few percent of a core.
const DRAIN: Micros = Micros::from_millis(20);
/// Most addresses remembered.
const KNOWN_MAX: usize = 1_024;

/// The buckets. One is stored as the moment at which it will be empty.
#[derive(Debug, Default)]
pub(super) struct Penalties(Mutex<HashMap<IpAddr, Instant>>);

impl Penalties {
    /// A handshake with this address failed.
    pub(super) fn failed(&self, source: IpAddr, now: Instant) {
        let mut empty_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if empty_at.len() >= KNOWN_MAX && !empty_at.contains_key(&source) {
            empty_at.retain(|_, at| *at > now);
            if empty_at.len() >= KNOWN_MAX {
                // More addresses than one attacker has; the slots bound what they cost.
                empty_at.clear();
            }
        }
        let at = empty_at.entry(source).or_insert(now);
        let full = now + DRAIN.times(BURST);
        *at = ((*at).max(now) + DRAIN).min(full);
    }

    /// Whether attempts of this address are refused at the moment.
    pub(super) fn is_full(&self, source: IpAddr, now: Instant) -> bool {
        let empty_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = empty_at.get(&source) else {
            return false;
        };
        at.since(now) > DRAIN.times(BURST - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_000_000);

    fn ip(n: u16) -> IpAddr {
        [10, 0, (n >> 8) as u8, n as u8].into()
    }

    #[test]
    fn a_bucket_is_full_after_a_burst_and_drains_with_time() {
        let penalties = Penalties::default();
        for _ in 0..BURST - 1 {
            penalties.failed(ip(1), NOW);
        }
        assert!(!penalties.is_full(ip(1), NOW));
        for _ in 0..1_000 {
            penalties.failed(ip(1), NOW);
        }
        assert!(penalties.is_full(ip(1), NOW));
        assert!(!penalties.is_full(ip(2), NOW), "another address is free");
        let later = NOW + DRAIN;
        assert!(!penalties.is_full(ip(1), later), "one more is let in");
        penalties.failed(ip(1), later);
        assert!(penalties.is_full(ip(1), later));
    }

    #[test]
    fn many_addresses_cost_a_bounded_amount_of_memory() {
        let penalties = Penalties::default();
        for n in 0..3_000 {
            penalties.failed(ip(n), NOW);
        }
        assert!(penalties.0.lock().expect("sound").len() <= KNOWN_MAX);
    }
}
