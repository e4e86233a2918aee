//! Whether this host's wall clock is that of the ring it enters.
//!
//! ```text
//! new ── Neighbours ──▶ members     their wall clocks, beside our own
//!        all an hour off, and most of them together? ──▶ ClockOff
//! ```
//!
//! What a host stored before it went down has a lifetime that only the wall clock carries over:
//! one that starts with a clock years ahead takes everything for expired, and would deny and
//! bury it as the owner. So a process compares, before it is a member for the first time and
//! stores anything. Later its lifetimes follow the monotonic clock alone, and versions have a
//! watch of their own (`clock`).
//!
//! **Invariant:** who agrees with anybody heard is not off.

use alloc::vec::Vec;

use crate::time::{Micros, Now};

/// Clocks this close to each other agree.
const NEAR: Micros = Micros::from_secs(3_600);
/// Clocks compared.
const HEARD_MAX: usize = 64;

/// By how many microseconds our wall clock was ahead of each member that was heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clocks {
    ahead: Vec<i64>,
}

impl Clocks {
    /// A member shows its wall clock, if it tells.
    pub(crate) fn heard(&mut self, wall: Option<u64>, now: Now) {
        if let Some(wall) = wall
            && self.ahead.len() < HEARD_MAX
        {
            self.ahead.push(difference(now.wall, wall));
        }
    }

    /// By how many microseconds we are ahead of most of those heard, behind if negative; `None`:
    /// somebody agrees with us, or they do not agree with each other.
    pub(crate) fn off(&self) -> Option<i64> {
        let near = |one: i64, other: i64| one.abs_diff(other) <= NEAR.0;
        if self.ahead.iter().any(|&ahead| near(ahead, 0)) {
            return None;
        }
        let mut sorted = self.ahead.clone();
        sorted.sort_unstable();
        let middle = *sorted.get(sorted.len() / 2)?;
        let with_it = sorted.iter().filter(|&&ahead| near(ahead, middle)).count();
        (with_it * 2 > sorted.len()).then_some(middle)
    }
}

fn difference(one: u64, other: u64) -> i64 {
    let size = i64::try_from(one.abs_diff(other)).unwrap_or(i64::MAX);
    if one < other { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    const YEAR: u64 = 365 * 24 * 3_600 * 1_000_000;
    const TRUE: u64 = 1 << 50;

    fn off(ours: u64, theirs: &[u64]) -> Option<i64> {
        let mut clocks = Clocks::default();
        let now = Now {
            mono: Instant(0),
            wall: ours,
        };
        for wall in theirs {
            clocks.heard(Some(*wall), now);
        }
        clocks.heard(None, now);
        clocks.off()
    }

    #[test]
    fn a_clock_that_all_others_contradict_is_off() {
        assert_eq!(off(TRUE + YEAR, &[TRUE]), Some(YEAR as i64));
        assert_eq!(off(TRUE - YEAR, &[TRUE, TRUE + 5]), Some(-(YEAR as i64)));
        assert_eq!(off(0, &[u64::MAX; 3]), Some(-i64::MAX));
        let far = [TRUE, TRUE, TRUE + 3 * YEAR];
        assert_eq!(off(TRUE + YEAR, &far), Some(YEAR as i64));
    }

    #[test]
    fn a_clock_that_anybody_shares_is_not_nor_is_it_if_they_contradict_each_other() {
        assert_eq!(off(TRUE, &[]), None, "nobody was heard");
        assert_eq!(off(TRUE + NEAR.0, &[TRUE]), None, "an hour is near");
        assert_eq!(off(TRUE, &[TRUE + YEAR, TRUE - YEAR, TRUE + 7]), None);
        assert_eq!(off(TRUE, &[TRUE + YEAR, TRUE + 2 * YEAR]), None);
    }
}
