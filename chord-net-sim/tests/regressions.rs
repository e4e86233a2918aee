//! Runs that once failed, or that alone told a broken core from a sound one. Every row must pass
//! for ever; a new finding is a new row, with what it found.

use chord_net_sim::plan::Plan;
use chord_net_sim::report::Verdict;
use chord_net_sim::{scenarios, sim};

/// A scenario, its seeds, its overrides, and why it is here.
struct Row {
    scenario: &'static str,
    seeds: &'static [u64],
    set: &'static [&'static str],
    why: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        scenario: "churn-24",
        seeds: &[3, 7, 25, 27, 43, 54],
        set: &[],
        why: "a member answered for the span of an owner that lived, because its own predecessor \
              was dead",
    },
    Row {
        scenario: "churn-24",
        seeds: &[1, 6, 7, 25, 29, 42],
        set: &["fault=[]"],
        why: "the same, with nobody kept apart who could excuse it",
    },
    Row {
        scenario: "churn-24",
        seeds: &[141],
        set: &[],
        why: "one false suspicion hid a member from its predecessor for twenty seconds",
    },
    Row {
        scenario: "torn-writes",
        seeds: &[1, 2, 3],
        set: &[],
        why: "finds quorum reads that answer before a majority stores what they show",
    },
    Row {
        scenario: "short-lives",
        seeds: &[1, 2, 3],
        set: &[],
        why: "finds expired records that can be read; 3 once accused an expiry of going back",
    },
    Row {
        scenario: "graceful-leaves",
        seeds: &[1, 2, 3],
        set: &[],
        why: "finds leavers that take for handed over what nobody has confirmed",
    },
    Row {
        scenario: "churn-24",
        seeds: &[4, 9, 10],
        set: &[],
        why: "finds granters that keep owning what they have granted",
    },
    Row {
        scenario: "crash-one",
        seeds: &[5, 6, 11],
        set: &[],
        why: "finds lists that take in a pointer of a third party",
    },
    Row {
        scenario: "short-lives",
        seeds: &[5],
        set: &[],
        why: "a false death hid a member from its predecessor for half a minute",
    },
    Row {
        scenario: "disk-trouble",
        seeds: &[2],
        set: &["expect.get_success=>= 0.99"],
        why: "a quorum read was refused because its owner had no room for what it met",
    },
    Row {
        scenario: "disk-trouble",
        seeds: &[1, 6, 7],
        set: &[],
        why: "finds write-backs that count a replacement in place of the owner",
    },
    Row {
        scenario: "disk-trouble",
        seeds: &[21, 31, 64, 72, 112],
        set: &[],
        why: "a quorum read went back at an owner without room, after its group had changed",
    },
    Row {
        scenario: "disk-trouble",
        seeds: &[290, 340],
        set: &[],
        why: "acknowledged with replacements that nobody asked after the owner's death",
    },
    Row {
        scenario: "churn-24",
        seeds: &[1, 2],
        set: &["work.records.count=10", "work.records.rate=10/s"],
        why: "finds owners that acknowledge alone, and holders that drop tombstones, on few keys",
    },
    Row {
        scenario: "leaping-clocks",
        seeds: &[2, 13],
        set: &[],
        why: "an owner whose clock had leapt ahead kept its copy of a write that was refused, which \
              later won over what had been acknowledged",
    },
];

/// Every shipped scenario runs with at least these.
const FIRST_SEEDS: std::ops::RangeInclusive<u64> = 1..=8;

fn check(scenario: &str, seed: u64, set: &[&str], why: &str) {
    let text = scenarios::find(scenario).expect("a shipped scenario");
    let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    let plan = Plan::from_toml(text, scenario, &set).expect("a good scenario");
    let report = sim::run(&plan, seed, &mut |_| {});
    let pass = report.verdict == Verdict::Pass;
    assert!(pass, "{scenario}, seed {seed}, {set:?}: {why}\n{report}");
}

#[test]
fn what_was_found_once_stays_mended() {
    for row in ROWS {
        for seed in row.seeds {
            check(row.scenario, *seed, row.set, row.why);
        }
    }
}

#[test]
fn the_first_seeds_of_every_shipped_scenario_pass() {
    for (scenario, _) in scenarios::SHIPPED {
        for seed in FIRST_SEEDS {
            check(scenario, seed, &[], "one of the first seeds");
        }
    }
}
