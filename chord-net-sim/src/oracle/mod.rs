//! Checkers that know everything: who is alive, what was acknowledged, what lies on every
//! disk. They read views and disks; no node is asked, so checking changes nothing.

pub mod data;
pub mod owners;
pub mod reads;
pub mod ring;

use serde::Serialize;

/// A promise that was broken.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Violation {
    /// Which promise: a short name, the same for every breach of it.
    pub invariant: String,
    /// When, in seconds since the start of the run.
    pub at_seconds: f64,
    /// What was seen.
    pub detail: String,
}

/// Most violations that are kept word for word; the others are counted.
const KEPT: usize = 50;

/// The violations of a run.
#[derive(Clone, Default, Debug)]
pub struct Violations {
    kept: Vec<Violation>,
    total: u64,
}

impl Violations {
    /// Adds a breach of `invariant`, seen at `now` microseconds.
    pub fn report(&mut self, now: u64, invariant: &str, detail: String) {
        self.total += 1;
        if self.kept.len() < KEPT {
            let at_seconds = now as f64 / 1e6;
            self.kept.push(Violation {
                invariant: invariant.to_owned(),
                at_seconds,
                detail,
            });
        }
    }

    /// The first ones.
    #[must_use]
    pub fn kept(&self) -> &[Violation] {
        &self.kept
    }

    /// How many there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}
