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
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::codec::Decoder;

use crate::clock;
use crate::frames::{self, STREAM_FRAME_MAX};
use crate::peers::{Code, DialError, End, Introduced, LinkId};
use crate::tasks::Tasks;

mod bulk;

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

    async fn tell_frame(&self, link: LinkId, frame: Frame, bulk: Option<oneshot::Sender<Bytes>>) {
        self.tell(Heard::Frame { link, frame, bulk }).await;
    }

    fn received(&self, bytes: usize) {
        self.bytes_received
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// The driver's end of a connection.
#[derive(Debug)]
pub(crate) struct Line {
    connection: Connection,
    frames: mpsc::UnboundedSender<Bytes>,
    queued: Arc<AtomicUsize>,
    passport: Passport,
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
        link: LinkId,
        connection: Connection,
        (send, recv): (SendStream, RecvStream),
        unread: BytesMut,
        passport: Passport,
        shared: &Shared,
    ) -> (Self, Start) {
        let (frames, queue) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let start = Start {
            link,
            connection: connection.clone(),
            send,
            recv,
            unread,
            queue,
            queued: queued.clone(),
            shared: shared.clone(),
        };
        (
            Self {
                connection,
                frames,
                queued,
                passport,
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
    link: LinkId,
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    unread: BytesMut,
    queue: mpsc::UnboundedReceiver<Bytes>,
    queued: Arc<AtomicUsize>,
    shared: Shared,
}

impl Start {
    /// Runs the tasks.
    pub(crate) fn go(self) {
        let Self {
            link,
            connection,
            send,
            recv,
            unread,
            queue,
            queued,
            shared,
        } = self;
        shared.tasks.spawn(write_frames(send, queue, queued));
        shared
            .tasks
            .spawn(read_frames(link, recv, unread, shared.clone()));
        shared
            .clone()
            .tasks
            .spawn(accept_bulk(link, connection, shared));
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

async fn read_frames(link: LinkId, mut recv: RecvStream, mut unread: BytesMut, shared: Shared) {
    let mut codec = frames::codec(STREAM_FRAME_MAX);
    loop {
        loop {
            let frame = match codec.decode(&mut unread) {
                Ok(Some(bytes)) => wire::decode(bytes.freeze(), clock::mono()),
                Ok(None) => break,
                Err(error) => {
                    let what = error.to_string();
                    return shared.tell(Heard::Violation { link, what }).await;
                }
            };
            match frame {
                Ok(frame) => shared.tell_frame(link, frame, None).await,
                Err(error) => {
                    let what = error.to_string();
                    return shared.tell(Heard::Violation { link, what }).await;
                }
            }
        }
        match recv.read_chunk(CHUNK, true).await {
            Ok(Some(chunk)) => {
                shared.received(chunk.bytes.len());
                unread.extend_from_slice(&chunk.bytes);
            }
            Ok(None) | Err(quinn::ReadError::Reset(_)) => {
                let what = "the frame stream ended".to_owned();
                return shared.tell(Heard::Violation { link, what }).await;
            }
            Err(_) => return, // The connection ended; another task says so.
        }
    }
}

/// Takes bulk streams until the connection ends, and tells of that.
async fn accept_bulk(link: LinkId, connection: Connection, shared: Shared) {
    loop {
        match connection.accept_bi().await {
            Ok((send, recv)) => {
                shared
                    .tasks
                    .spawn(bulk::take(link, send, recv, shared.clone()));
            }
            Err(error) => {
                return shared
                    .tell(Heard::Ended {
                        link,
                        end: end(&error),
                    })
                    .await;
            }
        }
    }
}

/// What the end of a connection means.
fn end(error: &ConnectionError) -> End {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            Code::from_number(close.error_code.into_inner()).map_or(End::Failed, End::Closed)
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
