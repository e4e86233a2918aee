//! The node of the moment, for servers that outlive it.
//!
//! ```text
//! servers, signals ── Lives ──▶ node        the present life
//! node ── Stopped::Superseded ──▶ begin ──▶ the next one, in the same place
//! ```
//!
//! A node whose certificate another process uses too gives way to a later life of itself (see
//! [`Stopped::Superseded`](chord_net_quic::Stopped::Superseded)). To clients that is a moment
//! without a member: their connections stay, and what they ask meanwhile is not available.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use chord_core::event::{Failure, View};
use chord_core::id::Id;
use chord_core::message::{Key, Record, Version};
use chord_core::peer::Peer;
use chord_net_quic::{Counters, Found, Held, HostStatus, Node, NodeConfig, PutOptions, StartError};
use tokio::time::{Instant, sleep};

use crate::dht::Dht;

/// For how long the directory and the port of an ended life may still be held by its last
/// tasks.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried meanwhile.
const PACE: Duration = Duration::from_millis(50);

/// A handle of the node of the moment, to be cloned and shared.
#[derive(Clone, Debug)]
pub(super) struct Lives(Arc<RwLock<Node>>);

impl Lives {
    pub(super) fn new(first: Node) -> Self {
        Self(Arc::new(RwLock::new(first)))
    }

    /// The present life.
    pub(super) fn node(&self) -> Node {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Begins the next life, once the place of the ended one is free.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub(super) async fn begin(&self, config: impl Fn() -> NodeConfig) -> Result<(), StartError> {
        let patience = Instant::now() + PATIENCE;
        let next = loop {
            match Node::start(config()).await {
                Ok(next) => break next,
                Err(StartError::Locked(_) | StartError::Bind { .. })
                    if Instant::now() < patience =>
                {
                    sleep(PACE).await;
                }
                Err(error) => return Err(error),
            }
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl Dht for Lives {
    async fn put(&self, key: Key, value: Bytes, options: PutOptions) -> Result<Version, Failure> {
        self.node().put(key, value, options).await
    }

    async fn get(&self, key: Key, quorum: bool) -> Result<Option<Record>, Failure> {
        self.node().get(key, quorum).await
    }

    async fn remove(&self, key: Key, expected: Option<Version>) -> Result<Version, Failure> {
        self.node().remove(key, expected).await
    }

    async fn lookup(&self, target: Id) -> Result<Found, Failure> {
        self.node().lookup(target).await
    }

    async fn view(&self, of: Option<Peer>) -> Result<View, Failure> {
        self.node().view(of).await
    }

    async fn status(&self) -> Result<HostStatus, Failure> {
        self.node().status().await
    }

    fn counters(&self) -> Counters {
        self.node().counters()
    }

    async fn service_of(&self, member: Peer) -> Result<Option<SocketAddr>, Failure> {
        self.node().service_of(member).await
    }

    async fn held(&self, bytes: usize) -> Result<Held, Failure> {
        self.node().held(bytes).await
    }
}
