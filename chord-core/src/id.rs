//! Positions on the ring.
//!
//! A position is a 160-bit unsigned number, big-endian, on a circle that wraps from the
//! greatest to zero. Three notions are enough for everything in Chord: the clockwise
//! distance, *strictly between*, and the half-open arc `(after, upto]`, here [`Span`].
//!
//! **Invariant:** a span is never empty: `(a, a]` is the whole ring.

use core::cmp::Ordering;
use core::fmt;

use sha1::{Digest, Sha1};

/// Number of bits of a position: the output of SHA-1 (Stoica et al., *Chord*, ToN 2003, §IV-B).
pub const ID_BITS: u32 = 160;

/// A position on the ring: 160 bits, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Id(pub [u8; 20]);

impl Id {
    /// The smallest position. Certificates never carry it, so in a frame it can stand for
    /// "whoever answers there" (see [`crate::peer::Peer::seed`]).
    pub const ZERO: Self = Self([0; 20]);

    /// The greatest position.
    pub const MAX: Self = Self([0xff; 20]);

    /// The position of `bytes`: their SHA-1.
    #[must_use]
    pub fn hash(bytes: &[u8]) -> Self {
        let mut id = [0; 20];
        id.copy_from_slice(&Sha1::digest(bytes));
        Self(id)
    }

    /// Position number `index` of the host whose certificate carries `self`: the certified
    /// id for 0, else `SHA-1(certified id ‖ index as u32 big-endian)`, so that any receiver
    /// can verify it.
    #[must_use]
    pub fn of_position(self, index: u16) -> Self {
        if index == 0 {
            return self;
        }
        let mut bytes = [0; 24];
        bytes[..20].copy_from_slice(&self.0);
        bytes[20..].copy_from_slice(&u32::from(index).to_be_bytes());
        Self::hash(&bytes)
    }

    /// Whether `x` lies strictly inside the clockwise arc from `a` to `b`; with `a == b`
    /// true for every `x` other than `a`.
    #[must_use]
    pub fn between(a: Self, x: Self, b: Self) -> bool {
        if a < b {
            a < x && x < b
        } else {
            a < x || x < b
        }
    }

    /// The clockwise distance from `self` to `to`, modulo 2¹⁶⁰.
    #[must_use]
    pub fn distance(self, to: Self) -> Self {
        to.wrapping_sub(self)
    }

    /// `self + 2^exponent` modulo 2¹⁶⁰: where finger number `exponent` starts.
    ///
    /// Exponents of 160 and above wrap to `self`.
    #[must_use]
    pub fn plus_power(self, exponent: u32) -> Self {
        let mut power = Self::ZERO;
        if exponent < ID_BITS {
            let exponent = exponent as usize;
            power.0[19 - exponent / 8] = 1 << (exponent % 8);
        }
        self.wrapping_add(power)
    }

    /// The number of leading zero bits, 0 to 160.
    #[must_use]
    pub fn leading_zeros(self) -> u32 {
        let mut zeros = 0;
        for byte in self.0 {
            zeros += byte.leading_zeros();
            if byte != 0 {
                break;
            }
        }
        zeros
    }

    /// The first eight bytes as a number: a coarse position for estimates and pictures.
    #[must_use]
    pub fn prefix(self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(bytes)
    }

    /// The position whose coarse part is `prefix` and whose other bits are zero.
    #[must_use]
    pub fn from_prefix(prefix: u64) -> Self {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&prefix.to_be_bytes());
        Self(id)
    }

    /// Reads exactly 40 hexadecimal digits of either case.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 40 {
            return None;
        }
        let mut id = [0; 20];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(id))
    }

    /// The upper 128 bits and the lower 32: positions are compared and subtracted so often
    /// that doing it byte by byte is felt.
    fn number(self) -> (u128, u32) {
        let (mut upper, mut lower) = ([0; 16], [0; 4]);
        upper.copy_from_slice(&self.0[..16]);
        lower.copy_from_slice(&self.0[16..]);
        (u128::from_be_bytes(upper), u32::from_be_bytes(lower))
    }

    fn from_number(upper: u128, lower: u32) -> Self {
        let mut id = [0; 20];
        id[..16].copy_from_slice(&upper.to_be_bytes());
        id[16..].copy_from_slice(&lower.to_be_bytes());
        Self(id)
    }

    fn wrapping_add(self, other: Self) -> Self {
        let (one, two) = (self.number(), other.number());
        let (lower, carry) = one.1.overflowing_add(two.1);
        let upper = one.0.wrapping_add(two.0).wrapping_add(u128::from(carry));
        Self::from_number(upper, lower)
    }

    fn wrapping_sub(self, other: Self) -> Self {
        let (one, two) = (self.number(), other.number());
        let (lower, borrow) = one.1.overflowing_sub(two.1);
        let upper = one.0.wrapping_sub(two.0).wrapping_sub(u128::from(borrow));
        Self::from_number(upper, lower)
    }

    pub(crate) fn successor_position(self) -> Self {
        self.plus_power(0)
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number().cmp(&other.number())
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Id {
    /// 40 lower-case hexadecimal digits; with a precision, that many of them (`{:.8}`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(40).min(40);
        for at in 0..digits {
            let byte = self.0[at / 2];
            let nibble = if at % 2 == 0 { byte >> 4 } else { byte & 15 };
            write!(f, "{nibble:x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:.8}")
    }
}

/// The arc `(after, upto]`, clockwise; `(a, a]` is the whole ring.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The position just before the first of the span.
    pub after: Id,
    /// The last position of the span.
    pub upto: Id,
}

impl Span {
    /// The arc from just behind `after` up to and including `upto`.
    #[must_use]
    pub fn new(after: Id, upto: Id) -> Self {
        Self { after, upto }
    }

    /// The whole ring, ending at `at`.
    #[must_use]
    pub fn whole(at: Id) -> Self {
        Self {
            after: at,
            upto: at,
        }
    }

    /// Whether the span is the whole ring.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.after == self.upto
    }

    /// Whether `position` lies in the span.
    #[must_use]
    pub fn contains(self, position: Id) -> bool {
        position == self.upto || Id::between(self.after, position, self.upto)
    }

    /// Whether every position of `inner` lies in the span.
    #[must_use]
    pub fn covers(self, inner: Self) -> bool {
        if self.is_whole() {
            return true;
        }
        let first = self.rank(inner.after.successor_position());
        let last = self.rank(inner.upto);
        first <= last && last <= self.rank(self.upto)
    }

    /// What remains of the span when it must begin behind `after`, a position inside it;
    /// the span itself if `after` lies outside, nothing if `after` is its end.
    #[must_use]
    pub fn clip(self, after: Id) -> Option<Self> {
        if after == self.upto && !self.is_whole() {
            return None;
        }
        if Id::between(self.after, after, self.upto) {
            return Some(Self {
                after,
                upto: self.upto,
            });
        }
        Some(self)
    }

    /// The span as at most two ranges `first ..= last` that do not wrap, in ring order.
    #[must_use]
    pub fn ranges(self) -> [Option<(Id, Id)>; 2] {
        let first = self.after.successor_position();
        if first <= self.upto {
            return [Some((first, self.upto)), None];
        }
        [Some((first, Id::MAX)), Some((Id::ZERO, self.upto))]
    }

    /// How far into the span a position lies, 0 for its first one; positions outside rank
    /// behind the last of the span.
    #[must_use]
    pub fn rank(self, position: Id) -> Id {
        self.after.successor_position().distance(position)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:.8}, {:.8}]", self.after, self.upto)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An 8-bit ring embedded in the top byte: small enough to try every triple.
    fn small(at: u8) -> Id {
        let mut id = [0; 20];
        id[0] = at;
        Id(id)
    }

    #[test]
    fn between_agrees_with_walking_an_eight_bit_ring() {
        for a in 0..=255_u8 {
            for b in 0..=255_u8 {
                let mut inside = [false; 256];
                let mut at = a.wrapping_add(1);
                while at != b && at != a {
                    inside[usize::from(at)] = true;
                    at = at.wrapping_add(1);
                }
                if a == b {
                    inside = [true; 256];
                    inside[usize::from(a)] = false;
                }
                for x in 0..=255_u8 {
                    assert_eq!(
                        Id::between(small(a), small(x), small(b)),
                        inside[usize::from(x)],
                        "{a} {x} {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_span_contains_what_its_ranges_contain() {
        for after in (0..=255_u8).step_by(5) {
            for upto in (0..=255_u8).step_by(3) {
                let span = Span::new(small(after), small(upto));
                for x in 0..=255_u8 {
                    let by_range = span
                        .ranges()
                        .iter()
                        .flatten()
                        .any(|&(first, last)| first <= small(x) && small(x) <= last);
                    assert_eq!(span.contains(small(x)), by_range, "{span:?} {x}");
                }
            }
        }
    }

    #[test]
    fn the_span_from_a_position_to_itself_is_the_whole_ring() {
        let span = Span::whole(small(9));
        assert!((0..=255).all(|x| span.contains(small(x))));
        assert!(span.covers(span));
        assert!(!Span::new(small(1), small(2)).covers(span));
    }

    #[test]
    fn covering_is_containing_every_position() {
        // On the embedded ring the positions between the small ones exist too, so an arc
        // is covered exactly if its small positions are and it does not wrap around a hole.
        for (a, b, c, d, covered) in [
            (10, 50, 20, 40, true),
            (10, 50, 10, 50, true),
            (10, 50, 9, 50, false),
            (10, 50, 10, 51, false),
            (10, 50, 40, 20, false),
            (200, 50, 250, 10, true),
            (200, 50, 10, 250, false),
            (7, 7, 100, 50, true),
            (7, 7, 6, 8, true),
        ] {
            let outer = Span::new(small(a), small(b));
            let inner = Span::new(small(c), small(d));
            assert_eq!(outer.covers(inner), covered, "{outer:?} {inner:?}");
        }
    }

    #[test]
    fn clipping_keeps_what_lies_behind() {
        let span = Span::new(small(10), small(50));
        assert_eq!(span.clip(small(20)), Some(Span::new(small(20), small(50))));
        assert_eq!(span.clip(small(60)), Some(span));
        assert_eq!(span.clip(small(50)), None);
        assert_eq!(
            Span::whole(small(9)).clip(small(3)),
            Some(Span::new(small(3), small(9)))
        );
    }

    #[test]
    fn distances_wrap() {
        assert_eq!(small(250).distance(small(4)), small(10));
        assert_eq!(small(4).distance(small(4)), Id::ZERO);
        assert_eq!(Id::ZERO.distance(Id::MAX), Id::MAX);
        assert_eq!(Id::MAX.plus_power(0), Id::ZERO);
        assert_eq!(Id::ZERO.plus_power(159), small(128));
        assert_eq!(small(3).plus_power(160), small(3));
    }

    proptest! {
        /// Against the same, byte by byte.
        #[test]
        fn positions_are_compared_and_added_as_numbers_of_160_bits(
            a in any::<[u8; 20]>(),
            b in prop_oneof![any::<[u8; 20]>(), Just([0; 20]), Just([0xff; 20])],
        ) {
            prop_assert_eq!(Id(a).cmp(&Id(b)), a.cmp(&b));
            let mut sum = [0; 20];
            let mut carry = 0;
            for at in (0..20).rev() {
                let total = u16::from(a[at]) + u16::from(b[at]) + carry;
                sum[at] = total.to_be_bytes()[1];
                carry = total >> 8;
            }
            prop_assert_eq!(Id(a).wrapping_add(Id(b)), Id(sum));
            prop_assert_eq!(Id(a).distance(Id(sum)), Id(b));
        }
    }

    #[test]
    fn hexadecimal_goes_both_ways_and_refuses_the_rest() {
        let id = Id::hash(b"lolz");
        assert_eq!(Id::from_hex(&alloc::format!("{id}")), Some(id));
        assert_eq!(alloc::format!("{id:.4}").len(), 4);
        for bad in [
            "",
            "0",
            "zz",
            &"0".repeat(39),
            &"0".repeat(41),
            &"g".repeat(40),
        ] {
            assert_eq!(Id::from_hex(bad), None);
        }
    }

    #[test]
    fn positions_of_a_host_derive_from_its_certified_id() {
        let certified = Id::hash(b"host");
        assert_eq!(certified.of_position(0), certified);
        let mut bytes = certified.0.to_vec();
        bytes.extend([0, 0, 0, 3]);
        assert_eq!(certified.of_position(3), Id::hash(&bytes));
    }
}
