//! Off loopback the HTTP API speaks TLS: client certificates read and write, and nobody else does.

mod harness;

use std::time::Duration;

use harness::process::{self, Process};
use harness::{ports, until};

#[test]
fn client_commands_speak_tls_with_a_node_off_loopback() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let init = |ca: &str| {
        process::expect(
            dir,
            0,
            &["ca", "init", "--dir", ca, "--cluster", "tls.example"],
        );
    };
    let issue = |ca: &str, name: &str, role: &str| {
        let order = ["--ca", ca, "--name", name, "--role", role, "--out", "."];
        process::expect(dir, 0, &[&["cert", "issue"], &order[..]].concat());
    };
    init("ca");
    init("other");
    issue("ca", "n1", "node");
    issue("ca", "me", "client");
    issue("ca", "gone", "client");
    issue("other", "stranger", "client");
    process::expect(
        dir,
        0,
        &["ca", "revoke", "--dir", "ca", "--cert", "gone.pem"],
    );

    let (p2p, web) = (ports::free(), ports::free());
    let toml = format!(
        "[node]\nlisten = \"127.0.0.1:{p2p}\"\njoin = []\ndata_dir = \"n1.data\"\n\
         [tls]\nca = \"ca/ca.pem\"\ncert = \"n1.pem\"\nkey = \"n1.key\"\ncrl = \"ca/ca.crl\"\n\
         [api]\ntcp = \"off\"\ngrpc = \"off\"\nhttp = \"0.0.0.0:{web}\"\ntls = true\n"
    );
    std::fs::write(dir.join("n1.toml"), toml).expect("written");
    let log = dir.join("n1.log");
    let node = Process::start(dir, &["node", "run", "-c", "n1.toml"], log);

    let url = format!("https://127.0.0.1:{web}");
    let trust = ["--node", &url, "--ca", "ca/ca.pem", "--crl", "ca/ca.crl"];
    let me = [&trust[..], &["--cert", "me.pem", "--key", "me.key"]].concat();
    until(
        "the node serves its client",
        Duration::from_secs(10),
        || {
            let put = process::run(dir, &[&["put", "k", "v"], &me[..]].concat());
            if put.status.code() == Some(0) {
                return Ok(());
            }
            Err(format!(
                "{}\n{}",
                String::from_utf8_lossy(&put.stderr),
                node.log()
            ))
        },
    );
    assert_eq!(
        process::expect(dir, 0, &[&["get", "k"], &me[..]].concat()),
        "v"
    );
    process::expect(dir, 0, &[&["ring", "check"], &me[..]].concat());

    let refused = |name: &str| {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        let own = ["get", "k", "--cert", &cert, "--key", &key];
        process::run(dir, &[&own[..], &trust].concat())
    };
    // Nobody: the handshake succeeds, the route refuses. Revoked: refused in the handshake
    // by the node, and before it by the client's own look at the list.
    let nobody = process::run(dir, &[&["get", "k"], &trust[..]].concat());
    let stranger = refused("stranger");
    let gone = refused("gone");
    for (who, output) in [
        ("nobody", nobody),
        ("a stranger", stranger),
        ("who is revoked", gone),
    ] {
        let code = output.status.code();
        assert!(matches!(code, Some(1 | 2)), "{who}: {code:?}");
        assert!(output.stdout.is_empty(), "{who} read the value");
    }
    // A node of another authority is not talked to.
    let elsewhere = [
        "--node",
        &url,
        "--ca",
        "other/ca.pem",
        "--crl",
        "other/ca.crl",
    ];
    let own = ["--cert", "stranger.pem", "--key", "stranger.key"];
    process::expect(dir, 1, &[&["get", "k"], &elsewhere[..], &own[..]].concat());
    // Plain text is no way in.
    let plain = format!("http://127.0.0.1:{web}");
    let output = process::run(dir, &["get", "k", "--node", &plain]);
    assert_ne!(output.status.code(), Some(0));
}
