//! A real process serves the Chord service where its configuration says, counts its calls,
//! and ends it before it leaves.

mod harness;

use std::time::Duration;

use bytes::Bytes;
use channel::Channel;
use dht_cli::grpc::proto::{Empty, GetRequest, GetStatus, PutRequest};
use harness::cluster::Cluster;
use harness::ports;
use tokio::net::TcpStream;

#[path = "grpc/channel.rs"]
mod channel;

#[allow(unreachable_pub, clippy::all, reason = "generated")]
#[rustfmt::skip]
#[path = "grpc/client.rs"]
mod client;

/// A test that waits this long has failed.
const NEVER: Duration = Duration::from_secs(30);

async fn in_time<T>(doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(NEVER, doing).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_any_port_wrote_every_port_reads() {
    let mut cluster = Cluster::new(1);
    let port = ports::free();
    cluster.start_with(0, &["--grpc", &format!("127.0.0.1:{port}")]);
    cluster.await_ready(0, NEVER);
    let stream = in_time(TcpStream::connect(("127.0.0.1", port))).await;
    let channel = Channel::on(stream.expect("it listens")).await;
    let mut chord = channel.expect("it speaks").chord();

    // 32 bytes, so that all three protocols can name it.
    let key = *b"a key of all three protocols ...";
    let get = || GetRequest {
        key: Bytes::copy_from_slice(&key),
    };
    let put = PutRequest {
        key: Bytes::copy_from_slice(&key),
        ttl: 60,
        replication: 1,
        value: "by gRPC".into(),
    };
    in_time(chord.put(put)).await.expect("stored");
    let read = cluster.tcp(0).get(&key).expect("an answer");
    assert_eq!(read.as_deref(), Some(&b"by gRPC"[..]));
    cluster.http(0).put(&key, "", b"by HTTP").expect("stored");
    let read = in_time(chord.get(get())).await.expect("an answer");
    let read = read.into_inner();
    assert_eq!(
        (read.status(), read.value.as_str()),
        (GetStatus::Ok, "by HTTP")
    );
    let size = in_time(chord.get_kv_store_size(Empty {})).await;
    assert_eq!(size.expect("an answer").into_inner().size, 1);

    let (_, counted) = cluster
        .http(0)
        .ask("GET", "/metrics", b"")
        .expect("an answer");
    let counted = String::from_utf8_lossy(&counted).into_owned();
    let line = "dht_grpc_requests_total{method=\"put\",code=\"ok\"} 1\n";
    assert!(counted.contains(line), "{counted}");
    assert!(
        cluster
            .log(0)
            .contains(&format!("grpc on 127.0.0.1:{port}"))
    );

    cluster.process(0).signal("TERM");
    let (code, _) = cluster.process(0).wait(NEVER);
    assert_eq!(code, Some(0), "its record is safe on disk");
    assert!(in_time(chord.get(get())).await.is_err(), "nobody answers");
}
