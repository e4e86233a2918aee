//! What can go wrong with a disk, by what follows from it; and panics that are caught.
//!
//! redb verifies the sums of its pages only on request: on a damaged file it may panic. Every
//! call of it runs inside [`caught`], which makes a panic what it is: damage.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use crate::store::disk::record::Garbled;

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A write found no room. Nothing was committed, and the file must be opened again.
    NoRoom,
    /// An earlier failure is still in the way: the file must be opened again.
    Latched,
    /// The disk failed. What was not acknowledged may or may not be there.
    Failed(String),
    /// What the disk holds makes no sense.
    Damaged(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => write!(f, "there is no room on the disk"),
            Self::Latched => write!(f, "an earlier write failed"),
            Self::Failed(why) => write!(f, "the disk failed: {why}"),
            Self::Damaged(why) => write!(f, "it is damaged: {why}"),
        }
    }
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a call whose panic is caught. For panic hooks that would
/// otherwise end the process.
#[must_use]
pub fn panics_are_caught() -> bool {
    INSIDE.get()
}

/// Does something with redb; a panic is damage.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let outer = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(outer);
    result.unwrap_or_else(|panic| {
        Err(Fault::Damaged(format!(
            "reading it panicked: {}",
            said(&*panic)
        )))
    })
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Only writes and growth are reported like this: see `medium`.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom,
            // No redb file, or a shorter one than it says.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(what) => Self::Damaged(what),
            StorageError::Io(error) => error.into(),
            StorageError::PreviousIo => Self::Latched,
            // A thread panicked while it held it.
            StorageError::LockPoisoned(_) => Self::Damaged(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<TransactionError> for Fault {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            // The tables are ours and were made with the file.
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<Garbled> for Fault {
    fn from(_: Garbled) -> Self {
        Self::Damaged("a record's checksum does not match".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_damage_and_the_guard_is_lifted_again() {
        let result: Result<(), Fault> = caught(|| {
            assert!(panics_are_caught());
            panic!("on {}", "purpose")
        });
        assert_eq!(
            result,
            Err(Fault::Damaged("reading it panicked: on purpose".to_owned()))
        );
        assert!(!panics_are_caught());
    }

    #[test]
    fn a_full_disk_is_told_from_a_failing_one() {
        let error = |kind| Fault::from(StorageError::Io(io::Error::from(kind)));
        assert_eq!(error(io::ErrorKind::StorageFull), Fault::NoRoom);
        assert!(matches!(error(io::ErrorKind::Other), Fault::Failed(_)));
        assert!(matches!(
            error(io::ErrorKind::UnexpectedEof),
            Fault::Damaged(_)
        ));
    }
}
