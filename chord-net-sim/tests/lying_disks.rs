//! The oracle's negative controls: disks that lie. A scenario that passes with honest disks must
//! fail, with acknowledged writes that are gone and no failure that explains it, when disks
//! answer before their writes are durable.

use chord_net_sim::plan::Plan;
use chord_net_sim::report::{Report, Verdict};
use chord_net_sim::{scenarios, sim};

/// Few seeds are enough: the power of all hosts is cut twelve times in each.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;
/// Each cut finds writes under way.
const CUTS: &str = "fault=[{ at = \"20s\", for = \"2s\", spread = \"4s\", every = \"22s\", times = 12, \
                    kind = \"crash\", nodes = \"all\", disk = \"torn\" }]";

/// The scenario in which nothing may be lost at all: every host comes back, with its disk.
fn blackouts(sync: &str) -> Vec<Report> {
    let text = scenarios::find("blackout").expect("a shipped scenario");
    let set = [
        CUTS.to_owned(),
        // Slow, and fast enough for what is asked of it: no queue grows without end.
        "disk.write=\"70ms\"".to_owned(),
        // So many keys that hardly one is written again after it was lost.
        "work.records.count=2000".to_owned(),
        "work.records.mix.put=6".to_owned(),
        format!("disk.sync=\"{sync}\""),
    ];
    let plan = Plan::from_toml(text, "blackout", &set).expect("a good scenario");
    let reports = SEEDS.map(|seed| sim::run(&plan, seed, &mut |_| {}));
    reports.collect()
}

fn unexplained(report: &Report) -> u64 {
    report.records.lost_unexplained
}

#[test]
fn disks_that_are_never_synced_lose_what_was_acknowledged_and_it_is_reported() {
    for report in blackouts("never") {
        assert_eq!(report.verdict, Verdict::Fail, "{report}");
        assert!(unexplained(&report) > 0, "{report}");
    }
}

#[test]
fn replies_before_the_commit_lose_what_was_acknowledged_and_it_is_reported() {
    let reports = blackouts("after");
    let lost = |report: &&Report| report.verdict == Verdict::Fail && unexplained(report) > 0;
    let found = reports.iter().filter(lost).count();
    println!("{found} of {} runs report losses", reports.len());
    assert!(found > 0, "{}", reports[0]);
}

#[test]
fn disks_that_answer_when_they_are_done_lose_nothing() {
    let reports = blackouts("before");
    for report in &reports {
        assert_eq!(report.verdict, Verdict::Pass, "{report}");
    }
    assert!(
        reports
            .iter()
            .any(|report| report.population.writes_torn > 0)
    );
}
