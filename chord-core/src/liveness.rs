//! Who is alive: two signals to a death, and what follows from one.
//!
//! ```text
//! call overdue ─▶ Ping, twice the timeout ─▶ silence since it was sent ─▶ dead
//! NotMember, a later life, a reset ───────────────────────────────────▶ dead at once
//! dead ─▶ head dropped, calls to it ended, predecessor replaced by its suitor, repair
//! ```
//!
//! **Invariant:** a peer that spoke after a call to it was sent is not dead of that call.

use crate::event::{CallError, Class, Notice, OpId, Why};
use crate::id::Span;
use crate::message::{Refusal, Request, Response};
use crate::node::{Cx, Node};
use crate::ops::Pending;
use crate::peer::Peer;
use crate::then::Then;
use crate::time::Instant;

impl Node {
    /// Looks whether a peer that should be there is: the first of two signals, if it fails.
    pub(crate) fn check_alive(&mut self, cx: &mut Cx, peer: Peer) {
        if peer.is_seed() {
            return;
        }
        let checking = self.ops.iter().any(|(_, pending)| {
            pending.to.is_some_and(|to| to == peer)
                && matches!(pending.then, Then::Checked | Then::Probed)
        });
        if !checking && !self.contacts.is_dead(peer, cx.now.mono) {
            self.call(cx, peer, Request::Ping, Class::Ring, Then::Checked);
        }
    }

    /// A first signal of death: start the probe that may be the second.
    pub(crate) fn suspect(&mut self, cx: &mut Cx, peer: Peer) {
        if peer.is_seed() || !self.contacts.suspect(peer, cx.now.mono) {
            return;
        }
        let timeout = self.contacts.timeout(peer.id, &self.config).times(2);
        let deadline = cx.now.mono + timeout;
        self.call_until(
            cx,
            peer,
            Request::Ping,
            Class::Ring,
            0,
            deadline,
            Then::Probed,
        );
    }

    /// A call is overdue: others may be tried beside it.
    pub(crate) fn overdue(&mut self, cx: &mut Cx, op: OpId) {
        let Some(pending) = self.ops.get(op) else {
            return;
        };
        let Some(to) = pending.to else { return };
        match pending.then {
            Then::Hop {
                search,
                why: Why::Owner,
            } => self.owner_overdue(cx, search),
            Then::Hop { search, .. } => self.advance(cx, search),
            Then::Asked { search } => {
                self.check_alive(cx, to);
                self.owner_overdue(cx, search);
            }
            Then::Replicated { .. } | Then::Gathered { .. } | Then::MissShared { .. } => {
                self.check_alive(cx, to);
            }
            Then::Neighbours | Then::Notified | Then::Checked => self.suspect(cx, to),
            // A lost datagram is no death: the probe asks once more before it gives up.
            Then::Probed => self.tell(cx, to, Request::Ping),
            _ => {}
        }
    }

    /// Every answer comes through here: what it says of the peer's life, then what it was for.
    pub(crate) fn take_answer(
        &mut self,
        cx: &mut Cx,
        pending: Pending<Then>,
        result: Result<Response, CallError>,
    ) {
        let Some(to) = pending.to else { return };
        self.learn_life(cx, to, &pending, &result);
        self.continue_answered(cx, to, pending, result);
    }

    fn learn_life(
        &mut self,
        cx: &mut Cx,
        to: Peer,
        pending: &Pending<Then>,
        result: &Result<Response, CallError>,
    ) {
        if to.is_seed() {
            return;
        }
        let probe = matches!(pending.then, Then::Probed);
        if probe {
            self.contacts.probed(to.id, cx.now.mono);
        }
        match result {
            Ok(Response::Refused(Refusal::NotMember { incarnation })) => {
                let life = (*incarnation).saturating_sub(1);
                if life >= to.incarnation {
                    self.died(
                        cx,
                        Peer {
                            incarnation: life,
                            ..to
                        },
                    );
                } else if self.is_member() {
                    self.contacts.is_outside(to, cx.now.mono);
                    self.buried(cx, to);
                }
            }
            Ok(_) => {
                let round_trip = cx.now.mono.since(pending.sent);
                let sample = pending.then.touches_no_disk().then_some(round_trip);
                self.contacts.heard(to, sample, cx.now.mono);
                let asked = matches!(pending.then, Then::Checked | Then::Probed);
                if asked && self.ring.predecessor().is_some_and(|p| p.id == to.id) {
                    // It is there: whoever wanted its place must ask again, not much later.
                    self.suitor = None;
                }
            }
            Err(CallError::Restarted { incarnation }) => {
                self.died(
                    cx,
                    Peer {
                        incarnation: incarnation.saturating_sub(1),
                        ..to
                    },
                );
            }
            Err(CallError::TimedOut | CallError::Unreachable) => {
                if self.contacts.heard_since(to.id, pending.sent) || pending.then.is_told() {
                    // It lives; this one call was lost, or nobody waited for it.
                } else if probe {
                    self.died(cx, to);
                } else if pending.then.touches_no_disk() {
                    self.suspect(cx, to);
                } else {
                    self.check_alive(cx, to);
                }
            }
            Err(CallError::Overloaded | CallError::Garbled) => {}
        }
    }

    /// This life of `peer` is over: two signals, a restart, or a reset connection.
    pub(crate) fn died(&mut self, cx: &mut Cx, peer: Peer) {
        if self.contacts.died(peer, cx.now.mono) {
            cx.notice(Notice::PeerLost { peer });
        }
        self.buried(cx, peer);
    }

    /// Members that are not there and may bring copies back: the dead that are not forgotten,
    /// and after a restart whoever was known before it, belongs into the list and is not in it.
    /// That it speaks is not enough: while it starts, none of its copies can be asked for.
    pub(crate) fn away(&self, now: Instant) -> impl Iterator<Item = Peer> {
        let list = self.ring.successors();
        let full = list.len() >= usize::from(self.config.successors);
        let end = list
            .last()
            .filter(|_| full)
            .map_or(self.me.id, |last| last.id);
        let within = Span::new(self.me.id, end);
        let late = self.awaited.iter().copied().filter(move |peer| {
            now < self.patient_until
                && within.contains(peer.id)
                && !list.iter().any(|member| member.id == peer.id)
        });
        self.passive.absent(now, self.config.forget).chain(late)
    }

    /// Draws the consequences of a death.
    fn buried(&mut self, cx: &mut Cx, peer: Peer) {
        self.table.forget(peer);
        let near = self
            .ring
            .successors()
            .iter()
            .copied()
            .chain(self.ring.predecessor());
        let was_near = near.into_iter().any(|known| peer.supersedes(known));
        // Whoever said goodbye is no member that is away, however often it does not answer.
        if was_near && !self.repair.hands_over(peer) {
            self.passive.add(peer, Some(cx.now.mono), cx.now.mono);
        }
        self.drop_dead_heads(cx, false);
        self.end_calls_to(cx, peer);
        if was_near && self.is_member() {
            self.want_repair(cx);
        }
        self.rectify_after_death(cx, peer);
        self.alone_again(cx);
    }

    /// The head is this node itself, and whoever came in before it is gone again.
    pub(crate) fn alone_again(&mut self, cx: &mut Cx) {
        let now = cx.now.mono;
        let gone = self
            .ring
            .predecessor()
            .is_none_or(|p| self.contacts.is_dead(p, now));
        if self.ring.head().is_none() && gone && self.spans.owned().is_some() {
            self.alone(cx);
        }
    }

    /// Drops every head known to be dead. `left`: the last one said goodbye.
    pub(crate) fn drop_dead_heads(&mut self, cx: &mut Cx, left: bool) {
        let mut dropped = false;
        while let Some(head) = self.ring.head()
            && self.contacts.is_dead(head, cx.now.mono)
        {
            self.ring.drop_dead(head);
            dropped = true;
        }
        if !dropped || !self.is_member() {
            return;
        }
        match self.ring.head() {
            Some(head) => self.notify(cx, Some(head)),
            None if left => self.alone(cx),
            None => self.lost(cx),
        }
    }

    /// Calls in flight to a dead peer end now instead of at their deadlines.
    fn end_calls_to(&mut self, cx: &mut Cx, peer: Peer) {
        let in_vain: alloc::vec::Vec<OpId> = self
            .ops
            .iter()
            .filter(|(_, pending)| pending.to.is_some_and(|to| peer.supersedes(to)))
            .map(|(op, _)| op)
            .collect();
        for op in in_vain {
            if let Some(pending) = self.ops.take(op)
                && let Some(to) = pending.to
            {
                if matches!(pending.then, Then::Probed) {
                    self.contacts.probed(to.id, cx.now.mono);
                }
                self.continue_answered(cx, to, pending, Err(CallError::Unreachable));
            }
        }
    }

    fn rectify_after_death(&mut self, cx: &mut Cx, peer: Peer) {
        let of_predecessor = self
            .ring
            .predecessor()
            .is_some_and(|predecessor| peer.supersedes(predecessor));
        if let Some(suitor) = self.suitor.take_if(|_| of_predecessor)
            && !self.contacts.is_dead(suitor, cx.now.mono)
            && self.is_member()
        {
            self.rectify(cx, suitor);
        }
    }
}
