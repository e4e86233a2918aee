//! Where a bench keeps its stores: on a disk, or it says nothing about one.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::ring::Failed;

/// File systems that keep everything in memory.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];

/// A directory of its own on a named file system, removed at the end.
pub(crate) struct Ground {
    dir: TempDir,
    kind: String,
}

impl Ground {
    /// A fresh directory in `dir`, or beside the program that runs, which is below `target/`.
    /// `None`: syncs cost nothing there, and that was said.
    pub(crate) fn new(dir: Option<PathBuf>) -> Result<Option<Self>, Failed> {
        let dir = match dir {
            Some(dir) => dir,
            None => std::env::current_exe()?
                .parent()
                .ok_or("the program is in no directory")?
                .to_owned(),
        };
        let kind = file_system(&dir)?;
        if IN_MEMORY.contains(&kind.as_str()) {
            let dir = dir.display();
            println!("refused: {dir} is on {kind}, where a sync costs nothing; name another");
            return Ok(None);
        }
        let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(dir)?;
        Ok(Some(Self { dir, kind }))
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The machine in a line: cores, load and file system.
    pub(crate) fn describe(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load: Vec<&str> = load.split(' ').take(3).collect();
        let load = load.join(" ");
        format!("{cores} cores, load {load}, {}", self.kind)
    }
}

/// The kind of the file system that holds a directory, as the kernel names it.
fn file_system(dir: &Path) -> Result<String, Failed> {
    let dir = dir.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let holds = |line: &str| -> Option<(usize, String)> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        dir.starts_with(point)
            .then(|| (point.len(), kind.to_owned()))
    };
    // Of those mounted over each other, the last is in force.
    let found = mounts
        .lines()
        .filter_map(holds)
        .max_by_key(|(length, _)| *length);
    Ok(found.ok_or("no mount holds it")?.1)
}
