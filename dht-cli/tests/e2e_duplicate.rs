//! One certificate, two processes: the one that was there first is back, by itself, once the
//! other is gone, and everybody says what is wrong as long as it is not.

mod harness;

use std::fs;
use std::time::Duration;

use harness::cluster::Cluster;
use harness::process::Process;
use harness::{ports, until};

const RING: Duration = Duration::from_secs(5);
/// Time for a node to notice, wait its turn and join again.
const BACK: Duration = Duration::from_secs(30);

#[test]
fn a_node_is_back_by_itself_once_a_copy_of_it_is_gone() {
    let mut cluster = Cluster::new(3);
    (0..3).for_each(|at| cluster.start(at));
    cluster.await_ring(0, 3, RING);
    let mut http = cluster.http(0);
    http.put(b"key", "", b"value").expect("stored");
    let life = cluster.status(2).expect("it answers")["incarnation"]
        .as_u64()
        .expect("a number");

    // A copy on another host, whose clock goes ahead of ours.
    let dir = cluster.dir().to_path_buf();
    fs::create_dir(dir.join("copy")).expect("made");
    let remembered = format!(
        r#"{{"schema":1,"writer":"x","cluster":"test.example","id":"{}","incarnation":{},"clock":0,"peers":[]}}"#,
        cluster.members[2].id,
        life + 1_000
    );
    fs::write(dir.join("copy/node.json"), remembered).expect("written");
    let (p2p, web) = (ports::free(), ports::free());
    let listen = format!("127.0.0.1:{p2p}");
    let join = format!("127.0.0.1:{}", cluster.members[0].p2p);
    let http_at = format!("127.0.0.1:{web}");
    let arguments = [
        "node",
        "run",
        "--listen",
        &listen,
        "--join",
        &join,
        "--http",
        &http_at,
        "--tcp",
        "off",
        "--grpc",
        "off",
        "--data-dir",
        "copy",
        "--ca",
        "ca/ca.pem",
        "--crl",
        "ca/ca.crl",
        "--cert",
        "n3.pem",
        "--key",
        "n3.key",
    ];
    let mut copy = Process::start(&dir, &arguments, dir.join("copy.log"));

    until("the first says that it is refused", BACK, || {
        let status = cluster.status(2)?;
        let ready = cluster.http(2).ask("GET", "/readyz", b"");
        let (ready, why) = ready.map_err(|error| error.to_string())?;
        let why = String::from_utf8_lossy(&why).into_owned();
        if status["duplicate"]["refused"] != true {
            return Err(format!("{status}\n{}", copy.log()));
        }
        // It may have begun its next life between the two.
        if ready != 503 || !why.contains("another process with the certificate") {
            return Err(format!("{ready} {why}"));
        }
        Ok(())
    });
    copy.kill();
    let took = cluster.await_ring(0, 3, BACK);
    println!("back after {:.1} s", took.as_secs_f64());
    let status = cluster.status(2).expect("it answers");
    assert!(
        status["incarnation"].as_u64() > Some(life + 1_000),
        "{status}"
    );
    assert_eq!(status["duplicate"]["refused"], false, "{status}");
    assert!(
        cluster.process(2).is_running(),
        "the same process all the time"
    );
    let log = cluster.log(2);
    for words in [
        "two processes use the certificate of this node",
        "begun a new life",
    ] {
        assert!(log.contains(words), "{words:?} is missing in\n{log}");
    }
    let metrics = cluster
        .http(2)
        .ask("GET", "/metrics", b"")
        .expect("it answers")
        .1;
    let metrics = String::from_utf8(metrics).expect("text");
    assert!(metrics.contains("\ndht_superseded 0\n"), "{metrics}");
    assert!(
        !metrics.contains("\ndht_duplicate_seen_timestamp_seconds 0\n"),
        "{metrics}"
    );
    let value = cluster.http(2).get(b"key").expect("answered");
    assert_eq!(value.as_deref(), Some(&b"value"[..]));
}
