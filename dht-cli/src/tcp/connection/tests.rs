//! Conversations over a pipe, with a clock that only waits move.

use chord_core::message::Key;
use chord_core::time::Micros;
use chord_net_quic::PutOptions;

use super::*;
use crate::dht::fake::Fake;
use crate::tcp::codec::Message;
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

    /// Closes our side, and returns what the server counted up to its end.
    async fn last_with_metrics(mut self) -> (Vec<u8>, std::sync::Arc<Metrics>) {
        self.client.shutdown().await.expect("our side closes");
        let mut rest = Vec::new();
        self.client.read_to_end(&mut rest).await.expect("an end");
        self.server.await.expect("it does not panic");
        (rest, self.metrics)
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

/// How many requests of a kind ended in this way.
fn counted(metrics: &Metrics, kind: &str, result: &str) -> u64 {
    let text = metrics.render(&chord_net_quic::Counters::default(), None, true);
    let sample = format!("dht_tcp_requests_total{{kind=\"{kind}\",result=\"{result}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&sample));
    line.map_or(0, |count| count.parse().expect("a count"))
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
    assert_eq!(counted(&talk.metrics, "get", "timed_out"), 2);
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
    assert_eq!(counted(&talk.metrics, "get", "unavailable"), 1);
    talk.send(&put(b'a', "x")).await;
    let (_, ended) = talk.last_with_metrics().await;
    assert_eq!(counted(&ended, "put", "unavailable"), 1);
    assert_eq!(counted(&ended, "put", "ok"), 0);
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
