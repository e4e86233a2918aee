//! A few nodes driven by hand through the public interface, with instant links and stores.
//!
//! A test may put itself between: [`World::meddle`] answers for a node or swallows a request,
//! and a store in [`World::stuck`] keeps what it is told until it is let go.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chord_core::config::Config;
use chord_core::event::{
    Action, Class, Command, Event, Failure, Notice, OpId, Outcome, Restored, StoreAnswer,
    StoreCommand, StoreError, Terms, Ticket,
};
use chord_core::id::{Id, Span};
use chord_core::message::{Head, Key, Record, Request, Response};
use chord_core::node::Node;
use chord_core::peer::{Addr, Peer};
use chord_core::sums::Leaves;
use chord_core::time::{Instant, Micros, Now};

/// What becomes of a request on its way.
pub(crate) enum Fate {
    /// It arrives.
    Pass,
    /// It is lost.
    Lost,
    /// Its receiver says this and never sees it.
    Answer(Response),
    /// It arrives when [`World::deliver`] lets it.
    Held,
}

type Meddle = Box<dyn FnMut(usize, usize, &Request) -> Fate>;

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Option<Node>>,
    pub(crate) stores: Vec<BTreeMap<Key, Record>>,
    queue: Vec<(usize, Event)>,
    calls: BTreeMap<u64, (usize, OpId)>,
    tickets: u64,
    finished: Vec<(u64, Result<Outcome, Failure>)>,
    pub(crate) notices: Vec<(usize, Notice)>,
    /// Sees each request: sender, receiver, request.
    pub(crate) meddle: Option<Meddle>,
    /// The node whose store writes nothing for now, and what waits.
    pub(crate) stuck: Option<usize>,
    /// Whose stores have no room for anything but tombstones.
    pub(crate) full: Vec<usize>,
    /// Whose store was swept, and when.
    pub(crate) swept: Vec<(usize, u64)>,
    waiting: Vec<(OpId, StoreCommand)>,
    /// Requests on their way for now.
    held: Vec<(usize, Event)>,
    /// How far ahead the wall clock of each node is.
    pub(crate) ahead: Vec<u64>,
    asked: Option<(u64, Option<Response>)>,
    restored: Vec<Restored>,
    lives: u32,
}

pub(crate) fn peer(n: usize) -> Peer {
    Peer {
        id: Id::hash(&[n as u8]),
        addr: Addr::v4(10, 0, 0, n as u8, 1),
        incarnation: 1,
    }
}

fn grows(command: &StoreCommand) -> bool {
    matches!(command, StoreCommand::Put { records } if records.iter().any(|r| !r.header.tombstone))
}

impl World {
    pub(crate) fn new(count: usize) -> Self {
        let config = Arc::new(Config::default());
        let nodes = (0..count)
            .map(|n| {
                let restored = Restored::default();
                let node = Node::new(
                    config.clone(),
                    peer(n),
                    n as u64,
                    Now {
                        mono: Instant(0),
                        wall: 1 << 50,
                    },
                    restored,
                );
                Some(node.expect("valid options"))
            })
            .collect();
        Self {
            now: 0,
            nodes,
            stores: vec![BTreeMap::new(); count],
            queue: vec![],
            calls: BTreeMap::new(),
            tickets: 0,
            finished: vec![],
            notices: vec![],
            meddle: None,
            stuck: None,
            full: vec![],
            swept: vec![],
            waiting: vec![],
            held: vec![],
            ahead: vec![0; count],
            asked: None,
            restored: vec![Restored::default(); count],
            lives: 1,
        }
    }

    pub(crate) fn command(&mut self, n: usize, command: Command) -> u64 {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.queue.push((n, Event::Command { ticket, command }));
        self.tickets
    }

    pub(crate) fn store(&mut self, n: usize, command: StoreCommand) -> StoreAnswer {
        let store = &mut self.stores[n];
        match command {
            StoreCommand::Get { key } => StoreAnswer::Record(store.get(&key).cloned()),
            StoreCommand::Heads { keys } => StoreAnswer::Heads {
                heads: keys
                    .iter()
                    .filter_map(|key| store.get(key).map(Record::head))
                    .collect(),
                more: false,
            },
            StoreCommand::GetMany { keys, .. } => StoreAnswer::Page {
                records: keys
                    .iter()
                    .filter_map(|key| store.get(key).cloned())
                    .collect(),
                more: false,
            },
            StoreCommand::Put { records } => {
                let mut newer = vec![];
                for (at, record) in records.into_iter().enumerate() {
                    match store.get(&record.key) {
                        Some(old) if old.header.version > record.header.version => {
                            newer.push((at as u16, old.header.version));
                        }
                        _ => {
                            store.insert(record.key.clone(), record);
                        }
                    }
                }
                StoreAnswer::Put { newer }
            }
            StoreCommand::Scan { span, .. } => StoreAnswer::Page {
                records: store
                    .values()
                    .filter(|r| span.contains(r.key.position()))
                    .cloned()
                    .collect(),
                more: false,
            },
            StoreCommand::List { span, .. } => {
                let mut heads: Vec<Head> = store
                    .values()
                    .filter(|r| span.contains(r.key.position()))
                    .map(Record::head)
                    .collect();
                heads.sort_by_key(|h| span.rank(h.key.position()));
                StoreAnswer::Heads { heads, more: false }
            }
            StoreCommand::Sums { span } => {
                let mut leaves = Leaves::new();
                store.values().for_each(|r| leaves.insert(&r.head()));
                let inside = |span: Span| -> Result<Vec<Head>, ()> {
                    let records = store.values();
                    let inside = records.filter(|r| span.contains(r.key.position()));
                    Ok(inside.map(Record::head).collect())
                };
                let sums = leaves.answer(span, inside).expect("cannot fail");
                StoreAnswer::Sums { sums }
            }
            StoreCommand::Discard { heads } => {
                let before = store.len();
                for head in heads {
                    if store
                        .get(&head.key)
                        .is_some_and(|r| r.header.version <= head.version)
                    {
                        store.remove(&head.key);
                    }
                }
                StoreAnswer::Discarded {
                    count: (before - store.len()) as u32,
                }
            }
            StoreCommand::Sweep { now, bury, .. } => {
                self.swept.push((n, self.now));
                store.retain(|_, r| !r.header.tombstone || r.header.shadow >= bury);
                let records = store.values_mut();
                for record in records.filter(|r| r.header.expires <= now) {
                    record.header.tombstone = true;
                    record.value = Bytes::new();
                }
                StoreAnswer::Swept {
                    expired: 0,
                    buried: 0,
                    more: false,
                }
            }
        }
    }

    pub(crate) fn step(&mut self) -> bool {
        let (n, event) = if self.queue.is_empty() {
            let due = (0..self.nodes.len())
                .filter_map(|n| Some((self.nodes[n].as_ref()?.next_deadline()?, n)))
                .min();
            let Some((at, n)) = due else { return false };
            self.now = self.now.max(at.0);
            (n, Event::Wake)
        } else {
            self.queue.remove(0)
        };
        let Some(node) = &mut self.nodes[n] else {
            return true;
        };
        let mut out = vec![];
        let now = Now {
            mono: Instant(self.now),
            wall: (1 << 50) + self.now + self.ahead[n],
        };
        node.handle(now, event, &mut out);
        node.check().expect("invariants hold");
        let me = node.me();
        for action in out {
            match action {
                Action::Finish { ticket, result } => self.finished.push((ticket.0, result)),
                Action::Reply { ticket, response }
                    if self.asked.as_ref().is_some_and(|asked| asked.0 == ticket.0) =>
                {
                    self.asked = Some((ticket.0, Some(response)));
                }
                Action::Reply { ticket, response } => {
                    let (to, op) = self.calls.remove(&ticket.0).expect("answered once");
                    self.queue.push((
                        to,
                        Event::Answer {
                            op,
                            result: Ok(response),
                        },
                    ));
                }
                Action::Call {
                    op,
                    to,
                    terms,
                    request,
                } => {
                    self.now += 50;
                    let target = (0..self.nodes.len())
                        .find(|&m| peer(m).addr == to.addr && self.nodes[m].is_some());
                    let Some(target) = target else { continue };
                    let fate = match &mut self.meddle {
                        Some(meddle) => meddle(n, target, &request),
                        None => Fate::Pass,
                    };
                    if let Fate::Answer(response) = fate {
                        let result = Ok(response);
                        self.queue.push((n, Event::Answer { op, result }));
                    } else if !matches!(fate, Fate::Lost) {
                        self.tickets += 1;
                        self.calls.insert(self.tickets, (n, op));
                        let ticket = Ticket(self.tickets);
                        let event = Event::Request {
                            ticket,
                            from: me,
                            terms,
                            request,
                        };
                        match fate {
                            Fate::Held => self.held.push((target, event)),
                            _ => self.queue.push((target, event)),
                        }
                    }
                }
                Action::Store { op, command }
                    if self.stuck == Some(n) && matches!(command, StoreCommand::Put { .. }) =>
                {
                    self.waiting.push((op, command));
                }
                Action::Store { op, command } => {
                    let result = if self.full.contains(&n) && grows(&command) {
                        Err(StoreError::Full)
                    } else {
                        Ok(self.store(n, command))
                    };
                    self.queue.push((n, Event::Stored { op, result }));
                }
                Action::Notice(notice) => self.notices.push((n, notice)),
            }
        }
        true
    }

    /// What `to` answers to a request of `from` that nobody at `from` waits for.
    pub(crate) fn ask(&mut self, from: usize, to: usize, request: Request) -> Response {
        self.tickets += 1;
        let ticket = self.tickets;
        let now = Instant(self.now);
        let terms = Terms {
            deadline: now + Micros::from_secs(2),
            class: Class::Client,
            trace: 0,
        };
        let from = self.nodes[from].as_ref().expect("alive").me();
        let event = Event::Request {
            ticket: Ticket(ticket),
            from,
            terms,
            request,
        };
        self.asked = Some((ticket, None));
        self.queue.push((to, event));
        for _ in 0..100_000 {
            if let Some((_, Some(response))) = &self.asked {
                return response.clone();
            }
            assert!(self.step());
        }
        panic!("no answer");
    }

    /// Every process ends; the disks stay.
    pub(crate) fn cut_power(&mut self) {
        (0..self.nodes.len()).for_each(|n| self.stop(n));
        self.queue.clear();
        self.calls.clear();
    }

    /// A process ends; its disk stays.
    pub(crate) fn stop(&mut self, n: usize) {
        let node = self.nodes[n].take().expect("alive");
        self.restored[n] = node.remember(Instant(self.now));
        self.queue.retain(|(to, _)| *to != n);
    }

    /// A process ends with its disk, and everything that it knew.
    pub(crate) fn wipe(&mut self, n: usize) {
        self.stop(n);
        self.restored[n] = Restored::default();
        self.stores[n].clear();
    }

    /// The next life of a stopped node, from its disk and what it knew.
    pub(crate) fn restart(&mut self, n: usize) {
        self.lives += 1;
        let me = Peer {
            incarnation: self.lives,
            ..peer(n)
        };
        let now = Now {
            mono: Instant(self.now),
            wall: (1 << 50) + self.now + self.ahead[n],
        };
        let config = Arc::new(Config::default());
        let restored = self.restored[n].clone();
        let node = Node::new(config, me, n as u64, now, restored).expect("valid options");
        self.nodes[n] = Some(node);
        let seeds = (0..self.nodes.len()).map(|seed| peer(seed).addr).collect();
        self.command(n, Command::Join { seeds });
    }

    /// Requests that their receivers have not answered yet.
    pub(crate) fn unanswered(&self) -> usize {
        self.calls.len()
    }

    /// Whether a command has ended.
    pub(crate) fn is_over(&self, ticket: u64) -> bool {
        self.finished.iter().any(|(over, _)| *over == ticket)
    }

    /// Who owns a key, by the ids of the living.
    pub(crate) fn owner_of(&self, key: &Key) -> usize {
        let living = (0..self.nodes.len()).filter(|&n| self.nodes[n].is_some());
        Self::owner_among(key, living)
    }

    /// The same among these.
    pub(crate) fn owner_among(key: &Key, members: impl IntoIterator<Item = usize>) -> usize {
        let distance = |n: &usize| key.position().distance(peer(*n).id);
        let owner = members.into_iter().min_by_key(distance);
        owner.expect("somebody lives")
    }

    /// What was held on its way arrives.
    pub(crate) fn deliver(&mut self) {
        self.queue.append(&mut self.held);
    }

    /// Lets the stuck store go on.
    pub(crate) fn release(&mut self) {
        let n = self.stuck.take().expect("a store is stuck");
        for (op, command) in std::mem::take(&mut self.waiting) {
            let result = Ok(self.store(n, command));
            self.queue.push((n, Event::Stored { op, result }));
        }
    }

    /// Nodes `0..count` as members of one ring, at rest.
    pub(crate) fn ring(count: usize) -> Self {
        let mut world = Self::new(count);
        for n in 0..count {
            let seeds = (n > 0).then(|| peer(0).addr).into_iter().collect();
            let ticket = world.command(n, Command::Join { seeds });
            world.outcome(ticket).expect("joined");
            world.run_for(Micros::from_secs(5));
        }
        world.run_for(Micros::from_secs(90));
        world
    }

    /// Handles what is under way, without a clock going off.
    pub(crate) fn drain(&mut self) {
        while !self.queue.is_empty() && self.step() {}
    }

    pub(crate) fn run_for(&mut self, time: Micros) {
        let end = self.now + time.0;
        while self.now < end && self.step() {}
    }

    pub(crate) fn outcome(&mut self, ticket: u64) -> Result<Outcome, Failure> {
        for _ in 0..1_000_000 {
            if let Some(at) = self.finished.iter().position(|(t, _)| *t == ticket) {
                return self.finished.remove(at).1;
            }
            assert!(self.step());
        }
        panic!("no outcome");
    }
}

pub(crate) fn key(n: usize) -> Key {
    Key::new(Bytes::from(format!("key {n}"))).expect("short enough")
}

pub(crate) fn put(n: usize) -> Command {
    Command::Put {
        key: key(n),
        value: Bytes::from(format!("value {n}")),
        ttl: Micros::ZERO,
        copies: 0,
        expected: None,
    }
}
