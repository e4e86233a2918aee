//! What somebody without a certificate can use up: handshakes that never end.

mod common;

use chord_net_quic::Node;
use chord_net_quic::identity::{Identity, Kind};
use common::half_open::{HalfOpen, Met};
use common::{Cluster, joined, log, stranger, until};

/// Attempts after which a limit is not there.
const TRIES_MAX: usize = 600;

/// Begins handshakes until one meets with `end`. Answers those that were taken before.
async fn until_one_is(end: Met, node: &Node, identity: &Identity) -> Vec<HalfOpen> {
    let mut taken = Vec::new();
    for _ in 0..TRIES_MAX {
        let mut dialler = HalfOpen::dial(node.addr(), identity).await;
        let mut met = dialler.answer().await;
        if met == Met::SentBack && end != Met::SentBack {
            met = dialler.answer().await;
        }
        if met == end {
            return taken;
        }
        assert_eq!(met, Met::Taken);
        taken.push(dialler);
    }
    panic!("{TRIES_MAX} attempts and none {end:?}");
}

/// Whether this many fit a limit, of which some may have run out meanwhile.
fn assert_limit(limit: usize, taken: usize, node: &Node) {
    let ended = usize::try_from(node.counters().handshakes_refused).expect("few");
    assert!(taken >= limit, "{taken} of {limit}");
    assert!(taken <= limit + ended, "{taken} of {limit}, {ended} ended");
}

#[tokio::test]
async fn beyond_64_unproven_addresses_a_dialler_must_show_its_own_and_members_do() {
    log::record();
    let mut cluster = Cluster::new();
    let node = cluster.ring(1).await.remove(0);
    let identity = cluster.identity();
    let held = until_one_is(Met::SentBack, &node, &identity).await;
    assert_limit(64, held.len(), &node);
    assert!(node.counters().handshakes_retried >= 1);

    let member = cluster.node(&[&node]).await;
    joined(&member).await;
    drop(held);
}

#[tokio::test]
async fn one_address_gets_128_handshakes_for_five_seconds_and_makes_room_for_others() {
    log::record();
    let mut cluster = Cluster::new();
    let node = cluster.ring(1).await.remove(0);
    let identity = cluster.identity();
    let held = until_one_is(Met::Refused, &node, &identity).await;
    assert_limit(128, held.len(), &node);
    let turned_away = log::lines(&["handshake refused", "too many handshakes at once"]);
    assert!(!turned_away.is_empty());

    // Every address of 127/8 is this host.
    #[cfg(target_os = "linux")]
    {
        let peer = cluster.issue(Kind::Node);
        let elsewhere = stranger::endpoint_at([127, 0, 0, 2], Some(&peer));
        let _link = stranger::introduced(&elsewhere, node.addr()).await;
    }
    // The dialler says nothing more, so every end is the node's own doing.
    until("all of them end", || async {
        node.counters().handshakes_refused > held.len() as u64
    })
    .await;
    until("and the log says why", || async {
        let late = log::lines(&["handshake refused", "no hello within 5 s"]);
        let ours = |line: &String| {
            held.iter()
                .any(|dialler| line.contains(&format!("peer={} ", dialler.addr())))
        };
        late.iter().any(ours)
    })
    .await;
}

#[tokio::test]
async fn an_address_whose_handshakes_fail_one_after_the_other_is_refused_unseen() {
    let mut cluster = Cluster::new();
    let node = cluster.ring(1).await.remove(0);
    let bare = stranger::endpoint(None);
    let mut failed = 0_u64;
    // At first it is told what is wrong with its certificate, then nothing is computed.
    until("it is turned away unseen", || {
        failed += 1;
        let connecting = bare.connect(node.addr(), "node.test").expect("an address");
        async move {
            match connecting.await {
                Ok(connection) => is_turned_away(&connection.closed().await),
                Err(error) => is_turned_away(&error),
            }
        }
    })
    .await;
    assert!(failed > 64, "{failed}");
    // The bucket drains: who is in order comes in soon, from the same address.
    let member = cluster.node(&[&node]).await;
    joined(&member).await;
}

fn is_turned_away(error: &quinn::ConnectionError) -> bool {
    matches!(error, quinn::ConnectionError::ConnectionClosed(close)
        if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED)
}
