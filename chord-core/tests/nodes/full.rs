//! Holders without room: what is acknowledged or shown lies where the next owner will ask.

use bytes::Bytes;
use chord_core::event::{Command, Failure, Outcome};
use chord_core::message::{Key, Refusal, Request, Response, Version};
use chord_core::time::{Instant, Micros};

use super::world::{Fate, World, key, peer, put};

/// A settled ring of eight, a key, and the nodes from its owner on.
fn ring() -> (World, Key, Vec<usize>) {
    let mut world = World::ring(8);
    let key = key(1);
    let mut line: Vec<usize> = (0..8).collect();
    line.sort_by_key(|&n| key.position().distance(peer(n).id));
    world.run_for(Micros::from_secs(90));
    (world, key, line)
}

fn get(
    world: &mut World,
    through: usize,
    key: &Key,
    quorum: bool,
) -> Result<Option<Bytes>, Failure> {
    let key = key.clone();
    let command = Command::Get { key, quorum };
    let ticket = world.command(through, command);
    match world.outcome(ticket)? {
        Outcome::Got { record } => Ok(record.map(|record| record.value)),
        other => panic!("no answer: {other:?}"),
    }
}

fn read(world: &mut World, through: usize, key: &Key) -> Result<Option<Bytes>, Failure> {
    get(world, through, key, true)
}

fn write(world: &mut World, through: usize) -> Result<(), Failure> {
    let ticket = world.command(through, put(1));
    world.outcome(ticket).map(|_| ())
}

#[test]
fn a_write_that_only_replacements_took_is_found_after_its_owners_death() {
    let (mut world, key, line) = ring();
    world.full = vec![line[1], line[2]];
    write(&mut world, line[6]).expect("the third holder makes the majority");
    world.stop(line[0]);
    let found = get(&mut world, line[6], &key, false);
    assert_eq!(found, Ok(Some(Bytes::from_static(b"value 1"))));
}

#[test]
fn copies_with_whom_nobody_would_ask_make_no_majority() {
    let (mut world, _, line) = ring();
    world.full = line[1..4].to_vec();
    assert_eq!(write(&mut world, line[6]), Err(Failure::Full));
    world.full.clear();
    write(&mut world, line[6]).expect("there is room again");
}

/// Two holders have no room, and the one between them leaves: the next try finds another.
#[test]
fn a_write_is_not_refused_for_want_of_room_while_a_holder_only_leaves() {
    let (mut world, _, line) = ring();
    world.full = vec![line[1], line[3]];
    let leaving = line[2];
    world.meddle = Some(Box::new(move |_, to, request| match request {
        Request::Replicate { .. } if to == leaving => {
            Fate::Answer(Response::Refused(Refusal::Leaving))
        }
        _ => Fate::Pass,
    }));
    write(&mut world, line[6]).expect("the fourth stands in");
}

/// The owner has no room, so it is no part of the majority that has what a read showed; when one
/// of that majority is gone and the other silent, nobody present knows better.
/// Repair goes on without a holder that has no room, and says what it lacks all the same.
#[test]
fn what_a_holder_without_room_lacks_is_missing_until_it_has_room() {
    let (mut world, key, line) = ring();
    write(&mut world, line[6]).expect("acknowledged");
    world.run_for(Micros::from_secs(90));
    world.stores[line[1]].remove(&key);
    world.full = vec![line[1]];
    world.run_for(Micros::from_secs(600));
    let missing = |world: &World| {
        let owner = world.nodes[line[0]].as_ref().expect("up");
        owner.status(Instant(world.now)).copies_missing
    };
    assert_eq!(missing(&world), 1);
    world.full.clear();
    world.run_for(Micros::from_secs(120));
    assert_eq!(missing(&world), 0);
    assert!(world.stores[line[1]].contains_key(&key));
}

#[test]
fn a_quorum_read_at_an_owner_without_room_does_not_go_back() {
    let (mut world, key, line) = ring();
    world.full = vec![line[0]];
    assert_eq!(write(&mut world, line[6]), Err(Failure::Full));
    let shown = read(&mut world, line[6], &key);
    assert_eq!(
        shown,
        Ok(Some(Bytes::from_static(b"value 1"))),
        "it survived"
    );
    world.stop(line[1]);
    let silent = line[2];
    world.meddle = Some(Box::new(move |_, to, request| match request {
        Request::Fetch { .. } if to == silent => Fate::Lost,
        _ => Fate::Pass,
    }));
    let later = read(&mut world, line[6], &key);
    assert!(matches!(later, Err(_) | Ok(Some(_))), "{later:?}");
    world.meddle = None;
    world.full.clear();
    let later = read(&mut world, line[6], &key);
    assert_eq!(later, Ok(Some(Bytes::from_static(b"value 1"))));
}

/// Two complete copies are enough by count, but the write was counted at a third holder.
#[test]
fn a_read_of_an_unsettled_span_hears_every_present_holder() {
    let (mut world, key, line) = ring();
    write(&mut world, line[6]).expect("nothing is wrong yet");
    world.run_for(Micros::from_secs(90));
    let mut newer = world.stores[line[0]][&key].clone();
    newer.value = Bytes::from_static(b"newer");
    newer.header.version = Version {
        time: newer.header.version.time + 1,
        ..newer.header.version
    };
    world.stores[line[3]].insert(key.clone(), newer);
    let silent = line[3];
    world.meddle = Some(Box::new(move |_, to, request| match request {
        Request::Sums { .. } | Request::List { .. } => Fate::Lost,
        Request::Fetch { .. } if to == silent => Fate::Lost,
        _ => Fate::Pass,
    }));
    world.stop(line[0]);
    let found = read(&mut world, line[6], &key);
    assert!(found.is_err(), "{found:?}");
    world.meddle = None;
    let found = read(&mut world, line[6], &key);
    assert_eq!(found, Ok(Some(Bytes::from_static(b"newer"))));
}

/// A write was counted at the third after its owner; then one came between, and the owner died.
/// Who was third is fourth now, and may answer last.
#[test]
fn a_read_of_an_unsettled_span_waits_for_holders_behind_a_newcomer() {
    let (mut world, key, line) = ring();
    let (newcomer, late) = (line[1], line[4]);
    world.stop(newcomer);
    world.run_for(Micros::from_secs(90));
    write(&mut world, line[6]).expect("nothing is wrong yet");
    world.full = vec![line[2], line[3]];
    let ticket = world.command(line[6], put(1));
    let Ok(Outcome::Written { version }) = world.outcome(ticket) else {
        panic!("the third holder makes the majority")
    };
    let meddle = |held: bool| {
        move |_, to, request: &Request| match request {
            Request::Sums { .. } | Request::List { .. } => Fate::Lost,
            Request::Fetch { .. } if to == late && held => Fate::Held,
            Request::Fetch { .. } if to == late => Fate::Lost,
            _ => Fate::Pass,
        }
    };
    world.meddle = Some(Box::new(meddle(false)));
    world.restart(newcomer);
    world.run_for(Micros::from_secs(5));
    world.stop(line[0]);
    world.run_for(Micros::from_secs(5));
    assert_eq!(world.owner_of(&key), newcomer);
    let found = get(&mut world, line[6], &key, false);
    assert!(found.is_err(), "it has not spoken: {found:?}");
    world.meddle = Some(Box::new(meddle(true)));
    let ticket = world.command(line[6], Command::Get { key, quorum: false });
    world.drain();
    world.deliver();
    let Ok(Outcome::Got {
        record: Some(found),
    }) = world.outcome(ticket)
    else {
        panic!("all holders have spoken")
    };
    assert_eq!(found.header.version, version);
}
