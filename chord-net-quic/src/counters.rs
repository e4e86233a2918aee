//! Numbers for `/metrics`: everything a host counts, as one snapshot.

use chord_core::event::Notice;
use chord_core::message::Request;

/// Kinds of requests, in the order of [`Calls::by_kind`].
pub const KINDS: [&str; 18] = [
    "ping",
    "route",
    "neighbours",
    "notify",
    "stabilise",
    "leave",
    "yield",
    "put",
    "get",
    "replicate",
    "fetch",
    "pull",
    "list",
    "mark",
    "offer",
    "discard",
    "sums",
    "cede",
];

/// One number for each kind of request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Calls {
    /// In the order of [`KINDS`].
    pub by_kind: [u64; KINDS.len()],
}

/// Kinds of notices, in the order of [`Notices::by_kind`].
pub const NOTICES: [&str; 17] = [
    "joined",
    "head_changed",
    "predecessor_changed",
    "peer_lost",
    "owns",
    "settled",
    "may_have_lost",
    "unavailable",
    "available",
    "lost",
    "slept",
    "two_lives",
    "handed_over",
    "unreachable",
    "store",
    "clock_skew",
    "clock_off",
];

/// One number for each kind of notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Notices {
    /// In the order of [`NOTICES`].
    pub by_kind: [u64; NOTICES.len()],
}

/// What a host counted since its start. All values only grow, except `connections` and
/// `crl_next_update`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Calls sent to other hosts.
    pub sent: Calls,
    /// Requests of other hosts handed to a node.
    pub served: Calls,
    /// Requests of other hosts refused by the driver: too many at once, unknown, malformed.
    pub refused: u64,
    /// Calls of ours that ended without a response.
    pub calls_failed: u64,
    /// Calls sent a second time because their connection was closed as idle or duplicate.
    pub retried: u64,
    /// Bytes of frames sent, length fields included.
    pub bytes_sent: u64,
    /// Bytes of frames received, length fields included.
    pub bytes_received: u64,
    /// Connections open now.
    pub connections: u64,
    /// Connections opened by us.
    pub dialled: u64,
    /// Connections opened by others.
    pub accepted: u64,
    /// Connections to a host to which one existed before.
    pub reconnects: u64,
    /// Dials that ended without a connection.
    pub dials_failed: u64,
    /// Incoming handshakes that ended without a connection: certificate, protocol, deadline.
    pub handshakes_refused: u64,
    /// Incoming handshakes that were sent back for a proof of their address.
    pub handshakes_retried: u64,
    /// Connections closed as the second of two to one host.
    pub duplicates: u64,
    /// Connections closed for breaking the protocol.
    pub violations: u64,
    /// Reloads of certificates and lists that failed; what was in force stayed.
    pub reloads_failed: u64,
    /// When the first of the lists of the revoked in force was or is due to be replaced, in
    /// seconds since the Unix epoch.
    pub crl_next_update: u64,
    /// Notices of the protocol.
    pub notices: Notices,
}

/// Index of a request's kind in [`KINDS`].
#[must_use]
pub fn kind_of(request: &Request) -> usize {
    match request {
        Request::Ping => 0,
        Request::Route { .. } => 1,
        Request::Neighbours { .. } => 2,
        Request::Notify => 3,
        Request::Stabilise => 4,
        Request::Leave => 5,
        Request::Yield { .. } => 6,
        Request::Put(_) => 7,
        Request::Get { .. } => 8,
        Request::Replicate { .. } => 9,
        Request::Fetch { .. } => 10,
        Request::Pull { .. } => 11,
        Request::List { .. } => 12,
        Request::Mark { .. } => 13,
        Request::Offer { .. } => 14,
        Request::Discard { .. } => 15,
        Request::Sums { .. } => 16,
        Request::Cede { .. } => 17,
    }
}

/// Index of a notice's kind in [`NOTICES`].
#[must_use]
pub fn notice_of(notice: &Notice) -> usize {
    match notice {
        Notice::Joined { .. } => 0,
        Notice::HeadChanged { .. } => 1,
        Notice::PredecessorChanged { .. } => 2,
        Notice::PeerLost { .. } => 3,
        Notice::Owns { .. } => 4,
        Notice::Settled => 5,
        Notice::MayHaveLost { .. } => 6,
        Notice::Unavailable => 7,
        Notice::Available => 8,
        Notice::Lost => 9,
        Notice::Slept { .. } => 10,
        Notice::TwoLives { .. } => 11,
        Notice::HandedOver { .. } => 12,
        Notice::Unreachable => 13,
        Notice::Store { .. } => 14,
        Notice::ClockSkew => 15,
        Notice::ClockOff { .. } => 16,
    }
}
