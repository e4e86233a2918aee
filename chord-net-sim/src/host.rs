//! One simulated host: a disk that outlives its processes, and at most one process.
//!
//! The process is what a driver would be: it mints tickets, remembers which calls are open,
//! and gives each operation at most one answer.
//!
//! **Invariant:** a ticket is in the list from the event that carries it until the one
//! action that answers it.

use chord_core::event::{OpId, Restored, StoreCommand, Ticket};
use chord_core::id::Id;
use chord_core::message::{Key, Record};
use chord_core::node::Node;
use chord_core::peer::{Addr, Peer};

use crate::ledger::RowId;

use crate::disk::Disk;

/// A host, up or down.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its ring position, in every life.
    pub id: Id,
    /// Where it listens, in every life.
    pub addr: Addr,
    /// Its present or last life; 0 before the first.
    pub incarnation: u32,
    /// The process, if it is up.
    pub process: Option<Box<Process>>,
    /// What is durable here.
    pub disk: Disk,
    /// What the next life starts from.
    pub restored: Restored,
    /// It was told to leave.
    pub leaving: bool,
    /// How many entries of the queue it caused: the counter of its turns.
    pub caused: u64,
    /// How many messages it sent: the number that decides a message's fate.
    pub sent: u64,
    /// How many store commands it issued: the number that decides a delay.
    pub stored: u64,
    /// How far its wall clock is off, in microseconds, also while it is down.
    pub wall_off: i64,
    /// Until when its disk is busy with earlier writes.
    pub disk_busy: u64,
    /// Writes that were answered too early ([`Syncing`](crate::plan::Syncing)), in order.
    pub undurable: Vec<Undurable>,
    /// What is wrong with its disk.
    pub trouble: Option<Trouble>,
}

/// A disk that does not take every write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// There is no room for values until then, in microseconds.
    Full {
        /// The end of it.
        until: u64,
        /// The fault that fires.
        row: RowId,
    },
    /// Every write fails.
    Failing {
        /// How long after its end the process starts again, in microseconds.
        back: Option<u64>,
        /// A write has failed: the process is about to end.
        ending: bool,
        /// The fault that fires.
        row: RowId,
    },
}

/// A key that was written, and what a crash before a certain time makes of it.
#[derive(Clone, Debug)]
pub struct Undurable {
    /// From when on the write is durable, in microseconds.
    pub durable_at: u64,
    /// What was written.
    pub key: Key,
    /// What was stored before.
    pub before: Option<Record>,
}

impl Host {
    /// A host that was never up. Its position is the SHA-1 of `name`.
    #[must_use]
    pub fn new(index: u32, name: &str) -> Self {
        Self {
            id: Id::hash(name.as_bytes()),
            addr: addr_of(index),
            incarnation: 0,
            process: None,
            disk: Disk::default(),
            restored: Restored::default(),
            leaving: false,
            caused: 0,
            sent: 0,
            stored: 0,
            wall_off: 0,
            disk_busy: 0,
            undurable: Vec::new(),
            trouble: None,
        }
    }

    /// The peer that others know it as in its present or last life.
    #[must_use]
    pub fn peer(&self) -> Peer {
        Peer {
            id: self.id,
            addr: self.addr,
            incarnation: self.incarnation,
        }
    }

    /// Remembers what a put is going to replace, until it is durable.
    pub fn note_undurable(&mut self, command: &StoreCommand, durable_at: u64, now: u64) {
        self.undurable.retain(|write| write.durable_at > now);
        let StoreCommand::Put { records } = command else {
            return; // Controls need no more than lost puts.
        };
        for record in records {
            self.undurable.push(Undurable {
                durable_at,
                key: record.key.clone(),
                before: self.disk.get(&record.key).cloned(),
            });
        }
    }

    /// Whether its process runs (or stands still).
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }
}

/// The address of a host: its index in the lower three bytes of 10.0.0.0/8.
#[must_use]
pub fn addr_of(index: u32) -> Addr {
    let [_, a, b, c] = index.to_be_bytes();
    Addr::v4(10, a, b, c, 7400)
}

/// The host behind an address, if it has the form of a simulated one.
#[must_use]
pub fn index_of(addr: Addr) -> u32 {
    let [a, b, c] = [addr.ip[13], addr.ip[14], addr.ip[15]];
    u32::from_be_bytes([0, a, b, c])
}

/// A running process: a node and what its driver remembers.
#[derive(Clone, Debug)]
pub struct Process {
    /// The production core.
    pub node: Node,
    /// Until when it stands still.
    pub paused_until: Option<u64>,
    /// When it last started or went on, in microseconds: nothing is overdue right after.
    pub awake_since: u64,
    /// When the next wake is queued.
    pub wake_at: Option<u64>,
    /// Wakes in a row that found the node wanting another one at once.
    pub spins: u32,
    /// Fewest operations in flight seen since the last reset: what never ends.
    pub ops_least: Option<u32>,
    next_ticket: u64,
    tickets: Vec<Open>,
    /// Calls and their deadlines.
    calls: Vec<(OpId, u64)>,
    stores: Vec<OpId>,
    /// Writes that the disk was given and has not answered, in order.
    unsynced: Vec<(OpId, StoreCommand)>,
}

/// An open ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open {
    /// Which.
    pub ticket: Ticket,
    /// Who waits.
    pub asked: Asked,
    /// When the answer is due, in microseconds.
    pub due: u64,
    /// It was reported as overdue already.
    pub reported: bool,
}

/// Who waits for a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// A process, for a call of its own.
    Host {
        /// Which.
        from: u32,
        /// In which life.
        incarnation: u32,
        /// Its call.
        op: OpId,
    },
    /// The workload, for this of its operations.
    Work(usize),
    /// Nobody in particular: the scenario told it to join.
    Join,
    /// The scenario, which told it to leave.
    Leave,
}

impl Process {
    /// A process that has just started.
    #[must_use]
    pub fn new(node: Node, now: u64) -> Self {
        Self {
            node,
            paused_until: None,
            awake_since: now,
            wake_at: None,
            spins: 0,
            ops_least: None,
            next_ticket: 0,
            tickets: Vec::new(),
            calls: Vec::new(),
            stores: Vec::new(),
            unsynced: Vec::new(),
        }
    }

    /// Mints a ticket.
    pub fn open(&mut self, asked: Asked, due: u64) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.push(Open {
            ticket,
            asked,
            due,
            reported: false,
        });
        ticket
    }

    /// Takes an open ticket; `None`: it was never minted or is answered already.
    pub fn close(&mut self, ticket: Ticket) -> Option<Asked> {
        let at = self.tickets.iter().position(|open| open.ticket == ticket)?;
        Some(self.tickets.swap_remove(at).asked)
    }

    /// Open tickets.
    #[must_use]
    pub fn tickets(&self) -> &[Open] {
        &self.tickets
    }

    /// Open tickets that were due before `time` and not reported yet; reports them.
    pub fn overdue(&mut self, time: u64) -> Vec<Open> {
        let mut late = Vec::new();
        for open in &mut self.tickets {
            if open.due < time && !open.reported {
                open.reported = true;
                late.push(*open);
            }
        }
        late
    }

    /// Remembers a call; false if that operation is open already.
    pub fn called(&mut self, op: OpId, deadline: u64, now: u64) -> bool {
        if self.is_open(op) {
            return false;
        }
        if self.calls.len() >= CALLS_KEPT {
            self.calls
                .retain(|(_, deadline)| deadline.saturating_add(LATE_MAX) > now);
        }
        self.calls.push((op, deadline));
        true
    }

    /// Remembers a store command; false if that operation is open already.
    pub fn storing(&mut self, op: OpId) -> bool {
        if self.is_open(op) {
            return false;
        }
        self.stores.push(op);
        true
    }

    /// Remembers what a store command that was just issued will write.
    pub fn writing(&mut self, op: OpId, command: StoreCommand) {
        self.unsynced.push((op, command));
    }

    /// Takes what is written now; `None` if the operation writes nothing.
    pub fn take_write(&mut self, op: OpId) -> Option<StoreCommand> {
        let found = self.unsynced.iter().position(|(open, _)| *open == op);
        found.map(|at| self.unsynced.remove(at).1)
    }

    /// Takes all writes that are not answered yet, in the order in which they were issued.
    pub fn take_unsynced(&mut self) -> Vec<StoreCommand> {
        let unsynced = std::mem::take(&mut self.unsynced);
        unsynced.into_iter().map(|(_, command)| command).collect()
    }

    /// Takes an open call; false if it was answered or forgotten already.
    pub fn take_call(&mut self, op: OpId) -> bool {
        let found = self.calls.iter().position(|(open, _)| *open == op);
        found.map(|at| self.calls.swap_remove(at)).is_some()
    }

    /// Takes an open store command; false if it was answered already.
    pub fn take_store(&mut self, op: OpId) -> bool {
        let found = self.stores.iter().position(|open| *open == op);
        found.map(|at| self.stores.swap_remove(at)).is_some()
    }

    fn is_open(&self, op: OpId) -> bool {
        self.calls.iter().any(|(open, _)| *open == op) || self.stores.contains(&op)
    }
}

/// Above this many open calls, those that were given up long ago are forgotten.
const CALLS_KEPT: usize = 64;
/// How long after its deadline the answer to a call is still delivered, in microseconds: a
/// node must bear late answers.
const LATE_MAX: u64 = 30_000_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chord_core::config::Config;
    use chord_core::time::Now;

    use super::*;

    fn process() -> Process {
        let host = Host::new(3, "three");
        let node = Node::new(
            Arc::new(Config::default()),
            host.peer(),
            1,
            Now::default(),
            Restored::default(),
        );
        Process::new(node.expect("the default configuration is valid"), 0)
    }

    #[test]
    fn addresses_and_indices_belong_together() {
        for index in [0, 1, 255, 256, 999_999] {
            assert_eq!(index_of(addr_of(index)), index);
        }
    }

    #[test]
    fn a_ticket_is_closed_once() {
        let mut process = process();
        let ticket = process.open(Asked::Join, 10);
        let other = process.open(Asked::Leave, 20);
        assert_ne!(ticket, other);
        assert_eq!(process.overdue(11).len(), 1);
        assert_eq!(process.overdue(11).len(), 0, "reported once");
        assert_eq!(process.close(ticket), Some(Asked::Join));
        assert_eq!(process.close(ticket), None);
    }

    #[test]
    fn an_operation_is_open_once_and_answered_once() {
        let mut process = process();
        assert!(process.called(OpId(1), 5, 0));
        assert!(!process.called(OpId(1), 5, 0) && !process.storing(OpId(1)));
        assert!(process.take_call(OpId(1)));
        assert!(!process.take_call(OpId(1)));
    }

    #[test]
    fn calls_given_up_long_ago_are_forgotten() {
        let mut process = process();
        for n in 0..10_000 {
            assert!(process.called(OpId(n), n, LATE_MAX + n));
        }
        assert!(process.calls.len() <= CALLS_KEPT, "{}", process.calls.len());
    }
}
