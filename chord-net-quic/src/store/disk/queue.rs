//! Work for a thread: bounded, given in batches, taken one by one.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use chord_core::event::StoreCommand;
use chord_core::time::{Micros, Now};

use crate::clock;
use crate::store::Token;

/// Most commands that wait.
const JOBS_MAX: usize = 16_384;
/// Most bytes that they hold, beyond the first.
const BYTES_MAX: usize = 64 << 20;

/// One command and who waits for its answer.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) token: Token,
    pub(super) command: StoreCommand,
    pub(super) now: Now,
    /// Bytes it holds while it waits.
    pub(super) weight: usize,
}

/// What became of a wait.
#[derive(Debug)]
pub(super) enum Taken {
    /// The next one.
    Job(Job),
    /// None came in time.
    Nothing,
    /// None will come.
    Closed,
}

/// From one thread that must never wait to one that has time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Nothing more comes, and nothing more is to be done.
    closed: bool,
}

impl Queue {
    /// Adds what fits, and leaves the rest in `jobs`.
    pub(super) fn push(&self, jobs: &mut VecDeque<Job>) {
        let mut waiting = self.lock();
        while let Some(job) = jobs.pop_front() {
            let bytes = waiting.bytes.saturating_add(job.weight);
            let full = waiting.jobs.len() >= JOBS_MAX || bytes > BYTES_MAX;
            if full && !waiting.jobs.is_empty() {
                jobs.push_front(job);
                break;
            }
            waiting.bytes = bytes;
            waiting.jobs.push_back(job);
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// The next job, waited for; `None` once the queue is closed.
    pub(super) fn take(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(job) = waiting.pop() {
                return Some(job);
            }
            waiting = self
                .filled
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next job, waited for no longer than `patience`.
    pub(super) fn take_within(&self, patience: Micros) -> Taken {
        let patience = clock::duration(patience);
        let idle = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.closed;
        let (mut waiting, _) = self
            .filled
            .wait_timeout_while(self.lock(), patience, idle)
            .unwrap_or_else(PoisonError::into_inner);
        match waiting.pop() {
            _ if waiting.closed => Taken::Closed,
            Some(job) => Taken::Job(job),
            None => Taken::Nothing,
        }
    }

    /// The next job, if there is one.
    pub(super) fn take_now(&self) -> Option<Job> {
        self.lock().pop()
    }

    /// Jobs that wait.
    pub(super) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Lets the thread end once it has finished what it is doing.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.bytes = self.bytes.saturating_sub(job.weight);
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chord_core::event::OpId;
    use chord_core::message::Key;

    use super::*;

    fn job(op: u64, weight: usize) -> Job {
        let key = Key::new(Bytes::from_static(b"key")).expect("short and not empty");
        Job {
            token: Token {
                position: 0,
                op: OpId(op),
            },
            command: StoreCommand::Get { key },
            now: Now::default(),
            weight,
        }
    }

    #[test]
    fn what_does_not_fit_stays_with_who_brought_it() {
        let queue = Queue::default();
        let mut jobs: VecDeque<Job> = (0..JOBS_MAX as u64 + 3).map(|op| job(op, 1)).collect();
        queue.push(&mut jobs);
        assert_eq!(jobs.len(), 3);
        let mut heavy = VecDeque::from([job(0, 1), job(1, BYTES_MAX), job(2, 1)]);
        let queue = Queue::default();
        queue.push(&mut heavy);
        assert_eq!(heavy.len(), 2);
        assert!(queue.take_now().is_some());
        queue.push(&mut heavy);
        assert_eq!(heavy.len(), 1, "one fits, whatever it weighs");
    }

    #[test]
    fn jobs_come_out_in_order_and_a_closed_queue_ends_the_wait() {
        let queue = Queue::default();
        queue.push(&mut VecDeque::from([job(1, 1), job(2, 1)]));
        assert_eq!(queue.take().map(|job| job.token.op), Some(OpId(1)));
        assert_eq!(queue.take_now().map(|job| job.token.op), Some(OpId(2)));
        assert!(queue.take_now().is_none());
        assert_eq!(queue.lock().bytes, 0);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| queue.take().is_none());
            queue.close();
            assert!(waits.join().expect("no panic"));
        });
    }
}
