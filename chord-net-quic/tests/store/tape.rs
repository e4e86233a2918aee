//! A disk that writes down everything that is done to it, and fails when told to.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use chord_net_quic::store::disk::{Backend, Medium};
use redb::StorageBackend;

/// What was done to the disk.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Write { offset: u64, data: Vec<u8> },
    Length(u64),
    Sync,
}

impl Op {
    /// What it does to the bytes.
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => write(bytes, *offset, data),
            Self::Length(length) => bytes.resize(*length as usize, 0),
            Self::Sync => {}
        }
    }
}

/// Writes, also beyond the end.
pub(crate) fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (from, to) = (offset as usize, offset as usize + data.len());
    if bytes.len() < to {
        bytes.resize(to, 0);
    }
    bytes[from..to].copy_from_slice(data);
}

/// Which call fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fails {
    /// The how-manyeth call from now on, reads included.
    pub(crate) at: u64,
    pub(crate) kind: io::ErrorKind,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ops: Vec<Op>,
    /// Whether `ops` are written down.
    pub(crate) recording: bool,
    pub(crate) calls: u64,
    pub(crate) fails: Option<Fails>,
    /// A sync has failed.
    pub(crate) sync_failed: bool,
    /// In 1/1,000.
    pub(crate) fill: u32,
    /// Growth beyond this finds no room.
    pub(crate) room: Option<u64>,
    /// Blocks that were ever written: the others take none of the disk.
    blocks: BTreeSet<u64>,
    /// Blocks that can still be written for the first time, if that is limited.
    pub(crate) free: Option<usize>,
    /// Blocks held ready for what makes room.
    pub(crate) reserve: usize,
    pub(crate) set_aside: u32,
    /// Syncs do not return until this is lifted.
    pub(crate) held: bool,
    /// A sync waits for that.
    pub(crate) waiting: bool,
}

/// The disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape(Arc<(Mutex<State>, Condvar)>);

/// Bytes of a block of the disk.
const BLOCK: u64 = 4 << 10;

impl State {
    /// Takes the blocks that a write needs, or finds no room.
    fn take_blocks(&mut self, offset: u64, length: u64) -> io::Result<()> {
        let blocks = offset / BLOCK..(offset + length).div_ceil(BLOCK);
        let fresh: Vec<u64> = blocks.filter(|at| !self.blocks.contains(at)).collect();
        if let Some(free) = &mut self.free {
            let left = free.checked_sub(fresh.len());
            *free = left.ok_or(io::ErrorKind::StorageFull)?;
        }
        self.blocks.extend(fresh);
        Ok(())
    }
}

impl Tape {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let tape = Self::default();
        tape.state().bytes = bytes;
        tape
    }

    pub(crate) fn recording() -> Self {
        let tape = Self::default();
        tape.state().recording = true;
        tape
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets no sync return from now on.
    pub(crate) fn hold(&self) {
        self.state().held = true;
    }

    /// Waits until a sync waits.
    pub(crate) fn await_sync(&self) {
        let seen = self.0.1.wait_while(self.state(), |state| !state.waiting);
        drop(seen.unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets them all return.
    pub(crate) fn release(&self) {
        self.state().held = false;
        self.0.1.notify_all();
    }

    /// Operations so far.
    pub(crate) fn length(&self) -> usize {
        self.state().ops.len()
    }

    fn call(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls += 1;
        match state.fails {
            Some(Fails { at, kind }) if at == state.calls => Err(kind.into()),
            _ => Ok(state),
        }
    }
}

impl Medium for Tape {
    fn open(&self) -> io::Result<Backend> {
        Ok(Backend::new(self.clone()))
    }

    fn fill(&self) -> io::Result<u32> {
        Ok(self.state().fill)
    }

    fn give_way(&self) -> bool {
        let mut state = self.state();
        let piece = state.reserve.min(128);
        state.reserve -= piece;
        state.free = state.free.map(|free| free + piece);
        piece > 0
    }

    fn set_aside(&self) -> io::Result<String> {
        let mut state = self.state();
        state.set_aside += 1;
        Ok("elsewhere".to_owned())
    }
}

impl StorageBackend for Tape {
    fn len(&self) -> io::Result<u64> {
        Ok(self.call()?.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.call()?;
        let from = offset as usize;
        let range = state.bytes.get(from..from + out.len());
        out.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.call()?;
        if state.room.is_some_and(|room| len > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.bytes.resize(len as usize, 0);
        if state.recording {
            state.ops.push(Op::Length(len));
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.call() {
            Ok(mut state) => {
                while state.held {
                    state.waiting = true;
                    self.0.1.notify_all();
                    state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.recording {
                    state.ops.push(Op::Sync);
                }
                Ok(())
            }
            Err(error) => {
                self.state().sync_failed = true;
                Err(error)
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.call()?;
        state.take_blocks(offset, data.len() as u64)?;
        write(&mut state.bytes, offset, data);
        if state.recording {
            let data = data.to_vec();
            state.ops.push(Op::Write { offset, data });
        }
        Ok(())
    }
}
