//! Operations in flight: one flat table, one door for answers, failures and timeouts.
//!
//! An operation is a plain value. It is *taken out* when its answer comes or its deadline
//! passes; not putting it back is how it ends. Keys carry a generation, so an answer that
//! comes late finds nothing, whatever has moved into its place.
//!
//! **Invariant:** an operation is taken at most once, and always by its deadline.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::event::OpId;
use crate::peer::Peer;
use crate::time::Instant;

/// Values under keys that are never used twice.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Names a value of a [`Slab`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SlabKey(u64);

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, value: T) -> SlabKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                value: None,
            });
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.value = Some(value);
        SlabKey(u64::from(slot.generation) << 32 | u64::from(index))
    }

    pub(crate) fn get_mut(&mut self, key: SlabKey) -> Option<&mut T> {
        let (index, generation) = split(key.0);
        let slot = self.slots.get_mut(index)?;
        if slot.generation != generation {
            return None;
        }
        slot.value.as_mut()
    }

    pub(crate) fn get(&self, key: SlabKey) -> Option<&T> {
        let (index, generation) = split(key.0);
        let slot = self.slots.get(index)?;
        if slot.generation != generation {
            return None;
        }
        slot.value.as_ref()
    }

    pub(crate) fn take(&mut self, key: SlabKey) -> Option<T> {
        let (index, generation) = split(key.0);
        let slot = self.slots.get_mut(index)?;
        if slot.generation != generation {
            return None;
        }
        let value = slot.value.take()?;
        self.free.push(u32::try_from(index).unwrap_or(u32::MAX));
        Some(value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.value.as_mut())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlabKey, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let key = SlabKey(u64::from(slot.generation) << 32 | index as u64);
            slot.value.as_ref().map(|value| (key, value))
        })
    }
}

fn split(key: u64) -> (usize, u32) {
    ((key & 0xffff_ffff) as usize, (key >> 32) as u32)
}

/// One call or store command in flight.
#[derive(Clone, Debug)]
pub(crate) struct Pending<T> {
    /// What to do with its answer.
    pub(crate) then: T,
    /// Whom was called; `None` for the store.
    pub(crate) to: Option<Peer>,
    /// When it began.
    pub(crate) sent: Instant,
    /// When it is overdue, if somebody wants to know before the deadline.
    pub(crate) late: Option<Instant>,
    /// When it ends without an answer.
    pub(crate) deadline: Instant,
}

/// What passing time means for an operation.
#[derive(Clone, Debug)]
pub(crate) enum Due<T> {
    /// Overdue, still in flight.
    Late(OpId),
    /// Over.
    Expired(Pending<T>),
}

/// All operations of a node.
#[derive(Clone, Debug)]
pub(crate) struct Ops<T> {
    slab: Slab<Pending<T>>,
    due: BinaryHeap<Reverse<(Instant, OpId)>>,
}

impl<T> Ops<T> {
    pub(crate) const fn new() -> Self {
        Self {
            slab: Slab::new(),
            due: BinaryHeap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn insert(&mut self, pending: Pending<T>) -> OpId {
        let (late, deadline) = (pending.late, pending.deadline);
        let op = OpId(self.slab.insert(pending).0);
        if let Some(late) = late.filter(|&late| late < deadline) {
            self.due.push(Reverse((late, op)));
        }
        self.due.push(Reverse((deadline, op)));
        op
    }

    pub(crate) fn take(&mut self, op: OpId) -> Option<Pending<T>> {
        let taken = self.slab.take(SlabKey(op.0));
        self.tidy();
        taken
    }

    pub(crate) fn get(&self, op: OpId) -> Option<&Pending<T>> {
        self.slab.get(SlabKey(op.0))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (OpId, &Pending<T>)> {
        self.slab
            .iter()
            .map(|(key, pending)| (OpId(key.0), pending))
    }

    /// The next operation whose time has come, if any.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Due<T>> {
        while let Some(&Reverse((at, op))) = self.due.peek() {
            if at > now {
                return None;
            }
            self.due.pop();
            let Some(pending) = self.slab.get_mut(SlabKey(op.0)) else {
                continue;
            };
            if pending.deadline <= now {
                return self.slab.take(SlabKey(op.0)).map(Due::Expired);
            }
            if pending.late.is_some_and(|late| late <= now) {
                pending.late = None;
                return Some(Due::Late(op));
            }
        }
        None
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Gives every operation the time that this node slept through.
    pub(crate) fn postpone(&mut self, by: crate::time::Micros) {
        self.due.clear();
        for (index, slot) in self.slab.slots.iter_mut().enumerate() {
            let Some(pending) = slot.value.as_mut() else {
                continue;
            };
            let op = OpId(u64::from(slot.generation) << 32 | index as u64);
            pending.deadline = pending.deadline + by;
            pending.late = pending.late.map(|late| late + by);
            if let Some(late) = pending.late {
                self.due.push(Reverse((late, op)));
            }
            self.due.push(Reverse((pending.deadline, op)));
        }
    }

    /// Drops heap entries of operations that are gone, so that an answered call wakes
    /// nobody and the heap stays in proportion to what is in flight.
    fn tidy(&mut self) {
        while let Some(&Reverse((_, op))) = self.due.peek() {
            if self.slab.get(SlabKey(op.0)).is_some() {
                break;
            }
            self.due.pop();
        }
        if self.due.len() > 64 && self.due.len() > 4 * self.slab.len() {
            let slab = &self.slab;
            self.due
                .retain(|Reverse((_, op))| slab.get(SlabKey(op.0)).is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(late: Option<u64>, deadline: u64) -> Pending<u8> {
        Pending {
            then: 7,
            to: None,
            sent: Instant(0),
            late: late.map(Instant),
            deadline: Instant(deadline),
        }
    }

    #[test]
    fn an_operation_is_taken_once() {
        let mut ops = Ops::new();
        let op = ops.insert(pending(None, 10));
        assert!(ops.take(op).is_some());
        assert!(ops.take(op).is_none());
        assert!(ops.pop_due(Instant(10)).is_none());
    }

    #[test]
    fn a_key_of_an_earlier_generation_finds_nothing() {
        let mut ops = Ops::new();
        let old = ops.insert(pending(None, 10));
        ops.take(old);
        let new = ops.insert(pending(None, 10));
        assert_ne!(old, new);
        assert!(ops.take(old).is_none());
        assert!(ops.take(new).is_some());
    }

    #[test]
    fn lateness_is_told_once_and_before_the_end() {
        let mut ops = Ops::new();
        ops.insert(pending(Some(5), 10));
        assert_eq!(ops.next_due(), Some(Instant(5)));
        assert!(matches!(ops.pop_due(Instant(5)), Some(Due::Late(_))));
        assert!(ops.pop_due(Instant(9)).is_none());
        assert!(matches!(ops.pop_due(Instant(10)), Some(Due::Expired(_))));
        assert_eq!(ops.len(), 0);
    }

    #[test]
    fn answered_operations_leave_no_deadline_behind() {
        let mut ops = Ops::new();
        for n in 0..1_000 {
            let op = ops.insert(pending(Some(n + 1), n + 1_000));
            ops.take(op);
        }
        assert_eq!(ops.next_due(), None);
        assert!(ops.due.len() <= 64);
    }

    #[test]
    fn postponing_moves_every_deadline() {
        let mut ops = Ops::new();
        ops.insert(pending(Some(5), 10));
        ops.postpone(crate::time::Micros(100));
        assert!(ops.pop_due(Instant(104)).is_none());
        assert!(matches!(ops.pop_due(Instant(105)), Some(Due::Late(_))));
    }
}
