//! Changing records: the commands of one group, inside one transaction.
//!
//! **Invariant:** every record has exactly one entry in `ttl` and is part of exactly one sum,
//! in the same transaction.
//! **Invariant:** a command sees what those before it in the group did.

use chord_core::event::{StoreAnswer, StoreCommand};
use chord_core::id::Id;
use chord_core::message::{Head, Header, Key, Record, Version};
use chord_core::sums::{Sum, leaf_of};
use chord_core::time::Instant;
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::store::Stats;
use crate::store::disk::axis::Axis;
use crate::store::disk::fault::Fault;
use crate::store::disk::meta::{self, State};
use crate::store::disk::record::{self, ENTRY, Kind};

pub(super) const DATA: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("data");
pub(super) const TTL: TableDefinition<'static, &[u8; ENTRY], ()> = TableDefinition::new("ttl");
/// Leaf (2) and copies (1); the sum of 128 bits ([`chord_core::sums`]).
pub(super) const SUMS: TableDefinition<'static, &[u8; 3], &[u8; 16]> = TableDefinition::new("sums");
pub(super) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");

/// The tables of one write transaction.
pub(super) struct Tables<'t> {
    data: Table<'t, &'static [u8], &'static [u8]>,
    ttl: Table<'t, &'static [u8; ENTRY], ()>,
    sums: Table<'t, &'static [u8; 3], &'static [u8; 16]>,
    pub(super) meta: Table<'t, &'static str, &'static [u8]>,
    axis: Axis,
    /// What the transaction will leave.
    pub(super) stats: Stats,
    /// The highest version time stored.
    pub(super) clock: u64,
    /// Whether anything changed.
    pub(super) changed: bool,
}

impl<'t> Tables<'t> {
    pub(super) fn open(txn: &'t WriteTransaction, axis: Axis, state: State) -> Result<Self, Fault> {
        Ok(Self {
            data: txn.open_table(DATA)?,
            ttl: txn.open_table(TTL)?,
            sums: txn.open_table(SUMS)?,
            meta: txn.open_table(META)?,
            axis,
            stats: state.stats,
            clock: state.clock,
            changed: false,
        })
    }

    /// Carries out a command that writes; `None` for one that only reads.
    pub(super) fn apply(&mut self, command: &StoreCommand) -> Result<Option<StoreAnswer>, Fault> {
        Ok(Some(match command {
            StoreCommand::Put { records } => self.put_all(records)?,
            StoreCommand::Discard { heads } => self.discard(heads)?,
            StoreCommand::Sweep { now, bury, limit } => self.sweep(*now, *bury, *limit)?,
            StoreCommand::Get { .. }
            | StoreCommand::GetMany { .. }
            | StoreCommand::Heads { .. }
            | StoreCommand::Scan { .. }
            | StoreCommand::List { .. }
            | StoreCommand::Sums { .. } => return Ok(None),
        }))
    }

    fn put_all(&mut self, records: &[Record]) -> Result<StoreAnswer, Fault> {
        let mut newer = Vec::new();
        for (at, record) in records.iter().enumerate() {
            if let Some(version) = self.put(record)? {
                newer.push((u16::try_from(at).unwrap_or(u16::MAX), version));
            }
        }
        Ok(StoreAnswer::Put { newer })
    }

    /// Stores one record unless the same or a higher version is there; says the higher one.
    fn put(&mut self, record: &Record) -> Result<Option<Version>, Fault> {
        let place = record::place(&record.key);
        let mut header = record.header;
        if let Some(old) = self.old(&place)? {
            if old.version >= header.version {
                return Ok((old.version > header.version).then_some(old.version));
            }
            // What it replaces may survive elsewhere for as long as it would have lived.
            header.shadow = header.shadow.max(old.header.shadow);
            self.forget(&place, &old)?;
        }
        let value: &[u8] = if header.tombstone { &[] } else { &record.value };
        self.insert(&place, &header, value)?;
        Ok(None)
    }

    fn discard(&mut self, heads: &[Head]) -> Result<StoreAnswer, Fault> {
        let mut count = 0;
        for head in heads {
            let place = record::place(&head.key);
            if let Some(old) = self.old(&place)?
                && old.version <= head.version
            {
                self.remove(&place, &old)?;
                count += 1;
            }
        }
        Ok(StoreAnswer::Discarded { count })
    }

    fn sweep(&mut self, now: Instant, bury: Instant, limit: u32) -> Result<StoreAnswer, Fault> {
        let expired = self.axis.point(now);
        // Zero is what is left of "an hour ago" in the first hour of a process: nothing then.
        let buried = (bury > Instant(0)).then(|| self.axis.point(bury).saturating_sub(1));
        let (mut counts, mut more) = ([0; 2], false);
        let parts = [(Kind::Expiry, Some(expired)), (Kind::Shadow, buried)];
        for (at, (kind, until)) in parts.into_iter().enumerate() {
            let Some(until) = until else { continue };
            let due = self.due(kind, until, limit - counts[0])?;
            more |= due.more;
            for place in due.places {
                self.swept(kind, &place)?;
                counts[at] += 1;
            }
        }
        let [expired, buried] = counts;
        Ok(StoreAnswer::Swept {
            expired,
            buried,
            more,
        })
    }

    /// At most `limit` places whose time has come.
    fn due(&self, kind: Kind, until: u64, limit: u32) -> Result<Due, Fault> {
        let (first, last) = record::entries_until(kind, until);
        let mut due = Due {
            places: Vec::new(),
            more: false,
        };
        for row in self.ttl.range::<&[u8; ENTRY]>(&first..=&last)? {
            if due.places.len() >= limit as usize {
                due.more = true;
                break;
            }
            let (entry, _) = row?;
            due.places.push(self.named(entry.value())?);
        }
        Ok(due)
    }

    /// The place that an entry names.
    fn named(&self, entry: &[u8; ENTRY]) -> Result<Vec<u8>, Fault> {
        let position = record::position_of(entry).0;
        for row in self.data.range::<&[u8]>(position.as_slice()..)? {
            let (place, bytes) = row?;
            let place = place.value();
            if !place.starts_with(&position) {
                break;
            }
            if record::decode(place, bytes.value())?.entry(place) == *entry {
                return Ok(place.to_vec());
            }
        }
        Err(Fault::Damaged(
            "the index of lifetimes names what is not there".to_owned(),
        ))
    }

    fn swept(&mut self, kind: Kind, place: &[u8]) -> Result<(), Fault> {
        let Some(old) = self.old(place)? else {
            return Ok(());
        };
        match kind {
            Kind::Expiry => {
                self.forget(place, &old)?;
                let header = Header {
                    tombstone: true,
                    ..old.header
                };
                self.insert(place, &header, &[])
            }
            Kind::Shadow => self.remove(place, &old),
        }
    }

    /// What is stored at a place.
    fn old(&self, place: &[u8]) -> Result<Option<Old>, Fault> {
        let Some(bytes) = self.data.get(place)? else {
            return Ok(None);
        };
        let stored = record::decode(place, bytes.value())?;
        let header = stored.header(self.axis);
        Ok(Some(Old {
            version: stored.version(),
            header,
            entry: stored.entry(place),
            size: stored.size(place),
        }))
    }

    fn insert(&mut self, place: &[u8], header: &Header, value: &[u8]) -> Result<(), Fault> {
        let bytes = record::encode(place, header, value, self.axis);
        let stored = record::decode(place, &bytes)?;
        self.ttl.insert(&stored.entry(place), ())?;
        let count = if stored.is_tombstone() {
            &mut self.stats.tombstones
        } else {
            &mut self.stats.records
        };
        *count += 1;
        self.stats.bytes += stored.size(place);
        self.clock = self.clock.max(header.version.time);
        self.data.insert(place, bytes.as_slice())?;
        self.sum(place, header, Sum::plus)?;
        self.changed = true;
        Ok(())
    }

    fn remove(&mut self, place: &[u8], old: &Old) -> Result<(), Fault> {
        self.data.remove(place)?;
        self.forget(place, old)
    }

    /// Takes what is replaced or removed out of the index and the sums.
    fn forget(&mut self, place: &[u8], old: &Old) -> Result<(), Fault> {
        let count = if old.header.tombstone {
            &mut self.stats.tombstones
        } else {
            &mut self.stats.records
        };
        *count = count.saturating_sub(1);
        self.stats.bytes = self.stats.bytes.saturating_sub(old.size);
        self.changed = true;
        self.sum(place, &old.header, Sum::minus)?;
        match self.ttl.remove(&old.entry)? {
            Some(_) => Ok(()),
            None => Err(Fault::Damaged(
                "the index of lifetimes lacks a record".to_owned(),
            )),
        }
    }

    /// Puts a record into the sum of its leaf, or takes it out.
    fn sum(
        &mut self,
        place: &[u8],
        header: &Header,
        how: impl Fn(Sum, Sum) -> Sum,
    ) -> Result<(), Fault> {
        let position = Id(*place.first_chunk().ok_or(record::Garbled)?);
        let [high, low] = leaf_of(position).to_be_bytes();
        let row = [high, low, header.copies];
        let before = self.sums.get(&row)?;
        let before = before.map_or_else(Sum::default, |sum| sum_of(sum.value()));
        let after = how(before, Sum::at(position, header.version, header.copies));
        if after == Sum::default() {
            self.sums.remove(&row)?;
        } else {
            self.sums.insert(&row, &after.0.to_be_bytes())?;
        }
        Ok(())
    }

    /// Writes the row that goes with every commit.
    pub(super) fn state(&mut self, state: State) -> Result<(), Fault> {
        meta::write(&mut self.meta, "state", &state.encode())
    }
}

/// A stored sum.
pub(super) fn sum_of(bytes: &[u8; 16]) -> Sum {
    Sum(u128::from_be_bytes(*bytes))
}

/// What is about to be replaced or removed.
struct Old {
    version: Version,
    header: Header,
    entry: [u8; ENTRY],
    size: u64,
}

/// Places whose time has come.
struct Due {
    places: Vec<Vec<u8>>,
    more: bool,
}

/// Whether a command goes to the writer.
pub(super) fn writes(command: &StoreCommand) -> bool {
    match command {
        StoreCommand::Put { .. } | StoreCommand::Discard { .. } | StoreCommand::Sweep { .. } => {
            true
        }
        StoreCommand::Get { .. }
        | StoreCommand::GetMany { .. }
        | StoreCommand::Heads { .. }
        | StoreCommand::Scan { .. }
        | StoreCommand::List { .. }
        | StoreCommand::Sums { .. } => false,
    }
}

/// Bytes that a command holds while it waits.
pub(super) fn weight(command: &StoreCommand) -> usize {
    let of_key = |key: &Key| key.bytes().len() + 64;
    match command {
        StoreCommand::Put { records } => records.iter().map(Record::size).sum(),
        StoreCommand::Discard { heads } => heads.iter().map(Head::size).sum(),
        StoreCommand::Get { key } => of_key(key),
        StoreCommand::GetMany { keys, .. } | StoreCommand::Heads { keys } => {
            keys.iter().map(of_key).sum()
        }
        StoreCommand::Scan { .. }
        | StoreCommand::List { .. }
        | StoreCommand::Sums { .. }
        | StoreCommand::Sweep { .. } => 64,
    }
}
