//! Peers once known: what plain Chord forgets, and why it never heals a split.
//!
//! At most half of the entries, and then always the latest, are successors that were
//! dropped as dead; the rest are spread over what this node has met. Each is asked from time
//! to time for the owner of our own position, with back-off while it is silent. The dead
//! among them also count as members for majorities until they are forgotten.
//!
//! **Invariant:** bounded, one entry for an id.

use alloc::vec::Vec;

use crate::peer::Peer;
use crate::time::{Instant, Micros};

/// Longest pause between two attempts at a silent peer.
const BACKOFF_MAX: Micros = Micros::from_secs(60);
/// First pause.
const BACKOFF_MIN: Micros = Micros::from_secs(5);
/// A peer silent for this long is forgotten.
const FORGOTTEN: Micros = Micros::from_secs(24 * 3_600);

#[derive(Clone, Debug)]
struct Entry {
    peer: Peer,
    /// When it was dropped as dead; absent once it has spoken again.
    died: Option<Instant>,
    met: Instant,
    next: Instant,
    backoff: Micros,
}

/// The passive list.
#[derive(Clone, Debug)]
pub(crate) struct Passive {
    max: usize,
    list: Vec<Entry>,
}

impl Passive {
    pub(crate) const fn new(max: usize) -> Self {
        Self {
            max,
            list: Vec::new(),
        }
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> {
        self.list.iter().map(|entry| entry.peer)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Remembers a peer; `died` if it was just dropped as dead.
    pub(crate) fn add(&mut self, peer: Peer, died: Option<Instant>, now: Instant) {
        if let Some(entry) = self.list.iter_mut().find(|entry| entry.peer.id == peer.id) {
            if peer.incarnation >= entry.peer.incarnation {
                entry.peer = peer;
                if died.is_some() && entry.died.is_none() {
                    entry.died = died;
                    entry.next = now + BACKOFF_MIN;
                    entry.backoff = BACKOFF_MIN;
                }
            }
            return;
        }
        if self.max == 0 {
            return;
        }
        if self.list.len() >= self.max {
            self.make_room(died.is_some());
        }
        self.list.push(Entry {
            peer,
            died,
            met: now,
            next: if died.is_some() {
                now + BACKOFF_MIN
            } else {
                now
            },
            backoff: BACKOFF_MIN,
        });
    }

    /// Keeps a living peer fresh without waking anything.
    pub(crate) fn note(&mut self, peer: Peer, now: Instant) {
        let known = self.list.iter_mut().find(|entry| entry.peer.id == peer.id);
        if let Some(entry) = known {
            if peer.incarnation > entry.peer.incarnation {
                entry.peer = peer;
            }
            return;
        }
        if self.list.len() < self.max {
            self.add(peer, None, now);
        }
    }

    fn make_room(&mut self, for_dead: bool) {
        let dead = self
            .list
            .iter()
            .filter(|entry| entry.died.is_some())
            .count();
        let oldest_dead = || {
            (0..self.list.len())
                .filter(|&at| self.list[at].died.is_some())
                .min_by_key(|&at| self.list[at].died)
        };
        let oldest_living = || {
            (0..self.list.len())
                .filter(|&at| self.list[at].died.is_none())
                .min_by_key(|&at| self.list[at].met)
        };
        let victim = if for_dead && dead >= self.max / 2 {
            oldest_dead()
        } else {
            oldest_living().or_else(oldest_dead)
        };
        self.list.swap_remove(victim.unwrap_or(0));
    }

    /// Nobody answers: until they are forgotten or heard, all count as members that are away.
    pub(crate) fn all_away(&mut self, now: Instant) {
        for entry in &mut self.list {
            entry.died.get_or_insert(now);
        }
    }

    /// It spoke: not dead, and worth another question soon.
    pub(crate) fn revived(&mut self, peer: Peer) {
        let known = self.list.iter_mut().find(|entry| entry.peer.id == peer.id);
        if let Some(entry) = known
            && peer.incarnation >= entry.peer.incarnation
        {
            entry.peer = peer;
            entry.died = None;
            entry.backoff = BACKOFF_MIN;
        }
    }

    /// It is in a later life, which is not a member yet.
    pub(crate) fn renew(&mut self, peer: Peer) {
        let known = self.list.iter_mut().find(|entry| entry.peer.id == peer.id);
        if let Some(entry) = known
            && peer.incarnation > entry.peer.incarnation
        {
            entry.peer = peer;
            entry.backoff = BACKOFF_MIN;
        }
    }

    /// It said goodbye: it is no member any more.
    pub(crate) fn left(&mut self, peer: Peer) {
        self.list.retain(|entry| !peer.supersedes(entry.peer));
    }

    /// Whom to ask now: first one that lies between this node and its head, else a due one
    /// that is no successor. Counts as an attempt.
    pub(crate) fn choose(
        &mut self,
        now: Instant,
        draw: u64,
        is_successor: impl Fn(Peer) -> bool,
        is_better: impl Fn(Peer) -> bool,
    ) -> Option<Peer> {
        self.list
            .retain(|entry| now.since(entry.died.unwrap_or(now)) < FORGOTTEN);
        let due: Vec<usize> = (0..self.list.len())
            .filter(|&at| self.list[at].next <= now && !is_successor(self.list[at].peer))
            .collect();
        let first = due
            .iter()
            .copied()
            .find(|&at| is_better(self.list[at].peer));
        let any = || {
            let count = u64::try_from(due.len()).ok()?;
            let at = usize::try_from(crate::draw::below(draw, count)).ok()?;
            due.get(at).copied()
        };
        let entry = &mut self.list[first.or_else(any)?];
        entry.next = now + entry.backoff;
        entry.backoff = Micros(entry.backoff.0.saturating_mul(2)).min(BACKOFF_MAX);
        Some(entry.peer)
    }

    /// Members that died less than `forget` ago: they still count for majorities.
    pub(crate) fn absent(&self, now: Instant, forget: Micros) -> impl Iterator<Item = Peer> {
        self.list
            .iter()
            .filter(move |entry| entry.died.is_some_and(|died| now.since(died) < forget))
            .map(|entry| entry.peer)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::peer::Addr;

    fn peer(n: u8) -> Peer {
        let mut id = [0; 20];
        id[0] = n;
        Peer {
            id: Id(id),
            addr: Addr::v4(10, 0, 0, n, 1),
            incarnation: 1,
        }
    }

    #[test]
    fn the_dead_take_at_most_half_and_the_latest_stay() {
        let mut passive = Passive::new(8);
        for n in 0..8 {
            passive.add(peer(n), None, Instant(u64::from(n)));
        }
        for n in 100..120 {
            passive.add(peer(n), Some(Instant(u64::from(n))), Instant(u64::from(n)));
        }
        let dead: Vec<_> = passive
            .list
            .iter()
            .filter(|entry| entry.died.is_some())
            .collect();
        assert_eq!((passive.len(), dead.len()), (8, 4));
        assert!(dead.iter().all(|entry| entry.peer.id.0[0] >= 116));
    }

    #[test]
    fn a_silent_peer_is_asked_less_and_less_but_not_for_ever() {
        let mut passive = Passive::new(8);
        passive.add(peer(1), None, Instant(0));
        let mut now = Instant(0);
        let mut asked = 0;
        for _ in 0..600 {
            asked += u32::from(passive.choose(now, 0, |_| false, |_| false).is_some());
            now = now + Micros::from_secs(1);
        }
        assert!((10..=14).contains(&asked), "{asked}");
    }

    #[test]
    fn one_between_us_and_our_head_goes_first() {
        let mut passive = Passive::new(8);
        for n in 1..6 {
            passive.add(peer(n), None, Instant(0));
        }
        let better = |candidate: Peer| candidate.id == peer(4).id;
        assert_eq!(
            passive.choose(Instant(0), 0, |_| false, better),
            Some(peer(4))
        );
    }

    #[test]
    fn the_dead_count_as_members_until_forgotten_or_heard() {
        let mut passive = Passive::new(8);
        let forget = Micros::from_secs(600);
        passive.add(peer(1), Some(Instant(0)), Instant(0));
        assert_eq!(passive.absent(Instant(1), forget).count(), 1);
        assert_eq!(passive.absent(Instant(0) + forget, forget).count(), 0);
        passive.revived(peer(1));
        assert_eq!(passive.absent(Instant(1), forget).count(), 0);
        passive.all_away(Instant(1));
        assert_eq!(passive.absent(Instant(1), forget).count(), 1);
        passive.left(peer(1));
        assert!(passive.is_empty());
    }
}
