//! The client protocol as bytes: no sockets, no clock.
//!
//! ```text
//! size u16 │ type u16 │ body                          size counts the whole message
//! ─────────┼──────────┼──────────────────────────────────────────────────────────────
//! 40 + n   │ 650 PUT  │ TTL u16 │ replication u8 │ reserved u8 │ key 32 │ value n ≥ 1
//! 36       │ 651 GET  │ key 32
//! 36 + n   │ 652 SUCCESS │ key 32 │ value n
//! 36       │ 653 FAILURE │ key 32
//! ```
//!
//! Big-endian throughout. [`Decoder`] takes bytes in any segmentation and judges a message
//! as soon as its four header bytes are there, so a peer that talks nonsense cannot make
//! anybody wait for a body.
//!
//! **Invariant:** a decoder never allocates from a size field: it holds at most what it was
//! given and has not handed on.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Type of a PUT.
pub const PUT: u16 = 650;
/// Type of a GET.
pub const GET: u16 = 651;
/// Type of the answer that carries a value.
pub const SUCCESS: u16 = 652;
/// Type of the answer that carries none.
pub const FAILURE: u16 = 653;

const HEADER: usize = 4;
const KEY: usize = 32;
/// Size of a GET and of a FAILURE, and of what precedes the value in a SUCCESS.
const BARE: usize = HEADER + KEY;
/// What precedes the value in a PUT.
const PUT_HEAD: usize = BARE + 4;
/// The longest value a SUCCESS can carry, by the width of its size field.
pub const ANSWER_VALUE_MAX: usize = u16::MAX as usize - BARE;

/// A message of a client.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// Store a value. Has no answer.
    Put {
        /// Seconds; 0 is the configured default.
        ttl: u16,
        /// Copies in total; 0 is the configured default.
        replication: u8,
        /// The record's key.
        key: [u8; 32],
        /// 1 to 65,495 bytes.
        value: Bytes,
    },
    /// Read a value. Answered by SUCCESS or FAILURE.
    Get {
        /// The record's key.
        key: [u8; 32],
    },
}

impl Message {
    /// The key it is about.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        match self {
            Self::Put { key, .. } | Self::Get { key } => key,
        }
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Put { value, .. } => PUT_HEAD + value.len(),
            Self::Get { .. } => BARE,
        }
    }

    /// The bytes of the message; `None` for a value that no PUT can carry.
    #[must_use]
    pub fn encode(&self) -> Option<Bytes> {
        let size = u16::try_from(self.size()).ok()?;
        let mut bytes = BytesMut::with_capacity(self.size());
        bytes.put_u16(size);
        match self {
            Self::Put { value, .. } if value.is_empty() => return None,
            Self::Put {
                ttl,
                replication,
                key,
                value,
            } => {
                bytes.put_u16(PUT);
                bytes.put_u16(*ttl);
                bytes.put_u8(*replication);
                bytes.put_u8(0);
                bytes.put_slice(key);
                bytes.put_slice(value);
            }
            Self::Get { key } => {
                bytes.put_u16(GET);
                bytes.put_slice(key);
            }
        }
        Some(bytes.freeze())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key();
        match self {
            Self::Put {
                ttl,
                replication,
                value,
                ..
            } => {
                write!(
                    f,
                    "Put({:02x?}…, {} B, {ttl} s, × {replication})",
                    &key[..4],
                    value.len()
                )
            }
            Self::Get { .. } => write!(f, "Get({:02x?}…)", &key[..4]),
        }
    }
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// A type that no client sends.
    Type(u16),
    /// A GET of another size than 36.
    GetSize(u16),
    /// A PUT that is too short to carry a value.
    PutSize(u16),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(kind) => write!(f, "message type {kind}"),
            Self::GetSize(size) => write!(f, "GET of {size} bytes"),
            Self::PutSize(size) => write!(f, "PUT of {size} bytes"),
        }
    }
}

/// Takes bytes, gives messages. As an iterator it ends where more bytes are needed, and for
/// ever behind the first malformed message.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    broken: bool,
}

impl Decoder {
    /// A decoder that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what arrived. Behind a malformed message everything is dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether a message has begun that is not complete (once all complete ones are taken).
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Bytes of memory it holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The size of the message at the front, judged by its header.
    fn judge(&self) -> Option<Result<usize, Malformed>> {
        let mut header = self.buffer.get(..HEADER)?;
        let size = header.get_u16();
        let kind = header.get_u16();
        let length = usize::from(size);
        Some(match kind {
            PUT if length > PUT_HEAD => Ok(length),
            PUT => Err(Malformed::PutSize(size)),
            GET if length == BARE => Ok(length),
            GET => Err(Malformed::GetSize(size)),
            _ => Err(Malformed::Type(kind)),
        })
    }

    fn cut(&mut self, size: usize) -> Message {
        let body = &self.buffer[HEADER..size];
        let mut key = [0; KEY];
        let message = if size == BARE {
            key.copy_from_slice(body);
            Message::Get { key }
        } else {
            let (mut head, rest) = body.split_at(PUT_HEAD - BARE);
            let (name, value) = rest.split_at(KEY);
            key.copy_from_slice(name);
            // A copy of its own: a slice would keep the whole buffer alive in the store.
            let value = Bytes::copy_from_slice(value);
            Message::Put {
                ttl: head.get_u16(),
                replication: head.get_u8(),
                key,
                value,
            }
        };
        self.buffer.advance(size);
        if self.buffer.is_empty() {
            // An idle connection holds no buffer.
            self.buffer = BytesMut::new();
        }
        message
    }
}

impl Iterator for Decoder {
    type Item = Result<Message, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.judge()? {
            Ok(size) if self.buffer.len() < size => None,
            Ok(size) => Some(Ok(self.cut(size))),
            Err(malformed) => {
                self.broken = true;
                self.buffer = BytesMut::new();
                Some(Err(malformed))
            }
        }
    }
}

/// The answer that carries `value`; `None` if it is longer than [`ANSWER_VALUE_MAX`].
#[must_use]
pub fn success(key: &[u8; 32], value: &[u8]) -> Option<Bytes> {
    let size = u16::try_from(BARE.checked_add(value.len())?).ok()?;
    let mut bytes = BytesMut::with_capacity(usize::from(size));
    bytes.put_u16(size);
    bytes.put_u16(SUCCESS);
    bytes.put_slice(key);
    bytes.put_slice(value);
    Some(bytes.freeze())
}

/// The answer that carries no value.
#[must_use]
pub fn failure(key: &[u8; 32]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(BARE);
    bytes.put_u16(BARE as u16);
    bytes.put_u16(FAILURE);
    bytes.put_slice(key);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOLZ: &[u8; 32] = b"lolzlolzlolzlolzlolzlolzlolzlolz";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16);
        digits
            .chunks(2)
            .map(|two| pair(two).expect("hex"))
            .collect()
    }

    fn with_key(head: &str, tail: &str) -> Vec<u8> {
        [bytes(head), LOLZ.to_vec(), bytes(tail)].concat()
    }

    fn put() -> Message {
        Message::Put {
            ttl: 1,
            replication: 1,
            key: *LOLZ,
            value: Bytes::from_static(b"bernd"),
        }
    }

    fn decode(bytes: &[u8]) -> Vec<Result<Message, Malformed>> {
        let mut decoder = Decoder::new();
        decoder.push(bytes);
        decoder.by_ref().collect()
    }

    #[test]
    fn the_published_vectors_are_read_and_written() {
        let put_bytes = with_key("002d028a 0001 01 00", "6265726e64");
        let get_bytes = with_key("0024028b", "");
        assert_eq!(decode(&put_bytes), [Ok(put())]);
        assert_eq!(decode(&get_bytes), [Ok(Message::Get { key: *LOLZ })]);
        assert_eq!(put().encode().expect("it fits"), put_bytes);
        assert_eq!(
            Message::Get { key: *LOLZ }.encode().expect("it fits"),
            get_bytes
        );
        assert_eq!(
            success(LOLZ, b"bernd").expect("it fits"),
            with_key("0029028c", "6265726e64")
        );
        assert_eq!(
            success(LOLZ, b"").expect("it fits"),
            with_key("0024028c", "")
        );
        assert_eq!(failure(LOLZ), with_key("0024028d", ""));
    }

    #[test]
    fn the_reserved_byte_means_nothing() {
        assert_eq!(
            decode(&with_key("002d028a 0001 01 ff", "6265726e64")),
            [Ok(put())]
        );
    }

    #[test]
    fn two_messages_split_anywhere_are_the_same_two_messages() {
        let both = [
            with_key("002d028a 0001 01 00", "6265726e64"),
            with_key("0024028b", ""),
        ]
        .concat();
        for split in 0..=both.len() {
            let mut decoder = Decoder::new();
            let mut messages = Vec::new();
            for part in [&both[..split], &both[split..]] {
                decoder.push(part);
                messages.extend(decoder.by_ref());
            }
            assert_eq!(
                messages,
                [Ok(put()), Ok(Message::Get { key: *LOLZ })],
                "split at {split}"
            );
            assert!(!decoder.is_partial());
            assert_eq!(decoder.capacity(), 0);
        }
    }

    #[test]
    fn byte_by_byte_nothing_comes_early() {
        let message = with_key("002d028a 0001 01 00", "6265726e64");
        let mut decoder = Decoder::new();
        for byte in &message[..message.len() - 1] {
            decoder.push(&[*byte]);
            assert_eq!(decoder.next(), None);
            assert!(decoder.is_partial());
        }
        decoder.push(&message[message.len() - 1..]);
        assert_eq!(decoder.next(), Some(Ok(put())));
    }

    #[test]
    fn nonsense_is_refused_as_soon_as_its_header_is_there() {
        let cases = [
            ("0024 0000", Malformed::Type(0)),
            ("0024 0289", Malformed::Type(649)),
            ("0024 028c", Malformed::Type(652)),
            ("0024 028d", Malformed::Type(653)),
            ("ffff ffff", Malformed::Type(0xffff)),
            ("0000 0000", Malformed::Type(0)),
            ("0000 028b", Malformed::GetSize(0)),
            ("0023 028b", Malformed::GetSize(35)),
            ("0025 028b", Malformed::GetSize(37)),
            ("ffff 028b", Malformed::GetSize(0xffff)),
            ("0000 028a", Malformed::PutSize(0)),
            ("0004 028a", Malformed::PutSize(4)),
            ("0028 028a", Malformed::PutSize(40)),
        ];
        for (header, cause) in cases {
            let header = bytes(header);
            for byte in 1..HEADER {
                assert_eq!(decode(&header[..byte]), [], "{cause}");
            }
            assert_eq!(decode(&header), [Err(cause)]);
        }
    }

    #[test]
    fn messages_before_nonsense_are_kept_and_those_behind_it_dropped() {
        let get = with_key("0024028b", "");
        let stream = [get.clone(), bytes("0004 0000"), get.clone()].concat();
        let mut decoder = Decoder::new();
        decoder.push(&stream);
        let messages: Vec<_> = decoder.by_ref().take(5).collect();
        assert_eq!(
            messages,
            [Ok(Message::Get { key: *LOLZ }), Err(Malformed::Type(0))]
        );
        decoder.push(&get);
        assert_eq!(decoder.next(), None);
        assert_eq!(decoder.capacity(), 0);
    }

    #[test]
    fn the_greatest_messages_fit_exactly() {
        let value = Bytes::from(vec![7; 65_495]);
        let greatest = Message::Put {
            ttl: 0xffff,
            replication: 255,
            key: *LOLZ,
            value,
        };
        let encoded = greatest.encode().expect("it fits");
        assert_eq!(encoded.len(), 65_535);
        assert_eq!(decode(&encoded), [Ok(greatest)]);
        let above = Message::Put {
            ttl: 0,
            replication: 0,
            key: *LOLZ,
            value: vec![7; 65_496].into(),
        };
        assert_eq!(above.encode(), None);
        let empty = Message::Put {
            ttl: 0,
            replication: 0,
            key: *LOLZ,
            value: Bytes::new(),
        };
        assert_eq!(empty.encode(), None);
        assert_eq!(
            success(LOLZ, &[0; ANSWER_VALUE_MAX])
                .expect("it fits")
                .len(),
            65_535
        );
        assert_eq!(success(LOLZ, &[0; ANSWER_VALUE_MAX + 1]), None);
    }
}
