//! One node whose peers, clock and calls are played by hand. Its store is a map.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use chord_core::config::Config;
use chord_core::event::{
    Action, CallError, Class, Command, Event, OpId, Restored, StoreAnswer, StoreCommand, Terms,
    Ticket,
};
use chord_core::id::{Id, Span};
use chord_core::message::{Head, Key, Record, Request, Response, Route};
use chord_core::node::Node;
use chord_core::peer::{Addr, Peer};
use chord_core::sums::{Leaves, PartSum};
use chord_core::time::{Instant, Micros, Now};

pub(crate) fn peer(at: u8) -> Peer {
    let mut id = [0; 20];
    id[0] = at;
    Peer {
        id: Id(id),
        addr: Addr::v4(10, 0, 0, at, 1),
        incarnation: 1,
    }
}

/// The answer to a notification that grants the span behind `floor`.
pub(crate) fn granting(floor: u8, to: u8) -> Response {
    Response::Notified {
        predecessor: Some(peer(to)),
        granted: Some(peer(floor)),
    }
}

/// A node and what it wants done.
pub(crate) struct Played {
    pub(crate) node: Node,
    pub(crate) now: u64,
    tickets: u64,
    pub(crate) store: BTreeMap<Key, Record>,
    pub(crate) calls: Vec<(OpId, Peer, Request)>,
    replies: BTreeMap<Ticket, Response>,
}

impl Played {
    pub(crate) fn new(at: u8) -> Self {
        let now = Now {
            mono: Instant(0),
            wall: 1 << 50,
        };
        let config = Arc::new(Config::default());
        let node = Node::new(config, peer(at), 7, now, Restored::default());
        Self {
            node: node.expect("the default options are valid"),
            now: 0,
            tickets: 0,
            store: BTreeMap::new(),
            calls: Vec::new(),
            replies: BTreeMap::new(),
        }
    }

    pub(crate) fn handle(&mut self, event: Event) {
        let now = Now {
            mono: Instant(self.now),
            wall: (1 << 50) + self.now,
        };
        let mut out = Vec::new();
        self.node.handle(now, event, &mut out);
        self.node.check().expect("invariants hold");
        for action in out {
            match action {
                Action::Call {
                    op, to, request, ..
                } => self.calls.push((op, to, request)),
                Action::Reply { ticket, response } => {
                    self.replies.insert(ticket, response);
                }
                Action::Store { op, command } => {
                    let result = Ok(self.carry_out(command));
                    self.handle(Event::Stored { op, result });
                }
                Action::Finish { .. } | Action::Notice(_) => {}
            }
        }
    }

    /// A member: it joined behind `member`, whose list is `list`, and has no answer yet to
    /// its first notification.
    pub(crate) fn joined(at: u8, member: u8, list: &[u8]) -> Self {
        let mut played = Self::new(at);
        let seeds = vec![peer(member).addr];
        let ticket = Ticket(0);
        let command = Command::Join { seeds };
        played.handle(Event::Command { ticket, command });
        let successors: Vec<Peer> = list.iter().map(|at| peer(*at)).collect();
        for _ in 0..20 {
            if played.wants(|request| matches!(request, Request::Notify)) {
                return played;
            }
            if played.calls.is_empty() {
                played.wake();
                continue;
            }
            let (op, _, request) = played.calls.remove(0);
            let response = match request {
                Request::Neighbours { .. } => Response::Neighbours {
                    me: peer(member),
                    predecessor: successors.last().copied(),
                    successors: Some(successors.clone()),
                    wall: None,
                },
                Request::Route { .. } => Response::Route(Route::Successors(successors.clone())),
                Request::Pull { .. } => Response::Page {
                    records: Vec::new(),
                    more: false,
                },
                _ => Response::Done,
            };
            played.answer(op, Ok(response));
        }
        panic!("it does not join");
    }

    fn wants(&self, what: impl Fn(&Request) -> bool) -> bool {
        self.calls.iter().any(|(_, _, request)| what(request))
    }

    /// Takes the first open call that fits, and those before it.
    pub(crate) fn take(&mut self, what: impl Fn(&Request) -> bool) -> (OpId, Peer) {
        for _ in 0..50 {
            let at = self.calls.iter().position(|(_, _, request)| what(request));
            if let Some(at) = at {
                let (op, to, _) = self.calls.remove(at);
                return (op, to);
            }
            self.wake();
        }
        panic!("no such call among {:?}", self.calls);
    }

    pub(crate) fn answer(&mut self, op: OpId, result: Result<Response, CallError>) {
        self.now += 1_000;
        self.handle(Event::Answer { op, result });
    }

    pub(crate) fn wake(&mut self) {
        let deadline = self.node.next_deadline().expect("a member is never idle");
        self.now = self.now.max(deadline.0);
        self.handle(Event::Wake);
    }

    /// A request reaches the node; its ticket.
    pub(crate) fn begin(&mut self, from: u8, request: Request) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let terms = Terms {
            deadline: Instant(self.now) + Micros::from_secs(1),
            class: Class::Ring,
            trace: 0,
        };
        let from = peer(from);
        self.handle(Event::Request {
            ticket,
            from,
            terms,
            request,
        });
        ticket
    }

    /// What the node has answered to a request.
    pub(crate) fn said(&mut self, ticket: Ticket) -> Option<Response> {
        self.replies.remove(&ticket)
    }

    /// What the node says at once to a request.
    pub(crate) fn ask(&mut self, from: u8, request: Request) -> Response {
        let ticket = self.begin(from, request);
        self.said(ticket).expect("answered at once")
    }

    pub(crate) fn owned(&self) -> Option<Span> {
        self.node.status(Instant(self.now)).owned
    }

    fn carry_out(&mut self, command: StoreCommand) -> StoreAnswer {
        let more = false;
        let store = &mut self.store;
        match command {
            StoreCommand::Get { key } => StoreAnswer::Record(store.get(&key).cloned()),
            StoreCommand::Heads { keys } => {
                let found = keys.iter().filter_map(|key| store.get(key));
                let heads = found.map(Record::head).collect();
                StoreAnswer::Heads { heads, more }
            }
            StoreCommand::GetMany { keys, .. } => {
                let found = keys.iter().filter_map(|key| store.get(key));
                let records = found.cloned().collect();
                StoreAnswer::Page { records, more }
            }
            StoreCommand::Put { records } => {
                for record in records {
                    store.insert(record.key.clone(), record);
                }
                let newer = Vec::new();
                StoreAnswer::Put { newer }
            }
            StoreCommand::Scan { span, .. } => {
                let inside = store.values().filter(|r| span.contains(r.key.position()));
                let records = inside.cloned().collect();
                StoreAnswer::Page { records, more }
            }
            StoreCommand::List { span, .. } => {
                let heads = heads_in(store.values(), span);
                StoreAnswer::Heads { heads, more }
            }
            StoreCommand::Sums { span } => StoreAnswer::Sums {
                sums: sums_in(store.values(), span),
            },
            StoreCommand::Discard { heads } => {
                let count = u32::try_from(heads.len()).expect("few");
                for head in heads {
                    store.remove(&head.key);
                }
                StoreAnswer::Discarded { count }
            }
            StoreCommand::Sweep { .. } => StoreAnswer::Swept {
                expired: 0,
                buried: 0,
                more,
            },
        }
    }
}

/// The sums of the parts of a span.
pub(crate) fn sums_in<'a>(
    records: impl Iterator<Item = &'a Record> + Clone,
    span: Span,
) -> Vec<PartSum> {
    let mut leaves = Leaves::new();
    records.clone().for_each(|r| leaves.insert(&r.head()));
    let edge = |edge| Ok::<_, Infallible>(heads_in(records.clone(), edge));
    let Ok(sums) = leaves.answer(span, edge);
    sums
}

/// What a list of a span is: its heads in order.
pub(crate) fn heads_in<'a>(records: impl Iterator<Item = &'a Record>, span: Span) -> Vec<Head> {
    let inside = records.filter(|record| span.contains(record.key.position()));
    let mut heads: Vec<Head> = inside.map(Record::head).collect();
    heads.sort_by_key(|head| span.rank(head.key.position()));
    heads
}
