//! Running a scenario.
//!
//! ```text
//! 0 ── bootstrap, warm-up ──▶ duration: churn, faults, work ──▶ quiet ──▶ final checks
//! ```

mod churn;
mod entry;
mod execute;
mod finish;
mod inspect;
mod life;
mod trouble;
mod work;
mod world;

use std::time::Instant;

pub use world::World;

use crate::plan::Plan;
use crate::report::Report;
use crate::trace::{Trace, Watch};

/// How far a run is, for a progress bar.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Progress {
    /// Simulated so far, in seconds.
    pub simulated_seconds: f64,
    /// To be simulated in all.
    pub total_seconds: f64,
    /// Events handled so far.
    pub events: u64,
    /// Members at the moment.
    pub members: usize,
}

/// Runs a scenario to its end. The result depends on the plan and the seed alone, except
/// for the real time it took.
pub fn run(plan: &Plan, seed: u64, progress: &mut dyn FnMut(Progress)) -> Report {
    let mut world = World::new(plan, seed);
    complete(&mut world, progress)
}

/// Runs a scenario and writes down the events that `watch` chooses.
pub fn replay(plan: &Plan, seed: u64, watch: Watch) -> (Report, Vec<String>) {
    let mut world = World::new(plan, seed);
    world.trace_mut().watch(watch);
    let report = complete(&mut world, &mut |_| {});
    (report, world.trace().lines().to_vec())
}

/// What two runs of one scenario with one seed have in common.
#[derive(Clone, PartialEq, Debug)]
pub enum Twice {
    /// Everything: the report of the first.
    Same(Box<Report>),
    /// Not everything: a defect of the simulator or of the core.
    Differs {
        /// The number of the first event that differs, counted from 0.
        event: u64,
        /// What it was in the first run; empty if it ended before.
        first: Vec<String>,
        /// What it was in the second run.
        second: Vec<String>,
    },
}

/// Runs a scenario twice and compares each event.
pub fn twice(plan: &Plan, seed: u64, progress: &mut dyn FnMut(Progress)) -> Twice {
    let mut logged = |trace: &mut Trace| trace.keep_log();
    let (report, one) = traced(plan, seed, &mut logged, progress);
    let (_, other) = traced(plan, seed, &mut logged, progress);
    let Some(event) = one.first_difference(&other) else {
        return Twice::Same(Box::new(report));
    };
    let mut watched = |trace: &mut Trace| trace.watch(Watch::event(event));
    let (_, one) = traced(plan, seed, &mut watched, progress);
    let (_, other) = traced(plan, seed, &mut watched, progress);
    Twice::Differs {
        event,
        first: one.lines().to_vec(),
        second: other.lines().to_vec(),
    }
}

fn traced(
    plan: &Plan,
    seed: u64,
    prepare: &mut dyn FnMut(&mut Trace),
    progress: &mut dyn FnMut(Progress),
) -> (Report, Trace) {
    let mut world = World::new(plan, seed);
    prepare(world.trace_mut());
    let report = complete(&mut world, progress);
    (report, world.trace().clone())
}

/// Time between two reports of progress, in simulated microseconds.
const PROGRESS_EVERY: u64 = 5_000_000;

fn complete(world: &mut World, progress: &mut dyn FnMut(Progress)) -> Report {
    let started = Instant::now();
    let mut next = PROGRESS_EVERY;
    while !world.is_finished() && world.step() {
        if world.now() >= next {
            next = world.now() + PROGRESS_EVERY;
            progress(world.progress());
        }
    }
    let mut report = world.report();
    report.wall_seconds = started.elapsed().as_secs_f64();
    report.events_per_second = report.events as f64 / report.wall_seconds.max(1e-9);
    report
}

#[cfg(test)]
mod tests;
