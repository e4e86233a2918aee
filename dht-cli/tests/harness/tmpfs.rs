//! A small file system in memory, to be filled to its last block.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system; unmounted when dropped.
pub struct Tmpfs {
    at: PathBuf,
}

impl Tmpfs {
    /// Mounts an empty one over a directory, which is made.
    ///
    /// # Errors
    /// Why this process may not.
    pub fn mount(at: &Path, mib: u32) -> Result<Self, String> {
        std::fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let options = format!("size={mib}m,mode=700");
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(at);
        let output = command
            .output()
            .map_err(|error| format!("no command mount: {error}"))?;
        if output.status.success() {
            let at = at.to_owned();
            return Ok(Self { at });
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// Bytes that an ordinary process can still write, by writing them all to a file.
    pub fn fill_up(&self, name: &str) -> u64 {
        let mut file = File::create(self.at.join(name)).expect("an entry costs no block");
        let (piece, mut size, mut total) = ([0x11; 64 << 10], 64 << 10, 0);
        while size > 0 {
            match file.write(&piece[..size]) {
                Ok(written) if written > 0 => total += written as u64,
                // Down to the last byte.
                _ => size /= 2,
            }
        }
        total
    }

    /// Takes so many bytes by an ordinary file.
    pub fn take(&self, name: &str, bytes: usize) {
        std::fs::write(self.at.join(name), vec![0x22; bytes]).expect("there is room");
    }

    /// Gives them back.
    pub fn give_back(&self, name: &str) {
        std::fs::remove_file(self.at.join(name)).expect("it is there");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily, for a child that is being killed may still hold files.
        for flags in [&[][..], &["-l"][..]] {
            let done = Command::new("umount").args(flags).arg(&self.at).output();
            if done.is_ok_and(|output| output.status.success()) {
                return;
            }
        }
        // No panic while one may be under way; past the capture of a test runner.
        let _ = writeln!(std::io::stderr(), "{} is still mounted", self.at.display());
    }
}
