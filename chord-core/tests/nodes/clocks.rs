//! Owners whose wall clocks are years ahead: what they write may neither be lost nor win over
//! what others acknowledge later.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use chord_core::event::{Notice, Outcome};
use chord_core::message::{Request, Version};
use chord_core::time::Micros;

use super::schedules::{from_owner, get, read, write};
use super::world::{Fate, World, key, put};

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

/// The clock of another node leapt with the owner's, and it stands behind the holders: what one
/// of these refuses does not get there.
#[test]
fn what_a_holder_refused_for_its_time_goes_to_nobody_who_would_take_it() {
    let mut world = World::ring(6);
    let line = from_owner(&world, &key(1));
    let (owner, gateway, other) = (line[0], line[4], line[3]);
    (world.ahead[owner], world.ahead[other]) = (YEARS, YEARS);
    let ticket = world.command(gateway, write(&key(1), "value", Micros::ZERO));
    written(&mut world, ticket);
}

/// One holder refused the time, and the others are silent: as many are asked as can be counted,
/// and nobody further on, who may have a leapt clock too, gets a copy.
#[test]
fn a_version_that_was_refused_for_its_time_goes_no_further_than_it_can_be_counted() {
    let mut world = World::ring(6);
    let line = from_owner(&world, &key(1));
    let (owner, gateway, honest) = (line[0], line[4], line[1]);
    world.ahead[owner] = YEARS;
    let asked = Rc::new(RefCell::new(BTreeSet::new()));
    let seen = Rc::clone(&asked);
    world.meddle = Some(Box::new(move |_, to, request| match request {
        Request::Replicate { records, .. } if records[0].header.version.time > YEARS => {
            seen.borrow_mut().insert(to);
            if to == honest { Fate::Pass } else { Fate::Lost }
        }
        _ => Fate::Pass,
    }));
    let ticket = world.command(gateway, write(&key(1), "value", Micros::ZERO));
    written(&mut world, ticket);
    let expected = BTreeSet::from([line[1], line[2], line[3]]);
    assert_eq!(*asked.borrow(), expected, "three copies: as many others");
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

/// A host that comes back with a clock years from the others' says so before it stores anything;
/// one that most of them agree with does not.
#[test]
fn a_process_that_starts_with_a_clock_off_says_so_before_it_stores_anything() {
    let mut world = World::ring(6);
    let line = from_owner(&world, &key(1));
    let ticket = world.command(line[4], write(&key(1), "value", Micros::ZERO));
    written(&mut world, ticket);
    let off = |world: &World, n: usize| {
        let mut own = world.notices.iter().filter(|(at, _)| *at == n);
        own.find_map(|(_, notice)| match notice {
            Notice::ClockOff { ahead } => Some(*ahead),
            _ => None,
        })
    };
    world.stop(line[0]);
    world.run_for(Micros::from_secs(20));
    world.ahead[line[0]] = YEARS;
    world.restart(line[0]);
    let before = world.stores[line[0]].len();
    let begun = world.now;
    while off(&world, line[0]).is_none() {
        assert!(world.step() && world.now < begun + 60_000_000, "never said");
        assert_eq!(world.stores[line[0]].len(), before, "stored before");
    }
    let ahead = off(&world, line[0]).expect("just said");
    assert!(ahead.abs_diff(YEARS as i64) < 60_000_000, "{ahead}");
    world.run_for(Micros::from_secs(90));
    world.stop(line[2]);
    world.run_for(Micros::from_secs(20));
    world.restart(line[2]);
    world.run_for(Micros::from_secs(90));
    assert_eq!(off(&world, line[2]), None, "most others agree with it");
}

/// What was stored in this life lies where the clock put it: from then on nobody's word moves it.
#[test]
fn clocks_are_compared_no_more_once_anything_was_stored() {
    let mut world = World::ring(2);
    for n in 0..20 {
        let ticket = world.command(n % 2, put(n));
        written(&mut world, ticket);
    }
    world.run_for(Micros::from_secs(90));
    let (other, late) = (0, 1);
    world.wipe(late);
    world.run_for(Micros::from_secs(20));
    // Its first attempt brings records and then fails.
    let pulled = Rc::new(Cell::new(false));
    let seen = pulled.clone();
    world.meddle = Some(Box::new(move |from, _, request| match request {
        _ if from != late => Fate::Pass,
        Request::Pull { .. } => {
            seen.set(true);
            Fate::Pass
        }
        Request::Neighbours { .. } if seen.get() => Fate::Lost,
        _ => Fate::Pass,
    }));
    world.restart(late);
    world.run_for(Micros::from_secs(1));
    assert!(pulled.get() && !world.stores[late].is_empty());
    world.meddle = None;
    world.notices.clear();
    world.ahead[other] = YEARS;
    world.run_for(Micros::from_secs(30));
    let told = |what: fn(&Notice) -> bool| {
        let mut own = world.notices.iter().filter(|(n, _)| *n == late);
        own.any(|(_, notice)| what(notice))
    };
    assert!(told(|notice| matches!(notice, Notice::Joined { .. })));
    assert!(!told(|notice| matches!(notice, Notice::ClockOff { .. })));
}
