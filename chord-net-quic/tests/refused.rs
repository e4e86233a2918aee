//! Who has no business here is refused, with a line that says why, and disturbs nobody.

mod common;

use std::time::SystemTime;

use bytes::Bytes;
use chord_net_quic::identity::{
    self, CertificateAuthority, IdChoice, Issued, Kind, LEAF_VALID, Order,
};
use chord_net_quic::{Node, PutOptions};
use common::{Cluster, PATIENCE, config, key, log, stranger, until};

/// Dials every node with this certificate. Each must refuse, say so, and stay well.
async fn refused_by_all(nodes: &[Node], issued: Option<&Issued>, reason: &str) {
    log::record();
    for node in nodes {
        let before = node.counters();
        let endpoint = stranger::endpoint(issued);
        let from = endpoint.local_addr().expect("bound");
        let connecting = endpoint
            .connect(node.addr(), "node.test")
            .expect("an address");
        // A client may believe itself connected before the server has seen its certificate.
        if let Ok(connection) = connecting.await {
            let opened = connection.open_bi().await;
            let closed = tokio::time::timeout(PATIENCE, connection.closed()).await;
            assert!(closed.is_ok(), "it was let in");
            if let Ok((_, mut recv)) = opened {
                assert!(
                    recv.read_chunk(1, true).await.is_err(),
                    "it was told something"
                );
            }
        }
        let peer = format!("peer={from}");
        until("a line in the log", || async {
            !log::lines(&["handshake refused", &peer, reason]).is_empty()
        })
        .await;
        let after = node.counters();
        until("it is counted", || async {
            node.counters().handshakes_refused > before.handshakes_refused
        })
        .await;
        assert_eq!(after.accepted, before.accepted);
    }
    let name = format!("after {reason} {:?}", SystemTime::now());
    let put = nodes[0]
        .put(
            key(&name),
            Bytes::from_static(b"well"),
            PutOptions::default(),
        )
        .await;
    put.expect("the ring is undisturbed");
    let found = nodes[1]
        .get(key(&name), false)
        .await
        .expect("the ring is undisturbed");
    assert_eq!(found.expect("stored").value, "well");
}

async fn settled(cluster: &mut Cluster) -> Vec<Node> {
    let nodes = cluster.ring(3).await;
    common::in_order(&nodes).await;
    until("the ring takes writes", || async {
        nodes[0]
            .put(key("first"), Bytes::new(), PutOptions::default())
            .await
            .is_ok()
            && nodes[1].get(key("first"), false).await.is_ok()
    })
    .await;
    nodes
}

#[tokio::test]
async fn a_node_of_another_authority_is_refused() {
    let mut cluster = Cluster::new();
    let nodes = settled(&mut cluster).await;
    let mut foreign = CertificateAuthority::in_memory("test", identity::now()).expect("a CA");
    let order = Order {
        name: "spy",
        kind: Kind::Node,
        valid: LEAF_VALID,
        id: IdChoice::Random,
        csr: None,
    };
    let issued = foreign
        .issue(&order, identity::now())
        .expect("a certificate");
    refused_by_all(&nodes, Some(&issued), "UnknownIssuer").await;
}

#[tokio::test]
async fn a_client_of_the_same_authority_is_refused() {
    let mut cluster = Cluster::new();
    let nodes = settled(&mut cluster).await;
    let issued = cluster.issue(Kind::Client);
    refused_by_all(&nodes, Some(&issued), "client").await;
}

#[tokio::test]
async fn who_shows_no_certificate_is_refused() {
    let mut cluster = Cluster::new();
    let nodes = settled(&mut cluster).await;
    refused_by_all(&nodes, None, "").await;
}

#[tokio::test]
async fn a_revoked_node_is_refused_and_its_open_connections_are_closed() {
    let mut cluster = Cluster::new();
    let issued: Vec<Issued> = (0..4).map(|_| cluster.issue(Kind::Node)).collect();
    let identities: Vec<_> = issued
        .iter()
        .map(|issued| cluster.identity_of(issued))
        .collect();
    let mut nodes: Vec<Node> = Vec::new();
    for identity in &identities {
        let join: Vec<&Node> = nodes.iter().take(1).collect();
        let node = cluster.start(config(identity.clone(), &join)).await;
        common::joined(&node).await;
        nodes.push(node);
    }
    common::in_order(&nodes).await;
    let revoked = nodes.pop().expect("four");
    let serial = issued[3].certified.serial.clone();
    cluster
        .authority
        .revoke_serial(&serial, identity::now())
        .expect("revoked");
    for (node, (identity, issued)) in nodes.iter().zip(identities.iter().zip(&issued)) {
        let reloaded = identity.reload_in_memory(&cluster.authority, issued, identity::now());
        reloaded.expect("a newer list");
        node.verify_peers().await;
    }
    log::record();
    until("the others go on without it", || async {
        for node in &nodes {
            let view = node.view(None).await.expect("lives");
            if view.successors.iter().any(|peer| peer.id == revoked.id()) {
                return false;
            }
        }
        true
    })
    .await;
    common::in_order(&nodes).await;
    until("the ring takes writes", || async {
        nodes[0]
            .put(key("after"), Bytes::new(), PutOptions::default())
            .await
            .is_ok()
            && nodes[1].get(key("after"), false).await.is_ok()
    })
    .await;
    refused_by_all(&nodes, Some(&issued[3]), "evoked").await;
}

#[tokio::test]
async fn a_flood_of_bad_handshakes_leaves_room_for_a_member() {
    log::record();
    let mut cluster = Cluster::new();
    let nodes = cluster.ring(1).await;
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let endpoint = stranger::endpoint(None);
        let connecting = endpoint
            .connect(nodes[0].addr(), "node.test")
            .expect("an address");
        flood.spawn(async move {
            if let Ok(connection) = connecting.await {
                connection.closed().await;
            }
            drop(endpoint);
        });
    }
    let member = cluster.node(&[&nodes[0]]).await;
    common::joined(&member).await;
    while flood.join_next().await.is_some() {}
    assert_eq!(nodes[0].counters().accepted, 1, "only the member came in");
    assert!(nodes[0].counters().handshakes_refused >= 1);
}

#[tokio::test]
async fn a_refused_node_says_by_whom_it_is_refused_and_why() {
    log::record();
    let mut cluster = Cluster::new();
    let first = cluster.issue(Kind::Node);
    let identity = cluster.identity_of(&first);
    let node = cluster.start(config(identity.clone(), &[])).await;
    common::joined(&node).await;
    let refused = cluster.issue(Kind::Node);
    // What the refused one knows is older than the list that names it.
    let unaware = cluster.identity_of(&refused);
    let serial = refused.certified.serial.clone();
    let revoked = cluster.authority.revoke_serial(&serial, identity::now());
    revoked.expect("revoked");
    let reloaded = identity.reload_in_memory(&cluster.authority, &first, identity::now());
    reloaded.expect("a newer list");

    let refused = cluster.start(config(unaware, &[&node])).await;
    let by = format!("refused by {}: certificate revoked", node.addr());
    let serial = format!("(serial {serial})");
    until(
        "a warning that names the certificate and a remedy",
        || async {
            let warned = log::lines(&["WARN", &by, &serial, "cert issue"]);
            warned.iter().any(|line| !line.contains("seeds"))
        },
    )
    .await;
    until("the line about the seeds gives the reason", || async {
        !log::lines(&["WARN", "trying the seeds again; last: ", &by]).is_empty()
    })
    .await;
    assert_eq!(refused.counters().dialled, 0);
}

#[tokio::test]
async fn a_node_that_trusts_another_authority_says_whom_it_does_not_talk_to() {
    log::record();
    let mut cluster = Cluster::new();
    let node = cluster.ring(1).await.remove(0);
    let mut other = Cluster::new();
    let lost = other.node(&[&node]).await;
    let with = format!("will not talk to {}", node.addr());
    until("a warning that names the authority", || async {
        !log::lines(&["WARN", &with, "no authority trusted here"]).is_empty()
    })
    .await;
    assert_eq!(lost.counters().dialled, 0);
}

#[tokio::test]
async fn a_node_whose_connections_are_closed_for_its_certificate_says_so() {
    log::record();
    let mut cluster = Cluster::new();
    let issued = [cluster.issue(Kind::Node), cluster.issue(Kind::Node)];
    let identities = issued.each_ref().map(|issued| cluster.identity_of(issued));
    let [first, second] = identities.clone();
    let first = cluster.start(config(first, &[])).await;
    common::joined(&first).await;
    let second = cluster.start(config(second, &[&first])).await;
    common::joined(&second).await;
    let serial = issued[1].certified.serial.clone();
    let revoked = cluster.authority.revoke_serial(&serial, identity::now());
    revoked.expect("revoked");
    let newer = identities[0].reload_in_memory(&cluster.authority, &issued[0], identity::now());
    newer.expect("a newer list");
    first.verify_peers().await;
    let by = format!("refused by {}", first.addr());
    let ours = format!("(serial {serial})");
    until("a warning about the open connection", || async {
        !log::lines(&["WARN", &by, &ours, "no good there any more"]).is_empty()
    })
    .await;
    // Who closes it names the node: an address is not what an operator revokes.
    let name = &issued[1].certified.name;
    let whom = [
        second.id().to_string(),
        format!("name={name}"),
        format!("serial={serial}"),
    ];
    let whom = whom.each_ref().map(String::as_str);
    let said = |words: [&str; 2]| !log::lines(&[&words[..], &whom[..]].concat()).is_empty();
    assert!(said(["connection closed", "revoked"]));
    until("whoever comes back is named, too", || async {
        said(["certificate refused", "revoked"])
    })
    .await;
}
