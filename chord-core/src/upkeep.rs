//! Keeping the ring: stabilise, rectify, fingers, periodic tasks.
//!
//! ```text
//! n ── Neighbours ──▶ head        its list replaces n's; its predecessor may be a candidate
//! n ── Neighbours ──▶ candidate   adopted only because it answered
//! n ── Notify ──────▶ head        rectify: n becomes its predecessor, and is granted its span
//! n ── Stabilise ───▶ predecessor something changed: do not wait for your turn
//! ```
//!
//! **Invariant:** every stabilisation ends by notifying the current head, also after a dead
//! candidate.

use crate::draw::Purpose;
use crate::event::{CallError, Class, Notice, State};
use crate::id::Id;
use crate::lookup::Goal;
use crate::message::{Request, Response};
use crate::node::{Cx, Node};
use crate::peer::Peer;
use crate::ring::{Next, Rectified};
use crate::then::Then;
use crate::time::{Instant, Micros};

/// What a node does from time to time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    Stabilise,
    Fingers,
    Passive,
    Repair,
    Sweep,
    Join,
    Leave,
}

const TASKS: [Task; 7] = [
    Task::Stabilise,
    Task::Fingers,
    Task::Passive,
    Task::Repair,
    Task::Sweep,
    Task::Join,
    Task::Leave,
];

/// When each task is due.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    due: [Option<Instant>; TASKS.len()],
}

impl Tasks {
    pub(crate) fn set(&mut self, task: Task, at: Instant) {
        self.due[task as usize] = Some(at);
    }

    /// Brings a task forward, never puts it off.
    pub(crate) fn hasten(&mut self, task: Task, at: Instant) {
        let due = &mut self.due[task as usize];
        *due = Some(due.map_or(at, |before| before.min(at)));
    }

    pub(crate) fn stop(&mut self, task: Task) {
        self.due[task as usize] = None;
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.iter().flatten().min().copied()
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Task> {
        let task = TASKS
            .into_iter()
            .find(|&task| self.due[task as usize].is_some_and(|at| at <= now))?;
        self.stop(task);
        Some(task)
    }

    pub(crate) fn postpone(&mut self, by: Micros) {
        for at in self.due.iter_mut().flatten() {
            *at = *at + by;
        }
    }
}

impl Node {
    pub(crate) fn run(&mut self, cx: &mut Cx, task: Task) {
        match task {
            Task::Stabilise => self.stabilise(cx),
            Task::Fingers => self.refresh_finger(cx),
            Task::Passive => self.ask_passive(cx),
            Task::Repair => self.repair(cx),
            Task::Sweep => self.sweep(cx),
            Task::Join => self.survey(cx),
            Task::Leave => self.leave_step(cx),
        }
    }

    /// Starts what a member does periodically.
    pub(crate) fn start_upkeep(&mut self, cx: &mut Cx) {
        self.pace = self.config.stabilise_min;
        let config = self.config.clone();
        for (task, pace) in [
            (Task::Fingers, config.settle_delay),
            (Task::Passive, config.passive_pace),
            (Task::Sweep, config.sweep_pace),
        ] {
            let after = self.jitter(pace, pace.times(2));
            self.schedule(cx, task, after);
        }
        self.schedule(cx, Task::Stabilise, Micros::ZERO);
    }

    fn stabilise(&mut self, cx: &mut Cx) {
        if !self.is_member() {
            return;
        }
        self.stabilised = cx.now.mono;
        let pace = self.pace;
        self.pace = Micros(pace.0.saturating_mul(2)).min(self.config.stabilise_max);
        let after = self.jitter(Micros(pace.0 - pace.0 / 4), pace);
        self.schedule(cx, Task::Stabilise, after);
        if self.ring.query().is_some() {
            return;
        }
        if let Some(head) = self.ring.begin() {
            let digest = self
                .received
                .filter(|(peer, _)| *peer == head)
                .map_or(0, |(_, digest)| digest);
            self.call(
                cx,
                head,
                Request::Neighbours { digest },
                Class::Ring,
                Then::Neighbours,
            );
            return;
        }
        // A dead predecessor stays until the next one comes; asked at every turn, it would keep
        // others who could be the head from being considered.
        let predecessor = self.ring.predecessor();
        if predecessor.is_none_or(|before| !self.contacts.is_dead(before, cx.now.mono)) {
            let next = self.ring.answered_by_self();
            self.follow(cx, next);
        }
    }

    /// Stabilises soon instead of at the next turn.
    pub(crate) fn stabilise_soon(&mut self, cx: &mut Cx) {
        let delay = self.config.settle_delay;
        let after = self.jitter(delay, delay.times(2));
        self.pace = self.config.stabilise_min;
        self.tasks.hasten(Task::Stabilise, cx.now.mono + after);
    }

    /// A neighbour says that something changed. Hints bring the next turn forward, but no
    /// further than a tenth of the least period behind the last one, whoever sends how many.
    pub(crate) fn hinted(&mut self, cx: &mut Cx) {
        let delay = self.config.settle_delay;
        let soon = cx.now.mono + self.jitter(delay, delay.times(2));
        let least = self.stabilised + Micros(self.config.stabilise_min.0 / 10);
        if self.is_member() {
            self.tasks.hasten(Task::Stabilise, soon.max(least));
        }
    }

    /// The list-changing query was answered or failed.
    pub(crate) fn neighbours_answered(
        &mut self,
        cx: &mut Cx,
        peer: Peer,
        result: Result<Response, CallError>,
    ) {
        let next = match result {
            Ok(Response::Neighbours {
                me,
                predecessor,
                successors,
                ..
            }) if me.id == peer.id => {
                if let Some(list) = &successors {
                    self.received = Some((peer, crate::ring::digest(list)));
                }
                self.ring.answered(peer, predecessor, successors.as_deref())
            }
            Ok(_) | Err(_) => self.ring.failed(),
        };
        self.follow(cx, next);
    }

    fn follow(&mut self, cx: &mut Cx, next: Next) {
        match next {
            Next::Ask(candidate) => self.ask_candidate(cx, candidate),
            Next::Notify(head) => self.notify(cx, head),
        }
    }

    /// Asks a candidate that [`crate::ring::Ring::consider`] has accepted.
    pub(crate) fn ask_candidate(&mut self, cx: &mut Cx, candidate: Peer) {
        if self.contacts.is_certainly_dead(candidate, cx.now.mono) {
            let next = self.ring.failed();
            self.follow(cx, next);
            return;
        }
        let request = Request::Neighbours { digest: 0 };
        self.call(cx, candidate, request, Class::Ring, Then::Neighbours);
    }

    pub(crate) fn notify(&mut self, cx: &mut Cx, head: Option<Peer>) {
        if let Some(head) = head {
            self.call(cx, head, Request::Notify, Class::Ring, Then::Notified);
        }
    }

    /// Our notification was answered: the head may have granted our span.
    pub(crate) fn notified_answered(
        &mut self,
        cx: &mut Cx,
        peer: Peer,
        result: Result<Response, CallError>,
    ) {
        let Ok(Response::Notified {
            predecessor,
            granted,
        }) = result
        else {
            return;
        };
        let named = predecessor.is_some_and(|named| named.id == self.me.id);
        if self.state == State::Leaving && named && granted.is_some() {
            self.granted_while_leaving(cx);
        }
        if self.state != State::Joined || self.ring.head() != Some(peer) {
            return;
        }
        match granted {
            Some(floor) if named && self.spans.owned().is_none() => {
                if floor.id != peer.id && floor.id != self.me.id {
                    self.ring.granted_behind(floor);
                }
                let after = self.ring.predecessor().unwrap_or(self.me);
                self.own(cx, after.id, None, false);
            }
            Some(_) | None => {
                let now = cx.now.mono;
                if predecessor
                    .is_some_and(|p| self.ring.is_better(p) && !self.contacts.is_dead(p, now))
                {
                    self.stabilise_soon(cx);
                }
            }
        }
    }

    /// **Rectify**: somebody believes to be our predecessor.
    pub(crate) fn rectify(&mut self, cx: &mut Cx, notifier: Peer) -> Response {
        let dead = self
            .ring
            .predecessor()
            .is_some_and(|predecessor| self.contacts.is_dead(predecessor, cx.now.mono));
        match self.ring.notified(notifier, dead) {
            Rectified::Adopted { before } => self.adopted(cx, notifier, before, dead),
            Rectified::Same => self.own_behind(cx, notifier),
            Rectified::Probe(before) => {
                self.suitor = Some(notifier);
                self.check_alive(cx, before);
            }
        }
        let predecessor = self.ring.predecessor();
        let named = predecessor.is_some_and(|predecessor| predecessor.id == notifier.id);
        if named {
            self.cede_to_newcomer(cx, notifier);
        }
        let owned = self.spans.owned();
        let mine = named
            && (owned.is_some_and(|span| span.after == notifier.id) || self.has_ceded_to(notifier));
        let granted = mine.then_some(self.grant_floor.unwrap_or(self.me));
        Response::Notified {
            predecessor,
            granted,
        }
    }

    fn adopted(&mut self, cx: &mut Cx, notifier: Peer, before: Option<Peer>, dead: bool) {
        self.suitor = None;
        let alive_before = before.filter(|before| !dead && before.id != notifier.id);
        self.grant_floor = Some(alive_before.unwrap_or(self.me));
        // One that hands over to us has given its span away, whoever stood between us before.
        let heir = self.repair.excluded.contains(&notifier) && self.spans.owns(notifier.id);
        if self.spans.owned().is_some() && !heir {
            self.own(cx, notifier.id, None, false);
        }
        if let Some(before) = alive_before {
            self.tell(cx, before, Request::Stabilise);
        }
        cx.notice(Notice::PredecessorChanged {
            predecessor: notifier,
        });
    }

    /// The believed predecessor confirms that it is there: nothing before it is ours, even
    /// if this node once founded a ring again for want of it. One that hands over to us has
    /// given its span away.
    fn own_behind(&mut self, cx: &mut Cx, predecessor: Peer) {
        let beyond = self
            .spans
            .owned()
            .is_some_and(|span| span.after != predecessor.id);
        if beyond && !self.repair.excluded.contains(&predecessor) {
            self.grant_floor = Some(self.me);
            self.own(cx, predecessor.id, None, false);
        }
    }

    /// Owns `(after, me]` from now on.
    pub(crate) fn own(&mut self, cx: &mut Cx, after: Id, source: Option<Peer>, settled: bool) {
        if self.spans.own(after, source, settled)
            && let Some(span) = self.spans.owned()
        {
            cx.notice(Notice::Owns { span });
            self.want_repair(cx);
        }
    }

    /// Draws the consequences of a changed list or predecessor.
    pub(crate) fn ring_changed(&mut self, cx: &mut Cx) {
        if self.leaving.is_some() {
            // Perhaps another one inherits now.
            self.tasks.hasten(Task::Leave, cx.now.mono + Self::soon());
        }
        if !self.is_member() {
            return;
        }
        self.stabilise_soon(cx);
        if let Some(head) = self.ring.head() {
            cx.notice(Notice::HeadChanged { head });
        }
        if let Some(predecessor) = self.ring.predecessor()
            && !self.contacts.is_dead(predecessor, cx.now.mono)
        {
            self.tell(cx, predecessor, Request::Stabilise);
        }
        for peer in self.ring.successors() {
            self.passive.note(*peer, cx.now.mono);
        }
        self.want_repair(cx);
    }

    // ---- fingers -----------------------------------------------------------------------

    fn refresh_finger(&mut self, cx: &mut Cx) {
        let pace = self.config.finger_pace;
        let mut after = self.jitter(Micros(pace.0 - pace.0 / 4), pace);
        if self.is_member()
            && let Some(last) = self.ring.successors().last().copied()
        {
            let first = self.table.interval(last.id).unwrap_or(0);
            let full = self.ring.successors().len() == usize::from(self.config.successors);
            // Fingers up to the last successor are in the list; in a ring smaller than the
            // list, all are.
            if full && first < crate::id::ID_BITS {
                if self.finger < first || self.finger >= crate::id::ID_BITS {
                    self.finger = first;
                }
                let target = self.me.id.plus_power(self.finger);
                self.finger += 1;
                if !crate::id::Span::new(self.me.id, last.id).contains(target) {
                    self.search(cx, target, Goal::Finger);
                }
                // A fresh node fills its table at once, then keeps it at leisure.
                if self.table.peers().len() < 4 && self.finger < crate::id::ID_BITS {
                    after = self.config.settle_delay;
                }
            }
        }
        self.schedule(cx, Task::Fingers, after);
    }

    // ---- passive list ------------------------------------------------------------------

    /// Asks somebody once known who owns our own position: heals splits and loops.
    fn ask_passive(&mut self, cx: &mut Cx) {
        let pace = self.config.passive_pace;
        let after = self.jitter(Micros(pace.0 - pace.0 / 4), pace);
        self.schedule(cx, Task::Passive, after);
        if !self.is_member() {
            return;
        }
        let draw = self.draws.next(Purpose::Choice);
        let ring = &self.ring;
        let known = |peer: Peer| {
            ring.successors()
                .iter()
                .any(|successor| successor.id == peer.id)
        };
        let better = |peer: Peer| ring.is_better(peer);
        // Somebody in the table between this node and its head is proof of a split.
        let nearest = self
            .table
            .peers()
            .first()
            .copied()
            .filter(|peer| better(*peer));
        let chosen = nearest.or_else(|| self.passive.choose(cx.now.mono, draw, known, better));
        if let Some(peer) = chosen.or_else(|| self.forgotten_seed(draw)) {
            self.search_through(cx, self.me.id, peer, Goal::Passive);
        }
    }

    /// A seed that is no neighbour: seeds are never forgotten, so two rings that were founded
    /// apart find each other once one of them is told of the other.
    fn forgotten_seed(&self, draw: u64) -> Option<Peer> {
        let count = u64::try_from(self.seeds.len()).ok()?;
        let at = usize::try_from(crate::draw::below(draw, count)).ok()?;
        let seed = *self.seeds.get(at)?;
        let mut near = self
            .ring
            .successors()
            .iter()
            .copied()
            .chain(self.ring.predecessor());
        let known = near.any(|peer| peer.addr == seed);
        (!known).then_some(Peer::seed(seed))
    }

    /// Somebody verified might lie between this node and its head.
    pub(crate) fn consider(&mut self, cx: &mut Cx, candidate: Peer) {
        if self.is_member() && self.ring.consider(candidate) {
            self.ask_candidate(cx, candidate);
        }
    }
}
