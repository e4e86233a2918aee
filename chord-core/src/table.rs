//! Peers beyond the successor list: shortcuts for lookups.
//!
//! One sorted array, nearest first by clockwise distance from this node. What it holds is
//! policy: for each finger interval `[me + 2^i, me + 2^(i+1))` at most [`PER_INTERVAL`]
//! peers, so that it stays logarithmic in the ring however much is learned from traffic
//! (Stoica et al., *Chord*, §IV-D, with a choice within each interval instead of exactly
//! the first node).

use alloc::vec::Vec;

use crate::id::{ID_BITS, Id};
use crate::peer::Peer;

/// Peers kept for one finger interval: the one used and one to detour over.
const PER_INTERVAL: usize = 2;

/// Shortcuts.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    me: Id,
    max: usize,
    peers: Vec<Peer>,
}

impl Table {
    pub(crate) const fn new(me: Id, max: usize) -> Self {
        Self {
            me,
            max,
            peers: Vec::new(),
        }
    }

    pub(crate) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The finger interval a position lies in: 0 to 159; `None` for this node itself.
    pub(crate) fn interval(&self, id: Id) -> Option<u32> {
        (ID_BITS - 1).checked_sub(self.me.distance(id).leading_zeros())
    }

    /// Learns a peer that has answered. `refresh`: it is what the finger of its interval
    /// should be (the first node behind the interval's start), so it takes the place of
    /// another one there.
    pub(crate) fn learn(&mut self, peer: Peer, refresh: bool) {
        let Some(interval) = self.interval(peer.id) else {
            return;
        };
        if peer.is_seed() {
            return;
        }
        let rank = self.me.distance(peer.id);
        let at = self
            .peers
            .partition_point(|known| self.me.distance(known.id) < rank);
        if let Some(known) = self.peers.get_mut(at).filter(|known| known.id == peer.id) {
            if peer.incarnation >= known.incarnation {
                *known = peer;
            }
            return;
        }
        let neighbours = |table: &Self, at: usize| {
            table
                .peers
                .get(at)
                .is_some_and(|known| table.interval(known.id) == Some(interval))
        };
        let mut first = at;
        while first > 0 && neighbours(self, first - 1) {
            first -= 1;
        }
        let mut end = at;
        while neighbours(self, end) {
            end += 1;
        }
        if end - first >= PER_INTERVAL {
            if !refresh {
                return;
            }
            self.peers.remove(end - 1);
        } else if self.peers.len() >= self.max {
            return;
        }
        let at = self
            .peers
            .partition_point(|known| self.me.distance(known.id) < rank);
        self.peers.insert(at, peer);
    }

    /// Forgets a dead life.
    pub(crate) fn forget(&mut self, dead: Peer) {
        self.peers.retain(|known| !dead.supersedes(*known));
    }

    /// The peers strictly between this node and `target`, the closest to the target first.
    pub(crate) fn preceding(&self, target: Id) -> impl Iterator<Item = Peer> {
        let rank = self.me.distance(target);
        let end = if rank == Id::ZERO {
            self.peers.len()
        } else {
            self.peers
                .partition_point(|known| self.me.distance(known.id) < rank)
        };
        self.peers[..end].iter().rev().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(at: u8) -> Peer {
        let mut id = [0; 20];
        id[0] = at;
        Peer {
            id: Id(id),
            addr: crate::peer::Addr::v4(1, 1, 1, at, 1),
            incarnation: 1,
        }
    }

    fn at(peers: impl Iterator<Item = Peer>) -> Vec<u8> {
        peers.map(|peer| peer.id.0[0]).collect()
    }

    #[test]
    fn the_closest_preceding_peer_comes_first() {
        let mut table = Table::new(peer(100).id, 99);
        for n in [101, 110, 150, 20, 90] {
            table.learn(peer(n), false);
        }
        assert_eq!(at(table.preceding(peer(60).id)), [20, 150, 110, 101]);
        assert_eq!(at(table.preceding(peer(110).id)), [101]);
        assert_eq!(at(table.preceding(peer(100).id)), [90, 20, 150, 110, 101]);
        assert_eq!(at(table.preceding(peer(101).id)), [0_u8; 0]);
    }

    #[test]
    fn an_interval_holds_few_and_a_refreshed_finger_replaces_a_learned_one() {
        let mut table = Table::new(peer(0).id, 99);
        for n in 129..140 {
            table.learn(peer(n), false);
        }
        assert_eq!(table.peers().len(), PER_INTERVAL);
        table.learn(peer(128), true);
        assert_eq!(at(table.preceding(peer(0).id)), [129, 128]);
    }

    #[test]
    fn a_dead_life_is_forgotten_and_a_later_one_is_not() {
        let mut table = Table::new(peer(0).id, 99);
        table.learn(
            Peer {
                incarnation: 3,
                ..peer(9)
            },
            false,
        );
        table.forget(Peer {
            incarnation: 2,
            ..peer(9)
        });
        assert_eq!(table.peers().len(), 1);
        table.forget(Peer {
            incarnation: 3,
            ..peer(9)
        });
        assert!(table.peers().is_empty());
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = Table::new(Id::ZERO, 4);
        for n in 0..200_u8 {
            table.learn(peer(n), false);
        }
        assert!(table.peers().len() <= 4);
    }
}
