//! Many seeds of one scenario, on all cores: what a single run cannot show. `SWARM_SEEDS` sets
//! how many seeds of `churn-24` are run (100 if it is absent); the others get a fifth of them.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chord_net_sim::plan::Plan;
use chord_net_sim::report::{Report, Verdict};
use chord_net_sim::{scenarios, sim};

fn plan(name: &str) -> Plan {
    let text = scenarios::find(name).expect("a shipped scenario");
    Plan::from_toml(text, name, &[]).expect("shipped scenarios are valid")
}

/// Runs every seed of `1..=last`; the reports in order of their seeds.
fn sweep(plan: &Plan, last: u64) -> Vec<Report> {
    let next = AtomicU64::new(1);
    let reports = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last {
                        break;
                    }
                    let report = sim::run(plan, seed, &mut |_| {});
                    reports.lock().expect("no thread panics").push(report);
                }
            });
        }
    });
    let mut reports = reports.into_inner().expect("no thread panics");
    reports.sort_by_key(|report| report.seed);
    reports
}

/// Fails with the first failing reports and the seeds of all.
fn all_pass(reports: &[Report]) {
    let failed: Vec<&Report> = reports
        .iter()
        .filter(|report| report.verdict != Verdict::Pass)
        .collect();
    for report in failed.iter().take(3) {
        println!("{report}");
    }
    let seeds: Vec<u64> = failed.iter().map(|report| report.seed).collect();
    assert!(
        seeds.is_empty(),
        "{} of {} failed, seeds {seeds:?}",
        seeds.len(),
        reports.len()
    );
}

/// How many seeds of `churn-24` to run.
fn seeds() -> u64 {
    let wanted = std::env::var("SWARM_SEEDS").ok();
    wanted.map_or(100, |wanted| {
        wanted.parse().expect("SWARM_SEEDS is a number")
    })
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
         {} quorum reads compared",
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
    );
    writeln!(std::io::stderr(), "{figures}").expect("standard error is open");
    all_pass(&reports);
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
    let reports = sweep(&plan("power-cuts"), seeds().div_ceil(5));
    let total = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    let figures = format!(
        "{} seeds of power-cuts: {} crashes, {} unsynced writes torn and {} not, {} records \
         acknowledged, {} losses explained of at most {}, {} unexplained, {} quorum reads compared",
        reports.len(),
        total(|report| report.population.crashed),
        total(|report| report.population.writes_torn),
        total(|report| report.population.writes_outlived),
        total(|report| report.records.acknowledged),
        total(|report| report.records.lost_explained),
        total(|report| report.records.lost_bound),
        total(|report| report.records.lost_unexplained),
        total(|report| report.clients.quorum_reads),
    );
    writeln!(std::io::stderr(), "{figures}").expect("standard error is open");
    assert!(total(|report| report.population.writes_torn) > 0);
    assert!(total(|report| report.population.writes_outlived) > 0);
    all_pass(&reports);
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
