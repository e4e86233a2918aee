//! Every write of every key, what was counted, and what was wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::judge::{During, History, Kind, Seen, Violation};

/// The memory of the parent, shared by all its threads.
pub struct Ledger {
    begun: Instant,
    keys: Vec<Mutex<History>>,
    violations: Mutex<Vec<(Violation, String)>>,
    refusals: Mutex<BTreeMap<String, usize>>,
    /// Writes with a positive answer.
    pub acknowledged: AtomicUsize,
    /// Writes that may have happened or not.
    pub uncertain: AtomicUsize,
    /// Reads with an answer that was judged.
    pub reads: AtomicUsize,
}

impl Ledger {
    /// An empty one for so many keys.
    pub fn new(keys: usize) -> Self {
        Self {
            begun: Instant::now(),
            keys: (0..keys).map(|_| Mutex::default()).collect(),
            violations: Mutex::default(),
            refusals: Mutex::default(),
            acknowledged: AtomicUsize::new(0),
            uncertain: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
        }
    }

    /// Since the begin of the run.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    fn history(&self, key: usize) -> MutexGuard<'_, History> {
        lock(&self.keys[key])
    }

    /// A write begins; returns its place among those of its key.
    pub fn begin(&self, key: usize, kind: Kind) -> usize {
        self.history(key).begin(kind, self.now())
    }

    /// The write under way was answered, or will never be.
    pub fn end(&self, key: usize, acknowledged: bool) {
        let counter = if acknowledged {
            &self.acknowledged
        } else {
            &self.uncertain
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.history(key).end(acknowledged, self.now());
    }

    /// The write under way never left.
    pub fn withdraw(&self, key: usize) {
        self.history(key).withdraw();
    }

    /// Judges an answer to a read that began at `begun`.
    pub fn judge(&self, key: usize, begun: Duration, answer: Option<&[u8]>, how: &str) {
        let ended = self.now();
        self.reads.fetch_add(1, Ordering::Relaxed);
        let seen = answer.map_or(Seen::Nothing, |bytes| seen(key, bytes));
        let history = self.history(key);
        if let Err(violation) = history.judge(During { begun, ended }, seen) {
            let text = format!(
                "{violation:?}: {how} of {} showed {seen:?} at {:.3} to {:.3} s; its writes: {}",
                name(key),
                begun.as_secs_f64(),
                ended.as_secs_f64(),
                history.tell()
            );
            drop(history);
            self.violate(violation, text);
        }
    }

    fn violate(&self, violation: Violation, text: String) {
        let mut violations = lock(&self.violations);
        if violations.len() < 20 {
            println!("VIOLATION {text}");
        }
        violations.push((violation, text));
    }

    /// Whether nothing was wrong so far.
    pub fn is_clean(&self) -> bool {
        lock(&self.violations).is_empty()
    }

    /// How often this was wrong.
    pub fn count(&self, violation: Violation) -> usize {
        let violations = lock(&self.violations);
        violations
            .iter()
            .filter(|(kind, _)| *kind == violation)
            .count()
    }

    /// Counts an answer that was none.
    pub fn refused(&self, what: &str, why: &str) {
        *lock(&self.refusals)
            .entry(format!("{what}: {why}"))
            .or_default() += 1;
    }

    /// Answers that were none, by what they said.
    pub fn refusals(&self) -> BTreeMap<String, usize> {
        lock(&self.refusals).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The key in this place.
pub fn name(key: usize) -> String {
    format!("crash-{key}")
}

/// What the write in this place of a key writes: it says whose it is, and its length differs.
pub fn value(key: usize, place: usize) -> Vec<u8> {
    let word = format!("{key}/{place} ");
    word.repeat(1 + (key * 7 + place * 31) % 200).into_bytes()
}

/// Whose value that is.
fn seen(key: usize, bytes: &[u8]) -> Seen {
    let text = String::from_utf8_lossy(bytes);
    let place = text
        .split_once(' ')
        .and_then(|(word, _)| word.split_once('/'))
        .and_then(|(_, place)| place.parse().ok());
    match place {
        Some(place) if value(key, place) == bytes => Seen::Write(place),
        _ => Seen::Garbage,
    }
}
