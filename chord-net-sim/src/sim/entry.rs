//! What waits in the queue, and what travels between hosts.

use bytes::Bytes;
use chord_core::event::{CallError, OpId, StoreAnswer, StoreCommand, Terms};
use chord_core::message::{Request, Response};
use chord_core::peer::Peer;

use super::churn::Control;

/// Something that waits for its time.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// A message on its way.
    Message(Message),
    /// A call that found nobody to send to.
    Failed {
        host: u32,
        incarnation: u32,
        op: OpId,
        error: CallError,
    },
    /// A store command on its way to the disk.
    Store {
        host: u32,
        incarnation: u32,
        op: OpId,
        work: DiskWork,
    },
    /// A node wanted to be woken.
    Wake { host: u32, incarnation: u32 },
    /// A process has nothing more to do.
    Gone {
        host: u32,
        incarnation: u32,
        records_left: u64,
    },
    /// The scenario.
    Control(Control),
}

/// What the disk has still to do for a command.
#[derive(Clone, Debug)]
pub(super) enum DiskWork {
    /// A read.
    Read(StoreCommand),
    /// A write: the process keeps it, and a crash decides about it there. What was answered
    /// before it is durable is undone by a crash until then.
    Write { durable_at: u64 },
    /// Nothing: it was read when it was asked for, and the answer is on its way.
    Done(StoreAnswer),
}

/// A message between two hosts.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) body: Body,
}

/// What a message carries.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// A call: who asks, whom it named, and for which operation.
    Request {
        op: OpId,
        sender: Peer,
        named: Peer,
        asked: Asking,
    },
    /// What became of a call of `incarnation` of the receiver.
    Answer {
        op: OpId,
        incarnation: u32,
        answer: Answering,
    },
}

/// A request as it travels.
#[derive(Clone, Debug)]
pub(super) enum Asking {
    Plain { terms: Terms, request: Request },
    Coded(Bytes),
}

/// An answer as it travels.
#[derive(Clone, Debug)]
pub(super) enum Answering {
    Plain(Result<Response, CallError>),
    Coded(Bytes),
}
