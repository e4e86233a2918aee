//! Answering `Route`: the owner, or who is closer.
//!
//! **Invariant:** nobody is named as owner but by whom it granted, by itself, or by the
//! member whose head it is.

use alloc::vec::Vec;

use crate::event::State;
use crate::id::{Id, Span};
use crate::message::Route;
use crate::node::Node;
use crate::peer::Peer;
use crate::time::Instant;

/// Closest preceding peers named in an answer: the best, and ways round it.
pub(crate) const CLOSER_MAX: usize = 3;

impl Node {
    /// Where this node would send somebody who looks for `target`. A route to the asker's
    /// own position skips the asker: it wants to know who is there beside itself.
    pub(crate) fn route(&self, target: Id, asker: Id, now: Instant) -> Option<Route> {
        let skip = |peer: &Peer| {
            (asker == target && peer.id == target) || self.contacts.is_dead(*peer, now)
        };
        if self.spans.owns(target) {
            return Some(Route::Owner {
                settled: self.spans.is_settled(target),
            });
        }
        if self.acts_for(target, now) {
            return Some(Route::Owner { settled: false });
        }
        let successors = self.ring.successors();
        let leaving_own = self.state == State::Leaving
            && self
                .ring
                .predecessor()
                .is_some_and(|p| Span::new(p.id, self.me.id).contains(target));
        let head = self.ring.head()?;
        if leaving_own || Span::new(self.me.id, head.id).contains(target) {
            let most = usize::from(self.config.copies_max);
            let list: Vec<Peer> = successors
                .iter()
                .filter(|peer| !skip(peer))
                .take(most)
                .copied()
                .collect();
            return Some(Route::Successors(list));
        }
        let mut closer: Vec<Peer> = Vec::with_capacity(CLOSER_MAX);
        let among = successors
            .iter()
            .rev()
            .copied()
            .filter(|p| Id::between(self.me.id, p.id, target));
        let mut near = among.filter(|peer| !skip(peer)).peekable();
        let mut far = self
            .table
            .preceding(target)
            .filter(|peer| !skip(peer))
            .peekable();
        while closer.len() < CLOSER_MAX {
            let nearer_first = match (near.peek(), far.peek()) {
                (Some(a), Some(b)) => a.id.distance(target) <= b.id.distance(target),
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            let Some(peer) = (if nearer_first {
                near.next()
            } else {
                far.next()
            }) else {
                break;
            };
            if closer.iter().all(|known| known.id != peer.id) {
                closer.push(peer);
            }
        }
        Some(Route::Closer(closer))
    }

    /// Whether this node answers for a position whose owner is dead, before rectification
    /// has made it the owner: its predecessor is dead, and it was told to hold the span.
    pub(crate) fn acts_for(&self, target: Id, now: Instant) -> bool {
        self.spans.owned().is_some()
            && self.state == State::Joined
            && self
                .ring
                .predecessor()
                .is_some_and(|p| self.contacts.is_dead(p, now))
            && self.is_next_in_line(target, now)
    }
}
