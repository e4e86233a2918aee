//! The options of a host as values of the types that use them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use chord_core::config::Config;

/// Everything a host is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The node itself.
    pub node: NodeSettings,
    /// Certificates.
    pub tls: TlsSettings,
    /// Servers for clients.
    pub api: ApiSettings,
    /// Where records are kept.
    pub store: StoreSetting,
    /// The options of the protocol.
    pub ring: Config,
}

/// `[node]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSettings {
    /// UDP address for other nodes; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What others dial; `None`: `listen`.
    pub advertise: Option<SocketAddr>,
    /// Any members as `host:port`; empty founds a ring.
    pub join: Vec<String>,
    /// For what survives a restart.
    pub data_dir: Option<PathBuf>,
    /// Ring positions of this host (`virtual`).
    pub positions: u16,
}

/// `[tls]`: PEM files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsSettings {
    /// Trusted authorities.
    pub ca: PathBuf,
    /// This node's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Revocation lists, one of each authority.
    pub crl: PathBuf,
    /// An expired revocation list refuses everybody.
    pub crl_strict: bool,
}

/// `[api]`: servers for clients; `None` is off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiSettings {
    /// The binary client protocol.
    pub tcp: Option<SocketAddr>,
    /// REST, metrics, health.
    pub http: Option<SocketAddr>,
    /// The Chord service.
    pub grpc: Option<SocketAddr>,
    /// Servers off loopback speak TLS; on loopback they are plain all the same.
    pub tls: bool,
    /// Plain text off loopback.
    pub insecure_plain_tcp: bool,
    /// Plain text off loopback.
    pub insecure_plain_http: bool,
    /// Plain text off loopback.
    pub insecure_plain_grpc: bool,
    /// Names a `Host` header may carry, beside `localhost` and addresses; lower case.
    pub http_names: Vec<String>,
    /// Connections at one time to each server.
    pub connections_max: u32,
}

/// `[store] kind`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreSetting {
    /// In memory: gone with the process.
    Memory,
    /// In a file in the data directory.
    Redb,
}

impl StoreSetting {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redb => "redb",
        }
    }
}

impl Default for Settings {
    /// The documented defaults. The paths of `[tls]` have none and are empty.
    fn default() -> Self {
        let loopback = |port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Self {
            node: NodeSettings {
                listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7400)),
                advertise: None,
                join: Vec::new(),
                data_dir: None,
                positions: 1,
            },
            tls: TlsSettings {
                ca: PathBuf::new(),
                cert: PathBuf::new(),
                key: PathBuf::new(),
                crl: PathBuf::new(),
                crl_strict: false,
            },
            api: ApiSettings {
                tcp: loopback(7401),
                http: loopback(7480),
                grpc: loopback(7490),
                tls: false,
                insecure_plain_tcp: false,
                insecure_plain_http: false,
                insecure_plain_grpc: false,
                http_names: Vec::new(),
                connections_max: 16_384,
            },
            store: StoreSetting::Redb,
            ring: Config::default(),
        }
    }
}
