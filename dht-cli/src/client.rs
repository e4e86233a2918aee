//! The HTTP client behind `put`, `get`, `rm`, `lookup`, `ring` and `status`.
//!
//! ```text
//! command ── Ask ──▶ Client ── connect, TLS if https, one request ──▶ node's HTTP port
//!         ◀─ Reply ─        ◀─ status, headers, whole body ──────────
//! ```
//!
//! One connection for each request and one deadline over all of it: a command line runs
//! once, and what it must never do is hang. Redirects, cookies, proxies and pooling do not
//! exist here, because the node has none of them.
//!
//! Which exit code an answer means is decided here, in one place: see `Reply::refused`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_LENGTH, ETAG, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::exit::{Exit, Stop};

/// Most bytes of an answer: a walk of ten thousand members stays well below.
const ANSWER_MAX: usize = 64 << 20;

/// How to reach a node that speaks TLS.
pub(crate) struct Tls {
    /// Roots, revocation list and own certificate.
    pub(crate) config: Arc<rustls::ClientConfig>,
    /// The name in every node's certificate.
    pub(crate) name: ServerName<'static>,
}

/// One node's HTTP API.
pub(crate) struct Client {
    /// `host:port`, also the `Host` header.
    authority: String,
    tls: Option<Tls>,
    deadline: Duration,
}

/// What to ask.
pub(crate) struct Ask {
    /// The verb.
    pub(crate) method: Method,
    /// Path and query, escaped.
    pub(crate) path: String,
    /// Sent as it is.
    pub(crate) body: Bytes,
}

impl Ask {
    /// A question without a body.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: Bytes::new(),
        }
    }
}

/// What came back, complete.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: StatusCode,
    /// The record's version, if the answer carries one.
    pub(crate) version: Option<String>,
    /// The body.
    pub(crate) body: Bytes,
}

/// A node's URL, taken apart.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// `host:port`.
    pub(crate) authority: String,
    /// Whether it begins with `https`.
    pub(crate) secure: bool,
}

impl Target {
    /// Reads `http://host:port`, `https://host:port` or bare `host:port`.
    pub(crate) fn parse(url: &str) -> Result<Self, Stop> {
        let bad = |why: &str| {
            Stop::usage(format!(
                "--node {url}: {why}; write it like http://127.0.0.1:7480"
            ))
        };
        let whole = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let uri: Uri = whole.parse().map_err(|_| bad("not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("only http and https are known")),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("a path does not belong there"));
        }
        let authority = uri.authority().ok_or_else(|| bad("no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a user name does not belong there"));
        }
        let port = authority.port_u16().unwrap_or(7480);
        let host = authority.host();
        if host.is_empty() {
            return Err(bad("no host"));
        }
        Ok(Self {
            authority: format!("{host}:{port}"),
            secure,
        })
    }
}

impl Client {
    /// A client of the node at `target`. Connects with the first question.
    pub(crate) fn new(target: Target, tls: Option<Tls>, deadline: Duration) -> Self {
        Self {
            authority: target.authority,
            tls,
            deadline,
        }
    }

    /// Asks once, and waits for the whole answer.
    ///
    /// # Errors
    /// Exit code 4 when the node cannot be reached or does not answer before the deadline,
    /// 1 when what answers is no node of ours.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Reply, Stop> {
        match tokio::time::timeout(self.deadline, self.exchange(ask)).await {
            Ok(result) => result,
            Err(_) => Err(Stop::unavailable(format!(
                "no answer from {} within {:?}; is the node overloaded or the ring healing? \
                 Retrying is safe, --timeout allows more",
                self.authority, self.deadline
            ))),
        }
    }

    async fn exchange(&self, ask: Ask) -> Result<Reply, Stop> {
        let stream = TcpStream::connect(self.authority.as_str())
            .await
            .map_err(|error| {
                Stop::unavailable(format!(
                    "cannot reach a node at {}: {error}; is it running, with its HTTP API there? \
                 Name another with --node URL or DHT_NODE",
                    self.authority
                ))
            })?;
        // The whole request leaves in one or two writes; waiting to merge them only delays.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.converse(stream, ask).await;
        };
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let stream = connector
            .connect(tls.name.clone(), stream)
            .await
            .map_err(|error| {
                Stop::failed(format!(
                    "no secure connection to {}: {error}; check --ca, --cert, --key and --crl \
                 against the node's cluster, and whether that port speaks TLS (if not, http://)",
                    self.authority
                ))
            })?;
        self.converse(stream, ask).await
    }

    async fn converse<S>(&self, stream: S, ask: Ask) -> Result<Reply, Stop>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let lost = |error: hyper::Error| {
            let text = format!("the connection to {} broke: {error}", self.authority);
            if error.is_parse() {
                return Stop::failed(format!("{text}; is that port a node's HTTP API?"));
            }
            if error.is_incomplete_message() {
                // Its other ports end like this, and one with TLS.
                return Stop::unavailable(format!(
                    "{text}; retrying is safe, if that port is a node's HTTP API (https:// where \
                     it speaks TLS)"
                ));
            }
            Stop::unavailable(format!("{text}; retrying is safe"))
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(lost)?;
        let request = Request::builder()
            .method(ask.method)
            .uri(&ask.path)
            .header(HOST, &self.authority)
            .header(CONTENT_LENGTH, ask.body.len())
            .body(Full::new(ask.body))
            .map_err(|error| Stop::usage(format!("{}: {error}", ask.path)))?;
        let exchange = async {
            let (parts, body) = sender
                .send_request(request)
                .await
                .map_err(lost)?
                .into_parts();
            let body = Limited::new(body, ANSWER_MAX)
                .collect()
                .await
                .map_err(|error| {
                    Stop::unavailable(format!(
                        "the answer of {} broke off: {error}",
                        self.authority
                    ))
                })?;
            let version = parts
                .headers
                .get(ETAG)
                .and_then(|value| value.to_str().ok());
            Ok(Reply {
                status: parts.status,
                version: version.map(|text| text.trim_matches('"').to_owned()),
                body: body.to_bytes(),
            })
        };
        // The connection does the reading and writing; when the exchange is over, it may go.
        tokio::pin!(connection);
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            result = &mut exchange => result,
            ended = &mut connection => match ended {
                // All bytes are here: what is left of the exchange needs no connection.
                Ok(()) => exchange.await,
                Err(error) => Err(lost(error)),
            },
        }
    }
}

/// The part of a problem document that people are shown.
#[derive(serde::Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    code: Option<String>,
}

impl Reply {
    /// Whether what was asked was done.
    pub(crate) fn is_done(&self) -> bool {
        self.status.is_success()
    }

    /// The ending that a refusal means.
    pub(crate) fn refused(&self) -> Stop {
        let problem: Option<Problem> = serde_json::from_slice(&self.body).ok();
        let code = problem.as_ref().and_then(|problem| problem.code.as_deref());
        let exit = match self.status {
            // Any web server says 404; only a node says that there is no such key.
            StatusCode::NOT_FOUND if code == Some("not_found") => Exit::NotFound,
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Exit::Usage,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Exit::Unavailable,
            _ => Exit::Failed,
        };
        let mut message = problem
            .as_ref()
            .and_then(|problem| problem.detail.clone().or_else(|| problem.title.clone()))
            .unwrap_or_else(|| format!("the node answered {}", self.status));
        if let Some(code) = code {
            message.push_str(&format!(" ({code})"));
        }
        Stop { exit, message }
    }

    /// The JSON document in the body.
    pub(crate) fn document<T: serde::de::DeserializeOwned>(&self) -> Result<T, Stop> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Stop::failed(format!(
                "the node's answer is no document of this version: {error}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn urls_are_read_with_and_without_a_scheme() {
        let plain = |authority: &str| Target {
            authority: authority.into(),
            secure: false,
        };
        assert_eq!(
            Target::parse("http://127.0.0.1:7480"),
            Ok(plain("127.0.0.1:7480"))
        );
        assert_eq!(Target::parse("localhost:1/"), Ok(plain("localhost:1")));
        assert_eq!(Target::parse("[::1]:80"), Ok(plain("[::1]:80")));
        assert_eq!(Target::parse("a.example"), Ok(plain("a.example:7480")));
        let secure = Target::parse("https://a.example:9").expect("a URL");
        assert!(secure.secure);
        for bad in [
            "",
            "ftp://a",
            "http://a/v1",
            "http://a?x=1",
            "http://u@a",
            "http://:1",
            "a b",
        ] {
            assert_eq!(
                Target::parse(bad).expect_err(bad).exit,
                Exit::Usage,
                "{bad}"
            );
        }
    }

    /// A server that reads a request's head and then writes `answer`.
    async fn serve(answer: &'static [u8]) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let mut read = [0; 1_024];
            let _ = stream.read(&mut read).await;
            let _ = stream.write_all(answer).await;
        });
        Client::new(
            Target {
                authority,
                secure: false,
            },
            None,
            Duration::from_secs(20),
        )
    }

    #[tokio::test]
    async fn an_answer_arrives_with_status_version_and_body() {
        let client =
            serve(b"HTTP/1.1 200 OK\r\nETag: \"12-ab\"\r\nContent-Length: 3\r\n\r\n\0\xff\n").await;
        let reply = client.ask(Ask::get("/v1/kv/61")).await.expect("an answer");
        assert!(reply.is_done());
        assert_eq!(reply.version.as_deref(), Some("12-ab"));
        assert_eq!(&reply.body[..], b"\0\xff\n");
    }

    #[tokio::test]
    async fn an_answer_without_a_length_ends_with_the_connection() {
        let client = serve(b"HTTP/1.1 200 OK\r\n\r\nall of it").await;
        let reply = client.ask(Ask::get("/")).await.expect("an answer");
        assert_eq!(&reply.body[..], b"all of it");
    }

    #[tokio::test]
    async fn refusals_become_exit_codes_and_their_sentence() {
        for (status, exit) in [
            ("404 Not Found", Exit::Failed),
            ("400 Bad Request", Exit::Usage),
            ("413 Content Too Large", Exit::Usage),
            ("412 Precondition Failed", Exit::Failed),
            ("429 Too Many Requests", Exit::Unavailable),
            ("503 Service Unavailable", Exit::Unavailable),
            ("507 Insufficient Storage", Exit::Failed),
        ] {
            let body = "{\"code\":\"some-code\",\"detail\":\"why\"}";
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let answer = head + body;
            let client = serve(Box::leak(answer.into_boxed_str()).as_bytes()).await;
            let reply = client.ask(Ask::get("/")).await.expect("an answer");
            let stop = reply.refused();
            assert_eq!(
                (stop.exit, stop.message.as_str()),
                (exit, "why (some-code)"),
                "{status}"
            );
        }
    }

    #[tokio::test]
    async fn only_a_node_can_say_that_there_is_no_such_key() {
        let answer =
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 20\r\n\r\n{\"code\":\"not_found\"}";
        let reply = serve(answer)
            .await
            .ask(Ask::get("/"))
            .await
            .expect("an answer");
        assert_eq!(reply.refused().exit, Exit::NotFound);
    }

    #[tokio::test]
    async fn what_is_no_http_is_a_failure_and_a_broken_answer_is_unavailable() {
        let client = serve(b"SSH-2.0-OpenSSH\r\n\r\n").await;
        assert_eq!(
            client.ask(Ask::get("/")).await.expect_err("no HTTP").exit,
            Exit::Failed
        );
        let client = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nhalf").await;
        assert_eq!(
            client.ask(Ask::get("/")).await.expect_err("half").exit,
            Exit::Unavailable
        );
    }

    #[tokio::test]
    async fn nobody_there_is_unavailable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let target = Target {
            authority,
            secure: false,
        };
        let client = Client::new(target, None, Duration::from_secs(20));
        assert_eq!(
            client.ask(Ask::get("/")).await.expect_err("refused").exit,
            Exit::Unavailable
        );
    }
}
