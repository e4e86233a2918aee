//! Is everything there that was promised?
//!
//! ```text
//! client ─ begun ─▶ attempt ─ acknowledged(version) ─▶ the newest one is the floor
//! disk ── stored / dropped ──▶ who holds what, now and ever
//! host ── died / returned ───▶ whose copies are gone, while others repair
//! read ── judge ─────────────▶ right · lost, explained · lost, unexplained · wrong
//! ```
//!
//! A lost acknowledged write is **explained** only if a majority of its holders, or every
//! host that had durably stored it, was wiped or never came back within overlapping repair
//! windows (`windows`).

mod tracked;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use chord_core::id::Id;
use chord_core::message::{Key, Record, Version};

pub use tracked::Attempt;
use tracked::{AttemptState, Floor, Tracked, Vanished};
use windows::Death;
pub use windows::REPAIR_MAX;

/// Live members in order of position, with their hosts: who should hold what.
pub type Ring = [(Id, u32)];

/// The first `copies` members at or after a position.
pub fn holders(ring: &Ring, position: Id, copies: usize) -> impl Iterator<Item = u32> {
    let first = ring.partition_point(|(id, _)| *id < position);
    let around = ring[first..].iter().chain(&ring[..first]);
    around.take(copies).map(|(_, host)| *host)
}

/// A sum that tells values apart.
#[must_use]
pub fn sum(value: &[u8]) -> u64 {
    // FNV-1a: the values are our own, nobody forges them.
    value.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What a read means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// As promised.
    Right,
    /// An acknowledged write is gone, and the failures explain it.
    LostExplained(String),
    /// An acknowledged write is gone, and nothing explains it.
    LostUnexplained(String),
    /// Something nobody wrote, or something that had expired.
    Wrong(String),
}

/// Every attempt, every copy, every death.
#[derive(Clone, Default, Debug)]
pub struct Data {
    keys: BTreeMap<Key, Tracked>,
    deaths: Vec<Death>,
}

/// How much later than by the clients' clock a record may expire, in microseconds: its
/// lifetime travels as remaining time, and each hop adds its delay.
const EXPIRY_SLACK: u64 = 5_000_000;

impl Data {
    /// A client begins to write.
    pub fn begun(
        &mut self,
        key: &Key,
        operation: usize,
        value: Option<u64>,
        [begun, ttl]: [u64; 2],
        copies: u8,
    ) {
        let state = AttemptState::Open;
        let attempt = Attempt {
            operation,
            value,
            begun,
            ttl,
            copies,
            state,
        };
        self.keys
            .entry(key.clone())
            .or_default()
            .attempts
            .push(attempt);
    }

    /// A write certainly did nothing.
    pub fn void(&mut self, key: &Key, operation: usize) {
        if let Some(attempt) = self.attempt(key, operation) {
            attempt.state = AttemptState::Void;
        }
    }

    /// A write was acknowledged. Says what is wrong with that, if anything: fewer than a
    /// majority have it, or it lies behind a write acknowledged before this one began. The
    /// latter is no breach unless both were `calm`: two sides of a partition acknowledge
    /// without each other, by the clocks that each of them has, and meet some time later. Nor is
    /// it if failures explain that the earlier one was lost.
    pub fn acknowledged(
        &mut self,
        key: &Key,
        operation: usize,
        version: Version,
        now: u64,
        members: usize,
        calm: bool,
    ) -> Option<String> {
        let attempt = self.attempt(key, operation)?;
        attempt.state = AttemptState::Acknowledged {
            version,
            at: now,
            calm,
        };
        let attempt = *attempt;
        let tracked = self.keys.get_mut(key)?;
        let copies = usize::from(attempt.copies).min(members).max(1);
        let behind = tracked.attempts.iter().any(|other| match other.state {
            AttemptState::Acknowledged {
                version: earlier,
                at,
                calm: true,
            } => calm && other.operation != operation && at < attempt.begun && earlier >= version,
            AttemptState::Acknowledged { .. } | AttemptState::Open | AttemptState::Void => false,
        });
        let have: BTreeSet<u32> = tracked
            .ever
            .iter()
            .filter(|(stored, _)| *stored >= version)
            .map(|(_, host)| *host)
            .collect();
        if tracked.floor.is_none_or(|floor| floor.version < version) {
            tracked.floor = Some(Floor {
                version,
                value: attempt.value,
                expires_first: attempt.begun.saturating_add(attempt.ttl),
                expires_last: now.saturating_add(attempt.ttl).saturating_add(EXPIRY_SLACK),
                copies,
            });
            tracked.vanished = None;
            tracked.ever.retain(|(stored, _)| *stored >= version);
        }
        if behind && !self.is_lost_since(key, attempt.begun) {
            return Some(format!(
                "{key:?}: {version:?} lies behind an acknowledged write"
            ));
        }
        let needed = copies / 2 + 1;
        if have.len() < needed {
            return Some(format!(
                "{key:?}: acknowledged with {} durable copies, a majority is {needed}",
                have.len()
            ));
        }
        None
    }

    /// A disk holds this version now; `None`: nothing any more.
    pub fn stored(&mut self, host: u32, key: &Key, version: Option<Version>, now: u64) {
        let Some(tracked) = self.keys.get_mut(key) else {
            return;
        };
        match version {
            Some(version) => {
                tracked.stored.insert(host, version);
                tracked.ever.insert((version, host));
                tracked.vanished = None;
            }
            None => {
                tracked.stored.remove(&host);
                self.vanish(key, host, "dropped", now);
            }
        }
    }

    /// Keys with an acknowledged value that must be readable at `now`.
    pub fn due(&self, now: u64) -> impl Iterator<Item = &Key> {
        let due = self.keys.iter().filter(move |(_, tracked)| {
            tracked
                .floor
                .is_some_and(|floor| floor.value.is_some() && now < floor.expires_first)
        });
        due.map(|(key, _)| key)
    }

    /// Keys with fewer live copies of their acknowledged value than wanted, and how many.
    pub fn short_of_copies(
        &self,
        live: impl Fn(u32) -> bool,
        members: usize,
        now: u64,
    ) -> Vec<(Key, usize, usize)> {
        let mut short = Vec::new();
        for (key, tracked) in &self.keys {
            let Some(floor) = tracked.floor else { continue };
            let wanted = floor.copies.min(members);
            let have = tracked.copies(floor.version, &live);
            if have < wanted && now < floor.expires_first && floor.value.is_some() {
                short.push((key.clone(), have, wanted));
            }
        }
        short
    }

    /// The version of the newest acknowledged write of a key.
    #[must_use]
    pub fn floor(&self, key: &Key) -> Option<Version> {
        Some(self.keys.get(key)?.floor?.version)
    }

    /// Judges what a reader was told, `None` for "not found".
    #[must_use]
    pub fn judge(&self, key: &Key, record: Option<&Record>, now: u64) -> Judgement {
        let Some(tracked) = self.keys.get(key) else {
            return match record {
                Some(record) => Judgement::Wrong(format!("{key:?} holds {:?}", record.header)),
                None => Judgement::Right,
            };
        };
        let Some(record) = record else {
            return self.judge_miss(key, tracked, now);
        };
        let version = record.header.version;
        let value = Some(sum(&record.value));
        // One attempt may leave several versions: a retry through another owner is assigned
        // a new one, if the first left no trace there.
        let same = tracked
            .attempts
            .iter()
            .find(|attempt| attempt.value == value);
        match same.map(|attempt| attempt.state) {
            Some(AttemptState::Open | AttemptState::Acknowledged { .. }) => {}
            Some(AttemptState::Void) => {
                let detail = format!("{key:?} at {version:?} holds what was refused: {same:?}");
                return Judgement::Wrong(detail);
            }
            None => {
                let detail = format!("{key:?} at {version:?} holds what nobody wrote");
                return Judgement::Wrong(detail);
            }
        }
        match tracked.floor {
            Some(floor) if version < floor.version => {
                let detail = format!("{key:?} reads {version:?}, below {:?}", floor.version);
                self.lost(key, tracked, &floor, detail)
            }
            Some(floor) if same.is_some_and(|same| tracked.is_back(same, version, &floor)) => {
                let detail = format!(
                    "{key:?} reads {version:?}, a copy of what {:?} had replaced",
                    floor.version
                );
                self.lost(key, tracked, &floor, detail)
            }
            Some(floor) if version == floor.version && now > floor.expires_last => {
                Judgement::Wrong(format!("{key:?} at {version:?} is read after its expiry"))
            }
            Some(_) | None => Judgement::Right,
        }
    }

    fn judge_miss(&self, key: &Key, tracked: &Tracked, now: u64) -> Judgement {
        let Some(floor) = tracked.floor else {
            return Judgement::Right;
        };
        // A deletion, or a short-lived value, of whose versions one is unknown may have won.
        let overtaken = tracked.attempts.iter().any(|attempt| {
            tracked.may_stand_above(attempt, floor.version)
                && (attempt.value.is_none() || now >= attempt.begun.saturating_add(attempt.ttl))
        });
        if floor.value.is_none() || now >= floor.expires_first || overtaken {
            return Judgement::Right;
        }
        let detail = format!("{key:?} is not found, written as {:?}", floor.version);
        self.lost(key, tracked, &floor, detail)
    }

    /// Whether a deletion may have caused that a key is not found, of which `seen` was seen.
    #[must_use]
    pub fn may_be_deleted(&self, key: &Key, seen: Version) -> bool {
        let Some(tracked) = self.keys.get(key) else {
            return false;
        };
        tracked.attempts.iter().any(|attempt| {
            let later = match attempt.state {
                AttemptState::Acknowledged { version, .. } => version >= seen,
                AttemptState::Open | AttemptState::Void => false,
            };
            attempt.value.is_none() && (later || tracked.may_stand_above(attempt, seen))
        })
    }

    /// When what an attempt wrote may first be gone, in microseconds; the attempt is the one
    /// that `which` chooses.
    #[must_use]
    pub fn lifetime_end(&self, key: &Key, which: impl Fn(&Attempt) -> bool) -> u64 {
        let attempts = self.keys.get(key).map(|tracked| &tracked.attempts);
        let mut attempts = attempts.into_iter().flatten();
        let attempt = attempts.find(|attempt| attempt.value.is_some() && which(attempt));
        attempt.map_or(u64::MAX, |attempt| {
            attempt.begun.saturating_add(attempt.ttl)
        })
    }

    /// Whether the failures explain that nobody can read a key's acknowledged write.
    #[must_use]
    pub fn is_explained(&self, key: &Key) -> bool {
        let Some(tracked) = self.keys.get(key) else {
            return false;
        };
        let Some(floor) = tracked.floor else {
            return false;
        };
        tracked
            .vanished
            .as_ref()
            .is_some_and(|vanished| vanished.explained)
            || self.explained(key, tracked, &floor)
    }

    /// Whether as many of those who had a key's acknowledged write as make a majority have gone
    /// down since it began and before `until`, and were not made up for.
    fn is_lost_since(&self, key: &Key, until: u64) -> bool {
        let Some(tracked) = self.keys.get(key) else {
            return false;
        };
        let Some(floor) = tracked.floor else {
            return false;
        };
        let of_floor = |attempt: &&Attempt| match attempt.state {
            AttemptState::Acknowledged { version, .. } => version == floor.version,
            AttemptState::Open | AttemptState::Void => false,
        };
        let since = tracked.attempts.iter().find(of_floor).map(|a| a.begun);
        let had = |host: u32| {
            let mut ever = tracked.ever.iter();
            ever.any(|(version, had)| *version >= floor.version && *had == host)
        };
        let dead: BTreeSet<u32> = self
            .deaths
            .iter()
            .filter(|death| death.is_open() && Some(death.at) >= since && death.at < until)
            .map(|death| death.host)
            .filter(|host| had(*host))
            .collect();
        dead.len() > floor.copies / 2
    }

    /// A description of a key's copies, deaths and attempts, for a report.
    #[must_use]
    pub fn describe(&self, key: &Key) -> String {
        let Some(tracked) = self.keys.get(key) else {
            return "never written".to_owned();
        };
        let deaths: Vec<String> = self
            .deaths
            .iter()
            .filter(|death| death.keys.contains(key))
            .map(|death| {
                let kind = if death.wiped { "wiped" } else { "down" };
                let window = if death.is_open() { "open" } else { "closed" };
                format!(
                    "host {} {kind} at {:.3} s ({window})",
                    death.host,
                    death.at as f64 / 1e6
                )
            })
            .collect();
        let vanished = tracked
            .vanished
            .as_ref()
            .map_or_else(String::new, |vanished| {
                let at = vanished.at as f64 / 1e6;
                format!(
                    "; last copy {} by host {} at {at:.3} s",
                    vanished.how, vanished.host
                )
            });
        let stored: Vec<(u32, u64)> = tracked
            .stored
            .iter()
            .map(|(host, version)| (*host, version.time))
            .collect();
        format!("disks {stored:?}, deaths {deaths:?}{vanished}")
    }

    fn lost(&self, key: &Key, tracked: &Tracked, floor: &Floor, detail: String) -> Judgement {
        let explained = tracked
            .vanished
            .as_ref()
            .is_some_and(|vanished| vanished.explained)
            || self.explained(key, tracked, floor);
        let detail = format!("{detail}: {}", self.describe(key));
        if explained {
            Judgement::LostExplained(detail)
        } else {
            Judgement::LostUnexplained(detail)
        }
    }

    fn explained(&self, key: &Key, tracked: &Tracked, floor: &Floor) -> bool {
        let dead: BTreeSet<u32> = self
            .deaths
            .iter()
            .filter(|death| death.is_open() && death.keys.contains(key))
            .map(|death| death.host)
            .collect();
        let mut ever = tracked
            .ever
            .iter()
            .filter(|(version, _)| *version >= floor.version);
        let all = !dead.is_empty() && ever.all(|(_, host)| dead.contains(host));
        all || dead.len() > floor.copies / 2
    }

    fn gone(&mut self, host: u32, how: &'static str, now: u64) {
        let mut affected = Vec::new();
        for (key, tracked) in &mut self.keys {
            if tracked.stored.remove(&host).is_some() {
                affected.push(key.clone());
            }
        }
        for key in affected {
            self.vanish(&key, host, how, now);
        }
    }

    /// Notes it if no disk has a key's acknowledged write any more.
    fn vanish(&mut self, key: &Key, host: u32, how: &'static str, now: u64) {
        let Some(tracked) = self.keys.get(key) else {
            return;
        };
        let Some(floor) = tracked.floor else { return };
        let kept = tracked
            .stored
            .values()
            .any(|version| *version >= floor.version);
        if kept || now >= floor.expires_first {
            return;
        }
        let explained = self.explained(key, tracked, &floor);
        if let Some(tracked) = self.keys.get_mut(key) {
            tracked.vanished = Some(Vanished {
                at: now,
                host,
                how,
                explained,
            });
        }
    }

    fn attempt(&mut self, key: &Key, operation: usize) -> Option<&mut Attempt> {
        let attempts = &mut self.keys.get_mut(key)?.attempts;
        attempts
            .iter_mut()
            .rev()
            .find(|attempt| attempt.operation == operation)
    }
}

#[cfg(test)]
mod tests;
