//! Five hundred runs in which power is cut and wall clocks leap by up to ten years: nothing that
//! was acknowledged is lost but what wiped disks explain, and no quorum read goes back. Run by
//! name, in the release profile; `SWARM_SEEDS` sets another number.

mod seeds;

use seeds::{nothing_is_lost, seeds_or};

#[test]
fn five_hundred_runs_with_power_cuts_and_leaping_clocks_lose_nothing() {
    let reports = nothing_is_lost("leaping-clocks", seeds_or(500));
    let doubted = reports
        .iter()
        .map(|report| report.population.clocks_doubted);
    assert!(doubted.sum::<u64>() > 0, "no leap ahead reached an owner");
    let (lost, bound) = reports.iter().fold((0, 0), |(lost, bound), report| {
        let records = &report.records;
        assert!(records.lost_explained <= records.lost_bound, "{report}");
        (lost + records.lost_explained, bound + records.lost_bound)
    });
    assert!(lost <= bound && bound > 0, "{lost} of {bound}");
}
