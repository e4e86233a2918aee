//! What a disk may hold after the power went.
//!
//! At each point of a recorded run, everything before the last sync is there; of what was
//! written since, any part may be, in any order, and a write may have been cut anywhere.
//!
//! | variant | of the writes since the last sync |
//! |---|---|
//! | lost | none |
//! | kept | all |
//! | any | a random subset |
//! | torn | all up to one, of that its first sectors only; or its last sectors only |
//! | shredded | a random subset of all sectors, for sectors of 512 bytes and of 4 KiB |

use std::ops::Range;

use crate::support::Chance;
use crate::tape::{Op, write};

/// Whether the disk keeps its word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Syncs {
    /// What was written before a sync is there.
    Kept,
    /// A sync does nothing: the last so many operations may all be lost.
    Ignored(usize),
}

/// Calls `each` with every crash image of the points in `points`: how many operations had
/// been issued, and the bytes.
pub(crate) fn at_each_point(
    ops: &[Op],
    points: Range<usize>,
    syncs: Syncs,
    each: &mut impl FnMut(usize, &'static str, Vec<u8>),
) {
    let mut base = Vec::new();
    let mut based = 0;
    for point in points {
        let safe = match syncs {
            Syncs::Kept => ops[..point]
                .iter()
                .rposition(|op| matches!(op, Op::Sync))
                .map_or(0, |at| at + 1),
            Syncs::Ignored(window) => point.saturating_sub(window),
        };
        while based < safe {
            ops[based].apply(&mut base);
            based += 1;
        }
        variants(&base, &ops[safe..point], point, each);
    }
}

fn variants(
    base: &[u8],
    pending: &[Op],
    point: usize,
    each: &mut impl FnMut(usize, &'static str, Vec<u8>),
) {
    let mut chance = Chance(point as u64);
    let mut emit = |name, parts: &mut dyn FnMut(usize, u64) -> bool, sector| {
        each(point, name, image(base, pending, sector, parts));
    };
    emit("lost", &mut |_, _| false, u64::MAX);
    if pending.iter().all(|op| matches!(op, Op::Sync)) {
        return;
    }
    emit("kept", &mut |_, _| true, u64::MAX);
    for _ in 0..4 {
        let chosen: Vec<bool> = pending.iter().map(|_| chance.below(2) == 0).collect();
        emit("any", &mut |at, _| chosen[at], u64::MAX);
    }
    for sector in [512, 4_096] {
        for _ in 0..2 {
            let torn = chance.below(pending.len() as u64) as usize;
            let cut = chance.below(8);
            emit(
                "torn",
                &mut |at, n| at < torn || at == torn && n < cut,
                sector,
            );
            emit(
                "torn",
                &mut |at, n| at < torn || at == torn && n >= cut,
                sector,
            );
        }
        for _ in 0..3 {
            emit("shredded", &mut |_, _| chance.below(2) == 0, sector);
        }
    }
}

/// The bytes after those sectors of the pending writes that `parts` chooses.
fn image(
    base: &[u8],
    pending: &[Op],
    sector: u64,
    parts: &mut dyn FnMut(usize, u64) -> bool,
) -> Vec<u8> {
    let mut bytes = base.to_vec();
    let mut length = base.len();
    for (at, op) in pending.iter().enumerate() {
        match op {
            Op::Length(new) if parts(at, 0) => {
                length = *new as usize;
                bytes.resize(length, 0);
            }
            Op::Length(_) | Op::Sync => {}
            Op::Write { offset, data } => {
                let size = usize::try_from(sector)
                    .unwrap_or(usize::MAX)
                    .min(data.len().max(1));
                for (n, part) in data.chunks(size).enumerate() {
                    if parts(at, n as u64) {
                        write(&mut bytes, offset + (n * size) as u64, part);
                    }
                }
            }
        }
    }
    // What lies beyond the end of a file is not in it.
    bytes.truncate(length);
    bytes
}
