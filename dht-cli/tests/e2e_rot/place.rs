//! A place in a file, and what becomes of it.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::chance::Chance;

/// The size of a page, of the disk and of the store.
const PAGE: usize = 4_096;

/// What was done, for people.
pub type Damage = String;

/// Flips one bit of a byte that is in use, or zeroes a page with such bytes, without anybody
/// who has the file open being told.
///
/// # Errors
/// The file cannot be read or written.
pub fn damage(file: &Path, chance: &mut Chance) -> io::Result<Damage> {
    let mut file = OpenOptions::new().read(true).write(true).open(file)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let used = |page: &[u8]| page.iter().any(|&byte| byte != 0);
    let pages: Vec<usize> = bytes
        .chunks(PAGE)
        .enumerate()
        .filter(|(_, page)| used(page))
        .map(|(at, _)| at * PAGE)
        .collect();
    let at = pages[chance.below(pages.len())];
    let page = &bytes[at..bytes.len().min(at + PAGE)];
    if chance.percent(50) {
        file.write_all_at(&vec![0; page.len()], at as u64)?;
        return Ok(format!("the page at {at} of {} zeroed", bytes.len()));
    }
    let filled: Vec<usize> = (0..page.len()).filter(|&at| page[at] != 0).collect();
    let byte = filled[chance.below(filled.len())];
    let bit = chance.below(8);
    file.write_all_at(&[page[byte] ^ (1 << bit)], (at + byte) as u64)?;
    Ok(format!(
        "bit {bit} of byte {} of {} flipped",
        at + byte,
        bytes.len()
    ))
}
