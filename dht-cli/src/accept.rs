//! The way in, shared by every server for clients: a bound port, a bound on connections, TLS
//! where it is needed, and who the client is.
//!
//! ```text
//! client ── connect ──▶ acceptor ── too many? ──▶ closed, counted
//! client ◀─ TLS 1.3 ──▶ acceptor ── no handshake within 5 s? ──▶ closed, counted
//! client ◀─ protocol ─▶ the server's own task
//! ```
//!
//! On loopback the ports speak plain text: who can reach them may use them. Off loopback they
//! speak TLS with this node's certificate; the client's certificate says what it may do.
//!
//! **Invariant:** a connection never makes another one wait: each has a task of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chord_net_quic::identity::{Role, peer_identity};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::{Metrics, Server};

/// Time for a TLS handshake: a few round trips, even across the world.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Pause after the system had no file descriptor left for a connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// A bound port, before anything is served on it.
#[derive(Debug)]
pub struct Acceptor {
    server: Server,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    connections_max: usize,
    metrics: Arc<Metrics>,
}

impl Acceptor {
    /// Binds `address`. With `tls` every connection must begin with a handshake.
    ///
    /// # Errors
    /// The address is taken, or not one of this host.
    pub fn bind(
        server: Server,
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        connections_max: usize,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            server,
            listener,
            tls,
            connections_max,
            metrics,
        })
    }

    /// Where it listens; tells the port that was taken for port 0.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Whether clients must speak TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Accepts until `stop`, then waits for the connections to end: `serve` watches the same
    /// token and decides how soon.
    ///
    /// # Errors
    /// The port cannot be served at all. Single connections that fail are counted only.
    pub async fn run<F, Served>(self, stop: CancellationToken, serve: F) -> io::Result<()>
    where
        F: Fn(Stream, Client) -> Served + Clone + Send + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let tls = self.tls.map(TlsAcceptor::from);
        let permits = Arc::new(Semaphore::new(
            self.connections_max.min(Semaphore::MAX_PERMITS),
        ));
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let Ok((stream, _)) = accepted else {
                // A connection that died in the queue, or no descriptor left: either passes.
                self.metrics.refused(self.server, "accept");
                sleep(EXHAUSTED).await;
                continue;
            };
            let Ok(permit) = permits.clone().try_acquire_owned() else {
                self.metrics.refused(self.server, "too_many");
                continue;
            };
            let open = self.metrics.connected(self.server);
            let (tls, metrics, serve) = (tls.clone(), self.metrics.clone(), serve.clone());
            let server = self.server;
            connections.spawn(async move {
                let _held = (permit, open);
                match greet(stream, tls).await {
                    Ok((stream, client)) => serve(stream, client).await,
                    Err(cause) => metrics.refused(server, cause),
                }
            });
        }
        drop(listener);
        connections.close();
        connections.wait().await;
        Ok(())
    }
}

/// What precedes the protocol: no small packets held back, and the TLS handshake.
async fn greet(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
) -> Result<(Stream, Client), &'static str> {
    // A socket that refuses this option is dead already and fails at the first read.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return Ok((
            Stream::Plain(stream),
            Client {
                role: None,
                is_plain: true,
            },
        ));
    };
    let stream = match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::info!(%error, "a client's TLS handshake failed");
            return Err("tls");
        }
        Err(_) => return Err("tls_slow"),
    };
    let chain = stream.get_ref().1.peer_certificates();
    let role = match chain.map(peer_identity) {
        Some(Ok(certified)) => Some(certified.role),
        // The verifier let it pass, so this cannot be; whoever it is gets nobody's rights.
        Some(Err(_)) | None => None,
    };
    Ok((
        Stream::Tls(Box::new(stream)),
        Client {
            role,
            is_plain: false,
        },
    ))
}

/// What a request needs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Access {
    /// Nothing: health checks.
    Anyone,
    /// A client's certificate: reads, writes, views of the ring.
    Client,
    /// An administrator's certificate: configuration.
    Admin,
}

/// Who is at the other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// From its verified certificate; `None` without one.
    pub role: Option<Role>,
    /// Came over plain text: it reached the port, so it may use all of it.
    pub is_plain: bool,
}

impl Client {
    /// Whether it may do what needs `access`.
    #[must_use]
    pub fn may(&self, access: Access) -> bool {
        let has = match &self.role {
            _ if self.is_plain => Access::Admin,
            Some(Role::Admin { .. }) => Access::Admin,
            Some(Role::Client { .. }) => Access::Client,
            Some(Role::Node { .. }) | None => Access::Anyone,
        };
        has >= access
    }
}

/// A client's connection, plain or not.
#[derive(Debug)]
pub enum Stream {
    /// On loopback, or where the configuration insists.
    Plain(TcpStream),
    /// Boxed: its state is a hundred times that of a socket.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Bytes a client must take within [`PACE_TIME`] while we wait for it.
const PACE_BYTES: usize = 64 * 1024;
/// See [`PACE_BYTES`].
const PACE_TIME: Duration = Duration::from_secs(10);

/// A stream whose writes fail once the client has not taken 64 KiB within 10 s of waiting:
/// neither one that does not read nor one that reads a byte now and then can hold us.
#[derive(Debug)]
pub struct Paced<S> {
    stream: S,
    /// Running since the first write that had to wait.
    waiting: Option<Pin<Box<Sleep>>>,
    taken: usize,
}

impl<S> Paced<S> {
    /// Watches the writes of `stream`.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            waiting: None,
            taken: 0,
        }
    }

    /// Counts what a write moved, or the time it waits.
    fn judge(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(length)) => {
                self.taken += length;
                if self.taken >= PACE_BYTES {
                    self.taken = 0;
                    self.waiting = None;
                }
                Poll::Ready(Ok(length))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if self.waiting.is_none() {
                    self.taken = 0;
                }
                let waiting = self
                    .waiting
                    .get_or_insert_with(|| Box::pin(sleep(PACE_TIME)));
                ready!(waiting.as_mut().poll(cx));
                let error = io::Error::new(io::ErrorKind::TimedOut, "the client does not read");
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(result, Poll::Ready(Ok(()))) {
            // All of it is on its way: the next answer has its own time.
            self.waiting = None;
        }
        self.judge(cx, result.map_ok(|()| 0)).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, result.map_ok(|()| 0)).map_ok(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    #[test]
    fn plain_clients_may_everything_and_certificates_say_what() {
        let plain = Client {
            role: None,
            is_plain: true,
        };
        assert!(plain.may(Access::Admin));
        let nobody = Client {
            role: None,
            is_plain: false,
        };
        assert!(nobody.may(Access::Anyone) && !nobody.may(Access::Client));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stopped_fails_the_write_after_ten_seconds() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let mut paced = Paced::new(ours);
        let begun = Instant::now();
        let error = paced.write_all(&[0; 17]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), PACE_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_does_not_keep_a_write_alive() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut paced = Paced::new(ours);
        let reader = tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                sleep(Duration::from_secs(3)).await;
            }
        });
        let error = paced.write_all(&[0; 1_000]).await.expect_err("too slow");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(paced);
        reader.await.expect("the reader ends");
    }
}
