//! Certificates, the authority and the TLS built on them, through the public API.

// The lint knows tests by their attribute; the helpers beside them are as much theirs.
#![allow(clippy::unwrap_used)]

mod authority;
#[path = "../common/credulous.rs"]
mod credulous;
mod expiry;
mod handshakes;
mod loading;
mod reloading;
mod support;
