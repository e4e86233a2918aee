//! A certificate is renewed under the same id, and the node goes on with it without a restart.

mod harness;

use std::fs;
use std::time::Duration;

use harness::cluster::Cluster;
use harness::{process, until};

const RING: Duration = Duration::from_secs(5);
/// Time for files that changed to be noticed without a signal, twice over.
const NOTICED: Duration = Duration::from_secs(20);

/// Renews a member's certificate, and puts the new files where the old ones are.
fn renew(cluster: &Cluster, at: usize, valid: &str) {
    let (dir, name) = (cluster.dir(), &cluster.members[at].name);
    let (cert, out) = (format!("{name}.pem"), format!("renewed-{valid}"));
    let renew = ["cert", "renew", "--ca", "ca", "--cert", &cert];
    process::expect(
        dir,
        0,
        &[&renew[..], &["--valid", valid, "--out", &out]].concat(),
    );
    for file in [format!("{name}.key"), cert] {
        fs::rename(dir.join(&out).join(&file), dir.join(&file)).expect("moved");
    }
}

#[test]
fn a_running_node_takes_its_renewed_certificate_by_signal_or_by_itself() {
    let mut cluster = Cluster::new(2);
    (0..2).for_each(|at| cluster.start(at));
    cluster.await_ring(0, 2, RING);
    let life = cluster.status(0).expect("it answers")["incarnation"].clone();
    let days = |cluster: &Cluster| {
        cluster
            .status(0)
            .map(|s| s["certificate"]["expires_days"].clone())
    };
    for (valid, left, signal) in [("200d12h", 200, true), ("300d12h", 300, false)] {
        renew(&cluster, 0, valid);
        if signal {
            cluster.process(0).signal("HUP");
        }
        until("the new certificate is in force", NOTICED, || {
            match days(&cluster)? {
                days if days == left => Ok(()),
                days => Err(format!("{days} days left")),
            }
        });
    }
    assert_eq!(
        cluster.status(0).expect("it answers")["incarnation"],
        life,
        "no restart"
    );
    cluster.await_ring(1, 2, RING);
}
