//! What the scenario does to the world: the first members, coming and going, faults.

use std::sync::Arc;

use chord_core::event::Command;
use chord_core::id::Id;

use super::finish::Finish;
use super::work::Work;
use super::world::{Rows, World};
use crate::chance::{Probability, Purpose, Stream};
use crate::host::{Asked, Trouble};
use crate::ledger::{Ledger, RowId};
use crate::link::{Barrier, Links, Stops};
use crate::oracle::Violations;
use crate::oracle::data::Data;
use crate::oracle::owners::Owners;
use crate::oracle::reads::Reads;
use crate::oracle::ring::Premises;
use crate::plan::{Bootstrap, DiskFate, FaultKind, Plan, Rate, Scheduled, Split, Whom};
use crate::queue::{Queue, Turn};
use crate::report::{Messages, Population};
use crate::trace::Trace;

/// Something the scenario does.
#[derive(Clone, Debug)]
pub(super) enum Control {
    /// A new host starts.
    Spawn,
    /// A host starts again.
    Start { host: u32 },
    /// A node that is no member hears of its seeds again.
    TellSeeds { host: u32 },
    /// A command that waited for a process to go on.
    Command {
        host: u32,
        asked: Asked,
        due: u64,
        command: Command,
    },
    /// The warm-up ends.
    Begin,
    /// Churn, faults and work end.
    End,
    /// The ring is checked as a whole.
    Check,
    /// The final checks go on.
    Finish,
    /// The next lookup begins.
    Lookup,
    /// The next operation on a record begins.
    Record,
    /// The next newcomer.
    ChurnJoin,
    /// The next crash.
    ChurnCrash,
    /// The next leave.
    ChurnLeave,
    /// An occurrence of a scheduled fault begins.
    Fault { number: usize, occurrence: u32 },
    /// One victim of a fault crashes, and starts again after `back`.
    Crash {
        host: u32,
        disk: DiskFate,
        back: Option<u64>,
    },
    /// The wall clock of a host jumps.
    Clock { host: u32, by: i64 },
    /// A barrier is removed.
    Heal { barrier: u64 },
}

impl World {
    /// The world of a plan at its very beginning: the first members are scheduled.
    #[must_use]
    pub fn new(plan: &Plan, seed: u64) -> Self {
        let mut ledger = Ledger::default();
        let rows = rows(plan, &mut ledger);
        let scheduled = scheduled(plan, &mut ledger);
        let mut world = Self {
            plan: Arc::new(plan.clone()),
            seed,
            now: 0,
            queue: Queue::default(),
            caused: 0,
            hosts: Vec::new(),
            links: Links::new(seed, plan.latency, plan.background),
            stream: Stream::new(seed, Turn::WORLD),
            members: Vec::new(),
            ledger,
            rows,
            scheduled,
            trace: Trace::default(),
            messages: Messages::default(),
            bytes: 0,
            node_time: 0,
            node_time_at: 0,
            population: Population::default(),
            violations: Violations::default(),
            premises: Premises::default(),
            data: Data::default(),
            owners: Owners::default(),
            reads: Reads::default(),
            quiet_since: 0,
            work: Work::default(),
            finish: Finish::default(),
            actions: Vec::new(),
        };
        for n in 0..u64::from(plan.nodes) {
            let at = match plan.bootstrap {
                Bootstrap::OneByOne { interval } => n * interval,
                Bootstrap::Flash => {
                    if n == 0 {
                        0
                    } else {
                        plan.bootstrap_time()
                    }
                }
            };
            world.schedule(at, Control::Spawn);
        }
        world.schedule(plan.warmup, Control::Begin);
        world.schedule(plan.warmup + plan.duration, Control::End);
        world.schedule(plan.check_full, Control::Check);
        world
    }

    /// Does what the scenario wants done now.
    pub(super) fn control(&mut self, control: Control) {
        match control {
            Control::Spawn => {
                self.spawn();
            }
            Control::Start { host } => {
                self.start(host);
                self.fired(self.rows.restarts);
            }
            Control::TellSeeds { host } => self.tell_seeds(host),
            Control::Command {
                host,
                asked,
                due,
                command,
            } => {
                self.command(host, asked, due, command);
            }
            Control::Begin => self.begin_run(),
            Control::End => self.end_run(),
            Control::Check => self.check_ring(),
            Control::Finish => self.finish(),
            Control::Lookup => self.next_lookup(),
            Control::Record => self.next_record(),
            Control::ChurnJoin => self.churn_join(),
            Control::ChurnCrash => self.churn_crash(),
            Control::ChurnLeave => self.churn_leave(),
            Control::Fault { number, occurrence } => self.fault(number, occurrence),
            Control::Crash { host, disk, back } => {
                self.crash(host, disk);
                if let Some(back) = back {
                    self.schedule(self.now + back, Control::Start { host });
                }
            }
            Control::Clock { host, by } => self.set_clock(host, by),
            Control::Heal { barrier } => {
                self.links.remove(barrier);
                self.owners.heal(barrier, self.now);
                self.trace.tell(self.now, "a barrier falls");
            }
        }
    }

    /// Wakes churn, faults and work at the end of the warm-up.
    fn begin_run(&mut self) {
        self.links.faulty = true;
        self.count_time();
        for number in 0..self.plan.faults.len() {
            let Scheduled {
                at, every, times, ..
            } = self.plan.faults[number];
            for occurrence in 0..times {
                let time = self.now + at + every * u64::from(occurrence);
                // What would begin after the end of the run does not happen.
                if time < self.plan.warmup + self.plan.duration {
                    self.schedule(time, Control::Fault { number, occurrence });
                }
            }
        }
        let churn = &self.plan.churn;
        let (joins, crashes, leaves) = (churn.joins, churn.crashes, churn.leaves);
        self.again(Purpose::Join, joins, Control::ChurnJoin);
        self.again(Purpose::Crash, crashes, Control::ChurnCrash);
        self.again(Purpose::Leave, leaves, Control::ChurnLeave);
        let (lookups, records) = (self.plan.lookups, self.plan.records);
        self.again(Purpose::Lookup, lookups, Control::Lookup);
        self.again(
            Purpose::Record,
            records.map(|work| work.rate),
            Control::Record,
        );
    }

    /// Schedules the next event of a process, unless the run is over by then.
    fn again(&mut self, purpose: Purpose, rate: Option<Rate>, control: Control) {
        let Some(rate) = rate else { return };
        let time = self.now + self.wait(purpose, rate);
        if time < self.plan.warmup + self.plan.duration {
            self.schedule(time, control);
        }
    }

    fn churn_join(&mut self) {
        self.again(Purpose::Join, self.plan.churn.joins, Control::ChurnJoin);
        if self.members.len() < self.plan.churn.members_max as usize {
            self.fired(self.rows.joins);
            self.spawn();
        }
    }

    fn churn_crash(&mut self) {
        self.again(Purpose::Crash, self.plan.churn.crashes, Control::ChurnCrash);
        let Some(host) = self.victim(Purpose::Crash) else {
            return;
        };
        let (back, down) = (self.plan.churn.back, self.plan.churn.down);
        let drawn = self.stream.next(Purpose::Down);
        let disk = self.plan.churn.disk(drawn);
        let back = self.stream.hit(Purpose::Down, back);
        let down = self.stream.exponential(Purpose::Down, down);
        self.fired(self.rows.crashes);
        self.crash(host, disk);
        if back {
            self.schedule(self.now + down, Control::Start { host });
        }
    }

    fn churn_leave(&mut self) {
        self.again(Purpose::Leave, self.plan.churn.leaves, Control::ChurnLeave);
        let Some(host) = self.victim(Purpose::Leave) else {
            return;
        };
        self.fired(self.rows.leaves);
        self.leave(host);
    }

    /// A member that may go, drawn by chance.
    fn victim(&mut self, purpose: Purpose) -> Option<u32> {
        if self.members.len() <= self.plan.churn.members_min as usize {
            return None;
        }
        let at = self.stream.index(purpose, self.members.len())?;
        Some(self.members[at].1)
    }

    fn fault(&mut self, number: usize, occurrence: u32) {
        let plan = Arc::clone(&self.plan);
        let fault = &plan.faults[number];
        let row = self.scheduled[number];
        self.trace.tell(
            self.now,
            &format!("fault {number} begins: {:?}", fault.kind),
        );
        let barrier = (number as u64) << 32 | u64::from(occurrence);
        match &fault.kind {
            FaultKind::Partition { split, one_way } => {
                let inside = self.inside(*split);
                let stops = if *one_way {
                    Stops::Outward
                } else {
                    Stops::Both
                };
                self.premises.void();
                self.owners.split(barrier, inside.clone(), self.now);
                self.erect(
                    barrier,
                    Barrier {
                        row,
                        inside,
                        stops,
                        fired: false,
                    },
                    fault.lasts,
                );
            }
            FaultKind::Blackhole { request } => {
                let stops = Stops::Requests(*request);
                let inside = Vec::new();
                self.erect(
                    barrier,
                    Barrier {
                        row,
                        inside,
                        stops,
                        fired: false,
                    },
                    fault.lasts,
                );
            }
            FaultKind::Crash {
                whom,
                disk,
                gap,
                spread,
            } => {
                let disk = *disk;
                for (n, host) in self.victims(whom, row).into_iter().enumerate() {
                    let time = self.now + gap * n as u64;
                    let late = match spread {
                        0 => 0,
                        spread => self.stream.below(Purpose::Fault, spread + 1),
                    };
                    let back = fault.lasts.map(|lasts| lasts + late);
                    self.schedule(time, Control::Crash { host, disk, back });
                }
            }
            FaultKind::Leave { whom } => {
                for host in self.victims(whom, row) {
                    self.leave(host);
                }
            }
            FaultKind::Join { nodes } => {
                self.ledger.fire(row);
                for _ in 0..*nodes {
                    self.spawn();
                }
            }
            FaultKind::Clock { whom, by } => {
                for host in self.victims(whom, row) {
                    let drawn = self.stream.index(Purpose::Clock, by.len());
                    let by = drawn.map_or(0, |at| by[at]);
                    self.set_clock(host, by);
                    if let Some(lasts) = fault.lasts {
                        let back = Control::Clock { host, by: -by };
                        self.schedule(self.now + lasts, back);
                    }
                }
            }
            FaultKind::DiskFull { whom } => {
                let until = self.now + fault.lasts.unwrap_or(0);
                self.trouble(whom, Trouble::Full { until, row });
            }
            FaultKind::DiskError { whom } => {
                let (back, ending) = (fault.lasts, false);
                self.trouble(whom, Trouble::Failing { back, ending, row });
            }
            FaultKind::Pause { whom } => {
                for host in self.victims(whom, row) {
                    self.pause(host, fault.lasts.unwrap_or(0));
                }
            }
        }
    }

    fn erect(&mut self, number: u64, barrier: Barrier, lasts: Option<u64>) {
        self.links.erect(number, barrier);
        self.schedule(
            self.now + lasts.unwrap_or(0),
            Control::Heal { barrier: number },
        );
    }

    /// The hosts that a fault hits; it fires if there are any.
    fn victims(&mut self, whom: &Whom, row: RowId) -> Vec<u32> {
        let victims = self.targets(whom);
        if !victims.is_empty() {
            self.ledger.fire(row);
        }
        victims
    }

    /// The hosts that a fault aims at.
    pub(super) fn targets(&mut self, whom: &Whom) -> Vec<u32> {
        match whom {
            Whom::These(hosts) => {
                let up = |host: &u32| self.hosts.get(*host as usize).is_some_and(|h| h.is_up());
                hosts.iter().copied().filter(up).collect()
            }
            Whom::Any(count) => self.some_members(*count as usize),
            Whom::All => self.members.iter().map(|(_, host)| *host).collect(),
        }
    }

    /// So many different members, drawn by chance.
    fn some_members(&mut self, count: usize) -> Vec<u32> {
        let mut left: Vec<u32> = self.members.iter().map(|(_, host)| *host).collect();
        let mut drawn = Vec::new();
        while drawn.len() < count {
            let Some(at) = self.stream.index(Purpose::Fault, left.len()) else {
                break;
            };
            drawn.push(left.swap_remove(at));
        }
        drawn
    }

    fn inside(&mut self, split: Split) -> Vec<bool> {
        let mut inside = vec![false; self.hosts.len()];
        match split {
            Split::Half => {
                for host in self.some_members(self.members.len() / 2) {
                    inside[host as usize] = true;
                }
            }
            Split::Isolate(nodes) => {
                for host in self.some_members(nodes as usize) {
                    inside[host as usize] = true;
                }
            }
            Split::Arc(share) => {
                let start = Id::from_prefix(self.stream.next(Purpose::Fault));
                let length = (share * 18_446_744_073_709_551_616.0) as u64;
                for (host, inside) in self.hosts.iter().zip(&mut inside) {
                    *inside = start.distance(host.id).prefix() < length;
                }
            }
        }
        inside
    }
}

fn rows(plan: &Plan, ledger: &mut Ledger) -> Rows {
    let mut chance =
        |kind: &str, p: Probability| (!p.is_zero()).then(|| ledger.configure(kind, 1, None));
    let (drop, duplicate, reorder, refused) = (
        chance("drop", plan.background.drop),
        chance("duplicate", plan.background.duplicate),
        chance("reorder", plan.background.reorder),
        chance("refused", plan.background.refused),
    );
    let restarts = if plan.churn.crashes.is_some() {
        chance("churn-restart", plan.churn.back)
    } else {
        None
    };
    let mut rate = |kind: &str, rate: Option<Rate>| rate.map(|_| ledger.configure(kind, 1, None));
    Rows {
        drop,
        duplicate,
        reorder,
        refused,
        restarts,
        joins: rate("churn-join", plan.churn.joins),
        crashes: rate("churn-crash", plan.churn.crashes),
        leaves: rate("churn-leave", plan.churn.leaves),
    }
}

fn scheduled(plan: &Plan, ledger: &mut Ledger) -> Vec<RowId> {
    let faults = plan.faults.iter();
    faults
        .map(|fault| {
            let at = fault.at as f64 / 1e6;
            ledger.configure(fault.kind.name(), u64::from(fault.times), Some(at))
        })
        .collect()
}
