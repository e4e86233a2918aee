//! Earlier lives, later lives, and two processes with one certificate.

use super::*;

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
        service: None,
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
