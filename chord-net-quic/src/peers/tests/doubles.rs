//! Two connections to one host.

use super::*;

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
fn a_host_that_dials_without_end_has_four_connections_at_most() {
    let mut peers = peers(host("me"));
    let you = host("you");
    let served = peers.me.positions[0];
    for n in 0..20 {
        let link = LinkId(n);
        peers.linked(link, None, &who(you, 1), NOW);
        // Each is kept busy, so that none is closed for being quiet.
        let ping = request(1, served, 0, Asked::Known(Request::Ping));
        peers.heard(link, ping, None, NOW);
        let closed = effects(&mut peers).iter().find_map(|effect| match effect {
            Effect::Close { link, code } => Some((*link, *code)),
            _ => None,
        });
        let oldest = n.checked_sub(HOST_LINKS_MAX as u64);
        assert_eq!(closed, oldest.map(|n| (LinkId(n), Code::Duplicate)));
    }
    assert_eq!(peers.open(), HOST_LINKS_MAX);
    peers.call(call(5, peer(you, 1)), NOW);
    let written = frames(effects(&mut peers), LinkId(19));
    assert_eq!(written.len(), 1, "the latest takes calls");
}
