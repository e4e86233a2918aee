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
use chord_core::message::{Key, Record};
use chord_core::time::Micros;
use chord_net_quic::PutOptions;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::codec::{self, Decoder, Malformed, Message};
use super::pipeline::{Job, Number, Pipeline};
use crate::dht::{Dht, failure_code};
use crate::metrics::Metrics;

/// Time for a GET, from its acceptance: clients are promised an answer within 5 s, of which
/// the way back takes a little.
const REQUEST_TIME: Duration = Duration::from_millis(4_900);
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

/// A request that has ended.
struct Ended {
    number: Number,
    kind: &'static str,
    result: &'static str,
    answer: Option<Bytes>,
    took: Duration,
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

/// Carries out one request. A PUT that waited too long for the one before it is not begun.
async fn perform<D: Dht>(dht: D, limits: Limits, job: Job) -> Ended {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::fake::Fake;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    /// A conversation over a pipe of `room` bytes each way, with a clock that only waits
    /// move.
    struct Talk {
        client: DuplexStream,
        fake: Fake,
        stop: CancellationToken,
        metrics: std::sync::Arc<Metrics>,
        server: JoinHandle<()>,
    }

    impl Talk {
        fn begin(room: usize) -> Self {
            let (client, server) = duplex(room);
            let fake = Fake::new();
            let stop = CancellationToken::new();
            let metrics = std::sync::Arc::new(Metrics::new());
            let limits = Limits {
                ttl_max: Micros::from_secs(1_000),
                copies_max: 8,
            };
            let (dht, counted, ending) = (fake.clone(), metrics.clone(), stop.clone());
            let server = tokio::spawn(async move {
                converse(server, dht, limits, &counted, ending).await;
            });
            Self {
                client,
                fake,
                stop,
                metrics,
                server,
            }
        }

        async fn send(&mut self, message: &Message) {
            let bytes = message.encode().expect("it fits");
            self.client
                .write_all(&bytes)
                .await
                .expect("the server reads");
        }

        async fn receive(&mut self) -> Vec<u8> {
            let size = self.client.read_u16().await.expect("an answer");
            let mut rest = vec![0; usize::from(size) - 2];
            self.client
                .read_exact(&mut rest)
                .await
                .expect("the rest of it");
            [&size.to_be_bytes()[..], &rest].concat()
        }

        /// Everything up to the end of the stream, and the cause the server counted.
        async fn last(mut self) -> (Vec<u8>, String) {
            let mut rest = Vec::new();
            self.client.read_to_end(&mut rest).await.expect("an end");
            drop(self.client);
            self.server.await.expect("it does not panic");
            (rest, closed(&self.metrics))
        }
    }

    fn closed(metrics: &Metrics) -> String {
        let text = metrics.render(&chord_net_quic::Counters::default(), None, true);
        let (_, line) = text
            .split_once("dht_tcp_closed_total{cause=\"")
            .expect("a cause");
        line.split('"').next().expect("a word").to_owned()
    }

    fn get(key: u8) -> Message {
        Message::Get { key: [key; 32] }
    }

    fn put(key: u8, value: &'static str) -> Message {
        put_with(key, value, 0, 0)
    }

    fn put_with(key: u8, value: &'static str, ttl: u16, replication: u8) -> Message {
        Message::Put {
            ttl,
            replication,
            key: [key; 32],
            value: Bytes::from_static(value.as_bytes()),
        }
    }

    fn success(key: u8, value: &str) -> Vec<u8> {
        codec::success(&[key; 32], value.as_bytes())
            .expect("it fits")
            .to_vec()
    }

    fn failure(key: u8) -> Vec<u8> {
        codec::failure(&[key; 32]).to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn a_get_waits_for_the_puts_of_its_key_before_it() {
        let mut talk = Talk::begin(4_096);
        talk.fake.hold(&[b'a'; 32]);
        talk.send(&put(b'a', "one")).await;
        talk.send(&get(b'a')).await;
        talk.send(&put(b'a', "two")).await;
        talk.send(&get(b'a')).await;
        talk.send(&put(b'b', "other")).await;
        assert_eq!(talk.fake.begun(2).await, ["put a", "put b"]);
        talk.fake.release(&[b'a'; 32]);
        assert_eq!(talk.receive().await, success(b'a', "one"));
        assert_eq!(talk.receive().await, success(b'a', "two"));
    }

    #[tokio::test(start_paused = true)]
    async fn different_keys_overlap_and_answers_keep_their_order() {
        let mut talk = Talk::begin(4_096);
        talk.fake.hold(&[b'a'; 32]);
        talk.send(&put(b'b', "two")).await;
        talk.send(&get(b'a')).await;
        talk.send(&get(b'b')).await;
        assert_eq!(talk.fake.begun(3).await, ["put b", "get a", "get b"]);
        talk.fake.release(&[b'a'; 32]);
        assert_eq!(talk.receive().await, failure(b'a'));
        assert_eq!(talk.receive().await, success(b'b', "two"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_outcome_fails_within_five_seconds() {
        let mut talk = Talk::begin(4_096);
        talk.fake.hold(&[b'a'; 32]);
        talk.fake.hold(&[b'b'; 32]);
        let begun = Instant::now();
        talk.send(&put(b'a', "never")).await;
        talk.send(&get(b'a')).await;
        talk.send(&get(b'b')).await;
        assert_eq!(talk.receive().await, failure(b'a'));
        assert_eq!(talk.receive().await, failure(b'b'));
        assert!(
            begun.elapsed() <= Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(
            talk.fake.begun(2).await,
            ["put a", "get b"],
            "the get of a was never begun"
        );
        // The put is not given up: the next one of its key could be overtaken by it.
        talk.send(&put(b'a', "next")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(talk.fake.begun(2).await.len(), 2);
        talk.fake.release(&[b'a'; 32]);
        assert_eq!(talk.fake.begun(3).await[2], "put a");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unavailable_ring_is_a_failure() {
        let mut talk = Talk::begin(4_096);
        talk.fake.inner().failure = Some(Failure::Unavailable {
            stored: 1,
            needed: 2,
        });
        talk.send(&get(b'a')).await;
        assert_eq!(talk.receive().await, failure(b'a'));
    }

    #[tokio::test(start_paused = true)]
    async fn what_precedes_nonsense_is_completed_and_answered_before_the_end() {
        let mut talk = Talk::begin(4_096);
        talk.fake.hold(&[b'a'; 32]);
        talk.send(&put(b'a', "kept")).await;
        talk.send(&get(b'a')).await;
        talk.client
            .write_all(&[0, 36, 2, 140])
            .await
            .expect("the server reads");
        talk.send(&put(b'c', "behind nonsense")).await;
        talk.fake.begun(1).await;
        talk.fake.release(&[b'a'; 32]);
        let fake = talk.fake.clone();
        let (rest, cause) = talk.last().await;
        assert_eq!(rest, success(b'a', "kept"));
        assert_eq!(cause, "malformed_type");
        assert_eq!(fake.begun(2).await, ["put a", "get a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_stream_flushes_what_was_asked() {
        let mut talk = Talk::begin(4_096);
        talk.fake.hold(&[b'a'; 32]);
        talk.send(&put(b'a', "kept")).await;
        talk.send(&get(b'a')).await;
        talk.client.shutdown().await.expect("our side closes");
        talk.fake.begun(1).await;
        talk.fake.release(&[b'a'; 32]);
        let (rest, cause) = talk.last().await;
        assert_eq!((rest, cause.as_str()), (success(b'a', "kept"), "client"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_within_a_message_is_told_from_one_between_two() {
        let mut talk = Talk::begin(4_096);
        talk.client
            .write_all(&[0, 36, 2])
            .await
            .expect("the server reads");
        talk.client.shutdown().await.expect("our side closes");
        assert_eq!(talk.last().await, (Vec::new(), "cut".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stops_halfway_ends_the_connection_after_ten_seconds() {
        let mut talk = Talk::begin(4_096);
        talk.send(&get(b'a')).await;
        assert_eq!(talk.receive().await, failure(b'a'));
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let begun = Instant::now();
        talk.client
            .write_all(&[0, 36])
            .await
            .expect("an idle connection stays open");
        tokio::time::sleep(Duration::from_secs(9)).await;
        talk.client
            .write_all(&[2, 139])
            .await
            .expect("it is still open");
        let (rest, cause) = talk.last().await;
        assert_eq!((rest, cause.as_str()), (Vec::new(), "slow_message"));
        assert_eq!(begun.elapsed(), MESSAGE_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_left_after_ten_seconds_and_its_puts_are_kept() {
        let mut talk = Talk::begin(512);
        let large = Box::leak("x".repeat(400).into_boxed_str());
        talk.send(&put(b'a', large)).await;
        for _ in 0..8 {
            talk.send(&get(b'a')).await;
        }
        talk.send(&put(b'z', "kept")).await;
        let begun = Instant::now();
        talk.server.await.expect("it does not panic");
        assert_eq!(closed(&talk.metrics), "slow_reader");
        assert_eq!(begun.elapsed(), ANSWER_TIME);
        assert_eq!(
            talk.fake.value(&[b'z'; 32]),
            Some(Bytes::from_static(b"kept"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn reading_stops_at_64_requests_in_flight_and_goes_on() {
        let mut talk = Talk::begin(1 << 20);
        talk.fake.hold(&[b'a'; 32]);
        talk.send(&get(b'a')).await;
        for _ in 0..100 {
            talk.send(&get(b'b')).await;
        }
        talk.fake.begun(64).await;
        // Everything else idle: only a timer can be next.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(talk.fake.begun(64).await.len(), 64);
        talk.fake.release(&[b'a'; 32]);
        assert_eq!(talk.receive().await, failure(b'a'));
        for _ in 0..100 {
            assert_eq!(talk.receive().await, failure(b'b'));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lifetimes_and_copies_are_clamped() {
        let mut talk = Talk::begin(4_096);
        for (ttl, replication, options) in [
            (0, 0, PutOptions::default()),
            (
                1,
                1,
                PutOptions {
                    ttl: Micros::from_secs(1),
                    copies: 1,
                    expected: None,
                },
            ),
            (
                0xffff,
                255,
                PutOptions {
                    ttl: Micros::from_secs(1_000),
                    copies: 8,
                    expected: None,
                },
            ),
        ] {
            talk.send(&put_with(b'a', "x", ttl, replication)).await;
            talk.send(&get(b'a')).await;
            assert_eq!(talk.receive().await, success(b'a', "x"));
            assert_eq!(talk.fake.inner().options, Some(options));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn values_of_other_ports_are_answered_as_far_as_the_size_field_goes() {
        let mut talk = Talk::begin(1 << 20);
        for (length, fits) in [(0, true), (65_495, true), (65_499, true), (65_500, false)] {
            let key = Key::new(Bytes::from_static(&[b'a'; 32])).expect("a key");
            let value = Bytes::from(vec![7; length]);
            talk.fake
                .put(key, value.clone(), PutOptions::default())
                .await
                .expect("stored");
            talk.send(&get(b'a')).await;
            let expected = match fits {
                true => codec::success(&[b'a'; 32], &value)
                    .expect("it fits")
                    .to_vec(),
                false => failure(b'a'),
            };
            assert!(talk.receive().await == expected, "{length} bytes");
        }
        let text = talk
            .metrics
            .render(&chord_net_quic::Counters::default(), None, true);
        let counted = "dht_tcp_requests_total{kind=\"get\",result=\"value_too_large\"} 1";
        assert!(text.contains(counted), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_completes_what_is_under_way() {
        let mut talk = Talk::begin(4_096);
        talk.fake.hold(&[b'a'; 32]);
        talk.send(&put(b'a', "kept")).await;
        talk.send(&get(b'a')).await;
        talk.fake.begun(1).await;
        talk.stop.cancel();
        talk.fake.release(&[b'a'; 32]);
        let (rest, cause) = talk.last().await;
        assert_eq!((rest, cause.as_str()), (success(b'a', "kept"), "stopped"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_vanishes_loses_no_put() {
        let mut talk = Talk::begin(4_096);
        talk.fake.hold(&[b'a'; 32]);
        talk.send(&put(b'a', "one")).await;
        talk.send(&put(b'a', "two")).await;
        talk.send(&get(b'a')).await;
        talk.fake.begun(1).await;
        drop(talk.client);
        talk.fake.release(&[b'a'; 32]);
        talk.server.await.expect("it does not panic");
        assert_eq!(
            talk.fake.value(&[b'a'; 32]),
            Some(Bytes::from_static(b"two"))
        );
    }

    #[test]
    fn an_idle_connection_costs_less_than_8_kib() {
        let (_client, server) = duplex(1);
        let limits = Limits {
            ttl_max: Micros::ZERO,
            copies_max: 1,
        };
        let metrics = Metrics::new();
        let idle = converse(
            server,
            Fake::new(),
            limits,
            &metrics,
            CancellationToken::new(),
        );
        // The task is this future and little else: between messages the decoder, the
        // pipeline and the answer hold no memory.
        assert!(size_of_val(&idle) < 4_096, "{}", size_of_val(&idle));
    }
}
