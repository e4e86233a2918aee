//! Records that move with their holders: after any number of comings and goings each is
//! where it belongs, and nowhere else.

use std::cell::Cell;
use std::rc::Rc;

use chord_core::event::{Command, Notice, Outcome};
use chord_core::message::{Request, Response, Route, Verdict};
use chord_core::time::Micros;

use super::world::{Fate, World, key, peer, put};

const RECORDS: usize = 200;
const COPIES: usize = 3;

fn members(world: &World) -> Vec<usize> {
    let alive = (0..world.nodes.len()).filter(|&n| world.nodes[n].is_some());
    let mut members: Vec<usize> = alive.filter(|&n| is_member(world, n)).collect();
    members.sort_by_key(|&n| peer(n).id);
    members
}

fn is_member(world: &World, n: usize) -> bool {
    let node = world.nodes[n].as_ref().expect("alive");
    !node.ring().successors().is_empty()
}

/// Each record at its owner and the next two, and nothing beside.
fn assert_exact(world: &World) {
    let members = members(world);
    let mut total = 0;
    for n in 0..RECORDS {
        let owner = World::owner_among(&key(n), members.iter().copied());
        let at = members.iter().position(|&n| n == owner).expect("a member");
        let mut wanted: Vec<usize> = (0..COPIES)
            .map(|next| members[(at + next) % members.len()])
            .collect();
        wanted.sort_unstable();
        let holds = |m: &usize| world.stores[*m].contains_key(&key(n));
        let mut held: Vec<usize> = members.iter().copied().filter(holds).collect();
        held.sort_unstable();
        assert_eq!(held, wanted, "record {n}, {} members", members.len());
        total += held.len();
    }
    let stored: usize = members.iter().map(|&m| world.stores[m].len()).sum();
    assert_eq!((stored, total), (RECORDS * COPIES, RECORDS * COPIES));
}

#[test]
fn the_number_of_copies_is_exact_after_ten_joins_and_leaves() {
    let mut world = World::new(16);
    let enter = |world: &mut World, n: usize| {
        let seeds = (n > 0).then(|| peer(n - 1).addr).into_iter().collect();
        let ticket = world.command(n, Command::Join { seeds });
        world.outcome(ticket).expect("joins");
        world.run_for(Micros::from_secs(5));
    };
    (0..6).for_each(|n| enter(&mut world, n));
    world.run_for(Micros::from_secs(60));
    for n in 0..RECORDS {
        let ticket = world.command(n % 6, put(n));
        let outcome = world.outcome(ticket);
        assert!(matches!(outcome, Ok(Outcome::Written { .. })), "{n}");
    }
    for change in 0..10 {
        enter(&mut world, 6 + change);
        let ticket = world.command(change, Command::Leave);
        let left = world.outcome(ticket);
        let Ok(Outcome::Left { remaining, .. }) = left else {
            panic!("{left:?}");
        };
        assert_eq!(remaining, 0, "change {change}");
        world.nodes[change] = None;
    }
    world.run_for(Micros::from_secs(300));
    assert_eq!(members(&world).len(), 6);
    assert_exact(&world);
}

/// Where somebody comes in while a node leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Before the leaver, which has yielded to its heir.
    Before,
    /// Before the leaver, whose heir has not heard of it yet.
    BeforeEarly,
    /// Between the leaver and its heir.
    Behind,
}

/// Nodes 0 to 5 with records, one of which leaves and gets nothing across; node 6 has come in
/// beside it and had three seconds. The world, the leaver, and the ticket of its leave.
fn newcomer_beside_a_leaver(place: Place) -> (World, usize, u64) {
    const NEWCOMER: usize = 6;
    let mut world = World::new(NEWCOMER + 1);
    let enter = |world: &mut World, n: usize| {
        let seeds = (n > 0).then(|| peer(n - 1).addr).into_iter().collect();
        let ticket = world.command(n, Command::Join { seeds });
        world.outcome(ticket).expect("joins");
    };
    for n in 0..NEWCOMER {
        enter(&mut world, n);
        world.run_for(Micros::from_secs(5));
    }
    world.run_for(Micros::from_secs(60));
    for n in 0..RECORDS {
        let ticket = world.command(n % NEWCOMER, put(n));
        let outcome = world.outcome(ticket);
        assert!(matches!(outcome, Ok(Outcome::Written { .. })), "{n}");
    }
    let distance = |n: &usize| match place {
        Place::Before | Place::BeforeEarly => peer(NEWCOMER).id.distance(peer(*n).id),
        Place::Behind => peer(*n).id.distance(peer(NEWCOMER).id),
    };
    let leaver = (0..NEWCOMER).min_by_key(distance).expect("five others");
    let early = place == Place::BeforeEarly;
    world.meddle = Some(Box::new(move |from, _, request| match request {
        Request::Offer { .. } if from == leaver => Fate::Lost,
        Request::Yield { .. } if from == leaver && early => Fate::Held,
        _ => Fate::Pass,
    }));
    let leave = world.command(leaver, Command::Leave);
    world.run_for(Micros::from_millis(500));
    enter(&mut world, NEWCOMER);
    world.run_for(Micros::from_secs(2));
    if early {
        world.meddle = Some(Box::new(move |from, _, request| match request {
            Request::Offer { .. } if from == leaver => Fate::Lost,
            _ => Fate::Pass,
        }));
        world.deliver();
    }
    world.run_for(Micros::from_secs(3));
    assert!(!world.is_over(leave), "the leaver gets nothing across");
    (world, leaver, leave)
}

/// The heir of a leaver owns its span, and would own that of the newcomer on until the
/// goodbye, up to half a minute later; or nobody would, if the newcomer is the nearer heir.
#[test]
fn a_newcomer_beside_a_leaver_owns_its_span_at_once_and_alone() {
    for place in [Place::Before, Place::BeforeEarly, Place::Behind] {
        let (mut world, leaver, leave) = newcomer_beside_a_leaver(place);
        let mut its_own = 0;
        for n in 0..RECORDS {
            let owner = World::owner_among(&key(n), (0..7).filter(|m| *m != leaver));
            let target = key(n).position();
            let mut owners = Vec::new();
            for node in 0..7 {
                let asker = (node + 1) % 7;
                let answer = world.ask(asker, node, Request::Route { target });
                if matches!(answer, Response::Route(Route::Owner { .. })) {
                    owners.push(node);
                }
            }
            assert_eq!(owners, [owner], "record {n}, {place:?}");
            its_own += usize::from(owner == 6);
            let asked = world.now;
            let get = Command::Get {
                key: key(n),
                quorum: true,
            };
            let ticket = world.command((n + 1) % 7, get);
            let got = world.outcome(ticket);
            let found = matches!(got, Ok(Outcome::Got { record: Some(_) }));
            assert!(found, "record {n}, {place:?}: {got:?}");
            let took = Micros(world.now - asked);
            assert!(took < Micros::from_millis(100), "record {n}: {took:?}");
        }
        assert!(its_own > 0, "it owns some of the records");
        world.meddle = None;
        let left = world.outcome(leave);
        let all = matches!(left, Ok(Outcome::Left { remaining: 0, .. }));
        assert!(all, "{place:?}: {left:?}");
        world.nodes[leaver] = None;
        world.run_for(Micros::from_secs(300));
        assert_exact(&world);
    }
}

/// Five nodes with records, and who owns the first of them.
fn five_with_records() -> (World, usize) {
    let mut world = World::ring(5);
    for n in 0..RECORDS {
        let ticket = world.command(n % 5, put(n));
        let outcome = world.outcome(ticket);
        assert!(matches!(outcome, Ok(Outcome::Written { .. })), "{n}");
    }
    let owner = World::owner_among(&key(0), 0..5);
    (world, owner)
}

/// The member behind this one.
fn behind(n: usize) -> usize {
    let others = (0..5).filter(|other| *other != n);
    let next = others.min_by_key(|other| peer(n).id.distance(peer(*other).id));
    next.expect("four others")
}

/// An owner that went on counting a leaver, which stores nothing more, would never be equal
/// with it, and would never bring the missing copies to the next in line.
#[test]
fn a_holder_that_leaves_is_replaced_as_soon_as_it_refuses_data() {
    let (mut world, owner) = five_with_records();
    let leaver = behind(owner);
    world.meddle = Some(Box::new(move |from, _, request| match request {
        Request::Offer { .. } if from == leaver => Fate::Lost,
        _ => Fate::Pass,
    }));
    let leave = world.command(leaver, Command::Leave);
    world.run_for(Micros::from_millis(200));
    let ticket = world.command(owner, put(0));
    let outcome = world.outcome(ticket);
    assert!(
        matches!(outcome, Ok(Outcome::Written { .. })),
        "{outcome:?}"
    );
    world.run_for(Micros::from_secs(5));
    assert!(!world.is_over(leave), "the leaver gets nothing across");
    for n in (0..RECORDS).filter(|n| World::owner_among(&key(*n), 0..5) == owner) {
        let holds = |m: &usize| *m != leaver && world.stores[*m].contains_key(&key(n));
        assert_eq!((0..5).filter(holds).count(), COPIES, "record {n}");
    }
}

/// Every offer is a page of heads that the owner looks up.
#[test]
fn a_leaver_that_is_told_to_wait_asks_more_and_more_rarely() {
    let (mut world, leaver) = five_with_records();
    let offers = Rc::new(Cell::new(0));
    let seen = offers.clone();
    world.meddle = Some(Box::new(move |from, _, request| match request {
        Request::Offer { heads, .. } if from == leaver => {
            seen.set(seen.get() + 1);
            let verdicts = vec![Verdict::Wait; heads.len()];
            Fate::Answer(Response::Offered { verdicts })
        }
        _ => Fate::Pass,
    }));
    let leave = world.command(leaver, Command::Leave);
    world.run_for(Micros::from_secs(10));
    assert!(!world.is_over(leave));
    assert!((5..20).contains(&offers.get()), "{} offers", offers.get());
}

/// Whoever has just come in may leave at once: wherever its entry stands, what it was given is
/// passed on, and nobody waits for the deadline of the leave.
#[test]
fn a_newcomer_that_leaves_at_once_passes_on_what_it_was_given() {
    for steps in 0..60 {
        let mut world = World::new(6);
        for n in 0..5 {
            let seeds = (n > 0).then(|| peer(0).addr).into_iter().collect();
            let ticket = world.command(n, Command::Join { seeds });
            world.outcome(ticket).expect("joined");
        }
        world.run_for(Micros::from_secs(10));
        for n in 0..RECORDS {
            let ticket = world.command(n % 5, put(n));
            world.outcome(ticket).expect("written");
        }
        let n = 5;
        let ticket = world.command(
            n,
            Command::Join {
                seeds: vec![peer(0).addr],
            },
        );
        world.outcome(ticket).expect("joins");
        world.notices.clear();
        while !world.notices.iter().any(|(who, _)| *who == n) {
            assert!(world.step());
        }
        assert_eq!(world.notices[0], (n, Notice::Joined { founded: false }));
        for _ in 0..steps {
            assert!(world.step());
        }
        let begun = world.now;
        let ticket = world.command(n, Command::Leave);
        let left = world.outcome(ticket);
        let took = world.now - begun;
        assert!(
            matches!(left, Ok(Outcome::Left { remaining: 0, .. })) && took < 10_000_000,
            "after {steps} steps: {left:?} in {took} us"
        );
    }
}
