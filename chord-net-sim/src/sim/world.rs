//! The world: hosts, links, and the one queue that moves them.
//!
//! It is plain data: a clone goes its own way from the moment it was made. Whatever has to
//! be seen to happen is an [`Entry`] of the queue; a step takes one.

use std::sync::Arc;

use chord_core::event::{Action, Event, OpId};
use chord_core::id::Id;
use chord_core::peer::Peer;
use chord_core::time::{Instant, Now};

use super::churn::Control;
use super::entry::{Entry, Message};
use super::finish::Finish;
use super::work::Work;
use super::{Progress, inspect};
use crate::chance::Stream;
use crate::host::{Asked, Host};
use crate::kind;
use crate::ledger::{Ledger, RowId};
use crate::link::{Fate, Links};
use crate::oracle::data::Data;
use crate::oracle::owners::Owners;
use crate::oracle::reads::Reads;
use crate::oracle::ring::Premises;
use crate::oracle::{Violations, ring};
use crate::plan::Plan;
use crate::queue::{Queue, Turn};
use crate::report::{Messages, Population};
use crate::trace::Trace;

/// The wall clock at the start of every run: 2026-01-01.
const EPOCH: u64 = 1_767_225_600_000_000;

/// Wakes in a row at one moment after which a node is taken to spin.
const SPINS_MAX: u32 = 1_000;

/// Everything there is.
#[derive(Clone, Debug)]
pub struct World {
    pub(super) plan: Arc<Plan>,
    pub(super) seed: u64,
    pub(super) now: u64,
    pub(super) queue: Queue<Entry>,
    pub(super) caused: u64,
    pub(super) hosts: Vec<Host>,
    pub(super) links: Links,
    pub(super) stream: Stream,
    /// Members by position: what an ideal ring would consist of.
    pub(super) members: Vec<(Id, u32)>,
    pub(super) ledger: Ledger,
    pub(super) rows: Rows,
    pub(super) scheduled: Vec<RowId>,
    pub(super) trace: Trace,
    pub(super) messages: Messages,
    pub(super) bytes: u64,
    /// Members, integrated over time after the warm-up, in microseconds.
    pub(super) node_time: u64,
    pub(super) node_time_at: u64,
    pub(super) population: Population,
    pub(super) violations: Violations,
    pub(super) premises: Premises,
    pub(super) data: Data,
    pub(super) owners: Owners,
    pub(super) reads: Reads,
    /// When the last failure, arrival or departure was over, in microseconds.
    pub(super) quiet_since: u64,
    pub(super) work: Work,
    pub(super) finish: Finish,
    pub(super) actions: Vec<Action>,
}

/// The ledger's rows of faults that come by chance.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Rows {
    pub(super) drop: Option<RowId>,
    pub(super) duplicate: Option<RowId>,
    pub(super) reorder: Option<RowId>,
    pub(super) refused: Option<RowId>,
    pub(super) joins: Option<RowId>,
    pub(super) crashes: Option<RowId>,
    pub(super) leaves: Option<RowId>,
    pub(super) restarts: Option<RowId>,
}

impl World {
    /// Simulated time, in microseconds since the start.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The same, to record more of it.
    pub fn trace_mut(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// All hosts, dead ones included, in the order in which they were created.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The promises broken so far.
    #[must_use]
    pub fn violations(&self) -> &Violations {
        &self.violations
    }

    /// How far the run is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let plan = &self.plan;
        Progress {
            simulated_seconds: self.now as f64 / 1e6,
            total_seconds: (plan.warmup + plan.duration + plan.quiet) as f64 / 1e6,
            events: self.trace.events(),
            members: self.members.len(),
        }
    }

    /// Both clocks of a host. The monotonic ones run alike; wall clocks may be off.
    pub(super) fn clocks(&self, host: u32) -> Now {
        let off = self.hosts[host as usize].wall_off;
        Now {
            mono: Instant(self.now),
            wall: EPOCH.saturating_add(self.now).saturating_add_signed(off),
        }
    }

    /// Takes one entry of the queue; false if there is none.
    pub fn step(&mut self) -> bool {
        let Some((turn, entry)) = self.queue.pop() else {
            return false;
        };
        self.now = turn.time;
        match entry {
            Entry::Message(message) => self.arrive(message),
            Entry::Failed {
                host,
                incarnation,
                op,
                error,
            } => {
                if self.runs(host, incarnation) && self.take_call(host, op) {
                    self.handle(
                        host,
                        Event::Answer {
                            op,
                            result: Err(error),
                        },
                    );
                }
            }
            Entry::Store {
                host,
                incarnation,
                op,
                work,
            } => {
                self.carry_out(host, incarnation, op, work);
            }
            Entry::Wake { host, incarnation } => self.wake(host, incarnation),
            Entry::Gone {
                host,
                incarnation,
                records_left,
            } => {
                if self.runs(host, incarnation) {
                    self.end_by_leaving(host, records_left);
                }
            }
            Entry::Control(control) => self.control(control),
        }
        true
    }

    /// Steps until simulated time reaches `until`, in microseconds since the start.
    pub fn run_until(&mut self, until: u64) {
        while self.queue.next_time().is_some_and(|next| next <= until) && self.step() {}
        self.now = self.now.max(until);
    }

    /// Queues an entry that a host causes, `delay` microseconds from now.
    pub(super) fn after(&mut self, delay: u64, host: u32, entry: Entry) {
        let counter = &mut self.hosts[host as usize].caused;
        let turn = Turn {
            time: self.now.saturating_add(delay),
            sender: host,
            counter: *counter,
        };
        *counter += 1;
        self.queue.push(turn, entry);
    }

    /// Queues something that the scenario causes.
    pub(super) fn schedule(&mut self, time: u64, control: Control) {
        let counter = self.caused;
        self.caused += 1;
        let turn = Turn {
            time: time.max(self.now),
            sender: Turn::WORLD,
            counter,
        };
        self.queue.push(turn, Entry::Control(control));
    }

    /// Puts a message on its link.
    pub(super) fn send(&mut self, message: Message, size: usize, request: Option<usize>) {
        let (from, to) = (message.from, message.to);
        let sender = &mut self.hosts[from as usize];
        let number = sender.sent;
        sender.sent += 1;
        self.messages.sent += 1;
        if self.now >= self.plan.warmup {
            self.bytes += size as u64;
        }
        match self.links.fate(from, to, number, request) {
            Fate::Dropped => {
                self.messages.dropped += 1;
                self.fired(self.rows.drop);
            }
            Fate::Stopped(first) => {
                self.messages.dropped += 1;
                self.fired(first);
            }
            Fate::Arrives { delay, held, again } => {
                if held {
                    self.fired(self.rows.reorder);
                }
                if let Some(again) = again {
                    self.messages.sent += 1;
                    self.fired(self.rows.duplicate);
                    self.after(again, from, Entry::Message(message.clone()));
                }
                self.after(delay, from, Entry::Message(message));
            }
        }
    }

    pub(super) fn fired(&mut self, row: Option<RowId>) {
        if let Some(row) = row {
            self.ledger.fire(row);
        }
    }

    /// Messages that wait in the queue.
    pub(super) fn in_flight(&self) -> u64 {
        let waiting = self.queue.entries();
        waiting
            .filter(|entry| matches!(entry, Entry::Message(_)))
            .count() as u64
    }

    /// Whether this life of a host runs.
    pub(super) fn runs(&self, host: u32, incarnation: u32) -> bool {
        let host = &self.hosts[host as usize];
        host.incarnation == incarnation && host.is_up()
    }

    pub(super) fn take_call(&mut self, host: u32, op: OpId) -> bool {
        let process = self.hosts[host as usize].process.as_mut();
        process.is_some_and(|process| process.take_call(op))
    }

    /// Until when a host stands still, if it does.
    pub(super) fn paused(&self, host: u32) -> Option<u64> {
        let process = self.hosts[host as usize].process.as_ref()?;
        process.paused_until.filter(|until| *until > self.now)
    }

    fn wake(&mut self, host: u32, incarnation: u32) {
        if !self.runs(host, incarnation) {
            return;
        }
        if let Some(until) = self.paused(host) {
            self.after(until - self.now, host, Entry::Wake { host, incarnation });
            return;
        }
        let now = self.now;
        let Some(process) = self.hosts[host as usize].process.as_mut() else {
            return;
        };
        if process.wake_at.is_none_or(|at| at > now) {
            // An earlier deadline was met meanwhile; this wake was for a later one.
            return;
        }
        process.wake_at = None;
        if process
            .node
            .next_deadline()
            .is_some_and(|deadline| deadline.0 <= now)
        {
            self.handle(host, Event::Wake);
        } else {
            self.arm(host);
        }
    }

    /// Lets a node handle an event and carries out what it wants. One event of the run.
    pub(super) fn handle(&mut self, host: u32, event: Event) {
        let clocks = self.clocks(host);
        self.trace.event(self.now, host, kind::event(&event));
        let wanted = self.trace.wants(self.now, host);
        if wanted {
            let line = if self.trace.is_brief() {
                kind::name(&event)
            } else {
                format!("{event:?}")
            };
            self.trace.write(self.now, host, &line);
        }
        let wanted = wanted && !self.trace.is_brief();
        let is_wake = event == Event::Wake;
        let Some(process) = self.hosts[host as usize].process.as_mut() else {
            return;
        };
        let mut actions = std::mem::take(&mut self.actions);
        process.node.handle(clocks, event, &mut actions);
        let again = process
            .node
            .next_deadline()
            .is_some_and(|at| at <= clocks.mono);
        process.spins = if is_wake && again {
            process.spins + 1
        } else {
            0
        };
        let broken = if self.plan.check_always {
            inspect::check(&process.node)
        } else {
            None
        };
        if let Some(process) = self.hosts[host as usize].process.as_mut() {
            let ops = u32::try_from(process.node.ops_in_flight()).unwrap_or(u32::MAX);
            process.ops_least = Some(process.ops_least.map_or(ops, |least| least.min(ops)));
        }
        if let Some(broken) = broken {
            self.violate("node-check", format!("host {host}: {broken}"));
        }
        self.trace.reaction(actions.len());
        for action in actions.drain(..) {
            if wanted {
                self.trace.write(self.now, host, &format!("    {action:?}"));
            }
            self.execute(host, action);
        }
        self.actions = actions;
        self.arm(host);
    }

    /// Queues a wake at the node's next deadline, unless an earlier one waits.
    fn arm(&mut self, host: u32) {
        let now = self.now;
        let Some(process) = self.hosts[host as usize].process.as_mut() else {
            return;
        };
        let Some(deadline) = process.node.next_deadline() else {
            return;
        };
        let mut at = deadline.0.max(now);
        if process.spins >= SPINS_MAX {
            process.spins = 0;
            at = now + 1_000;
            self.violate(
                "spins",
                format!("host {host} wants to be woken again and again"),
            );
        }
        let host_state = &mut self.hosts[host as usize];
        let incarnation = host_state.incarnation;
        let Some(process) = host_state.process.as_mut() else {
            return;
        };
        if process.wake_at.is_none_or(|queued| at < queued) {
            process.wake_at = Some(at);
            self.after(at - now, host, Entry::Wake { host, incarnation });
        }
    }

    /// Notes a broken promise.
    pub(super) fn violate(&mut self, invariant: &str, detail: String) {
        if self.trace.wants(self.now, u32::MAX) {
            self.trace.write(
                self.now,
                u32::MAX,
                &format!("VIOLATION {invariant}: {detail}"),
            );
        }
        self.violations.report(self.now, invariant, detail);
    }

    /// The views of all live members, sorted by id.
    pub(super) fn views(&self) -> Vec<chord_core::event::View> {
        let now = Instant(self.now);
        let up = self.hosts.iter().filter_map(|host| host.process.as_ref());
        let mut views: Vec<_> = up
            .filter_map(|process| inspect::view(&process.node, now))
            .collect();
        views.sort_by_key(|view| view.me.id);
        views
    }

    /// Whether a peer is up in that life.
    pub(super) fn is_live(&self, peer: Peer) -> bool {
        let index = crate::host::index_of(peer.addr);
        let host = self.hosts.get(index as usize);
        host.is_some_and(|host| host.is_up() && host.peer() == peer)
    }

    /// What keeps the ring from being ideal at this moment.
    #[must_use]
    pub fn imperfections(&self) -> Vec<String> {
        let views = self.views();
        let mut wrong = ring::imperfections(&views, usize::from(self.plan.ring.successors));
        let up = self.hosts.iter().filter(|host| host.is_up()).count();
        if up > views.len() {
            wrong.push(format!("{} of {up} nodes are no members", up - views.len()));
        }
        wrong
    }

    /// The life of a host's open tickets ended with it: tells the workload.
    pub(super) fn cut_off(&mut self, asked: Asked) {
        if let Asked::Work(operation) = asked {
            self.work_cut_off(operation);
        }
    }
}
