//! Entering the ring.
//!
//! ```text
//! new ── Neighbours ─────▶ seeds, known peers   `survey`: is there a ring?
//! new ── Route(new.id) ──▶ any … ▶ m     the member whose arc to its successor holds me
//! new ── Pull(span) ─────▶ successor     prefetch where it has nothing: several pages in
//!                                        flight, not yet a member
//! new ── Neighbours ─────▶ m             its list becomes mine, m my predecessor: a member
//! new ── Notify ─────────▶ successor     its answer grants the span: mine, still unsettled
//! ```
//!
//! A ring is founded only by a node that was told of nobody and never knew a peer, or again
//! where a survey found that no member is left.
//!
//! **Invariant:** a node owns a span only after the owner before it granted it, and says
//! "not found" there only once it is settled.

use alloc::vec::Vec;

use crate::event::{
    CallError, Class, Notice, Outcome, State, StoreAnswer, StoreCommand, StoreError, Ticket,
};
use crate::id::{Id, Span};
use crate::lookup::Goal;
use crate::message::{Key, Mark, Request, Response, size_of_all};
use crate::node::{Cx, Node};
use crate::peer::{Addr, Peer};
use crate::sums;
use crate::survey::{SURVEY_PEERS, Survey};
use crate::then::Then;
use crate::time::Micros;
use crate::upkeep::Task;

/// Pages prefetched before joining; what is left is the repair round's business.
const PREFETCH_PAGES: u16 = 4_096;
/// Pages in flight, each of another part of the span: while one is stored, others travel.
const PULLS: usize = 4;

/// The way into the ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joining {
    /// A search or prefetch is under way.
    pub(crate) busy: bool,
    /// Who else is there, and whether one of them is a member.
    pub(crate) survey: Survey,
    /// Parts of the future span that are still to be pulled, the next one last.
    pulls: Vec<Span>,
    /// Parts that are being pulled, and pages so far.
    pulling: usize,
    pages: u16,
}

impl Node {
    /// `Command::Join`.
    pub(crate) fn enter(&mut self, cx: &mut Cx, ticket: Ticket, seeds: Vec<Addr>) {
        self.seeds = seeds
            .into_iter()
            .filter(|seed| *seed != self.me.addr)
            .collect();
        self.seeds.truncate(SURVEY_PEERS / 2);
        cx.finish(ticket, Ok(Outcome::Done));
        if self.state != State::Joining {
            return;
        }
        if self.joining.survey.has_begun() {
            return;
        }
        if self.seeds.is_empty() && self.passive.is_empty() {
            self.found_ring(cx, false);
            return;
        }
        self.begin_joining(cx);
    }

    fn begin_joining(&mut self, cx: &mut Cx) {
        self.joining = Joining {
            survey: Survey::begun(cx.now.mono),
            ..Joining::default()
        };
        self.schedule(cx, Task::Join, Micros::ZERO);
    }

    /// The last entry of the list died: this node owns nothing and comes in again.
    pub(crate) fn lost(&mut self, cx: &mut Cx) {
        if self.state != State::Joined {
            return;
        }
        self.state = State::Lost;
        self.spans.disown();
        self.grant_floor = None;
        self.suitor = None;
        self.abandon_repair();
        for task in [
            Task::Stabilise,
            Task::Fingers,
            Task::Passive,
            Task::Repair,
            Task::Sweep,
        ] {
            self.tasks.stop(task);
        }
        cx.notice(Notice::Lost);
        self.begin_joining(cx);
    }

    pub(crate) fn found_ring(&mut self, cx: &mut Cx, again: bool) {
        self.state = State::Joined;
        self.tasks.stop(Task::Join);
        self.joining = Joining::default();
        self.grant_floor = None;
        self.own(cx, self.me.id, None, !again);
        if again {
            self.passive.all_away(cx.now.mono);
            self.spans.unsettle_all();
        } else {
            let epoch = self.clock.tick(cx.now);
            let mark = Mark { epoch, rank: 0 };
            self.spans
                .hold(Span::whole(self.me.id), Some(mark), cx.now.mono);
        }
        cx.notice(Notice::Joined { founded: true });
        self.start_upkeep(cx);
    }

    /// The last other member said goodbye: this node is the ring.
    pub(crate) fn alone(&mut self, cx: &mut Cx) {
        if self.state == State::Joined {
            self.grant_floor = None;
            self.own(cx, self.me.id, None, false);
        }
    }

    // ---- finding our place -------------------------------------------------------------

    pub(crate) fn search_for_place(&mut self, cx: &mut Cx, member: Peer) {
        let entering = matches!(self.state, State::Joining | State::Lost);
        if entering && !self.joining.busy {
            self.joining.busy = true;
            self.search_through(cx, self.me.id, member, Goal::Join);
        }
    }

    /// Somebody owns our position: we shall stand before it, behind its predecessor.
    pub(crate) fn join_behind_owner(&mut self, cx: &mut Cx, owner: Peer) {
        let request = Request::Neighbours { digest: 0 };
        self.call(cx, owner, request, Class::Ring, Then::OwnerAnswered);
    }

    pub(crate) fn owner_answered(
        &mut self,
        cx: &mut Cx,
        owner: Peer,
        result: Result<Response, CallError>,
    ) {
        let Ok(Response::Neighbours {
            predecessor,
            successors,
            wall,
            ..
        }) = result
        else {
            self.join_failed(cx);
            return;
        };
        self.clocks.heard(owner.addr, wall, cx.now);
        let alone = successors.is_none_or(|list| list.is_empty());
        match predecessor {
            // It stands behind us too, but leaves: its heir owns our position already.
            Some(before) if Id::between(self.me.id, before.id, owner.id) && !alone => {
                self.join_behind_owner(cx, before);
            }
            Some(before) if before.id != self.me.id && !alone => self.join_behind(cx, before),
            _ if alone => self.join_behind(cx, owner),
            _ => self.join_failed(cx),
        }
    }

    /// `member` has us between itself and its head: ask for its list.
    pub(crate) fn join_behind(&mut self, cx: &mut Cx, member: Peer) {
        let request = Request::Neighbours { digest: 0 };
        let then = Then::MemberAnswered { prefetched: false };
        self.call(cx, member, request, Class::Ring, then);
    }

    pub(crate) fn member_answered(
        &mut self,
        cx: &mut Cx,
        member: Peer,
        prefetched: bool,
        result: Result<Response, CallError>,
    ) {
        let Ok(Response::Neighbours {
            me,
            successors: Some(list),
            wall,
            ..
        }) = result
        else {
            self.join_failed(cx);
            return;
        };
        let head = list.first().copied();
        let fits = head.is_none_or(|head| Id::between(me.id, self.me.id, head.id));
        if !fits || me.id != member.id || !matches!(self.state, State::Joining | State::Lost) {
            self.join_failed(cx);
            return;
        }
        if !prefetched {
            self.clocks.heard(member.addr, wall, cx.now);
            self.compare_clocks(cx);
            let span = Span::new(member.id, self.me.id);
            let from = head.unwrap_or(member);
            let then = Then::PrefetchSummed { member, from, span };
            self.store(cx, StoreCommand::Sums { span }, then);
            return;
        }
        self.ring.join(member, &list);
        self.received = None;
        self.state = State::Joined;
        self.tasks.stop(Task::Join);
        self.joining = Joining::default();
        cx.notice(Notice::Joined { founded: false });
        self.start_upkeep(cx);
        let head = self.ring.head();
        self.notify(cx, head);
    }

    /// Before anything is stored in this life: later, lifetimes follow the monotonic clock.
    fn compare_clocks(&mut self, cx: &mut Cx) {
        if self.state == State::Joining
            && let Some(ahead) = self.clocks.news()
        {
            cx.notice(Notice::ClockOff { ahead });
        }
    }

    /// The way in is blocked for the moment; the next survey tries again.
    pub(crate) fn join_failed(&mut self, cx: &mut Cx) {
        self.joining.busy = false;
        if matches!(self.state, State::Joining | State::Lost) {
            let soon = self.joining.survey.hasten();
            self.schedule(cx, Task::Join, soon);
        }
    }

    // ---- prefetch ----------------------------------------------------------------------

    /// What this node has of its future span is known: where it has nothing, the span is
    /// copied before anybody depends on us for it. Where it has something, it is back with
    /// most of it, and the repair round finds the rest by comparing.
    pub(crate) fn prefetch_summed(
        &mut self,
        cx: &mut Cx,
        (member, from): (Peer, Peer),
        span: Span,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let own = match result {
            Ok(StoreAnswer::Sums { sums }) => sums,
            _ => Vec::new(),
        };
        let parts = sums::parts(span);
        let longest = parts.len().div_ceil(PULLS);
        let mut pulls: Vec<Span> = Vec::new();
        let mut joined = 0;
        for (at, part) in (0_u8..).zip(parts) {
            if own.iter().any(|sum| sum.part == at) {
                joined = longest;
                continue;
            }
            match pulls.last_mut() {
                Some(last) if last.upto == part.after && joined < longest => {
                    *last = Span::new(last.after, part.upto);
                    joined += 1;
                }
                _ => {
                    pulls.push(part);
                    joined = 1;
                }
            }
        }
        pulls.reverse();
        self.joining.pulls = pulls;
        self.joining.pulling = 0;
        self.joining.pages = 0;
        self.prefetch(cx, member, from);
    }

    /// Pulls the next parts, or enters if there are none.
    fn prefetch(&mut self, cx: &mut Cx, member: Peer, from: Peer) {
        while self.joining.pulling < PULLS
            && let Some(part) = self.joining.pulls.pop()
        {
            self.joining.pulling += 1;
            self.pull(cx, (member, from), part, None);
        }
        if self.joining.pulling == 0 {
            self.enter_behind(cx, member);
        }
    }

    fn pull(&mut self, cx: &mut Cx, (member, from): (Peer, Peer), part: Span, after: Option<Key>) {
        let request = Request::Pull {
            span: part,
            after: after.clone(),
            bytes_max: self.config.page_bytes,
        };
        let deadline = cx.now.mono + self.config.timeout_max;
        let then = Then::Prefetched {
            member,
            from,
            part,
            after,
        };
        self.call_until(cx, from, request, Class::Repair, 0, deadline, then);
    }

    /// A part is as complete as it gets before joining.
    fn pulled(&mut self, cx: &mut Cx, member: Peer, from: Peer) {
        self.joining.pulling = self.joining.pulling.saturating_sub(1);
        if self.joining.busy && matches!(self.state, State::Joining | State::Lost) {
            self.prefetch(cx, member, from);
        }
    }

    pub(crate) fn prefetched(
        &mut self,
        cx: &mut Cx,
        (member, from): (Peer, Peer),
        part: Span,
        after: Option<Key>,
        result: Result<Response, CallError>,
    ) {
        let Ok(Response::Page { records, more }) = result else {
            // Whoever does not give this part gives none: the repair round asks others.
            self.joining.pulls.clear();
            self.pulled(cx, member, from);
            return;
        };
        let records: Vec<_> = records
            .into_iter()
            .filter(|record| record.header.version.time < 1 << 63)
            .map(|record| self.clamp(record, cx))
            .collect();
        let last = records.last().map(|record| record.key.clone());
        // In the order of the ring, which begins anew within a part.
        let place = |key: &Key| (part.rank(key.position()), key.clone());
        if records.is_empty() || last.as_ref().map(place) <= after.as_ref().map(place) {
            self.pulled(cx, member, from);
            return;
        }
        self.joining.pages = self.joining.pages.saturating_add(1);
        let fetched = &mut self.repair.moved.fetched;
        *fetched = fetched.saturating_add(size_of_all(&records));
        let after = last.filter(|_| more && self.joining.pages < PREFETCH_PAGES);
        let then = Then::PrefetchStored {
            member,
            from,
            part,
            after,
        };
        self.store(cx, StoreCommand::Put { records }, then);
    }

    pub(crate) fn prefetch_stored(
        &mut self,
        cx: &mut Cx,
        (member, from): (Peer, Peer),
        part: Span,
        after: Option<Key>,
        result: Result<StoreAnswer, StoreError>,
    ) {
        match (after, result) {
            (Some(after), Ok(_)) => self.pull(cx, (member, from), part, Some(after)),
            _ => self.pulled(cx, member, from),
        }
    }

    fn enter_behind(&mut self, cx: &mut Cx, member: Peer) {
        let request = Request::Neighbours { digest: 0 };
        self.call(
            cx,
            member,
            request,
            Class::Ring,
            Then::MemberAnswered { prefetched: true },
        );
    }
}
