//! One connection, as the rules see it.

use std::collections::{HashMap, VecDeque};

use bytes::BytesMut;
use chord_core::event::Class;
use chord_core::id::Id;
use chord_core::message::Response;
use chord_core::peer::{Addr, Peer};
use chord_core::time::Instant;

use crate::peers::{BULK_MAX, BULK_WAITING_MAX, CALLS_MAX, CLIENT_CALLS_MAX, Call, Introduced};

/// What waits for a bulk stream.
#[derive(Debug)]
pub(super) enum Bulky {
    /// A call of ours.
    Call(Call),
    /// The large answer to a small request.
    Answer { id: u32, response: Response },
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) host: Id,
    /// Whether we dialled.
    pub(super) ours: bool,
    pub(super) incarnation: u32,
    addr: Addr,
    /// Ids of the other end's positions.
    positions: Vec<Id>,
    /// Frames for the frame stream, written out at the end of a batch.
    pub(super) out: BytesMut,
    /// Calls that were sent and not answered, by number.
    pub(super) calls: HashMap<u32, Call>,
    /// Requests of the other end that a node works on.
    pub(super) serving: usize,
    /// Bulk streams of ours in flight.
    pub(super) bulk_flying: usize,
    bulk_waiting: VecDeque<Bulky>,
    /// Takes no new calls; closed at this time at the latest.
    pub(super) drained_by: Option<Instant>,
    /// When a frame last went either way.
    pub(super) used: Instant,
}

impl Link {
    pub(super) fn new(who: &Introduced, ours: bool, now: Instant) -> Self {
        Self {
            host: who.host,
            ours,
            incarnation: who.incarnation,
            addr: who.addr,
            positions: (0..who.positions)
                .map(|at| who.host.of_position(at))
                .collect(),
            out: BytesMut::new(),
            calls: HashMap::new(),
            serving: 0,
            bulk_flying: 0,
            bulk_waiting: VecDeque::new(),
            drained_by: None,
            used: now,
        }
    }

    /// The other end's position number `at`.
    pub(super) fn peer(&self, at: u16) -> Option<Peer> {
        let id = *self.positions.get(usize::from(at))?;
        Some(Peer {
            id,
            addr: self.addr,
            incarnation: self.incarnation,
        })
    }

    /// Whether one more call of a class may be sent.
    pub(super) fn has_room(&mut self, class: Class, now: Instant) -> bool {
        let most = match class {
            Class::Ring | Class::Replication => CALLS_MAX,
            Class::Client | Class::Repair => CLIENT_CALLS_MAX,
        };
        if self.calls.len() >= most {
            self.forget_late(now);
        }
        self.calls.len() < most
    }

    /// Drops calls whose node has given up on them.
    pub(super) fn forget_late(&mut self, now: Instant) {
        self.calls.retain(|_, call| now < call.terms.deadline);
    }

    /// Queues what needs a bulk stream. Gives it back if too much waits already.
    #[must_use]
    pub(super) fn wait_for_bulk(&mut self, bulky: Bulky) -> Option<Bulky> {
        if self.bulk_waiting.len() >= BULK_WAITING_MAX {
            return Some(bulky);
        }
        self.bulk_waiting.push_back(bulky);
        None
    }

    /// The next that may have a bulk stream, late calls dropped.
    pub(super) fn next_bulk(&mut self, now: Instant) -> Option<Bulky> {
        while self.bulk_flying < BULK_MAX {
            match self.bulk_waiting.pop_front()? {
                Bulky::Call(call) if call.terms.deadline <= now => {}
                bulky => {
                    self.bulk_flying += 1;
                    return Some(bulky);
                }
            }
        }
        None
    }

    /// Whether nothing is under way in either direction.
    pub(super) fn is_quiet(&self) -> bool {
        self.calls.is_empty()
            && self.serving == 0
            && self.bulk_flying == 0
            && self.bulk_waiting.is_empty()
    }

    /// All calls that were sent or wait here, in the order they were made.
    pub(super) fn take_calls(&mut self) -> Vec<Call> {
        let mut calls: Vec<Call> = self.calls.drain().map(|(_, call)| call).collect();
        calls.sort_unstable_by_key(|call| call.op);
        calls.extend(self.bulk_waiting.drain(..).filter_map(|bulky| match bulky {
            Bulky::Call(call) => Some(call),
            Bulky::Answer { .. } => None,
        }));
        calls
    }
}
