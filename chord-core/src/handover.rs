//! Records in the wrong place: offers, strays, sweeping.
//!
//! ```text
//! holder ── Offer(heads) ──▶ owner       Keep: you are a holder · Send: I lack it ·
//!        ── Replicate ─────▶             Wait: its holders lack it · Drop: they have it
//! ```
//!
//! The owner of a position, settled there, is the only one who can say that a copy is not
//! needed. A record found outside every span that an owner has lately counted this node a
//! holder of is offered to its owner, sent if missing, and dropped only after the owner
//! confirmed that its holders have it.
//!
//! **Invariant:** nothing is dropped before it is confirmed elsewhere.

use alloc::vec::Vec;

use crate::event::{CallError, Class, State, StoreAnswer, StoreCommand, StoreError, Ticket};
use crate::id::{Id, Span};
use crate::lookup::Goal;
use crate::message::{Head, Key, Refusal, Request, Response, Verdict};
use crate::node::{Cx, Node};
use crate::peer::Peer;
use crate::records::Ownership;
use crate::then::{Then, heads as own_heads, page};
use crate::time::Micros;
use crate::upkeep::Task;

/// Records swept at once: what a turn may cost.
const SWEEP_LIMIT: u32 = 1_024;
/// Pause between pages of strays.
const STRAYS_PACE: Micros = Micros::from_secs(1);
/// Members that may hand over to us at the same time.
const EXCLUDED_MAX: usize = 16;

impl Node {
    // ---- the owner's side --------------------------------------------------------------

    /// Our predecessor leaves and gives us its span.
    pub(crate) fn serve_yield(&mut self, cx: &mut Cx, ticket: Ticket, from: Peer, after: Id) {
        if self.state == State::Leaving {
            cx.refuse(ticket, Refusal::Leaving);
            return;
        }
        let Some(owned) = self.spans.owned() else {
            cx.refuse(ticket, Refusal::Settling);
            return;
        };
        if owned.after != from.id {
            // Yielded already, or somebody between us has not yielded yet.
            let have = owned.contains(from.id) && !owned.is_whole();
            let response = if have {
                Response::Done
            } else {
                Response::Refused(Refusal::Settling)
            };
            cx.reply(ticket, response);
            return;
        }
        let now = cx.now.mono;
        let between = |peer: &Peer| {
            Id::between(after, peer.id, from.id) && !self.contacts.is_dead(*peer, now)
        };
        let yielded = Span::new(after, from.id);
        if self.ring.successors().iter().any(between) || self.knows_member_in(yielded, now) {
            // It gives away what is somebody else's.
            cx.refuse(ticket, Refusal::Invalid);
            return;
        }
        self.exclude(from);
        self.grant_floor = None;
        // In a ring of two the yielded span begins at ourselves: all is ours again.
        self.own(cx, after, Some(from), false);
        cx.reply(ticket, Response::Done);
    }

    /// Somebody came in before a leaver whose span is ours: what lies up to there is not.
    /// `Done` says that this node owns nothing of it.
    pub(crate) fn serve_cede(&mut self, cx: &mut Cx, ticket: Ticket, from: Peer, after: Id) {
        let owned = self.spans.owned().filter(|owned| owned.contains(from.id));
        let response = match owned {
            Some(owned) if owned.after == after => Response::Done,
            Some(owned) if Id::between(owned.after, after, from.id) => {
                self.exclude(from);
                self.grant_floor = None;
                self.own(cx, after, None, false);
                Response::Done
            }
            Some(_) | None => Response::Refused(Refusal::Settling),
        };
        cx.reply(ticket, response);
    }

    /// This life of a member counts for nothing any more: it hands over, or has left.
    pub(crate) fn exclude(&mut self, peer: Peer) {
        let excluded = &mut self.repair.excluded;
        if excluded.contains(&peer) {
            return;
        }
        if excluded.len() >= EXCLUDED_MAX {
            excluded.remove(0);
        }
        excluded.push(peer);
        self.repair.arrived();
    }

    /// A holder takes no data any more, for it leaves: another one takes its place.
    pub(crate) fn holder_leaves(&mut self, cx: &mut Cx, holder: Peer) {
        if !self.repair.excluded.contains(&holder) {
            self.exclude(holder);
            self.want_repair(cx);
        }
    }

    pub(crate) fn serve_offer(
        &mut self,
        cx: &mut Cx,
        ticket: Ticket,
        from: Peer,
        heads: Vec<Head>,
        leaving: bool,
    ) {
        if self.state == State::Leaving {
            cx.refuse(ticket, Refusal::Leaving);
            return;
        }
        for head in &heads {
            match self.ownership(head.key.position(), cx.now.mono) {
                Ownership::Settled | Ownership::Unsettled => {}
                Ownership::Settling => {
                    cx.refuse(ticket, Refusal::Settling);
                    return;
                }
                Ownership::Foreign => {
                    cx.refuse(
                        ticket,
                        Refusal::NotOwner {
                            hint: self.ring.predecessor(),
                        },
                    );
                    return;
                }
            }
        }
        if heads.is_empty() || heads.len() > usize::from(u16::MAX) {
            cx.refuse(ticket, Refusal::Invalid);
            return;
        }
        if leaving {
            self.exclude(from);
            if !self.repair.is_clean() {
                self.want_repair(cx);
            }
        }
        let keys = heads.iter().map(|head| head.key.clone()).collect();
        let then = Then::OfferRead {
            ticket,
            from,
            heads,
            leaving,
        };
        self.store(cx, StoreCommand::Heads { keys }, then);
    }

    /// One verdict for each offered head.
    pub(crate) fn judge(
        &mut self,
        cx: &mut Cx,
        ticket: Ticket,
        from: Peer,
        heads: &[Head],
        leaving: bool,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let Some((mut own, _)) = own_heads(result) else {
            cx.refuse(ticket, Refusal::Storage);
            return;
        };
        own.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let stored = |key: &Key| -> Option<&Head> {
            let at = own.binary_search_by(|head| head.key.cmp(key)).ok()?;
            own.get(at)
        };
        let group = self.candidates(usize::from(self.config.copies_max), cx.now.mono);
        let rank = group
            .iter()
            .position(|peer| peer.id == from.id)
            .map(|at| at + 1);
        let now = cx.now.mono;
        // Who would still have it: the holders that a round has compared, and this node.
        let staying = |copies: u8| {
            let compared = |peer: &&Peer| !self.repair.is_waived(**peer);
            1 + group
                .iter()
                .take(usize::from(copies).saturating_sub(1))
                .filter(compared)
                .count()
        };
        let clean = self.repair.is_clean() && self.spans.pieces().is_empty();
        let verdicts = heads
            .iter()
            .map(|head| match stored(&head.key) {
                Some(own) if own.version >= head.version => {
                    let holds = rank.is_some_and(|rank| rank < usize::from(own.copies));
                    let (majority, _) = self.quorums(own.copies, now);
                    if holds && !leaving {
                        Verdict::Keep
                    } else if clean && staying(own.copies) >= usize::from(majority) {
                        Verdict::Drop
                    } else {
                        Verdict::Wait
                    }
                }
                _ => Verdict::Send,
            })
            .collect();
        if !clean {
            self.want_repair(cx);
        }
        cx.reply(ticket, Response::Offered { verdicts });
    }

    // ---- sweeping ----------------------------------------------------------------------

    /// `Task::Sweep`: expired records first, once all is settled, then records that belong
    /// elsewhere.
    pub(crate) fn sweep(&mut self, cx: &mut Cx) {
        let pace = self.config.sweep_pace;
        let after = self.jitter(Micros(pace.0 - pace.0 / 4), pace);
        self.schedule(cx, Task::Sweep, after);
        if self.state != State::Joined {
            return;
        }
        let now = cx.now.mono;
        // What ran out while this node was down is hidden at once, but a clock may be wrong:
        // values go only when the others have been asked.
        if now < self.patient_until || !self.spans.pieces().is_empty() {
            self.list_strays(cx);
            return;
        }
        let bury = now - self.config.repair_bound;
        self.store(
            cx,
            StoreCommand::Sweep {
                now,
                bury,
                limit: SWEEP_LIMIT,
            },
            Then::Swept,
        );
    }

    pub(crate) fn swept(&mut self, cx: &mut Cx, result: Result<StoreAnswer, StoreError>) {
        if matches!(result, Ok(StoreAnswer::Swept { more: true, .. })) {
            self.tasks.hasten(Task::Sweep, cx.now.mono + STRAYS_PACE);
        }
        if self.state == State::Joined {
            self.list_strays(cx);
        }
    }

    fn list_strays(&mut self, cx: &mut Cx) {
        let command = StoreCommand::List {
            span: Span::whole(self.me.id),
            after: self.sweep_from.take(),
            bytes_max: self.config.page_bytes / 4,
        };
        self.store(cx, command, Then::StraysListed);
    }

    /// A page of own heads: those that no owner vouches for are strays.
    pub(crate) fn strays_listed(&mut self, cx: &mut Cx, result: Result<StoreAnswer, StoreError>) {
        let Some((heads, more)) = own_heads(result) else {
            return;
        };
        if self.state != State::Joined {
            return;
        }
        if more {
            self.sweep_from = heads.last().map(|head| head.key.clone());
            self.tasks.hasten(Task::Sweep, cx.now.mono + STRAYS_PACE);
        }
        let since = cx.now.mono - Micros(self.config.repair_pace.0 + self.config.repair_pace.0 / 4);
        let stray = |head: &Head| {
            let position = head.key.position();
            !self.spans.owns(position) && !self.spans.is_vouched(position, since)
        };
        let strays: Vec<Head> = heads.into_iter().filter(stray).collect();
        if let Some(first) = strays.first() {
            let target = first.key.position();
            self.strays = strays;
            self.search(cx, target, Goal::Strays);
        }
    }

    pub(crate) fn stray_owner_missing(&mut self, _cx: &mut Cx) {
        self.strays.clear();
    }

    pub(crate) fn stray_owner_found(&mut self, cx: &mut Cx, owner: Peer) {
        let strays = core::mem::take(&mut self.strays);
        let heads = same_owner(&strays, owner);
        if heads.is_empty() || owner.id == self.me.id {
            return;
        }
        let request = Request::Offer {
            heads: heads.clone(),
            leaving: false,
        };
        let deadline = cx.now.mono + self.config.timeout_max;
        let then = Then::StraysOffered { heads };
        self.call_until(cx, owner, request, Class::Repair, 0, deadline, then);
    }

    pub(crate) fn strays_offered(
        &mut self,
        cx: &mut Cx,
        owner: Peer,
        heads: Vec<Head>,
        result: Result<Response, CallError>,
    ) {
        let Ok(Response::Offered { verdicts }) = result else {
            return;
        };
        if verdicts.len() != heads.len() {
            return;
        }
        let mut drop = Vec::new();
        let mut send = Vec::new();
        for (head, verdict) in heads.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Drop if !self.spans.owns(head.key.position()) => drop.push(head),
                Verdict::Send => send.push(head.key),
                Verdict::Drop | Verdict::Keep | Verdict::Wait => {}
            }
        }
        if !drop.is_empty() {
            self.store(cx, StoreCommand::Discard { heads: drop }, Then::Dropped);
        }
        if !send.is_empty() {
            self.store(
                cx,
                StoreCommand::GetMany {
                    keys: send,
                    bytes_max: self.config.page_bytes,
                },
                Then::StraysRead { to: owner },
            );
        }
        // Something was misplaced: look again soon, until nothing is.
        self.tasks
            .hasten(Task::Sweep, cx.now.mono + STRAYS_PACE.times(2));
    }

    pub(crate) fn strays_read(
        &mut self,
        cx: &mut Cx,
        to: Peer,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let Some((records, _)) = page(result) else {
            return;
        };
        if !records.is_empty() {
            let request = Request::Replicate {
                records,
                fresh: false,
            };
            let deadline = cx.now.mono + self.config.timeout_max;
            self.call_until(cx, to, request, Class::Repair, 0, deadline, Then::Told);
        }
    }
}

/// The first head and those behind it that have the same owner.
pub(crate) fn same_owner(heads: &[Head], owner: Peer) -> Vec<Head> {
    let Some(first) = heads.first() else {
        return Vec::new();
    };
    let first = first.key.position();
    let same = |position: Id| {
        position == first || position == owner.id || Id::between(first, position, owner.id)
    };
    let most = usize::from(u16::MAX);
    if first == owner.id {
        return heads
            .iter()
            .take_while(|head| head.key.position() == first)
            .cloned()
            .collect();
    }
    heads
        .iter()
        .filter(|head| same(head.key.position()))
        .take(most)
        .cloned()
        .collect()
}
