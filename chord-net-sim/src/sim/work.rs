//! What clients do: lookups, puts, gets and deletes through live members.

use std::collections::BTreeMap;

use bytes::Bytes;
use chord_core::event::{Command, Failure, Hop, Outcome};
use chord_core::id::Id;
use chord_core::message::{Key, Record, Version};
use chord_core::peer::Peer;
use chord_core::time::Micros;

use super::churn::Control;
use super::world::World;
use crate::chance::Purpose;
use crate::host::Asked;
use crate::oracle::data::{Attempt, Judgement, holders, sum};
use crate::oracle::owners::{Answer, Naming};
use crate::oracle::reads::{Order, Seen};
use crate::plan::Rate;
use crate::report::{Clients, Lookups};

/// Operations under way, and what came of the others.
#[derive(Clone, Default, Debug)]
pub(super) struct Work {
    next: usize,
    open: BTreeMap<usize, Operation>,
    pub(super) clients: Clients,
    pub(super) lookups: LookupCounts,
    /// What the final checks still wait for, and what they found.
    pub(super) checks_open: usize,
}

/// Lookups, counted.
#[derive(Clone, Default, Debug)]
pub(super) struct LookupCounts {
    total: u64,
    ok: u64,
    failed: u64,
    wrong_entering: u64,
    wrong_suspected: u64,
    wrong_apart: u64,
    wrong_live: u64,
    wrong_gone: u64,
    answered: u64,
    unanswered: u64,
    latencies: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Operation {
    begun: u64,
    gateway: u32,
    /// Part of the final checks: nothing may go wrong.
    final_check: bool,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// A lookup, and every host that owned the position since it began.
    Lookup { target: Id, owners: Vec<u32> },
    /// A put or a delete.
    Write { key: Key },
    /// A get, and the newest acknowledged version when it began.
    Read {
        key: Key,
        floor: Option<Version>,
        quorum: bool,
        /// What a quorum read may not go back behind.
        seen: Option<Seen>,
    },
}

impl LookupCounts {
    fn count_hops(&mut self, hops: &[Hop]) {
        let answered = hops.iter().filter(|hop| hop.round_trip.is_some()).count() as u64;
        self.answered += answered;
        self.unanswered += hops.len() as u64 - answered;
    }

    /// Counts what a named owner is worth; true if it is right.
    fn count_answer(&mut self, answer: Answer) -> bool {
        let count = match answer {
            Answer::Right => &mut self.ok,
            Answer::Entering => &mut self.wrong_entering,
            Answer::Suspected => &mut self.wrong_suspected,
            Answer::Apart => &mut self.wrong_apart,
            Answer::Wrong => &mut self.wrong_live,
            Answer::WrongGone => &mut self.wrong_gone,
        };
        *count += 1;
        answer == Answer::Right
    }

    /// The counts as reported.
    pub(super) fn report(&self) -> Lookups {
        let mut latencies = self.latencies.clone();
        latencies.sort_unstable();
        let quantile = |share: usize| {
            let at = (latencies.len() * share / 100).min(latencies.len().saturating_sub(1));
            latencies.get(at).map_or(0.0, |micros| *micros as f64 / 1e3)
        };
        let wrong = self.wrong_entering
            + self.wrong_suspected
            + self.wrong_apart
            + self.wrong_live
            + self.wrong_gone;
        let named = (self.ok + wrong).max(1) as f64;
        Lookups {
            total: self.total,
            ok: self.ok,
            failed: self.failed,
            wrong,
            wrong_entering: self.wrong_entering,
            wrong_suspected: self.wrong_suspected,
            wrong_apart: self.wrong_apart,
            wrong_live: self.wrong_live,
            wrong_gone: self.wrong_gone,
            hops_mean: self.answered as f64 / named,
            timeouts_mean: self.unanswered as f64 / named,
            latency_p50_ms: quantile(50),
            latency_p99_ms: quantile(99),
        }
    }
}

impl World {
    /// Time to the next event of a Poisson process, in microseconds.
    pub(super) fn wait(&mut self, purpose: Purpose, rate: Rate) -> u64 {
        let drawers = if rate.per_node {
            self.members.len().max(1)
        } else {
            1
        };
        self.stream
            .exponential(purpose, rate.interval / drawers as f64)
    }

    /// The workload begins a lookup, and plans the next one.
    pub(super) fn next_lookup(&mut self) {
        let Some(rate) = self.plan.lookups else {
            return;
        };
        let wait = self.wait(Purpose::Lookup, rate);
        if self.is_busy(wait) {
            self.schedule(self.now + wait, Control::Lookup);
        }
        let target = Id::hash(&self.stream.next(Purpose::Lookup).to_be_bytes());
        if let Some(at) = self.stream.index(Purpose::Lookup, self.members.len()) {
            self.look_up(self.members[at].1, target, false);
        }
    }

    /// The workload begins an operation on a record, and plans the next one.
    pub(super) fn next_record(&mut self) {
        let Some(work) = self.plan.records else {
            return;
        };
        let wait = self.wait(Purpose::Record, work.rate);
        if self.is_busy(wait) {
            self.schedule(self.now + wait, Control::Record);
        }
        let [put, get, delete, quorum] = work.mix.map(u64::from);
        let choice = self
            .stream
            .below(Purpose::Record, put + get + delete + quorum);
        let key = record_key(self.stream.below(Purpose::Record, u64::from(work.keys)));
        let Some(at) = self.stream.index(Purpose::Record, self.members.len()) else {
            return;
        };
        let gateway = self.members[at].1;
        if choice < put {
            self.write(gateway, key, true);
        } else if choice < put + get {
            self.read(gateway, key, false, false);
        } else if choice < put + get + delete {
            self.write(gateway, key, false);
        } else {
            self.read(gateway, key, true, false);
        }
    }

    /// Whether the workload still goes on after `wait`.
    fn is_busy(&self, wait: u64) -> bool {
        self.now + wait < self.plan.warmup + self.plan.duration
    }

    /// Begins a lookup.
    pub(super) fn look_up(&mut self, gateway: u32, target: Id, final_check: bool) {
        let owners = holders(&self.members, target, 1).collect();
        self.work.lookups.total += 1;
        self.begin(
            gateway,
            final_check,
            What::Lookup { target, owners },
            Command::Lookup { target },
        );
    }

    /// Begins a get.
    pub(super) fn read(&mut self, gateway: u32, key: Key, quorum: bool, final_check: bool) {
        if !final_check {
            self.work.clients.reads += 1;
        }
        let floor = self.data.floor(&key);
        let what = What::Read {
            key: key.clone(),
            floor,
            quorum,
            seen: self.reads.seen(&key),
        };
        self.begin(gateway, final_check, what, Command::Get { key, quorum });
    }

    fn write(&mut self, gateway: u32, key: Key, put: bool) {
        let Some(work) = self.plan.records else {
            return;
        };
        self.work.clients.writes += 1;
        let number = self.work.next;
        let default = self.plan.ring.copies;
        let copies = if work.copies == 0 {
            default
        } else {
            work.copies
        };
        let ttl = if work.ttl == 0 {
            self.plan.ring.ttl.0
        } else {
            work.ttl
        };
        let ttl = ttl.min(self.plan.ring.ttl_max.0);
        let what = What::Write { key: key.clone() };
        let command = if put {
            let value = value(number, work.size as usize);
            self.data
                .begun(&key, number, Some(sum(&value)), [self.now, ttl], copies);
            let (ttl, copies) = (Micros(work.ttl), work.copies);
            Command::Put {
                key,
                value,
                ttl,
                copies,
                expected: None,
            }
        } else {
            self.data.begun(&key, number, None, [self.now, ttl], copies);
            Command::Delete {
                key,
                expected: None,
            }
        };
        self.begin(gateway, false, what, command);
    }

    fn begin(&mut self, gateway: u32, final_check: bool, what: What, command: Command) {
        let number = self.work.next;
        self.work.next += 1;
        self.work.checks_open += usize::from(final_check);
        let operation = Operation {
            begun: self.now,
            gateway,
            final_check,
            what,
        };
        self.work.open.insert(number, operation);
        let due = self.now + self.plan.ring.command_timeout.0 + 3_000_000;
        self.command(gateway, Asked::Work(number), due, command);
    }

    /// The members changed: every open lookup may name the new owner too.
    pub(super) fn owners_changed(&mut self) {
        for operation in self.work.open.values_mut() {
            if let What::Lookup { target, owners } = &mut operation.what {
                for owner in holders(&self.members, *target, 1) {
                    if !owners.contains(&owner) {
                        owners.push(owner);
                    }
                }
            }
        }
    }

    /// The gateway of an operation died: nobody knows what came of it.
    pub(super) fn work_cut_off(&mut self, number: usize) {
        if let Some(operation) = self.work.open.remove(&number) {
            self.work.clients.cut_off += 1;
            self.work.checks_open -= usize::from(operation.final_check);
            if let What::Lookup { .. } = operation.what {
                self.work.lookups.total -= 1;
            }
        }
    }

    /// An operation ended.
    pub(super) fn work_done(&mut self, number: usize, result: Result<Outcome, Failure>) {
        let Some(operation) = self.work.open.remove(&number) else {
            self.violate("operation-once", format!("operation {number} ended twice"));
            return;
        };
        self.work.checks_open -= usize::from(operation.final_check);
        match &operation.what {
            What::Lookup { target, owners } => {
                self.looked_up(&operation, *target, owners, result);
            }
            What::Write { key } => self.written(number, operation.begun, key, result),
            What::Read { .. } => self.was_read(&operation, result),
        }
    }

    fn looked_up(
        &mut self,
        operation: &Operation,
        target: Id,
        owners: &[u32],
        result: Result<Outcome, Failure>,
    ) {
        let gateway = operation.gateway;
        let counts = &mut self.work.lookups;
        let wrong = match result {
            Ok(Outcome::Owner { owner, hops }) => {
                counts.count_hops(&hops);
                counts.latencies.push(self.now - operation.begun);
                let answer = self.judge_owner(operation, target, owners, owner);
                if self.work.lookups.count_answer(answer) {
                    return;
                }
                let named = crate::host::index_of(owner.addr);
                let wrong = format!(
                    "host {gateway}: {target:?} is owned by {owners:?}, not by host {named} \
                     ({answer:?})"
                );
                self.trace.tell(self.now, &wrong);
                wrong
            }
            Ok(other) => {
                counts.failed += 1;
                format!("host {gateway}: a lookup of {target:?} ended with {other:?}")
            }
            Err(failure) => {
                counts.failed += 1;
                format!("host {gateway}: a lookup of {target:?} failed: {failure:?}")
            }
        };
        self.trace.tell(self.now, &wrong);
        if operation.final_check {
            self.violate("lookup-at-rest", wrong);
        }
    }

    /// What it is worth that a lookup named `owner`.
    fn judge_owner(
        &self,
        operation: &Operation,
        target: Id,
        owners: &[u32],
        owner: Peer,
    ) -> Answer {
        let named = crate::host::index_of(owner.addr);
        let process = self
            .hosts
            .get(named as usize)
            .and_then(|host| host.process.as_ref());
        let behind = process.and_then(|process| process.node.ring().predecessor());
        let naming = Naming {
            target,
            gateway: operation.gateway,
            named,
            named_id: owner.id,
            behind: behind.map(|peer| crate::host::index_of(peer.addr)),
            begun: operation.begun,
            owners,
        };
        self.owners.judge(&self.members, &naming)
    }

    fn written(&mut self, number: usize, begun: u64, key: &Key, result: Result<Outcome, Failure>) {
        match result {
            Ok(Outcome::Written { version }) => {
                self.work.clients.writes_ok += 1;
                let calm = !self.owners.parted_since(begun);
                let which = |attempt: &Attempt| attempt.operation == number;
                let expires = self.data.lifetime_end(key, which);
                self.reads.wrote(key, version, expires, calm);
                let members = self.members.len();
                let wrong = self
                    .data
                    .acknowledged(key, number, version, self.now, members, calm);
                if let Some(wrong) = wrong {
                    self.violate("acknowledgement", wrong);
                }
            }
            Ok(other) => {
                self.violate("outcome", format!("a write ended with {other:?}"));
            }
            Err(Failure::NotMember | Failure::Overloaded | Failure::Conflict { .. }) => {
                self.data.void(key, number);
            }
            // Some holder had no room; others may have stored it.
            Err(Failure::Full) if self.plan.fills_disks() => {}
            Err(failure @ (Failure::Invalid | Failure::Full)) => {
                self.data.void(key, number);
                self.violate("outcome", format!("a good write ended with {failure:?}"));
            }
            Err(Failure::Unavailable { .. } | Failure::TimedOut | Failure::Storage) => {}
        }
    }

    fn was_read(&mut self, operation: &Operation, result: Result<Outcome, Failure>) {
        let What::Read {
            key,
            floor,
            quorum,
            seen,
        } = &operation.what
        else {
            return;
        };
        match result {
            Ok(Outcome::Got { record }) => {
                if *quorum {
                    let read = record.as_ref().map(|record| {
                        let value = Some(sum(&record.value));
                        let end = self
                            .data
                            .lifetime_end(key, |attempt| attempt.value == value);
                        (record.header.version, end)
                    });
                    self.check_order(operation.begun, key, *seen, read);
                }
                if operation.final_check {
                    self.finally_read(key, record.as_ref());
                } else {
                    self.work.clients.reads_ok += 1;
                    self.read_on_the_way(key, record.as_ref(), *floor);
                }
            }
            Ok(other) => self.violate("outcome", format!("a get ended with {other:?}")),
            Err(failure) => {
                if operation.final_check {
                    self.finally_unreadable(operation.gateway, key, failure);
                }
            }
        }
    }

    /// A quorum read may not go back, unless the failures explain a loss.
    pub(super) fn check_order(
        &mut self,
        begun: u64,
        key: &Key,
        seen: Option<Seen>,
        read: Option<(Version, u64)>,
    ) {
        let deleted = seen.is_some_and(|seen| self.data.may_be_deleted(key, seen.version));
        let calm = !self.owners.parted_since(begun);
        if let Order::Back(detail) = self.reads.read(key, seen, read, deleted, calm, self.now) {
            let what = self.data.describe(key);
            if self.data.is_explained(key) {
                self.trace
                    .tell(self.now, &format!("went back, explained: {detail}: {what}"));
            } else {
                self.violate("quorum-read", format!("{detail}: {what}"));
            }
        }
    }

    /// While the run is on, a reader may see less than the newest acknowledged write, but
    /// never what nobody wrote.
    fn read_on_the_way(&mut self, key: &Key, record: Option<&Record>, floor: Option<Version>) {
        let read = record.map(|record| record.header.version);
        match self.data.judge(key, record, self.now) {
            Judgement::Right => {}
            Judgement::Wrong(detail) => self.violate("read", detail),
            Judgement::LostExplained(detail) | Judgement::LostUnexplained(detail) => {
                // Only what was acknowledged before the read began was due.
                if floor.is_some_and(|floor| read.is_none_or(|read| read < floor)) {
                    self.work.clients.reads_stale += 1;
                    self.trace.tell(self.now, &format!("stale read: {detail}"));
                }
            }
        }
    }
}

/// The key with a number.
pub(super) fn record_key(number: u64) -> Key {
    let name = format!("record {number}");
    Key::new(Bytes::from(name)).expect("a short name is a key")
}

/// The value that an operation writes: no two alike, if there is room for a number.
fn value(operation: usize, size: usize) -> Bytes {
    let number = (operation as u64).to_be_bytes();
    let mut value: Vec<u8> = number.iter().copied().cycle().take(size).collect();
    if size < number.len() {
        value.copy_from_slice(&number[number.len() - size..]);
    }
    Bytes::from(value)
}
