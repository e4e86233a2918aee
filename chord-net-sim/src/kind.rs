//! Names and numbers for what travels: for traces, blackholes and cost.

use chord_core::event::{CallError, Event, StoreCommand};
use chord_core::message::{Request, Response};

/// Names of requests, by [`request`].
pub const REQUESTS: [&str; 18] = [
    "Ping",
    "Route",
    "Neighbours",
    "Notify",
    "Stabilise",
    "Leave",
    "Yield",
    "Put",
    "Get",
    "Replicate",
    "Fetch",
    "Pull",
    "List",
    "Mark",
    "Offer",
    "Discard",
    "Sums",
    "Cede",
];

/// The number of a request's kind: an index into [`REQUESTS`].
#[must_use]
pub fn request(request: &Request) -> usize {
    match request {
        Request::Ping => 0,
        Request::Route { .. } => 1,
        Request::Neighbours { .. } => 2,
        Request::Notify => 3,
        Request::Stabilise => 4,
        Request::Leave => 5,
        Request::Yield { .. } => 6,
        Request::Put(_) => 7,
        Request::Get { .. } => 8,
        Request::Replicate { .. } => 9,
        Request::Fetch { .. } => 10,
        Request::Pull { .. } => 11,
        Request::List { .. } => 12,
        Request::Mark { .. } => 13,
        Request::Offer { .. } => 14,
        Request::Discard { .. } => 15,
        Request::Sums { .. } => 16,
        Request::Cede { .. } => 17,
    }
}

/// A number for what answered a call.
#[must_use]
pub fn answer(result: &Result<Response, CallError>) -> u64 {
    match result {
        Ok(Response::Done) => 0,
        Ok(Response::Route(_)) => 1,
        Ok(Response::Neighbours { .. }) => 2,
        Ok(Response::Notified { .. }) => 3,
        Ok(Response::Written { .. }) => 4,
        Ok(Response::Got { .. }) => 5,
        Ok(Response::Replicated { .. }) => 6,
        Ok(Response::Fetched { .. }) => 7,
        Ok(Response::Page { .. }) => 8,
        Ok(Response::Heads { .. }) => 9,
        Ok(Response::Offered { .. }) => 10,
        Ok(Response::Refused(_)) => 11,
        Ok(Response::Sums { .. }) => 12,
        Err(CallError::TimedOut) => 32,
        Err(CallError::Unreachable) => 33,
        Err(CallError::Restarted { .. }) => 34,
        Err(CallError::Overloaded) => 35,
        Err(CallError::Garbled) => 36,
    }
}

/// A number for an event and the two numbers that tell it from its like.
#[must_use]
pub fn event(event: &Event) -> [u64; 3] {
    match event {
        Event::Command { ticket, .. } => [0, ticket.0, 0],
        Event::Request {
            ticket,
            from,
            request: asked,
            ..
        } => [
            1 + ((request(asked) as u64) << 8),
            ticket.0,
            from.id.prefix(),
        ],
        Event::Answer { op, result } => [2 + (answer(result) << 8), op.0, 0],
        Event::Stored { op, result } => [3, op.0, u64::from(result.is_ok())],
        Event::Peer { peer, .. } => [4, peer.id.prefix(), u64::from(peer.incarnation)],
        Event::Wake => [5, 0, 0],
    }
}

/// What an event is, in words: `Request Ping`, `Answer Route`, `Stored Page`, `Wake`.
#[must_use]
pub fn name(event: &Event) -> String {
    match event {
        Event::Command { command, .. } => format!("Command {}", word(command)),
        Event::Request { request: asked, .. } => format!("Request {}", REQUESTS[request(asked)]),
        Event::Answer { result, .. } => match result {
            Ok(Response::Refused(refusal)) => format!("Answer Refused {}", word(refusal)),
            Ok(response) => format!("Answer {}", word(response)),
            Err(error) => format!("Answer {}", word(error)),
        },
        Event::Stored { result, .. } => match result {
            Ok(answer) => format!("Stored {}", word(answer)),
            Err(error) => format!("Stored {}", word(error)),
        },
        Event::Peer { change, .. } => format!("Peer {}", word(change)),
        Event::Wake => "Wake".to_owned(),
    }
}

/// The name of a variant: the first word of its debug form.
fn word(value: &impl std::fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    let end = text.find(|c: char| !c.is_ascii_alphanumeric());
    text.truncate(end.unwrap_or(text.len()));
    text
}

/// Whether a store command changes the disk.
#[must_use]
pub fn writes(command: &StoreCommand) -> bool {
    match command {
        StoreCommand::Put { .. } | StoreCommand::Discard { .. } | StoreCommand::Sweep { .. } => {
            true
        }
        StoreCommand::Get { .. }
        | StoreCommand::GetMany { .. }
        | StoreCommand::Heads { .. }
        | StoreCommand::Sums { .. }
        | StoreCommand::Scan { .. }
        | StoreCommand::List { .. } => false,
    }
}
