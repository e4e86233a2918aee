//! Requests of peers: who may ask what, and the parts of a holder.
//!
//! A process that is not a member answers every question about the ring with `NotMember`,
//! so that stale entries of its earlier life vanish from lists before it joins again. A
//! holder answers about copies whatever it owns.

use crate::event::{State, StoreAnswer, StoreCommand, StoreError, Terms, Ticket};
use crate::id::{Id, Span};
use crate::message::{Head, Key, Record, Refusal, Request, Response, Route, VALUE_MAX};
use crate::node::{Cx, Node};
use crate::peer::Peer;
use crate::then::{Asker, Then, heads, page};
use crate::time::{Instant, Micros};

/// What a peer is told to wait when this node has too much in flight.
const OVERLOADED_MS: u32 = 100;
/// Keys of a `Fetch`.
pub(crate) const FETCH_KEYS_MAX: usize = 1_024;

impl Node {
    pub(crate) fn serve(
        &mut self,
        cx: &mut Cx,
        ticket: Ticket,
        from: Peer,
        terms: Terms,
        request: Request,
    ) {
        if !self.is_member() && !self.serves_as_outsider(&request) {
            let incarnation = self.me.incarnation;
            cx.refuse(ticket, Refusal::NotMember { incarnation });
            return;
        }
        // By what it is, not by what the sender calls it.
        let costs = matches!(
            request,
            Request::Put(_)
                | Request::Get { .. }
                | Request::Replicate { .. }
                | Request::Fetch { .. }
                | Request::Pull { .. }
                | Request::List { .. }
                | Request::Sums { .. }
                | Request::Offer { .. }
                | Request::Discard { .. }
        );
        if costs && self.ops.len() >= self.config.ops_max as usize {
            cx.refuse(
                ticket,
                Refusal::Overloaded {
                    retry_after_ms: OVERLOADED_MS,
                },
            );
            return;
        }
        match request {
            Request::Ping => cx.reply(ticket, Response::Done),
            Request::Route { target } => self.serve_route(cx, ticket, from, target),
            Request::Neighbours { digest } => self.serve_neighbours(cx, ticket, digest),
            Request::Notify => {
                let response = self.rectify(cx, from);
                cx.reply(ticket, response);
            }
            Request::Stabilise => {
                self.hinted(cx);
                cx.reply(ticket, Response::Done);
            }
            Request::Leave => {
                cx.reply(ticket, Response::Done);
                self.farewell(cx, from);
            }
            Request::Yield { after } => self.serve_yield(cx, ticket, from, after),
            Request::Cede { after } => self.serve_cede(cx, ticket, from, after),
            // An operation id is its gateway's to give: nobody may use up another's.
            Request::Put(write)
                if write.operation.gateway != from.id
                    || write.operation.incarnation != from.incarnation =>
            {
                cx.refuse(ticket, Refusal::Invalid);
            }
            Request::Put(write) => {
                self.serve_put(cx, Asker::Peer(ticket), write, terms.deadline);
            }
            Request::Get { key, quorum } => {
                self.serve_get(cx, Asker::Peer(ticket), key, quorum, terms.deadline);
            }
            Request::Replicate { records, fresh } => {
                self.serve_replicate(cx, ticket, records, fresh);
            }
            Request::Fetch { keys } => self.serve_fetch(cx, ticket, keys),
            Request::Pull {
                span,
                after,
                bytes_max,
            } => {
                let bytes_max = bytes_max.min(self.config.page_bytes);
                let then = Then::HolderPaged {
                    ticket,
                    span,
                    lists: false,
                };
                self.store(
                    cx,
                    StoreCommand::Scan {
                        span,
                        after,
                        bytes_max,
                    },
                    then,
                );
            }
            Request::List {
                span,
                after,
                bytes_max,
            } => {
                self.serve_list(cx, ticket, from, span, after, bytes_max);
            }
            Request::Sums { span } => {
                if span.upto == from.id {
                    self.spans.hold(span, None, cx.now.mono);
                }
                let then = Then::HolderSummed { ticket, span };
                self.store(cx, StoreCommand::Sums { span }, then);
            }
            Request::Mark { span, mark } => {
                let horizon = cx.now.wall.saturating_add(self.config.skew_max.0);
                let sane = span.upto == from.id
                    && mark.rank > 0
                    && mark.epoch <= horizon
                    && (!span.contains(self.me.id) || span.is_whole())
                    && !self.knows_member_in(span, cx.now.mono);
                if sane {
                    self.spans.hold(span, Some(mark), cx.now.mono);
                    cx.reply(ticket, Response::Done);
                } else {
                    cx.refuse(ticket, Refusal::Invalid);
                }
            }
            Request::Offer { heads, leaving } => {
                self.serve_offer(cx, ticket, from, heads, leaving);
            }
            Request::Discard { heads } => self.serve_discard(cx, ticket, from, heads),
        }
    }

    /// Whether somebody who spoke lately lies within `span`, before its end: then that is not
    /// one owner's, and whoever marks it would make the marks of another look old.
    pub(crate) fn knows_member_in(&self, span: Span, now: Instant) -> bool {
        let lately = now - self.config.stabilise_max.times(8);
        let neighbours = self.ring.successors().iter().copied();
        neighbours
            .chain(self.ring.predecessor())
            .chain(self.table.peers().iter().copied())
            .any(|peer| {
                peer.id != span.upto
                    && span.contains(peer.id)
                    && !self.contacts.is_dead(peer, now)
                    && !self.repair.hands_over(peer)
                    && self.contacts.heard_since(peer.id, lately)
            })
    }

    /// A lost node still holds copies, and says so.
    fn serves_as_outsider(&self, request: &Request) -> bool {
        self.state == State::Lost
            && matches!(
                request,
                Request::Fetch { .. }
                    | Request::Pull { .. }
                    | Request::List { .. }
                    | Request::Sums { .. }
                    | Request::Replicate { .. }
            )
    }

    fn serve_route(&mut self, cx: &mut Cx, ticket: Ticket, from: Peer, target: Id) {
        let unsure = self.spans.owned().is_none()
            && self.state == State::Joined
            && self
                .ring
                .predecessor()
                .is_some_and(|p| Span::new(p.id, self.me.id).contains(target));
        let route = self.route(target, from.id, cx.now.mono);
        let owner = matches!(route, Some(Route::Owner { .. }));
        match route {
            Some(route) if from.id == target => cx.reply(ticket, Response::Route(route)),
            Some(route) if !unsure && (owner || !self.may_inherit(cx, target)) => {
                cx.reply(ticket, Response::Route(route));
            }
            _ => {
                if let Some(predecessor) = self.ring.predecessor().filter(|_| unsure) {
                    self.check_alive(cx, predecessor);
                }
                cx.refuse(ticket, Refusal::Settling);
            }
        }
    }

    fn serve_neighbours(&mut self, cx: &mut Cx, ticket: Ticket, digest: u64) {
        let same = digest != 0 && digest == self.ring.digest();
        let successors = (!same).then(|| self.ring.successors().to_vec());
        let predecessor = self.ring.predecessor();
        cx.reply(
            ticket,
            Response::Neighbours {
                me: self.me,
                predecessor,
                successors,
                wall: Some(cx.now.wall),
            },
        );
    }

    /// A member has left: dead without doubt, but no loss, and no member any more.
    fn farewell(&mut self, cx: &mut Cx, from: Peer) {
        let last = self.ring.head() == Some(from) && self.ring.successors().len() == 1;
        let near = self
            .ring
            .successors()
            .iter()
            .any(|known| known.id == from.id)
            || self
                .ring
                .predecessor()
                .is_some_and(|known| known.id == from.id);
        self.exclude(from);
        self.contacts.died(from, cx.now.mono);
        self.drop_dead_heads(cx, last);
        self.died(cx, from);
        self.passive.left(from);
        self.awaited.retain(|peer| peer.id != from.id);
        self.alone_again(cx);
        if near {
            self.want_repair(cx);
        }
    }

    // ---- holder ------------------------------------------------------------------------

    fn serve_replicate(
        &mut self,
        cx: &mut Cx,
        ticket: Ticket,
        records: alloc::vec::Vec<Record>,
        fresh: bool,
    ) {
        if self.state == State::Leaving {
            cx.refuse(ticket, Refusal::Leaving);
            return;
        }
        let horizon = cx.now.wall.saturating_add(self.config.skew_max.0);
        let ahead = |record: &Record| {
            let time = record.header.version.time;
            if fresh {
                time > horizon
            } else {
                time >= 1 << 63
            }
        };
        if records.iter().any(ahead) {
            cx.refuse(ticket, Refusal::ClockSkew);
            return;
        }
        let valid = |record: &Record| {
            record.value.len() <= VALUE_MAX
                && (1..=64).contains(&record.header.copies)
                && (record.value.is_empty() || !record.header.tombstone)
        };
        if records.is_empty() || !records.iter().all(valid) {
            cx.refuse(ticket, Refusal::Invalid);
            return;
        }
        let until = cx.now.mono + self.config.command_timeout.times(2);
        for record in &records {
            self.clock.saw(record.header.version.time, cx.now);
            if fresh {
                self.clock.showed(record.header.version.time, cx.now);
            }
            self.passed
                .insert(record.header.operation, record.header.version, until);
        }
        if !fresh
            && records
                .iter()
                .any(|record| self.spans.owns(record.key.position()))
        {
            self.repair.arrived();
        }
        let records = records
            .into_iter()
            .map(|record| self.clamp(record, cx))
            .collect();
        self.store(
            cx,
            StoreCommand::Put { records },
            Then::HolderStored { ticket },
        );
    }

    /// Lifetimes and copies of others within our own bounds.
    pub(crate) fn clamp(&self, mut record: Record, cx: &Cx) -> Record {
        let latest = cx.now.mono + self.config.ttl_max;
        record.header.expires = record.header.expires.min(latest);
        record.header.shadow = record.header.shadow.min(latest).max(record.header.expires);
        record.header.copies = record.header.copies.clamp(1, self.config.copies_max);
        record
    }

    pub(crate) fn holder_stored(
        &mut self,
        cx: &mut Cx,
        ticket: Ticket,
        result: Result<StoreAnswer, StoreError>,
    ) {
        match result {
            Ok(StoreAnswer::Put { newer }) => cx.reply(ticket, Response::Replicated { newer }),
            Err(StoreError::Full) => cx.refuse(ticket, Refusal::Full),
            Ok(_) | Err(StoreError::Failed) => cx.refuse(ticket, Refusal::Storage),
        }
    }

    fn serve_fetch(&mut self, cx: &mut Cx, ticket: Ticket, keys: alloc::vec::Vec<Key>) {
        if keys.is_empty() || keys.len() > FETCH_KEYS_MAX {
            cx.refuse(ticket, Refusal::Invalid);
            return;
        }
        let first = keys.first().cloned();
        let then = Then::HolderFetched { ticket, first };
        // What does not fit is left out like a miss: whoever needs it asks again.
        let bytes_max = self.config.page_bytes;
        self.store(cx, StoreCommand::GetMany { keys, bytes_max }, then);
    }

    pub(crate) fn holder_fetched(
        &mut self,
        cx: &mut Cx,
        ticket: Ticket,
        first: Option<&Key>,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let Some((records, _)) = page(result) else {
            cx.refuse(ticket, Refusal::Storage);
            return;
        };
        let mark = first.and_then(|key| self.spans.mark(key.position()));
        cx.reply(ticket, Response::Fetched { records, mark });
    }

    fn serve_list(
        &mut self,
        cx: &mut Cx,
        ticket: Ticket,
        from: Peer,
        span: Span,
        after: Option<Key>,
        bytes_max: u32,
    ) {
        if span.upto == from.id {
            self.spans.hold(span, None, cx.now.mono);
        }
        let bytes_max = bytes_max.min(self.config.page_bytes);
        let then = Then::HolderPaged {
            ticket,
            span,
            lists: true,
        };
        self.store(
            cx,
            StoreCommand::List {
                span,
                after,
                bytes_max,
            },
            then,
        );
    }

    pub(crate) fn holder_paged(
        &mut self,
        cx: &mut Cx,
        ticket: Ticket,
        span: Span,
        lists: bool,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let response = if lists {
            heads(result).map(|(heads, more)| {
                let mark = self.spans.mark_of(span);
                Response::Heads { heads, more, mark }
            })
        } else {
            page(result).map(|(records, more)| Response::Page { records, more })
        };
        cx.reply(
            ticket,
            response.unwrap_or(Response::Refused(Refusal::Storage)),
        );
    }

    pub(crate) fn holder_summed(
        &mut self,
        cx: &mut Cx,
        ticket: Ticket,
        span: Span,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let response = match result {
            Ok(StoreAnswer::Sums { sums }) => Response::Sums {
                sums,
                mark: self.spans.mark_of(span),
            },
            _ => Response::Refused(Refusal::Storage),
        };
        cx.reply(ticket, response);
    }

    /// Drops surplus copies at the word of their owner, never what this node owns itself.
    fn serve_discard(
        &mut self,
        cx: &mut Cx,
        ticket: Ticket,
        from: Peer,
        heads: alloc::vec::Vec<Head>,
    ) {
        let foreign = |head: &Head| {
            let position = head.key.position();
            !self.spans.owns(position) && self.spans.is_marked_by(position, from.id)
        };
        if !heads.iter().all(foreign) {
            cx.refuse(ticket, Refusal::Invalid);
            return;
        }
        self.store(
            cx,
            StoreCommand::Discard { heads },
            Then::HolderDiscarded { ticket },
        );
    }

    pub(crate) fn holder_discarded(
        &mut self,
        cx: &mut Cx,
        ticket: Ticket,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let response = match result {
            Ok(_) => Response::Done,
            Err(_) => Response::Refused(Refusal::Storage),
        };
        cx.reply(ticket, response);
    }

    /// How long a data call to another member may take.
    pub(crate) fn data_timeout(
        &self,
        cx: &Cx,
        deadline: crate::time::Instant,
    ) -> crate::time::Instant {
        deadline.min(cx.now.mono + self.config.timeout_max)
    }

    /// A pause before asking for something again that is not ready yet.
    pub(crate) const fn soon() -> Micros {
        Micros::from_millis(50)
    }
}
