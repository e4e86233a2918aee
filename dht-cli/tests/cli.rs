//! Commands that need no ring: usage, the authority, certificates.

mod harness;

use std::time::{Duration, Instant};

use harness::gate;
use harness::process::{self, expect};

#[test]
fn bad_usage_ends_with_two_and_help_with_zero() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    for bad in [
        &[][..],
        &["no-such"],
        &["ca"],
        &["demo", "--nodes", "2"],
        &["ring", "check", "--successors", "0"],
    ] {
        assert_eq!(process::run(dir, bad).status.code(), Some(2), "{bad:?}");
    }
    for help in [
        &["--help"][..],
        &["--version"],
        &["ring", "check", "--help"],
        &["help", "put"],
    ] {
        assert_eq!(process::run(dir, help).status.code(), Some(0), "{help:?}");
    }
}

#[test]
fn an_authority_issues_lists_and_revokes() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    expect(
        dir,
        0,
        &["ca", "init", "--dir", "ca", "--cluster", "test.example"],
    );
    for file in ["ca.pem", "ca.key", "ca.crl"] {
        assert!(dir.join("ca").join(file).is_file(), "{file}");
    }
    expect(
        dir,
        0,
        &[
            "cert", "issue", "--ca", "ca", "--name", "n1", "--out", "out",
        ],
    );
    expect(
        dir,
        0,
        &[
            "cert", "issue", "--ca", "ca", "--name", "n2", "--spread", "--out", "out",
        ],
    );
    expect(
        dir,
        0,
        &[
            "cert", "issue", "--ca", "ca", "--name", "me", "--role", "admin", "--valid", "30d",
            "--out", "out",
        ],
    );

    let show = |name: &str| -> serde_json::Value {
        let text = expect(
            dir,
            0,
            &["cert", "show", "--json", &format!("out/{name}.pem")],
        );
        serde_json::from_str(&text).expect("a document")
    };
    let issue = [
        "cert", "issue", "--ca", "ca", "--name", "n3", "--out", "out", "--json",
    ];
    let issued: serde_json::Value =
        serde_json::from_str(&expect(dir, 0, &issue)).expect("one document and no talk");
    assert_eq!(issued["cert"], "out/n3.pem");
    assert_eq!(issued["key"], "out/n3.key");
    for field in ["id", "serial", "not_after", "cluster", "role", "name"] {
        assert_eq!(issued[field], show("n3")[field], "{field}");
    }
    let (one, two, me) = (show("n1"), show("n2"), show("me"));
    assert_eq!(one["role"], "node");
    assert_eq!(one["id"].as_str().map(str::len), Some(40));
    assert_ne!(one["id"], two["id"]);
    assert_eq!(
        (&me["role"], &me["id"]),
        (&"admin".into(), &serde_json::Value::Null)
    );
    // Spread puts the second id opposite the first one.
    let top = |id: &serde_json::Value| {
        u8::from_str_radix(&id.as_str().expect("an id")[..2], 16).expect("hex")
    };
    let gap = top(&two["id"]).wrapping_sub(top(&one["id"]));
    assert!((127..=129).contains(&gap), "{one} {two}");

    let verify = [
        "cert",
        "verify",
        "out/n1.pem",
        "--ca",
        "ca/ca.pem",
        "--crl",
        "ca/ca.crl",
    ];
    expect(dir, 0, &verify);
    let serial = one["serial"].as_str().expect("a serial");
    expect(dir, 0, &["ca", "revoke", "--dir", "ca", "--serial", serial]);
    let said = expect(dir, 5, &verify);
    assert!(said.contains("revoked"), "{said}");
    expect(dir, 0, &["ca", "crl", "--dir", "ca"]);
    expect(dir, 5, &verify);
    // Without a list nobody can tell that, and the answer says so.
    let unlisted = ["cert", "verify", "out/n1.pem", "--ca", "ca/ca.pem"];
    let said = expect(dir, 0, &unlisted);
    assert!(said.contains("may have been revoked"), "{said}");
    let said = expect(dir, 0, &[&unlisted[..], &["--json"]].concat());
    let judged: serde_json::Value = serde_json::from_str(&said).expect("a document");
    assert_eq!(judged["good"], true);
    assert_eq!(judged["revocation_checked"], false);
    let said = expect(dir, 5, &[&verify[..], &["--json"]].concat());
    let judged: serde_json::Value = serde_json::from_str(&said).expect("a document");
    assert_eq!(judged["good"], false);
    assert_eq!(judged["revocation_checked"], true);
    expect(
        dir,
        2,
        &["cert", "verify", "out/n1.pem", "--ca", "missing.pem"],
    );
    expect(
        dir,
        2,
        &["cert", "verify", "missing.pem", "--ca", "ca/ca.pem"],
    );
    expect(dir, 2, &["cert", "verify", "out/n1.pem"]);

    let list = expect(dir, 0, &["ca", "list", "--dir", "ca"]);
    for word in ["n1", "n2", "me", "admin", serial, "revoked"] {
        assert!(list.contains(word), "{word} is missing in {list}");
    }
}

#[test]
fn a_renewed_certificate_keeps_its_role_name_and_id_and_the_ledger_knows_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&expect(dir, 0, arguments)).expect("one document and no talk")
    };
    for authority in ["ca", "other"] {
        let init = [
            "ca",
            "init",
            "--dir",
            authority,
            "--cluster",
            "test.example",
        ];
        expect(dir, 0, &init);
    }
    for (name, role) in [("n1", "node"), ("app", "client")] {
        let issue = [
            "cert", "issue", "--ca", "ca", "--name", name, "--role", role, "--valid", "31d12h",
            "--out", "out",
        ];
        expect(dir, 0, &issue);
        let cert = format!("out/{name}.pem");
        let renew = ["cert", "renew", "--ca", "ca", "--cert", &cert];
        // Beside the old one there is no room for it: nothing is overwritten, or issued.
        let said = expect(dir, 2, &[&renew[..], &["--out", "out"]].concat());
        assert!(said.contains("never overwritten"), "{said}");
        let old = json(&["cert", "show", "--json", &cert]);
        let new = json(
            &[
                &renew[..],
                &["--valid", "200d12h", "--out", "new", "--json"],
            ]
            .concat(),
        );
        for field in ["role", "name", "id", "cluster", "issuer"] {
            assert_eq!(old[field], new[field], "{field}");
        }
        assert_ne!(old["serial"], new["serial"]);
        assert_eq!(new["renews"], old["serial"]);
        assert_eq!(new["days_left"], 200);
        let key = |dir_of: &str| std::fs::read(dir.join(dir_of).join(format!("{name}.key")));
        assert_ne!(key("out").expect("a key"), key("new").expect("a key"));
        let verify = ["--ca", "ca/ca.pem", "--crl", "ca/ca.crl"];
        for good in [cert.clone(), format!("new/{name}.pem")] {
            expect(dir, 0, &[&["cert", "verify", &good], &verify[..]].concat());
        }
    }
    let issued = json(&["ca", "list", "--dir", "ca", "--json"]);
    assert_eq!(
        issued["issued"].as_array().map(Vec::len),
        Some(4),
        "{issued}"
    );

    // 31 days are left of the old one, 200 of the new.
    let needs = |file: &str, within: &[&str], code: i32| {
        expect(
            dir,
            code,
            &[&["cert", "needs-renewal", file], within].concat(),
        )
    };
    assert!(needs("out/n1.pem", &[], 0).starts_with("no: it expires on "));
    let said = needs("out/n1.pem", &["--within", "40d"], 5);
    assert!(
        said.starts_with("yes: ") && said.contains("cert renew"),
        "{said}"
    );
    needs("new/n1.pem", &["--within", "40d"], 0);
    let facts = needs("out/n1.pem", &["--within", "40d", "--json"], 5);
    let facts: serde_json::Value = serde_json::from_str(&facts).expect("a document");
    assert_eq!(
        (&facts["needs_renewal"], &facts["days_left"]),
        (&true.into(), &31.into())
    );
    needs("missing.pem", &[], 2);
    needs("out/n1.key", &[], 2);

    let refused = |cert: &str, authority: &str, word: &str| {
        let renew = [
            "cert", "renew", "--ca", authority, "--cert", cert, "--out", "no",
        ];
        let said = expect(dir, 2, &renew);
        assert!(said.contains(word), "{said}");
        assert!(!dir.join("no").exists(), "nothing is written");
    };
    refused("out/n1.pem", "other", "not issued by this authority");
    refused("missing.pem", "ca", "missing.pem");
    refused("out/n1.pem", "nowhere", "nowhere");
    // Whoever revokes one of two is told of the other.
    let said = expect(
        dir,
        0,
        &["ca", "revoke", "--dir", "ca", "--cert", "out/n1.pem"],
    );
    let other = json(&["cert", "show", "--json", "new/n1.pem"]);
    assert!(
        said.contains(other["serial"].as_str().expect("a serial")),
        "{said}"
    );
    refused("out/n1.pem", "ca", "revoked");
}

#[test]
fn wrong_directories_and_files_of_an_authority_are_named_with_the_remedy() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let init = ["ca", "init", "--cluster", "test.example", "--dir"];
    expect(dir, 0, &[&init[..], &["ca"]].concat());
    std::fs::write(dir.join("file"), "x").expect("written");
    std::fs::create_dir(dir.join("half")).expect("made");
    std::fs::copy(dir.join("ca/ca.pem"), dir.join("half/ca.pem")).expect("copied");
    let issue = ["cert", "issue", "--name", "n1", "--out", "out", "--ca"];
    for (command, wrong, words) in [
        (&init[..], "ca", &["never overwritten"][..]),
        (&init, "file", &["a file stands in its place"]),
        (&init, "file/below", &["a file stands in its place"]),
        (
            &["ca", "list", "--dir"],
            "nowhere",
            &["nowhere/ca.pem", "ca init"],
        ),
        (&["ca", "crl", "--dir"], "file", &["file/ca.pem", "ca init"]),
        (&issue, "nowhere", &["nowhere/ca.pem", "ca init"]),
        (&issue, "half", &["half/ca.key", "ca init"]),
        (
            &["ca", "revoke", "--dir", "ca", "--cert"],
            "no.pem",
            &["cannot read no.pem"],
        ),
        (
            &["ca", "revoke", "--dir", "ca", "--cert"],
            "ca/ca.pem",
            &["ca/ca.pem", "an authority"],
        ),
        (
            &["cert", "show"],
            "ca/ca.pem",
            &["ca/ca.pem", "an authority"],
        ),
        (
            &["cert", "show"],
            "ca/ca.key",
            &["ca/ca.key", "no certificate"],
        ),
        (
            &["cert", "verify", "--ca", "ca/ca.crl"],
            "ca/ca.pem",
            &["ca/ca.crl", "ca.pem of the"],
        ),
        (
            &["cert", "verify", "--ca", "ca/ca.pem"],
            "file",
            &["file", "no certificate"],
        ),
    ] {
        let said = expect(dir, 2, &[command, &[wrong]].concat());
        for word in words {
            assert!(said.contains(word), "{command:?} {wrong}: {said}");
        }
    }
    assert!(!dir.join("out").exists(), "nothing is written");
}

#[test]
fn the_configuration_in_force_can_be_printed_without_a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let printed = process::run(dir, &["node", "run", "--print-config"]);
    let report = String::from_utf8(printed.stdout).expect("text");
    let said = String::from_utf8(printed.stderr).expect("text");
    assert_eq!(printed.status.code(), Some(0), "{said}");
    assert!(
        report.contains("copies = 3") && report.contains("# default"),
        "{report}"
    );
    assert!(said.contains("not enough to start a node"), "{said}");

    // Whoever names a file wants to know whether it will do.
    std::fs::write(dir.join("n.toml"), "[ring]\ncopies = 2\n").expect("written");
    let print = ["node", "run", "--print-config", "-c", "n.toml"];
    let said = expect(dir, 2, &print);
    assert!(
        said.contains("copies = 2") && said.contains("n.toml:2"),
        "{said}"
    );
    assert!(said.contains("dht-cli: n.toml: node.listen"), "{said}");
}

#[test]
fn shells_and_manuals_know_every_command() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = expect(dir, 0, &["completions", shell]);
        for word in ["dht-cli", "lookup", "print-config", "spread"] {
            assert!(script.contains(word), "{word} is missing for {shell}");
        }
    }
    expect(dir, 2, &["completions", "command.com"]);
    for _again in 0..2 {
        expect(dir, 0, &["man", "a/man1"]);
    }
    for (page, word) in [
        ("dht-cli.1", "lookup"),
        ("dht-cli-put.1", "hello, ring"),
        ("dht-cli-cert-verify.1", "revoked"),
    ] {
        let text = std::fs::read_to_string(dir.join("a/man1").join(page)).expect(page);
        assert!(text.contains(word), "{word} is missing in {page}");
    }
    std::fs::write(dir.join("file"), "").expect("written");
    expect(dir, 1, &["man", "file"]);
}

#[test]
fn nothing_of_an_authority_is_overwritten() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let init = ["ca", "init", "--dir", "ca", "--cluster", "test.example"];
    expect(dir, 0, &init);
    let before = std::fs::read(dir.join("ca/ca.key")).expect("a key");
    expect(dir, 2, &init);
    assert_eq!(std::fs::read(dir.join("ca/ca.key")).expect("a key"), before);
    let issue = ["cert", "issue", "--ca", "ca", "--name", "n1", "--out", "."];
    expect(dir, 0, &issue);
    expect(dir, 2, &issue);
    expect(
        dir,
        2,
        &[
            "cert", "issue", "--ca", "no-such", "--name", "n2", "--out", ".",
        ],
    );
    expect(
        dir,
        2,
        &[
            "cert", "issue", "--ca", "ca", "--name", "n2", "--role", "king", "--out", ".",
        ],
    );
    expect(
        dir,
        2,
        &["cert", "issue", "--ca", "ca", "--name", "Ä", "--out", "."],
    );
    expect(
        dir,
        2,
        &["ca", "init", "--dir", "x", "--cluster", "not a name"],
    );
    expect(dir, 2, &["cert", "show", "ca/ca.key"]);
    expect(dir, 2, &["ca", "revoke", "--dir", "ca"]);
    expect(dir, 2, &["ca", "revoke", "--dir", "ca", "--serial", "00"]);
}

#[test]
fn the_demo_loses_no_key_and_takes_less_than_ten_seconds() {
    let dir = tempfile::tempdir().expect("a directory");
    let begin = Instant::now();
    let text = expect(dir.path(), 0, &["demo", "--json"]);
    gate("the demo", begin.elapsed(), Duration::from_secs(10));
    let verdict: serde_json::Value = serde_json::from_str(&text).expect("one document");
    assert_eq!(verdict["ok"], true);
    assert_eq!(verdict["nodes"], 5);
    for count in [
        "keys",
        "readable_before",
        "readable_during",
        "readable_after",
    ] {
        assert_eq!(verdict[count], 100, "{count}: {verdict}");
    }
    assert!(verdict["seconds"].is_number());
}

#[test]
fn a_simulated_crash_passes_twice_with_one_trace() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let said = expect(
        dir,
        0,
        &[
            "sim",
            "run",
            "crash-one",
            "--seed",
            "3",
            "--twice",
            "--json",
            "report.json",
        ],
    );
    assert!(said.contains("PASS") && said.contains("--seed 3"), "{said}");
    let report = std::fs::read(dir.join("report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("a document");
    assert_eq!(report["verdict"], "PASS");
    assert_eq!(report["seed"], 3);
    expect(dir, 2, &["sim", "run", "no-such-scenario"]);
    let with = |code, setting| expect(dir, code, &["sim", "run", "crash-one", "--set", setting]);
    with(2, "nodes.cuont=3");
    let said = with(5, "expect.lookup_success=>= 2");
    assert!(said.contains("FAIL"), "{said}");
    // Nobody has this number: the fault cannot fire, and the run proves nothing.
    let said = with(6, r#"fault=[{at="1m", kind="crash", which=[99]}]"#);
    assert!(said.contains("VACUOUS"), "{said}");
}
