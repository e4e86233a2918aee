//! What quorum reads have shown and the own store has no room for.
//!
//! An owner is part of every majority, so that whatever it stores is met by each later read. A
//! quorum read that meets something newer at the holders, while the own disk is full, can only
//! count on them; once their group changes, a majority of it with the owner may lack what was
//! shown. So the owner remembers the version, and until its store has it no quorum read is
//! answered that has not met it, nor is a condition compared with less.
//!
//! In memory only: a node that starts again is unsettled, and hears everybody at whom a write may
//! have been counted anyway.

use alloc::collections::BTreeMap;

use crate::id::Id;
use crate::message::{Key, Record, Version};
use crate::time::Instant;

/// Keys remembered. One more is not shown.
const SHOWN_MAX: usize = 1_024;

/// Versions by key, each until its record is gone everywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    versions: BTreeMap<Key, (Version, Instant)>,
}

impl Shown {
    /// What a read of this key must meet.
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<Version> {
        let (version, until) = self.versions.get(key)?;
        (*until > now).then_some(*version)
    }

    /// Remembers a record that is about to be shown; `false`: there is no place for it. What
    /// this node does not own any more gives way.
    #[must_use]
    pub(crate) fn insert(
        &mut self,
        record: &Record,
        owned: impl Fn(Id) -> bool,
        now: Instant,
    ) -> bool {
        if self.versions.len() >= SHOWN_MAX && !self.versions.contains_key(&record.key) {
            self.versions
                .retain(|key, (_, until)| *until > now && owned(key.position()));
            if self.versions.len() >= SHOWN_MAX {
                return false;
            }
        }
        let entry = (record.header.version, record.header.shadow);
        let shown = self.versions.entry(record.key.clone()).or_insert(entry);
        *shown = entry.max(*shown);
        true
    }

    /// The own store has this version of a key.
    pub(crate) fn stored(&mut self, key: &Key, version: Version) {
        if self
            .versions
            .get(key)
            .is_some_and(|(shown, _)| *shown <= version)
        {
            self.versions.remove(key);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.versions.len()
    }
}
