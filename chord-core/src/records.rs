//! The owner's part: who may read and write here, and in which order.
//!
//! ```text
//! Get, settled span ──▶ own store ──▶ Got; nothing there: ask another holder (`miss`)
//! Get otherwise ─────▶ gather ─────▶ Got, once corroborated
//! Put ──▶ newest (gathered if unsettled) ────▶ version ──▶ write to the holders ──▶ Written
//! ```
//!
//! Writes of one key go one after the other, so a version is assigned over the one before,
//! and an expected version is compared with what is really there.
//!
//! **Invariant:** an operation id gets one version and one outcome, however often it comes.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::event::{OpId, StoreAnswer, StoreCommand, StoreError};
use crate::gather::Purpose;
use crate::id::Id;
use crate::message::{
    Header, Key, OperationId, Record, Refusal, Response, VALUE_MAX, Version, Write,
};
use crate::miss::Miss;
use crate::node::{Cx, Node};
use crate::ops::SlabKey;
use crate::peer::{Addr, Peer};
use crate::then::{Asker, Then};
use crate::time::{Instant, Micros};
use crate::write::{Stage, Writing};

/// Outcomes of operations remembered, beyond those in record headers.
const FINISHED_MAX: usize = 4_096;
/// Writes waiting for an earlier one of their key.
const QUEUED_MAX: usize = 1_024;
/// Of these, how many one gateway may have: nobody takes all the room.
const QUEUED_EACH: usize = 256;
/// Bytes of all that waits.
const QUEUED_BYTES: usize = 16 << 20;
/// What a gateway is told to wait when too much waits already.
const CROWDED_MS: u32 = 100;

/// A write that waits for its turn.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) asker: Asker,
    pub(crate) write: Write,
    pub(crate) deadline: Instant,
    /// Its alarm, taken out with it.
    alarm: OpId,
}

impl Queued {
    fn size(&self) -> usize {
        size_of_write(&self.write)
    }
}

/// Operations and the versions they got, for twice the longest deadline.
#[derive(Clone, Debug, Default)]
pub(crate) struct FinishedOperations {
    versions: BTreeMap<OperationId, Version>,
    order: VecDeque<(Instant, OperationId)>,
}

impl FinishedOperations {
    pub(crate) fn insert(&mut self, operation: OperationId, version: Version, until: Instant) {
        if self.versions.insert(operation, version).is_none() {
            self.order.push_back((until, operation));
        }
        if self.order.len() > FINISHED_MAX
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.versions.remove(&oldest);
        }
    }

    pub(crate) fn get(&mut self, operation: OperationId, now: Instant) -> Option<Version> {
        while let Some(&(until, oldest)) = self.order.front()
            && until <= now
        {
            self.order.pop_front();
            self.versions.remove(&oldest);
        }
        self.versions.get(&operation).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }
}

/// What this node may do with a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ownership {
    /// Own it, and everything about it is known.
    Settled,
    /// Own it, or act for its dead owner: reads need corroboration.
    Unsettled,
    /// It will be ours in a moment, or its owner may be dead.
    Settling,
    /// Not ours.
    Foreign,
}

impl Node {
    pub(crate) fn ownership(&self, position: Id, now: Instant) -> Ownership {
        if self.spans.is_settled(position) {
            return Ownership::Settled;
        }
        if self.spans.owns(position) || self.acts_for(position, now) {
            return Ownership::Unsettled;
        }
        let ours_to_be = self
            .ring
            .predecessor()
            .is_some_and(|p| crate::id::Span::new(p.id, self.me.id).contains(position));
        if ours_to_be && self.state == crate::event::State::Joined {
            return Ownership::Settling;
        }
        Ownership::Foreign
    }

    /// Tells an asker how it ended.
    pub(crate) fn respond(&mut self, cx: &mut Cx, asker: Asker, response: Response) {
        match asker {
            Asker::Peer(ticket) => cx.reply(ticket, response),
            Asker::Local(search) => self.asked_response(cx, search, self.me, response),
        }
    }

    pub(crate) fn turn_away(&mut self, cx: &mut Cx, asker: Asker, refusal: Refusal) {
        self.respond(cx, asker, Response::Refused(refusal));
    }

    /// Not ours: name who might own it. If this is a position that we hold copies of, and our
    /// predecessor has been silent, the asker may be here because it is dead: settle that
    /// first.
    fn refuse_foreign(&mut self, cx: &mut Cx, asker: Asker, position: Id) {
        if self.may_inherit(cx, position) {
            self.turn_away(cx, asker, Refusal::Settling);
            return;
        }
        let refusal = self.not_ours(position, cx.now.mono);
        self.turn_away(cx, asker, refusal);
    }

    /// Why this node does not answer for a position, and where to ask instead. What it has given
    /// away by leaving lies behind it, with its heir; anything else before it.
    pub(crate) fn not_ours(&self, position: Id, now: Instant) -> Refusal {
        if self.has_given_away(position) {
            return Refusal::Leaving;
        }
        let alive = |peer: &Peer| *peer != self.me && !self.contacts.is_dead(*peer, now);
        let hint = self.ring.predecessor().filter(alive);
        Refusal::NotOwner { hint }
    }

    /// Whether the owner of a position may have died, with this node next in line. Starts to
    /// find out.
    pub(crate) fn may_inherit(&mut self, cx: &mut Cx, position: Id) -> bool {
        let next = self.is_next_in_line(position, cx.now.mono);
        let Some(predecessor) = self.ring.predecessor().filter(|_| next) else {
            return false;
        };
        let recently = cx.now.mono - self.config.timeout_min.times(2);
        if self.contacts.heard_since(predecessor.id, recently) {
            return false;
        }
        self.check_alive(cx, predecessor);
        !self.contacts.is_dead(predecessor, cx.now.mono)
    }

    /// Whether this node was told to hold `position`, and knows nobody alive between it and
    /// itself but perhaps its predecessor.
    pub(crate) fn is_next_in_line(&self, position: Id, now: Instant) -> bool {
        let predecessor = self.ring.predecessor();
        let in_between = |peer: &Peer| {
            (peer.id == position || Id::between(position, peer.id, self.me.id))
                && Some(*peer) != predecessor
                && !self.contacts.is_dead(*peer, now)
        };
        // Its predecessor's mark: that of somebody who lives says nothing about an heir.
        predecessor.is_some_and(|p| self.spans.is_marked_by(position, p.id))
            && self.spans.mark(position).is_some_and(|mark| mark.rank > 0)
            && !self.ring.successors().iter().any(in_between)
            && !self.table.peers().iter().any(in_between)
    }

    // ---- reads -------------------------------------------------------------------------

    pub(crate) fn serve_get(
        &mut self,
        cx: &mut Cx,
        asker: Asker,
        key: Key,
        quorum: bool,
        deadline: Instant,
    ) {
        match self.ownership(key.position(), cx.now.mono) {
            Ownership::Settled if !quorum => {
                let then = Then::Read {
                    asker,
                    key: key.clone(),
                    deadline,
                };
                self.store(cx, StoreCommand::Get { key }, then);
            }
            Ownership::Settled | Ownership::Unsettled => {
                self.gather(cx, key, Purpose::Read { asker, quorum }, deadline, None);
            }
            Ownership::Settling => self.turn_away(cx, asker, Refusal::Settling),
            Ownership::Foreign => self.refuse_foreign(cx, asker, key.position()),
        }
    }

    pub(crate) fn read(
        &mut self,
        cx: &mut Cx,
        asker: Asker,
        key: Key,
        deadline: Instant,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let Ok(StoreAnswer::Record(record)) = result else {
            self.turn_away(cx, asker, Refusal::Storage);
            return;
        };
        // The span may have been granted to somebody else while the disk was busy.
        if !self.spans.is_settled(key.position()) {
            self.turn_away(cx, asker, Refusal::Settling);
            return;
        }
        let Some(record) = record else {
            self.ask_another(cx, Miss::new(asker, key, deadline));
            return;
        };
        let record = Some(record).filter(|record| record.is_live(cx.now.mono));
        self.respond(cx, asker, Response::Got { record });
    }

    // ---- writes ------------------------------------------------------------------------

    pub(crate) fn serve_put(&mut self, cx: &mut Cx, asker: Asker, write: Write, deadline: Instant) {
        if write
            .value
            .as_ref()
            .is_some_and(|value| value.len() > VALUE_MAX)
        {
            self.turn_away(cx, asker, Refusal::Invalid);
            return;
        }
        match self.ownership(write.key.position(), cx.now.mono) {
            Ownership::Settled | Ownership::Unsettled => {}
            Ownership::Settling => {
                self.turn_away(cx, asker, Refusal::Settling);
                return;
            }
            Ownership::Foreign => {
                self.refuse_foreign(cx, asker, write.key.position());
                return;
            }
        }
        if let Some(version) = self.finished.get(write.operation, cx.now.mono) {
            self.respond(cx, asker, Response::Written { version });
            return;
        }
        let same_key = |writing: &Writing| writing.key == write.key && !writing.is_answered();
        let in_flight = self.writes.iter().find(|(_, writing)| same_key(writing));
        if let Some((_, writing)) = in_flight {
            // The same operation again, while the first is under way: its outcome will be
            // in the table when it asks next.
            if writing.operation() == Some(write.operation) {
                self.turn_away(cx, asker, Refusal::Settling);
            } else {
                self.wait_in_line(cx, asker, write, deadline);
            }
            return;
        }
        self.begin_write(cx, asker, write, deadline);
    }

    fn wait_in_line(&mut self, cx: &mut Cx, asker: Asker, write: Write, deadline: Instant) {
        let gateway = write.operation.gateway;
        let ahead = |queued: &&Queued| queued.write.operation.gateway == gateway;
        let bytes: usize = self.queued.iter().map(Queued::size).sum();
        if self.queued.len() >= QUEUED_MAX
            || self.queued.iter().filter(ahead).count() >= QUEUED_EACH
            || bytes.saturating_add(size_of_write(&write)) > QUEUED_BYTES
        {
            let refusal = Refusal::Overloaded {
                retry_after_ms: CROWDED_MS,
            };
            self.turn_away(cx, asker, refusal);
            return;
        }
        let then = Then::Outwaited {
            operation: write.operation,
        };
        // Nobody waits for longer than any command may take.
        let longest = cx.now.mono + self.config.command_timeout.times(2);
        let deadline = deadline.min(longest);
        let alarm = self.alarm(cx, deadline.since(cx.now.mono), then);
        self.queued.push(Queued {
            asker,
            write,
            deadline,
            alarm,
        });
    }

    /// A queued write is over before its turn came: its asker hears of it.
    pub(crate) fn outwaited(&mut self, cx: &mut Cx, operation: OperationId) {
        let now = cx.now.mono;
        let over = |queued: &Queued| queued.write.operation == operation && queued.deadline <= now;
        while let Some(at) = self.queued.iter().position(over) {
            let queued = self.queued.remove(at);
            self.turn_away(cx, queued.asker, Refusal::Settling);
        }
    }

    fn begin_write(&mut self, cx: &mut Cx, asker: Asker, write: Write, deadline: Instant) {
        let key = write.key.clone();
        let position = key.position();
        // What a quorum read has shown, a condition is compared with; without one, the version
        // that is assigned lies above it anyway.
        let whole = write.expected.is_none() || self.shown.get(&key, cx.now.mono).is_none();
        let stage = Stage::Learning { write };
        let writing = self
            .writes
            .insert(Writing::new(asker, key.clone(), stage, deadline));
        if self.spans.is_settled(position) && whole {
            self.store(
                cx,
                StoreCommand::Get { key },
                Then::WriteRead { write: writing },
            );
        } else {
            self.gather(cx, key, Purpose::Learn { write: writing }, deadline, None);
        }
    }

    pub(crate) fn write_read(
        &mut self,
        cx: &mut Cx,
        write: SlabKey,
        result: Result<StoreAnswer, StoreError>,
    ) {
        match result {
            Ok(StoreAnswer::Record(newest)) => self.write_learned(cx, write, newest),
            _ => self.end_write(cx, write, Response::Refused(Refusal::Storage)),
        }
    }

    /// The newest stored version is known: assign the next one and write it.
    pub(crate) fn write_learned(&mut self, cx: &mut Cx, key: SlabKey, newest: Option<Record>) {
        let Some(writing) = self.writes.get(key) else {
            return;
        };
        let Stage::Learning { write } = &writing.stage else {
            return;
        };
        let write = write.clone();
        if let Some(stored) = &newest
            && stored.header.operation == write.operation
            && !expired_value(stored, cx.now.mono)
        {
            // A retry whose first try got this far: the same version, to all holders again.
            self.write_out(cx, key, stored.clone(), false);
            return;
        }
        if let Some(version) = self.passed.get(write.operation, cx.now.mono)
            && newest
                .as_ref()
                .is_some_and(|stored| stored.header.version > version)
        {
            // A late duplicate: an owner before this one gave it its version, and what is
            // stored came after it. Whether that version was ever acknowledged is not known
            // here: it must neither be written again nor be called written.
            let refusal = Refusal::Unavailable {
                stored: 0,
                needed: 1,
            };
            self.end_write(cx, key, Response::Refused(refusal));
            return;
        }
        let live = newest.as_ref().filter(|stored| stored.is_live(cx.now.mono));
        let stored = live.map_or_else(Version::default, |stored| stored.header.version);
        if write.expected.is_some_and(|expected| expected != stored) {
            self.end_write(cx, key, Response::Refused(Refusal::Conflict { stored }));
            return;
        }
        let above = newest
            .as_ref()
            .map_or(0, |stored| stored.header.version.time);
        if let Some(writing) = self.writes.get_mut(key) {
            writing.above = above;
        }
        let (record, fresh) = self.next_version(cx, &write, newest.as_ref());
        if !record.is_sane() {
            // There is no room above what somebody once stored.
            self.end_write(cx, key, Response::Refused(Refusal::Invalid));
            return;
        }
        self.write_out(cx, key, record, fresh);
    }

    /// A version above one that is stored, and whether it is fresh: from our clock. One from
    /// far in the future, which no honest clock assigned, is topped for this key only and does
    /// not become our clock.
    pub(crate) fn version_above(&mut self, cx: &Cx, above: u64) -> (Version, bool) {
        let topping = above.saturating_add(1);
        let time = if above > self.clock.horizon(cx.now) {
            topping
        } else {
            self.clock.saw(above, cx.now);
            self.clock.tick(cx.now)
        };
        let writer = self.me.id;
        (Version { time, writer }, time > topping)
    }

    /// The record that `write` makes of what is stored.
    fn next_version(&mut self, cx: &Cx, write: &Write, newest: Option<&Record>) -> (Record, bool) {
        let now = cx.now.mono;
        let above = newest.map_or(0, |stored| stored.header.version.time);
        let (version, fresh) = self.version_above(cx, above);
        let asked = if write.copies == 0 {
            self.config.copies
        } else {
            write.copies
        };
        let before = newest.map_or(0, |stored| stored.header.copies);
        let copies = asked.max(before).clamp(1, self.config.copies_max);
        let ttl = if write.ttl == Micros::ZERO {
            self.config.ttl
        } else {
            write.ttl
        };
        let expires = match write.value {
            Some(_) => now + ttl.min(self.config.ttl_max),
            None => now,
        };
        let shadow = newest.map_or(expires, |stored| stored.header.shadow.max(expires));
        let header = Header {
            version,
            operation: write.operation,
            copies,
            tombstone: write.value.is_none(),
            expires,
            shadow,
        };
        let record = Record {
            key: write.key.clone(),
            value: write.value.clone().unwrap_or_default(),
            header,
        };
        (record, fresh)
    }

    /// A write of this key has ended: the next one may begin, and if it ends at once, the
    /// one after it.
    pub(crate) fn next_in_line(&mut self, cx: &mut Cx, key: &Key) {
        while !self.is_being_written(key)
            && let Some(at) = self
                .queued
                .iter()
                .position(|queued| queued.write.key == *key)
        {
            let Queued {
                asker,
                write,
                deadline,
                alarm,
            } = self.queued.remove(at);
            self.ops.take(alarm);
            if deadline <= cx.now.mono {
                self.turn_away(cx, asker, Refusal::Settling);
            } else {
                self.serve_put(cx, asker, write, deadline);
            }
        }
    }

    fn is_being_written(&self, key: &Key) -> bool {
        self.writes
            .iter()
            .any(|(_, writing)| writing.key == *key && !writing.is_answered())
    }

    // ---- the group ---------------------------------------------------------------------

    /// The next `most` live successors with distinct addresses that do not leave: holders
    /// and those who may become holders, in order.
    pub(crate) fn candidates(&self, most: usize, now: Instant) -> Vec<Peer> {
        let mut found: Vec<Peer> = Vec::with_capacity(most);
        for &peer in self.ring.successors() {
            let known = |other: &Peer| other.addr == peer.addr;
            if found.len() < most
                && peer.addr != self.me.addr
                && !found.iter().any(known)
                && !self.contacts.is_dead(peer, now)
                && !self.repair.hands_over(peer)
            {
                found.push(peer);
            }
        }
        found
    }

    /// Members known, this one included, as far as any majority could need: those in the
    /// list, the predecessor, and those who are away.
    pub(crate) fn members_known(&self, now: Instant) -> u8 {
        let mut addrs: Vec<Addr> = Vec::with_capacity(usize::from(self.config.copies_max));
        let ring = self
            .ring
            .successors()
            .iter()
            .copied()
            .chain(self.ring.predecessor());
        let ring = ring.filter(|peer| !self.repair.hands_over(*peer));
        let absent = self.away(now).map(|p| p.addr);
        for addr in core::iter::once(self.me.addr)
            .chain(ring.map(|p| p.addr))
            .chain(absent)
        {
            if addrs.len() < usize::from(self.config.copies_max) && !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        u8::try_from(addrs.len()).unwrap_or(u8::MAX)
    }

    /// How many must store a record of so many copies, and how many complete answers a
    /// corroborated read needs: any two such sets meet.
    pub(crate) fn quorums(&self, copies: u8, now: Instant) -> (u8, u8) {
        let group = copies.min(self.members_known(now)).max(1);
        let majority = group / 2 + 1;
        (majority, group - majority + 1)
    }
}

fn size_of_write(write: &Write) -> usize {
    let value = write.value.as_ref().map_or(0, Bytes::len);
    write.key.bytes().len() + value + 128
}

fn expired_value(record: &Record, now: Instant) -> bool {
    !record.header.tombstone && record.header.expires <= now
}
