//! What is stored, and who should hold it.

use bytes::Bytes;
use chord_core::id::Id;
use chord_core::message::Key;

/// Keys of a ring; every eighth of them is deleted.
pub const KEYS: usize = 96;
/// Copies of each.
pub const COPIES: usize = 3;

/// The key in this place.
pub fn key(n: usize) -> Vec<u8> {
    format!("rot-{n}").into_bytes()
}

/// Its value, if it has one: from a few bytes to several pages.
pub fn value(n: usize) -> Option<Vec<u8>> {
    let word = format!("value {n} ").into_bytes();
    (!is_deleted(n)).then(|| word.repeat(1 + n * n % 1_500))
}

/// Whether the key was deleted again.
pub const fn is_deleted(n: usize) -> bool {
    n % 8 == 7
}

/// Which of these members hold the key: the owner and those after it.
pub fn holders(members: &[Id], n: usize) -> Vec<usize> {
    let position = Key::new(Bytes::from(key(n))).expect("short").position();
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|&at| position.distance(members[at]));
    order.truncate(COPIES);
    order
}
