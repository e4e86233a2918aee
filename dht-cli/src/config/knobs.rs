//! Every option of a host: name, kind, meaning. One table serves files, variables, flags,
//! `--print-config` and the suggestion for a mistyped name.

use std::path::Path;

use super::Settings;
use super::kinds::{
    ADDRESS, CONNECTIONS, DURATION, FILE, FLAG, HOSTS, MAYBE_ADDRESS, MAYBE_DIRECTORY, NAMES,
    SERVER, SIZE, STORE, number,
};
use super::raw::Raw;

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
    KNOBS.iter()
}

pub(super) fn knob(section: &str, key: &str) -> Option<&'static Knob> {
    knobs().find(|knob| knob.section == section && knob.key == key)
}

/// `section.key, kind, help`: the field of [`Settings`] has the same name, or the one `in` it.
macro_rules! knob {
    ($section:ident.$key:ident, $kind:expr, $help:literal) => {
        knob!($section.$key in $section.$key, $kind, $help)
    };
    ($section:ident.$key:ident in $($field:ident).+, $kind:expr, $help:literal) => {
        Knob {
            section: stringify!($section),
            key: stringify!($key),
            help: $help,
            set: |settings, raw, base| {
                settings.$($field).+ = ($kind.read)(raw, base)?;
                Ok(())
            },
            show: |settings| ($kind.show)(&settings.$($field).+),
        }
    };
}

#[rustfmt::skip] // a table
const KNOBS: &[Knob] = &[
    knob!(node.listen, ADDRESS, "UDP address for other nodes (QUIC)"),
    knob!(node.advertise, MAYBE_ADDRESS, "what other nodes dial; default: listen, if it is a concrete address"),
    knob!(node.join, HOSTS, "any members, host:port; empty founds a ring"),
    knob!(node.data_dir, MAYBE_DIRECTORY, "directory for what survives a restart"),
    knob!(node.virtual in node.positions, number(), "ring positions of this host"),

    knob!(tls.ca, FILE, "trusted authorities (PEM)"),
    knob!(tls.cert, FILE, "this node's certificate (PEM)"),
    knob!(tls.key, FILE, "its private key (PEM, mode 0600)"),
    knob!(tls.crl, FILE, "revocation list of each authority (PEM)"),
    knob!(tls.crl_strict, FLAG, "true: an expired revocation list refuses everybody"),

    knob!(api.tcp, SERVER, "the binary client protocol, or off"),
    knob!(api.http, SERVER, "REST, metrics and health, or off"),
    knob!(api.grpc, SERVER, "the Chord service, or off"),
    knob!(api.tls, FLAG, "servers off loopback speak TLS with this node's certificate"),
    knob!(api.insecure_plain_tcp, FLAG, "plain text off loopback: anybody who can reach the port reads and writes"),
    knob!(api.insecure_plain_http, FLAG, "likewise for HTTP"),
    knob!(api.insecure_plain_grpc, FLAG, "likewise for gRPC"),
    knob!(api.http_names, NAMES, "names beside localhost and IP addresses that a Host header may carry"),
    knob!(api.connections_max, CONNECTIONS, "connections at one time to each of these servers"),

    knob!(store.kind in store, STORE, "where records are kept: redb (in data_dir) or memory"),

    // Every option of the core, by its name there.
    knob!(ring.successors, number(), "length of the successor list"),
    knob!(ring.copies, number(), "default copies of a record, the owner's included"),
    knob!(ring.copies_max, number(), "most copies a client may ask for"),
    knob!(ring.ttl, DURATION, "lifetime for clients that ask for the default"),
    knob!(ring.ttl_max, DURATION, "longest lifetime a client may ask for"),
    knob!(ring.forget, DURATION, "a member dead for this long stops counting for majorities"),
    knob!(ring.stabilise_min, DURATION, "least time between two stabilisations at rest"),
    knob!(ring.stabilise_max, DURATION, "most time between two stabilisations"),
    knob!(ring.settle_delay, DURATION, "wait before the stabilisation that follows a change"),
    knob!(ring.finger_pace, DURATION, "pace of finger refreshes"),
    knob!(ring.passive_pace, DURATION, "pace of asking somebody once known for one's own owner"),
    knob!(ring.repair_pace, DURATION, "pace of comparing records with their other holders"),
    knob!(ring.sweep_pace, DURATION, "pace of sweeping expired records"),
    knob!(ring.timeout_min, DURATION, "least time granted to a call"),
    knob!(ring.timeout_first, DURATION, "time granted to the first call to a stranger"),
    knob!(ring.timeout_max, DURATION, "most time granted to a call"),
    knob!(ring.command_timeout, DURATION, "time granted to an operation of a client"),
    knob!(ring.leave_timeout, DURATION, "time granted to a leave"),
    knob!(ring.skew_max, DURATION, "how far a write may lie ahead of a holder's clock"),
    knob!(ring.repair_bound, DURATION, "how long a deleted record is remembered beyond its lifetime"),
    knob!(ring.passive_max, number(), "peers once known that are kept for healing"),
    knob!(ring.table_max, number(), "peers of the routing table beyond the neighbours"),
    knob!(ring.ops_max, number(), "operations in flight"),
    knob!(ring.page_bytes, SIZE, "bytes of a page of records"),
    knob!(ring.jitter, FLAG, "spread periodic tasks by chance"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_the_core_is_here() {
        let printed = format!("{:?}", chord_core::config::Config::default());
        let fields = printed.matches(": ").count();
        let ring: Vec<&Knob> = knobs().filter(|knob| knob.section == "ring").collect();
        assert_eq!(ring.len(), fields, "{printed}");
        for knob in ring {
            assert!(
                printed.contains(&format!(" {}: ", knob.key)),
                "{}",
                knob.key
            );
        }
    }

    #[test]
    fn each_option_belongs_to_a_table_that_is_printed() {
        assert!(knobs().all(|knob| SECTIONS.contains(&knob.section)));
    }
}
