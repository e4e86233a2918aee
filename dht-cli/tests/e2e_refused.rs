//! Who has no business in the ring is refused by every member, and the log says why.
//!
//! The test client trusts any server, so that a refusal is the server's own.

mod harness;
#[allow(dead_code)] // This file needs a part of it.
#[path = "../../chord-net-quic/tests/common/stranger.rs"]
mod stranger;

use std::path::Path;
use std::time::Duration;

use harness::cluster::Cluster;
use harness::{process, until};

const RING: Duration = Duration::from_secs(5);

/// Time for a member to refuse, and for a good connection to prove that it stays.
const REFUSAL: Duration = Duration::from_secs(5);
const STAYS: Duration = Duration::from_secs(1);

#[tokio::test]
async fn only_nodes_of_the_cluster_that_are_not_revoked_may_dial() {
    let mut cluster = Cluster::new(3);
    let dir = cluster.dir().to_path_buf();
    let issue = |ca: &str, name: &str, role: &str| {
        process::expect(
            &dir,
            0,
            &[
                "cert", "issue", "--ca", ca, "--name", name, "--role", role, "--out", ".",
            ],
        );
    };
    // The log names who was refused: names that are no reasons.
    issue("ca", "a1", "node");
    issue("ca", "a2", "client");
    issue("ca", "a3", "admin");
    issue("ca", "a4", "node");
    process::expect(
        &dir,
        0,
        &["ca", "revoke", "--dir", "ca", "--cert", "a4.pem"],
    );
    process::expect(
        &dir,
        0,
        &["ca", "init", "--dir", "other", "--cluster", "test.example"],
    );
    issue("other", "a5", "node");
    for at in 0..3 {
        cluster.start(at);
    }
    cluster.await_ring(0, 3, RING);
    let views = |cluster: &Cluster| -> Vec<Vec<u8>> {
        let view = |at| cluster.http(at).ask("GET", "/v1/ring", b"");
        (0..3).map(|at| view(at).expect("it runs").1).collect()
    };
    let before_all = views(&cluster);

    for at in 0..3 {
        let port = cluster.members[at].p2p;
        let (open, _) = dial(port, Some("a1"), &dir, STAYS).await;
        assert_eq!(open, None, "a good certificate must not be refused");
        for (who, words) in [
            (Some("a5"), &["unknownissuer", "authority"][..]),
            (Some("a2"), &["client"]),
            (Some("a3"), &["admin"]),
            (Some("a4"), &["revoked"]),
            (None, &["no certificate"]),
        ] {
            let before = cluster.log(at).len();
            let (refusal, from) = dial(port, who, &dir, REFUSAL).await;
            let name = who.unwrap_or("nobody");
            assert!(
                refusal.is_some(),
                "{} let {name} in\n{}",
                cluster.members[at].name,
                cluster.log(at)
            );
            until("the log says why", REFUSAL, || {
                let news = cluster.log(at)[before..].to_lowercase();
                let ours = format!("127.0.0.1:{from} ");
                let said = |line: &str| {
                    line.contains("handshake refused")
                        && line.contains(&ours)
                        && words.iter().any(|word| line.contains(word))
                };
                if news.lines().any(said) {
                    Ok(())
                } else {
                    Err(format!("{name}: {news}"))
                }
            });
        }
    }
    assert!(
        views(&cluster) == before_all,
        "neighbours, lists or lives changed"
    );
    for at in 0..3 {
        let log = cluster.log(at);
        assert!(!log.contains("peer lost"), "{log}");
        assert_eq!(log.matches("joined the ring").count(), usize::from(at > 0));
    }
    println!("15 strangers refused, the ring of three undisturbed");
}

/// Time for a changed list to be noticed, twice over.
const NOTICED: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_revocation_closes_open_connections_and_the_revoked_one_says_why_it_is_alone() {
    let mut cluster = Cluster::new(3);
    let dir = cluster.dir().to_path_buf();
    for name in ["late", "good"] {
        let order = ["cert", "issue", "--ca", "ca", "--name", name, "--out", "."];
        process::expect(&dir, 0, &order);
    }
    for at in 0..3 {
        cluster.start(at);
    }
    cluster.await_ring(0, 3, RING);
    let to = ([127, 0, 0, 1], cluster.members[0].p2p).into();
    let (late, good) = (endpoint(Some("late"), &dir), endpoint(Some("good"), &dir));
    let (late, _late_send, _late_recv) = stranger::introduced_in("test.example", &late, to).await;
    let (good, _good_send, _good_recv) = stranger::introduced_in("test.example", &good, to).await;

    for cert in ["late.pem", "n3.pem"] {
        process::expect(&dir, 0, &["ca", "revoke", "--dir", "ca", "--cert", cert]);
    }
    let closed = tokio::time::timeout(NOTICED, late.closed()).await;
    match closed.expect("the list is noticed") {
        // The code for a certificate that is no good any more.
        quinn::ConnectionError::ApplicationClosed(close) => {
            assert_eq!(close.error_code, 7_u32.into());
        }
        other => panic!("{other}"),
    }
    assert_eq!(good.close_reason(), None, "who is not on the list stays");

    // A member that was revoked is out, and its own log and numbers say why.
    cluster.await_ring(0, 2, NOTICED);
    let by = format!("refused by 127.0.0.1:{}: ", cluster.members[0].p2p);
    until("the revoked member says who refuses it", NOTICED, || {
        let log = cluster.log(2);
        let said = |line: &str| line.contains(&by) && line.contains("revoked");
        if log.lines().any(said) {
            Ok(())
        } else {
            Err(log)
        }
    });
    let mut http = cluster.http(2);
    until(
        "its own files name it, and that is counted",
        NOTICED,
        || {
            let metrics = http.ask("GET", "/metrics", b"").expect("it runs").1;
            let metrics = String::from_utf8(metrics).expect("text");
            let due = "\ndht_crl_next_update_timestamp_seconds ";
            assert!(metrics.contains(due), "{metrics}");
            if metrics.contains("\ndht_reloads_failed_total 0\n") {
                return Err(metrics);
            }
            Ok(())
        },
    );
}

/// Dials a node port with a certificate, or none, and waits whether the other end closes the
/// connection: with what, or nothing when it is still open after `patience`; and from which
/// port it dialled.
async fn dial(
    port: u16,
    who: Option<&str>,
    dir: &Path,
    patience: Duration,
) -> (Option<String>, u16) {
    let endpoint = endpoint(who, dir);
    let from = endpoint.local_addr().expect("bound").port();
    let connecting = endpoint
        .connect(([127, 0, 0, 1], port).into(), "node.test.example")
        .expect("a valid name");
    // A dialler is connected before the other end has seen its certificate.
    let connection = match tokio::time::timeout(patience, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return (Some(error.to_string()), from),
        Err(_) => panic!("no handshake within {patience:?}"),
    };
    match tokio::time::timeout(patience, connection.closed()).await {
        Ok(error) => (Some(error.to_string()), from),
        Err(_) => (None, from),
    }
}

/// An endpoint that shows the certificate of this name, or none.
fn endpoint(who: Option<&str>, dir: &Path) -> quinn::Endpoint {
    let read = |name: String| std::fs::read_to_string(dir.join(name)).expect("a file");
    let pair = who.map(|name| (read(format!("{name}.pem")), read(format!("{name}.key"))));
    let pair = pair.as_ref().map(|(chain, key)| (&chain[..], &key[..]));
    stranger::endpoint_of(pair)
}
