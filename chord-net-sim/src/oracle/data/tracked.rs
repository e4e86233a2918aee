//! What is known of one key.

use std::collections::{BTreeMap, BTreeSet};

use chord_core::message::Version;

/// What a client tried to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// The number of the client's operation.
    pub operation: usize,
    /// The sum of the value; `None` deletes.
    pub value: Option<u64>,
    /// When it began, in microseconds.
    pub begun: u64,
    /// Lifetime in microseconds.
    pub ttl: u64,
    /// Wanted copies.
    pub copies: u8,
    pub(super) state: AttemptState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AttemptState {
    /// Under way, or ended in a way that may have left something behind.
    Open,
    /// It certainly did nothing.
    Void,
    /// A majority had it at this time.
    Acknowledged {
        version: Version,
        at: u64,
        /// Nobody was kept apart meanwhile.
        calm: bool,
    },
}

/// A write that was acknowledged and is not overtaken by another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Floor {
    pub(super) version: Version,
    pub(super) value: Option<u64>,
    /// A reader must see it until then at least.
    pub(super) expires_first: u64,
    /// And may see it until then at most.
    pub(super) expires_last: u64,
    /// Copies that the ring had members for.
    pub(super) copies: usize,
}

/// When and how the last copy of an acknowledged write went.
#[derive(Clone, Debug)]
pub(super) struct Vanished {
    pub(super) at: u64,
    pub(super) host: u32,
    pub(super) how: &'static str,
    pub(super) explained: bool,
}

#[derive(Clone, Default, Debug)]
pub(super) struct Tracked {
    pub(super) attempts: Vec<Attempt>,
    pub(super) floor: Option<Floor>,
    /// Version durable on each disk, those of hosts that are down included.
    pub(super) stored: BTreeMap<u32, Version>,
    /// Who ever had what durably, as far as the floor matters.
    pub(super) ever: BTreeSet<(Version, u32)>,
    pub(super) vanished: Option<Vanished>,
}

impl Tracked {
    /// How many live disks have this version or a newer one.
    pub(super) fn copies(&self, version: Version, live: impl Fn(u32) -> bool) -> usize {
        let held = self
            .stored
            .iter()
            .filter(|(host, held)| **held >= version && live(**host));
        held.count()
    }

    /// Whether an attempt may stand above a version without that a client was told: it was never
    /// acknowledged, or by one side of a partition while a retry reached the other, and some
    /// disk has had something later.
    pub(super) fn may_stand_above(&self, attempt: &Attempt, version: Version) -> bool {
        match attempt.state {
            AttemptState::Open => true,
            AttemptState::Void => false,
            AttemptState::Acknowledged { calm, .. } => {
                !calm && self.ever.iter().any(|(stored, _)| *stored > version)
            }
        }
    }

    /// Whether a version above the floor is only another copy of a write that was
    /// acknowledged before the one at the floor began: a retry or a duplicate overwrote it.
    /// Two sides of a partition may do that to each other.
    pub(super) fn is_back(&self, attempt: &Attempt, version: Version, floor: &Floor) -> bool {
        let AttemptState::Acknowledged {
            version: first,
            at,
            calm: true,
        } = attempt.state
        else {
            return false;
        };
        let later = |other: &Attempt| match other.state {
            AttemptState::Acknowledged {
                version,
                calm: true,
                ..
            } => version == floor.version && at < other.begun,
            AttemptState::Acknowledged { .. } | AttemptState::Open | AttemptState::Void => false,
        };
        first < floor.version && floor.version < version && self.attempts.iter().any(later)
    }
}
