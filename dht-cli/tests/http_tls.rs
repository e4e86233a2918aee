//! The ports off loopback: TLS, and what each certificate may do.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chord_core::time::Micros;
use chord_net_quic::identity::{self, CertificateAuthority, IdChoice, Identity, Kind, Order};
use dht_cli::accept::Acceptor;
use dht_cli::dht;
use dht_cli::http::About;
use dht_cli::metrics::{Metrics, Server};
use dht_cli::tcp::Limits;
use dht_cli::tcp::codec::{self, Message};
use fake::Fake;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../src/dht/fake.rs"]
mod fake;

/// A test that waits this long has failed.
const NEVER: Duration = Duration::from_secs(30);
const HTTP: &[&[u8]] = &[b"http/1.1"];

struct World {
    ca: CertificateAuthority,
    node: Identity,
}

impl World {
    fn new() -> Self {
        let mut ca =
            CertificateAuthority::in_memory("test.example", identity::now()).expect("an authority");
        let node = identity(&mut ca, Kind::Node);
        Self { ca, node }
    }

    /// What a client dials with: a certificate of this kind, or none.
    fn dialler(&mut self, kind: Option<Kind>, alpn: &[&[u8]]) -> ClientConfig {
        match kind {
            Some(kind) => identity(&mut self.ca, kind).client_tls(alpn),
            None => self.node.trust().client_tls(alpn),
        }
    }

    fn bind(&self, server: Server, alpn: &[&[u8]]) -> Acceptor {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let tls = Some(Arc::new(self.node.client_port_tls(alpn)));
        Acceptor::bind(server, any, tls, 16, Arc::new(Metrics::new())).expect("a free port")
    }

    async fn connect(
        &mut self,
        at: SocketAddr,
        kind: Option<Kind>,
        alpn: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(self.dialler(kind, alpn)));
        let name = ServerName::try_from(self.node.server_name()).expect("a name");
        connector.connect(name, TcpStream::connect(at).await?).await
    }
}

fn identity(ca: &mut CertificateAuthority, kind: Kind) -> Identity {
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

/// The status of one request, or nothing if no answer came.
async fn status(stream: TlsStream<TcpStream>, method: &str, path: &str, host: &str) -> Option<u16> {
    let exchange = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .ok()?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", host);
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let reply = sender.send_request(request).await.ok()?;
        let status = reply.status().as_u16();
        reply.into_body().collect().await.ok()?;
        Some(status)
    };
    tokio::time::timeout(NEVER, exchange)
        .await
        .expect("in time")
}

#[tokio::test]
async fn each_certificate_opens_its_routes_and_no_others() {
    let mut world = World::new();
    let acceptor = world.bind(Server::Http, HTTP);
    let at = acceptor.local_addr().expect("it is bound");
    let about = About::default();
    let metrics = Arc::new(Metrics::new());
    tokio::spawn(dht_cli::http::serve(
        acceptor,
        Fake::new(),
        about,
        metrics,
        CancellationToken::new(),
    ));
    for (kind, path, expected) in [
        (None, "/livez", 200),
        (None, "/readyz", 200),
        (None, "/v1/kv/k", 403),
        (None, "/v1/status", 403),
        (None, "/metrics", 403),
        (Some(Kind::Client), "/v1/kv/k", 404),
        (Some(Kind::Client), "/metrics", 200),
        (Some(Kind::Client), "/v1/config", 403),
        (Some(Kind::Admin), "/v1/kv/k", 404),
        (Some(Kind::Admin), "/v1/config", 200),
    ] {
        let stream = world.connect(at, kind, HTTP).await.expect("a handshake");
        assert_eq!(
            status(stream, "GET", path, "any.name").await,
            Some(expected),
            "{kind:?} {path}"
        );
    }
}

#[tokio::test]
async fn nodes_and_strangers_get_no_answer() {
    let mut world = World::new();
    let acceptor = world.bind(Server::Http, HTTP);
    let at = acceptor.local_addr().expect("it is bound");
    let metrics = Arc::new(Metrics::new());
    tokio::spawn(dht_cli::http::serve(
        acceptor,
        Fake::new(),
        About::default(),
        metrics,
        CancellationToken::new(),
    ));

    // With TLS 1.3 the client is done before the server has judged it: the proof is that no
    // answer comes.
    let answered = match world.connect(at, Some(Kind::Node), HTTP).await {
        Ok(stream) => status(stream, "GET", "/livez", "x").await,
        Err(_) => None,
    };
    assert_eq!(answered, None, "a node's certificate");
    let mut stranger = World::new();
    assert!(
        stranger
            .connect(at, Some(Kind::Client), HTTP)
            .await
            .is_err(),
        "another authority"
    );
    let mut plain = TcpStream::connect(at).await.expect("it listens");
    plain
        .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    let mut said = Vec::new();
    // It may end with an alert or a reset; it must not speak HTTP.
    let _ = plain.read_to_end(&mut said).await;
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
}

#[tokio::test]
async fn the_binary_protocol_works_over_tls_for_clients_only() {
    let mut world = World::new();
    let acceptor = world.bind(Server::Tcp, &[]);
    let at = acceptor.local_addr().expect("it is bound");
    let limits = Limits {
        ttl_max: Micros::from_secs(60),
        copies_max: 8,
    };
    let metrics = Arc::new(Metrics::new());
    tokio::spawn(dht_cli::tcp::serve(
        acceptor,
        Fake::new(),
        limits,
        metrics,
        CancellationToken::new(),
    ));
    let key = [b'k'; 32];
    let value = Bytes::from(vec![7; 60_000]);
    let put = Message::Put {
        ttl: 0,
        replication: 0,
        key,
        value: value.clone(),
    }
    .encode()
    .expect("it fits");
    let get = Message::Get { key }.encode().expect("it fits");

    let mut client = world
        .connect(at, Some(Kind::Client), &[])
        .await
        .expect("a handshake");
    client
        .write_all(&[put, get.clone()].concat())
        .await
        .expect("sent");
    let expected = codec::success(&key, &value).expect("it fits");
    let mut answer = vec![0; expected.len()];
    let read = tokio::time::timeout(NEVER, client.read_exact(&mut answer))
        .await
        .expect("in time");
    read.expect("an answer");
    assert!(answer == expected);

    let mut nobody = world.connect(at, None, &[]).await.expect("a handshake");
    // It may be gone before we write.
    let _ = nobody.write_all(&get).await;
    let mut said = Vec::new();
    let _ = tokio::time::timeout(NEVER, nobody.read_to_end(&mut said))
        .await
        .expect("in time");
    assert!(said.is_empty(), "no answer without a certificate");
}
