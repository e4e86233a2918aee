//! A simulated disk: what a store must do, in the plainest way.
//!
//! Records lie in order of position, then key. A command is carried out in one step; the
//! delay before or after that step is the caller's business: a write is in force when it is
//! answered, a read sees the records as of any moment from its command to its answer. Every change is reported, so that an
//! oracle knows at each moment what is durable where.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use chord_core::event::{StoreAnswer, StoreCommand};
use chord_core::id::{Id, Span};
use chord_core::message::{Head, Key, Record, Version};
use chord_core::sums::Leaves;
use chord_core::time::Instant;

/// One key whose stored version is another one now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which.
    pub key: Key,
    /// The version stored now; `None`: nothing any more.
    pub version: Option<Version>,
}

/// The records of one host.
#[derive(Clone, Default, Debug)]
pub struct Disk {
    records: BTreeMap<(Id, Bytes), Record>,
    leaves: Leaves,
}

impl Disk {
    /// How many records it holds, tombstones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The stored record of a key, tombstones included.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Record> {
        self.records.get(&place(key))
    }

    /// Every record, in order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Loses everything.
    pub fn wipe(&mut self) {
        *self = Self::default();
    }

    /// Carries out one command and appends what it changed to `changes`.
    pub fn carry_out(&mut self, command: StoreCommand, changes: &mut Vec<Change>) -> StoreAnswer {
        match command {
            StoreCommand::Get { key } => StoreAnswer::Record(self.get(&key).cloned()),
            StoreCommand::GetMany { keys, bytes_max } => {
                let stored = keys.iter().filter_map(|key| self.get(key));
                let (records, more) = fill(stored, bytes_max, Clone::clone, Record::size);
                StoreAnswer::Page { records, more }
            }
            StoreCommand::Heads { keys } => {
                let stored = keys.iter().filter_map(|key| self.get(key));
                let (heads, more) = fill(stored, u32::MAX, Record::head, Head::size);
                StoreAnswer::Heads { heads, more }
            }
            StoreCommand::Put { records } => self.put(records, changes),
            StoreCommand::Scan {
                span,
                after,
                bytes_max,
            } => {
                let (records, more) =
                    self.page(span, after.as_ref(), bytes_max, Clone::clone, Record::size);
                StoreAnswer::Page { records, more }
            }
            StoreCommand::List {
                span,
                after,
                bytes_max,
            } => {
                let (heads, more) =
                    self.page(span, after.as_ref(), bytes_max, Record::head, Head::size);
                StoreAnswer::Heads { heads, more }
            }
            StoreCommand::Sums { span } => self.sums(span),
            StoreCommand::Discard { heads } => self.discard(&heads, changes),
            StoreCommand::Sweep { now, bury, limit } => self.sweep(now, bury, limit, changes),
        }
    }

    /// Puts back what was stored before a write that a crash undid.
    pub fn undo(&mut self, key: &Key, before: Option<Record>) {
        match before {
            Some(record) => self.insert(record),
            None => self.remove(&place(key)),
        }
    }

    fn put(&mut self, records: Vec<Record>, changes: &mut Vec<Change>) -> StoreAnswer {
        let mut newer = Vec::new();
        for (at, record) in records.into_iter().enumerate() {
            let stored = self.get(&record.key).map(|record| record.header.version);
            match stored {
                Some(version) if version > record.header.version => {
                    newer.push((u16::try_from(at).unwrap_or(u16::MAX), version));
                }
                Some(version) if version == record.header.version => {}
                Some(_) | None => {
                    let version = Some(record.header.version);
                    changes.push(Change {
                        key: record.key.clone(),
                        version,
                    });
                    self.insert(record);
                }
            }
        }
        StoreAnswer::Put { newer }
    }

    /// Entries of `span` behind `after` until their sizes would exceed `bytes_max`, but at
    /// least one; and whether there are more.
    fn page<T>(
        &self,
        span: Span,
        after: Option<&Key>,
        bytes_max: u32,
        entry: fn(&Record) -> T,
        size: fn(&T) -> usize,
    ) -> (Vec<T>, bool) {
        let resume = after
            .filter(|key| span.contains(key.position()))
            .map(|key| (span.rank(key.position()), key.bytes()));
        let behind = |&(place, _): &(&(Id, Bytes), &Record)| {
            resume.is_none_or(|resume| (span.rank(place.0), &place.1) > resume)
        };
        let ranges = span.ranges().into_iter().flatten();
        let stored = ranges.flat_map(|(first, last)| self.range(first, last));
        let stored = stored.filter(behind).map(|(_, record)| record);
        fill(stored, bytes_max, entry, size)
    }

    fn sums(&self, span: Span) -> StoreAnswer {
        let edge = |edge: Span| {
            let (heads, _) = self.page(edge, None, u32::MAX, Record::head, Head::size);
            Ok::<_, Infallible>(heads)
        };
        let Ok(sums) = self.leaves.answer(span, edge);
        StoreAnswer::Sums { sums }
    }

    fn insert(&mut self, record: Record) {
        let place = place(&record.key);
        self.remove(&place);
        self.leaves.insert(&record.head());
        self.records.insert(place, record);
    }

    fn remove(&mut self, place: &(Id, Bytes)) {
        if let Some(record) = self.records.remove(place) {
            self.leaves.remove(&record.head());
        }
    }

    fn range(&self, first: Id, last: Id) -> impl Iterator<Item = (&(Id, Bytes), &Record)> {
        self.records
            .range((first, Bytes::new())..)
            .take_while(move |(place, _)| place.0 <= last)
    }

    fn discard(&mut self, heads: &[Head], changes: &mut Vec<Change>) -> StoreAnswer {
        let mut count = 0;
        for head in heads {
            let stored = self.get(&head.key).map(|record| record.header.version);
            if stored.is_some_and(|version| version <= head.version) {
                self.remove(&place(&head.key));
                changes.push(Change {
                    key: head.key.clone(),
                    version: None,
                });
                count += 1;
            }
        }
        StoreAnswer::Discarded { count }
    }

    fn sweep(
        &mut self,
        now: Instant,
        bury: Instant,
        limit: u32,
        changes: &mut Vec<Change>,
    ) -> StoreAnswer {
        let mut expired = 0;
        let mut more = false;
        let mut buried = Vec::new();
        for (place, record) in &mut self.records {
            let header = &mut record.header;
            let over = !header.tombstone && header.expires <= now;
            let done = header.tombstone && header.shadow < bury;
            if !over && !done {
                continue;
            }
            let gone = u32::try_from(buried.len()).unwrap_or(u32::MAX);
            if gone.saturating_add(expired) >= limit {
                more = true;
                break;
            }
            if over {
                expired += 1;
                header.tombstone = true;
                record.value = Bytes::new();
            } else {
                changes.push(Change {
                    key: record.key.clone(),
                    version: None,
                });
                buried.push(place.clone());
            }
        }
        for place in &buried {
            self.remove(place);
        }
        StoreAnswer::Swept {
            expired,
            buried: u32::try_from(buried.len()).unwrap_or(u32::MAX),
            more,
        }
    }
}

fn place(key: &Key) -> (Id, Bytes) {
    (key.position(), key.bytes().clone())
}

/// Entries until their sizes would exceed `bytes_max`, but at least one; and whether there
/// are more.
fn fill<'a, T>(
    records: impl Iterator<Item = &'a Record>,
    bytes_max: u32,
    entry: fn(&Record) -> T,
    size: fn(&T) -> usize,
) -> (Vec<T>, bool) {
    let mut taken = Vec::new();
    let mut bytes = 0_usize;
    for record in records {
        let entry = entry(record);
        bytes = bytes.saturating_add(size(&entry));
        if !taken.is_empty() && bytes > bytes_max as usize {
            return (taken, true);
        }
        taken.push(entry);
    }
    (taken, false)
}

#[cfg(test)]
mod tests {
    use chord_core::draw::{below, draw};
    use chord_core::message::{Header, OperationId};

    use super::*;

    fn key(n: u64) -> Key {
        Key::new(Bytes::copy_from_slice(&n.to_be_bytes())).expect("eight bytes")
    }

    fn record(n: u64, time: u64, expires: u64, shadow: u64) -> Record {
        Record {
            key: key(n),
            value: Bytes::from(vec![7; (n % 50) as usize]),
            header: Header {
                version: Version {
                    time,
                    writer: Id::ZERO,
                },
                operation: OperationId::default(),
                copies: 3,
                tombstone: false,
                expires: Instant(expires),
                shadow: Instant(shadow),
            },
        }
    }

    /// The same semantics over an unordered list, written for obviousness.
    #[derive(Default)]
    struct Naive(Vec<Record>);

    impl Naive {
        fn put(&mut self, record: Record) -> Option<Version> {
            let stored = self.0.iter().position(|r| r.key == record.key);
            let Some(at) = stored else {
                self.0.push(record);
                return None;
            };
            let version = self.0[at].header.version;
            if version < record.header.version {
                self.0[at] = record;
            } else if version > record.header.version {
                return Some(version);
            }
            None
        }

        fn scan(&self, span: Span) -> Vec<Record> {
            let mut inside: Vec<Record> = self
                .0
                .iter()
                .filter(|r| span.contains(r.key.position()))
                .cloned()
                .collect();
            inside.sort_by_key(|r| (span.rank(r.key.position()), r.key.bytes().clone()));
            inside
        }
    }

    fn pages(disk: &mut Disk, span: Span, bytes_max: u32) -> Vec<Record> {
        let mut all: Vec<Record> = Vec::new();
        loop {
            let after = all.last().map(|record| record.key.clone());
            let command = StoreCommand::Scan {
                span,
                after,
                bytes_max,
            };
            let StoreAnswer::Page { records, more } = disk.carry_out(command, &mut Vec::new())
            else {
                panic!("a scan answers a page");
            };
            let size: usize = records.iter().map(Record::size).sum();
            assert!(records.len() <= 1 || size <= bytes_max as usize, "{size}");
            assert!(
                !records.is_empty() || !more,
                "a page that promises more holds something"
            );
            all.extend(records);
            if !more {
                return all;
            }
        }
    }

    #[test]
    fn random_commands_agree_with_an_unordered_list() {
        for seed in 0..30 {
            let mut disk = Disk::default();
            let mut naive = Naive::default();
            let mut n = 0;
            let mut next = |bound: u64| {
                n += 1;
                below(draw(seed, 0, n), bound)
            };
            for _ in 0..300 {
                let record = record(next(40), next(20), 100, 100);
                let version = record.header.version;
                match next(4) {
                    0 => {
                        let head = Head {
                            key: record.key.clone(),
                            version,
                            copies: 3,
                        };
                        let had = naive.0.len();
                        naive
                            .0
                            .retain(|r| r.key != head.key || r.header.version > version);
                        let gone = u32::try_from(had - naive.0.len()).expect("at most one");
                        let command = StoreCommand::Discard { heads: vec![head] };
                        let answer = disk.carry_out(command, &mut Vec::new());
                        assert_eq!(answer, StoreAnswer::Discarded { count: gone });
                    }
                    _ => {
                        let newer = naive.put(record.clone());
                        let newer = newer.map(|version| (0, version)).into_iter().collect();
                        let command = StoreCommand::Put {
                            records: vec![record],
                        };
                        let answer = disk.carry_out(command, &mut Vec::new());
                        assert_eq!(answer, StoreAnswer::Put { newer });
                    }
                }
                let span = Span::new(key(next(40)).position(), key(next(40)).position());
                let bytes_max = u32::try_from(next(2_000)).expect("small");
                assert_eq!(
                    pages(&mut disk, span, bytes_max),
                    naive.scan(span),
                    "seed {seed}"
                );
            }
        }
    }

    #[test]
    fn a_list_is_a_scan_without_values() {
        let mut disk = Disk::default();
        let records: Vec<Record> = (0..20).map(|n| record(n, 1, 9, 9)).collect();
        disk.carry_out(StoreCommand::Put { records }, &mut Vec::new());
        let span = Span::whole(key(3).position());
        let whole = pages(&mut disk, span, 1_000_000);
        let command = StoreCommand::List {
            span,
            after: None,
            bytes_max: 1_000_000,
        };
        let StoreAnswer::Heads { heads, more } = disk.carry_out(command, &mut Vec::new()) else {
            panic!("a list answers heads");
        };
        assert!(!more);
        assert_eq!(heads, whole.iter().map(Record::head).collect::<Vec<_>>());
    }

    #[test]
    fn a_sweep_turns_expired_records_into_tombstones_and_buries_old_ones_within_its_limit() {
        let mut disk = Disk::default();
        let records = vec![
            record(1, 1, 10, 10),
            record(2, 1, 20, 90),
            record(3, 1, 99, 99),
        ];
        disk.carry_out(StoreCommand::Put { records }, &mut Vec::new());
        let sweep = |disk: &mut Disk, now: u64, bury: u64, limit: u32| {
            let command = StoreCommand::Sweep {
                now: Instant(now),
                bury: Instant(bury),
                limit,
            };
            let mut changes = Vec::new();
            (disk.carry_out(command, &mut changes), changes)
        };

        let (answer, changes) = sweep(&mut disk, 20, 0, 1);
        assert_eq!(
            answer,
            StoreAnswer::Swept {
                expired: 1,
                buried: 0,
                more: true
            }
        );
        assert!(changes.is_empty(), "a tombstone keeps its version");
        assert_eq!(
            sweep(&mut disk, 20, 0, 9).0,
            StoreAnswer::Swept {
                expired: 1,
                buried: 0,
                more: false
            }
        );
        let tombstone = disk.get(&key(2)).expect("kept");
        assert!(tombstone.header.tombstone && tombstone.value.is_empty());
        assert!(disk.get(&key(3)).expect("kept").is_live(Instant(20)));

        let (answer, changes) = sweep(&mut disk, 20, 50, 9);
        assert_eq!(
            answer,
            StoreAnswer::Swept {
                expired: 0,
                buried: 1,
                more: false
            }
        );
        assert_eq!(
            changes,
            [Change {
                key: key(1),
                version: None
            }]
        );
        assert_eq!(disk.len(), 2);
    }

    #[test]
    fn every_change_of_a_version_is_reported_once() {
        let mut disk = Disk::default();
        let mut changes = Vec::new();
        for time in [1, 1, 3, 2] {
            let records = vec![record(1, time, 9, 9)];
            disk.carry_out(StoreCommand::Put { records }, &mut changes);
        }
        let versions: Vec<u64> = changes
            .iter()
            .filter_map(|change| change.version)
            .map(|v| v.time)
            .collect();
        assert_eq!(versions, [1, 3]);
    }
}
