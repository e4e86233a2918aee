//! Replays a scenario and prints what chosen hosts did in a window of time; with a range of
//! seeds (`1..20`), runs them all and counts broken promises by name.
//!
//! `cargo run -p chord-net-sim --example replay -- SCENARIO SEED|A..B [--from S] [--to S]
//! [--node N]… [--set KEY=VALUE]… [--last LINES] [--twice]`; SCENARIO is the name of a
//! shipped one or a file. Without a window only the report is printed.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chord_net_sim::plan::Plan;
use chord_net_sim::report::Verdict;
use chord_net_sim::trace::{self, Watch};
use chord_net_sim::{scenarios, sim};

const USAGE: &str = "usage: replay SCENARIO SEED|A..B [--from SECONDS] [--to SECONDS] [--node N]… \
                     [--set KEY=VALUE]… [--last LINES] [--twice]";

struct Wanted {
    scenario: String,
    seed: u64,
    last_seed: u64,
    watch: Option<Watch>,
    overrides: Vec<String>,
    last: usize,
    twice: bool,
}

fn wanted(mut args: impl Iterator<Item = String>) -> Option<Wanted> {
    let (scenario, seeds) = (args.next()?, args.next()?);
    let (seed, last_seed) = seeds.split_once("..").unwrap_or((&seeds, &seeds));
    let mut wanted = Wanted {
        scenario,
        seed: seed.parse().ok()?,
        last_seed: last_seed.parse().ok()?,
        watch: None,
        overrides: Vec::new(),
        last: usize::MAX,
        twice: false,
    };
    while let Some(option) = args.next() {
        if option == "--twice" {
            wanted.twice = true;
            continue;
        }
        let value = args.next()?;
        let watch = || Watch::all();
        match option.as_str() {
            "--from" => wanted.watch.get_or_insert_with(watch).from = micros(&value)?,
            "--to" => wanted.watch.get_or_insert_with(watch).to = micros(&value)?,
            "--node" => wanted
                .watch
                .get_or_insert_with(watch)
                .hosts
                .push(value.parse().ok()?),
            "--set" => wanted.overrides.push(value),
            "--last" => wanted.last = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(wanted)
}

fn micros(seconds: &str) -> Option<u64> {
    let seconds: f64 = seconds.parse().ok()?;
    Some((seconds * 1e6) as u64)
}

fn main() -> ExitCode {
    let Some(wanted) = wanted(std::env::args().skip(1)) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    let text = match scenarios::find(&wanted.scenario) {
        Some(text) => text.to_owned(),
        None => match std::fs::read_to_string(&wanted.scenario) {
            Ok(text) => text,
            Err(error) => {
                println!("{}: {error}", wanted.scenario);
                return ExitCode::from(2);
            }
        },
    };
    let plan = match Plan::from_toml(&text, &wanted.scenario, &wanted.overrides) {
        Ok(plan) => plan,
        Err(error) => {
            println!("{error}");
            return ExitCode::from(2);
        }
    };
    if wanted.last_seed > wanted.seed {
        return sweep(&plan, wanted.seed, wanted.last_seed);
    }
    if wanted.twice {
        let twice = sim::twice(&plan, wanted.seed, &mut |_| {});
        if let sim::Twice::Differs {
            event,
            first,
            second,
        } = twice
        {
            println!("event {event} differs");
            trace::print(&first, usize::MAX);
            println!("and in the second run");
            trace::print(&second, usize::MAX);
            return ExitCode::from(5);
        }
        println!("the same twice");
    }
    let report = match wanted.watch {
        Some(watch) => {
            let (report, lines) = sim::replay(&plan, wanted.seed, watch);
            trace::print(&lines, wanted.last);
            report
        }
        None => sim::run(&plan, wanted.seed, &mut |_| {}),
    };
    print!("{report}");
    match report.verdict {
        Verdict::Pass => ExitCode::SUCCESS,
        Verdict::Fail => ExitCode::from(5),
        Verdict::Vacuous => ExitCode::from(6),
    }
}

/// Runs a range of seeds on all cores: a line for each, and what broke how often.
fn sweep(plan: &Plan, first: u64, last: u64) -> ExitCode {
    let next = AtomicU64::new(first);
    let broken: Mutex<BTreeMap<String, (u64, u64)>> = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last {
                        return;
                    }
                    let report = sim::run(plan, seed, &mut |_| {});
                    let mut kinds = BTreeMap::new();
                    for violation in &report.violations {
                        *kinds.entry(violation.invariant.clone()).or_insert(0) += 1;
                    }
                    println!(
                        "{} seed {seed}: ideal after {:?} s, {} ({} at rest) suspected, lookups {}/{}/{} (wrong: apart {} susp {} entering {} live {} gone {}), {} events {:.1} s: {kinds:?}",
                        report.verdict,
                        report.converged_seconds,
                        report.population.suspected,
                        report.population.suspected_at_rest,
                        report.lookups.ok,
                        report.lookups.wrong,
                        report.lookups.failed,
                        report.lookups.wrong_apart,
                        report.lookups.wrong_suspected,
                        report.lookups.wrong_entering,
                        report.lookups.wrong_live,
                        report.lookups.wrong_gone,
                        report.events,
                        report.wall_seconds,
                    );
                    let mut broken = broken.lock().expect("no thread panics while it counts");
                    for (kind, count) in kinds {
                        let entry = broken.entry(kind).or_insert((0, 0));
                        *entry = (entry.0 + 1, entry.1 + count);
                    }
                }
            });
        }
    });
    let broken = broken
        .into_inner()
        .expect("no thread panics while it counts");
    for (kind, (runs, count)) in &broken {
        println!("{kind}: {count} in {runs} runs");
    }
    if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(5)
    }
}
