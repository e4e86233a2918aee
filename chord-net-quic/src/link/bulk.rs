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
use tokio::sync::{AcquireError, OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;

use crate::clock;
use crate::frames::{self, LENGTH};
use crate::link::{Heard, Inlet, Line};

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
type Body = (Frame, Memory);

/// The share of its host and that of all.
pub(super) type Memory = [OwnedSemaphorePermit; 2];

/// Why a stream brought no frame.
#[derive(Debug)]
pub(super) enum BulkError {
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
    pub(crate) fn bulk(&self, bytes: Bytes, call: Option<u32>, deadline: Instant) {
        let (connection, inlet) = (self.connection.clone(), self.inlet.clone());
        self.inlet.shared.tasks.spawn(async move {
            let sending = send(&connection, bytes, call.is_some(), &inlet);
            let result = tokio::time::timeout_at(clock::at(deadline), sending).await;
            let refused = matches!(result, Ok(Err(BulkError::Refused)));
            match result {
                Ok(Ok(Some((frame, _memory)))) => inlet.frame(frame, None).await,
                Ok(Err(BulkError::Malformed(what))) => inlet.violation(what).await,
                Ok(Ok(None) | Err(BulkError::Refused | BulkError::Broken)) | Err(_) => {}
            }
            let ended = Heard::BulkEnded {
                link: inlet.link,
                call,
                refused,
            };
            inlet.shared.tell(ended).await;
        });
    }
}

/// A stream that the other end opened.
pub(super) async fn take(mut send: SendStream, mut recv: RecvStream, inlet: Inlet) {
    let (frame, _memory) = match timeout(BODY_TIME, read(&mut recv, &inlet)).await {
        Ok(Ok(body)) => body,
        Ok(Err(BulkError::Malformed(what))) => return inlet.violation(what).await,
        Ok(Err(BulkError::Refused)) => return turn_away(&mut send, &mut recv, OVERLOADED),
        Ok(Err(BulkError::Broken)) | Err(_) => return turn_away(&mut send, &mut recv, CANCELLED),
    };
    if !matches!(frame, Frame::Request(_)) {
        let _ = send.finish();
        return inlet.frame(frame, None).await;
    }
    let (answer, answered) = oneshot::channel();
    inlet.frame(frame, Some(answer)).await;
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
    inlet: &Inlet,
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
        let (frame, memory) = read(&mut recv, inlet).await?;
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

/// Waits a while for the memory of a body.
pub(super) async fn admit(length: usize, inlet: &Inlet) -> Result<Memory, BulkError> {
    let bytes = u32::try_from(length).map_err(|_| BulkError::Refused)?;
    let admission = async {
        // Its own share first: who waits for that holds up nobody else.
        let own = inlet.share.bodies().acquire_many_owned(bytes).await?;
        let bodies = inlet.shared.bodies.clone();
        Ok::<Memory, AcquireError>([own, bodies.acquire_many_owned(bytes).await?])
    };
    timeout(ADMISSION_TIME, admission)
        .await
        .map_err(|_| BulkError::Refused)?
        .map_err(|_| BulkError::Broken)
}

/// Reads the one frame of a stream. Its memory is granted until the permit is dropped, and
/// taken only as its bytes arrive.
async fn read(recv: &mut RecvStream, inlet: &Inlet) -> Result<Body, BulkError> {
    let mut head = [0; LENGTH];
    recv.read_exact(&mut head)
        .await
        .map_err(|error| match error {
            ReadExactError::ReadError(ReadError::Reset(code)) => refused(code),
            ReadExactError::ReadError(_) | ReadExactError::FinishedEarly(_) => BulkError::Broken,
        })?;
    let length = frames::length(head)
        .map_err(|length| BulkError::Malformed(format!("a frame of {length} bytes")))?;
    let memory = admit(length, inlet).await?;
    let mut body = BytesMut::new();
    while body.len() < length {
        let chunk = recv.read_chunk(length - body.len(), true).await;
        let Ok(Some(chunk)) = chunk else {
            return Err(BulkError::Broken);
        };
        body.extend_from_slice(&chunk.bytes);
    }
    inlet.shared.received(LENGTH + length);
    let frame = wire::decode(body.freeze(), clock::mono())
        .map_err(|error| BulkError::Malformed(error.to_string()))?;
    Ok((frame, memory))
}
