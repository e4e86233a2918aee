//! What a repair costs on the wire: two holders of a million records that differ in ten.
//!
//! Two real nodes and two simulated disks with instant links, because a whole world of the
//! simulator would spend its time on everything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chord_core::config::Config;
use chord_core::event::{Action, Class, Command, Event, OpId, Restored, StoreCommand, Ticket};
use chord_core::id::{Id, Span};
use chord_core::message::{Header, Key, OperationId, Record, Request, Response, Version};
use chord_core::node::Node;
use chord_core::peer::{Addr, Peer};
use chord_core::time::{Instant, Micros, Now};
use chord_core::wire::{self, Asked, Frame, RequestFrame, ResponseFrame};
use chord_net_sim::disk::Disk;

const RECORDS: u32 = 1_000_000;
/// Gate of the design: bytes in both directions, all messages of repair together.
const BYTES_MAX: usize = 64 << 10;
const START: u64 = 1 << 50;

struct Pair {
    now: u64,
    nodes: Vec<Node>,
    disks: Vec<Disk>,
    queue: std::collections::VecDeque<(usize, Event)>,
    calls: BTreeMap<u64, (usize, OpId, bool)>,
    tickets: u64,
    repair_bytes: usize,
    repair_messages: usize,
}

fn peer(n: usize) -> Peer {
    Peer {
        id: Id([0x40 + 0x80 * n as u8; 20]),
        addr: Addr::v4(10, 0, 0, n as u8, 1),
        incarnation: 1,
    }
}

fn record(n: u32, time: u64) -> Record {
    let expires = Instant(30 * 24 * 3_600_000_000);
    Record {
        key: Key::new(Bytes::from(format!("record {n}"))).expect("short"),
        value: Bytes::from_static(b"value"),
        header: Header {
            version: Version {
                time,
                writer: Id::ZERO,
            },
            operation: OperationId::default(),
            copies: 2,
            tombstone: false,
            expires,
            shadow: expires,
        },
    }
}

impl Pair {
    fn new() -> Self {
        let config = Arc::new(Config {
            copies: 2,
            ..Config::default()
        });
        let now = Now {
            mono: Instant(0),
            wall: START,
        };
        let node = |n: usize| {
            let restored = Restored::default();
            Node::new(config.clone(), peer(n), n as u64, now, restored).expect("valid options")
        };
        Self {
            now: 0,
            nodes: (0..2).map(node).collect(),
            disks: vec![Disk::default(), Disk::default()],
            queue: std::collections::VecDeque::new(),
            calls: BTreeMap::new(),
            tickets: 0,
            repair_bytes: 0,
            repair_messages: 0,
        }
    }

    fn join(&mut self, n: usize, seeds: Vec<Addr>) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let command = Command::Join { seeds };
        self.queue
            .push_back((n, Event::Command { ticket, command }));
    }

    fn count(&mut self, frame: &Frame) {
        let mut out = BytesMut::new();
        wire::encode(frame, Instant(self.now), &mut out).expect("within the limits");
        self.repair_bytes += out.len();
        self.repair_messages += 1;
    }

    fn run_until(&mut self, end: u64) {
        while self.now < end {
            let due = || {
                let deadlines = self.nodes.iter().map(Node::next_deadline);
                (0..)
                    .zip(deadlines)
                    .filter_map(|(n, at)| Some((at?, n)))
                    .min()
            };
            let (n, event) = match self.queue.pop_front() {
                Some(next) => next,
                None => {
                    let (at, n) = due().expect("members always have something to do");
                    self.now = self.now.max(at.0);
                    (n, Event::Wake)
                }
            };
            let mut out = vec![];
            let now = Now {
                mono: Instant(self.now),
                wall: START + self.now,
            };
            self.nodes[n].handle(now, event, &mut out);
            for action in out {
                self.execute(n, action);
            }
        }
    }

    fn execute(&mut self, n: usize, action: Action) {
        match action {
            Action::Call {
                op,
                to,
                terms,
                request,
            } => {
                self.now += 50;
                let repair = terms.class == Class::Repair;
                if repair {
                    self.count(&request_frame(&request));
                }
                self.tickets += 1;
                self.calls.insert(self.tickets, (n, op, repair));
                let event = Event::Request {
                    ticket: Ticket(self.tickets),
                    from: peer(n),
                    terms,
                    request,
                };
                self.queue.push_back((usize::from(to == peer(1)), event));
            }
            Action::Reply { ticket, response } => {
                let (asker, op, repair) = self.calls.remove(&ticket.0).expect("answered once");
                if repair {
                    self.count(&response_frame(&response));
                }
                let result = Ok(response);
                self.queue.push_back((asker, Event::Answer { op, result }));
            }
            Action::Store { op, command } => {
                let result = Ok(self.disks[n].carry_out(command, &mut vec![]));
                self.queue.push_back((n, Event::Stored { op, result }));
            }
            Action::Finish { .. } | Action::Notice(_) => {}
        }
    }

    fn store(&mut self, n: usize, record: Record) {
        let command = StoreCommand::Put {
            records: vec![record],
        };
        self.disks[n].carry_out(command, &mut vec![]);
    }

    fn sums(&mut self, n: usize) -> chord_core::event::StoreAnswer {
        let span = Span::whole(Id::ZERO);
        self.disks[n].carry_out(StoreCommand::Sums { span }, &mut vec![])
    }
}

fn request_frame(request: &Request) -> Frame {
    Frame::Request(RequestFrame {
        id: 1,
        to: peer(0).id,
        position: 0,
        incarnation: 1,
        remaining: Micros::from_secs(2),
        class: Class::Repair,
        trace: 0,
        request: Asked::Known(request.clone()),
    })
}

fn response_frame(response: &Response) -> Frame {
    Frame::Response(ResponseFrame {
        id: 1,
        incarnation: 1,
        response: response.clone(),
    })
}

/// Two members of one ring with so many records each, and what it costs until they agree.
/// `versions` says which version of a record either has.
fn cost(records: u32, versions: impl Fn(u32) -> [Option<u64>; 2]) -> (usize, usize) {
    let mut pair = Pair::new();
    pair.join(0, vec![]);
    pair.run_until(1_000_000);
    pair.join(1, vec![peer(0).addr]);
    pair.run_until(20_000_000);
    for n in 0..records {
        for (at, time) in versions(n).into_iter().enumerate() {
            if let Some(time) = time {
                pair.store(at, record(n, time));
            }
        }
    }
    assert_ne!(pair.sums(0), pair.sums(1));
    (pair.repair_bytes, pair.repair_messages) = (0, 0);
    pair.run_until(200_000_000);
    assert_eq!(pair.sums(0), pair.sums(1), "not repaired");
    assert_eq!(pair.disks[0].len(), records as usize);
    (pair.repair_bytes, pair.repair_messages)
}

#[test]
fn a_million_records_that_differ_in_ten_cost_64_kib() {
    let (bytes, messages) = cost(RECORDS, |n| match n % (RECORDS / 20) {
        // Five are missing on one side, five are older on the other.
        0 if n < RECORDS / 4 => [None, Some(2)],
        0 if n < RECORDS / 2 => [Some(2), Some(1)],
        _ => [Some(1), Some(1)],
    });
    println!(
        "{RECORDS} records, 10 differ: {bytes} bytes in {messages} messages of repair (gate: {BYTES_MAX})"
    );
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}

/// A holder that was away while clients wrote: nearly every part of the span differs, and
/// nearly no record. The lists of either would be 8 MB.
#[test]
fn a_holder_that_was_away_for_a_moment_is_not_listed_as_a_whole() {
    let records = 100_000;
    let missed = 200;
    let (bytes, messages) = cost(records, |n| match n % (records / missed) {
        0 => [Some(2), Some(1)],
        _ => [Some(1), Some(1)],
    });
    println!("{records} records, {missed} differ: {bytes} bytes in {messages} messages of repair");
    assert!(bytes <= 1 << 20, "{bytes} bytes");
}
