//! One call: which, whose, how long, and who answers.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chord_core::message::{KEY_MAX, VALUE_MAX};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;

use super::answer::{Answer, Counted};
use super::memory::{Metered, Share};
use super::proto::chord_server::ChordServer;
use super::service;
use crate::accept::{Access, Client};
use crate::dht::Dht;
use crate::metrics::{Metrics, Server};

/// Longest message of a client: a record and what frames it.
const MESSAGE_MAX: usize = VALUE_MAX + KEY_MAX + 64;
/// Longest request: one message and its prefix.
const REQUEST_MAX: usize = MESSAGE_MAX + 5;
/// Bytes of requests and answers under way, over all connections.
const MEMORY: usize = 64 << 20;
/// Time for an answer to begin, if the client has more.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// The descriptors of the service, for reflection.
const DESCRIPTORS: &[u8] = include_bytes!("chord.descriptors");

type Asked = Request<Metered<Incoming>>;
type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Handler = Box<dyn Fn(Asked) -> Answering + Send + Sync>;

/// Who answers what.
pub(super) struct Routes {
    services: Vec<(&'static str, Handler)>,
    metrics: Arc<Metrics>,
    memory: Arc<Semaphore>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

impl Routes {
    /// The Chord service and both versions of reflection.
    pub(super) fn new<D: Dht>(service: service::Service<D>, metrics: Arc<Metrics>) -> Self {
        let chord = ChordServer::new(service)
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(usize::MAX);
        let described = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
        };
        let sound = "the descriptors are tested";
        let services = vec![
            handler(chord),
            handler(described().build_v1().expect(sound)),
            handler(described().build_v1alpha().expect(sound)),
        ];
        Self {
            services,
            metrics,
            memory: Arc::new(Semaphore::new(MEMORY)),
        }
    }

    /// A connection ended before its first call.
    pub(super) fn refused(&self, cause: &'static str) {
        self.metrics.refused(Server::Grpc, cause);
    }

    /// Answers one call.
    pub(super) async fn answer(
        &self,
        client: Client,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        let share = Share::of(self.memory.clone());
        let (method, access) = method(request.uri().path());
        let counted = Counted::new(self.metrics.clone(), method, share.clone());
        let response = if speaks_grpc(&request) {
            match judge(&client, request.headers(), access) {
                Ok(time) => self.handle(request, share, time).await,
                Err(refused) => refused.into_http(),
            }
        } else {
            let mut response = Status::invalid_argument("this port speaks gRPC").into_http();
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            response
        };
        Ok(counted.answer(response))
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        share: Share,
        time: Duration,
    ) -> Response<Body> {
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        let served = self.services.iter().find(|(name, _)| *name == service);
        let Some((_, handler)) = served else {
            let unknown = "there are chord.Chord and reflection; see proto/chord.proto";
            return Status::unimplemented(unknown).into_http();
        };
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(share.clone());
        let body = Metered::new(body, share, REQUEST_MAX);
        match timeout(time, handler(Request::from_parts(parts, body))).await {
            Ok(response) => response,
            Err(_) => Status::deadline_exceeded("no answer in time; repeating the call is safe")
                .into_http(),
        }
    }
}

/// A generated service under its name, whatever its type.
fn handler<S>(service: S) -> (&'static str, Handler)
where
    S: Service<Asked, Response = Response<Body>, Error = Infallible>,
    S: NamedService + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let handler = move |request| {
        // Generated services are always ready.
        let answering = service.clone().call(request);
        let answering = async move {
            match answering.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        };
        Box::pin(answering) as Answering
    };
    (S::NAME, Box::new(handler))
}

/// What is behind a path: its name in the counters, and who may use it. A client may invent
/// any path, the counters keep none of them.
fn method(path: &str) -> (&'static str, Access) {
    let Some(name) = path.strip_prefix("/chord.Chord/") else {
        let reflects = path.starts_with("/grpc.reflection.");
        return (
            if reflects { "reflection" } else { "other" },
            Access::Client,
        );
    };
    match name {
        "FindSuccessor" => ("find_successor", Access::Client),
        "FindPredecessor" => ("find_predecessor", Access::Client),
        "GetPredecessor" => ("get_predecessor", Access::Client),
        "SetPredecessor" => ("set_predecessor", Access::Admin),
        "GetDirectSuccessor" => ("get_direct_successor", Access::Client),
        "UpdateFingerTableEntry" => ("update_finger_table_entry", Access::Admin),
        "FindClosestPrecedingFinger" => ("find_closest_preceding_finger", Access::Client),
        "GetNodeSummary" => ("get_node_summary", Access::Client),
        "GetKvStoreSize" => ("get_kv_store_size", Access::Client),
        "GetKvStoreData" => ("get_kv_store_data", Access::Client),
        "Get" => ("get", Access::Client),
        "Put" => ("put", Access::Client),
        _ => ("other", Access::Client),
    }
}

/// Whether a request is a call at all, as gRPC over HTTP/2 says.
fn speaks_grpc(request: &Request<Incoming>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    let grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    grpc && request.method() == Method::POST
}

/// Whether a call may be made; then its time.
fn judge(client: &Client, headers: &HeaderMap, access: Access) -> Result<Duration, Status> {
    if client.may(access) {
        return time(headers);
    }
    let refused = match access {
        Access::Admin => "this needs an administrator's certificate of the cluster",
        Access::Client | Access::Anyone => "this needs a client's certificate of the cluster",
    };
    Err(match client.role {
        None => Status::unauthenticated(refused),
        Some(_) => Status::permission_denied(refused),
    })
}

/// The time a client gives us, or ours if that is less.
fn time(headers: &HeaderMap) -> Result<Duration, Status> {
    let Some(header) = headers.get("grpc-timeout") else {
        return Ok(ANSWER_TIME);
    };
    let parsed = header.to_str().ok().and_then(parse_timeout);
    parsed
        .map(|time| time.min(ANSWER_TIME))
        .ok_or_else(|| Status::invalid_argument("grpc-timeout is at most 8 digits and a unit"))
}

/// At most 8 digits and a unit, as gRPC over HTTP/2 says.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    #[test]
    fn the_client_may_shorten_the_time_but_not_lengthen_it() {
        let given = |text: &'static str| {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static("grpc-timeout"),
                HeaderValue::from_static(text),
            )]);
            time(&headers).ok()
        };
        assert_eq!(time(&HeaderMap::new()).ok(), Some(ANSWER_TIME));
        for (text, wanted) in [
            ("5S", Duration::from_secs(5)),
            ("00000250m", Duration::from_millis(250)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
            ("1M", ANSWER_TIME),
            ("99999999H", ANSWER_TIME),
        ] {
            assert_eq!(given(text), Some(wanted), "{text}");
        }
        for text in ["", "S", "5", "5s", "-1S", "+1S", "1.5S", "123456789S"] {
            assert_eq!(given(text), None, "{text}");
        }
    }
}
