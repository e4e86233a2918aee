//! The other members, as one: a ring that is always in order and answers what a healthy
//! one would. Lies and silence are the script's business.

use std::collections::BTreeMap;

use chord_core::event::CallError;
use chord_core::id::Id;
use chord_core::message::{
    Header, Mark, Record, Request, Response, Route, Verdict, Version, Write,
};
use chord_core::peer::Peer;
use chord_core::time::{Micros, Now};

use super::script::{MEMBERS, addr, id};
use super::store::Shelf;

/// Successors that the others tell.
const TOLD: usize = 4;

/// Everybody but the node under test.
pub(super) struct Others {
    me: Peer,
    /// Whether the node under test has shown itself to them.
    know_me: bool,
    up: [bool; MEMBERS as usize],
    incarnations: [u32; MEMBERS as usize],
    marks: BTreeMap<Id, Mark>,
    shelf: Shelf,
}

impl Others {
    /// `up` holds a bit for each member that is there from the start.
    pub(super) fn new(me: Peer, up: u8) -> Self {
        let mut others = Self {
            me,
            know_me: false,
            up: [false; MEMBERS as usize],
            incarnations: [1; MEMBERS as usize],
            marks: BTreeMap::new(),
            shelf: Shelf::default(),
        };
        for n in 1..MEMBERS {
            others.up[usize::from(n)] = up >> n & 1 == 1;
        }
        others
    }

    /// Ends a member, or starts it again in its next life.
    pub(super) fn toggle(&mut self, n: u8) {
        let n = usize::from(1 + n % (MEMBERS - 1));
        self.up[n] = !self.up[n];
        self.incarnations[n] += u32::from(self.up[n]);
    }

    pub(super) fn peer(&self, n: u8) -> Peer {
        let n = n % MEMBERS;
        Peer {
            id: id(n),
            addr: addr(n),
            incarnation: self.incarnations[usize::from(n)],
        }
    }

    /// Who answers when `to` is called.
    ///
    /// # Errors
    /// Nobody is there, or in a later life than was meant.
    pub(super) fn callee(&self, to: Peer) -> Result<Peer, CallError> {
        let mut up = (1..MEMBERS)
            .filter(|&n| self.up[usize::from(n)])
            .map(|n| self.peer(n));
        let meant = |peer: &Peer| {
            if to.is_seed() {
                peer.addr == to.addr
            } else {
                peer.id == to.id
            }
        };
        match up.find(meant) {
            None => Err(CallError::Unreachable),
            Some(Peer { incarnation, .. })
                if to.incarnation != 0 && to.incarnation < incarnation =>
            {
                Err(CallError::Restarted { incarnation })
            }
            Some(peer) => Ok(peer),
        }
    }

    /// The members in ring order, beginning with the first at or behind `at`.
    fn ring_from(&self, at: Id) -> Vec<Peer> {
        let up = (1..MEMBERS)
            .filter(|&n| self.up[usize::from(n)])
            .map(|n| self.peer(n));
        let mut ring: Vec<Peer> = up.chain(self.know_me.then_some(self.me)).collect();
        ring.sort_by_key(|peer| at.distance(peer.id));
        ring
    }

    fn predecessor(&self, of: Peer) -> Option<Peer> {
        self.ring_from(of.id)
            .last()
            .copied()
            .filter(|&last| last != of)
    }

    fn route(&self, from: Peer, target: Id) -> Route {
        let ring = self.ring_from(target);
        let owner = ring[0];
        if owner == from {
            return Route::Owner { settled: true };
        }
        if ring.last() == Some(&from) {
            return Route::Successors(ring.into_iter().take(TOLD).collect());
        }
        let closer = ring
            .iter()
            .rev()
            .filter(|peer| Id::between(from.id, peer.id, target));
        Route::Closer(closer.copied().take(3).collect())
    }

    fn write(&mut self, now: Now, writer: Peer, write: Write) -> Response {
        let version = Version {
            time: now.wall.max(1),
            writer: writer.id,
        };
        let expires = now.mono + write.ttl.min(Micros::from_secs(3_600));
        let tombstone = write.value.is_none();
        let header = Header {
            version,
            operation: write.operation,
            copies: write.copies.clamp(1, 3),
            tombstone,
            expires,
            shadow: expires,
        };
        let value = write.value.unwrap_or_default();
        self.shelf.put(vec![Record {
            key: write.key,
            value,
            header,
        }]);
        Response::Written { version }
    }

    fn mark(&self, callee: Peer) -> Option<Mark> {
        self.marks.get(&callee.id).copied()
    }

    /// What `callee` answers to the node under test.
    pub(super) fn answer(&mut self, now: Now, callee: Peer, request: Request) -> Response {
        match request {
            Request::Ping
            | Request::Stabilise
            | Request::Leave
            | Request::Yield { .. }
            | Request::Cede { .. }
            | Request::Discard { .. } => Response::Done,
            Request::Mark { mark, .. } => {
                self.marks.insert(callee.id, mark);
                Response::Done
            }
            Request::Route { target } => Response::Route(self.route(callee, target)),
            Request::Neighbours { .. } => Response::Neighbours {
                me: callee,
                predecessor: self.predecessor(callee),
                successors: Some(
                    self.ring_from(callee.id)
                        .into_iter()
                        .skip(1)
                        .take(TOLD)
                        .collect(),
                ),
                wall: None,
            },
            Request::Notify => {
                let before = self.predecessor(callee).filter(|&peer| peer != self.me);
                let between =
                    before.is_none_or(|before| Id::between(before.id, self.me.id, callee.id));
                self.know_me |= between;
                Response::Notified {
                    predecessor: if between { Some(self.me) } else { before },
                    granted: between.then_some(before.unwrap_or(callee)),
                }
            }
            Request::Put(write) => self.write(now, callee, write),
            Request::Get { key, .. } => Response::Got {
                record: self.shelf.get(&key).filter(|r| r.is_live(now.mono)),
            },
            Request::Replicate { records, .. } => Response::Replicated {
                newer: self.shelf.put(records),
            },
            Request::Fetch { keys } => Response::Fetched {
                records: self.shelf.get_many(&keys, u32::MAX).0,
                mark: self.mark(callee),
            },
            Request::Pull {
                span,
                after,
                bytes_max,
            } => {
                let (records, more) = self.shelf.page(span, after.as_ref(), bytes_max);
                Response::Page { records, more }
            }
            Request::List {
                span,
                after,
                bytes_max,
            } => {
                let (heads, more) = self.shelf.heads(span, after.as_ref(), bytes_max);
                Response::Heads {
                    heads,
                    more,
                    mark: self.mark(callee),
                }
            }
            Request::Sums { span } => Response::Sums {
                sums: self.shelf.sums(span),
                mark: self.mark(callee),
            },
            Request::Offer { heads, .. } => {
                let verdict = |stored: Option<Record>, version| match stored {
                    Some(record) if record.header.version >= version => Verdict::Drop,
                    _ => Verdict::Send,
                };
                let heads = heads.iter();
                let verdicts = heads
                    .map(|head| verdict(self.shelf.get(&head.key), head.version))
                    .collect();
                Response::Offered { verdicts }
            }
        }
    }
}
