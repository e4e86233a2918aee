//! Requests of other hosts, and the room there is for them.

use super::*;

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

#[test]
fn requests_whose_connection_was_closed_count_until_they_are_answered() {
    let mut peers = peers(host("me"));
    let (you, me) = (host("you"), host("me"));
    let link = linked(&mut peers, you);
    let mut ways = Vec::new();
    for id in 0..CALLS_MAX as u32 {
        let ping = request(id, me, 0, Asked::Known(Request::Ping));
        peers.heard(link, ping, None, NOW);
    }
    for effect in effects(&mut peers) {
        match effect {
            Effect::Request { way, .. } => ways.push(way),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ways.len(), CALLS_MAX);
    peers.ended(link, End::Failed, NOW);
    let again = LinkId(2);
    peers.linked(again, None, &who(you, 1), NOW);
    let ping = || request(7, me, 0, Asked::Known(Request::Ping));
    peers.heard(again, ping(), None, NOW);
    assert!(matches!(
        refusal(&mut peers, again),
        Refusal::Overloaded { .. }
    ));
    peers.reply(ways.pop().expect("many"), Response::Done, NOW);
    peers.heard(again, ping(), None, NOW);
    assert!(matches!(effects(&mut peers)[..], [Effect::Request { .. }]));
}
