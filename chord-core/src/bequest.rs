//! Leaving while the owner before this node is dead.
//!
//! ```text
//! me ── Replicate ──▶ the next members that stay     until a majority of holders stores it
//! ```
//!
//! The span of a dead predecessor falls to this node, which leaves and owns nothing any more;
//! the one behind it inherits only once this node is gone. So there is no owner to confirm
//! anything, and the last copy may be here. The leaver stands in for the owner: what it holds
//! of that span it stores at those who will hold it then.
//!
//! **Invariant:** a record counts as handed over only once a majority of those stores it.

use alloc::vec::Vec;

use crate::event::{CallError, Class, StoreAnswer, StoreCommand, StoreError};
use crate::id::{Id, Span};
use crate::message::{Key, Refusal, Request, Response};
use crate::node::{Cx, Node};
use crate::peer::Peer;
use crate::then::{Then, page};
use crate::time::Instant;

/// Records on their way to those who will hold them.
#[derive(Clone, Debug)]
pub(crate) struct Bequest {
    keys: Vec<Key>,
    waiting: usize,
    stored: usize,
    needed: usize,
}

impl Node {
    /// Whether a position falls to this node, which leaves, from a predecessor that died.
    /// `former` is what it owned itself.
    pub(crate) fn falls_to_leaver(&self, position: Id, former: Option<Span>, now: Instant) -> bool {
        let Some(former) = former else {
            return false;
        };
        let Some(predecessor) = self.ring.predecessor() else {
            return false;
        };
        if self.contacts.is_dead(predecessor, now) {
            return self.is_next_in_line(position, now);
        }
        // The one before the dead has taken its place.
        Span::new(predecessor.id, self.me.id).contains(position) && !former.contains(position)
    }

    /// Passes on what falls to this node of the page.
    pub(crate) fn bequeath(&mut self, cx: &mut Cx) {
        let now = cx.now.mono;
        let Some(leaving) = &self.leaving else { return };
        let former = leaving.former;
        let falls = |position: Id| self.falls_to_leaver(position, former, now);
        let heads = leaving.page.iter();
        let mut heads = heads.filter(|head| falls(head.key.position())).peekable();
        // One number of copies at a time, for it says who must have them.
        let copies = heads.peek().map_or(1, |head| head.copies);
        let heads = heads.filter(|head| head.copies == copies);
        let keys: Vec<Key> = heads.map(|head| head.key.clone()).collect();
        let mut heirs = self.candidates(usize::from(self.config.copies_max), now);
        heirs.retain(|heir| !leaving.refused.contains(&heir.id));
        heirs.truncate(usize::from(copies));
        let needed = usize::from(self.quorums(copies, now).0);
        if heirs.len() < needed {
            self.again_soon(cx);
            return;
        }
        let command = StoreCommand::GetMany {
            keys: keys.clone(),
            bytes_max: self.config.page_bytes,
        };
        if let Some(leaving) = &mut self.leaving {
            leaving.bequest = Some(Bequest {
                keys,
                waiting: heirs.len(),
                stored: 0,
                needed,
            });
        }
        self.store(cx, command, Then::BequestRead { heirs });
    }

    pub(crate) fn bequest_read(
        &mut self,
        cx: &mut Cx,
        heirs: Vec<Peer>,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let records = page(result).map(|(records, _)| records);
        let bequest = self.leaving.as_mut().and_then(|l| l.bequest.as_mut());
        let (Some(bequest), Some(records)) = (bequest, records) else {
            self.again_soon(cx);
            return;
        };
        if records.is_empty() {
            // Swept meanwhile: at least one would have come.
            self.bequest_over(cx);
            return;
        }
        // What did not fit into the page is of the next.
        bequest.keys = records.iter().map(|record| record.key.clone()).collect();
        let deadline = cx.now.mono + self.config.timeout_max;
        for heir in heirs {
            let request = Request::Replicate {
                records: records.clone(),
                fresh: false,
            };
            let then = Then::Bequeathed;
            self.call_until(cx, heir, request, Class::Repair, 0, deadline, then);
        }
    }

    pub(crate) fn bequeathed(
        &mut self,
        cx: &mut Cx,
        heir: Peer,
        result: Result<Response, CallError>,
    ) {
        let Some(leaving) = self.leaving.as_mut().filter(|l| !l.given_up) else {
            return;
        };
        if result == Ok(Response::Refused(Refusal::Leaving)) {
            leaving.refused.push(heir.id);
        }
        let Some(bequest) = &mut leaving.bequest else {
            return;
        };
        let stored = matches!(result, Ok(Response::Replicated { .. }));
        bequest.waiting = bequest.waiting.saturating_sub(1);
        bequest.stored += usize::from(stored);
        if bequest.waiting > 0 {
            return;
        }
        if bequest.stored >= bequest.needed {
            self.bequest_over(cx);
        } else {
            self.again_soon(cx);
        }
    }

    /// What was passed on is no longer this node's to keep.
    fn bequest_over(&mut self, cx: &mut Cx) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        if let Some(mut bequest) = leaving.bequest.take() {
            bequest.keys.sort_unstable();
            let before = leaving.page.len();
            leaving
                .page
                .retain(|head| bequest.keys.binary_search(&head.key).is_err());
            let passed = (before - leaving.page.len()) as u64;
            leaving.handed_over = leaving.handed_over.saturating_add(passed);
        }
        leaving.busy = false;
        self.leave_step(cx);
    }
}
