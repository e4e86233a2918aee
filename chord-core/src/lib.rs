//! Chord as a pure, deterministic state machine.
//!
//! A [`node::Node`] consumes [`event::Event`]s and appends [`event::Action`]s; whoever owns
//! sockets, clocks and disks drives it. Nothing here can read a clock, open a file or start
//! a thread: the crate is `no_std`.
//!
//! ```text
//!              events                          actions
//! Command Request Answer ─▶ Node::handle ─▶ Finish Reply Call
//! Stored  Peer    Wake                      Store  Notice
//! ```
//!
//! A node that founds a ring and stores a record, driven by hand:
//!
//! ```
//! use std::sync::Arc;
//! use bytes::Bytes;
//! use chord_core::config::Config;
//! use chord_core::event::*;
//! use chord_core::id::Id;
//! use chord_core::message::Key;
//! use chord_core::node::Node;
//! use chord_core::peer::{Addr, Peer};
//! use chord_core::time::{Instant, Micros, Now};
//!
//! let me = Peer { id: Id::hash(b"me"), addr: Addr::v4(127, 0, 0, 1, 7400), incarnation: 1 };
//! let now = Now { mono: Instant(0), wall: 1_700_000_000_000_000 };
//! let config = Arc::new(Config::default());
//! let mut node = Node::new(config, me, 7, now, Restored::default()).unwrap();
//! let mut out = Vec::new();
//!
//! node.handle(now, Event::Command { ticket: Ticket(1), command: Command::Join { seeds: vec![] } }, &mut out);
//! assert!(out.contains(&Action::Notice(Notice::Joined { founded: true })));
//!
//! out.clear();
//! let command = Command::Put {
//!     key: Key::new(Bytes::from_static(b"greeting")).unwrap(),
//!     value: Bytes::from_static(b"hello"),
//!     ttl: Micros::ZERO,
//!     copies: 1,
//!     expected: None,
//! };
//! node.handle(now, Event::Command { ticket: Ticket(2), command }, &mut out);
//! // The owner first looks what is there, then writes, then answers: each a store command.
//! let mut answers = vec![];
//! while let Some(action) = out.pop() {
//!     match action {
//!         Action::Store { op, command: StoreCommand::Get { .. } } => {
//!             let result = Ok(StoreAnswer::Record(None));
//!             node.handle(now, Event::Stored { op, result }, &mut out);
//!         }
//!         Action::Store { op, command: StoreCommand::Put { .. } } => {
//!             let result = Ok(StoreAnswer::Put { newer: vec![] });
//!             node.handle(now, Event::Stored { op, result }, &mut out);
//!         }
//!         Action::Finish { ticket, result } => answers.push((ticket, result)),
//!         _ => {}
//!     }
//! }
//! assert!(matches!(answers[..], [(Ticket(2), Ok(Outcome::Written { .. }))]));
//! ```

#![no_std]

extern crate alloc;

mod bequest;
pub mod check;
mod client;
mod clock;
mod clocks;
mod compare;
pub mod config;
mod contacts;
pub mod draw;
pub mod event;
mod gather;
mod handover;
pub mod id;
mod join;
mod leave;
mod liveness;
mod lookup;
pub mod message;
mod miss;
pub mod node;
mod ops;
mod passive;
pub mod peer;
mod records;
mod repair;
pub mod ring;
mod route;
mod serve;
mod shown;
mod spans;
pub mod sums;
mod survey;
mod table;
mod then;
pub mod time;
mod upkeep;
pub mod wire;
mod write;
