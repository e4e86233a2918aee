//! What a host remembers without its store: the data directory.
//!
//! ```text
//! lock        held while the process lives: two processes on one directory are refused
//! node.json   who we are, in which life, whom we knew; replaced whole, never edited
//! ballast     room for starts and deletions on a full disk
//! reset.key   lets a restarted host tell its peers at once that it forgot them
//! ```
//!
//! **Invariant:** the incarnation on disk is at least that of the running process before any
//! peer hears of it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use chord_core::event::Restored;
use chord_core::id::{Id, Span};
use chord_core::message::Mark;
use chord_core::peer::{Addr, Peer};
use chord_core::time::Micros;
use serde::{Deserialize, Serialize};

use crate::api::{Duplicate, StartError};
use crate::ballast::{self, Ballast, FOR_STARTS};
use crate::clock;
use crate::store::disk::Folder;

mod faults;

pub(crate) use faults::unusable;

/// The newest layout of `node.json` that this version knows.
const SCHEMA: u32 = 1;
/// Largest `node.json` that is read.
const FILE_MAX: u64 = 1 << 20;
/// With so many bytes free, there is room for the ballast too.
const ROOM: u64 = 16 << 20;
/// Wait before a life that others refuse gives way to the next; four times as long each time.
const PATIENCE_MIN: Micros = Micros::from_secs(1);
/// Longest such wait: a node that is refused, and so alone, must not wait until it has
/// forgotten the others (`forget`, 10 min) and takes itself for the ring.
const PATIENCE_MAX: Micros = Micros::from_secs(300);
/// After this many seconds without another process with our certificate the waits are short
/// again.
const UNDISTURBED: u64 = 3_600;
/// For so many seconds such a process is told of.
const TOLD: u64 = 24 * 3_600;

/// The data directory of a running host.
#[derive(Debug)]
pub(crate) struct State {
    dir: PathBuf,
    /// Unlocked when dropped, or when the process ends in whatever way.
    _lock: File,
    /// No earlier life is remembered.
    is_first: bool,
    written: Mutex<Remembered>,
}

/// `node.json`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
struct Remembered {
    schema: u32,
    /// The version that wrote it, for people.
    writer: String,
    cluster: String,
    id: String,
    incarnation: u32,
    /// The version clock.
    clock: u64,
    peers: Vec<Known>,
    /// Ids of those of them that were away.
    #[serde(default)]
    absent: Vec<String>,
    /// What the stored records are worth, for each position of the host.
    #[serde(default)]
    marks: Vec<Vec<Marked>>,
    /// Another process with our certificate, if ever there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outdone: Option<Outdone>,
}

/// What is remembered of another process with our certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Outdone {
    /// Its latest life, as far as known.
    incarnation: u32,
    /// How often we began a life because of it, without an hour of peace between.
    times: u32,
    /// When the last time was, in seconds since 1970.
    seen: u64,
}

/// A mark and its span.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Marked {
    after: String,
    upto: String,
    epoch: u64,
    rank: u8,
}

/// What is remembered of each position, its own marks in each: the rest is the host's.
pub(crate) type Positions = Vec<Restored>;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Known {
    id: String,
    addr: SocketAddr,
    incarnation: u32,
}

/// What every schema begins with.
#[derive(Deserialize)]
struct Preamble {
    schema: u32,
    #[serde(default)]
    writer: String,
}

impl State {
    /// Opens a data directory, making it if need be, and begins a new life of the node.
    /// Returns its incarnation and what it remembers.
    ///
    /// # Errors
    /// The directory is in use, foreign, newer, or cannot be read or written.
    pub(crate) fn open(
        dir: &Path,
        cluster: &str,
        id: Id,
    ) -> Result<(Self, u32, Positions), StartError> {
        fs::create_dir_all(dir).map_err(at(dir, dir))?;
        let lock = lock(dir)?;
        let path = dir.join("node.json");
        let old = read(dir, &path)?;
        if let Some(old) = &old {
            let (found, expected) = (
                format!("{} of {}", old.id, old.cluster),
                format!("{id} of {cluster}"),
            );
            if found != expected {
                return Err(StartError::Foreign {
                    path,
                    found,
                    expected,
                });
            }
        }
        let incarnation = next_incarnation(old.as_ref().map_or(0, |old| old.incarnation));
        let is_first = old.is_none();
        let remembered = Remembered {
            schema: SCHEMA,
            writer: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: cluster.to_owned(),
            id: id.to_string(),
            incarnation,
            ..old.unwrap_or_default()
        };
        let restored = remembered.restored();
        let state = Self {
            dir: dir.to_owned(),
            _lock: lock,
            is_first,
            written: Mutex::new(remembered),
        };
        state
            .write(&*state.written().map_err(at(dir, &path))?, 0)
            .map_err(at(dir, &path))?;
        Ok((state, incarnation, restored))
    }

    /// Holds room ready for starts and deletions, as far as there is some.
    ///
    /// # Errors
    /// The data directory cannot be written.
    pub(crate) fn take_ballast(&self) -> io::Result<()> {
        Ballast::of(&self.dir).complete()
    }

    /// Takes what a full disk did not give, or was given since, once there is room again.
    ///
    /// # Errors
    /// The data directory cannot be read or written.
    pub(crate) fn complete_ballast(&self) -> io::Result<()> {
        if Folder::new(&self.dir).free()? >= ROOM {
            self.take_ballast()?;
        }
        Ok(())
    }

    /// Whether no earlier life is remembered.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Remembers what the nodes of the host know. Writes only if that changed.
    ///
    /// # Errors
    /// The file could not be written; the old one is still whole.
    pub(crate) fn remember(&self, nodes: &[Restored]) -> io::Result<()> {
        self.change(|remembered| remembered.take_over(nodes))
    }

    /// Forgets what the stored records are worth: they are gone.
    ///
    /// # Errors
    /// The file could not be written; nothing is forgotten then.
    pub(crate) fn forget_marks(&self) -> io::Result<()> {
        self.change(|remembered| remembered.marks.clear())
    }

    /// Makes the next life one above `other`, which another process leads or led.
    ///
    /// # Errors
    /// The file could not be written; the old one is still whole.
    pub(crate) fn outdo(&self, other: u32) -> io::Result<()> {
        let now = seconds();
        self.change(|remembered| {
            let times = remembered.times_outdone(now).saturating_add(1);
            let known = remembered.outdone.map_or(0, |outdone| outdone.incarnation);
            remembered.incarnation = remembered.incarnation.max(other);
            remembered.outdone = Some(Outdone {
                incarnation: known.max(other),
                times,
                seen: now,
            });
        })
    }

    /// How long a life that others refuse waits before it gives way to the next.
    pub(crate) fn patience(&self) -> Micros {
        let times = self
            .written()
            .map_or(0, |known| known.times_outdone(seconds()));
        PATIENCE_MIN
            .times(4_u64.saturating_pow(times.min(16)))
            .min(PATIENCE_MAX)
    }

    /// Another process with our certificate, if there was one lately.
    pub(crate) fn duplicate(&self) -> Option<Duplicate> {
        let outdone = self.written().ok()?.outdone?;
        (seconds().saturating_sub(outdone.seen) < TOLD).then(|| Duplicate {
            refused: false,
            incarnation: outdone.incarnation,
            times: outdone.times,
            seen: clock::since_epoch(outdone.seen),
        })
    }

    fn written(&self) -> io::Result<MutexGuard<'_, Remembered>> {
        let written = self.written.lock();
        written.map_err(|_| io::Error::other("poisoned"))
    }

    /// Writes a change down, if it is one.
    fn change(&self, change: impl FnOnce(&mut Remembered)) -> io::Result<()> {
        let mut written = self.written()?;
        let mut now = written.clone();
        change(&mut now);
        if *written != now {
            // What fails is a change still, and tried again with the next.
            self.write(&now, FOR_STARTS)?;
            *written = now;
        }
        Ok(())
    }

    /// On a full disk with what is held ready, but for so many bytes.
    fn write(&self, remembered: &Remembered, keep: u64) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(remembered)?;
        text.push(b'\n');
        loop {
            match replace(&self.dir, "node.json", &text) {
                Err(error)
                    if ballast::is_full(&error) && Ballast::of(&self.dir).give_way(keep)? => {}
                other => return other,
            }
        }
    }
}

impl Remembered {
    /// How often we have lately outdone another process with our certificate.
    fn times_outdone(&self, now: u64) -> u32 {
        let lately = |outdone: &Outdone| now.saturating_sub(outdone.seen) < UNDISTURBED;
        let outdone = self.outdone.filter(lately);
        outdone.map_or(0, |outdone| outdone.times)
    }

    fn restored(&self) -> Positions {
        let host = Restored {
            peers: self.peers.iter().filter_map(Known::to_peer).collect(),
            absent: self
                .absent
                .iter()
                .filter_map(|id| Id::from_hex(id))
                .collect(),
            clock: self.clock,
            marks: Vec::new(),
        };
        let position = |marks: &Vec<Marked>| Restored {
            marks: marks.iter().filter_map(Marked::to_mark).collect(),
            ..host.clone()
        };
        let mut positions: Positions = self.marks.iter().map(position).collect();
        if positions.is_empty() {
            positions.push(host);
        }
        positions
    }

    fn take_over(&mut self, nodes: &[Restored]) {
        let mut peers: Vec<Peer> = nodes.iter().flat_map(|node| node.peers.clone()).collect();
        peers.sort_unstable_by_key(|peer| (peer.id, std::cmp::Reverse(peer.incarnation)));
        peers.dedup_by_key(|peer| peer.id);
        self.peers = peers.iter().filter_map(Known::of).collect();
        let mut absent: Vec<Id> = nodes.iter().flat_map(|node| node.absent.clone()).collect();
        absent.sort_unstable();
        absent.dedup();
        self.absent = absent.iter().map(Id::to_string).collect();
        self.clock = nodes.iter().map(|node| node.clock).max().unwrap_or(0);
        let marks = |node: &Restored| node.marks.iter().map(Marked::of).collect();
        self.marks = nodes.iter().map(marks).collect();
    }
}

impl Marked {
    fn of((span, mark): &(Span, Mark)) -> Self {
        Self {
            after: span.after.to_string(),
            upto: span.upto.to_string(),
            epoch: mark.epoch,
            rank: mark.rank,
        }
    }

    fn to_mark(&self) -> Option<(Span, Mark)> {
        let span = Span::new(Id::from_hex(&self.after)?, Id::from_hex(&self.upto)?);
        let (epoch, rank) = (self.epoch, self.rank);
        Some((span, Mark { epoch, rank }))
    }
}

impl Known {
    fn of(peer: &Peer) -> Option<Self> {
        let addr = peer.addr.to_socket()?;
        Some(Self {
            id: peer.id.to_string(),
            addr,
            incarnation: peer.incarnation,
        })
    }

    fn to_peer(&self) -> Option<Peer> {
        let id = Id::from_hex(&self.id)?;
        Some(Peer {
            id,
            addr: Addr::from_socket(self.addr),
            incarnation: self.incarnation,
        })
    }
}

/// The incarnation after `old`: at least the wall time in seconds, so that a node which runs
/// with and without a data directory in turn still grows.
pub(crate) fn next_incarnation(old: u32) -> u32 {
    u32::try_from(seconds())
        .unwrap_or(u32::MAX)
        .max(old.saturating_add(1))
}

/// The wall clock, in whole seconds since 1970.
fn seconds() -> u64 {
    Duration::from_micros(clock::wall()).as_secs()
}

fn lock(dir: &Path) -> Result<File, StartError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(at(dir, &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::Locked(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(StartError::State { path, source }),
    }
}

fn read(dir: &Path, path: &Path) -> Result<Option<Remembered>, StartError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(dir, path)(error)),
    };
    let mut text = Vec::new();
    file.take(FILE_MAX)
        .read_to_end(&mut text)
        .map_err(at(dir, path))?;
    let parsed = |error: serde_json::Error| StartError::Damaged {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let preamble: Preamble = serde_json::from_slice(&text).map_err(parsed)?;
    if preamble.schema > SCHEMA {
        return Err(StartError::Newer {
            path: path.to_owned(),
            found: preamble.schema,
            known: SCHEMA,
            writer: preamble.writer,
        });
    }
    serde_json::from_slice(&text).map(Some).map_err(parsed)
}

/// Replaces a file as a whole: after a crash it is the old one or the new one.
fn replace(dir: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    let fresh = dir.join(format!("{name}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&fresh, dir.join(name))?;
    // The rename itself is durable only with its directory.
    File::open(dir)?.sync_all()
}

fn at(dir: &Path, path: &Path) -> impl Fn(io::Error) -> StartError {
    let (dir, path) = (dir.to_owned(), path.to_owned());
    move |source| unusable(&dir, &path, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> Id {
        Id::hash(b"me")
    }

    fn open(dir: &Path) -> Result<(State, u32, Positions), StartError> {
        State::open(dir, "test", id())
    }

    #[test]
    fn incarnations_grow_and_known_peers_come_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let peer = Peer {
            id: Id::hash(b"you"),
            addr: Addr::v4(10, 0, 0, 1, 7),
            incarnation: 3,
        };
        let (state, first, restored) = open(dir.path()).expect("opens");
        assert_eq!(restored, [Restored::default()]);
        let marked = (
            Span::new(Id::hash(b"a"), Id::hash(b"b")),
            Mark { epoch: 5, rank: 1 },
        );
        let first_position = Restored {
            peers: vec![peer],
            absent: vec![peer.id],
            clock: 77,
            marks: vec![marked],
        };
        let second_position = Restored {
            marks: Vec::new(),
            ..first_position.clone()
        };
        let both = [first_position, second_position];
        state.remember(&both).expect("writes");
        drop(state);
        let (_state, second, restored) = open(dir.path()).expect("opens again");
        assert!(second > first);
        assert_eq!(restored, both);
    }

    #[test]
    fn a_second_process_on_one_directory_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let _held = open(dir.path()).expect("opens");
        assert!(matches!(open(dir.path()), Err(StartError::Locked(_))));
    }

    #[test]
    fn the_directory_of_another_node_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(open(dir.path()).expect("opens"));
        let other = State::open(dir.path(), "test", Id::hash(b"other"));
        assert!(matches!(other, Err(StartError::Foreign { .. })));
        let elsewhere = State::open(dir.path(), "elsewhere", id());
        assert!(matches!(elsewhere, Err(StartError::Foreign { .. })));
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let text = r#"{"schema": 2, "writer": "9.9.9", "shape": "unknown"}"#;
        fs::write(dir.path().join("node.json"), text).expect("writes");
        match open(dir.path()) {
            Err(StartError::Newer {
                found: 2,
                known: 1,
                writer,
                ..
            }) => assert_eq!(writer, "9.9.9"),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            fs::read_to_string(dir.path().join("node.json")).expect("reads"),
            text
        );
    }

    #[test]
    fn a_broken_file_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("node.json"), "{").expect("writes");
        match open(dir.path()) {
            Err(StartError::Damaged { path, .. }) => assert!(path.ends_with("node.json")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn marks_that_were_forgotten_are_forgotten_on_the_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let (state, _, _) = open(dir.path()).expect("opens");
        assert!(state.is_first());
        let span = Span::new(Id::hash(b"a"), Id::hash(b"b"));
        let known = Restored {
            clock: 77,
            marks: vec![(span, Mark { epoch: 5, rank: 1 })],
            ..Restored::default()
        };
        state.remember(&[known]).expect("writes");
        state.forget_marks().expect("writes");
        drop(state);
        let (state, _, restored) = open(dir.path()).expect("opens again");
        assert!(!state.is_first());
        assert_eq!((restored.len(), restored[0].clock), (1, 77));
        assert!(restored[0].marks.is_empty(), "{restored:?}");
    }

    #[test]
    fn a_life_of_another_process_is_outdone_after_waits_that_grow() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut waits = Vec::new();
        for times in 0..7 {
            let (state, life, _) = open(dir.path()).expect("opens");
            let known = state.duplicate().map_or(0, |known| known.times);
            assert_eq!(known, times);
            waits.push(state.patience().0 / 1_000_000);
            state.outdo(life + 1_000).expect("writes");
            drop(state);
            let (_state, next, _) = open(dir.path()).expect("opens");
            assert_eq!(next, life + 1_001);
        }
        assert_eq!(waits, [1, 4, 16, 64, 256, 300, 300]);
        // After an hour of peace the next one is met without prejudice.
        let text = fs::read_to_string(dir.path().join("node.json")).expect("reads");
        let mut old: serde_json::Value = serde_json::from_str(&text).expect("a document");
        old["outdone"]["seen"] = (seconds() - UNDISTURBED).into();
        fs::write(dir.path().join("node.json"), old.to_string()).expect("writes");
        let (state, ..) = open(dir.path()).expect("opens");
        assert_eq!(state.patience(), PATIENCE_MIN);
        assert_eq!(
            state.duplicate().map(|known| known.times),
            Some(7),
            "still told"
        );
    }
}
