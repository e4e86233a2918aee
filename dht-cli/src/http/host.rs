//! `/v1/status`, `/v1/config`, `/metrics`, `/livez`, `/readyz`: how this host is.

use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use chord_core::event::State as NodeState;
use chord_net_quic::HostStatus;
use chord_net_quic::store::{Room, Work};

use super::Shared;
use super::problem::{Problem, json};
use crate::dht::Dht;
use crate::documents::{
    CertificateDocument, DuplicateDocument, StatusDocument, WorkDocument, rfc3339, state_word,
};
use crate::metrics::{CLASSIC, OPEN_METRICS, signed_seconds_until};

/// How the host is.
pub(super) async fn status<D: Dht>(State(shared): State<Shared<D>>) -> Result<Response, Problem> {
    let status = shared.dht.status().await?;
    Ok(json(&document(&status, shared.store, SystemTime::now())))
}

fn document(status: &HostStatus, store: &str, now: SystemTime) -> StatusDocument {
    let node = &status.node;
    let since = |length: Duration| now.checked_sub(length).unwrap_or(SystemTime::UNIX_EPOCH);
    // Who has not joined yet has served nothing since he was started.
    let unavailable = match node.state {
        NodeState::Joining => Some(status.uptime),
        NodeState::Joined | NodeState::Lost | NodeState::Leaving | NodeState::Left => {
            status.unavailable_for
        }
    };
    StatusDocument {
        id: node.me.id.to_string(),
        addr: node.me.addr.to_string(),
        state: state_word(node.state).to_owned(),
        unavailable_since: unavailable.map(|length| rfc3339(since(length))),
        may_have_lost: node.may_have_lost,
        members: node.members,
        records: status.records,
        bytes: status.bytes,
        copies_missing: node.copies_missing,
        spans_unsettled: node.spans_unsettled.into(),
        repair_fetched_bytes: node.moved.fetched,
        repair_sent_bytes: node.moved.sent,
        work: work(status.store),
        room: room_word(status.room).to_owned(),
        certificate: CertificateDocument {
            expires_days: signed_seconds_until(status.certificate_expires).div_euclid(86_400),
            expires: rfc3339(status.certificate_expires),
        },
        duplicate: status.duplicate.map(|other| DuplicateDocument {
            refused: other.refused,
            incarnation: other.incarnation,
            times: other.times,
            seen: rfc3339(other.seen),
        }),
        incarnation: node.me.incarnation,
        predecessor: node.predecessor.map(Into::into),
        successors: node.successors.iter().copied().map(Into::into).collect(),
        store: store.to_owned(),
        uptime_seconds: status.uptime.as_secs(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn work(work: Work) -> WorkDocument {
    WorkDocument {
        commits: work.groups,
        writes: work.commands,
        commit_micros: work.time.0,
        refused: work.refused,
        expired: work.expired,
    }
}

fn room_word(room: Room) -> &'static str {
    match room {
        Room::Enough => "enough",
        Room::Nearly => "nearly_full",
        Room::None => "full",
    }
}

/// The configuration in force, and who said each value; no secrets.
pub(super) async fn config<D: Dht>(State(shared): State<Shared<D>>) -> Response {
    json(&shared.config)
}

/// The counters, in the form the client asks for.
pub(super) async fn metrics<D: Dht>(
    State(shared): State<Shared<D>>,
    headers: HeaderMap,
) -> Response {
    // Without a status, because the node is stopping, the counters are still worth reading.
    let status = shared.dht.status().await.ok();
    let classic = !wants_open_metrics(&headers);
    let text = shared
        .metrics
        .render(&shared.dht.counters(), status.as_ref(), classic);
    let kind = if classic { CLASSIC } else { OPEN_METRICS };
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "no-store"),
        ],
        text,
    )
        .into_response()
}

fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let mut accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains("application/openmetrics-text"))
}

/// 200 while the process works.
pub(super) async fn livez() -> &'static str {
    "alive\n"
}

/// 200 once the node is a member that the others accept, and its spans are settled.
pub(super) async fn readyz<D: Dht>(
    State(shared): State<Shared<D>>,
) -> Result<&'static str, Problem> {
    let status = shared.dht.status().await?;
    let node = &status.node;
    if signed_seconds_until(status.certificate_expires) < 0 {
        let since = rfc3339(status.certificate_expires);
        return Err(Problem::not_ready(format!(
            "the certificate of this node expired on {since}, and every other member refuses it; \
             renew it with `dht-cli cert renew`"
        )));
    }
    if status.duplicate.is_some_and(|other| other.refused) {
        return Err(Problem::not_ready(
            "another process with the certificate of this node started later, and the other \
             members refuse this one; stop that process, or revoke the certificate if it was stolen",
        ));
    }
    if node.state != NodeState::Joined {
        return Err(Problem::not_ready(format!(
            "the node is {}",
            state_word(node.state)
        )));
    }
    if node.spans_unsettled > 0 {
        let detail = format!("{} spans are not settled yet", node.spans_unsettled);
        return Err(Problem::not_ready(detail));
    }
    Ok("ready\n")
}
