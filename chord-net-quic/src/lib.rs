//! Drives [`chord_core`] on real hosts: QUIC with mutual TLS, certificates, stores.
//!
//! ```text
//! application ── Node ──▶ driver ── chord_core::Node ──▶ driver ── links ──▶ other hosts
//!                           └──────────── Store ◀───────────┘
//! ```
//!
//! A host has one UDP socket, one store and one or more ring positions, all on one thread
//! ([`threads`]). The loop that drives them is in `driver`; which connection a call goes over
//! is decided in `peers`, which knows neither sockets nor clocks; `endpoint` and `link` turn
//! packets into frames and back. Who may talk to whom is the business of [`identity`].
//!
//! # Embedding a node
//!
//! Two nodes of one ring in one process; real ones differ in that each loads its certificate
//! from files ([`identity::Identity::load`]) and names a member in `join`.
//!
//! ```
//! use bytes::Bytes;
//! use chord_core::config::Config;
//! use chord_core::message::Key;
//! use chord_net_quic::identity::{
//!     self, CertificateAuthority, IdChoice, Identity, Kind, LEAF_VALID, Order,
//! };
//! use chord_net_quic::{Node, NodeConfig, PutOptions, StoreKind};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = identity::now();
//! let mut authority = CertificateAuthority::in_memory("example", now)?;
//! let mut config = |name: &str, join: Vec<String>| -> Result<NodeConfig, identity::IdentityError> {
//!     let order =
//!         Order { name, kind: Kind::Node, valid: LEAF_VALID, id: IdChoice::Random, csr: None };
//!     let issued = authority.issue(&order, now)?;
//!     Ok(NodeConfig {
//!         listen: ([127, 0, 0, 1], 0).into(),
//!         advertise: None,
//!         join,
//!         data_dir: None,
//!         positions: 1,
//!         identity: Identity::in_memory(&authority, &issued, now)?,
//!         ring: Config::default(),
//!         store: StoreKind::Memory,
//!         service: None,
//!     })
//! };
//!
//! let first = Node::start(config("first", vec![])?).await?;
//! let second = Node::start(config("second", vec![first.addr().to_string()])?).await?;
//! first.joined().await?;
//! second.joined().await?;
//!
//! let key = Key::new(Bytes::from_static(b"greeting")).expect("1 to 1,024 bytes");
//! // A ring that has just grown may be unavailable for a moment; repeating a put is safe.
//! while first.put(key.clone(), Bytes::from_static(b"hello"), PutOptions::default()).await.is_err() {}
//! let record = loop {
//!     if let Ok(found) = second.get(key.clone(), false).await {
//!         break found.expect("it was acknowledged");
//!     }
//! };
//! assert_eq!(record.value, "hello");
//!
//! // Hands over what it holds, says goodbye, ends.
//! second.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod api;
mod ballast;
pub mod clock;
pub mod counters;
mod driver;
mod endpoint;
mod frames;
pub mod identity;
mod lines;
mod link;
pub mod node;
mod peers;
mod state;
pub mod store;
mod tasks;
pub mod threads;

pub use api::{
    Duplicate, Found, Held, HostStatus, NodeConfig, POSITIONS_MAX, PutOptions, Shutdown,
    StartError, Stopped, StoreKind,
};
pub use counters::Counters;
pub use node::Node;
pub use threads::DriverThreads;
