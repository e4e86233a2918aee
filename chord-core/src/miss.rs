//! Misses of an owner's own store: asked once more before they are "not found".
//!
//! ```text
//! own store: nothing ── Fetch(key) ──▶ next holder    nothing: not found
//!                                                     a copy: gathered and written back
//!                                                     silent, new here: the holder after it
//! ```
//!
//! A damaged disk may hide a record that it was given, and a settled owner would deny it in
//! good faith. So somebody else who should have it must miss it too: a holder that carries
//! the mark *complete* settles it, one without counts once all have been asked. A read that
//! finds something asks nobody.
//!
//! **Invariant:** with other members known, no "not found" rests on one store alone.

use alloc::vec::Vec;

use crate::event::{CallError, Class};
use crate::gather::{Met, Purpose};
use crate::message::{Key, Record, Refusal, Request, Response};
use crate::node::{Cx, Node};
use crate::peer::Peer;
use crate::then::{Asker, Then};
use crate::time::Instant;

/// A read that the own store answered with nothing.
#[derive(Clone, Debug)]
pub(crate) struct Miss {
    asker: Asker,
    key: Key,
    deadline: Instant,
    asked: Vec<Peer>,
    /// Somebody without a mark had nothing either.
    shared: bool,
}

impl Miss {
    pub(crate) const fn new(asker: Asker, key: Key, deadline: Instant) -> Self {
        Self {
            asker,
            key,
            deadline,
            asked: Vec::new(),
            shared: false,
        }
    }
}

impl Node {
    /// Asks the next holder; when there is none left, says what is known.
    pub(crate) fn ask_another(&mut self, cx: &mut Cx, mut miss: Miss) {
        let now = cx.now.mono;
        let holders = self.candidates(self.misses_that_count(), now);
        let next = holders.into_iter().find(|peer| !miss.asked.contains(peer));
        if let Some(peer) = next {
            miss.asked.push(peer);
            let request = Request::Fetch {
                keys: alloc::vec![miss.key.clone()],
            };
            let until = self.data_timeout(cx, miss.deadline);
            let then = Then::MissShared { miss };
            self.call_until(cx, peer, request, Class::Client, 0, until, then);
            return;
        }
        let response = if miss.shared || self.members_known(now) < 2 {
            Response::Got { record: None }
        } else {
            Response::Refused(Refusal::Unavailable {
                stored: 1,
                needed: 2,
            })
        };
        self.respond(cx, miss.asker, response);
    }

    /// Another holder has looked.
    pub(crate) fn miss_shared(
        &mut self,
        cx: &mut Cx,
        peer: Peer,
        mut miss: Miss,
        result: Result<Response, CallError>,
    ) {
        // The span may have been granted to somebody else meanwhile.
        if !self.spans.is_settled(miss.key.position()) {
            self.turn_away(cx, miss.asker, Refusal::Settling);
            return;
        }
        let Ok(Response::Fetched { records, mark }) = result else {
            self.ask_another(cx, miss);
            return;
        };
        // What is about to be swept may be gone here already.
        let bury = cx.now.mono - self.config.repair_bound;
        let lasts = |record: &Record| record.key == miss.key && record.header.shadow >= bury;
        if let Some(record) = records.into_iter().find(lasts) {
            if !record.is_sane() {
                self.ask_another(cx, miss);
                return;
            }
            let record = self.clamp(record, cx);
            // Lost here: the holders tell what is newest, and get it back.
            self.want_repair(cx);
            let purpose = Purpose::Read {
                asker: miss.asker,
                quorum: true,
            };
            let met = Met { peer, record, mark };
            self.gather(cx, miss.key, purpose, miss.deadline, Some(met));
            return;
        }
        // Of the same round as our own mark: one that was away since may have missed a write.
        let own = self.own_mark(miss.key.position()).map(|mark| mark.epoch);
        let should_know = mark.is_some_and(|mark| {
            Some(mark.epoch) == own && usize::from(mark.rank) <= self.misses_that_count()
        });
        if should_know {
            self.respond(cx, miss.asker, Response::Got { record: None });
        } else {
            miss.shared = true;
            self.ask_another(cx, miss);
        }
    }

    /// Holders of a record of the usual copies, the owner aside: those after them are not
    /// meant to have it.
    fn misses_that_count(&self) -> usize {
        usize::from(self.config.copies.max(2)) - 1
    }
}
