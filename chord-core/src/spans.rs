//! What this node owns, how sure it is of it, and what it holds for others.
//!
//! A node owns positions only after the owner before it granted them. From the moment it
//! gains a span until every live candidate holder has answered a repair round the span is
//! *unsettled*: reads there need corroboration by holders whose copy is *complete*, which
//! the [`Mark`]s tell.
//!
//! **Invariant:** the owned span ends at this node; unsettled pieces lie within it.

use alloc::vec::Vec;

use crate::id::{Id, Span};
use crate::message::Mark;
use crate::peer::Peer;
use crate::time::Instant;

/// Unsettled pieces kept apart; more are merged into one that covers them all.
const PIECES_MAX: usize = 8;

/// Spans held for others. A node holds for at most `copies_max` owners at a time; marks of
/// earlier groups linger behind the current ones.
const HELD_MAX: usize = 32;

/// A part of the owned span that is not settled yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) span: Span,
    /// Somebody beyond the successors who has its data: a leaving owner.
    pub(crate) source: Option<Peer>,
}

/// A span held for its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    pub(crate) span: Span,
    pub(crate) mark: Option<Mark>,
    /// When its owner last compared or marked it.
    pub(crate) heard: Instant,
}

/// Owned, unsettled, held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Spans {
    me: Id,
    owned: Option<Span>,
    pieces: Vec<Piece>,
    held: Vec<Held>,
}

impl Spans {
    pub(crate) const fn new(me: Id) -> Self {
        Self {
            me,
            owned: None,
            pieces: Vec::new(),
            held: Vec::new(),
        }
    }

    pub(crate) fn owned(&self) -> Option<Span> {
        self.owned
    }

    pub(crate) fn owns(&self, position: Id) -> bool {
        self.owned.is_some_and(|span| span.contains(position))
    }

    pub(crate) fn is_settled(&self, position: Id) -> bool {
        self.owns(position)
            && !self
                .pieces
                .iter()
                .any(|piece| piece.span.contains(position))
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Owns `(after, me]` from now on. What is gained is unsettled; `settled` says that
    /// there is nothing to settle (the founder of a ring that never existed).
    pub(crate) fn own(&mut self, after: Id, source: Option<Peer>, settled: bool) -> bool {
        let span = Span::new(after, self.me);
        if self.owned == Some(span) {
            return false;
        }
        let before = self.owned.replace(span);
        self.pieces
            .retain_mut(|piece| match clip_into(piece.span, span) {
                Some(clipped) => {
                    piece.span = clipped;
                    true
                }
                None => false,
            });
        if settled {
            return true;
        }
        let gained = match before {
            None => Some(span),
            Some(before) if span.contains(before.after) && before.after != span.upto => {
                Some(Span::new(after, before.after))
            }
            Some(before) if before.is_whole() || before.contains(after) => None,
            Some(_) => Some(span),
        };
        if let Some(gained) = gained {
            self.unsettle(Piece {
                span: gained,
                source,
            });
        }
        true
    }

    /// Owns nothing any more.
    pub(crate) fn disown(&mut self) -> Option<Span> {
        self.pieces.clear();
        self.owned.take()
    }

    /// All that is owned must settle again.
    pub(crate) fn unsettle_all(&mut self) {
        if let Some(span) = self.owned {
            let source = self.pieces.iter().find_map(|piece| piece.source);
            self.pieces.clear();
            self.pieces.push(Piece { span, source });
        }
    }

    fn unsettle(&mut self, piece: Piece) {
        self.pieces.push(piece);
        if self.pieces.len() > PIECES_MAX {
            self.unsettle_all();
        }
    }

    /// A piece is settled, or what is left of it since its round began.
    pub(crate) fn settle_piece(&mut self, span: Span) {
        self.pieces.retain(|piece| !span.covers(piece.span));
    }

    /// The owner of `span` compared it with this node's copy, or marked it.
    pub(crate) fn hold(&mut self, span: Span, mark: Option<Mark>, now: Instant) {
        if mark.is_some() {
            // An owner has one span: what it marked before is part of this, or its no more.
            self.held
                .retain(|held| held.span == span || held.span.upto != span.upto);
        }
        if let Some(held) = self.held.iter_mut().find(|held| held.span == span) {
            held.heard = now;
            held.mark = mark.or(held.mark);
            return;
        }
        if mark.is_none() && self.held.len() >= HELD_MAX / 2 {
            // Who has only compared must not displace what others have marked.
            return;
        }
        if self.held.len() >= HELD_MAX {
            let oldest = (0..self.held.len()).min_by_key(|&at| self.held[at].heard);
            self.held.swap_remove(oldest.unwrap_or(0));
        }
        self.held.push(Held {
            span,
            mark,
            heard: now,
        });
    }

    /// Every mark, for the next life of this node.
    pub(crate) fn marks(&self) -> Vec<(Span, Mark)> {
        let marked = |held: &Held| held.mark.map(|mark| (held.span, mark));
        self.held.iter().filter_map(marked).collect()
    }

    /// Whether `owner` counts this node among the holders of `position`, and nobody else has done
    /// so since: one who came in before it has taken over a part of what it once marked.
    pub(crate) fn is_marked_by(&self, position: Id, owner: Id) -> bool {
        let marked = self.held.iter().filter(|held| held.mark.is_some());
        let latest = marked
            .filter(|held| held.span.contains(position))
            .max_by_key(|held| (held.heard, held.mark));
        latest.is_some_and(|held| held.span.upto == owner)
    }

    /// The latest mark that covers `position`.
    pub(crate) fn mark(&self, position: Id) -> Option<Mark> {
        self.held
            .iter()
            .filter(|held| held.span.contains(position))
            .filter_map(|held| held.mark)
            .max()
    }

    /// The latest mark that covers all of `span`.
    pub(crate) fn mark_of(&self, span: Span) -> Option<Mark> {
        self.held
            .iter()
            .filter(|held| held.span.covers(span))
            .filter_map(|held| held.mark)
            .max()
    }

    /// Whether an owner has lately counted this node among the holders of `position`.
    pub(crate) fn is_vouched(&self, position: Id, since: Instant) -> bool {
        self.held
            .iter()
            .any(|held| held.heard >= since && held.span.contains(position))
    }

    /// Every bound and rule of this module; the first that is broken.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.owned.is_some_and(|span| span.upto != self.me) {
            return Err("the owned span ends elsewhere");
        }
        if self.pieces.len() > PIECES_MAX || self.held.len() > HELD_MAX {
            return Err("more pieces or held spans than bounded");
        }
        let inside = |piece: &Piece| self.owned.is_some_and(|owned| owned.covers(piece.span));
        if !self.pieces.iter().all(inside) {
            return Err("an unsettled piece lies outside the owned span");
        }
        Ok(())
    }
}

/// The part of `piece` inside `owned`; both belong to spans that end at one node.
fn clip_into(piece: Span, owned: Span) -> Option<Span> {
    if owned.covers(piece) {
        return Some(piece);
    }
    if !owned.contains(piece.upto) {
        return None;
    }
    Some(Span::new(owned.after, piece.upto))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u8) -> Id {
        let mut id = [0; 20];
        id[0] = n;
        Id(id)
    }

    fn span(after: u8, upto: u8) -> Span {
        Span::new(at(after), at(upto))
    }

    fn owning(after: u8) -> Spans {
        let mut spans = Spans::new(at(100));
        spans.own(at(after), None, true);
        spans
    }

    #[test]
    fn growth_unsettles_only_what_was_gained() {
        let mut spans = owning(50);
        assert!(spans.own(at(20), None, false));
        assert!(!spans.is_settled(at(30)));
        assert!(spans.owns(at(30)));
        assert!(spans.is_settled(at(60)));
        assert_eq!(spans.pieces()[0].span, span(20, 50));
    }

    #[test]
    fn shrinking_settles_nothing_and_drops_what_lies_outside() {
        let mut spans = owning(50);
        spans.own(at(20), None, false);
        spans.own(at(30), None, false);
        assert_eq!(spans.pieces()[0].span, span(30, 50));
        spans.own(at(60), None, false);
        assert!(spans.pieces().is_empty());
        assert!(!spans.owns(at(55)));
    }

    #[test]
    fn a_founder_that_grants_keeps_the_rest_settled() {
        let mut spans = Spans::new(at(100));
        spans.own(at(100), None, true);
        assert!(spans.is_settled(at(101)) && spans.is_settled(at(99)));
        spans.own(at(40), None, false);
        assert!(spans.pieces().is_empty());
        assert!(spans.is_settled(at(41)) && !spans.owns(at(40)));
    }

    #[test]
    fn owning_the_whole_ring_again_unsettles_the_rest() {
        let mut spans = owning(50);
        spans.own(at(100), None, false);
        assert!(spans.is_settled(at(60)));
        assert!(spans.owns(at(150)) && !spans.is_settled(at(150)));
        assert_eq!(spans.check(), Ok(()));
    }

    #[test]
    fn what_was_never_owned_is_unsettled_at_first() {
        let mut spans = Spans::new(at(100));
        spans.own(at(50), None, false);
        assert!(spans.owns(at(60)) && !spans.is_settled(at(60)));
        spans.settle_piece(span(50, 100));
        assert!(spans.is_settled(at(60)));
    }

    #[test]
    fn many_pieces_become_one() {
        let mut spans = owning(99);
        for n in (40..99).rev() {
            spans.own(at(n), None, false);
            assert_eq!(spans.check(), Ok(()), "{n}");
        }
        assert!(!spans.is_settled(at(98)));
    }

    #[test]
    fn the_mark_of_the_latest_group_counts_and_a_wider_one_replaces() {
        let mut spans = Spans::new(at(100));
        let early = Mark { epoch: 1, rank: 2 };
        let late = Mark { epoch: 5, rank: 1 };
        spans.hold(span(10, 30), Some(early), Instant(0));
        spans.hold(span(5, 30), Some(late), Instant(1));
        assert!(spans.is_marked_by(at(15), at(30)) && !spans.is_marked_by(at(15), at(20)));
        assert_eq!(spans.mark(at(15)), Some(late));
        assert_eq!(spans.held.len(), 1);
        assert_eq!(spans.mark(at(40)), None);
        assert_eq!(spans.mark_of(span(6, 29)), Some(late));
        assert_eq!(spans.mark_of(span(4, 29)), None);
        assert!(spans.is_vouched(at(15), Instant(1)));
        assert!(!spans.is_vouched(at(15), Instant(2)));
    }

    #[test]
    fn held_spans_are_bounded() {
        let mut spans = Spans::new(at(100));
        for n in 0..200 {
            spans.hold(
                span(n, n + 1),
                Some(Mark { epoch: 1, rank: 1 }),
                Instant(u64::from(n)),
            );
        }
        assert_eq!(spans.check(), Ok(()));
        assert!(spans.mark(at(200)).is_some());
    }

    #[test]
    fn one_who_came_between_takes_over_what_was_marked_before() {
        let mut spans = owning(50);
        let mark = |epoch| Some(Mark { epoch, rank: 1 });
        spans.hold(span(10, 30), mark(9), Instant(1));
        assert!(spans.is_marked_by(at(15), at(30)));
        // Its clock may be behind.
        spans.hold(span(10, 20), mark(7), Instant(2));
        assert!(spans.is_marked_by(at(15), at(20)) && !spans.is_marked_by(at(15), at(30)));
        assert!(spans.is_marked_by(at(25), at(30)));
        spans.hold(span(10, 30), mark(10), Instant(3));
        assert!(
            spans.is_marked_by(at(15), at(30)),
            "and then it is gone again"
        );
    }
}
