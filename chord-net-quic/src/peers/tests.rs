//! The rules of connections, without a single socket.

use chord_core::event::{CallError, Class, Lost, OpId, Terms};
use chord_core::message::{Record, Refusal, Request, Response};
use chord_core::wire::{self, Asked, Frame, RequestFrame, ResponseFrame};
use tokio_util::codec::Decoder;

use super::*;
use crate::frames;

const NOW: Instant = Instant(1_000_000);

fn host(name: &str) -> Id {
    Id::hash(name.as_bytes())
}

/// Two hosts, the one with the smaller id first.
fn small_and_great() -> (Id, Id) {
    let (a, b) = (host("a"), host("b"));
    (a.min(b), a.max(b))
}

fn addr(port: u16) -> Addr {
    Addr::v4(127, 0, 0, 1, port)
}

fn peers(host: Id) -> Peers {
    let positions = vec![host, host.of_position(1)];
    Peers::new(
        Local {
            host,
            incarnation: 7,
            addr: addr(1),
            positions,
        },
        NOW,
    )
}

fn who(host: Id, incarnation: u32) -> Introduced {
    Introduced {
        host,
        incarnation,
        addr: addr(2),
        positions: 2,
    }
}

fn peer(host: Id, incarnation: u32) -> Peer {
    Peer {
        id: host,
        addr: addr(2),
        incarnation,
    }
}

fn call(op: u64, to: Peer) -> Call {
    let deadline = NOW + Micros::from_secs(5);
    let terms = Terms {
        deadline,
        class: Class::Client,
        trace: 0,
    };
    Call {
        position: 0,
        op: OpId(op),
        to,
        terms,
        request: Request::Ping,
        stage: Stage::Fresh,
    }
}

fn effects(peers: &mut Peers) -> Vec<Effect> {
    peers.flush();
    peers.effects.drain(..).collect()
}

/// The frames written to the frame stream of a link.
fn frames(effects: Vec<Effect>, on: LinkId) -> Vec<Frame> {
    let mut written = bytes::BytesMut::new();
    for effect in effects {
        match effect {
            Effect::Write { link, bytes } if link == on => written.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
    let mut codec = frames::codec(frames::STREAM_FRAME_MAX);
    std::iter::from_fn(|| codec.decode(&mut written).expect("well-formed"))
        .map(|bytes| wire::decode(bytes.freeze(), NOW).expect("a frame"))
        .collect()
}

fn request_id(frame: &Frame) -> u32 {
    match frame {
        Frame::Request(frame) => frame.id,
        other => panic!("{other:?}"),
    }
}

fn done(id: u32) -> Frame {
    Frame::Response(ResponseFrame {
        id,
        incarnation: 1,
        response: Response::Done,
    })
}

fn request(id: u32, to: Id, position: u16, request: Asked) -> Frame {
    let remaining = Micros::from_secs(1);
    let (class, trace) = (Class::Client, 0);
    Frame::Request(RequestFrame {
        id,
        to,
        position,
        incarnation: 1,
        remaining,
        class,
        trace,
        request,
    })
}

/// A link to `host` in life 1, dialled by us.
fn linked(peers: &mut Peers, host: Id) -> LinkId {
    let link = LinkId(1);
    peers.linked(link, Some(addr(2)), &who(host, 1), NOW);
    assert!(effects(peers).is_empty());
    link
}

#[test]
fn a_call_waits_for_its_dial_and_its_answer_finds_the_node() {
    let mut peers = peers(host("me"));
    let you = host("you");
    peers.call(call(5, peer(you, 1)), NOW);
    match &effects(&mut peers)[..] {
        [Effect::Dial { addr: at, wanted }] => {
            assert_eq!((*at, &wanted[..]), (addr(2), &[you][..]));
        }
        other => panic!("{other:?}"),
    }
    let link = LinkId(1);
    peers.linked(link, Some(addr(2)), &who(you, 1), NOW);
    let sent = effects(&mut peers);
    let sent = frames(sent, link);
    assert_eq!(sent.len(), 1);
    peers.heard(link, done(request_id(&sent[0])), None, NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Answer {
                position: 0,
                op: OpId(5),
                result: Ok(Response::Done),
            },
        ] => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_seed_is_whoever_answers_at_the_address() {
    let mut peers = peers(host("me"));
    let seed = Peer::seed(addr(2));
    peers.call(call(5, seed), NOW);
    assert!(matches!(&effects(&mut peers)[..], [Effect::Dial { wanted, .. }] if wanted.is_empty()));
    peers.linked(LinkId(1), Some(addr(2)), &who(host("you"), 1), NOW);
    assert_eq!(frames(effects(&mut peers), LinkId(1)).len(), 1);
    // The next one goes over the connection at once.
    peers.call(call(6, seed), NOW);
    assert_eq!(frames(effects(&mut peers), LinkId(1)).len(), 1);
}

#[test]
fn an_incoming_connection_serves_calls_that_wait_for_a_dial() {
    let mut peers = peers(host("me"));
    let you = host("you");
    peers.call(call(5, peer(you, 1)), NOW);
    effects(&mut peers);
    peers.linked(LinkId(3), None, &who(you, 1), NOW);
    assert_eq!(frames(effects(&mut peers), LinkId(3)).len(), 1);
}

#[test]
fn every_position_of_a_host_is_reached_over_its_one_connection() {
    let mut peers = peers(host("me"));
    let you = host("you");
    let link = linked(&mut peers, you);
    peers.call(
        call(
            5,
            Peer {
                id: you.of_position(1),
                ..peer(you, 1)
            },
        ),
        NOW,
    );
    assert_eq!(frames(effects(&mut peers), link).len(), 1);
}

#[test]
fn somebody_else_at_the_address_is_unreachable_for_whom_we_wanted() {
    let mut peers = peers(host("me"));
    peers.call(call(5, peer(host("you"), 1)), NOW);
    effects(&mut peers);
    peers.dial_failed(addr(2), DialError::Stranger(host("other")), NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Answer {
                op: OpId(5),
                result: Err(CallError::Unreachable),
                ..
            },
        ] => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_to_an_earlier_life_is_not_delivered() {
    let mut peers = peers(host("me"));
    let you = host("you");
    peers.linked(LinkId(1), Some(addr(2)), &who(you, 9), NOW);
    peers.call(call(5, peer(you, 8)), NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Answer {
                result: Err(CallError::Restarted { incarnation: 9 }),
                ..
            },
        ] => {}
        other => panic!("{other:?}"),
    }
    // Life 0 is any.
    peers.call(call(6, peer(you, 0)), NOW);
    assert_eq!(frames(effects(&mut peers), LinkId(1)).len(), 1);
}

#[test]
fn a_call_to_a_later_life_than_the_connected_one_dials_afresh() {
    let mut peers = peers(host("me"));
    let you = host("you");
    linked(&mut peers, you);
    peers.call(call(5, peer(you, 2)), NOW);
    assert!(matches!(effects(&mut peers)[..], [Effect::Dial { .. }]));
    // The host answers in life 1 still: nobody lives as named.
    peers.linked(LinkId(2), Some(addr(2)), &who(you, 1), NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Answer {
                result: Err(CallError::Unreachable),
                ..
            },
        ] => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_higher_incarnation_replaces_older_connections_and_the_nodes_hear_of_it() {
    let mut peers = peers(host("me"));
    let you = host("you");
    let old = linked(&mut peers, you);
    peers.call(call(5, peer(you, 1)), NOW);
    assert_eq!(frames(effects(&mut peers), old).len(), 1);
    peers.linked(LinkId(2), None, &who(you, 4), NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Lost {
                peer: first,
                why: Lost::Restarted { incarnation: 4 },
            },
            Effect::Lost {
                peer: second,
                why: Lost::Restarted { incarnation: 4 },
            },
            Effect::Close {
                link,
                code: Code::Stale,
            },
            Effect::Answer {
                op: OpId(5),
                result: Err(CallError::TimedOut),
                ..
            },
        ] => {
            assert_eq!(
                (*first, second.id, *link),
                (peer(you, 1), you.of_position(1), old)
            );
        }
        other => panic!("{other:?}"),
    }
    peers.call(call(6, peer(you, 4)), NOW);
    assert_eq!(frames(effects(&mut peers), LinkId(2)).len(), 1);
}

#[test]
fn a_lower_incarnation_is_refused_and_raises_the_alarm() {
    let mut peers = peers(host("me"));
    let you = host("you");
    peers.linked(LinkId(1), Some(addr(2)), &who(you, 4), NOW);
    effects(&mut peers);
    peers.linked(LinkId(2), None, &who(you, 3), NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::TwoLives { peer },
            Effect::Close {
                link: LinkId(2),
                code: Code::Stale,
            },
        ] => {
            assert_eq!(peer.incarnation, 3);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(peers.open(), 1);
    // What the refused connection says is not heard.
    peers.heard(
        LinkId(2),
        request(1, Id::ZERO, 0, Asked::Known(Request::Ping)),
        None,
        NOW,
    );
    assert!(effects(&mut peers).is_empty());
}

#[test]
fn our_own_certificate_elsewhere_raises_the_alarm_and_our_own_address_does_not() {
    let me = host("me");
    let mut peers = peers(me);
    let ourselves = Introduced {
        host: me,
        incarnation: 7,
        addr: addr(1),
        positions: 2,
    };
    peers.linked(LinkId(1), Some(addr(1)), &ourselves, NOW);
    assert!(matches!(
        effects(&mut peers)[..],
        [Effect::Close {
            code: Code::Stranger,
            ..
        }]
    ));
    peers.linked(LinkId(2), None, &who(me, 7), NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::TwoLives { .. },
            Effect::Close {
                code: Code::Stale, ..
            },
        ] => {}
        other => panic!("{other:?}"),
    }
}

/// Which of two links stays, seen by `me`; the first one dialled by us if `ours_first`.
fn kept(me: Id, you: Id, ours_first: bool) -> LinkId {
    let mut peers = peers(me);
    let dialled = |ours: bool| ours.then_some(addr(2));
    peers.linked(LinkId(1), dialled(ours_first), &who(you, 1), NOW);
    peers.linked(LinkId(2), dialled(!ours_first), &who(you, 1), NOW);
    peers.call(call(5, peer(you, 1)), NOW);
    match effects(&mut peers)[..] {
        [Effect::Write { link, .. }] => link,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn of_two_connections_the_one_dialled_by_the_smaller_id_stays_on_both_ends() {
    let (small, great) = small_and_great();
    for small_dialled_first in [true, false] {
        let by_small = if small_dialled_first {
            LinkId(1)
        } else {
            LinkId(2)
        };
        assert_eq!(kept(small, great, small_dialled_first), by_small);
        assert_eq!(kept(great, small, !small_dialled_first), by_small);
    }
}

#[test]
fn a_duplicate_finishes_what_it_carries_and_is_closed_when_quiet() {
    let (small, great) = small_and_great();
    let mut peers = peers(small);
    peers.linked(LinkId(1), None, &who(great, 1), NOW);
    peers.call(call(5, peer(great, 1)), NOW);
    let sent = frames(effects(&mut peers), LinkId(1));
    peers.linked(LinkId(2), Some(addr(2)), &who(great, 1), NOW);
    let later = NOW + DRAIN_QUIET + DRAIN_QUIET;
    peers.tend(later);
    assert!(effects(&mut peers).is_empty(), "a call is under way");
    peers.heard(LinkId(1), done(request_id(&sent[0])), None, later);
    assert!(matches!(
        effects(&mut peers)[..],
        [Effect::Answer { result: Ok(_), .. }]
    ));
    peers.tend(later);
    assert!(
        effects(&mut peers).is_empty(),
        "the other end may still be writing"
    );
    peers.tend(later + DRAIN_QUIET);
    match effects(&mut peers)[..] {
        [
            Effect::Close {
                link: LinkId(1),
                code: Code::Duplicate,
            },
        ] => {}
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_duplicate_is_closed_after_its_time_and_its_calls_go_out_again() {
    let (small, great) = small_and_great();
    let mut peers = peers(small);
    peers.linked(LinkId(1), None, &who(great, 1), NOW);
    peers.call(call(5, peer(great, 1)), NOW);
    let first = frames(effects(&mut peers), LinkId(1));
    peers.linked(LinkId(2), Some(addr(2)), &who(great, 1), NOW);
    // One moment before the call's own deadline.
    let end = Instant((NOW + DRAIN).0 - 1);
    peers.links.get_mut(&LinkId(1)).expect("open").drained_by = Some(end);
    peers.tend(end);
    let mut after = effects(&mut peers);
    let close = after.remove(0);
    assert!(matches!(
        close,
        Effect::Close {
            link: LinkId(1),
            code: Code::Duplicate
        }
    ));
    let second = frames(after, LinkId(2));
    assert_eq!(
        request_id(&first[0]),
        request_id(&second[0]),
        "under the same number"
    );
}

#[test]
fn calls_cut_off_by_an_idle_close_are_sent_again_once() {
    let mut peers = peers(host("me"));
    let you = host("you");
    let link = linked(&mut peers, you);
    peers.call(call(5, peer(you, 1)), NOW);
    effects(&mut peers);
    peers.ended(link, End::Closed(Code::Idle), NOW);
    assert!(matches!(effects(&mut peers)[..], [Effect::Dial { .. }]));
    peers.linked(LinkId(2), Some(addr(2)), &who(you, 1), NOW);
    assert_eq!(frames(effects(&mut peers), LinkId(2)).len(), 1);
    peers.ended(LinkId(2), End::Closed(Code::Idle), NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Answer {
                op: OpId(5),
                result: Err(CallError::TimedOut),
                ..
            },
        ] => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn other_closes_are_no_sign_of_death_and_end_their_calls() {
    for end in [End::Closed(Code::Shutdown), End::Silent, End::Failed] {
        let mut peers = peers(host("me"));
        let link = linked(&mut peers, host("you"));
        peers.call(call(5, peer(host("you"), 1)), NOW);
        effects(&mut peers);
        peers.ended(link, end, NOW);
        match &effects(&mut peers)[..] {
            [
                Effect::Answer {
                    result: Err(CallError::TimedOut),
                    ..
                },
            ] => {}
            other => panic!("{end:?}: {other:?}"),
        }
    }
}

#[test]
fn a_reset_whose_redial_fails_is_a_death() {
    let mut peers = peers(host("me"));
    let you = host("you");
    let link = linked(&mut peers, you);
    peers.call(call(5, peer(you, 1)), NOW);
    effects(&mut peers);
    peers.ended(link, End::Reset, NOW);
    assert!(matches!(effects(&mut peers)[..], [Effect::Dial { .. }]));
    peers.dial_failed(addr(2), DialError::Failed, NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Lost {
                peer: dead,
                why: Lost::Reset,
            },
            Effect::Lost {
                why: Lost::Reset, ..
            },
            Effect::Answer {
                result: Err(CallError::TimedOut),
                ..
            },
        ] => assert_eq!(*dead, peer(you, 1)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reset_whose_redial_succeeds_in_the_same_life_is_none() {
    let mut peers = peers(host("me"));
    let you = host("you");
    let link = linked(&mut peers, you);
    peers.ended(link, End::Reset, NOW);
    assert!(matches!(effects(&mut peers)[..], [Effect::Dial { .. }]));
    peers.linked(LinkId(2), Some(addr(2)), &who(you, 1), NOW);
    assert!(effects(&mut peers).is_empty());
}

#[test]
fn a_failed_dial_delays_the_next_one_and_fails_no_call_meanwhile() {
    let mut peers = peers(host("me"));
    peers.call(call(5, peer(host("you"), 1)), NOW);
    effects(&mut peers);
    peers.dial_failed(addr(2), DialError::Failed, NOW);
    effects(&mut peers);
    peers.call(call(6, peer(host("you"), 1)), NOW);
    assert!(effects(&mut peers).is_empty(), "it waits");
    let due = peers.next_deadline();
    assert!(due > NOW && due < NOW + Micros::from_secs(1));
    peers.tend(due);
    assert!(matches!(effects(&mut peers)[..], [Effect::Dial { .. }]));
}

#[test]
fn requests_are_vouched_for_by_the_certificate() {
    let me = host("me");
    let mut peers = peers(me);
    let you = host("you");
    let link = linked(&mut peers, you);
    let ping = || Asked::Known(Request::Ping);
    peers.heard(link, request(1, me.of_position(1), 1, ping()), None, NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Request {
                position: 1, from, ..
            },
        ] => {
            assert_eq!(
                *from,
                Peer {
                    id: you.of_position(1),
                    addr: addr(2),
                    incarnation: 1
                }
            );
        }
        other => panic!("{other:?}"),
    }
    // A position that its hello did not have.
    peers.heard(link, request(2, me, 2, ping()), None, NOW);
    match effects(&mut peers)[..] {
        [
            Effect::Close {
                code: Code::Violation,
                ..
            },
        ] => {}
        ref other => panic!("{other:?}"),
    }
}

/// The refusal written in answer to a request.
fn refusal(peers: &mut Peers, link: LinkId) -> Refusal {
    match &frames(effects(peers), link)[..] {
        [
            Frame::Response(ResponseFrame {
                response: Response::Refused(refusal),
                ..
            }),
        ] => *refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_understood_or_not_ours_is_refused() {
    let mut peers = peers(host("me"));
    let link = linked(&mut peers, host("you"));
    peers.heard(
        link,
        request(1, Id::ZERO, 0, Asked::Unknown { kind: 200 }),
        None,
        NOW,
    );
    assert_eq!(refusal(&mut peers, link), Refusal::Unsupported);
    let ping = Asked::Known(Request::Ping);
    peers.heard(link, request(2, host("nobody"), 0, ping), None, NOW);
    assert_eq!(
        refusal(&mut peers, link),
        Refusal::NotMember { incarnation: 7 }
    );
}

#[test]
fn too_many_requests_at_once_are_refused_until_some_are_answered() {
    let mut peers = peers(host("me"));
    let link = linked(&mut peers, host("you"));
    let mut ways = Vec::new();
    for id in 0..CALLS_MAX {
        let id = u32::try_from(id).expect("small");
        peers.heard(
            link,
            request(id, Id::ZERO, 0, Asked::Known(Request::Ping)),
            None,
            NOW,
        );
    }
    for effect in effects(&mut peers) {
        match effect {
            Effect::Request { way, .. } => ways.push(way),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ways.len(), CALLS_MAX);
    let ping = || request(999, Id::ZERO, 0, Asked::Known(Request::Ping));
    peers.heard(link, ping(), None, NOW);
    assert!(matches!(
        refusal(&mut peers, link),
        Refusal::Overloaded { .. }
    ));
    peers.reply(ways.remove(0), Response::Done, NOW);
    effects(&mut peers);
    peers.heard(link, ping(), None, NOW);
    assert!(matches!(effects(&mut peers)[..], [Effect::Request { .. }]));
}

#[test]
fn calls_of_clients_leave_room_for_the_ring() {
    let mut peers = peers(host("me"));
    let you = host("you");
    linked(&mut peers, you);
    for op in 0..CLIENT_CALLS_MAX {
        peers.call(call(op as u64, peer(you, 1)), NOW);
    }
    effects(&mut peers);
    peers.call(call(1_000, peer(you, 1)), NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Answer {
                result: Err(CallError::Overloaded),
                ..
            },
        ] => {}
        other => panic!("{other:?}"),
    }
    let mut upkeep = call(1_001, peer(you, 1));
    upkeep.terms.class = Class::Ring;
    peers.call(upkeep, NOW);
    assert!(matches!(effects(&mut peers)[..], [Effect::Write { .. }]));
}

fn pull(op: u64, to: Peer) -> Call {
    let span = chord_core::id::Span::whole(host("x"));
    let request = Request::Pull {
        span,
        after: None,
        bytes_max: 1_000,
    };
    Call {
        request,
        ..call(op, to)
    }
}

#[test]
fn a_ninth_bulk_call_waits_and_too_many_are_refused() {
    let mut peers = peers(host("me"));
    let you = host("you");
    let link = linked(&mut peers, you);
    for op in 0..BULK_MAX + BULK_WAITING_MAX {
        peers.call(pull(op as u64, peer(you, 1)), NOW);
    }
    let started: Vec<u32> = effects(&mut peers)
        .into_iter()
        .map(|effect| match effect {
            Effect::Bulk {
                call: Some(number), ..
            } => number,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(started.len(), BULK_MAX);
    peers.call(pull(99, peer(you, 1)), NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Answer {
                op: OpId(99),
                result: Err(CallError::Overloaded),
                ..
            },
        ] => {}
        other => panic!("{other:?}"),
    }
    // One is answered, the next one starts.
    peers.heard(link, done(started[0]), None, NOW);
    peers.bulk_ended(link, Some(started[0]), false, NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Answer {
                op: OpId(0),
                result: Ok(_),
                ..
            },
            Effect::Bulk { .. },
        ] => {}
        other => panic!("{other:?}"),
    }
    // One is refused for want of memory over there.
    peers.bulk_ended(link, Some(started[1]), true, NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Answer {
                op: OpId(1),
                result: Ok(Response::Refused(Refusal::Overloaded { .. })),
                ..
            },
            Effect::Bulk { .. },
        ] => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_large_answer_to_a_small_request_goes_on_a_stream_of_its_own() {
    let mut peers = peers(host("me"));
    let link = linked(&mut peers, host("you"));
    let key = chord_core::message::Key::new(Bytes::from_static(b"k")).expect("a key");
    let get = Request::Get {
        key: key.clone(),
        quorum: false,
    };
    peers.heard(link, request(3, Id::ZERO, 0, Asked::Known(get)), None, NOW);
    let Some(Effect::Request { way, .. }) = peers.effects.pop_front() else {
        panic!("no request")
    };
    let header = chord_core::message::Header {
        version: chord_core::message::Version::default(),
        operation: chord_core::message::OperationId::default(),
        copies: 1,
        tombstone: false,
        expires: NOW + Micros::from_secs(9),
        shadow: NOW + Micros::from_secs(9),
    };
    let record = Some(Record {
        key,
        value: Bytes::from(vec![0; 10_000]),
        header,
    });
    peers.reply(way, Response::Got { record }, NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Bulk {
                call: None, bytes, ..
            },
        ] => {
            let frame = wire::decode(bytes.slice(frames::LENGTH..), NOW).expect("a frame");
            assert!(matches!(
                frame,
                Frame::Response(ResponseFrame { id: 3, .. })
            ));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn unused_connections_close_and_used_ones_stay() {
    let mut peers = peers(host("me"));
    let you = host("you");
    linked(&mut peers, you);
    let mut now = NOW;
    while now < NOW + IDLE {
        now = peers.next_deadline();
        assert!(effects(&mut peers).is_empty());
        peers.tend(now);
    }
    match effects(&mut peers)[..] {
        [
            Effect::Close {
                code: Code::Idle, ..
            },
        ] => {}
        ref other => panic!("{other:?}"),
    }
    assert_eq!(peers.open(), 0);
}

#[test]
fn the_connection_unused_for_longest_makes_room() {
    let mut peers = peers(host("me"));
    for n in 0..=LINKS_MAX {
        let id = host(&format!("host {n}"));
        let mut now = NOW;
        now.0 += n as u64;
        peers.linked(LinkId(n as u64), None, &who(id, 1), now);
    }
    match effects(&mut peers)[..] {
        [
            Effect::Close {
                link: LinkId(0),
                code: Code::Idle,
            },
        ] => {}
        ref other => panic!("{other:?}"),
    }
}
