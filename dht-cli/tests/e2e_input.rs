//! Bad input: a sentence that says what to do, the right exit code, nothing started.

mod harness;

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use harness::cluster::Cluster;
use harness::{ports, process, until};

/// Runs `node run` with the first member's configuration, changed, and expects an exit code
/// and a word in what it says.
fn refused(dir: &Path, code: i32, change: impl Fn(&str) -> String, words: &[&str]) {
    let ini = std::fs::read_to_string(dir.join("n1.ini")).expect("a configuration");
    std::fs::write(dir.join("bad.ini"), change(&ini)).expect("written");
    let said = process::expect(dir, code, &["node", "run", "-c", "bad.ini"]);
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
}

#[test]
fn configurations_that_make_no_sense_are_refused_with_the_remedy() {
    let cluster = Cluster::new(1);
    let dir = cluster.dir();
    let add = |line: &'static str| move |ini: &str| format!("{ini}{line}\n");
    refused(
        dir,
        2,
        add("web_adress = 127.0.0.1:1"),
        &["web_adress", "web_address"],
    );
    refused(
        dir,
        2,
        |ini| ini.replace("n1.pem", "missing.pem"),
        &["bad.ini:6: [dht] cert: cannot read missing.pem"],
    );
    refused(
        dir,
        2,
        |ini| ini.replace("ca/ca.crl", "missing.crl"),
        &["bad.ini:9: [dht] crl: cannot read missing.crl"],
    );
    // The right kind of file, but of no use: the certificate stands where the list belongs.
    refused(
        dir,
        2,
        |ini| ini.replace("ca/ca.crl", "ca/ca.pem"),
        &["bad.ini:9: [dht] crl"],
    );
    refused(
        dir,
        2,
        |ini| ini.replace("127.0.0.1", "example.org"),
        &["example.org", "127.0.0.1"],
    );
    refused(
        dir,
        2,
        |ini| ini.replace("cert = n1.pem\n", ""),
        &["bad.ini: [dht] cert: not set"],
    );
    let said = process::expect(dir, 2, &["node", "run", "-c", "no-such.ini"]);
    assert!(said.contains("no-such.ini"), "{said}");
    std::fs::write(
        dir.join("bad.toml"),
        "[node]\nlisten = \"127.0.0.1:1\"\n[rign]\ncopies = 3\n",
    )
    .expect("written");
    let said = process::expect(dir, 2, &["node", "run", "-c", "bad.toml"]);
    assert!(said.contains("rign") && said.contains("ring"), "{said}");
    for (setting, word) in [
        ("ring.copies=0", "copies"),
        ("ring.copies=99", "copies"),
        ("ring.ttl=5", "unit"),
        ("ring.copys=3", "copies"),
        ("store.kind=disk", "memory"),
        ("node.virtual=0", "virtual"),
    ] {
        let said = process::expect(dir, 2, &["node", "run", "-c", "n1.ini", "--set", setting]);
        assert!(said.contains(word), "{setting}: {said}");
    }
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let cluster = Cluster::new(1);
    let key = cluster.dir().join("n1.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("changed");
    refused(cluster.dir(), 2, str::to_owned, &["chmod 600", "n1.key"]);
}

#[test]
fn certificates_that_are_no_nodes_are_refused() {
    let cluster = Cluster::new(2);
    let dir = cluster.dir();
    process::expect(
        dir,
        0,
        &[
            "cert", "issue", "--ca", "ca", "--name", "c1", "--role", "client", "--out", ".",
        ],
    );
    refused(
        dir,
        2,
        |ini| ini.replace("n1.pem", "c1.pem").replace("n1.key", "c1.key"),
        &["client", "node"],
    );
    refused(
        dir,
        2,
        |ini| ini.replace("n1.key", "n2.key"),
        &["n2.key", "does not belong"],
    );

    process::expect(
        dir,
        0,
        &["ca", "init", "--dir", "other", "--cluster", "test.example"],
    );
    process::expect(
        dir,
        0,
        &[
            "cert", "issue", "--ca", "other", "--name", "f1", "--out", ".",
        ],
    );
    refused(
        dir,
        2,
        |ini| ini.replace("n1.pem", "f1.pem").replace("n1.key", "f1.key"),
        &["bad.ini:6: [dht] cert", "not issued by"],
    );
    refused(
        dir,
        2,
        |ini| ini.replace("ca/ca.crl", "other/ca.crl"),
        &["bad.ini:9: [dht] crl: other/ca.crl holds no list of"],
    );

    process::expect(dir, 0, &["ca", "revoke", "--dir", "ca", "--cert", "n1.pem"]);
    refused(dir, 2, str::to_owned, &["bad.ini:6: [dht] cert", "revoked"]);
}

#[test]
fn occupied_ports_are_named() {
    let cluster = Cluster::new(1);
    let member = &cluster.members[0];
    let (p2p, api, web) = (member.p2p, member.api, member.web);
    let socket = UdpSocket::bind(("127.0.0.1", p2p)).expect("a port");
    let words = ["[dht] p2p_address", &p2p.to_string()];
    refused(cluster.dir(), 1, str::to_owned, &words);
    drop(socket);
    for (key, port) in [("[dht] api_address", api), ("[dht] web_address", web)] {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        refused(cluster.dir(), 1, str::to_owned, &[key, &port.to_string()]);
        drop(listener);
    }
}

#[test]
fn directories_for_data_that_cannot_be_used_are_refused_with_the_remedy() {
    let cluster = Cluster::new(1);
    let dir = cluster.dir();
    std::fs::write(dir.join("file"), "x").expect("written");
    std::fs::create_dir_all(dir.join("blocked/lock")).expect("made");
    let data_dir = |place: &'static str| {
        move |ini: &str| ini.replace("data_dir = ./n1.data", &format!("data_dir = {place}"))
    };
    let place = "bad.ini:10: [dht] data_dir";
    refused(dir, 2, data_dir("./file"), &[place, "no directory"]);
    refused(dir, 2, data_dir("./file/below"), &[place, "no directory"]);
    refused(dir, 2, data_dir("./blocked"), &[place, "move it away"]);
    // Nobody may make a directory there, whoever he is.
    refused(dir, 2, data_dir("/sys/dht"), &[place, "/sys/dht"]);

    std::fs::create_dir_all(dir.join("n1.data")).expect("made");
    std::fs::write(dir.join("n1.data/node.json"), "{\"schema\": 1,").expect("written");
    let remedy = "`mv ./n1.data/node.json ./n1.data/node.json.damaged`";
    refused(dir, 1, str::to_owned, &[place, "is damaged", remedy]);
}

/// Whatever a start is refused for, the records of the life before are there for the next one
/// that makes sense.
#[test]
fn a_refused_start_loses_nothing() {
    const RECORDS: usize = 50;
    let mut cluster = Cluster::new(2);
    let (key, value) = (
        |n: usize| format!("kept-{n}").into_bytes(),
        |n: usize| format!("value {n} ").repeat(n + 1).into_bytes(),
    );
    cluster.start_and_wait(0);
    let mut http = cluster.http(0);
    for n in 0..RECORDS {
        http.put(&key(n), "", &value(n)).expect("stored");
    }
    // A value that is too large is refused, and the one before it stays.
    let path = format!("/v1/kv/{}?encoding=hex", harness::hex(&key(0)));
    let large = vec![7; (1 << 20) + 1];
    let (status, _) = http.ask("PUT", &path, &large).expect("answered");
    assert_eq!(status, 413);
    assert_eq!(http.get(&key(0)).expect("answered"), Some(value(0)));
    cluster.kill(0);

    let dir = cluster.dir().to_path_buf();
    let dir = dir.as_path();
    let add = |line: &'static str| move |ini: &str| format!("{ini}{line}\n");
    refused(dir, 2, add("web_adress = 127.0.0.1:1"), &["web_address"]);
    refused(
        dir,
        2,
        |ini| ini.replace("n1.pem", "missing.pem"),
        &["missing.pem"],
    );
    refused(dir, 2, |ini| ini.replace("n1.key", "n2.key"), &["n2.key"]);
    // Another node's certificate on this one's data.
    let stranger = |ini: &str| ini.replace("n1.pem", "n2.pem").replace("n1.key", "n2.key");
    refused(dir, 2, stranger, &["data_dir", &cluster.members[1].id]);
    let key_file = dir.join("n1.key");
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&key_file, mode(0o644)).expect("changed");
    refused(dir, 2, str::to_owned, &["chmod 600"]);
    std::fs::set_permissions(&key_file, mode(0o600)).expect("changed");
    let taken = TcpListener::bind(("127.0.0.1", cluster.members[0].web)).expect("a port");
    refused(dir, 1, str::to_owned, &["[dht] web_address"]);
    drop(taken);
    let node_json = dir.join("n1.data/node.json");
    let remembered = std::fs::read(&node_json).expect("it was written");
    std::fs::write(&node_json, "{\"schema\": 1,").expect("written");
    refused(dir, 1, str::to_owned, &["is damaged"]);
    std::fs::write(&node_json, remembered).expect("written");

    cluster.start_and_wait(0);
    let mut http = cluster.http(0);
    for n in 0..RECORDS {
        let found = http.get(&key(n)).expect("answered");
        assert_eq!(found, Some(value(n)), "kept-{n}");
    }
}

#[test]
fn plain_text_ports_off_loopback_are_refused() {
    let cluster = Cluster::new(1);
    let api = format!("api_address = 127.0.0.1:{}", cluster.members[0].api);
    refused(
        cluster.dir(),
        2,
        |ini| ini.replace(&api, "api_address = 0.0.0.0:0"),
        &["insecure_plain_tcp"],
    );
}

#[test]
fn a_node_whose_seeds_do_not_answer_keeps_trying_and_says_so() {
    let mut cluster = Cluster::new(1);
    let ini = cluster.dir().join("n1.ini");
    let nobody = ports::free();
    let text = std::fs::read_to_string(&ini).expect("a configuration");
    std::fs::write(&ini, format!("{text}bootstrap = 127.0.0.1:{nobody}\n")).expect("written");
    cluster.start(0);
    until("the log tells of it", Duration::from_secs(20), || {
        let log = cluster.log(0);
        if log.to_lowercase().contains("no seed") {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert!(cluster.process(0).is_running());
    let (status, _) = cluster
        .http(0)
        .ask("GET", "/readyz", b"")
        .expect("answered");
    assert_eq!(status, 503);
    let (status, _) = cluster.http(0).ask("GET", "/livez", b"").expect("answered");
    assert_eq!(status, 200);
    let (status, _) = cluster
        .http(0)
        .ask("PUT", "/v1/kv/x", b"value")
        .expect("answered");
    assert_eq!(status, 503);
    let status = ["status", "--node", &cluster.url(0)];
    let said = process::expect(cluster.dir(), 0, &status);
    assert!(
        said.contains("nothing yet: it has been joining since 20"),
        "{said}"
    );
    // It sees itself alone, and that is no ring.
    for what in ["check", "show"] {
        let ring = ["ring", what, "--node", &cluster.url(0)];
        let said = process::expect(cluster.dir(), 4, &ring);
        assert!(
            said.contains("no member") && said.contains("not joined yet"),
            "{said}"
        );
    }
    cluster.process(0).signal("TERM");
    let (code, _) = cluster.process(0).wait(Duration::from_secs(33));
    assert_eq!(code, Some(0), "nothing to hand over\n{}", cluster.log(0));
}

#[test]
fn client_commands_say_what_is_wrong_with_what_they_are_given() {
    let mut cluster = Cluster::new(1);
    cluster.start_and_wait(0);
    let (dir, node) = (cluster.dir().to_path_buf(), cluster.url(0));
    let dht = |code: i32, arguments: &[&str]| {
        process::expect(&dir, code, &[arguments, &["--node", &node]].concat())
    };
    dht(2, &["put", "", "x"]);
    dht(2, &["put", &"k".repeat(1_025), "x"]);
    std::fs::write(dir.join("large"), vec![7; (1 << 20) + 1]).expect("written");
    dht(2, &["put", "k", "@large"]);
    dht(2, &["put", "k", "@no-such-file"]);
    dht(2, &["put", "k", "x", "--ttl", "5"]);
    dht(2, &["put", "k", "x", "--copies", "256"]);
    dht(2, &["put", "k"]);
    dht(3, &["get", "k"]);
    dht(0, &["put", "k", "v0", "--ttl", "0s"]);
    dht(0, &["put", "k", "v1", "--copies", "0"]);
    dht(0, &["put", "k", "v2", "--copies", "255"]);
    assert_eq!(dht(0, &["get", "k"]), "v2");
    let nobody = format!("127.0.0.1:{}", ports::free());
    let said = process::expect(&dir, 4, &["get", "k", "--node", &nobody]);
    assert!(said.contains(&nobody) && said.contains("--node"), "{said}");
    process::expect(&dir, 2, &["get", "k", "--node", "ftp://x"]);
    process::expect(&dir, 2, &["get", "k", "--node", "https://127.0.0.1:1"]);
}
