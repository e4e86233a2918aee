//! One node after the other in the same place: restarts, copies, data directories.

mod common;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use chord_core::event::Failure;
use chord_net_quic::identity::{Issued, Kind};
use chord_net_quic::{Node, NodeConfig, PutOptions, StartError, Stopped};
use common::{Cluster, PATIENCE, config, in_order, joined, key, log, stranger, until};
use quinn::ConnectionError;

/// Starts on an address that was just given up, once it is free.
async fn start_again(cluster: &Cluster, config: impl Fn() -> NodeConfig) -> Node {
    loop {
        match Node::start_on(&cluster.threads, config()).await {
            Ok(node) => return node,
            Err(StartError::Bind { .. } | StartError::Locked(_)) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_killed_node_comes_back_under_its_id_and_address_in_a_later_life() {
    let mut cluster = Cluster::new();
    let mut nodes = cluster.ring(3).await;
    let issued = cluster.issue(Kind::Node);
    let dir = tempfile::tempdir().expect("a directory");
    let identity = cluster.identity_of(&issued);
    let first = NodeConfig {
        data_dir: Some(dir.path().to_owned()),
        ..config(identity.clone(), &[&nodes[0]])
    };
    let node = cluster.start(first).await;
    joined(&node).await;
    nodes.push(node);
    in_order(&nodes).await;
    for n in 0..20 {
        let name = format!("key {n}");
        until("stored", || async {
            nodes[0]
                .put(key(&name), Bytes::from(name.clone()), PutOptions::default())
                .await
                .is_ok()
        })
        .await;
    }
    let node = nodes.pop().expect("four");
    let addr = node.addr();
    let life = node.status().await.expect("lives").node.me.incarnation;
    node.kill();
    assert_eq!(node.stopped().await, Stopped::Killed);
    drop(node);
    let join = nodes[0].addr().to_string();
    let node = start_again(&cluster, || NodeConfig {
        listen: addr,
        join: vec![join.clone()],
        data_dir: Some(dir.path().to_owned()),
        ..config(identity.clone(), &[])
    })
    .await;
    joined(&node).await;
    assert!(node.status().await.expect("lives").node.me.incarnation > life);
    nodes.push(node);
    in_order(&nodes).await;
    for n in 0..20 {
        let name = format!("key {n}");
        until("read", || async {
            match nodes[3].get(key(&name), false).await {
                Ok(Some(record)) => record.value == name,
                Ok(None) => panic!("{name} is lost"),
                Err(_) => false,
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_founder_that_was_killed_joins_the_ring_it_founded() {
    let mut cluster = Cluster::new();
    let identity = cluster.identity();
    let dir = tempfile::tempdir().expect("a directory");
    let data_dir = || Some(dir.path().to_owned());
    let founder = NodeConfig {
        data_dir: data_dir(),
        ..config(identity.clone(), &[])
    };
    let founder = cluster.start(founder).await;
    joined(&founder).await;
    let addr = founder.addr();
    let mut others = Vec::new();
    for _ in 0..2 {
        let node = cluster.node(&[&founder]).await;
        joined(&node).await;
        others.push(node);
    }
    let remembered = dir.path().join("node.json");
    until("the founder remembers the others", || async {
        let text = std::fs::read_to_string(&remembered).expect("written at the start");
        others
            .iter()
            .all(|other| text.contains(&other.id().to_string()))
    })
    .await;
    founder.kill();
    drop(founder);
    let founder = start_again(&cluster, || NodeConfig {
        listen: addr,
        data_dir: data_dir(),
        ..config(identity.clone(), &[])
    })
    .await;
    joined(&founder).await;
    others.push(founder);
    in_order(&others).await;
}

#[tokio::test]
async fn a_second_process_with_one_certificate_raises_the_alarm() {
    log::record();
    let mut cluster = Cluster::new();
    let nodes = cluster.ring(2).await;
    let issued = cluster.issue(Kind::Node);
    let dir = tempfile::tempdir().expect("a directory");
    // A data directory that remembers a life far ahead: the copy is the older one.
    lived(dir.path(), &issued, 4_000_000_000);
    let latest = NodeConfig {
        data_dir: Some(dir.path().to_owned()),
        ..config(cluster.identity_of(&issued), &[&nodes[0]])
    };
    let latest = cluster.start(latest).await;
    joined(&latest).await;
    let copy = config(cluster.identity_of(&issued), &[&nodes[0]]);
    let copy = cluster.start(copy).await;
    let id = copy.id().to_string();
    until("the alarm", || async {
        !log::lines(&["ERROR", "two processes use one certificate", &id]).is_empty()
    })
    .await;
    let mut ring = nodes;
    ring.push(latest);
    in_order(&ring).await;
}

/// A data directory in which this node has lived already, so often.
fn lived(dir: &Path, issued: &Issued, incarnation: u32) {
    let text = format!(
        r#"{{"schema":1,"writer":"x","cluster":"test","id":"{}","incarnation":{incarnation},"clock":0,"peers":[]}}"#,
        issued.certified.id().expect("a node"),
    );
    std::fs::write(dir.join("node.json"), text).expect("writes");
}

#[tokio::test]
async fn a_node_outlives_a_copy_of_itself_that_ran_for_a_moment() {
    log::record();
    let mut cluster = Cluster::new();
    let mut ring = cluster.ring(2).await;
    let issued = cluster.issue(Kind::Node);
    let (mine, copied) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    let join = ring[0].addr().to_string();
    let node = |dir: &Path| NodeConfig {
        data_dir: Some(dir.to_owned()),
        join: vec![join.clone()],
        ..config(cluster.identity_of(&issued), &[])
    };
    let first = cluster.start(node(mine.path())).await;
    joined(&first).await;
    assert_eq!(first.status().await.expect("lives").duplicate, None);
    let life = first.status().await.expect("lives").node.me.incarnation;
    // Its clock goes before ours: no start of ours is later by itself.
    lived(copied.path(), &issued, life + 1_000);
    let copy = cluster.start(node(copied.path())).await;
    until("the others hold to the copy", || async {
        let status = first.status().await;
        let duplicate = status.ok().and_then(|status| status.duplicate);
        duplicate.is_some_and(|other| other.refused && other.incarnation == life + 1_001)
    })
    .await;
    // What it holds may be old by now.
    let answer = first.get(key("key"), false).await;
    assert_eq!(answer.err(), Some(Failure::NotMember));
    copy.kill();
    drop(copy);
    // It is alone now, and everybody else still waits for the copy.
    assert_eq!(
        tokio::time::timeout(PATIENCE, first.stopped()).await,
        Ok(Stopped::Superseded)
    );
    drop(first);
    let second = start_again(&cluster, || node(mine.path())).await;
    joined(&second).await;
    let status = second.status().await.expect("lives");
    assert!(status.node.me.incarnation > life + 1_001, "{status:?}");
    let duplicate = status.duplicate.expect("it is still told");
    assert_eq!((duplicate.refused, duplicate.times), (false, 1));
    ring.push(second);
    in_order(&ring).await;
    let alarms = ["ERROR", "two processes use the certificate of this node"];
    assert!(!log::lines(&alarms).is_empty());
}

#[tokio::test]
async fn a_life_far_ahead_of_the_clock_is_not_believed() {
    let mut cluster = Cluster::new();
    let issued = cluster.issue(Kind::Node);
    let dir = tempfile::tempdir().expect("a directory");
    let node = NodeConfig {
        data_dir: Some(dir.path().to_owned()),
        ..config(cluster.identity_of(&issued), &[])
    };
    let node = cluster.start(node).await;
    joined(&node).await;
    let life = node.status().await.expect("lives").node.me.incarnation;
    // A member that would have us use up all numbers.
    let liar = cluster.issue(Kind::Node);
    let endpoint = stranger::endpoint(Some(&liar));
    let (connection, _send, _recv) = stranger::introduced(&endpoint, node.addr()).await;
    connection.close(4_u32.into(), &u32::MAX.to_be_bytes());
    assert_eq!(
        tokio::time::timeout(PATIENCE, node.stopped()).await,
        Ok(Stopped::Superseded)
    );
    drop(node);
    let next = start_again(&cluster, || NodeConfig {
        data_dir: Some(dir.path().to_owned()),
        ..config(cluster.identity_of(&issued), &[])
    });
    let next = next
        .await
        .status()
        .await
        .expect("lives")
        .node
        .me
        .incarnation;
    assert!(
        (life + 1..life + 1_000).contains(&next),
        "{life}, then {next}"
    );
}

#[tokio::test]
async fn a_data_directory_in_use_or_an_occupied_port_keeps_a_node_from_starting() {
    let mut cluster = Cluster::new();
    let identity = cluster.identity();
    let dir = tempfile::tempdir().expect("a directory");
    let config = || NodeConfig {
        data_dir: Some(dir.path().to_owned()),
        ..config(identity.clone(), &[])
    };
    let node = cluster.start(config()).await;
    match Node::start_on(&cluster.threads, config()).await {
        Err(StartError::Locked(path)) => assert_eq!(path, dir.path()),
        other => panic!("{other:?}"),
    }
    let occupied = NodeConfig {
        listen: node.addr(),
        data_dir: None,
        ..config()
    };
    match Node::start_on(&cluster.threads, occupied).await {
        Err(StartError::Bind { address, .. }) => assert_eq!(address, node.addr()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_anything_starts() {
    let mut cluster = Cluster::new();
    let good = cluster.identity();
    let start = |config| Node::start_on(&cluster.threads, config);
    let nowhere = NodeConfig {
        listen: std::net::SocketAddr::from(([0, 0, 0, 0], 0)),
        ..config(good.clone(), &[])
    };
    assert!(matches!(
        start(nowhere).await,
        Err(StartError::Advertise(_))
    ));
    let none = NodeConfig {
        positions: 0,
        ..config(good.clone(), &[])
    };
    assert!(matches!(start(none).await, Err(StartError::Positions(0))));
    let mut wrong = config(good, &[]);
    wrong.ring.copies = 0;
    assert!(matches!(start(wrong).await, Err(StartError::Config(_))));
    let client = cluster.issue(Kind::Client);
    let client = config(cluster.identity_of(&client), &[]);
    let refused = Node::start_on(&cluster.threads, client).await;
    assert!(matches!(refused, Err(StartError::Identity(_))));
}

#[tokio::test]
async fn an_unreachable_seed_is_tried_again_and_the_log_says_so() {
    log::record();
    let mut cluster = Cluster::new();
    let identity = cluster.identity();
    // A port that was free a moment ago, and a founder that comes there late.
    let port = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let addr = port.local_addr().expect("bound");
    let seed = addr.to_string();
    let early = NodeConfig {
        join: vec![seed.clone()],
        ..config(cluster.identity(), &[])
    };
    let early = cluster.start(early).await;
    until("it says so", || async {
        !log::lines(&["WARN", "trying", &seed]).is_empty()
    })
    .await;
    drop(port);
    let late = start_again(&cluster, || NodeConfig {
        listen: addr,
        ..config(identity.clone(), &[])
    });
    let late = late.await;
    joined(&early).await;
    in_order(&[early, late]).await;
}

/// How the node's end of a connection that it accepted looks when it is over.
async fn closed(connection: &quinn::Connection) -> ConnectionError {
    tokio::time::timeout(PATIENCE, connection.closed())
        .await
        .expect("it is over")
}

#[tokio::test]
async fn a_killed_node_says_nothing_and_its_next_life_tells_peers_that_it_forgot_them() {
    let mut cluster = Cluster::new();
    let identity = cluster.identity();
    let dir = tempfile::tempdir().expect("a directory");
    let data_dir = || Some(dir.path().to_owned());
    let node = NodeConfig {
        data_dir: data_dir(),
        ..config(identity.clone(), &[])
    };
    let node = cluster.start(node).await;
    let addr = node.addr();
    let peer = cluster.issue(Kind::Node);
    let endpoint = stranger::endpoint(Some(&peer));
    let (connection, mut send, _recv) = stranger::introduced(&endpoint, addr).await;
    node.kill();
    drop(node);
    let next = start_again(&cluster, || NodeConfig {
        listen: addr,
        data_dir: data_dir(),
        ..config(identity.clone(), &[])
    });
    let _next = next.await;
    // Had the first life said goodbye, the reason would be another.
    let _ = send.write_all(&stranger::bytes(&stranger::hello(1))).await;
    assert_eq!(closed(&connection).await, ConnectionError::Reset);
}

#[tokio::test]
async fn a_node_that_leaves_says_so_to_its_peers() {
    let mut cluster = Cluster::new();
    let node = cluster.ring(1).await.remove(0);
    let peer = cluster.issue(Kind::Node);
    let endpoint = stranger::endpoint(Some(&peer));
    let (connection, _send, _recv) = stranger::introduced(&endpoint, node.addr()).await;
    node.shutdown().await;
    match closed(&connection).await {
        ConnectionError::ApplicationClosed(close) => assert_eq!(close.error_code, 1_u32.into()),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_later_of_two_connections_that_one_peer_dials_stays() {
    let mut cluster = Cluster::new();
    let node = cluster.ring(1).await.remove(0);
    let peer = cluster.issue(Kind::Node);
    let endpoint = stranger::endpoint(Some(&peer));
    let (first, _send, _recv) = stranger::introduced(&endpoint, node.addr()).await;
    let (second, _send, _recv) = stranger::introduced(&endpoint, node.addr()).await;
    match closed(&first).await {
        ConnectionError::ApplicationClosed(close) => assert_eq!(close.error_code, 3_u32.into()),
        other => panic!("{other}"),
    }
    assert_eq!(second.close_reason(), None);
    until("one is left", || async { node.counters().connections == 1 }).await;
}

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_node_says_at_its_start_that_its_certificate_nears_its_end() {
    log::record();
    let mut cluster = Cluster::new();
    // It began five minutes back, so a third of its life is over.
    let short = cluster.issue_for(Kind::Node, Duration::from_secs(120));
    let node = cluster
        .start(config(cluster.identity_of(&short), &[]))
        .await;
    joined(&node).await;
    // Before it does anything else.
    let warned = log::lines(&["WARN", "the certificate expires on", "cert renew"]);
    assert!(!warned.is_empty());
}

#[tokio::test]
async fn an_overdue_list_is_a_warning_and_a_number_and_lets_members_in() {
    log::record();
    let mut cluster = Cluster::of_age(31 * DAY);
    let nodes = cluster.ring(2).await;
    in_order(&nodes).await;
    let name = cluster.authority.name().to_owned();
    let warned = log::lines(&["WARN", "the list of revoked certificates of", &name, "(0 %"]);
    assert_eq!(warned.len(), nodes.len(), "{warned:?}");
    let now = chord_net_quic::identity::now().as_secs();
    let due = nodes[0].counters().crl_next_update;
    assert!(due < now && due > now - 2 * DAY.as_secs(), "{due}");
}
