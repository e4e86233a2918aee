//! What nodes say unasked, as lines of the log.

use chord_core::event::{Notice, StoreError};
use chord_core::peer::Peer;

use crate::clock;
use crate::lines::Lines;

/// Logs a notice of the node at `me`, as loudly as a person on duty would want it.
pub(super) fn log(me: Peer, notice: &Notice, alarms: &Lines) {
    let node = me.id;
    match notice {
        Notice::Joined { founded: true } => tracing::info!(%node, "founded a ring"),
        Notice::Joined { founded: false } => tracing::info!(%node, "joined the ring"),
        Notice::HeadChanged { head } => {
            tracing::debug!(%node, successor = %head.id, at = %head.addr, "another successor");
        }
        Notice::PredecessorChanged { predecessor } => {
            tracing::debug!(%node, predecessor = %predecessor.id, at = %predecessor.addr, "another predecessor");
        }
        Notice::PeerLost { peer } => {
            tracing::info!(
                %node, peer = %peer.id, at = %peer.addr,
                "a peer counts as dead: it does not answer any more, or was started again"
            );
        }
        Notice::Owns { span } => tracing::debug!(%node, ?span, "owns another span"),
        Notice::Settled => tracing::debug!(%node, "all spans are settled"),
        Notice::MayHaveLost { span } => {
            tracing::error!(
                %node, ?span,
                "too many holders died at once: records may be lost, unless those hosts come back with \
                 their disks"
            );
        }
        Notice::Unavailable => tracing::warn!(%node, "writes do not reach a majority of holders"),
        Notice::Available => tracing::info!(%node, "writes reach a majority again"),
        Notice::ClockSkew => tracing::error!(
            %node,
            "holders refuse the time of this host's writes: its wall clock is ahead of theirs, or theirs \
             are behind; check the time service on all of them. Versions go on from theirs"
        ),
        Notice::ClockOff { ahead: 0 } => tracing::info!(%node, "most wall clocks agree with ours"),
        Notice::ClockOff { ahead } => tracing::error!(
            %node,
            hours = ahead / 3_600_000_000,
            "this host's wall clock is so far ahead of most others' (behind, if negative): check the \
             time service on all hosts. If it is ahead, stored records expire by theirs"
        ),
        Notice::Lost => tracing::warn!(%node, "cut off from every peer: joining again"),
        Notice::Slept { length } => {
            tracing::warn!(%node, ms = length.as_millis(), "this process did not run for a while");
        }
        Notice::TwoLives { peer } => two_lives(*peer, alarms),
        Notice::HandedOver { records } => tracing::info!(%node, records, "data handed over"),
        Notice::Unreachable => {
            tracing::warn!(%node, "no seed and no known peer answers: trying again");
        }
        // The store itself says when it becomes full, and the client hears of each refusal.
        Notice::Store {
            error: StoreError::Full,
        } => tracing::debug!(%node, "a put was refused: the disk is nearly full"),
        Notice::Store { error } => tracing::error!(%node, ?error, "the store failed"),
    }
}

/// Two processes run with one certificate. Both may dial without end, so the lines are
/// counted.
pub(super) fn two_lives(peer: Peer, alarms: &Lines) {
    if !alarms.ask(clock::mono()).granted {
        return;
    }
    tracing::error!(
        peer = %peer.id, at = %peer.addr, incarnation = peer.incarnation,
        "two processes use one certificate: stop one of them, or revoke it if it was stolen"
    );
}
