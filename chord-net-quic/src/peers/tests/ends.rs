//! How connections and dials end, and who is dead then.

use super::*;

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
