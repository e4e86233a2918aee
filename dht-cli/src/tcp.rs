//! The TCP client protocol: existing clients speak it, every byte matters.
//!
//! ```text
//! client ── PUT(key, value) ──▶ connection ── put ──▶ dht          no answer
//! client ── GET(key) ─────────▶ connection ── get ──▶ dht
//! client ◀─ SUCCESS | FAILURE ─ connection ◀─ record ─ dht         in the order of the GETs
//! ```
//!
//! [`codec`] knows the bytes, `pipeline` the order, `request` what is asked of the ring,
//! `connection` the sockets and clocks. Neither of the first two waits for anything, so every
//! segmentation and every order of completions can be tried in a test.

pub mod codec;
mod connection;
mod pipeline;
mod request;

use std::io;
use std::sync::Arc;

use chord_core::time::Micros;
use tokio_util::sync::CancellationToken;

use crate::accept::{Acceptor, Access};
use crate::dht::Dht;
use crate::metrics::Metrics;

/// What a client of this port may ask for at most; above it, it gets this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest lifetime.
    pub ttl_max: Micros,
    /// Most copies.
    pub copies_max: u8,
}

/// Serves a port until `stop`; then takes no more requests, completes those it has, and
/// returns when the last connection is closed.
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
    let ending = stop.clone();
    acceptor
        .run(stop, move |stream, client| {
            let (dht, metrics, ending) = (dht.clone(), metrics.clone(), ending.clone());
            async move {
                if !client.may(Access::Client) {
                    metrics.tcp_closed("no_client_certificate");
                    return;
                }
                connection::converse(stream, dht, limits, &metrics, ending).await;
            }
        })
        .await
}
