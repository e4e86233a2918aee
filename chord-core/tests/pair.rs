//! A few nodes driven by hand through the public interface, with instant links and stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chord_core::config::Config;
use chord_core::event::{
    Action, Command, Event, Failure, Notice, OpId, Outcome, Restored, State, StoreAnswer,
    StoreCommand, Ticket,
};
use chord_core::id::Id;
use chord_core::message::{Head, Key, Record};
use chord_core::node::Node;
use chord_core::peer::{Addr, Peer};
use chord_core::time::{Instant, Micros, Now};

struct World {
    now: u64,
    nodes: Vec<Option<Node>>,
    stores: Vec<BTreeMap<Key, Record>>,
    queue: Vec<(usize, Event)>,
    calls: BTreeMap<u64, (usize, OpId)>,
    tickets: u64,
    finished: Vec<(u64, Result<Outcome, Failure>)>,
    notices: Vec<(usize, Notice)>,
}

fn peer(n: usize) -> Peer {
    Peer {
        id: Id::hash(&[n as u8]),
        addr: Addr::v4(10, 0, 0, n as u8, 1),
        incarnation: 1,
    }
}

impl World {
    fn new(count: usize) -> Self {
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
        }
    }

    fn command(&mut self, n: usize, command: Command) -> u64 {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.queue.push((n, Event::Command { ticket, command }));
        self.tickets
    }

    fn store(&mut self, n: usize, command: StoreCommand) -> StoreAnswer {
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
            StoreCommand::Sweep { .. } => StoreAnswer::Swept {
                count: 0,
                more: false,
            },
        }
    }

    fn step(&mut self) -> bool {
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
            wall: (1 << 50) + self.now,
        };
        node.handle(now, event, &mut out);
        node.check().expect("invariants hold");
        let me = node.me();
        for action in out {
            match action {
                Action::Finish { ticket, result } => self.finished.push((ticket.0, result)),
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
                    if let Some(target) = target {
                        self.tickets += 1;
                        self.calls.insert(self.tickets, (n, op));
                        let ticket = Ticket(self.tickets);
                        self.queue.push((
                            target,
                            Event::Request {
                                ticket,
                                from: me,
                                terms,
                                request,
                            },
                        ));
                    }
                }
                Action::Store { op, command } => {
                    let answer = self.store(n, command);
                    self.queue.push((
                        n,
                        Event::Stored {
                            op,
                            result: Ok(answer),
                        },
                    ));
                }
                Action::Notice(notice) => self.notices.push((n, notice)),
            }
        }
        true
    }

    fn run_for(&mut self, time: Micros) {
        let end = self.now + time.0;
        while self.now < end && self.step() {}
    }

    fn outcome(&mut self, ticket: u64) -> Result<Outcome, Failure> {
        for _ in 0..1_000_000 {
            if let Some(at) = self.finished.iter().position(|(t, _)| *t == ticket) {
                return self.finished.remove(at).1;
            }
            assert!(self.step());
        }
        panic!("no outcome");
    }
}

fn key(n: usize) -> Key {
    Key::new(Bytes::from(format!("key {n}"))).expect("short enough")
}

fn put(n: usize) -> Command {
    Command::Put {
        key: key(n),
        value: Bytes::from(format!("value {n}")),
        ttl: Micros::ZERO,
        copies: 0,
        expected: None,
    }
}

#[test]
fn nodes_form_one_ring_store_find_lose_one_and_leave() {
    let mut world = World::new(6);
    world.command(0, Command::Join { seeds: vec![] });
    for n in 1..6 {
        world.command(
            n,
            Command::Join {
                seeds: vec![peer(0).addr],
            },
        );
    }
    world.run_for(Micros::from_secs(8));
    let mut order: Vec<usize> = (0..6).collect();
    order.sort_by_key(|&n| peer(n).id);
    for at in 0..6 {
        let node = world.nodes[order[at]].as_ref().unwrap();
        let expected: Vec<Peer> = (1..6).map(|k| peer(order[(at + k) % 6])).collect();
        assert_eq!(
            node.ring().successors(),
            expected,
            "{at} {:?}",
            node.status(Instant(0))
        );
        assert_eq!(node.ring().predecessor(), Some(peer(order[(at + 5) % 6])));
        let status = node.status(Instant(0));
        assert_eq!(
            (status.state, status.spans_unsettled),
            (State::Joined, 0),
            "{status:?} {:?}",
            world.notices
        );
        assert!(status.owned.is_some());
    }
    for n in 0..100 {
        let ticket = world.command(n % 6, put(n));
        let outcome = world.outcome(ticket);
        assert!(
            matches!(outcome, Ok(Outcome::Written { .. })),
            "{n} {outcome:?}"
        );
    }
    let total: usize = world.stores.iter().map(BTreeMap::len).sum();
    assert!(total >= 200, "{total}");
    world.nodes[2] = None;
    world.stores[2].clear();
    for n in 0..100 {
        let began = world.now;
        let ticket = world.command(
            [0, 1, 3, 4, 5][n % 5],
            Command::Get {
                key: key(n),
                quorum: n % 2 == 0,
            },
        );
        let outcome = world.outcome(ticket);
        assert!(
            matches!(outcome, Ok(Outcome::Got { record: Some(_) })),
            "{n} {outcome:?}"
        );
        assert!(world.now - began < 2_000_000, "{n} {}", world.now - began);
    }
    world.run_for(Micros::from_secs(120));
    let total: usize = world.stores.iter().map(BTreeMap::len).sum();
    assert_eq!(total, 300);
    let ticket = world.command(3, Command::Leave);
    let outcome = world.outcome(ticket);
    assert!(
        matches!(outcome, Ok(Outcome::Left { remaining: 0, .. })),
        "{outcome:?}"
    );
    world.nodes[3] = None;
    world.stores[3].clear();
    for n in 0..100 {
        let ticket = world.command(
            [0, 1, 4, 5][n % 4],
            Command::Get {
                key: key(n),
                quorum: false,
            },
        );
        let outcome = world.outcome(ticket);
        assert!(
            matches!(outcome, Ok(Outcome::Got { record: Some(_) })),
            "{n} {outcome:?}"
        );
    }
}

#[test]
fn reads_of_a_killed_owners_keys_are_answered_within_a_second() {
    for victim in 0..5 {
        let mut world = World::new(5);
        world.command(0, Command::Join { seeds: vec![] });
        for n in 1..5 {
            world.command(
                n,
                Command::Join {
                    seeds: vec![peer(0).addr],
                },
            );
        }
        world.run_for(Micros::from_secs(1));
        for n in 0..100 {
            let ticket = world.command(n % 5, put(n));
            assert!(world.outcome(ticket).is_ok());
        }
        world.nodes[victim] = None;
        let began = world.now;
        let tickets: Vec<u64> = (0..100)
            .map(|n| {
                let reader = (victim + 1 + n % 4) % 5;
                world.command(
                    reader,
                    Command::Get {
                        key: key(n),
                        quorum: false,
                    },
                )
            })
            .collect();
        let mut slowest = 0;
        for ticket in tickets {
            let outcome = world.outcome(ticket);
            assert!(
                matches!(outcome, Ok(Outcome::Got { record: Some(_) })),
                "{outcome:?}"
            );
            slowest = slowest.max(world.now - began);
        }
        assert!(slowest < 1_000_000, "{victim}: {slowest}");
    }
}
