//! What happens next.
//!
//! One priority queue for the whole world. The order depends on nothing but the time, who
//! caused the entry, and the how-manyeth thing that was by its causer, so that two runs
//! that cause the same things take them in the same order whatever the insertion order was.
//!
//! **Invariant:** no two entries share a [`Turn`]: a causer never uses a counter twice.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// When an entry has its turn; entries are taken in the order of this.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Turn {
    /// Microseconds since the start of the run.
    pub time: u64,
    /// Who caused it: the index of a host, or [`Turn::WORLD`].
    pub sender: u32,
    /// The how-manyeth entry of that causer.
    pub counter: u64,
}

impl Turn {
    /// The causer of whatever no host caused: the scenario, churn and the workload.
    pub const WORLD: u32 = u32::MAX;
}

/// Entries in order of their turns. The heap moves small keys; what they stand for stays
/// in its slot.
#[derive(Clone, Debug)]
pub struct Queue<T> {
    heap: BinaryHeap<Reverse<(Turn, u32)>>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Queue<T> {
    /// Adds an entry.
    pub fn push(&mut self, turn: Turn, entry: T) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(entry);
                slot
            }
            None => {
                self.slots.push(Some(entry));
                u32::try_from(self.slots.len() - 1).expect("fewer than 2³² entries fit memory")
            }
        };
        self.heap.push(Reverse((turn, slot)));
    }

    /// The time of the next entry.
    #[must_use]
    pub fn next_time(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((turn, _))| turn.time)
    }

    /// Takes the next entry.
    pub fn pop(&mut self) -> Option<(Turn, T)> {
        let Reverse((turn, slot)) = self.heap.pop()?;
        self.free.push(slot);
        let entry = self.slots[slot as usize]
            .take()
            .expect("a queued slot is filled");
        Some((turn, entry))
    }

    /// How many entries wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Every waiting entry, in no particular order.
    pub fn entries(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_depends_on_the_turn_and_not_on_the_insertion() {
        let turns = [
            (5, 0, 0),
            (3, 9, 1),
            (3, 2, 7),
            (3, 2, 6),
            (0, Turn::WORLD, 0),
        ]
        .map(|(time, sender, counter)| Turn {
            time,
            sender,
            counter,
        });
        let mut sorted = turns;
        sorted.sort_unstable();

        for rotation in 0..turns.len() {
            let mut queue = Queue::default();
            for at in 0..turns.len() {
                let turn = turns[(at + rotation) % turns.len()];
                queue.push(turn, turn.counter);
            }
            let mut taken = Vec::new();
            while let Some((turn, entry)) = queue.pop() {
                assert_eq!(turn.counter, entry);
                taken.push(turn);
            }
            assert_eq!(taken, sorted);
        }
    }

    #[test]
    fn slots_are_used_again() {
        let mut queue = Queue::default();
        for counter in 0..1_000 {
            queue.push(
                Turn {
                    time: counter,
                    sender: 0,
                    counter,
                },
                counter,
            );
            queue.push(
                Turn {
                    time: counter,
                    sender: 1,
                    counter,
                },
                counter,
            );
            assert_eq!(queue.pop().map(|(_, entry)| entry), Some(counter));
            assert_eq!(queue.pop().map(|(_, entry)| entry), Some(counter));
        }
        assert!(queue.slots.len() <= 2, "{}", queue.slots.len());
        assert!(queue.is_empty());
    }
}
