//! Two clocks and a disk.
//!
//! While the process runs, lifetimes are instants of the monotonic clock, which begins anew
//! with every process. On disk they are points on an *axis*: the wall clock as it was when the
//! store was made, carried on by the monotonic clock ever since. A step of the wall clock in a
//! running process therefore moves nothing; the [`Pulse`] of the next commit notes where the
//! wall clock stands beside the axis, and that rebases every stored expiry at once, without
//! rewriting any. At the next start the time the process was away is the difference of two
//! readings of the wall clock, both taken after the step.
//!
//! A wall clock that other hosts contradict, and that is ahead of theirs, is corrected by that:
//! the *truth*, carried on by the monotonic clock and noted beside the wall clock. Then time away
//! is also no more than the difference of two truths.
//!
//! ```text
//! axis   ──────────●═══════════○┄┄┄┄┄┄┄┄┄┄●═══════▶   ═ running   ┄ away, by the wall clock
//! wall   ──────────●═══▲step   ○┄┄┄┄┄┄┄┄┄┄●           ○ last pulse: (axis, wall)
//! ```
//!
//! **Invariant:** the axis never runs backwards: what had expired stays expired.

use chord_core::time::{Instant, Now};

/// A wall clock this far from where the last pulse put it has stepped, in microseconds.
/// Slewing by time services stays below it between two pulses.
const STEP: u64 = 1_000_000;

/// The axis of one life of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// The monotonic clock at the start.
    mono: u64,
    /// Where on the axis that was.
    point: u64,
    /// What the wall clock should have shown then, if others contradicted it.
    truth: Option<u64>,
}

/// Where the axis and the wall clock stood at the same moment, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pulse {
    pub(super) axis: u64,
    pub(super) wall: u64,
    /// What the wall clock should have shown, as far as anybody knew.
    pub(super) truth: u64,
}

impl Axis {
    /// The axis from now on, after a process that left this pulse. The second is by how much
    /// the wall clock lies before it, in microseconds: then nobody knows how long nobody ran,
    /// and the axis goes on where it was.
    pub(super) fn resume(last: Option<Pulse>, now: Now) -> (Self, u64) {
        let (point, behind) = match last {
            None => (now.wall, 0),
            Some(last) => (
                last.axis.saturating_add(now.wall.saturating_sub(last.wall)),
                last.wall.saturating_sub(now.wall),
            ),
        };
        let axis = Self {
            mono: now.mono.0,
            point,
            truth: None,
        };
        (axis, behind)
    }

    /// The same, by a wall clock that is so many microseconds ahead of the truth. Time is only
    /// ever given back: of the time away by the wall clock and by the truth, the shorter counts.
    pub(super) fn corrected(last: Pulse, now: Now, ahead: u64) -> Self {
        let (axis, _) = Self::resume(Some(last), now);
        let truth = now.wall.saturating_sub(ahead);
        let point = last.axis.saturating_add(truth.saturating_sub(last.truth));
        Self {
            point: axis.point.min(point),
            truth: Some(truth),
            ..axis
        }
    }

    /// The point of an instant.
    pub(super) fn point(self, at: Instant) -> u64 {
        if at.0 == u64::MAX {
            return u64::MAX; // For ever.
        }
        shift(at.0, self.mono, self.point)
    }

    /// The instant of a point; what lies before the monotonic clock began is its beginning.
    pub(super) fn instant(self, point: u64) -> Instant {
        if point == u64::MAX {
            return Instant(u64::MAX);
        }
        Instant(shift(point, self.point, self.mono))
    }

    /// The pulse of this moment.
    pub(super) fn pulse(self, now: Now) -> Pulse {
        Pulse {
            axis: self.point(now.mono),
            wall: now.wall,
            truth: self
                .truth
                .map_or(now.wall, |truth| shift(now.mono.0, self.mono, truth)),
        }
    }
}

impl Pulse {
    /// Whether the wall clock has stepped between this and a later pulse of the same axis.
    pub(super) fn has_stepped(self, later: Self) -> bool {
        let expected = shift(later.axis, self.axis, self.wall);
        expected.abs_diff(later.wall) > STEP
    }
}

/// `x`, moved as `from` moves to `to`; saturates.
fn shift(x: u64, from: u64, to: u64) -> u64 {
    let moved = i128::from(x) - i128::from(from) + i128::from(to);
    u64::try_from(moved.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;
    const WALL: u64 = 1_700_000_000_000_000;

    fn now(mono: u64, wall: u64) -> Now {
        Now {
            mono: Instant(mono),
            wall,
        }
    }

    #[test]
    fn an_instant_survives_the_way_to_the_disk_and_back() {
        let (axis, _) = Axis::resume(None, now(500, WALL));
        for at in [0, 499, 500, 501, HOUR, u64::MAX] {
            assert_eq!(axis.instant(axis.point(Instant(at))), Instant(at));
        }
    }

    #[test]
    fn a_lifetime_runs_on_while_the_process_is_away() {
        let (axis, _) = Axis::resume(None, now(500, WALL));
        let expires = axis.point(Instant(500 + 2 * HOUR));
        let last = axis.pulse(now(500 + HOUR / 2, WALL + HOUR / 2));
        let (axis, behind) = Axis::resume(Some(last), now(7, WALL + HOUR));
        assert_eq!((axis.instant(expires), behind), (Instant(7 + HOUR), 0));
        let (axis, _) = Axis::resume(Some(last), now(7, WALL + 3 * HOUR));
        assert_eq!(axis.instant(expires), Instant(0), "expired meanwhile");
    }

    #[test]
    fn a_step_of_the_wall_clock_moves_nothing_once_a_pulse_has_seen_it() {
        for years in [-10, 10_i64] {
            let (axis, _) = Axis::resume(None, now(0, WALL));
            let expires = axis.point(Instant(2 * HOUR));
            let first = axis.pulse(now(10, WALL + 10));
            let stepped = WALL.saturating_add_signed(years * 365 * 24 * HOUR as i64);
            let later = axis.pulse(now(HOUR, stepped + HOUR));
            assert!(first.has_stepped(later));
            let (axis, behind) = Axis::resume(Some(later), now(3, stepped + HOUR + 5));
            assert_eq!((axis.instant(expires), behind), (Instant(3 + HOUR - 5), 0));
        }
    }

    #[test]
    fn of_two_times_away_the_shorter_counts() {
        let (axis, _) = Axis::resume(None, now(0, WALL));
        let expires = axis.point(Instant(2 * HOUR));
        let last = axis.pulse(now(0, WALL));
        let left = |last: Pulse| {
            let axis = Axis::corrected(last, now(0, WALL + 9 * HOUR), 8 * HOUR);
            axis.instant(expires)
        };
        assert_eq!(left(last), Instant(HOUR), "by the truth");
        // What was taken for the truth was not, as where a host began in 1970.
        let truth = WALL - 50 * 365 * 24 * HOUR;
        let wall = WALL + 8 * HOUR + HOUR / 2;
        assert_eq!(
            left(Pulse {
                truth,
                wall,
                ..last
            }),
            Instant(3 * HOUR / 2)
        );
    }

    #[test]
    fn slewing_is_no_step() {
        let (axis, _) = Axis::resume(None, now(0, WALL));
        let first = axis.pulse(now(0, WALL));
        assert!(!first.has_stepped(axis.pulse(now(HOUR, WALL + HOUR + STEP))));
        assert!(first.has_stepped(axis.pulse(now(HOUR, WALL + HOUR + STEP + 1))));
        assert!(first.has_stepped(axis.pulse(now(HOUR, WALL + HOUR - STEP - 1))));
    }

    #[test]
    fn a_wall_clock_before_the_last_pulse_is_told_and_brings_nothing_back() {
        let (axis, _) = Axis::resume(None, now(0, WALL));
        let expired = axis.point(Instant(HOUR - 1));
        let alive = axis.point(Instant(HOUR + 1));
        let last = axis.pulse(now(HOUR, WALL + HOUR));
        let (axis, behind) = Axis::resume(Some(last), now(0, WALL - HOUR));
        assert_eq!(behind, 2 * HOUR);
        assert_eq!(axis.instant(expired), Instant(0));
        assert_eq!(axis.instant(alive), Instant(1));
    }
}
