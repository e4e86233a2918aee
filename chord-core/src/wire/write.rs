//! Putting fields at the end of a frame.

use bytes::{BufMut, BytesMut};

use super::LIFETIME_MAX;
use super::error::EncodeError;
use super::read::List;
use crate::id::Id;
use crate::time::{Instant, Micros};

/// The end of a frame that is being encoded.
pub(super) struct Writer<'a> {
    out: &'a mut BytesMut,
    now: Instant,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut BytesMut, now: Instant) -> Self {
        Self { out, now }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, number: u8) {
        self.out.put_u8(number);
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.bytes(&number.to_be_bytes());
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.bytes(&number.to_be_bytes());
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    pub(super) fn id(&mut self, id: Id) {
        self.bytes(&id.0);
    }

    pub(super) fn bool(&mut self, truth: bool) {
        self.u8(u8::from(truth));
    }

    pub(super) fn micros(&mut self, length: Micros) {
        self.u64(length.0);
    }

    /// The time that remains until `at`: nothing if that is past, and never more than
    /// [`LIFETIME_MAX`].
    pub(super) fn instant(&mut self, at: Instant) {
        self.micros(at.since(self.now).min(LIFETIME_MAX));
    }

    /// A byte that says whether something follows, and then that.
    pub(super) fn option<T>(
        &mut self,
        option: Option<T>,
        item: impl FnOnce(&mut Self, T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.bool(option.is_some());
        option.map_or(Ok(()), |value| item(self, value))
    }

    /// A 16-bit count and that many items.
    pub(super) fn list<T>(
        &mut self,
        list: List,
        items: &[T],
        mut item: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let Ok(count) = u16::try_from(items.len()) else {
            return Err(EncodeError::Limit(list.what));
        };
        if items.len() > list.max {
            return Err(EncodeError::Limit(list.what));
        }
        self.u16(count);
        items.iter().try_for_each(|value| item(self, value))
    }
}
