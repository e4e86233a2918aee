//! What becomes of a message between two hosts.
//!
//! ```text
//! sender ── number n ──▶ barrier? ─ no ▶ dropped? ─ no ▶ delay (+ held back?) ──▶ receiver
//!                           │               │                └─ a second copy? ──▶ receiver
//!                           ▼               ▼
//!                          lost            lost
//! ```
//!
//! Every decision is a draw with the sender's message number, so that a message that is
//! lost shifts nothing for the ones behind it. Order between two hosts is whatever the
//! delays make of it: no stream is assumed.

use chord_core::draw::below;

use crate::chance::{self, Probability, Purpose, nth};
use crate::ledger::RowId;

/// How long a message travels, one way, in microseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Latency {
    /// Always the same.
    Constant(u64),
    /// Anything from `low` to `high`.
    Uniform {
        /// Least.
        low: u64,
        /// Most.
        high: u64,
    },
    /// Memoryless.
    Exponential {
        /// Mean.
        mean: f64,
    },
    /// The exponential of a normal distribution.
    LogNormal {
        /// Half of the messages are faster.
        median: f64,
        /// Deviation of the logarithm.
        sigma: f64,
    },
}

impl Latency {
    /// The delay that belongs to a draw, at least 1 µs.
    #[must_use]
    pub fn delay(self, drawn: u64) -> u64 {
        let delay = match self {
            Self::Constant(delay) => delay,
            Self::Uniform { low, high } => {
                low.saturating_add(below(drawn, high.saturating_sub(low).saturating_add(1)))
            }
            Self::Exponential { mean } => chance::exponential(drawn, mean),
            Self::LogNormal { median, sigma } => {
                (median * chance::exp(sigma * chance::normal(drawn))) as u64
            }
        };
        delay.max(1)
    }
}

/// Faults that any message can meet at any time.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Background {
    /// Lost.
    pub drop: Probability,
    /// Delivered twice.
    pub duplicate: Probability,
    /// Held back, for up to `reorder_by`.
    pub reorder: Probability,
    /// The longest time a message is held back, in microseconds.
    pub reorder_by: u64,
    /// Refused by a host that is down; otherwise it stays silent.
    pub refused: Probability,
}

/// Which messages a barrier stops.
#[derive(Clone, PartialEq, Debug)]
pub enum Stops {
    /// Everything from one side to the other.
    Both,
    /// What the inside sends to the outside.
    Outward,
    /// Requests of one kind (an index into [`crate::kind::REQUESTS`]), from anybody.
    Requests(usize),
}

/// Something that stops messages while it stands.
#[derive(Clone, Debug)]
pub struct Barrier {
    /// Its row in the ledger.
    pub row: RowId,
    /// Hosts on the inside; hosts that appear later are outside.
    pub inside: Vec<bool>,
    /// What it stops.
    pub stops: Stops,
    /// Whether it stopped anything yet.
    pub fired: bool,
}

impl Barrier {
    fn stops(&self, from: u32, to: u32, request: Option<usize>) -> bool {
        let inside = |host: u32| self.inside.get(host as usize).copied().unwrap_or(false);
        match self.stops {
            Stops::Both => inside(from) != inside(to),
            Stops::Outward => inside(from) && !inside(to),
            Stops::Requests(kind) => request == Some(kind),
        }
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Lost by chance.
    Dropped,
    /// Stopped by a barrier; the row, if this was the first that it stopped.
    Stopped(Option<RowId>),
    /// It arrives.
    Arrives {
        /// After this many microseconds.
        delay: u64,
        /// It was held back.
        held: bool,
        /// And once more, after this many.
        again: Option<u64>,
    },
}

/// All links.
#[derive(Clone, Debug)]
pub struct Links {
    seed: u64,
    latency: Latency,
    background: Background,
    /// Whether the background faults act: not in the warm-up, not at rest.
    pub faulty: bool,
    barriers: Vec<(u64, Barrier)>,
}

impl Links {
    /// Links without barriers, their background faults asleep.
    #[must_use]
    pub fn new(seed: u64, latency: Latency, background: Background) -> Self {
        Self {
            seed,
            latency,
            background,
            faulty: false,
            barriers: Vec::new(),
        }
    }

    /// Erects a barrier under a number by which it can be removed.
    pub fn erect(&mut self, number: u64, barrier: Barrier) {
        self.barriers.push((number, barrier));
    }

    /// Removes a barrier.
    pub fn remove(&mut self, number: u64) {
        self.barriers.retain(|(standing, _)| *standing != number);
    }

    /// Removes every barrier.
    pub fn heal(&mut self) {
        self.barriers.clear();
    }

    /// Whether hosts are kept apart right now.
    #[must_use]
    pub fn parted(&self) -> bool {
        self.barriers
            .iter()
            .any(|(_, barrier)| !matches!(barrier.stops, Stops::Requests(_)))
    }

    /// Whether any barrier stands.
    #[must_use]
    pub fn stands(&self) -> bool {
        !self.barriers.is_empty()
    }

    /// Decides about message number `n` of `from`; `request` is the kind if it is one.
    pub fn fate(&mut self, from: u32, to: u32, n: u64, request: Option<usize>) -> Fate {
        for (_, barrier) in &mut self.barriers {
            if barrier.stops(from, to, request) {
                let first = !barrier.fired;
                barrier.fired = true;
                return Fate::Stopped(first.then_some(barrier.row));
            }
        }
        let drawn = |purpose| nth(self.seed, from, purpose, n);
        let mut delay = self.latency.delay(drawn(Purpose::Delay));
        if !self.faulty {
            return Fate::Arrives {
                delay,
                held: false,
                again: None,
            };
        }
        if self.background.drop.hit(drawn(Purpose::Drop)) {
            return Fate::Dropped;
        }
        let held = self.background.reorder.hit(drawn(Purpose::Reorder));
        if held {
            delay += below(drawn(Purpose::ReorderDelay), self.background.reorder_by);
        }
        let twice = self.background.duplicate.hit(drawn(Purpose::Duplicate));
        let again = twice.then(|| self.latency.delay(drawn(Purpose::DuplicateDelay)));
        Fate::Arrives { delay, held, again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    fn p(p: f64) -> Probability {
        Probability::new(p).expect("in range")
    }

    fn links(background: Background) -> Links {
        let mut links = Links::new(5, Latency::Exponential { mean: 20_000.0 }, background);
        links.faulty = true;
        links
    }

    #[test]
    fn drops_duplicates_and_delays_come_as_often_as_configured() {
        let background = Background {
            drop: p(0.02),
            duplicate: p(0.05),
            reorder: p(0.1),
            reorder_by: 1_000_000,
            ..Background::default()
        };
        let mut links = links(background);
        let (mut dropped, mut twice, mut late, mut delays) = (0, 0, 0, 0);
        for n in 0..20_000 {
            match links.fate(1, 2, n, None) {
                Fate::Dropped => dropped += 1,
                Fate::Stopped(_) => panic!("no barrier stands"),
                Fate::Arrives { delay, held, again } => {
                    twice += u32::from(again.is_some());
                    late += u32::from(held);
                    delays += if held { 0 } else { delay };
                }
            }
        }
        assert!((340..460).contains(&dropped), "{dropped}");
        assert!((880..1_080).contains(&twice), "{twice}");
        assert!((1_800..2_120).contains(&late), "{late}");
        let mean = delays / u64::from(20_000 - dropped - late);
        assert!((19_400..20_600).contains(&mean), "{mean}");
    }

    #[test]
    fn faults_sleep_until_woken() {
        let mut links = links(Background {
            drop: p(1.0),
            ..Background::default()
        });
        links.faulty = false;
        assert!(matches!(links.fate(0, 1, 0, None), Fate::Arrives { .. }));
        links.faulty = true;
        assert_eq!(links.fate(0, 1, 0, None), Fate::Dropped);
    }

    #[test]
    fn a_lost_message_changes_nothing_for_the_ones_behind_it() {
        let mut calm = links(Background::default());
        let mut lossy = links(Background {
            drop: p(0.5),
            ..Background::default()
        });
        for n in 0..100 {
            if let arrives @ Fate::Arrives { .. } = lossy.fate(3, 4, n, None) {
                assert_eq!(calm.fate(3, 4, n, None), arrives);
            }
        }
    }

    #[test]
    fn a_partition_stops_what_crosses_it_and_nothing_else() {
        let row = Ledger::default().configure("partition", 1, None);
        let mut links = links(Background::default());
        let inside = vec![true, true, false, false];
        links.erect(
            7,
            Barrier {
                row,
                inside,
                stops: Stops::Both,
                fired: false,
            },
        );
        assert!(links.parted());
        for from in 0..4 {
            for to in 0..4 {
                let stopped = matches!(links.fate(from, to, 0, None), Fate::Stopped(_));
                assert_eq!(stopped, (from < 2) != (to < 2), "{from} to {to}");
            }
        }
        links.remove(7);
        assert!(matches!(links.fate(0, 3, 0, None), Fate::Arrives { .. }));
    }

    #[test]
    fn one_way_and_blackhole_barriers_are_selective_and_report_their_first_hit() {
        let mut ledger = Ledger::default();
        let row = ledger.configure("partition", 1, None);
        let mut links = links(Background::default());
        let barrier = Barrier {
            row,
            inside: vec![true],
            stops: Stops::Outward,
            fired: false,
        };
        links.erect(1, barrier);
        assert_eq!(links.fate(0, 1, 0, None), Fate::Stopped(Some(row)));
        assert_eq!(links.fate(0, 1, 1, None), Fate::Stopped(None));
        assert!(matches!(links.fate(1, 0, 0, None), Fate::Arrives { .. }));

        links.heal();
        let barrier = Barrier {
            row,
            inside: Vec::new(),
            stops: Stops::Requests(3),
            fired: false,
        };
        links.erect(2, barrier);
        assert!(matches!(links.fate(0, 1, 0, Some(3)), Fate::Stopped(_)));
        assert!(matches!(links.fate(0, 1, 0, Some(4)), Fate::Arrives { .. }));
        assert!(matches!(links.fate(0, 1, 0, None), Fate::Arrives { .. }));
    }

    #[test]
    fn latencies_stay_in_their_ranges() {
        for n in 0..1_000 {
            let drawn = nth(1, 2, Purpose::Delay, n);
            assert_eq!(Latency::Constant(9).delay(drawn), 9);
            assert!((5..=8).contains(&Latency::Uniform { low: 5, high: 8 }.delay(drawn)));
            let skewed = Latency::LogNormal {
                median: 1_000.0,
                sigma: 0.5,
            };
            assert!((49..=20_100).contains(&skewed.delay(drawn)));
        }
        let skewed = Latency::LogNormal {
            median: 1_000.0,
            sigma: 0.5,
        };
        let slower = (0..10_000)
            .filter(|&n| skewed.delay(nth(1, 2, Purpose::Delay, n)) > 1_000)
            .count();
        assert!((4_800..5_200).contains(&slower), "{slower}");
    }
}
