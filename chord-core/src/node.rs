//! One ring position: its state, and who handles what. A table of contents.
//!
//! ```text
//! Command ─▶ lookup (searches), join, leave        Request ─▶ serve
//! Answer, Stored ─▶ `then`: the continuation that the operation carries
//! Wake ─▶ operations that are late or over, then periodic tasks
//! ```
//!
//! **Invariant:** `handle` answers every ticket exactly once, however the answer comes about.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::clock::Clock;
use crate::clocks::Clocks;
use crate::config::{Config, ConfigError};
use crate::contacts::Contacts;
use crate::draw::{Draws, Purpose};
use crate::event::{
    Action, CallError, Class, Command, Event, Failure, Lost, Notice, OpId, Outcome, PeerChange,
    Restored, State, StoreAnswer, StoreCommand, StoreError, Terms, Ticket, View,
};
use crate::gather::Gather;
use crate::join::Joining;
use crate::leave::Leaving;
use crate::lookup::Search;
use crate::message::{Mark, Refusal, Request, Response, size_of_all};
use crate::ops::{Due, Ops, Pending, Slab};
use crate::passive::Passive;
use crate::peer::{Addr, Peer};
use crate::records::{FinishedOperations, Queued};
use crate::repair::Repair;
use crate::ring::Ring;
use crate::shown::Shown;
use crate::spans::Spans;
use crate::table::Table;
use crate::then::Then;
use crate::time::{Instant, Micros, Now};
use crate::upkeep::{Task, Tasks};
use crate::write::Writing;

/// A gap between a deadline and the event that should have met it above which this node
/// must have been asleep, and trusts nothing it believed before.
const SLEPT: Micros = Micros::from_secs(1);

/// How long a node that was in a ring before waits for others to come back with their copies,
/// before it settles a span with too few: after a power cut nobody is dead, only late.
const PATIENCE: Micros = Micros::from_secs(60);

/// The least time a call is given.
const LEAST: Micros = Micros::from_millis(1);

/// One ring position.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) config: Arc<Config>,
    pub(crate) me: Peer,
    pub(crate) draws: Draws,
    pub(crate) state: State,
    pub(crate) seeds: Vec<Addr>,
    pub(crate) joining: Joining,
    pub(crate) leaving: Option<Leaving>,
    pub(crate) ring: Ring,
    /// Revision of the ring that the consequences were last drawn from.
    pub(crate) seen: u32,
    /// What the present predecessor was granted behind; this node itself: no bound.
    pub(crate) grant_floor: Option<Peer>,
    /// Who wants to be predecessor while the present one is being probed.
    pub(crate) suitor: Option<Peer>,
    /// Whose list we have, by its digest.
    pub(crate) received: Option<(Peer, u64)>,
    pub(crate) contacts: Contacts,
    pub(crate) table: Table,
    pub(crate) passive: Passive,
    pub(crate) spans: Spans,
    /// Until then a restarted node waits for copies that others may bring back.
    pub(crate) patient_until: Instant,
    /// Whom its earlier life knew: until then, whoever of them belongs into the list and is not
    /// there is late.
    pub(crate) awaited: Vec<Peer>,
    pub(crate) tasks: Tasks,
    pub(crate) pace: Micros,
    /// When this node last stabilised.
    pub(crate) stabilised: Instant,
    pub(crate) finger: u32,
    pub(crate) ops: Ops<Then>,
    pub(crate) searches: Slab<Search>,
    pub(crate) gathers: Slab<Gather>,
    pub(crate) writes: Slab<Writing>,
    pub(crate) queued: Vec<Queued>,
    pub(crate) finished: FinishedOperations,
    /// Operations whose versions passed through here as copies of another owner.
    pub(crate) passed: FinishedOperations,
    /// What quorum reads showed and the own store lacks.
    pub(crate) shown: Shown,
    pub(crate) repair: Repair,
    pub(crate) sweep_from: Option<crate::message::Key>,
    /// Heads of one page whose owner is being looked for.
    pub(crate) strays: Vec<crate::message::Head>,
    pub(crate) clock: Clock,
    /// Whether the wall clock was right at the start.
    pub(crate) clocks: Clocks,
    pub(crate) counter: u64,
    pub(crate) unavailable_since: Option<Instant>,
    pub(crate) may_have_lost: u64,
}

/// One call of `handle`: the time, and where actions go.
pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    pub(crate) out: &'a mut Vec<Action>,
}

impl Cx<'_> {
    pub(crate) fn notice(&mut self, notice: Notice) {
        self.out.push(Action::Notice(notice));
    }

    pub(crate) fn reply(&mut self, ticket: Ticket, response: Response) {
        self.out.push(Action::Reply { ticket, response });
    }

    pub(crate) fn refuse(&mut self, ticket: Ticket, refusal: Refusal) {
        self.reply(ticket, Response::Refused(refusal));
    }

    pub(crate) fn finish(&mut self, ticket: Ticket, result: Result<Outcome, Failure>) {
        self.out.push(Action::Finish { ticket, result });
    }
}

impl Node {
    /// A node that knows nobody yet and does nothing before [`Command::Join`].
    ///
    /// `seed` makes its choices repeatable; it is no secret. `me.incarnation` must be above
    /// that of every earlier life of the same id.
    ///
    /// # Errors
    /// An option out of its bounds.
    pub fn new(
        config: Arc<Config>,
        me: Peer,
        seed: u64,
        now: Now,
        restored: Restored,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let limit = usize::from(config.successors);
        let mut passive = Passive::new(usize::from(config.passive_max));
        let patient_until = match restored.peers.is_empty() {
            true => now.mono,
            false => now.mono + PATIENCE.min(config.forget),
        };
        let mut awaited = Vec::new();
        for peer in restored.peers {
            if peer.id != me.id && !peer.is_seed() {
                awaited.push(peer);
                let died = restored.absent.contains(&peer.id).then_some(now.mono);
                passive.add(peer, died, now.mono);
            }
        }
        let mut spans = Spans::new(me.id);
        for (span, mark) in restored.marks {
            spans.hold(span, Some(mark), now.mono);
        }
        Ok(Self {
            me,
            draws: Draws::new(seed),
            state: State::Joining,
            seeds: Vec::new(),
            joining: Joining::default(),
            leaving: None,
            ring: Ring::new(me, limit),
            seen: 0,
            grant_floor: None,
            suitor: None,
            received: None,
            contacts: Contacts::new(),
            table: Table::new(me.id, usize::from(config.table_max)),
            passive,
            spans,
            patient_until,
            awaited,
            tasks: Tasks::default(),
            pace: config.stabilise_min,
            stabilised: now.mono,
            finger: 0,
            ops: Ops::new(),
            searches: Slab::new(),
            gathers: Slab::new(),
            writes: Slab::new(),
            queued: Vec::new(),
            finished: FinishedOperations::default(),
            passed: FinishedOperations::default(),
            shown: Shown::default(),
            repair: Repair::default(),
            sweep_from: None,
            strays: Vec::new(),
            clock: Clock::new(restored.clock, now, config.skew_max),
            clocks: Clocks::new(now),
            counter: 0,
            unavailable_since: None,
            may_have_lost: 0,
            config,
        })
    }

    /// Who this is.
    #[must_use]
    pub fn me(&self) -> Peer {
        self.me
    }

    /// Where in its life it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Advances the protocol by one event, appending what must now be done to `out`.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        let cx = &mut Cx { now, out };
        self.notice_sleep(cx);
        match event {
            Event::Command { ticket, command } => self.command(cx, ticket, command),
            Event::Request {
                ticket,
                from,
                terms,
                request,
            } => {
                self.meet(cx, from);
                self.serve(cx, ticket, from, terms, request);
            }
            Event::Answer { op, result } => self.answer(cx, op, result),
            Event::Stored { op, result } => self.stored(cx, op, result),
            Event::Peer {
                peer,
                change: PeerChange::Lost(why),
            } => self.told_lost(cx, peer, why),
            Event::Wake => self.wake(cx),
        }
        if self.ring.revision() != self.seen {
            self.seen = self.ring.revision();
            self.ring_changed(cx);
        }
    }

    /// When the node next wants an [`Event::Wake`], if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match (self.ops.next_due(), self.tasks.next()) {
            (Some(op), Some(task)) => Some(op.min(task)),
            (op, task) => op.or(task),
        }
    }

    fn command(&mut self, cx: &mut Cx, ticket: Ticket, command: Command) {
        match command {
            Command::Join { seeds } => self.enter(cx, ticket, seeds),
            Command::Leave => self.leave(cx, ticket),
            Command::Status => {
                let status = self.status(cx.now.mono);
                cx.finish(ticket, Ok(Outcome::Status(status)));
            }
            Command::View { of: None } => {
                let view = View {
                    me: self.me,
                    predecessor: self.ring.predecessor(),
                    successors: self.ring.successors().to_vec(),
                };
                cx.finish(ticket, Ok(Outcome::View(view)));
            }
            Command::View { of: Some(peer) } if peer.id == self.me.id => {
                self.command(cx, ticket, Command::View { of: None });
            }
            Command::View { of: Some(peer) } => {
                let request = Request::Neighbours { digest: 0 };
                self.call(cx, peer, request, Class::Client, Then::View { ticket });
            }
            Command::Put { .. }
            | Command::Get { .. }
            | Command::Delete { .. }
            | Command::Lookup { .. } => self.search_for_client(cx, ticket, command),
        }
    }

    fn answer(&mut self, cx: &mut Cx, op: OpId, result: Result<Response, CallError>) {
        if self.ops.get(op).is_none_or(|pending| pending.to.is_none()) {
            return;
        }
        if let Some(pending) = self.ops.take(op) {
            self.take_answer(cx, pending, result);
        }
    }

    fn stored(&mut self, cx: &mut Cx, op: OpId, result: Result<StoreAnswer, StoreError>) {
        if self
            .ops
            .get(op)
            .is_none_or(|pending| !pending.then.is_of_store())
        {
            return;
        }
        let Some(pending) = self.ops.take(op) else {
            return;
        };
        if let Err(error) = result {
            cx.notice(Notice::Store { error });
        }
        self.continue_stored(cx, pending.then, result);
    }

    fn wake(&mut self, cx: &mut Cx) {
        while let Some(due) = self.ops.pop_due(cx.now.mono) {
            match due {
                Due::Late(op) => self.overdue(cx, op),
                Due::Expired(pending) => self.expired(cx, pending),
            }
        }
        while let Some(task) = self.tasks.pop_due(cx.now.mono) {
            self.run(cx, task);
        }
    }

    fn expired(&mut self, cx: &mut Cx, pending: Pending<Then>) {
        if pending.to.is_some() {
            self.take_answer(cx, pending, Err(CallError::TimedOut));
        } else {
            self.continue_stored(cx, pending.then, Err(StoreError::Failed));
        }
    }

    /// Whoever speaks is alive, and every earlier life of it is dead.
    fn meet(&mut self, cx: &mut Cx, from: Peer) {
        self.contacts.heard(from, None, cx.now.mono);
        self.passive.revived(from);
        let earlier = |known: Peer| known.id == from.id && known.incarnation < from.incarnation;
        let stale = self
            .ring
            .successors()
            .iter()
            .copied()
            .chain(self.ring.predecessor())
            .find(|&known| earlier(known));
        if let Some(stale) = stale {
            self.died(cx, stale);
        }
    }

    fn told_lost(&mut self, cx: &mut Cx, peer: Peer, why: Lost) {
        let life = match why {
            Lost::Reset => peer.incarnation,
            Lost::Restarted { incarnation } => incarnation.saturating_sub(1),
        };
        self.died(
            cx,
            Peer {
                incarnation: life,
                ..peer
            },
        );
    }

    /// If more than [`SLEPT`] passed between a deadline and now, it was this node that was
    /// away: deadlines move, suspicion is dropped, spans must settle again.
    fn notice_sleep(&mut self, cx: &mut Cx) {
        let Some(deadline) = self.next_deadline() else {
            return;
        };
        let length = cx.now.mono.since(deadline);
        if length <= SLEPT {
            return;
        }
        self.ops.postpone(length);
        self.tasks.postpone(length);
        self.searches
            .values_mut()
            .for_each(|search| search.postpone(length));
        self.gathers
            .values_mut()
            .for_each(|gather| gather.postpone(length));
        self.writes
            .values_mut()
            .for_each(|writing| writing.postpone(length));
        for queued in &mut self.queued {
            queued.deadline = queued.deadline + length;
        }
        if let Some(leaving) = &mut self.leaving {
            leaving.postpone(length);
        }
        self.contacts.forgive();
        self.spans.unsettle_all();
        self.want_repair(cx);
        cx.notice(Notice::Slept { length });
    }

    // ---- what every protocol part uses -------------------------------------------------

    pub(crate) fn is_member(&self) -> bool {
        matches!(self.state, State::Joined | State::Leaving)
    }

    /// Calls `to` and waits three times as long as that peer usually takes.
    pub(crate) fn call(
        &mut self,
        cx: &mut Cx,
        to: Peer,
        request: Request,
        class: Class,
        then: Then,
    ) {
        // Overdue at the measured timeout, which is a first signal; but an answer that comes
        // later is still a word from the peer, and takes the suspicion back.
        let timeout = self.contacts.timeout(to.id, &self.config).times(3);
        let timeout = timeout.min(self.config.timeout_max);
        self.call_until(cx, to, request, class, 0, cx.now.mono + timeout, then);
    }

    /// Calls `to`; the call is late when that peer usually would have answered.
    #[expect(
        clippy::too_many_arguments,
        reason = "one door for every call, no half-filled struct"
    )]
    pub(crate) fn call_until(
        &mut self,
        cx: &mut Cx,
        to: Peer,
        request: Request,
        class: Class,
        trace: u64,
        deadline: Instant,
        then: Then,
    ) -> OpId {
        // What was asked for too late is asked for all the same, and ends at once if nobody
        // answers: every path stays the same, and no deadline lies in the past.
        let deadline = deadline.max(cx.now.mono + LEAST);
        if let Request::Replicate { records, .. } = &request
            && class == Class::Repair
        {
            let sent = &mut self.repair.moved.sent;
            *sent = sent.saturating_add(size_of_all(records));
        }
        let late = cx.now.mono + self.contacts.late(to.id, &self.config);
        let pending = Pending {
            then,
            to: Some(to),
            sent: cx.now.mono,
            late: Some(late),
            deadline,
        };
        let op = self.ops.insert(pending);
        let terms = Terms {
            deadline,
            class,
            trace,
        };
        cx.out.push(Action::Call {
            op,
            to,
            terms,
            request,
        });
        op
    }

    /// Tells `to` something whose answer does not matter.
    pub(crate) fn tell(&mut self, cx: &mut Cx, to: Peer, request: Request) {
        self.call(cx, to, request, Class::Ring, Then::Told);
    }

    pub(crate) fn store(&mut self, cx: &mut Cx, command: StoreCommand, then: Then) {
        if let StoreCommand::Put { .. } = command {
            self.clocks.close();
        }
        // A disk that does not answer for so long has failed; the driver says so long before.
        let deadline = cx.now.mono + self.config.leave_timeout;
        let pending = Pending {
            then,
            to: None,
            sent: cx.now.mono,
            late: None,
            deadline,
        };
        let op = self.ops.insert(pending);
        cx.out.push(Action::Store { op, command });
    }

    /// An alarm clock for a continuation; no action goes with it.
    pub(crate) fn alarm(&mut self, cx: &mut Cx, after: Micros, then: Then) -> OpId {
        let deadline = cx.now.mono + after;
        self.ops.insert(Pending {
            then,
            to: None,
            sent: cx.now.mono,
            late: None,
            deadline,
        })
    }

    pub(crate) fn jitter(&mut self, low: Micros, high: Micros) -> Micros {
        if !self.config.jitter {
            return low;
        }
        Micros(self.draws.range(Purpose::Jitter, low.0, high.0))
    }

    pub(crate) fn schedule(&mut self, cx: &Cx, task: Task, after: Micros) {
        self.tasks.set(task, cx.now.mono + after);
    }

    /// What an owner's own copy is worth as evidence about `position`.
    pub(crate) fn own_mark(&self, position: crate::id::Id) -> Option<Mark> {
        self.spans.mark(position)
    }

    /// What the next life of this node needs. The marks are of use only beside the records.
    #[must_use]
    pub fn remember(&self, now: Instant) -> Restored {
        let absent = self.passive.absent(now, self.config.forget);
        Restored {
            peers: self.known_peers(),
            absent: absent.map(|peer| peer.id).collect(),
            clock: self.clock.highest(),
            marks: self.spans.marks(),
        }
    }

    /// Every peer worth asking after a restart: neighbours first.
    #[must_use]
    pub fn known_peers(&self) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self.ring.successors().to_vec();
        let more = self.ring.predecessor().into_iter();
        for peer in more
            .chain(self.passive.peers())
            .chain(self.table.peers().iter().copied())
        {
            if peers.iter().all(|known| known.id != peer.id) && peer.id != self.me.id {
                peers.push(peer);
            }
        }
        peers.truncate(64);
        peers
    }

    /// The version clock: what a next life must start above.
    #[must_use]
    pub fn clock(&self) -> u64 {
        self.clock.highest()
    }

    /// Operations in flight.
    #[must_use]
    pub fn ops_in_flight(&self) -> usize {
        self.ops.len()
    }

    /// This node's membership state.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }
}
