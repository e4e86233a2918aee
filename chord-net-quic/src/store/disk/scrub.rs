//! Looking for rot where nobody reads.
//!
//! A holder's copy may lie unread for months, and a page that rots above it may hide keys
//! without a word: the sums that repair compares are stored apart and still look right. So
//! the pager walks through the records, piece by piece, when it has nothing else to do, and
//! now and then if it always has: each must have a checksum that matches, be found under its
//! own key, stand in the index of lifetimes, and the records of a leaf must add up to its
//! sum. Whatever does not fit is damage.

use std::collections::BTreeMap;

use chord_core::id::Id;
use chord_core::sums::{Sum, leaf_of};
use chord_core::time::{Instant, Micros};
use redb::ReadTransaction;

use crate::clock;
use crate::store::disk::Host;
use crate::store::disk::axis::Axis;
use crate::store::disk::fault::Fault;
use crate::store::disk::record::{self, Garbled};
use crate::store::disk::tables::{DATA, SUMS, TTL, sum_of};

/// Bytes of records that are read at a time: a millisecond or so.
const PIECE: usize = 256 << 10;
/// Before the first piece: a start has other things to do.
const FIRST: Micros = Micros::from_secs(1);
/// Between two pieces: 2.5 MB/s.
const PACE: Micros = Micros::from_millis(100);
/// From the end of a walk to the next.
const REST: Micros = Micros::from_secs(3_600);
/// A piece waits so long for a moment in which nobody else does.
const GRACE: Micros = Micros::from_secs(2);

/// How far the walk is.
#[derive(Debug)]
pub(super) struct Scrub {
    next: u16,
    due: Instant,
}

impl Scrub {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            due: clock::mono() + FIRST,
        }
    }

    /// Until the next piece, if nobody else waits.
    pub(super) fn pause(&self) -> Micros {
        self.due.since(clock::mono())
    }

    /// Whether the next piece has waited for too long.
    pub(super) fn is_overdue(&self) -> bool {
        clock::mono() >= self.due + GRACE
    }

    /// Verifies the next piece.
    pub(super) fn go_on(&mut self, host: &Host) {
        if host.broken.get().is_some() {
            self.due = clock::mono() + REST;
            return;
        }
        let pause;
        (self.next, pause) = match host.engine.verify(self.next) {
            Ok(Some(next)) => (next, PACE),
            Ok(None) => {
                host.lock_work().verified += 1;
                (0, REST)
            }
            // The file could not be opened again for lack of room: later.
            Err(Fault::NoRoom | Fault::Latched) => (self.next, FIRST),
            Err(fault) => {
                host.break_down(fault);
                (0, REST)
            }
        };
        self.due = clock::mono() + pause;
    }
}

/// Verifies whole leaves from `from` on, until a piece is read; returns the leaf that comes
/// next, or nothing at the end of the ring.
pub(super) fn verify(txn: &ReadTransaction, axis: Axis, from: u16) -> Result<Option<u16>, Fault> {
    let (data, ttl) = (txn.open_table(DATA)?, txn.open_table(TTL)?);
    let mut sums: BTreeMap<[u8; 3], Sum> = BTreeMap::new();
    let (mut bytes, mut last, mut next) = (0, None, None);
    for row in data.range::<&[u8]>(from.to_be_bytes().as_slice()..)? {
        let (place, value) = row?;
        let (place, value) = (place.value(), value.value());
        let position = Id(*place.first_chunk().ok_or(Garbled)?);
        let leaf = leaf_of(position);
        if last.is_some_and(|last| last > leaf) {
            return Err(damaged("records are not in their order"));
        }
        if bytes >= PIECE && last != Some(leaf) {
            next = Some(leaf);
            break;
        }
        last = Some(leaf);
        bytes += place.len() + value.len();
        let stored = record::decode(place, value)?;
        record::key_at(place)?;
        // A walk passes every page; a search goes by the signposts above them.
        if data.get(place)?.is_none() {
            return Err(damaged("a record is not found under its key"));
        }
        if ttl.get(&stored.entry(place))?.is_none() {
            return Err(damaged("the index of lifetimes lacks a record"));
        }
        let copies = stored.header(axis).copies;
        let [high, low] = leaf.to_be_bytes();
        let sum = sums.entry([high, low, copies]).or_default();
        *sum = sum.plus(Sum::at(position, stored.version(), copies));
    }
    let upto = next.map_or(u16::MAX, |next: u16| next.saturating_sub(1));
    let ([a, b], [c, d]) = (from.to_be_bytes(), upto.to_be_bytes());
    let stored = txn.open_table(SUMS)?;
    for row in stored.range::<&[u8; 3]>(&[a, b, 0]..=&[c, d, u8::MAX])? {
        let (leaf, sum) = row?;
        if sums.remove(leaf.value()) != Some(sum_of(sum.value())) {
            return Err(damaged("the records of a leaf are not those of its sum"));
        }
    }
    if sums.is_empty() {
        Ok(next)
    } else {
        Err(damaged("a leaf with records has no sum"))
    }
}

fn damaged(what: &str) -> Fault {
    Fault::Damaged(what.to_owned())
}
