//! The wire format: its laws on generated frames, its limits at their edges, and the bytes
//! that every later build must still read.

mod golden;
mod kinds;
mod laws;
mod limits;
mod strategies;

use bytes::{Bytes, BytesMut};
use chord_core::time::Instant;
use chord_core::wire::{Frame, decode_prefix, encode};

/// The reading of the clock on both sides.
const NOW: Instant = Instant(1 << 40);

fn encoded(frame: &Frame) -> Bytes {
    let mut out = BytesMut::new();
    encode(frame, NOW, &mut out).unwrap_or_else(|error| panic!("{error}: {frame:?}"));
    out.freeze()
}

fn decoded(bytes: &Bytes) -> Frame {
    let (frame, skipped) = decode_prefix(bytes, NOW).expect("a frame");
    assert_eq!(skipped, 0, "{frame:?}");
    frame
}
