//! The thread that writes: commands become groups, groups become commits.
//!
//! A group ends when nothing more waits, or at [`GROUP_BYTES`], or after [`GROUP_TIME`]:
//! alone, a put waits for nobody; under load, many share the two syncs of one commit.

use chord_core::event::{StoreAnswer, StoreCommand, StoreError};
use chord_core::time::{Instant, Micros, Now};

use crate::clock;
use crate::store::disk::fault::Fault;
use crate::store::disk::queue::Job;
use crate::store::disk::{FILL_MAX, Host};
use crate::store::{Answered, Report, Room, Token};

/// A group that holds so much is committed.
const GROUP_BYTES: usize = 256 << 10;
/// A group that has been gathered for so long is committed.
const GROUP_TIME: Micros = Micros::from_millis(1);

/// Works until the queue is closed.
pub(super) fn run(host: &Host) {
    let mut room = Room::Enough;
    while let Some(first) = host.writes.take() {
        if host.broken.get().is_some() {
            host.answer([first].into_iter(), StoreError::Failed);
            continue;
        }
        room = look(host, room);
        let mut group = Group::of(first, room);
        let now = group.now;
        let written = host.engine.write(now, &mut || group.next(host));
        room = group.end(host, room, written);
    }
}

/// How much room there is. Nobody knowing is no reason to refuse.
fn look(host: &Host, before: Room) -> Room {
    let room = match host.engine.medium().fill() {
        Ok(fill) if fill >= FILL_MAX => Room::Nearly,
        Ok(_) | Err(_) => Room::Enough,
    };
    tell(host, before, room)
}

/// Says so when it has become too little, or enough again.
fn tell(host: &Host, before: Room, room: Room) -> Room {
    if (before == Room::Enough) != (room == Room::Enough) {
        let _ = host.reports.send(Report::Room(room));
    }
    room
}

/// A group while it is gathered.
struct Group {
    first: Option<Job>,
    now: Now,
    room: Room,
    began: Instant,
    bytes: usize,
    /// Whose commands are in the group, in order.
    tokens: Vec<Token>,
    /// Answered without the disk.
    refused: Vec<Answered>,
}

impl Group {
    fn of(first: Job, room: Room) -> Self {
        Self {
            now: first.now,
            first: Some(first),
            room,
            began: clock::mono(),
            bytes: 0,
            tokens: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// The next command of the group; `None`: commit.
    fn next(&mut self, host: &Host) -> Option<StoreCommand> {
        loop {
            let job = match self.first.take() {
                Some(job) => job,
                None if self.is_full() => return None,
                None => host.writes.take_now()?,
            };
            if self.room != Room::Enough && grows(&job.command) {
                self.refused.push(Answered {
                    token: job.token,
                    result: Err(StoreError::Full),
                });
                continue;
            }
            self.bytes = self.bytes.saturating_add(job.weight);
            self.tokens.push(job.token);
            return Some(job.command);
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= GROUP_BYTES || clock::mono().since(self.began) >= GROUP_TIME
    }

    /// Sends every answer there is, and says how much room there is now.
    fn end(
        mut self,
        host: &Host,
        room: Room,
        written: Result<Vec<Option<StoreAnswer>>, Fault>,
    ) -> Room {
        // It failed before the first command was asked for.
        self.tokens.extend(self.first.take().map(|job| job.token));
        let (results, room): (Vec<_>, Room) = match written {
            Ok(answers) => {
                let result = |answer: Option<StoreAnswer>| answer.ok_or(StoreError::Failed);
                (answers.into_iter().map(result).collect(), room)
            }
            Err(Fault::NoRoom) => {
                let room = tell(host, room, Room::None);
                (vec![Err(StoreError::Full); self.tokens.len()], room)
            }
            Err(fault) => {
                host.break_down(fault);
                (vec![Err(StoreError::Failed); self.tokens.len()], room)
            }
        };
        let answered = self.tokens.into_iter().zip(results);
        let answered = answered.map(|(token, result)| Answered { token, result });
        host.report(self.refused.into_iter().chain(answered));
        room
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
        | StoreCommand::Scan { .. }
        | StoreCommand::List { .. } => false,
    }
}
