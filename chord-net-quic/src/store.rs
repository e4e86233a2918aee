//! Where records are kept.
//!
//! The core never touches a disk: it emits [`StoreCommand`]s and gets [`StoreAnswer`]s as
//! events. The enum is the interface; a store is whatever carries it out. One store serves
//! all positions of a host.
//!
//! ```text
//! driver ── submit(token, command) ──▶ store      answered at once, or later
//! driver ── flush ───────────────────▶ store      what was submitted since goes off together
//! driver ◀─ Report::Answers ────────── store      later: several at a time, and a wake
//! ```
//!
//! **Contract:** a command sees everything that was *answered* before it was submitted, and
//! nothing more is promised: two commands under way at the same time may be carried out in
//! either order, even if both name one key.
//! **Contract:** an answer leaves a store only when what it says is as durable as the store
//! can make it.
//! **Contract:** every command is answered once, unless the store is dropped before.

use std::fmt;

use chord_core::event::{OpId, StoreAnswer, StoreCommand, StoreError};
use chord_core::time::{Micros, Now};

pub mod disk;
pub mod memory;

/// Carries out store commands.
pub trait Store: fmt::Debug + Send {
    /// Takes a command; never waits for a disk. `now` is the host's clock at that moment.
    ///
    /// `Some`: the answer. `None`: it comes as a [`Report`] on the channel that the store was
    /// opened with. A store that has too much to do answers [`StoreError`] at once, and
    /// nothing changed.
    fn submit(
        &mut self,
        token: Token,
        command: StoreCommand,
        now: Now,
    ) -> Option<Result<StoreAnswer, StoreError>>;

    /// Nothing more will be submitted for the moment: what was is to be carried out.
    fn flush(&mut self);

    /// How much is stored.
    fn stats(&self) -> Stats;

    /// Whether what it holds is there after a restart of the process.
    fn outlives(&self) -> bool;

    /// The wall clock was so many microseconds ahead of the truth when the store was opened: what
    /// was stored before lives by the corrected one. If it was behind, or anything has been
    /// stored since, nothing changes: the word of others may give time back and never take it.
    fn correct_clock(&mut self, ahead: i64) {
        let _ = ahead; // Where nothing outlives a process, nothing depends on it.
    }

    /// The node is a member: whoever could contradict the wall clock has been asked.
    fn vouch_for_clock(&mut self) {}

    /// What it has done since it was opened; nothing where there is no disk.
    fn work(&self) -> Work {
        Work::default()
    }
}

/// Who waits for an answer. Stores only carry it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token {
    /// Index of the host's ring position.
    pub position: u16,
    /// Its operation.
    pub op: OpId,
}

/// What a store says later, or unasked.
#[derive(Debug)]
pub enum Report {
    /// Answers to earlier commands, in any order.
    Answers(Vec<Answered>),
    /// Puts are refused ([`StoreError::Full`]) from now on, or taken again.
    Room(Room),
    /// The end: every command from now on is answered [`StoreError::Failed`].
    Broken(Broken),
}

/// One answer that came later.
#[derive(Debug)]
pub struct Answered {
    /// From [`Store::submit`].
    pub token: Token,
    /// What came of it.
    pub result: Result<StoreAnswer, StoreError>,
}

/// Whether there is room for more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Puts are taken.
    Enough,
    /// The file system is nearly full.
    Nearly,
    /// A write found no room at all.
    None,
}

/// Why a store ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Broken {
    /// The disk failed: a read, a write or a sync. What was acknowledged may still be there.
    Failed(String),
    /// What the disk holds is damaged and was moved aside: the next start begins empty.
    Damaged(String),
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Groups of commands committed.
    pub groups: u64,
    /// Commands in them.
    pub commands: u64,
    /// From the first command of a group to the end of its commit, added up.
    pub time: Micros,
    /// Puts refused for want of room.
    pub refused: u64,
    /// Records that expired: tombstones since.
    pub expired: u64,
    /// Tombstones that went.
    pub buried: u64,
    /// Times that every record was verified while nobody asked.
    pub verified: u64,
}

/// How much a store holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Records that are no tombstones; expired ones count until they are swept.
    pub records: u64,
    /// Tombstones: deleted or expired records kept so that nothing older comes back.
    pub tombstones: u64,
    /// Bytes of all keys and values.
    pub bytes: u64,
}
