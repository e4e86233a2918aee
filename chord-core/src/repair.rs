//! Settling what was gained, and keeping every record at its copies.
//!
//! ```text
//! owner ── List(span) ──▶ each candidate     page by page, compared with the own list
//!       ── Fetch ───────▶                    what it has newer
//!       ── Replicate ───▶                    what it lacks and should hold
//!       ── Discard ─────▶                    what is surplus and safe elsewhere
//!       ── Mark ────────▶                    after a round that ended equal: complete
//! ```
//!
//! A round compares one span with the next `copies_max − 1` live successors at the same
//! time. An unsettled piece is settled by a round of its own in which every live candidate
//! answered; dead ones are waived, and if that leaves too few complete copies to be certain,
//! the node goes on and says so. Rounds follow every membership change nearby and otherwise
//! come with a period.
//!
//! **Invariant:** a mark is given only after a round that found nothing to fetch.

use alloc::vec::Vec;

use crate::event::{CallError, Class, Notice, State, StoreAnswer, StoreCommand, StoreError};
use crate::id::Span;
use crate::message::{Head, Key, Mark, Request, Response};
use crate::node::{Cx, Node};
use crate::peer::Peer;
use crate::then::{Then, heads, page};
use crate::time::Micros;
use crate::upkeep::Task;

/// Keys asked for at once.
const FETCH_BATCH: usize = 64;
/// Records read at once to be pushed.
const PUSH_BATCH: usize = 32;
/// Pause before a round that must follow one that found differences or silence.
const AGAIN: Micros = Micros::from_millis(200);
/// The rank of somebody who gives data but holds none: a leaving owner.
const SOURCE: u8 = u8::MAX;

/// The repair of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repair {
    round: Option<Round>,
    rounds: u64,
    /// The group that `epoch` stands for.
    group: Option<(Span, Vec<Peer>)>,
    epoch: u64,
    /// Copies that reached this owner from others' hands, and how many of them a round that
    /// ended equal has seen.
    arrivals: u64,
    clean: Option<u64>,
    /// Members that hand over and hold nothing any more.
    pub(crate) excluded: Vec<Peer>,
    pub(crate) copies_missing: u64,
}

#[derive(Clone, Debug)]
struct Round {
    id: u64,
    span: Span,
    /// A piece to settle; otherwise the whole owned span.
    settles: bool,
    compares: Vec<Compare>,
    arrivals: u64,
}

#[derive(Clone, Debug)]
struct Compare {
    peer: Peer,
    rank: u8,
    progress: Progress,
    mark: Option<Mark>,
    next: Option<Key>,
    more: bool,
    want: Vec<Key>,
    push: Vec<Key>,
    surplus: Vec<Head>,
    pulled: u64,
    missing: u64,
    incomplete: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    Running,
    Done,
    Dead,
    Silent,
}

impl Repair {
    /// A copy arrived that a round must see before anything about it is confirmed.
    pub(crate) fn arrived(&mut self) {
        self.arrivals = self.arrivals.saturating_add(1);
    }

    /// Whether everything that arrived has been seen by a round that ended equal.
    pub(crate) fn is_clean(&self) -> bool {
        self.clean.is_some_and(|clean| clean >= self.arrivals)
    }

    /// Whether this member hands over: it counts for nothing any more.
    pub(crate) fn hands_over(&self, peer: Peer) -> bool {
        self.excluded.iter().any(|gone| gone.supersedes(peer))
    }

    fn compare(&mut self, round: u64, at: u8) -> Option<&mut Compare> {
        let round = self.round.as_mut().filter(|running| running.id == round)?;
        round.compares.get_mut(usize::from(at))
    }
}

impl Node {
    /// Something changed nearby: compare soon.
    pub(crate) fn want_repair(&mut self, cx: &mut Cx) {
        if self.state == State::Joined && self.spans.owned().is_some() {
            self.tasks
                .hasten(Task::Repair, cx.now.mono + self.config.settle_delay);
        }
    }

    pub(crate) fn abandon_repair(&mut self) {
        self.repair.round = None;
        self.repair.group = None;
    }

    /// `Task::Repair`: begins a round, unless the running one is still right.
    pub(crate) fn repair(&mut self, cx: &mut Cx) {
        let pace = self.config.repair_pace;
        let after = self.jitter(Micros(pace.0 - pace.0 / 4), pace);
        self.schedule(cx, Task::Repair, after);
        let Some(owned) = self.spans.owned() else {
            return;
        };
        if self.state != State::Joined {
            return;
        }
        let most = usize::from(self.config.copies_max).saturating_sub(1);
        let group = self.candidates(most, cx.now.mono);
        if self.repair.group.as_ref() != Some(&(owned, group.clone())) {
            self.repair.group = Some((owned, group.clone()));
            self.repair.epoch = self.tick(cx.now.wall);
            self.repair.clean = None;
            self.repair.round = None;
        }
        if self.repair.round.is_some() {
            return;
        }
        self.begin_round(cx, owned, &group);
    }

    fn begin_round(&mut self, cx: &mut Cx, owned: Span, group: &[Peer]) {
        let piece = self.spans.pieces().first().cloned();
        if piece.is_some()
            && group.is_empty()
            && self
                .passive
                .absent(cx.now.mono, self.config.forget)
                .next()
                .is_some()
        {
            // Alone, with members that may come back: nothing can be corroborated.
            self.tasks.hasten(
                Task::Repair,
                cx.now.mono + self.config.settle_delay.times(50),
            );
            return;
        }
        let span = piece.as_ref().map_or(owned, |piece| piece.span);
        self.repair.rounds = self.repair.rounds.saturating_add(1);
        let mut compares: Vec<Compare> = group
            .iter()
            .zip(1_u8..)
            .map(|(&peer, rank)| Compare::new(peer, rank))
            .collect();
        if let Some(source) = piece.as_ref().and_then(|piece| piece.source)
            && !group.contains(&source)
            && !self.contacts.is_dead(source, cx.now.mono)
        {
            compares.push(Compare::new(source, SOURCE));
        }
        let count = u8::try_from(compares.len()).unwrap_or(u8::MAX);
        self.repair.round = Some(Round {
            id: self.repair.rounds,
            span,
            settles: piece.is_some(),
            compares,
            arrivals: self.repair.arrivals,
        });
        for at in 0..count {
            self.compare_step(cx, self.repair.rounds, at);
        }
        self.end_round_if_over(cx);
    }

    /// The next thing to do with one holder.
    fn compare_step(&mut self, cx: &mut Cx, round: u64, at: u8) {
        let span = match &self.repair.round {
            Some(running) if running.id == round => running.span,
            _ => return,
        };
        let bytes_max = self.config.page_bytes;
        let deadline = cx.now.mono + self.config.timeout_max;
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        let peer = compare.peer;
        if !compare.want.is_empty() {
            let keys: Vec<Key> = compare.want.iter().take(FETCH_BATCH).cloned().collect();
            let wanted = u16::try_from(keys.len()).unwrap_or(u16::MAX);
            let then = Then::Fetched { round, at, wanted };
            self.call_until(
                cx,
                peer,
                Request::Fetch { keys },
                Class::Repair,
                0,
                deadline,
                then,
            );
            return;
        }
        if !compare.push.is_empty() {
            let batch = compare.push.len().min(PUSH_BATCH);
            let keys: Vec<Key> = compare.push.drain(..batch).collect();
            self.store(
                cx,
                StoreCommand::GetMany { keys },
                Then::PushRead { round, at },
            );
            return;
        }
        if !compare.surplus.is_empty() {
            let heads = core::mem::take(&mut compare.surplus);
            let request = Request::Discard { heads };
            self.call_until(cx, peer, request, Class::Repair, 0, deadline, Then::Told);
        }
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        if !compare.more {
            compare.progress = Progress::Done;
            self.end_round_if_over(cx);
            return;
        }
        let after = compare.next.clone();
        let request = Request::List {
            span,
            after: after.clone(),
            bytes_max,
        };
        let then = Then::Listed { round, at, after };
        self.call_until(cx, peer, request, Class::Repair, 0, deadline, then);
    }

    fn compare_failed(&mut self, cx: &mut Cx, round: u64, at: u8) {
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        let peer = compare.peer;
        let dead = self.contacts.is_dead(peer, cx.now.mono);
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        compare.progress = if dead {
            Progress::Dead
        } else {
            Progress::Silent
        };
        self.end_round_if_over(cx);
    }

    /// A page of a holder's list has come: read our own of the same range.
    pub(crate) fn listed(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        after: Option<Key>,
        result: Result<Response, CallError>,
    ) {
        let span = match &self.repair.round {
            Some(running) if running.id == round => running.span,
            _ => return,
        };
        let Ok(Response::Heads { heads, more, mark }) = result else {
            self.compare_failed(cx, round, at);
            return;
        };
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        if after.is_none() {
            compare.mark = mark;
        }
        let begin = after.as_ref().map_or(span.after, Key::position);
        let ordered = heads
            .windows(2)
            .all(|pair| span.rank(pair[0].key.position()) <= span.rank(pair[1].key.position()));
        let rest = Span::new(begin, span.upto);
        if !ordered || !heads.iter().all(|head| rest.contains(head.key.position())) {
            self.compare_failed(cx, round, at);
            return;
        }
        let last = heads.last().map(|head| head.key.clone()).filter(|_| more);
        compare.more = last.is_some();
        compare.next.clone_from(&last);
        let upto = last.as_ref().map_or(span.upto, Key::position);
        if upto == begin && after.is_some() {
            self.compare_step(cx, round, at);
            return;
        }
        let command = StoreCommand::List {
            span: Span::new(begin, upto),
            after: None,
            // Heads of one page of theirs: what is ours there is of the same order.
            bytes_max: u32::MAX,
        };
        let then = Then::ListedOwn {
            round,
            at,
            theirs: heads,
        };
        self.store(cx, command, then);
    }

    /// Both lists of a range are here: what differs?
    pub(crate) fn listed_own(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        mut theirs: Vec<Head>,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let Some((mut ours, truncated)) = heads(result) else {
            self.compare_failed(cx, round, at);
            return;
        };
        let clean = self.repair.is_clean() && self.spans.pieces().is_empty();
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        compare.incomplete |= truncated;
        ours.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        theirs.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let should_hold = |copies: u8| compare.rank < copies;
        let find = |list: &[Head], key: &Key| -> Option<Head> {
            let at = list.binary_search_by(|head| head.key.cmp(key)).ok()?;
            list.get(at).cloned()
        };
        for head in &theirs {
            match find(&ours, &head.key) {
                Some(own) if own.version >= head.version => {
                    let surplus = !should_hold(own.copies) && compare.rank != SOURCE;
                    if surplus && clean {
                        compare.surplus.push(head.clone());
                    }
                }
                _ if truncated => compare.incomplete = true,
                _ => compare.want.push(head.key.clone()),
            }
        }
        for own in &ours {
            let known = find(&theirs, &own.key);
            let newer = known.is_none_or(|known| known.version < own.version);
            if newer && compare.rank != SOURCE && should_hold(own.copies) {
                compare.push.push(own.key.clone());
                compare.missing += 1;
            }
        }
        self.compare_step(cx, round, at);
    }

    pub(crate) fn fetched(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        wanted: u16,
        result: Result<Response, CallError>,
    ) {
        let Ok(Response::Fetched { records, .. }) = result else {
            self.compare_failed(cx, round, at);
            return;
        };
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        if records.is_empty() {
            // Gone meanwhile, or not given: the next round looks again.
            let wanted = usize::from(wanted).min(compare.want.len());
            compare.want.drain(..wanted);
            compare.incomplete = true;
            self.compare_step(cx, round, at);
            return;
        }
        let asked = |record: &crate::message::Record| compare.want.contains(&record.key);
        let sane = records.iter().all(|record| {
            asked(record) && record.header.version.time < 1 << 63 && record.header.copies > 0
        });
        if !sane {
            self.compare_failed(cx, round, at);
            return;
        }
        compare.pulled = compare.pulled.saturating_add(records.len() as u64);
        compare
            .want
            .retain(|key| !records.iter().any(|record| record.key == *key));
        for record in &records {
            let latest = cx.now.wall.saturating_add(self.config.skew_max.0);
            self.clock = self.clock.max(record.header.version.time.min(latest));
        }
        let records = records
            .into_iter()
            .map(|record| self.clamp(record, cx))
            .collect();
        self.store(
            cx,
            StoreCommand::Put { records },
            Then::FetchedStored { round, at },
        );
    }

    pub(crate) fn fetched_stored(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        result: Result<StoreAnswer, StoreError>,
    ) {
        if result.is_err() {
            self.compare_failed(cx, round, at);
        } else {
            self.compare_step(cx, round, at);
        }
    }

    pub(crate) fn push_read(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let Some((mut records, _)) = page(result) else {
            self.compare_failed(cx, round, at);
            return;
        };
        let fits = fitting(&records, self.config.page_bytes);
        let rest: Vec<Key> = records.drain(fits..).map(|record| record.key).collect();
        let deadline = cx.now.mono + self.config.timeout_max;
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        compare.push.extend(rest);
        let peer = compare.peer;
        if records.is_empty() {
            self.compare_step(cx, round, at);
            return;
        }
        let request = Request::Replicate {
            records,
            fresh: false,
        };
        let then = Then::Pushed { round, at };
        self.call_until(cx, peer, request, Class::Repair, 0, deadline, then);
    }

    pub(crate) fn pushed(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        result: Result<Response, CallError>,
    ) {
        match result {
            Ok(Response::Replicated { newer }) => {
                if let Some(compare) = self.repair.compare(round, at) {
                    compare.incomplete |= !newer.is_empty();
                }
                self.compare_step(cx, round, at);
            }
            Ok(Response::Refused(_)) => {
                // It leaves, or has no room: nothing more to push there in this round.
                if let Some(compare) = self.repair.compare(round, at) {
                    compare.push.clear();
                    compare.incomplete = true;
                }
                self.compare_step(cx, round, at);
            }
            Ok(_) | Err(_) => self.compare_failed(cx, round, at),
        }
    }

    // ---- the end of a round ------------------------------------------------------------

    fn end_round_if_over(&mut self, cx: &mut Cx) {
        let running = |compare: &Compare| compare.progress == Progress::Running;
        if self
            .repair
            .round
            .as_ref()
            .is_none_or(|round| round.compares.iter().any(running))
        {
            return;
        }
        let Some(round) = self.repair.round.take() else {
            return;
        };
        let silent = round
            .compares
            .iter()
            .any(|compare| compare.progress == Progress::Silent);
        let pulled = round.compares.iter().any(|compare| compare.pulled > 0);
        let incomplete = round.compares.iter().any(|compare| compare.incomplete);
        if silent {
            self.tasks.hasten(Task::Repair, cx.now.mono + AGAIN);
            return;
        }
        if round.settles {
            self.settle_piece(cx, &round);
            self.tasks.hasten(Task::Repair, cx.now.mono);
            return;
        }
        self.repair.copies_missing = round
            .compares
            .iter()
            .map(|compare| compare.missing)
            .fold(0, u64::saturating_add);
        if pulled || incomplete {
            self.tasks.hasten(Task::Repair, cx.now.mono + AGAIN);
            return;
        }
        self.repair.copies_missing = 0;
        let first = self.repair.clean.is_none();
        self.repair.clean = Some(round.arrivals);
        self.give_marks(cx, &round, first);
    }

    fn settle_piece(&mut self, cx: &mut Cx, round: &Round) {
        let own = self.spans.mark_of(round.span);
        let marks = || {
            round
                .compares
                .iter()
                .filter_map(|compare| compare.mark)
                .chain(own)
        };
        let latest = marks().map(|mark| mark.epoch).max();
        let copies = self.config.copies;
        let complete = marks()
            .filter(|mark| Some(mark.epoch) == latest && mark.rank < copies)
            .count();
        let (_, needed) = self.quorums(copies, cx.now.mono);
        // Where nobody is missing, nothing can be: a ring that has just begun has no marks.
        let missing = self
            .passive
            .absent(cx.now.mono, self.config.forget)
            .next()
            .is_some();
        if missing && complete < usize::from(needed) {
            self.may_have_lost = self.may_have_lost.saturating_add(1);
            cx.notice(Notice::MayHaveLost { span: round.span });
        }
        self.spans.settle_piece(round.span);
        if self.spans.pieces().is_empty() {
            cx.notice(Notice::Settled);
        }
    }

    fn give_marks(&mut self, cx: &mut Cx, round: &Round, changed: bool) {
        let epoch = self.repair.epoch;
        self.spans
            .hold(round.span, Some(Mark { epoch, rank: 0 }), cx.now.mono);
        for compare in &round.compares {
            let mark = Mark {
                epoch,
                rank: compare.rank,
            };
            let told = compare.mark == Some(mark) && !changed;
            if compare.progress == Progress::Done && compare.rank != SOURCE && !told {
                self.tell(
                    cx,
                    compare.peer,
                    Request::Mark {
                        span: round.span,
                        mark,
                    },
                );
            }
        }
    }
}

impl Compare {
    fn new(peer: Peer, rank: u8) -> Self {
        Self {
            peer,
            rank,
            progress: Progress::Running,
            mark: None,
            next: None,
            more: true,
            want: Vec::new(),
            push: Vec::new(),
            surplus: Vec::new(),
            pulled: 0,
            missing: 0,
            incomplete: false,
        }
    }
}

/// How many of the first records fit `bytes_max`, at least one if there are any.
pub(crate) fn fitting(records: &[crate::message::Record], bytes_max: u32) -> usize {
    let mut bytes = 0_usize;
    let mut fits = 0;
    for record in records {
        bytes = bytes.saturating_add(record.size());
        if fits > 0 && bytes > bytes_max as usize {
            break;
        }
        fits += 1;
    }
    fits
}
