//! Many walks on all cores, and what they met.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Met, Walk};

/// The walks with the seeds `first..=last`, until `steps` steps are taken in all; what they met, and
/// what was broken with which seed.
///
/// Without a bound on steps it is the same each time, whatever the number of cores.
#[must_use]
pub fn many(
    (first, last): (u64, u64),
    steps: u64,
    walk: impl Fn(u64) -> Walk + Sync,
) -> (Sum, Vec<(u64, String)>) {
    let next = AtomicU64::new(first);
    let met = Mutex::new((Sum::default(), Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last {
                        break;
                    }
                    let walked = walk(seed).run();
                    let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
                    met.0.add(&walked);
                    if let Some(what) = walked.violation {
                        met.1.push((seed, what));
                    }
                    if met.0.steps >= steps {
                        break;
                    }
                }
            });
        }
    });
    let (sum, mut broken) = met.into_inner().unwrap_or_else(PoisonError::into_inner);
    broken.sort_unstable();
    (sum, broken)
}

/// The figures of many walks.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Walks taken.
    pub walks: u64,
    /// Those in which a claim was broken.
    pub broken: u64,
    /// Events handled by nodes.
    pub steps: u64,
    /// States judged.
    pub judged: u64,
    /// Of these, with the theorem in force.
    pub theorem: u64,
    /// With the claim of small rings in force.
    pub small: u64,
    /// Times that the premise was left.
    pub left_premise: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    heads_right: Vec<f64>,
    ideal: Vec<f64>,
}

impl Sum {
    /// One more walk.
    pub fn add(&mut self, met: &Met) {
        self.walks += 1;
        self.steps += met.steps;
        self.judged += met.judged;
        self.theorem += met.theorem;
        self.small += met.small;
        self.left_premise += met.left_premise;
        for (kind, count) in &met.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        if met.violation.is_some() {
            self.broken += 1;
        } else {
            self.heads_right.push(met.heads_right);
            self.ideal.push(met.ideal);
        }
    }

    /// From the last fault until all first successors were right, in rounds: a quantile over the
    /// walks, 0 to 1.
    #[must_use]
    pub fn heads_right(&self, share: f64) -> f64 {
        quantile(&self.heads_right, share)
    }

    /// From the last fault until the ring was ideal, in rounds.
    #[must_use]
    pub fn ideal(&self, share: f64) -> f64 {
        quantile(&self.ideal, share)
    }
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).ceil() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        write!(
            f,
            "{} walks, {} steps, {} states judged: {} by the theorem, {} as small rings; premise \
             left {} times; faults: {}; after the last fault first successors right within {:.2} \
             rounds (median), {:.2} (p99), {:.2} (most), ideal within {:.2}, {:.2}, {:.2}; {} broken",
            self.walks,
            self.steps,
            self.judged,
            self.theorem,
            self.small,
            self.left_premise,
            faults.join(", "),
            self.heads_right(0.5),
            self.heads_right(0.99),
            self.heads_right(1.0),
            self.ideal(0.5),
            self.ideal(0.99),
            self.ideal(1.0),
            self.broken
        )
    }
}
