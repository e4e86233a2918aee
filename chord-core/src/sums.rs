//! Fingerprints of spans: how two holders find what differs without listing what does not.
//!
//! ```text
//! owner ── Sums(span) ──▶ holder      both cut the span into the same parts
//!       ◀── a sum for each part and number of copies ──
//! equal: done · different: the same again within that part · small: the lists themselves
//! ```
//!
//! The ring is divided into 2¹⁶ *leaves* by the first two bytes of a position. A store keeps
//! one [`Sum`] for each leaf and each number of copies, in the same step as the record. A
//! span is cut at leaves, so only the two at its ends are ever summed record by record.
//! Sums are kept apart by copies because a holder of rank *k* has only the records of more
//! than *k* copies.
//!
//! A sum adds 128 bits of SHA-1 over position, version and copies, modulo 2¹²⁸ (an
//! incremental multiset hash: Bellare and Micciancio, *A new paradigm for collision-free
//! hashing*, Eurocrypt 1997). Records can be taken out again, and their order is of no
//! consequence. Members vouch for their sums as they vouch for their lists: who lies about
//! either harms only what it holds.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use sha1::{Digest, Sha1};

use crate::id::{Id, Span};
use crate::message::{Head, Version};

/// Parts that a span is cut into at most.
pub const PARTS: usize = 32;
/// Leaves of the ring.
const LEAVES: u32 = 1 << 16;

/// The sum of a set of records; of none it is zero.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sum(pub u128);

impl Sum {
    /// What one record adds.
    #[must_use]
    pub fn of(head: &Head) -> Self {
        Self::at(head.key.position(), head.version, head.copies)
    }

    /// What the record at a position adds.
    #[must_use]
    pub fn at(position: Id, version: Version, copies: u8) -> Self {
        let mut hash = Sha1::new();
        hash.update(position.0);
        hash.update(version.time.to_be_bytes());
        hash.update(version.writer.0);
        hash.update([copies]);
        let digest = hash.finalize();
        let (first, _) = digest.split_at(16);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(first);
        Self(u128::from_be_bytes(bytes))
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// This without what is known to be part of it.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

/// The sum of one part of a span over the records of one number of copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartSum {
    /// Index into [`parts`].
    pub part: u8,
    /// Wanted copies of these records.
    pub copies: u8,
    /// Never zero: what would be is left out.
    pub sum: Sum,
}

/// The leaf that a position lies in.
#[must_use]
pub const fn leaf_of(position: Id) -> u16 {
    u16::from_be_bytes([position.0[0], position.0[1]])
}

/// The last position of a leaf.
const fn end_of(leaf: u16) -> Id {
    let mut id = [0xff; 20];
    [id[0], id[1]] = leaf.to_be_bytes();
    Id(id)
}

/// A span as a run of leaves: the first, and how many follow it.
fn run(span: Span) -> (u16, u32) {
    let start = span.after.successor_position();
    let (first, last) = (leaf_of(start), leaf_of(span.upto));
    let more = u32::from(last.wrapping_sub(first));
    // Once round the ring and back into the leaf where it began.
    if more == 0 && start > span.upto {
        return (first, LEAVES);
    }
    (first, more)
}

/// Leaves that a span touches.
#[must_use]
pub fn leaves(span: Span) -> u32 {
    run(span).1 + 1
}

/// The parts of a span, in order, the same for everybody: at most [`PARTS`], cut between
/// leaves. A span within one leaf is its only part.
#[must_use]
pub fn parts(span: Span) -> Vec<Span> {
    let (first, more) = run(span);
    let leaves = more + 1;
    let count = leaves.min(PARTS as u32);
    let mut parts = Vec::with_capacity(PARTS);
    let mut after = span.after;
    for part in 1..=count {
        let upto = if part == count {
            span.upto
        } else {
            // At most 2¹⁶ · 32, and below 2¹⁶ after the division.
            let passed = leaves * part / count;
            end_of(first.wrapping_add((passed - 1) as u16))
        };
        parts.push(Span::new(after, upto));
        after = upto;
    }
    parts
}

/// The sums of all leaves, as a store keeps them in memory.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Leaves {
    sums: BTreeMap<(u16, u8), Sum>,
}

impl Leaves {
    /// Nothing stored.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sums: BTreeMap::new(),
        }
    }

    /// A record was stored.
    pub fn insert(&mut self, head: &Head) {
        self.change(head, Sum::plus);
    }

    /// A record is gone, or about to be replaced.
    pub fn remove(&mut self, head: &Head) {
        self.change(head, Sum::minus);
    }

    fn change(&mut self, head: &Head, how: impl Fn(Sum, Sum) -> Sum) {
        let at = (leaf_of(head.key.position()), head.copies);
        let sum = how(self.get(at.0, at.1), Sum::of(head));
        self.set(at.0, at.1, sum);
    }

    /// The sum of a leaf over the records of so many copies.
    #[must_use]
    pub fn get(&self, leaf: u16, copies: u8) -> Sum {
        self.sums.get(&(leaf, copies)).copied().unwrap_or_default()
    }

    /// Sets a sum that was computed elsewhere.
    pub fn set(&mut self, leaf: u16, copies: u8, sum: Sum) {
        if sum == Sum::default() {
            self.sums.remove(&(leaf, copies));
        } else {
            self.sums.insert((leaf, copies), sum);
        }
    }

    /// What a store answers to [`StoreCommand::Sums`](crate::event::StoreCommand::Sums):
    /// whole leaves from here, the ends of the span from `edge`; see [`answer`].
    ///
    /// # Errors
    /// The first of `edge`.
    pub fn answer<E>(
        &self,
        span: Span,
        edge: impl FnMut(Span) -> Result<Vec<Head>, E>,
    ) -> Result<Vec<PartSum>, E> {
        let whole = |first, last| {
            let range = self.sums.range((first, 0)..=(last, u8::MAX));
            Ok(range.map(|(&(_, copies), &sum)| (copies, sum)).collect())
        };
        answer(span, whole, edge)
    }
}

/// The sums of the parts of a span: `whole` gives copies and sums of a range of leaves from
/// the first to the last, `edge` lists a span that lies within one leaf.
///
/// # Errors
/// The first of either.
pub fn answer<E>(
    span: Span,
    mut whole: impl FnMut(u16, u16) -> Result<Vec<(u8, Sum)>, E>,
    mut edge: impl FnMut(Span) -> Result<Vec<Head>, E>,
) -> Result<Vec<PartSum>, E> {
    let mut found = Vec::new();
    for (index, part) in (0_u8..).zip(parts(span)) {
        let mut sums: BTreeMap<u8, Sum> = BTreeMap::new();
        let mut add = |copies: u8, sum: Sum| {
            let entry = sums.entry(copies).or_default();
            *entry = entry.plus(sum);
        };
        let (leaves, ends) = whole_leaves(part);
        for end in ends.into_iter().flatten() {
            let heads = edge(end)?;
            heads
                .iter()
                .for_each(|head| add(head.copies, Sum::of(head)));
        }
        for (first, last) in leaves.into_iter().flatten() {
            let sums = whole(first, last)?;
            sums.into_iter().for_each(|(copies, sum)| add(copies, sum));
        }
        let nonzero = sums.into_iter().filter(|(_, sum)| *sum != Sum::default());
        found.extend(nonzero.map(|(copies, sum)| PartSum {
            part: index,
            copies,
            sum,
        }));
    }
    Ok(found)
}

/// Ranges of leaves that lie in a span as a whole, and what of it lies in others.
type Pieces = ([Option<(u16, u16)>; 2], [Option<Span>; 2]);

fn whole_leaves(span: Span) -> Pieces {
    let (mut first, mut more) = run(span);
    let mut ends = [None, None];
    if span.after != end_of(first.wrapping_sub(1)) {
        if more == 0 {
            return ([None, None], [Some(span), None]);
        }
        ends[0] = Some(Span::new(span.after, end_of(first)));
        first = first.wrapping_add(1);
        more -= 1;
    }
    let last = leaf_of(span.upto);
    if span.upto != end_of(last) {
        ends[1] = Some(Span::new(end_of(last.wrapping_sub(1)), span.upto));
        if more == 0 {
            return ([None, None], ends);
        }
        more -= 1;
    }
    // Fewer than 2¹⁶ remain unless the span is the whole ring, from leaf to leaf.
    let upto = u32::from(first) + more.min(LEAVES - 1);
    let whole = match u16::try_from(upto) {
        Ok(upto) => [Some((first, upto)), None],
        Err(_) => [Some((first, u16::MAX)), Some((0, (upto - LEAVES) as u16))],
    };
    (whole, ends)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Key, Version};

    fn head(n: u32, copies: u8) -> Head {
        Head {
            key: Key::new(Bytes::from(n.to_be_bytes().to_vec())).expect("short"),
            version: Version {
                time: u64::from(n),
                writer: Id::ZERO,
            },
            copies,
        }
    }

    fn at(prefix: u16, rest: u8) -> Id {
        let mut id = [rest; 20];
        [id[0], id[1]] = prefix.to_be_bytes();
        Id(id)
    }

    fn heads_in(heads: &[Head], span: Span) -> Vec<Head> {
        let inside = |head: &&Head| span.contains(head.key.position());
        heads.iter().filter(inside).cloned().collect()
    }

    /// The same by definition: no leaves, no ends.
    fn by_scanning(heads: &[Head], span: Span) -> Vec<PartSum> {
        let mut found = Vec::new();
        for (part, piece) in (0_u8..).zip(parts(span)) {
            for copies in 0..=u8::MAX {
                let sum = heads_in(heads, piece)
                    .iter()
                    .filter(|head| head.copies == copies)
                    .fold(Sum::default(), |sum, head| sum.plus(Sum::of(head)));
                if sum != Sum::default() {
                    found.push(PartSum { part, copies, sum });
                }
            }
        }
        found
    }

    fn positions() -> impl Strategy<Value = Id> {
        prop_oneof![
            any::<[u8; 20]>().prop_map(Id),
            (any::<u16>(), prop_oneof![Just(0), Just(0xff), any::<u8>()])
                .prop_map(|(prefix, rest)| at(prefix, rest)),
        ]
    }

    /// Spans of every size, those within a leaf and those that all but go round among them.
    fn spans() -> impl Strategy<Value = Span> {
        prop_oneof![
            (positions(), positions()).prop_map(|(a, b)| Span::new(a, b)),
            positions().prop_map(Span::whole),
            (any::<u16>(), any::<u8>(), any::<u8>())
                .prop_map(|(leaf, a, b)| Span::new(at(leaf, a), at(leaf, b))),
            (any::<u16>(), 0..40_u16, any::<u8>(), any::<u8>()).prop_map(|(leaf, more, a, b)| {
                Span::new(at(leaf, a), at(leaf.wrapping_add(more), b))
            }),
        ]
    }

    proptest! {
        #[test]
        fn parts_cover_a_span_without_gap_or_overlap(span in spans(), position in positions()) {
            let parts = parts(span);
            prop_assert!(!parts.is_empty() && parts.len() <= PARTS);
            prop_assert_eq!(parts[0].after, span.after);
            prop_assert_eq!(parts[parts.len() - 1].upto, span.upto);
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].upto, pair[1].after);
            }
            let holding = parts.iter().filter(|part| part.contains(position)).count();
            prop_assert_eq!(holding, usize::from(span.contains(position)));
        }

        #[test]
        fn leaves_answer_what_a_scan_finds(
            span in spans(),
            stored in proptest::collection::vec((any::<u32>(), 1..4_u8), 0..60),
            gone in 0..30_usize,
        ) {
            let mut heads: Vec<Head> = stored.iter().map(|&(n, copies)| head(n, copies)).collect();
            let mut leaves = Leaves::new();
            heads.iter().for_each(|head| leaves.insert(head));
            for head in heads.drain(..gone.min(stored.len())) {
                leaves.remove(&head);
            }
            let mut scanned = 0;
            let answer = leaves.answer(span, |edge| {
                scanned += 1;
                prop_assert!(super::leaves(edge) == 1);
                Ok(heads_in(&heads, edge))
            })?;
            prop_assert!(scanned <= 2);
            prop_assert_eq!(answer, by_scanning(&heads, span));
        }

        #[test]
        fn cutting_ends_within_four_steps(span in spans(), which in any::<prop::sample::Index>()) {
            let mut span = span;
            let mut steps = 0;
            while leaves(span) > 1 {
                let parts = parts(span);
                span = parts[which.index(parts.len())];
                steps += 1;
            }
            prop_assert!(steps <= 4, "{steps}");
        }
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let mut leaves = Leaves::new();
        for n in 0..100 {
            leaves.insert(&head(n, 3));
        }
        for n in (0..100).rev() {
            leaves.remove(&head(n, 3));
        }
        assert_eq!(leaves, Leaves::new());
    }

    #[test]
    fn version_and_copies_are_part_of_a_sum() {
        let mut newer = head(1, 3);
        newer.version.time += 1;
        let sums = [head(1, 3), head(2, 3), head(1, 2), newer].map(|head| Sum::of(&head));
        for (at, sum) in sums.iter().enumerate() {
            assert!(!sums[at + 1..].contains(sum));
        }
    }
}
