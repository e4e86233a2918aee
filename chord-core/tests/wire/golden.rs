//! Bytes of every message, committed in `tests/golden/wire-v1.hex`, a name and its hex on
//! each line. They must decode ever after: lines are added, never changed.
//!
//! `CHORD_GOLDEN=add cargo test -p chord-core --test wire golden` adds the lines of samples
//! that have none yet, and touches no other.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use chord_core::event::Class;
use chord_core::id::{Id, Span};
use chord_core::message::{
    Head, Header, Key, Mark, OperationId, Record, Refusal, Request, Response, Route, Verdict,
    Version, Write,
};
use chord_core::peer::{Addr, Peer};
use chord_core::sums::{PartSum, Sum};
use chord_core::time::Micros;
use chord_core::wire::{Asked, Frame, Hello, RequestFrame};

use crate::laws::{request, response};
use crate::{NOW, decoded, encoded, kinds};

const VERSION: Version = Version {
    time: 0x0102_0304_0506_0708,
    writer: Id([0xaa; 20]),
};
const OPERATION: OperationId = OperationId {
    gateway: Id([0xbb; 20]),
    incarnation: 3,
    counter: 0x0a0b_0c0d,
};
const MARK: Mark = Mark { epoch: 17, rank: 2 };
const SPAN: Span = Span {
    after: Id([0x10; 20]),
    upto: Id([0x20; 20]),
};

fn peer(n: u8) -> Peer {
    Peer {
        id: Id([n; 20]),
        addr: Addr::v4(192, 0, 2, n, 7_400),
        incarnation: u32::from(n) + 1,
    }
}

fn key(bytes: &'static [u8]) -> Key {
    Key::new(Bytes::from_static(bytes)).expect("a length of a key")
}

pub(crate) fn record(name: &'static [u8], value: &'static [u8]) -> Record {
    Record {
        key: key(name),
        value: Bytes::from_static(value),
        header: Header {
            version: VERSION,
            operation: OPERATION,
            copies: 3,
            tombstone: false,
            expires: NOW + Micros::from_secs(60),
            shadow: NOW + Micros::from_secs(90),
        },
    }
}

fn tombstone(name: &'static [u8]) -> Record {
    let mut record = record(name, b"");
    record.header.tombstone = true;
    record.header.expires = NOW;
    record
}

fn head(name: &'static [u8]) -> Head {
    Head {
        key: key(name),
        version: VERSION,
        copies: 3,
    }
}

fn requests() -> Vec<(&'static str, Request)> {
    let write = Write {
        key: key(b"name"),
        value: Some(Bytes::from_static(b"value")),
        ttl: Micros::from_secs(3_600),
        copies: 3,
        operation: OPERATION,
        expected: None,
    };
    let delete = Write {
        value: None,
        expected: Some(VERSION),
        ..write.clone()
    };
    let after = Some(key(b"name"));
    vec![
        ("ping", Request::Ping),
        (
            "route",
            Request::Route {
                target: Id([0x33; 20]),
            },
        ),
        (
            "neighbours",
            Request::Neighbours {
                digest: 0x2122_2324_2526_2728,
            },
        ),
        ("notify", Request::Notify),
        ("stabilise", Request::Stabilise),
        ("leave", Request::Leave),
        (
            "cede",
            Request::Cede {
                after: Id([0x45; 20]),
            },
        ),
        (
            "yield",
            Request::Yield {
                after: Id([0x44; 20]),
            },
        ),
        ("put", Request::Put(write)),
        ("put-delete-expected", Request::Put(delete)),
        (
            "get",
            Request::Get {
                key: key(b"name"),
                quorum: true,
            },
        ),
        (
            "replicate",
            Request::Replicate {
                records: vec![record(b"a", b"1"), tombstone(b"b")],
                fresh: true,
            },
        ),
        (
            "fetch",
            Request::Fetch {
                keys: vec![key(b"a"), key(b"bc")],
            },
        ),
        (
            "pull",
            Request::Pull {
                span: SPAN,
                after: after.clone(),
                bytes_max: 524_288,
            },
        ),
        (
            "pull-first",
            Request::Pull {
                span: SPAN,
                after: None,
                bytes_max: 524_288,
            },
        ),
        (
            "list",
            Request::List {
                span: SPAN,
                after,
                bytes_max: 524_288,
            },
        ),
        (
            "list-first",
            Request::List {
                span: SPAN,
                after: None,
                bytes_max: 524_288,
            },
        ),
        (
            "mark",
            Request::Mark {
                span: SPAN,
                mark: MARK,
            },
        ),
        (
            "offer",
            Request::Offer {
                heads: vec![head(b"a"), head(b"bc")],
                leaving: true,
            },
        ),
        (
            "discard",
            Request::Discard {
                heads: vec![head(b"a")],
            },
        ),
        ("sums", Request::Sums { span: SPAN }),
    ]
}

fn responses() -> Vec<(&'static str, Response)> {
    let verdicts = vec![Verdict::Keep, Verdict::Drop, Verdict::Send, Verdict::Wait];
    let refused = Response::Refused;
    vec![
        ("done", Response::Done),
        (
            "route-owner",
            Response::Route(Route::Owner { settled: true }),
        ),
        (
            "route-successors",
            Response::Route(Route::Successors(vec![peer(1), peer(2)])),
        ),
        (
            "route-closer",
            Response::Route(Route::Closer(vec![peer(3)])),
        ),
        (
            "neighbours",
            Response::Neighbours {
                me: peer(1),
                predecessor: Some(peer(9)),
                successors: Some(vec![peer(2), peer(3)]),
                wall: None,
            },
        ),
        (
            "neighbours-same",
            Response::Neighbours {
                me: peer(1),
                predecessor: None,
                successors: None,
                wall: None,
            },
        ),
        (
            "neighbours-clock",
            Response::Neighbours {
                me: peer(1),
                predecessor: None,
                successors: None,
                wall: Some(1_700_000_000_000_000),
            },
        ),
        (
            "notified-granted",
            Response::Notified {
                predecessor: Some(peer(4)),
                granted: Some(peer(3)),
            },
        ),
        (
            "notified",
            Response::Notified {
                predecessor: None,
                granted: None,
            },
        ),
        ("written", Response::Written { version: VERSION }),
        (
            "got",
            Response::Got {
                record: Some(record(b"name", b"value")),
            },
        ),
        ("got-nothing", Response::Got { record: None }),
        (
            "replicated",
            Response::Replicated {
                newer: vec![(1, VERSION), (258, VERSION)],
            },
        ),
        (
            "fetched",
            Response::Fetched {
                records: vec![record(b"a", b""), tombstone(b"b")],
                mark: Some(MARK),
            },
        ),
        (
            "fetched-nothing",
            Response::Fetched {
                records: vec![],
                mark: None,
            },
        ),
        (
            "page",
            Response::Page {
                records: vec![record(b"a", b"1")],
                more: true,
            },
        ),
        (
            "heads",
            Response::Heads {
                heads: vec![head(b"a"), head(b"bc")],
                more: true,
                mark: Some(MARK),
            },
        ),
        (
            "heads-none",
            Response::Heads {
                heads: vec![],
                more: false,
                mark: None,
            },
        ),
        ("offered", Response::Offered { verdicts }),
        (
            "sums",
            Response::Sums {
                sums: vec![
                    PartSum {
                        part: 0,
                        copies: 3,
                        sum: Sum(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
                    },
                    PartSum {
                        part: 31,
                        copies: 1,
                        sum: Sum(u128::MAX),
                    },
                ],
                mark: Some(MARK),
            },
        ),
        (
            "refused-not-member",
            refused(Refusal::NotMember { incarnation: 5 }),
        ),
        (
            "refused-not-owner",
            refused(Refusal::NotOwner {
                hint: Some(peer(6)),
            }),
        ),
        (
            "refused-not-owner-no-hint",
            refused(Refusal::NotOwner { hint: None }),
        ),
        ("refused-leaving", refused(Refusal::Leaving)),
        ("refused-settling", refused(Refusal::Settling)),
        (
            "refused-unavailable",
            refused(Refusal::Unavailable {
                stored: 1,
                needed: 2,
            }),
        ),
        (
            "refused-overloaded",
            refused(Refusal::Overloaded {
                retry_after_ms: 250,
            }),
        ),
        ("refused-clock-skew", refused(Refusal::ClockSkew)),
        (
            "refused-conflict",
            refused(Refusal::Conflict { stored: VERSION }),
        ),
        ("refused-unsupported", refused(Refusal::Unsupported)),
        ("refused-invalid", refused(Refusal::Invalid)),
        ("refused-full", refused(Refusal::Full)),
        ("refused-storage", refused(Refusal::Storage)),
    ]
}

/// A fixed value of every message, by name.
fn samples() -> BTreeMap<String, Frame> {
    let hello = Hello {
        wire_version: 1,
        cluster: "example".into(),
        incarnation: 7,
        addr: Addr::v4(203, 0, 113, 5, 7_400),
        positions: 1,
        service: None,
    };
    let serving = Hello {
        service: Some(Addr::v4(203, 0, 113, 5, 7_490)),
        ..hello.clone()
    };
    let mut samples = BTreeMap::from([
        ("hello".to_owned(), Frame::Hello(hello)),
        ("hello-serving".to_owned(), Frame::Hello(serving)),
        (
            "request/unknown".to_owned(),
            request(Asked::Unknown { kind: 255 }),
        ),
    ]);
    for class in [
        Class::Ring,
        Class::Replication,
        Class::Client,
        Class::Repair,
    ] {
        let Frame::Request(frame) = request(Asked::Known(Request::Ping)) else {
            unreachable!("a request is a request");
        };
        let frame = Frame::Request(RequestFrame { class, ..frame });
        samples.insert(format!("request/ping-{class:?}").to_lowercase(), frame);
    }
    let requests = requests().into_iter();
    samples.extend(
        requests.map(|(name, message)| (format!("request/{name}"), request(Asked::Known(message)))),
    );
    let responses = responses().into_iter();
    samples
        .extend(responses.map(|(name, message)| (format!("response/{name}"), response(message))));
    samples
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire-v1.hex")
}

fn committed() -> BTreeMap<String, Bytes> {
    let text = std::fs::read_to_string(path()).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, hex) = line.split_once(' ').expect("a name, a space, hex digits");
            let digits = hex.as_bytes().chunks_exact(2);
            let digits = digits.map(|pair| std::str::from_utf8(pair).expect("hex digits"));
            let bytes = digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex digits"));
            (name.to_owned(), bytes.collect())
        })
        .collect()
}

/// Adds the lines of samples without one, on an explicit wish only.
fn add_missing(samples: &BTreeMap<String, Frame>) {
    let mut lines = committed();
    for (name, frame) in samples {
        lines.entry(name.clone()).or_insert_with(|| encoded(frame));
    }
    let mut text = String::new();
    for (name, bytes) in lines {
        writeln!(text, "{name} {bytes:x}").expect("a string takes everything");
    }
    std::fs::write(path(), text).expect("the folder is there");
}

#[test]
fn golden_bytes_are_read_and_written_as_ever() {
    let samples = samples();
    if std::env::var_os("CHORD_GOLDEN").is_some_and(|wish| wish == "add") {
        add_missing(&samples);
    }
    let committed = committed();
    assert!(
        samples.keys().eq(committed.keys()),
        "a sample without a line or the reverse"
    );
    for (name, frame) in &samples {
        assert_eq!(decoded(&committed[name]), *frame, "{name}");
        assert_eq!(encoded(frame), committed[name], "{name}");
    }
}

#[test]
fn there_is_a_golden_sample_of_every_variant() {
    let requests: Vec<_> = requests()
        .iter()
        .map(|(_, message)| kinds::request(message))
        .collect();
    let responses = responses();
    let all = |kinds: &[u8], seen: &mut dyn FnMut(u8) -> bool| {
        for &kind in kinds {
            assert!(seen(kind), "no sample of {kind}");
        }
    };
    all(kinds::REQUESTS, &mut |kind| requests.contains(&kind));
    let any = |test: &dyn Fn(&Response) -> bool| responses.iter().any(|(_, r)| test(r));
    all(kinds::RESPONSES, &mut |kind| {
        any(&|r| kinds::response(r) == kind)
    });
    all(kinds::ROUTES, &mut |kind| {
        any(&|r| matches!(r, Response::Route(route) if kinds::route(route) == kind))
    });
    all(kinds::REFUSALS, &mut |kind| {
        any(&|r| matches!(r, Response::Refused(refusal) if kinds::refusal(refusal) == kind))
    });
    all(kinds::VERDICTS, &mut |kind| {
        any(&|r| {
            matches!(r, Response::Offered { verdicts }
                if verdicts.iter().any(|verdict| kinds::verdict(verdict) == kind))
        })
    });
}
