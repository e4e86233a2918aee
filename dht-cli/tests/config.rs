//! Configurations as operators write them: both forms, every source, every mistake.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chord_core::time::Micros;
use dht_cli::config::{ConfigError, Loaded, Origin, Sources, StoreSetting, gather, load};
use tempfile::TempDir;

const TLS: &str = "[tls]\nca = \"ca.pem\"\ncert = \"n.pem\"\nkey = \"n.key\"\ncrl = \"ca.crl\"\n";

struct Case {
    dir: TempDir,
}

impl Case {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
        }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    fn load(&self, name: &str, text: &str) -> Result<Loaded, ConfigError> {
        let file = Some(self.write(name, text));
        load(&Sources {
            file,
            ..Sources::default()
        })
    }
}

fn toml(text: &str) -> Result<Loaded, ConfigError> {
    Case::new().load("node.toml", text)
}

/// A TOML configuration that is complete but for `text`.
fn with(text: &str) -> Result<Loaded, ConfigError> {
    toml(&format!("{text}\n{TLS}"))
}

fn ini(text: &str) -> Result<Loaded, ConfigError> {
    Case::new().load("node.ini", text)
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// What a wrong configuration is answered with must name the place and every one of `words`.
fn refuses(result: Result<Loaded, ConfigError>, place: &str, words: &[&str]) {
    let error = result.expect_err("it makes no sense");
    assert!(error.place.ends_with(place), "{error}");
    for word in words {
        assert!(error.message.contains(word), "{word:?} in {error}");
    }
}

const FULL: &str = r#"
[node]
listen    = "0.0.0.0:7400"
advertise = "203.0.113.5:7400"
join      = ["a.example.org:7400", "b.example.org:7400"]
data_dir  = "/var/lib/dht"
virtual   = 2

[tls]
ca = "ca.pem"
cert = "node.pem"
key = "/keys/node.key"
crl = "ca.crl"
crl_strict = true

[api]
tcp  = "127.0.0.1:7501"
http = "off"
grpc = "off"
insecure_plain_tcp = true

[store]
kind = "memory"

[ring]
successors = 20
copies     = 5
ttl        = "24h"
ttl_max    = "10d"
copies_max = 9
forget     = "5m"
page_bytes = "64KiB"
jitter     = false
"#;

#[test]
fn the_documented_toml_form_is_read() {
    let case = Case::new();
    let loaded = case.load("node.toml", FULL).expect("it makes sense");
    let settings = &loaded.settings;
    assert_eq!(settings.node.listen, at("0.0.0.0:7400"));
    assert_eq!(settings.node.advertise, Some(at("203.0.113.5:7400")));
    assert_eq!(
        settings.node.join,
        ["a.example.org:7400", "b.example.org:7400"]
    );
    assert_eq!(
        settings.node.data_dir.as_deref(),
        Some(Path::new("/var/lib/dht"))
    );
    assert_eq!(settings.node.positions, 2);
    assert_eq!(settings.tls.ca, case.dir.path().join("ca.pem"));
    assert_eq!(settings.tls.key, Path::new("/keys/node.key"));
    assert!(settings.tls.crl_strict);
    assert_eq!(settings.api.tcp, Some(at("127.0.0.1:7501")));
    assert_eq!((settings.api.http, settings.api.grpc), (None, None));
    assert!(settings.api.insecure_plain_tcp && !settings.api.insecure_plain_http);
    assert_eq!(
        (
            settings.ring.successors,
            settings.ring.copies,
            settings.ring.copies_max
        ),
        (20, 5, 9)
    );
    assert_eq!(settings.ring.ttl_max, Micros::from_secs(10 * 86_400));
    assert_eq!(settings.ring.forget, Micros::from_secs(300));
    assert_eq!(settings.ring.page_bytes, 65_536);
    assert!(!settings.ring.jitter);
    assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
}

#[test]
fn what_is_absent_from_toml_is_the_default() {
    let loaded = with("[node]\nlisten = \"127.0.0.1:0\"").expect("it makes sense");
    let settings = &loaded.settings;
    assert_eq!(settings.api.tcp, Some(at("127.0.0.1:7401")));
    assert_eq!(settings.api.http, Some(at("127.0.0.1:7480")));
    assert_eq!(settings.api.grpc, Some(at("127.0.0.1:7490")));
    assert_eq!(settings.node.positions, 1);
    assert_eq!(settings.ring, chord_core::config::Config::default());
    assert_eq!(loaded.origin("api.tcp"), Origin::Default);
}

const INI: &str = "\u{feff}hostkey = /hostkey.pem\r
; a comment\r
[gossip]\r
cache_size = 50 # another\r
[dht]\r
p2p_address = 127.0.0.1:5601\r
api_address = 127.0.0.1:5501\r
web_address = 127.0.0.1:5701        ; optional, the HTTP API\r
bootstrap   = 127.0.0.1:5602, \"a.example.org:7\"\r
cert = \"n1.pem\"\r
key  = 'n1;key'\r
ca   = ca.pem\r
crl  = ca.crl\r
data_dir = ./n1\r
worker_threads = 8\r
[other]\r
p2p_address = nonsense\r
";

#[test]
fn the_documented_ini_form_is_read_and_what_is_foreign_gets_one_note() {
    let case = Case::new();
    let file = INI.replace(", \"a.example.org:7\"", ", a.example.org:7");
    let loaded = case.load("node.ini", &file).expect("it makes sense");
    let settings = &loaded.settings;
    assert_eq!(settings.node.listen, at("127.0.0.1:5601"));
    assert_eq!(settings.node.join, ["127.0.0.1:5602", "a.example.org:7"]);
    assert_eq!(settings.api.tcp, Some(at("127.0.0.1:5501")));
    assert_eq!(settings.api.http, Some(at("127.0.0.1:5701")));
    assert_eq!(settings.api.grpc, None);
    assert_eq!(settings.tls.key, case.dir.path().join("n1;key"));
    assert_eq!(settings.node.data_dir, Some(case.dir.path().join("n1")));
    let [note] = &loaded.notes[..] else {
        panic!("{:?}", loaded.notes)
    };
    for word in ["hostkey", "[gossip]", "worker_threads", "[other]"] {
        assert!(note.contains(word), "{word} in {note}");
    }
}

#[test]
fn servers_without_an_address_are_off_in_ini() {
    let text = "[dht]\nlisten_address=127.0.0.1:1\nca=a\ncert=b\nkey=c\ncrl=d\nbootstrap=\n";
    let loaded = ini(text).expect("it makes sense");
    let api = &loaded.settings.api;
    assert_eq!((api.tcp, api.http, api.grpc), (None, None, None));
    assert!(loaded.settings.node.join.is_empty());
}

#[test]
fn aliases_of_bootstrap_are_known_and_twins_are_refused() {
    let base = "[dht]\np2p_address=127.0.0.1:1\nca=a\ncert=b\nkey=c\ncrl=d\n";
    for name in ["bootstrap", "join_address", "bootstrap_node"] {
        let loaded = ini(&format!("{base}{name} = h:7\n")).expect("it makes sense");
        assert_eq!(loaded.settings.node.join, ["h:7"], "{name}");
    }
    let twice = ini(&format!("{base}listen_address = 127.0.0.1:2\n"));
    refuses(twice, "node.ini:7", &["listen_address", "node.ini:2"]);
}

#[test]
fn mistakes_in_ini_name_their_line_and_the_remedy() {
    let cases = [
        (
            "[dht]\np2p_adress = 1.2.3.4:5\n",
            ":2",
            &["p2p_adress", "did you mean `p2p_address`?"][..],
        ),
        ("[dht]\np2p_address = 1.2.3.4\n", ":2", &["ip:port"]),
        ("[dht]\np2p_address\n", ":2", &["key = value"]),
        ("[dht\n", ":1", &["]"]),
        ("[dht]\nca = \"x\n", ":2", &["quote"]),
        ("[dht]\ncopies = 3\n", ":2", &["copies", "TOML"]),
        ("p2p_address = 127.0.0.1:1\n", "node.ini", &["[dht]"]),
    ];
    for (text, place, words) in cases {
        refuses(ini(text), place, words);
    }
}

/// What an operator of the INI form reads must not send him looking for keys he never wrote.
#[test]
fn mistakes_in_ini_are_told_in_its_own_words() {
    let files = "ca = a\ncert = b\nkey = c\ncrl = d\n";
    let cases = [
        (
            "[dht]\nlisten_address = 1.2.3.4\n".to_owned(),
            "node.ini:2",
            &["[dht] listen_address: `1.2.3.4`"][..],
        ),
        (
            "[dht]\nbootstrap_node = example.org\n".to_owned(),
            "node.ini:2",
            &["[dht] bootstrap_node: `example.org` lacks a port"],
        ),
        (
            "[dht]\np2p_address = 127.0.0.1:1\nca = a\ncert = b\nkey = c\n".to_owned(),
            "node.ini",
            &["[dht] crl: not set", "ca init"],
        ),
        (
            format!("[dht]\n{files}\n"),
            "node.ini",
            &["[dht] p2p_address: 0.0.0.0:7400", "--set node.advertise="],
        ),
        (
            format!("[dht]\np2p_address = 0.0.0.0:1\n{files}"),
            "node.ini:2",
            &["[dht] p2p_address: 0.0.0.0:1", "--set node.advertise="],
        ),
        (
            format!("[dht]\np2p_address = 127.0.0.1:1\n{files}api_address = 0.0.0.0:2\n"),
            "node.ini:7",
            &[
                "[dht] api_address",
                "--set api.tls=true",
                "--set api.insecure_plain_tcp=true",
            ],
        ),
        (
            format!(
                "[dht]\np2p_address = 127.0.0.1:1\n{files}api_address = 127.0.0.1:2\n\
                 web_address = 127.0.0.1:2\n"
            ),
            "node.ini:8",
            &["[dht] web_address: 127.0.0.1:2 is [dht] api_address already"],
        ),
    ];
    for (text, place, words) in cases {
        let result = ini(&text);
        let said = result.as_ref().expect_err("it makes no sense").to_string();
        for foreign in ["node.listen", "node.join", "tls.crl", "api.tcp", "api.http"] {
            assert!(!said.contains(foreign), "{foreign:?} in {said}");
        }
        refuses(result, place, words);
    }
    let text = format!("[dht]\np2p_address = 127.0.0.1:1\n{files}");
    let loaded = ini(&text).expect("it makes sense");
    let note = loaded.notes.join("\n");
    assert!(
        note.contains("[dht] data_dir is not set") && note.contains("[dht] bootstrap"),
        "{note}"
    );
}

/// A flag beside an INI file is spoken of as a flag.
#[test]
fn a_flag_over_an_ini_file_keeps_its_own_words() {
    let case = Case::new();
    let file = case.write(
        "node.ini",
        "[dht]\np2p_address = 127.0.0.1:1\nca = a\ncert = b\nkey = c\ncrl = d\n",
    );
    let sources = Sources {
        file: Some(file),
        flags: pairs(&[("node.listen", "0.0.0.0:1")]),
        ..Sources::default()
    };
    refuses(load(&sources), "flag node.listen", &["0.0.0.0:1 is every"]);
}

/// The place of a flag is its name: once is enough.
#[test]
fn a_bad_flag_is_named_once() {
    for (name, value) in [
        ("node.listen", "nowhere"),
        ("node.listen", "0.0.0.0:1"),
        ("node.advertise", "0.0.0.0:1"),
        ("node.join", "a"),
        ("node.virtual", "0"),
        ("node.virtual", "many"),
        ("api.tcp", "0.0.0.0:7401"),
        ("api.http", "127.0.0.1:7401"),
        ("api.connections_max", "0"),
        ("store.kind", "disk"),
        ("store.kind", "redb"),
        ("tls.crl_strict", "perhaps"),
        ("ring.copies", "0"),
        ("ring.copies", "99"),
        ("ring.successors", "65"),
        ("ring.ttl", "5"),
        ("ring.ttl", "99d"),
        ("ring.forget", "0s"),
        ("ring.ops_max", "1"),
    ] {
        let mut said = vec![
            ("node.advertise", "127.0.0.1:1"),
            ("node.data_dir", "d"),
            ("tls.ca", "a"),
            ("tls.cert", "b"),
            ("tls.key", "c"),
            ("tls.crl", "d"),
        ];
        // Said together with these it would make sense.
        let missing = match value {
            "0.0.0.0:1" => "node.advertise",
            "redb" => "node.data_dir",
            _ => name,
        };
        said.retain(|(given, _)| *given != missing && *given != name);
        said.push((name, value));
        let sources = Sources {
            flags: pairs(&said),
            ..Sources::default()
        };
        let error = load(&sources).expect_err(value).to_string();
        assert!(error.starts_with(&format!("flag {name}: ")), "{error}");
        assert_eq!(error.matches(name).count(), 1, "{error}");
    }
}

#[test]
fn unknown_keys_and_tables_are_refused_with_the_nearest_known_one() {
    let cases = [
        (
            "[node]\nlisen = \"x\"",
            ":2",
            &["lisen", "did you mean `listen`?"][..],
        ),
        ("[nodes]\n", ":1", &["[nodes]", "did you mean [node]?"]),
        (
            "[ring]\nsucessors = 16",
            ":2",
            &["did you mean `successors`?"],
        ),
        ("[node]\ncopies = 3", ":2", &["belongs into [ring]"]),
        ("copies = 3", ":1", &["belongs into [ring]"]),
        ("[api]\nqqqqqqqqqq = 3", ":2", &["known are", "tcp"]),
    ];
    for (text, place, words) in cases {
        refuses(with(text), place, words);
    }
}

#[test]
fn wrong_values_are_refused_with_what_to_write() {
    let cases = [
        (
            "[node]\n\nlisten = 7400",
            ":3",
            &["node.listen", "quotes"][..],
        ),
        ("[node]\nlisten = \"example.org:1\"", ":2", &["ip:port"]),
        ("[node]\njoin = [\"a\"]", ":2", &["host:port"]),
        ("[node]\njoin = [7]", ":2", &["node.join", "integer"]),
        ("[node]\nvirtual = -1", ":2", &["out of range"]),
        (
            "[node]\nlisten = \"127.0.0.1:0\"\nvirtual = 0",
            ":3",
            &["choose 1 to"],
        ),
        (
            "[node]\nlisten = \"0.0.0.0:7400\"",
            ":2",
            &["node.advertise"],
        ),
        (
            "[node]\nadvertise = \"0.0.0.0:7400\"",
            ":2",
            &["nobody can dial"],
        ),
        ("[ring]\nttl = 86400", ":2", &["no unit", "86400s"]),
        ("[ring]\nttl = \"soon\"", ":2", &["24h"]),
        ("[ring]\npage_bytes = 1024", ":2", &["no unit"]),
        ("[ring]\nsuccessors = 300", ":2", &["out of range"]),
        ("[ring]\njitter = \"yes\"", ":2", &["true or false"]),
        ("[ring]\nttl = 1.5", ":2", &["float"]),
        (
            "[node]\nlisten = \"127.0.0.1:0\"\n[ring]\ncopies = 9",
            ":4",
            &["ring.copies", "copies_max"],
        ),
        (
            "[node]\nlisten = \"127.0.0.1:0\"\n[ring]\nttl_max = \"1s\"",
            "",
            &["ring.ttl"],
        ),
        (
            "[node]\nlisten = \"127.0.0.1:0\"\n[store]\nkind = \"redb\"",
            ":4",
            &["node.data_dir", "\"memory\""],
        ),
        ("[store]\nkind = \"disk\"", ":2", &["memory"]),
        ("[api]\ntcp = \"none\"", ":2", &["off"]),
        ("[api]\nconnections_max = 0", ":2", &["off"]),
        (
            "[node]\nlisten = \"127.0.0.1:0\"\n[api]\ntcp = \"127.0.0.1:9\"\nhttp = \"127.0.0.1:9\"",
            ":5",
            &["another port"],
        ),
        (
            "[node]\nlisten = \"127.0.0.1:0\"\n[api]\ngrpc = \"127.0.0.1:7480\"",
            ":4",
            &["api.http", "another port"],
        ),
        ("node = 3", ":1", &["[node]"]),
        ("[node]\nlisten = \"127.0.0.1:0", ":2", &[]),
        (
            "[node]\nlisten = \"127.0.0.1:0\"\nlisten = \"127.0.0.1:0\"",
            ":3",
            &["duplicate"],
        ),
    ];
    for (text, place, words) in cases {
        refuses(with(text), place, words);
    }
}

#[test]
fn servers_off_loopback_need_tls_or_the_word_insecure() {
    let base = "[node]\nlisten = \"127.0.0.1:0\"\n[api]\n";
    for server in ["tcp", "http", "grpc"] {
        let plain = format!("{base}{server} = \"0.0.0.0:7\"\n");
        let insecure = format!("insecure_plain_{server}");
        refuses(
            with(&plain),
            ":4",
            &[&format!("api.{server}"), "api.tls = true", &insecure],
        );
        with(&format!("{plain}tls = true")).expect("TLS is what it takes");
        with(&format!("{plain}{insecure} = true")).expect("said in so many words");
    }
    let text =
        "[dht]\np2p_address=127.0.0.1:1\nca=a\ncert=b\nkey=c\ncrl=d\napi_address=0.0.0.0:0\n";
    refuses(ini(text), ":7", &["insecure_plain_tcp"]);
}

#[test]
fn a_node_without_certificates_is_told_how_to_make_them() {
    refuses(
        toml("[node]\nlisten = \"127.0.0.1:0\""),
        "node.toml",
        &["tls.ca", "ca init", "cert issue"],
    );
    let flags = pairs(&[("node.listen", "127.0.0.1:0")]);
    let sources = Sources {
        flags,
        ..Sources::default()
    };
    refuses(load(&sources), "configuration", &["tls.ca"]);
}

#[test]
fn what_is_not_enough_for_a_node_can_still_be_shown() {
    let loaded = gather(&Sources::default()).expect("nothing was said, so nothing is wrong");
    assert!(loaded.check().is_err());
    let report = loaded.report();
    for line in ["# ca is not set", "listen = \"0.0.0.0:7400\"", "copies = 3"] {
        assert!(report.contains(line), "{line} in {report}");
    }
}

#[test]
fn files_that_cannot_be_read_or_have_no_form_are_refused() {
    let case = Case::new();
    let missing = Sources {
        file: Some(case.dir.path().join("no.toml")),
        ..Sources::default()
    };
    refuses(load(&missing), "no.toml", &["cannot read"]);
    refuses(case.load("node.yaml", ""), "node.yaml", &[".toml or .ini"]);
    let path = case.dir.path().join("binary.toml");
    std::fs::write(&path, [0xff, 0xfe]).expect("written");
    refuses(
        load(&Sources {
            file: Some(path),
            ..Sources::default()
        }),
        "binary.toml",
        &["UTF-8"],
    );
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let case = Case::new();
    let text =
        format!("[node]\nlisten = \"127.0.0.1:1\"\n[ring]\ncopies = 1\nforget = \"1h\"\n{TLS}");
    let sources = Sources {
        file: Some(case.write("node.toml", &text)),
        environment: pairs(&[
            ("DHT_RING_COPIES", "2"),
            ("DHT_NODE_LISTEN", "127.0.0.1:2"),
            ("DHT_NODE_DATA_DIR", "here"),
            ("HOME", "/root"),
            ("DHT_NODE", "http://127.0.0.1:7480"),
            ("DHT_CA", "client-ca.pem"),
        ]),
        flags: pairs(&[("node.listen", "127.0.0.1:3"), ("node.join", "a:1,b:2")]),
    };
    let loaded = load(&sources).expect("it makes sense");
    assert_eq!(loaded.settings.node.listen, at("127.0.0.1:3"));
    assert_eq!(loaded.settings.node.join, ["a:1", "b:2"]);
    assert_eq!(loaded.settings.ring.copies, 2);
    assert_eq!(loaded.settings.ring.forget, Micros::from_secs(3_600));
    assert_eq!(loaded.settings.tls.ca, case.dir.path().join("ca.pem"));
    assert_eq!(
        loaded.settings.node.data_dir.as_deref(),
        Some(Path::new("here")),
        "relative to the process"
    );
    assert_eq!(
        loaded.origin("ring.copies"),
        Origin::Environment("DHT_RING_COPIES".into())
    );
    assert_eq!(
        loaded.origin("node.listen"),
        Origin::Flag("flag node.listen".into())
    );
    assert!(
        loaded
            .origin("ring.forget")
            .to_string()
            .ends_with("node.toml:5")
    );
}

#[test]
fn variables_and_flags_that_mean_nothing_are_refused_but_service_links_are_not() {
    let environment = |name: &str| {
        let base = [
            ("DHT_NODE_LISTEN", "127.0.0.1:0"),
            ("DHT_TLS_CA", "a"),
            ("DHT_TLS_CERT", "b"),
            ("DHT_TLS_KEY", "c"),
            ("DHT_TLS_CRL", "d"),
            (name, "1"),
        ];
        load(&Sources {
            environment: pairs(&base),
            ..Sources::default()
        })
    };
    refuses(
        environment("DHT_RING_COPYS"),
        "DHT_RING_COPYS",
        &["DHT_RING_COPIES"],
    );
    for link in [
        "DHT_NODE_SERVICE_HOST",
        "DHT_NODE_PORT",
        "DHT_API_PORT_7480_TCP_ADDR",
    ] {
        environment(link).expect("a container platform sets these");
    }
    let flags = pairs(&[("node.lisen", "x")]);
    refuses(
        load(&Sources {
            flags,
            ..Sources::default()
        }),
        "node.lisen",
        &["node.listen"],
    );
}

#[test]
fn the_printed_configuration_says_who_said_it_and_reads_back_the_same() {
    let case = Case::new();
    let loaded = case.load("node.toml", FULL).expect("it makes sense");
    let report = loaded.report();
    let line = |key: &str| {
        let mut lines = report.lines();
        lines
            .find(|line| line.starts_with(key))
            .expect("each option has a line")
            .to_owned()
    };
    assert!(
        line("copies ").contains("= 5") && line("copies ").ends_with("node.toml:27"),
        "{report}"
    );
    assert!(
        line("finger_pace").contains("\"10s\"") && line("finger_pace").ends_with("# default"),
        "{report}"
    );
    let again = case
        .load("again.toml", &report)
        .expect("it is a configuration");
    assert_eq!(again.settings, loaded.settings);
}

#[test]
fn the_place_of_the_key_file_is_not_told_to_clients() {
    let loaded = toml(FULL).expect("it makes sense");
    let told = loaded.redacted();
    assert_eq!(told["tls.key"].value, "\"(redacted)\"");
    assert_eq!(told["ring.ttl"].value, "\"1d\"");
    assert!(told.values().all(|option| !option.value.contains("/keys/")));
}

#[test]
fn what_deserves_a_line_is_said() {
    let loaded = with("[node]\nlisten = \"127.0.0.1:0\"").expect("it makes sense");
    assert!(
        loaded.notes.iter().any(|note| note.contains("data_dir")),
        "{:?}",
        loaded.notes
    );
}

#[test]
fn records_are_kept_on_disk_wherever_there_is_a_place_for_them() {
    let kept = |text: &str| {
        let node = "[node]\nlisten = \"127.0.0.1:0\"\n";
        with(&format!("{node}{text}"))
            .expect("it makes sense")
            .settings
            .store
    };
    assert_eq!(kept("data_dir = \"d\""), StoreSetting::Redb);
    assert_eq!(
        kept("data_dir = \"d\"\n[store]\nkind = \"redb\""),
        StoreSetting::Redb
    );
    assert_eq!(
        kept("data_dir = \"d\"\n[store]\nkind = \"memory\""),
        StoreSetting::Memory
    );
    assert_eq!(kept(""), StoreSetting::Memory);
}

/// The blocks of the README in a language, in their order.
fn blocks(language: &str) -> Vec<&'static str> {
    let text = include_str!("../../README.md");
    let begin = format!("```{language}\n");
    let blocks = text.split(begin.as_str()).skip(1);
    blocks
        .map(|block| block.split("```").next().expect("it ends"))
        .collect()
}

#[test]
fn the_files_that_the_readme_and_the_deployment_show_are_read() {
    let [node, scenario] = blocks("toml")[..] else {
        panic!("a configuration and a scenario are shown");
    };
    let first = toml(node).expect("host 1 of the README").settings;
    assert_eq!(first.node.listen, at("192.0.2.11:7400"));
    assert_eq!(first.node.join, [""; 0]);
    let joins = "join      = [\"192.0.2.11:7400\", \"192.0.2.12:7400\"]";
    let second = node.replace("join      = []", joins);
    assert_ne!(second, node, "what hosts 2 and 3 change is there");
    let second = toml(&second).expect("host 2 of the README").settings;
    assert_eq!(second.node.join, ["192.0.2.11:7400", "192.0.2.12:7400"]);

    let [form] = blocks("ini")[..] else {
        panic!("one INI file is shown");
    };
    let form = ini(form).expect("the INI form of the README").settings;
    assert_eq!(form.api.tcp, Some(at("127.0.0.1:7401")));
    assert_eq!(form.node.join, ["192.0.2.11:7400"]);

    let deployed = toml(include_str!("../../deploy/node.toml")).expect("deploy/node.toml");
    assert!(deployed.notes.is_empty(), "{:?}", deployed.notes);
    assert_eq!(deployed.settings.store, StoreSetting::Redb);

    let plan = chord_net_sim::plan::Plan::from_toml(scenario, "README", &[]);
    assert_eq!(plan.expect("the scenario of the README").name, "one-dies");
}
