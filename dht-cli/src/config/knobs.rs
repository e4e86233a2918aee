//! The options of a host outside `[ring]`: name, meaning, how it is read and shown. One
//! table serves files, variables, flags, `--print-config` and the suggestion for a mistyped
//! name.

use std::net::SocketAddr;
use std::path::Path;

use super::raw::Raw;
use super::ring_knobs::RING;
use super::{Settings, StoreSetting};

/// One option.
#[derive(Debug)]
pub struct Knob {
    /// The table of the TOML form: `node`, `tls`, `api`, `store` or `ring`.
    pub section: &'static str,
    /// Its name in that table.
    pub key: &'static str,
    /// What it is, in a few words.
    pub help: &'static str,
    /// Reads a value into the settings; relative paths hang below the given directory.
    pub(super) set: fn(&mut Settings, &Raw, &Path) -> Result<(), String>,
    /// The value in force, as TOML.
    pub(super) show: fn(&Settings) -> String,
}

impl Knob {
    /// The full name, such as `node.listen`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// The environment variable, such as `DHT_NODE_LISTEN`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("DHT_{}_{}", self.section, self.key).to_ascii_uppercase()
    }
}

/// The tables of the TOML form, in the order they are printed.
pub(super) const SECTIONS: [&str; 5] = ["node", "tls", "api", "store", "ring"];

/// Every option, in the order they are printed.
pub fn knobs() -> impl Iterator<Item = &'static Knob> + Clone {
    HOST.iter().chain(RING)
}

pub(super) fn knob(section: &str, key: &str) -> Option<&'static Knob> {
    knobs().find(|knob| knob.section == section && knob.key == key)
}

/// Text as a TOML string: the strings of JSON are strings of TOML.
pub(super) fn quoted(text: impl std::fmt::Display) -> String {
    serde_json::Value::from(text.to_string()).to_string()
}

fn quoted_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}

fn server(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| quoted("off"), quoted)
}

fn path(path: &Path) -> String {
    quoted(path.display())
}

const HOST: &[Knob] = &[
    Knob {
        section: "node",
        key: "listen",
        help: "UDP address for other nodes (QUIC)",
        set: |s, raw, _| raw.address().map(|at| s.node.listen = at),
        show: |s| quoted(s.node.listen),
    },
    Knob {
        section: "node",
        key: "advertise",
        help: "what other nodes dial; default: listen, if it is a concrete address",
        set: |s, raw, _| raw.address().map(|at| s.node.advertise = Some(at)),
        show: |s| s.node.advertise.map_or_else(String::new, quoted),
    },
    Knob {
        section: "node",
        key: "join",
        help: "any members, host:port; empty founds a ring",
        set: |s, raw, _| raw.hosts().map(|hosts| s.node.join = hosts),
        show: |s| quoted_list(&s.node.join),
    },
    Knob {
        section: "node",
        key: "data_dir",
        help: "directory for what survives a restart",
        set: |s, raw, base| raw.path(base).map(|dir| s.node.data_dir = Some(dir)),
        show: |s| s.node.data_dir.as_deref().map_or_else(String::new, path),
    },
    Knob {
        section: "node",
        key: "virtual",
        help: "ring positions of this host",
        set: |s, raw, _| raw.number().map(|count| s.node.positions = count),
        show: |s| s.node.positions.to_string(),
    },
    Knob {
        section: "tls",
        key: "ca",
        help: "trusted authorities (PEM)",
        set: |s, raw, base| raw.path(base).map(|file| s.tls.ca = file),
        show: |s| path(&s.tls.ca),
    },
    Knob {
        section: "tls",
        key: "cert",
        help: "this node's certificate (PEM)",
        set: |s, raw, base| raw.path(base).map(|file| s.tls.cert = file),
        show: |s| path(&s.tls.cert),
    },
    Knob {
        section: "tls",
        key: "key",
        help: "its private key (PEM, mode 0600)",
        set: |s, raw, base| raw.path(base).map(|file| s.tls.key = file),
        show: |s| path(&s.tls.key),
    },
    Knob {
        section: "tls",
        key: "crl",
        help: "revocation list of each authority (PEM)",
        set: |s, raw, base| raw.path(base).map(|file| s.tls.crl = file),
        show: |s| path(&s.tls.crl),
    },
    Knob {
        section: "tls",
        key: "crl_strict",
        help: "true: an expired revocation list refuses everybody",
        set: |s, raw, _| raw.flag().map(|flag| s.tls.crl_strict = flag),
        show: |s| s.tls.crl_strict.to_string(),
    },
    Knob {
        section: "api",
        key: "tcp",
        help: "the binary client protocol, or off",
        set: |s, raw, _| raw.server().map(|at| s.api.tcp = at),
        show: |s| server(s.api.tcp),
    },
    Knob {
        section: "api",
        key: "http",
        help: "REST, metrics and health, or off",
        set: |s, raw, _| raw.server().map(|at| s.api.http = at),
        show: |s| server(s.api.http),
    },
    Knob {
        section: "api",
        key: "grpc",
        help: "the Chord service, or off",
        set: |s, raw, _| raw.server().map(|at| s.api.grpc = at),
        show: |s| server(s.api.grpc),
    },
    Knob {
        section: "api",
        key: "tls",
        help: "servers off loopback speak TLS with this node's certificate",
        set: |s, raw, _| raw.flag().map(|flag| s.api.tls = flag),
        show: |s| s.api.tls.to_string(),
    },
    Knob {
        section: "api",
        key: "insecure_plain_tcp",
        help: "plain text off loopback: anybody who can reach the port reads and writes",
        set: |s, raw, _| raw.flag().map(|flag| s.api.insecure_plain_tcp = flag),
        show: |s| s.api.insecure_plain_tcp.to_string(),
    },
    Knob {
        section: "api",
        key: "insecure_plain_http",
        help: "likewise for HTTP",
        set: |s, raw, _| raw.flag().map(|flag| s.api.insecure_plain_http = flag),
        show: |s| s.api.insecure_plain_http.to_string(),
    },
    Knob {
        section: "api",
        key: "insecure_plain_grpc",
        help: "likewise for gRPC",
        set: |s, raw, _| raw.flag().map(|flag| s.api.insecure_plain_grpc = flag),
        show: |s| s.api.insecure_plain_grpc.to_string(),
    },
    Knob {
        section: "api",
        key: "http_names",
        help: "names beside localhost and IP addresses that a Host header may carry",
        set: |s, raw, _| raw.names().map(|names| s.api.http_names = names),
        show: |s| quoted_list(&s.api.http_names),
    },
    Knob {
        section: "api",
        key: "connections_max",
        help: "connections at one time to each of these servers",
        set: |s, raw, _| match raw.number()? {
            0 => Err("a server without connections: write \"off\" as its address".to_owned()),
            count => {
                s.api.connections_max = count;
                Ok(())
            }
        },
        show: |s| s.api.connections_max.to_string(),
    },
    Knob {
        section: "store",
        key: "kind",
        help: "where records are kept: memory",
        set: |s, raw, _| {
            let kind = raw.word(&["memory", "redb"])?;
            if kind == "redb" {
                return Err("the persistent store is not part of this version: write \
                    \"memory\"; copies on other nodes are what survives a restart"
                    .to_owned());
            }
            s.store = StoreSetting::Memory;
            Ok(())
        },
        show: |s| match s.store {
            StoreSetting::Memory => quoted("memory"),
        },
    },
];
