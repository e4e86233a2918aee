//! From a call to a connection and back.

use super::*;

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
