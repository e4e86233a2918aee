//! Streams of one frame: a large request and its answer, or the large answer to a small one.
//!
//! ```text
//! caller ── length, request ──▶ callee      memory granted? no: reset, OVERLOADED
//! caller ◀── length, response ── callee
//!
//! callee ── length, response ─▶ caller      to a small request, under its number
//! callee ◀───────────── end ── caller
//! ```

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chord_core::time::Instant;
use chord_core::wire::{self, Frame};
use quinn::{Connection, ReadError, ReadExactError, RecvStream, SendStream, VarInt, WriteError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;

use crate::clock;
use crate::frames::{self, LENGTH};
use crate::link::{Heard, Line, Shared};
use crate::peers::LinkId;

/// Time for a body to come in, or for an answer to be taken.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Time that a body may wait for memory.
const ADMISSION_TIME: Duration = Duration::from_secs(2);
/// On a stream: there is no memory for its body now.
const OVERLOADED: VarInt = VarInt::from_u32(1);
/// On a stream: nobody waits for it any more.
const CANCELLED: VarInt = VarInt::from_u32(2);
/// Bulk streams let frames pass.
const PRIORITY: i32 = -1;

/// A frame and the memory granted for it.
type Body = (Frame, OwnedSemaphorePermit);

/// Why a stream brought no frame.
#[derive(Debug)]
enum BulkError {
    /// No memory for it, here or there.
    Refused,
    /// What came is no frame.
    Malformed(String),
    /// The stream or connection ended.
    Broken,
}

impl Line {
    /// Starts a task that sends a frame on a stream of its own. With `call`, the answer is
    /// read from it, at the latest until `deadline`.
    pub(crate) fn bulk(
        &self,
        link: LinkId,
        bytes: Bytes,
        call: Option<u32>,
        deadline: Instant,
        shared: &Shared,
    ) {
        let (connection, shared) = (self.connection.clone(), shared.clone());
        shared.clone().tasks.spawn(async move {
            let sending = send(&connection, bytes, call.is_some(), &shared);
            let result = tokio::time::timeout_at(clock::at(deadline), sending).await;
            let refused = matches!(result, Ok(Err(BulkError::Refused)));
            match result {
                Ok(Ok(Some((frame, _memory)))) => shared.tell_frame(link, frame, None).await,
                Ok(Err(BulkError::Malformed(what))) => {
                    shared.tell(Heard::Violation { link, what }).await;
                }
                Ok(Ok(None) | Err(BulkError::Refused | BulkError::Broken)) | Err(_) => {}
            }
            let ended = Heard::BulkEnded {
                link,
                call,
                refused,
            };
            shared.tell(ended).await;
        });
    }
}

/// A stream that the other end opened.
pub(super) async fn take(link: LinkId, mut send: SendStream, mut recv: RecvStream, shared: Shared) {
    let (frame, _memory) = match timeout(BODY_TIME, read(&mut recv, &shared)).await {
        Ok(Ok(body)) => body,
        Ok(Err(BulkError::Malformed(what))) => {
            return shared.tell(Heard::Violation { link, what }).await;
        }
        Ok(Err(BulkError::Refused)) => return turn_away(&mut send, &mut recv, OVERLOADED),
        Ok(Err(BulkError::Broken)) | Err(_) => return turn_away(&mut send, &mut recv, CANCELLED),
    };
    if !matches!(frame, Frame::Request(_)) {
        let _ = send.finish();
        return shared.tell_frame(link, frame, None).await;
    }
    let (answer, answered) = oneshot::channel();
    shared.tell_frame(link, frame, Some(answer)).await;
    let Ok(bytes) = answered.await else { return };
    let _ = send.set_priority(PRIORITY);
    match timeout(BODY_TIME, send.write_chunk(bytes)).await {
        Ok(Ok(())) => {
            let _ = send.finish();
        }
        Ok(Err(_)) | Err(_) => {
            let _ = send.reset(CANCELLED);
        }
    }
}

fn turn_away(send: &mut SendStream, recv: &mut RecvStream, code: VarInt) {
    // Either half may be gone already.
    let _ = recv.stop(code);
    let _ = send.reset(code);
}

async fn send(
    connection: &Connection,
    bytes: Bytes,
    answered: bool,
    shared: &Shared,
) -> Result<Option<Body>, BulkError> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(|_| BulkError::Broken)?;
    let _ = send.set_priority(PRIORITY);
    send.write_chunk(bytes).await.map_err(|error| match error {
        WriteError::Stopped(code) => refused(code),
        WriteError::ConnectionLost(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => {
            BulkError::Broken
        }
    })?;
    send.finish().map_err(|_| BulkError::Broken)?;
    if answered {
        let (frame, memory) = read(&mut recv, shared).await?;
        if !matches!(frame, Frame::Response(_)) {
            return Err(BulkError::Malformed(
                "no answer on a call's stream".to_owned(),
            ));
        }
        return Ok(Some((frame, memory)));
    }
    // The other end finishes its half once it has taken the frame.
    match recv.read_chunk(1, true).await {
        Ok(None) => Ok(None),
        Ok(Some(_)) => Err(BulkError::Malformed("an answer to an answer".to_owned())),
        Err(_) => Err(BulkError::Broken),
    }
}

fn refused(code: VarInt) -> BulkError {
    if code == OVERLOADED {
        BulkError::Refused
    } else {
        BulkError::Broken
    }
}

/// Reads the one frame of a stream. Its memory is granted until the permit is dropped, and
/// taken only as its bytes arrive.
async fn read(recv: &mut RecvStream, shared: &Shared) -> Result<Body, BulkError> {
    let mut head = [0; LENGTH];
    recv.read_exact(&mut head)
        .await
        .map_err(|error| match error {
            ReadExactError::ReadError(ReadError::Reset(code)) => refused(code),
            ReadExactError::ReadError(_) | ReadExactError::FinishedEarly(_) => BulkError::Broken,
        })?;
    let length = frames::length(head)
        .map_err(|length| BulkError::Malformed(format!("a frame of {length} bytes")))?;
    let share = u32::try_from(length).map_err(|_| BulkError::Refused)?;
    let memory = timeout(
        ADMISSION_TIME,
        shared.bodies.clone().acquire_many_owned(share),
    )
    .await;
    let memory = memory
        .map_err(|_| BulkError::Refused)?
        .map_err(|_| BulkError::Broken)?;
    let mut body = BytesMut::new();
    while body.len() < length {
        let chunk = recv.read_chunk(length - body.len(), true).await;
        let Ok(Some(chunk)) = chunk else {
            return Err(BulkError::Broken);
        };
        body.extend_from_slice(&chunk.bytes);
    }
    shared.received(LENGTH + length);
    let frame = wire::decode(body.freeze(), clock::mono())
        .map_err(|error| BulkError::Malformed(error.to_string()))?;
    Ok((frame, memory))
}
