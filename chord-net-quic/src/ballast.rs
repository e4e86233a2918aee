//! Room that is held ready in the data directory, for what a host must write on a full disk.
//!
//! A start writes a few pages before it can serve what is stored, the new incarnation and the
//! begin of a life; and a commit writes new pages before it frees the old ones, so that even a
//! deletion needs some. The file of the store is sparse: what redb takes within it may have no
//! block yet. Once others have written the file system full to the last block, records that are
//! safe would be out of reach after a restart, and no client could make room. So a running host
//! keeps a file of [`BALLAST`] bytes. A start and a deletion without room are given pieces of
//! it, one at a time, so that whoever else fills the disk does not get all of it; it is
//! completed when there is room again.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes held ready: some groups of deletions, a start many times over.
const BALLAST: u64 = 4 << 20;
/// Of these, what only a start is given: no client may use it up.
pub(crate) const FOR_STARTS: u64 = 1 << 20;
/// Given at once: what a start or a group of deletions may need.
const PIECE: u64 = 512 << 10;
/// Written at a time.
const CHUNK: usize = 64 << 10;

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
}

impl Ballast {
    /// That of a data directory.
    pub(crate) fn of(dir: &Path) -> Self {
        Self {
            path: dir.join("ballast"),
        }
    }

    /// Gives a piece back to the file system, but keeps so many bytes; `false`: no more is
    /// left.
    ///
    /// # Errors
    /// The file is there and cannot be shortened.
    pub(crate) fn give_way(&self, keep: u64) -> io::Result<bool> {
        let file = match File::options().write(true).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        let held = file.metadata()?.len();
        if held <= keep {
            return Ok(false);
        }
        file.set_len(held.saturating_sub(PIECE).max(keep))?;
        Ok(true)
    }

    /// Takes what is missing, as much of it as there is room for.
    ///
    /// # Errors
    /// The file cannot be written, for another reason than a lack of room.
    pub(crate) fn complete(&self) -> io::Result<()> {
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true);
        let mut file = options.open(&self.path)?;
        let mut held = file.seek(SeekFrom::End(0))?;
        if held >= BALLAST {
            return Ok(());
        }
        while held < BALLAST {
            // Written, not only declared: a hole takes no room.
            match file.write(&[0x5a; CHUNK]) {
                Ok(0) => break,
                Ok(written) => held += written as u64,
                Err(error) if is_full(&error) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match file.sync_all() {
            // Some file systems find out only now that there is no room.
            Err(error) if is_full(&error) => Ok(()),
            other => other,
        }
    }
}

/// Whether a write found no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_piece_by_piece_and_taken_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let ballast = Ballast::of(dir.path());
        let give_way = |keep| ballast.give_way(keep).expect("shortens");
        assert!(!give_way(0), "nothing was held");
        std::fs::write(&ballast.path, [0; 70_000]).expect("what a full disk left room for");
        for _ in 0..2 {
            ballast.complete().expect("writes");
            let held = std::fs::metadata(&ballast.path).expect("it is there").len();
            assert!((BALLAST..BALLAST + CHUNK as u64).contains(&held), "{held}");
            ballast.complete().expect("nothing is missing");
            let after = std::fs::metadata(&ballast.path).expect("it is there").len();
            assert_eq!(after, held);
            let mut pieces = 0;
            while give_way(FOR_STARTS) {
                pieces += 1;
            }
            let after = std::fs::metadata(&ballast.path).expect("it is there").len();
            assert_eq!(after, FOR_STARTS, "kept for a start");
            while give_way(0) {
                pieces += 1;
            }
            assert_eq!(pieces, held.div_ceil(PIECE));
        }
    }
}
