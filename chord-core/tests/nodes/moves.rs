//! Records that move with their holders: after any number of comings and goings each is
//! where it belongs, and nowhere else.

use chord_core::event::{Command, Outcome};
use chord_core::time::Micros;

use super::world::{World, key, peer, put};

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
