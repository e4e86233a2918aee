//! Random walks, one seed after the other, on all cores: `walk STEPS [FIRST_SEED]`; `walk story
//! SEED` tells one. Ends with 1 if a claim was broken.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use chord_net_sim::walk::{Sum, Walk};

const USAGE: &str = "usage: walk STEPS [FIRST_SEED] | walk story SEED";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|arg| arg.parse::<u64>().ok());
    if args.first().is_some_and(|arg| arg == "story")
        && let Some(seed) = number(1)
    {
        Walk::of(seed)
            .story()
            .iter()
            .for_each(|line| println!("{line}"));
        println!("{:?}", Walk::of(seed).run());
        return ExitCode::SUCCESS;
    }
    let Some(steps) = number(0) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    let first = number(1).unwrap_or(1);
    let begun = Instant::now();
    let (sum, broken) = walk(steps, first);
    println!("{sum}; {:.0} s", begun.elapsed().as_secs_f64());
    for (seed, what) in &broken {
        println!("BROKEN seed {seed}: {what}");
    }
    match broken.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    }
}

/// Walks until so many steps are taken.
fn walk(steps: u64, first: u64) -> (Sum, Vec<(u64, String)>) {
    let (next, full) = (AtomicU64::new(first), AtomicBool::new(false));
    let met = Mutex::new((Sum::default(), Vec::new()));
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores {
            scope.spawn(|| {
                while !full.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let walked = Walk::of(seed).run();
                    let Ok(mut met) = met.lock() else { return };
                    if let Some(what) = &walked.violation {
                        met.1.push((seed, what.clone()));
                    }
                    met.0.add(&walked);
                    full.store(met.0.steps >= steps || met.1.len() > 20, Ordering::Relaxed);
                }
            });
        }
    });
    met.into_inner().unwrap_or_default()
}
