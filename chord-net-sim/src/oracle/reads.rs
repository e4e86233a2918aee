//! Quorum reads never go back.
//!
//! ```text
//! write acknowledged as v5 ─┐
//! quorum read saw v6 ───────┴▶ seen: v6 ── a quorum read that begins now ──▶ v6 or later
//! quorum read missed, a deletion was tried ──▶ seen: later than v6
//! ```
//!
//! What a reader was shown, or a writer was told, before a quorum read begins, that read must
//! show too, or something later: also a write that was never acknowledged, once one reader
//! has seen it. The promise holds in a ring without concurrent partition: an operation in
//! whose time hosts were kept apart, or two rings were not one again, neither sets what was
//! seen nor is checked; it is counted.

use std::collections::BTreeMap;

use chord_core::message::{Key, Version};

/// What has been seen of a key: nothing older may be read afterwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seen {
    /// The newest version.
    pub version: Version,
    /// It was missed since: it is deleted, whatever the version of the tombstone is.
    pub missed: bool,
    /// From when on it may be missed without a deletion, in microseconds.
    pub expires: u64,
}

/// How a quorum read ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Not before what had been seen.
    Forward,
    /// Before it: what was seen, and what was read then.
    Back(String),
    /// Hosts were kept apart meanwhile: nothing was promised.
    Excused,
}

/// What was seen of each key.
#[derive(Clone, Default, Debug)]
pub struct Reads {
    seen: BTreeMap<Key, Seen>,
    /// Quorum reads that were compared with something seen before.
    pub checked: u64,
    /// Quorum reads that were not, because of a partition.
    pub excused: u64,
}

impl Reads {
    /// What has been seen of a key by now: a read that begins now may not show less.
    #[must_use]
    pub fn seen(&self, key: &Key) -> Option<Seen> {
        self.seen.get(key).copied()
    }

    /// A writer was told that its write is this version. `calm`: nobody was kept apart.
    /// It may be gone from `expires` on.
    pub fn wrote(&mut self, key: &Key, version: Version, expires: u64, calm: bool) {
        if calm {
            let seen = Seen {
                version,
                missed: false,
                expires,
            };
            self.note(key, seen);
        }
    }

    /// A quorum read ended at `now` that began when `before` had been seen. `read` is the
    /// version it showed and when that may be gone, `None` for "not found"; `deleted` says
    /// whether a deletion may have caused that.
    pub fn read(
        &mut self,
        key: &Key,
        before: Option<Seen>,
        read: Option<(Version, u64)>,
        deleted: bool,
        calm: bool,
        now: u64,
    ) -> Order {
        if !calm {
            self.excused += 1;
            return Order::Excused;
        }
        self.checked += u64::from(before.is_some());
        match (before, read) {
            (_, Some((version, expires))) => {
                let shown = Seen {
                    version,
                    missed: false,
                    expires,
                };
                let newer = |before: &Seen| (version, false) < (before.version, before.missed);
                if let Some(before) = before.filter(newer) {
                    return Order::Back(format!("{key:?} reads {version:?} after {before:?}"));
                }
                self.note(key, shown);
                Order::Forward
            }
            (Some(before), None) if deleted => {
                let missed = true;
                self.note(key, Seen { missed, ..before });
                Order::Forward
            }
            (Some(before), None) if now >= before.expires => Order::Forward,
            (Some(before), None) => Order::Back(format!("{key:?} is not found after {before:?}")),
            (None, None) => Order::Forward,
        }
    }

    fn note(&mut self, key: &Key, seen: Seen) {
        let entry = self.seen.entry(key.clone()).or_insert(seen);
        *entry = seen.max(*entry);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chord_core::id::Id;

    use super::*;

    fn key() -> Key {
        Key::new(Bytes::from_static(b"k")).expect("one byte")
    }

    fn version(time: u64) -> Version {
        let writer = Id::ZERO;
        Version { time, writer }
    }

    const EXPIRES: u64 = 1_000;

    /// A read that begins and ends at once.
    fn read(reads: &mut Reads, version: Option<Version>) -> Order {
        let before = reads.seen(&key());
        let read = version.map(|version| (version, EXPIRES));
        reads.read(&key(), before, read, false, true, 1)
    }

    #[test]
    fn a_read_behind_an_acknowledged_write_or_an_earlier_read_goes_back() {
        let mut reads = Reads::default();
        assert_eq!(read(&mut reads, None), Order::Forward);
        reads.wrote(&key(), version(5), EXPIRES, true);
        assert!(matches!(read(&mut reads, Some(version(4))), Order::Back(_)));
        assert_eq!(read(&mut reads, Some(version(5))), Order::Forward);
        // Never acknowledged, but seen: from now on it is there.
        assert_eq!(read(&mut reads, Some(version(7))), Order::Forward);
        assert!(matches!(read(&mut reads, Some(version(5))), Order::Back(_)));
        assert_eq!(reads.checked, 4);
    }

    #[test]
    fn reads_at_the_same_time_may_see_different_things() {
        let mut reads = Reads::default();
        reads.wrote(&key(), version(5), EXPIRES, true);
        let before = reads.seen(&key());
        assert_eq!(read(&mut reads, Some(version(7))), Order::Forward);
        let slow = reads.read(&key(), before, Some((version(5), EXPIRES)), false, true, 1);
        assert_eq!(slow, Order::Forward, "it began before 7 was seen");
        assert!(matches!(read(&mut reads, Some(version(5))), Order::Back(_)));
    }

    #[test]
    fn a_miss_needs_a_deletion_and_what_was_deleted_does_not_come_back() {
        let mut reads = Reads::default();
        reads.wrote(&key(), version(5), EXPIRES, true);
        assert!(matches!(read(&mut reads, None), Order::Back(_)));
        let before = reads.seen(&key());
        let missed = reads.read(&key(), before, None, true, true, 1);
        assert_eq!(missed, Order::Forward);
        assert!(matches!(read(&mut reads, Some(version(5))), Order::Back(_)));
        assert_eq!(read(&mut reads, Some(version(6))), Order::Forward);
    }

    #[test]
    fn what_may_have_expired_may_be_missed() {
        let mut reads = Reads::default();
        reads.wrote(&key(), version(5), EXPIRES, true);
        let before = reads.seen(&key());
        let early = reads.read(&key(), before, None, false, true, EXPIRES - 1);
        assert!(matches!(early, Order::Back(_)), "{early:?}");
        let late = reads.read(&key(), before, None, false, true, EXPIRES);
        assert_eq!(late, Order::Forward);
    }

    #[test]
    fn a_partition_excuses_and_teaches_nothing() {
        let mut reads = Reads::default();
        reads.wrote(&key(), version(5), EXPIRES, true);
        reads.wrote(&key(), version(9), EXPIRES, false);
        let before = reads.seen(&key());
        let parted = reads.read(&key(), before, Some((version(2), EXPIRES)), false, false, 1);
        assert_eq!(parted, Order::Excused);
        assert_eq!(read(&mut reads, Some(version(5))), Order::Forward);
        assert!(matches!(read(&mut reads, Some(version(2))), Order::Back(_)));
        assert_eq!((reads.checked, reads.excused), (2, 1));
    }
}
