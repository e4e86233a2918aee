//! Listing what the host itself holds, for people.
//!
//! The store is asked directly, page by page, beside what its nodes ask of it. A page may
//! hold nothing but tombstones and expired records, so it takes as many as are needed.

use chord_core::event::{Failure, OpId, StoreAnswer, StoreCommand, StoreError};
use chord_core::id::{Id, Span};
use chord_core::message::{Key, Record};
use chord_core::time::{Instant, Now};
use tokio::sync::oneshot;

use crate::api::Held;
use crate::driver::Driver;
use crate::store::Token;

/// Most listings at one time: each keeps a page of values in memory.
const LISTINGS_MAX: usize = 4;
/// Most bytes asked for at once.
const PAGE: u32 = 512 << 10;
/// Stands for the host in a token: no host has as many positions.
pub(super) const HOST: u16 = u16::MAX;

/// Who waits for the answer.
pub(super) type Waiting = oneshot::Sender<Result<Held, Failure>>;

/// The listings under way.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    listings: Vec<Listing>,
    next: u64,
}

#[derive(Debug)]
struct Listing {
    op: OpId,
    waiting: Waiting,
    /// Bytes of keys and values still wanted.
    left: usize,
    held: Held,
}

impl Listing {
    /// Takes a page. Says behind which key to go on, if that is needed.
    fn take(&mut self, page: Vec<Record>, more: bool, now: Instant) -> Option<Key> {
        let last = page.last().map(|record| record.key.clone());
        for record in page.into_iter().filter(|record| record.is_live(now)) {
            let size = record.key.bytes().len() + record.value.len();
            let Some(left) = self.left.checked_sub(size) else {
                self.held.more = true;
                return None;
            };
            self.left = left;
            self.held.records.push(record);
        }
        last.filter(|_| more)
    }
}

impl Driver {
    /// Begins to list live records until their keys and values reach `bytes`.
    pub(super) fn list(&mut self, bytes: usize, waiting: Waiting, now: Now) {
        if self.inventory.listings.len() >= LISTINGS_MAX {
            let _ = waiting.send(Err(Failure::Overloaded)); // Or nobody waits any more.
            return;
        }
        let op = OpId(self.inventory.next);
        self.inventory.next += 1;
        self.inventory.listings.push(Listing {
            op,
            waiting,
            left: bytes,
            held: Held::default(),
        });
        self.list_behind(op, None, now);
    }

    fn list_behind(&mut self, op: OpId, after: Option<Key>, now: Now) {
        let command = StoreCommand::Scan {
            span: Span::whole(Id::ZERO),
            after,
            bytes_max: PAGE,
        };
        let token = Token { position: HOST, op };
        if let Some(result) = self.store.submit(token, command, now) {
            self.listed(op, result, now);
        }
    }

    /// Takes what the store answered to the host itself.
    pub(super) fn listed(&mut self, op: OpId, result: Result<StoreAnswer, StoreError>, now: Now) {
        let listings = &mut self.inventory.listings;
        let Some(at) = listings.iter().position(|listing| listing.op == op) else {
            return;
        };
        let listing = &mut listings[at];
        let next = match result {
            Ok(StoreAnswer::Page { records, more }) => Ok(listing.take(records, more, now.mono)),
            Ok(_) | Err(_) => Err(Failure::Storage),
        };
        match next {
            Ok(Some(after)) if !listing.waiting.is_closed() => {
                self.list_behind(op, Some(after), now);
            }
            Ok(_) => {
                let Listing { waiting, held, .. } = listings.swap_remove(at);
                let _ = waiting.send(Ok(held));
            }
            Err(failure) => {
                let _ = listings.swap_remove(at).waiting.send(Err(failure));
            }
        }
    }
}
