//! Members that keep to the form of the protocol and work against it, and stores that lag.

use bytes::Bytes;
use chord_core::event::{Command, Outcome};
use chord_core::message::{Head, Key, Refusal, Request, Response, Version};
use chord_core::sums::{PartSum, Sum};
use chord_core::time::{Instant, Micros};

use super::world::{Fate, World, key, peer, put};

/// Nodes in ring order, beginning anywhere.
fn in_order(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|&n| peer(n).id);
    order
}

/// A ring of five with some records in which the first in order dies, so that the second
/// has to settle its span, and the third answers comparisons as `lies` does.
fn settle_beside(mut lies: impl FnMut(&Request) -> Fate + 'static) -> (World, usize) {
    let mut world = World::ring(5);
    for n in 0..50 {
        let ticket = world.command(n % 5, put(n));
        assert!(matches!(world.outcome(ticket), Ok(Outcome::Written { .. })));
    }
    let order = in_order(5);
    let (dead, heir, liar) = (order[0], order[1], order[2]);
    world.nodes[dead] = None;
    world.meddle = Some(Box::new(move |from, to, request| {
        if (from, to) == (heir, liar) {
            lies(request)
        } else {
            Fate::Pass
        }
    }));
    world.run_for(Micros::from_secs(10));
    (world, heir)
}

/// Sums that lead to a list.
fn nothing_is_equal() -> Response {
    let sum = |part| PartSum {
        part,
        copies: 3,
        sum: Sum(1),
    };
    Response::Sums {
        sums: (0..32).map(sum).collect(),
        mark: None,
    }
}

fn unsettled(world: &World, n: usize) -> u32 {
    let node = world.nodes[n].as_ref().expect("alive");
    node.status(Instant(world.now)).spans_unsettled
}

#[test]
fn a_member_that_never_lists_does_not_keep_its_neighbours_unsettled() {
    let (mut world, heir) = settle_beside(|request| match request {
        Request::List { .. } | Request::Sums { .. } => Fate::Lost,
        _ => Fate::Pass,
    });
    assert_eq!(unsettled(&world, heir), 1, "at first it is waited for");
    world.run_for(Micros::from_secs(30));
    assert_eq!(unsettled(&world, heir), 0);
}

#[test]
fn a_member_that_claims_what_it_does_not_give_does_not_either() {
    let ghost = |n: usize| Head {
        key: Key::new(Bytes::from(format!("ghost {n}"))).expect("short"),
        version: Version {
            time: 1 << 51,
            writer: peer(0).id,
        },
        copies: 3,
    };
    let ghosts: Vec<Head> = (0..500).map(ghost).collect();
    let (mut world, heir) = settle_beside(move |request| match request {
        Request::Sums { .. } => Fate::Answer(nothing_is_equal()),
        Request::List { span, .. } => {
            let inside = |head: &&Head| span.contains(head.key.position());
            let mut heads: Vec<Head> = ghosts.iter().filter(inside).cloned().collect();
            heads.sort_by_key(|head| span.rank(head.key.position()));
            Fate::Answer(Response::Heads {
                heads,
                more: false,
                mark: None,
            })
        }
        Request::Fetch { .. } => Fate::Answer(Response::Fetched {
            records: vec![],
            mark: None,
        }),
        _ => Fate::Pass,
    });
    world.run_for(Micros::from_secs(30));
    assert_eq!(unsettled(&world, heir), 0);
}

#[test]
fn a_member_that_drips_one_key_a_page_is_waived() {
    let mut keys: Vec<Key> = (0..20_000)
        .map(|n| Key::new(Bytes::from(format!("drop {n}"))).expect("short"))
        .collect();
    keys.sort_by_key(Key::position);
    let mut dripped = 0_u32;
    let (mut world, heir) = settle_beside(move |request| match request {
        Request::Sums { .. } => Fate::Answer(nothing_is_equal()),
        Request::List { span, after, .. } => {
            let begin = after.as_ref().map_or(span.after, Key::position);
            let next = keys
                .iter()
                .filter(|key| span.contains(key.position()) && key.position() != begin)
                .filter(|key| span.rank(key.position()) > span.rank(begin) || after.is_none())
                .min_by_key(|key| span.rank(key.position()));
            dripped += 1;
            let head = |key: &Key| Head {
                key: key.clone(),
                version: Version::default(),
                copies: 3,
            };
            // A page a second: none is late.
            if dripped.is_multiple_of(2) {
                return Fate::Lost;
            }
            Fate::Answer(Response::Heads {
                heads: next.map(head).into_iter().collect(),
                more: true,
                mark: None,
            })
        }
        Request::Fetch { .. } => Fate::Answer(Response::Fetched {
            records: vec![],
            mark: None,
        }),
        _ => Fate::Pass,
    });
    world.run_for(Micros::from_secs(120));
    assert_eq!(unsettled(&world, heir), 0);
}

#[test]
fn the_owners_own_copy_is_part_of_every_majority() {
    let mut world = World::ring(5);
    let owner = world.owner_of(&key(1));
    world.stuck = Some(owner);
    let ticket = world.command((owner + 1) % 5, put(1));
    world.run_for(Micros::from_secs(2));
    let stored = world
        .stores
        .iter()
        .filter(|store| store.contains_key(&key(1)));
    assert_eq!(stored.count(), 2, "two of three holders have it");
    assert!(!world.is_over(ticket), "acknowledged without the owner");
    world.release();
    let outcome = world.outcome(ticket);
    assert!(
        matches!(outcome, Ok(Outcome::Written { .. })),
        "{outcome:?}"
    );
}

#[test]
fn writes_that_wait_for_their_key_end_with_their_deadline() {
    let mut world = World::ring(5);
    let owner = world.owner_of(&key(1));
    world.stuck = Some(owner);
    let gateways = (0..5).filter(|&n| n != owner);
    let tickets: Vec<u64> = gateways.map(|n| world.command(n, put(1))).collect();
    world.run_for(Micros::from_secs(7));
    assert!(tickets.iter().all(|&ticket| world.is_over(ticket)));
    assert_eq!(
        world.unanswered(),
        1,
        "the one whose record is being stored"
    );
}

#[test]
fn what_waits_for_one_key_is_bounded_in_bytes() {
    let mut world = World::ring(3);
    let owner = world.owner_of(&key(1));
    let gateway = (owner + 1) % 3;
    world.stuck = Some(owner);
    for _ in 0..24 {
        let Command::Put { key, .. } = put(1) else {
            unreachable!("a put")
        };
        let command = Command::Put {
            key,
            value: Bytes::from(vec![7; 1 << 20]),
            ttl: Micros::ZERO,
            copies: 0,
            expected: None,
        };
        world.command(gateway, command);
    }
    world.drain();
    // One is being stored, fifteen of a little more than 1 MiB wait, the others try again.
    assert_eq!(world.unanswered(), 16);
}

/// The two next holders refuse copies for minutes: what lies with their replacements is no
/// surplus, however often the others were asked in vain.
#[test]
fn copies_at_replacements_stay_while_the_holders_refuse() {
    let mut world = World::ring(6);
    let order = in_order(6);
    let owner = world.owner_of(&key(1));
    let place = order.iter().position(|&n| n == owner).expect("a member");
    let refusing = [order[(place + 1) % 6], order[(place + 2) % 6]];
    world.meddle = Some(Box::new(move |_, to, request| match request {
        Request::Replicate { .. } if refusing.contains(&to) => {
            Fate::Answer(Response::Refused(Refusal::Full))
        }
        _ => Fate::Pass,
    }));
    let ticket = world.command(owner, put(1));
    assert!(matches!(world.outcome(ticket), Ok(Outcome::Written { .. })));
    world.run_for(Micros::from_secs(300));
    let holding = |world: &World| {
        let stores = world.stores.iter();
        stores.filter(|store| store.contains_key(&key(1))).count()
    };
    assert_eq!(holding(&world), 3, "the owner and two replacements");
    world.meddle = None;
    world.run_for(Micros::from_secs(300));
    assert_eq!(holding(&world), 3, "the owner and the two next");
}
