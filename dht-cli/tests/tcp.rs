//! The TCP client protocol over real sockets: what a client of existing deployments sees.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chord_core::time::Micros;
use chord_net_quic::Counters;
use dht_cli::accept::Acceptor;
use dht_cli::dht;
use dht_cli::metrics::{Metrics, Server};
use dht_cli::tcp::Limits;
use dht_cli::tcp::codec::{self, Message};
use fake::Fake;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../src/dht/fake.rs"]
mod fake;

const LOLZ: &[u8; 32] = b"lolzlolzlolzlolzlolzlolzlolzlolz";

/// A test that waits this long has failed.
const NEVER: Duration = Duration::from_secs(30);

struct Port {
    at: SocketAddr,
    fake: Fake,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

impl Port {
    fn open(connections_max: usize) -> Self {
        let metrics = Arc::new(Metrics::new());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let acceptor = Acceptor::bind(Server::Tcp, any, None, connections_max, metrics.clone());
        let acceptor = acceptor.expect("a free port");
        let at = acceptor.local_addr().expect("it is bound");
        let fake = Fake::new();
        let stop = CancellationToken::new();
        let limits = Limits {
            ttl_max: Micros::from_secs(3_600),
            copies_max: 8,
        };
        let serving = dht_cli::tcp::serve(
            acceptor,
            fake.clone(),
            limits,
            metrics.clone(),
            stop.clone(),
        );
        Self {
            at,
            fake,
            metrics,
            stop,
            server: tokio::spawn(serving),
        }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).await.expect("it listens");
        stream.set_nodelay(true).expect("the socket lives");
        stream
    }

    fn text(&self) -> String {
        self.metrics.render(&Counters::default(), None, true)
    }

    async fn counts(&self, line: &str) {
        let waited = tokio::time::timeout(NEVER, async {
            while !self.text().contains(line) {
                tokio::task::yield_now().await;
            }
        });
        assert!(waited.await.is_ok(), "{line} in {}", self.text());
    }
}

fn put(value: &[u8]) -> Bytes {
    let value = Bytes::copy_from_slice(value);
    Message::Put {
        ttl: 1,
        replication: 1,
        key: *LOLZ,
        value,
    }
    .encode()
    .expect("it fits")
}

fn get(key: [u8; 32]) -> Bytes {
    Message::Get { key }.encode().expect("it fits")
}

async fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = vec![0; 2];
    tokio::time::timeout(NEVER, async {
        stream.read_exact(&mut answer).await.expect("an answer");
        let size = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
        answer.resize(size, 0);
        stream
            .read_exact(&mut answer[2..])
            .await
            .expect("the rest of it");
    })
    .await
    .expect("in time");
    answer
}

async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(NEVER, stream.read_to_end(&mut rest))
        .await
        .expect("an end");
    read.expect("an orderly end, no reset");
    rest
}

#[tokio::test]
async fn the_published_vectors_work_split_at_every_byte() {
    let port = Port::open(16);
    // Another value each time: what was put before must not pass for what was lost now.
    let exchange = |value: &str| {
        let both = [put(value.as_bytes()), get(*LOLZ)].concat();
        let answer = codec::success(LOLZ, value.as_bytes()).expect("it fits");
        (both, answer)
    };
    let mut stream = port.connect().await;
    stream.set_nodelay(true).expect("an open socket");
    for split in 0..exchange("bernd").0.len() {
        let (both, answer) = exchange(&format!("{split:05}"));
        stream.write_all(&both[..split]).await.expect("sent");
        stream.write_all(&both[split..]).await.expect("sent");
        assert_eq!(receive(&mut stream).await, answer, "split at {split}");
    }
    let (both, answer) = exchange("bernd");
    for byte in &both {
        stream.write_all(&[*byte]).await.expect("sent");
    }
    assert_eq!(receive(&mut stream).await, answer, "byte by byte");
}

#[tokio::test]
async fn a_missing_key_is_a_failure_of_36_bytes() {
    let port = Port::open(16);
    let mut stream = port.connect().await;
    stream.write_all(&get(*LOLZ)).await.expect("sent");
    assert_eq!(receive(&mut stream).await, codec::failure(LOLZ));
}

#[tokio::test]
async fn a_thousand_pipelined_requests_are_answered_in_order() {
    let port = Port::open(16);
    let mut stream = port.connect().await;
    let (mut reader, mut writer) = stream.split();
    let key = |n: u16| {
        let mut key = [b'k'; 32];
        key[30..].copy_from_slice(&n.to_be_bytes());
        key
    };
    let send = async {
        for n in 0..1_000_u16 {
            let value = Bytes::from(vec![b'v'; usize::from(n) + 1]);
            let put = Message::Put {
                ttl: 0,
                replication: 0,
                key: key(n),
                value,
            };
            writer
                .write_all(&put.encode().expect("it fits"))
                .await
                .expect("sent");
            writer.write_all(&get(key(n))).await.expect("sent");
        }
    };
    let receive = async {
        for n in 0..1_000_u16 {
            let expected =
                codec::success(&key(n), &vec![b'v'; usize::from(n) + 1]).expect("it fits");
            let mut answer = vec![0; expected.len()];
            reader.read_exact(&mut answer).await.expect("an answer");
            assert!(answer == expected, "{n}");
        }
    };
    tokio::time::timeout(NEVER, async { tokio::join!(send, receive) })
        .await
        .expect("in time");
}

#[tokio::test]
async fn each_malformed_message_closes_its_connection_and_nothing_else() {
    let port = Port::open(64);
    let mut bystander = port.connect().await;
    let cases: [(&[u8], &str); 9] = [
        (&[0, 36, 0, 0], "malformed_type"),
        (&[0, 36, 2, 140], "malformed_type"),
        (&[0, 36, 2, 141], "malformed_type"),
        (&[0xff, 0xff, 0xff, 0xff], "malformed_type"),
        (&[0, 35, 2, 139], "malformed_get_size"),
        (&[0, 37, 2, 139], "malformed_get_size"),
        (&[0, 0, 2, 139], "malformed_get_size"),
        (&[0, 40, 2, 138], "malformed_put_size"),
        (&[0, 0, 2, 138], "malformed_put_size"),
    ];
    for (header, _) in cases {
        let mut stream = port.connect().await;
        stream.write_all(header).await.expect("sent");
        assert_eq!(rest(&mut stream).await, b"", "{header:?}: no reply");
        // A client that goes on sending is not answered either.
        let mut stream = port.connect().await;
        let noisy = [&put(b"kept")[..], &get(*LOLZ), header, &[0; 100_000]].concat();
        stream.write_all(&noisy).await.expect("sent");
        let expected = codec::success(LOLZ, b"kept").expect("it fits");
        assert_eq!(
            rest(&mut stream).await,
            expected,
            "{header:?}: what came before is answered"
        );
        bystander.write_all(&get(*LOLZ)).await.expect("sent");
        assert_eq!(receive(&mut bystander).await, expected);
    }
    port.counts("dht_tcp_closed_total{cause=\"malformed_type\"} 8\n")
        .await;
    port.counts("dht_tcp_closed_total{cause=\"malformed_get_size\"} 6\n")
        .await;
    port.counts("dht_tcp_closed_total{cause=\"malformed_put_size\"} 4\n")
        .await;
}

#[tokio::test]
async fn answers_are_flushed_when_the_client_closes_its_side() {
    let port = Port::open(16);
    let mut stream = port.connect().await;
    let asked = [put(b"kept"), get(*LOLZ), get([0; 32])].concat();
    stream.write_all(&asked).await.expect("sent");
    stream.shutdown().await.expect("closed");
    let expected = [
        codec::success(LOLZ, b"kept").expect("it fits"),
        codec::failure(&[0; 32]),
    ]
    .concat();
    assert_eq!(rest(&mut stream).await, expected);
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_and_places_come_back() {
    let port = Port::open(2);
    let mut first = port.connect().await;
    let mut second = port.connect().await;
    for stream in [&mut first, &mut second] {
        stream.write_all(&get(*LOLZ)).await.expect("sent");
        receive(stream).await;
    }
    let mut third = port.connect().await;
    assert_eq!(rest(&mut third).await, b"");
    port.counts("dht_connections_refused_total{server=\"tcp\",cause=\"too_many\"} 1\n")
        .await;
    drop(first);
    port.counts("dht_connections{server=\"tcp\"} 1\n").await;
    let mut fourth = port.connect().await;
    fourth.write_all(&get(*LOLZ)).await.expect("sent");
    assert_eq!(receive(&mut fourth).await, codec::failure(LOLZ));
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_completes_the_others() {
    let port = Port::open(16);
    let mut idle = port.connect().await;
    let mut busy = port.connect().await;
    port.fake.hold(LOLZ);
    busy.write_all(&[put(b"kept"), get(*LOLZ)].concat())
        .await
        .expect("sent");
    port.fake.begun(1).await;
    port.stop.cancel();
    assert_eq!(rest(&mut idle).await, b"");
    port.fake.release(LOLZ);
    assert_eq!(
        rest(&mut busy).await,
        codec::success(LOLZ, b"kept").expect("it fits")
    );
    drop((idle, busy));
    port.server
        .await
        .expect("it does not panic")
        .expect("it ends well");
}
