//! Deaths and their repair windows: how long a death may excuse a loss, and how many losses
//! the deaths of a run can explain at most.
//!
//! ```text
//! died ── repair makes copies ──▶ every record at its copies: the window closes
//!      └─ nothing fails any more for REPAIR_MAX, still open ──▶ repair did not finish
//! ```
//!
//! A window that never closed would excuse everything, so a repair that does not end is a
//! breach of its own. The **bound** is computed from the deaths alone, after the run: a
//! record may be lost if at some instant the windows of deaths *for good* (wiped, or never
//! back) covered a majority of its holders, or all that ever stored it. A judgement in the
//! middle of a run may also count hosts that come back later; the bound never does, so more
//! explained losses than the bound are losses that only looked explained.

use std::collections::BTreeSet;

use chord_core::message::Key;

use super::tracked::Tracked;
use super::{Data, Floor, Ring, holders};

/// How long repair may take once nothing fails any more, in microseconds: a round comes
/// every 60 s at the latest, the next one carries on what a lost message has interrupted.
pub const REPAIR_MAX: u64 = 75_000_000;

/// A host that ended without handing over.
#[derive(Clone, Debug)]
pub(super) struct Death {
    pub(super) host: u32,
    pub(super) at: u64,
    /// What it held or should have held.
    pub(super) keys: BTreeSet<Key>,
    /// Its disk is gone; else it may come back.
    pub(super) wiped: bool,
    /// It came back with its disk.
    returned: bool,
    /// When its window ended.
    closed: Option<u64>,
    /// It was reported that repair did not finish.
    reported: bool,
}

impl Death {
    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Whether its window, that of a death for good, covers an instant.
    fn covers(&self, instant: u64) -> bool {
        (self.wiped || !self.returned)
            && self.at <= instant
            && self.closed.is_none_or(|closed| instant < closed)
    }
}

impl Data {
    /// A process ended without handing over; `wiped`: its disk is gone too.
    pub fn died(&mut self, host: u32, wiped: bool, ring: &Ring, now: u64) {
        let mut held = BTreeSet::new();
        for (key, tracked) in &self.keys {
            let Some(floor) = tracked.floor else { continue };
            let nominal = holders(ring, key.position(), floor.copies).any(|holder| holder == host);
            if nominal || tracked.stored.contains_key(&host) {
                held.insert(key.clone());
            }
        }
        self.deaths.push(Death {
            host,
            at: now,
            keys: held,
            wiped,
            returned: false,
            closed: None,
            reported: false,
        });
        if wiped {
            self.gone(host, "wiped", now);
        }
    }

    /// A host left, and took its disk with it.
    pub fn left(&mut self, host: u32, now: u64) {
        self.gone(host, "left", now);
    }

    /// A host came back with its disk.
    pub fn returned(&mut self, host: u32, now: u64) {
        for death in &mut self.deaths {
            if death.host == host && !death.wiped {
                death.returned = true;
                death.closed.get_or_insert(now);
            }
        }
    }

    /// Ends the windows of deaths whose records are at their number of copies again.
    /// `live` says whether a host is up; `members` is how many there are.
    pub fn close_windows(&mut self, live: impl Fn(u32) -> bool, members: usize, now: u64) {
        for death in &mut self.deaths {
            if death.closed.is_some() {
                continue;
            }
            let keys = &self.keys;
            let whole = death.keys.iter().all(|key| {
                let due = keys
                    .get(key)
                    .and_then(|tracked| Some((tracked, tracked.floor?)));
                due.is_none_or(|(tracked, floor)| {
                    now >= floor.expires_first
                        || tracked.copies(floor.version, &live) >= floor.copies.min(members)
                })
            });
            if whole {
                death.closed = Some(now);
            }
        }
    }

    /// What repair should have finished by now, if nothing has failed since `quiet_since`:
    /// a line for each death whose window is open although its records could be copied.
    /// Each death is reported once.
    pub fn unfinished(
        &mut self,
        live: impl Fn(u32) -> bool,
        members: usize,
        quiet_since: u64,
        now: u64,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        for death in &mut self.deaths {
            let from = quiet_since.max(death.at);
            if death.closed.is_some() || death.reported || now <= from.saturating_add(REPAIR_MAX) {
                continue;
            }
            let keys = &self.keys;
            let short = death.keys.iter().find_map(|key| {
                let tracked = keys.get(key)?;
                let floor = tracked.floor?;
                let copies = tracked.copies(floor.version, &live);
                // Of what nobody live holds there is nothing to copy.
                let wanted = floor.copies.min(members);
                let short = (1..wanted).contains(&copies) && now < floor.expires_first;
                short.then(|| format!("{key:?} has {copies} of {wanted} copies"))
            });
            if let Some(short) = short {
                death.reported = true;
                let (host, at) = (death.host, death.at as f64 / 1e6);
                lines.push(format!("host {host} died at {at:.3} s, and still {short}"));
            }
        }
        lines
    }

    /// How many of the records due at `now` the deaths can have lost.
    #[must_use]
    pub fn bound(&self, now: u64) -> u64 {
        let due = self.due(now).filter(|key| {
            let tracked = self.keys.get(key);
            tracked.is_some_and(|tracked| self.may_be_lost(key, tracked))
        });
        due.count() as u64
    }

    /// Whether the deaths of the whole run can have lost this record.
    #[must_use]
    pub fn is_within_bound(&self, key: &Key) -> bool {
        let tracked = self.keys.get(key);
        tracked.is_some_and(|tracked| self.may_be_lost(key, tracked))
    }

    fn may_be_lost(&self, key: &Key, tracked: &Tracked) -> bool {
        let Some(floor) = tracked.floor else {
            return false;
        };
        let deaths = self.deaths.iter().filter(|death| death.keys.contains(key));
        // The number of windows that cover an instant grows only where a window begins.
        deaths
            .into_iter()
            .any(|death| self.covered(key, tracked, &floor, death.at))
    }

    /// Whether deaths for good cover a majority of the holders, or all who ever stored it.
    fn covered(&self, key: &Key, tracked: &Tracked, floor: &Floor, instant: u64) -> bool {
        let dead: BTreeSet<u32> = self
            .deaths
            .iter()
            .filter(|death| death.covers(instant) && death.keys.contains(key))
            .map(|death| death.host)
            .collect();
        let mut ever = tracked
            .ever
            .iter()
            .filter(|(version, _)| *version >= floor.version);
        let all = !dead.is_empty() && ever.all(|(_, host)| dead.contains(host));
        all || dead.len() > floor.copies / 2
    }
}
