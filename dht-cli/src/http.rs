//! HTTP: records, the ring, health and counters for programs and people.
//!
//! ```text
//! client ── PUT /v1/kv/{key} ───▶ kv ─────▶ dht.put
//! client ── GET /v1/kv/{key} ───▶ kv ─────▶ dht.get
//! client ── GET /v1/lookup/{key}▶ ring ───▶ dht.lookup
//! client ── GET /v1/ring ───────▶ ring ───▶ dht.view, of everybody
//! client ── GET /v1/status … ───▶ host ───▶ dht.status
//! ```
//!
//! `guard` stands before all of them. A request has 10 s for its head and 10 s for its
//! body; a client takes 64 KiB of an answer within 10 s, or is gone.
//!
//! **Invariant:** memory for bodies is bounded over all connections.

mod guard;
mod host;
mod key;
mod kv;
mod problem;
mod ring;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::accept::{Acceptor, Client, Paced, Stream};
use crate::dht::Dht;
use crate::documents::OptionDocument;
use crate::metrics::Metrics;
use problem::Problem;

/// Time for the head of a request, from the end of the one before.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Time for what is under way when the server stops.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of bodies that are being received or stored, over all connections.
const BODIES_BYTES: usize = 64 << 20;
/// Walks of the ring at one time.
const WALKS_MAX: usize = 4;
/// Buffer of a connection: the largest head, and what idle TLS connections may cost.
const BUFFER: usize = 64 << 10;

/// What the server tells about its host beside what the ring knows.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The configuration, by name of option; without secrets.
    pub config: BTreeMap<String, OptionDocument>,
    /// Where records are kept.
    pub store: &'static str,
    /// Names that a `Host` may carry, beside `localhost` and addresses.
    pub names: Vec<String>,
}

/// What every route can reach.
#[derive(Debug)]
struct Shared<D>(Arc<Inner<D>>);

#[derive(Debug)]
struct Inner<D> {
    dht: D,
    metrics: Arc<Metrics>,
    config: BTreeMap<String, OptionDocument>,
    store: &'static str,
    names: Vec<String>,
    bodies: Arc<Semaphore>,
    walks: Semaphore,
}

impl<D> Clone for Shared<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D> std::ops::Deref for Shared<D> {
    type Target = Inner<D>;

    fn deref(&self) -> &Inner<D> {
        &self.0
    }
}

/// Serves a port until `stop`; then completes what is under way, for at most 5 s.
///
/// # Errors
/// The port cannot be served at all.
pub async fn serve<D: Dht>(
    acceptor: Acceptor,
    dht: D,
    about: About,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> io::Result<()> {
    let router = router(Shared(Arc::new(Inner {
        dht,
        metrics,
        config: about.config,
        store: about.store,
        names: about.names,
        bodies: Arc::new(Semaphore::new(BODIES_BYTES)),
        walks: Semaphore::new(WALKS_MAX),
    })));
    let ending = stop.clone();
    acceptor
        .run(stop, move |stream, client| {
            talk(stream, client, router.clone(), ending.clone())
        })
        .await
}

fn router<D: Dht>(shared: Shared<D>) -> Router {
    Router::new()
        .route(
            "/v1/kv/{key}",
            get(kv::get::<D>).put(kv::put::<D>).delete(kv::delete::<D>),
        )
        .route("/v1/kv/", any(kv::without_key))
        .route("/v1/lookup/{key}", get(ring::lookup::<D>))
        .route("/v1/lookup/", any(kv::without_key))
        .route("/v1/ring", get(ring::ring::<D>))
        .route("/v1/status", get(host::status::<D>))
        .route("/v1/config", get(host::config::<D>))
        .route("/metrics", get(host::metrics::<D>))
        .route("/livez", get(host::livez))
        .route("/readyz", get(host::readyz::<D>))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_way)
        .layer(from_fn_with_state(shared.clone(), guard::watch::<D>))
        .with_state(shared)
}

async fn nothing_here(uri: Uri) -> Problem {
    let detail = if uri.path().starts_with("/v1/kv/") || uri.path().starts_with("/v1/lookup/") {
        "a / within a key is written %2F"
    } else {
        "there are /v1/kv/{key}, /v1/lookup/{key}, /v1/ring, /v1/status, /v1/config, /metrics, /livez, /readyz"
    };
    Problem::new(StatusCode::NOT_FOUND, "no_such_route", detail)
}

async fn not_this_way() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "not with this method; see Allow",
    )
}

/// Serves one connection to its end.
async fn talk(stream: Stream, client: Client, router: Router, stop: CancellationToken) {
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(client.clone());
        routes.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(BUFFER)
        .half_close(true)
        .serve_connection(TokioIo::new(Paced::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    // How a client's connection ends is its own business: each request was counted.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(GRACE, connection).await;
        }
    }
}
