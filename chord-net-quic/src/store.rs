//! Where records are kept.
//!
//! The core never touches a disk: it emits [`StoreCommand`]s and gets [`StoreAnswer`]s as
//! events. The enum is the interface; a store is whatever carries it out. One store serves
//! all positions of a host.
//!
//! **Invariant:** an answer leaves a store only when what it says is as durable as the store
//! can make it.

use std::fmt;

use chord_core::event::{StoreAnswer, StoreCommand, StoreError};
use chord_core::time::Now;

pub mod memory;

/// Carries out store commands, one after the other.
pub trait Store: fmt::Debug + Send {
    /// Carries out one command. `now` is the host's clock at that moment.
    ///
    /// # Errors
    /// [`StoreError`]; nothing changed.
    fn execute(&mut self, command: StoreCommand, now: Now) -> Result<StoreAnswer, StoreError>;

    /// How much is stored.
    fn stats(&self) -> Stats;
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
