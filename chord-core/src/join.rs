//! Entering the ring.
//!
//! ```text
//! new ── Neighbours ─────▶ seeds, known peers   who is a member, who is starting, who is silent
//! new ── Route(new.id) ──▶ any … ▶ m     the member whose arc to its successor holds me
//! new ── Pull(span) ─────▶ successor     prefetch, page by page, not yet a member
//! new ── Neighbours ─────▶ m             its list becomes mine, m my predecessor: a member
//! new ── Notify ─────────▶ successor     its answer grants the span: mine, still unsettled
//! ```
//!
//! A ring is founded only by a node that was told of nobody and never knew a peer. A node
//! that did know peers founds again only if everybody it can reach is starting or lost too,
//! and it has the lowest id among them: a whole cluster that was restarted.
//!
//! **Invariant:** a node owns a span only after the owner before it granted it, and says
//! "not found" there only once it is settled.

use alloc::vec::Vec;

use crate::event::{
    CallError, Class, Notice, Outcome, State, StoreAnswer, StoreCommand, StoreError, Ticket,
};
use crate::id::{Id, Span};
use crate::lookup::Goal;
use crate::message::{Key, Mark, Refusal, Request, Response};
use crate::node::{Cx, Node};
use crate::peer::{Addr, Peer};
use crate::then::Then;
use crate::time::{Instant, Micros};
use crate::upkeep::Task;

/// Nobody founds a ring again before it has looked for others for this long.
const FOUND_AGAIN: Micros = Micros::from_secs(2);
/// Pace of surveys: doubles from the first to the last.
const SURVEY_MIN: Micros = Micros::from_millis(250);
const SURVEY_MAX: Micros = Micros::from_secs(2);
/// Peers asked in one survey.
const SURVEY_PEERS: usize = 48;
/// Pages prefetched before joining; what is left is the repair round's business.
const PREFETCH_PAGES: u16 = 4_096;

/// What a contact was heard to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    Asked,
    Silent,
    Starting,
    Member,
}

/// The way into the ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joining {
    since: Option<Instant>,
    pace: Micros,
    /// A search or prefetch is under way.
    busy: bool,
    contacts: Vec<(Peer, Heard)>,
    told_unreachable: bool,
    /// It is our turn to found the ring again, and those who start are asked once more.
    confirming: bool,
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
        if self.joining.since.is_none() && self.seeds.is_empty() && self.passive.is_empty() {
            self.found_ring(cx, false);
            return;
        }
        if self.joining.since.is_none() {
            self.begin_joining(cx);
        }
    }

    fn begin_joining(&mut self, cx: &mut Cx) {
        self.joining = Joining {
            since: Some(cx.now.mono),
            pace: SURVEY_MIN,
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

    fn found_ring(&mut self, cx: &mut Cx, again: bool) {
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

    // ---- survey ------------------------------------------------------------------------

    /// Asks everybody this node has heard of whether there is a ring.
    pub(crate) fn survey(&mut self, cx: &mut Cx) {
        if !matches!(self.state, State::Joining | State::Lost) {
            return;
        }
        let confirm = !self.joining.busy && self.may_found_again(cx.now.mono);
        let pace = self.joining.pace;
        self.joining.pace = Micros(pace.0.saturating_mul(2)).min(SURVEY_MAX);
        let after = self.jitter(pace, Micros(pace.0 + pace.0 / 4));
        self.schedule(cx, Task::Join, after);
        if self.joining.busy {
            return;
        }
        self.joining.confirming = confirm;
        if confirm {
            self.confirm_start(cx);
            return;
        }
        self.tell_unreachable(cx);
        let mut peers: Vec<Peer> = self
            .passive
            .peers()
            .chain(self.ring.predecessor())
            .collect();
        for &seed in &self.seeds {
            if peers.iter().all(|peer| peer.addr != seed) {
                peers.push(Peer::seed(seed));
            }
        }
        peers.truncate(SURVEY_PEERS);
        for peer in peers {
            // One entry for a node, whichever of its lives: an answer finds one entry only, and
            // a second one would be asked and never heard.
            let known = self
                .joining
                .contacts
                .iter_mut()
                .find(|(known, _)| known.id == peer.id && known.addr == peer.addr);
            match known {
                Some((_, Heard::Asked)) => continue,
                Some((known, heard)) => (*known, *heard) = (peer, Heard::Asked),
                None => self.joining.contacts.push((peer, Heard::Asked)),
            }
            let request = Request::Neighbours { digest: 0 };
            self.call(cx, peer, request, Class::Ring, Then::Surveyed);
        }
    }

    /// Nobody was a member when last asked, which is long ago: another one may have founded the
    /// ring since, and two rings would be one again only much later.
    fn confirm_start(&mut self, cx: &mut Cx) {
        let since = self.joining.since.unwrap_or(cx.now.mono);
        let mut starting = Vec::new();
        for (peer, heard) in &mut self.joining.contacts {
            // Whoever started after it was asked has asked us meanwhile.
            let spoke = self.contacts.heard_since(peer.id, since);
            if spoke || *heard == Heard::Starting {
                *heard = Heard::Asked;
                starting.push(*peer);
            }
        }
        if starting.is_empty() {
            self.found_ring(cx, true);
        }
        for peer in starting {
            let request = Request::Neighbours { digest: 0 };
            self.call(cx, peer, request, Class::Ring, Then::Surveyed);
        }
    }

    fn tell_unreachable(&mut self, cx: &mut Cx) {
        let silent = self
            .joining
            .contacts
            .iter()
            .all(|(_, heard)| *heard == Heard::Silent);
        if silent && !self.joining.contacts.is_empty() && !self.joining.told_unreachable {
            self.joining.told_unreachable = true;
            cx.notice(Notice::Unreachable);
        }
    }

    /// Whether everybody reachable is starting or lost, and it is this node's turn: the lowest
    /// id comes first, each other one a little later, since those before it may be newcomers
    /// that were never in the ring and found nothing.
    fn may_found_again(&self, now: Instant) -> bool {
        let Some(since) = self.joining.since else {
            return false;
        };
        let was_in_a_ring = self.state == State::Lost || !self.passive.is_empty();
        let contacts = &self.joining.contacts;
        let before_us = contacts
            .iter()
            .filter(|(peer, heard)| *heard == Heard::Starting && !peer.is_seed())
            .filter(|(peer, _)| peer.id < self.me.id)
            .count();
        let turn = FOUND_AGAIN.times(1 + u64::try_from(before_us).unwrap_or(u64::MAX));
        was_in_a_ring
            && now.since(since) >= turn
            && contacts
                .iter()
                .all(|(_, heard)| matches!(heard, Heard::Silent | Heard::Starting))
    }

    pub(crate) fn surveyed(
        &mut self,
        cx: &mut Cx,
        peer: Peer,
        result: Result<Response, CallError>,
    ) {
        let heard = match result {
            Ok(Response::Neighbours { me: member, .. }) => {
                if member.id == self.me.id {
                    if member.incarnation != self.me.incarnation {
                        cx.notice(Notice::TwoLives { peer: member });
                    }
                    self.joining.contacts.retain(|(known, _)| *known != peer);
                    return;
                }
                self.passive.add(member, None, cx.now.mono);
                self.search_for_place(cx, member);
                Heard::Member
            }
            Ok(Response::Refused(Refusal::NotMember { incarnation })) => {
                self.contact_lives(peer, incarnation);
                Heard::Starting
            }
            Err(CallError::Restarted { incarnation }) => {
                self.contact_lives(peer, incarnation);
                self.tasks.hasten(Task::Join, cx.now.mono + SURVEY_MIN);
                Heard::Starting
            }
            Ok(_) | Err(_) => Heard::Silent,
        };
        let known = self
            .joining
            .contacts
            .iter_mut()
            .find(|(known, _)| known.id == peer.id && known.addr == peer.addr);
        if let Some((_, state)) = known {
            *state = heard;
        }
        let entering = matches!(self.state, State::Joining | State::Lost);
        let confirmed = self.joining.confirming && !self.joining.busy && entering;
        if confirmed && self.may_found_again(cx.now.mono) {
            self.found_ring(cx, true);
        }
    }

    /// A contact turned out to be in another life than remembered.
    fn contact_lives(&mut self, peer: Peer, incarnation: u32) {
        if peer.is_seed() {
            return;
        }
        let renewed = Peer {
            incarnation,
            ..peer
        };
        self.passive.renew(renewed);
        for (known, _) in &mut self.joining.contacts {
            if known.id == peer.id {
                *known = renewed;
            }
        }
    }

    // ---- finding our place -------------------------------------------------------------

    fn search_for_place(&mut self, cx: &mut Cx, member: Peer) {
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
            self.joining.pace = SURVEY_MIN;
            self.schedule(cx, Task::Join, SURVEY_MIN);
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
