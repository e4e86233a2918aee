//! Searches: finding the owner of a position, and asking it.
//!
//! ```text
//! n ── Route(target) ──▶ closest preceding ─▶ Closer(list)      ask the closest of these
//!                        predecessor        ─▶ Successors(list) the owner is the first alive
//! n ── Route | Put | Get ▶ named owner      ─▶ Owner, Written, Got: its answer confirms
//! ```
//!
//! The initiator drives, so it sees every hop and can take another. Progress has two halves:
//! before the target every answer must lie between the last hop and the target; once an
//! owner is named, a correction must lie between the target and that owner. An overdue hop
//! is not waited for: the second best is asked beside it.
//!
//! **Invariant:** a search ends by its deadline; it never asks a peer twice, save after
//! `Settling` or when it starts over with time to spare.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::draw::Purpose;
use crate::event::{CallError, Class, Failure, Hop, OpId, Outcome, Ticket, Why};
use crate::id::Id;
use crate::message::{Refusal, Request, Response, Route};
use crate::node::{Cx, Node};
use crate::ops::SlabKey;
use crate::peer::Peer;
use crate::route::CLOSER_MAX;
use crate::then::{Asker, Then};
use crate::time::{Instant, Micros};

/// Peers asked at once: the one that is late and the next best.
const PARALLEL: usize = 3;
/// Hops after which a search starts over: 2 · log₂ N + 8 for any ring there will be.
pub(crate) const HOPS_MAX: usize = 72;
/// First pause before asking or starting over again; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Micros = Micros::from_millis(25);
const PAUSE_MAX: Micros = Micros::from_millis(400);

/// What a search is for.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    /// A lookup of the application.
    Lookup { ticket: Ticket },
    /// A read or write of the application.
    Client {
        ticket: Ticket,
        request: Box<Request>,
    },
    /// A finger of the table.
    Finger,
    /// Our own position, asked from the passive list.
    Passive,
    /// Our own position, to enter the ring.
    Join,
    /// The owner of records that are here by mistake.
    Strays,
    /// The owner of records to hand over while leaving.
    Leave,
}

/// A search under way.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    target: Id,
    pub(crate) goal: Goal,
    pub(crate) trace: u64,
    pub(crate) deadline: Instant,
    end: Option<OpId>,
    /// Before the target, not yet asked.
    frontier: Vec<(Peer, Why)>,
    /// At or behind the target: the first alive is the owner.
    owners: Vec<Peer>,
    /// Who named them: its head, if they are silent, is dead.
    named_by: Option<Peer>,
    asked: Vec<Id>,
    pub(crate) in_flight: Vec<Peer>,
    pub(crate) hops: Vec<Hop>,
    pause: Micros,
    pub(crate) settlings: u8,
    resting: bool,
    /// The client's request has gone out: whatever comes now, it may have been done.
    pub(crate) sent: bool,
    pub(crate) failure: Failure,
}

impl Search {
    /// This node was asleep: what waits, waits longer.
    pub(crate) fn postpone(&mut self, by: Micros) {
        self.deadline = self.deadline + by;
    }
}

impl Node {
    /// Searches from the own table.
    pub(crate) fn search(&mut self, cx: &mut Cx, target: Id, goal: Goal) {
        let search = self.new_search(cx, target, goal);
        self.start_over(cx, search);
    }

    /// Searches from a given member.
    pub(crate) fn search_through(&mut self, cx: &mut Cx, target: Id, first: Peer, goal: Goal) {
        let key = self.new_search(cx, target, goal);
        if let Some(search) = self.searches.get_mut(key) {
            search.frontier.push((first, Why::Table));
        }
        self.advance(cx, key);
    }

    fn new_search(&mut self, cx: &mut Cx, target: Id, goal: Goal) -> SlabKey {
        let trace = self.draws.next(Purpose::Trace);
        let timeout = self.config.command_timeout;
        let key = self.searches.insert(Search {
            target,
            goal,
            trace,
            deadline: cx.now.mono + timeout,
            end: None,
            frontier: Vec::new(),
            owners: Vec::new(),
            named_by: None,
            asked: Vec::new(),
            in_flight: Vec::new(),
            hops: Vec::new(),
            pause: PAUSE_MIN,
            settlings: 0,
            resting: false,
            sent: false,
            failure: Failure::TimedOut,
        });
        let end = self.alarm(cx, timeout, Then::GiveUp { search: key });
        if let Some(search) = self.searches.get_mut(key) {
            search.end = Some(end);
        }
        key
    }

    fn start_over(&mut self, cx: &mut Cx, key: SlabKey) {
        let Some(search) = self.searches.get(key) else {
            return;
        };
        let target = search.target;
        if !self.is_member() {
            self.rest(cx, key, Failure::NotMember, true);
            return;
        }
        match self.route(target, Id::ZERO, cx.now.mono) {
            Some(Route::Owner { .. }) => self.arrived(cx, key, self.me),
            Some(Route::Successors(owners)) => {
                if let Some(search) = self.searches.get_mut(key) {
                    search.owners = owners;
                }
                self.advance(cx, key);
            }
            Some(Route::Closer(closer)) => {
                if let Some(search) = self.searches.get_mut(key) {
                    search.frontier = closer.into_iter().map(|peer| (peer, Why::Table)).collect();
                }
                self.advance(cx, key);
            }
            None => self.rest(cx, key, Failure::TimedOut, true),
        }
    }

    // ---- steps -------------------------------------------------------------------------

    /// Asks the next best peer, if the search may have one more call in flight.
    pub(crate) fn advance(&mut self, cx: &mut Cx, key: SlabKey) {
        let now = cx.now.mono;
        let Some(search) = self.searches.get_mut(key) else {
            return;
        };
        if search.resting || search.in_flight.len() >= PARALLEL || search.asked.len() >= HOPS_MAX {
            if search.in_flight.is_empty() && !search.resting {
                self.rest(cx, key, Failure::TimedOut, true);
            }
            return;
        }
        let contacts = &self.contacts;
        let fresh = |asked: &[Id], peer: Peer| {
            (peer.is_seed() || !asked.contains(&peer.id)) && !contacts.is_dead(peer, now)
        };
        let me = self.me.id;
        // The believed dead come last, but they come: the belief may be wrong, and they may be
        // the only way.
        let desperate = search.in_flight.is_empty();
        let unasked = |peer: &Peer| !search.asked.contains(&peer.id);
        let named = search
            .owners
            .iter()
            .copied()
            .find(|&peer| fresh(&search.asked, peer))
            .or_else(|| {
                search
                    .owners
                    .iter()
                    .copied()
                    .find(unasked)
                    .filter(|_| desperate)
            });
        if let Some(owner) = named {
            search.asked.push(owner.id);
            let target = search.target;
            if owner.id != me {
                self.ask_owner(cx, key, owner);
            } else if let Some(Route::Owner { .. }) = self.route(target, Id::ZERO, now) {
                self.arrived(cx, key, owner);
            } else if self.may_inherit(cx, target) {
                // Next in line behind somebody silent: ours as soon as that is certain.
                self.unask(key, owner);
                self.rest(cx, key, Failure::TimedOut, false);
            } else {
                // Named, but not the owner: on with the next.
                self.advance(cx, key);
            }
            return;
        }
        let target = search.target;
        search
            .frontier
            .retain(|&(peer, _)| fresh(&search.asked, peer));
        let best =
            (0..search.frontier.len()).min_by_key(|&at| search.frontier[at].0.id.distance(target));
        let Some(best) = best else {
            if search.in_flight.is_empty() {
                self.rest(cx, key, Failure::TimedOut, true);
            }
            return;
        };
        let (peer, why) = search.frontier.swap_remove(best);
        search.asked.push(peer.id);
        let why = if search.in_flight.is_empty() {
            why
        } else {
            Why::Detour
        };
        self.ask_hop(cx, key, peer, why);
    }

    fn ask_hop(&mut self, cx: &mut Cx, key: SlabKey, peer: Peer, why: Why) {
        let Some(search) = self.searches.get_mut(key) else {
            return;
        };
        search.in_flight.push(peer);
        let (trace, end, target) = (search.trace, search.deadline, search.target);
        // Late is not lost: at the measured timeout another way is tried beside this one, and
        // whichever answer comes first is taken.
        let timeout = self.contacts.timeout(peer.id, &self.config).times(3);
        let deadline = (cx.now.mono + timeout.min(self.config.timeout_max)).min(end);
        let class = self.class_of(key);
        let request = Request::Route { target };
        self.call_until(
            cx,
            peer,
            request,
            class,
            trace,
            deadline,
            Then::Hop { search: key, why },
        );
    }

    fn class_of(&self, key: SlabKey) -> Class {
        match self.searches.get(key).map(|search| &search.goal) {
            Some(Goal::Lookup { .. } | Goal::Client { .. }) => Class::Client,
            Some(Goal::Strays | Goal::Leave) => Class::Repair,
            Some(Goal::Finger | Goal::Passive | Goal::Join) | None => Class::Ring,
        }
    }

    /// The named owner: a client's request goes straight to it, its answer confirms.
    fn ask_owner(&mut self, cx: &mut Cx, key: SlabKey, owner: Peer) {
        let Some(search) = self.searches.get_mut(key) else {
            return;
        };
        let Goal::Client { request, .. } = &search.goal else {
            match search.goal {
                // Both want to know who is named, and will ask it something else.
                Goal::Passive | Goal::Join => self.found(cx, key, owner),
                _ => self.ask_hop(cx, key, owner, Why::Owner),
            }
            return;
        };
        let request = request.as_ref().clone();
        search.in_flight.push(owner);
        search.sent = true;
        let (trace, end) = (search.trace, search.deadline);
        let deadline = end.min(cx.now.mono + self.config.timeout_max);
        let then = Then::Asked { search: key };
        self.call_until(cx, owner, request, Class::Client, trace, deadline, then);
    }

    /// `owner` confirmed, or is this node.
    fn arrived(&mut self, cx: &mut Cx, key: SlabKey, owner: Peer) {
        let Some(search) = self.searches.get_mut(key) else {
            return;
        };
        if owner.id != self.me.id {
            self.found(cx, key, owner);
            return;
        }
        let Goal::Client { request, .. } = &search.goal else {
            self.found(cx, key, owner);
            return;
        };
        let request = request.as_ref().clone();
        let deadline = search.deadline;
        search.in_flight.push(owner);
        search.sent = true;
        let asker = Asker::Local(key);
        match request {
            Request::Get { key, quorum } => self.serve_get(cx, asker, key, quorum, deadline),
            Request::Put(write) => self.serve_put(cx, asker, write, deadline),
            _ => self.asked_response(cx, key, self.me, Response::Refused(Refusal::Invalid)),
        }
    }

    pub(crate) fn hop_answered(
        &mut self,
        cx: &mut Cx,
        key: SlabKey,
        peer: Peer,
        why: Why,
        sent: Instant,
        result: Result<Response, CallError>,
    ) {
        let now = cx.now.mono;
        let alive = result.is_ok();
        let Some(search) = self.searches.get_mut(key) else {
            return;
        };
        search.in_flight.retain(|asked| *asked != peer);
        let round_trip = alive.then(|| now.since(sent));
        if search.hops.len() < HOPS_MAX {
            search.hops.push(Hop {
                peer,
                round_trip,
                why,
            });
        }
        let target = search.target;
        match result {
            Ok(Response::Route(Route::Owner { .. })) => {
                self.learn(peer, &search_finger(&self.searches, key));
                self.found(cx, key, peer);
                return;
            }
            Ok(Response::Route(Route::Successors(list))) => {
                let me = self.me.id;
                let joins = matches!(search.goal, Goal::Join | Goal::Passive);
                let ahead = |named: &Peer| {
                    named.id == target || Id::between(peer.id, target, named.id) || peer.is_seed()
                };
                let list: Vec<Peer> = list
                    .into_iter()
                    .filter(|named| !named.is_seed() && ahead(named) && !(joins && named.id == me))
                    .collect();
                if matches!(search.goal, Goal::Join) {
                    self.found_member(cx, key, peer);
                    return;
                }
                if search.owners.is_empty()
                    || search.owners.iter().all(|o| search.asked.contains(&o.id))
                {
                    search.owners = list;
                    search.named_by = Some(peer);
                }
                self.learn(peer, &None);
            }
            Ok(Response::Route(Route::Closer(_))) if why == Why::Owner => {
                if self.denied(cx, key, peer) {
                    return;
                }
            }
            Ok(Response::Route(Route::Closer(list))) => {
                for named in list.into_iter().take(CLOSER_MAX) {
                    let forward = peer.is_seed() || Id::between(peer.id, named.id, target);
                    if forward && !named.is_seed() && named.id != self.me.id {
                        search.frontier.push((named, Why::Closer));
                    }
                }
                self.learn(peer, &None);
            }
            Ok(Response::Refused(Refusal::Settling)) => {
                search.asked.retain(|asked| *asked != peer.id);
                if why == Why::Owner {
                    self.rest(cx, key, Failure::TimedOut, false);
                    return;
                }
            }
            Ok(Response::Refused(Refusal::NotOwner { hint: Some(hint) })) => {
                self.correct(key, peer, hint);
            }
            Ok(_) | Err(_) => {}
        }
        self.advance(cx, key);
    }

    /// A peer may be asked again.
    pub(crate) fn unask(&mut self, key: SlabKey, peer: Peer) {
        if let Some(search) = self.searches.get_mut(key) {
            search.asked.retain(|asked| *asked != peer.id);
        }
    }

    /// The named owner is silent: whoever named it should look after its head.
    pub(crate) fn owner_overdue(&mut self, cx: &mut Cx, key: SlabKey) {
        let Some(search) = self.searches.get_mut(key) else {
            return;
        };
        match search.named_by.take() {
            Some(peer) if !peer.is_seed() => self.tell(cx, peer, Request::Stabilise),
            Some(_) => {}
            None => self.stabilise_soon(cx),
        }
        self.advance(cx, key);
    }

    /// A named owner does not own the target, so its owner stands before it. If that one is
    /// silent, this one may be the owner in a moment: true, and it is asked again. If not,
    /// it may be one that was passed over as dead.
    pub(crate) fn denied(&mut self, cx: &mut Cx, key: SlabKey, peer: Peer) -> bool {
        let Some(search) = self.searches.get_mut(key) else {
            return false;
        };
        let at = search.owners.iter().position(|owner| owner.id == peer.id);
        let before = &search.owners[..at.unwrap_or(search.owners.len())];
        if at.is_some() && search.in_flight.iter().any(|asked| before.contains(asked)) {
            self.unask(key, peer);
            self.rest(cx, key, Failure::TimedOut, false);
            return true;
        }
        if let Some(at) = at {
            search.owners.truncate(at);
        }
        false
    }

    /// Remembers a peer that has answered, if the table has room where it lies.
    fn learn(&mut self, peer: Peer, finger: &Option<Id>) {
        let near = self
            .ring
            .successors()
            .iter()
            .any(|known| known.id == peer.id);
        if !near && !peer.is_seed() && self.is_member() {
            let refresh = finger
                .is_some_and(|start| self.table.interval(start) == self.table.interval(peer.id));
            self.table.learn(peer, refresh);
        }
    }

    /// A correction: somebody joined between the target and the named owner.
    pub(crate) fn correct(&mut self, key: SlabKey, owner: Peer, hint: Peer) {
        let Some(search) = self.searches.get_mut(key) else {
            return;
        };
        let between = hint.id == search.target || Id::between(search.target, hint.id, owner.id);
        if between && !hint.is_seed() && !search.asked.contains(&hint.id) {
            search.owners.push(hint);
        }
    }

    /// Pauses; then goes on, or starts over from the own table. Goals that are nobody's
    /// errand end instead of starting over: their task will come again.
    pub(crate) fn rest(&mut self, cx: &mut Cx, key: SlabKey, failure: Failure, restart: bool) {
        let Some(search) = self.searches.get_mut(key) else {
            return;
        };
        let patient = match search.goal {
            Goal::Client { .. } | Goal::Lookup { .. } => true,
            Goal::Finger | Goal::Passive | Goal::Join | Goal::Strays | Goal::Leave => !restart,
        };
        if search.resting || (restart && !search.in_flight.is_empty()) {
            return;
        }
        if failure != Failure::TimedOut || matches!(search.failure, Failure::NotMember) {
            search.failure = failure;
        }
        if !patient {
            self.give_up(cx, key);
            return;
        }
        let pause = search.pause;
        search.pause = Micros(pause.0.saturating_mul(2)).min(PAUSE_MAX);
        search.resting = true;
        self.alarm(
            cx,
            pause,
            Then::Resume {
                search: key,
                restart,
            },
        );
    }

    pub(crate) fn resume(&mut self, cx: &mut Cx, key: SlabKey, restart: bool) {
        let Some(search) = self.searches.get_mut(key) else {
            return;
        };
        search.resting = false;
        if !restart {
            self.advance(cx, key);
            return;
        }
        search.asked.clear();
        search.owners.clear();
        search.frontier.clear();
        self.start_over(cx, key);
    }

    // ---- ends --------------------------------------------------------------------------

    pub(crate) fn take_search(&mut self, key: SlabKey) -> Option<Search> {
        let search = self.searches.take(key)?;
        if let Some(end) = search.end {
            self.ops.take(end);
        }
        Some(search)
    }

    /// The owner is known.
    fn found(&mut self, cx: &mut Cx, key: SlabKey, owner: Peer) {
        let Some(search) = self.searches.get(key) else {
            return;
        };
        if matches!(search.goal, Goal::Client { .. }) {
            self.ask_named_again(cx, key, owner);
            return;
        }
        let Some(search) = self.take_search(key) else {
            return;
        };
        match search.goal {
            Goal::Lookup { ticket } => {
                cx.finish(
                    ticket,
                    Ok(Outcome::Owner {
                        owner,
                        hops: search.hops,
                    }),
                );
            }
            Goal::Finger => self.learn(owner, &Some(search.target)),
            Goal::Passive if owner.is_seed() => {
                let request = Request::Neighbours { digest: 0 };
                self.call(cx, owner, request, Class::Ring, Then::Introduced);
            }
            Goal::Passive => self.consider_best(cx, Some(owner), &search.hops),
            Goal::Join => self.join_behind_owner(cx, owner),
            Goal::Strays => self.stray_owner_found(cx, owner),
            Goal::Leave => self.leave_owner_found(cx, owner),
            Goal::Client { .. } => {}
        }
    }

    /// A seed owns our position, and says who it is. A ring of one that knows of another one by
    /// its seed alone would never find it otherwise.
    pub(crate) fn introduced(&mut self, cx: &mut Cx, result: Result<Response, CallError>) {
        if let Ok(Response::Neighbours { me, .. }) = result {
            self.consider(cx, me);
        }
    }

    /// Of those who answered or were named, the next behind this node may be its true head.
    /// Those who answered count too: the tables of two rings that know of each other lead
    /// back and forth between them, and the name that comes out may be the one known before.
    fn consider_best(&mut self, cx: &mut Cx, named: Option<Peer>, hops: &[Hop]) {
        let answered = hops
            .iter()
            .filter(|hop| hop.round_trip.is_some())
            .map(|hop| hop.peer);
        let best = answered
            .chain(named)
            .filter(|peer| self.ring.is_better(*peer))
            .min_by_key(|peer| self.me.id.distance(peer.id));
        if let Some(best) = best {
            self.consider(cx, best);
        }
    }

    /// A hop turned out to be the owner itself: the client's request goes to it.
    fn ask_named_again(&mut self, cx: &mut Cx, key: SlabKey, owner: Peer) {
        let Some(search) = self.searches.get_mut(key) else {
            return;
        };
        search.owners.insert(0, owner);
        self.ask_owner(cx, key, owner);
    }

    /// Somebody has us between itself and its head.
    fn found_member(&mut self, cx: &mut Cx, key: SlabKey, member: Peer) {
        if self.take_search(key).is_some() {
            self.join_behind(cx, member);
        }
    }

    pub(crate) fn give_up(&mut self, cx: &mut Cx, key: SlabKey) {
        let Some(search) = self.take_search(key) else {
            return;
        };
        match search.goal {
            Goal::Lookup { ticket } => cx.finish(ticket, Err(search.failure)),
            Goal::Client { ticket, request } => {
                let nothing = matches!(search.failure, Failure::NotMember | Failure::Overloaded);
                let failure = if search.sent && nothing {
                    Failure::TimedOut
                } else {
                    search.failure
                };
                let result = Err(failure);
                if matches!(*request, Request::Put(_)) {
                    self.note_availability(cx, &result);
                }
                cx.finish(ticket, result);
            }
            Goal::Finger => {}
            Goal::Passive => self.consider_best(cx, None, &search.hops),
            Goal::Join => self.join_failed(cx),
            Goal::Strays => self.stray_owner_missing(cx),
            Goal::Leave => self.leave_owner_missing(cx),
        }
    }
}

/// The start of the finger that a search refreshes, if it does.
fn search_finger(searches: &crate::ops::Slab<Search>, key: SlabKey) -> Option<Id> {
    let search = searches.get(key)?;
    matches!(search.goal, Goal::Finger).then_some(search.target)
}
