//! The only wall clock of the workspace.
//!
//! The core never reads a clock; it is handed [`Now`] with every event. `mono` counts from
//! the first reading in this process, so that all nodes of a process share one axis.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chord_core::time::{Instant, Micros, Now};

/// When this process first asked for the time.
static START: OnceLock<std::time::Instant> = OnceLock::new();

fn start() -> std::time::Instant {
    *START.get_or_init(std::time::Instant::now)
}

/// Both clocks, now. `mono` is microseconds since the first reading of this process.
#[must_use]
pub fn now() -> Now {
    Now {
        mono: mono(),
        wall: wall(),
    }
}

/// The monotonic clock alone: what deadlines are measured with.
#[must_use]
pub fn mono() -> Instant {
    Instant(micros(start().elapsed()))
}

/// Microseconds since the Unix epoch; 0 if the clock is set before it.
#[must_use]
pub fn wall() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, micros)
}

/// The runtime's instant for one of ours, for timers.
#[must_use]
pub fn at(instant: Instant) -> tokio::time::Instant {
    let start = tokio::time::Instant::from_std(start());
    // A deadline beyond what the runtime can represent is as good as none.
    start
        .checked_add(Duration::from_micros(instant.0))
        .unwrap_or_else(|| start + Duration::from_secs(86_400 * 365))
}

/// A length of time as the standard library's.
#[must_use]
pub fn duration(length: Micros) -> Duration {
    Duration::from_micros(length.0)
}

/// A moment given in seconds since the Unix epoch.
#[must_use]
pub fn since_epoch(seconds: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(UNIX_EPOCH)
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_runs_backwards() {
        let first = now();
        let second = now();
        assert!(first.mono <= second.mono);
    }

    #[test]
    fn timers_accept_every_instant() {
        assert!(at(Instant(u64::MAX)) > at(Instant(0)));
        assert_eq!(at(Instant(7)) - at(Instant(0)), Duration::from_micros(7));
    }
}
