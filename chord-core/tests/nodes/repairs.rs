//! Rounds of repair on links that lose messages.

use std::cell::RefCell;
use std::rc::Rc;

use chord_core::event::{Notice, Outcome};
use chord_core::id::Span;
use chord_core::message::{Key, Request};
use chord_core::time::{Instant, Micros};

use super::world::{Fate, World, key, peer, put};

const RECORDS: usize = 300;

/// A comparison takes many calls, each of which may be lost. If every loss began it anew, two
/// messages in a hundred would spoil most rounds, and a holder that spoils some in a row is
/// waived until the next period.
#[test]
fn a_lost_call_of_a_comparison_is_repeated_and_the_round_goes_on() {
    let mut world = World::ring(3);
    for n in 0..RECORDS {
        let ticket = world.command(n % 3, put(n));
        let outcome = world.outcome(ticket);
        assert!(matches!(outcome, Ok(Outcome::Written { .. })), "{n}");
    }
    world.run_for(Micros::from_secs(5));
    let owned = |n: &usize| World::owner_among(&key(*n), 0..3) == 0;
    let missing: Vec<_> = (0..RECORDS).filter(owned).take(6).map(key).collect();
    assert!(missing.len() > 5, "node 0 owns some of the records");
    let without = |world: &World| missing.iter().any(|key| !world.stores[1].contains_key(key));
    for key in &missing {
        world.stores[1].remove(key);
    }
    // Of each kind of call from the owner to the holder, the second is lost.
    let counts = Rc::new(RefCell::new([0_usize; 3]));
    let whole: Rc<RefCell<Vec<Span>>> = Rc::default();
    let (counted, seen) = (counts.clone(), whole.clone());
    world.meddle = Some(Box::new(move |from, to, request| {
        let kind = match request {
            _ if (from, to) != (0, 1) => return Fate::Pass,
            Request::Sums { span } => {
                seen.borrow_mut().push(*span);
                0
            }
            Request::List { .. } => 1,
            Request::Replicate { fresh: false, .. } => 2,
            _ => return Fate::Pass,
        };
        let mut counts = counted.borrow_mut();
        counts[kind] += 1;
        if counts[kind] == 2 && kind < 2 || counts[kind] == 1 && kind == 2 {
            Fate::Lost
        } else {
            Fate::Pass
        }
    }));
    let begun = world.now;
    while without(&world) {
        assert!(world.now < begun + 120_000_000, "never repaired");
        assert!(world.step());
    }
    let moved = |n: usize| {
        world.nodes[n]
            .as_ref()
            .expect("up")
            .status(Instant(world.now))
            .moved
    };
    let records = missing.iter().map(|key| &world.stores[0][key]);
    let bytes: u64 = records
        .map(|record| (record.key.bytes().len() + record.value.len()) as u64)
        .sum();
    assert!(moved(0).sent >= bytes, "{:?} < {bytes}", moved(0));
    assert_eq!(moved(2).sent, 0, "it had nothing to bring");
    let counts = counts.borrow();
    assert!(counts.iter().all(|&count| count > 1), "{counts:?}");
    let whole = whole.borrow();
    let first = whole[0];
    assert_eq!(first.upto, peer(0).id);
    let rounds = whole.iter().filter(|span| **span == first).count();
    assert_eq!(rounds, 1, "the round began anew: {counts:?}");
}

/// What the holders know is all that an heir needs to serve; bringing them what they lack
/// comes after that.
#[test]
fn an_heir_settles_before_any_copy_is_made() {
    let mut world = World::ring(8);
    for n in 0..20 {
        let ticket = world.command(n % 8, put(n));
        assert!(matches!(world.outcome(ticket), Ok(Outcome::Written { .. })));
    }
    world.run_for(Micros::from_secs(90));
    let key = key(1);
    let owner = world.owner_of(&key);
    let heir = World::owner_among(&key, (0..8).filter(|n| *n != owner));
    world.meddle = Some(Box::new(|_, _, request| match request {
        Request::Replicate { .. } => Fate::Lost,
        _ => Fate::Pass,
    }));
    world.notices.clear();
    let before = world.stores[heir].len();
    world.stores[heir].remove(&key);
    world.stop(owner);
    world.run_for(Micros::from_secs(5));
    let settled = world.notices.contains(&(heir, Notice::Settled));
    assert!(settled, "{:?}", world.notices);
    assert_eq!(
        world.stores[heir].len(),
        before,
        "what it lacked it fetched"
    );
    let status = world.nodes[heir]
        .as_ref()
        .expect("up")
        .status(Instant(world.now));
    assert!(status.moved.fetched > 0);
}

/// An heir whose disk is full cannot take what it lacks, so it does not settle; the others get
/// their copies of what it has nevertheless.
#[test]
fn an_heir_that_cannot_settle_still_brings_others_what_they_lack() {
    let mut world = World::ring(8);
    let held = key(1);
    let owner = world.owner_of(&held);
    let mut line: Vec<usize> = (0..8).collect();
    line.sort_by_key(|&n| held.position().distance(peer(n).id));
    let lacked = (2..500).map(key).find(|key| world.owner_of(key) == owner);
    let lacked = lacked.expect("it owns more than one");
    let ticket = world.command(line[6], put(1));
    assert!(matches!(world.outcome(ticket), Ok(Outcome::Written { .. })));
    world.run_for(Micros::from_secs(90));
    let mut record = world.stores[owner][&held].clone();
    record.key = lacked.clone();
    for at in [0, 2] {
        world.stores[line[at]].insert(lacked.clone(), record.clone());
    }
    world.full = vec![line[1]];
    world.stop(owner);
    world.run_for(Micros::from_secs(60));
    assert!(!world.stores[line[1]].contains_key(&lacked), "no room");
    let holders = |world: &World, key: &Key| {
        let up = (0..8).filter(|&n| world.nodes[n].is_some());
        up.filter(|&n| world.stores[n].contains_key(key)).count()
    };
    assert_eq!(holders(&world, &held), 3);
}
