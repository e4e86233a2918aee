//! What must hold in a state of a ring.

use chord_core::event::View;
use chord_core::id::Id;
use chord_core::peer::Peer;

use crate::oracle::ring::{disorder, skipped_by, stranded};

/// A list on its way.
pub(super) struct Sent {
    pub(super) from: Peer,
    pub(super) list: Vec<Peer>,
    /// To somebody who enters with it, not to a member whose list it replaces.
    pub(super) enters: bool,
}

/// A moment of a ring. Members are sorted by id.
pub(super) struct Moment<'a> {
    members: &'a [View],
    sent: &'a [Sent],
    length: usize,
}

impl<'a> Moment<'a> {
    pub(super) fn of(members: &'a [View], sent: &'a [Sent], length: usize) -> Self {
        Self {
            members,
            sent,
            length,
        }
    }

    fn lives(&self, peer: Peer) -> bool {
        self.members.iter().any(|view| view.me == peer)
    }

    /// Members that no extended list passes over, those on their way included.
    fn principals(&self) -> usize {
        let lists = self
            .members
            .iter()
            .map(|view| (view.me, &view.successors[..]));
        let sent = self.sent.iter().map(|sent| (sent.from, &sent.list[..]));
        self.members.len() - skipped_by(self.members, lists.chain(sent)).len()
    }

    /// Whether nobody can get a list of the dead. A member puts the sender before it; whoever
    /// enters takes it as it is, or the sender if it is empty.
    pub(super) fn lists_on_their_way_have_a_live_entry(&self) -> bool {
        self.sent.iter().all(|sent| match sent.enters {
            true if !sent.list.is_empty() => sent.list.iter().any(|&peer| self.lives(peer)),
            _ => {
                let list = std::iter::once(&sent.from).chain(&sent.list);
                list.take(self.length).any(|&peer| self.lives(peer))
            }
        })
    }

    /// (I1): every member has a live entry in its list.
    pub(super) fn is_nobody_stranded(&self) -> bool {
        stranded(self.members, |peer| self.lives(peer)).is_empty()
    }

    /// Whether the theorem's invariant holds: (I1) and (I2).
    pub(super) fn is_of_theorem(&self) -> bool {
        self.is_nobody_stranded() && self.principals() > self.length
    }

    /// Whether it is a small ring for which something is claimed.
    pub(super) fn is_small(&self) -> bool {
        self.members.len() <= self.length && self.is_nobody_stranded() && self.one_ring().is_ok()
    }

    /// What is broken of the order of lists, and of the one ring.
    pub(super) fn broken(&self) -> Result<(), String> {
        if let Some(disorder) = self
            .members
            .iter()
            .find_map(|view| disorder(view, self.length))
        {
            return Err(disorder);
        }
        self.one_ring()
    }

    /// What the theorem promises and is broken.
    pub(super) fn broken_theorem(&self) -> Result<(), String> {
        if let Some(peer) = stranded(self.members, |peer| self.lives(peer)).first() {
            return Err(format!("I1: no live entry in the list of {peer:?}"));
        }
        let principals = self.principals();
        if principals <= self.length {
            return Err(format!(
                "I2: {principals} principals of {} members with lists of {}",
                self.members.len(),
                self.length
            ));
        }
        self.broken()
    }

    /// The first live entry of a member's list; itself where there is none.
    fn head(&self, at: usize) -> usize {
        let live = |peer: &Peer| self.members.iter().position(|view| view.me == *peer);
        self.members[at]
            .successors
            .iter()
            .find_map(live)
            .unwrap_or(at)
    }

    /// Exactly one ring, in order, that every other member reaches.
    fn one_ring(&self) -> Result<(), String> {
        let count = self.members.len();
        if count == 0 {
            return Ok(());
        }
        let from = |start: usize| (0..count).fold(start, |at, _| self.head(at));
        let inside = from(0);
        let mut ring = vec![inside];
        let mut at = self.head(inside);
        while at != inside {
            ring.push(at);
            at = self.head(at);
        }
        for start in 1..count {
            if !ring.contains(&from(start)) {
                return Err(format!(
                    "two rings: {:?} and {:?}",
                    self.members[inside].me,
                    self.members[from(start)].me
                ));
            }
        }
        // In order: between a member of the ring and the next one lies no other of them.
        for (n, &at) in ring.iter().enumerate() {
            let next = ring[(n + 1) % ring.len()];
            let (a, b) = (self.members[at].me.id, self.members[next].me.id);
            let within = |other: &&usize| Id::between(a, self.members[**other].me.id, b);
            if let Some(other) = ring.iter().find(within) {
                return Err(format!(
                    "out of order: {:?} lies between {:?} and its successor {:?}",
                    self.members[*other].me, self.members[at].me, self.members[next].me
                ));
            }
        }
        Ok(())
    }
}
