//! What a read may show, given every write of its key: the memory of the parent.
//!
//! Each key has one writer, so its writes have an order: their place in the [`History`], which
//! is also what their values say. Only three facts are used:
//!
//! * the last write acknowledged before a read began is the *base*: nothing older may be seen;
//! * a write that was not acknowledged may have happened or not, and so may one under way;
//! * a lifetime begins between the begin and the end of its write, and clocks differ by
//!   [`SLACK`].
//!
//! Pure: times are spans since the begin of the run, and nothing here knows of processes.

use std::time::Duration;

/// How far the ends of lifetimes may be off: the copies of a record measure on their own, and
/// travel between processes that wait for a core.
pub const SLACK: Duration = Duration::from_secs(2);

/// How long a write that was not acknowledged may still begin its lifetime: the time that the
/// product grants to an operation of a client.
const LINGER: Duration = Duration::from_secs(5);

/// What a write wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A value, for a time or for good.
    Put(Option<Duration>),
    /// Nothing.
    Delete,
}

/// One write.
#[derive(Clone, Copy, Debug)]
struct Write {
    kind: Kind,
    begun: Duration,
    /// None: under way.
    ended: Option<Duration>,
    acknowledged: bool,
}

impl Write {
    fn may_be_absent(&self, at: Duration) -> bool {
        match self.kind {
            Kind::Delete => true,
            Kind::Put(None) => false,
            Kind::Put(Some(ttl)) => at + SLACK >= self.begun + ttl,
        }
    }

    fn may_be_present(&self, at: Duration) -> bool {
        match (self.kind, self.ended) {
            (Kind::Delete, _) => false,
            (Kind::Put(None), _) | (_, None) => true,
            (Kind::Put(Some(ttl)), Some(ended)) => {
                let linger = if self.acknowledged {
                    SLACK
                } else {
                    SLACK + LINGER
                };
                at <= ended + ttl + linger
            }
        }
    }
}

/// From the request to the answer.
#[derive(Clone, Copy, Debug)]
pub struct During {
    /// The request left.
    pub begun: Duration,
    /// The answer came.
    pub ended: Duration,
}

/// What a read showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// "Not found".
    Nothing,
    /// The value of the write in this place.
    Write(usize),
    /// Bytes that no write of this key wrote.
    Garbage,
}

/// What a read may not show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Violation {
    /// "Not found" instead of an acknowledged value.
    Lost,
    /// An older value than the acknowledged one.
    Stale,
    /// A value that was deleted or had expired, and was written over since.
    Back,
    /// The value of a write that failed, over that of a later, acknowledged one.
    Late,
    /// The newest value, after the end of its lifetime.
    Expired,
    /// Bytes that nobody wrote there.
    Wrong,
}

/// All writes of one key, in their order.
#[derive(Clone, Debug, Default)]
pub struct History {
    writes: Vec<Write>,
}

impl History {
    /// A write begins; returns its place.
    pub fn begin(&mut self, kind: Kind, at: Duration) -> usize {
        self.writes.push(Write {
            kind,
            begun: at,
            ended: None,
            acknowledged: false,
        });
        self.writes.len() - 1
    }

    /// The last write ends.
    pub fn end(&mut self, acknowledged: bool, at: Duration) {
        let last = self.writes.last_mut().expect("a write is under way");
        (last.ended, last.acknowledged) = (Some(at), acknowledged);
    }

    /// The last write never left: nobody can have seen it.
    pub fn withdraw(&mut self) {
        self.writes.pop();
    }

    /// Whether a read may show this.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&self, read: During, seen: Seen) -> Result<(), Violation> {
        let settled = |write: &Write| {
            write.acknowledged && write.ended.is_some_and(|ended| ended <= read.begun)
        };
        let base = self.writes.iter().rposition(settled);
        let first = base.unwrap_or(0);
        let end = self
            .writes
            .partition_point(|write| write.begun <= read.ended);
        match seen {
            Seen::Garbage => Err(Violation::Wrong),
            Seen::Nothing => {
                let absent = |write: &Write| write.may_be_absent(read.ended);
                if base.is_none() || self.writes[first..end].iter().any(absent) {
                    Ok(())
                } else {
                    Err(Violation::Lost)
                }
            }
            Seen::Write(at) if at >= end || self.writes[at].kind == Kind::Delete => {
                Err(Violation::Wrong)
            }
            Seen::Write(at) if at >= first => {
                if self.writes[at].may_be_present(read.begun) {
                    Ok(())
                } else {
                    Err(Violation::Expired)
                }
            }
            Seen::Write(at) => Err(self.overtaken(at, first, read)),
        }
    }

    /// Why a write before the base may not be seen.
    fn overtaken(&self, at: usize, base: usize, read: During) -> Violation {
        if !self.writes[base].may_be_present(read.begun) {
            Violation::Back
        } else if !self.writes[at].acknowledged {
            Violation::Late
        } else {
            Violation::Stale
        }
    }

    /// The newest writes, for people.
    pub fn tell(&self) -> String {
        let from = self.writes.len().saturating_sub(6);
        let tell = |(at, write): (usize, &Write)| {
            let ended = match (write.ended, write.acknowledged) {
                (None, _) => "under way".to_owned(),
                (Some(ended), true) => format!("acknowledged {:.3} s", ended.as_secs_f64()),
                (Some(ended), false) => format!("failed {:.3} s", ended.as_secs_f64()),
            };
            format!(
                "{at}: {:?} {:.3} s, {ended}",
                write.kind,
                write.begun.as_secs_f64()
            )
        };
        let lines: Vec<String> = self
            .writes
            .iter()
            .enumerate()
            .skip(from)
            .map(tell)
            .collect();
        lines.join("; ")
    }
}
