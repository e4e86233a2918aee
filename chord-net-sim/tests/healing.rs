//! How rings heal from what the theorem does not cover. Run by name, in the release profile.

use std::io::Write as _;

use chord_net_sim::walk::{Sum, Walk, many};

/// Past the capture of the test runner: the figures belong into every run's output.
fn tell(sum: &Sum) {
    writeln!(std::io::stderr(), "{sum}").expect("standard error is open");
}

/// One event in ten is preceded by a false suspicion, whatever it does to the premise.
#[test]
fn ten_thousand_rings_in_which_everybody_suspects_everybody_heal_within_80_rounds() {
    let (sum, broken) = many((1, 10_000), u64::MAX, |seed| Walk {
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
    assert_eq!(broken, []);
    assert!(
        sum.faults["suspicion"] > 100_000 && sum.left_premise > 100,
        "{sum}"
    );
}
