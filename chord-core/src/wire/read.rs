//! Taking fields off the front of a frame.
//!
//! **Invariant:** nothing is allocated for a length or count before as many bytes as its
//! items take at least are known to be there.

use alloc::vec::Vec;

use bytes::Bytes;

use super::error::DecodeError;
use super::{ALLOCATION_SLACK, LIFETIME_MAX};
use crate::id::Id;
use crate::time::{Instant, Micros};

/// A place in a frame that is being decoded.
pub(super) struct Reader<'a> {
    whole: &'a Bytes,
    rest: &'a [u8],
    now: Instant,
}

impl<'a> Reader<'a> {
    pub(super) fn new(whole: &'a Bytes, now: Instant) -> Self {
        Self {
            whole,
            rest: whole,
            now,
        }
    }

    /// Bytes not yet taken.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(super) fn id(&mut self) -> Result<Id, DecodeError> {
        Ok(Id(self.array()?))
    }

    /// One byte, 0 or 1; `what` names the field in the error.
    pub(super) fn bool(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Value(what)),
        }
    }

    pub(super) fn micros(&mut self) -> Result<Micros, DecodeError> {
        Ok(Micros(self.u64()?))
    }

    /// A remaining time, added to our own clock.
    pub(super) fn instant(&mut self, what: &'static str) -> Result<Instant, DecodeError> {
        let remaining = self.u64()?;
        if remaining > LIFETIME_MAX.0 {
            return Err(DecodeError::Limit(what));
        }
        // Overflows only if our own clock has run for ages: refused like a lifetime too long.
        self.now
            .0
            .checked_add(remaining)
            .map(Instant)
            .ok_or(DecodeError::Limit(what))
    }

    /// The next `len` bytes, shared with the frame, not copied.
    pub(super) fn bytes(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        let Some((_, rest)) = self.rest.split_at_checked(len) else {
            return Err(DecodeError::Truncated);
        };
        let start = self.whole.len() - self.rest.len();
        self.rest = rest;
        Ok(self.whole.slice(start..start + len))
    }

    /// A byte that says whether `item` follows; `what` names the field in the error.
    pub(super) fn option<T>(
        &mut self,
        what: &'static str,
        item: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.bool(what)? {
            item(self).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A 16-bit count and that many items.
    pub(super) fn list<T>(
        &mut self,
        list: List,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = usize::from(self.u16()?);
        if count > list.max {
            return Err(DecodeError::Limit(list.what));
        }
        if count * list.least > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

/// The bounds of one kind of list.
#[derive(Clone, Copy)]
pub(super) struct List {
    /// What it holds, for the error.
    pub(super) what: &'static str,
    /// Most items.
    pub(super) max: usize,
    /// Fewest bytes that an item takes in a frame.
    pub(super) least: usize,
}

impl List {
    /// A list of `T`, proven at compile time to need at most four bytes of memory for each
    /// byte of the frame, beside a slack that does not grow with it.
    pub(super) const fn of<T>(what: &'static str, max: usize, least: usize) -> Self {
        assert!(max <= u16::MAX as usize, "the count must fit its field");
        let in_memory = size_of::<T>() * max;
        assert!(
            in_memory <= 4 * least * max + ALLOCATION_SLACK,
            "a small frame would cost much"
        );
        Self { what, max, least }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: List = List::of::<u8>("bytes", 300, 1);

    #[test]
    fn a_count_is_judged_before_any_item_is_read_or_room_is_made() {
        let cases: [(&'static [u8], DecodeError); 4] = [
            (&[0xff, 0xff, 1, 2, 3], DecodeError::Limit("bytes")),
            (&[1, 45, 1, 2, 3], DecodeError::Limit("bytes")),
            (&[1, 44, 1, 2, 3], DecodeError::Truncated),
            (&[0, 4, 1, 2, 3], DecodeError::Truncated),
        ];
        for (bytes, expected) in cases {
            let whole = Bytes::from_static(bytes);
            let mut reader = Reader::new(&whole, Instant(0));
            let read = reader.list::<u8>(BYTES, |_| panic!("an item was read"));
            assert_eq!(read, Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn a_list_takes_exactly_the_room_it_needs() {
        let whole = Bytes::from_static(&[0, 3, 7, 8, 9, 10]);
        let mut reader = Reader::new(&whole, Instant(0));
        let items = reader.list(BYTES, Reader::u8).unwrap();
        assert_eq!((items.as_slice(), items.capacity()), (&[7, 8, 9][..], 3));
        assert_eq!(reader.left(), 1);
    }

    #[test]
    fn a_slice_shares_the_memory_of_the_frame() {
        let whole = Bytes::from(alloc::vec![1, 2, 3, 4]);
        let mut reader = Reader::new(&whole, Instant(0));
        reader.u8().unwrap();
        let slice = reader.bytes(2).unwrap();
        assert_eq!(slice.as_ptr(), whole[1..].as_ptr());
        assert_eq!(reader.bytes(2), Err(DecodeError::Truncated));
        assert_eq!(reader.bytes(usize::MAX), Err(DecodeError::Truncated));
        assert_eq!(reader.u8(), Ok(4));
    }

    #[test]
    fn lifetimes_are_added_to_our_clock_and_never_overflow_it() {
        let longest = Bytes::copy_from_slice(&LIFETIME_MAX.0.to_be_bytes());
        let longer = Bytes::copy_from_slice(&(LIFETIME_MAX.0 + 1).to_be_bytes());
        let read = |bytes: &Bytes, now| Reader::new(bytes, Instant(now)).instant("expires");
        assert_eq!(read(&longest, 5), Ok(Instant(LIFETIME_MAX.0 + 5)));
        assert_eq!(read(&longer, 5), Err(DecodeError::Limit("expires")));
        assert_eq!(read(&longest, u64::MAX), Err(DecodeError::Limit("expires")));
    }

    #[test]
    fn only_zero_and_one_are_a_truth_value() {
        for byte in 0..=255 {
            let whole = Bytes::copy_from_slice(&[byte]);
            let read = Reader::new(&whole, Instant(0)).bool("more");
            match byte {
                0 => assert_eq!(read, Ok(false)),
                1 => assert_eq!(read, Ok(true)),
                _ => assert_eq!(read, Err(DecodeError::Value("more"))),
            }
        }
    }
}
