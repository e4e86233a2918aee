//! Entering the ring.
//!
//! ```text
//! new ── Neighbours ─────▶ seeds, known peers   `survey`: is there a ring?
//! new ── Route(new.id) ──▶ any … ▶ m     the member whose arc to its successor holds me
//! new ── Pull(span) ─────▶ successor     prefetch, page by page, not yet a member
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
use crate::message::{Key, Mark, Request, Response};
use crate::node::{Cx, Node};
use crate::peer::{Addr, Peer};
use crate::survey::{SURVEY_PEERS, Survey};
use crate::then::Then;
use crate::time::Micros;
use crate::upkeep::Task;

/// Pages prefetched before joining; what is left is the repair round's business.
const PREFETCH_PAGES: u16 = 4_096;

/// The way into the ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joining {
    /// A search or prefetch is under way.
    pub(crate) busy: bool,
    /// Who else is there, and whether one of them is a member.
    pub(crate) survey: Survey,
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
            busy: false,
            survey: Survey::begun(cx.now.mono),
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
            let epoch = self.tick(cx.now.wall);
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
            ..
        }) = result
        else {
            self.join_failed(cx);
            return;
        };
        let alone = successors.is_none_or(|list| list.is_empty());
        match predecessor {
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
            self.prefetch(cx, member, head.unwrap_or(member), None, 0);
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

    /// The way in is blocked for the moment; the next survey tries again.
    pub(crate) fn join_failed(&mut self, cx: &mut Cx) {
        self.joining.busy = false;
        if matches!(self.state, State::Joining | State::Lost) {
            let soon = self.joining.survey.hasten();
            self.schedule(cx, Task::Join, soon);
        }
    }

    // ---- prefetch ----------------------------------------------------------------------

    /// Copies the future span before anybody depends on us for it.
    fn prefetch(&mut self, cx: &mut Cx, member: Peer, from: Peer, after: Option<Key>, pages: u16) {
        let span = Span::new(member.id, self.me.id);
        let request = Request::Pull {
            span,
            after: after.clone(),
            bytes_max: self.config.page_bytes,
        };
        let deadline = cx.now.mono + self.config.timeout_max;
        let then = Then::Prefetched {
            member,
            from,
            after,
            pages,
        };
        self.call_until(cx, from, request, Class::Repair, 0, deadline, then);
    }

    pub(crate) fn prefetched(
        &mut self,
        cx: &mut Cx,
        (member, from): (Peer, Peer),
        after: Option<Key>,
        pages: u16,
        result: Result<Response, CallError>,
    ) {
        let Ok(Response::Page { records, more }) = result else {
            self.enter_behind(cx, member);
            return;
        };
        let records: Vec<_> = records
            .into_iter()
            .filter(|record| record.header.version.time < 1 << 63)
            .map(|record| self.clamp(record, cx))
            .collect();
        let last = records.last().map(|record| record.key.clone());
        if records.is_empty() || last <= after {
            self.enter_behind(cx, member);
            return;
        }
        let after = last.filter(|_| more && pages < PREFETCH_PAGES);
        let then = Then::PrefetchStored {
            member,
            from,
            after,
            pages: pages + 1,
        };
        self.store(cx, StoreCommand::Put { records }, then);
    }

    pub(crate) fn prefetch_stored(
        &mut self,
        cx: &mut Cx,
        (member, from): (Peer, Peer),
        after: Option<Key>,
        pages: u16,
        result: Result<StoreAnswer, StoreError>,
    ) {
        match (after, result) {
            (Some(after), Ok(_)) => self.prefetch(cx, member, from, Some(after), pages),
            _ => self.enter_behind(cx, member),
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
