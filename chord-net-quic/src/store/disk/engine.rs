//! One redb file: opened for one life of the host, written in groups, read in snapshots.
//!
//! ```text
//! open     who wrote it, whose is it, did it stop in order; then: this life, durable
//! write    begin ─▶ command, command, … ─▶ commit ─▶ answers
//! read     a snapshot ─▶ answers
//! close    it stopped in order, durable
//! ```
//!
//! Commits are durable, in two phases, with quick repair (the allocator's state is saved with
//! each): the slot that the file names as current is always whole, so that a crash costs no
//! walk through the file, and one sector written half cannot make it fall back to the state
//! before.
//!
//! **Invariant:** [`Engine::write`] returns answers only after the commit has returned.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chord_core::event::{StoreAnswer, StoreCommand};
use chord_core::time::{Micros, Now};
use redb::{DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, TableError};

use crate::store::Stats;
use crate::store::disk::axis::{Axis, Pulse};
use crate::store::disk::fault::{Fault, caught};
use crate::store::disk::handle::Handle;
use crate::store::disk::medium::{Backend, Medium};
use crate::store::disk::meta::{self, Owner, SCHEMA, State};
use crate::store::disk::scrub;
use crate::store::disk::snapshot::Snapshot;
use crate::store::disk::tables::{META, Tables};

/// Without a change, the pulse is renewed when it is this old.
const PULSE_MAX: u64 = 60_000_000;

/// How a store is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuning {
    /// Bytes of memory for pages.
    pub cache_bytes: usize,
    /// After a stop that was not in order, files below this many bytes are verified as a
    /// whole before anything is read from them.
    pub check_below: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            check_below: 256 << 20,
        }
    }
}

/// What an opened store has to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// The life that begins, later than all that opened this store.
    pub incarnation: u32,
    /// No version stored is above this.
    pub clock: u64,
    /// No life has opened it before: it holds nothing.
    pub is_new: bool,
    /// The last life did not end in order.
    pub crashed: bool,
    /// The wall clock lies this far before the last commit: nobody knows how long the host
    /// was away, and lifetimes go on where they were.
    pub clock_behind: Micros,
}

/// Why a store does not open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// A newer version wrote it.
    Newer {
        /// Its schema.
        schema: u32,
        /// The version.
        writer: String,
    },
    /// It belongs to somebody else.
    Foreign(Owner),
    /// Another process has it open.
    InUse,
    /// The disk.
    Fault(Fault),
}

impl<E: Into<Fault>> From<E> for OpenError {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

/// A store that is open. Writes are the business of one thread.
#[derive(Debug)]
pub struct Engine {
    medium: Arc<dyn Medium>,
    tuning: Tuning,
    /// Empty while it is opened again for lack of room.
    database: RwLock<Option<Handle>>,
    axis: Mutex<Axis>,
    /// What the last life left, and when this one began: where the axis goes on.
    resumed: (Option<Pulse>, Now),
    /// Something was stored in this life, or the node is a member, so the clocks of others have
    /// been asked: from now on commits note where the two clocks stand.
    vouched: AtomicBool,
    state: Mutex<State>,
    /// Held by whoever writes: who waits for it waits until the file is whole again.
    turn: Mutex<()>,
}

impl Engine {
    /// Opens what a medium holds, or makes a store of an empty one, and begins a life that
    /// is at least `incarnation`.
    ///
    /// # Errors
    /// See [`OpenError`]; the medium is as it was, or as a crash would leave it.
    pub fn open(
        medium: Arc<dyn Medium>,
        owner: &Owner,
        incarnation: u32,
        now: Now,
        tuning: Tuning,
    ) -> Result<(Self, Found), OpenError> {
        let backend = medium.open().map_err(Fault::from)?;
        let bytes = backend.len().map_err(Fault::from)?;
        let mut database = database(backend, tuning)?;
        let old = caught(|| Ok(Old::read(&database)))??;
        if let Some(found) = &old
            && found.owner != *owner
        {
            return Err(OpenError::Foreign(found.owner.clone()));
        }
        let crashed = old.as_ref().is_some_and(|old| !old.stopped);
        if crashed && bytes < tuning.check_below {
            check(&mut database)?;
        }
        let last = old.as_ref().map(|old| old.state);
        let (axis, behind) = Axis::resume(last.map(|state| state.pulse), now);
        let incarnation = old.as_ref().map_or(incarnation, |old| {
            incarnation.max(old.incarnation.saturating_add(1))
        });
        let pulse = last.map(|state| state.pulse);
        let state = State {
            // A clock that turns out to be years ahead must not be noted before.
            pulse: pulse.unwrap_or(axis.pulse(now)),
            clock: last.map_or(0, |state| state.clock),
            commits: last.map_or(0, |state| state.commits),
            stats: last.map_or_else(Stats::default, |state| state.stats),
        };
        caught(|| begin_life(&database, owner, incarnation, axis, state, false))?;
        let engine = Self {
            medium,
            tuning,
            database: RwLock::new(Some(database)),
            axis: Mutex::new(axis),
            resumed: (pulse, now),
            vouched: AtomicBool::new(pulse.is_none()),
            state: Mutex::new(state),
            turn: Mutex::new(()),
        };
        let found = Found {
            incarnation,
            clock: state.clock,
            is_new: old.as_ref().is_none_or(|old| old.incarnation == 0),
            crashed,
            clock_behind: Micros(behind),
        };
        Ok((engine, found))
    }

    /// Makes an empty store that no life has opened yet.
    ///
    /// # Errors
    /// The disk failed; what it holds is no store.
    pub(super) fn make(
        backend: Backend,
        owner: &Owner,
        now: Now,
        tuning: Tuning,
    ) -> Result<(), OpenError> {
        let database = database(backend, tuning)?;
        let (axis, _) = Axis::resume(None, now);
        let state = State {
            pulse: axis.pulse(now),
            clock: 0,
            commits: 0,
            stats: Stats::default(),
        };
        caught(|| begin_life(&database, owner, 0, axis, state, true))?;
        Ok(database.close()?)
    }

    /// Writes a group: commands as long as `next` has some, then a commit, then the answers
    /// in the same order; to commands that only read there is none.
    ///
    /// # Errors
    /// Nothing of the group is acknowledged. After [`Fault::NoRoom`] nothing of it is there
    /// either, and the store goes on; after anything else it may be there or not.
    pub fn write(
        &self,
        now: Now,
        next: &mut dyn FnMut() -> Option<StoreCommand>,
    ) -> Result<Vec<Option<StoreAnswer>>, Fault> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut group = Prepared::default();
        let result = caught(|| {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            self.group(
                database.as_ref().ok_or(Fault::NoRoom)?,
                now,
                next,
                &mut group,
            )
        });
        match result {
            Ok(()) => {}
            Err(Fault::NoRoom | Fault::Latched) => self.open_again(group.state)?,
            Err(fault) => return Err(fault),
        }
        if let Some(state) = group.state {
            *self.lock_state() = state;
        }
        Ok(group.answers)
    }

    fn group(
        &self,
        database: &Handle,
        now: Now,
        next: &mut dyn FnMut() -> Option<StoreCommand>,
        prepared: &mut Prepared,
    ) -> Result<(), Fault> {
        let old = *self.lock_state();
        let txn = database.begin()?;
        let axis = self.axis();
        let mut tables = Tables::open(&txn, axis, old)?;
        while let Some(command) = next() {
            prepared.answers.push(tables.apply(&command)?);
        }
        if tables.changed {
            self.vouch_for_clock();
        }
        let vouched = self.vouched.load(Ordering::Relaxed);
        let pulse = if vouched { axis.pulse(now) } else { old.pulse };
        let stale = pulse.axis.saturating_sub(old.pulse.axis) >= PULSE_MAX;
        if !tables.changed && !stale && !old.pulse.has_stepped(pulse) {
            // What was read is what the last commit left.
            drop(tables);
            return Ok(txn.abort()?);
        }
        let new = State {
            pulse,
            clock: tables.clock,
            commits: old.commits.saturating_add(1),
            stats: tables.stats,
        };
        tables.state(new)?;
        drop(tables);
        prepared.state = Some(new);
        Ok(txn.commit()?)
    }

    /// A failed write latches: only a new handle goes on. It finds the last commit, or, if
    /// the failure came late enough, the group that was being committed.
    fn open_again(&self, group: Option<State>) -> Result<(), Fault> {
        let mut slot = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        drop(slot.take());
        let opened = match self.medium.open() {
            Ok(backend) => Handle::open(backend, self.tuning.cache_bytes)
                .and_then(|opened| opened.map_err(Fault::from)),
            Err(error) => Err(error.into()),
        };
        let database = match opened {
            Ok(fresh) => slot.insert(fresh),
            // Tried again with the next group.
            Err(Fault::NoRoom) if group.is_none() => return Err(Fault::NoRoom),
            Err(Fault::NoRoom) => {
                return Err(Fault::Failed(
                    "no room, and nobody knows what was written".to_owned(),
                ));
            }
            Err(fault) => return Err(fault),
        };
        caught(|| {
            let found = state_of(database)?;
            match group {
                // Another commit makes sure that this one stays.
                Some(group) if found.commits == group.commits => {
                    let txn = database.begin()?;
                    let mut tables = Tables::open(&txn, self.axis(), group)?;
                    tables.state(group)?;
                    drop(tables);
                    Ok(txn.commit()?)
                }
                Some(_) | None => Err(Fault::NoRoom),
            }
        })
    }

    /// Answers several commands that only read, from one snapshot; to others there is no
    /// answer.
    ///
    /// # Errors
    /// The disk failed or is damaged.
    pub fn read(&self, commands: &[StoreCommand]) -> Result<Vec<Option<StoreAnswer>>, Fault> {
        let attempt = || {
            caught(|| {
                let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
                let txn = database.as_ref().ok_or(Fault::NoRoom)?.begin_read()?;
                let snapshot = Snapshot::of(&txn, self.axis())?;
                commands
                    .iter()
                    .map(|command| snapshot.answer(command))
                    .collect()
            })
        };
        match attempt() {
            Err(Fault::Latched) => {
                // A write found no room just now: the writer opens the file again.
                drop(self.turn.lock().unwrap_or_else(PoisonError::into_inner));
                attempt()
            }
            other => other,
        }
    }

    /// Verifies a piece of what is stored, from a leaf of the ring on; returns the leaf that
    /// comes next, or nothing at the end.
    ///
    /// # Errors
    /// The disk failed or is damaged.
    pub fn verify(&self, from: u16) -> Result<Option<u16>, Fault> {
        caught(|| {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let txn = database.as_ref().ok_or(Fault::NoRoom)?.begin_read()?;
            scrub::verify(&txn, self.axis(), from)
        })
    }

    /// The wall clock was so many microseconds ahead of the truth when this life began: the time
    /// since the last one is counted anew. Time is only ever given back, and no more once
    /// anything was stored in this life.
    pub fn correct_clock(&self, ahead: i64) {
        let (Some(last), began) = self.resumed else {
            return;
        };
        if self.vouched.load(Ordering::Relaxed) {
            return;
        }
        *self.axis.lock().unwrap_or_else(PoisonError::into_inner) = match u64::try_from(ahead) {
            Ok(ahead) if ahead > 0 => Axis::corrected(last, began, ahead),
            _ => Axis::resume(Some(last), began).0,
        };
    }

    /// The clocks of others have been asked, if there are any: see [`Engine::correct_clock`].
    pub fn vouch_for_clock(&self) {
        self.vouched.store(true, Ordering::Relaxed);
    }

    fn axis(&self) -> Axis {
        *self.axis.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much is stored, as of the last commit.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lock_state().stats
    }

    /// What it is kept on.
    #[must_use]
    pub fn medium(&self) -> &dyn Medium {
        &*self.medium
    }

    /// Ends the life in order: the next start need not verify anything.
    ///
    /// # Errors
    /// The last commit failed; what was acknowledged before is there all the same.
    pub fn close(&self, now: Now) -> Result<(), Fault> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(database) = slot.take() else {
            return Ok(());
        };
        let (state, axis) = (*self.lock_state(), self.axis());
        let vouched = self.vouched.load(Ordering::Relaxed);
        caught(|| {
            let txn = database.begin()?;
            let mut tables = Tables::open(&txn, axis, state)?;
            tables.state(State {
                pulse: if vouched {
                    axis.pulse(now)
                } else {
                    state.pulse
                },
                ..state
            })?;
            meta::write(&mut tables.meta, "stopped", &[])?;
            drop(tables);
            Ok(txn.commit()?)
        })?;
        database.close()
    }

    fn lock_state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group on its way.
#[derive(Default)]
struct Prepared {
    answers: Vec<Option<StoreAnswer>>,
    /// What its commit leaves, once it is tried.
    state: Option<State>,
}

/// What the last life left.
struct Old {
    owner: Owner,
    incarnation: u32,
    state: State,
    stopped: bool,
}

impl Old {
    fn read(database: &Handle) -> Result<Option<Self>, OpenError> {
        let txn = database.begin_read()?;
        let table = match txn.open_table(META) {
            Ok(table) => table,
            // Nothing was ever committed.
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let lacks = |what| Fault::Damaged(format!("the store does not say its {what}"));
        let schema = meta::number(&table, "schema")?.ok_or_else(|| lacks("schema"))?;
        if schema > SCHEMA {
            let writer = meta::text(&table, "writer")?;
            return Err(OpenError::Newer { schema, writer });
        }
        let id = meta::read(&table, "id")?.unwrap_or_default();
        let id = <[u8; 20]>::try_from(id.as_slice()).map_err(|_| lacks("id"))?;
        Ok(Some(Self {
            owner: Owner {
                cluster: meta::text(&table, "cluster")?,
                id: chord_core::id::Id(id),
            },
            incarnation: meta::number(&table, "incarnation")?.unwrap_or(0),
            state: state_in(&table)?,
            stopped: meta::read(&table, "stopped")?.is_some(),
        }))
    }
}

fn state_of(database: &Handle) -> Result<State, Fault> {
    let txn = database.begin_read()?;
    state_in(&txn.open_table(META)?)
}

fn state_in(table: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<State, Fault> {
    let row = meta::read(table, "state")?;
    let row = row.ok_or_else(|| Fault::Damaged("the store does not say its state".to_owned()))?;
    Ok(State::decode(&row)?)
}

fn database(backend: Backend, tuning: Tuning) -> Result<Handle, OpenError> {
    match Handle::open(backend, tuning.cache_bytes)? {
        Ok(database) => Ok(database),
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(OpenError::InUse),
        Err(DatabaseError::UpgradeRequired(format)) => Err(OpenError::Newer {
            schema: format.into(),
            writer: "another version of redb".to_owned(),
        }),
        Err(error) => Err(error.into()),
    }
}

/// After a stop that was not in order: is every page what it should be?
fn check(database: &mut Handle) -> Result<(), Fault> {
    caught(|| {
        if database.check_integrity()? {
            return Ok(());
        }
        // Falling back to an older commit would be a repair, and lose what was acknowledged.
        Err(Fault::Damaged(
            "its pages are not what they were".to_owned(),
        ))
    })
}

fn begin_life(
    database: &Handle,
    owner: &Owner,
    incarnation: u32,
    axis: Axis,
    state: State,
    stopped: bool,
) -> Result<(), Fault> {
    let txn = database.begin()?;
    let mut tables = Tables::open(&txn, axis, state)?;
    let rows: [(&str, &[u8]); 5] = [
        ("schema", &SCHEMA.to_be_bytes()),
        ("writer", env!("CARGO_PKG_VERSION").as_bytes()),
        ("cluster", owner.cluster.as_bytes()),
        ("id", &owner.id.0),
        ("incarnation", &incarnation.to_be_bytes()),
    ];
    for (name, bytes) in rows {
        meta::write(&mut tables.meta, name, bytes)?;
    }
    tables.state(state)?;
    if stopped {
        meta::write(&mut tables.meta, "stopped", &[])?;
    } else {
        tables.meta.remove("stopped")?;
    }
    drop(tables);
    Ok(txn.commit()?)
}
