//! Disks that hide what they were given: a settled owner denies nothing on its own word.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use chord_core::event::{Command, Failure, Outcome};
use chord_core::message::{Key, Record, Request, Version};
use chord_core::time::Micros;

use super::world::{Fate, World, key, peer, put};

fn get(key: Key) -> Command {
    Command::Get { key, quorum: false }
}

/// A settled ring of six with one record, and the nodes from its owner on.
fn with_record() -> (World, Key, Vec<usize>) {
    let mut world = World::ring(6);
    let key = key(1);
    let mut line: Vec<usize> = (0..6).collect();
    line.sort_by_key(|&n| key.position().distance(peer(n).id));
    let ticket = world.command(line[4], put(1));
    assert!(matches!(world.outcome(ticket), Ok(Outcome::Written { .. })));
    world.run_for(Micros::from_secs(90));
    (world, key, line)
}

fn value(outcome: Result<Outcome, Failure>) -> Option<Bytes> {
    match outcome {
        Ok(Outcome::Got { record }) => record.map(|record| record.value),
        other => panic!("no answer: {other:?}"),
    }
}

/// Counts the calls that fetch records from others.
fn count_fetches(world: &mut World) -> Rc<Cell<u32>> {
    let fetches = Rc::new(Cell::new(0));
    let count = fetches.clone();
    world.meddle = Some(Box::new(move |_, _, request| {
        count.set(count.get() + u32::from(matches!(request, Request::Fetch { .. })));
        Fate::Pass
    }));
    fetches
}

#[test]
fn what_the_owners_disk_hides_is_read_from_a_holder_and_put_back() {
    let (mut world, key, line) = with_record();
    world.stores[line[0]]
        .remove(&key)
        .expect("the owner has it");
    let ticket = world.command(line[4], get(key.clone()));
    let outcome = world.outcome(ticket);
    assert_eq!(value(outcome).as_deref(), Some(&b"value 1"[..]));
    assert!(world.stores[line[0]].contains_key(&key), "written back");
}

#[test]
fn a_miss_costs_one_question_and_a_hit_none() {
    let (mut world, key, line) = with_record();
    let fetches = count_fetches(&mut world);
    let ticket = world.command(line[4], get(key));
    let outcome = world.outcome(ticket);
    assert!(value(outcome).is_some());
    assert_eq!(fetches.get(), 0);
    for n in 100..120 {
        let ticket = world.command(line[4], get(super::world::key(n)));
        let outcome = world.outcome(ticket);
        assert_eq!(value(outcome), None);
    }
    assert_eq!(fetches.get(), 20);
}

/// What the first holder has is older than what another one stored with the owner.
#[test]
fn the_newest_counts_where_the_owners_copy_is_lost() {
    let (mut world, key, line) = with_record();
    let lost = world.stores[line[0]]
        .remove(&key)
        .expect("the owner has it");
    let mut newer = lost.clone();
    newer.value = Bytes::from_static(b"newer");
    newer.header.version = Version {
        time: lost.header.version.time + 1,
        ..lost.header.version
    };
    world.stores[line[2]].insert(key.clone(), newer);
    let ticket = world.command(line[4], get(key.clone()));
    let outcome = world.outcome(ticket);
    assert_eq!(value(outcome).as_deref(), Some(&b"newer"[..]));
    world.run_for(Micros::from_secs(5));
    let is_newer = |record: &Record| record.value == "newer";
    assert!(line[..3].iter().all(|&n| is_newer(&world.stores[n][&key])));
}

/// A holder that lost its disk too, and came back with neither records nor marks, is no witness.
#[test]
fn a_holder_that_was_wiped_does_not_confirm_a_miss() {
    let (mut world, key, line) = with_record();
    world.wipe(line[1]);
    world.stores[line[0]]
        .remove(&key)
        .expect("the owner has it");
    // It enters again, and nothing has been brought to it yet.
    let heir = line[1];
    world.meddle = Some(Box::new(move |_, to, request| match request {
        Request::Mark { .. } | Request::Replicate { .. } if to == heir => Fate::Lost,
        Request::Sums { .. } | Request::List { .. } => Fate::Lost,
        _ => Fate::Pass,
    }));
    world.restart(heir);
    world.run_for(Micros::from_secs(5));
    assert!(world.stores[heir].is_empty() && world.stores[line[2]].contains_key(&key));
    let ticket = world.command(line[4], get(key));
    let outcome = world.outcome(ticket);
    assert_eq!(value(outcome).as_deref(), Some(&b"value 1"[..]));
}

#[test]
fn where_nobody_else_can_tell_a_miss_is_unavailable() {
    let (mut world, _, line) = with_record();
    world.meddle = Some(Box::new(|_, _, request| match request {
        Request::Fetch { .. } => Fate::Lost,
        _ => Fate::Pass,
    }));
    let ticket = world.command(line[4], get(key(7)));
    let outcome = world.outcome(ticket);
    assert!(
        matches!(
            outcome,
            Err(Failure::Unavailable { .. } | Failure::TimedOut)
        ),
        "{outcome:?}"
    );
}

#[test]
fn a_node_that_never_had_company_knows_what_it_lacks() {
    let mut world = World::ring(1);
    let ticket = world.command(0, get(key(7)));
    let outcome = world.outcome(ticket);
    assert_eq!(value(outcome), None);
}
