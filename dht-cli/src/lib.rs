//! What people touch: the node as a process, its client-facing servers, and the commands.
//!
//! ```text
//! TCP client ──▶ tcp  ─┐
//! HTTP client ─▶ http ─┤
//! gRPC client ─▶ grpc ─┼─▶ dht (a trait) ──▶ chord_net_quic::Node ──▶ the ring
//! signals ─▶ node_run ─┘                       config ──▶ node_run
//! ```
//!
//! The servers know a [`dht::Dht`], not the ring: the same code answers from a live node and
//! from the few lines of a fake in the tests. They run on threads of their own, away from the
//! thread that drives the node.

pub mod accept;
pub mod client;
pub mod commands;
pub mod config;
pub mod dht;
pub mod documents;
pub mod exit;
pub mod grpc;
pub mod http;
pub mod metrics;
pub mod node_run;
pub mod tcp;
pub mod term;
