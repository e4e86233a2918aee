//! The node's own numbers, taken at each scrape.

use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use chord_core::event::Status;
use chord_net_quic::counters::{KINDS, NOTICES};
use chord_net_quic::store::{Room, Work};
use chord_net_quic::{Counters, HostStatus};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Kind, signed_seconds_until};
use crate::documents::state_word;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

/// The node's own numbers at this moment.
pub(super) fn snapshot(counters: &Counters, status: Option<&HostStatus>) -> Registry {
    let mut to = Registry::with_prefix("dht");
    let build: Family<Version, Gauge> = Family::default();
    build
        .get_or_create(&Version {
            version: env!("CARGO_PKG_VERSION"),
        })
        .set(1);
    to.register("build_info", "The program's version", build);
    if let Some(status) = status {
        add_status(&mut to, status);
    }
    add_counters(&mut to, counters);
    to
}

fn add_status(to: &mut Registry, status: &HostStatus) {
    let node = &status.node;
    let expiry = status
        .certificate_expires
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let expires = signed_seconds_until(status.certificate_expires);
    let duplicate_seen = status
        .duplicate
        .and_then(|other| other.seen.duration_since(SystemTime::UNIX_EPOCH).ok())
        .unwrap_or_default();
    let gauges = [
        (
            "members",
            "Estimated members of the ring",
            saturate(node.members),
        ),
        (
            "records",
            "Records stored on this host",
            saturate(status.records),
        ),
        (
            "stored_bytes",
            "Bytes of keys and values stored on this host",
            saturate(status.bytes),
        ),
        (
            "tombstones",
            "Deleted and expired records kept so that nothing older comes back",
            saturate(status.tombstones),
        ),
        (
            "copies_missing",
            "Records known to lack copies",
            saturate(node.copies_missing),
        ),
        (
            "spans_unsettled",
            "Spans whose reads still need corroboration",
            node.spans_unsettled.into(),
        ),
        (
            "routing_peers",
            "Peers in the routing table",
            node.table.into(),
        ),
        ("operations", "Operations in flight", node.ops.into()),
        (
            "successors",
            "Entries of the successor list",
            saturate(node.successors.len() as u64),
        ),
        (
            "unavailable_seconds",
            "For how long writes have found no majority; 0 is fine",
            saturate(status.unavailable_for.unwrap_or_default().as_secs()),
        ),
        (
            "uptime_seconds",
            "Since the start of the process",
            saturate(status.uptime.as_secs()),
        ),
        (
            "incarnation",
            "Which start of the process this is",
            node.me.incarnation.into(),
        ),
        (
            "store_room",
            "1 while the disk takes puts, 0 while it is nearly full or full",
            (status.room == Room::Enough).into(),
        ),
        (
            "superseded",
            "1 while members refuse this node for another process with its certificate",
            status.duplicate.is_some_and(|other| other.refused).into(),
        ),
        (
            "duplicate_seen_timestamp_seconds",
            "When another process with this node's certificate was last noticed; 0 if never",
            saturate(duplicate_seen.as_secs()),
        ),
        (
            "certificate_expiry_timestamp_seconds",
            "When the certificate expires",
            saturate(expiry.as_secs()),
        ),
        (
            "certificate_expires_seconds",
            "Until the certificate expires; negative afterwards",
            expires,
        ),
    ];
    for (name, help, value) in gauges {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        to.register(name, help, gauge);
    }
    let moved = [
        (
            "repair_fetched_bytes",
            "Bytes of records that repair and hand-over fetched from others",
            node.moved.fetched,
        ),
        (
            "repair_sent_bytes",
            "Bytes of records that repair and hand-over sent, repeated ones included",
            node.moved.sent,
        ),
    ];
    for (name, help, value) in moved {
        add_counter(to, name, help, value);
    }
    add_state(to, node);
    add_store(to, status.store);
}

/// What the disk has done. A commit takes `commit_seconds / groups` on the average, and
/// `commands / groups` share one.
fn add_store(to: &mut Registry, work: Work) {
    let numbers = [
        ("store_groups", "Groups of writes committed", work.groups),
        ("store_commands", "Writes in them", work.commands),
        (
            "store_refused",
            "Puts refused for want of room",
            work.refused,
        ),
        (
            "store_expired",
            "Records that expired: tombstones since",
            work.expired,
        ),
        (
            "store_buried",
            "Tombstones that nothing older can outlive any more, and went",
            work.buried,
        ),
        (
            "store_verified",
            "Times that every stored record was verified unasked",
            work.verified,
        ),
    ];
    for (name, help, value) in numbers {
        add_counter(to, name, help, value);
    }
    let seconds: Counter<f64, AtomicU64> = Counter::default();
    seconds.inc_by(work.time.0 as f64 / 1e6);
    let help = "From the first write of a group to the end of its commit";
    to.register("store_commit_seconds", help, seconds);
}

/// What the protocol says of itself in words and events.
fn add_state(to: &mut Registry, node: &Status) {
    let states: Family<InState, Gauge> = Family::default();
    for word in ["joining", "joined", "lost", "leaving", "left"] {
        let is_it = word == state_word(node.state);
        states
            .get_or_create(&InState { state: word })
            .set(is_it.into());
    }
    to.register("state", "1 for the state the node is in", states);
    add_counter(
        to,
        "may_have_lost",
        "Spans settled with too few complete holders",
        node.may_have_lost,
    );
}

fn add_counters(to: &mut Registry, counters: &Counters) {
    let plain = [
        (
            "node_refused",
            "Requests of other hosts refused",
            counters.refused,
        ),
        (
            "node_calls_failed",
            "Calls to other hosts without a response",
            counters.calls_failed,
        ),
        (
            "node_calls_retried",
            "Calls sent again on a fresh connection",
            counters.retried,
        ),
        (
            "node_sent_bytes",
            "Bytes of frames sent to other hosts",
            counters.bytes_sent,
        ),
        (
            "node_received_bytes",
            "Bytes of frames received from other hosts",
            counters.bytes_received,
        ),
        (
            "node_dialled",
            "Connections opened to other hosts",
            counters.dialled,
        ),
        (
            "node_accepted",
            "Connections opened by other hosts",
            counters.accepted,
        ),
        (
            "node_reconnects",
            "Connections to a host to which one existed before",
            counters.reconnects,
        ),
        (
            "node_dials_failed",
            "Dials that ended without a connection",
            counters.dials_failed,
        ),
        (
            "node_handshakes_refused",
            "Handshakes of others that were refused",
            counters.handshakes_refused,
        ),
        (
            "node_handshakes_retried",
            "Handshakes of others that were sent back for a proof of their address",
            counters.handshakes_retried,
        ),
        (
            "node_duplicates",
            "Connections closed as the second to one host",
            counters.duplicates,
        ),
        (
            "node_violations",
            "Connections closed for breaking the protocol",
            counters.violations,
        ),
        (
            "reloads_failed",
            "Reloads of certificates and revocation lists that failed; the old ones stayed in force",
            counters.reloads_failed,
        ),
    ];
    for (name, help, value) in plain {
        add_counter(to, name, help, value);
    }
    let open: Gauge = Gauge::default();
    open.set(saturate(counters.connections));
    to.register("node_connections", "Open connections to other hosts", open);
    let due: Gauge = Gauge::default();
    due.set(saturate(counters.crl_next_update));
    to.register(
        "crl_next_update_timestamp_seconds",
        "When the first of the lists of revoked certificates in force is due to be replaced",
        due,
    );
    let families = [
        (
            "node_calls",
            "Calls sent to other hosts",
            &KINDS[..],
            &counters.sent.by_kind[..],
        ),
        (
            "node_served",
            "Requests of other hosts handled",
            &KINDS[..],
            &counters.served.by_kind[..],
        ),
        (
            "node_notices",
            "What the protocol noticed",
            &NOTICES[..],
            &counters.notices.by_kind[..],
        ),
    ];
    for (name, help, kinds, values) in families {
        let family: Family<Kind, Counter> = Family::default();
        for (&kind, &value) in kinds.iter().zip(values) {
            family.get_or_create(&Kind { kind }).inc_by(value);
        }
        to.register(name, help, family);
    }
}

fn add_counter(to: &mut Registry, name: &str, help: &str, value: u64) {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    to.register(name, help, counter);
}

pub(super) fn saturate(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
