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
//! the node goes on and says so. Such a round only fetches, so that the span is served the
//! sooner; what others lack is brought by the round of the whole span that follows, or, where the
//! piece cannot be settled, by its next one.
//! Rounds follow every membership change nearby and otherwise come with a period.
//!
//! **Invariant:** a mark is given only after a round that found nothing to fetch.

use alloc::vec::Vec;

use crate::compare::{Compare, Progress};
use crate::event::{Moved, Notice, State};
use crate::id::Span;
use crate::message::{Mark, Request};
use crate::node::{Cx, Node};
use crate::peer::Peer;
use crate::time::Micros;
use crate::upkeep::Task;

/// Pause before a round that must follow one that found differences or silence.
const AGAIN: Micros = Micros::from_millis(200);
/// Rounds in a row that a live holder may spoil. Then it is waived like the dead: one member
/// alone must not keep a span unsettled, nor the others unmarked.
const SPOILED_MAX: u8 = 6;
/// What a round counts in which it answered and got nowhere: such a round takes longer.
const SLOW_COUNTS: u8 = 3;
/// What a round counts in which it was silent twice in a row: such a round takes longer.
const SILENT_COUNTS: u8 = 2;
/// Rounds in a row that only learn, before one brings copies although its piece is not settled:
/// one that ended without settling, or two that a change of the group cut short.
const LEARNING_MAX: u8 = 2;
/// Pause after a round that our own disk spoiled.
const OWN_STORE: Micros = Micros::from_secs(2);
/// The rank of somebody who gives data but holds none: a leaving owner.
pub(crate) const SOURCE: u8 = u8::MAX;

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
    copies_missing: u64,
    pub(crate) moved: Moved,
    /// Rounds in a row that only learned, and did not settle their piece or were dropped.
    unsettling: u8,
    /// Live holders of the present group, and how many rounds in a row each has spoiled.
    pub(crate) failing: Vec<(Peer, u8)>,
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

impl Repair {
    /// A copy arrived that a round must see before anything about it is confirmed.
    pub(crate) fn arrived(&mut self) {
        self.arrivals = self.arrivals.saturating_add(1);
    }

    /// Whether everything that arrived has been seen by a round that ended equal.
    pub(crate) fn is_clean(&self) -> bool {
        self.clean.is_some_and(|clean| clean >= self.arrivals)
    }

    /// Copies that live holders are known to lack: while a round is running, what it has found
    /// and not delivered yet.
    pub(crate) fn copies_missing(&self) -> u64 {
        let running = self.round.as_ref().map_or(0, lacking);
        self.copies_missing.max(running)
    }

    /// Whether this member hands over: it counts for nothing any more.
    pub(crate) fn hands_over(&self, peer: Peer) -> bool {
        self.excluded.iter().any(|gone| gone.supersedes(peer))
    }

    /// Whether this live holder has spoiled so many rounds that they go on without it.
    pub(crate) fn is_waived(&self, peer: Peer) -> bool {
        self.failing
            .iter()
            .any(|&(failing, rounds)| failing == peer && rounds >= SPOILED_MAX)
    }

    /// Keeps count of the rounds in a row that each holder spoiled.
    fn count_failures(&mut self, round: &Round) {
        for compare in &round.compares {
            let known = |failing: &&mut (Peer, u8)| failing.0 == compare.peer;
            let before = self.failing.iter_mut().find(known).map_or(0, |f| f.1);
            self.failing.retain(|(peer, _)| *peer != compare.peer);
            let learned = compare.learns && compare.progress == Progress::Done;
            let spoiled = match compare.progress {
                Progress::Slow => SLOW_COUNTS,
                // Our own disk is to blame, or nobody.
                Progress::Dead | Progress::OwnStore => 0,
                _ if compare.was_silent() => SILENT_COUNTS,
                _ if compare.may_know_more() || compare.refused => 1,
                _ if compare.pulled > 0 && !round.settles => 1,
                _ => 0,
            };
            // Who was brought nothing could not refuse it.
            let rounds = match spoiled {
                0 if learned => before,
                0 => 0,
                _ => before.saturating_add(spoiled),
            };
            if rounds > 0 {
                self.failing.push((compare.peer, rounds));
            }
        }
        let present = |peer: &Peer| round.compares.iter().any(|compare| compare.peer == *peer);
        self.failing.retain(|(peer, _)| present(peer));
    }

    /// Whether a holder that is not waived keeps a round from its end.
    fn is_blocked(&self, round: &Round, by: impl Fn(&Compare) -> bool) -> bool {
        round
            .compares
            .iter()
            .any(|compare| by(compare) && !self.is_waived(compare.peer))
    }

    /// The span of a round, if that is the one running.
    pub(crate) fn span(&self, round: u64) -> Option<Span> {
        let running = self.round.as_ref().filter(|running| running.id == round)?;
        Some(running.span)
    }

    /// One comparison of a round, while both are running: what comes later is of no use.
    pub(crate) fn compare(&mut self, round: u64, at: u8) -> Option<&mut Compare> {
        let round = self.round.as_mut().filter(|running| running.id == round)?;
        let compare = round.compares.get_mut(usize::from(at))?;
        (compare.progress == Progress::Running).then_some(compare)
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

    /// Whether copies beyond the wanted number may go: all is settled and compared, and no
    /// holder is failing, so that those who should have them do.
    pub(crate) fn may_drop_surplus(&self) -> bool {
        self.repair.is_clean() && self.spans.pieces().is_empty() && self.repair.failing.is_empty()
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
            self.repair.epoch = self.clock.tick(cx.now);
            self.repair.clean = None;
            if self.repair.round.take().is_some_and(|round| round.settles) {
                self.repair.unsettling = self.repair.unsettling.saturating_add(1);
            }
        }
        if self.repair.round.is_some() {
            return;
        }
        self.begin_round(cx, owned, &group);
    }

    fn begin_round(&mut self, cx: &mut Cx, owned: Span, group: &[Peer]) {
        let piece = self.spans.pieces().first().cloned();
        if piece.is_some() && group.is_empty() && self.away(cx.now.mono).next().is_some() {
            // Alone, with members that may come back: nothing can be corroborated.
            self.tasks.hasten(
                Task::Repair,
                cx.now.mono + self.config.settle_delay.times(50),
            );
            return;
        }
        let span = piece.as_ref().map_or(owned, |piece| piece.span);
        self.repair.rounds = self.repair.rounds.saturating_add(1);
        let learns = piece.is_some() && self.repair.unsettling < LEARNING_MAX;
        let mut compares: Vec<Compare> = group
            .iter()
            .zip(1_u8..)
            .map(|(&peer, rank)| Compare::new(peer, rank, span, learns, cx.now.mono))
            .collect();
        if let Some(source) = piece.as_ref().and_then(|piece| piece.source)
            && !group.contains(&source)
            && !self.contacts.is_dead(source, cx.now.mono)
        {
            compares.push(Compare::new(source, SOURCE, span, learns, cx.now.mono));
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

    // ---- the end of a round ------------------------------------------------------------

    pub(crate) fn end_round_if_over(&mut self, cx: &mut Cx) {
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
        self.repair.count_failures(&round);
        if round.settles {
            self.repair.unsettling = self.repair.unsettling.max(LEARNING_MAX);
        }
        let open =
            |compare: &Compare| compare.progress != Progress::Dead && compare.may_know_more();
        let own = |compare: &Compare| compare.progress == Progress::OwnStore;
        if round.compares.iter().any(own) {
            self.tasks.hasten(Task::Repair, cx.now.mono + OWN_STORE);
            return;
        }
        if self.repair.is_blocked(&round, open) {
            self.tasks.hasten(Task::Repair, cx.now.mono + AGAIN);
            return;
        }
        if round.settles {
            let settled = self.settle_piece(cx, &round);
            if settled {
                self.repair.unsettling = 0;
                // What was learned is not brought yet: nothing is surplus before that.
                self.repair.clean = None;
            }
            let pause = if settled { Micros::ZERO } else { AGAIN };
            self.tasks.hasten(Task::Repair, cx.now.mono + pause);
            return;
        }
        self.repair.copies_missing = lacking(&round);
        let unequal = |compare: &Compare| compare.pulled > 0 || compare.refused;
        if self.repair.is_blocked(&round, unequal) {
            self.tasks.hasten(Task::Repair, cx.now.mono + AGAIN);
            return;
        }
        let first = self.repair.clean.is_none();
        self.repair.clean = Some(round.arrivals);
        self.give_marks(cx, &round, first);
    }

    /// Everybody alive has answered: the piece is settled, unless copies may yet come back.
    fn settle_piece(&mut self, cx: &mut Cx, round: &Round) -> bool {
        let own = self.spans.mark_of(round.span);
        let marks = || {
            round
                .compares
                .iter()
                .filter(|compare| !compare.may_know_more())
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
        let missing = self.away(cx.now.mono).next().is_some()
            || round.compares.iter().any(Compare::may_know_more);
        if missing && complete < usize::from(needed) {
            if cx.now.mono < self.patient_until {
                return false;
            }
            self.may_have_lost = self.may_have_lost.saturating_add(1);
            cx.notice(Notice::MayHaveLost { span: round.span });
        }
        self.spans.settle_piece(round.span);
        if self.spans.pieces().is_empty() {
            cx.notice(Notice::Settled);
        }
        true
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
            let equal = !compare.may_know_more() && !compare.refused;
            if equal && compare.rank != SOURCE && !told {
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

/// Copies that the holders were found to lack, and were not brought in this round: it only
/// learned, or they did not take them.
fn lacking(round: &Round) -> u64 {
    let lacking = round
        .compares
        .iter()
        .map(|compare| compare.missing.saturating_sub(compare.delivered));
    lacking.fold(0, u64::saturating_add)
}
