//! Records in memory, ordered by ring position, then key.
//!
//! ```text
//! records   (position, key) → value, header     pages are ranges of it
//! expiring  (expires, place)                    live records: a sweep reads its front
//! shadows   (shadow, place)                     tombstones: likewise
//! ```
//!
//! A key or value that arrives is a slice of the frame that carried it. What is kept is a
//! copy, key and value in one allocation: a hundred bytes must not hold a page of 512 KiB.
//!
//! **Invariant:** every record is in exactly one of `expiring` and `shadows`.
//! **Invariant:** a tombstone's value is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Bound;

use bytes::{Bytes, BytesMut};
use chord_core::event::{StoreAnswer, StoreCommand, StoreError};
use chord_core::id::{Id, Span};
use chord_core::message::{Head, Header, Key, Record, Version};
use chord_core::sums::Leaves;
use chord_core::time::{Instant, Now};

use crate::store::{Stats, Store, Token};

/// The order of the store, and of every page: position, then key bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    position: Id,
    key: Bytes,
}

impl Place {
    fn of(key: &Key) -> Self {
        Self {
            position: key.position(),
            key: key.bytes().clone(),
        }
    }

    /// Before every key of this position.
    fn before(position: Id) -> Self {
        Self {
            position,
            key: Bytes::new(),
        }
    }

    fn to_key(&self) -> Key {
        Key::new(self.key.clone()).expect("places are made of keys")
    }
}

/// What is kept under a key.
#[derive(Clone, Debug)]
struct Entry {
    value: Bytes,
    header: Header,
}

impl Entry {
    fn head(&self, key: Key) -> Head {
        Head {
            key,
            version: self.header.version,
            copies: self.header.copies,
        }
    }
}

/// Records in memory; gone with the process. Never fails, never full.
#[derive(Debug, Default)]
pub struct Memory {
    records: BTreeMap<Place, Entry>,
    expiring: BTreeSet<(Instant, Place)>,
    shadows: BTreeSet<(Instant, Place)>,
    leaves: Leaves,
    bytes: u64,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn get(&self, key: &Key) -> Option<Record> {
        let entry = self.records.get(&Place::of(key))?;
        Some(Record {
            key: key.clone(),
            value: entry.value.clone(),
            header: entry.header,
        })
    }

    fn head(&self, key: &Key) -> Option<Head> {
        let entry = self.records.get(&Place::of(key))?;
        Some(entry.head(key.clone()))
    }

    fn get_many(&self, keys: &[Key], bytes_max: u32) -> StoreAnswer {
        let (mut records, mut total, mut more) = (Vec::new(), 0, false);
        for record in keys.iter().filter_map(|key| self.get(key)) {
            if !fits(&mut total, record.size(), bytes_max) {
                more = true;
                break;
            }
            records.push(record);
        }
        StoreAnswer::Page { records, more }
    }

    /// Stores one record unless the same or a higher version is there; says the higher one.
    fn put(&mut self, record: &Record) -> Option<Version> {
        let mut header = record.header;
        if let Some(stored) = self.records.get(&Place::of(&record.key)) {
            if stored.header.version >= header.version {
                let newer = stored.header.version > header.version;
                return newer.then_some(stored.header.version);
            }
            // What it replaces may survive elsewhere for as long as it would have lived.
            header.shadow = header.shadow.max(stored.header.shadow);
        }
        let value: &[u8] = if header.tombstone { &[] } else { &record.value };
        let (place, value) = compact(&record.key, value);
        self.remove(&place);
        self.insert(place, Entry { value, header });
        None
    }

    fn insert(&mut self, place: Place, entry: Entry) {
        self.bytes = self.bytes.saturating_add(size(&place, &entry));
        let (index, when) = index_of(&mut self.expiring, &mut self.shadows, &entry.header);
        index.insert((when, place.clone()));
        self.leaves.insert(&entry.head(place.to_key()));
        self.records.insert(place, entry);
    }

    fn remove(&mut self, place: &Place) -> Option<Entry> {
        let (place, entry) = self.records.remove_entry(place)?;
        self.bytes = self.bytes.saturating_sub(size(&place, &entry));
        let (index, when) = index_of(&mut self.expiring, &mut self.shadows, &entry.header);
        self.leaves.remove(&entry.head(place.to_key()));
        index.remove(&(when, place));
        Some(entry)
    }

    /// The records of a span behind `after`, in ring order. An `after` outside the span
    /// skips nothing.
    fn walk(&self, span: Span, after: Option<&Key>) -> impl Iterator<Item = (&Place, &Entry)> {
        let after = after
            .filter(|key| span.contains(key.position()))
            .map(Place::of);
        span.ranges()
            .into_iter()
            .flatten()
            .flat_map(move |(first, last)| {
                let start = start_in(span, (first, last), after.as_ref());
                start.into_iter().flat_map(move |start| {
                    let range = self.records.range((start, Bound::Unbounded));
                    range.take_while(move |(place, _)| place.position <= last)
                })
            })
    }

    fn scan(&self, span: Span, after: Option<&Key>, bytes_max: u32) -> StoreAnswer {
        let (mut records, mut total, mut more) = (Vec::new(), 0, false);
        for (place, entry) in self.walk(span, after) {
            let record = Record {
                key: place.to_key(),
                value: entry.value.clone(),
                header: entry.header,
            };
            if !fits(&mut total, record.size(), bytes_max) {
                more = true;
                break;
            }
            records.push(record);
        }
        StoreAnswer::Page { records, more }
    }

    fn list(&self, span: Span, after: Option<&Key>, bytes_max: u32) -> StoreAnswer {
        let (mut heads, mut total, mut more) = (Vec::new(), 0, false);
        for (place, entry) in self.walk(span, after) {
            let head = entry.head(place.to_key());
            if !fits(&mut total, head.size(), bytes_max) {
                more = true;
                break;
            }
            heads.push(head);
        }
        StoreAnswer::Heads { heads, more }
    }

    fn sums(&self, span: Span) -> StoreAnswer {
        let edge = |edge: Span| {
            let heads = self.walk(edge, None);
            let heads = heads.map(|(place, entry)| entry.head(place.to_key()));
            Ok::<_, Infallible>(heads.collect())
        };
        let Ok(sums) = self.leaves.answer(span, edge);
        StoreAnswer::Sums { sums }
    }

    fn discard(&mut self, heads: &[Head]) -> StoreAnswer {
        let mut count = 0;
        for head in heads {
            let place = Place::of(&head.key);
            let old = self
                .records
                .get(&place)
                .is_some_and(|entry| entry.header.version <= head.version);
            if old && self.remove(&place).is_some() {
                count += 1;
            }
        }
        StoreAnswer::Discarded { count }
    }

    fn sweep(&mut self, now: Instant, bury: Instant, limit: u32) -> StoreAnswer {
        let (mut expired, mut buried) = (0, 0);
        while expired < limit {
            let Some((_, place)) = self.expiring.first().filter(|(at, _)| *at <= now).cloned()
            else {
                break;
            };
            let mut entry = self
                .remove(&place)
                .expect("an index names only stored records");
            entry.header.tombstone = true;
            entry.value = Bytes::new();
            // A fresh copy of the key: the old one shares its allocation with the value.
            self.insert(compact(&place.to_key(), &[]).0, entry);
            expired += 1;
        }
        while expired + buried < limit {
            let Some((_, place)) = self.shadows.first().filter(|(at, _)| *at < bury).cloned()
            else {
                break;
            };
            self.remove(&place)
                .expect("an index names only stored records");
            buried += 1;
        }
        let more = self.expiring.first().is_some_and(|(at, _)| *at <= now)
            || self.shadows.first().is_some_and(|(at, _)| *at < bury);
        StoreAnswer::Swept {
            expired,
            buried,
            more,
        }
    }
}

impl Memory {
    /// Carries out one command.
    fn execute(&mut self, command: StoreCommand) -> StoreAnswer {
        match command {
            StoreCommand::Get { key } => StoreAnswer::Record(self.get(&key)),
            StoreCommand::GetMany { keys, bytes_max } => self.get_many(&keys, bytes_max),
            StoreCommand::Heads { keys } => StoreAnswer::Heads {
                heads: keys.iter().filter_map(|key| self.head(key)).collect(),
                more: false,
            },
            StoreCommand::Put { records } => {
                let mut newer = Vec::new();
                for (at, record) in records.iter().enumerate() {
                    if let Some(version) = self.put(record) {
                        newer.push((u16::try_from(at).unwrap_or(u16::MAX), version));
                    }
                }
                StoreAnswer::Put { newer }
            }
            StoreCommand::Scan {
                span,
                after,
                bytes_max,
            } => self.scan(span, after.as_ref(), bytes_max),
            StoreCommand::List {
                span,
                after,
                bytes_max,
            } => self.list(span, after.as_ref(), bytes_max),
            StoreCommand::Sums { span } => self.sums(span),
            StoreCommand::Discard { heads } => self.discard(&heads),
            StoreCommand::Sweep { now, bury, limit } => self.sweep(now, bury, limit),
        }
    }
}

impl Store for Memory {
    fn submit(
        &mut self,
        _token: Token,
        command: StoreCommand,
        _now: Now,
    ) -> Option<Result<StoreAnswer, StoreError>> {
        Some(Ok(self.execute(command)))
    }

    fn flush(&mut self) {}

    fn outlives(&self) -> bool {
        false
    }

    fn stats(&self) -> Stats {
        Stats {
            records: self.expiring.len() as u64,
            tombstones: self.shadows.len() as u64,
            bytes: self.bytes,
        }
    }
}

/// Which index a record is in, and under which time.
fn index_of<'a>(
    expiring: &'a mut BTreeSet<(Instant, Place)>,
    shadows: &'a mut BTreeSet<(Instant, Place)>,
    header: &Header,
) -> (&'a mut BTreeSet<(Instant, Place)>, Instant) {
    if header.tombstone {
        (shadows, header.shadow)
    } else {
        (expiring, header.expires)
    }
}

/// Where a walk that has passed `after` begins in one range of a span; `None`: the range
/// lies behind it.
fn start_in(span: Span, (first, last): (Id, Id), after: Option<&Place>) -> Option<Bound<Place>> {
    let Some(after) = after else {
        return Some(Bound::Included(Place::before(first)));
    };
    let passed = span.rank(after.position);
    if passed < span.rank(first) {
        return Some(Bound::Included(Place::before(first)));
    }
    (passed <= span.rank(last)).then(|| Bound::Excluded(after.clone()))
}

/// Key and value copied into one allocation of their own.
fn compact(key: &Key, value: &[u8]) -> (Place, Bytes) {
    let mut both = BytesMut::with_capacity(key.bytes().len() + value.len());
    both.extend_from_slice(key.bytes());
    both.extend_from_slice(value);
    let mut bytes = both.freeze();
    let value = bytes.split_off(key.bytes().len());
    (
        Place {
            position: key.position(),
            key: bytes,
        },
        value,
    )
}

fn size(place: &Place, entry: &Entry) -> u64 {
    place.key.len() as u64 + entry.value.len() as u64
}

/// Adds an entry to a page unless that would exceed its bound; the first always fits.
fn fits(total: &mut usize, entry: usize, bytes_max: u32) -> bool {
    let grown = total.saturating_add(entry);
    if *total > 0 && grown > usize::try_from(bytes_max).unwrap_or(usize::MAX) {
        return false;
    }
    *total = grown;
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new(Bytes::copy_from_slice(name.as_bytes())).expect("short and not empty")
    }

    fn record(name: &str, version: u64, value: &[u8]) -> Record {
        Record {
            key: key(name),
            value: Bytes::copy_from_slice(value),
            header: Header {
                version: Version {
                    time: version,
                    writer: Id::ZERO,
                },
                operation: chord_core::message::OperationId::default(),
                copies: 3,
                tombstone: false,
                expires: Instant(1_000),
                shadow: Instant(1_000),
            },
        }
    }

    fn run(store: &mut Memory, command: StoreCommand) -> StoreAnswer {
        store.execute(command)
    }

    fn put(store: &mut Memory, record: Record) -> Vec<(u16, Version)> {
        match run(
            store,
            StoreCommand::Put {
                records: vec![record],
            },
        ) {
            StoreAnswer::Put { newer } => newer,
            other => panic!("{other:?}"),
        }
    }

    fn get(store: &mut Memory, name: &str) -> Option<Record> {
        match run(store, StoreCommand::Get { key: key(name) }) {
            StoreAnswer::Record(record) => record,
            other => panic!("{other:?}"),
        }
    }

    fn scan(
        store: &mut Memory,
        span: Span,
        after: Option<Key>,
        bytes_max: u32,
    ) -> (Vec<Record>, bool) {
        match run(
            store,
            StoreCommand::Scan {
                span,
                after,
                bytes_max,
            },
        ) {
            StoreAnswer::Page { records, more } => (records, more),
            other => panic!("{other:?}"),
        }
    }

    fn sweep(store: &mut Memory, now: u64, bury: u64, limit: u32) -> ([u32; 2], bool) {
        match run(
            store,
            StoreCommand::Sweep {
                now: Instant(now),
                bury: Instant(bury),
                limit,
            },
        ) {
            StoreAnswer::Swept {
                expired,
                buried,
                more,
            } => ([expired, buried], more),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_higher_version_wins_and_the_same_is_stored_already() {
        let mut store = Memory::new();
        assert_eq!(put(&mut store, record("a", 5, b"five")), []);
        assert_eq!(put(&mut store, record("a", 5, b"other")), []);
        assert_eq!(get(&mut store, "a").expect("stored").value, "five");
        let newer = Version {
            time: 5,
            writer: Id::ZERO,
        };
        assert_eq!(put(&mut store, record("a", 4, b"four")), [(0, newer)]);
        assert_eq!(put(&mut store, record("a", 6, b"six")), []);
        assert_eq!(get(&mut store, "a").expect("stored").value, "six");
        assert_eq!(get(&mut store, "b"), None);
    }

    #[test]
    fn a_replacement_keeps_the_longer_shadow() {
        let mut store = Memory::new();
        let mut long = record("a", 1, b"x");
        long.header.shadow = Instant(9_000);
        put(&mut store, long);
        put(&mut store, record("a", 2, b"y"));
        assert_eq!(
            get(&mut store, "a").expect("stored").header.shadow,
            Instant(9_000)
        );
    }

    #[test]
    fn an_expired_record_becomes_a_tombstone_and_goes_after_its_shadow() {
        let mut store = Memory::new();
        put(&mut store, record("a", 1, b"value"));
        assert_eq!(sweep(&mut store, 999, 0, 10), ([0, 0], false));
        assert_eq!(sweep(&mut store, 1_000, 0, 10), ([1, 0], false));
        let stone = get(&mut store, "a").expect("still there");
        assert!(stone.header.tombstone && stone.value.is_empty());
        assert_eq!(
            store.stats(),
            Stats {
                records: 0,
                tombstones: 1,
                bytes: 1
            }
        );
        assert_eq!(put(&mut store, record("a", 1, b"value")), []);
        assert!(get(&mut store, "a").expect("still there").header.tombstone);
        assert_eq!(sweep(&mut store, 1_000, 1_000, 10), ([0, 0], false));
        assert_eq!(sweep(&mut store, 1_000, 1_001, 10), ([0, 1], false));
        assert_eq!(get(&mut store, "a"), None);
        assert_eq!(store.stats(), Stats::default());
    }

    #[test]
    fn a_sweep_stops_at_its_limit_and_says_so() {
        let mut store = Memory::new();
        for name in ["a", "b", "c"] {
            put(&mut store, record(name, 1, b"value"));
        }
        assert_eq!(sweep(&mut store, 2_000, 0, 2), ([2, 0], true));
        assert_eq!(sweep(&mut store, 2_000, 0, 2), ([1, 0], false));
    }

    #[test]
    fn a_page_holds_at_least_one_record_and_the_next_resumes_behind_it() {
        let mut store = Memory::new();
        for name in ["a", "b", "c"] {
            put(&mut store, record(name, 1, &[7; 500]));
        }
        let span = Span::whole(key("b").position());
        let mut after = None;
        let mut seen = Vec::new();
        loop {
            let (records, more) = scan(&mut store, span, after.clone(), 1);
            assert_eq!(records.len(), 1);
            seen.push(records[0].key.clone());
            after = Some(records[0].key.clone());
            if !more {
                break;
            }
        }
        assert_eq!(seen.len(), 3);
        assert_eq!(seen.last(), Some(&key("b")), "the span ends there");
        assert_eq!(scan(&mut store, span, after, 1), (vec![], false));
    }

    #[test]
    fn discarding_spares_what_is_newer() {
        let mut store = Memory::new();
        put(&mut store, record("a", 5, b"x"));
        put(&mut store, record("b", 5, b"x"));
        let head = |name, time| Head {
            key: key(name),
            version: Version {
                time,
                writer: Id::ZERO,
            },
            copies: 3,
        };
        let heads = vec![head("a", 4), head("b", 5), head("c", 9)];
        let answer = run(&mut store, StoreCommand::Discard { heads });
        assert_eq!(answer, StoreAnswer::Discarded { count: 1 });
        assert!(get(&mut store, "a").is_some() && get(&mut store, "b").is_none());
    }

    #[test]
    fn a_kept_value_does_not_hold_the_frame_it_came_in() {
        let frame = Bytes::from(vec![1; 100_000]);
        let mut small = record("a", 1, b"");
        small.value = frame.slice(5..10);
        let mut store = Memory::new();
        put(&mut store, small);
        assert!(frame.is_unique());
    }

    /// The same store, told in the plainest way: a list.
    #[derive(Default)]
    struct Model(Vec<Record>);

    impl Model {
        fn put(&mut self, record: Record) -> Vec<(u16, Version)> {
            let Some(stored) = self.0.iter_mut().find(|stored| stored.key == record.key) else {
                self.0.push(record);
                return vec![];
            };
            if stored.header.version > record.header.version {
                return vec![(0, stored.header.version)];
            }
            if stored.header.version < record.header.version {
                let shadow = stored.header.shadow.max(record.header.shadow);
                *stored = record;
                stored.header.shadow = shadow;
            }
            vec![]
        }

        fn sweep(&mut self, now: Instant, bury: Instant) {
            for record in &mut self.0 {
                if !record.header.tombstone && record.header.expires <= now {
                    record.header.tombstone = true;
                    record.value = Bytes::new();
                }
            }
            self.0
                .retain(|record| !record.header.tombstone || record.header.shadow >= bury);
        }

        fn span(&self, span: Span, after: Option<&Key>) -> Vec<Record> {
            let order = |key: &Key| (span.rank(key.position()), key.bytes().clone());
            let after = after.filter(|key| span.contains(key.position()));
            let mut inside: Vec<Record> = self
                .0
                .iter()
                .filter(|record| span.contains(record.key.position()))
                .filter(|record| after.is_none_or(|after| order(&record.key) > order(after)))
                .cloned()
                .collect();
            inside.sort_by_key(|record| order(&record.key));
            inside
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put {
            name: u8,
            version: u64,
            expires: u64,
            shadow: u64,
            tombstone: bool,
        },
        Sweep {
            now: u64,
            bury: u64,
        },
        Discard {
            name: u8,
            version: u64,
        },
        Scan {
            from: u8,
            upto: u8,
            after: Option<u8>,
            bytes_max: u32,
        },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..24_u8, 0..6_u64, 0..20_u64, 0..20_u64, any::<bool>()).prop_map(
                |(name, version, expires, shadow, tombstone)| Step::Put { name, version, expires, shadow, tombstone }
            ),
            1 => (0..20_u64, 0..20_u64).prop_map(|(now, bury)| Step::Sweep { now, bury }),
            1 => (0..24_u8, 0..6_u64).prop_map(|(name, version)| Step::Discard { name, version }),
            3 => (0..24_u8, 0..24_u8, proptest::option::of(0..24_u8), 0..900_u32).prop_map(
                |(from, upto, after, bytes_max)| Step::Scan { from, upto, after, bytes_max }
            ),
        ];
        proptest::collection::vec(step, 1..60)
    }

    fn name(n: u8) -> String {
        format!("key {n}")
    }

    proptest! {
        #[test]
        fn the_store_agrees_with_a_list(steps in steps()) {
            let (mut store, mut model) = (Memory::new(), Model::default());
            for step in steps {
                match step {
                    Step::Put { name: n, version, expires, shadow, tombstone } => {
                        let mut new = record(&name(n), version, &[n; 40]);
                        new.header.expires = Instant(expires);
                        new.header.shadow = Instant(shadow);
                        new.header.tombstone = tombstone;
                        if tombstone {
                            new.value = Bytes::new();
                        }
                        prop_assert_eq!(put(&mut store, new.clone()), model.put(new));
                    }
                    Step::Sweep { now, bury } => {
                        prop_assert!(!sweep(&mut store, now, bury, u32::MAX).1);
                        model.sweep(Instant(now), Instant(bury));
                    }
                    Step::Discard { name: n, version } => {
                        let version = Version { time: version, writer: Id::ZERO };
                        let heads = vec![Head { key: key(&name(n)), version, copies: 1 }];
                        run(&mut store, StoreCommand::Discard { heads });
                        model.0.retain(|r| r.key != key(&name(n)) || r.header.version > version);
                    }
                    Step::Scan { from, upto, after, bytes_max } => {
                        let span = Span::new(key(&name(from)).position(), key(&name(upto)).position());
                        let after = after.map(|n| key(&name(n)));
                        let wanted = model.span(span, after.as_ref());
                        let (records, more) = scan(&mut store, span, after.clone(), bytes_max);
                        prop_assert_eq!(&records[..], &wanted[..records.len()]);
                        prop_assert_eq!(more, records.len() < wanted.len());
                        prop_assert!(!records.is_empty() || wanted.is_empty());
                        let StoreAnswer::Heads { heads, .. } =
                            run(&mut store, StoreCommand::List { span, after, bytes_max: u32::MAX })
                        else { panic!("a list is answered with heads") };
                        prop_assert!(heads.iter().map(|h| &h.key).eq(wanted.iter().map(|r| &r.key)));
                    }
                }
                let live = model.0.iter().filter(|r| !r.header.tombstone).count();
                let bytes: usize = model.0.iter().map(|r| r.key.bytes().len() + r.value.len()).sum();
                let stats = store.stats();
                prop_assert_eq!((stats.records, stats.bytes), (live as u64, bytes as u64));
                prop_assert_eq!(stats.tombstones, (model.0.len() - live) as u64);
            }
        }
    }
}
