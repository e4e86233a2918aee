//! The Chord service over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use channel::{Channel, ORIGIN};
use chord_core::event::{Failure, View};
use chord_core::time::Micros;
use chord_net_quic::identity::{self, CertificateAuthority, IdChoice, Identity, Kind, Order};
use chord_net_quic::{Counters, PutOptions};
use dht_cli::accept::Acceptor;
use dht_cli::dht;
use dht_cli::grpc::proto::{
    AddressMsg, Empty, FingerEntryDebugMsg, FingerEntryMsg, FingerTableMsg, GetKvStoreDataResponse,
    GetKvStoreSizeResponse, GetRequest, GetResponse, GetStatus, HashPosMsg, KvPairDebugMsg,
    KvPairMsg, NodeSummaryMsg, PutRequest, UpdateFingerTableEntryRequest,
};
use dht_cli::metrics::{Metrics, Server};
use dht_cli::tcp::Limits;
use fake::{Fake, member};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../src/dht/fake.rs"]
mod fake;

#[path = "grpc/channel.rs"]
mod channel;

#[allow(unreachable_pub, clippy::all, reason = "generated")]
#[rustfmt::skip]
#[path = "grpc/client.rs"]
mod client;

/// A test that waits this long has failed.
const NEVER: Duration = Duration::from_secs(30);
const VALUE_MAX: usize = 1 << 20;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Port {
    at: SocketAddr,
    fake: Fake,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl Port {
    fn open() -> Self {
        Self::serve(None)
    }

    fn serve(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let metrics = Arc::new(Metrics::new());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let acceptor = Acceptor::bind(Server::Grpc, any, tls, 64, metrics.clone());
        let acceptor = acceptor.expect("a free port");
        let at = acceptor.local_addr().expect("it is bound");
        let (fake, stop) = (Fake::new(), CancellationToken::new());
        let limits = Limits {
            ttl_max: Micros::from_secs(1_000),
            copies_max: 8,
        };
        let serving = dht_cli::grpc::serve(
            acceptor,
            fake.clone(),
            limits,
            metrics.clone(),
            stop.clone(),
        );
        tokio::spawn(serving);
        Self {
            at,
            fake,
            metrics,
            stop,
        }
    }

    async fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.at).await.expect("it listens");
        socket.set_nodelay(true).expect("a live socket");
        socket
    }

    async fn channel(&self) -> Channel {
        Channel::on(self.socket().await).await.expect("it speaks")
    }

    async fn put(&self, key: &[u8], value: String) -> Result<(), Status> {
        let request = PutRequest {
            key: Bytes::copy_from_slice(key),
            ttl: 0,
            replication: 0,
            value,
        };
        let mut chord = self.channel().await.chord();
        in_time(chord.put(request)).await.map(drop)
    }

    async fn get(&self, key: &[u8]) -> Result<GetResponse, Status> {
        let key = Bytes::copy_from_slice(key);
        let mut chord = self.channel().await.chord();
        let answer = in_time(chord.get(GetRequest { key })).await;
        answer.map(tonic::Response::into_inner)
    }

    /// One request with these bytes: the answer's status, head, body and trailers.
    async fn raw(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Raw {
        let uri = format!("{ORIGIN}{path}");
        let mut request = Request::builder().method("POST").uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body)));
        let request = request.expect("a request");
        let stream = TokioIo::new(self.socket().await);
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
        let (mut sender, connection) = shaken.expect("it speaks");
        tokio::spawn(connection);
        let answer = in_time(sender.send_request(request)).await;
        let (head, body) = answer.expect("an answer").into_parts();
        let body = in_time(body.collect()).await.expect("a body");
        let trailers = body.trailers().cloned().unwrap_or_default();
        Raw {
            status: head.status,
            head: head.headers,
            body: body.to_bytes(),
            trailers,
        }
    }

    fn counted(&self) -> String {
        self.metrics.render(&Counters::default(), None, true)
    }
}

struct Raw {
    status: StatusCode,
    head: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc"), ("te", "trailers")];

async fn in_time<T>(doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(NEVER, doing).await.expect("in time")
}

fn code<T>(result: Result<T, Status>) -> Code {
    result.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// A message as it travels: not compressed, its length, itself.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn position(first: u8) -> HashPosMsg {
    HashPosMsg {
        key: Bytes::copy_from_slice(&[first; 20]),
    }
}

/// Checks both directions of one message.
fn golden<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M, bytes: &str) {
    assert_eq!(hex(&message.encode_to_vec()), bytes, "{message:?}");
    let digits = bytes.as_bytes().chunks(2);
    let bytes: Vec<u8> = digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("digits")
        })
        .collect();
    assert_eq!(M::decode(&bytes[..]).expect("it decodes"), *message);
}

#[test]
fn every_message_has_the_published_names_numbers_and_types() {
    let text = str::to_owned;
    let bytes = Bytes::from_static;
    let address = |at| AddressMsg { address: text(at) };
    let shown = || FingerEntryDebugMsg {
        id: text("i"),
        address: text("a"),
    };
    golden(&Empty {}, "");
    golden(&position(7), &format!("0a14{}", "07".repeat(20)));
    golden(&address("a:1"), "0a03613a31");
    let finger = FingerEntryMsg {
        id: bytes(b"\x01"),
        address: text("a"),
    };
    golden(&finger, "0a0101120161");
    golden(&shown(), "0a0169120161");
    let fingers = vec![address("a"), address("")];
    golden(&FingerTableMsg { fingers }, "0a030a01610a00");
    let update = UpdateFingerTableEntryRequest {
        index: 159,
        finger_entry: Some(finger),
    };
    golden(&update, "089f0112060a0101120161");
    let summary = NodeSummaryMsg {
        url: text("u"),
        pos: text("p"),
        predecessor: Some(shown()),
        finger_entries: vec![shown()],
    };
    golden(&summary, "0a01751201701a060a016912016122060a0169120161");
    let pair = KvPairMsg {
        key: bytes(b"k"),
        value: text("v"),
    };
    golden(&pair, "0a016b120176");
    let pair = KvPairDebugMsg {
        key: text("k"),
        value: text("v"),
    };
    golden(&pair, "0a016b120176");
    golden(&GetKvStoreSizeResponse { size: 300 }, "08ac02");
    let kv_pairs = vec![pair];
    golden(&GetKvStoreDataResponse { kv_pairs }, "0a060a016b120176");
    golden(&GetRequest { key: bytes(b"k") }, "0a016b");
    let found = |status: GetStatus| GetResponse {
        value: text("v"),
        status: status.into(),
    };
    golden(&found(GetStatus::Ok), "0a0176");
    golden(&found(GetStatus::NotFound), "0a01761001");
    let put = PutRequest {
        key: bytes(b"k"),
        ttl: 300,
        replication: 3,
        value: text("v"),
    };
    golden(&put, "0a016b10ac021803220176");
}

#[tokio::test]
async fn the_bytes_of_calls_are_the_published_ones() {
    let port = Port::open();
    let put = port.raw(
        "/chord.Chord/Put",
        GRPC,
        b"\0\0\0\0\x0b\x0a\x01k\x10\xac\x02\x18\x03\x22\x01v",
    );
    let put = put.await;
    assert_eq!(put.status, StatusCode::OK);
    assert_eq!(put.head["content-type"], "application/grpc");
    assert_eq!(put.body, &b"\0\0\0\0\0"[..], "an empty message");
    assert_eq!(put.trailers["grpc-status"], "0");
    let get = port
        .raw("/chord.Chord/Get", GRPC, b"\0\0\0\0\x03\x0a\x01k")
        .await;
    assert_eq!(get.body, &b"\0\0\0\0\x03\x0a\x01v"[..]);
    assert_eq!(get.trailers["grpc-status"], "0");
    let none = port
        .raw("/chord.Chord/Get", GRPC, b"\0\0\0\0\x03\x0a\x01x")
        .await;
    assert_eq!(none.body, &b"\0\0\0\0\x02\x10\x01"[..]);
    let size = port
        .raw("/chord.Chord/GetKvStoreSize", GRPC, b"\0\0\0\0\0")
        .await;
    assert_eq!(size.body, &b"\0\0\0\0\0"[..], "zero is not written");
}

#[tokio::test]
async fn what_was_put_is_read_with_lifetime_and_copies_within_bounds() {
    let port = Port::open();
    let mut chord = port.channel().await.chord();
    let default = PutOptions::default();
    for (ttl, replication, wanted) in [
        (0, 0, default),
        (
            7,
            3,
            PutOptions {
                ttl: Micros::from_secs(7),
                copies: 3,
                expected: None,
            },
        ),
        (
            u64::MAX,
            u32::MAX,
            PutOptions {
                ttl: Micros::from_secs(1_000),
                copies: 8,
                expected: None,
            },
        ),
    ] {
        let request = PutRequest {
            key: Bytes::from_static(b"k"),
            ttl,
            replication,
            value: format!("for {ttl}"),
        };
        in_time(chord.put(request)).await.expect("stored");
        assert_eq!(port.fake.inner().options, Some(wanted));
        let read = port.get(b"k").await.expect("read");
        assert_eq!(read.value, format!("for {ttl}"));
        assert_eq!(read.status(), GetStatus::Ok);
    }
    port.put(b"\xff\0", String::new())
        .await
        .expect("any key, no bytes");
    assert_eq!(port.fake.value(b"\xff\0"), Some(Bytes::new()));
    let none = port.get(b"none").await.expect("an answer");
    assert_eq!(
        (none.status(), none.value.as_str()),
        (GetStatus::NotFound, "")
    );
}

#[tokio::test]
async fn a_value_that_is_no_text_is_refused_and_not_garbled() {
    let port = Port::open();
    let store = dht::Dht::put(
        &port.fake,
        chord_core::message::Key::new(Bytes::from_static(b"k")).expect("a key"),
        Bytes::from_static(b"\xff\xfe"),
        PutOptions::default(),
    );
    store.await.expect("stored");
    assert_eq!(code(port.get(b"k").await), Code::FailedPrecondition);
}

#[tokio::test]
async fn keys_and_positions_of_another_length_are_refused() {
    let port = Port::open();
    for key in [vec![], vec![1; 1_025]] {
        assert_eq!(code(port.get(&key).await), Code::InvalidArgument);
        assert_eq!(
            code(port.put(&key, "v".into()).await),
            Code::InvalidArgument
        );
    }
    port.put(&[1; 1_024], "v".into())
        .await
        .expect("the longest");
    let mut chord = port.channel().await.chord();
    for length in [0, 19, 21] {
        let wrong = || HashPosMsg {
            key: Bytes::from(vec![1; length]),
        };
        for refused in [
            code(in_time(chord.find_successor(wrong())).await),
            code(in_time(chord.find_predecessor(wrong())).await),
            code(in_time(chord.find_closest_preceding_finger(wrong())).await),
        ] {
            assert_eq!(refused, Code::InvalidArgument, "{length}");
        }
    }
}

#[tokio::test]
async fn every_call_tells_failures_of_the_ring_by_their_codes() {
    let port = Port::open();
    let mut chord = port.channel().await.chord();
    for (failure, wanted) in [
        (Failure::NotMember, Code::Unavailable),
        (Failure::TimedOut, Code::DeadlineExceeded),
        (Failure::Overloaded, Code::ResourceExhausted),
        (Failure::Full, Code::FailedPrecondition),
    ] {
        port.fake.inner().failure = Some(failure);
        let key = Bytes::from_static(b"k");
        let put = PutRequest {
            key: key.clone(),
            ..PutRequest::default()
        };
        let codes = [
            code(in_time(chord.get(GetRequest { key })).await),
            code(in_time(chord.put(put)).await),
            code(in_time(chord.find_successor(position(1))).await),
            code(in_time(chord.find_predecessor(position(1))).await),
            code(in_time(chord.find_closest_preceding_finger(position(1))).await),
            code(in_time(chord.get_predecessor(Empty {})).await),
            code(in_time(chord.get_direct_successor(Empty {})).await),
            code(in_time(chord.get_node_summary(Empty {})).await),
            code(in_time(chord.get_kv_store_size(Empty {})).await),
            code(in_time(chord.get_kv_store_data(Empty {})).await),
        ];
        assert_eq!(codes, [wanted; 10], "{failure:?}");
    }
}

#[tokio::test]
async fn the_longest_value_passes_and_a_longer_one_is_refused_for_good() {
    let port = Port::open();
    let longest = "x".repeat(VALUE_MAX);
    port.put(b"k", longest.clone()).await.expect("it fits");
    assert!(port.get(b"k").await.expect("read").value == longest);
    for longer in [VALUE_MAX + 1, VALUE_MAX + 100_000, 5 << 20] {
        let refused = port.put(b"k", "x".repeat(longer)).await;
        // A client that still sends when the answer comes may see the end of its stream only.
        let refused = code(refused);
        assert_eq!(refused, Code::OutOfRange, "{longer}");
    }
    let promised = port
        .raw("/chord.Chord/Put", GRPC, b"\0\xff\xff\xff\xff\x0a")
        .await;
    assert_eq!(promised.head["grpc-status"], "11", "4 GiB were promised");
    assert_eq!(
        port.fake.value(b"k").map(|value| value.len()),
        Some(VALUE_MAX)
    );
}

#[tokio::test]
async fn the_client_says_how_long_it_waits() {
    let port = Port::open();
    port.fake.hold(b"k");
    let mut request = tonic::Request::new(GetRequest {
        key: Bytes::from_static(b"k"),
    });
    request.set_timeout(Duration::from_millis(1));
    let mut chord = port.channel().await.chord();
    let late = in_time(chord.get(request)).await;
    assert_eq!(code(late), Code::DeadlineExceeded);
    let headers = [GRPC, &[("grpc-timeout", "soon")]].concat();
    let odd = port
        .raw("/chord.Chord/Get", &headers, b"\0\0\0\0\x03\x0a\x01k")
        .await;
    assert_eq!(odd.head["grpc-status"], "3");
}

#[tokio::test]
async fn the_ring_is_told_by_the_addresses_of_its_services() {
    let port = Port::open();
    let own = port.at.to_string();
    let mut chord = port.channel().await.chord();
    {
        let mut inner = port.fake.inner();
        inner.owners = vec![member(1), member(5), member(9)];
        let service = SocketAddr::from(([10, 0, 0, 5], 7_490));
        inner.services.insert(member(5).id, service);
        inner.views[0].successors = vec![member(5), member(9)];
        inner.views[0].predecessor = Some(member(9));
        inner.views.push(View {
            me: member(5),
            predecessor: Some(member(1)),
            successors: vec![member(9)],
        });
    }
    let address = |answer: Result<tonic::Response<AddressMsg>, Status>| {
        answer.expect("an answer").into_inner().address
    };
    let successor = address(in_time(chord.find_successor(position(3))).await);
    assert_eq!(successor, "10.0.0.5:7490");
    let owned = address(in_time(chord.find_successor(position(20))).await);
    assert_eq!(owned, own, "this one owns what lies behind the last");
    let before = address(in_time(chord.find_predecessor(position(3))).await);
    assert_eq!(before, own);
    let next = address(in_time(chord.get_direct_successor(Empty {})).await);
    assert_eq!(next, "10.0.0.5:7490");
    let previous = address(in_time(chord.get_predecessor(Empty {})).await);
    assert_eq!(
        previous, "10.0.0.9:7400",
        "it serves none, members dial that"
    );
    let closest = in_time(chord.find_closest_preceding_finger(position(7))).await;
    let closest = closest.expect("an answer").into_inner();
    assert_eq!(closest.id, &member(5).id.0[..]);
    assert_eq!(closest.address, "10.0.0.5:7490");
    port.fake.inner().views[0].predecessor = None;
    let nobody = address(in_time(chord.get_predecessor(Empty {})).await);
    assert_eq!(nobody, "");
}

#[tokio::test]
async fn a_summary_shows_place_predecessor_and_all_fingers() {
    let port = Port::open();
    port.fake.inner().owners = vec![member(1), member(0x90)];
    port.fake.inner().views[0].predecessor = Some(member(0x90));
    let mut chord = port.channel().await.chord();
    let summary = in_time(chord.get_node_summary(Empty {})).await;
    let summary = summary.expect("an answer").into_inner();
    assert_eq!(summary.url, port.at.to_string());
    assert_eq!(summary.pos, member(1).id.to_string());
    let other = FingerEntryDebugMsg {
        id: member(0x90).id.to_string(),
        address: "10.0.0.144:7400".into(),
    };
    assert_eq!(summary.predecessor.as_ref(), Some(&other));
    assert_eq!(summary.finger_entries.len(), 160);
    assert!(summary.finger_entries.iter().all(|entry| *entry == other));
}

#[tokio::test]
async fn the_store_is_counted_and_listed_and_a_cut_is_told() {
    let port = Port::open();
    port.fake.inner().status.records = 70_000;
    let mut chord = port.channel().await.chord();
    let size = in_time(chord.get_kv_store_size(Empty {})).await;
    assert_eq!(size.expect("an answer").into_inner().size, 70_000);
    port.fake.inner().status.records = u64::MAX;
    let size = in_time(chord.get_kv_store_size(Empty {})).await;
    assert_eq!(size.expect("an answer").into_inner().size, u32::MAX);

    port.put(b"a\xff", "line\n".into()).await.expect("stored");
    port.put(b"b", "größe".into()).await.expect("stored");
    let all = in_time(chord.get_kv_store_data(Empty {}))
        .await
        .expect("an answer");
    let shown = |key: &str, value: &str| KvPairDebugMsg {
        key: key.into(),
        value: value.into(),
    };
    assert_eq!(
        all.into_inner().kv_pairs,
        [shown("0x61ff", "0x6c696e650a"), shown("b", "größe")]
    );
    let whole = port
        .raw("/chord.Chord/GetKvStoreData", GRPC, b"\0\0\0\0\0")
        .await;
    assert!(!whole.trailers.contains_key("dht-truncated"));

    for at in 0..5_u8 {
        port.put(&[b'c', at], "x".repeat(VALUE_MAX))
            .await
            .expect("stored");
    }
    let cut = port
        .raw("/chord.Chord/GetKvStoreData", GRPC, b"\0\0\0\0\0")
        .await;
    assert_eq!(cut.trailers["dht-truncated"], "true");
    assert!(cut.body.len() <= (4 << 20) + 5, "{}", cut.body.len());
    let kept = GetKvStoreDataResponse::decode(&cut.body[5..]).expect("a message");
    assert_eq!(kept.kv_pairs.len(), 5);
}

#[tokio::test]
async fn calls_that_are_not_served_say_so() {
    let port = Port::open();
    let mut chord = port.channel().await.chord();
    let set = in_time(chord.set_predecessor(AddressMsg::default())).await;
    let status = set.expect_err("not served");
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("hints"), "{status}");
    let update = UpdateFingerTableEntryRequest::default();
    let update = in_time(chord.update_finger_table_entry(update)).await;
    assert_eq!(code(update), Code::Unimplemented);
    for path in [
        "/chord.Chord/Nothing",
        "/chord.Chord/",
        "/other.Service/Get",
        "/",
        "/a/b/c",
    ] {
        let answer = port.raw(path, GRPC, b"\0\0\0\0\0").await;
        assert_eq!(answer.head["grpc-status"], "12", "{path}");
    }
    for headers in [&[][..], &[("content-type", "text/html")]] {
        let answer = port.raw("/chord.Chord/Get", headers, b"x").await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}

#[tokio::test]
async fn messages_that_are_none_get_a_status() {
    let port = Port::open();
    for (body, wanted) in [
        (&b""[..], "13"),
        (b"\0", "13"),
        (b"\0\0\0\0\x09\x0a\x01k", "13"),
        (b"\x01\0\0\0\x03\x0a\x01k", "13"),
        (b"\x07\0\0\0\x03\x0a\x01k", "13"),
        (b"\0\0\0\0\x02\x0a\x7f", "13"),
        (b"\0\0\0\0\x01\xff", "13"),
    ] {
        let answer = port.raw("/chord.Chord/Get", GRPC, body).await;
        assert_eq!(answer.head["grpc-status"], wanted, "{body:?}");
    }
    // A field that nobody knows is skipped; text must be UTF-8.
    let more = port
        .raw("/chord.Chord/Get", GRPC, b"\0\0\0\0\x05\x0a\x01k\x78\x01")
        .await;
    assert_eq!(more.trailers["grpc-status"], "0");
    let text = port
        .raw(
            "/chord.Chord/Put",
            GRPC,
            b"\0\0\0\0\x06\x0a\x01k\x22\x01\xff",
        )
        .await;
    assert_eq!(text.head["grpc-status"], "13");
    assert_eq!(port.fake.value(b"k"), None);
}

#[tokio::test]
async fn reflection_of_both_versions_lists_the_service_and_its_methods() {
    use tonic_reflection::pb::{v1, v1alpha};
    let port = Port::open();
    let channel = port.channel().await;
    let origin: hyper::Uri = ORIGIN.parse().expect("a URI");

    macro_rules! reflected {
        ($version:ident) => {{
            use $version::server_reflection_client::ServerReflectionClient;
            use $version::server_reflection_request::MessageRequest;
            use $version::server_reflection_response::MessageResponse;
            let mut client = ServerReflectionClient::with_origin(channel.clone(), origin.clone());
            let ask = |request| $version::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(request),
            };
            let asked = vec![
                ask(MessageRequest::ListServices(String::new())),
                ask(MessageRequest::FileContainingSymbol("chord.Chord".into())),
            ];
            let asked = tonic::codegen::tokio_stream::iter(asked);
            let answers = in_time(client.server_reflection_info(asked)).await;
            let mut answers = answers.expect("it reflects").into_inner();
            let mut next = async || {
                let answer = in_time(answers.message()).await.expect("an answer");
                answer
                    .expect("one for each")
                    .message_response
                    .expect("it says something")
            };
            let MessageResponse::ListServicesResponse(list) = next().await else {
                panic!("not a list");
            };
            let names: Vec<String> = list
                .service
                .into_iter()
                .map(|service| service.name)
                .collect();
            assert!(names.iter().any(|name| name == "chord.Chord"), "{names:?}");
            let MessageResponse::FileDescriptorResponse(files) = next().await else {
                panic!("not a file");
            };
            files.file_descriptor_proto
        }};
    }
    for files in [reflected!(v1), reflected!(v1alpha)] {
        let file = protox::prost_reflect::prost_types::FileDescriptorProto::decode(&files[0][..]);
        let file = file.expect("a descriptor");
        let methods = file.service[0].method.iter().map(|method| method.name());
        assert_eq!(
            methods.collect::<Vec<_>>(),
            [
                "FindSuccessor",
                "FindPredecessor",
                "GetPredecessor",
                "SetPredecessor",
                "GetDirectSuccessor",
                "UpdateFingerTableEntry",
                "FindClosestPrecedingFinger",
                "GetNodeSummary",
                "GetKvStoreSize",
                "GetKvStoreData",
                "Get",
                "Put",
            ]
        );
    }
}

/// Bytes that look like chance and are the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    };
    (0..length).map(|_| byte()).collect()
}

#[tokio::test]
async fn garbage_hurts_nobody() {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Those of tests are their own.
        let in_a_test = info
            .location()
            .is_some_and(|at| at.file().ends_with("tests/grpc.rs"));
        PANICKED.fetch_or(!in_a_test, Ordering::Relaxed);
        report(info);
    }));
    let port = Port::open();
    port.put(b"k", "v".into()).await.expect("stored");
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    for seed in 0..200 {
        let noise = noise(seed, 400);
        // A frame of every kind with a sound length, so that more than the framing is tried.
        let [kind, flags] = [noise[0] % 10, noise[1]];
        let frame = [
            &[0, 0, 100, kind, flags, 0, 0, 0, noise[2] % 4][..],
            &noise[..100],
        ]
        .concat();
        let said = match seed % 4 {
            0 => noise,
            1 => [PREFACE, &noise].concat(),
            2 => [PREFACE, &settings, &frame].concat(),
            _ => [PREFACE, &settings, &frame, &noise].concat(),
        };
        let mut socket = port.socket().await;
        socket.write_all(&said).await.expect("sent");
        // It may close at once, with bytes of ours unread.
        let _ = socket.shutdown().await;
        let _ = in_time(socket.read_to_end(&mut Vec::new())).await;
        let body = noise_body(seed);
        for path in ["/chord.Chord/Put", "/chord.Chord/FindSuccessor"] {
            let answer = port.raw(path, GRPC, &body).await;
            assert_eq!(answer.status, StatusCode::OK);
        }
    }
    let mut http1 = port.socket().await;
    let said = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    http1.write_all(said).await.expect("sent");
    let mut heard = Vec::new();
    let _ = in_time(http1.read_to_end(&mut heard)).await;
    assert!(heard.is_empty(), "no word to who speaks something else");
    let read = port.get(b"k").await.expect("as before");
    assert_eq!(read.value, "v");
    let counted = port.counted();
    let refused = "dht_connections_refused_total{server=\"grpc\",cause=\"not_http2\"} 51\n";
    assert!(counted.contains(refused), "{counted}");
    assert!(!PANICKED.load(Ordering::Relaxed));
}

fn noise_body(seed: u64) -> Vec<u8> {
    let noise = noise(seed, 300);
    if seed.is_multiple_of(2) {
        noise
    } else {
        framed(&noise)
    }
}

#[tokio::test]
async fn a_connection_is_told_its_bounds() {
    let port = Port::open();
    let mut socket = port.socket().await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    socket
        .write_all(&[PREFACE, &settings].concat())
        .await
        .expect("sent");
    let mut head = [0; 9];
    in_time(socket.read_exact(&mut head))
        .await
        .expect("a frame");
    assert_eq!(head[3], 4, "settings come first");
    let mut body = vec![0; usize::from(head[2])];
    in_time(socket.read_exact(&mut body))
        .await
        .expect("its body");
    let told: Vec<(u16, u32)> = body
        .chunks(6)
        .map(|setting| {
            let name = u16::from_be_bytes([setting[0], setting[1]]);
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            (name, value)
        })
        .collect();
    // RFC 9113, section 6.5.2: streams at one time, window of a stream, bytes of a head.
    for wanted in [(3, 64), (4, 256 << 10), (6, 16 << 10)] {
        assert!(told.contains(&wanted), "{wanted:?} in {told:?}");
    }
}

#[tokio::test]
async fn a_stopped_port_completes_what_it_has_and_takes_no_more() {
    let port = Port::open();
    port.fake.hold(b"k");
    let mut chord = port.channel().await.chord();
    let key = Bytes::from_static(b"k");
    let call = tokio::spawn(async move { chord.get(GetRequest { key }).await });
    in_time(port.fake.begun(1)).await;
    port.stop.cancel();
    port.fake.release(b"k");
    let answer = in_time(call).await.expect("no panic").expect("an answer");
    assert_eq!(answer.into_inner().status(), GetStatus::NotFound);
    let after = in_time(async {
        let stream = TcpStream::connect(port.at).await?;
        let mut chord = Channel::on(stream)
            .await
            .map_err(std::io::Error::other)?
            .chord();
        let size = chord.get_kv_store_size(Empty {}).await;
        size.map_err(std::io::Error::other)
    });
    assert!(after.await.is_err(), "nobody answers any more");
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code() {
    let port = Port::open();
    port.put(b"k", "v".into()).await.expect("stored");
    assert_eq!(code(port.get(b"").await), Code::InvalidArgument);
    port.get(b"none").await.expect("an answer");
    port.raw("/chord.Chord/Made/up", GRPC, b"").await;
    for line in [
        "dht_grpc_requests_total{method=\"put\",code=\"ok\"} 1\n",
        "dht_grpc_requests_total{method=\"get\",code=\"invalid_argument\"} 1\n",
        "dht_grpc_requests_total{method=\"get\",code=\"ok\"} 1\n",
        "dht_grpc_requests_total{method=\"other\",code=\"unimplemented\"} 1\n",
        "dht_connections_accepted_total{server=\"grpc\"} 4\n",
    ] {
        // The answer may be with the client before its end is counted.
        let counted = async {
            while !port.counted().contains(line) {
                tokio::task::yield_now().await;
            }
        };
        let counted = tokio::time::timeout(NEVER, counted).await;
        assert!(counted.is_ok(), "{line} in {}", port.counted());
    }
}

fn issue(ca: &mut CertificateAuthority, kind: Kind) -> Identity {
    let order = Order {
        name: kind.as_str(),
        kind,
        valid: Duration::from_secs(86_400),
        id: IdChoice::Random,
        csr: None,
    };
    let issued = ca.issue(&order, identity::now()).expect("issued");
    Identity::in_memory(ca, &issued, identity::now()).expect("an identity")
}

#[tokio::test]
async fn over_tls_each_certificate_opens_its_calls_and_no_others() {
    const H2: &[&[u8]] = &[b"h2"];
    let ca = CertificateAuthority::in_memory("test.example", identity::now());
    let mut ca = ca.expect("an authority");
    let node = issue(&mut ca, Kind::Node);
    let port = Port::serve(Some(Arc::new(node.client_port_tls(H2))));
    for (kind, get, set, reflect) in [
        (None, "16", "16", "16"),
        (Some(Kind::Client), "0", "7", "0"),
        (Some(Kind::Admin), "0", "12", "0"),
    ] {
        let config = match kind {
            Some(kind) => issue(&mut ca, kind).client_tls(H2),
            None => node.trust().client_tls(H2),
        };
        let name = ServerName::try_from(node.server_name()).expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, port.socket().await).await;
        let channel = Channel::on(stream.expect("a handshake")).await;
        let channel = channel.expect("it speaks");
        let status = |path: &'static str| {
            let mut channel = channel.clone();
            async move {
                let body = Full::new(Bytes::from_static(b"\0\0\0\0\x03\x0a\x01k"));
                let request = Request::post(format!("{ORIGIN}{path}"))
                    .header("content-type", "application/grpc")
                    .body(tonic::body::Body::new(body))
                    .expect("a request");
                let calling = tonic::codegen::Service::call(&mut channel, request);
                let answer = in_time(calling).await.expect("an answer");
                let in_head = answer.headers().get("grpc-status").cloned();
                let body = in_time(answer.into_body().collect()).await.expect("a body");
                let trailers = body.trailers().cloned().unwrap_or_default();
                in_head.unwrap_or_else(|| trailers["grpc-status"].clone())
            }
        };
        assert_eq!(status("/chord.Chord/Get").await, get, "{kind:?}");
        assert_eq!(status("/chord.Chord/SetPredecessor").await, set, "{kind:?}");
        let info = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        // The request is none of reflection's: what counts is whether it was let in.
        let reflected = status(info).await;
        assert_eq!(reflected == "16", reflect == "16", "{kind:?}");
    }
}
