//! Writing a version to its holders.
//!
//! ```text
//! owner ── Put ───────▶ own store
//!       ── Replicate ─▶ the next copies − 1 live successors with distinct addresses
//! ```
//!
//! Acknowledged once a majority of `min(copies, members known)` has stored it, this node
//! always among them. A holder that does not answer is replaced by the next candidate, which counts
//! only if it is one of the first `copies` after the owner; one that has something newer makes the
//! owner assign above it and write again.
//!
//! A fresh version whose time nobody vouches for (`clock`) goes to the holders first: if they
//! refuse it, no copy of it may stay here, which could return after later writes and win over
//! them. It is then assigned anew, by the time that others showed.
//!
//! **Invariant:** no acknowledgement without a majority, none for a span no longer owned.

use alloc::vec::Vec;

use crate::event::{CallError, Class, Notice, StoreAnswer, StoreCommand, StoreError};
use crate::message::{
    Key, OperationId, Record, Refusal, Request, Response, TIME_LIMIT, Version, Write,
};
use crate::node::{Cx, Node};
use crate::ops::SlabKey;
use crate::peer::Peer;
use crate::then::{Asker, Then};
use crate::time::{Instant, Micros};

/// Times a write is assigned anew above what a holder has.
const TRIES_MAX: u8 = 4;

/// How far a write is.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Finding out what is stored.
    Learning { write: Write },
    /// Storing a new version.
    Storing { operation: OperationId },
    /// Storing what a quorum read met, under its own version.
    WritingBack,
}

/// A write under way.
#[derive(Clone, Debug)]
pub(crate) struct Writing {
    asker: Asker,
    pub(crate) key: Key,
    pub(crate) stage: Stage,
    deadline: Instant,
    record: Option<Record>,
    /// Calls and store commands in flight for the present version.
    waiting: u8,
    stored: u8,
    /// Own copy stored: the owner is always among the majority, so that its next read or
    /// write of the key meets what it acknowledged.
    own: bool,
    /// No room for the own copy of what a read met.
    excused: bool,
    /// Of `stored`, by those who should hold it rather than by a replacement.
    near: u8,
    /// Of `stored`, by others who are asked first should this owner die.
    heirs: u8,
    needed: u8,
    newer: Option<Version>,
    /// The newest time known to be stored under this key: what is assigned lies above it.
    pub(crate) above: u64,
    /// The present version comes from our clock: holders may refuse it.
    fresh: bool,
    /// How many refused it for that.
    skewed: u8,
    /// The own copy waits until so many others have it that it makes the majority.
    own_waits: bool,
    tried: Vec<Peer>,
    tries: u8,
    answered: bool,
    full: bool,
    /// A holder that leaves refused: another one stands in its place next time.
    leaves: bool,
}

impl Writing {
    pub(crate) fn new(asker: Asker, key: Key, stage: Stage, deadline: Instant) -> Self {
        Self {
            asker,
            key,
            stage,
            deadline,
            record: None,
            waiting: 0,
            stored: 0,
            own: false,
            excused: false,
            near: 0,
            heirs: 0,
            needed: 0,
            newer: None,
            above: 0,
            fresh: false,
            skewed: 0,
            own_waits: false,
            tried: Vec::new(),
            tries: 0,
            answered: false,
            full: false,
            leaves: false,
        }
    }

    /// This node was asleep: what waits, waits longer.
    pub(crate) fn postpone(&mut self, by: Micros) {
        self.deadline = self.deadline + by;
    }

    fn is_of(&self, version: Version) -> bool {
        self.record
            .as_ref()
            .is_some_and(|record| record.header.version == version)
    }

    /// Which of those who were tried this peer is: below `copies − 1`, it replaces nobody.
    fn place(&self, peer: Peer) -> Option<usize> {
        self.tried.iter().position(|holder| *holder == peer)
    }

    /// Whether any later majority meets it: the own copy is in every one; without it, and with
    /// no room for it, a majority of those who should hold it stores what a read met.
    ///
    /// Should this owner die, the first `copies` after it are the holders, and asked. A copy
    /// with somebody further on counts for nothing: they would deny in good faith what they
    /// refused for want of room, or never heard of.
    fn has_majority(&self) -> bool {
        if self.own {
            return self.heirs.saturating_add(1) >= self.needed;
        }
        self.excused && self.near >= self.needed
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered
    }

    pub(crate) fn operation(&self) -> Option<OperationId> {
        match &self.stage {
            Stage::Learning { write } => Some(write.operation),
            Stage::Storing { operation } => Some(*operation),
            Stage::WritingBack => None,
        }
    }
}

impl Node {
    /// Stores `record` here and at its holders. `fresh`: its version comes from our clock.
    pub(crate) fn write_out(&mut self, cx: &mut Cx, key: SlabKey, record: Record, fresh: bool) {
        let now = cx.now.mono;
        let copies = record.header.copies;
        let others = self.candidates(usize::from(copies).saturating_sub(1), now);
        let (needed, _) = self.quorums(copies, now);
        let Some(writing) = self.writes.get_mut(key) else {
            return;
        };
        let reachable = u8::try_from(others.len() + 1).unwrap_or(u8::MAX);
        if reachable < needed {
            let refusal = Refusal::Unavailable { stored: 0, needed };
            self.end_write(cx, key, Response::Refused(refusal));
            return;
        }
        if let Stage::Learning { write } = &writing.stage {
            writing.stage = Stage::Storing {
                operation: write.operation,
            };
        }
        let version = record.header.version;
        let vouched = self.clock.is_vouched(version.time, cx.now);
        writing.own_waits = fresh && !vouched && !others.is_empty();
        writing.waiting = reachable - u8::from(writing.own_waits);
        writing.stored = 0;
        writing.own = false;
        writing.excused = false;
        writing.near = 0;
        writing.heirs = 0;
        writing.fresh = fresh;
        writing.skewed = 0;
        writing.needed = needed;
        writing.newer = None;
        writing.tried.clone_from(&others);
        writing.tries += 1;
        writing.record = Some(record.clone());
        let own_waits = writing.own_waits;
        for peer in others {
            self.replicate(cx, key, peer, &record);
        }
        if !own_waits {
            self.store_own(cx, key, record);
        }
    }

    fn store_own(&mut self, cx: &mut Cx, key: SlabKey, record: Record) {
        let version = record.header.version;
        let command = StoreCommand::Put {
            records: alloc::vec![record],
        };
        let then = Then::WriteStored {
            write: key,
            version,
        };
        self.store(cx, command, then);
    }

    fn replicate(&mut self, cx: &mut Cx, key: SlabKey, peer: Peer, record: &Record) {
        let Some(writing) = self.writes.get(key) else {
            return;
        };
        let fresh = writing.fresh;
        let deadline = self.data_timeout(cx, writing.deadline.max(cx.now.mono));
        let request = Request::Replicate {
            records: alloc::vec![record.clone()],
            fresh,
        };
        let version = record.header.version;
        let then = Then::Replicated {
            write: key,
            version,
        };
        self.call_until(cx, peer, request, Class::Replication, 0, deadline, then);
    }

    pub(crate) fn write_stored(
        &mut self,
        cx: &mut Cx,
        key: SlabKey,
        version: Version,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let outcome = match result {
            Ok(StoreAnswer::Put { newer }) => Ok(newer.first().map(|(_, version)| *version)),
            Ok(_) => Err(false),
            Err(error) => Err(error == StoreError::Full),
        };
        if let Some(writing) = self.writes.get_mut(key)
            && writing.is_of(version)
        {
            writing.own = outcome == Ok(None);
            if writing.own {
                self.shown.stored(&writing.key, version);
            }
            writing.excused = outcome == Err(true) && matches!(writing.stage, Stage::WritingBack);
        }
        self.count_stored(cx, key, version, outcome);
    }

    pub(crate) fn replicated(
        &mut self,
        cx: &mut Cx,
        key: SlabKey,
        peer: Peer,
        version: Version,
        result: Result<Response, CallError>,
    ) {
        let skewed = result == Ok(Response::Refused(Refusal::ClockSkew));
        let leaves = result == Ok(Response::Refused(Refusal::Leaving));
        if leaves {
            self.holder_leaves(cx, peer);
        }
        let outcome = match result {
            Ok(Response::Replicated { newer }) => Ok(newer.first().map(|(_, version)| *version)),
            Ok(Response::Refused(refusal)) => Err(refusal == Refusal::Full),
            Ok(_) | Err(_) => Err(false),
        };
        let Some(writing) = self.writes.get_mut(key).filter(|w| w.is_of(version)) else {
            return;
        };
        writing.skewed = writing.skewed.saturating_add(u8::from(skewed));
        writing.leaves |= leaves;
        let copies = writing
            .record
            .as_ref()
            .map_or(1, |r| r.header.copies.max(1));
        let place = writing.place(peer).filter(|_| outcome == Ok(None));
        let within = |count: u8| u8::from(place.is_some_and(|place| place < usize::from(count)));
        writing.near = writing.near.saturating_add(within(copies - 1));
        writing.heirs = writing.heirs.saturating_add(within(copies));
        let nearly = writing.stored.saturating_add(2) >= writing.needed;
        if outcome == Ok(None) && nearly && core::mem::take(&mut writing.own_waits) {
            writing.waiting = writing.waiting.saturating_add(1);
            if let Some(record) = writing.record.clone() {
                self.store_own(cx, key, record);
            }
        } else if outcome.is_err() {
            // While others have still to say whether they, too, refuse a version for its time,
            // it goes to nobody else, and never if enough do: a replacement whose clock is off
            // as well would keep it, and it would return over all that follows.
            let enough = writing.skewed >= writing.needed;
            if skewed && writing.own_waits && (enough || writing.waiting > 1) {
                self.look_again(cx);
            } else {
                self.next_holder(cx, key, version);
            }
        }
        self.count_stored(cx, key, version, outcome);
    }

    /// A holder failed: the next candidate takes its place. One too far to be counted does so
    /// too, for the number of copies; but it gets no version whose time was refused, and none
    /// that comes late: where disks are slow, there would be no end of it.
    fn next_holder(&mut self, cx: &mut Cx, key: SlabKey, version: Version) {
        let most = usize::from(self.config.copies_max);
        let candidates = self.candidates(most, cx.now.mono);
        let Some(writing) = self.writes.get_mut(key) else {
            return;
        };
        let Some(record) = writing.record.clone() else {
            return;
        };
        if record.header.version != version {
            return;
        }
        let counts = writing.tried.len() < usize::from(record.header.copies);
        let doubtful = writing.own_waits && writing.skewed > 0;
        let next = candidates
            .into_iter()
            .find(|peer| !writing.tried.contains(peer));
        let in_time = writing.deadline > cx.now.mono;
        if let Some(peer) = next.filter(|_| counts || in_time && !doubtful) {
            writing.tried.push(peer);
            writing.waiting = writing.waiting.saturating_add(1);
            self.replicate(cx, key, peer, &record);
        }
        self.look_again(cx);
    }

    /// What lies with a replacement must be seen by a round before it is surplus, and what one
    /// holder alone has stored must not stay there for long.
    fn look_again(&mut self, cx: &mut Cx) {
        self.repair.arrived();
        self.want_repair(cx);
    }

    /// One more has stored it, has something newer (`Ok(Some)`), or failed.
    fn count_stored(
        &mut self,
        cx: &mut Cx,
        key: SlabKey,
        version: Version,
        outcome: Result<Option<Version>, bool>,
    ) {
        let Some(writing) = self.writes.get_mut(key) else {
            return;
        };
        if !writing.is_of(version) {
            return;
        }
        let horizon = cx.now.wall.saturating_add(self.config.skew_max.0);
        writing.waiting = writing.waiting.saturating_sub(1);
        match outcome {
            Ok(None) => writing.stored = writing.stored.saturating_add(1),
            Ok(Some(newer)) => writing.newer = writing.newer.max(Some(newer)),
            Err(full) => writing.full |= full,
        }
        // What a holder has newer must be topped first, unless it lies far in the future, where
        // no honest clock put it.
        let topped = writing.newer.is_none_or(|newer| newer.time > horizon);
        if !writing.answered && topped && writing.has_majority() && self.may_show(cx, key) {
            self.acknowledge(cx, key);
        }
        let Some(writing) = self.writes.get(key) else {
            return;
        };
        if writing.waiting > 0 {
            return;
        }
        if writing.fresh && writing.skewed == 0 && writing.stored > u8::from(writing.own) {
            self.clock.taken(version.time, cx.now);
        }
        if writing.answered {
            self.writes.take(key);
        } else {
            self.fell_short(cx, key);
        }
    }

    /// Whether what a read met may be answered: it is stored here, or remembered.
    fn may_show(&mut self, cx: &Cx, key: SlabKey) -> bool {
        let Some(writing) = self.writes.get(key) else {
            return false;
        };
        match &writing.record {
            Some(record) if !writing.own => {
                let owned = |position| self.spans.owns(position);
                self.shown.insert(record, owned, cx.now.mono)
            }
            _ => true,
        }
    }

    fn acknowledge(&mut self, cx: &mut Cx, key: SlabKey) {
        let Some(writing) = self.writes.get_mut(key) else {
            return;
        };
        let Some(record) = writing.record.clone() else {
            return;
        };
        writing.answered = true;
        let asker = writing.asker;
        let position = record.key.position();
        let owned = self.spans.owns(position) || self.acts_for(position, cx.now.mono);
        let response = match self.writes.get(key).map(|writing| &writing.stage) {
            Some(Stage::WritingBack) => {
                let record = Some(record.clone()).filter(|record| record.is_live(cx.now.mono));
                Response::Got { record }
            }
            // Granted away meanwhile: the new owner may not have met this version.
            _ if !owned => Response::Refused(self.not_ours(position, cx.now.mono)),
            _ => {
                let version = record.header.version;
                if self.writes.get(key).is_some_and(|writing| writing.fresh) {
                    self.clock.acknowledged(version.time);
                }
                let until = cx.now.mono + self.config.command_timeout.times(2);
                self.finished
                    .insert(record.header.operation, version, until);
                Response::Written { version }
            }
        };
        self.respond(cx, asker, response);
        self.next_in_line(cx, &record.key);
    }

    /// Everybody has answered, and too few have stored it.
    fn fell_short(&mut self, cx: &mut Cx, key: SlabKey) {
        let Some(writing) = self.writes.get(key) else {
            return;
        };
        let may_try = writing.tries < TRIES_MAX
            && writing.deadline > cx.now.mono
            && matches!(writing.stage, Stage::Storing { .. });
        let (stored, needed) = (writing.stored, writing.needed);
        let full = writing.full && !writing.leaves;
        let own = writing.own;
        let (newer, skewed) = (writing.newer, writing.fresh && writing.skewed > 0);
        let nowhere = writing.stored == 0;
        let above = writing.above.max(newer.map_or(0, |newer| newer.time));
        let record = writing.record.clone();
        if skewed
            && let Some(record) = &record
            && self.clock.refused(record.header.version.time, cx.now)
        {
            cx.notice(Notice::ClockSkew);
        }
        if let Some(mut record) = record.filter(|_| may_try && (newer.is_some() || skewed)) {
            let (version, fresh) = self.version_above(cx, above);
            // Below what somebody has stored nothing may be assigned, and above it in vain.
            let below = nowhere && version < record.header.version;
            if version.time < TIME_LIMIT && (newer.is_some() || below) {
                record.header.version = version;
                self.write_out(cx, key, record, fresh);
                return;
            }
        }
        let refusal = if full {
            Refusal::Full
        } else if stored >= needed && !own {
            // The others have it, our own disk does not.
            Refusal::Storage
        } else {
            let stored = stored.min(needed.saturating_sub(1));
            Refusal::Unavailable { stored, needed }
        };
        self.end_write(cx, key, Response::Refused(refusal));
    }

    /// Ends a write that is not acknowledged.
    pub(crate) fn end_write(&mut self, cx: &mut Cx, key: SlabKey, response: Response) {
        let Some(writing) = self.writes.take(key) else {
            return;
        };
        if !writing.answered {
            self.respond(cx, writing.asker, response);
            self.next_in_line(cx, &writing.key);
        }
    }
}
