//! Real hosts on loopback, with real certificates from an authority in memory.
#![allow(dead_code)] // Each test file uses a part of it.

pub(crate) mod half_open;
pub(crate) mod log;
pub(crate) mod stranger;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use chord_core::config::Config;
use chord_core::message::Key;
use chord_core::time::Micros;
use chord_net_quic::identity::{
    self, CertificateAuthority, IdChoice, Identity, Issued, Kind, LEAF_VALID, Order,
};
use chord_net_quic::{DriverThreads, Node, NodeConfig, StoreKind};
use rustls::pki_types::UnixTime;

/// Longest wait for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    pub(crate) authority: CertificateAuthority,
    pub(crate) threads: DriverThreads,
    issued: u32,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self::of_age(Duration::ZERO)
    }

    /// A cluster whose authority and list were made this long ago.
    pub(crate) fn of_age(age: Duration) -> Self {
        let made = identity::now().as_secs() - age.as_secs();
        let made = UnixTime::since_unix_epoch(Duration::from_secs(made));
        let authority = CertificateAuthority::in_memory("test", made).expect("an authority");
        Self {
            authority,
            threads: DriverThreads::new(2).expect("threads"),
            issued: 0,
        }
    }

    pub(crate) fn issue(&mut self, kind: Kind) -> Issued {
        self.issue_for(kind, LEAF_VALID)
    }

    pub(crate) fn issue_for(&mut self, kind: Kind, valid: Duration) -> Issued {
        self.issued += 1;
        let name = format!("n{}", self.issued);
        let order = Order {
            name: &name,
            kind,
            valid,
            id: IdChoice::Random,
            csr: None,
        };
        self.authority
            .issue(&order, identity::now())
            .expect("a certificate")
    }

    pub(crate) fn identity(&mut self) -> Identity {
        let issued = self.issue(Kind::Node);
        self.identity_of(&issued)
    }

    pub(crate) fn identity_of(&self, issued: &Issued) -> Identity {
        Identity::in_memory(&self.authority, issued, identity::now()).expect("an identity")
    }

    pub(crate) async fn node(&mut self, join: &[&Node]) -> Node {
        let identity = self.identity();
        self.start(config(identity, join)).await
    }

    pub(crate) async fn start(&self, config: NodeConfig) -> Node {
        Node::start_on(&self.threads, config).await.expect("starts")
    }

    /// `count` members of one ring, joined one after the other.
    pub(crate) async fn ring(&mut self, count: usize) -> Vec<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        for _ in 0..count {
            let join: Vec<&Node> = nodes.iter().take(1).collect();
            let node = self.node(&join).await;
            joined(&node).await;
            nodes.push(node);
        }
        nodes
    }
}

pub(crate) fn config(identity: Identity, join: &[&Node]) -> NodeConfig {
    NodeConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        join: join.iter().map(|node| node.addr().to_string()).collect(),
        data_dir: None,
        positions: 1,
        identity,
        ring: brisk(),
        store: StoreKind::Memory,
        service: None,
    }
}

/// The defaults at a pace for tests.
pub(crate) fn brisk() -> Config {
    Config {
        stabilise_min: Micros::from_millis(100),
        stabilise_max: Micros::from_millis(400),
        finger_pace: Micros::from_millis(500),
        passive_pace: Micros::from_millis(500),
        ..Config::default()
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(Bytes::copy_from_slice(name.as_bytes())).expect("short and not empty")
}

pub(crate) async fn joined(node: &Node) {
    tokio::time::timeout(PATIENCE, node.joined())
        .await
        .expect("joins in time")
        .expect("lives");
}

/// Waits until `probe` says yes; `what` is told when it never does.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    let waiting = async {
        while !probe().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
        "in vain: {what}"
    );
}

/// Waits until every node's successor is the next of them on the ring.
pub(crate) async fn in_order(nodes: &[Node]) {
    let mut ids: Vec<_> = nodes.iter().map(Node::id).collect();
    ids.sort_unstable();
    for node in nodes {
        let at = ids
            .iter()
            .position(|id| *id == node.id())
            .expect("one of them");
        let next = ids[(at + 1) % ids.len()];
        let before = ids[(at + ids.len() - 1) % ids.len()];
        until("the ring is in order", || async {
            let Ok(view) = node.view(None).await else {
                return false;
            };
            let head = view.successors.first().map_or(node.id(), |peer| peer.id);
            let predecessor = view.predecessor.map_or(node.id(), |peer| peer.id);
            head == next && (predecessor == before || ids.len() == 1)
        })
        .await;
    }
}
