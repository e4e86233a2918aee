//! Real nodes of one process on loopback, with certificates and with stores on a disk, and
//! what is written to them.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chord_core::config::Config;
use chord_core::event::Failure;
use chord_core::id::Id;
use chord_core::message::Key;
use chord_net_quic::identity::{
    self, CertificateAuthority, IdChoice, Identity, Issued, Kind, LEAF_VALID, Order,
};
use chord_net_quic::{DriverThreads, Node, NodeConfig, PutOptions, StoreKind};
use tokio::task::JoinSet;

/// Anything that ends a bench without a figure.
pub(crate) type Failed = Box<dyn Error + Send + Sync>;

/// Puts or gets under way at a time while nothing is measured.
const IN_FLIGHT: u32 = 64;
/// How often a condition is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(50);
/// Wait before a call that was refused for the moment is repeated.
const RETRY: Duration = Duration::from_millis(20);
/// A call that was not answered by then, repeated as it may be, has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Directory of the authority.
const AUTHORITY: &str = "authority";

/// Members of one ring, each with a directory of its own.
pub(crate) struct Ring {
    ground: PathBuf,
    authority: CertificateAuthority,
    threads: DriverThreads,
    options: Config,
    issued: u32,
    pub(crate) nodes: Vec<Node>,
}

impl Ring {
    /// A ring without members; `ground` is where their directories will be.
    pub(crate) fn new(ground: PathBuf, options: Config) -> Result<Self, Failed> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            authority: CertificateAuthority::init(
                &ground.join(AUTHORITY),
                "bench",
                identity::now(),
            )?,
            ground,
            threads: DriverThreads::new(cores)?,
            options,
            issued: 0,
            nodes: Vec::new(),
        })
    }

    /// Starts so many members, evenly spread, one after the other.
    pub(crate) async fn grow(&mut self, count: usize) -> Result<(), Failed> {
        for _ in 0..count {
            let node = self.prepare(IdChoice::Spread)?;
            self.enter(node).await?;
        }
        Ok(())
    }

    /// The certificate and the directory of another member.
    pub(crate) fn prepare(&mut self, id: IdChoice) -> Result<NodeConfig, Failed> {
        let (name, issued) = self.issue(id)?;
        let identity = Identity::in_memory(&self.authority, &issued, identity::now())?;
        let data_dir = self.ground.join(&name);
        std::fs::create_dir(&data_dir)?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let join = self.nodes.first().map(|node| node.addr().to_string());
        let config = config(identity, data_dir, listen, join);
        Ok(NodeConfig {
            ring: self.options.clone(),
            ..config
        })
    }

    /// A certificate for another member, and its name.
    pub(crate) fn issue(&mut self, id: IdChoice) -> Result<(String, Issued), Failed> {
        self.issued += 1;
        let name = format!("n{}", self.issued);
        let order = Order {
            name: &name,
            kind: Kind::Node,
            valid: LEAF_VALID,
            id,
            csr: None,
        };
        let issued = self.authority.issue(&order, identity::now())?;
        Ok((name, issued))
    }

    /// Where the files of the authority are.
    pub(crate) fn authority(&self) -> PathBuf {
        self.ground.join(AUTHORITY)
    }

    /// Starts a member and waits until it is one.
    pub(crate) async fn enter(&mut self, config: NodeConfig) -> Result<Node, Failed> {
        let node = Node::start_on(&self.threads, config).await?;
        tokio::time::timeout(PATIENCE, node.joined()).await??;
        self.nodes.push(node.clone());
        Ok(node)
    }

    /// Takes the member out that has this place among those that run.
    pub(crate) fn take(&mut self, at: usize) -> Node {
        self.nodes.remove(at)
    }

    /// Writes the records `0..count`, each of so many bytes, through all members in turn.
    pub(crate) async fn fill(&self, count: u32, bytes: usize) -> Result<(), Failed> {
        let mut tasks: JoinSet<Result<(), Failed>> = JoinSet::new();
        for first in 0..IN_FLIGHT {
            let nodes = self.nodes.clone();
            tasks.spawn(async move {
                for n in (first..count).step_by(IN_FLIGHT as usize) {
                    let node = &nodes[n as usize % nodes.len()];
                    put(node, n, bytes).await?;
                }
                Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Waits until each member holds at least as many of the records `0..count` as it should
    /// or, if `exact`, just as many, and every span is settled. Says how long that took.
    pub(crate) async fn filled(
        &self,
        count: u32,
        exact: bool,
        patience: Duration,
    ) -> Result<Duration, Failed> {
        let begin = Instant::now();
        let mut wanted: BTreeMap<Id, u64> = BTreeMap::new();
        let ids = self.ids();
        for n in 0..count {
            for holder in self.holders(&ids, n) {
                *wanted.entry(holder).or_default() += 1;
            }
        }
        loop {
            let mut wrong = Vec::new();
            let took = begin.elapsed();
            for node in &self.nodes {
                let status = node.status().await.map_err(told)?;
                let wanted = wanted.get(&node.id()).copied().unwrap_or(0);
                let records = status.records;
                if records < wanted
                    || (records > wanted && exact)
                    || status.node.spans_unsettled > 0
                {
                    wrong.push(format!("{:.8} has {records} of {wanted}", node.id()));
                }
            }
            if wrong.is_empty() {
                return Ok(took);
            }
            if took > patience {
                return Err(format!("after {took:.0?}: {}", wrong.join(", ")).into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn ids(&self) -> Vec<Id> {
        let mut ids: Vec<Id> = self.nodes.iter().map(Node::id).collect();
        ids.sort_unstable();
        ids
    }

    /// Who should hold a record: its owner, and those behind it.
    fn holders(&self, ids: &[Id], n: u32) -> Vec<Id> {
        let position = key(n).position();
        let owner = ids.partition_point(|id| *id < position);
        let copies = usize::from(self.options.copies).min(ids.len());
        (0..copies)
            .map(|next| ids[(owner + next) % ids.len()])
            .collect()
    }

    /// Where the copies of the records `0..count` are, read from every store.
    pub(crate) async fn census(&self, count: u32) -> Result<Census, Failed> {
        let mut held: BTreeMap<Bytes, Vec<Id>> = BTreeMap::new();
        for node in &self.nodes {
            let here = node.held(usize::MAX).await.map_err(told)?;
            for record in here.records {
                let key = Bytes::copy_from_slice(record.key.bytes());
                held.entry(key).or_default().push(node.id());
            }
        }
        let ids = self.ids();
        let mut census = Census::default();
        for n in 0..count {
            let here = held.remove(key(n).bytes()).unwrap_or_default();
            let wanted = self.holders(&ids, n);
            census.copies += here.len();
            census.missing += wanted.iter().filter(|id| !here.contains(id)).count();
            census.surplus += here.iter().filter(|id| !wanted.contains(id)).count();
        }
        census.surplus += held.values().map(Vec::len).sum::<usize>();
        Ok(census)
    }
}

/// How a member is set up, with the options that operators have.
pub(crate) fn config(
    identity: Identity,
    data_dir: PathBuf,
    listen: SocketAddr,
    join: Option<String>,
) -> NodeConfig {
    NodeConfig {
        listen,
        advertise: None,
        join: join.into_iter().collect(),
        data_dir: Some(data_dir),
        positions: 1,
        identity,
        ring: Config::default(),
        store: StoreKind::Redb,
        service: None,
    }
}

/// How many copies there are, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Census {
    pub(crate) copies: usize,
    /// Copies that a holder lacks.
    pub(crate) missing: usize,
    /// Copies at somebody who is no holder.
    pub(crate) surplus: usize,
}

/// The key of a record.
pub(crate) fn key(n: u32) -> Key {
    Key::new(Bytes::from(format!("record-{n:07}"))).expect("short and not empty")
}

/// Its value: it begins with its number.
pub(crate) fn value(n: u32, bytes: usize) -> Bytes {
    let mut value = n.to_be_bytes().repeat(bytes.div_ceil(4));
    value.truncate(bytes);
    value.into()
}

/// Whether a call that ended like this is to be repeated.
pub(crate) fn is_for_the_moment(failure: Failure) -> bool {
    matches!(
        failure,
        Failure::Unavailable { .. } | Failure::TimedOut | Failure::NotMember | Failure::Overloaded
    )
}

/// Stores a record, repeated while it is refused for the moment. Says how often it was.
pub(crate) async fn put(node: &Node, n: u32, bytes: usize) -> Result<u32, Failed> {
    let begin = Instant::now();
    let mut refused = 0;
    loop {
        let put = node.put(key(n), value(n, bytes), PutOptions::default());
        match put.await {
            Ok(_) => return Ok(refused),
            Err(failure) if is_for_the_moment(failure) && begin.elapsed() < PATIENCE => {
                refused += 1;
                tokio::time::sleep(RETRY).await;
            }
            Err(failure) => return Err(format!("put of record {n}: {failure:?}").into()),
        }
    }
}

/// Reads a record that was written, in the same way.
pub(crate) async fn get(node: &Node, n: u32, bytes: usize) -> Result<u32, Failed> {
    let begin = Instant::now();
    let mut refused = 0;
    loop {
        match node.get(key(n), false).await {
            Ok(Some(record)) if record.value == value(n, bytes) => return Ok(refused),
            Ok(Some(_)) => return Err(format!("record {n}: another value").into()),
            Ok(None) => return Err(format!("record {n}: not found, though written").into()),
            Err(failure) if is_for_the_moment(failure) && begin.elapsed() < PATIENCE => {
                refused += 1;
                tokio::time::sleep(RETRY).await;
            }
            Err(failure) => return Err(format!("get of record {n}: {failure:?}").into()),
        }
    }
}

/// A failure as an error.
pub(crate) fn told(failure: Failure) -> Failed {
    format!("{failure:?}").into()
}
