//! Generators of every message there is.

use bytes::Bytes;
use chord_core::event::Class;
use chord_core::id::{Id, Span};
use chord_core::message::{
    Head, Header, KEY_MAX, Key, Mark, OperationId, Record, Refusal, Request, Response, Route,
    Verdict, Version, Write,
};
use chord_core::peer::{Addr, Peer};
use chord_core::sums::{PartSum, Sum};
use chord_core::time::{Instant, Micros};
use chord_core::wire::{Asked, Frame, Hello, LIFETIME_MAX, PEERS_MAX, RequestFrame, ResponseFrame};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{NOW, kinds};

/// Small numbers and the edges come up as often as the vast middle.
fn u64s() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, Just(u64::MAX), any::<u64>()]
}

fn ids() -> impl Strategy<Value = Id> {
    prop_oneof![
        1 => Just(Id::ZERO),
        1 => Just(Id::MAX),
        6 => any::<[u8; 20]>().prop_map(Id),
    ]
}

fn addrs() -> impl Strategy<Value = Addr> {
    (any::<[u8; 16]>(), any::<u16>()).prop_map(|(ip, port)| Addr { ip, port })
}

pub(crate) fn peers() -> impl Strategy<Value = Peer> {
    let id = ids().prop_filter("no peer has it", |&id| id != Id::ZERO);
    (id, addrs(), any::<u32>()).prop_map(|(id, addr, incarnation)| Peer {
        id,
        addr,
        incarnation,
    })
}

fn peer_lists() -> impl Strategy<Value = Vec<Peer>> {
    prop_oneof![4 => vec(peers(), 0..4), 1 => vec(peers(), PEERS_MAX)]
}

fn spans() -> impl Strategy<Value = Span> {
    (ids(), ids()).prop_map(|(after, upto)| Span { after, upto })
}

fn keys() -> impl Strategy<Value = Key> {
    let len = prop_oneof![8 => 1..40_usize, 1 => Just(KEY_MAX)];
    len.prop_flat_map(|len| vec(any::<u8>(), len))
        .prop_map(|bytes| Key::new(Bytes::from(bytes)).expect("1 to KEY_MAX bytes"))
}

fn values() -> impl Strategy<Value = Bytes> {
    prop_oneof![1 => Just(Bytes::new()), 4 => vec(any::<u8>(), 1..200).prop_map(Bytes::from)]
}

fn versions() -> impl Strategy<Value = Version> {
    (u64s(), ids()).prop_map(|(time, writer)| Version { time, writer })
}

fn operations() -> impl Strategy<Value = OperationId> {
    (ids(), any::<u32>(), u64s()).prop_map(|(gateway, incarnation, counter)| OperationId {
        gateway,
        incarnation,
        counter,
    })
}

fn instants() -> impl Strategy<Value = Instant> {
    let remaining = prop_oneof![Just(0), Just(LIFETIME_MAX.0), 0..=LIFETIME_MAX.0];
    remaining.prop_map(|remaining| NOW + Micros(remaining))
}

fn headers() -> impl Strategy<Value = Header> {
    (
        versions(),
        operations(),
        any::<u8>(),
        any::<bool>(),
        instants(),
        instants(),
    )
        .prop_map(
            |(version, operation, copies, tombstone, expires, shadow)| Header {
                version,
                operation,
                copies,
                tombstone,
                expires,
                shadow,
            },
        )
}

pub(crate) fn records() -> impl Strategy<Value = Record> {
    (keys(), values(), headers()).prop_map(|(key, value, header)| {
        let value = if header.tombstone {
            Bytes::new()
        } else {
            value
        };
        Record { key, value, header }
    })
}

fn heads() -> impl Strategy<Value = Head> {
    (keys(), versions(), any::<u8>()).prop_map(|(key, version, copies)| Head {
        key,
        version,
        copies,
    })
}

fn marks() -> impl Strategy<Value = Mark> {
    (u64s(), any::<u8>()).prop_map(|(epoch, rank)| Mark { epoch, rank })
}

fn writes() -> impl Strategy<Value = Write> {
    let expected = option::of(versions());
    (
        keys(),
        option::of(values()),
        u64s(),
        any::<u8>(),
        operations(),
        expected,
    )
        .prop_map(|(key, value, ttl, copies, operation, expected)| Write {
            key,
            value,
            ttl: Micros(ttl),
            copies,
            operation,
            expected,
        })
}

/// Every request; the test `every_variant_is_generated` holds it to that.
fn requests() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::Ping),
        ids().prop_map(|target| Request::Route { target }),
        u64s().prop_map(|digest| Request::Neighbours { digest }),
        Just(Request::Notify),
        Just(Request::Stabilise),
        Just(Request::Leave),
        ids().prop_map(|after| Request::Yield { after }),
        ids().prop_map(|after| Request::Cede { after }),
        writes().prop_map(Request::Put),
        (keys(), any::<bool>()).prop_map(|(key, quorum)| Request::Get { key, quorum }),
        (vec(records(), 0..4), any::<bool>())
            .prop_map(|(records, fresh)| Request::Replicate { records, fresh }),
        vec(keys(), 0..4).prop_map(|keys| Request::Fetch { keys }),
        (spans(), option::of(keys()), any::<u32>()).prop_map(|(span, after, bytes_max)| {
            Request::Pull {
                span,
                after,
                bytes_max,
            }
        }),
        (spans(), option::of(keys()), any::<u32>()).prop_map(|(span, after, bytes_max)| {
            Request::List {
                span,
                after,
                bytes_max,
            }
        }),
        (spans(), marks()).prop_map(|(span, mark)| Request::Mark { span, mark }),
        (vec(heads(), 0..4), any::<bool>())
            .prop_map(|(heads, leaving)| Request::Offer { heads, leaving }),
        vec(heads(), 0..4).prop_map(|heads| Request::Discard { heads }),
        spans().prop_map(|span| Request::Sums { span }),
    ]
}

fn routes() -> impl Strategy<Value = Route> {
    prop_oneof![
        any::<bool>().prop_map(|settled| Route::Owner { settled }),
        peer_lists().prop_map(Route::Successors),
        peer_lists().prop_map(Route::Closer),
    ]
}

fn part_sums() -> impl Strategy<Value = PartSum> {
    (any::<u8>(), any::<u8>(), any::<u128>()).prop_map(|(part, copies, sum)| PartSum {
        part,
        copies,
        sum: Sum(sum),
    })
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Keep),
        Just(Verdict::Drop),
        Just(Verdict::Send),
        Just(Verdict::Wait),
    ]
}

fn refusals() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        any::<u32>().prop_map(|incarnation| Refusal::NotMember { incarnation }),
        option::of(peers()).prop_map(|hint| Refusal::NotOwner { hint }),
        Just(Refusal::Settling),
        (any::<u8>(), any::<u8>())
            .prop_map(|(stored, needed)| Refusal::Unavailable { stored, needed }),
        any::<u32>().prop_map(|retry_after_ms| Refusal::Overloaded { retry_after_ms }),
        Just(Refusal::ClockSkew),
        versions().prop_map(|stored| Refusal::Conflict { stored }),
        Just(Refusal::Full),
        Just(Refusal::Storage),
        Just(Refusal::Leaving),
        Just(Refusal::Unsupported),
        Just(Refusal::Invalid),
    ]
}

/// Every response; the test `every_variant_is_generated` holds it to that.
fn responses() -> impl Strategy<Value = Response> {
    let neighbours = (
        peers(),
        option::of(peers()),
        option::of(peer_lists()),
        any::<u64>(),
    );
    prop_oneof![
        1 => Just(Response::Done),
        2 => routes().prop_map(Response::Route),
        1 => neighbours.prop_map(|(me, predecessor, successors, wall)| Response::Neighbours {
            me,
            predecessor,
            successors,
            wall: Some(wall),
        }),
        1 => (option::of(peers()), option::of(peers()))
            .prop_map(|(predecessor, granted)| Response::Notified { predecessor, granted }),
        1 => versions().prop_map(|version| Response::Written { version }),
        1 => option::of(records()).prop_map(|record| Response::Got { record }),
        1 => vec((any::<u16>(), versions()), 0..4)
            .prop_map(|newer| Response::Replicated { newer }),
        1 => (vec(records(), 0..4), option::of(marks()))
            .prop_map(|(records, mark)| Response::Fetched { records, mark }),
        1 => (vec(records(), 0..4), any::<bool>())
            .prop_map(|(records, more)| Response::Page { records, more }),
        1 => (vec(heads(), 0..4), any::<bool>(), option::of(marks()))
            .prop_map(|(heads, more, mark)| Response::Heads { heads, more, mark }),
        1 => (vec(part_sums(), 0..9), option::of(marks()))
            .prop_map(|(sums, mark)| Response::Sums { sums, mark }),
        1 => vec(verdicts(), 0..9).prop_map(|verdicts| Response::Offered { verdicts }),
        5 => refusals().prop_map(Response::Refused),
    ]
}

fn classes() -> impl Strategy<Value = Class> {
    prop_oneof![
        Just(Class::Ring),
        Just(Class::Replication),
        Just(Class::Client),
        Just(Class::Repair)
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let unknown =
        any::<u8>().prop_filter("a later version's", |kind| !kinds::REQUESTS.contains(kind));
    prop_oneof![
        16 => requests().prop_map(Asked::Known),
        1 => unknown.prop_map(|kind| Asked::Unknown { kind }),
    ]
}

fn request_frames() -> impl Strategy<Value = RequestFrame> {
    let terms = (u64s(), classes(), u64s());
    (
        any::<u32>(),
        ids(),
        any::<u16>(),
        any::<u32>(),
        terms,
        asked(),
    )
        .prop_map(
            |(id, to, position, incarnation, (remaining, class, trace), request)| RequestFrame {
                id,
                to,
                position,
                incarnation,
                remaining: Micros(remaining),
                class,
                trace,
                request,
            },
        )
}

fn hellos() -> impl Strategy<Value = Hello> {
    (
        1..=u16::MAX,
        "[!-~]{1,64}",
        any::<u32>(),
        addrs(),
        1..=u16::MAX,
        proptest::option::of(addrs()),
    )
        .prop_map(
            |(wire_version, cluster, incarnation, addr, positions, service)| Hello {
                wire_version,
                cluster,
                incarnation,
                addr,
                positions,
                service,
            },
        )
}

/// Any frame whose instants lie between [`NOW`] and the longest lifetime behind it.
pub(crate) fn frames() -> impl Strategy<Value = Frame> {
    prop_oneof![
        1 => hellos().prop_map(Frame::Hello),
        16 => request_frames().prop_map(Frame::Request),
        16 => (any::<u32>(), any::<u32>(), responses()).prop_map(|(id, incarnation, response)| {
            Frame::Response(ResponseFrame { id, incarnation, response })
        }),
    ]
}
