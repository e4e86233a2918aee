//! The life of a small ring: forming, storing, losing a node, leaving.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use chord_core::event::{Command, Failure, Notice, Outcome, State};
use chord_core::message::{Refusal, Request, Response};
use chord_core::peer::Peer;
use chord_core::time::{Instant, Micros};

use super::world::{Fate, World, key, peer, put};

#[test]
fn nodes_form_one_ring_store_find_lose_one_and_leave() {
    let mut world = World::new(6);
    world.command(0, Command::Join { seeds: vec![] });
    for n in 1..6 {
        world.command(
            n,
            Command::Join {
                seeds: vec![peer(0).addr],
            },
        );
    }
    world.run_for(Micros::from_secs(8));
    let mut order: Vec<usize> = (0..6).collect();
    order.sort_by_key(|&n| peer(n).id);
    for at in 0..6 {
        let node = world.nodes[order[at]].as_ref().unwrap();
        let expected: Vec<Peer> = (1..6).map(|k| peer(order[(at + k) % 6])).collect();
        assert_eq!(
            node.ring().successors(),
            expected,
            "{at} {:?}",
            node.status(Instant(0))
        );
        assert_eq!(node.ring().predecessor(), Some(peer(order[(at + 5) % 6])));
        let status = node.status(Instant(0));
        assert_eq!(
            (status.state, status.spans_unsettled),
            (State::Joined, 0),
            "{status:?} {:?}",
            world.notices
        );
        assert!(status.owned.is_some());
    }
    for n in 0..100 {
        let ticket = world.command(n % 6, put(n));
        let outcome = world.outcome(ticket);
        assert!(
            matches!(outcome, Ok(Outcome::Written { .. })),
            "{n} {outcome:?}"
        );
    }
    let total: usize = world.stores.iter().map(BTreeMap::len).sum();
    assert!(total >= 200, "{total}");
    world.nodes[2] = None;
    world.stores[2].clear();
    for n in 0..100 {
        let began = world.now;
        let ticket = world.command(
            [0, 1, 3, 4, 5][n % 5],
            Command::Get {
                key: key(n),
                quorum: n % 2 == 0,
            },
        );
        let outcome = world.outcome(ticket);
        assert!(
            matches!(outcome, Ok(Outcome::Got { record: Some(_) })),
            "{n} {outcome:?}"
        );
        assert!(world.now - began < 2_000_000, "{n} {}", world.now - began);
    }
    world.run_for(Micros::from_secs(120));
    let total: usize = world.stores.iter().map(BTreeMap::len).sum();
    assert_eq!(total, 300);
    let ticket = world.command(3, Command::Leave);
    let outcome = world.outcome(ticket);
    assert!(
        matches!(outcome, Ok(Outcome::Left { remaining: 0, .. })),
        "{outcome:?}"
    );
    world.nodes[3] = None;
    world.stores[3].clear();
    for n in 0..100 {
        let ticket = world.command(
            [0, 1, 4, 5][n % 4],
            Command::Get {
                key: key(n),
                quorum: false,
            },
        );
        let outcome = world.outcome(ticket);
        assert!(
            matches!(outcome, Ok(Outcome::Got { record: Some(_) })),
            "{n} {outcome:?}"
        );
    }
}

#[test]
fn reads_of_a_killed_owners_keys_are_answered_within_a_second() {
    for victim in 0..5 {
        let mut world = World::new(5);
        world.command(0, Command::Join { seeds: vec![] });
        for n in 1..5 {
            world.command(
                n,
                Command::Join {
                    seeds: vec![peer(0).addr],
                },
            );
        }
        world.run_for(Micros::from_secs(1));
        for n in 0..100 {
            let ticket = world.command(n % 5, put(n));
            assert!(world.outcome(ticket).is_ok());
        }
        world.nodes[victim] = None;
        let began = world.now;
        let tickets: Vec<u64> = (0..100)
            .map(|n| {
                let reader = (victim + 1 + n % 4) % 5;
                world.command(
                    reader,
                    Command::Get {
                        key: key(n),
                        quorum: false,
                    },
                )
            })
            .collect();
        let mut slowest = 0;
        for ticket in tickets {
            let outcome = world.outcome(ticket);
            assert!(
                matches!(outcome, Ok(Outcome::Got { record: Some(_) })),
                "{outcome:?}"
            );
            slowest = slowest.max(world.now - began);
        }
        assert!(slowest < 1_000_000, "{victim}: {slowest}");
    }
}

/// A put whose answer is lost, a newer one, and the owner's death: the first one's retry
/// reaches an owner that never had it in hand.
#[test]
fn the_duplicate_of_an_old_put_does_not_overwrite_a_newer_one_at_the_next_owner() {
    let mut world = World::ring(5);
    let owner = world.owner_of(&key(1));
    let gateway = (owner + 1) % 5;
    let kept: Rc<RefCell<Option<Request>>> = Rc::default();
    let keep = kept.clone();
    world.meddle = Some(Box::new(move |from, to, request| {
        if (from, to) == (gateway, owner) && matches!(request, Request::Put(_)) {
            keep.borrow_mut().get_or_insert_with(|| request.clone());
        }
        Fate::Pass
    }));
    let first = world.command(gateway, put(1));
    assert!(matches!(world.outcome(first), Ok(Outcome::Written { .. })));
    let Command::Put { key: name, .. } = put(1) else {
        unreachable!("a put");
    };
    let second = Command::Put {
        key: name.clone(),
        value: "newer".into(),
        ttl: Micros::ZERO,
        copies: 0,
        expected: None,
    };
    let second = world.command(gateway, second);
    assert!(matches!(world.outcome(second), Ok(Outcome::Written { .. })));
    world.nodes[owner] = None;
    world.run_for(Micros::from_secs(4));
    let next = world.owner_of(&name);
    let again = kept.borrow().clone().expect("the first put was seen");
    let answer = world.ask(gateway, next, again);
    assert!(
        matches!(answer, Response::Refused(Refusal::Unavailable { .. })),
        "{answer:?}"
    );
    let get = Command::Get {
        key: name,
        quorum: true,
    };
    let ticket = world.command(gateway, get);
    let Ok(Outcome::Got { record: Some(got) }) = world.outcome(ticket) else {
        panic!("readable");
    };
    assert_eq!(got.value, "newer");
}

fn get(n: usize, quorum: bool) -> Command {
    Command::Get {
        key: key(n),
        quorum,
    }
}

/// Every process ends at the same moment and comes back with its disk, neighbours first and
/// the others late. What they lack is `Unavailable` meanwhile, never a miss.
#[test]
fn after_a_power_cut_nothing_is_missing_while_others_are_late() {
    let mut world = World::ring(5);
    for n in 0..40 {
        let ticket = world.command(n % 5, put(n));
        assert!(matches!(world.outcome(ticket), Ok(Outcome::Written { .. })));
    }
    world.run_for(Micros::from_secs(90));
    world.cut_power();
    let mut order: Vec<usize> = (0..5).collect();
    order.sort_by_key(|&n| peer(n).id);
    for (back, &late) in (1..).zip(&order) {
        world.restart(late);
        world.run_for(Micros::from_secs(9));
        let reads = (0..40).map(|n| world.command(late, get(n, n % 2 == 0)));
        let reads: Vec<u64> = reads.collect();
        for (n, read) in reads.into_iter().enumerate() {
            let outcome = world.outcome(read);
            let missing = matches!(outcome, Ok(Outcome::Got { record: None }));
            assert!(!missing, "key {n} is missing with {back} of 5 back");
            let here = matches!(outcome, Ok(Outcome::Got { .. }));
            assert!(here || back < 4, "key {n}, {back} of 5 back: {outcome:?}");
        }
    }
}

/// Three of five are away when one of the others restarts: it still counts them, also when
/// it has stopped waiting for those that are late, until they are forgotten.
#[test]
fn a_restarted_node_counts_those_who_were_away() {
    for (pause, counted) in [(0, true), (90, true), (700, false)] {
        put_after_a_restart(Micros::from_secs(pause), counted);
    }
}

fn put_after_a_restart(pause: Micros, counted: bool) {
    let mut world = World::ring(5);
    let owner = world.owner_of(&key(1));
    let other = (owner + 1) % 5;
    let away = (0..5).filter(|&n| n != owner && n != other);
    away.for_each(|n| world.stop(n));
    world.run_for(Micros::from_secs(30));
    world.stop(owner);
    world.run_for(Micros::from_millis(200));
    world.restart(owner);
    world.run_for(pause);
    let Command::Put { key, value, .. } = put(1) else {
        unreachable!("a put");
    };
    let five = Command::Put {
        key,
        value,
        ttl: Micros::ZERO,
        copies: 5,
        expected: None,
    };
    let ticket = world.command(owner, five);
    let outcome = world.outcome(ticket);
    let refused = matches!(outcome, Err(Failure::Unavailable { needed: 3, .. }));
    let written = matches!(outcome, Ok(Outcome::Written { .. }));
    assert!(
        if counted { refused } else { written },
        "after {pause:?}: {outcome:?}"
    );
}

/// A seed that answers is known by its id from then on, and asked by it. What it was as a seed
/// must not count for ever: once dead, it would be a member that nobody can find, and nobody who
/// heard of it would ever found the ring again.
#[test]
fn a_seed_that_was_a_member_and_died_keeps_nobody_from_founding_the_ring_again() {
    let mut world = World::new(2);
    let ticket = world.command(0, Command::Join { seeds: vec![] });
    world.outcome(ticket).expect("founds");
    world.run_for(Micros::from_secs(1));
    world.meddle = Some(Box::new(|from, _, request| match request {
        Request::Neighbours { .. } => Fate::Pass,
        _ if from == 1 => Fate::Lost,
        _ => Fate::Pass,
    }));
    let seeds = vec![peer(0).addr];
    let ticket = world.command(1, Command::Join { seeds });
    world.outcome(ticket).expect("begins to join");
    world.run_for(Micros::from_millis(500));
    world.stop(0);
    world.meddle = None;
    world.run_for(Micros::from_secs(60));
    let founded = (1, Notice::Joined { founded: true });
    assert!(world.notices.contains(&founded), "{:?}", world.notices);
}

/// Two hosts that each founded a ring, one of which is told of the other: a seed that owns all
/// says no more than that it does, so it is asked who it is.
#[test]
fn two_rings_of_one_become_one_when_a_seed_introduces_them() {
    let mut world = World::new(2);
    for n in 0..2 {
        let ticket = world.command(n, Command::Join { seeds: vec![] });
        world.outcome(ticket).expect("founds");
    }
    world.run_for(Micros::from_secs(30));
    let seeds = vec![peer(1).addr];
    let ticket = world.command(0, Command::Join { seeds });
    world.outcome(ticket).expect("is told");
    world.run_for(Micros::from_secs(60));
    for (n, other) in [(0, 1), (1, 0)] {
        let ring = world.nodes[n].as_ref().expect("up").ring();
        assert_eq!(ring.successors(), [peer(other)]);
        assert_eq!(ring.predecessor(), Some(peer(other)));
    }
}

/// Whoever is its own head keeps the name of its last predecessor. Were that one asked at every
/// turn, nobody else could be considered meanwhile.
#[test]
fn a_member_alone_does_not_ask_its_dead_predecessor_again_and_again() {
    let mut world = World::ring(2);
    world.stop(1);
    let lost = |world: &World| {
        let lost = |notice: &Notice| matches!(notice, Notice::PeerLost { .. });
        world
            .notices
            .iter()
            .any(|(n, notice)| *n == 0 && lost(notice))
    };
    world.notices.clear();
    while !lost(&world) {
        assert!(world.step());
    }
    world.run_for(Micros::from_secs(6));
    let alone = |world: &World| {
        let ring = world.nodes[0].as_ref().expect("up").ring();
        (ring.head(), ring.predecessor(), ring.query())
    };
    let end = world.now + 15_000_000;
    while world.now < end {
        assert_eq!(alone(&world), (None, Some(peer(1)), None));
        assert!(world.step());
    }
}
