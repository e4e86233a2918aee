//! Requests of the application: each rides on a search to the owner of its key.
//!
//! ```text
//! Command ──▶ search ──▶ named owner ── Put | Get ──▶ Written, Got ──▶ Finish
//!                                                     Refused      ──▶ pause, hint, start over
//! ```
//!
//! **Invariant:** a retry carries the operation id of its first try.

use alloc::boxed::Box;

use crate::event::{CallError, Command, Failure, Hop, Notice, Outcome, Ticket, Why};
use crate::lookup::{Goal, HOPS_MAX};
use crate::message::{OperationId, Refusal, Request, Response, VALUE_MAX, Write};
use crate::node::{Cx, Node};
use crate::ops::SlabKey;
use crate::peer::Peer;
use crate::time::{Instant, Micros};

/// Times in a row that somebody may say `Settling` before the search starts over.
const SETTLINGS_MAX: u8 = 4;

impl Node {
    pub(crate) fn search_for_client(&mut self, cx: &mut Cx, ticket: Ticket, command: Command) {
        if self.ops.len() >= self.config.ops_max as usize {
            cx.finish(ticket, Err(Failure::Overloaded));
            return;
        }
        let (target, goal) = match command {
            Command::Lookup { target } => (target, Goal::Lookup { ticket }),
            Command::Get { key, quorum } => {
                (key.position(), client(ticket, Request::Get { key, quorum }))
            }
            Command::Put { value, .. } if value.len() > VALUE_MAX => {
                cx.finish(ticket, Err(Failure::Invalid));
                return;
            }
            Command::Put {
                key,
                value,
                ttl,
                copies,
                expected,
            } => {
                let operation = self.next_operation();
                let write = Write {
                    key,
                    value: Some(value),
                    ttl,
                    copies,
                    operation,
                    expected,
                };
                (write.key.position(), client(ticket, Request::Put(write)))
            }
            Command::Delete { key, expected } => {
                let operation = self.next_operation();
                let (ttl, copies) = (Micros::ZERO, 0);
                let write = Write {
                    key,
                    value: None,
                    ttl,
                    copies,
                    operation,
                    expected,
                };
                (write.key.position(), client(ticket, Request::Put(write)))
            }
            Command::Join { .. } | Command::View { .. } | Command::Status | Command::Leave => {
                cx.finish(ticket, Err(Failure::Invalid));
                return;
            }
        };
        self.search(cx, target, goal);
    }

    fn next_operation(&mut self) -> OperationId {
        self.counter = self.counter.saturating_add(1);
        OperationId {
            gateway: self.me.id,
            incarnation: self.me.incarnation,
            counter: self.counter,
        }
    }

    /// The client's request came back from the named owner.
    pub(crate) fn asked_answered(
        &mut self,
        cx: &mut Cx,
        key: SlabKey,
        peer: Peer,
        sent: Instant,
        result: Result<Response, CallError>,
    ) {
        let round_trip = result.is_ok().then(|| cx.now.mono.since(sent));
        if let Some(search) = self.searches.get_mut(key) {
            search.in_flight.retain(|asked| *asked != peer);
            if search.hops.len() < HOPS_MAX {
                search.hops.push(Hop {
                    peer,
                    round_trip,
                    why: Why::Owner,
                });
            }
        }
        match result {
            Ok(response) => self.asked_response(cx, key, peer, response),
            Err(CallError::Overloaded) => self.rest(cx, key, Failure::Overloaded, true),
            Err(_) => self.advance(cx, key),
        }
    }

    /// The owner, this node or another, has answered the client's request.
    pub(crate) fn asked_response(
        &mut self,
        cx: &mut Cx,
        key: SlabKey,
        peer: Peer,
        response: Response,
    ) {
        let Some(search) = self.searches.get_mut(key) else {
            return;
        };
        search.in_flight.retain(|asked| *asked != peer);
        match response {
            Response::Written { version } => {
                self.end_client(cx, key, Ok(Outcome::Written { version }));
            }
            Response::Got { record } => self.end_client(cx, key, Ok(Outcome::Got { record })),
            Response::Refused(refusal) => self.asked_refused(cx, key, peer, refusal),
            _ => self.advance(cx, key),
        }
    }

    fn asked_refused(&mut self, cx: &mut Cx, key: SlabKey, peer: Peer, refusal: Refusal) {
        match refusal {
            Refusal::NotOwner { hint } => {
                if self.denied(cx, key, peer) {
                    return;
                }
                if let Some(hint) = hint {
                    self.correct(key, peer, hint);
                }
                self.advance(cx, key);
            }
            Refusal::NotMember { .. } | Refusal::Leaving | Refusal::Unsupported => {
                self.advance(cx, key);
            }
            Refusal::Settling => {
                self.unask(key, peer);
                let restart = self.is_stuck_on_settling(key);
                self.rest(cx, key, Failure::TimedOut, restart);
            }
            Refusal::Unavailable { stored, needed } => {
                self.rest(cx, key, Failure::Unavailable { stored, needed }, true);
            }
            Refusal::Overloaded { .. } => self.rest(cx, key, Failure::Overloaded, true),
            Refusal::ClockSkew | Refusal::Invalid => {
                self.end_client(cx, key, Err(Failure::Invalid));
            }
            Refusal::Conflict { stored } => {
                self.end_client(cx, key, Err(Failure::Conflict { stored }));
            }
            Refusal::Full => self.end_client(cx, key, Err(Failure::Full)),
            Refusal::Storage => self.rest(cx, key, Failure::Storage, true),
        }
    }

    /// Whether one more `Settling` is one too many: whoever says so may wait for an owner
    /// that was only slow, and is asked again from the beginning.
    fn is_stuck_on_settling(&mut self, key: SlabKey) -> bool {
        let Some(search) = self.searches.get_mut(key) else {
            return false;
        };
        search.settlings = (search.settlings + 1) % SETTLINGS_MAX;
        search.settlings == 0 && search.in_flight.is_empty()
    }

    fn end_client(&mut self, cx: &mut Cx, key: SlabKey, result: Result<Outcome, Failure>) {
        let Some(search) = self.take_search(key) else {
            return;
        };
        if let Goal::Client { ticket, request } = search.goal {
            if matches!(*request, Request::Put(_)) {
                self.note_availability(cx, &result);
            }
            cx.finish(ticket, result);
        }
    }

    pub(crate) fn note_availability(&mut self, cx: &mut Cx, result: &Result<Outcome, Failure>) {
        match result {
            Ok(_) if self.unavailable_since.take().is_some() => cx.notice(Notice::Available),
            Err(Failure::Unavailable { .. }) if self.unavailable_since.is_none() => {
                self.unavailable_since = Some(cx.now.mono);
                cx.notice(Notice::Unavailable);
            }
            _ => {}
        }
    }
}

fn client(ticket: Ticket, request: Request) -> Goal {
    Goal::Client {
        ticket,
        request: Box::new(request),
    }
}
