//! The servers of a host: bound before the node starts, ended one after the other.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use chord_net_quic::identity::Identity;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::Acceptor;
use crate::config::Loaded;
use crate::exit::Stop;
use crate::grpc;
use crate::http::{self, About};
use crate::metrics::{Metrics, Server};
use crate::tcp::{self, Limits};

use super::lives::Lives;
use super::refusals::listen_remedy;

/// Ports that are ours, before anything is served on them.
pub(super) struct Bound {
    tcp: Option<Acceptor>,
    http: Option<Acceptor>,
    grpc: Option<Acceptor>,
    metrics: Arc<Metrics>,
}

impl Bound {
    /// Binds every server that is on. Off loopback a port speaks TLS, unless the
    /// configuration insists on plain text; that it says one or the other was checked.
    pub(super) fn bind(loaded: &Loaded, identity: &Identity) -> Result<Self, Stop> {
        let api = &loaded.settings.api;
        let metrics = Arc::new(Metrics::new());
        let connections_max = usize::try_from(api.connections_max).unwrap_or(usize::MAX);
        let bind = |server: Server, address: Option<SocketAddr>, insecure: bool, alpn: &[&[u8]]| {
            let Some(address) = address else {
                return Ok(None);
            };
            let tls =
                needs_tls(address, insecure).then(|| Arc::new(identity.client_port_tls(alpn)));
            let acceptor = Acceptor::bind(server, address, tls, connections_max, metrics.clone());
            acceptor
                .map(Some)
                .map_err(|error| unbound(loaded, server, address, &error))
        };
        let tcp = bind(Server::Tcp, api.tcp, api.insecure_plain_tcp, &[])?;
        let http = bind(
            Server::Http,
            api.http,
            api.insecure_plain_http,
            &[b"http/1.1"],
        )?;
        let grpc = bind(Server::Grpc, api.grpc, api.insecure_plain_grpc, &[b"h2"])?;
        Ok(Self {
            tcp,
            http,
            grpc,
            metrics,
        })
    }

    /// Name, address and whether it speaks TLS, of each server that is on.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr, bool)> {
        let servers = [
            (Server::Tcp, &self.tcp),
            (Server::Http, &self.http),
            (Server::Grpc, &self.grpc),
        ];
        servers.into_iter().filter_map(|(server, acceptor)| {
            let acceptor = acceptor.as_ref()?;
            Some((
                server.name(),
                acceptor.local_addr().ok()?,
                acceptor.is_tls(),
            ))
        })
    }

    /// Where the Chord service will be.
    pub(super) fn grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc.as_ref()?.local_addr().ok()
    }

    /// Lets the servers answer.
    pub(super) fn serve(self, lives: &Lives, loaded: &Loaded) -> Servers {
        let (failed, failures) = unbounded_channel();
        let (tcp, http, grpc) = (Running::new(), Running::new(), Running::new());
        let ring = &loaded.settings.ring;
        let limits = Limits {
            ttl_max: ring.ttl_max,
            copies_max: ring.copies_max,
        };
        if let Some(acceptor) = self.grpc {
            let serving = grpc::serve(
                acceptor,
                lives.clone(),
                limits,
                self.metrics.clone(),
                grpc.stop.clone(),
            );
            grpc.spawn(Server::Grpc, serving, failed.clone());
        }
        if let Some(acceptor) = self.tcp {
            let serving = tcp::serve(
                acceptor,
                lives.clone(),
                limits,
                self.metrics.clone(),
                tcp.stop.clone(),
            );
            tcp.spawn(Server::Tcp, serving, failed.clone());
        }
        if let Some(acceptor) = self.http {
            let about = About {
                config: loaded.redacted(),
                store: loaded.settings.store.name(),
                names: loaded.settings.api.http_names.clone(),
            };
            let serving = http::serve(
                acceptor,
                lives.clone(),
                about,
                self.metrics,
                http.stop.clone(),
            );
            http.spawn(Server::Http, serving, failed.clone());
        }
        Servers {
            tcp,
            http,
            grpc,
            failures,
            _failed: failed,
        }
    }
}

/// Plain text stays on this host, unless the configuration says otherwise in so many words.
fn needs_tls(address: SocketAddr, insecure: bool) -> bool {
    !address.ip().is_loopback() && !insecure
}

/// Why there is no port for a server.
fn unbound(loaded: &Loaded, server: Server, address: SocketAddr, error: &io::Error) -> Stop {
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{address} is in use by another process; stop that, choose another address, or turn \
             the server off"
        ),
        _ => format!(
            "cannot listen on {address}: {error}{}",
            listen_remedy(error)
        ),
    };
    Stop::failed(loaded.error(&format!("api.{}", server.name()), what))
}

/// One server's tasks.
struct Running {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    fn spawn(
        &self,
        server: Server,
        serving: impl Future<Output = io::Result<()>> + Send + 'static,
        failed: UnboundedSender<Stop>,
    ) {
        self.tasks.spawn(async move {
            if let Err(error) = serving.await {
                let stop = Stop::failed(format!(
                    "the {} server cannot go on: {error}",
                    server.name()
                ));
                // Nobody listens only when the host is ending anyway.
                let _ = failed.send(stop);
            }
        });
    }

    async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Servers that answer.
pub(super) struct Servers {
    tcp: Running,
    http: Running,
    grpc: Running,
    failures: UnboundedReceiver<Stop>,
    /// Keeps the channel open when all servers are off.
    _failed: UnboundedSender<Stop>,
}

impl Servers {
    /// Resolves when a server cannot go on.
    pub(super) async fn failed(&mut self) -> Stop {
        let failure = self.failures.recv().await;
        failure.expect("one sender lives as long as the receiver")
    }

    /// The ports for records alone; HTTP also tells how the node leaves.
    pub(super) fn stop_tcp_and_grpc(&self) {
        self.tcp.stop.cancel();
        self.grpc.stop.cancel();
    }

    pub(super) fn stop_http(&self) {
        self.http.stop.cancel();
    }

    pub(super) async fn tcp_and_grpc_ended(&self) {
        self.tcp.ended().await;
        self.grpc.ended().await;
    }

    pub(super) async fn http_ended(&self) {
        self.http.ended().await;
    }
}
