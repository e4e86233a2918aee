//! What a store says of itself.
//!
//! | row of `meta` | value, behind 8 bytes of XXH3-64 seeded with that of the row's name |
//! |---|---|
//! | `schema` | 4: the layout of the whole file |
//! | `writer` | the version that wrote it last, for people |
//! | `cluster`, `id` | whose it is |
//! | `incarnation` | 4: the life that opened it last |
//! | `state` | axis 8, wall 8, version clock 8, commits 8, records 8, tombstones 8, bytes 8, truth 8 (may be missing: wall); axis, wall and truth are the [`Pulse`] |
//! | `stopped` | nothing; there if the last life ended in order |
//!
//! Rows that an older reader does not know are left alone: `schema` grows only when what is
//! known changes its meaning.

use std::fmt;

use chord_core::id::Id;
use redb::{ReadableTable, Table};
use twox_hash::XxHash3_64;

use crate::store::Stats;
use crate::store::disk::axis::Pulse;
use crate::store::disk::fault::Fault;
use crate::store::disk::record::Garbled;

/// The newest layout that this version knows.
pub const SCHEMA: u32 = 1;

/// Whose store it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The cluster of its certificate.
    pub cluster: String,
    /// The host's id.
    pub id: Id,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.id, self.cluster)
    }
}

/// The row that changes with every commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) pulse: Pulse,
    /// The highest version time ever stored.
    pub(super) clock: u64,
    /// Groups ever committed: tells whether the last one was.
    pub(super) commits: u64,
    pub(super) stats: Stats,
}

impl State {
    pub(super) fn encode(self) -> Vec<u8> {
        let Self {
            pulse: Pulse { axis, wall, truth },
            clock,
            commits,
            stats,
        } = self;
        let fields = [
            axis,
            wall,
            clock,
            commits,
            stats.records,
            stats.tombstones,
            stats.bytes,
            truth,
        ];
        fields.into_iter().flat_map(u64::to_be_bytes).collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Garbled> {
        let (fields, []) = bytes.as_chunks::<8>() else {
            return Err(Garbled);
        };
        let &[
            axis,
            wall,
            clock,
            commits,
            records,
            tombstones,
            held,
            ref truth @ ..,
        ] = fields
        else {
            return Err(Garbled);
        };
        let &truth = match truth {
            [] => &wall,
            [truth] => truth,
            _ => return Err(Garbled),
        };
        let number = u64::from_be_bytes;
        Ok(Self {
            pulse: Pulse {
                axis: number(axis),
                wall: number(wall),
                truth: number(truth),
            },
            clock: number(clock),
            commits: number(commits),
            stats: Stats {
                records: number(records),
                tombstones: number(tombstones),
                bytes: number(held),
            },
        })
    }
}

/// Reads a row.
pub(super) fn read(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<Vec<u8>>, Fault> {
    let Some(row) = table.get(name)? else {
        return Ok(None);
    };
    let (stated, bytes) = row.value().split_first_chunk::<8>().ok_or(Garbled)?;
    if u64::from_be_bytes(*stated) != sum(name, bytes) {
        return Err(Garbled.into());
    }
    Ok(Some(bytes.to_vec()))
}

/// Writes a row.
pub(super) fn write(
    table: &mut Table<'_, &'static str, &'static [u8]>,
    name: &str,
    bytes: &[u8],
) -> Result<(), Fault> {
    let mut row = sum(name, bytes).to_be_bytes().to_vec();
    row.extend_from_slice(bytes);
    table.insert(name, row.as_slice())?;
    Ok(())
}

/// A row of four bytes.
pub(super) fn number(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<u32>, Fault> {
    let Some(bytes) = read(table, name)? else {
        return Ok(None);
    };
    let bytes = <[u8; 4]>::try_from(bytes.as_slice()).map_err(|_| Garbled)?;
    Ok(Some(u32::from_be_bytes(bytes)))
}

/// A row of text.
pub(super) fn text(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<String, Fault> {
    let bytes = read(table, name)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn sum(name: &str, bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(XxHash3_64::oneshot(name.as_bytes()), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_comes_back_as_it_was() {
        let state = State {
            pulse: Pulse {
                axis: 1,
                wall: 2,
                truth: 3,
            },
            clock: 3,
            commits: 7,
            stats: Stats {
                records: 4,
                tombstones: 5,
                bytes: 6,
            },
        };
        assert_eq!(State::decode(&state.encode()), Ok(state));
        assert_eq!(State::decode(&state.encode()[1..]), Err(Garbled));
        assert_eq!(State::decode(&[]), Err(Garbled));
    }
}
