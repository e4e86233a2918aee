//! One connection: HTTP/2 within its bounds.
//!
//! HTTP/2 begins with 24 fixed bytes. They are read here, so that a client that says nothing
//! or speaks something else is gone before any of the protocol runs for it.

use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, join, split};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::call::Routes;
use crate::accept::{Client, Paced, Stream};

/// What a client of HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Time for that.
const PREFACE_TIME: Duration = Duration::from_secs(10);
/// How often a client is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Time for its answer.
const PING_TIME: Duration = Duration::from_secs(10);
/// Time for a call, from its head to the last byte of its answer.
const CALL_TIME: Duration = Duration::from_secs(60);
/// Time for what is under way when the server stops.
const GRACE: Duration = Duration::from_secs(5);
/// Calls of one connection at one time.
const CALLS_MAX: u32 = 64;
/// Bytes a client may send before they are taken, in one call and in all of a connection.
const WINDOW: u32 = 256 << 10;
/// Bytes of an answer that wait for the client to take them.
const SEND_BUFFER: usize = 64 << 10;
/// Longest head of a call.
const HEAD_MAX: u32 = 16 << 10;

/// Serves one connection to its end.
pub(super) async fn talk(
    stream: Stream,
    client: Client,
    routes: Arc<Routes>,
    stop: CancellationToken,
) {
    let (mut reads, writes) = split(Paced::new(stream));
    let mut said = [0; PREFACE.len()];
    let spoke = tokio::select! {
        spoke = timeout(PREFACE_TIME, reads.read_exact(&mut said)) => spoke,
        () = stop.cancelled() => return,
    };
    match spoke {
        Ok(Ok(_)) if said == *PREFACE => {}
        Ok(Ok(_)) => return routes.refused("not_http2"),
        Ok(Err(_)) => return routes.refused("gone"),
        Err(_) => return routes.refused("silent"),
    }
    let stream = join(PREFACE.chain(reads), writes);
    let service = service_fn(move |request| {
        let (routes, client) = (routes.clone(), client.clone());
        async move { routes.answer(client, request).await }
    });
    let connection = http2::Builder::new(Calls)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIME)
        .max_concurrent_streams(CALLS_MAX)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a client's connection ends is its own business: each call was counted.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(GRACE, connection).await;
        }
    }
}

/// Runs calls, each for its time: what a client does not take is dropped with it.
#[derive(Clone, Copy, Debug)]
struct Calls;

impl<F> Executor<F> for Calls
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, call: F) {
        tokio::spawn(timeout(CALL_TIME, call));
    }
}
