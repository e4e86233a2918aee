//! The hybrid clock that versions come from, and how far the wall clock is believed.
//!
//! ```text
//! wall ────┐
//! highest ─┴▶ max(wall, highest + 1) ─▶ version ─┬─ others took it ──▶ heard: it is vouched for
//!                                                └─ ClockSkew ───────▶ doubt: the time is what
//!                                                   others showed, carried on by `mono`
//! ```
//!
//! A wall clock may be off by years, and its host does not see that. Other members do: they
//! refuse a fresh version far ahead of their own clocks. So a time that lies within
//! `skew_max` of what others have shown or taken is *vouched for*; with any other, an owner
//! lets a holder store a version before it stores its own copy, or that copy would outlive
//! every write that is acknowledged after it.
//!
//! **Invariant:** a time that nobody else has taken does not become the hybrid clock.

use crate::time::{Instant, Micros, Now};

/// How long a wall clock that was refused is not asked again.
const DOUBTED: Micros = Micros::from_secs(60);

/// No version is assigned above this by a clock, whatever it says.
const LATEST: u64 = 1 << 62;

/// The wall clock was refused.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Instant,
    /// The hybrid clock then: the time if nobody has shown one.
    base: u64,
}

/// The hybrid clock of one node.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    skew_max: Micros,
    /// Highest time assigned or seen.
    highest: u64,
    /// A time that others have shown or taken as fresh, and when.
    heard: Option<(u64, Instant)>,
    doubt: Option<Doubt>,
}

impl Clock {
    /// A version from the far future, stored once, must not make every later one look like a
    /// broken clock; what is stored of a key is read before it is topped.
    pub(crate) fn new(restored: u64, now: Now, skew_max: Micros) -> Self {
        let insane = restored > now.wall.saturating_add(skew_max.0);
        Self {
            skew_max,
            highest: if insane { now.wall } else { restored },
            heard: None,
            doubt: None,
        }
    }

    /// Highest time assigned or seen.
    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }

    /// The next time, above everything assigned or seen. It becomes the hybrid clock at once
    /// if others vouch for it, otherwise when they have [taken](Self::taken) it.
    pub(crate) fn tick(&mut self, now: Now) -> u64 {
        let above = self.highest.saturating_add(1);
        let time = self.wall(now).max(above).min(LATEST);
        if self.is_vouched(time, now) {
            self.highest = time;
        }
        time
    }

    /// Whether a time is near what others have shown or taken.
    pub(crate) fn is_vouched(&self, time: u64, now: Now) -> bool {
        let heard = self.carried_on(now);
        heard.is_some_and(|heard| time <= heard.saturating_add(self.skew_max.0))
    }

    /// The latest that an honest clock shows, by our own or, if that is doubted, by others.
    pub(crate) fn horizon(&self, now: Now) -> u64 {
        let wall = match self.heard {
            Some(_) => self.wall(now),
            None => now.wall,
        };
        wall.saturating_add(self.skew_max.0)
    }

    /// A version was met. One from far in the future, which no honest clock assigned, is
    /// nobody's clock.
    pub(crate) fn saw(&mut self, time: u64, now: Now) {
        if time <= self.horizon(now) {
            self.highest = self.highest.max(time);
        }
    }

    /// Another owner has just assigned this time. If our own clock is off too, it may agree
    /// with one that is off; whoever was heard before does not.
    pub(crate) fn showed(&mut self, time: u64, now: Now) {
        if self.heard.is_none() || self.is_vouched(time, now) {
            self.hear(time, now);
        }
    }

    /// Others have stored a fresh version of ours, and nobody refused it.
    pub(crate) fn taken(&mut self, time: u64, now: Now) {
        self.hear(time, now);
        self.highest = self.highest.max(time);
    }

    /// Acknowledged, whoever vouches for it: nothing later may be assigned below.
    pub(crate) fn acknowledged(&mut self, time: u64) {
        self.highest = self.highest.max(time);
    }

    /// Too many holders refused a fresh version because it is ahead of their clocks. Whether
    /// that is news.
    pub(crate) fn refused(&mut self, time: u64, now: Now) -> bool {
        if self.is_vouched(time, now) {
            // Whoever vouched for it was off as well.
            self.heard = None;
            return false;
        }
        if let Some(heard) = self.carried_on(now) {
            self.highest = self.highest.min(heard);
        } else if self.highest > now.wall.saturating_add(self.skew_max.0) {
            // The wall clock was set right, and what it once led to is still above it.
            self.highest = now.wall;
            return false;
        }
        let news = self.doubted(now).is_none();
        self.doubt = Some(Doubt {
            since: now.mono,
            base: self.highest,
        });
        news
    }

    /// The wall clock, or what it would show by the word of others if it is doubted.
    fn wall(&self, now: Now) -> u64 {
        let Some(doubt) = self.doubted(now) else {
            return now.wall;
        };
        let base = doubt.base.saturating_add(now.mono.since(doubt.since).0);
        let time = self.carried_on(now).unwrap_or(base);
        if now.wall > time.saturating_add(self.skew_max.0) {
            time
        } else {
            now.wall
        }
    }

    fn doubted(&self, now: Now) -> Option<Doubt> {
        self.doubt
            .filter(|doubt| now.mono.since(doubt.since) < DOUBTED)
    }

    /// What others would show now.
    fn carried_on(&self, now: Now) -> Option<u64> {
        let (time, at) = self.heard?;
        Some(time.saturating_add(now.mono.since(at).0))
    }

    fn hear(&mut self, time: u64, now: Now) {
        let latest = self.carried_on(now).map_or(time, |heard| heard.max(time));
        self.heard = Some((latest, now.mono));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKEW: Micros = Micros::from_secs(600);
    const YEARS: u64 = 10 * 365 * 24 * 3_600 * 1_000_000;

    fn at(mono: u64, wall: u64) -> Now {
        Now {
            mono: Instant(mono),
            wall,
        }
    }

    fn clock(restored: u64) -> Clock {
        Clock::new(restored, at(0, 1 << 50), SKEW)
    }

    #[test]
    fn times_rise_and_follow_the_wall_clock() {
        let mut clock = clock(0);
        clock.taken(1 << 50, at(0, 1 << 50));
        let first = clock.tick(at(10, (1 << 50) + 10));
        assert_eq!(first, (1 << 50) + 10);
        let back = clock.tick(at(20, 77));
        assert_eq!(back, first + 1, "the wall clock was set back");
        clock.saw(first + 5_000, at(30, 1 << 50));
        assert_eq!(clock.tick(at(40, 1 << 50)), first + 5_001);
    }

    #[test]
    fn a_leap_ahead_is_tried_once_and_then_time_goes_on_as_others_showed_it() {
        let mut clock = clock(0);
        let honest = 1 << 50;
        clock.taken(honest, at(0, honest));
        let leapt = at(1_000, honest + YEARS);
        let far = clock.tick(leapt);
        assert!(far > honest + YEARS / 2 && !clock.is_vouched(far, leapt));
        assert!(clock.highest() < far, "nobody has taken it");
        assert!(clock.refused(far, leapt), "news");
        assert!(!clock.refused(far, leapt), "no news");
        let later = at(5_000, honest + YEARS + 4_000);
        let time = clock.tick(later);
        assert_eq!(time, honest + 5_000);
        assert!(clock.is_vouched(time, later));
        // Set right again: it is believed.
        assert_eq!(
            clock.tick(at(6_000, honest + 6_100)),
            honest + 6_100,
            "the wall clock"
        );
    }

    #[test]
    fn a_process_that_starts_with_a_leapt_clock_goes_on_from_its_last_life() {
        let honest = 1 << 50;
        let start = at(0, honest + YEARS);
        let mut clock = Clock::new(honest, start, SKEW);
        let far = clock.tick(start);
        assert!(!clock.is_vouched(far, start));
        clock.refused(far, start);
        assert_eq!(clock.tick(at(10, honest + YEARS + 10)), honest + 10);
        // What another owner shows is better.
        clock.showed(honest + 9_000_000, at(20, honest + YEARS + 20));
        let time = clock.tick(at(30, honest + YEARS + 30));
        assert_eq!(time, honest + 9_000_010);
    }

    #[test]
    fn a_doubt_ends_and_the_wall_clock_is_asked_again() {
        let honest = 1 << 50;
        let mut clock = clock(0);
        clock.refused(honest, at(0, honest));
        assert!(clock.tick(at(1, honest)) < honest);
        let again = clock.tick(at(DOUBTED.0, honest));
        assert_eq!(again, honest);
        clock.taken(again, at(DOUBTED.0, honest));
        let next = at(DOUBTED.0 + 1, honest + 1);
        assert!(clock.is_vouched(clock.clone().tick(next), next));
    }

    #[test]
    fn clocks_that_are_off_together_do_not_convince_who_was_right_before() {
        let honest = 1 << 50;
        let mut clock = clock(0);
        clock.showed(honest, at(0, honest));
        let leapt = at(10, honest + YEARS);
        clock.showed(honest + YEARS, leapt);
        assert!(!clock.is_vouched(honest + YEARS, leapt));
        // Whoever believed one, and is refused for it, believes nobody.
        clock.taken(honest + YEARS, leapt);
        assert!(clock.is_vouched(honest + YEARS, leapt));
        clock.refused(honest + YEARS, leapt);
        assert!(!clock.is_vouched(honest + YEARS, leapt));
    }

    #[test]
    fn a_hybrid_clock_that_a_leap_has_raised_comes_down_when_it_is_refused() {
        let honest = 1 << 50;
        let mut clock = clock(0);
        clock.acknowledged(honest + YEARS);
        let now = at(10, honest);
        let far = clock.tick(now);
        assert!(!clock.refused(far, now), "the wall clock is right");
        assert_eq!(clock.tick(now), honest + 1);
    }

    #[test]
    fn what_is_far_in_the_future_is_nobodys_clock() {
        let honest = 1 << 50;
        let mut seen = clock(honest);
        seen.saw(honest + YEARS, at(10, honest + 10));
        assert_eq!(seen.highest(), honest);
        let restored = clock(honest + YEARS);
        assert_eq!(restored.highest(), 1 << 50);
    }
}
