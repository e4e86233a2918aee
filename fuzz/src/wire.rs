//! Arbitrary bytes as a frame from a peer.

use bytes::{Bytes, BytesMut};
use chord_core::message::Response;
use chord_core::time::Instant;
use chord_core::wire::{Frame, Peeked, decode, decode_prefix, encode, peek};

/// A reading of the clock that leaves room for every lifetime.
const NOW: Instant = Instant(1 << 50);
/// Bytes of an address.
const ADDR_LEN: usize = 18;
/// Bytes of a wall clock.
const WALL_LEN: usize = 8;

/// Decodes `data` as a frame and holds the result to the laws of the format.
///
/// # Panics
/// If bytes that are read are written differently, or anything is read from half a frame.
pub fn wire(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let peeked = peek(&bytes);
    let Ok((frame, skipped)) = decode_prefix(&bytes, NOW) else {
        return;
    };
    let expected = match &frame {
        Frame::Hello(_) => Peeked::Hello,
        Frame::Request(frame) => Peeked::Request {
            id: frame.id,
            to: frame.to,
            class: frame.class,
        },
        Frame::Response(frame) => Peeked::Response { id: frame.id },
    };
    assert_eq!(peeked, Ok(expected));

    let known = bytes.slice(..bytes.len() - skipped);
    let mut again = BytesMut::new();
    encode(&frame, NOW, &mut again).expect("what is read can be written");
    assert_eq!(again, known, "{frame:?}");
    assert!(again.len() <= frame.size_hint(), "{frame:?}");
    assert_eq!(decode(again.freeze(), NOW).as_ref(), Ok(&frame));

    let half = decode(known.slice(..known.len() / 2), NOW);
    assert!(half.is_err(), "half of {frame:?} is {half:?}");
    // What came later to the format is last, and may be missing.
    let optional = match &frame {
        Frame::Hello(hello) if hello.service.is_some() => ADDR_LEN,
        Frame::Response(frame) => match frame.response {
            Response::Neighbours { wall: Some(_), .. } => WALL_LEN,
            _ => 0,
        },
        _ => 0,
    };
    let needed = known.len() - optional;
    let least = decode(known.slice(..needed), NOW);
    assert!(
        least.is_ok(),
        "all that is needed of {frame:?} is {least:?}"
    );
    let most = decode(known.slice(..needed - 1), NOW);
    assert!(most.is_err(), "all but a byte of {frame:?} is {most:?}");

    // A clock near its end leaves room for no lifetime: refused or the same, never a panic.
    if let Ok((late, skipped)) = decode_prefix(&known, Instant(u64::MAX)) {
        let mut again = BytesMut::new();
        encode(&late, Instant(u64::MAX), &mut again).expect("what is read can be written");
        assert_eq!(again, known.slice(..known.len() - skipped), "{late:?}");
    }
}
