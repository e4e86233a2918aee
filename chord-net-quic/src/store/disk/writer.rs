//! The thread that writes: commands become groups, groups become commits.
//!
//! A group ends when nothing more waits, or at [`GROUP_BYTES`], or after [`GROUP_TIME`]:
//! alone, a put waits for nobody; under load, many share the two syncs of one commit.
//!
//! Whoever was answered with the last group comes back in a moment. Without a wait for them
//! they would find the next group on its way, and two halves would take turns, each paying
//! for a commit of its own. So a group waits, never longer than [`GROUP_TIME`], until it is
//! as large as the last one and what waited behind that.

use chord_core::event::{StoreAnswer, StoreCommand, StoreError};
use chord_core::time::{Instant, Micros, Now};

use crate::clock;
use crate::store::disk::fault::Fault;
use crate::store::disk::queue::{Job, Taken};
use crate::store::disk::{FILL_MAX, Host};
use crate::store::{Answered, Report, Room, Token};

/// A group that holds so much is committed.
const GROUP_BYTES: usize = 256 << 10;
/// A group that has been gathered for so long is committed.
const GROUP_TIME: Micros = Micros::from_millis(1);

/// After a write that found no room, puts are tried again this much later.
const TRY_AGAIN: Micros = Micros::from_secs(1);

/// How often a group that makes room is tried when there is none for itself: what the commit
/// before it gave back within the file is free only now. After that it gets what is held
/// ready for it.
const TRIES: usize = 3;
/// Pieces of it for one group: if these do not help, others take what is given.
const PIECES: usize = 2;

/// Works until the queue is closed.
pub(super) fn run(host: &Host) {
    let mut watch = Watch {
        told: Room::Enough,
        try_again: Instant(0),
    };
    let mut expected = 0;
    while let Some(first) = host.writes.take() {
        if host.broken.get().is_some() {
            host.answer([first].into_iter(), StoreError::Failed);
            continue;
        }
        let refusing = watch.refuses(host, first.now.mono);
        let mut group = Group::of(first, refusing, expected);
        let now = group.now;
        let mut written = host.engine.write(now, &mut || group.next(host));
        let (mut tries, mut pieces) = (1..TRIES, 0..PIECES);
        while !group.grew
            && matches!(written, Err(Fault::NoRoom))
            && (tries.next().is_some()
                || pieces.next().is_some() && host.engine.medium().give_way())
        {
            let mut again = group.kept.clone().into_iter();
            let mut next = || again.next().or_else(|| group.next(host));
            written = host.engine.write(now, &mut next);
        }
        expected = group.tokens.len() + host.writes.len();
        group.end(host, &mut watch, written);
    }
}

/// How much room there is, as far as anybody was told.
struct Watch {
    told: Room,
    try_again: Instant,
}

impl Watch {
    /// Whether puts are refused for now. Nobody knowing how full the disk is, is no reason.
    fn refuses(&mut self, host: &Host, now: Instant) -> bool {
        let fill = host.engine.medium().fill();
        if fill.is_ok_and(|fill| fill >= FILL_MAX) {
            // Told of no room at all, nobody need hear of little.
            if self.told == Room::Enough {
                self.tell(host, Room::Nearly);
            }
            return true;
        }
        match self.told {
            Room::Enough => false,
            Room::Nearly => {
                self.tell(host, Room::Enough);
                false
            }
            // Only a put that finds room proves that there is some: a quota shows nowhere.
            Room::None => now < self.try_again,
        }
    }

    fn found_none(&mut self, host: &Host, now: Instant) {
        self.try_again = now + TRY_AGAIN;
        self.tell(host, Room::None);
    }

    fn tell(&mut self, host: &Host, room: Room) {
        if self.told != room {
            self.told = room;
            let _ = host.reports.send(Report::Room(room));
        }
    }
}

/// A group while it is gathered.
struct Group {
    first: Option<Job>,
    now: Now,
    /// Puts are.
    refusing: bool,
    began: Instant,
    bytes: usize,
    /// Commands that will come if everybody comes back.
    expected: usize,
    /// Something was put.
    grew: bool,
    /// Whose commands are in the group, in order.
    tokens: Vec<Token>,
    /// Answered without the disk.
    refused: Vec<Answered>,
    /// The commands, as long as all of them make room.
    kept: Vec<StoreCommand>,
}

impl Group {
    fn of(first: Job, refusing: bool, expected: usize) -> Self {
        Self {
            now: first.now,
            first: Some(first),
            refusing,
            began: clock::mono(),
            bytes: 0,
            expected,
            grew: false,
            tokens: Vec::new(),
            refused: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// The next command of the group; `None`: commit.
    fn next(&mut self, host: &Host) -> Option<StoreCommand> {
        loop {
            let job = match self.first.take() {
                Some(job) => job,
                None if self.is_full() => return None,
                None if self.tokens.len() < self.expected => {
                    let waited = clock::mono().since(self.began);
                    let left = Micros(GROUP_TIME.0.saturating_sub(waited.0));
                    match host.writes.take_within(left) {
                        Taken::Job(job) => job,
                        Taken::Nothing | Taken::Closed => return None,
                    }
                }
                None => host.writes.take_now()?,
            };
            let grows = grows(&job.command);
            if self.refusing && grows {
                self.refused.push(Answered {
                    token: job.token,
                    result: Err(StoreError::Full),
                });
                continue;
            }
            self.grew |= grows;
            self.bytes = self.bytes.saturating_add(job.weight);
            self.tokens.push(job.token);
            if self.grew {
                self.kept.clear();
            } else {
                self.kept.push(job.command.clone());
            }
            return Some(job.command);
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= GROUP_BYTES || clock::mono().since(self.began) >= GROUP_TIME
    }

    /// Sends every answer there is.
    fn end(
        mut self,
        host: &Host,
        watch: &mut Watch,
        written: Result<Vec<Option<StoreAnswer>>, Fault>,
    ) {
        // It failed before the first command was asked for.
        self.tokens.extend(self.first.take().map(|job| job.token));
        let mut work = host.lock_work();
        work.refused = work.refused.saturating_add(self.refused.len() as u64);
        let results: Vec<_> = match written {
            Ok(answers) => {
                work.groups += 1;
                work.commands += answers.len() as u64;
                let took = clock::mono().since(self.began);
                work.time = Micros(work.time.0.saturating_add(took.0));
                for answer in answers.iter().flatten() {
                    if let StoreAnswer::Swept {
                        expired, buried, ..
                    } = answer
                    {
                        work.expired += u64::from(*expired);
                        work.buried += u64::from(*buried);
                    }
                }
                if self.grew {
                    watch.tell(host, Room::Enough);
                }
                let result = |answer: Option<StoreAnswer>| answer.ok_or(StoreError::Failed);
                answers.into_iter().map(result).collect()
            }
            Err(Fault::NoRoom) => {
                work.refused = work.refused.saturating_add(self.tokens.len() as u64);
                watch.found_none(host, self.now.mono);
                vec![Err(StoreError::Full); self.tokens.len()]
            }
            Err(fault) => {
                host.break_down(fault);
                vec![Err(StoreError::Failed); self.tokens.len()]
            }
        };
        drop(work);
        let answered = self.tokens.into_iter().zip(results);
        let answered = answered.map(|(token, result)| Answered { token, result });
        host.report(self.refused.into_iter().chain(answered));
    }
}

/// Whether a command may need more room than it gives back. Tombstones are the way to room.
fn grows(command: &StoreCommand) -> bool {
    match command {
        StoreCommand::Put { records } => records.iter().any(|record| !record.header.tombstone),
        StoreCommand::Discard { .. }
        | StoreCommand::Sweep { .. }
        | StoreCommand::Get { .. }
        | StoreCommand::GetMany { .. }
        | StoreCommand::Heads { .. }
        | StoreCommand::Scan { .. }
        | StoreCommand::List { .. }
        | StoreCommand::Sums { .. } => false,
    }
}
