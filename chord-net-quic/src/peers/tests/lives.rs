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
            Effect::Retire { link, later: 4 },
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
            Effect::Retire {
                link: LinkId(2),
                later: 4,
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
            Effect::Retire { later: 7, .. },
            // Neither is the later one: both give way, and will differ then.
            Effect::Superseded { by: Some(7) },
        ] => {}
        other => panic!("{other:?}"),
    }
    // An earlier life of ours is not one to give way to.
    peers.linked(LinkId(3), None, &who(me, 6), NOW);
    assert!(matches!(
        effects(&mut peers)[..],
        [Effect::TwoLives { .. }, Effect::Retire { later: 7, .. }]
    ));
}

#[test]
fn whoever_refuses_us_for_a_later_life_of_ours_is_believed_unless_it_is_an_earlier_one() {
    let (me, you) = (host("me"), host("you"));
    for (named, believed) in [
        (Some(8), true),
        (Some(7), true),
        (None, true),
        (Some(6), false),
    ] {
        let mut peers = peers(me);
        let link = linked(&mut peers, you);
        peers.ended(link, End::Superseded(named), NOW);
        let by = |effect: &Effect| match effect {
            Effect::Superseded { by } => Some(*by),
            _ => None,
        };
        let told: Vec<_> = effects(&mut peers).iter().filter_map(by).collect();
        assert_eq!(
            told,
            [named].repeat(believed.into()),
            "a connection that ended"
        );
        peers.call(call(5, peer(you, 1)), NOW);
        effects(&mut peers);
        peers.dial_failed(addr(2), DialError::Superseded(named), NOW);
        let told: Vec<_> = effects(&mut peers).iter().filter_map(by).collect();
        assert_eq!(
            told,
            [named].repeat(believed.into()),
            "a dial that was refused"
        );
    }
}
