//! From a node's call to a frame on a connection.

use chord_core::event::CallError;
use chord_core::message::{Request, Response};
use chord_core::peer::{Addr, Peer};
use chord_core::time::Instant;
use chord_core::wire::{Asked, EncodeError, Frame, RequestFrame, ResponseFrame};

use crate::counters;
use crate::frames;
use crate::peers::dials::WAITING_MAX;
use crate::peers::link::Bulky;
use crate::peers::{Call, DRAIN, Effect, LinkId, Peers, Stage};

/// Which way a call goes.
enum Route {
    Over(LinkId),
    Dial(Addr),
    Restarted { incarnation: u32 },
}

impl Peers {
    /// Sends a call, now or once there is a connection.
    pub(crate) fn call(&mut self, call: Call, now: Instant) {
        if call.terms.deadline <= now {
            return; // Its node times out by itself, at this very moment.
        }
        match self.route(&call.to) {
            Route::Over(link) => self.send(link, call, now),
            Route::Dial(addr) => self.dial_for(addr, call, now),
            Route::Restarted { incarnation } => {
                self.fail(&call, CallError::Restarted { incarnation });
            }
        }
    }

    /// A call for which a dial has just ended: over a connection or not at all.
    pub(super) fn call_now(&mut self, call: Call, now: Instant) {
        match self.route(&call.to) {
            Route::Over(link) => self.send(link, call, now),
            Route::Dial(_) => self.fail(&call, CallError::Unreachable),
            Route::Restarted { incarnation } => {
                self.fail(&call, CallError::Restarted { incarnation });
            }
        }
    }

    fn route(&self, to: &Peer) -> Route {
        let known = if to.is_seed() {
            self.hosts.at(to.addr)
        } else {
            self.hosts.of_position(to.id)
        };
        let Some((_, host)) = known else {
            return Route::Dial(to.addr);
        };
        if to.incarnation != 0 && to.incarnation < host.incarnation {
            return Route::Restarted {
                incarnation: host.incarnation,
            };
        }
        match host.current {
            // Somebody knows of a later life than the one we are connected to: this
            // connection is to a dead process.
            Some(_) if to.incarnation > host.incarnation => Route::Dial(to.addr),
            Some(link) => Route::Over(link),
            None => Route::Dial(to.addr),
        }
    }

    fn dial_for(&mut self, addr: Addr, call: Call, now: Instant) {
        if addr.to_socket().is_none() {
            return self.fail(&call, CallError::Unreachable);
        }
        match self.dials.at(addr, now) {
            Some(dial) if dial.waiting.len() < WAITING_MAX => dial.waiting.push_back(call),
            _ => return self.fail(&call, CallError::Overloaded),
        }
        self.start_dials(now);
    }

    /// Starts every dial whose turn has come.
    pub(super) fn start_dials(&mut self, now: Instant) {
        for (addr, wanted) in self.dials.due(now) {
            self.effects.push_back(Effect::Dial { addr, wanted });
        }
    }

    /// Sends a call over a connection, or queues it for a bulk stream there.
    fn send(&mut self, id: LinkId, mut call: Call, now: Instant) {
        let number = self.number(call.stage);
        let Some(link) = self.links.get_mut(&id) else {
            return self.fail(&call, CallError::Unreachable);
        };
        if !link.has_room(call.terms.class, now) || link.calls.contains_key(&number) {
            return self.fail(&call, CallError::Overloaded);
        }
        link.used = now;
        if frames::asks_for_much(&call.request) {
            return self.queue_bulk(id, Bulky::Call(call), now);
        }
        let frame = request_frame(&mut call, number, self.me.incarnation, now);
        let large = frames::is_large(&frame);
        let result = if large {
            Ok(0)
        } else {
            frames::append(&frame, now, &mut link.out)
        };
        restore(&mut call, frame);
        match result {
            Ok(_) if large => self.queue_bulk(id, Bulky::Call(call), now),
            Ok(_) => self.sent(id, number, call),
            Err(error) => self.unsendable(&call, error),
        }
    }

    fn sent(&mut self, id: LinkId, number: u32, mut call: Call) {
        self.count_sent(&call);
        call.stage = match call.stage {
            Stage::Fresh | Stage::Sent(_) => Stage::Sent(number),
            Stage::Again(_) | Stage::SentAgain(_) => Stage::SentAgain(number),
        };
        if let Some(link) = self.links.get_mut(&id) {
            link.calls.insert(number, call);
        }
        self.dirty.push(id);
    }

    fn count_sent(&mut self, call: &Call) {
        self.counters.sent.by_kind[counters::kind_of(&call.request)] += 1;
        if call.stage.left() {
            self.counters.retried += 1;
        }
    }

    fn number(&mut self, stage: Stage) -> u32 {
        match stage {
            Stage::Sent(number) | Stage::Again(number) | Stage::SentAgain(number) => number,
            Stage::Fresh => {
                self.next_call = self.next_call.wrapping_add(1);
                self.next_call
            }
        }
    }

    /// A frame that breaks a limit of the format: our own fault, never the peer's.
    fn unsendable(&mut self, call: &Call, error: EncodeError) {
        tracing::error!(%error, to = %call.to.addr, "a request cannot be encoded");
        self.fail(call, CallError::Garbled);
    }

    /// Gives what is large a bulk stream, now or when one becomes free.
    pub(super) fn queue_bulk(&mut self, id: LinkId, bulky: Bulky, now: Instant) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        match link.wait_for_bulk(bulky) {
            None => self.start_bulk(id, now),
            Some(Bulky::Call(call)) => self.fail(&call, CallError::Overloaded),
            Some(Bulky::Answer { id: number, .. }) => self.refuse_overloaded(id, number, now),
        }
    }

    /// Starts what waits for bulk streams while there are any.
    pub(super) fn start_bulk(&mut self, id: LinkId, now: Instant) {
        while let Some(bulky) = self.links.get_mut(&id).and_then(|link| link.next_bulk(now)) {
            let started = match bulky {
                Bulky::Call(call) => self.start_bulk_call(id, call, now),
                Bulky::Answer {
                    id: number,
                    response,
                } => self.start_bulk_answer(id, number, response, now),
            };
            if !started && let Some(link) = self.links.get_mut(&id) {
                link.bulk_flying -= 1;
            }
        }
    }

    fn start_bulk_call(&mut self, id: LinkId, mut call: Call, now: Instant) -> bool {
        let number = self.number(call.stage);
        let frame = request_frame(&mut call, number, self.me.incarnation, now);
        let bytes = frames::alone(&frame, now);
        restore(&mut call, frame);
        match bytes {
            Ok(bytes) => {
                let deadline = call.terms.deadline;
                self.counters.bytes_sent += bytes.len() as u64;
                self.sent(id, number, call);
                let call = Some(number);
                self.effects.push_back(Effect::Bulk {
                    link: id,
                    bytes,
                    call,
                    deadline,
                });
                true
            }
            Err(error) => {
                self.unsendable(&call, error);
                false
            }
        }
    }

    fn start_bulk_answer(
        &mut self,
        id: LinkId,
        number: u32,
        response: Response,
        now: Instant,
    ) -> bool {
        let incarnation = self.me.incarnation;
        let frame = Frame::Response(ResponseFrame {
            id: number,
            incarnation,
            response,
        });
        match frames::alone(&frame, now) {
            Ok(bytes) => {
                self.counters.bytes_sent += bytes.len() as u64;
                let deadline = now + DRAIN;
                self.effects.push_back(Effect::Bulk {
                    link: id,
                    bytes,
                    call: None,
                    deadline,
                });
                true
            }
            Err(error) => {
                tracing::error!(%error, "a response cannot be encoded");
                self.refuse_overloaded(id, number, now);
                false
            }
        }
    }
}

/// The frame of a call. The request moves in, and moves back with [`restore`].
fn request_frame(call: &mut Call, id: u32, incarnation: u32, now: Instant) -> Frame {
    Frame::Request(RequestFrame {
        id,
        to: call.to.id,
        position: call.position,
        incarnation,
        remaining: call.terms.deadline.since(now),
        class: call.terms.class,
        trace: call.terms.trace,
        request: Asked::Known(std::mem::replace(&mut call.request, Request::Ping)),
    })
}

fn restore(call: &mut Call, frame: Frame) {
    if let Frame::Request(RequestFrame {
        request: Asked::Known(request),
        ..
    }) = frame
    {
        call.request = request;
    }
}
