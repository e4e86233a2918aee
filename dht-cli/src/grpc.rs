//! The Chord service over gRPC, for existing clients and for generic ones such as `grpcurl`.
//!
//! ```text
//! client ── HTTP/2 ──▶ connection ──▶ call ──▶ service ── get, put ──▶ dht
//!                                       │       └ ring ── lookup, view ─▶ dht
//!                                       └────▶ reflection
//! client ◀─ message, status ── answer ◀─┘
//! ```
//!
//! [`proto`] is generated from `proto/chord.proto` and committed; a test compares. A call has
//! 10 s for its request, 30 s for its answer, or less if the client says so, and is cut off
//! after 60 s whatever it does; a connection has 64 of them at one time. Browsers cannot
//! reach this port: without TLS they speak HTTP/1, and the first 24 bytes give that away.
//!
//! Not yet: the two calls that change a ring from outside, SetPredecessor and
//! UpdateFingerTableEntry, answer UNIMPLEMENTED.
//!
//! **Invariant:** memory for requests and answers is bounded over all connections.

mod answer;
mod call;
mod connection;
mod memory;
mod ring;
mod service;
mod status;

/// Messages and server of the service, as `proto/chord.proto` says.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::wildcard_imports,
    reason = "generated"
)]
#[rustfmt::skip]
#[path = "grpc/generated.rs"]
pub mod proto;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::accept::Acceptor;
use crate::dht::Dht;
use crate::metrics::Metrics;
use crate::tcp::Limits;

/// Serves a port until `stop`; then completes what is under way, for at most 5 s.
///
/// # Errors
/// The port cannot be served at all.
pub async fn serve<D: Dht>(
    acceptor: Acceptor,
    dht: D,
    limits: Limits,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> io::Result<()> {
    let own: SocketAddr = acceptor.local_addr()?;
    let routes = call::Routes::new(service::Service::new(dht, limits, own), metrics);
    let routes = Arc::new(routes);
    let ending = stop.clone();
    acceptor
        .run(stop, move |stream, client| {
            connection::talk(stream, client, routes.clone(), ending.clone())
        })
        .await
}
