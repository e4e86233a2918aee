//! The JSON documents that servers answer and commands print: one struct each, used by both
//! sides, so that a field cannot be renamed on one of them only.
//!
//! Names are a contract; readers must tolerate further fields. Ring ids are 40 hex digits,
//! addresses `ip:port`.

use std::time::{Duration, SystemTime};

use chord_core::event::{Hop, State, View, Why};
use chord_core::peer::Peer;
use serde::{Deserialize, Serialize};

/// How a host is: `/v1/status` and `status --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StatusDocument {
    /// Ring id of the host's first position.
    pub id: String,
    /// Where other members reach it.
    pub addr: String,
    /// `joining`, `joined`, `lost` or `leaving`; after that `left`.
    pub state: String,
    /// Since when writes found no majority, or it has been joining, RFC 3339; absent when fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable_since: Option<String>,
    /// Spans settled with too few complete holders since the start: 0 is fine.
    pub may_have_lost: u64,
    /// Estimated number of members of the ring.
    pub members: u64,
    /// Records in the store; deleted ones do not count, expired ones until they are swept.
    pub records: u64,
    /// Bytes of all keys and values in the store, keys of deleted records included.
    pub bytes: u64,
    /// Records known to lack copies.
    pub copies_missing: u64,
    /// Spans whose reads still need corroboration.
    pub spans_unsettled: u64,
    /// Bytes of records that repair and hand-over fetched from others, since the start.
    #[serde(default)]
    pub repair_fetched_bytes: u64,
    /// Bytes of records that they sent to others, repeated ones included.
    #[serde(default)]
    pub repair_sent_bytes: u64,
    /// What the store has done since the start.
    #[serde(default)]
    pub work: WorkDocument,
    /// `enough`, `nearly_full` or `full`: whether the disk takes more puts.
    #[serde(default)]
    pub room: String,
    /// The certificate in force.
    pub certificate: CertificateDocument,
    /// Which start of the process this is.
    pub incarnation: u32,
    /// Another process that runs with this node's certificate, or did within a day; absent
    /// when fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<DuplicateDocument>,
    /// The predecessor this node believes in.
    #[serde(default)]
    pub predecessor: Option<PeerDocument>,
    /// Its successors, the nearest first.
    #[serde(default)]
    pub successors: Vec<PeerDocument>,
    /// `memory` or `redb`.
    #[serde(default)]
    pub store: String,
    /// Seconds since the start of the process.
    #[serde(default)]
    pub uptime_seconds: u64,
    /// The program's version.
    #[serde(default)]
    pub version: String,
}

/// What a status says of the work of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkDocument {
    /// Groups of writes committed.
    pub commits: u64,
    /// Writes in all of them.
    pub writes: u64,
    /// From the first write of a group to the end of its commit, all of them added up, in
    /// microseconds.
    pub commit_micros: u64,
    /// Puts refused for want of room.
    pub refused: u64,
    /// Records that expired.
    pub expired: u64,
}

/// What a status says of the certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CertificateDocument {
    /// Whole days until it expires, negative afterwards.
    pub expires_days: i64,
    /// When it expires, RFC 3339.
    #[serde(default)]
    pub expires: String,
}

/// What a status says of another process with the node's certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DuplicateDocument {
    /// Whether the members hold to that one and refuse this node, until it begins a new life.
    pub refused: bool,
    /// Its incarnation, 0 if unknown.
    pub incarnation: u32,
    /// How often this node has lately begun a new life because of it.
    pub times: u32,
    /// When it was last met, or others last held to it, RFC 3339.
    pub seen: String,
}

/// Some member, by name and address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerDocument {
    /// Ring id.
    pub id: String,
    /// `ip:port`.
    pub addr: String,
}

/// The ring as seen by a walk: `/v1/ring` and `ring show --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RingDocument {
    /// Every member that answered, by id.
    pub members: Vec<MemberDocument>,
    /// Those that others named and that did not answer: dead, or unreachable from here.
    #[serde(default)]
    pub unreachable: Vec<PeerDocument>,
    /// The walk stopped early: too many members, or too little time.
    #[serde(default)]
    pub truncated: bool,
}

/// What one member believes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemberDocument {
    /// Ring id.
    pub id: String,
    /// `ip:port`.
    pub addr: String,
    /// Ring id of the believed predecessor, `null` if there is none yet.
    pub predecessor: Option<String>,
    /// Ring ids of the successor list, the nearest first.
    pub successors: Vec<String>,
    /// Which start of its process this is.
    #[serde(default)]
    pub incarnation: u32,
}

/// Where a key lives: `/v1/lookup/{key}` and `lookup --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LookupDocument {
    /// SHA-1 of the key, 40 hex digits.
    pub position: String,
    /// Who answers for it.
    pub owner: PeerDocument,
    /// With `trace=true`: every peer asked, in order; empty if the own table knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<Vec<HopDocument>>,
}

/// One step of a lookup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HopDocument {
    /// Ring id of the peer asked.
    pub id: String,
    /// Its address.
    pub addr: String,
    /// Microseconds until its answer, `null` if none came.
    pub rtt_us: Option<u64>,
    /// `table`, `closer`, `owner` or `detour`.
    pub why: String,
}

/// What a server answers instead of the thing asked for (RFC 9457).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The reason phrase of the status.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable, for programs: `not_found`, `conflict`, `unavailable`, …
    pub code: String,
    /// For people: what happened, what to do.
    #[serde(default)]
    pub detail: String,
}

/// One option of a configuration: `/v1/config` is an object of these by full name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OptionDocument {
    /// The value in force, as TOML; empty if there is none.
    pub value: String,
    /// Who said it: a file with line, a variable, a flag, or `default`.
    pub from: String,
}

impl From<Peer> for PeerDocument {
    fn from(peer: Peer) -> Self {
        Self {
            id: peer.id.to_string(),
            addr: peer.addr.to_string(),
        }
    }
}

impl From<&View> for MemberDocument {
    fn from(view: &View) -> Self {
        Self {
            id: view.me.id.to_string(),
            addr: view.me.addr.to_string(),
            predecessor: view.predecessor.map(|peer| peer.id.to_string()),
            successors: view
                .successors
                .iter()
                .map(|peer| peer.id.to_string())
                .collect(),
            incarnation: view.me.incarnation,
        }
    }
}

impl From<&Hop> for HopDocument {
    fn from(hop: &Hop) -> Self {
        Self {
            id: hop.peer.id.to_string(),
            addr: hop.peer.addr.to_string(),
            rtt_us: hop.round_trip.map(|length| length.0),
            why: match hop.why {
                Why::Table => "table",
                Why::Closer => "closer",
                Why::Owner => "owner",
                Why::Detour => "detour",
            }
            .to_owned(),
        }
    }
}

/// The word for a state in documents and metrics.
#[must_use]
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Joining => "joining",
        State::Joined => "joined",
        State::Lost => "lost",
        State::Leaving => "leaving",
        State::Left => "left",
    }
}

/// A moment as RFC 3339 in UTC with whole seconds, such as `2025-03-01T12:00:00Z`; moments
/// before 1970 are shown as its beginning.
#[must_use]
pub fn rfc3339(moment: SystemTime) -> String {
    let seconds = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from a day count (Hinnant, *chrono-compatible low-level date algorithms*):
    // eras of 400 years that begin on 1 March, 719,468 days before the epoch.
    let shifted = days.saturating_add(719_468);
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_as_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ];
        for (seconds, text) in cases {
            let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(rfc3339(moment), text);
        }
    }

    #[test]
    fn a_status_without_the_optional_fields_still_parses() {
        let text = r#"{"id":"a","addr":"b","state":"joined","may_have_lost":0,"members":1,
            "records":0,"bytes":0,"copies_missing":0,"spans_unsettled":0,
            "certificate":{"expires_days":89},"incarnation":7,"something_new":[1]}"#;
        let status: StatusDocument = serde_json::from_str(text).expect("it parses");
        assert_eq!(status.unavailable_since, None);
        let back = serde_json::to_value(&status).expect("it prints");
        assert!(back.get("unavailable_since").is_none(), "{back}");
    }
}
