//! Many seeds of one scenario, on all cores: what a single run cannot show. `SWARM_SEEDS` sets
//! how many seeds of `churn-24` are run (100 if it is absent); the others get a fifth of them.

mod seeds;

use std::io::Write as _;

use chord_net_sim::report::Report;
use chord_net_sim::sim;
use seeds::{all_pass, nothing_is_lost, plan, seeds_or, sweep};

/// How many seeds of `churn-24` to run.
fn seeds() -> u64 {
    seeds_or(100)
}

#[test]
fn a_hundred_runs_of_churn_break_no_promise() {
    let reports = sweep(&plan("churn-24"), seeds());
    let again = sweep(&plan("churn-24"), seeds());
    for (report, repeated) in reports.iter().zip(&again) {
        let (first, second) = (&report.trace_hash, &repeated.trace_hash);
        assert_eq!(first, second, "seed {} twice", report.seed);
    }
    let total = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    // Past the capture of the test runner: the figures belong into every run's output.
    let figures = format!(
        "{} seeds twice, the same hashes: {} events, {} crashes, {} leaves, {} suspicions, {} lookups, {} failed, \
         {} named another than the owner ({} passed over members apart, {} suspected, {} \
         entering, {} without an excuse), {} records acknowledged, {} losses explained of at most {}, \
         {} quorum reads compared, {} of {} looks at the ring with its invariants in force",
        reports.len(),
        total(|report| report.events),
        total(|report| report.population.crashed),
        total(|report| report.population.left),
        total(|report| report.population.suspected),
        total(|report| report.lookups.total),
        total(|report| report.lookups.failed),
        total(|report| report.lookups.wrong),
        total(|report| report.lookups.wrong_apart),
        total(|report| report.lookups.wrong_suspected),
        total(|report| report.lookups.wrong_entering),
        total(|report| report.lookups.wrong_live + report.lookups.wrong_gone),
        total(|report| report.records.acknowledged),
        total(|report| report.records.lost_explained),
        total(|report| report.records.lost_bound),
        total(|report| report.clients.quorum_reads),
        total(|report| report.ring_checks_in_force),
        total(|report| report.ring_checks),
    );
    writeln!(std::io::stderr(), "{figures}").expect("standard error is open");
    all_pass(&reports);
    assert!(reports.iter().any(|report| report.ring_checks_in_force > 0));
    all_named_the_owner(&reports);
}

/// Whoever answers for the span of another breaks a promise.
fn all_named_the_owner(reports: &[Report]) {
    let inexcusable = |report: &&Report| report.lookups.wrong_live + report.lookups.wrong_gone > 0;
    let seeds: Vec<u64> = reports.iter().filter(inexcusable).map(|r| r.seed).collect();
    assert_eq!(
        seeds,
        [],
        "a lookup named another than the owner, without an excuse"
    );
}

#[test]
fn runs_with_power_cuts_and_clock_jumps_lose_nothing_and_no_quorum_read_goes_back() {
    nothing_is_lost("power-cuts", seeds().div_ceil(5));
}

#[test]
fn a_blackout_of_the_whole_cluster_loses_nothing_and_denies_nothing() {
    let reports = sweep(&plan("blackout"), seeds().div_ceil(5).max(60));
    let torn: u64 = reports.iter().map(|r| r.population.writes_torn).sum();
    assert!(torn > 0);
    all_pass(&reports);
    all_named_the_owner(&reports);
    // The first, and one after each of three blackouts: never two at once.
    let twice = reports.iter().filter(|r| r.population.founded != 4);
    let seeds: Vec<u64> = twice.map(|r| r.seed).collect();
    assert_eq!(seeds, [], "two rings after a blackout");
}

#[test]
fn a_run_repeated_is_the_same_event_by_event() {
    let plan = plan("churn-24");
    for seed in [1, 2] {
        let twice = sim::twice(&plan, seed, &mut |_| {});
        assert!(
            matches!(twice, sim::Twice::Same(_)),
            "seed {seed}: {twice:?}"
        );
    }
}
