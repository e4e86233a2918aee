//! Stores, records and clocks for the tests.

use std::sync::Arc;

use bytes::Bytes;
use chord_core::event::{OpId, StoreAnswer, StoreCommand, StoreError};
use chord_core::id::{Id, Span};
use chord_core::message::{Head, Header, Key, OperationId, Record, Version};
use chord_core::time::{Instant, Now};
use chord_net_quic::store::disk::{
    Disk, Engine, Found, Medium, OpenError, Owner, Tuning, panics_are_caught,
};
use chord_net_quic::store::memory::Memory;
use chord_net_quic::store::{Broken, Report, Room, Store, Token};
use tokio::sync::mpsc;

/// The wall clock when the monotonic one was zero.
pub(crate) const WALL: u64 = 1_700_000_000_000_000;

/// Both clocks, `mono` after the beginning, none of them ever stepping.
pub(crate) fn at(mono: u64) -> Now {
    Now {
        mono: Instant(mono),
        wall: WALL + mono,
    }
}

/// When stores are opened and closed. Never before anything else, so that the wall clock
/// does not lie before what a store has seen.
pub(crate) fn late() -> Now {
    at(1_000_000_000)
}

pub(crate) fn owner() -> Owner {
    Owner {
        cluster: "test".to_owned(),
        id: Id::hash(b"me"),
    }
}

/// Little memory: reads shall reach the disk.
pub(crate) fn tuning() -> Tuning {
    Tuning {
        cache_bytes: 64 << 10,
        check_below: 256 << 20,
    }
}

/// Panics that are caught say nothing: some tests cause thousands.
pub(crate) fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !panics_are_caught() {
                report(info);
            }
        }));
    });
}

pub(crate) fn open(medium: impl Medium + 'static) -> Result<(Engine, Found), OpenError> {
    Engine::open(Arc::new(medium), &owner(), 1, late(), tuning())
}

pub(crate) fn key(n: u64) -> Key {
    Key::new(Bytes::from(format!("key {n}"))).expect("short and not empty")
}

/// A record that lives until `expires`; a tombstone without a value.
pub(crate) fn record(n: u64, version: u64, value: Option<&[u8]>, expires: u64) -> Record {
    Record {
        key: key(n),
        value: Bytes::copy_from_slice(value.unwrap_or_default()),
        header: Header {
            version: Version {
                time: version,
                writer: Id::hash(b"writer"),
            },
            operation: OperationId {
                gateway: Id::hash(b"gateway"),
                incarnation: 3,
                counter: version,
            },
            copies: 3,
            tombstone: value.is_none(),
            expires: Instant(expires),
            shadow: Instant(expires),
        },
    }
}

pub(crate) fn put(records: Vec<Record>) -> StoreCommand {
    StoreCommand::Put { records }
}

pub(crate) fn discard(n: u64, version: u64) -> StoreCommand {
    let version = Version {
        time: version,
        writer: Id::hash(b"writer"),
    };
    let heads = vec![Head {
        key: key(n),
        version,
        copies: 3,
    }];
    StoreCommand::Discard { heads }
}

pub(crate) fn sweep(now: u64, bury: u64, limit: u32) -> StoreCommand {
    StoreCommand::Sweep {
        now: Instant(now),
        bury: Instant(bury),
        limit,
    }
}

pub(crate) fn get(n: u64) -> StoreCommand {
    StoreCommand::Get { key: key(n) }
}

/// Everything, in one page.
pub(crate) fn everything() -> StoreCommand {
    StoreCommand::Scan {
        span: Span::whole(Id::MAX),
        after: None,
        bytes_max: u32::MAX,
    }
}

/// The records of a page.
pub(crate) fn page(answer: Option<StoreAnswer>) -> Vec<Record> {
    match answer {
        Some(StoreAnswer::Page { records, .. }) => records,
        other => panic!("no page: {other:?}"),
    }
}

/// What a store in memory answers.
pub(crate) fn by_memory(memory: &mut Memory, command: StoreCommand) -> StoreAnswer {
    let token = Token {
        position: 0,
        op: OpId(0),
    };
    let answer = memory.submit(token, command, at(0)).expect("at once");
    answer.expect("memory never fails")
}

/// A store with its threads, driven as a driver would.
pub(crate) struct Driven {
    pub(crate) disk: Disk,
    reports: mpsc::UnboundedReceiver<Report>,
    /// By number of the command.
    answers: Vec<Option<Result<StoreAnswer, StoreError>>>,
    pub(crate) rooms: Vec<Room>,
    pub(crate) broken: Option<Broken>,
}

impl Driven {
    pub(crate) fn new(engine: Engine) -> Self {
        let (reporting, reports) = mpsc::unbounded_channel();
        let disk = Disk::start(engine, late, reporting).expect("threads");
        Self::over(disk, reports)
    }

    pub(crate) fn over(disk: Disk, reports: mpsc::UnboundedReceiver<Report>) -> Self {
        Self {
            disk,
            reports,
            answers: Vec::new(),
            rooms: Vec::new(),
            broken: None,
        }
    }

    /// Submits all at once; returns the number of the first.
    pub(crate) fn submit(&mut self, commands: Vec<StoreCommand>, now: Now) -> usize {
        let first = self.answers.len();
        for command in commands {
            let token = Token {
                position: 7,
                op: OpId(self.answers.len() as u64),
            };
            let answer = self.disk.submit(token, command, now);
            self.answers.push(answer);
        }
        self.disk.flush();
        first
    }

    /// The answer to a command, if it has come.
    pub(crate) fn answered(&self, number: usize) -> Option<&Result<StoreAnswer, StoreError>> {
        self.answers[number].as_ref()
    }

    /// Waits for the answer to a command.
    pub(crate) fn wait(&mut self, number: usize) -> Result<StoreAnswer, StoreError> {
        loop {
            if let Some(answer) = &self.answers[number] {
                return answer.clone();
            }
            self.hear();
        }
    }

    /// Waits for the first report of refusals, and says how many there are.
    pub(crate) fn await_refusals(&mut self) -> usize {
        loop {
            let full = |answer: &&Option<_>| **answer == Some(Err(StoreError::Full));
            let count = self.answers.iter().filter(full).count();
            if count > 0 {
                return count;
            }
            self.hear();
        }
    }

    /// Waits until the store breaks down.
    pub(crate) fn wait_for_the_end(&mut self) {
        while self.broken.is_none() {
            self.hear();
        }
    }

    fn hear(&mut self) {
        match self.reports.blocking_recv().expect("the store is held") {
            Report::Answers(some) => {
                for answered in some {
                    assert_eq!(answered.token.position, 7);
                    let slot = &mut self.answers[answered.token.op.0 as usize];
                    assert!(slot.is_none(), "answered twice");
                    *slot = Some(answered.result);
                }
            }
            Report::Room(room) => self.rooms.push(room),
            Report::Broken(broken) => self.broken = Some(broken),
        }
    }

    /// Submits all at once and waits for every answer, in the order of the commands.
    pub(crate) fn run(
        &mut self,
        commands: Vec<StoreCommand>,
        now: Now,
    ) -> Vec<Result<StoreAnswer, StoreError>> {
        let first = self.submit(commands, now);
        (first..self.answers.len())
            .map(|number| self.wait(number))
            .collect()
    }

    pub(crate) fn one(&mut self, command: StoreCommand) -> Result<StoreAnswer, StoreError> {
        self.run(vec![command], at(0)).remove(0)
    }
}

/// Chance, the same each time (Steele et al., *Fast splittable pseudorandom number
/// generators*, OOPSLA 2014).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
