//! The tasks of one connection: bytes to frames, frames to bytes, no decisions.
//!
//! ```text
//! frame stream ──▶ reader ──▶ inbox of the driver
//! driver ──▶ queue ──▶ writer ──▶ frame stream      drains its queue into one write
//! bulk stream ──▶ a task each ──▶ inbox             read only once memory is granted
//! driver ──▶ a task each ──▶ bulk stream
//! ```
//!
//! **Invariant:** no memory is taken on the word of a length field: frames of the frame
//! stream are at most [`STREAM_FRAME_MAX`] bytes, bulk bodies wait for their share of
//! [`BODIES_MAX`] and grow only as bytes arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use chord_core::peer::Addr;
use chord_core::wire::{self, Frame};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::codec::Decoder;

use crate::clock;
use crate::frames::{self, STREAM_FRAME_MAX};
use crate::peers::{Code, DialError, End, Introduced, LinkId};
use crate::tasks::Tasks;

mod bulk;
mod share;
#[cfg(test)]
mod tests;

use share::Share;
pub(crate) use share::Shares;

/// Most bytes of bulk bodies that a host holds at a time.
const BODIES_MAX: usize = 32 << 20;
/// Most bytes queued for one connection. Calls and answers in flight stay below it; who
/// exceeds it has stopped reading.
const QUEUE_MAX: usize = 4 << 20;
/// Most read from a stream at a time.
const CHUNK: usize = 64 << 10;
/// What the tasks tell the driver.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A connection whose hellos were exchanged.
    Linked {
        link: LinkId,
        dialled: Option<Addr>,
        who: Introduced,
        line: Line,
    },
    /// A dial brought none.
    DialFailed { addr: Addr, why: DialError },
    /// A frame; with `bulk`, its answer is awaited there.
    Frame {
        link: LinkId,
        frame: Frame,
        bulk: Option<oneshot::Sender<Bytes>>,
        /// One of its host's turns, free for its next frame once this one is taken.
        turn: OwnedSemaphorePermit,
    },
    /// A bulk stream of ours is done with; `refused`: the other end had no memory for it.
    BulkEnded {
        link: LinkId,
        call: Option<u32>,
        refused: bool,
    },
    /// The other end wrote what is no frame.
    Violation { link: LinkId, what: String },
    /// A connection is gone.
    Ended { link: LinkId, end: End },
}

/// What all connections of a host share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) tasks: Tasks,
    pub(crate) inbox: mpsc::Sender<Heard>,
    /// Memory for bulk bodies, in bytes.
    bodies: Arc<Semaphore>,
    pub(crate) bytes_received: Arc<AtomicU64>,
}

impl Shared {
    /// Nothing received, all memory free.
    pub(crate) fn new(tasks: Tasks, inbox: mpsc::Sender<Heard>) -> Self {
        Self {
            tasks,
            inbox,
            bodies: Arc::new(Semaphore::new(BODIES_MAX)),
            bytes_received: Arc::default(),
        }
    }

    async fn tell(&self, heard: Heard) {
        // The driver is gone only when the host stops.
        let _ = self.inbox.send(heard).await;
    }

    fn received(&self, bytes: usize) {
        self.bytes_received
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// The way of one connection into the driver's inbox.
#[derive(Clone, Debug)]
pub(crate) struct Inlet {
    link: LinkId,
    share: Share,
    shared: Shared,
}

impl Inlet {
    /// For a connection of the host that has this share.
    pub(crate) fn new(link: LinkId, share: Share, shared: &Shared) -> Self {
        let shared = shared.clone();
        Self {
            link,
            share,
            shared,
        }
    }

    /// Hands on a frame once it is its host's turn; with `bulk`, its answer is awaited there.
    async fn frame(&self, frame: Frame, bulk: Option<oneshot::Sender<Bytes>>) {
        let Ok(turn) = self.share.frames().acquire_owned().await else {
            return; // Never closed.
        };
        let link = self.link;
        let heard = Heard::Frame {
            link,
            frame,
            bulk,
            turn,
        };
        self.shared.tell(heard).await;
    }

    async fn violation(&self, what: String) {
        let link = self.link;
        self.shared.tell(Heard::Violation { link, what }).await;
    }
}

/// The driver's end of a connection.
#[derive(Debug)]
pub(crate) struct Line {
    connection: Connection,
    frames: mpsc::UnboundedSender<Bytes>,
    queued: Arc<AtomicUsize>,
    passport: Passport,
    inlet: Inlet,
}

/// What a connection was admitted with.
#[derive(Clone, Debug)]
pub(crate) struct Passport {
    /// The certificates that the other end presented.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// When its leaf runs out.
    pub(crate) not_after: UnixTime,
}

impl Line {
    /// Starts the tasks of a connection. Its frame stream is at the first frame after the
    /// hellos; `unread` was read from it already.
    pub(crate) fn start(
        connection: Connection,
        (send, recv): (SendStream, RecvStream),
        unread: BytesMut,
        passport: Passport,
        inlet: Inlet,
    ) -> (Self, Start) {
        let (frames, queue) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let start = Start {
            connection: connection.clone(),
            send,
            recv,
            unread,
            queue,
            queued: queued.clone(),
            inlet: inlet.clone(),
        };
        (
            Self {
                connection,
                frames,
                queued,
                passport,
                inlet,
            },
            start,
        )
    }

    /// Queues frames. False: the other end has stopped reading.
    pub(crate) fn write(&self, bytes: Bytes) -> bool {
        let queued = self.queued.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        // A closed queue belongs to a connection whose end is already in the inbox.
        let _ = self.frames.send(bytes);
        queued <= QUEUE_MAX
    }

    /// Whether everything queued was given to the transport.
    pub(crate) fn is_written(&self) -> bool {
        self.queued.load(Ordering::Relaxed) == 0
    }

    /// Closes the connection, telling why.
    pub(crate) fn close(&self, code: Code) {
        self.connection.close(VarInt::from_u32(code as u32), b"");
    }

    /// Closes a connection to an earlier life than `later`, telling which that is: the other
    /// end may have to outdo it.
    pub(crate) fn retire(&self, later: u32) {
        let code = VarInt::from_u32(Code::Stale as u32);
        self.connection.close(code, &later.to_be_bytes());
    }

    /// Where the other end is.
    pub(crate) fn remote(&self) -> std::net::SocketAddr {
        self.connection.remote_address()
    }

    /// What it was admitted with.
    pub(crate) fn passport(&self) -> &Passport {
        &self.passport
    }
}

/// The tasks of a connection, before they run: the driver must hear of the connection before
/// it hears its frames.
#[derive(Debug)]
pub(crate) struct Start {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    unread: BytesMut,
    queue: mpsc::UnboundedReceiver<Bytes>,
    queued: Arc<AtomicUsize>,
    inlet: Inlet,
}

impl Start {
    /// Runs the tasks.
    pub(crate) fn go(self) {
        let Self {
            connection,
            send,
            recv,
            unread,
            queue,
            queued,
            inlet,
        } = self;
        let tasks = inlet.shared.tasks.clone();
        tasks.spawn(write_frames(send, queue, queued));
        tasks.spawn(read_frames(recv, unread, inlet.clone()));
        tasks.spawn(accept_bulk(connection, inlet));
    }
}

async fn write_frames(
    mut send: SendStream,
    mut queue: mpsc::UnboundedReceiver<Bytes>,
    queued: Arc<AtomicUsize>,
) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, 64).await > 0 {
        let bytes: usize = batch.iter().map(Bytes::len).sum();
        if send.write_all_chunks(&mut batch).await.is_err() {
            return; // The connection ended; another task says so.
        }
        batch.clear();
        queued.fetch_sub(bytes, Ordering::Relaxed);
    }
}

async fn read_frames(mut recv: RecvStream, mut unread: BytesMut, inlet: Inlet) {
    let mut codec = frames::codec(STREAM_FRAME_MAX);
    loop {
        loop {
            let frame = match codec.decode(&mut unread) {
                Ok(Some(bytes)) => wire::decode(bytes.freeze(), clock::mono()),
                Ok(None) => break,
                Err(error) => return inlet.violation(error.to_string()).await,
            };
            match frame {
                Ok(frame) => inlet.frame(frame, None).await,
                Err(error) => return inlet.violation(error.to_string()).await,
            }
        }
        match recv.read_chunk(CHUNK, true).await {
            Ok(Some(chunk)) => {
                inlet.shared.received(chunk.bytes.len());
                unread.extend_from_slice(&chunk.bytes);
            }
            Ok(None) | Err(quinn::ReadError::Reset(_)) => {
                let what = "the frame stream ended".to_owned();
                return inlet.violation(what).await;
            }
            Err(_) => return, // The connection ended; another task says so.
        }
    }
}

/// Takes bulk streams until the connection ends, and tells of that.
async fn accept_bulk(connection: Connection, inlet: Inlet) {
    loop {
        match connection.accept_bi().await {
            Ok((send, recv)) => {
                let take = bulk::take(send, recv, inlet.clone());
                inlet.shared.tasks.spawn(take);
            }
            Err(error) => {
                let (link, end) = (inlet.link, end(&error));
                return inlet.shared.tell(Heard::Ended { link, end }).await;
            }
        }
    }
}

/// The life that [`Line::retire`] has named. Nobody must: releases before it did not, and the
/// transport may leave a reason out.
pub(crate) fn later_life(reason: &[u8]) -> Option<u32> {
    reason.try_into().ok().map(u32::from_be_bytes)
}

/// What the end of a connection means.
fn end(error: &ConnectionError) -> End {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            match Code::from_number(close.error_code.into_inner()) {
                Some(Code::Stale) => End::Superseded(later_life(&close.reason)),
                Some(code) => End::Closed(code),
                None => End::Failed,
            }
        }
        ConnectionError::Reset => End::Reset,
        ConnectionError::TimedOut => End::Silent,
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => End::Failed,
    }
}
