//! `node run`: one host in the foreground, from its configuration to its exit code.
//!
//! ```text
//! settings ─▶ identity ─▶ ports of the servers ─▶ node (QUIC) ─▶ servers ─▶ joined
//!   2           2            1: taken               1: taken
//!
//! SIGINT, SIGTERM ─▶ TCP, gRPC complete what they have ─▶ hand over, leave ─▶ HTTP ends ─▶ 0 or 4
//! again           ─▶ 130, at once
//! SIGHUP          ─▶ certificates read again
//! store damaged   ─▶ servers end, everything from the ports on begins again (`rebuild`)
//! ```
//!
//! Everything that can refuse does so before the node dials anybody. HTTP stays up while
//! the data is handed over, so that probes see the node leave.
//!
//! **Invariant:** servers and signals run on threads of their own; nothing here runs on the
//! thread that drives the node.

mod certificates;
mod rebuild;
mod refusals;
mod servers;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::Duration;

use chord_net_quic::identity::{self, Identity, IdentityError, IdentityFiles};
use chord_net_quic::{Node, NodeConfig, Shutdown, Stopped, StoreKind};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};
use tracing::level_filters::LevelFilter;

use crate::config::{Loaded, Settings, StoreSetting};
use crate::exit::{Exit, Stop};
use rebuild::{REJOIN, Rebuilds};
use refusals::{broken, refused, unusable};
use servers::{Bound, Servers};

/// Most threads for the servers: beyond that the node's own thread is the bound.
const THREADS_MAX: usize = 4;
/// Time for clients of the TCP and gRPC ports to get their last answers before the node leaves.
const FAREWELL: Duration = Duration::from_secs(1);
/// Time for the last answers of the HTTP port after the node has left.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// For ports and data directory of an ended life to be free again.
const RELEASE: Duration = Duration::from_secs(10);
/// Between two looks at them.
const AGAIN: Duration = Duration::from_millis(20);

/// Runs a host until a signal ends it.
///
/// # Errors
/// What kept it from starting, or ended it: a sentence and its exit code.
pub fn run(loaded: Loaded) -> Result<Exit, Stop> {
    log_to_stderr()?;
    for note in &loaded.notes {
        tracing::info!("{note}");
    }
    let threads =
        std::thread::available_parallelism().map_or(1, |count| count.get().min(THREADS_MAX));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("dht-servers")
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(format!("cannot start threads: {error}")))?;
    let ended = runtime.block_on(host(&loaded));
    // A second signal ends at once; otherwise nothing of worth runs any more.
    Runtime::shutdown_background(runtime);
    ended
}

/// The last words of a host that ran: a line of the log with its time, as all before, unless
/// the log is off and they would not be heard.
fn in_the_log(stop: Stop) -> Stop {
    if !tracing::enabled!(tracing::Level::ERROR) {
        return stop;
    }
    tracing::error!("{stop}");
    Stop {
        message: String::new(),
        ..stop
    }
}

/// Logs for people, on standard error. `DHT_LOG` is error, warn, info, debug, trace or off.
fn log_to_stderr() -> Result<(), Stop> {
    let level = match std::env::var("DHT_LOG") {
        Ok(level) => level.parse().map_err(|_| {
            Stop::usage(format!(
                "DHT_LOG={level}: choose off, error, warn, info, debug or trace"
            ))
        })?,
        Err(_) => LevelFilter::INFO,
    };
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let logger = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(!plain && io::stderr().is_terminal())
        .with_max_level(level)
        .finish();
    // Whoever installed a logger before wants it to stay.
    let _ = tracing::subscriber::set_global_default(logger);
    Ok(())
}

/// From the settings to the end of the host.
async fn host(loaded: &Loaded) -> Result<Exit, Stop> {
    let settings = &loaded.settings;
    let mut signals = Signals::new()?;
    let files = IdentityFiles {
        ca: settings.tls.ca.clone(),
        cert: settings.tls.cert.clone(),
        key: settings.tls.key.clone(),
        crl: settings.tls.crl.clone(),
        crl_strict: settings.tls.crl_strict,
    };
    let unusable = |error: IdentityError| unusable(loaded, &error);
    let identity = Identity::load(&files, identity::now()).map_err(unusable)?;
    identity.node_id().map_err(unusable)?;
    let (mut bound, mut node) = start(loaded, &identity).await?;
    let mut rebuilds = Rebuilds::default();
    let mut rejoin = None;
    loop {
        tracing::info!("{}", greeting(&node, &bound));
        let servers = bound.serve(&node, loaded);
        let certificates = certificates::Watch::new(identity.clone(), files.clone(), node.clone());
        let ended = until_told(
            &node,
            servers,
            certificates,
            &mut signals,
            settings.store,
            rejoin,
        );
        let stopped = match ended.await {
            Ended::Process(ended) => return ended.map_err(in_the_log),
            Ended::Node(stopped) => stopped,
        };
        if !rebuilds.may_follow(&stopped, Instant::now()) {
            return Err(in_the_log(broken(&stopped)));
        }
        tracing::error!("{stopped}: this host begins again with an empty store");
        drop(node);
        (bound, node) = start_again(loaded, &identity).await.map_err(in_the_log)?;
        rejoin = Some(stopped);
    }
}

/// Ports and node of one life.
async fn start(loaded: &Loaded, identity: &Identity) -> Result<(Bound, Node), Stop> {
    let bound = Bound::bind(loaded, identity)?;
    let config = node_config(&loaded.settings, identity.clone(), bound.grpc_addr());
    let node = Node::start(config).await;
    Ok((bound, node.map_err(|error| refused(loaded, &error))?))
}

/// The same after a life of this process: what that held is free in a moment.
async fn start_again(loaded: &Loaded, identity: &Identity) -> Result<(Bound, Node), Stop> {
    let begun = Instant::now();
    loop {
        match start(loaded, identity).await {
            Err(_) if begun.elapsed() < RELEASE => sleep(AGAIN).await,
            started => return started,
        }
    }
}

/// What ended.
enum Ended {
    /// All of it.
    Process(Result<Exit, Stop>),
    /// The node alone, by itself; its servers have stopped.
    Node(Stopped),
}

/// The life of a host that has started, to its end. One that follows a damage must find
/// another member in time.
async fn until_told(
    node: &Node,
    mut servers: Servers,
    mut certificates: certificates::Watch,
    signals: &mut Signals,
    store: StoreSetting,
    damage: Option<Stopped>,
) -> Ended {
    certificates.alarm();
    let mut lonely = std::pin::pin!(never_joins(node, damage));
    loop {
        tokio::select! {
            stopped = node.stopped() => {
                servers.stop_tcp_and_grpc();
                servers.stop_http();
                // Their last answers say that the node is gone.
                let _ = timeout(FAREWELL, servers.tcp_and_grpc_ended()).await;
                let _ = timeout(FAREWELL, servers.http_ended()).await;
                return Ended::Node(stopped);
            }
            told = signals.next() => match told {
                Told::End => return Ended::Process(leave(node, servers, signals, store).await),
                Told::Reload => certificates.reload().await,
            },
            () = certificates.changed() => certificates.reload().await,
            failed = servers.failed() => return Ended::Process(Err(failed)),
            stop = &mut lonely => return Ended::Process(Err(stop)),
        }
    }
}

/// Resolves when a life that follows a damage has not joined in time.
async fn never_joins(node: &Node, damage: Option<Stopped>) -> Stop {
    if let Some(damage) = damage
        && timeout(REJOIN, node.joined()).await.is_err()
    {
        return Stop::failed(format!(
            "no other member can be reached to fill an empty store: {damage}"
        ));
    }
    std::future::pending().await
}

fn node_config(settings: &Settings, identity: Identity, grpc: Option<SocketAddr>) -> NodeConfig {
    NodeConfig {
        listen: settings.node.listen,
        advertise: settings.node.advertise,
        join: settings.node.join.clone(),
        data_dir: settings.node.data_dir.clone(),
        positions: settings.node.positions,
        identity,
        ring: settings.ring.clone(),
        store: match settings.store {
            StoreSetting::Memory => StoreKind::Memory,
            StoreSetting::Redb => StoreKind::Redb,
        },
        service: grpc,
    }
}

/// One line that says who listens where.
fn greeting(node: &Node, bound: &Bound) -> String {
    let mut line = format!("{} listens on {} (QUIC)", node.id(), node.addr());
    for (name, address, tls) in bound.addresses() {
        let how = if tls { " (TLS)" } else { "" };
        line.push_str(&format!(", {name} on {address}{how}"));
    }
    line
}

/// Hands the data over and ends, or ends at once when a second signal comes.
async fn leave(
    node: &Node,
    servers: Servers,
    signals: &mut Signals,
    store: StoreSetting,
) -> Result<Exit, Stop> {
    tracing::info!("handing over; a second signal ends at once");
    let goodbye = async {
        servers.stop_tcp_and_grpc();
        // Whether the clients are done or not: the ring must not wait for them.
        let _ = timeout(FAREWELL, servers.tcp_and_grpc_ended()).await;
        let shutdown = node.shutdown().await;
        servers.stop_http();
        let _ = timeout(LAST_ANSWERS, servers.http_ended()).await;
        shutdown
    };
    tokio::select! {
        shutdown = goodbye => match node.stopped().await {
            Stopped::Left => report(shutdown, store),
            // It broke while it was leaving: what was handed over is not known.
            other => Err(broken(&other)),
        },
        () = signals.end() => {
            node.kill();
            Err(Stop { exit: Exit::Interrupted, message: "ended at once, without handing over".to_owned() })
        }
    }
}

fn report(shutdown: Shutdown, store: StoreSetting) -> Result<Exit, Stop> {
    let Shutdown {
        handed_over,
        remaining,
    } = shutdown;
    if remaining > 0 && store == StoreSetting::Redb {
        tracing::info!(
            "{handed_over} records handed over, {remaining} are safe on the disk of this host"
        );
        return Ok(Exit::Done);
    }
    if remaining > 0 {
        return Err(Stop::unavailable(format!(
            "{handed_over} records handed over, {remaining} not: no other member took them, and this \
             host kept them in memory only"
        )));
    }
    tracing::info!("{handed_over} records handed over, none left behind");
    Ok(Exit::Done)
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// Interrupt or terminate.
    End,
    /// Hang up: read the certificates again.
    Reload,
}

/// The signals a host knows.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, Stop> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Stop::failed(format!("cannot listen for signals: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::End,
            _ = self.terminate.recv() => Told::End,
            _ = self.hang_up.recv() => Told::Reload,
        }
    }

    async fn end(&mut self) {
        while self.next().await != Told::End {}
    }
}
