//! Many seeds of one scenario, on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chord_net_sim::plan::Plan;
use chord_net_sim::report::{Report, Verdict};
use chord_net_sim::{scenarios, sim};

/// A shipped scenario.
pub(crate) fn plan(name: &str) -> Plan {
    let text = scenarios::find(name).expect("a shipped scenario");
    Plan::from_toml(text, name, &[]).expect("shipped scenarios are valid")
}

/// Runs every seed of `1..=last`; the reports in order of their seeds.
pub(crate) fn sweep(plan: &Plan, last: u64) -> Vec<Report> {
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
pub(crate) fn all_pass(reports: &[Report]) {
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

/// How many seeds to run: `SWARM_SEEDS`, or what is said here.
pub(crate) fn seeds_or(default: u64) -> u64 {
    let wanted = std::env::var("SWARM_SEEDS").ok();
    wanted.map_or(default, |wanted| {
        wanted.parse().expect("SWARM_SEEDS is a number")
    })
}

/// Runs in which power is cut and clocks leap: prints the figures, which belong into every
/// run's output and therefore past the capture of the test runner, and fails if one did not
/// pass or nothing was put to the test.
pub(crate) fn nothing_is_lost(name: &str, last: u64) -> Vec<Report> {
    use std::io::Write as _;
    let reports = sweep(&plan(name), last);
    let total = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    let figures = format!(
        "{} seeds of {name}: {} events, {} crashes, {} unsynced writes torn and {} not, {} clocks \
         doubted, {} records acknowledged, {} losses explained of at most {}, {} unexplained, \
         {} quorum reads compared and {} not, because of a partition",
        reports.len(),
        total(|report| report.events),
        total(|report| report.population.crashed),
        total(|report| report.population.writes_torn),
        total(|report| report.population.writes_outlived),
        total(|report| report.population.clocks_doubted),
        total(|report| report.records.acknowledged),
        total(|report| report.records.lost_explained),
        total(|report| report.records.lost_bound),
        total(|report| report.records.lost_unexplained),
        total(|report| report.clients.quorum_reads),
        total(|report| report.clients.quorum_excused),
    );
    writeln!(std::io::stderr(), "{figures}").expect("standard error is open");
    all_pass(&reports);
    assert_eq!(total(|report| report.records.lost_unexplained), 0);
    assert!(total(|report| report.population.writes_torn) > 0);
    assert!(total(|report| report.population.writes_outlived) > 0);
    assert!(total(|report| report.clients.quorum_reads) > 0);
    reports
}
