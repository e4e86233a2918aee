//! Reads that need more than one copy: quorum reads, and reads of unsettled spans.
//!
//! ```text
//! owner ── Fetch(key) ──▶ candidates    each: its copy, and whether it was told to be complete
//!       ── Get ─────────▶ own store
//! ```
//!
//! In a settled span a quorum read waits for a majority and writes the newest back. In an
//! unsettled one the newest of all answers counts if enough of them are *complete*: they
//! carry the mark of the latest group, at a rank that holds such records. Enough is
//! `copies − majority + 1`, so that every acknowledged write is among them; and everybody at whom
//! a write may have been counted must speak: the first `copies` others with a mark of that group,
//! and who has come between them since. In a settled span the present holders must speak where
//! the own store has lost what one of them still has.
//!
//! What a full disk kept the owner from storing, although a quorum read showed it, must be met
//! again by the next (`shown`).
//!
//! **Invariant:** a miss that cannot be corroborated is `Unavailable`, never "not found".

use alloc::vec::Vec;

use crate::event::{CallError, Class, StoreAnswer, StoreCommand, StoreError};
use crate::message::{Key, Mark, Record, Refusal, Request, Response};
use crate::node::{Cx, Node};
use crate::ops::SlabKey;
use crate::peer::Peer;
use crate::then::{Asker, Then};
use crate::time::{Instant, Micros};
use crate::write::{Stage, Writing};

/// What the gathered copies are for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// A client's read.
    Read { asker: Asker, quorum: bool },
    /// The newest version before a write.
    Learn { write: SlabKey },
}

/// A copy that a holder gave although the own store has none.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub(crate) peer: Peer,
    pub(crate) record: Record,
    pub(crate) mark: Option<Mark>,
}

#[derive(Clone, Debug)]
struct Copy {
    record: Option<Record>,
    mark: Option<Mark>,
    /// Place in the present group: 0 is this node.
    rank: u8,
}

/// Copies being gathered.
#[derive(Clone, Debug)]
pub(crate) struct Gather {
    key: Key,
    purpose: Purpose,
    copies: Vec<Copy>,
    waiting: u8,
    /// Others asked, the own store aside.
    others: u8,
    settled: bool,
    /// The own store has lost the record: it counts for nothing.
    lost_here: bool,
    deadline: Instant,
}

impl Gather {
    /// What each of the others gave, by rank from 1 on.
    fn answers(&self) -> impl Iterator<Item = Option<&Copy>> {
        (1..=self.others).map(|rank| self.copies.iter().find(|copy| copy.rank == rank))
    }

    /// The latest group that a copy is told to be complete for.
    fn latest_epoch(&self) -> Option<u64> {
        let marks = self.copies.iter().filter_map(|copy| copy.mark);
        marks.map(|mark| mark.epoch).max()
    }

    /// This node was asleep: what waits, waits longer.
    pub(crate) fn postpone(&mut self, by: Micros) {
        self.deadline = self.deadline + by;
    }
}

impl Node {
    pub(crate) fn gather(
        &mut self,
        cx: &mut Cx,
        key: Key,
        purpose: Purpose,
        deadline: Instant,
        met: Option<Met>,
    ) {
        let now = cx.now.mono;
        let position = key.position();
        let most = usize::from(self.config.copies_max).saturating_sub(1);
        let mut peers = self.candidates(most, now);
        for piece in self.spans.pieces() {
            if let Some(source) = piece.source
                && piece.span.contains(position)
                && !peers.contains(&source)
                && !self.contacts.is_dead(source, now)
            {
                peers.push(source);
            }
        }
        if let Some(met) = met.as_ref().filter(|met| !peers.contains(&met.peer)) {
            peers.push(met.peer);
        }
        let others = u8::try_from(peers.len()).unwrap_or(u8::MAX);
        let settled = self.spans.is_settled(position);
        let gather = self.gathers.insert(Gather {
            key: key.clone(),
            purpose,
            copies: Vec::with_capacity(peers.len() + 1),
            waiting: others.saturating_add(1),
            others,
            settled,
            lost_here: met.is_some(),
            deadline,
        });
        for (at, peer) in peers.into_iter().enumerate() {
            let rank = u8::try_from(at + 1).unwrap_or(u8::MAX);
            if let Some(met) = met.as_ref().filter(|met| met.peer == peer) {
                let (record, mark) = (Some(met.record.clone()), met.mark);
                self.count_copy(cx, gather, Some(Copy { record, mark, rank }));
                continue;
            }
            let request = Request::Fetch {
                keys: alloc::vec![key.clone()],
            };
            let until = self.data_timeout(cx, deadline);
            let then = Then::Gathered { gather, rank };
            self.call_until(cx, peer, request, Class::Client, 0, until, then);
        }
        self.store(cx, StoreCommand::Get { key }, Then::GatherOwn { gather });
    }

    pub(crate) fn gathered_own(
        &mut self,
        cx: &mut Cx,
        key: SlabKey,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let Some(gather) = self.gathers.get(key) else {
            return;
        };
        let mark = self.own_mark(gather.key.position());
        if let Ok(StoreAnswer::Record(Some(record))) = &result {
            self.shown.stored(&record.key, record.header.version);
        }
        let copy = match result {
            Ok(StoreAnswer::Record(record)) => Some(Copy {
                record,
                mark,
                rank: 0,
            }),
            _ => None,
        };
        self.count_copy(cx, key, copy);
    }

    pub(crate) fn gathered(
        &mut self,
        cx: &mut Cx,
        key: SlabKey,
        rank: u8,
        result: Result<Response, CallError>,
    ) {
        let Some(gather) = self.gathers.get(key) else {
            return;
        };
        let copy = match result {
            Ok(Response::Fetched { records, mark }) => {
                let record = records.into_iter().find(|record| record.key == gather.key);
                match record {
                    // Nobody may have stored that: it says nothing.
                    Some(record) if !record.is_sane() => None,
                    record => {
                        let record = record.map(|record| self.clamp(record, cx));
                        Some(Copy { record, mark, rank })
                    }
                }
            }
            Ok(_) | Err(_) => None,
        };
        self.count_copy(cx, key, copy);
    }

    fn count_copy(&mut self, cx: &mut Cx, key: SlabKey, copy: Option<Copy>) {
        let Some(gather) = self.gathers.get_mut(key) else {
            return;
        };
        gather.waiting = gather.waiting.saturating_sub(1);
        gather.copies.extend(copy);
        let done = gather.waiting == 0;
        let enough = done || self.has_enough(cx, key);
        if enough && let Some(gather) = self.gathers.take(key) {
            self.decide(cx, gather);
        }
    }

    /// Whether more answers cannot change the outcome of what was promised.
    fn has_enough(&self, cx: &Cx, key: SlabKey) -> bool {
        let Some(gather) = self.gathers.get(key) else {
            return false;
        };
        let own = gather.copies.iter().any(|copy| copy.rank == 0);
        own && self.has_met_what_was_shown(cx, gather)
            && match gather.settled {
                true => self.has_majority(cx, gather) && self.is_covered(gather),
                false => self.is_corroborated(cx, gather) && self.counted_answered(gather),
            }
    }

    /// No quorum read goes back behind an earlier one that this node answered.
    fn has_met_what_was_shown(&self, cx: &Cx, gather: &Gather) -> bool {
        let shown = self.shown.get(&gather.key, cx.now.mono);
        let met = newest(gather).map(|record| record.header.version);
        shown.is_none_or(|shown| met.is_some_and(|met| met >= shown))
    }

    fn has_majority(&self, cx: &Cx, gather: &Gather) -> bool {
        let copies = class_of(gather, self.config.copies);
        let (majority, _) = self.quorums(copies, cx.now.mono);
        count(gather.copies.iter().filter(|copy| copy.rank < copies)) >= majority
    }

    /// Where the own store has lost the record, it is no part of a majority that meets every
    /// other: then all present holders must have spoken.
    fn is_covered(&self, gather: &Gather) -> bool {
        !gather.lost_here || self.near_holders_answered(gather)
    }

    /// The present holders of such a record have all spoken.
    fn near_holders_answered(&self, gather: &Gather) -> bool {
        let copies = usize::from(class_of(gather, self.config.copies));
        let mut near = gather.answers().take(copies.saturating_sub(1));
        near.all(|copy| copy.is_some())
    }

    /// Everybody has spoken at whom a write may have been counted before the group changed: the
    /// first `copies` others with a mark of the latest group, and whoever stands before the last
    /// of them.
    fn counted_answered(&self, gather: &Gather) -> bool {
        let copies = class_of(gather, self.config.copies);
        let latest = gather.latest_epoch();
        let mut counted = 0;
        for copy in gather.answers() {
            if counted >= copies {
                break;
            }
            let Some(copy) = copy else {
                return false;
            };
            counted += u8::from(copy.mark.is_some_and(|mark| Some(mark.epoch) == latest));
        }
        true
    }

    /// Enough complete copies of the latest group have spoken.
    fn is_corroborated(&self, cx: &Cx, gather: &Gather) -> bool {
        let Some(latest) = gather.latest_epoch() else {
            return false;
        };
        let complete = |copies: u8| {
            count(gather.copies.iter().filter(|copy| {
                copy.mark
                    .is_some_and(|mark| mark.epoch == latest && mark.rank < copies)
            }))
        };
        let enough = |copies: u8| complete(copies) >= self.quorums(copies, cx.now.mono).1;
        match newest(gather) {
            Some(record) => enough(record.header.copies),
            None => (1..=self.config.copies_max).all(enough),
        }
    }

    fn decide(&mut self, cx: &mut Cx, gather: Gather) {
        let settled_now = self.spans.is_settled(gather.key.position());
        let sure = self.has_met_what_was_shown(cx, &gather)
            && if gather.settled {
                self.has_majority(cx, &gather) && self.is_covered(&gather)
            } else {
                // A span that settled meanwhile may still have lacked what a holder then gave.
                self.is_corroborated(cx, &gather) && self.counted_answered(&gather)
            };
        let newest = newest(&gather).cloned();
        match gather.purpose {
            Purpose::Learn { write } => {
                if sure {
                    self.write_learned(cx, write, newest);
                } else {
                    let refusal = self.not_sure(cx, &gather, settled_now);
                    self.end_write(cx, write, Response::Refused(refusal));
                }
            }
            Purpose::Read { asker, .. } if !sure => {
                let refusal = self.not_sure(cx, &gather, settled_now);
                self.turn_away(cx, asker, refusal);
            }
            Purpose::Read {
                asker,
                quorum: true,
            } => {
                self.write_back(cx, asker, &gather, newest);
            }
            Purpose::Read {
                asker,
                quorum: false,
            } => {
                let record = newest.filter(|record| record.is_live(cx.now.mono));
                self.respond(cx, asker, Response::Got { record });
            }
        }
    }

    fn not_sure(&self, cx: &Cx, gather: &Gather, settled_now: bool) -> Refusal {
        if settled_now && !gather.settled {
            return Refusal::Settling;
        }
        let copies = class_of(gather, self.config.copies);
        let (majority, corroboration) = self.quorums(copies, cx.now.mono);
        let stored = count(gather.copies.iter());
        let needed = if gather.settled {
            majority
        } else {
            corroboration
        };
        Refusal::Unavailable {
            stored: stored.min(needed.saturating_sub(1)),
            needed,
        }
    }

    /// A quorum read answers only after a majority stores the newest it met, and the own store
    /// what it had lost.
    fn write_back(&mut self, cx: &mut Cx, asker: Asker, gather: &Gather, newest: Option<Record>) {
        let Some(record) = newest else {
            self.respond(cx, asker, Response::Got { record: None });
            return;
        };
        let copies = record.header.copies;
        let (majority, _) = self.quorums(copies, cx.now.mono);
        let same = |copy: &&Copy| {
            copy.rank < copies
                && copy
                    .record
                    .as_ref()
                    .is_some_and(|other| other.header.version == record.header.version)
        };
        let own = gather.copies.iter().filter(same).any(|copy| copy.rank == 0);
        if own && count(gather.copies.iter().filter(same)) >= majority {
            let record = Some(record).filter(|record| record.is_live(cx.now.mono));
            self.respond(cx, asker, Response::Got { record });
            return;
        }
        let writing = Writing::new(
            asker,
            gather.key.clone(),
            Stage::WritingBack,
            gather.deadline,
        );
        let key = self.writes.insert(writing);
        self.write_out(cx, key, record, false);
    }
}

fn newest(gather: &Gather) -> Option<&Record> {
    let records = gather.copies.iter().filter_map(|copy| copy.record.as_ref());
    records.max_by_key(|record| record.header.version)
}

/// Copies of the newest record met, or the default where nothing was met.
fn class_of(gather: &Gather, default: u8) -> u8 {
    newest(gather).map_or(default, |record| record.header.copies)
}

fn count<'a>(copies: impl Iterator<Item = &'a Copy>) -> u8 {
    u8::try_from(copies.count()).unwrap_or(u8::MAX)
}
