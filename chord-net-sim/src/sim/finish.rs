//! Checking: the whole ring now and then, everything at the end.
//!
//! ```text
//! last fault ── poll: ideal yet? ──▶ quiet is over ── ring must be ideal, copies complete
//!   ── lookups against brute force, every acknowledged key read ──▶ answers are in
//!   ── nothing open, nothing leaked, messages add up ──▶ done
//! ```

use chord_core::event::Failure;
use chord_core::id::Id;
use chord_core::message::{Key, Record};

use super::churn::Control;
use super::world::World;
use crate::chance::Purpose;
use crate::host::Process;
use crate::oracle::data::Judgement;
use crate::oracle::ring;
use crate::plan::Metric;
use crate::report::{Clients, Cost, Records, Report, Verdict};

/// Where the end of a run is.
#[derive(Clone, Default, Debug)]
pub(super) struct Finish {
    phase: Phase,
    /// From the last fault to an ideal ring, in microseconds.
    converged: Option<u64>,
    /// When the last fault was over.
    healed_at: u64,
    records: Records,
    /// Looks at the ring, and those with the invariants in force.
    checks: u64,
    in_force: u64,
    /// When the phase must be over.
    until: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Phase {
    #[default]
    Running,
    Quiet,
    Checking,
    Draining,
    Finished,
}

/// Time between two looks at a ring that should become ideal, in microseconds.
const POLL: u64 = 250_000;
/// Lookups that each member makes in the final checks, if there are few members.
const LOOKUPS_EACH: usize = 8;
/// How long a process may take to become a member before it is missed, in microseconds.
const NEWCOMER: u64 = 30_000_000;
/// Most lookups of the final checks.
const LOOKUPS_MAX: usize = 2_000;
/// Time in which each node must once have nothing in flight, in microseconds.
const DRAIN: u64 = 30_000_000;

#[cfg(test)]
impl Finish {
    /// As if a read had found a loss that the failures explain.
    pub(super) fn count_explained(&mut self) {
        self.records.lost_explained += 1;
    }
}

impl World {
    /// Whether the run and its checks are over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finish.phase == Phase::Finished
    }

    /// Looks at the ring as a whole, and again later.
    pub(super) fn check_ring(&mut self) {
        if self.finish.phase == Phase::Finished {
            return;
        }
        self.schedule(self.now + self.plan.check_full, Control::Check);
        self.overdue();
        let up = |world: &Self, host: u32| world.hosts[host as usize].is_up();
        let mut data = std::mem::take(&mut self.data);
        data.close_windows(|host| up(self, host), self.members.len(), self.now);
        if self.links.stands() {
            self.disturbed();
        }
        let (members, since) = (self.members.len(), self.quiet_since);
        let unfinished = data.unfinished(|host| up(self, host), members, since, self.now);
        self.data = data;
        for detail in unfinished {
            self.violate("repair-unfinished", detail);
        }
        if self.links.parted() {
            self.premises.void();
        }
        let length = usize::from(self.plan.ring.successors);
        let views = self.views();
        for view in &views {
            if let Some(detail) = ring::disorder(view, length) {
                self.violate("list-order", detail);
            }
        }
        let whole = !self.links.parted() && self.expected_or_leaving() == views.len();
        if whole && ring::imperfections(&views, length).is_empty() {
            self.premises.ideal(views.len());
            self.owners.ideal(self.now);
        }
        self.finish.checks += 1;
        if !self.premises.hold(length) {
            return;
        }
        self.finish.in_force += 1;
        for stranded in ring::stranded(&views, |peer| self.is_live(peer)) {
            self.violate("live-entry", format!("{stranded:?} has no live successor"));
        }
        let skipped = ring::skipped(&views);
        let principals = views.len() - skipped.len();
        if principals <= length {
            let members = views.len();
            let detail = format!("{principals} principals of {members} members: {skipped:?}");
            self.violate("principals", detail);
        }
    }

    /// Hosts that should be members: up for a while, or members already; and those that leave,
    /// which are none, but while they are up others may still take in what they list.
    fn expected_or_leaving(&self) -> usize {
        let newcomer = |process: &Process| process.awake_since + NEWCOMER > self.now;
        let up = self.hosts.iter().enumerate().filter(|(index, host)| {
            let member = self
                .members
                .iter()
                .any(|(_, member)| *member as usize == *index);
            let process = host.process.as_ref();
            process.is_some_and(|process| host.leaving || member || !newcomer(process))
        });
        up.count()
    }

    /// Reports tickets that were due and are open.
    fn overdue(&mut self) {
        let now = self.now;
        let mut late = Vec::new();
        for (host, state) in self.hosts.iter_mut().enumerate() {
            if let Some(process) = &mut state.process {
                // Whoever stood still gets a moment to catch up.
                if process.awake_since.saturating_add(10_000_000) < now {
                    late.extend(process.overdue(now).into_iter().map(|open| (host, open)));
                }
            }
        }
        for (host, open) in late {
            let due = open.due as f64 / 1e6;
            let detail = format!(
                "host {host}: {:?} for {:?}, due {due:.3} s",
                open.ticket, open.asked
            );
            self.violate("ticket-overdue", detail);
        }
    }

    /// The run is over: faults end, and the ring gets its rest.
    pub(super) fn end_run(&mut self) {
        self.count_time();
        self.links.heal();
        self.owners.heal_all(self.now);
        self.links.faulty = false;
        self.finish.phase = Phase::Quiet;
        self.finish.healed_at = self.now;
        self.finish.until = self.now + self.plan.quiet;
        self.trace.tell(self.now, "the run is over, rest begins");
        self.schedule(self.now, Control::Finish);
    }

    /// Goes on with the final checks.
    pub(super) fn finish(&mut self) {
        let over = self.now >= self.finish.until;
        match self.finish.phase {
            Phase::Running | Phase::Finished => return,
            Phase::Quiet => {
                self.watch_convergence();
                if over {
                    self.check_rest();
                }
            }
            Phase::Checking => {
                if over || self.work.checks_open == 0 {
                    self.answers_are_in();
                }
            }
            Phase::Draining => {
                if over {
                    self.check_leaks();
                    self.finish.phase = Phase::Finished;
                    return;
                }
            }
        }
        self.schedule(self.now + POLL, Control::Finish);
    }

    fn watch_convergence(&mut self) {
        if self.finish.converged.is_none() && self.imperfections().is_empty() {
            self.finish.converged = Some(self.now - self.finish.healed_at);
        }
    }

    /// Whether faults are over.
    pub(super) fn is_at_rest(&self) -> bool {
        self.finish.phase != Phase::Running
    }

    /// At rest: the ring is ideal, and every record is at its number of copies.
    fn check_rest(&mut self) {
        for wrong in self.imperfections() {
            self.violate("ring-at-rest", wrong);
        }
        let up = |host: u32| self.hosts[host as usize].is_up();
        for (key, have, wanted) in self.data.short_of_copies(up, self.members.len(), self.now) {
            if !self.data.is_explained(&key) {
                let what = self.data.describe(&key);
                self.violate(
                    "copies-at-rest",
                    format!("{key:?} has {have} of {wanted}: {what}"),
                );
            }
        }
        let members: Vec<u32> = self.members.iter().map(|(_, host)| *host).collect();
        let each = (LOOKUPS_MAX / members.len().max(1)).clamp(1, LOOKUPS_EACH);
        for host in &members {
            for _ in 0..each {
                let target = Id::hash(&self.stream.next(Purpose::Check).to_be_bytes());
                self.look_up(*host, target, true);
            }
        }
        let keys: Vec<Key> = self.data.due(self.now).cloned().collect();
        self.finish.records.acknowledged = keys.len() as u64;
        self.finish.records.lost_bound = self.data.bound(self.now);
        for (n, key) in keys.into_iter().enumerate() {
            match self.stream.index(Purpose::Check, members.len()) {
                Some(at) => self.read(members[at], key, n % 2 == 1, true),
                None => self.violate("ring-at-rest", "nobody is a member".to_owned()),
            }
        }
        self.finish.phase = Phase::Checking;
        self.finish.until = self.now + self.plan.ring.command_timeout.0 + 10_000_000;
    }

    /// A final read got an answer.
    pub(super) fn finally_read(&mut self, key: &Key, record: Option<&Record>) {
        match self.data.judge(key, record, self.now) {
            Judgement::Right => self.finish.records.readable += 1,
            Judgement::LostExplained(detail) => self.lost_explained(key, &detail),
            Judgement::LostUnexplained(detail) => {
                self.finish.records.lost_unexplained += 1;
                self.violate("lost-write", detail);
            }
            Judgement::Wrong(detail) => self.violate("read", detail),
        }
    }

    /// What looked explained in the middle of a run must be so at its end: those who came back
    /// with their disks explain nothing.
    fn lost_explained(&mut self, key: &Key, detail: &str) {
        self.finish.records.lost_explained += 1;
        self.trace
            .tell(self.now, &format!("lost, explained: {detail}"));
        if !self.data.is_within_bound(key) {
            let what = self.data.describe(key);
            let detail = format!("{key:?}: the hosts that explain its loss came back: {what}");
            self.violate("explained-bound", detail);
        }
    }

    /// A final read got none.
    pub(super) fn finally_unreadable(&mut self, gateway: u32, key: &Key, failure: Failure) {
        if self.data.is_explained(key) {
            self.lost_explained(key, "unreadable");
            return;
        }
        self.finish.records.lost_unexplained += 1;
        let what = self.data.describe(key);
        self.violate(
            "lost-write",
            format!("{key:?} through host {gateway}: {failure:?}: {what}"),
        );
    }

    fn answers_are_in(&mut self) {
        let records = &self.finish.records;
        if records.lost_explained > records.lost_bound {
            let (lost, bound) = (records.lost_explained, records.lost_bound);
            let detail = format!("{lost} losses explained, the deaths allow {bound}");
            self.violate("explained-bound", detail);
        }
        if self.work.checks_open > 0 {
            let open = self.work.checks_open;
            self.violate(
                "ticket-overdue",
                format!("{open} final checks have no answer"),
            );
        }
        for host in &mut self.hosts {
            if let Some(process) = &mut host.process {
                process.ops_least = None;
            }
        }
        self.finish.phase = Phase::Draining;
        self.finish.until = self.now + DRAIN;
    }

    /// At rest for a while: nothing is open for ever, and messages add up.
    fn check_leaks(&mut self) {
        self.overdue();
        let mut leaks = Vec::new();
        for (host, state) in self.hosts.iter().enumerate() {
            let Some(process) = &state.process else {
                continue;
            };
            if process.ops_least.is_some_and(|least| least > 0) {
                leaks.push(format!(
                    "host {host} always has {:?} in flight",
                    process.ops_least
                ));
            }
        }
        for leak in leaks {
            self.violate("operation-leak", leak);
        }
        let (messages, waiting) = (self.messages, self.in_flight());
        if messages.sent != messages.delivered + messages.dropped + waiting {
            self.violate(
                "messages-add-up",
                format!("{messages:?}, {waiting} in flight"),
            );
        }
    }

    /// The report of the run so far; complete once it is finished.
    #[must_use]
    pub fn report(&self) -> Report {
        let lookups = self.work.lookups.report();
        let seconds = self.node_time as f64 / 1e6;
        let cost = Cost {
            bytes_per_node_second: self.bytes as f64 / seconds.max(1e-9),
        };
        let mut violations = self.violations.clone();
        for expectation in &self.plan.expect {
            let value = self.measure(expectation.metric);
            if !expectation.met(value) {
                let name = expectation.metric.name();
                let detail = format!("{name} is {value}, expected {}", expectation.text);
                violations.report(self.now, "expect", detail);
            }
        }
        let verdict = if violations.total() > 0 {
            Verdict::Fail
        } else if self.ledger.vacuous().next().is_some() {
            Verdict::Vacuous
        } else {
            Verdict::Pass
        };
        Report {
            verdict,
            scenario: self.plan.name.clone(),
            seed: self.seed,
            trace_hash: self.trace.hash(),
            nodes: self.members.len(),
            simulated_seconds: self.now as f64 / 1e6,
            wall_seconds: 0.0,
            events: self.trace.events(),
            events_per_second: 0.0,
            converged_seconds: self.finish.converged.map(|micros| micros as f64 / 1e6),
            ring_checks: self.finish.checks,
            ring_checks_in_force: self.finish.in_force,
            lookups,
            records: self.finish.records,
            clients: Clients {
                quorum_reads: self.reads.checked,
                quorum_excused: self.reads.excused,
                ..self.work.clients
            },
            cost,
            messages: self.messages,
            population: self.population,
            violations: violations.kept().to_vec(),
            violations_total: violations.total(),
            faults: self.ledger.rows().to_vec(),
        }
    }

    /// What an expectation is compared with, in the unit of the metric.
    fn measure(&self, metric: Metric) -> f64 {
        let share = |part: u64, of: u64| {
            if of == 0 {
                1.0
            } else {
                part as f64 / of as f64
            }
        };
        let lookups = self.work.lookups.report();
        let clients = self.work.clients;
        let seconds = self.node_time as f64 / 1e6;
        match metric {
            Metric::LookupSuccess => share(lookups.ok, lookups.total),
            Metric::LookupP50 => lookups.latency_p50_ms * 1e3,
            Metric::LookupP99 => lookups.latency_p99_ms * 1e3,
            Metric::HopsMean => lookups.hops_mean,
            Metric::PutSuccess => share(clients.writes_ok, clients.writes),
            Metric::GetSuccess => share(clients.reads_ok, clients.reads),
            Metric::ConvergedWithin => self
                .finish
                .converged
                .map_or(f64::INFINITY, |micros| micros as f64),
            Metric::BytesPerNode => self.bytes as f64 / seconds.max(1e-9),
            Metric::LostExplained => self.finish.records.lost_explained as f64,
        }
    }
}
