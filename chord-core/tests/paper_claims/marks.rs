//! When an owner may call a copy complete, and which of several copies counts.

use std::collections::BTreeMap;

use bytes::Bytes;
use chord_core::id::{Id, Span};
use chord_core::message::{Header, Key, Mark, OperationId, Record, Request, Response, Version};
use chord_core::time::Instant;

use crate::played::{Played, granting, heads_in, peer, sums_in};

const ME: u8 = 100;

/// A record in the span of the node in question.
fn ours(n: usize) -> Record {
    let span = Span::new(peer(50).id, peer(ME).id);
    let keys = (0..).map(|n: u32| Key::new(Bytes::from(n.to_string())).expect("short"));
    let mut inside = keys.filter(|key| span.contains(key.position()));
    let header = Header {
        version: Version {
            time: 1 << 40,
            writer: Id::ZERO,
        },
        operation: OperationId::default(),
        copies: 3,
        tombstone: false,
        expires: Instant(1 << 60),
        shadow: Instant(1 << 60),
    };
    Record {
        key: inside.nth(n).expect("an endless supply"),
        value: Bytes::from_static(b"v"),
        header,
    }
}

/// Three holders that answer whatever they are asked, and what was asked of them.
struct Holders {
    stores: BTreeMap<Id, BTreeMap<Key, Record>>,
    marks: BTreeMap<Id, Mark>,
    log: Vec<&'static str>,
}

impl Holders {
    fn new() -> Self {
        Self {
            stores: BTreeMap::new(),
            marks: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    fn give(&mut self, holder: u8, record: Record) {
        let store = self.stores.entry(peer(holder).id).or_default();
        store.insert(record.key.clone(), record);
    }

    fn answer(&mut self, to: Id, request: Request, me: u8) -> Response {
        let store = self.stores.entry(to).or_default();
        match request {
            Request::Notify => granting(50, me),
            Request::Neighbours { .. } => Response::Neighbours {
                me: peer(to.0[0]),
                predecessor: None,
                successors: None,
                wall: None,
            },
            Request::Sums { span } => {
                self.log.push("Sums");
                Response::Sums {
                    sums: sums_in(store.values(), span),
                    mark: self.marks.get(&to).copied(),
                }
            }
            Request::List { span, .. } => {
                self.log.push("List");
                Response::Heads {
                    heads: heads_in(store.values(), span),
                    more: false,
                    mark: self.marks.get(&to).copied(),
                }
            }
            Request::Fetch { keys } => {
                self.log.push("Fetch");
                let found = keys.iter().filter_map(|key| store.get(key));
                Response::Fetched {
                    records: found.cloned().collect(),
                    mark: None,
                }
            }
            Request::Replicate { records, .. } => {
                for record in records {
                    store.insert(record.key.clone(), record);
                }
                let newer = Vec::new();
                Response::Replicated { newer }
            }
            Request::Mark { .. } => {
                // Forgotten at once: so it is given again after every round that allows it.
                self.log.push("Mark");
                Response::Done
            }
            _ => Response::Done,
        }
    }

    /// Everything that happens within so many seconds.
    fn run(&mut self, played: &mut Played, seconds: u64) {
        let until = played.now + seconds * 1_000_000;
        while played.now < until {
            if played.calls.is_empty() {
                played.wake();
                continue;
            }
            let (op, to, request) = played.calls.remove(0);
            let response = self.answer(to.id, request, ME);
            played.answer(op, Ok(response));
        }
    }
}

#[test]
fn no_copy_is_called_complete_after_a_round_that_had_to_fetch_something() {
    let mut played = Played::joined(ME, 50, &[120, 140, 50]);
    let mut holders = Holders::new();
    holders.give(120, ours(0));
    holders.run(&mut played, 90);
    assert!(holders.log.contains(&"Mark"), "{:?}", holders.log);
    assert_eq!(played.store.len(), 1, "what a holder knew was fetched");

    // One holder knows more than the owner: the others cannot be complete.
    holders.give(140, ours(1));
    holders.log.clear();
    holders.run(&mut played, 200);
    assert_eq!(played.store.len(), 2);
    let fetched = holders.log.iter().position(|what| *what == "Fetch");
    let behind = &holders.log[fetched.expect("it was fetched")..];
    let next = behind.iter().position(|what| *what == "Sums");
    let marked = behind.iter().position(|what| *what == "Mark");
    assert!(next.is_some() && marked.is_some(), "{:?}", holders.log);
    assert!(next < marked, "{:?}", holders.log);
}

#[test]
fn a_span_is_not_settled_before_every_holder_that_lives_has_been_compared() {
    let mut played = Played::joined(ME, 50, &[120, 140, 50]);
    let mut holders = Holders::new();
    let mut answered = 0;
    for _ in 0..200 {
        if played.calls.is_empty() {
            played.wake();
            continue;
        }
        let (op, to, request) = played.calls.remove(0);
        let lists = matches!(request, Request::Sums { .. });
        if lists && answered == 2 {
            let status = played.node.status(Instant(played.now));
            assert!(
                status.owned.is_some() && status.spans_unsettled > 0,
                "{status:?}"
            );
            return;
        }
        answered += usize::from(lists);
        let response = holders.answer(to.id, request, ME);
        played.answer(op, Ok(response));
    }
    panic!("three holders were never asked: {:?}", holders.log);
}

#[test]
fn a_quorum_read_shows_the_newest_copy_and_stores_it_with_a_majority_first() {
    let mut played = Played::joined(ME, 50, &[120, 140, 50]);
    let mut holders = Holders::new();
    let old = ours(0);
    for holder in [120, 140, 50] {
        holders.give(holder, old.clone());
    }
    holders.run(&mut played, 30);
    assert!(played.store.contains_key(&old.key));
    // A write that reached one holder only, through an owner that is gone. That holder is the
    // first to answer, so it is part of the majority.
    let mut newer = old.clone();
    newer.header.version.time += 1;
    newer.value = Bytes::from_static(b"w");
    holders.give(120, newer.clone());
    let key = old.key.clone();
    let open = played.begin(200, Request::Get { key, quorum: true });
    let said = loop {
        if let Some(said) = played.said(open) {
            break said;
        }
        holders.run(&mut played, 0);
        let (op, to, request) = played.calls.remove(0);
        let response = holders.answer(to.id, request, ME);
        played.answer(op, Ok(response));
    };
    let Response::Got { record: Some(read) } = said else {
        panic!("{said:?}")
    };
    assert_eq!(
        (read.header.version, read.value),
        (newer.header.version, newer.value)
    );
    let has =
        |record: Option<&Record>| record.is_some_and(|r| r.header.version == newer.header.version);
    let others = [120, 140, 50].map(|at| holders.stores[&peer(at).id].get(&old.key));
    let holding = others.into_iter().filter(|record| has(*record)).count();
    let own = usize::from(has(played.store.get(&old.key)));
    assert!(holding + own >= 2, "only {holding} others and {own} here");
}
