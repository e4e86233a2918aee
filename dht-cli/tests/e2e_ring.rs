//! Five processes become one ring, in whatever order they start, and lose no value with one.

mod harness;

use std::time::Duration;

use harness::cluster::Cluster;
use harness::{gate, process};

const RING: Duration = Duration::from_secs(5);
const HEAL: Duration = Duration::from_secs(10);

#[test]
fn five_nodes_started_one_after_another_form_one_ring() {
    let mut cluster = Cluster::new(5);
    for at in 0..4 {
        cluster.start_and_wait(at);
    }
    cluster.start(4);
    gate("one after another", cluster.await_ring(0, 5, RING), RING);
}

#[test]
fn five_nodes_started_at_once_form_one_ring_that_serves_every_command() {
    let mut cluster = Cluster::new(5);
    for at in 0..5 {
        cluster.start(at);
    }
    gate("all at once", cluster.await_ring(0, 5, RING), RING);

    let dir = cluster.dir().to_path_buf();
    let nodes: Vec<String> = (0..5).map(|at| cluster.url(at)).collect();
    let dht = |code: i32, node: usize, arguments: &[&str]| {
        process::expect(&dir, code, &[arguments, &["--node", &nodes[node]]].concat())
    };
    dht(0, 0, &["put", "greeting", "hello, ring"]);
    assert_eq!(dht(0, 1, &["get", "greeting"]), "hello, ring");
    assert_eq!(dht(0, 2, &["get", "--quorum", "greeting"]), "hello, ring");
    dht(0, 3, &["rm", "greeting"]);
    dht(3, 4, &["get", "greeting"]);
    dht(0, 4, &["rm", "greeting"]);

    let found = dht(0, 1, &["lookup", "--trace", "--json", "greeting"]);
    let found: serde_json::Value = serde_json::from_str(&found).expect("a document");
    let owner = found["owner"]["id"].as_str().expect("an owner");
    assert!(
        cluster.members.iter().any(|member| member.id == owner),
        "{found}"
    );

    // Lists of four where one was expected: the check must be able to say no.
    let said = dht(5, 0, &["ring", "check", "--successors", "1"]);
    assert!(said.contains(&cluster.members[0].id[..8]), "{said}");

    let ring = dht(0, 2, &["ring", "show", "--json"]);
    for member in &cluster.members {
        assert!(
            ring.contains(&member.id),
            "{} is missing in {ring}",
            member.name
        );
    }
    let status = dht(0, 3, &["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("a document");
    assert_eq!(status["id"], cluster.members[3].id.as_str());
    assert_eq!(status["state"], "joined");
}

#[test]
fn what_one_port_writes_every_port_of_every_node_reads() {
    let mut cluster = Cluster::new(3);
    for at in 0..3 {
        cluster.start(at);
    }
    cluster.await_ring(0, 3, RING);
    let key = *b"a key of exactly thirty-two byte";
    let (mut tcp, mut http) = (cluster.tcp(0), cluster.http(1));
    // TTL 0 and 0 copies are the defaults, 255 copies are as many as may be.
    for (copies, value) in [(0, "default"), (255, "most"), (1, "one")] {
        tcp.put(&key, 0, copies, value.as_bytes()).expect("sent");
        assert_eq!(
            tcp.get(&key).expect("answered").as_deref(),
            Some(value.as_bytes())
        );
        assert_eq!(
            http.get(&key).expect("answered").as_deref(),
            Some(value.as_bytes())
        );
        assert_eq!(
            cluster.tcp(2).get(&key).expect("answered").as_deref(),
            Some(value.as_bytes())
        );
    }
    http.put(&key, "&ttl=0s&copies=255", b"").expect("stored");
    assert_eq!(tcp.get(&key).expect("answered").as_deref(), Some(&b""[..]));
    http.put(&key, "", &vec![7; 1 << 20]).expect("stored");
    assert_eq!(
        tcp.get(&key).expect("answered"),
        None,
        "too large for this protocol"
    );
    assert_eq!(
        http.get(&key).expect("answered").map(|value| value.len()),
        Some(1 << 20)
    );
    let (status, _) = http
        .ask("PUT", "/v1/kv/61?encoding=hex", &vec![7; (1 << 20) + 1])
        .expect("answered");
    assert_eq!(status, 413);
    let long = "61".repeat(1_025);
    let (status, _) = http
        .ask("PUT", &format!("/v1/kv/{long}?encoding=hex"), b"x")
        .expect("answered");
    assert_eq!(status, 400);
}

#[test]
fn a_killed_node_costs_no_value_and_comes_back_at_once() {
    let mut cluster = Cluster::new(5);
    for at in 0..5 {
        cluster.start(at);
    }
    cluster.await_ring(0, 5, RING);
    let mut http = cluster.http(0);
    let key = |number: u32| format!("key {number}").into_bytes();
    let value = |number: u32| format!("value {number}").repeat(20).into_bytes();
    for number in 0..100 {
        http.put(&key(number), "", &value(number)).expect("stored");
    }
    cluster.kill(2);
    gate("one ring of four", cluster.await_ring(1, 4, HEAL), HEAL);
    let mut http = cluster.http(3);
    for number in 0..100 {
        let back = http.get(&key(number)).expect("answered");
        assert_eq!(back, Some(value(number)), "{number}");
    }
    cluster.start_and_wait(2);
    gate("one ring of five", cluster.await_ring(1, 5, HEAL), HEAL);
}
