//! Records as bytes.
//!
//! All numbers big-endian; times are points on the [`Axis`], in microseconds.
//!
//! | table | key | value |
//! |---|---|---|
//! | `data` | position 20, key 1–1,024 | layout 1, sum 8, flags 1, copies 1, version (time 8, writer 20), operation (gateway 20, incarnation 4, counter 8), expires 8, shadow 8, the value |
//! | `ttl` | kind 1, when 8, position 20, key sum 8 | nothing |
//!
//! `kind` is 0 for live records, whose `when` is their expiry, and 1 for tombstones, whose
//! `when` is the end of their shadow: a sweep reads two ranges from the front. The sum is the
//! XXH3-64 of everything behind it, seeded with that of position and key, so that a record
//! under a wrong key is as damaged as one with a wrong bit.
//!
//! **Invariant:** every record of `data` has exactly one entry in `ttl`.

use bytes::Bytes;
use chord_core::id::Id;
use chord_core::message::{Header, Key, OperationId, Record, Version};
use twox_hash::XxHash3_64;

use crate::store::disk::axis::Axis;

/// The layout this version writes; an unknown one is damage, since the schema says what may
/// be in the file.
const LAYOUT: u8 = 1;
/// Bytes before the value.
const HEAD: usize = 9 + 2 + 28 + 32 + 16;
/// Flag: a tombstone.
const TOMBSTONE: u8 = 1;
/// Bytes of a `ttl` key.
pub(super) const ENTRY: usize = 37;

/// Bytes that are no record of ours: damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Garbled;

/// Position, then key: the key of `data`.
pub(super) fn place(key: &Key) -> Vec<u8> {
    let mut place = Vec::with_capacity(20 + key.bytes().len());
    place.extend_from_slice(&key.position().0);
    place.extend_from_slice(key.bytes());
    place
}

/// The key at a place.
pub(super) fn key_at(place: &[u8]) -> Result<Key, Garbled> {
    let (position, bytes) = place.split_at_checked(20).ok_or(Garbled)?;
    let key = Key::new(Bytes::copy_from_slice(bytes)).ok_or(Garbled)?;
    if key.position().0 != position {
        return Err(Garbled);
    }
    Ok(key)
}

/// Header and value as bytes.
pub(super) fn encode(place: &[u8], header: &Header, value: &[u8], axis: Axis) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + value.len());
    out.extend_from_slice(&[LAYOUT, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.push(if header.tombstone { TOMBSTONE } else { 0 });
    out.push(header.copies);
    out.extend_from_slice(&header.version.time.to_be_bytes());
    out.extend_from_slice(&header.version.writer.0);
    out.extend_from_slice(&header.operation.gateway.0);
    out.extend_from_slice(&header.operation.incarnation.to_be_bytes());
    out.extend_from_slice(&header.operation.counter.to_be_bytes());
    out.extend_from_slice(&axis.point(header.expires).to_be_bytes());
    out.extend_from_slice(&axis.point(header.shadow).to_be_bytes());
    out.extend_from_slice(value);
    let sum = sum(place, out.get(9..).unwrap_or_default());
    if let Some(room) = out.get_mut(1..9) {
        room.copy_from_slice(&sum.to_be_bytes());
    }
    out
}

/// A stored header and value, its sum verified. Times are still points on the axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    /// `expires` and `shadow` are not filled in.
    header: Header,
    /// On the axis.
    pub(super) expires: u64,
    /// On the axis.
    pub(super) shadow: u64,
    pub(super) value: &'a [u8],
}

impl Stored<'_> {
    /// What is stored without times.
    pub(super) fn version(&self) -> Version {
        self.header.version
    }

    /// The header with times of the running process.
    pub(super) fn header(&self, axis: Axis) -> Header {
        Header {
            expires: axis.instant(self.expires),
            shadow: axis.instant(self.shadow),
            ..self.header
        }
    }

    /// The whole record.
    pub(super) fn record(&self, key: Key, axis: Axis) -> Record {
        Record {
            key,
            value: Bytes::copy_from_slice(self.value),
            header: self.header(axis),
        }
    }

    /// Its key in `ttl`.
    pub(super) fn entry(&self, place: &[u8]) -> [u8; ENTRY] {
        let (kind, when) = if self.header.tombstone {
            (Kind::Shadow, self.shadow)
        } else {
            (Kind::Expiry, self.expires)
        };
        entry(kind, when, place)
    }

    pub(super) fn is_tombstone(&self) -> bool {
        self.header.tombstone
    }

    /// Bytes of key and value.
    pub(super) fn size(&self, place: &[u8]) -> u64 {
        (place.len() - 20 + self.value.len()) as u64
    }
}

/// Takes stored bytes apart.
pub(super) fn decode<'a>(place: &[u8], bytes: &'a [u8]) -> Result<Stored<'a>, Garbled> {
    let (head, value) = bytes.split_at_checked(HEAD).ok_or(Garbled)?;
    let mut fields = Fields(head);
    let [layout] = fields.take()?;
    let stated = u64::from_be_bytes(fields.take()?);
    if layout != LAYOUT || place.len() <= 20 || stated != sum(place, bytes.get(9..).ok_or(Garbled)?)
    {
        return Err(Garbled);
    }
    let [flags, copies] = fields.take()?;
    let version = Version {
        time: u64::from_be_bytes(fields.take()?),
        writer: Id(fields.take()?),
    };
    let operation = OperationId {
        gateway: Id(fields.take()?),
        incarnation: u32::from_be_bytes(fields.take()?),
        counter: u64::from_be_bytes(fields.take()?),
    };
    Ok(Stored {
        expires: u64::from_be_bytes(fields.take()?),
        shadow: u64::from_be_bytes(fields.take()?),
        header: Header {
            version,
            operation,
            copies,
            tombstone: flags & TOMBSTONE != 0,
            expires: Default::default(),
            shadow: Default::default(),
        },
        value,
    })
}

/// The fields of a head, one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Garbled> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(Garbled)?;
        self.0 = rest;
        Ok(*field)
    }
}

/// Which part of `ttl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Live records, by expiry.
    Expiry = 0,
    /// Tombstones, by the end of their shadow.
    Shadow = 1,
}

/// A key of `ttl`.
pub(super) fn entry(kind: Kind, when: u64, place: &[u8]) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[0] = kind as u8;
    entry[1..9].copy_from_slice(&when.to_be_bytes());
    let (position, key) = place.split_at(20.min(place.len()));
    entry[9..9 + position.len()].copy_from_slice(position);
    entry[29..].copy_from_slice(&XxHash3_64::oneshot(key).to_be_bytes());
    entry
}

/// The first and last key of `ttl` of a kind up to a point of the axis.
pub(super) fn entries_until(kind: Kind, when: u64) -> ([u8; ENTRY], [u8; ENTRY]) {
    let first = entry(kind, 0, &[]);
    let mut last = [0xff; ENTRY];
    last[0] = kind as u8;
    last[1..9].copy_from_slice(&when.to_be_bytes());
    let mut first_of_all = first;
    first_of_all[29..].fill(0);
    (first_of_all, last)
}

/// The position in a key of `ttl`.
pub(super) fn position_of(entry: &[u8; ENTRY]) -> Id {
    let mut id = [0; 20];
    id.copy_from_slice(&entry[9..29]);
    Id(id)
}

fn sum(place: &[u8], rest: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(XxHash3_64::oneshot(place), rest)
}

#[cfg(test)]
mod tests {
    use chord_core::time::{Instant, Now};
    use proptest::prelude::*;

    use super::*;

    fn axis() -> Axis {
        let now = Now {
            mono: Instant(1_000),
            wall: 1_700_000_000_000_000,
        };
        Axis::resume(None, now).0
    }

    fn record(key: &[u8], value: &[u8]) -> Record {
        let id = |n| Id([n; 20]);
        Record {
            key: Key::new(Bytes::copy_from_slice(key)).expect("1 to 1,024 bytes"),
            value: Bytes::copy_from_slice(value),
            header: Header {
                version: Version {
                    time: 7,
                    writer: id(3),
                },
                operation: OperationId {
                    gateway: id(4),
                    incarnation: 5,
                    counter: 6,
                },
                copies: 3,
                tombstone: value.is_empty(),
                expires: Instant(9_999),
                shadow: Instant(u64::MAX),
            },
        }
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(key in proptest::collection::vec(any::<u8>(), 1..100),
                                         value in proptest::collection::vec(any::<u8>(), 0..300)) {
            let record = record(&key, &value);
            let place = place(&record.key);
            let bytes = encode(&place, &record.header, &record.value, axis());
            let stored = decode(&place, &bytes).expect("its own bytes");
            prop_assert_eq!(stored.record(key_at(&place).expect("a place"), axis()), record);
        }

        #[test]
        fn no_flipped_bit_goes_unseen(at in 0_usize..117, bit in 0_u8..8) {
            let record = record(b"key", &[1; 30]);
            let place = place(&record.key);
            let mut bytes = encode(&place, &record.header, &record.value, axis());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(decode(&place, &bytes).err(), Some(Garbled));
        }
    }

    #[test]
    fn a_record_under_another_key_is_damaged() {
        let (one, other) = (record(b"one", b"1"), record(b"other", b"1"));
        let bytes = encode(&place(&one.key), &one.header, &one.value, axis());
        assert!(decode(&place(&other.key), &bytes).is_err());
        let mut moved = place(&one.key);
        moved[0] ^= 1;
        assert!(key_at(&moved).is_err());
    }

    #[test]
    fn entries_lie_between_the_bounds_of_their_time() {
        let place = place(&record(b"key", b"").key);
        let (first, last) = entries_until(Kind::Shadow, 50);
        assert!(first <= entry(Kind::Shadow, 0, &place));
        assert!(entry(Kind::Shadow, 50, &place) <= last);
        assert!(entry(Kind::Shadow, 51, &place) > last);
        assert!(entry(Kind::Expiry, 50, &place) < first);
        assert_eq!(position_of(&entry(Kind::Expiry, 9, &place)).0, place[..20]);
    }
}
