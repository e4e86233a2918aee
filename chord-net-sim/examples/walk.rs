//! Random walks, one seed after the other, on all cores: `walk STEPS [FIRST_SEED]`; `walk story
//! SEED` tells one. Ends with 1 if a claim was broken.

use std::process::ExitCode;
use std::time::Instant;

use chord_net_sim::walk::{Walk, many};

const USAGE: &str = "usage: walk STEPS [FIRST_SEED] | walk story SEED";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let numbers: Option<Vec<u64>> = words.iter().map(|word| word.parse().ok()).collect();
    match words[..] {
        ["story", seed] => match seed.parse() {
            Ok(seed) => tell(seed),
            Err(_) => usage(),
        },
        _ => match numbers.as_deref() {
            Some([steps]) => walk(*steps, 1),
            Some([steps, first]) => walk(*steps, *first),
            _ => usage(),
        },
    }
}

fn usage() -> ExitCode {
    println!("{USAGE}");
    ExitCode::from(2)
}

fn tell(seed: u64) -> ExitCode {
    for line in Walk::of(seed).story() {
        println!("{line}");
    }
    walked(Walk::of(seed).run().violation.map(|what| (seed, what)))
}

/// Walks until so many steps are taken.
fn walk(steps: u64, first: u64) -> ExitCode {
    let begun = Instant::now();
    let (sum, broken) = many((first, u64::MAX), steps, Walk::of);
    println!("{sum}; {:.0} s", begun.elapsed().as_secs_f64());
    walked(broken)
}

fn walked(broken: impl IntoIterator<Item = (u64, String)>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (seed, what) in broken {
        println!("BROKEN seed {seed}: {what}");
        code = ExitCode::from(1);
    }
    code
}
