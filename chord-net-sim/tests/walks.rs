//! Random walks over small rings: what is claimed of every state, and how a ring heals.
//! `WALK_STEPS` sets how many events of nodes the first test takes (two million if it is absent).

use std::io::Write as _;

use chord_net_sim::walk::{Sum, Walk, many};

/// Past the capture of the test runner: the figures belong into every run's output.
fn tell(sum: &Sum) {
    writeln!(std::io::stderr(), "{sum}").expect("standard error is open");
}

#[test]
fn walks_break_no_claim_while_its_premise_stands_and_heal_from_everything() {
    let steps = std::env::var("WALK_STEPS").map_or(2_000_000, |steps| {
        steps.parse().expect("WALK_STEPS is a number")
    });
    // A walk takes two thousand steps and those until the ring is ideal.
    let (sum, broken) = many((1, steps / 2_000), u64::MAX, Walk::of);
    tell(&sum);
    assert_eq!(broken, []);
    assert!(sum.steps >= steps, "{sum}");
    for kind in ["join", "leave", "failure", "suspicion", "loss"] {
        assert!(sum.faults.contains_key(kind), "no {kind}");
    }
    assert!(sum.theorem > sum.judged / 10 && sum.small > sum.judged / 10);
    assert!(sum.left_premise > 0);
    // At most 16 members.
    assert!(sum.heads_right(0.5) <= 3.0 && sum.heads_right(0.99) <= 5.0);
}

/// With the bound on failures lifted the claims are not true, and the judge must see that.
#[test]
fn without_their_premise_the_claims_are_broken() {
    let (sum, broken) = many((1, 200), u64::MAX, |seed| Walk {
        faults: 50,
        suspicions: 25,
        reckless: 100,
        blind: true,
        ..Walk::of(seed)
    });
    tell(&sum);
    assert!(broken.len() > 20, "{sum}");
}

#[test]
fn a_walk_is_the_same_each_time_and_can_be_told() {
    for seed in 1..20 {
        let walk = Walk::of(seed);
        let (first, second) = (walk.run(), walk.run());
        assert_eq!(format!("{first:?}"), format!("{second:?}"));
        let story = walk.story();
        assert_eq!(story, walk.story());
        assert!(story.len() as u64 >= first.judged);
    }
}
