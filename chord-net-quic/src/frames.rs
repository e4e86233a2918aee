//! Frames on streams: a length of four bytes, big-endian, then the frame.
//!
//! ```text
//! dialler ══ frame stream ══ listener     one per connection, opened by the dialler: Hello
//!                                         first each way, then small requests and responses
//! caller ─── bulk stream ──▶ callee       one large request, one response of any size
//! callee ─── bulk stream ──▶ caller       the large response to a small request, under the
//!                                         id of that request; nothing comes back
//! ```
//!
//! A call goes on a bulk stream if its frame is above [`SMALL_MAX`] or if it asks for a page
//! or for several records, whose answer will be large. `Get` is small and its answer mostly
//! is; when it is not, the callee opens the bulk stream. So no small call ever waits behind
//! a large one, and no stream is opened on suspicion.

use bytes::{BufMut, Bytes, BytesMut};
use chord_core::message::Request;
use chord_core::time::Instant;
use chord_core::wire::{self, EncodeError, FRAME_MAX, Frame, SMALL_MAX};
use tokio_util::codec::LengthDelimitedCodec;

/// Bytes of the length before each frame.
pub(crate) const LENGTH: usize = 4;

/// Longest frame taken from a frame stream. Senders keep to [`SMALL_MAX`]; the slack lets a
/// later version append fields, and the bound keeps a length field from costing memory.
pub(crate) const STREAM_FRAME_MAX: usize = 4 * SMALL_MAX;

/// Reads frames of at most `frame_max` bytes out of a stream.
pub(crate) fn codec(frame_max: usize) -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .length_field_length(LENGTH)
        .max_frame_length(frame_max)
        .new_codec()
}

/// Appends a frame and the length before it. Returns the bytes appended.
///
/// # Errors
/// The frame breaks a limit; `out` is as it was.
pub(crate) fn append(
    frame: &Frame,
    now: Instant,
    out: &mut BytesMut,
) -> Result<usize, EncodeError> {
    let start = out.len();
    out.put_u32(0);
    if let Err(error) = wire::encode(frame, now, out) {
        out.truncate(start);
        return Err(error);
    }
    let length = out.len() - start - LENGTH;
    let length = u32::try_from(length).expect("an encoder keeps to FRAME_MAX");
    out[start..start + LENGTH].copy_from_slice(&length.to_be_bytes());
    Ok(out.len() - start)
}

/// A frame and its length in a buffer of their own.
///
/// # Errors
/// The frame breaks a limit.
pub(crate) fn alone(frame: &Frame, now: Instant) -> Result<Bytes, EncodeError> {
    let mut out = BytesMut::with_capacity(LENGTH + frame.size_hint());
    append(frame, now, &mut out)?;
    Ok(out.freeze())
}

/// Whether a request goes on a stream of its own, whatever its size.
pub(crate) fn asks_for_much(request: &Request) -> bool {
    match request {
        Request::Pull { .. } | Request::List { .. } => true,
        // One record is what a client's read of an unsettled span asks of each holder.
        Request::Fetch { keys } => keys.len() > 1,
        Request::Ping
        | Request::Route { .. }
        | Request::Neighbours { .. }
        | Request::Notify
        | Request::Stabilise
        | Request::Leave
        | Request::Yield { .. }
        | Request::Cede { .. }
        | Request::Put(_)
        | Request::Get { .. }
        | Request::Replicate { .. }
        | Request::Mark { .. }
        | Request::Offer { .. }
        | Request::Discard { .. }
        | Request::Sums { .. } => false,
    }
}

/// Whether a frame belongs on a stream of its own by its size. Errs towards yes by the few
/// bytes that a hint may be too high.
pub(crate) fn is_large(frame: &Frame) -> bool {
    frame.size_hint() > SMALL_MAX
}

/// The length of a frame, from the bytes before it.
///
/// # Errors
/// The length, if it is above every limit.
pub(crate) fn length(bytes: [u8; LENGTH]) -> Result<usize, u32> {
    let length = u32::from_be_bytes(bytes);
    match usize::try_from(length) {
        Ok(fits) if fits <= FRAME_MAX => Ok(fits),
        _ => Err(length),
    }
}

#[cfg(test)]
mod tests {
    use chord_core::message::Response;
    use chord_core::wire::ResponseFrame;
    use tokio_util::codec::Decoder;

    use super::*;

    fn done(id: u32) -> Frame {
        Frame::Response(ResponseFrame {
            id,
            incarnation: 1,
            response: Response::Done,
        })
    }

    #[test]
    fn a_fetch_of_one_record_is_a_small_call_and_one_of_several_is_not() {
        let key = chord_core::message::Key::new(Bytes::from_static(b"key"));
        let fetch = |count| Request::Fetch {
            keys: vec![key.clone().expect("short and not empty"); count],
        };
        assert!(!asks_for_much(&fetch(1)));
        assert!(asks_for_much(&fetch(2)));
    }

    #[test]
    fn what_is_appended_is_what_the_codec_reads() {
        let mut out = BytesMut::new();
        for id in 0..3 {
            append(&done(id), Instant(0), &mut out).expect("within limits");
        }
        let mut codec = codec(STREAM_FRAME_MAX);
        for id in 0..3 {
            let bytes = codec.decode(&mut out).expect("well-formed").expect("whole");
            assert_eq!(wire::decode(bytes.freeze(), Instant(0)), Ok(done(id)));
        }
        assert!(out.is_empty());
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_its_bytes_come() {
        let mut bytes = BytesMut::new();
        bytes.put_u32(u32::try_from(STREAM_FRAME_MAX).expect("small") + 1);
        assert!(codec(STREAM_FRAME_MAX).decode(&mut bytes).is_err());
        assert_eq!(length(u32::MAX.to_be_bytes()), Err(u32::MAX));
        assert_eq!(length([0, 0, 0, 9]), Ok(9));
    }
}
