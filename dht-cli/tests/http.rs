//! The HTTP API over real sockets.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use chord_core::event::{Failure, State, View};
use chord_core::time::Micros;
use chord_net_quic::{Duplicate, PutOptions};
use dht_cli::accept::Acceptor;
use dht_cli::dht;
use dht_cli::documents::{
    LookupDocument, OptionDocument, ProblemDocument, RingDocument, StatusDocument,
};
use dht_cli::http::About;
use dht_cli::metrics::{Metrics, Server};
use fake::{Fake, member};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../src/dht/fake.rs"]
mod fake;

/// A test that waits this long has failed.
const NEVER: Duration = Duration::from_secs(30);

struct Port {
    at: SocketAddr,
    fake: Fake,
    stop: CancellationToken,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Port {
    fn open() -> Self {
        let metrics = Arc::new(Metrics::new());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let acceptor =
            Acceptor::bind(Server::Http, any, None, 64, metrics.clone()).expect("a free port");
        let at = acceptor.local_addr().expect("it is bound");
        let fake = Fake::new();
        let stop = CancellationToken::new();
        let ttl = OptionDocument {
            value: "\"1d\"".into(),
            from: "default".into(),
        };
        let about = About {
            config: BTreeMap::from([("ring.ttl".to_owned(), ttl)]),
            store: "memory",
            names: vec!["dht.internal".to_owned()],
        };
        tokio::spawn(dht_cli::http::serve(
            acceptor,
            fake.clone(),
            about,
            metrics,
            stop.clone(),
        ));
        Self { at, fake, stop }
    }

    /// One request on a connection of its own, headers as given beside `Host`.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", self.at.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body)))
            .expect("a request");
        tokio::time::timeout(NEVER, async {
            let stream = TcpStream::connect(self.at).await.expect("it listens");
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .expect("it speaks");
            tokio::spawn(connection);
            let (parts, body) = sender
                .send_request(request)
                .await
                .expect("an answer")
                .into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            Reply {
                status: parts.status,
                headers: parts.headers,
                body,
            }
        })
        .await
        .expect("in time")
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"").await
    }

    async fn put(&self, path: &str, body: &[u8]) -> Reply {
        self.ask("PUT", path, &[], body).await
    }

    /// Sends bytes as they are and reads to the end of the stream.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.at).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        let read = tokio::time::timeout(NEVER, stream.read_to_string(&mut answer)).await;
        read.expect("in time").expect("an orderly end");
        answer
    }
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    fn document<T: serde::de::DeserializeOwned>(&self) -> T {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).expect("the document")
    }

    /// Checks the status, the form of the problem, and its code.
    fn is_problem(&self, status: u16, code: &str) {
        self.problem(status, code);
    }

    /// The same; the problem.
    fn problem(&self, status: u16, code: &str) -> ProblemDocument {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: ProblemDocument = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!(
            (problem.status, problem.code.as_str()),
            (status, code),
            "{text}"
        );
        assert!(
            !problem.detail.is_empty() && !problem.title.is_empty(),
            "{text}"
        );
        problem
    }
}

#[tokio::test]
async fn what_was_put_is_got_byte_by_byte_until_it_is_deleted() {
    let port = Port::open();
    let every: Vec<u8> = (0..=255).collect();
    for value in [&every[..], b""] {
        assert_eq!(port.put("/v1/kv/a%2Fb", value).await.status, 204);
        let got = port.get("/v1/kv/a%2Fb").await;
        assert_eq!((got.status.as_u16(), &got.body[..]), (200, value));
        assert_eq!(port.get("/v1/kv/612F62?encoding=hex").await.body, value);
    }
    assert_eq!(
        port.ask("DELETE", "/v1/kv/a%2Fb", &[], b"").await.status,
        204
    );
    port.get("/v1/kv/a%2Fb").await.is_problem(404, "not_found");
    assert_eq!(
        port.ask("DELETE", "/v1/kv/a%2Fb", &[], b"").await.status,
        204,
        "nothing to delete"
    );
}

#[tokio::test]
async fn values_of_strangers_cannot_run_in_a_browser() {
    let port = Port::open();
    port.put("/v1/kv/page", b"<script>").await;
    let got = port.get("/v1/kv/page").await;
    assert_eq!(got.header("content-type"), "application/octet-stream");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert_eq!(got.header("content-disposition"), "attachment");
    assert!(got.header("content-security-policy").contains("sandbox"));
    assert_eq!(got.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn queries_reach_the_ring() {
    let port = Port::open();
    assert_eq!(port.put("/v1/kv/k?ttl=1h&copies=5", b"x").await.status, 204);
    let options = PutOptions {
        ttl: Micros::from_secs(3_600),
        copies: 5,
        expected: None,
    };
    assert_eq!(port.fake.inner().options, Some(options));
    assert_eq!(port.put("/v1/kv/k?ttl=60", b"x").await.status, 204);
    assert_eq!(
        port.fake.inner().options.map(|options| options.ttl),
        Some(Micros::from_secs(60))
    );
    assert_eq!(port.get("/v1/kv/k?quorum=true").await.status, 200);
    assert!(port.fake.inner().quorum);
}

#[tokio::test]
async fn versions_guard_writes_and_spare_reads() {
    let port = Port::open();
    let made = port
        .ask("PUT", "/v1/kv/k", &[("if-none-match", "*")], b"one")
        .await;
    assert_eq!(made.status, 204);
    let first = made.header("etag").to_owned();
    port.ask("PUT", "/v1/kv/k", &[("if-none-match", "*")], b"x")
        .await
        .is_problem(412, "conflict");
    let unchanged = port
        .ask("GET", "/v1/kv/k", &[("if-none-match", &first)], b"")
        .await;
    assert_eq!(
        (unchanged.status.as_u16(), unchanged.header("etag")),
        (304, first.as_str())
    );

    let second = port
        .ask("PUT", "/v1/kv/k", &[("if-match", &first)], b"two")
        .await;
    assert_eq!(second.status, 204);
    assert_ne!(second.header("etag"), first);
    port.ask("PUT", "/v1/kv/k", &[("if-match", &first)], b"x")
        .await
        .is_problem(412, "conflict");
    port.ask("PUT", "/v1/kv/k", &[("if-match", "\"else\"")], b"x")
        .await
        .is_problem(412, "conflict");
    port.ask("PUT", "/v1/kv/k", &[("if-match", "*")], b"x")
        .await
        .is_problem(400, "bad_condition");
    port.ask("DELETE", "/v1/kv/k", &[("if-match", &first)], b"")
        .await
        .is_problem(412, "conflict");
    assert_eq!(port.get("/v1/kv/k").await.body, "two");
    let tag = port.get("/v1/kv/k").await.header("etag").to_owned();
    assert_eq!(
        port.ask("DELETE", "/v1/kv/k", &[("if-match", &tag)], b"")
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn bad_keys_and_queries_are_refused() {
    let port = Port::open();
    let long = format!("/v1/kv/{}", "k".repeat(1_025));
    for (path, code) in [
        ("/v1/kv/", "bad_key"),
        ("/v1/kv/%zz", "bad_key"),
        ("/v1/kv/abc?encoding=hex", "bad_key"),
        (long.as_str(), "bad_key"),
        ("/v1/lookup/", "bad_key"),
        ("/v1/kv/k?ttl=soon", "bad_query"),
        ("/v1/kv/k?copies=256", "bad_query"),
        ("/v1/kv/k?encoding=base64", "bad_query"),
        ("/v1/kv/k?tll=1h", "bad_query"),
    ] {
        let method = if path.starts_with("/v1/lookup") {
            "GET"
        } else {
            "PUT"
        };
        port.ask(method, path, &[], b"x")
            .await
            .is_problem(400, code);
    }
    port.get("/v1/kv/k?quorum=perhaps")
        .await
        .is_problem(400, "bad_query");
    port.get("/v1/ring?scope=half")
        .await
        .is_problem(400, "bad_query");
    port.get("/v1/kv/a/b")
        .await
        .is_problem(404, "no_such_route");
    port.get("/v2").await.is_problem(404, "no_such_route");
    port.ask("POST", "/v1/kv/k", &[], b"")
        .await
        .is_problem(405, "method_not_allowed");
    assert!(
        port.fake.begun(0).await.is_empty(),
        "nothing reached the ring"
    );
}

#[tokio::test]
async fn a_value_ends_at_a_mebibyte() {
    let port = Port::open();
    let largest = vec![7; 1 << 20];
    assert_eq!(port.put("/v1/kv/k", &largest).await.status, 204);
    assert!(port.get("/v1/kv/k").await.body == largest);
    let declared = "PUT /v1/kv/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048577\r\n\r\n";
    let answer = port.raw(declared).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("too_large"),
        "{answer}"
    );
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536)).repeat(17);
    let chunked = format!(
        "PUT /v1/kv/k HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
    );
    let mut stream = TcpStream::connect(port.at).await.expect("it listens");
    // The server may close before it has read all of it.
    let _ = stream.write_all(chunked.as_bytes()).await;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 413");
}

#[tokio::test]
async fn each_failure_has_its_status_and_says_when_to_come_back() {
    let port = Port::open();
    for (failure, status, code, retry) in [
        (
            Failure::Unavailable {
                stored: 1,
                needed: 2,
            },
            503,
            "unavailable",
            "1",
        ),
        (Failure::TimedOut, 503, "timed_out", "1"),
        (Failure::NotMember, 503, "not_member", "1"),
        (Failure::Overloaded, 429, "overloaded", "1"),
        (Failure::Invalid, 400, "invalid", ""),
        (Failure::Full, 507, "disk_full", ""),
        (Failure::Storage, 500, "storage_failed", ""),
    ] {
        port.fake.inner().failure = Some(failure);
        for reply in [port.put("/v1/kv/k", b"x").await, port.get("/v1/kv/k").await] {
            reply.is_problem(status, code);
            assert_eq!(reply.header("retry-after"), retry, "{code}");
        }
    }
}

#[tokio::test]
async fn names_rebound_to_loopback_are_misdirected() {
    let port = Port::open();
    for host in ["evil.example", "evil.example:7480"] {
        port.ask("GET", "/v1/kv/k", &[("host", host)], b"")
            .await
            .is_problem(421, "unknown_host");
    }
    for host in ["localhost:7480", "[::1]:7480", "DHT.internal"] {
        port.ask("GET", "/v1/kv/k", &[("host", host)], b"")
            .await
            .is_problem(404, "not_found");
    }
    let none = port
        .raw("GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n")
        .await;
    assert!(none.starts_with("HTTP/1.1 400 "), "{none}");
    let old = port.raw("GET /livez HTTP/1.0\r\n\r\n").await;
    assert!(
        old.starts_with("HTTP/1.0 200 ") || old.starts_with("HTTP/1.1 200 "),
        "{old}"
    );
    let two = port
        .raw("GET /livez HTTP/1.1\r\nhost: localhost\r\nhost: evil\r\nconnection: close\r\n\r\n")
        .await;
    assert!(two.starts_with("HTTP/1.1 400 "), "{two}");
}

#[tokio::test]
async fn pages_of_other_origins_cannot_write() {
    let port = Port::open();
    let own = format!("http://{}", port.at);
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        for method in ["PUT", "DELETE", "POST"] {
            let reply = port
                .ask(method, "/v1/kv/k", &[("origin", origin)], b"x")
                .await;
            reply.is_problem(403, "foreign_origin");
        }
    }
    assert!(port.fake.begun(0).await.is_empty());
    assert_eq!(
        port.ask("PUT", "/v1/kv/k", &[("origin", &own)], b"x")
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn a_lookup_shows_its_way_when_asked() {
    let port = Port::open();
    let plain: LookupDocument = port.get("/v1/lookup/k").await.document();
    assert_eq!(plain.position, chord_core::id::Id::hash(b"k").to_string());
    assert_eq!(
        (plain.owner.id, plain.owner.addr.as_str()),
        (member(5).id.to_string(), "10.0.0.5:7400")
    );
    assert_eq!(plain.hops, None);
    let traced: LookupDocument = port
        .get("/v1/lookup/6b?encoding=hex&trace=true")
        .await
        .document();
    assert_eq!(traced.position, plain.position);
    let hops = traced.hops.expect("asked for");
    let told: Vec<_> = hops
        .iter()
        .map(|hop| (hop.why.as_str(), hop.rtt_us))
        .collect();
    assert_eq!(
        told,
        [
            ("table", Some(200)),
            ("closer", None),
            ("detour", Some(400)),
            ("owner", Some(500))
        ]
    );
}

fn view(me: u8, predecessor: Option<u8>, successors: &[u8]) -> View {
    View {
        me: member(me),
        predecessor: predecessor.map(member),
        successors: successors.iter().copied().map(member).collect(),
    }
}

#[tokio::test]
async fn a_walk_meets_everybody_and_names_the_silent() {
    let port = Port::open();
    port.fake.inner().views = vec![
        view(1, Some(9), &[3, 5]),
        view(3, Some(1), &[5, 9]),
        view(5, Some(3), &[9, 1]),
        // Nobody's successor, found as a predecessor only.
        view(9, Some(8), &[1, 3]),
    ];
    let ring: RingDocument = port.get("/v1/ring?scope=all").await.document();
    let ids: Vec<_> = ring.members.iter().map(|one| one.id.clone()).collect();
    assert_eq!(ids, [1, 3, 5, 9].map(|at| member(at).id.to_string()));
    let silent: Vec<_> = ring.unreachable.iter().map(|one| one.id.clone()).collect();
    assert_eq!(silent, [member(8).id.to_string()]);
    assert!(!ring.truncated);
    assert_eq!(ring.members[0].predecessor, Some(member(9).id.to_string()));
    assert_eq!(
        ring.members[0].successors,
        [3, 5].map(|at| member(at).id.to_string())
    );

    let own: RingDocument = port.get("/v1/ring?scope=self").await.document();
    assert_eq!(own.members, [ring.members[0].clone()]);
}

#[tokio::test]
async fn a_walk_stops_at_ten_thousand_members_and_says_so() {
    let port = Port::open();
    let peer = |n: u32| {
        let mut peer = member(1);
        peer.id.0[16..].copy_from_slice(&n.to_be_bytes());
        peer
    };
    let everybody: Vec<_> = (0..10_050).map(peer).collect();
    let own = View {
        me: everybody[0],
        predecessor: None,
        successors: everybody[1..].to_vec(),
    };
    let others = everybody[1..].iter().map(|&me| View {
        me,
        predecessor: None,
        successors: Vec::new(),
    });
    port.fake.inner().views = std::iter::once(own).chain(others).collect();
    let ring: RingDocument = port.get("/v1/ring").await.document();
    assert_eq!((ring.members.len(), ring.truncated), (10_000, true));
}

#[tokio::test]
async fn a_status_has_the_promised_fields() {
    let port = Port::open();
    port.fake.inner().status.unavailable_for = Some(Duration::from_secs(5));
    let status: StatusDocument = port.get("/v1/status").await.document();
    assert_eq!(status.id, member(1).id.to_string());
    assert_eq!((status.state.as_str(), status.members), ("joined", 1));
    assert_eq!(status.certificate.expires_days, 89);
    assert!(status.unavailable_since.expect("present").ends_with('Z'));
    port.fake.inner().status.unavailable_for = None;
    let fine: serde_json::Value = port.get("/v1/status").await.document();
    assert!(fine.get("unavailable_since").is_none(), "{fine}");
    // A newcomer whose writes never failed, because it takes none, is not fine.
    port.fake.inner().status.node.state = State::Joining;
    let joining: StatusDocument = port.get("/v1/status").await.document();
    assert_eq!(joining.state, "joining");
    assert!(joining.unavailable_since.is_some());
    let config: BTreeMap<String, OptionDocument> = port.get("/v1/config").await.document();
    assert_eq!(config["ring.ttl"].value, "\"1d\"");
}

#[tokio::test]
async fn readiness_follows_the_state_and_liveness_does_not() {
    let port = Port::open();
    assert_eq!(port.get("/readyz").await.status, 200);
    port.fake.inner().status.node.spans_unsettled = 1;
    port.get("/readyz").await.is_problem(503, "not_ready");
    port.fake.inner().status.node.spans_unsettled = 0;
    for state in [State::Joining, State::Lost, State::Leaving, State::Left] {
        port.fake.inner().status.node.state = state;
        port.get("/readyz").await.is_problem(503, "not_ready");
    }
    port.fake.inner().failure = Some(Failure::NotMember);
    port.get("/readyz").await.is_problem(503, "not_member");
    assert_eq!(port.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_node_that_the_others_refuse_is_not_ready_and_says_why() {
    let port = Port::open();
    let now = SystemTime::now();
    let reason = async || {
        let reply = port.get("/readyz").await;
        reply.problem(503, "not_ready").detail
    };
    port.fake.inner().status.certificate_expires = now - Duration::from_secs(3_600);
    let said = reason().await;
    assert!(
        said.contains("expired on 20") && said.contains("cert renew"),
        "{said}"
    );
    let status: StatusDocument = port.get("/v1/status").await.document();
    assert_eq!(status.certificate.expires_days, -1);
    port.fake.inner().status.certificate_expires = now + Duration::from_secs(3_600);
    assert_eq!(port.get("/readyz").await.status, 200);

    let mut other = Duplicate {
        refused: true,
        incarnation: 9,
        times: 2,
        seen: now,
    };
    port.fake.inner().status.duplicate = Some(other);
    let said = reason().await;
    assert!(
        said.contains("another process with the certificate"),
        "{said}"
    );
    port.get("/v1/ring").await.is_problem(503, "not_member");
    let status: serde_json::Value = port.get("/v1/status").await.document();
    let told = &status["duplicate"];
    assert_eq!(
        (&told["refused"], &told["incarnation"], &told["times"]),
        (&true.into(), &9.into(), &2.into())
    );
    let metrics = port.get("/metrics").await.body;
    let metrics = String::from_utf8(metrics.to_vec()).expect("text");
    assert!(metrics.contains("\ndht_superseded 1\n"), "{metrics}");
    other.refused = false;
    port.fake.inner().status.duplicate = Some(other);
    assert_eq!(port.get("/readyz").await.status, 200);
    assert_eq!(port.get("/v1/ring").await.status, 200);
}

#[tokio::test]
async fn who_is_no_member_shows_no_ring() {
    let port = Port::open();
    for (state, word) in [
        (State::Joining, "not joined yet"),
        (State::Lost, "cut off"),
        (State::Left, "left"),
    ] {
        port.fake.inner().status.node.state = state;
        let reply = port.get("/v1/ring").await;
        let problem = reply.problem(503, "not_member");
        assert!(problem.detail.contains(word), "{}", problem.detail);
        assert_eq!(
            port.get("/v1/ring?scope=self").await.status,
            200,
            "what it believes"
        );
    }
    port.fake.inner().status.node.state = State::Leaving;
    assert_eq!(port.get("/v1/ring").await.status, 200, "it is one still");
}

#[tokio::test]
async fn a_failed_read_is_not_spoken_of_as_a_write() {
    let port = Port::open();
    let failure = Failure::Unavailable {
        stored: 1,
        needed: 2,
    };
    port.fake.inner().failure = Some(failure);
    let detail = |reply: Reply| reply.problem(503, "unavailable").detail;
    for path in [
        "/v1/kv/k",
        "/v1/kv/k?quorum=true",
        "/v1/lookup/k",
        "/v1/ring",
        "/v1/status",
    ] {
        let said = detail(port.get(path).await);
        assert!(
            !said.contains("writ") && said.contains("ask again"),
            "{path}: {said}"
        );
    }
    for said in [
        detail(port.put("/v1/kv/k", b"x").await),
        detail(port.ask("DELETE", "/v1/kv/k", &[], b"").await),
    ] {
        assert!(said.contains("the write may survive"), "{said}");
    }
}

#[tokio::test]
async fn counters_come_in_the_form_that_was_asked_for() {
    let port = Port::open();
    port.get("/v1/kv/missing").await;
    let classic = port.get("/metrics").await;
    assert!(
        classic
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let text = String::from_utf8(classic.body.to_vec()).expect("text");
    for line in [
        "dht_http_requests_total{route=\"kv\",method=\"GET\",status=\"404\"} 1\n",
        "dht_node_calls_failed_total 3\n",
        "dht_members 1\n",
        "dht_state{state=\"joined\"} 1\n",
        "dht_state{state=\"lost\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("# EOF"));
    let open = port
        .ask(
            "GET",
            "/metrics",
            &[("accept", "application/openmetrics-text;version=1.0.0")],
            b"",
        )
        .await;
    assert!(
        open.header("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert!(open.body.ends_with(b"# EOF\n"));
}

/// Whoever writes an alarm copies the names from the README.
#[tokio::test]
async fn every_metric_that_the_readme_names_is_there() {
    let text = Port::open().get("/metrics").await.body;
    let text = String::from_utf8(text.to_vec()).expect("text");
    let readme = include_str!("../../README.md");
    let quoted = readme.split('`').skip(1).step_by(2);
    let named: Vec<&str> = quoted.filter(|word| word.starts_with("dht_")).collect();
    assert!(named.len() >= 18, "{named:?}");
    for name in named {
        let bare = name.split('{').next().expect("a name");
        let has = |line: &str| line.starts_with(name) && line[bare.len()..].starts_with(['{', ' ']);
        assert!(text.lines().any(has), "{name}");
    }
}

#[tokio::test]
async fn a_stop_completes_the_request_under_way() {
    let port = Port::open();
    port.fake.hold(b"k");
    let asking = port.get("/v1/kv/k");
    let stopping = async {
        port.fake.begun(1).await;
        port.stop.cancel();
        port.fake.release(b"k");
    };
    let (reply, ()) = tokio::join!(asking, stopping);
    reply.is_problem(404, "not_found");
}
