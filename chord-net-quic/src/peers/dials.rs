//! Dials under way, and the calls that wait for them.
//!
//! One dial to an address at a time. After a failure the next one waits a little longer each
//! time, up to a second; calls that come meanwhile wait for it: a back-off delays, it never
//! invents a failure.

use std::collections::{HashMap, VecDeque};

use chord_core::id::Id;
use chord_core::peer::Addr;
use chord_core::time::{Instant, Micros};

use crate::peers::Call;

/// Most addresses that are dialled, or were dialled in vain, at a time.
const DIALS_MAX: usize = 512;
/// Most calls that wait for one dial.
pub(super) const WAITING_MAX: usize = 128;
/// Wait after the first failure; doubled each time.
const BACKOFF_MIN: Micros = Micros::from_millis(50);
/// Longest wait after a failure.
const BACKOFF_MAX: Micros = Micros::from_secs(1);
/// How long failures at an address are remembered.
const FORGET: Micros = Micros::from_secs(30);

/// What is under way at one address.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) waiting: VecDeque<Call>,
    /// The host whose connection was reset: this dial decides whether it is dead.
    pub(super) verdict: Option<(Id, u32)>,
    pub(super) flying: bool,
    failures: u32,
    not_before: Instant,
}

/// What is under way, by address.
#[derive(Debug, Default)]
pub(super) struct Dials {
    dials: HashMap<Addr, Dial>,
}

impl Dials {
    /// The dial to an address, a new one if need be; `None` if there are too many.
    pub(super) fn at(&mut self, addr: Addr, now: Instant) -> Option<&mut Dial> {
        if self.dials.len() >= DIALS_MAX && !self.dials.contains_key(&addr) {
            self.forget_old(now, true);
            if self.dials.len() >= DIALS_MAX {
                return None;
            }
        }
        Some(self.dials.entry(addr).or_insert_with(|| Dial {
            waiting: VecDeque::new(),
            verdict: None,
            flying: false,
            failures: 0,
            not_before: now,
        }))
    }

    /// A dial brought a connection: what waited for it.
    pub(super) fn succeeded(&mut self, addr: Addr) -> Option<Dial> {
        self.dials.remove(&addr)
    }

    /// A dial brought none: what waited for it, and for whom it was to judge.
    pub(super) fn failed(
        &mut self,
        addr: Addr,
        now: Instant,
    ) -> (VecDeque<Call>, Option<(Id, u32)>) {
        let Some(dial) = self.dials.get_mut(&addr) else {
            return (VecDeque::new(), None);
        };
        dial.flying = false;
        dial.failures = dial.failures.saturating_add(1);
        let wait = BACKOFF_MIN
            .times(1 << dial.failures.saturating_sub(1).min(8))
            .min(BACKOFF_MAX);
        dial.not_before = now + wait;
        (std::mem::take(&mut dial.waiting), dial.verdict.take())
    }

    /// Addresses whose turn has come, now marked as under way, with whom is wanted there;
    /// nobody in particular if the list is empty.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Addr, Vec<Id>)> {
        let mut due = Vec::new();
        for (addr, dial) in &mut self.dials {
            let asked = !dial.waiting.is_empty() || dial.verdict.is_some();
            if dial.flying || !asked || now < dial.not_before {
                continue;
            }
            dial.flying = true;
            due.push((*addr, dial.wanted()));
        }
        due.sort_unstable();
        due
    }

    /// When the next back-off ends that somebody waits for.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.dials
            .values()
            .filter(|dial| !dial.flying && (!dial.waiting.is_empty() || dial.verdict.is_some()))
            .map(|dial| dial.not_before)
            .min()
    }

    /// Takes every waiting call that a host with these positions can serve.
    pub(super) fn take_for(&mut self, is_of: impl Fn(&Call) -> bool) -> Vec<Call> {
        let mut taken = Vec::new();
        for dial in self.dials.values_mut() {
            let (of, others) = std::mem::take(&mut dial.waiting)
                .into_iter()
                .partition(&is_of);
            dial.waiting = others;
            taken.extend::<VecDeque<Call>>(of);
        }
        taken.sort_unstable_by_key(|call| call.op);
        taken
    }

    /// Drops calls whose node has given up, and addresses nobody asked for in a while; in
    /// need also those that are only waiting to be forgotten.
    pub(super) fn forget_old(&mut self, now: Instant, in_need: bool) {
        self.dials.retain(|_, dial| {
            dial.waiting.retain(|call| now < call.terms.deadline);
            let idle = !dial.flying && dial.waiting.is_empty() && dial.verdict.is_none();
            !(idle && (in_need || now.since(dial.not_before) > FORGET))
        });
    }
}

impl Dial {
    fn wanted(&self) -> Vec<Id> {
        let mut wanted: Vec<Id> = self.verdict.map(|(host, _)| host).into_iter().collect();
        for call in &self.waiting {
            if call.to.is_seed() {
                return Vec::new();
            }
            if !wanted.contains(&call.to.id) {
                wanted.push(call.to.id);
            }
        }
        wanted
    }
}
