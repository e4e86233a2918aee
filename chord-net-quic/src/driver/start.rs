//! Setting up a host: every check first, then the socket, then the loop.

use std::collections::{HashMap, VecDeque};
use std::fs::OpenOptions;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use chord_core::event::Restored;
use chord_core::id::Id;
use chord_core::node::Node;
use chord_core::peer::Addr;
use chord_core::time::Micros;
use chord_core::wire::{Hello, WIRE_VERSION};
use tokio::sync::{mpsc, watch};

use crate::api::{NodeConfig, POSITIONS_MAX, StartError, Stopped, StoreKind};
use crate::clock;
use crate::driver::board::Board;
use crate::driver::inventory::Inventory;
use crate::driver::tickets::Tickets;
use crate::driver::{Ask, CHORES, Driver, seeds};
use crate::endpoint::Endpoint;
use crate::identity::{self, Identity, IdentityError, ResetKey};
use crate::lines::Lines;
use crate::link::Shared;
use crate::peers::{Local, Peers};
use crate::state::{self, Positions, State, unusable};
use crate::store::disk::{Disk, Folder, Found, OpenError, Opened, Owner, SCHEMA};
use crate::store::memory::Memory;
use crate::store::{Report, Room, Store};
use crate::tasks::Tasks;

/// Places in the inbox of links; a full one makes them read more slowly.
const INBOX: usize = 1_024;
/// Places in the inbox of handles; a full one makes them wait.
const ASKS: usize = 1_024;

/// A wall clock this far before the last write is worth an alarm.
const CLOCK_BEHIND: Micros = Micros::from_secs(1);

/// What a handle needs of a host that runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) id: Id,
    pub(crate) addr: SocketAddr,
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) board: Arc<Board>,
    pub(crate) identity: Identity,
    pub(crate) tasks: Tasks,
    pub(crate) stopped: watch::Receiver<Option<Stopped>>,
}

/// Starts a host on the runtime of the current thread.
pub(crate) fn start(config: NodeConfig) -> Result<Running, StartError> {
    config.ring.validate()?;
    let (listen, positions) = (config.listen, config.positions);
    if positions == 0 || positions > POSITIONS_MAX {
        return Err(StartError::Positions(positions));
    }
    if listen.ip().is_unspecified() && config.advertise.is_none() {
        return Err(StartError::Advertise(listen));
    }
    let host = config.identity.node_id()?;
    let cluster = config.identity.cluster().to_string();
    let dir = config.data_dir.as_deref();
    let mut life = Life::begin(dir, &cluster, host)?;
    let (reporting, reports) = mpsc::unbounded_channel();
    let store = match config.store {
        StoreKind::Memory => {
            life.forget_marks();
            life.forget_written_marks().map_err(unwritable(dir))?;
            Box::new(Memory::new())
        }
        StoreKind::Redb => {
            let store = life.open_store(dir, &cluster, host, reporting)?;
            life.take_ballast();
            store
        }
    };
    let (socket, addr) = bind(listen, config.advertise)?;
    let me = Local {
        host,
        incarnation: life.incarnation,
        addr: Addr::from_socket(addr),
        positions: (0..positions).map(|at| host.of_position(at)).collect(),
    };
    let hello = Hello {
        wire_version: u16::from(WIRE_VERSION),
        cluster,
        incarnation: me.incarnation,
        addr: me.addr,
        positions,
        service: config.service.map(served_at),
    };
    let nodes = nodes(&me, config.ring, &life.remembered)?;
    let (tasks, stopped) = Tasks::new();
    let (inbox, heard) = mpsc::channel(INBOX);
    let (asks, asked) = mpsc::channel(ASKS);
    let shared = Shared::new(tasks.clone(), inbox);
    let identity = config.identity;
    let endpoint = Endpoint::new(
        socket,
        identity.clone(),
        host,
        hello,
        &life.reset_key,
        shared.clone(),
    )
    .map_err(|source| StartError::Bind {
        address: listen,
        source,
    })?;
    let board = Arc::new(Board::new(
        shared.bytes_received.clone(),
        &endpoint,
        identity.clone(),
    ));
    let driver = Driver {
        duplicate: life.state.as_ref().and_then(|state| state.duplicate()),
        state: life.state,
        store,
        ..Driver::new(nodes, me, endpoint.clone(), identity.clone(), board.clone())
    };
    let ends = tasks.clone();
    tasks.spawn(async move { ends.stop(driver.run(asked, heard, reports).await) });
    let failures = endpoint.failures();
    let ends = tasks.clone();
    tasks.spawn(async move {
        endpoint.accept().await;
        ends.stop(Stopped::Socket(
            "it takes no connections any more".to_owned(),
        ));
    });
    tasks.spawn(seeds::join(
        config.join,
        asks.downgrade(),
        board.clone(),
        failures,
    ));
    Ok(Running {
        id: host,
        addr,
        asks,
        board,
        identity,
        tasks,
        stopped,
    })
}

impl Driver {
    /// A host at the beginning of its life, with an empty store and no data directory.
    fn new(
        nodes: Vec<Node>,
        me: Local,
        endpoint: Endpoint,
        identity: Identity,
        board: Arc<Board>,
    ) -> Self {
        let now = clock::mono();
        Self {
            members: vec![false; nodes.len()],
            nodes,
            peers: Peers::new(me, now),
            lines: HashMap::new(),
            endpoint,
            store: Box::new(Memory::new()),
            tickets: Tickets::default(),
            inventory: Inventory::default(),
            queue: VecDeque::new(),
            actions: Vec::new(),
            identity,
            state: None,
            board,
            alarms: Lines::default(),
            started: now,
            next_chores: now + CHORES,
            next_warnings: now,
            leaving: None,
            superseded: None,
            duplicate: None,
            room: Room::Enough,
            broken: None,
            ending: None,
        }
    }
}

/// What a start finds in the data directory, or makes up without one.
struct Life {
    state: Option<Arc<State>>,
    incarnation: u32,
    remembered: Positions,
    reset_key: ResetKey,
}

impl Life {
    fn begin(dir: Option<&Path>, cluster: &str, host: Id) -> Result<Self, StartError> {
        let Some(dir) = dir else {
            return Ok(Self {
                state: None,
                incarnation: state::next_incarnation(0),
                remembered: Positions::new(),
                reset_key: ResetKey::random()?,
            });
        };
        let (state, incarnation, remembered) = State::open(dir, cluster, host)?;
        let reset_key = identity::load_or_create_reset_key(dir);
        let reset_key = reset_key.map_err(|error| match error {
            IdentityError::Read { path, source } | IdentityError::Write { path, source } => {
                unusable(dir, &path, source)
            }
            other => other.into(),
        })?;
        Ok(Self {
            state: Some(Arc::new(state)),
            incarnation,
            remembered,
            reset_key,
        })
    }
}

impl Life {
    /// The records are gone, and with them what they were worth.
    fn forget_marks(&mut self) {
        for position in &mut self.remembered {
            position.marks.clear();
        }
    }

    /// Holds room for the next start; without it this one goes on all the same.
    fn take_ballast(&self) {
        if let Some(state) = &self.state
            && let Err(error) = state.take_ballast()
        {
            tracing::warn!(%error, "no room can be held ready in the data directory");
        }
    }

    /// Nor may the next life believe in them, should this one end at once.
    fn forget_written_marks(&self) -> io::Result<()> {
        self.state
            .as_ref()
            .map_or(Ok(()), |state| state.forget_marks())
    }

    /// Says which of the two, store and memory of the host, is missing beside the other.
    fn announce(&self, found: &Found, path: &Path) {
        let ran_before = self.state.as_ref().is_some_and(|state| !state.is_first());
        if found.is_new && ran_before {
            tracing::error!(
                store = %path.display(),
                "this node ran before, but its store is missing or empty: whatever records it \
                 held are gone from this host. It begins with an empty store and claims nothing; \
                 the other holders fill it"
            );
        }
        if !found.is_new && !ran_before {
            tracing::warn!(
                store = %path.display(),
                "the store is older than node.json, which was missing: the members this node \
                 knew are forgotten, and its records count as incomplete until others have \
                 confirmed them"
            );
        }
    }

    /// Opens the store on disk, which remembers lives and versions too: neither a lost file
    /// nor a lost store takes the host back.
    fn open_store(
        &mut self,
        dir: Option<&Path>,
        cluster: &str,
        host: Id,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Result<Box<dyn Store>, StartError> {
        let dir = dir.ok_or(StartError::NoDataDir)?;
        let owner = Owner {
            cluster: cluster.to_owned(),
            id: host,
        };
        let path = Folder::new(dir).path();
        reachable(&path).map_err(|source| unusable(dir, &path, source))?;
        let mut forget = || self.forget_written_marks();
        let opened = Disk::open_or_begin(dir, &owner, self.incarnation, reports, &mut forget);
        let (disk, opened) = opened.map_err(|error| does_not_open(error, dir, &owner))?;
        let Opened { found, damaged } = opened;
        self.incarnation = found.incarnation;
        for position in &mut self.remembered {
            position.clock = position.clock.max(found.clock);
        }
        if found.is_new || damaged.is_some() {
            self.forget_marks();
        }
        if damaged.is_none() {
            self.announce(&found, &path);
        }
        if let Some(why) = damaged {
            tracing::error!(
                why,
                "the store was damaged: this host begins with an empty one"
            );
        }
        if found.crashed {
            tracing::info!("the store was not closed in order: nothing acknowledged is lost");
        }
        if found.clock_behind >= CLOCK_BEHIND {
            tracing::error!(
                by_ms = found.clock_behind.as_millis(),
                "the wall clock lies before the last write: set the clock of this host"
            );
        }
        Ok(Box::new(disk))
    }
}

/// An address as it is told to others.
fn served_at(service: SocketAddr) -> Addr {
    match service.ip().is_unspecified() {
        true => Addr {
            ip: [0; 16],
            port: service.port(),
        },
        false => Addr::from_socket(service),
    }
}

/// Whether a store that is there may be read and written: what the store says of it later
/// names no remedy.
fn reachable(path: &Path) -> io::Result<()> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What it means that the data directory, if there is one, cannot be written.
fn unwritable(dir: Option<&Path>) -> impl FnOnce(io::Error) -> StartError {
    let dir = dir.unwrap_or(Path::new("")).to_owned();
    move |source| unusable(&dir, &dir.join("node.json"), source)
}

fn does_not_open(error: OpenError, dir: &Path, owner: &Owner) -> StartError {
    let path = Folder::new(dir).path();
    match error {
        OpenError::InUse => StartError::Locked(dir.to_owned()),
        OpenError::Newer { schema, writer } => StartError::Newer {
            path,
            found: schema,
            known: SCHEMA,
            writer,
        },
        OpenError::Foreign(found) => StartError::Foreign {
            path,
            found: found.to_string(),
            expected: owner.to_string(),
        },
        OpenError::Fault(fault) => StartError::Store {
            path,
            why: fault.to_string(),
        },
    }
}

fn bind(
    listen: SocketAddr,
    advertise: Option<SocketAddr>,
) -> Result<(UdpSocket, SocketAddr), StartError> {
    let failed = |source| StartError::Bind {
        address: listen,
        source,
    };
    let socket = UdpSocket::bind(listen).map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    let mut addr = advertise.unwrap_or(bound);
    if addr.port() == 0 {
        addr.set_port(bound.port());
    }
    Ok((socket, addr))
}

fn nodes(
    me: &Local,
    ring: chord_core::config::Config,
    remembered: &[Restored],
) -> Result<Vec<Node>, StartError> {
    let ring = Arc::new(ring);
    let now = clock::now();
    let first = me.peer(0);
    let mut nodes = Vec::with_capacity(me.positions.len());
    for at in 0..me.positions.len() {
        let Some(peer) = me.peer(at) else { break };
        // A position that is new knows what the first one knew, and holds nothing.
        let mut restored = remembered.get(at).cloned().unwrap_or_else(|| Restored {
            marks: Vec::new(),
            ..remembered.first().cloned().unwrap_or_default()
        });
        if at > 0 {
            // The others enter through the first: they never found a ring of their own.
            restored.peers.extend(first);
        }
        nodes.push(Node::new(ring.clone(), peer, seed(), now, restored)?);
    }
    Ok(nodes)
}

/// The start of a node's draws. No secret; different each time is enough.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => clock::wall(),
    }
}
