//! Records on a disk.
//!
//! ```text
//! driver ── flush ─▶ queue ─▶ writer ── group ─▶ redb ── commit ─▶ answers ─▶ driver
//!                ├─▶ queue ─▶ reader ── snapshot ─▶ redb ─────────▶ answers ─▶ driver
//!                └─▶ queue ─▶ pager ─── snapshot ─▶ redb ─────────▶ answers ─▶ driver
//! ```
//!
//! Three threads: the writer gathers commands into a group and commits it (`writer`); the
//! reader and the pager answer from snapshots and never wait for a commit (`reader`), the one
//! what takes no time to speak of, the other pages and lists, each of which may read tens of
//! megabytes. They work on one [`Engine`], which has neither threads nor queues; `record` and
//! `meta` say how the bytes lie, `axis` how lifetimes survive a restart, `medium` where the
//! file is and how full the disk, `fault` what follows from an error.
//!
//! **Disk full.** From [`FILL_MAX`] of the file system on, puts are refused; tombstones,
//! discards, sweeps and reads go on. A write that finds no room at all is refused too, and
//! the file is opened again at its last commit; for what makes room some is held ready
//! ([`Medium::give_way`]).
//!
//! **Failure.** Any other error of a write or a commit is final: every command from then on
//! is answered [`StoreError::Failed`], and [`Report::Broken`] says why. No sync is repeated.
//!
//! **Rot.** A checksum that does not match, an error of redb's own checks, or a panic in it
//! means damage: the file is moved aside at once (`store.redb.damaged-<n>`, the latest is
//! kept), the store is broken, and the next start begins with an empty one. The pager
//! looks for it everywhere, not only where somebody reads (`scrub`).

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use chord_core::event::{StoreAnswer, StoreCommand, StoreError};
use chord_core::time::Now;
use tokio::sync::mpsc;

use crate::ballast::Ballast;
use crate::clock;
use crate::store::{Answered, Broken, Report, Stats, Store, Token, Work};

mod axis;
mod engine;
mod fault;
mod handle;
mod medium;
mod meta;
mod queue;
mod reader;
mod record;
mod scrub;
mod snapshot;
mod tables;
mod writer;

pub use engine::{Engine, Found, OpenError, Tuning};
pub use fault::{Fault, panics_are_caught};
pub use medium::{Backend, Folder, Medium};
pub use meta::{Owner, SCHEMA};
use queue::{Job, Queue};

/// From this share of the file system on, in 1/1,000, puts are refused.
pub const FILL_MAX: u32 = 850;

/// A read of so many keys does not wait behind pages and lists.
const SHORT: usize = 4;

/// How much the thread gives way to those that a read waits for, where processors are few: a
/// commit and a page are milliseconds of work each, a read is a hundredth of that.
const WRITER_NICE: i32 = 10;
const PAGER_NICE: i32 = 15;

/// Records on a disk; see the module.
#[derive(Debug)]
pub struct Disk {
    host: Arc<Host>,
    /// Submitted since the last flush.
    writes: VecDeque<Job>,
    reads: VecDeque<Job>,
    pages: VecDeque<Job>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share.
#[derive(Debug)]
struct Host {
    engine: Engine,
    writes: Queue,
    reads: Queue,
    pages: Queue,
    /// Why it ended, once it has.
    broken: OnceLock<Broken>,
    reports: mpsc::UnboundedSender<Report>,
    clock: fn() -> Now,
    work: Mutex<Work>,
}

/// How opening a directory went.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Opened {
    /// What the store had to tell.
    pub found: Found,
    /// The store was damaged, for this reason; it was moved aside, and this one is empty.
    pub damaged: Option<String>,
}

impl Disk {
    /// Opens the store in a directory that exists and is nobody else's, or makes one.
    ///
    /// # Errors
    /// See [`OpenError`]; a damaged store is none.
    pub fn open(
        dir: &Path,
        owner: &Owner,
        incarnation: u32,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Result<(Self, Opened), OpenError> {
        Self::open_or_begin(dir, owner, incarnation, reports, &mut || Ok(()))
    }

    /// The same; `forget` is called before an empty store is made, and there is none if it
    /// fails. What is believed of the records that were there must not outlive them, whatever
    /// happens in between.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_or_begin(
        dir: &Path,
        owner: &Owner,
        incarnation: u32,
        reports: mpsc::UnboundedSender<Report>,
        forget: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<(Self, Opened), OpenError> {
        let folder = Folder::new(dir);
        let (tuning, now) = (Tuning::default(), clock::now());
        if folder.is_empty()? {
            forget()?;
        }
        let attempt = || {
            folder.create(|backend| Engine::make(backend, owner, now, tuning))?;
            Engine::open(Arc::new(folder.clone()), owner, incarnation, now, tuning)
        };
        let ballast = Ballast::of(dir);
        let open = || {
            loop {
                match attempt() {
                    // A life that begins is a commit, too.
                    Err(OpenError::Fault(Fault::NoRoom)) if ballast.give_way(0)? => {}
                    other => return other,
                }
            }
        };
        let (engine, opened) = match open() {
            Ok((engine, found)) => (
                engine,
                Opened {
                    found,
                    damaged: None,
                },
            ),
            Err(OpenError::Fault(Fault::Damaged(why))) => {
                let aside = folder.set_aside()?;
                forget()?;
                let (engine, found) = open()?;
                let damaged = Some(format!("{why} (now {aside})"));
                (engine, Opened { found, damaged })
            }
            Err(error) => return Err(error),
        };
        Ok((Self::start(engine, clock::now, reports)?, opened))
    }

    /// Starts the threads of an open store. `clock` is read once more when it closes.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start(
        engine: Engine,
        clock: fn() -> Now,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Result<Self, Fault> {
        let host = Arc::new(Host {
            engine,
            writes: Queue::default(),
            reads: Queue::default(),
            pages: Queue::default(),
            broken: OnceLock::new(),
            reports,
            clock,
            work: Mutex::default(),
        });
        let mut disk = Self {
            host: host.clone(),
            writes: VecDeque::new(),
            reads: VecDeque::new(),
            pages: VecDeque::new(),
            threads: Vec::new(),
        };
        disk.spawn("store-writer", WRITER_NICE, writer::run)?;
        disk.spawn("store-reader", 0, reader::read)?;
        disk.spawn("store-pager", PAGER_NICE, reader::page)?;
        Ok(disk)
    }

    fn spawn(&mut self, name: &str, nice: i32, work: fn(&Host)) -> Result<(), Fault> {
        let host = self.host.clone();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let work = move || {
            give_way(nice);
            work(&host);
        };
        self.threads.push(thread.spawn(work)?);
        Ok(())
    }
}

impl Store for Disk {
    fn submit(
        &mut self,
        token: Token,
        command: StoreCommand,
        now: Now,
    ) -> Option<Result<StoreAnswer, StoreError>> {
        if self.host.broken.get().is_some() {
            return Some(Err(StoreError::Failed));
        }
        let weight = tables::weight(&command);
        let queue = if tables::writes(&command) {
            &mut self.writes
        } else if is_short(&command) {
            &mut self.reads
        } else {
            &mut self.pages
        };
        queue.push_back(Job {
            token,
            command,
            now,
            weight,
        });
        None
    }

    fn flush(&mut self) {
        let lanes = [
            (&mut self.writes, &self.host.writes),
            (&mut self.reads, &self.host.reads),
            (&mut self.pages, &self.host.pages),
        ];
        for (jobs, queue) in lanes {
            if !jobs.is_empty() {
                queue.push(jobs);
                // More than fits: nothing happened, and the disk is no faster for waiting.
                self.host.answer(jobs.drain(..), StoreError::Full);
            }
        }
    }

    fn stats(&self) -> Stats {
        self.host.engine.stats()
    }

    fn outlives(&self) -> bool {
        true
    }

    fn correct_clock(&mut self, ahead: i64) {
        self.host.engine.correct_clock(ahead);
    }

    fn vouch_for_clock(&mut self) {
        self.host.engine.vouch_for_clock();
    }

    fn work(&self) -> Work {
        *self.host.lock_work()
    }
}

/// Lets this thread give way to the others. Elsewhere than on Linux that is a matter of the
/// whole process, which is left as it is.
fn give_way(nice: i32) {
    #[cfg(target_os = "linux")]
    if nice > 0
        && let Err(error) = rustix::process::setpriority_process(None, nice)
    {
        // Slower reads while records move, and nothing worse.
        tracing::debug!(%error, "a thread of the store keeps its priority");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = nice;
}

/// Whether a read takes no time to speak of. Reads of a span that has not settled ask the
/// holders for a few records by [`StoreCommand::GetMany`], and a client waits for each.
fn is_short(command: &StoreCommand) -> bool {
    match command {
        StoreCommand::Get { .. } => true,
        StoreCommand::GetMany { keys, .. } | StoreCommand::Heads { keys } => keys.len() <= SHORT,
        _ => false,
    }
}

impl Drop for Disk {
    /// What is under way is finished; what waits is dropped, as in a crash.
    fn drop(&mut self) {
        self.host.writes.close();
        self.host.reads.close();
        self.host.pages.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // Its panics are caught where they matter.
        }
        if self.host.broken.get().is_none()
            && let Err(fault) = self.host.engine.close((self.host.clock)())
        {
            tracing::error!(?fault, "the store did not close in order");
        }
    }
}

impl Host {
    fn lock_work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers several commands with the same error.
    fn answer(&self, jobs: impl Iterator<Item = Job>, error: StoreError) {
        self.report(jobs.map(|job| Answered {
            token: job.token,
            result: Err(error),
        }));
    }

    fn report(&self, answers: impl Iterator<Item = Answered>) {
        let answers: Vec<Answered> = answers.collect();
        if !answers.is_empty() {
            // Nobody listens any more: the host has ended.
            let _ = self.reports.send(Report::Answers(answers));
        }
    }

    /// The end of the store, for the first reason given.
    fn break_down(&self, fault: Fault) {
        let broken = match fault {
            Fault::Damaged(why) => Broken::Damaged(why),
            Fault::Failed(why) => Broken::Failed(why),
            Fault::NoRoom | Fault::Latched => Broken::Failed("no room on the disk".to_owned()),
        };
        if self.broken.set(broken.clone()).is_err() {
            return;
        }
        let broken = match broken {
            Broken::Damaged(why) => Broken::Damaged(match self.engine.medium().set_aside() {
                Ok(aside) => format!("{why} (now {aside})"),
                Err(error) => format!("{why} (and it cannot be moved aside: {error})"),
            }),
            failed @ Broken::Failed(_) => failed,
        };
        let _ = self.reports.send(Report::Broken(broken));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chord_core::id::{Id, Span};
    use chord_core::message::Key;

    use super::*;

    #[test]
    fn what_a_client_waits_for_does_not_wait_for_pages() {
        let key = Key::new(Bytes::from_static(b"key")).expect("short and not empty");
        let many = |count| StoreCommand::GetMany {
            keys: vec![key.clone(); count],
            bytes_max: 1,
        };
        assert!(is_short(&StoreCommand::Get { key: key.clone() }));
        assert!(is_short(&many(SHORT)) && !is_short(&many(SHORT + 1)));
        assert!(!is_short(&StoreCommand::List {
            span: Span::whole(Id::ZERO),
            after: None,
            bytes_max: 1,
        }));
    }
}
