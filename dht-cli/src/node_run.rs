//! `node run`: one host in the foreground, from its configuration to its exit code.
//!
//! ```text
//! settings ─▶ identity ─▶ ports of the servers ─▶ node (QUIC) ─▶ servers ─▶ joined
//!   2           2            1: taken               1: taken
//!
//! SIGINT, SIGTERM ─▶ TCP, gRPC complete what they have ─▶ hand over, leave ─▶ HTTP ends ─▶ 0 or 4
//! again           ─▶ 130, at once
//! SIGHUP          ─▶ certificates read again
//! another process with the certificate, a damaged store (`rebuild`) ─▶ the next life of the node,
//!                                                                      behind the same servers
//! ```
//!
//! Everything that can refuse does so before the node dials anybody. HTTP stays up while
//! the data is handed over, so that probes see the node leave.
//!
//! **Invariant:** servers and signals run on threads of their own; nothing here runs on the
//! thread that drives the node.

mod certificates;
mod lives;
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
use tokio::time::{Instant, timeout};
use tracing::level_filters::LevelFilter;

use crate::config::{Loaded, Settings, StoreSetting};
use crate::exit::{Exit, Stop};
use lives::Lives;
use rebuild::{REJOIN, Rebuilds};
use refusals::{broken, refused, unusable};
use servers::{Bound, Servers};

/// Most threads for the servers: beyond that the node's own thread is the bound.
const THREADS_MAX: usize = 4;
/// Time for clients of the TCP and gRPC ports to get their last answers before the node leaves.
const FAREWELL: Duration = Duration::from_secs(1);
/// Time for the last answers of the HTTP port after the node has left.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

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
    let signals = Signals::new()?;
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
    let bound = Bound::bind(loaded, &identity)?;
    let grpc = bound.grpc_addr();
    let config = || node_config(settings, identity.clone(), grpc);
    let node = Node::start(config())
        .await
        .map_err(|error| refused(loaded, &error))?;
    tracing::info!("{}", greeting(&node, &bound));
    let lives = Lives::new(node);
    let servers = bound.serve(&lives, loaded);
    let certificates = certificates::Watch::new(identity.clone(), files, lives.clone());
    let ended = until_told(loaded, &lives, config, servers, certificates, signals).await;
    ended.map_err(in_the_log)
}

/// The lives of a host that has started, to its end.
async fn until_told(
    loaded: &Loaded,
    lives: &Lives,
    config: impl Fn() -> NodeConfig,
    mut servers: Servers,
    mut certificates: certificates::Watch,
    mut signals: Signals,
) -> Result<Exit, Stop> {
    certificates.alarm();
    let mut node = lives.node();
    let mut rebuilds = Rebuilds::default();
    let mut lonely = Box::pin(never_joins(node.clone(), None));
    loop {
        tokio::select! {
            stopped = node.stopped() => {
                let damaged = rebuilds.may_follow(&stopped, Instant::now());
                if stopped != Stopped::Superseded && !damaged {
                    return Err(broken(&stopped));
                }
                if damaged {
                    tracing::error!("{stopped}: this host begins again with an empty store");
                }
                let begun = lives.begin(&config).await;
                begun.map_err(|error| refused(loaded, &error))?;
                node = lives.node();
                if damaged {
                    lonely = Box::pin(never_joins(node.clone(), Some(stopped)));
                } else {
                    tracing::info!("begun a new life, above that of the other process");
                }
            }
            told = signals.next() => match told {
                Told::End => {
                    return leave(&node, servers, &mut signals, loaded.settings.store).await;
                }
                Told::Reload => certificates.reload().await,
            },
            () = certificates.changed() => certificates.reload().await,
            failed = servers.failed() => return Err(failed),
            stop = &mut lonely => return Err(stop),
        }
    }
}

/// Resolves when a life that follows a damage has not joined in time.
async fn never_joins(node: Node, damage: Option<Stopped>) -> Stop {
    if let Some(damage) = damage
        && timeout(REJOIN, node.joined()).await.is_err()
    {
        return Stop::failed(format!(
            "no other member can be reached to fill an empty store: {damage}"
        ));
    }
    drop(node);
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
        tracing::warn!(
            "{handed_over} records handed over, {remaining} not confirmed elsewhere: they are safe on \
             the disk of this host. Before you wipe it, start it again and let it leave"
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
