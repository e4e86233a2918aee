//! A member with a good certificate that breaks the protocol.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chord_core::event::Class;
use chord_core::id::{Id, Span};
use chord_core::message::{Refusal, Request, Response};
use chord_core::time::Micros;
use chord_core::wire::{Asked, FRAME_MAX, Frame, RequestFrame};
use chord_net_quic::identity::Kind;
use chord_net_quic::{Node, PutOptions};
use common::{Cluster, PATIENCE, key, log, stranger};
use quinn::{Connection, ConnectionError};

struct World {
    node: Node,
    endpoint: quinn::Endpoint,
    cluster: Cluster,
}

/// One honest node, and an endpoint with a good certificate.
async fn world() -> World {
    log::record();
    let mut cluster = Cluster::new();
    let node = cluster.ring(1).await.remove(0);
    let issued = cluster.issue(Kind::Node);
    let endpoint = stranger::endpoint(Some(&issued));
    World {
        node,
        endpoint,
        cluster,
    }
}

impl World {
    async fn connect(&self) -> Connection {
        stranger::connect(&self.endpoint, self.node.addr()).await
    }

    /// The node closes the connection and is as well as before.
    async fn closed(&self, connection: &Connection) {
        let closed = tokio::time::timeout(PATIENCE, connection.closed()).await;
        match closed.expect("it is closed") {
            ConnectionError::ApplicationClosed(_) => {}
            other => panic!("{other}"),
        }
        self.is_well().await;
    }

    async fn is_well(&self) {
        let put = self
            .node
            .put(key("well"), Bytes::new(), PutOptions::default())
            .await;
        put.expect("the node is well");
    }
}

fn request(id: u32, position: u16, request: Asked) -> Frame {
    Frame::Request(RequestFrame {
        id,
        to: Id::ZERO,
        position,
        incarnation: 1,
        remaining: Micros::from_secs(5),
        class: Class::Client,
        trace: 0,
        request,
    })
}

fn ping(id: u32) -> Frame {
    request(id, 0, Asked::Known(Request::Ping))
}

/// First bytes of the frame stream instead of a hello.
async fn instead_of_hello(first: &[u8]) {
    let world = world().await;
    let connection = world.connect().await;
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    // The connection may be gone before all of it is written.
    let _ = send.write_all(first).await;
    world.closed(&connection).await;
    assert!(
        recv.read_chunk(1, true).await.is_err(),
        "nothing was answered"
    );
    assert_eq!(world.node.counters().accepted, 0);
    assert_eq!(world.node.counters().handshakes_refused, 1);
}

#[tokio::test]
async fn junk_instead_of_a_hello_closes_the_connection() {
    instead_of_hello(&stranger::prefixed(&[0xff; 40])).await;
}

#[tokio::test]
async fn a_request_before_the_hello_closes_the_connection() {
    instead_of_hello(&stranger::bytes(&ping(1))).await;
}

#[tokio::test]
async fn a_length_of_four_gigabytes_closes_the_connection() {
    instead_of_hello(&[0xff; 4]).await;
}

#[tokio::test]
async fn a_hello_of_another_cluster_closes_the_connection() {
    let Frame::Hello(mut hello) = stranger::hello(1) else {
        panic!("a hello")
    };
    hello.cluster = "other".to_owned();
    instead_of_hello(&stranger::bytes(&Frame::Hello(hello))).await;
}

/// Bytes on the frame stream after a proper introduction.
async fn after_hello(then: &[u8]) {
    let world = world().await;
    let (connection, mut send, _recv) =
        stranger::introduced(&world.endpoint, world.node.addr()).await;
    let _ = send.write_all(then).await;
    world.closed(&connection).await;
    assert_eq!(world.node.counters().violations, 1);
}

#[tokio::test]
async fn junk_after_the_hello_closes_the_connection() {
    after_hello(&stranger::prefixed(&[7; 9])).await;
}

#[tokio::test]
async fn a_frame_above_the_limit_closes_the_connection() {
    after_hello(&stranger::prefixed(&vec![0; 20_000])).await;
}

#[tokio::test]
async fn a_second_hello_closes_the_connection() {
    after_hello(&stranger::bytes(&stranger::hello(1))).await;
}

#[tokio::test]
async fn a_position_that_its_hello_did_not_have_closes_the_connection() {
    after_hello(&stranger::bytes(&request(
        1,
        1,
        Asked::Known(Request::Ping),
    )))
    .await;
}

#[tokio::test]
async fn ending_the_frame_stream_closes_the_connection() {
    let world = world().await;
    let (connection, mut send, _recv) =
        stranger::introduced(&world.endpoint, world.node.addr()).await;
    send.finish().expect("open");
    world.closed(&connection).await;
}

#[tokio::test]
async fn a_bulk_body_above_every_limit_closes_the_connection() {
    let world = world().await;
    let (connection, _send, _recv) = stranger::introduced(&world.endpoint, world.node.addr()).await;
    let (mut bulk, _answer) = connection.open_bi().await.expect("a stream");
    let length = u32::try_from(FRAME_MAX).expect("small") + 1;
    bulk.write_all(&length.to_be_bytes())
        .await
        .expect("written");
    world.closed(&connection).await;
}

#[tokio::test]
async fn unknown_requests_are_refused_and_known_ones_answered() {
    let world = world().await;
    let (_connection, mut send, mut recv) =
        stranger::introduced(&world.endpoint, world.node.addr()).await;
    let unknown = request(1, 0, Asked::Unknown { kind: 200 });
    send.write_all(&stranger::bytes(&unknown))
        .await
        .expect("written");
    match stranger::read(&mut recv).await {
        Frame::Response(answer) => {
            assert_eq!(answer.id, 1);
            assert_eq!(answer.response, Response::Refused(Refusal::Unsupported));
        }
        other => panic!("{other:?}"),
    }
    send.write_all(&stranger::bytes(&ping(2)))
        .await
        .expect("written");
    match stranger::read(&mut recv).await {
        Frame::Response(answer) => assert_eq!((answer.id, answer.response), (2, Response::Done)),
        other => panic!("{other:?}"),
    }
    world.is_well().await;
}

#[tokio::test]
async fn a_request_on_a_stream_of_its_own_is_answered_there() {
    let world = world().await;
    let (connection, _send, _recv) = stranger::introduced(&world.endpoint, world.node.addr()).await;
    let span = Span::whole(world.node.id());
    let pull = Request::Pull {
        span,
        after: None,
        bytes_max: 1_000,
    };
    let (mut bulk, mut answer) = connection.open_bi().await.expect("a stream");
    let pull = request(9, 0, Asked::Known(pull));
    bulk.write_all(&stranger::bytes(&pull))
        .await
        .expect("written");
    match stranger::read(&mut answer).await {
        Frame::Response(answer) => assert_eq!(answer.id, 9),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        answer.read_chunk(1, true).await.ok(),
        Some(None),
        "and nothing follows"
    );
}

#[tokio::test]
async fn a_bulk_body_that_never_comes_holds_up_nobody_else() {
    let world = world().await;
    let (connection, mut send, mut recv) =
        stranger::introduced(&world.endpoint, world.node.addr()).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        let (mut bulk, answer) = connection.open_bi().await.expect("a stream");
        let length = u32::try_from(FRAME_MAX).expect("small");
        bulk.write_all(&length.to_be_bytes())
            .await
            .expect("written");
        streams.push((bulk, answer));
    }
    // A ninth stream is not to be had, small requests are answered.
    let ninth = connection.open_bi();
    tokio::pin!(ninth);
    let nothing =
        std::future::poll_fn(|cx| std::task::Poll::Ready(ninth.as_mut().poll(cx).is_pending()));
    assert!(nothing.await, "a ninth bulk stream");
    send.write_all(&stranger::bytes(&ping(2)))
        .await
        .expect("written");
    assert!(matches!(
        stranger::read(&mut recv).await,
        Frame::Response(_)
    ));
    world.is_well().await;
}

/// Sends pings without end and takes the answers, counting them, until dropped.
struct Flood {
    answers: Arc<AtomicU64>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Flood {
    async fn start(world: &World) -> Self {
        let (connection, mut send, mut recv) =
            stranger::introduced(&world.endpoint, world.node.addr()).await;
        let answers = Arc::new(AtomicU64::new(0));
        // All the streams there are, each with a body that never comes.
        let mut stalled = Vec::new();
        for _ in 0..8 {
            let (mut bulk, answer) = connection.open_bi().await.expect("a stream");
            let length = u32::try_from(FRAME_MAX).expect("small");
            let head = bulk.write_all(&length.to_be_bytes()).await;
            head.expect("written");
            stalled.push((bulk, answer));
        }
        let writing = tokio::spawn(async move {
            let _stalled = stalled;
            let pings: Vec<u8> = (0..512).flat_map(|id| stranger::bytes(&ping(id))).collect();
            while send.write_all(&pings).await.is_ok() {}
        });
        let count = answers.clone();
        let reading = tokio::spawn(async move {
            let _connection = connection;
            loop {
                let Frame::Response(_) = stranger::read(&mut recv).await else {
                    panic!("no answer")
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            answers,
            tasks: [writing, reading],
        }
    }

    fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test]
async fn a_member_that_floods_to_its_limits_stops_no_answer_to_another() {
    let mut world = world().await;
    let flood = Flood::start(&world).await;
    let other = world.cluster.issue(Kind::Node);
    let other = stranger::endpoint(Some(&other));
    let (connection, mut send, mut recv) = stranger::introduced(&other, world.node.addr()).await;
    common::until("the flood has come", || async { flood.answers() > 1_000 }).await;
    let before = flood.answers();
    for id in 0..200 {
        let sent = send.write_all(&stranger::bytes(&ping(id))).await;
        sent.expect("written");
        match stranger::read(&mut recv).await {
            Frame::Response(answer) => {
                assert_eq!((answer.id, answer.response), (id, Response::Done));
            }
            other => panic!("{other:?}"),
        }
    }
    // Streams of its own are served, too.
    let span = Span::whole(world.node.id());
    for id in 0..20 {
        let pull = Request::Pull {
            span,
            after: None,
            bytes_max: 1_000,
        };
        let pull = request(id, 0, Asked::Known(pull));
        let (mut bulk, mut answer) = connection.open_bi().await.expect("a stream");
        let sent = bulk.write_all(&stranger::bytes(&pull)).await;
        sent.expect("written");
        assert!(matches!(
            stranger::read(&mut answer).await,
            Frame::Response(_)
        ));
    }
    assert!(flood.answers() > before, "the flood went on meanwhile");
    drop(flood);
    world.is_well().await;
}
