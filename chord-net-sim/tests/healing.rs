//! How rings heal from what the theorem does not cover. Run by name, in the release profile.

mod many;

use chord_net_sim::walk::Walk;
use many::{take, tell};

/// One event in ten is preceded by a false suspicion, whatever it does to the premise.
#[test]
fn ten_thousand_rings_in_which_everybody_suspects_everybody_heal_within_80_rounds() {
    let (sum, broken) = take(10_000, |seed| Walk {
        members: 12,
        positions: 12,
        moves: 250,
        faults: 100,
        suspicions: 100,
        losses: 0,
        reckless: 100,
        ..Walk::of(seed)
    });
    tell(&sum);
    assert_eq!(broken, None);
    assert!(
        sum.faults["suspicion"] > 100_000 && sum.left_premise > 100,
        "{sum}"
    );
}
