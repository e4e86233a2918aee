//! Whether this host's wall clock is that of the ring it enters.
//!
//! ```text
//! new ── Neighbours ──▶ hosts     their wall clocks, beside our own
//!        most of them an hour from ours, and together? ──▶ ClockOff
//! ```
//!
//! What a host stored before it went down has a lifetime that only the wall clock carries over:
//! one that starts with a clock years ahead takes everything for expired, and would deny and
//! bury it as the owner. So a process compares before it is a member and stores anything. Later
//! its lifetimes follow the monotonic clock alone, and versions have a watch of their own
//! (`clock`).
//!
//! The word of others only ever gives time back: a member that lies could otherwise make whoever
//! restarts bury all it has. Each host has one voice, its latest.
//!
//! **Invariant:** who agrees with half of the hosts heard is not off.

use alloc::vec::Vec;

use crate::peer::Addr;
use crate::time::{Micros, Now};

/// Clocks this close to each other agree.
const NEAR: Micros = Micros::from_secs(3_600);
/// Hosts compared.
const HEARD_MAX: usize = 64;

/// By how many microseconds our wall clock was ahead of each host that was heard.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    /// The store counted the time away by the wall clock of this moment; steps since then, as of
    /// a time service that comes up late, say nothing of that.
    began: Now,
    ahead: Vec<(Addr, i64)>,
    told: i64,
    /// Something was stored.
    closed: bool,
}

impl Clocks {
    pub(crate) fn new(began: Now) -> Self {
        Self {
            began,
            ahead: Vec::new(),
            told: 0,
            closed: false,
        }
    }

    /// The host at `from` shows its wall clock, if it tells.
    pub(crate) fn heard(&mut self, from: Addr, wall: Option<u64>, now: Now) {
        let Some(wall) = wall else {
            return;
        };
        let passed = now.mono.since(self.began.mono);
        let ahead = difference(self.began.wall.saturating_add(passed.0), wall);
        if let Some(known) = self.ahead.iter_mut().find(|known| known.0 == from) {
            known.1 = ahead;
        } else if self.ahead.len() < HEARD_MAX {
            self.ahead.push((from, ahead));
        }
    }

    /// What must be told now: by how many microseconds we are ahead of most hosts heard, behind
    /// if negative, 0 if no longer; `None` if that has been told.
    pub(crate) fn news(&mut self) -> Option<i64> {
        let off = self.off();
        if self.closed || is_near(off, self.told) {
            return None;
        }
        self.told = off;
        Some(off)
    }

    /// Something is stored by the clock as it is now: the comparison is over.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// 0: half of them agree with us, or most of them do not agree with each other.
    fn off(&self) -> i64 {
        let mut sorted: Vec<i64> = self.ahead.iter().map(|&(_, ahead)| ahead).collect();
        sorted.sort_unstable();
        let Some(&middle) = sorted.get(sorted.len() / 2) else {
            return 0;
        };
        let with_it = sorted.iter().filter(|&&ahead| is_near(ahead, middle));
        if with_it.count() * 2 <= sorted.len() || is_near(middle, 0) {
            return 0;
        }
        middle
    }
}

fn is_near(one: i64, other: i64) -> bool {
    one.abs_diff(other) <= NEAR.0
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

    fn heard(ours: u64, theirs: &[u64]) -> Clocks {
        let now = Now {
            mono: Instant(0),
            wall: ours,
        };
        let mut clocks = Clocks::new(now);
        for (at, wall) in (0..).zip(theirs) {
            clocks.heard(Addr::v4(10, 0, 0, at, 1), Some(*wall), now);
        }
        clocks.heard(Addr::v4(10, 0, 1, 0, 1), None, now);
        clocks
    }

    fn off(ours: u64, theirs: &[u64]) -> i64 {
        heard(ours, theirs).off()
    }

    #[test]
    fn a_clock_that_most_others_contradict_is_off() {
        assert_eq!(off(TRUE + YEAR, &[TRUE]), YEAR as i64);
        assert_eq!(off(TRUE - YEAR, &[TRUE, TRUE + 5]), -(YEAR as i64));
        assert_eq!(off(0, &[u64::MAX; 3]), -i64::MAX);
        let one_agrees = [TRUE, TRUE + 1, TRUE + YEAR];
        assert_eq!(off(TRUE + YEAR, &one_agrees), YEAR as i64 - 1);
    }

    #[test]
    fn a_clock_that_half_of_them_share_is_not_nor_is_it_if_they_contradict_each_other() {
        assert_eq!(off(TRUE, &[]), 0, "nobody was heard");
        assert_eq!(off(TRUE + NEAR.0, &[TRUE]), 0, "an hour is near");
        assert_eq!(off(TRUE, &[TRUE + YEAR, TRUE]), 0);
        assert_eq!(off(TRUE, &[TRUE + YEAR, TRUE - YEAR, TRUE + 7]), 0);
        assert_eq!(off(TRUE, &[TRUE + YEAR, TRUE + 2 * YEAR]), 0);
    }

    #[test]
    fn a_host_has_one_voice_and_what_is_news_is_told_once() {
        let mut clocks = heard(TRUE, &[TRUE + YEAR]);
        let now = Now {
            mono: Instant(0),
            wall: TRUE,
        };
        let (liar, other) = (Addr::v4(10, 0, 0, 0, 1), Addr::v4(10, 0, 0, 9, 1));
        clocks.heard(liar, Some(TRUE + YEAR), now);
        assert_eq!(clocks.news(), Some(-(YEAR as i64)));
        assert_eq!(clocks.news(), None);
        clocks.heard(other, Some(TRUE), now);
        assert_eq!(clocks.news(), Some(0));
        assert_eq!(clocks.news(), None);
        clocks.heard(other, Some(TRUE + YEAR), now);
        clocks.close();
        assert_eq!(clocks.news(), None, "something was stored");
    }

    #[test]
    fn it_is_the_clock_at_the_start_that_counts() {
        let mut clocks = heard(TRUE + YEAR, &[]);
        let stepped = Now {
            mono: Instant(10),
            wall: TRUE + 10,
        };
        clocks.heard(Addr::v4(10, 0, 0, 1, 1), Some(TRUE + 10), stepped);
        assert_eq!(clocks.off(), YEAR as i64);
    }
}
