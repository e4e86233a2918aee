//! Birth, death and everything between for one host.

use std::sync::Arc;

use chord_core::draw::below;
use chord_core::event::{Command, Event, Restored, StoreCommand};
use chord_core::node::Node;
use chord_core::peer::Addr;

use super::churn::Control;
use super::world::World;
use crate::chance::{Purpose, nth};
use crate::host::{Asked, Host, Process, Trouble};
use crate::plan::DiskFate;

/// How long a driver waits before it tells a node its seeds again, in microseconds: it
/// resolves names anew while the node is no member.
const SEEDS_AGAIN: u64 = 10_000_000;

/// How many seeds a newcomer is told.
const SEEDS: usize = 3;

impl World {
    /// Creates a host and starts it, to join through live members or to found a ring.
    /// Returns its number.
    pub fn spawn(&mut self) -> u32 {
        let index = u32::try_from(self.hosts.len()).expect("fewer than 2³² hosts");
        let name = format!("{}/{index}", self.seed);
        let mut host = Host::new(index, &name);
        let drawn = nth(self.seed, index, Purpose::Clock, 0);
        let most = self.plan.clocks;
        let off = below(drawn, most.saturating_mul(2).saturating_add(1));
        host.wall_off = i64::try_from(off)
            .unwrap_or(i64::MAX)
            .saturating_sub_unsigned(most);
        self.hosts.push(host);
        self.start(index);
        index
    }

    /// Starts a process on a host that is down; does nothing if it is up.
    pub fn start(&mut self, host: u32) {
        if self.hosts[host as usize].is_up() {
            return;
        }
        let clocks = self.clocks(host);
        let state = &mut self.hosts[host as usize];
        state.incarnation += 1;
        state.leaving = false;
        state.disk_busy = self.now;
        let life = u64::from(state.incarnation);
        let seed = nth(self.seed, host, Purpose::NodeSeed, life);
        let restored = std::mem::take(&mut state.restored);
        let config = Arc::clone(&self.plan.ring);
        let node = Node::new(config, state.peer(), seed, clocks, restored)
            .expect("the plan's configuration was validated");
        state.process = Some(Box::new(Process::new(node, self.now)));
        self.population.started += 1;
        self.data.returned(host, self.now);
        self.disturbed();
        self.trace
            .tell(self.now, &format!("host {host} starts, life {life}"));
        self.tell_seeds(host);
    }

    /// Tells a node that is no member whom it can join through, now and again later.
    pub(super) fn tell_seeds(&mut self, host: u32) {
        let member = self.members.iter().any(|(_, member)| *member == host);
        if member || !self.hosts[host as usize].is_up() {
            return;
        }
        let seeds = self.seeds_for(host);
        let due = self.now.saturating_add(1_000_000);
        self.command(host, Asked::Join, due, Command::Join { seeds });
        self.schedule(self.now + SEEDS_AGAIN, Control::TellSeeds { host });
    }

    /// The founder's address, and those of some live members.
    fn seeds_for(&mut self, host: u32) -> Vec<Addr> {
        let mut seeds = Vec::new();
        if host != 0 {
            seeds.push(self.hosts[0].addr);
        }
        for _ in 0..SEEDS {
            let Some(at) = self.stream.index(Purpose::Join, self.members.len()) else {
                break;
            };
            let seed = self.hosts[self.members[at].1 as usize].addr;
            if self.members[at].1 != host && !seeds.contains(&seed) {
                seeds.push(seed);
            }
        }
        seeds
    }

    /// Gives a node a command.
    pub(super) fn command(&mut self, host: u32, asked: Asked, due: u64, command: Command) {
        if let Some(until) = self.paused(host) {
            // The application of a process that stands still stands still with it.
            self.schedule(
                until,
                Control::Command {
                    host,
                    asked,
                    due,
                    command,
                },
            );
            return;
        }
        let Some(process) = self.hosts[host as usize].process.as_mut() else {
            self.cut_off(asked);
            return;
        };
        let ticket = process.open(asked, due.max(self.now));
        self.handle(host, Event::Command { ticket, command });
    }

    /// Ends a process without a word.
    pub fn crash(&mut self, host: u32, disk: DiskFate) {
        let process = self.hosts[host as usize].process.as_mut();
        let unsynced = process.map_or_else(Vec::new, |process| process.take_unsynced());
        let Some(restored) = self.end(host) else {
            return;
        };
        let fate = disk.name();
        self.trace
            .tell(self.now, &format!("host {host} crashes, disk {fate}"));
        self.population.crashed += 1;
        self.disturbed();
        self.premises.failed();
        let wiped = disk == DiskFate::Wiped;
        if disk != DiskFate::Kept {
            self.undo_undurable(host);
        }
        let issued = unsynced.len();
        let surviving = self.surviving(disk, unsynced);
        self.population.writes_torn += (issued - surviving.len()) as u64;
        self.population.writes_outlived += surviving.len() as u64;
        for write in surviving {
            self.change_disk(host, write);
        }
        self.data.died(host, wiped, &self.members, self.now);
        self.no_member(host);
        let state = &mut self.hosts[host as usize];
        state.restored = restored;
        if wiped {
            state.disk.wipe();
            state.restored.marks.clear();
        }
    }

    /// A disk that answers before its writes are durable forgets them when the power goes.
    fn undo_undurable(&mut self, host: u32) {
        let state = &mut self.hosts[host as usize];
        for write in std::mem::take(&mut state.undurable).into_iter().rev() {
            if write.durable_at > self.now {
                let version = write.before.as_ref().map(|record| record.header.version);
                state.disk.undo(&write.key, write.before);
                self.data.stored(host, &write.key, version, self.now);
            }
        }
    }

    /// Which writes a crash leaves of those that were issued and not answered: of a torn disk
    /// either all before one that is drawn, or each with even chance.
    fn surviving(&mut self, disk: DiskFate, unsynced: Vec<StoreCommand>) -> Vec<StoreCommand> {
        match disk {
            DiskFate::Kept => unsynced,
            DiskFate::Wiped => Vec::new(),
            DiskFate::Torn => {
                let in_order = self.stream.below(Purpose::Torn, 2) == 0;
                let count = self.stream.below(Purpose::Torn, unsynced.len() as u64 + 1);
                let mut survives = |at: u64| {
                    if in_order {
                        at < count
                    } else {
                        self.stream.below(Purpose::Torn, 2) == 0
                    }
                };
                let numbered = (0..).zip(unsynced);
                let surviving = numbered.filter(|(at, _)| survives(*at));
                surviving.map(|(_, write)| write).collect()
            }
        }
    }

    /// Asks a node to leave.
    pub fn leave(&mut self, host: u32) {
        if !self.hosts[host as usize].is_up() {
            return;
        }
        self.trace
            .tell(self.now, &format!("host {host} is told to leave"));
        self.hosts[host as usize].leaving = true;
        self.disturbed();
        // It is no principal from now on, although it still answers.
        self.premises.failed();
        self.no_member(host);
        let due = self.now + self.plan.ring.leave_timeout.0 + 5_000_000;
        self.command(host, Asked::Leave, due, Command::Leave);
    }

    /// The process of a node that has left ends, and its disk with it.
    pub(super) fn end_by_leaving(&mut self, host: u32, records_left: u64) {
        if self.end(host).is_none() {
            return;
        }
        self.trace.tell(
            self.now,
            &format!("host {host} has left, {records_left} records lost"),
        );
        self.population.left += 1;
        self.disturbed();
        if records_left > 0 {
            self.data.died(host, true, &self.members, self.now);
        } else {
            self.data.left(host, self.now);
        }
        self.no_member(host);
        let state = &mut self.hosts[host as usize];
        state.disk.wipe();
    }

    /// A process stands still for `length` microseconds.
    pub fn pause(&mut self, host: u32, length: u64) {
        let until = self.now.saturating_add(length);
        self.premises.void();
        self.trace.tell(
            self.now,
            &format!("host {host} stands still for {length} us"),
        );
        // Nobody hears from it meanwhile, like one that is cut off.
        let mut inside = vec![false; self.hosts.len()];
        inside[host as usize] = true;
        let number = u64::MAX - u64::from(host);
        self.owners.split(number, inside, self.now);
        self.owners.heal(number, until);
        if let Some(process) = self.hosts[host as usize].process.as_mut() {
            process.paused_until = Some(until);
            process.awake_since = until;
        }
        self.quiet_since = self.quiet_since.max(until);
    }

    /// The wall clock of a host jumps; nothing else notices. It is no failure: it excuses
    /// nothing.
    pub fn set_clock(&mut self, host: u32, by: i64) {
        let seconds = by as f64 / 1e6;
        self.trace.tell(
            self.now,
            &format!("the wall clock of host {host} jumps by {seconds} s"),
        );
        let state = &mut self.hosts[host as usize];
        state.wall_off = state.wall_off.saturating_add(by);
    }

    /// Takes the process away; what its next life starts from, if it was up.
    fn end(&mut self, host: u32) -> Option<Restored> {
        let now = self.clocks(host).mono;
        let process = self.hosts[host as usize].process.take()?;
        // A full disk is full for the next life too; a failing one is replaced.
        let trouble = &mut self.hosts[host as usize].trouble;
        trouble.take_if(|trouble| matches!(trouble, Trouble::Failing { .. }));
        for open in process.tickets() {
            self.cut_off(open.asked);
        }
        Some(process.node.remember(now))
    }

    /// Something failed, came or went: repair starts over.
    pub(super) fn disturbed(&mut self) {
        self.quiet_since = self.quiet_since.max(self.now);
    }

    /// A node says that it is a member now.
    pub(super) fn joined(&mut self, host: u32) {
        let id = self.hosts[host as usize].id;
        self.count_time();
        if let Err(at) = self.members.binary_search(&(id, host)) {
            self.members.insert(at, (id, host));
            self.owners.joined(host, self.now);
        }
        self.owners_changed();
    }

    /// A node is no member any more.
    pub(super) fn no_member(&mut self, host: u32) {
        let id = self.hosts[host as usize].id;
        self.count_time();
        if let Ok(at) = self.members.binary_search(&(id, host)) {
            self.members.remove(at);
            self.owners.gone(host, self.now);
            self.owners_changed();
        }
    }

    /// Adds the time since the last change of the members to the time they lived.
    pub(super) fn count_time(&mut self) {
        let from = self.node_time_at.max(self.plan.warmup);
        self.node_time += self.now.saturating_sub(from) * self.members.len() as u64;
        self.node_time_at = self.now;
    }
}
