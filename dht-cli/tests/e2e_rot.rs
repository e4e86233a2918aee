//! Rot among processes: bits that flip and pages that vanish in the store of one node of five.
//!
//! ```text
//! place: SIGTERM, damage, start · SIGKILL, damage, start · damage, reads, SIGKILL, start
//!    ─▶ every key through every member, again and again, until the damaged one is whole
//! ```
//!
//! One place at a time in each ring, several rings side by side, since most of the time is
//! waiting. No answer may be a wrong value, nor "not found" for a key that is there; a process
//! that ends by itself must have said why, and is started again as a supervisor would. Whole
//! means: a member, settled, no copies missing, at least as many records as it should hold,
//! each of them verified by its own walk, and the ring right. In the end all are killed at the
//! same moment, and their files are read record by record: each must hold what it should.
//!
//! Prints its figures and panics (exit code 101) when one of them is no zero. Not part of a
//! plain `cargo test`: `cargo test -p dht-cli --test e2e_rot`. `DHT_ROT_PLACES` (200),
//! `DHT_ROT_RINGS` (4) and `DHT_ROT_SEED` (1) say how much, how, and where.

// The parts are files of a test, not an interface.
#![allow(unreachable_pub)]

mod harness;

#[path = "e2e_rot/audit.rs"]
mod audit;
// Shared with the harness of crashes, which uses more of it.
#[allow(dead_code)]
#[path = "e2e_crash/chance.rs"]
mod chance;
#[path = "e2e_rot/place.rs"]
mod place;
#[path = "e2e_rot/records.rs"]
mod records;
#[path = "e2e_rot/ring.rs"]
mod ring;

use std::time::Instant;

use ring::{Figures, Ring};

fn main() {
    let begun = Instant::now();
    let places = number("DHT_ROT_PLACES", 200);
    let rings = number("DHT_ROT_RINGS", 4).clamp(1, places.max(1));
    let seed = number("DHT_ROT_SEED", 1);
    println!("{places} places in {rings} rings of 5, seed {seed}");
    let figures: Vec<Result<Figures, String>> = std::thread::scope(|scope| {
        let share = |at: usize| places / rings + usize::from(at < places % rings);
        let threads: Vec<_> = (0..rings)
            .map(|at| scope.spawn(move || Ring::new(at, seed as u64).suffer(share(at))))
            .collect();
        let ended = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            let broken_off = |_| Err("a ring broke off, see above".to_owned());
            thread.join().unwrap_or_else(broken_off)
        };
        threads.into_iter().map(ended).collect()
    });
    let mut total = Figures::default();
    let mut failures = Vec::new();
    for figures in figures {
        match figures {
            Ok(figures) => total.add(&figures),
            Err(why) => failures.push(why),
        }
    }
    total.print();
    failures.iter().for_each(|why| println!("FAIL {why}"));
    assert!(
        failures.is_empty() && total.is_clean() && total.places == places,
        "e2e_rot failed after {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    println!("e2e_rot passed in {:.0} s", begun.elapsed().as_secs_f64());
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}
