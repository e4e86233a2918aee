//! Fuzz targets as plain functions: each takes bytes, and panics on what must never be.
//!
//! ```text
//! cargo fuzz ──▶ fuzz_targets/NAME.rs ─┐
//! cargo test ──▶ corpus/NAME/*  ───────┴─▶ fuzz::NAME(bytes)
//! ```
//!
//! The binaries for libFuzzer are a line each and need the feature `libfuzzer`; everything
//! here builds and runs on stable without it, so the corpus is part of the ordinary tests.
//!
//! ```text
//! cargo +nightly fuzz run --features libfuzzer wire -- -max_total_time=30
//! ```
//!
//! What libFuzzer finds lands in `corpus/NAME` under names of hex digits, which are not
//! committed. An input worth keeping gets a name that says why, ending in `.seed`.

// The decoder of the client protocol, as a file and not through its crate: all that
// `dht-cli` needs would take ten minutes to build with sanitizers, this takes none.
#[doc(hidden)]
#[path = "../../dht-cli/src/tcp/codec.rs"]
pub mod codec;
pub mod node;
mod tcp;
mod wire;

pub use tcp::tcp;
pub use wire::wire;

/// Plays the events that `data` describes to one node.
///
/// # Panics
/// If a law in the header of the module `node` is broken.
pub fn node(data: &[u8]) {
    if let Err(violation) = node::play(data, &mut |_| {}) {
        panic!("{violation}");
    }
}
