//! What the store is kept on: one file in a folder, or what a test makes up.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::ballast::{Ballast, FOR_STARTS};

/// The file in the data directory.
const FILE: &str = "store.redb";

/// Something that holds the bytes of a store.
pub trait Medium: fmt::Debug + Send + Sync {
    /// Opens it; several times one after the other, never at the same time.
    ///
    /// # Errors
    /// It cannot be opened.
    fn open(&self) -> io::Result<Backend>;

    /// How full its file system is, in 1/1,000.
    ///
    /// # Errors
    /// Nobody knows.
    fn fill(&self) -> io::Result<u32>;

    /// Gives back some room that was held ready for what makes room; `false`: none is left.
    fn give_way(&self) -> bool {
        false
    }

    /// Puts a damaged store where it is in nobody's way, and says where that is.
    ///
    /// # Errors
    /// It is still where it was.
    fn set_aside(&self) -> io::Result<String>;
}

/// The bytes of an open store, whatever they are kept on.
///
/// A failed sync is never reported as a lack of room: what was written before it may be
/// gone, and no second sync would tell (Rebello et al., *Can Applications Recover from fsync
/// Failures?*, ATC 2020).
#[derive(Debug)]
pub struct Backend(Box<dyn StorageBackend>);

impl Backend {
    /// The bytes that `inner` keeps.
    pub fn new(inner: impl StorageBackend) -> Self {
        Self(Box::new(inner))
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0
            .sync_data()
            .map_err(|error| io::Error::other(format!("cannot sync: {error}")))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

/// `store.redb` in a data directory.
#[derive(Clone, Debug)]
pub struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// The store in this directory, which exists.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Bytes that an ordinary process may still write to its file system.
    pub(crate) fn free(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.dir)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Whether no store is there: no file, or one without a byte.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        match fs::metadata(self.path()) {
            Ok(found) => Ok(found.len() == 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Makes the file if there is none: `fill` writes a whole store under another name, which
    /// is then given its own. A crash meanwhile leaves no half store.
    pub(super) fn create<E: From<io::Error>>(
        &self,
        fill: impl FnOnce(Backend) -> Result<(), E>,
    ) -> Result<bool, E> {
        if self.path().try_exists()? {
            return Ok(false);
        }
        let fresh = self.dir.join("store.redb.new");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        // Values are for who runs the node, not for everybody on the host.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        fill(backend(options.open(&fresh)?)?)?;
        File::open(&fresh)?.sync_all()?;
        fs::rename(&fresh, self.path())?;
        self.sync()?;
        Ok(true)
    }

    /// Makes a rename durable.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    /// Damaged stores that were set aside, with their numbers.
    fn aside(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let number = name.and_then(|name| name.strip_prefix("store.redb.damaged-"));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                found.push((number, path));
            }
        }
        Ok(found)
    }
}

impl Medium for Folder {
    fn open(&self) -> io::Result<Backend> {
        backend(
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(self.path())?,
        )
    }

    fn fill(&self) -> io::Result<u32> {
        let found = rustix::fs::statvfs(&self.dir)?;
        // What only the superuser may use is no room.
        let used = found.f_blocks.saturating_sub(found.f_bfree);
        let usable = used.saturating_add(found.f_bavail).max(1);
        let share = u128::from(used) * 1_000 / u128::from(usable);
        Ok(u32::try_from(share).unwrap_or(1_000))
    }

    fn give_way(&self) -> bool {
        let given = Ballast::of(&self.dir).give_way(FOR_STARTS);
        given.unwrap_or_else(|error| {
            tracing::warn!(%error, "the ballast in the data directory cannot be given up");
            false
        })
    }

    fn set_aside(&self) -> io::Result<String> {
        let old = self.aside()?;
        let number = old.iter().map(|(number, _)| *number).max().unwrap_or(0);
        let aside = self
            .dir
            .join(format!("{FILE}.damaged-{}", number.saturating_add(1)));
        fs::rename(self.path(), &aside)?;
        self.sync()?;
        // One is for whoever wants to look at it; more would fill the disk.
        for (_, path) in old {
            fs::remove_file(path)?;
        }
        Ok(aside.display().to_string())
    }
}

fn backend(file: File) -> io::Result<Backend> {
    let backend = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Backend::new(backend))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_damaged_store_is_kept_and_only_that() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = Folder::new(dir.path());
        for n in 1..=3 {
            fs::write(folder.path(), format!("store {n}")).expect("writes");
            let aside = folder.set_aside().expect("renames");
            assert!(aside.ends_with(&format!("store.redb.damaged-{n}")));
            assert_eq!(
                fs::read_to_string(aside).expect("reads"),
                format!("store {n}")
            );
        }
        assert_eq!(fs::read_dir(dir.path()).expect("reads").count(), 1);
    }

    #[test]
    fn a_store_is_made_once_and_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = Folder::new(dir.path());
        let failed = folder.create(|_| Err(io::Error::other("power cut")));
        assert!(failed.is_err() && !folder.path().exists());
        assert!(folder.create(|_| io::Result::Ok(())).expect("made"));
        assert!(
            !folder
                .create(|_| Err(io::Error::other("twice")))
                .expect("there")
        );
    }

    #[test]
    fn a_share_of_the_file_system_is_used() {
        let dir = tempfile::tempdir().expect("a directory");
        let fill = Folder::new(dir.path()).fill().expect("a file system");
        assert!(fill <= 1_000, "{fill}");
    }
}
