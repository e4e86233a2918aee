//! Rings of real hosts: real sockets, real certificates, the real protocol.

mod common;

use bytes::Bytes;
use chord_core::event::Failure;
use chord_core::id::Id;
use chord_net_quic::{Node, PutOptions, Stopped};
use common::{Cluster, config, in_order, key, until};

/// Stores under a name, again and again while the ring settles.
async fn put(node: &Node, name: &str, value: &Bytes) {
    until("stored", || async {
        node.put(key(name), value.clone(), PutOptions::default())
            .await
            .is_ok()
    })
    .await;
}

/// Reads a value back, again and again while the ring settles; a wrong answer is one.
async fn reads(node: &Node, name: &str, value: &Bytes) {
    until("read", || async {
        match node.get(key(name), false).await {
            Ok(Some(record)) => {
                assert_eq!(record.value, value, "{name}");
                true
            }
            Ok(None) => panic!("{name} is lost"),
            Err(_) => false,
        }
    })
    .await;
}

fn value(n: u8, length: usize) -> Bytes {
    Bytes::from(vec![n; length])
}

#[tokio::test]
async fn one_node_is_a_ring() {
    let mut cluster = Cluster::new();
    let nodes = cluster.ring(1).await;
    put(&nodes[0], "a", &value(1, 1)).await;
    reads(&nodes[0], "a", &value(1, 1)).await;
    assert_eq!(nodes[0].get(key("b"), false).await, Ok(None));
    nodes[0].remove(key("a"), None).await.expect("deleted");
    assert_eq!(nodes[0].get(key("a"), false).await, Ok(None));
    let status = nodes[0].status().await.expect("lives");
    assert_eq!((status.records, status.connections), (0, 0));
}

#[tokio::test]
async fn five_nodes_hold_what_one_of_them_was_given_and_survive_a_kill() {
    let mut cluster = Cluster::new();
    let mut nodes = cluster.ring(5).await;
    in_order(&nodes).await;
    for n in 0..40 {
        put(&nodes[0], &format!("key {n}"), &value(n, 100)).await;
    }
    for n in 0..40_u8 {
        reads(
            &nodes[usize::from(n) % 5],
            &format!("key {n}"),
            &value(n, 100),
        )
        .await;
    }
    let found = nodes[1]
        .lookup(key("key 7").position())
        .await
        .expect("found");
    assert!(nodes.iter().any(|node| node.id() == found.owner.id));

    let dead = nodes.swap_remove(2);
    dead.kill();
    assert_eq!(dead.stopped().await, Stopped::Killed);
    assert_eq!(dead.get(key("key 1"), false).await, Err(Failure::NotMember));
    for n in 0..40_u8 {
        reads(
            &nodes[usize::from(n) % 4],
            &format!("key {n}"),
            &value(n, 100),
        )
        .await;
    }
    in_order(&nodes).await;
}

#[tokio::test]
async fn values_from_empty_to_the_greatest_come_back_from_every_node() {
    let mut cluster = Cluster::new();
    let nodes = cluster.ring(4).await;
    in_order(&nodes).await;
    let lengths = [0, 1, 3_900, 4_096, 5_000, 70_000, 300_000, 1 << 20];
    for (n, length) in (0..).zip(lengths) {
        put(
            &nodes[usize::from(n) % 4],
            &format!("of {length}"),
            &value(n, length),
        )
        .await;
    }
    for (n, length) in (0..).zip(lengths) {
        for node in &nodes {
            reads(node, &format!("of {length}"), &value(n, length)).await;
        }
    }
    let over = Bytes::from(vec![0; (1 << 20) + 1]);
    let refused = nodes[0].put(key("over"), over, PutOptions::default()).await;
    assert_eq!(refused, Err(Failure::Invalid));
}

#[tokio::test]
async fn nodes_that_start_at_once_form_one_ring_with_one_connection_for_each_pair() {
    let mut cluster = Cluster::new();
    let founder = cluster.node(&[]).await;
    let mut nodes = vec![founder];
    for _ in 0..5 {
        let join = [&nodes[0]];
        let node = cluster.node(&join).await;
        nodes.push(node);
    }
    for node in &nodes {
        common::joined(node).await;
    }
    in_order(&nodes).await;
    for node in &nodes {
        until("duplicates are closed", || async {
            node.counters().connections <= 5
        })
        .await;
    }
}

#[tokio::test]
async fn who_leaves_hands_over_all_it_holds() {
    let mut cluster = Cluster::new();
    let mut nodes = cluster.ring(3).await;
    in_order(&nodes).await;
    for n in 0..30 {
        let name = format!("key {n}");
        let options = PutOptions {
            copies: 1,
            ..PutOptions::default()
        };
        until("stored", || async {
            nodes[0]
                .put(key(&name), value(n, 50), options)
                .await
                .is_ok()
        })
        .await;
    }
    let leaver = nodes.swap_remove(1);
    let held = leaver.status().await.expect("lives").records;
    let shutdown = leaver.shutdown().await;
    assert_eq!(shutdown.remaining, 0);
    assert_eq!(shutdown.handed_over, held);
    assert_eq!(leaver.stopped().await, Stopped::Left);
    for n in 0..30 {
        reads(&nodes[0], &format!("key {n}"), &value(n, 50)).await;
    }
    in_order(&nodes).await;
}

#[tokio::test]
async fn the_second_of_two_leaves_its_records_with_the_first() {
    let mut cluster = Cluster::new();
    let nodes = cluster.ring(2).await;
    for n in 0..10 {
        put(&nodes[0], &format!("key {n}"), &value(n, 50)).await;
    }
    let shutdown = nodes[1].shutdown().await;
    assert_eq!(shutdown.remaining, 0);
    for n in 0..10 {
        reads(&nodes[0], &format!("key {n}"), &value(n, 50)).await;
    }
}

#[tokio::test]
async fn a_host_with_several_positions_is_several_members_behind_one_address() {
    let mut cluster = Cluster::new();
    let mut hosts = Vec::new();
    for _ in 0..2 {
        let identity = cluster.identity();
        let join: Vec<&Node> = hosts.iter().collect();
        let config = chord_net_quic::NodeConfig {
            positions: 3,
            ..config(identity, &join)
        };
        let host = cluster.start(config).await;
        common::joined(&host).await;
        hosts.push(host);
    }
    let mut ids: Vec<Id> = hosts
        .iter()
        .flat_map(|host| (0..3).map(|at| host.id().of_position(at)))
        .collect();
    ids.sort_unstable();
    until("six members in one ring", || async {
        let Ok(view) = hosts[0].view(None).await else {
            return false;
        };
        let mut seen: Vec<Id> = view.successors.iter().map(|peer| peer.id).collect();
        seen.push(hosts[0].id());
        seen.sort_unstable();
        seen == ids
    })
    .await;
    for n in 0..20 {
        put(&hosts[0], &format!("key {n}"), &value(n, 9)).await;
    }
    for n in 0..20 {
        reads(&hosts[1], &format!("key {n}"), &value(n, 9)).await;
    }
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_host() {
    let mut cluster = Cluster::new();
    let nodes = cluster.ring(3).await;
    in_order(&nodes).await;
    let mut nodes = nodes.into_iter();
    drop(nodes.next());
    let rest: Vec<Node> = nodes.collect();
    in_order(&rest).await;
}
