//! Room that is held ready in the data directory, so that a host can start on a full disk.
//!
//! A start writes a few pages before it can serve what is stored: the new incarnation and the
//! begin of a life. On a disk without a free block even that fails, and records that are safe
//! would be out of reach until somebody makes room. So a running host keeps a file of
//! [`BALLAST`] bytes; the next start gives it up before it writes anything, and takes it back
//! once the store is open, as far as there is room.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes held ready: the few pages of a start, several times over.
const BALLAST: u64 = 1 << 20;
const FILE: &str = "ballast";
/// Written at a time.
const PIECE: usize = 64 << 10;

/// Gives the room back to the file system.
///
/// # Errors
/// The file is there and cannot be removed.
pub(crate) fn give_up(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes room again, as much of it as there is. Says whether all of it is held.
///
/// # Errors
/// The file cannot be written, for another reason than a lack of room.
pub(crate) fn take(dir: &Path) -> io::Result<bool> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(FILE))?;
    let mut held = file.seek(SeekFrom::End(0))?;
    while held < BALLAST {
        // Written, not only declared: a hole takes no room.
        match file.write(&[0x5a; PIECE]) {
            Ok(0) => return Ok(false),
            Ok(written) => held += written as u64,
            Err(error) if is_full(&error) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    sync(&file)
}

/// Some file systems find out only now that there is no room.
fn sync(file: &File) -> io::Result<bool> {
    match file.sync_all() {
        Err(error) if is_full(&error) => Ok(false),
        other => other.map(|()| true),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_once_and_given_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(FILE);
        give_up(dir.path()).expect("nothing to give up");
        fs::write(&path, [0; 70_000]).expect("what a full disk left room for");
        assert!(take(dir.path()).expect("writes"));
        let held = fs::metadata(&path).expect("it is there").len();
        assert!((BALLAST..BALLAST + PIECE as u64).contains(&held), "{held}");
        assert!(take(dir.path()).expect("writes"));
        assert_eq!(fs::metadata(&path).expect("it is there").len(), held);
        give_up(dir.path()).expect("removes");
        assert!(!path.exists());
    }
}
