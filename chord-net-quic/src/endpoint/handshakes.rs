//! Room for handshakes under way, the one thing that somebody without a certificate can use up.
//!
//! ```text
//! attempt of an address that fails again and again ───────▶ refused   see `penalties`
//! attempt, address not verified ── 64 such, or no room ──▶ retry     it comes back verified
//! attempt ── room ───────────────────────────────────────▶ taken
//! attempt ── no room, its address has fewer than another ─▶ taken, one of that other's ends
//! attempt ── no room ─────────────────────────────────────▶ refused
//! ```
//!
//! **Invariant:** who is alone may have all the room; who shares it gets at most a fair share.
//! So 128 handshakes that one address never finishes keep nobody else out.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chord_core::time::Instant;
use tokio::sync::oneshot;

use crate::endpoint::penalties::Penalties;

/// Accepted handshakes under way.
const HANDSHAKES_MAX: usize = 128;
/// Handshakes under way with addresses nobody has verified; above it, the other end must
/// first show that it receives what is sent to its address.
const UNVALIDATED_MAX: usize = 64;

/// The handshakes under way.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    table: Mutex<Table>,
    penalties: Penalties,
    retried: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    total: usize,
    unvalidated: usize,
    /// By address, in the order of their coming; dropping one ends it.
    by: HashMap<IpAddr, BTreeMap<u64, Held>>,
}

#[derive(Debug)]
struct Held {
    unvalidated: bool,
    _end: oneshot::Sender<()>,
}

/// What becomes of an attempt.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It goes on as long as the slot is held.
    Take(Slot),
    /// It is sent back with a token that proves its address.
    Retry,
    /// There is no room, for this reason.
    Refuse(&'static str),
}

/// Room for one handshake, until dropped.
#[derive(Debug)]
pub(super) struct Slot {
    of: Arc<Handshakes>,
    source: IpAddr,
    number: u64,
    displaced: oneshot::Receiver<()>,
}

impl Slot {
    /// Resolves when another address needs the room more.
    pub(super) async fn displaced(&mut self) {
        // Nothing is ever sent: the other half is dropped.
        let _ = (&mut self.displaced).await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.of.table().release(self.source, self.number);
    }
}

impl Handshakes {
    /// Judges an attempt from an address, which the other end has shown to be its own if
    /// `validated`.
    pub(super) fn judge(
        self: &Arc<Self>,
        from: SocketAddr,
        validated: bool,
        now: Instant,
    ) -> Verdict {
        let source = network(from.ip());
        if self.penalties.is_full(source, now) {
            return Verdict::Refuse("too many handshakes of its address have failed lately");
        }
        let mut table = self.table();
        let full = table.total >= HANDSHAKES_MAX;
        if !validated && (full || table.unvalidated >= UNVALIDATED_MAX) {
            self.retried.fetch_add(1, Ordering::Relaxed);
            return Verdict::Retry;
        }
        if full && !table.make_room_for(source) {
            return Verdict::Refuse("too many handshakes at once");
        }
        let (number, displaced) = table.hold(source, !validated);
        Verdict::Take(Slot {
            of: self.clone(),
            source,
            number,
            displaced,
        })
    }

    /// A handshake failed, by the fault of who certainly has this address.
    pub(super) fn failed(&self, from: SocketAddr, now: Instant) {
        self.penalties.failed(network(from.ip()), now);
    }

    /// How many attempts were sent back for a proof of their address.
    pub(crate) fn retried(&self) -> u64 {
        self.retried.load(Ordering::Relaxed)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn hold(&mut self, source: IpAddr, unvalidated: bool) -> (u64, oneshot::Receiver<()>) {
        let (_end, displaced) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.total += 1;
        self.unvalidated += usize::from(unvalidated);
        let held = Held { unvalidated, _end };
        self.by.entry(source).or_default().insert(number, held);
        (number, displaced)
    }

    /// Ends the oldest handshake of the address with the most of them, if that still has as
    /// many as `source` will have.
    fn make_room_for(&mut self, source: IpAddr) -> bool {
        let own = self.by.get(&source).map_or(0, BTreeMap::len);
        let most = self.by.iter().max_by_key(|(ip, held)| (held.len(), **ip));
        let Some((&greedy, held)) = most.filter(|(_, held)| held.len() > own + 1) else {
            return false;
        };
        let Some(&oldest) = held.keys().next() else {
            return false;
        };
        self.release(greedy, oldest);
        true
    }

    /// Gives up one place; again is nothing.
    fn release(&mut self, source: IpAddr, number: u64) {
        let Some(held) = self.by.get_mut(&source) else {
            return;
        };
        let Some(gone) = held.remove(&number) else {
            return;
        };
        if held.is_empty() {
            self.by.remove(&source);
        }
        self.total -= 1;
        self.unvalidated -= usize::from(gone.unvalidated);
    }
}

/// Whom an address belongs to: a host of IPv6 has 2^64 of them.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_000_000);

    fn from(host: u8) -> SocketAddr {
        ([10, 0, 0, host], 4_710).into()
    }

    fn taken(verdict: Verdict) -> Slot {
        match verdict {
            Verdict::Take(slot) => slot,
            other => panic!("{other:?}"),
        }
    }

    fn is_displaced(slot: &mut Slot) -> bool {
        slot.displaced.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_sixty_fifth_from_an_unproven_address_is_sent_back_and_the_proven_ones_come_in() {
        let handshakes = Arc::new(Handshakes::default());
        let mut slots: Vec<Slot> = (0..64)
            .map(|_| taken(handshakes.judge(from(1), false, NOW)))
            .collect();
        assert!(matches!(
            handshakes.judge(from(2), false, NOW),
            Verdict::Retry
        ));
        assert_eq!(handshakes.retried(), 1);
        slots.push(taken(handshakes.judge(from(2), true, NOW)));
        slots.remove(0);
        slots.push(taken(handshakes.judge(from(1), false, NOW)));
        assert!(matches!(
            handshakes.judge(from(1), false, NOW),
            Verdict::Retry
        ));
    }

    #[test]
    fn who_is_alone_gets_all_the_room_and_no_more() {
        let handshakes = Arc::new(Handshakes::default());
        let mut slots: Vec<Slot> = (0..128)
            .map(|_| taken(handshakes.judge(from(1), true, NOW)))
            .collect();
        assert!(matches!(
            handshakes.judge(from(1), true, NOW),
            Verdict::Refuse(_)
        ));
        assert!(
            matches!(handshakes.judge(from(2), false, NOW), Verdict::Retry),
            "an unproven address displaces nobody"
        );
        assert!(!slots.iter_mut().any(is_displaced));
        slots.pop();
        slots.push(taken(handshakes.judge(from(1), true, NOW)));
    }

    #[test]
    fn who_has_the_most_makes_room_until_the_shares_are_fair() {
        let handshakes = Arc::new(Handshakes::default());
        let mut greedy: Vec<Slot> = (0..128)
            .map(|_| taken(handshakes.judge(from(1), true, NOW)))
            .collect();
        let mut other = Vec::new();
        while let Verdict::Take(slot) = handshakes.judge(from(2), true, NOW) {
            other.push(slot);
            assert!(other.len() <= 128, "no end");
        }
        assert_eq!(other.len(), 64);
        assert!(!other.iter_mut().any(is_displaced));
        let displaced: Vec<bool> = greedy.iter_mut().map(is_displaced).collect();
        assert_eq!(
            displaced,
            [[true; 64], [false; 64]].concat(),
            "oldest first"
        );
        drop((greedy, other));
        let table = handshakes.table();
        assert_eq!((table.total, table.unvalidated, table.by.len()), (0, 0, 0));
    }

    #[test]
    fn a_host_of_ipv6_is_one_whatever_address_it_takes() {
        let handshakes = Arc::new(Handshakes::default());
        let at = |n: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 7, 0, 0, 0, n], 4_710));
        let slots: Vec<Slot> = (0..128)
            .map(|n| taken(handshakes.judge(at(n), true, NOW)))
            .collect();
        assert!(matches!(
            handshakes.judge(at(999), true, NOW),
            Verdict::Refuse(_)
        ));
        let mapped = SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0x0a00, 1], 4_710));
        assert_eq!(network(mapped.ip()), from(1).ip());
        drop(slots);
    }

    #[test]
    fn an_address_whose_handshakes_fail_without_end_is_refused_for_a_while() {
        let handshakes = Arc::new(Handshakes::default());
        let mut failures = 0;
        while let Verdict::Take(slot) = handshakes.judge(from(1), true, NOW) {
            drop(slot);
            handshakes.failed(from(1), NOW);
            failures += 1;
            assert!(failures <= 1_000, "no end");
        }
        assert_eq!(failures, 64);
        drop(taken(handshakes.judge(from(2), true, NOW)));
        let later = NOW + chord_core::time::Micros::from_secs(1);
        drop(taken(handshakes.judge(from(1), true, later)));
    }
}
