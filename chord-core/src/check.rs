//! What can be said of a node from outside: its status, and its invariants, executable.

use crate::event::{State, Status};
use crate::id::Id;
use crate::node::Node;
use crate::time::Instant;

/// An invariant that does not hold. The node has a defect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken(pub &'static str);

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "broken invariant: {}", self.0)
    }
}

impl core::error::Error for Broken {}

impl Node {
    /// Checks every rule and bound that one node can know of itself.
    ///
    /// # Errors
    /// The first that is broken.
    pub fn check(&self) -> Result<(), Broken> {
        let successors = self.ring.successors();
        if successors.len() > usize::from(self.config.successors) {
            return Err(Broken("the successor list is longer than configured"));
        }
        let mut last = self.me.id;
        for peer in successors {
            if peer.id == self.me.id {
                return Err(Broken("the node is in its own successor list"));
            }
            if last != self.me.id && !Id::between(last, peer.id, self.me.id) {
                return Err(Broken("the successor list is out of order"));
            }
            last = peer.id;
        }
        if self
            .ring
            .predecessor()
            .is_some_and(|predecessor| predecessor.id == self.me.id)
        {
            return Err(Broken("the node is its own predecessor"));
        }
        self.spans.check().map_err(Broken)?;
        if self.spans.owned().is_some() && self.state != State::Joined {
            return Err(Broken("a node that is no member owns something"));
        }
        let bounds = [
            (self.contacts.len() <= 192, "more contacts than bounded"),
            (
                self.table.peers().len() <= usize::from(self.config.table_max),
                "the routing table is larger than configured",
            ),
            (
                self.passive.len() <= usize::from(self.config.passive_max),
                "the passive list is longer than configured",
            ),
            (
                self.finished.len() <= 4_096,
                "more finished operations than bounded",
            ),
            (
                self.passed.len() <= 4_096,
                "more passed operations than bounded",
            ),
            (
                self.shown.len() <= 1_024,
                "more versions shown than bounded",
            ),
            (
                self.queued.len() <= 1_024,
                "more queued writes than bounded",
            ),
            (
                self.repair.failing.len() <= 64,
                "more failing holders than bounded",
            ),
            (
                self.repair.excluded.len() <= 16,
                "more excluded members than bounded",
            ),
            (
                self.ops.len() <= self.config.ops_max as usize * 4 + 1_024,
                "more operations in flight than bounded",
            ),
        ];
        match bounds.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(Broken(broken)),
            None => Ok(()),
        }
    }

    /// How this node is.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        let _ = now;
        Status {
            me: self.me,
            state: self.state,
            unavailable_since: self.unavailable_since,
            may_have_lost: self.may_have_lost,
            members: self.members_estimate(),
            copies_missing: self.repair.copies_missing(),
            moved: self.repair.moved,
            spans_unsettled: u32::try_from(self.spans.pieces().len()).unwrap_or(u32::MAX),
            owned: self.spans.owned(),
            predecessor: self.ring.predecessor(),
            successors: self.ring.successors().to_vec(),
            table: u32::try_from(self.table.peers().len() + self.ring.successors().len())
                .unwrap_or(u32::MAX),
            ops: u32::try_from(self.ops.len()).unwrap_or(u32::MAX),
        }
    }

    /// Members, this one included: counted where the list goes round the whole ring, else
    /// estimated from how much of it the list spans.
    fn members_estimate(&self) -> u64 {
        let successors = self.ring.successors();
        let Some(last) = successors.last() else {
            return u64::from(self.state == State::Joined);
        };
        let count = successors.len() as u64;
        if successors.len() < usize::from(self.config.successors) {
            return count + 1;
        }
        let spanned = self.me.id.distance(last.id).prefix().max(1);
        let ring = u128::from(u64::MAX) + 1;
        let estimate = ring * u128::from(count) / u128::from(spanned);
        u64::try_from(estimate).unwrap_or(u64::MAX).max(count + 1)
    }
}
