//! Arbitrary bytes as a client of the TCP port, in arbitrary segments.

use crate::codec::{Decoder, GET, Malformed, Message, PUT};

/// The first byte counts segment lengths, as many bytes are those lengths, the rest is what
/// the client sends, cut into segments of those lengths over and over.
///
/// # Panics
/// If the messages depend on the segments, or differ from what a plain reading of the
/// protocol's table gives.
pub fn tcp(data: &[u8]) {
    let Some((&count, data)) = data.split_first() else {
        return;
    };
    let (lengths, stream) = data.split_at(usize::from(count % 16).min(data.len()));
    let expected = by_the_table(stream);
    assert_eq!(decoded(stream, &[]), expected, "in one segment");
    if stream.len() <= 128 {
        assert_eq!(decoded(stream, &[1]), expected, "byte by byte");
    }
    assert_eq!(
        decoded(stream, lengths),
        expected,
        "in segments of {lengths:?}"
    );
}

/// Everything that a decoder says of the stream, cut after `lengths` over and over.
fn decoded(mut stream: &[u8], lengths: &[u8]) -> Vec<Result<Message, Malformed>> {
    let mut decoder = Decoder::new();
    let mut said = Vec::new();
    let mut lengths = lengths.iter().cycle();
    let mut broken = false;
    while !stream.is_empty() {
        let length = lengths
            .next()
            .map_or(stream.len(), |&length| usize::from(length).max(1));
        let (segment, rest) = stream.split_at(length.min(stream.len()));
        stream = rest;
        decoder.push(segment);
        for message in decoder.by_ref() {
            assert!(!broken, "a message behind a malformed one");
            broken = message.is_err();
            said.push(message);
        }
        assert!(
            decoder.capacity() <= 2 * (usize::from(u16::MAX) + length) + 64,
            "it hoards"
        );
    }
    said
}

/// The same, straight from the table of the protocol, with the whole stream at hand.
fn by_the_table(mut stream: &[u8]) -> Vec<Result<Message, Malformed>> {
    let mut said = Vec::new();
    while let [size_high, size_low, type_high, type_low, ..] = *stream {
        let size = u16::from_be_bytes([size_high, size_low]);
        let kind = u16::from_be_bytes([type_high, type_low]);
        let malformed = match kind {
            GET if size != 36 => Some(Malformed::GetSize(size)),
            PUT if size < 41 => Some(Malformed::PutSize(size)),
            GET | PUT => None,
            _ => Some(Malformed::Type(kind)),
        };
        if let Some(malformed) = malformed {
            said.push(Err(malformed));
            break;
        }
        let Some((message, rest)) = stream.split_at_checked(usize::from(size)) else {
            break;
        };
        stream = rest;
        let parsed = if kind == GET {
            Message::Get {
                key: array(&message[4..36]),
            }
        } else {
            Message::Put {
                ttl: u16::from_be_bytes([message[4], message[5]]),
                replication: message[6],
                key: array(&message[8..40]),
                value: bytes::Bytes::copy_from_slice(&message[40..]),
            }
        };
        assert_eq!(parsed.size(), message.len());
        let mut written = message.to_vec();
        if kind == PUT {
            // The reserved byte is ignored, and zero when we write.
            written[7] = 0;
        }
        assert_eq!(parsed.encode().as_deref(), Some(&written[..]));
        said.push(Ok(parsed));
    }
    said
}

fn array(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("32 bytes were cut out")
}
