//! One connection: reads, runs, writes, and ends in good order.
//!
//! Requests already accepted are completed and their answers written whatever ends the
//! conversation: the client's end of stream, a malformed message, our own stop. Only a client
//! that is gone or does not read loses answers, and even then its writes go on.
//!
//! **Invariant:** an idle connection holds no buffers.
//! **Invariant:** every GET is answered within [`REQUEST_TIME`] of its acceptance.
//! **Invariant:** a PUT is over for its key only when the ring says so: one given up halfway
//! could overtake the next.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use chord_core::event::Failure;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::codec::{self, Decoder, Malformed};
use super::pipeline::{Job, Pipeline};
use super::request::{Ended, REQUEST_TIME, perform};
use crate::dht::{Dht, failure_code};
use crate::metrics::Metrics;

/// Time for the rest of a message once a byte of it has arrived.
const MESSAGE_TIME: Duration = Duration::from_secs(10);
/// Time for a client to take one answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Time that is spent on what a refused client still sends, so that the answers before are
/// not destroyed by a reset.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// Bytes read at one time, on the stack of the thread.
const CHUNK: usize = 16 * 1024;

/// Why a conversation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The client closed its side between two messages.
    Client,
    /// The client closed its side within a message.
    Cut,
    /// The client sent what is no message.
    Malformed(Malformed),
    /// A message did not come to its end in time.
    SlowMessage,
    /// The client did not take an answer in time.
    SlowReader,
    /// The connection broke.
    Broken,
    /// We stop.
    Stopped,
}

impl End {
    fn cause(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Cut => "cut",
            Self::Malformed(Malformed::Type(_)) => "malformed_type",
            Self::Malformed(Malformed::GetSize(_)) => "malformed_get_size",
            Self::Malformed(Malformed::PutSize(_)) => "malformed_put_size",
            Self::SlowMessage => "slow_message",
            Self::SlowReader => "slow_reader",
            Self::Broken => "broken",
            Self::Stopped => "stopped",
        }
    }
}

struct Connection<'a, S, D> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    dht: D,
    limits: Limits,
    metrics: &'a Metrics,
    decoder: Decoder,
    pipeline: Pipeline,
    running: JoinSet<Ended>,
    /// What is left of the answer being written.
    writing: Bytes,
    /// Bytes were written that TLS may still hold.
    is_unflushed: bool,
    /// When the answer must be taken.
    write_by: Instant,
    /// When the message that has begun must be complete; `None` between messages.
    message_by: Option<Instant>,
    /// Nothing more is read.
    end: Option<End>,
    /// Nothing more is written.
    is_deaf: bool,
}

/// Serves one connection to its end.
pub(super) async fn converse<S, D>(
    stream: S,
    dht: D,
    limits: Limits,
    metrics: &Metrics,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite,
    D: Dht,
{
    let (reader, writer) = tokio::io::split(stream);
    let mut connection = Connection {
        reader,
        writer,
        dht,
        limits,
        metrics,
        decoder: Decoder::new(),
        pipeline: Pipeline::default(),
        running: JoinSet::new(),
        writing: Bytes::new(),
        is_unflushed: false,
        write_by: Instant::now(),
        message_by: None,
        end: None,
        is_deaf: false,
    };
    let end = connection.run(stop).await;
    metrics.tcp_closed(end.cause());
    connection.close(end).await;
}

impl<S, D> Connection<'_, S, D>
where
    S: AsyncRead + AsyncWrite,
    D: Dht,
{
    async fn run(&mut self, stop: CancellationToken) -> End {
        loop {
            self.take_in();
            self.take_out();
            let writes = !self.writing.is_empty() || self.is_unflushed;
            if let Some(end) = self.end
                && self.pipeline.is_empty()
                && !writes
            {
                return end;
            }
            let reads = self.end.is_none() && self.pipeline.has_room();
            let deadline = [
                self.message_by,
                writes.then_some(self.write_by),
                self.pipeline
                    .waiting_since()
                    .map(|since| since + REQUEST_TIME),
            ];
            let deadline = deadline.into_iter().flatten().min();
            tokio::select! {
                biased;
                written = write(&mut self.writer, &self.writing), if writes => self.written(written),
                Some(ended) = self.running.join_next() => self.ended(ended),
                arrived = read(&mut self.reader, &mut self.decoder), if reads => self.arrived(&arrived),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.late(),
                () = stop.cancelled(), if self.end.is_none() => self.end = Some(End::Stopped),
            }
        }
    }

    /// Accepts what has arrived, as far as there is room.
    fn take_in(&mut self) {
        let mut began = self.message_by;
        self.message_by = None;
        while self.end.is_none() && self.pipeline.has_room() {
            match self.decoder.next() {
                Some(Ok(message)) => {
                    began = None;
                    let job = self.pipeline.accept(message, Instant::now());
                    self.start(job);
                }
                Some(Err(malformed)) => self.end = Some(End::Malformed(malformed)),
                None => {
                    if self.decoder.is_partial() {
                        self.message_by = began.or_else(|| Some(Instant::now() + MESSAGE_TIME));
                    }
                    return;
                }
            }
        }
    }

    /// Moves the next answer to where it is written from.
    fn take_out(&mut self) {
        while self.writing.is_empty() && !self.is_unflushed {
            let Some(answer) = self.pipeline.answer() else {
                return;
            };
            if !self.is_deaf {
                self.writing = answer;
                self.write_by = Instant::now() + ANSWER_TIME;
            }
        }
    }

    fn start(&mut self, job: Option<Job>) {
        if let Some(job) = job {
            self.running
                .spawn(perform(self.dht.clone(), self.limits, job));
        }
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) {
        match ended {
            Ok(Ended {
                number,
                kind,
                result,
                answer,
                took,
            }) => {
                self.metrics.tcp_request(kind, result, took);
                let next = self.pipeline.finish(number, answer);
                self.start(next);
            }
            // Nobody cancels them, so it panicked, and so do we.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn arrived(&mut self, arrived: &io::Result<usize>) {
        match arrived {
            Ok(0) if self.decoder.is_partial() => self.end = Some(End::Cut),
            Ok(0) => self.end = Some(End::Client),
            Ok(_) => {}
            Err(_) => self.deafen(End::Broken),
        }
    }

    fn written(&mut self, written: io::Result<usize>) {
        match written {
            Ok(0) if self.writing.is_empty() => self.is_unflushed = false,
            Ok(0) | Err(_) => self.deafen(End::Broken),
            Ok(length) => {
                self.writing.advance(length);
                self.is_unflushed = true;
            }
        }
    }

    fn late(&mut self) {
        let now = Instant::now();
        if let Some(before) = now.checked_sub(REQUEST_TIME) {
            for _ in 0..self.pipeline.expire(before, codec::failure) {
                self.metrics
                    .tcp_request("get", failure_code(Failure::TimedOut), REQUEST_TIME);
            }
        }
        if self.message_by.is_some_and(|by| by <= now) {
            self.end = self.end.or(Some(End::SlowMessage));
        }
        if (!self.writing.is_empty() || self.is_unflushed) && self.write_by <= now {
            self.deafen(End::SlowReader);
        }
    }

    /// Nobody listens any more; what was accepted is completed all the same.
    fn deafen(&mut self, end: End) {
        self.end = self.end.or(Some(end));
        self.is_deaf = true;
        self.writing = Bytes::new();
        self.is_unflushed = false;
    }

    /// Says that nothing more comes, and, where the client may still be sending, waits a
    /// moment: closing over unread bytes would reset the connection and could destroy
    /// answers on their way.
    async fn close(&mut self, end: End) {
        if self.is_deaf {
            return;
        }
        let goodbye = async {
            self.writer.shutdown().await?;
            match end {
                End::Client | End::Cut | End::Broken | End::SlowReader => {}
                End::Malformed(_) | End::SlowMessage | End::Stopped => {
                    // Behind its end the decoder would keep bytes; a fresh broken one drops them.
                    while read(&mut self.reader, &mut self.decoder).await? > 0 {
                        self.decoder = Decoder::new();
                    }
                }
            }
            io::Result::Ok(())
        };
        // Whether it worked or not, the connection is over.
        let _ = timeout(LINGER_TIME, goodbye).await;
    }
}

/// Writes some of `bytes`, or flushes if there are none.
async fn write<S: AsyncRead + AsyncWrite>(
    writer: &mut WriteHalf<S>,
    bytes: &[u8],
) -> io::Result<usize> {
    if bytes.is_empty() {
        writer.flush().await.map(|()| 0)
    } else {
        writer.write(bytes).await
    }
}

/// Reads some bytes into the decoder; 0 is the end of the stream. The buffer lives on the
/// stack only while bytes are moved: a connection that waits holds none.
async fn read<S: AsyncRead + AsyncWrite>(
    reader: &mut ReadHalf<S>,
    decoder: &mut Decoder,
) -> io::Result<usize> {
    std::future::poll_fn(|cx| {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut buffer = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut *reader).poll_read(cx, &mut buffer))?;
        decoder.push(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

#[cfg(test)]
mod tests;
