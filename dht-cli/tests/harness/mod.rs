//! Real processes on this machine: what the end-to-end tests are made of.
//!
//! ```text
//! Cluster ── ca init, cert issue ──▶ files of each node in a temporary directory
//!         ── node run -c nX.ini ───▶ Process: a child, its log, killed on drop by its id
//!         ── ring check ───────────▶ the judge: the same command that people run
//! Http, Tcp ── blocking, one connection each, a deadline on every call
//! ```
//!
//! Nothing here sleeps for a fixed time in the hope that something has happened: [`until`]
//! asks until it has, or fails with what it saw last.

// Each test binary uses another part of this.
#![allow(dead_code, unreachable_pub)]

pub mod cluster;
pub mod http;
pub mod ports;
pub mod process;
pub mod sources;
pub mod tcp;
pub mod tmpfs;

use std::io::Write as _;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Asks `look` until it answers, and says how long that took.
///
/// # Panics
/// With what `look` said last, when the deadline has passed.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> (T, Duration) {
    let begin = Instant::now();
    loop {
        match look() {
            Ok(value) => return (value, begin.elapsed()),
            Err(seen) if begin.elapsed() > deadline => {
                panic!("{what}: not within {deadline:?}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// Prints a figure with its gate, and fails if the gate is missed.
///
/// # Panics
/// When the figure is above the gate.
pub fn gate(what: &str, took: Duration, limit: Duration) {
    // Past the capture of the test runner: figures belong into every run's output.
    let figure = format!(
        "{what}: {:.2} s (gate: {:.0} s)",
        took.as_secs_f64(),
        limit.as_secs_f64()
    );
    writeln!(std::io::stderr(), "{figure}").expect("standard error is open");
    assert!(took <= limit, "{what}: {took:?}, more than {limit:?}");
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
