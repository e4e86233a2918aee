//! Connections nobody needs.

use super::*;

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

#[test]
fn when_all_connections_are_in_use_the_one_used_longest_ago_makes_room_and_its_calls_go_on() {
    let mut peers = peers(host("me"));
    let many = LINKS_MAX as u64;
    for n in 0..=many {
        let id = host(&format!("host {n}"));
        let mut now = NOW;
        now.0 += n;
        if n == many {
            assert_eq!(peers.open(), LINKS_MAX);
            effects(&mut peers);
        }
        peers.linked(LinkId(n), None, &who(id, 1), now);
        peers.call(call(n, peer(id, 1)), now);
    }
    let first = host("host 0");
    match &effects(&mut peers)[..] {
        [
            Effect::Close {
                link: LinkId(0),
                code: Code::Idle,
            },
            Effect::Dial { wanted, .. },
            Effect::Write { link, .. },
        ] => assert_eq!((&wanted[..], link.0), (&[first][..], many)),
        other => panic!("{other:?}"),
    }
    assert_eq!(peers.open(), LINKS_MAX);
}
