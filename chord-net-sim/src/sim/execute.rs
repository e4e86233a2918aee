//! Carrying out what nodes want, and bringing them what comes of it.

use bytes::BytesMut;
use chord_core::event::{
    Action, CallError, Event, Failure, Notice, OpId, Outcome, StoreAnswer, StoreCommand, Terms,
    Ticket,
};
use chord_core::message::{Request, Response};
use chord_core::peer::Peer;
use chord_core::time::Instant;
use chord_core::wire::{self, Asked as Known, Frame, RequestFrame, ResponseFrame};

use super::entry::{Answering, Asking, Body, DiskWork, Entry, Message};
use super::world::World;
use crate::chance::{Purpose, nth};
use crate::host::{Asked, index_of};
use crate::kind;
use crate::plan::{NEVER_SYNCED, Syncing};

/// How much later than its deadline a ticket may be answered, in microseconds: the driver
/// is late by chance, and the last message of a command still has to travel.
const OVERDUE_AFTER: u64 = 3_000_000;

/// How long it takes to find that an address belongs to nobody.
const NOBODY_DELAY: u64 = 5_000;

impl World {
    /// Carries out one action of a host's node.
    pub(super) fn execute(&mut self, host: u32, action: Action) {
        match action {
            Action::Finish { ticket, result } => self.finished(host, ticket, result),
            Action::Reply { ticket, response } => self.reply(host, ticket, response),
            Action::Call {
                op,
                to,
                terms,
                request,
            } => self.call(host, op, to, terms, request),
            Action::Store { op, command } => self.store(host, op, command),
            Action::Notice(notice) => self.noticed(host, notice),
        }
    }

    fn call(&mut self, host: u32, op: OpId, to: Peer, terms: Terms, request: Request) {
        let now = self.now;
        let sender = self.hosts[host as usize].peer();
        let Some(process) = self.hosts[host as usize].process.as_mut() else {
            return;
        };
        if !process.called(op, terms.deadline.0, now) {
            self.violate("operation-once", format!("host {host} used {op:?} twice"));
            return;
        }
        let index = index_of(to.addr);
        let known = self
            .hosts
            .get(index as usize)
            .is_some_and(|host| host.addr == to.addr);
        if !known {
            let incarnation = sender.incarnation;
            let error = CallError::Unreachable;
            self.after(
                NOBODY_DELAY,
                host,
                Entry::Failed {
                    host,
                    incarnation,
                    op,
                    error,
                },
            );
            return;
        }
        let kind = kind::request(&request);
        let Some((size, asked)) = self.pack(host, op, to, terms, request) else {
            return;
        };
        let body = Body::Request {
            op,
            sender,
            named: to,
            asked,
        };
        self.send(
            Message {
                from: host,
                to: index,
                body,
            },
            size,
            Some(kind),
        );
    }

    /// A request as it travels, and its size in bytes.
    fn pack(
        &mut self,
        host: u32,
        op: OpId,
        to: Peer,
        terms: Terms,
        request: Request,
    ) -> Option<(usize, Asking)> {
        let frame = Frame::Request(RequestFrame {
            // The driver's number would do as well; the low half is unique enough for a copy.
            id: op.0 as u32,
            to: to.id,
            position: 0,
            incarnation: self.hosts[host as usize].incarnation,
            remaining: terms.deadline.since(Instant(self.now)),
            class: terms.class,
            trace: terms.trace,
            request: Known::Known(request),
        });
        let size = frame.size_hint();
        if self.plan.codec {
            return self
                .encode(host, &frame)
                .map(|coded| (size, Asking::Coded(coded)));
        }
        match frame {
            Frame::Request(RequestFrame {
                request: Known::Known(request),
                ..
            }) => Some((size, Asking::Plain { terms, request })),
            Frame::Request(_) | Frame::Response(_) | Frame::Hello(_) => None,
        }
    }

    fn reply(&mut self, host: u32, ticket: Ticket, response: Response) {
        let Some(process) = self.hosts[host as usize].process.as_mut() else {
            return;
        };
        match process.close(ticket) {
            Some(Asked::Host {
                from,
                incarnation,
                op,
            }) => {
                self.answer(host, from, incarnation, op, Ok(response));
            }
            Some(Asked::Work(_) | Asked::Join | Asked::Leave) => {
                self.violate("ticket-once", format!("host {host} replied to a command"));
            }
            None => {
                self.violate(
                    "ticket-once",
                    format!("host {host} answered {ticket:?} again"),
                );
            }
        }
    }

    /// Sends back what became of a call.
    fn answer(
        &mut self,
        host: u32,
        to: u32,
        incarnation: u32,
        op: OpId,
        result: Result<Response, CallError>,
    ) {
        let (size, answer) = match result {
            Ok(response) => {
                let frame = Frame::Response(ResponseFrame {
                    id: op.0 as u32,
                    incarnation: self.hosts[host as usize].incarnation,
                    response,
                });
                let size = frame.size_hint();
                if self.plan.codec {
                    let Some(coded) = self.encode(host, &frame) else {
                        return;
                    };
                    (size, Answering::Coded(coded))
                } else {
                    let Frame::Response(frame) = frame else {
                        return;
                    };
                    (size, Answering::Plain(Ok(frame.response)))
                }
            }
            // A refused connection or handshake, in bytes.
            Err(error) => (64, Answering::Plain(Err(error))),
        };
        let body = Body::Answer {
            op,
            incarnation,
            answer,
        };
        self.send(
            Message {
                from: host,
                to,
                body,
            },
            size,
            None,
        );
    }

    fn encode(&mut self, host: u32, frame: &Frame) -> Option<bytes::Bytes> {
        let mut out = BytesMut::new();
        match wire::encode(frame, Instant(self.now), &mut out) {
            Ok(()) => Some(out.freeze()),
            Err(error) => {
                self.violate(
                    "codec",
                    format!("host {host} sends what nobody can: {error:?}"),
                );
                None
            }
        }
    }

    /// A message reaches its host.
    pub(super) fn arrive(&mut self, message: Message) {
        let to = message.to;
        if !self.hosts[to as usize].is_up() {
            self.messages.dropped += 1;
            self.knock(message);
            return;
        }
        if let Some(until) = self.paused(to) {
            self.after(until - self.now, to, Entry::Message(message));
            return;
        }
        self.messages.delivered += 1;
        match message.body {
            Body::Request {
                op,
                sender,
                named,
                asked,
            } => {
                self.asked(to, op, sender, named, asked);
            }
            Body::Answer {
                op,
                incarnation,
                answer,
            } => {
                let result = match answer {
                    Answering::Plain(result) => result,
                    Answering::Coded(bytes) => match wire::decode(bytes, Instant(self.now)) {
                        Ok(Frame::Response(frame)) => Ok(frame.response),
                        other => {
                            self.violate("codec", format!("no response after coding: {other:?}"));
                            return;
                        }
                    },
                };
                if self.runs(to, incarnation) && self.take_call(to, op) {
                    self.handle(to, Event::Answer { op, result });
                }
            }
        }
    }

    /// A message reaches a host that is down: by chance the host says so.
    fn knock(&mut self, message: Message) {
        let Body::Request { op, sender, .. } = message.body else {
            return;
        };
        let refused = self.plan.background.refused;
        if !refused.is_zero() && self.stream.hit(Purpose::Refuse, refused) {
            self.fired(self.rows.refused);
            let error = Err(CallError::Unreachable);
            self.answer(message.to, message.from, sender.incarnation, op, error);
        }
    }

    fn asked(&mut self, to: u32, op: OpId, sender: Peer, named: Peer, asked: Asking) {
        let from = index_of(sender.addr);
        let me = self.hosts[to as usize].peer();
        if !named.is_seed() {
            let error = if named.id != me.id {
                Some(CallError::Unreachable)
            } else if named.incarnation != 0 && named.incarnation < me.incarnation {
                Some(CallError::Restarted {
                    incarnation: me.incarnation,
                })
            } else {
                None
            };
            if let Some(error) = error {
                self.answer(to, from, sender.incarnation, op, Err(error));
                return;
            }
        }
        let (terms, request) = match asked {
            Asking::Plain { terms, request } => (terms, request),
            Asking::Coded(bytes) => match wire::decode(bytes, Instant(self.now)) {
                Ok(Frame::Request(RequestFrame {
                    remaining,
                    class,
                    trace,
                    request: Known::Known(request),
                    ..
                })) => {
                    let deadline = Instant(self.now) + remaining;
                    (
                        Terms {
                            deadline,
                            class,
                            trace,
                        },
                        request,
                    )
                }
                other => {
                    self.violate("codec", format!("no request after coding: {other:?}"));
                    return;
                }
            },
        };
        let Some(process) = self.hosts[to as usize].process.as_mut() else {
            return;
        };
        let due = terms.deadline.0.max(self.now).saturating_add(OVERDUE_AFTER);
        let incarnation = sender.incarnation;
        let ticket = process.open(
            Asked::Host {
                from,
                incarnation,
                op,
            },
            due,
        );
        self.handle(
            to,
            Event::Request {
                ticket,
                from: sender,
                terms,
                request,
            },
        );
    }

    /// Hands a command to the disk. Writes are done in order, each when it is answered. What a
    /// read sees is decided by chance: the state now, or the state when it is answered. A store
    /// promises no more than that a command sees everything answered before it was submitted.
    fn store(&mut self, host: u32, op: OpId, command: StoreCommand) {
        let pace = self.plan.disk;
        let state = &mut self.hosts[host as usize];
        let incarnation = state.incarnation;
        let Some(process) = state.process.as_mut() else {
            return;
        };
        if !process.storing(op) {
            self.violate("operation-once", format!("host {host} used {op:?} twice"));
            return;
        }
        let drawn = nth(self.seed, host, Purpose::Disk, state.stored);
        let early = nth(self.seed, host, Purpose::DiskSight, state.stored) & 1 == 1;
        state.stored += 1;
        let spread = |mean: u64| mean / 2 + chord_core::draw::below(drawn, mean + 1);
        let (delay, work) = if kind::writes(&command) {
            let done = state.disk_busy.max(self.now) + spread(pace.write);
            state.disk_busy = done;
            process.writing(op, command);
            let (answered, durable_at) = match pace.sync {
                Syncing::Before => (done, done),
                Syncing::After => (self.now, done),
                Syncing::Never => (done, done + NEVER_SYNCED),
            };
            (answered - self.now, DiskWork::Write { durable_at })
        } else if early {
            let answer = state.disk.carry_out(command, &mut Vec::new());
            (spread(pace.read), DiskWork::Done(answer))
        } else {
            (spread(pace.read), DiskWork::Read(command))
        };
        let entry = Entry::Store {
            host,
            incarnation,
            op,
            work,
        };
        self.after(delay, host, entry);
    }

    /// The disk does what it was asked to; a process that ended meanwhile never asked.
    pub(super) fn carry_out(&mut self, host: u32, incarnation: u32, op: OpId, work: DiskWork) {
        if !self.runs(host, incarnation) {
            return;
        }
        if let Some(until) = self.paused(host) {
            let entry = Entry::Store {
                host,
                incarnation,
                op,
                work,
            };
            self.after(until - self.now, host, entry);
            return;
        }
        let result = match work {
            DiskWork::Done(answer) => Ok(answer),
            DiskWork::Read(command) => Ok(self.change_disk(host, command)),
            DiskWork::Write { durable_at } => {
                let process = self.hosts[host as usize].process.as_mut();
                let Some(command) = process.and_then(|process| process.take_write(op)) else {
                    return;
                };
                if durable_at > self.now {
                    self.hosts[host as usize].note_undurable(&command, durable_at, self.now);
                }
                self.write_disk(host, command)
            }
        };
        let process = self.hosts[host as usize].process.as_mut();
        if process.is_some_and(|process| process.take_store(op)) {
            self.handle(host, Event::Stored { op, result });
        }
    }

    /// Carries out a command on a host's disk, and tells the oracle what it changed.
    pub(super) fn change_disk(&mut self, host: u32, command: StoreCommand) -> StoreAnswer {
        let mut changes = Vec::new();
        let disk = &mut self.hosts[host as usize].disk;
        let answer = disk.carry_out(command, &mut changes);
        for change in changes {
            self.data
                .stored(host, &change.key, change.version, self.now);
        }
        answer
    }

    fn finished(&mut self, host: u32, ticket: Ticket, result: Result<Outcome, Failure>) {
        let Some(process) = self.hosts[host as usize].process.as_mut() else {
            return;
        };
        match process.close(ticket) {
            Some(Asked::Work(operation)) => self.work_done(operation, result),
            Some(Asked::Join) => {}
            Some(Asked::Leave) => {
                let records_left = match result {
                    Ok(Outcome::Left { remaining, .. }) => remaining,
                    // It could not even begin: what it holds goes with it.
                    Ok(_) | Err(_) => self.hosts[host as usize].disk.len() as u64,
                };
                let incarnation = self.hosts[host as usize].incarnation;
                self.after(
                    0,
                    host,
                    Entry::Gone {
                        host,
                        incarnation,
                        records_left,
                    },
                );
            }
            Some(Asked::Host { .. }) => {
                self.violate("ticket-once", format!("host {host} finished a request"));
            }
            None => {
                self.violate(
                    "ticket-once",
                    format!("host {host} answered {ticket:?} again"),
                );
            }
        }
    }

    fn noticed(&mut self, host: u32, notice: Notice) {
        match notice {
            Notice::Joined { founded } => {
                self.population.founded += u64::from(founded);
                self.joined(host);
            }
            Notice::Lost => {
                self.population.lost += 1;
                self.no_member(host);
            }
            Notice::PeerLost { peer } => {
                if self.is_live(peer) {
                    self.population.suspected += 1;
                    self.population.suspected_at_rest += u64::from(self.is_at_rest());
                    self.premises.failed();
                    self.owners.suspected(index_of(peer.addr), self.now);
                }
            }
            Notice::Owns { .. } => self.owners.granted(host, self.now),
            Notice::MayHaveLost { .. } => self.population.may_have_lost += 1,
            Notice::ClockSkew => self.population.clocks_doubted += 1,
            // Lifetimes of this simulator follow one clock, also across restarts.
            Notice::ClockOff { .. } => {}
            Notice::HeadChanged { .. }
            | Notice::PredecessorChanged { .. }
            | Notice::Settled
            | Notice::Unavailable
            | Notice::Available
            | Notice::Slept { .. }
            | Notice::TwoLives { .. }
            | Notice::HandedOver { .. }
            | Notice::Unreachable
            | Notice::Store { .. } => {}
        }
    }
}
