//! Real files to store: the sources of the packages that the lock file names.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::tcp;

/// Most bytes of a value.
const VALUE_MAX: u64 = 1 << 20;

/// A file of a package.
pub struct Source {
    /// SHA-256 of its path below the directory of all packages.
    pub key: [u8; 32],
    /// Its content.
    pub content: Vec<u8>,
}

impl Source {
    /// Whether the binary protocol can carry it; others go through HTTP only.
    pub fn fits_tcp(&self) -> bool {
        (1..=tcp::VALUE_MAX).contains(&self.content.len())
    }
}

/// `count` files: up to fifty too large for the binary protocol, up to fifty empty ones, the
/// rest spread evenly over all.
///
/// # Panics
/// When the packages are not there, or have fewer files.
pub fn collect(count: usize) -> Vec<Source> {
    let mut files = Vec::new();
    for root in package_directories() {
        let shelf = root
            .parent()
            .expect("a package lies in a directory")
            .to_path_buf();
        walk(&root, &shelf, &mut files);
    }
    files.sort();
    files.dedup();
    let (small, odd): (Vec<File>, Vec<File>) = files
        .into_iter()
        .partition(|file| (1..=tcp::VALUE_MAX as u64).contains(&file.size));
    let empty = odd.iter().filter(|file| file.size == 0).take(50);
    let large = odd.iter().filter(|file| file.size > 0).take(50);
    let mut chosen: Vec<&File> = empty.chain(large).collect();
    let rest = count.saturating_sub(chosen.len());
    assert!(
        small.len() >= rest,
        "only {} files in the packages' sources",
        small.len()
    );
    // Evenly: file number n of `rest` is number n × all / rest of all.
    chosen.extend((0..rest).map(|at| &small[at * small.len() / rest]));
    chosen.truncate(count);
    chosen
        .iter()
        .map(|file| Source {
            key: Sha256::digest(file.name.as_bytes()).into(),
            content: std::fs::read(&file.path).expect("a file of a package can be read"),
        })
        .collect()
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct File {
    name: String,
    path: PathBuf,
    size: u64,
}

/// Where the locked packages of this platform lie, as cargo tells.
fn package_directories() -> Vec<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let host = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("-vV")
        .output()
        .expect("rustc runs");
    let host = String::from_utf8_lossy(&host.stdout).into_owned();
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc names its host");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .filter(|package| package["source"].is_string())
        .filter_map(|package| Path::new(package["manifest_path"].as_str()?).parent())
        .map(Path::to_path_buf)
        .collect()
}

fn walk(directory: &Path, shelf: &Path, files: &mut Vec<File>) {
    let entries = std::fs::read_dir(directory).expect("a package's directory can be read");
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let path = entry.path();
        if kind.is_dir() {
            walk(&path, shelf, files);
        } else if kind.is_file()
            && let Ok(size) = entry.metadata().map(|data| data.len())
            && size <= VALUE_MAX
            && let Ok(name) = path.strip_prefix(shelf)
        {
            files.push(File {
                name: name.to_string_lossy().into_owned(),
                size,
                path,
            });
        }
    }
}
