//! Every limit at its edge, on the way out and on the way in.

use bytes::{Bytes, BytesMut};
use chord_core::id::Id;
use chord_core::message::{
    Head, KEY_MAX, Key, Record, Request, Response, Route, VALUE_MAX, Verdict, Version, Write,
};
use chord_core::peer::{Addr, Peer};
use chord_core::time::Micros;
use chord_core::wire::{
    Asked, CLUSTER_MAX, DecodeError, EncodeError, FRAME_MAX, Frame, HEADS_MAX, Hello, KEYS_MAX,
    PAGE_MAX, PEERS_MAX, RECORDS_MAX, SMALL_MAX, decode, encode, peek,
};

use crate::laws::{request, response};
use crate::{NOW, decoded, encoded, golden};

/// Where the body of a response begins, behind its kind.
const RESPONSE_BODY: usize = 11;
/// Where the body of a request begins, behind its kind.
const REQUEST_BODY: usize = 50;

fn refused(frame: &Frame, expected: EncodeError) {
    let mut out = BytesMut::from(&b"before"[..]);
    assert_eq!(encode(frame, NOW, &mut out), Err(expected));
    assert_eq!(out, b"before"[..], "the output is as it was");
}

fn survives(frame: &Frame) {
    assert!(
        decoded(&encoded(frame)) == *frame,
        "something else came back"
    );
}

/// The encoded frame with `bytes` written over it from `at` on.
fn patched(frame: &Frame, at: usize, bytes: &[u8]) -> Result<Frame, DecodeError> {
    let mut frame = encoded(frame).to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    decode(Bytes::from(frame), NOW)
}

fn key(n: usize, len: usize) -> Key {
    let mut bytes = n.to_be_bytes().to_vec();
    bytes.resize(len, 0);
    Key::new(Bytes::from(bytes)).expect("a length of a key")
}

fn head(n: usize) -> Head {
    Head {
        key: key(n, 8),
        version: Version::default(),
        copies: 1,
    }
}

fn of_size(n: usize, key_len: usize, value_len: usize) -> Record {
    let template = golden::record(b"k", b"");
    Record {
        key: key(n, key_len),
        value: Bytes::from(vec![7; value_len]),
        ..template
    }
}

fn peers(count: usize) -> Vec<Peer> {
    let id = Id([1; 20]);
    vec![
        Peer {
            id,
            addr: Addr::v4(127, 0, 0, 1, 1),
            incarnation: 1
        };
        count
    ]
}

#[test]
fn peers_are_counted() {
    let frame = |count| response(Response::Route(Route::Closer(peers(count))));
    survives(&frame(PEERS_MAX));
    refused(&frame(PEERS_MAX + 1), EncodeError::Limit("peers"));
    refused(&frame(70_000), EncodeError::Limit("peers"));
    let lie = patched(&frame(PEERS_MAX), RESPONSE_BODY + 1, &[0, 65]);
    assert_eq!(lie, Err(DecodeError::Limit("peers")));
}

#[test]
fn keys_are_counted() {
    let frame = |count| {
        let keys = (0..count).map(|n| key(n, 8)).collect();
        request(Asked::Known(Request::Fetch { keys }))
    };
    survives(&frame(KEYS_MAX));
    refused(&frame(KEYS_MAX + 1), EncodeError::Limit("keys"));
    let lie = patched(&frame(KEYS_MAX), REQUEST_BODY, &[4, 1]);
    assert_eq!(lie, Err(DecodeError::Limit("keys")));
}

#[test]
fn records_are_counted() {
    let frame = |count| {
        let records = (0..count).map(|n| of_size(n, 8, 0)).collect();
        response(Response::Page {
            records,
            more: false,
        })
    };
    survives(&frame(RECORDS_MAX));
    refused(&frame(RECORDS_MAX + 1), EncodeError::Limit("records"));
    let lie = patched(&frame(1), RESPONSE_BODY + 1, &[0x20, 1]);
    assert_eq!(lie, Err(DecodeError::Limit("records")));
    let lie = patched(&frame(1), RESPONSE_BODY + 1, &[0x20, 0]);
    assert_eq!(lie, Err(DecodeError::Truncated));
}

#[test]
fn heads_and_verdicts_are_counted() {
    let heads = |count| {
        let heads = (0..count).map(head).collect();
        request(Asked::Known(Request::Discard { heads }))
    };
    survives(&heads(HEADS_MAX));
    refused(&heads(HEADS_MAX + 1), EncodeError::Limit("heads"));
    let verdicts = |count| {
        response(Response::Offered {
            verdicts: vec![Verdict::Keep; count],
        })
    };
    survives(&verdicts(HEADS_MAX));
    refused(&verdicts(HEADS_MAX + 1), EncodeError::Limit("verdicts"));
}

#[test]
fn newer_versions_are_counted() {
    let frame = |count| {
        response(Response::Replicated {
            newer: vec![(0, Version::default()); count],
        })
    };
    survives(&frame(RECORDS_MAX));
    refused(
        &frame(RECORDS_MAX + 1),
        EncodeError::Limit("newer versions"),
    );
}

#[test]
fn a_value_has_at_most_a_mebibyte() {
    let frame = |len| {
        response(Response::Got {
            record: Some(of_size(0, KEY_MAX, len)),
        })
    };
    survives(&frame(VALUE_MAX));
    refused(&frame(VALUE_MAX + 1), EncodeError::Limit("a value"));
    let value_len = RESPONSE_BODY + 1 + 78 + 2 + KEY_MAX;
    let lie = patched(&frame(0), value_len, &[0, 0x10, 0, 1]);
    assert_eq!(lie, Err(DecodeError::Limit("a value")));
    let lie = patched(&frame(0), value_len, &[0, 0x10, 0, 0]);
    assert_eq!(lie, Err(DecodeError::Truncated));
    let lie = patched(&frame(0), value_len, &[0xff; 4]);
    assert_eq!(lie, Err(DecodeError::Limit("a value")));
}

#[test]
fn a_key_has_one_to_1024_bytes() {
    let frame = request(Asked::Known(Request::Get {
        key: key(0, KEY_MAX),
        quorum: false,
    }));
    survives(&frame);
    let with_len = |len: u16| patched(&frame, REQUEST_BODY + 1, &len.to_be_bytes());
    assert_eq!(with_len(0), Err(DecodeError::Value("an empty key")));
    assert_eq!(with_len(1_025), Err(DecodeError::Limit("a key")));
    assert_eq!(with_len(u16::MAX), Err(DecodeError::Limit("a key")));
    assert!(with_len(1_023).is_ok());
}

#[test]
fn a_frame_has_at_most_two_mebibytes() {
    let records = (0..3).map(|n| of_size(n, 8, VALUE_MAX)).collect();
    refused(
        &response(Response::Page {
            records,
            more: false,
        }),
        EncodeError::Limit("a frame"),
    );

    let mut bytes = encoded(&response(Response::Done)).to_vec();
    bytes.resize(FRAME_MAX, 0);
    assert!(decode(Bytes::from(bytes.clone()), NOW).is_ok());
    bytes.push(0);
    let long = Bytes::from(bytes);
    assert_eq!(peek(&long), Err(DecodeError::Limit("a frame")));
    assert_eq!(decode(long, NOW), Err(DecodeError::Limit("a frame")));
}

#[test]
fn a_full_page_and_one_more_record_fit_a_frame() {
    let mut records = Vec::new();
    let mut size = 0;
    loop {
        let record = of_size(records.len(), 8, 0);
        if size + record.size() > PAGE_MAX {
            break;
        }
        size += record.size();
        records.push(record);
    }
    records.push(of_size(records.len(), KEY_MAX, VALUE_MAX));
    survives(&response(Response::Page {
        records: records.clone(),
        more: true,
    }));
    survives(&request(Asked::Known(Request::Replicate {
        records,
        fresh: false,
    })));

    let mut heads = Vec::new();
    let mut size = 0;
    while size <= PAGE_MAX {
        heads.push(head(heads.len()));
        size += heads[heads.len() - 1].size();
    }
    survives(&response(Response::Heads {
        heads,
        more: true,
        mark: None,
    }));
}

#[test]
fn a_tombstone_has_no_value() {
    let mut record = golden::record(b"key", b"value");
    record.header.tombstone = true;
    let frame = response(Response::Got {
        record: Some(record),
    });
    refused(&frame, EncodeError::Value("the value of a tombstone"));

    let frame = response(Response::Got {
        record: Some(golden::record(b"key", b"value")),
    });
    let flag = RESPONSE_BODY + 1 + 28 + 32 + 1;
    let expected = Err(DecodeError::Value("the value of a tombstone"));
    assert_eq!(patched(&frame, flag, &[1]), expected);
    assert_eq!(
        patched(&frame, flag, &[2]),
        Err(DecodeError::Value("the tombstone flag"))
    );
}

#[test]
fn nobody_is_at_position_zero_but_a_call_may_go_to_whoever_answers() {
    let seed = Peer::seed(Addr::v4(127, 0, 0, 1, 1));
    let frame = response(Response::Route(Route::Closer(vec![seed])));
    refused(&frame, EncodeError::Value("the id of a peer"));
    let frame = response(Response::Route(Route::Closer(peers(1))));
    let zero = patched(&frame, RESPONSE_BODY + 3, &[0; 20]);
    assert_eq!(zero, Err(DecodeError::Value("the id of a peer")));
    assert!(patched(&request(Asked::Known(Request::Ping)), 6, &[0; 20]).is_ok());
}

#[test]
fn a_lifetime_is_bounded() {
    let frame = response(Response::Got {
        record: Some(golden::record(b"key", b"value")),
    });
    let expires = RESPONSE_BODY + 1 + 28 + 32 + 2;
    let with = |at, micros: u64| patched(&frame, at, &micros.to_be_bytes());
    assert!(with(expires, 1 << 62).is_ok());
    let expected = Err(DecodeError::Limit("the lifetime of a record"));
    assert_eq!(with(expires, (1 << 62) + 1), expected);
    let expected = Err(DecodeError::Limit("the shadow of a record"));
    assert_eq!(with(expires + 8, u64::MAX), expected);
}

#[test]
fn a_hello_names_a_cluster_and_counts_from_one() {
    let hello = Hello {
        wire_version: 1,
        cluster: "c".repeat(CLUSTER_MAX),
        incarnation: 1,
        addr: Addr::v4(127, 0, 0, 1, 1),
        positions: 1,
        service: None,
    };
    let frame = Frame::Hello(hello.clone());
    survives(&frame);
    for cluster in [
        "",
        "two words",
        "caf\u{e9}",
        "line\n",
        &"c".repeat(65),
        &"c".repeat(300),
    ] {
        let frame = Frame::Hello(Hello {
            cluster: cluster.into(),
            ..hello.clone()
        });
        assert!(
            encode(&frame, NOW, &mut BytesMut::new()).is_err(),
            "{cluster:?}"
        );
    }
    for at in [2, 26] {
        let zero = patched(&frame, at, &[0, 0]);
        assert_eq!(zero, Err(DecodeError::Value("a count in a hello")));
    }
    let zero_versions = Frame::Hello(Hello {
        wire_version: 0,
        ..hello.clone()
    });
    refused(&zero_versions, EncodeError::Value("a count in a hello"));
    let zero_positions = Frame::Hello(Hello {
        positions: 0,
        ..hello
    });
    refused(&zero_positions, EncodeError::Value("a count in a hello"));
    let expected = Err(DecodeError::Value("a cluster's name"));
    assert_eq!(patched(&frame, 28, &[0]), expected);
    assert_eq!(patched(&frame, 29, &[0x80]), expected);
}

#[test]
fn other_versions_and_unknown_numbers_are_named_in_the_error() {
    let frame = response(Response::Done);
    for version in (0..=255).filter(|&version| version != 1) {
        assert_eq!(
            patched(&frame, 0, &[version]),
            Err(DecodeError::Version(version))
        );
    }
    let unknown = |what, number| Err(DecodeError::Unknown { what, number });
    assert_eq!(patched(&frame, 1, &[4]), unknown("frame", 4));
    assert_eq!(patched(&frame, 10, &[127]), unknown("response", 127));
    let class = 40;
    let ping = request(Asked::Known(Request::Ping));
    assert_eq!(patched(&ping, class, &[4]), unknown("class", 4));
    assert_eq!(
        DecodeError::Version(9).to_string(),
        "the frame is in wire version 9, this build speaks 1"
    );
}

#[test]
fn a_known_request_cannot_pass_as_an_unknown_one() {
    let frame = request(Asked::Unknown { kind: 1 });
    refused(&frame, EncodeError::Value("a request kind"));
}

#[test]
fn a_small_put_is_small_and_a_large_one_is_not() {
    let frame = |len| {
        request(Asked::Known(Request::Put(Write {
            key: key(0, 32),
            value: Some(Bytes::from(vec![1; len])),
            ttl: Micros::ZERO,
            copies: 0,
            operation: chord_core::message::OperationId::default(),
            expected: None,
        })))
    };
    assert!(Frame::is_small(encoded(&frame(100)).len()));
    assert!(!Frame::is_small(encoded(&frame(SMALL_MAX)).len()));
}
