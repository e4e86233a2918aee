//! The Chord service over gRPC: its messages.
//!
//! [`proto`] is generated from `proto/chord.proto` and committed; a test compares.

/// Messages and server of the service, as `proto/chord.proto` says.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::wildcard_imports,
    reason = "generated"
)]
#[rustfmt::skip]
#[path = "grpc/generated.rs"]
pub mod proto;
