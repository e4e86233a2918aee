//! Owners whose wall clocks are years ahead: what they write may neither be lost nor win over
//! what others acknowledge later.

use chord_core::event::{Notice, Outcome};
use chord_core::message::{Request, Version};
use chord_core::time::Micros;

use super::schedules::{from_owner, get, read, write};
use super::world::{Fate, World, key};

const YEARS: u64 = 10 * 365 * 24 * 3_600 * 1_000_000;

/// The highest version time on any disk.
fn highest(world: &World) -> u64 {
    let records = world.stores.iter().flat_map(|store| store.values());
    let times = records.map(|record| record.header.version.time);
    times.max().unwrap_or(0)
}

/// Runs until a command is over; at no moment a version from the future is on a disk.
#[track_caller]
fn written(world: &mut World, ticket: u64) -> Version {
    while !world.is_over(ticket) {
        assert!(world.step());
        let honest = (1 << 50) + world.now;
        assert!(highest(world) <= honest + 1_000_000, "a far copy");
    }
    match world.outcome(ticket) {
        Ok(Outcome::Written { version }) => version,
        other => panic!("{other:?}"),
    }
}

fn alarms(world: &World, n: usize) -> usize {
    let own = |notice: &&(usize, Notice)| **notice == (n, Notice::ClockSkew);
    world.notices.iter().filter(own).count()
}

#[test]
fn an_owner_whose_clock_leapt_keeps_nothing_that_its_holders_refused() {
    let mut world = World::ring(6);
    let key = key(1);
    let line = from_owner(&world, &key);
    let (owner, gateway) = (line[0], line[4]);
    let first = world.command(gateway, write(&key, "first", Micros::ZERO));
    let first = written(&mut world, first);
    world.ahead[owner] = YEARS;
    let second = world.command(gateway, write(&key, "second", Micros::ZERO));
    let second = written(&mut world, second);
    assert!(second > first);
    assert_eq!(alarms(&world, owner), 1, "its host is told");
    // Its clock is set right, and it goes on from there.
    world.ahead[owner] = 0;
    let third = world.command(gateway, write(&key, "third", Micros::ZERO));
    assert!(written(&mut world, third) > second);
    assert_eq!(
        read(&mut world, gateway, &key).as_deref(),
        Some(&b"third"[..])
    );
}

#[test]
fn a_process_that_starts_with_a_leapt_clock_writes_by_the_clocks_of_the_others() {
    let mut world = World::ring(6);
    let key = key(1);
    let line = from_owner(&world, &key);
    let (owner, gateway) = (line[0], line[4]);
    let first = world.command(gateway, write(&key, "first", Micros::ZERO));
    let first = written(&mut world, first);
    world.stop(owner);
    world.run_for(Micros::from_secs(20));
    world.ahead[owner] = YEARS;
    world.restart(owner);
    world.run_for(Micros::from_secs(90));
    assert_eq!(world.owner_of(&key), owner);
    let second = world.command(gateway, write(&key, "second", Micros::ZERO));
    assert!(written(&mut world, second) > first);
    assert_eq!(alarms(&world, owner), 1);
    // Whoever comes next meets nothing from the future.
    world.nodes[owner] = None;
    world.run_for(Micros::from_secs(20));
    assert_eq!(
        read(&mut world, gateway, &key).as_deref(),
        Some(&b"second"[..])
    );
    let third = world.command(gateway, write(&key, "third", Micros::ZERO));
    written(&mut world, third);
    assert_eq!(
        read(&mut world, gateway, &key).as_deref(),
        Some(&b"third"[..])
    );
}

/// A leapt owner and one of its holders with it: a majority, if the third does not speak. What
/// is acknowledged then is from the future for ever, and whatever follows lies above it.
#[test]
fn what_two_leapt_clocks_acknowledged_is_topped_when_they_are_right_again() {
    let mut world = World::ring(6);
    let key = key(1);
    let line = from_owner(&world, &key);
    let (owner, other, gateway) = (line[0], line[1], line[4]);
    (world.ahead[owner], world.ahead[other]) = (YEARS, YEARS);
    let far = world.command(gateway, write(&key, "far", Micros::ZERO));
    let Ok(Outcome::Written { version: far }) = world.outcome(far) else {
        panic!("a majority agrees")
    };
    assert!(far.time > YEARS);
    for n in [owner, other] {
        world.ahead[n] = 0;
    }
    let next = world.command(gateway, write(&key, "next", Micros::ZERO));
    assert!(matches!(world.outcome(next), Ok(Outcome::Written { version }) if version > far));
    assert_eq!(
        read(&mut world, gateway, &key).as_deref(),
        Some(&b"next"[..])
    );
    // Another key of the same owner is written by an honest clock.
    let near = (2..200).map(super::world::key);
    let beside = near.into_iter().find(|key| world.owner_of(key) == owner);
    let beside = beside.expect("it owns more than one");
    let ticket = world.command(gateway, write(&beside, "beside", Micros::ZERO));
    let Ok(Outcome::Written { version }) = world.outcome(ticket) else {
        panic!("nobody doubts it")
    };
    assert!(version.time < (1 << 50) + YEARS / 2, "{version:?}");
}

/// Before anybody vouches for a process, its own copy waits for a holder; a holder that does
/// not answer does not make it wait for ever.
#[test]
fn the_first_write_of_a_process_ends_although_its_holders_are_silent() {
    let mut world = World::ring(6);
    let key = key(1);
    let line = from_owner(&world, &key);
    let (owner, gateway) = (line[0], line[4]);
    let silent = [line[1], line[2]];
    world.meddle = Some(Box::new(move |from, to, request| match request {
        Request::Replicate { .. } if from == owner && silent.contains(&to) => Fate::Lost,
        _ => Fate::Pass,
    }));
    let ticket = world.command(gateway, write(&key, "value", Micros::ZERO));
    written(&mut world, ticket);
    world.meddle = None;
    let quorum = world.command(gateway, get(&key, true));
    assert!(matches!(
        world.outcome(quorum),
        Ok(Outcome::Got { record: Some(_) })
    ));
}
