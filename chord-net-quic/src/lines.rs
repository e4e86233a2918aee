//! Lines of the log that somebody else can provoke: so many in a period and no more, for who
//! floods us must not fill the disk with it.

use std::sync::atomic::{AtomicU64, Ordering};

use chord_core::time::{Instant, Micros};

/// Lines logged in one period.
const LINES_MAX: u64 = 32;
/// Length of a period.
const PERIOD: Micros = Micros::from_secs(10);

/// One kind of line.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    period: AtomicU64,
    lines: AtomicU64,
}

/// Whether a line may be logged, and what must be said before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Leave {
    /// Log it.
    pub(crate) granted: bool,
    /// Lines that an earlier period kept back; to be told once.
    pub(crate) kept_back: u64,
}

impl Lines {
    /// Asks to log one more line.
    pub(crate) fn ask(&self, now: Instant) -> Leave {
        let period = now.0 / PERIOD.0;
        let mut kept_back = 0;
        if self.period.swap(period, Ordering::Relaxed) != period {
            let asked = self.lines.swap(0, Ordering::Relaxed);
            kept_back = asked.saturating_sub(LINES_MAX);
        }
        let granted = self.lines.fetch_add(1, Ordering::Relaxed) < LINES_MAX;
        Leave { granted, kept_back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_period_are_granted_and_the_next_period_tells_of_the_rest() {
        let lines = Lines::default();
        let at = |seconds| Instant(1) + Micros::from_secs(seconds);
        for n in 0..LINES_MAX + 5 {
            let leave = lines.ask(at(0));
            assert_eq!(leave.granted, n < LINES_MAX);
            assert_eq!(leave.kept_back, 0);
        }
        let leave = lines.ask(at(10));
        assert_eq!((leave.granted, leave.kept_back), (true, 5));
        assert_eq!(lines.ask(at(10)).kept_back, 0, "told once");
    }
}
