//! What holds for every frame and for all bytes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use chord_core::message::{Request, Response};
use chord_core::time::{Instant, Micros};
use chord_core::wire::{
    Asked, DecodeError, Frame, LIFETIME_MAX, Peeked, RequestFrame, ResponseFrame, decode,
    decode_prefix, encode, peek,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

use crate::strategies::{frames, records};

/// Bytes of an address.
const ADDR_LEN: usize = 18;
use crate::{NOW, decoded, encoded, kinds};

/// The same cases in every run.
fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..ProptestConfig::default()
    })
}

#[test]
fn every_frame_survives_the_wire_and_its_size_is_foreseen() {
    runner(2_000)
        .run(&frames(), |frame| {
            let bytes = encoded(&frame);
            prop_assert!(bytes.len() <= frame.size_hint());
            prop_assert!(frame.size_hint() <= 4 * bytes.len() + 256);
            prop_assert_eq!(decoded(&bytes), frame);
            Ok(())
        })
        .unwrap();
}

#[test]
fn every_variant_is_generated() {
    let seen = RefCell::new([const { BTreeSet::<u8>::new() }; 5]);
    let note = |frame: &Frame| {
        let [requests, responses, routes, verdicts, refusals] = &mut *seen.borrow_mut();
        match frame {
            Frame::Request(RequestFrame {
                request: Asked::Known(request),
                ..
            }) => {
                requests.insert(kinds::request(request));
            }
            Frame::Response(ResponseFrame { response, .. }) => {
                responses.insert(kinds::response(response));
                match response {
                    Response::Route(route) => routes.extend([kinds::route(route)]),
                    Response::Refused(refusal) => refusals.extend([kinds::refusal(refusal)]),
                    Response::Offered { verdicts: given } => {
                        verdicts.extend(given.iter().map(kinds::verdict));
                    }
                    _ => {}
                }
            }
            Frame::Hello(_) | Frame::Request(_) => {}
        }
    };
    runner(3_000)
        .run(&frames(), |frame| {
            note(&frame);
            Ok(())
        })
        .unwrap();

    let all = [
        kinds::REQUESTS,
        kinds::RESPONSES,
        kinds::ROUTES,
        kinds::VERDICTS,
        kinds::REFUSALS,
    ];
    let all = all.map(|kinds| kinds.iter().copied().collect::<BTreeSet<u8>>());
    assert_eq!(*seen.borrow(), all);
}

/// The decoder's own opinion of which numbers mean something, from its answers to a number
/// with nothing behind it.
fn assigned(start: &[u8]) -> Vec<u8> {
    let means_something = |&kind: &u8| {
        let bytes = Bytes::from([start, &[kind]].concat());
        match decode(bytes, NOW) {
            Ok(Frame::Request(frame)) => !matches!(frame.request, Asked::Unknown { .. }),
            Err(DecodeError::Unknown { number, .. }) => number != kind,
            Ok(_) | Err(_) => true,
        }
    };
    (0..=255).filter(means_something).collect()
}

#[test]
fn the_decoder_knows_these_numbers_and_no_others() {
    let request_head = [&[1, 2][..], &[0; 47]].concat();
    let response_head = [&[1, 3][..], &[0; 8]].concat();
    let inside = |bytes: &[u8]| assigned(&[&response_head[..], bytes].concat());
    assert_eq!(assigned(&request_head), kinds::REQUESTS);
    assert_eq!(assigned(&response_head), kinds::RESPONSES);
    assert_eq!(inside(&[2]), kinds::ROUTES);
    assert_eq!(inside(&[67, 0, 1]), kinds::VERDICTS);
    let mut refusals = kinds::REFUSALS.to_vec();
    refusals.sort_unstable();
    assert_eq!(inside(&[128]), refusals);
    assert_eq!(assigned(&[1]), [1, 2, 3]);
}

#[test]
fn no_frame_can_be_read_before_its_last_byte_is_there() {
    runner(300)
        .run(&frames(), |frame| {
            let bytes = encoded(&frame);
            // Fields that may be missing, and are the last then.
            let optional = match &frame {
                Frame::Hello(hello) if hello.service.is_some() => ADDR_LEN,
                Frame::Response(ResponseFrame {
                    response: Response::Neighbours { wall: Some(_), .. },
                    ..
                }) => size_of::<u64>(),
                _ => 0,
            };
            for end in 0..bytes.len() - optional {
                prop_assert_eq!(decode(bytes.slice(..end), NOW), Err(DecodeError::Truncated));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn bytes_behind_the_last_known_field_are_skipped() {
    runner(500)
        .run(
            &(frames(), vec(any::<u8>(), 1..100)),
            |(frame, mut more)| {
                if matches!(&frame, Frame::Hello(hello) if hello.service.is_none()) {
                    more.truncate(ADDR_LEN - 1); // As many as an address would be one.
                }
                let longer = Bytes::from([&encoded(&frame)[..], &more].concat());
                prop_assert_eq!(decode_prefix(&longer, NOW), Ok((frame, more.len())));
                Ok(())
            },
        )
        .unwrap();
}

#[test]
fn a_request_of_a_later_version_is_told_from_a_broken_one() {
    let ping = encoded(&request(Asked::Known(Request::Ping)));
    for kind in (0..=255).filter(|kind| !kinds::REQUESTS.contains(kind)) {
        let mut bytes = ping.to_vec();
        *bytes.last_mut().unwrap() = kind;
        bytes.extend_from_slice(b"a body that nobody here can read");
        let frame = decode(Bytes::from(bytes), NOW).unwrap();
        assert_eq!(frame, request(Asked::Unknown { kind }));
    }
}

/// What a bad memory, a bad line or a bad mind makes of good bytes.
#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, u8),
}

fn damages() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let telling = prop_oneof![
        Just(0),
        Just(1),
        Just(2),
        Just(0x7f),
        Just(0xff),
        any::<u8>()
    ];
    prop_oneof![
        (at(), telling).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        at().prop_map(Damage::Remove),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
    ]
}

fn damaged(bytes: &[u8], damages: &[Damage]) -> Bytes {
    let mut bytes = bytes.to_vec();
    for damage in damages {
        match damage {
            Damage::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Damage::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Damage::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Damage::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
        }
    }
    Bytes::from(bytes)
}

/// Whether the bytes are a frame; if so, the only form of it.
fn is_canonical_frame(bytes: &Bytes, now: Instant) -> Result<bool, TestCaseError> {
    let Ok((frame, skipped)) = decode_prefix(bytes, now) else {
        return Ok(false);
    };
    let mut again = BytesMut::new();
    prop_assert_eq!(encode(&frame, now, &mut again), Ok(()), "{:?}", frame);
    prop_assert_eq!(&again[..], &bytes[..bytes.len() - skipped], "{:?}", frame);
    prop_assert_eq!(decode(again.freeze(), now), Ok(frame));
    Ok(true)
}

#[test]
fn what_is_read_from_damaged_bytes_has_no_other_form() {
    let (good, bad) = (Cell::new(0_u32), Cell::new(0_u32));
    runner(6_000)
        .run(
            &(frames(), vec(damages(), 1..4), any::<u64>()),
            |(frame, damages, now)| {
                let counter =
                    if is_canonical_frame(&damaged(&encoded(&frame), &damages), Instant(now))? {
                        &good
                    } else {
                        &bad
                    };
                counter.set(counter.get() + 1);
                Ok(())
            },
        )
        .unwrap();
    assert!(
        good.get() > 1_000 && bad.get() > 1_000,
        "{good:?} read, {bad:?} refused"
    );
}

#[test]
fn what_is_read_from_noise_has_no_other_form() {
    let good = Cell::new(0_u32);
    let kind = prop_oneof![Just(1_u8), Just(2), Just(3)];
    let mostly_small = prop_oneof![3 => 0..4_u8, 1 => any::<u8>()];
    runner(6_000)
        .run(&(kind, vec(mostly_small, 0..400)), |(kind, noise)| {
            let bytes = Bytes::from([&[1, kind][..], &noise].concat());
            good.set(good.get() + u32::from(is_canonical_frame(&bytes, NOW)?));
            Ok(())
        })
        .unwrap();
    assert!(good.get() > 300, "{good:?} read");
}

#[test]
fn a_decoded_record_shares_the_memory_of_its_frame() {
    runner(100)
        .run(&records(), |record| {
            let bytes = encoded(&response(Response::Got {
                record: Some(record),
            }));
            let inside =
                |part: &Bytes| part.is_empty() || bytes.as_ptr_range().contains(&part.as_ptr());
            let Frame::Response(ResponseFrame {
                response:
                    Response::Got {
                        record: Some(record),
                    },
                ..
            }) = decoded(&bytes)
            else {
                panic!("something else came back");
            };
            prop_assert!(inside(record.key.bytes()) && inside(&record.value));
            Ok(())
        })
        .unwrap();
}

#[test]
fn instants_travel_as_the_time_that_remains() {
    runner(200)
        .run(&(records(), 0..1_u64 << 41), |(record, theirs)| {
            let theirs = Instant(theirs);
            let bytes = encoded(&response(Response::Got {
                record: Some(record.clone()),
            }));
            let Ok(Frame::Response(ResponseFrame {
                response:
                    Response::Got {
                        record: Some(received),
                    },
                ..
            })) = decode(bytes, theirs)
            else {
                panic!("something else came back");
            };
            let there = received.header.expires.since(theirs);
            prop_assert_eq!(there, record.header.expires.since(NOW));
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_instant_in_the_past_arrives_as_now_and_one_too_far_ahead_as_the_limit() {
    let mut record = crate::golden::record(b"key", b"value");
    record.header.expires = Instant(0);
    record.header.shadow = Instant(u64::MAX);
    let frame = response(Response::Got {
        record: Some(record.clone()),
    });
    let arrived = decoded(&encoded(&frame));
    record.header.expires = NOW;
    record.header.shadow = NOW + LIFETIME_MAX;
    assert_eq!(
        arrived,
        response(Response::Got {
            record: Some(record)
        })
    );
}

#[test]
fn a_peek_agrees_with_the_whole() {
    runner(500)
        .run(&frames(), |frame| {
            let expected = match &frame {
                Frame::Hello(_) => Peeked::Hello,
                Frame::Request(frame) => Peeked::Request {
                    id: frame.id,
                    to: frame.to,
                    class: frame.class,
                },
                Frame::Response(frame) => Peeked::Response { id: frame.id },
            };
            prop_assert_eq!(peek(&encoded(&frame)), Ok(expected));
            Ok(())
        })
        .unwrap();
}

pub(crate) fn request(request: Asked) -> Frame {
    Frame::Request(RequestFrame {
        id: 0x0102_0304,
        to: chord_core::id::Id([0x55; 20]),
        position: 2,
        incarnation: 7,
        remaining: Micros::from_millis(1_500),
        class: chord_core::event::Class::Client,
        trace: 0x1112_1314_1516_1718,
        request,
    })
}

pub(crate) fn response(response: Response) -> Frame {
    Frame::Response(ResponseFrame {
        id: 0x0102_0304,
        incarnation: 9,
        response,
    })
}
