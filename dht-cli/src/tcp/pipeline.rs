//! The order of one connection's requests: what may run, what may be answered.
//!
//! ```text
//! accept ──▶ runs at once, or waits for the request before it on the same key
//! finish ──▶ frees the next request on that key; a GET keeps its answer
//! expire ──▶ a GET that waited too long is answered, whatever it waits for
//! answer ──▶ the answers of GETs, in the order of the GETs
//! ```
//!
//! No sockets, no clock (the time of acceptance is carried, never read), no tasks: every
//! order of completions can be tried in a test.
//!
//! **Invariant:** of the requests on one key at most one runs, the earliest unfinished one.
//! **Invariant:** answers leave in the order in which their GETs were accepted.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use super::codec::Message;

/// Requests of one connection between acceptance and answer.
pub(crate) const REQUESTS_MAX: usize = 64;
/// Bytes of those requests and of answers not yet written.
pub(crate) const BYTES_MAX: usize = 1 << 20;

/// Names a request within its connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Number(u64);

/// A request that may run now.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Job {
    /// Which.
    pub(crate) number: Number,
    /// What.
    pub(crate) message: Message,
    /// When it was accepted.
    pub(crate) since: Instant,
}

/// The requests of one connection that are accepted and not yet done with.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    /// In order of acceptance.
    slots: VecDeque<Slot>,
    accepted: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    number: Number,
    since: Instant,
    key: [u8; 32],
    bytes: usize,
    is_get: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Waiting(Message),
    Running,
    Answered(Bytes),
}

impl Stage {
    fn is_finished(&self) -> bool {
        match self {
            Self::Waiting(_) | Self::Running => false,
            Self::Answered(_) => true,
        }
    }
}

impl Pipeline {
    /// Whether another request may be accepted now.
    pub(crate) fn has_room(&self) -> bool {
        self.slots.len() < REQUESTS_MAX && self.bytes < BYTES_MAX
    }

    /// Whether everything accepted is finished and answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes a request in; gives it back if it may run at once.
    pub(crate) fn accept(&mut self, message: Message, since: Instant) -> Option<Job> {
        let number = Number(self.accepted);
        self.accepted += 1;
        let key = *message.key();
        let bytes = message.size();
        let is_get = matches!(message, Message::Get { .. });
        let blocked = self
            .slots
            .iter()
            .any(|slot| slot.key == key && !slot.stage.is_finished());
        let (stage, job) = if blocked {
            (Stage::Waiting(message), None)
        } else {
            (
                Stage::Running,
                Some(Job {
                    number,
                    message,
                    since,
                }),
            )
        };
        self.bytes += bytes;
        self.slots.push_back(Slot {
            number,
            since,
            key,
            bytes,
            is_get,
            stage,
        });
        job
    }

    /// A running request has ended, a GET with its answer. Gives the next on the same key,
    /// which may run from now on.
    pub(crate) fn finish(&mut self, number: Number, answer: Option<Bytes>) -> Option<Job> {
        let at = self.slots.iter().position(|slot| slot.number == number)?;
        let slot = &mut self.slots[at];
        let key = slot.key;
        self.bytes -= slot.bytes;
        match answer {
            Some(answer) if slot.is_get => {
                slot.bytes = answer.len();
                self.bytes += slot.bytes;
                slot.stage = Stage::Answered(answer);
            }
            Some(_) | None => drop(self.slots.remove(at)),
        }
        let next = self
            .slots
            .iter_mut()
            .find(|slot| slot.key == key && !slot.stage.is_finished())?;
        match std::mem::replace(&mut next.stage, Stage::Running) {
            Stage::Waiting(message) => Some(Job {
                number: next.number,
                message,
                since: next.since,
            }),
            Stage::Running | Stage::Answered(_) => None,
        }
    }

    /// When the earliest GET that still waits for a request before it was accepted.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        let mut slots = self.slots.iter();
        let waits = |slot: &&Slot| slot.is_get && matches!(slot.stage, Stage::Waiting(_));
        slots.find(waits).map(|slot| slot.since)
    }

    /// Gives up on the waiting GETs that were accepted at `before` or earlier: each is
    /// answered with what `answer` makes of its key. Tells how many there were.
    pub(crate) fn expire(&mut self, before: Instant, answer: impl Fn(&[u8; 32]) -> Bytes) -> usize {
        let mut expired = 0;
        for slot in &mut self.slots {
            let waits = slot.is_get && matches!(slot.stage, Stage::Waiting(_));
            if waits && slot.since <= before {
                let answer = answer(&slot.key);
                self.bytes = self.bytes - slot.bytes + answer.len();
                slot.bytes = answer.len();
                slot.stage = Stage::Answered(answer);
                expired += 1;
            }
        }
        expired
    }

    /// The next answer, once every GET accepted before it has been answered.
    pub(crate) fn answer(&mut self) -> Option<Bytes> {
        let at = self.slots.iter().position(|slot| slot.is_get)?;
        if !self.slots[at].stage.is_finished() {
            return None;
        }
        let slot = self.slots.remove(at)?;
        self.bytes -= slot.bytes;
        match slot.stage {
            Stage::Answered(answer) => Some(answer),
            Stage::Waiting(_) | Stage::Running => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(key: u8) -> Message {
        Message::Get { key: [key; 32] }
    }

    fn put(key: u8, length: usize) -> Message {
        Message::Put {
            ttl: 0,
            replication: 0,
            key: [key; 32],
            value: vec![0; length].into(),
        }
    }

    fn accept(pipeline: &mut Pipeline, message: Message) -> Option<Number> {
        pipeline
            .accept(message, Instant::now())
            .map(|job| job.number)
    }

    fn text(answer: Option<Bytes>) -> Option<String> {
        answer.map(|bytes| String::from_utf8(bytes.to_vec()).expect("text"))
    }

    #[test]
    fn different_keys_run_at_once_and_are_answered_in_order() {
        let mut pipeline = Pipeline::default();
        let first = accept(&mut pipeline, get(1)).expect("it runs");
        let second = accept(&mut pipeline, get(2)).expect("it runs too");

        assert_eq!(pipeline.finish(second, Some("two".into())), None);
        assert_eq!(pipeline.answer(), None);
        assert_eq!(pipeline.finish(first, Some("one".into())), None);
        assert_eq!(text(pipeline.answer()), Some("one".into()));
        assert_eq!(text(pipeline.answer()), Some("two".into()));
        assert!(pipeline.is_empty());
    }

    #[test]
    fn one_key_is_strictly_in_order() {
        let mut pipeline = Pipeline::default();
        let write = accept(&mut pipeline, put(1, 5)).expect("it runs");
        assert_eq!(accept(&mut pipeline, get(1)), None);
        assert_eq!(accept(&mut pipeline, put(1, 6)), None);

        let read = pipeline.finish(write, None).expect("the read is next");
        assert_eq!(read.message, get(1));
        let again = pipeline
            .finish(read.number, Some("x".into()))
            .expect("the write is next");
        assert_eq!(again.message, put(1, 6));
        assert_eq!(text(pipeline.answer()), Some("x".into()));
        assert!(!pipeline.is_empty());
        assert_eq!(pipeline.finish(again.number, None), None);
        assert!(pipeline.is_empty());
    }

    #[test]
    fn an_answer_does_not_wait_for_writes_of_other_keys() {
        let mut pipeline = Pipeline::default();
        accept(&mut pipeline, put(1, 1)).expect("it runs");
        let read = accept(&mut pipeline, get(2)).expect("it runs");
        pipeline.finish(read, Some("x".into()));
        assert_eq!(text(pipeline.answer()), Some("x".into()));
    }

    /// Finishes running requests in the given order, then tries every further order.
    fn explore(done: &[usize], ends: &mut u32) {
        let mut pipeline = Pipeline::default();
        let mut running: Vec<Job> = Vec::new();
        let mut answers = String::new();
        for message in [put(1, 1), get(2), get(1), get(2)] {
            running.extend(pipeline.accept(message, Instant::now()));
        }
        for &choice in done {
            let Job {
                number, message, ..
            } = running.remove(choice);
            let answer = matches!(message, Message::Get { .. })
                .then(|| Bytes::from(format!("{}:{};", message.key()[0], number.0)));
            running.extend(pipeline.finish(number, answer));
            while let Some(answer) = text(pipeline.answer()) {
                answers.push_str(&answer);
            }
        }
        if running.is_empty() {
            assert!(pipeline.is_empty());
            assert_eq!(answers, "2:1;1:2;2:3;");
            *ends += 1;
        }
        for choice in 0..running.len() {
            explore(&[done, &[choice]].concat(), ends);
        }
    }

    #[test]
    fn every_order_of_completions_gives_the_same_answers() {
        let mut ends = 0;
        explore(&[], &mut ends);
        // Two keys with two requests each: as many orders as ways to merge two pairs.
        assert_eq!(ends, 6);
    }

    #[test]
    fn room_ends_at_64_requests_and_comes_back() {
        let mut pipeline = Pipeline::default();
        let mut first = None;
        for key in 0..64 {
            assert!(pipeline.has_room());
            let number = accept(&mut pipeline, get(key));
            first = first.or(number);
        }
        assert!(!pipeline.has_room());
        pipeline.finish(first.expect("it runs"), Some(Bytes::new()));
        assert!(!pipeline.has_room(), "an unwritten answer counts");
        assert!(pipeline.answer().is_some());
        assert!(pipeline.has_room());
    }

    #[test]
    fn room_ends_at_a_mebibyte_and_comes_back() {
        let mut pipeline = Pipeline::default();
        let mut numbers = Vec::new();
        while pipeline.has_room() {
            let key = u8::try_from(numbers.len()).expect("few");
            numbers.push(accept(&mut pipeline, put(key, 65_495)).expect("it runs"));
        }
        assert_eq!(numbers.len(), 17);
        for number in numbers {
            pipeline.finish(number, None);
        }
        assert!(pipeline.has_room());
        assert_eq!(pipeline.bytes, 0);
    }

    #[test]
    fn a_get_that_waited_too_long_is_answered_and_the_order_of_its_key_stays() {
        let mut pipeline = Pipeline::default();
        let early = Instant::now();
        let late = early + std::time::Duration::from_secs(1);
        let write = pipeline.accept(put(1, 1), early).expect("it runs");
        assert_eq!(pipeline.accept(get(1), early), None);
        assert_eq!(pipeline.accept(put(1, 2), late), None);
        assert_eq!(pipeline.accept(get(1), late), None);
        assert_eq!(pipeline.waiting_since(), Some(early));
        assert_eq!(
            pipeline.expire(early, |_| Bytes::from_static(b"failure")),
            1
        );
        assert_eq!(pipeline.waiting_since(), Some(late));
        assert_eq!(text(pipeline.answer()), Some("failure".into()));
        assert_eq!(pipeline.answer(), None);

        let again = pipeline
            .finish(write.number, None)
            .expect("the write is next");
        assert_eq!(again.message, put(1, 2));
        let read = pipeline
            .finish(again.number, None)
            .expect("the last get is next");
        assert_eq!(
            pipeline.expire(late, |_| Bytes::new()),
            0,
            "what runs is not waiting"
        );
        assert_eq!(pipeline.finish(read.number, Some("x".into())), None);
        assert_eq!(text(pipeline.answer()), Some("x".into()));
        assert!(pipeline.is_empty());
        assert_eq!(pipeline.bytes, 0);
    }

    #[test]
    fn a_number_finished_twice_changes_nothing() {
        let mut pipeline = Pipeline::default();
        let number = accept(&mut pipeline, put(1, 1)).expect("it runs");
        assert_eq!(pipeline.finish(number, None), None);
        assert_eq!(pipeline.finish(number, None), None);
        assert!(pipeline.is_empty());
    }
}
