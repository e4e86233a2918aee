//! The ring of the demo: an authority in memory, nodes in this process, and the keys.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chord_core::config::Config;
use chord_core::event::{Failure, Hop};
use chord_core::id::Id;
use chord_core::message::Key;
use chord_core::peer::Peer;
use chord_net_quic::identity::{
    self, CertificateAuthority, IdChoice, Identity, Kind, LEAF_VALID, Order,
};
use chord_net_quic::{DriverThreads, Node, NodeConfig, PutOptions, StoreKind};
use tokio::task::JoinSet;

use crate::commands::ring_check::{self, Member};
use crate::exit::Stop;

/// Reads or writes under way at a time.
const IN_FLIGHT: usize = 32;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Wait before an operation that was not available is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// A ring and what was written to it.
pub(super) struct World {
    identities: Vec<Identity>,
    threads: DriverThreads,
    nodes: Vec<Node>,
    /// All nodes in the order in which they write, the dead among them.
    writers: Vec<Id>,
    keys: u32,
}

/// How the wait for a right ring ended.
pub(super) struct Formed {
    /// How long it took, or how long was waited in vain.
    pub(super) took: Duration,
    /// What is still wrong.
    pub(super) wrong: Vec<String>,
}

/// What reading every key back showed.
#[derive(Default)]
pub(super) struct Reads {
    /// Keys whose value came back as it was written.
    pub(super) identical: u32,
    /// The longest that one key took, retries included.
    pub(super) slowest: Duration,
    /// What went wrong with the others.
    pub(super) wrong: Vec<String>,
}

/// A lookup, and the way it took.
pub(super) struct Traced {
    pub(super) key: String,
    pub(super) owner: Peer,
    pub(super) hops: Vec<Hop>,
}

impl World {
    /// The authority, a certificate for each node, and threads to run them.
    pub(super) fn prepare(nodes: u16, keys: u32) -> Result<Self, Stop> {
        let now = identity::now();
        let mut authority =
            CertificateAuthority::in_memory("demo.example", now).map_err(Stop::failed)?;
        let mut identities = Vec::new();
        for at in 0..nodes {
            let name = format!("n{at}");
            let order = Order {
                name: &name,
                kind: Kind::Node,
                valid: LEAF_VALID,
                id: IdChoice::Random,
                csr: None,
            };
            let issued = authority.issue(&order, now).map_err(Stop::failed)?;
            identities.push(Identity::in_memory(&authority, &issued, now).map_err(Stop::failed)?);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = DriverThreads::new(cores.min(usize::from(nodes)))
            .map_err(|error| Stop::failed(format!("cannot start threads: {error}")))?;
        Ok(Self {
            identities,
            threads,
            nodes: Vec::new(),
            writers: Vec::new(),
            keys,
        })
    }

    /// Starts the founder, then all others through it, and waits until all are members.
    pub(super) async fn start(&mut self, patience: Duration) -> Result<(), Stop> {
        for identity in std::mem::take(&mut self.identities) {
            let join = self.nodes.first().map(|founder| founder.addr().to_string());
            let config = NodeConfig {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                advertise: None,
                join: join.into_iter().collect(),
                data_dir: None,
                positions: 1,
                identity,
                ring: Config::default(),
                store: StoreKind::Memory,
                service: None,
            };
            let node = Node::start_on(&self.threads, config)
                .await
                .map_err(Stop::failed)?;
            self.writers.push(node.id());
            self.nodes.push(node);
        }
        for node in &self.nodes {
            let ended = |why: &dyn std::fmt::Display| {
                Stop::violation(format!("the node {:.8} did not join: {why}", node.id()))
            };
            match tokio::time::timeout(patience, node.joined()).await {
                Ok(Ok(())) => {}
                Ok(Err(stopped)) => return Err(ended(&stopped)),
                Err(late) => return Err(ended(&late)),
            }
        }
        Ok(())
    }

    /// Each member with its address and its share of the ring, in ring order.
    pub(super) fn population(&self) -> String {
        let mut nodes: Vec<&Node> = self.nodes.iter().collect();
        nodes.sort_by_key(|node| node.id());
        let lines: Vec<String> = (0..nodes.len())
            .map(|at| {
                let before = nodes[(at + nodes.len() - 1) % nodes.len()].id();
                let share = before.distance(nodes[at].id()).prefix() as f64 / 2_f64.powi(64);
                format!(
                    "{:.8}  {}  owns {:4.1} %",
                    nodes[at].id(),
                    nodes[at].addr(),
                    100.0 * share
                )
            })
            .collect();
        lines.join("\n")
    }

    /// Looks at every node's view until they form one ideal ring.
    pub(super) async fn await_ring(&self, patience: Duration) -> Formed {
        let begin = Instant::now();
        loop {
            let wrong = self.violations().await;
            if wrong.is_empty() || begin.elapsed() > patience {
                return Formed {
                    took: begin.elapsed(),
                    wrong,
                };
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn violations(&self) -> Vec<String> {
        let mut members = Vec::new();
        for node in &self.nodes {
            match node.view(None).await {
                Ok(view) => members.push(Member {
                    id: view.me.id,
                    predecessor: view.predecessor.map(|peer| peer.id),
                    successors: view.successors.iter().map(|peer| peer.id).collect(),
                }),
                Err(failure) => return vec![format!("{:.8}: {}", node.id(), describe(failure))],
            }
        }
        let length = usize::from(Config::default().successors);
        ring_check::check(&members, length)
            .into_iter()
            .map(|violation| violation.what)
            .collect()
    }

    /// Writes every key through the node whose turn it is.
    pub(super) async fn write_all(&self) -> Result<(), Stop> {
        let mut tasks = JoinSet::new();
        for number in 0..self.keys {
            if tasks.len() >= IN_FLIGHT {
                finished(tasks.join_next().await)??;
            }
            let node = self.node(number, 0);
            tasks.spawn(async move {
                let written = node
                    .put(key(number), value(number), PutOptions::default())
                    .await;
                written.map_err(|failure| {
                    Stop::violation(format!("writing {}: {}", name(number), describe(failure)))
                })
            });
        }
        while let Some(done) = tasks.join_next().await {
            finished(Some(done))??;
        }
        Ok(())
    }

    /// Reads every key through another node than the one it was written through; what is
    /// not available is tried again until `patience` is over.
    pub(super) async fn read_all(&self, patience: Duration) -> Result<Reads, Stop> {
        let mut reads = Reads::default();
        let mut tasks = JoinSet::new();
        for number in 0..self.keys {
            if tasks.len() >= IN_FLIGHT {
                reads.count(finished(tasks.join_next().await)?);
            }
            let node = self.reader(number);
            tasks.spawn(async move {
                let begin = Instant::now();
                let result = read(&node, number, patience).await;
                (begin.elapsed(), result)
            });
        }
        while let Some(done) = tasks.join_next().await {
            reads.count(finished(Some(done))?);
        }
        Ok(reads)
    }

    /// Looks keys up until one takes a hop, and shows the way.
    pub(super) async fn trace(&self) -> Result<Traced, Stop> {
        let mut longest: Option<Traced> = None;
        for number in 0..self.keys.min(50) {
            let node = self.node(number, 2);
            let found = node
                .lookup(key(number).position())
                .await
                .map_err(|failure| {
                    Stop::violation(format!(
                        "looking {} up: {}",
                        name(number),
                        describe(failure)
                    ))
                })?;
            if longest
                .as_ref()
                .is_none_or(|traced| found.hops.len() > traced.hops.len())
            {
                longest = Some(Traced {
                    key: name(number),
                    owner: found.owner,
                    hops: found.hops,
                });
            }
        }
        longest.ok_or_else(|| Stop::failed("there is no key to look up"))
    }

    /// Ends the node with this id without goodbye.
    pub(super) fn kill(&mut self, id: Id) -> Result<Id, Stop> {
        let at = self
            .nodes
            .iter()
            .position(|node| node.id() == id)
            .ok_or_else(|| {
                Stop::failed(format!(
                    "the lookup named {id:.8}, which is no node of this ring"
                ))
            })?;
        self.nodes.remove(at).kill();
        Ok(id)
    }

    /// Ends all nodes.
    pub(super) fn end(&self) {
        for node in &self.nodes {
            node.kill();
        }
    }

    /// The nodes that run.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node that lives and did not write this key, if there is one.
    fn reader(&self, number: u32) -> Node {
        let turn = usize::try_from(number).unwrap_or(0);
        let writer = self.writers[turn % self.writers.len()];
        let others: Vec<&Node> = self.nodes.iter().filter(|n| n.id() != writer).collect();
        match others.as_slice() {
            [] => self.node(number, 0),
            others => others[turn % others.len()].clone(),
        }
    }

    /// The node whose turn it is with a key; another `shift`, another node.
    fn node(&self, number: u32, shift: usize) -> Node {
        // A key number fits every pointer width this runs on.
        let turn = usize::try_from(number).unwrap_or(0) + shift;
        self.nodes[turn % self.nodes.len()].clone()
    }
}

impl Reads {
    fn count(&mut self, (took, result): (Duration, Result<(), String>)) {
        self.slowest = self.slowest.max(took);
        match result {
            Ok(()) => self.identical += 1,
            Err(wrong) => self.wrong.push(wrong),
        }
    }
}

async fn read(node: &Node, number: u32, patience: Duration) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        let fail = |what: &str| Err(format!("{} through {:.8}: {what}", name(number), node.id()));
        match node.get(key(number), false).await {
            Ok(Some(record)) if record.value == value(number) => return Ok(()),
            Ok(Some(_)) => return fail("another value than the one written"),
            Ok(None) => return fail("not found, though it was acknowledged"),
            Err(failure) if begin.elapsed() > patience => return fail(&describe(failure)),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// The result of a task; a panic in one ends the process before this is reached.
fn finished<T>(done: Option<Result<T, tokio::task::JoinError>>) -> Result<T, Stop> {
    match done {
        Some(Ok(result)) => Ok(result),
        Some(Err(error)) => Err(Stop::failed(format!("a task ended early: {error}"))),
        None => Err(Stop::failed("a task is missing")),
    }
}

fn name(number: u32) -> String {
    format!("key-{number:05}")
}

fn key(number: u32) -> Key {
    Key::new(Bytes::from(name(number))).expect("a name of nine bytes is a key")
}

/// Values of 16 bytes to 4 KiB, each its own.
fn value(number: u32) -> Bytes {
    let length = 16 + usize::try_from(number % 64).unwrap_or(0) * 64;
    let text = format!("value of {} ", name(number));
    Bytes::from(text.bytes().cycle().take(length).collect::<Vec<u8>>())
}

fn describe(failure: Failure) -> String {
    match failure {
        Failure::Unavailable { stored, needed } => {
            format!("not available: {stored} of {needed} holders answered")
        }
        Failure::TimedOut => "no answer in time".into(),
        Failure::NotMember => "that node is not a member".into(),
        Failure::Overloaded => "too much in flight".into(),
        Failure::Conflict { .. } => "another version is stored".into(),
        Failure::Invalid => "refused as invalid".into(),
        Failure::Full => "a disk is full".into(),
        Failure::Storage => "a disk failed".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_value_of_its_own() {
        assert_ne!(value(1), value(65));
        assert_eq!(value(7), value(7));
        assert!(value(63).len() <= 4_096 && value(64).len() >= 16);
    }
}
