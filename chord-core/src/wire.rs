//! The wire format: what two hosts write to each other on a stream.
//!
//! ```text
//! dialler ── Hello ──────────────▶ listener     the first frame each way;
//! dialler ◀────────────── Hello ── listener     nothing is handled before it
//! caller ─── Request(id) ────────▶ callee       either side calls, in any order
//! caller ◀────────── Response(id) ─ callee      in the order of completion
//! ```
//!
//! A stream puts a length of four bytes, big-endian, before each frame; that length is not
//! part of what is written here. Numbers are big-endian, lengths count bytes, a truth value
//! is one byte 0 or 1, and so is the byte before an optional field.
//!
//! | part | layout |
//! |---|---|
//! | frame | version `u8` = 1, frame kind `u8`, then one of the three below, then anything |
//! | 1 hello | spoken `u16`, incarnation `u32`, address, positions `u16`, cluster (`u8` length, text), and, or nothing, the service's address |
//! | 2 request | id `u32`, to 20, position `u16`, incarnation `u32`, remaining `u64` µs, class `u8`, trace `u64`, kind `u8`, body |
//! | 3 response | id `u32`, incarnation `u32`, kind `u8`, body |
//! | address | 16 bytes of IPv6 or mapped IPv4, port `u16` |
//! | peer | id 20 (never zero), address, incarnation `u32` |
//! | span | after 20, upto 20 |
//! | version | time `u64`, writer 20 |
//! | operation | gateway 20, incarnation `u32`, counter `u64` |
//! | mark | epoch `u64`, rank `u8` |
//! | key | `u16` length, 1 to 1,024 bytes |
//! | value | `u32` length, up to 1 MiB |
//! | record | version, operation, copies `u8`, tombstone, lifetime `u64` µs, shadow `u64` µs, key, value (empty in a tombstone) |
//! | head | version, copies `u8`, key |
//! | list | `u16` count, items |
//!
//! | request | kind | body | response | kind | body |
//! |---|---|---|---|---|---|
//! | `Ping` | 1 | | `Done` | 1 | |
//! | `Route` | 2 | target 20 | `Route` | 2 | 1, settled, or 2 (successors) or 3 (closer), peers |
//! | `Neighbours` | 3 | digest `u64` | `Neighbours` | 3 | peer, predecessor?, (peers)?, and, or nothing, wall `u64` µs |
//! | `Notify` | 4 | | `Notified` | 4 | predecessor?, (granted behind peer)? |
//! | `Stabilise` | 5 | | `Done` | | |
//! | `Leave` | 6 | | `Done` | | |
//! | `Yield` | 7 | after 20 | `Done` | | |
//! | `Cede` | 8 | after 20 | `Done` | | |
//! | `Put` | 32 | operation, ttl `u64` µs, copies `u8`, (expected version)?, key, value? | `Written` | 32 | version |
//! | `Get` | 33 | quorum, key | `Got` | 33 | record? |
//! | `Replicate` | 48 | fresh, records | `Replicated` | 48 | list of (index `u16`, version) |
//! | `Fetch` | 49 | keys | `Fetched` | 49 | mark?, records |
//! | `Pull` | 64 | span, bytes `u32`, (after key)? | `Page` | 64 | more, records |
//! | `List` | 65 | span, bytes `u32`, (after key)? | `Heads` | 65 | more, mark?, heads |
//! | `Mark` | 66 | span, mark | `Done` | | |
//! | `Offer` | 67 | leaving, heads | `Offered` | 67 | list of 1 keep, 2 drop, 3 send, 4 wait |
//! | `Discard` | 68 | heads | `Done` | | |
//! | `Sums` | 69 | span | `Sums` | 69 | mark?, list of (part `u8`, copies `u8`, sum 16) |
//! | any | | | `Refused` | 128 | reason `u8`, its fields |
//!
//! Reasons of a refusal: 1 `NotMember` (incarnation `u32`), 2 `NotOwner` (hint peer?),
//! 3 `Leaving`, 16 `Settling`, 17 `Unavailable` (stored `u8`, needed `u8`), 18 `Overloaded`
//! (after `u32` ms), 32 `ClockSkew`, 33 `Conflict` (version), 34 `Unsupported`,
//! 35 `Invalid`, 48 `Full`, 49 `Storage`.
//!
//! # Room to grow
//!
//! Bytes behind the last known field of a frame are skipped, so a later build may append
//! fields to any message; an unknown request is told from a broken one and can be refused
//! ([`Asked::Unknown`]). The first two bytes and the layout of a hello stay for ever:
//! `spoken` is the greatest version that a host speaks, and both use the lesser of the two.
//!
//! # Laws
//!
//! * `decode(encode(m)) == m` with one reading of the clock, for every `m` that the encoder
//!   takes and whose instants lie at most [`LIFETIME_MAX`] ahead and not in the past. (An
//!   instant in the past arrives as the present, one too far ahead as the limit.)
//! * `encode(decode(x)) == x` for every `x` that the decoder takes, up to the bytes it
//!   skipped: each message has one form only.
//! * Keys and values are slices of the input: nothing is copied, and a small one keeps the
//!   whole input in memory. Who keeps one for long makes a copy.
//! * A decoder allocates less than four times the input and 64 KiB, and never recurses.

mod error;
mod part;
mod read;
mod request;
mod response;
mod write;

use alloc::string::String;

use bytes::{Bytes, BytesMut};

pub use error::{DecodeError, EncodeError};
pub use request::Asked;

use crate::event::Class;
use crate::id::Id;
use crate::message::{Response, VALUE_MAX};
use crate::peer::Addr;
use crate::time::{Instant, Micros};
use read::Reader;
use write::Writer;

/// The version of the format that this build speaks: the first byte of every frame.
pub const WIRE_VERSION: u8 = 1;
/// Longest frame in bytes: a page of records and one record of the greatest size.
pub const FRAME_MAX: usize = 2 << 20;
/// Longest frame in bytes that travels among others; above it, a call goes on a stream of
/// its own, so that no small call waits behind a long one.
pub const SMALL_MAX: usize = 4 << 10;
/// Most bytes, by [`Record::size`](crate::message::Record::size) or
/// [`Head::size`](crate::message::Head::size), of the entries of a page beside its last one:
/// with any last one it fits a frame.
pub const PAGE_MAX: usize = FRAME_MAX - VALUE_MAX - SMALL_MAX;
/// Most peers in a list: the longest successor list that can be configured.
pub const PEERS_MAX: usize = 64;
/// Most keys in a list; more would let a frame of short keys cost too much memory.
pub const KEYS_MAX: usize = 1_024;
/// Most records in a list: as many of the smallest as a page takes, rounded up.
pub const RECORDS_MAX: usize = 8_192;
/// Most heads in a list: as many of the smallest as a page takes, rounded up.
pub const HEADS_MAX: usize = 32_768;
/// Most sums in a list: those of every part and every number of copies.
pub const SUMS_MAX: usize = crate::sums::PARTS * 64;
/// Longest name of a cluster in bytes: a DNS label has at most 63.
pub const CLUSTER_MAX: usize = 64;
/// Longest lifetime that can be told: 2⁶² µs, longer than anything lives, and short enough
/// to be added to any clock.
pub const LIFETIME_MAX: Micros = Micros(1 << 62);

/// What a decoder may allocate beside four times its input.
const ALLOCATION_SLACK: usize = 64 << 10;

const HELLO: u8 = 1;
const REQUEST: u8 = 2;
const RESPONSE: u8 = 3;

/// Bytes of an address.
const ADDR_LEN: usize = 18;
/// Bytes of a request before its body's kind, and more than any other frame's.
const HEAD_LEN: usize = 64;

/// What travels on a stream between two hosts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// The first frame each way.
    Hello(Hello),
    /// A question.
    Request(RequestFrame),
    /// Its answer.
    Response(ResponseFrame),
}

/// Who speaks, before anything else is said. Identity comes from the certificate alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Greatest version of the format that the sender speaks, at least 1.
    pub wire_version: u16,
    /// The cluster's name: 1 to [`CLUSTER_MAX`] visible ASCII characters.
    pub cluster: String,
    /// Which start of the sender's process.
    pub incarnation: u32,
    /// Where the sender listens.
    pub addr: Addr,
    /// How many ring positions the sender has, at least 1.
    pub positions: u16,
    /// Where the sender serves clients of the ring, if it says so; an address of only zeros
    /// stands for [`Hello::addr`]'s.
    pub service: Option<Addr>,
}

/// A question and its terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestFrame {
    /// Echoed by the response; unique among those in flight that way on the connection.
    pub id: u32,
    /// Which position of the receiver; [`Id::ZERO`] is its position 0, whatever its id.
    pub to: Id,
    /// Which position of the sender asks.
    pub position: u16,
    /// In which life the sender is.
    pub incarnation: u32,
    /// How long the sender will wait from now on.
    pub remaining: Micros,
    /// How urgent.
    pub class: Class,
    /// One number for all calls that serve one operation of a client; 0 for upkeep.
    pub trace: u64,
    /// The question itself.
    pub request: Asked,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResponseFrame {
    /// Of the request.
    pub id: u32,
    /// In which life the responder is.
    pub incarnation: u32,
    /// The answer itself.
    pub response: Response,
}

/// The first fields of a frame, for a driver that decides before it decodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peeked {
    /// A hello.
    Hello,
    /// A request.
    Request {
        /// For the response.
        id: u32,
        /// Which position of the receiver.
        to: Id,
        /// How urgent.
        class: Class,
    },
    /// A response.
    Response {
        /// Of the request.
        id: u32,
    },
}

impl Frame {
    /// Whether a frame of `len` bytes travels among others, not on a stream of its own.
    #[must_use]
    pub const fn is_small(len: usize) -> bool {
        len <= SMALL_MAX
    }

    /// How much room to make for the encoded frame: never too little, at most a few bytes
    /// too much for each entry of a list.
    #[must_use]
    pub fn size_hint(&self) -> usize {
        HEAD_LEN
            + match self {
                Self::Hello(hello) => hello.cluster.len(),
                Self::Request(frame) => frame.request.size_hint(),
                Self::Response(frame) => response::size_hint(&frame.response),
            }
    }
}

/// Appends a frame to `out`, its instants as times that remain after `now`.
///
/// # Errors
/// The frame breaks a limit or holds what a decoder would refuse; `out` is as it was.
pub fn encode(frame: &Frame, now: Instant, out: &mut BytesMut) -> Result<(), EncodeError> {
    let start = out.len();
    out.reserve(frame.size_hint());
    let mut writer = Writer::new(out, now);
    let mut result = write_frame(&mut writer, frame);
    if out.len() - start > FRAME_MAX {
        result = Err(EncodeError::Limit("a frame"));
    }
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Reads one frame that fills `bytes`, its times counted from `now`; what follows the last
/// known field is skipped. Keys and values share memory with `bytes`.
///
/// # Errors
/// The bytes are not a frame of this version.
pub fn decode(bytes: Bytes, now: Instant) -> Result<Frame, DecodeError> {
    read_frame(&mut Reader::new(&bytes, now))
}

/// Like [`decode`], and says how many bytes were skipped at the end.
///
/// # Errors
/// The bytes are not a frame of this version.
pub fn decode_prefix(bytes: &Bytes, now: Instant) -> Result<(Frame, usize), DecodeError> {
    let mut r = Reader::new(bytes, now);
    let frame = read_frame(&mut r)?;
    Ok((frame, r.left()))
}

/// Reads the first fields of a frame only.
///
/// # Errors
/// The bytes do not begin like a frame of this version.
pub fn peek(bytes: &Bytes) -> Result<Peeked, DecodeError> {
    let mut r = Reader::new(bytes, Instant(0));
    match read_kind(&mut r)? {
        HELLO => Ok(Peeked::Hello),
        REQUEST => {
            let id = r.u32()?;
            let to = r.id()?;
            // Sender's position and incarnation, remaining time.
            r.array::<14>()?;
            Ok(Peeked::Request {
                id,
                to,
                class: read_class(&mut r)?,
            })
        }
        RESPONSE => Ok(Peeked::Response { id: r.u32()? }),
        number => Err(DecodeError::Unknown {
            what: "frame",
            number,
        }),
    }
}

fn write_frame(w: &mut Writer<'_>, frame: &Frame) -> Result<(), EncodeError> {
    match frame {
        Frame::Hello(hello) => {
            w.bytes(&[WIRE_VERSION, HELLO]);
            write_hello(w, hello)
        }
        Frame::Request(frame) => {
            let mut head = [0; 49];
            head[..2].copy_from_slice(&[WIRE_VERSION, REQUEST]);
            head[2..6].copy_from_slice(&frame.id.to_be_bytes());
            head[6..26].copy_from_slice(&frame.to.0);
            head[26..28].copy_from_slice(&frame.position.to_be_bytes());
            head[28..32].copy_from_slice(&frame.incarnation.to_be_bytes());
            head[32..40].copy_from_slice(&frame.remaining.0.to_be_bytes());
            head[40] = frame.class as u8;
            head[41..].copy_from_slice(&frame.trace.to_be_bytes());
            w.bytes(&head);
            frame.request.write(w)
        }
        Frame::Response(frame) => {
            let mut head = [0; 10];
            head[..2].copy_from_slice(&[WIRE_VERSION, RESPONSE]);
            head[2..6].copy_from_slice(&frame.id.to_be_bytes());
            head[6..].copy_from_slice(&frame.incarnation.to_be_bytes());
            w.bytes(&head);
            response::write(w, &frame.response)
        }
    }
}

// Always inlined, like the two readers of bodies: a frame is built where the caller wants
// it. Each step outwards would move two hundred bytes, half of the time of a small frame.
#[inline(always)]
fn read_frame(r: &mut Reader<'_>) -> Result<Frame, DecodeError> {
    Ok(match read_kind(r)? {
        HELLO => Frame::Hello(read_hello(r)?),
        REQUEST => Frame::Request(RequestFrame {
            id: r.u32()?,
            to: r.id()?,
            position: r.u16()?,
            incarnation: r.u32()?,
            remaining: r.micros()?,
            class: read_class(r)?,
            trace: r.u64()?,
            request: Asked::read(r)?,
        }),
        RESPONSE => Frame::Response(ResponseFrame {
            id: r.u32()?,
            incarnation: r.u32()?,
            response: response::read(r)?,
        }),
        number => {
            return Err(DecodeError::Unknown {
                what: "frame",
                number,
            });
        }
    })
}

/// The version is checked, the kind of frame returned.
fn read_kind(r: &mut Reader<'_>) -> Result<u8, DecodeError> {
    if r.left() > FRAME_MAX {
        return Err(DecodeError::Limit("a frame"));
    }
    match r.u8()? {
        WIRE_VERSION => r.u8(),
        version => Err(DecodeError::Version(version)),
    }
}

fn read_class(r: &mut Reader<'_>) -> Result<Class, DecodeError> {
    let number = r.u8()?;
    part::class_of(number).ok_or(DecodeError::Unknown {
        what: "class",
        number,
    })
}

fn is_cluster(name: &[u8]) -> bool {
    (1..=CLUSTER_MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic)
}

fn write_hello(w: &mut Writer<'_>, hello: &Hello) -> Result<(), EncodeError> {
    let name = hello.cluster.as_bytes();
    let len = u8::try_from(name.len()).map_err(|_| EncodeError::Limit("a cluster's name"))?;
    if !is_cluster(name) {
        return Err(EncodeError::Value("a cluster's name"));
    }
    if hello.wire_version == 0 || hello.positions == 0 {
        return Err(EncodeError::Value("a count in a hello"));
    }
    w.u16(hello.wire_version);
    w.u32(hello.incarnation);
    w.addr(hello.addr);
    w.u16(hello.positions);
    w.u8(len);
    w.bytes(name);
    if let Some(service) = hello.service {
        w.addr(service);
    }
    Ok(())
}

fn read_hello(r: &mut Reader<'_>) -> Result<Hello, DecodeError> {
    let wire_version = r.u16()?;
    let incarnation = r.u32()?;
    let addr = r.addr()?;
    let positions = r.u16()?;
    if wire_version == 0 || positions == 0 {
        return Err(DecodeError::Value("a count in a hello"));
    }
    let len = r.u8()?;
    let name = r.bytes(usize::from(len))?;
    if !is_cluster(&name) {
        return Err(DecodeError::Value("a cluster's name"));
    }
    // ASCII, as just checked, so nothing is replaced.
    let cluster = String::from_utf8_lossy(&name).into_owned();
    // An early build says nothing of it. Fewer bytes are something that we do not know.
    let service = match r.left() >= ADDR_LEN {
        true => Some(r.addr()?),
        false => None,
    };
    Ok(Hello {
        wire_version,
        cluster,
        incarnation,
        addr,
        positions,
        service,
    })
}
