//! Leaving: data first, then a goodbye.
//!
//! ```text
//! me ── Yield(after) ──▶ heir         the first successor that stays owns my span, unsettled
//!    ── Cede(new.id) ──▶ heir         somebody came in before me: that part is the newcomer's
//!    ── Offer(heads) ──▶ each owner   what lacks is sent, until all is confirmed
//!    ── Leave ─────────▶ neighbours   treat me as dead; adopt no pointer from me
//! ```
//!
//! Whoever leaves takes no data, so members that leave together pass their data to the
//! first that stays, and if nobody stays none waits for another.
//!
//! **Invariant:** the command is answered once, by the deadline, with what is confirmed and
//! what is not.

use alloc::vec::Vec;

use crate::bequest::Bequest;
use crate::event::{
    CallError, Class, Failure, Notice, Outcome, State, StoreAnswer, StoreCommand, StoreError,
    Ticket,
};
use crate::handover::same_owner;
use crate::id::{Id, Span};
use crate::lookup::Goal;
use crate::message::{Head, Key, Refusal, Request, Response, Verdict};
use crate::node::{Cx, Node};
use crate::peer::Peer;
use crate::then::{Then, heads, page};
use crate::time::{Instant, Micros};
use crate::upkeep::Task;

/// How long a goodbye may take to be heard.
const FAREWELL: Micros = Micros::from_millis(500);
/// Longest pause before an owner that first has to bring copies to others is asked again: each
/// offer is a page of heads, which it looks up.
const PAUSE_MAX: Micros = Micros::from_secs(1);

/// A leave under way.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    ticket: Ticket,
    deadline: Instant,
    pub(crate) former: Option<Span>,
    heir: Option<Peer>,
    /// Who may be granted what lies before it: the heir confirmed that it owns only what is
    /// behind this life of our predecessor.
    granted: Option<Peer>,
    /// In whose favour the heir is being asked to cede.
    ceding: Option<Peer>,
    /// Members that leave too, or do not answer.
    pub(crate) refused: Vec<Id>,
    /// Nobody takes anything: count what remains.
    pub(crate) given_up: bool,
    pub(crate) page: Vec<Head>,
    after: Option<Key>,
    more: bool,
    pub(crate) busy: bool,
    /// Before an owner that said `Wait` is asked again; doubles up to [`PAUSE_MAX`].
    pause: Micros,
    /// What falls to this node from a dead predecessor, on its way to others.
    pub(crate) bequest: Option<Bequest>,
    pub(crate) handed_over: u64,
    remaining: u64,
    farewells: usize,
}

impl Leaving {
    /// This node was asleep: what waits, waits longer.
    pub(crate) fn postpone(&mut self, by: Micros) {
        self.deadline = self.deadline + by;
    }
}

impl Node {
    /// `Command::Leave`.
    pub(crate) fn leave(&mut self, cx: &mut Cx, ticket: Ticket) {
        if matches!(self.state, State::Leaving | State::Left) {
            cx.finish(ticket, Err(Failure::Invalid));
            return;
        }
        let member = self.state == State::Joined;
        self.state = State::Leaving;
        let former = self.spans.disown();
        self.abandon_repair();
        for task in [
            Task::Fingers,
            Task::Passive,
            Task::Repair,
            Task::Sweep,
            Task::Join,
        ] {
            self.tasks.stop(task);
        }
        for queued in core::mem::take(&mut self.queued) {
            self.turn_away(cx, queued.asker, Refusal::Leaving);
        }
        self.leaving = Some(Leaving {
            ticket,
            deadline: cx.now.mono + self.config.leave_timeout,
            former,
            heir: None,
            granted: None,
            ceding: None,
            refused: Vec::new(),
            given_up: !member,
            page: Vec::new(),
            after: None,
            more: true,
            busy: false,
            pause: Self::soon(),
            bequest: None,
            handed_over: 0,
            remaining: 0,
            farewells: 0,
        });
        self.leave_step(cx);
    }

    /// `Task::Leave`: the next thing to do.
    pub(crate) fn leave_step(&mut self, cx: &mut Cx) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        if cx.now.mono >= leaving.deadline {
            leaving.given_up = true;
        }
        let (given_up, busy) = (leaving.given_up, leaving.busy);
        let after = leaving.deadline;
        self.look_for_nearer_heir(cx.now.mono);
        self.tasks
            .set(Task::Leave, after.max(cx.now.mono + FAREWELL));
        if given_up {
            self.count_remaining(cx);
            return;
        }
        if busy {
            return;
        }
        let Some(leaving) = &self.leaving else { return };
        if leaving.heir.is_none() {
            self.yield_to_next(cx);
        } else if leaving.page.is_empty() {
            self.next_page(cx);
        } else {
            self.offer_page(cx);
        }
    }

    /// Whether this node owned a position until it began to leave.
    pub(crate) fn has_given_away(&self, position: Id) -> bool {
        let former = self.leaving.as_ref().and_then(|leaving| leaving.former);
        former.is_some_and(|former| former.contains(position))
    }

    pub(crate) fn again_soon(&mut self, cx: &mut Cx) {
        if let Some(leaving) = &mut self.leaving {
            leaving.busy = false;
            leaving.bequest = None;
        }
        self.tasks.hasten(Task::Leave, cx.now.mono + Self::soon());
    }

    // ---- an heir -----------------------------------------------------------------------

    fn yield_to_next(&mut self, cx: &mut Cx) {
        let now = cx.now.mono;
        let Some(leaving) = &self.leaving else { return };
        let stays =
            |peer: &Peer| !leaving.refused.contains(&peer.id) && !self.contacts.is_dead(*peer, now);
        let heir = self.ring.successors().iter().copied().find(stays);
        let former = leaving.former;
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let Some(heir) = heir else {
            leaving.given_up = true;
            self.count_remaining(cx);
            return;
        };
        leaving.busy = true;
        let Some(former) = former else {
            self.yielded(cx, heir, self.me.id, Ok(Response::Done));
            return;
        };
        let after = former.after;
        let request = Request::Yield { after };
        self.call(cx, heir, request, Class::Ring, Then::Yielded { after });
    }

    /// Our span was granted to us when we were leaving already: who granted it owns it no more,
    /// so it must be told to take it back.
    pub(crate) fn granted_while_leaving(&mut self, cx: &mut Cx) {
        let (me, predecessor) = (self.me.id, self.ring.predecessor());
        if let Some(leaving) = &mut self.leaving
            && leaving.former.is_none()
        {
            leaving.former = predecessor.map(|before| Span::new(before.id, me));
            leaving.heir = None;
            self.tasks.hasten(Task::Leave, cx.now.mono);
        }
    }

    pub(crate) fn yielded(
        &mut self,
        cx: &mut Cx,
        peer: Peer,
        after: Id,
        result: Result<Response, CallError>,
    ) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let predecessor = self.ring.predecessor();
        match result {
            Ok(Response::Done) => {
                leaving.heir = Some(peer);
                leaving.granted = predecessor.filter(|before| before.id == after);
                leaving.busy = false;
                self.leave_step(cx);
            }
            Ok(Response::Refused(Refusal::Leaving | Refusal::NotMember { .. })) => {
                leaving.refused.push(peer.id);
                self.again_soon(cx);
            }
            Ok(Response::Refused(Refusal::Invalid)) => {
                // It knows of somebody in what we give away: that part is not ours to give.
                let within = |former: &Span, peer: &Peer| {
                    former.contains(peer.id) && former.after != peer.id && peer.id != former.upto
                };
                if let (Some(former), Some(before)) = (&mut leaving.former, predecessor)
                    && within(former, &before)
                {
                    former.after = before.id;
                }
                self.again_soon(cx);
            }
            Ok(_) | Err(_) => self.again_soon(cx),
        }
    }

    /// Somebody nearer inherits, or the heir is gone: yields again. Data alone would show it,
    /// but what this node owned is the last that it offers.
    fn look_for_nearer_heir(&mut self, now: Instant) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let Some(heir) = leaving.heir else { return };
        let contacts = &self.contacts;
        let stays =
            |peer: &&Peer| !leaving.refused.contains(&peer.id) && !contacts.is_dead(**peer, now);
        let mut stay = self.ring.successors().iter().filter(stays);
        let nearer = |peer: &Peer| Id::between(self.me.id, peer.id, heir.id);
        let known = self.ring.successors().contains(&heir);
        if !known || stay.next().is_some_and(nearer) {
            leaving.heir = None;
        }
    }

    // ---- somebody comes in before this node --------------------------------------------

    /// The predecessor notified us, who own nothing any more: what lies before it is not the
    /// heir's. Once the heir knows, the newcomer is granted it; until then the heir owns it.
    pub(crate) fn cede_to_newcomer(&mut self, cx: &mut Cx, newcomer: Peer) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let Some(heir) = leaving.heir else { return };
        let ours = |former: Span| former.contains(newcomer.id) || former.after == newcomer.id;
        let granted = leaving.granted == Some(newcomer);
        let known = granted || leaving.ceding.is_some() || leaving.given_up;
        if known || !leaving.former.is_some_and(ours) {
            return;
        }
        leaving.ceding = Some(newcomer);
        let request = Request::Cede { after: newcomer.id };
        self.call(cx, heir, request, Class::Ring, Then::Ceded { newcomer });
    }

    pub(crate) fn ceded(
        &mut self,
        cx: &mut Cx,
        heir: Peer,
        newcomer: Peer,
        result: Result<Response, CallError>,
    ) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        leaving.ceding = None;
        // The heir may be in doubt by now; what it confirmed stands, unless another is being
        // told of more.
        let same = match leaving.heir {
            Some(present) => present == heir,
            None => !leaving.busy,
        };
        if result != Ok(Response::Done) || !same {
            return;
        }
        if leaving
            .former
            .is_some_and(|span| span.contains(newcomer.id))
        {
            leaving.former = Some(Span::new(newcomer.id, self.me.id));
        }
        leaving.granted = Some(newcomer);
        // The granting answer goes out with its next notification.
        self.tell(cx, newcomer, Request::Stabilise);
    }

    /// Whether the heir owns, of what was ours, only what lies behind this life of a peer.
    pub(crate) fn has_ceded_to(&self, newcomer: Peer) -> bool {
        let leaving = self.leaving.as_ref();
        leaving.is_some_and(|leaving| leaving.granted == Some(newcomer))
    }

    // ---- page by page ------------------------------------------------------------------

    fn next_page(&mut self, cx: &mut Cx) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        if !leaving.more {
            self.say_goodbye(cx);
            return;
        }
        leaving.busy = true;
        let command = StoreCommand::List {
            span: Span::whole(self.me.id),
            after: leaving.after.clone(),
            bytes_max: self.config.page_bytes / 4,
        };
        self.store(cx, command, Then::LeaveListed);
    }

    pub(crate) fn leave_listed(&mut self, cx: &mut Cx, result: Result<StoreAnswer, StoreError>) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        leaving.busy = false;
        let Some((heads, more)) = heads(result) else {
            leaving.given_up = true;
            leaving.more = false;
            self.leave_step(cx);
            return;
        };
        leaving.more = more && !heads.is_empty();
        leaving.after = heads.last().map(|head| head.key.clone());
        if leaving.given_up {
            leaving.remaining = leaving.remaining.saturating_add(heads.len() as u64);
        } else {
            leaving.page = heads;
        }
        self.leave_step(cx);
    }

    /// Offers the first heads of the page to their owner to be.
    fn offer_page(&mut self, cx: &mut Cx) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let Some(first) = leaving.page.first().map(|head| head.key.position()) else {
            return;
        };
        leaving.busy = true;
        let (former, heir) = (leaving.former, leaving.heir);
        let mine = former.is_some_and(|span| span.contains(first));
        match heir {
            Some(heir) if mine => self.leave_owner_found(cx, heir),
            _ if self.falls_to_leaver(first, former, cx.now.mono) => self.bequeath(cx),
            _ => self.search(cx, first, Goal::Leave),
        }
    }

    /// Nobody answers for the record: the heir may be leaving too, and is asked again.
    pub(crate) fn leave_owner_missing(&mut self, cx: &mut Cx) {
        if let Some(leaving) = &mut self.leaving {
            leaving.heir = None;
        }
        self.again_soon(cx);
    }

    pub(crate) fn leave_owner_found(&mut self, cx: &mut Cx, owner: Peer) {
        let Some(leaving) = &self.leaving else { return };
        let heads = same_owner(&leaving.page, owner);
        if heads.is_empty() || owner.id == self.me.id {
            self.again_soon(cx);
            return;
        }
        let request = Request::Offer {
            heads: heads.clone(),
            leaving: true,
        };
        let deadline = cx.now.mono + self.config.timeout_max;
        let then = Then::LeaveOffered { heads };
        self.call_until(cx, owner, request, Class::Repair, 0, deadline, then);
    }

    pub(crate) fn leave_offered(
        &mut self,
        cx: &mut Cx,
        owner: Peer,
        heads: Vec<Head>,
        result: Result<Response, CallError>,
    ) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let verdicts = match result {
            Ok(Response::Offered { verdicts }) if verdicts.len() == heads.len() => verdicts,
            Ok(Response::Refused(Refusal::Leaving | Refusal::NotMember { .. })) => {
                leaving.refused.push(owner.id);
                leaving.heir.take_if(|heir| heir.id == owner.id);
                self.again_soon(cx);
                return;
            }
            // The heir has given our part to somebody between us: that one inherits it.
            Ok(Response::Refused(Refusal::NotOwner { .. })) => {
                leaving.heir.take_if(|heir| heir.id == owner.id);
                self.again_soon(cx);
                return;
            }
            Ok(_) | Err(_) => {
                if self.contacts.is_dead(owner, cx.now.mono) {
                    leaving.heir.take_if(|heir| heir.id == owner.id);
                }
                self.again_soon(cx);
                return;
            }
        };
        let mut send = Vec::new();
        let mut confirmed = Vec::new();
        let mut waits = false;
        for (head, verdict) in heads.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Drop | Verdict::Keep => confirmed.push(head.key),
                Verdict::Send => send.push(head.key),
                Verdict::Wait => waits = true,
            }
        }
        confirmed.sort_unstable();
        let open = |head: &Head| confirmed.binary_search(&head.key).is_err();
        leaving.page.retain(open);
        let count = confirmed.len() as u64;
        if count > 0 || !send.is_empty() {
            leaving.pause = Self::soon();
        }
        leaving.handed_over = leaving.handed_over.saturating_add(count);
        if !send.is_empty() {
            let then = Then::LeaveRead { to: owner };
            let command = StoreCommand::GetMany {
                keys: send,
                bytes_max: self.config.page_bytes,
            };
            self.store(cx, command, then);
        } else if waits {
            leaving.busy = false;
            let pause = leaving.pause;
            leaving.pause = pause.times(2).min(PAUSE_MAX);
            self.tasks.hasten(Task::Leave, cx.now.mono + pause);
        } else {
            leaving.busy = false;
            self.leave_step(cx);
        }
    }

    pub(crate) fn leave_read(
        &mut self,
        cx: &mut Cx,
        to: Peer,
        result: Result<StoreAnswer, StoreError>,
    ) {
        if self.leaving.is_none() {
            return;
        }
        let Some((records, _)) = page(result) else {
            self.again_soon(cx);
            return;
        };
        if records.is_empty() {
            self.again_soon(cx);
            return;
        }
        let request = Request::Replicate {
            records,
            fresh: false,
        };
        let deadline = cx.now.mono + self.config.timeout_max;
        self.call_until(cx, to, request, Class::Repair, 0, deadline, Then::LeaveSent);
    }

    pub(crate) fn leave_sent(&mut self, cx: &mut Cx) {
        if let Some(leaving) = &mut self.leaving {
            leaving.busy = false;
            self.leave_step(cx);
        }
    }

    // ---- the end -----------------------------------------------------------------------

    /// Nobody takes the rest, or time is up: how much is it?
    fn count_remaining(&mut self, cx: &mut Cx) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let page = core::mem::take(&mut leaving.page);
        leaving.remaining = leaving.remaining.saturating_add(page.len() as u64);
        if leaving.busy && leaving.more {
            leaving.busy = false;
        }
        self.next_page(cx);
    }

    fn say_goodbye(&mut self, cx: &mut Cx) {
        let now = cx.now.mono;
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        if leaving.farewells > 0 {
            return;
        }
        let mut peers: Vec<Peer> = self.ring.predecessor().into_iter().collect();
        for &peer in self.ring.successors() {
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        peers.retain(|peer| !self.contacts.is_dead(*peer, now));
        leaving.farewells = peers.len();
        self.state = State::Left;
        self.tasks = crate::upkeep::Tasks::default();
        if peers.is_empty() {
            self.left(cx);
            return;
        }
        for peer in peers {
            let deadline = now + FAREWELL;
            self.call_until(
                cx,
                peer,
                Request::Leave,
                Class::Ring,
                0,
                deadline,
                Then::Farewell,
            );
        }
    }

    pub(crate) fn farewell_heard(&mut self, cx: &mut Cx) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        leaving.farewells = leaving.farewells.saturating_sub(1);
        if leaving.farewells == 0 {
            self.left(cx);
        }
    }

    fn left(&mut self, cx: &mut Cx) {
        let Some(leaving) = self.leaving.take() else {
            return;
        };
        self.state = State::Left;
        let Leaving {
            ticket,
            handed_over,
            remaining,
            ..
        } = leaving;
        cx.notice(Notice::HandedOver {
            records: handed_over,
        });
        cx.finish(
            ticket,
            Ok(Outcome::Left {
                handed_over,
                remaining,
            }),
        );
    }
}
