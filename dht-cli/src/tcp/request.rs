//! One request: asked of the ring within its time, and turned into an answer and a word for
//! the counters.
//!
//! **Invariant:** a GET is answered within [`REQUEST_TIME`]; a PUT is over only when the ring
//! says so.

use std::time::Duration;

use bytes::Bytes;
use chord_core::event::Failure;
use chord_core::message::{Key, Record};
use chord_core::time::Micros;
use chord_net_quic::PutOptions;
use tokio::time::{Instant, timeout_at};

use super::Limits;
use super::codec::{self, Message};
use super::pipeline::{Job, Number};
use crate::dht::{Dht, failure_code};

/// Time for a GET, from its acceptance: clients are promised an answer within 5 s, of which
/// the way back takes a little.
pub(super) const REQUEST_TIME: Duration = Duration::from_millis(4_900);

/// A request that has ended.
pub(super) struct Ended {
    /// Which one, for the pipeline.
    pub(super) number: Number,
    /// `put` or `get`.
    pub(super) kind: &'static str,
    /// The word for the counters.
    pub(super) result: &'static str,
    /// Nothing for a PUT.
    pub(super) answer: Option<Bytes>,
    /// Since its acceptance.
    pub(super) took: Duration,
}

/// Carries out one request. A PUT that waited too long for the one before it is not begun.
pub(super) async fn perform<D: Dht>(dht: D, limits: Limits, job: Job) -> Ended {
    let Job {
        number,
        message,
        since,
    } = job;
    let by = since + REQUEST_TIME;
    let key = Key::new(Bytes::copy_from_slice(message.key())).expect("32 bytes are a key");
    let (kind, result, answer) = match message {
        Message::Put {
            ttl,
            replication,
            value,
            ..
        } => {
            let options = PutOptions {
                ttl: Micros::from_secs(ttl.into()).min(limits.ttl_max),
                copies: replication.min(limits.copies_max),
                expected: None,
            };
            let stored = if Instant::now() < by {
                dht.put(key, value, options).await
            } else {
                Err(Failure::TimedOut)
            };
            ("put", stored.map_or_else(failure_code, |_| "ok"), None)
        }
        Message::Get { key: name } => {
            let found = timeout_at(by, dht.get(key, false)).await;
            let found = found.unwrap_or(Err(Failure::TimedOut));
            let (result, answer) = answer_to(&name, found);
            ("get", result, Some(answer))
        }
    };
    Ended {
        number,
        kind,
        result,
        answer,
        took: since.elapsed(),
    }
}

fn answer_to(key: &[u8; 32], found: Result<Option<Record>, Failure>) -> (&'static str, Bytes) {
    match found {
        Ok(Some(record)) => match codec::success(key, &record.value) {
            Some(answer) => ("ok", answer),
            None => ("value_too_large", codec::failure(key)),
        },
        Ok(None) => ("not_found", codec::failure(key)),
        Err(failure) => (failure_code(failure), codec::failure(key)),
    }
}
