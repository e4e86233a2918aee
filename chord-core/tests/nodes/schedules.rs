//! Named schedules: orders of events that chance seldom brings, each played by hand.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use chord_core::event::{Command, Outcome};
use chord_core::message::{Header, Key, OperationId, Record, Request, Version};
use chord_core::time::{Instant, Micros};

use super::world::{Fate, World, key, peer, put};

pub(crate) fn get(key: &Key, quorum: bool) -> Command {
    Command::Get {
        key: key.clone(),
        quorum,
    }
}

pub(crate) fn write(key: &Key, value: &'static str, ttl: Micros) -> Command {
    Command::Put {
        key: key.clone(),
        value: Bytes::from(value),
        ttl,
        copies: 0,
        expected: None,
    }
}

/// The living from the owner of a key on, in the order of the ring.
pub(crate) fn from_owner(world: &World, key: &Key) -> Vec<usize> {
    let mut living: Vec<usize> = (0..world.nodes.len())
        .filter(|&n| world.nodes[n].is_some())
        .collect();
    living.sort_by_key(|&n| key.position().distance(peer(n).id));
    living
}

/// What a client reads within half a minute, trying again as long as nobody can tell.
#[track_caller]
pub(crate) fn read(world: &mut World, through: usize, key: &Key) -> Option<Bytes> {
    for attempt in 0..30 {
        let ticket = world.command(through, get(key, attempt % 2 == 1));
        if let Ok(Outcome::Got { record }) = world.outcome(ticket) {
            return record.map(|record| record.value);
        }
        world.run_for(Micros::from_secs(1));
    }
    panic!("nobody can tell");
}

/// Whether a node owns a key's position, and would answer for it from its own disk.
fn is_settled_owner(world: &World, n: usize, key: &Key) -> bool {
    let status = world.nodes[n]
        .as_ref()
        .map(|node| node.status(Instant(world.now)));
    status.is_some_and(|status| {
        let owned = status
            .owned
            .is_some_and(|span| span.contains(key.position()));
        owned && status.spans_unsettled == 0
    })
}

fn holding(world: &World, key: &Key) -> Vec<usize> {
    let stores = 0..world.stores.len();
    stores
        .filter(|&n| world.stores[n].contains_key(key))
        .collect()
}

/// A majority of three is two: the owner and its second successor, since the first one missed
/// it. Then the owner dies, and the first one inherits a record that it does not have.
#[test]
fn a_write_that_the_heir_missed_is_read_from_the_other_holder() {
    let mut world = World::ring(6);
    let key = key(1);
    let line = from_owner(&world, &key);
    let (owner, heir, other) = (line[0], line[1], line[2]);
    world.meddle = Some(Box::new(move |_, to, request| match request {
        Request::Replicate { .. } if to != other => Fate::Lost,
        _ => Fate::Pass,
    }));
    let ticket = world.command(line[4], put(1));
    while holding(&world, &key).len() < 2 || !world.is_over(ticket) {
        assert!(world.step(), "acknowledged by two");
    }
    assert!(matches!(world.outcome(ticket), Ok(Outcome::Written { .. })));
    let mut two = [owner, other];
    two.sort_unstable();
    assert_eq!(holding(&world, &key), two);
    world.nodes[owner] = None;
    world.stores[owner].clear();
    // It owns the span, and no round has brought it anything yet.
    world.meddle = Some(Box::new(move |from, _, request| match request {
        Request::Sums { .. } | Request::List { .. } if from == heir => Fate::Lost,
        _ => Fate::Pass,
    }));
    world.run_for(Micros::from_secs(4));
    assert!(!world.stores[heir].contains_key(&key));
    assert_eq!(
        read(&mut world, heir, &key).as_deref(),
        Some(&b"value 1"[..])
    );
    assert_eq!(world.owner_of(&key), heir);
}

/// The owner has a new version on its way to its holders when a newcomer takes the span over
/// from it, and settles it before any of them has that version. If the client is told that it
/// is written, the new owner must show it; if not, either version may be there, but the same
/// one to everybody from then on.
#[test]
fn a_put_in_flight_while_a_newcomer_takes_over_is_not_lost_once_acknowledged() {
    let (mut acknowledged, mut overtaken) = (0, 0);
    for pause in 0..40 {
        let mut world = World::new(6);
        let key = key(1);
        let line = from_owner(&world, &key);
        // The one that will own the key comes last.
        let (newcomer, owner, gateway) = (line[0], line[1], line[3]);
        for &n in &line[1..] {
            let seeds = (n != owner).then(|| peer(owner).addr).into_iter().collect();
            let joined = world.command(n, Command::Join { seeds });
            world.outcome(joined).expect("joined");
            world.run_for(Micros::from_secs(5));
        }
        world.run_for(Micros::from_secs(90));
        let old = world.command(gateway, write(&key, "old", Micros::ZERO));
        assert!(matches!(world.outcome(old), Ok(Outcome::Written { .. })));
        let seeds = vec![peer(gateway).addr];
        world.command(newcomer, Command::Join { seeds });
        (0..pause).for_each(|_| {
            world.step();
        });
        // Its own copy and those of its holders are in flight while it grants the span.
        world.stuck = Some(owner);
        let sent = Rc::new(Cell::new(false));
        let seen = sent.clone();
        world.meddle = Some(Box::new(move |from, _, request| match request {
            Request::Replicate { fresh: true, .. } if from == owner => {
                seen.set(true);
                Fate::Held
            }
            _ => Fate::Pass,
        }));
        let new = world.command(gateway, write(&key, "new", Micros::ZERO));
        // Shorter than any holder is waited for.
        let until = world.now + 1_500_000;
        while world.now < until && !is_settled_owner(&world, newcomer, &key) {
            assert!(world.step());
        }
        let late = sent.get() && !world.is_over(new);
        overtaken += u32::from(late && is_settled_owner(&world, newcomer, &key));
        world.meddle = None;
        world.deliver();
        world.release();
        let written = matches!(world.outcome(new), Ok(Outcome::Written { .. }));
        acknowledged += u32::from(written);
        let first = read(&mut world, gateway, &key).expect("one of the two");
        assert!(first == "new" || !written, "{pause}: acknowledged and gone");
        world.run_for(Micros::from_secs(90));
        for reader in [newcomer, owner, gateway] {
            let again = read(&mut world, reader, &key).expect("still there");
            assert!(again == "new" || again == first, "{pause}: {again:?}");
        }
        assert_eq!(world.owner_of(&key), newcomer);
    }
    assert!(acknowledged > 10, "{acknowledged}");
    assert!(
        overtaken > 3,
        "{overtaken}: settled before the copies arrived"
    );
}

/// A holder is down while a value of long life is overwritten by one of short life. It comes
/// back after that one has expired: the old value must stay gone.
#[test]
fn an_old_long_lived_value_does_not_come_back_after_the_short_lived_one_expired() {
    let mut world = World::ring(6);
    let key = key(1);
    let line = from_owner(&world, &key);
    let (holder, gateway) = (line[1], line[4]);
    let long = world.command(gateway, write(&key, "long", Micros::from_secs(3 * 3_600)));
    assert!(matches!(world.outcome(long), Ok(Outcome::Written { .. })));
    assert!(holding(&world, &key).contains(&holder));
    world.stop(holder);
    world.run_for(Micros::from_secs(30));
    let short = world.command(gateway, write(&key, "short", Micros::from_secs(60)));
    assert!(matches!(world.outcome(short), Ok(Outcome::Written { .. })));
    // An hour longer than it lived, a tombstone of its own lifetime would be swept.
    world.run_for(Micros::from_secs(4_000));
    assert_eq!(read(&mut world, gateway, &key), None);
    let kept = &world.stores[holder][&key];
    assert_eq!(kept.value, "long", "the old disk still has it");
    world.restart(holder);
    for _ in 0..10 {
        world.run_for(Micros::from_secs(20));
        assert_eq!(read(&mut world, gateway, &key), None);
        assert_eq!(read(&mut world, holder, &key), None);
    }
    let shadowed = |n: usize| !world.stores[n][&key].is_live(Instant(world.now));
    assert!(line[..3].iter().all(|&n| shadowed(n)), "none is live");
}

/// After two rings have become one, a member holds a record that no owner knows, and that lies
/// in no span it should hold: it reaches its owner, and is dropped only then.
#[test]
fn a_stray_record_after_a_merge_reaches_its_owner_and_is_dropped_only_then() {
    let mut world = World::ring(10);
    let key = key(1);
    let line = from_owner(&world, &key);
    // Beyond those with whom the owner compares: it has to come by itself.
    let (owner, outsider) = (line[0], line[9]);
    let header = Header {
        version: Version {
            time: 1 << 50,
            writer: peer(outsider).id,
        },
        operation: OperationId::default(),
        copies: 3,
        tombstone: false,
        expires: Instant(world.now) + Micros::from_secs(3_600),
        shadow: Instant(world.now) + Micros::from_secs(3_600),
    };
    let stray = Record {
        key: key.clone(),
        value: Bytes::from("stray"),
        header,
    };
    world.stores[outsider].insert(key.clone(), stray);
    // At first no copy gets through.
    let blocked = Rc::new(Cell::new(true));
    let tried = Rc::new(Cell::new(0));
    let (gate, count) = (blocked.clone(), tried.clone());
    world.meddle = Some(Box::new(move |from, _, request| match request {
        Request::Replicate { .. } if from == outsider && gate.get() => {
            count.set(count.get() + 1);
            Fate::Lost
        }
        _ => Fate::Pass,
    }));
    world.run_for(Micros::from_secs(300));
    assert!(tried.get() > 0, "it tries");
    assert_eq!(holding(&world, &key), [outsider], "kept until it is safe");
    blocked.set(false);
    world.run_for(Micros::from_secs(400));
    let mut holders = line[..3].to_vec();
    holders.sort_unstable();
    assert_eq!(holding(&world, &key), holders, "where it belongs, no more");
    assert_eq!(
        read(&mut world, owner, &key).as_deref(),
        Some(&b"stray"[..])
    );
}

/// A holder leaves, and the owner crashes while it hands over, its disk lost.
#[test]
fn a_holder_leaves_while_the_owner_crashes_and_nothing_is_lost() {
    for moment in 0..12 {
        let mut world = World::ring(6);
        let key = key(1);
        let line = from_owner(&world, &key);
        let (owner, heir, holder, gateway) = (line[0], line[1], line[2], line[4]);
        // Acknowledged by owner and leaver alone: the heir missed it.
        world.meddle = Some(Box::new(move |_, to, request| match request {
            Request::Replicate { .. } if to != holder => Fate::Lost,
            Request::Sums { .. } if to == heir => Fate::Lost,
            _ => Fate::Pass,
        }));
        let ticket = world.command(gateway, put(1));
        while !world.is_over(ticket) {
            assert!(world.step());
        }
        assert!(matches!(world.outcome(ticket), Ok(Outcome::Written { .. })));
        world.meddle = None;
        let left = world.command(holder, Command::Leave);
        (0..moment * 10).for_each(|_| {
            world.step();
        });
        world.nodes[owner] = None;
        world.stores[owner].clear();
        let outcome = world.outcome(left);
        assert!(
            matches!(outcome, Ok(Outcome::Left { remaining: 0, .. })),
            "{moment}: {outcome:?}"
        );
        world.nodes[holder] = None;
        world.stores[holder].clear();
        let value = read(&mut world, gateway, &key);
        assert_eq!(value.as_deref(), Some(&b"value 1"[..]), "{moment}");
    }
}

/// The heir leaves while the owner before it crashes, its disk lost: the last copy is with the
/// one that leaves, and nobody will own it before it is gone.
#[test]
fn an_heir_leaves_while_the_owner_crashes_and_nothing_is_lost() {
    for moment in 0..12 {
        let mut world = World::ring(6);
        let key = key(1);
        let line = from_owner(&world, &key);
        let (owner, heir, gateway) = (line[0], line[1], line[4]);
        // Acknowledged by owner and heir alone.
        world.meddle = Some(Box::new(move |_, to, request| match request {
            Request::Replicate { .. } if to != heir => Fate::Lost,
            Request::Sums { .. } if to != heir => Fate::Lost,
            _ => Fate::Pass,
        }));
        let ticket = world.command(gateway, put(1));
        while !world.is_over(ticket) {
            assert!(world.step());
        }
        assert!(matches!(world.outcome(ticket), Ok(Outcome::Written { .. })));
        world.meddle = None;
        world.nodes[owner] = None;
        world.stores[owner].clear();
        (0..moment * 40).for_each(|_| {
            world.step();
        });
        let left = world.command(heir, Command::Leave);
        let outcome = world.outcome(left);
        assert!(
            matches!(outcome, Ok(Outcome::Left { remaining: 0, .. })),
            "{moment}: {outcome:?}"
        );
        world.nodes[heir] = None;
        world.stores[heir].clear();
        let value = read(&mut world, gateway, &key);
        assert_eq!(value.as_deref(), Some(&b"value 1"[..]), "{moment}");
    }
}

/// What ran out while a node was down is hidden, but its value goes only when the others have
/// been asked: the clock may be wrong.
#[test]
fn a_restarted_node_sweeps_nothing_before_it_has_settled() {
    let mut world = World::ring(6);
    world.run_for(Micros::from_secs(300));
    assert!((0..6).all(|n| world.swept.iter().any(|(swept, _)| *swept == n)));
    world.stop(2);
    world.run_for(Micros::from_secs(5));
    let back = world.now;
    world.restart(2);
    world.run_for(Micros::from_secs(300));
    let first = world.swept.iter().find(|(n, at)| *n == 2 && *at > back);
    let (_, first) = first.expect("swept in the end");
    let patience = Micros::from_secs(60);
    assert!(*first >= back + patience.0, "{}", first - back);
}

/// A member lacks hundreds of copies while a round brings them: the status of the owner says so.
#[test]
fn copies_that_are_missing_are_told_while_they_are_brought() {
    let mut world = World::ring(6);
    for n in 0..200 {
        let ticket = world.command(n % 6, put(n));
        assert!(matches!(world.outcome(ticket), Ok(Outcome::Written { .. })));
    }
    let missing = |world: &mut World, n: usize| {
        let ticket = world.command(n, Command::Status);
        match world.outcome(ticket) {
            Ok(Outcome::Status(status)) => status.copies_missing,
            other => panic!("{other:?}"),
        }
    };
    // No copy gets through at first.
    world.meddle = Some(Box::new(|_, _, request| match request {
        Request::Replicate { .. } => Fate::Lost,
        _ => Fate::Pass,
    }));
    world.nodes[3] = None;
    world.run_for(Micros::from_secs(10));
    let told: u64 = (0..6)
        .filter(|n| *n != 3)
        .map(|n| missing(&mut world, n))
        .sum();
    assert!(told >= 10, "{told}");
    world.meddle = None;
    world.run_for(Micros::from_secs(120));
    let told: u64 = (0..6)
        .filter(|n| *n != 3)
        .map(|n| missing(&mut world, n))
        .sum();
    assert_eq!(told, 0);
}
