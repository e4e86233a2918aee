//! A ring of one hash map, whose operations wait where a test holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use chord_core::event::{Failure, Hop, State, Status, View, Why};
use chord_core::id::Id;
use chord_core::message::{Header, Key, OperationId, Record, Version};
use chord_core::peer::{Addr, Peer};
use chord_core::time::{Instant, Micros};
use chord_net_quic::store::Room;
use chord_net_quic::{Counters, Found, Held, HostStatus, PutOptions};
use tokio::sync::watch;

use crate::dht::Dht;

/// The state of the map, and what tests want of it.
pub(crate) struct Inner {
    /// What is stored.
    pub(crate) records: BTreeMap<Bytes, Record>,
    /// The options of the last put.
    pub(crate) options: Option<PutOptions>,
    /// The answer of every operation from now on.
    pub(crate) failure: Option<Failure>,
    /// How the node is.
    pub(crate) status: HostStatus,
    /// Members and what they believe; the first is this node.
    pub(crate) views: Vec<View>,
    /// Where members serve the Chord service.
    pub(crate) services: BTreeMap<Id, SocketAddr>,
    /// Who owns a position, the first of them also what lies behind the last; empty: always member 5,
    /// by a way that shows every kind of hop.
    pub(crate) owners: Vec<Peer>,
    /// Whether the last get was a quorum read.
    pub(crate) quorum: bool,
    clock: u64,
    /// Words and keys of the operations that have begun, in order.
    begun: Vec<String>,
}

/// A ring without a ring.
#[derive(Clone)]
pub(crate) struct Fake {
    inner: Arc<Mutex<Inner>>,
    /// Keys whose operations wait.
    held: Arc<watch::Sender<BTreeSet<Vec<u8>>>>,
    count: Arc<watch::Sender<usize>>,
}

/// A member for tests: position `at` in the first byte.
pub(crate) fn member(at: u8) -> Peer {
    let mut id = [0; 20];
    id[0] = at;
    Peer {
        id: Id(id),
        addr: Addr::v4(10, 0, 0, at, 7400),
        incarnation: 1,
    }
}

impl Fake {
    pub(crate) fn new() -> Self {
        let me = member(1);
        let view = View {
            me,
            predecessor: None,
            successors: Vec::new(),
        };
        let node = Status {
            me,
            state: State::Joined,
            unavailable_since: None,
            may_have_lost: 0,
            members: 1,
            copies_missing: 0,
            moved: Default::default(),
            spans_unsettled: 0,
            owned: None,
            predecessor: None,
            successors: Vec::new(),
            table: 0,
            ops: 0,
        };
        let status = HostStatus {
            node,
            records: 0,
            bytes: 0,
            tombstones: 0,
            store: Default::default(),
            room: Room::Enough,
            certificate_expires: SystemTime::now() + Duration::from_secs(90 * 86_400),
            unavailable_for: None,
            duplicate: None,
            connections: 0,
            uptime: Duration::from_secs(7),
        };
        let inner = Inner {
            records: BTreeMap::new(),
            options: None,
            failure: None,
            status,
            views: vec![view],
            services: BTreeMap::new(),
            owners: Vec::new(),
            quorum: false,
            clock: 0,
            begun: Vec::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            held: Arc::new(watch::Sender::new(BTreeSet::new())),
            count: Arc::new(watch::Sender::new(0)),
        }
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panicked inside")
    }

    /// Operations on `key` wait from now on.
    pub(crate) fn hold(&self, key: &[u8]) {
        self.held.send_if_modified(|held| held.insert(key.to_vec()));
    }

    /// They go on, and those that wait.
    pub(crate) fn release(&self, key: &[u8]) {
        self.held.send_if_modified(|held| held.remove(key));
    }

    /// The operations that have begun, once there are `count`.
    pub(crate) async fn begun(&self, count: usize) -> Vec<String> {
        let mut counts = self.count.subscribe();
        counts
            .wait_for(|&begun| begun >= count)
            .await
            .expect("the sender lives");
        self.inner().begun.clone()
    }

    /// The value stored under `key`.
    pub(crate) fn value(&self, key: &[u8]) -> Option<Bytes> {
        self.inner()
            .records
            .get(key)
            .map(|record| record.value.clone())
    }

    async fn begin(&self, word: &str, key: &[u8]) -> Result<(), Failure> {
        self.inner()
            .begun
            .push(format!("{word} {}", char::from(key[0])));
        self.count.send_modify(|count| *count += 1);
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held.contains(key))
            .await
            .expect("the sender lives");
        self.inner().failure.map_or(Ok(()), Err)
    }
}

impl Inner {
    fn write(&mut self, key: &Key, expected: Option<Version>) -> Result<Version, Failure> {
        let stored = self
            .records
            .get(key.bytes())
            .map(|record| record.header.version);
        let stored = stored.unwrap_or_default();
        if expected.is_some_and(|expected| expected != stored) {
            return Err(Failure::Conflict { stored });
        }
        self.clock += 1;
        Ok(Version {
            time: self.clock,
            writer: member(1).id,
        })
    }
}

impl Dht for Fake {
    async fn put(&self, key: Key, value: Bytes, options: PutOptions) -> Result<Version, Failure> {
        self.begin("put", key.bytes()).await?;
        let mut inner = self.inner();
        let version = inner.write(&key, options.expected)?;
        inner.options = Some(options);
        let header = Header {
            version,
            operation: OperationId::default(),
            copies: options.copies,
            tombstone: false,
            expires: Instant(u64::MAX),
            shadow: Instant(u64::MAX),
        };
        inner
            .records
            .insert(key.bytes().clone(), Record { key, value, header });
        Ok(version)
    }

    async fn get(&self, key: Key, quorum: bool) -> Result<Option<Record>, Failure> {
        self.begin("get", key.bytes()).await?;
        let mut inner = self.inner();
        inner.quorum = quorum;
        Ok(inner.records.get(key.bytes()).cloned())
    }

    async fn remove(&self, key: Key, expected: Option<Version>) -> Result<Version, Failure> {
        self.begin("remove", key.bytes()).await?;
        let mut inner = self.inner();
        let version = inner.write(&key, expected)?;
        inner.records.remove(key.bytes());
        Ok(version)
    }

    async fn lookup(&self, target: Id) -> Result<Found, Failure> {
        let inner = self.inner();
        inner.failure.map_or(Ok(()), Err)?;
        if let Some(first) = inner.owners.first() {
            let behind = |owner: &&Peer| owner.id >= target;
            let owner = *inner.owners.iter().find(behind).unwrap_or(first);
            let hops = Vec::new();
            return Ok(Found { owner, hops });
        }
        let hop = |at, why| Hop {
            peer: member(at),
            round_trip: Some(Micros(u64::from(at) * 100)),
            why,
        };
        let hops = vec![
            hop(2, Why::Table),
            Hop {
                round_trip: None,
                ..hop(3, Why::Closer)
            },
            hop(4, Why::Detour),
            hop(5, Why::Owner),
        ];
        Ok(Found {
            owner: member(5),
            hops,
        })
    }

    async fn view(&self, of: Option<Peer>) -> Result<View, Failure> {
        let inner = self.inner();
        inner.failure.map_or(Ok(()), Err)?;
        let whom = of.unwrap_or(inner.views[0].me);
        inner
            .views
            .iter()
            .find(|view| view.me == whom)
            .cloned()
            .ok_or(Failure::TimedOut)
    }

    async fn status(&self) -> Result<HostStatus, Failure> {
        let inner = self.inner();
        inner.failure.map_or(Ok(()), Err)?;
        Ok(inner.status.clone())
    }

    fn counters(&self) -> Counters {
        Counters {
            calls_failed: 3,
            ..Counters::default()
        }
    }

    async fn service_of(&self, whom: Peer) -> Result<Option<SocketAddr>, Failure> {
        let inner = self.inner();
        inner.failure.map_or(Ok(()), Err)?;
        Ok(inner.services.get(&whom.id).copied())
    }

    async fn held(&self, bytes: usize) -> Result<Held, Failure> {
        let inner = self.inner();
        inner.failure.map_or(Ok(()), Err)?;
        let mut held = Held::default();
        let mut left = bytes;
        for record in inner.records.values() {
            let size = record.key.bytes().len() + record.value.len();
            held.more = size > left;
            if held.more {
                break;
            }
            left -= size;
            held.records.push(record.clone());
        }
        Ok(held)
    }
}
