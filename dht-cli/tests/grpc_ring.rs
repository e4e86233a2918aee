//! The Chord service of a real ring in this process: every node serves, any answers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channel::Channel;
use chord_core::config::Config;
use chord_core::id::Id;
use chord_net_quic::identity::{self, CertificateAuthority, IdChoice, Identity, Kind, Order};
use chord_net_quic::{DriverThreads, Node, NodeConfig, StoreKind};
use dht_cli::accept::Acceptor;
use dht_cli::grpc::proto::{Empty, GetRequest, GetStatus, HashPosMsg, PutRequest};
use dht_cli::metrics::{Metrics, Server};
use dht_cli::tcp::Limits;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

#[path = "grpc/channel.rs"]
mod channel;

#[allow(unreachable_pub, clippy::all, reason = "generated")]
#[rustfmt::skip]
#[path = "grpc/client.rs"]
mod client;

use client::chord_client::ChordClient;

/// A test that waits this long has failed.
const NEVER: Duration = Duration::from_secs(60);
const NODES: usize = 4;

async fn in_time<T>(doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(NEVER, doing).await.expect("in time")
}

struct Member {
    node: Node,
    grpc: SocketAddr,
    chord: ChordClient<Channel>,
}

/// Members in the order of the ring, each with its port.
async fn ring() -> Vec<Member> {
    let now = identity::now();
    let mut ca = CertificateAuthority::in_memory("test.example", now).expect("an authority");
    let threads = DriverThreads::new(2).expect("threads");
    let mut nodes: Vec<Node> = Vec::new();
    let mut acceptors = BTreeMap::new();
    for at in 0..NODES {
        let order = Order {
            name: &format!("n{at}"),
            kind: Kind::Node,
            valid: Duration::from_secs(86_400),
            id: IdChoice::Random,
            csr: None,
        };
        let issued = ca.issue(&order, now).expect("issued");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let metrics = Arc::new(Metrics::new());
        let acceptor = Acceptor::bind(Server::Grpc, any, None, 64, metrics.clone());
        let acceptor = acceptor.expect("a free port");
        let config = NodeConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: None,
            join: nodes
                .first()
                .map(|first| first.addr().to_string())
                .into_iter()
                .collect(),
            data_dir: None,
            positions: 1,
            identity: Identity::in_memory(&ca, &issued, now).expect("an identity"),
            ring: Config::default(),
            store: StoreKind::Memory,
            service: acceptor.local_addr().ok(),
        };
        let node = Node::start_on(&threads, config).await.expect("it starts");
        in_time(node.joined()).await.expect("it joins");
        acceptors.insert(node.id(), (acceptor, metrics));
        nodes.push(node);
    }
    nodes.sort_by_key(Node::id);
    for at in 0..NODES {
        let (before, after) = (
            nodes[(at + NODES - 1) % NODES].id(),
            nodes[(at + 1) % NODES].id(),
        );
        // The ring is right when every neighbour is: each looks until it has found out.
        in_time(async {
            loop {
                let view = nodes[at].view(None).await.expect("its own view");
                let next = view.successors.first().map(|next| next.id);
                let previous = view.predecessor.map(|previous| previous.id);
                if (previous, next) == (Some(before), Some(after)) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let mut members = Vec::new();
    for node in nodes {
        let (acceptor, metrics) = acceptors.remove(&node.id()).expect("one each");
        let grpc = acceptor.local_addr().expect("it is bound");
        let ring = Config::default();
        let limits = Limits {
            ttl_max: ring.ttl_max,
            copies_max: ring.copies_max,
        };
        let stop = CancellationToken::new();
        let serving = dht_cli::grpc::serve(acceptor, node.clone(), limits, metrics, stop);
        tokio::spawn(serving);
        let stream = TcpStream::connect(grpc).await.expect("it listens");
        let chord = Channel::on(stream).await.expect("it speaks").chord();
        members.push(Member { node, grpc, chord });
    }
    members
}

fn position(id: Id) -> HashPosMsg {
    let key = Bytes::copy_from_slice(&id.0);
    HashPosMsg { key }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_member_answers_every_question_about_the_ring() {
    let members = ring().await;
    for (at, asked) in members.iter().enumerate() {
        let mut chord = asked.chord.clone();
        let after = &members[(at + 1) % NODES];
        let before = &members[(at + NODES - 1) % NODES];
        let next = in_time(chord.get_direct_successor(Empty {})).await;
        let next = next.expect("an answer").into_inner();
        assert_eq!(next.address, after.grpc.to_string());
        let previous = in_time(chord.get_predecessor(Empty {})).await;
        let previous = previous.expect("an answer").into_inner();
        assert_eq!(previous.address, before.grpc.to_string());
        for (target, owner) in members.iter().enumerate() {
            let last = &members[(target + NODES - 1) % NODES];
            // A member owns its own position and everything down to its predecessor's.
            for within in [owner.node.id(), last.node.id().plus_power(0)] {
                let found = in_time(chord.find_successor(position(within))).await;
                let found = found.expect("an answer").into_inner();
                assert_eq!(found.address, owner.grpc.to_string());
                let found = in_time(chord.find_predecessor(position(within))).await;
                let found = found.expect("an answer").into_inner();
                assert_eq!(found.address, last.grpc.to_string());
            }
            // All members are in the list of successors, so the closest before a member is
            // the member before it; before the next one it is oneself.
            let closest = chord.find_closest_preceding_finger(position(owner.node.id()));
            let closest = in_time(closest).await.expect("an answer").into_inner();
            assert_eq!(closest.id, &last.node.id().0[..]);
            assert_eq!(closest.address, last.grpc.to_string());
        }
        let summary = in_time(chord.get_node_summary(Empty {})).await;
        let summary = summary.expect("an answer").into_inner();
        assert_eq!(summary.url, asked.grpc.to_string());
        assert_eq!(summary.pos, asked.node.id().to_string());
        let shown = summary.predecessor.expect("it has one");
        assert_eq!(shown.id, before.node.id().to_string());
        assert_eq!(summary.finger_entries.len(), 160);
        for (exponent, entry) in (0..).zip(&summary.finger_entries) {
            let start = asked.node.id().plus_power(exponent);
            let owner = members
                .iter()
                .min_by_key(|member| start.distance(member.node.id()));
            let owner = owner.expect("there are members");
            assert_eq!(entry.id, owner.node.id().to_string(), "{exponent}");
            assert_eq!(entry.address, owner.grpc.to_string());
        }
    }
    for member in &members {
        member.node.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_member_stored_every_member_reads() {
    let members = ring().await;
    let mut held = BTreeMap::new();
    for at in 0..20 {
        let mut chord = members[at % NODES].chord.clone();
        let key = Bytes::from(format!("key {at}"));
        // Two of them, and so all of them, are more than a store lists at once.
        let value = match at {
            0 | 1 => "large ".repeat(100_000),
            _ => format!("value {at}"),
        };
        let put = PutRequest {
            key: key.clone(),
            ttl: 0,
            replication: u32::try_from(NODES).expect("few"),
            value: value.clone(),
        };
        in_time(chord.put(put)).await.expect("stored");
        held.insert(key, value);
    }
    for member in &members {
        let mut chord = member.chord.clone();
        for (key, value) in &held {
            let key = key.clone();
            let read = in_time(chord.get(GetRequest { key })).await;
            let read = read.expect("an answer").into_inner();
            assert_eq!((read.status(), &read.value), (GetStatus::Ok, value));
        }
        let key = Bytes::from_static(b"none");
        let none = in_time(chord.get(GetRequest { key })).await;
        assert_eq!(
            none.expect("an answer").into_inner().status(),
            GetStatus::NotFound
        );
        // As many copies as members: a write that was acknowledged by a majority reaches the
        // last of them, too.
        in_time(async {
            loop {
                let size = chord.get_kv_store_size(Empty {}).await;
                if size.expect("an answer").into_inner().size == 20 {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        let data = in_time(chord.get_kv_store_data(Empty {})).await;
        let data = data.expect("an answer").into_inner().kv_pairs;
        let shown: BTreeMap<Bytes, String> = data
            .into_iter()
            .map(|pair| (Bytes::from(pair.key), pair.value))
            .collect();
        assert!(shown == held, "{:?}", shown.keys());
    }
    for member in &members {
        member.node.kill();
    }
}
