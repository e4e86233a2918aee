//! Lifetimes and copies at their bounds, through every way in: 0 is the default, too much is
//! as much as may be, and what is no number of copies is refused.

mod harness;

use std::time::Duration;

use harness::cluster::Cluster;
use harness::{process, until};

const RING: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(20);

/// Nodes, more than the default copies and fewer than the most.
const NODES: usize = 5;

fn started(count: usize, flags: &[&str]) -> Cluster {
    let mut cluster = Cluster::new(count);
    for at in 0..count {
        cluster.start_with(at, flags);
    }
    cluster.await_ring(0, count, RING);
    cluster
}

/// A key of the binary protocol, as text of the same bytes for the others.
fn key(name: &str) -> [u8; 32] {
    let text = format!("{name:-<32}");
    text.as_bytes().try_into().expect("32 bytes")
}

fn cli(cluster: &Cluster, code: i32, arguments: &[&str]) -> String {
    let node = cluster.url(0);
    process::expect(
        cluster.dir(),
        code,
        &[arguments, &["--node", &node]].concat(),
    )
}

/// Waits until all members together hold this many copies.
fn await_copies(cluster: &Cluster, expected: u64, what: &str) {
    until(what, SOON, || {
        let held: Result<Vec<u64>, String> = (0..cluster.members.len())
            .map(|at| Ok(cluster.status(at)?["records"].as_u64().unwrap_or(0)))
            .collect();
        match held?.iter().sum::<u64>() {
            held if held == expected => Ok(()),
            held => Err(format!("{held} copies, not {expected}")),
        }
    });
}

/// Waits until a value is gone for every way in.
fn await_gone(cluster: &Cluster, name: &str) {
    let (mut tcp, mut http) = (cluster.tcp(1), cluster.http(2));
    until(&format!("{name} has expired"), SOON, || {
        let there = tcp.get(&key(name)).map_err(|error| error.to_string())?;
        there.map_or(Ok(()), |_| Err("it is there".to_owned()))
    });
    let there = http.get(&key(name)).expect("answered");
    assert_eq!(there, None, "{name}: gone for one, gone for all");
    let text = String::from_utf8_lossy(&key(name)).into_owned();
    cli(cluster, 3, &["get", &text]);
}

#[test]
fn no_copies_are_the_default_and_too_many_are_one_on_each_node() {
    let cluster = started(NODES, &[]);
    let (mut tcp, mut http) = (cluster.tcp(1), cluster.http(2));
    let mut expected = 0;
    for (copies, held) in [(1_u8, 1), (0, 3), (2, 2), (8, 5), (9, 5), (255, 5)] {
        let names: Vec<String> = ["tcp", "http", "cli"]
            .iter()
            .map(|way| format!("{way}-{copies}"))
            .collect();
        let value = format!("{copies} copies");
        tcp.put(&key(&names[0]), 0, copies, value.as_bytes())
            .expect("sent");
        let query = format!("&copies={copies}");
        http.put(&key(&names[1]), &query, value.as_bytes())
            .expect("stored");
        let text = String::from_utf8_lossy(&key(&names[2])).into_owned();
        let number = copies.to_string();
        cli(&cluster, 0, &["put", &text, &value, "--copies", &number]);
        for name in &names {
            let back = tcp.get(&key(name)).expect("answered");
            assert_eq!(back.as_deref(), Some(value.as_bytes()), "{name}");
        }
        expected += 3 * held;
        await_copies(&cluster, expected, &format!("copies={copies} means {held}"));
    }
}

#[test]
fn no_lifetime_is_the_default_one() {
    let cluster = started(3, &["--set", "ring.ttl=1s"]);
    let (mut tcp, mut http) = (cluster.tcp(0), cluster.http(1));
    // These first, so that they are the older ones when the others are gone.
    tcp.put(&key("long-tcp"), 3_600, 0, b"x").expect("sent");
    http.put(&key("long-http"), "&ttl=1h", b"x")
        .expect("stored");
    let text = |name: &str| String::from_utf8_lossy(&key(name)).into_owned();
    cli(&cluster, 0, &["put", &text("long-cli"), "x", "--ttl", "1h"]);
    tcp.put(&key("tcp"), 0, 0, b"x").expect("sent");
    http.put(&key("http"), "", b"x").expect("stored");
    http.put(&key("http-0"), "&ttl=0", b"x").expect("stored");
    http.put(&key("http-0s"), "&ttl=0s", b"x").expect("stored");
    cli(&cluster, 0, &["put", &text("cli"), "x"]);
    cli(&cluster, 0, &["put", &text("cli-0s"), "x", "--ttl", "0s"]);
    for name in ["tcp", "http", "http-0", "http-0s", "cli", "cli-0s"] {
        await_gone(&cluster, name);
    }
    for name in ["long-tcp", "long-http", "long-cli"] {
        let back = http.get(&key(name)).expect("answered");
        assert_eq!(back.as_deref(), Some(&b"x"[..]), "{name}");
    }
}

#[test]
fn a_lifetime_beyond_the_longest_is_the_longest() {
    let cluster = started(3, &["--set", "ring.ttl=1s", "--set", "ring.ttl_max=1s"]);
    let (mut tcp, mut http) = (cluster.tcp(0), cluster.http(1));
    tcp.put(&key("tcp"), u16::MAX, 0, b"x").expect("sent");
    http.put(&key("http"), "&ttl=30d", b"x").expect("stored");
    let text = String::from_utf8_lossy(&key("cli")).into_owned();
    cli(&cluster, 0, &["put", &text, "x", "--ttl", "30d"]);
    for name in ["tcp", "http", "cli"] {
        await_gone(&cluster, name);
    }
}

#[test]
fn what_is_no_number_of_copies_and_no_lifetime_is_refused() {
    let cluster = started(1, &[]);
    let mut http = cluster.http(0);
    for query in [
        "copies=256",
        "copies=-1",
        "copies=",
        "ttl=-1",
        "ttl=soon",
        "ttl=",
    ] {
        let path = format!("/v1/kv/key?{query}");
        let (status, body) = http.ask("PUT", &path, b"x").expect("answered");
        let body = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, 400, "{query}: {body}");
        let word = query.split('=').next().expect("a word");
        assert!(body.contains(word), "{query}: {body}");
    }
    for (flag, value) in [
        ("--copies", "256"),
        ("--copies", "-1"),
        ("--ttl", "-1s"),
        ("--ttl", "5"),
    ] {
        let said = cli(
            &cluster,
            2,
            &["put", "key", "x", &format!("{flag}={value}")],
        );
        assert!(said.contains(flag), "{said}");
    }
    cli(&cluster, 3, &["get", "key"]);
}
