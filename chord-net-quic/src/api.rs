//! What an application configures and gets back: plain data.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use chord_core::config::{Config, ConfigError};
use chord_core::event::{Hop, Status};
use chord_core::message::{Record, Version};
use chord_core::peer::Peer;
use chord_core::time::Micros;
use thiserror::Error;

use crate::identity::{Identity, IdentityError};
use crate::store::{Room, Work};

/// Most ring positions a host may hold: a cluster-wide bound, so that every receiver can
/// verify a sender's positions from its certified id at a bounded cost.
pub const POSITIONS_MAX: u16 = 256;

/// How a host is set up.
#[derive(Debug)]
pub struct NodeConfig {
    /// UDP address to bind; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What other members dial. `None`: `listen`, which must then be a concrete address.
    /// A port of 0 stands for the port that was bound.
    pub advertise: Option<SocketAddr>,
    /// Any members, as `host:port`, resolved again on each try. Empty founds a ring, unless
    /// `data_dir` remembers a peer.
    pub join: Vec<String>,
    /// Where incarnation, known peers, the reset key and, if they are kept there, the records
    /// survive a restart. `None`: nothing survives, and the incarnation is the wall time of
    /// the start in seconds.
    pub data_dir: Option<PathBuf>,
    /// Ring positions of this host, 1 to [`POSITIONS_MAX`].
    pub positions: u16,
    /// Certificate, key, trusted authorities and revocation lists.
    pub identity: Identity,
    /// The options of the protocol.
    pub ring: Config,
    /// Where records are kept.
    pub store: StoreKind,
    /// Where this host serves clients of the ring, told to every member: see
    /// [`Node::service_of`](crate::Node::service_of). An unspecified address stands for the
    /// one that members dial.
    pub service: Option<SocketAddr>,
}

/// Where records are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StoreKind {
    /// In memory: gone with the process.
    #[default]
    Memory,
    /// In `store.redb` in the data directory, which must be set: what is acknowledged is
    /// there after a crash.
    Redb,
}

/// How a record is to be stored. The default leaves everything to the owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PutOptions {
    /// Lifetime; zero is the configured default, above the maximum is the maximum.
    pub ttl: Micros,
    /// Copies, the owner's included; 0 is the configured default.
    pub copies: u8,
    /// Write only over this version; the default version expects no live record.
    pub expected: Option<Version>,
}

/// Where a position lives, and how that was found out.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// Who owns the position.
    pub owner: Peer,
    /// Every peer asked, in order; empty if answered from the own table.
    pub hops: Vec<Hop>,
}

/// How a host is, for people and probes.
#[derive(Clone, PartialEq, Debug)]
pub struct HostStatus {
    /// The protocol's own account, of the host's first position.
    pub node: Status,
    /// Records stored on this host, tombstones not counted.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Tombstones beside them.
    pub tombstones: u64,
    /// What the store has done.
    pub store: Work,
    /// Whether it has room for more.
    pub room: Room,
    /// When the certificate runs out.
    pub certificate_expires: SystemTime,
    /// For how long writes could not reach a majority; `None`: they can.
    pub unavailable_for: Option<Duration>,
    /// Another process that runs with this host's certificate, or lately ran.
    pub duplicate: Option<Duplicate>,
    /// Open connections to other hosts.
    pub connections: u32,
    /// Since the start of the host.
    pub uptime: Duration,
}

/// Another process with the certificate of this host: an operator's mistake, or a thief.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Duplicate {
    /// Others hold to that one now and refuse this host, until it begins a later life.
    pub refused: bool,
    /// The latest life it was known in; 0 if nobody has named it.
    pub incarnation: u32,
    /// How often this host has lately begun a new life because of it.
    pub times: u32,
    /// When it was last met, or others last held to it.
    pub seen: SystemTime,
}

/// Some of the records of a host.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Held {
    /// In the order of the ring.
    pub records: Vec<Record>,
    /// There are others.
    pub more: bool,
}

/// How a leave ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shutdown {
    /// Records confirmed elsewhere.
    pub handed_over: u64,
    /// Records nobody took.
    pub remaining: u64,
}

/// Why a host is not running any more.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Stopped {
    /// It was asked to leave, and has left.
    #[error("the node has left the ring")]
    Left,
    /// It was stopped at once, or every handle was dropped.
    #[error("the node was stopped")]
    Killed,
    /// Other members take another process with the same certificate for a later life of this
    /// node, and refuse it. Started again from the same data directory it lives above that
    /// one; see [`HostStatus::duplicate`].
    #[error(
        "another process with the certificate of this node started later, and the others refuse \
         this one: stop that process, or revoke the certificate if it was stolen, and start \
         again"
    )]
    Superseded,
    /// A task panicked: an internal error. The process should end (exit code 70).
    #[error("internal error: a task of the node panicked")]
    Panicked,
    /// The store failed for good: nothing was acknowledged after that.
    #[error("the store failed: {0}")]
    Store(String),
    /// What the store holds is damaged: nothing was acknowledged after that. The damaged
    /// file was moved aside, and the next start begins with an empty store, which the other
    /// holders fill.
    #[error(
        "the store is damaged and was moved aside; start again to fill it from other nodes: {why}"
    )]
    Damaged {
        /// What is wrong with it, and where it is now.
        why: String,
        /// No other member is known: nobody can fill an empty store.
        alone: bool,
    },
    /// The socket failed for good.
    #[error("the network socket failed: {0}")]
    Socket(String),
}

/// Why a host did not start. Nothing is left running.
#[derive(Debug, Error)]
pub enum StartError {
    /// An option of the protocol is out of bounds.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The number of positions is out of bounds.
    #[error("{0} ring positions: choose 1 to {POSITIONS_MAX}")]
    Positions(u16),
    /// `listen` is a wildcard and no `advertise` says what others should dial.
    #[error("listening on {0}, which nobody can dial: say what others should dial (advertise)")]
    Advertise(SocketAddr),
    /// The address could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Records are to be kept on disk, and nobody said where.
    #[error("a store on disk needs a data directory")]
    NoDataDir,
    /// Another process uses the data directory.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The data directory was written by a newer version.
    #[error("{} was written by a newer version (schema {found}, this one knows {known}, {writer})", .path.display())]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema known here.
        known: u32,
        /// The version that wrote it.
        writer: String,
    },
    /// The data directory belongs to another node or cluster.
    #[error("{} belongs to {found}, but the certificate says {expected}", .path.display())]
    Foreign {
        /// The file that says so.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who we are.
        expected: String,
    },
    /// The store could not be opened; what it holds is as it was.
    #[error("{}: the store does not open: {why}; check the disk, then start again", .path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The data directory cannot be used as it is: whoever set it up must mend it.
    #[error("{}: {source}; {remedy}", .path.display())]
    DataDir {
        /// The directory, or what of it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
        /// What to do.
        remedy: String,
    },
    /// What the host remembers of itself is damaged.
    #[error(
        "{path} is damaged ({why}). It says which start of this node was the last, which members \
         it knew, and what its records are worth. Without it no record is lost, but they count as \
         incomplete until other members have confirmed them, and with nobody to join the node \
         would found a ring of its own: name members to join, run `mv {path} {path}.damaged`, and \
         start again",
        path = .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why it cannot be understood.
        why: String,
    },
    /// A file in the data directory could not be read or written.
    #[error("{}: {source}; check the disk and the room on it, then start again", .path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate is no node's, or the reset key cannot be used.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// A driver thread could not be started, or has ended.
    #[error("cannot start a driver thread: {0}")]
    Thread(std::io::Error),
}
