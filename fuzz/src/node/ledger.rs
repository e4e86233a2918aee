//! What the node owes, what it is owed, and whether the books balance.

use std::collections::BTreeMap;

use bytes::BytesMut;
use chord_core::event::{Action, OpId, StoreCommand, Terms, Ticket};
use chord_core::id::Id;
use chord_core::message::{Request, Response};
use chord_core::peer::Peer;
use chord_core::time::{Instant, Now};
use chord_core::wire::{self, Frame, RequestFrame, ResponseFrame, decode, encode};

/// Most actions that one event may cause.
const ACTIONS_MAX: usize = 4_096;

/// Which kind of answer a ticket wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owed {
    Finish,
    Reply,
}

/// An operation of the node that nobody has answered yet.
pub(super) enum Open {
    Call {
        op: OpId,
        to: Peer,
        request: Request,
    },
    Store {
        op: OpId,
        command: StoreCommand,
    },
}

impl Open {
    pub(super) fn op(&self) -> OpId {
        match self {
            Self::Call { op, .. } | Self::Store { op, .. } => *op,
        }
    }
}

/// Whom the node asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Peer,
    Store,
}

/// The books.
#[derive(Default)]
pub(super) struct Ledger {
    next: u64,
    owed: BTreeMap<Ticket, Owed>,
    used: BTreeMap<OpId, Asked>,
    /// Oldest first.
    pub(super) open: Vec<Open>,
}

impl Ledger {
    /// A fresh ticket that wants such an answer.
    pub(super) fn mint(&mut self, owed: Owed) -> Ticket {
        // Not in steps of one, so that no counter of the node's own passes for one.
        self.next += 1_000_003;
        let ticket = Ticket(self.next);
        self.owed.insert(ticket, owed);
        ticket
    }

    /// Tickets without an answer.
    pub(super) fn owed(&self) -> &BTreeMap<Ticket, Owed> {
        &self.owed
    }

    /// An operation id that was used at some time, or never.
    pub(super) fn some_op(&self, choice: u64) -> (OpId, Option<Asked>) {
        let index = usize::try_from(choice).unwrap_or(usize::MAX);
        match self.used.iter().nth(index) {
            Some((&op, &asked)) => (op, Some(asked)),
            None => (OpId(choice), None),
        }
    }

    /// Enters everything that one event caused.
    pub(super) fn enter(&mut self, now: Now, me: Peer, actions: Vec<Action>) -> Result<(), String> {
        if actions.len() > ACTIONS_MAX {
            return Err(format!("{} actions for one event", actions.len()));
        }
        for action in actions {
            match action {
                Action::Finish { ticket, result } => {
                    self.settle(ticket, Owed::Finish)
                        .map_err(|e| format!("{e}: {result:?}"))?;
                }
                Action::Reply { ticket, response } => {
                    self.settle(ticket, Owed::Reply)
                        .map_err(|e| format!("{e}: {response:?}"))?;
                    reply_fits_the_wire(now.mono, response)?;
                }
                Action::Call {
                    op,
                    to,
                    terms,
                    request,
                } => {
                    self.first_use(op, Asked::Peer)?;
                    if terms.deadline <= now.mono {
                        return Err(format!("a call that is over before it begins: {request:?}"));
                    }
                    if to.id == me.id {
                        return Err(format!("a call to itself: {request:?}"));
                    }
                    call_fits_the_wire(now.mono, me, to, terms, &request)?;
                    self.open.push(Open::Call { op, to, request });
                }
                Action::Store { op, command } => {
                    self.first_use(op, Asked::Store)?;
                    self.open.push(Open::Store { op, command });
                }
                Action::Notice(_) => {}
            }
        }
        Ok(())
    }

    fn settle(&mut self, ticket: Ticket, owed: Owed) -> Result<(), String> {
        match self.owed.remove(&ticket) {
            Some(wanted) if wanted == owed => Ok(()),
            Some(wanted) => Err(format!("{ticket:?} wanted a {wanted:?}, got a {owed:?}")),
            None => Err(format!("{owed:?} for {ticket:?}, which wants no answer")),
        }
    }

    fn first_use(&mut self, op: OpId, asked: Asked) -> Result<(), String> {
        match self.used.insert(op, asked) {
            None => Ok(()),
            Some(_) => Err(format!("{op:?} was used before")),
        }
    }
}

fn call_fits_the_wire(
    now: Instant,
    me: Peer,
    to: Peer,
    terms: Terms,
    request: &Request,
) -> Result<(), String> {
    fits_the_wire(
        now,
        &Frame::Request(RequestFrame {
            id: 1,
            to: if to.is_seed() { Id::ZERO } else { to.id },
            position: 0,
            incarnation: me.incarnation,
            remaining: terms.deadline.since(now),
            class: terms.class,
            trace: terms.trace,
            request: wire::Asked::Known(request.clone()),
        }),
    )
}

fn reply_fits_the_wire(now: Instant, response: Response) -> Result<(), String> {
    fits_the_wire(
        now,
        &Frame::Response(ResponseFrame {
            id: 1,
            incarnation: 1,
            response,
        }),
    )
}

/// Everything that the node says can be said to a peer.
fn fits_the_wire(now: Instant, frame: &Frame) -> Result<(), String> {
    let mut bytes = BytesMut::new();
    encode(frame, now, &mut bytes).map_err(|error| format!("{error}: {frame:?}"))?;
    match decode(bytes.freeze(), now) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{error}: {frame:?}")),
    }
}
