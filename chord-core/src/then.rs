//! Continuations as data: what to do when a call or a store command comes back.
//!
//! Success, refusal, failure and timeout all come through the same door, so no path can be
//! forgotten: each variant is matched once for calls and once for the store.

use alloc::vec::Vec;

use crate::event::{CallError, Failure, Outcome, StoreAnswer, StoreError, Ticket, View, Why};
use crate::id::Id;
use crate::message::{Head, Key, OperationId, Record, Response, Version};
use crate::miss::Miss;
use crate::node::{Cx, Node};
use crate::ops::{Pending, SlabKey};
use crate::peer::Peer;
use crate::sums::PartSum;
use crate::time::Instant;

/// What an operation in flight is for.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    // -- the ring --
    /// `Neighbours` to the head or a candidate.
    Neighbours,
    /// `Notify` to the head.
    Notified,
    /// `Ping`: is it there? If not, suspicion.
    Checked,
    /// `Ping`: the second signal.
    Probed,
    /// Nobody waits for the answer.
    Told,
    /// `Neighbours` to a seed that may be a better successor: who is it?
    Introduced,
    /// `Neighbours` for somebody who looks at the ring.
    View { ticket: Ticket },

    // -- entering --
    /// `Neighbours` to a seed or known peer: who is there?
    Surveyed,
    /// `Neighbours` to the owner of our position: who is its predecessor?
    OwnerAnswered,
    /// `Neighbours` to the member we shall stand behind.
    MemberAnswered { prefetched: bool },
    /// Own sums of our future span: what is there already?
    PrefetchSummed {
        member: Peer,
        from: Peer,
        span: crate::id::Span,
    },
    /// `Pull` of a part of it.
    Prefetched {
        member: Peer,
        from: Peer,
        part: crate::id::Span,
        after: Option<Key>,
    },
    /// A prefetched page was stored.
    PrefetchStored {
        member: Peer,
        from: Peer,
        part: crate::id::Span,
        after: Option<Key>,
    },

    // -- searches --
    /// `Route` to a hop.
    Hop { search: SlabKey, why: Why },
    /// The client's request to the named owner.
    Asked { search: SlabKey },
    /// Time to go on with a search.
    Resume { search: SlabKey, restart: bool },
    /// The end of a search, however far it came.
    GiveUp { search: SlabKey },

    // -- records, as owner --
    /// A settled read.
    Read {
        asker: Asker,
        key: Key,
        deadline: Instant,
    },
    /// `Fetch` to a holder of what the own store does not have.
    MissShared { miss: Miss },
    /// Own copy, for a gathering.
    GatherOwn { gather: SlabKey },
    /// `Fetch` to a holder, for a gathering.
    Gathered { gather: SlabKey, rank: u8 },
    /// The end of a write that waits for an earlier one of its key.
    Outwaited { operation: OperationId },
    /// Own copy, before a write.
    WriteRead { write: SlabKey },
    /// Own copy written.
    WriteStored { write: SlabKey, version: Version },
    /// `Replicate` to a holder.
    Replicated { write: SlabKey, version: Version },

    // -- records, as holder --
    /// A peer's `Replicate` was stored.
    HolderStored { ticket: Ticket },
    /// A peer's `Fetch` was read.
    HolderFetched { ticket: Ticket, first: Option<Key> },
    /// A peer's `Pull` or `List` was read.
    HolderPaged {
        ticket: Ticket,
        span: crate::id::Span,
        lists: bool,
    },
    /// A peer's `Sums` was read.
    HolderSummed {
        ticket: Ticket,
        span: crate::id::Span,
    },
    /// A peer's `Discard` was done.
    HolderDiscarded { ticket: Ticket },
    /// Own heads, to judge an offer.
    OfferRead {
        ticket: Ticket,
        from: Peer,
        heads: Vec<Head>,
        leaving: bool,
    },

    // -- repair --
    /// `Sums` of a part to a holder.
    Summed {
        round: u64,
        at: u8,
        span: crate::id::Span,
    },
    /// Own sums of the same part.
    SummedOwn {
        round: u64,
        at: u8,
        span: crate::id::Span,
        theirs: Vec<PartSum>,
    },
    /// `List` to a holder.
    Listed {
        round: u64,
        at: u8,
        after: Option<Key>,
    },
    /// Own heads of the same range.
    ListedOwn {
        round: u64,
        at: u8,
        span: crate::id::Span,
        theirs: Vec<Head>,
    },
    /// `Fetch` of what a holder has newer.
    Fetched { round: u64, at: u8, wanted: u16 },
    /// What was fetched is stored.
    FetchedStored { round: u64, at: u8 },
    /// Records to push were read.
    PushRead { round: u64, at: u8, keys: Vec<Key> },
    /// `Replicate` to a holder that lacks something.
    Pushed { round: u64, at: u8, keys: Vec<Key> },

    // -- moving --
    /// A sweep ended.
    Swept,
    /// A page of own heads: which of them are strays?
    StraysListed,
    /// Heads were offered to their owner.
    StraysOffered { heads: Vec<Head> },
    /// Records the owner lacks were read.
    StraysRead { to: Peer },
    /// `Yield` to an heir.
    Yielded { after: Id },
    /// `Cede` to the heir, in favour of who came in.
    Ceded { newcomer: Peer },
    /// A page of own heads, while leaving.
    LeaveListed,
    /// Heads were offered, while leaving.
    LeaveOffered { heads: Vec<Head> },
    /// Records to send were read, while leaving.
    LeaveRead { to: Peer },
    /// Records were sent, while leaving.
    LeaveSent,
    /// Records of a dead predecessor's span, to be stored at those who will hold them.
    BequestRead { heirs: Vec<Peer> },
    /// `Replicate` to one of them.
    Bequeathed,
    /// A farewell was heard.
    Farewell,
    /// Surplus or stray copies are gone.
    Dropped,
}

/// Who is to be told how a read or write ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// A peer's request.
    Peer(Ticket),
    /// A search of this node that found this node to be the owner.
    Local(SlabKey),
}

impl Then {
    /// Whether a store command went out for it, so that only the store may answer.
    pub(crate) fn is_of_store(&self) -> bool {
        matches!(
            self,
            Self::PrefetchSummed { .. }
                | Self::PrefetchStored { .. }
                | Self::Read { .. }
                | Self::GatherOwn { .. }
                | Self::WriteRead { .. }
                | Self::WriteStored { .. }
                | Self::HolderStored { .. }
                | Self::HolderFetched { .. }
                | Self::HolderPaged { .. }
                | Self::HolderSummed { .. }
                | Self::HolderDiscarded { .. }
                | Self::OfferRead { .. }
                | Self::SummedOwn { .. }
                | Self::ListedOwn { .. }
                | Self::FetchedStored { .. }
                | Self::PushRead { .. }
                | Self::Swept
                | Self::StraysListed
                | Self::StraysRead { .. }
                | Self::LeaveListed
                | Self::LeaveRead { .. }
                | Self::BequestRead { .. }
                | Self::Dropped
        )
    }

    /// Whether nobody waits for the answer.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self, Self::Told)
    }

    /// Whether the answer is given without touching a disk, so that its round trip measures
    /// the network, and its absence means the peer.
    pub(crate) fn touches_no_disk(&self) -> bool {
        matches!(
            self,
            Self::Neighbours
                | Self::Notified
                | Self::Checked
                | Self::Probed
                | Self::Told
                | Self::Introduced
                | Self::View { .. }
                | Self::Surveyed
                | Self::OwnerAnswered
                | Self::MemberAnswered { .. }
                | Self::Hop { .. }
                | Self::Farewell
                | Self::Yielded { .. }
                | Self::Ceded { .. }
        )
    }
}

impl Node {
    /// A call came back.
    pub(crate) fn continue_answered(
        &mut self,
        cx: &mut Cx,
        peer: Peer,
        pending: Pending<Then>,
        result: Result<Response, CallError>,
    ) {
        let sent = pending.sent;
        match pending.then {
            Then::Neighbours => self.neighbours_answered(cx, peer, result),
            Then::Notified => self.notified_answered(cx, peer, result),
            Then::Checked | Then::Probed | Then::Told => {}
            Then::Farewell => self.farewell_heard(cx),
            Then::Introduced => self.introduced(cx, result),
            Then::View { ticket } => self.viewed(cx, ticket, result),
            Then::Surveyed => self.surveyed(cx, peer, result),
            Then::OwnerAnswered => self.owner_answered(cx, peer, result),
            Then::MemberAnswered { prefetched } => {
                self.member_answered(cx, peer, prefetched, result);
            }
            Then::Prefetched {
                member,
                from,
                part,
                after,
            } => {
                self.prefetched(cx, (member, from), part, after, result);
            }
            Then::Hop { search, why } => {
                self.hop_answered(cx, search, peer, why, sent, result);
            }
            Then::Asked { search } => self.asked_answered(cx, search, peer, sent, result),
            Then::MissShared { miss } => self.miss_shared(cx, peer, miss, result),
            Then::Gathered { gather, rank } => self.gathered(cx, gather, rank, result),
            Then::Replicated { write, version } => {
                self.replicated(cx, write, peer, version, result)
            }
            Then::Summed { round, at, span } => self.summed(cx, round, at, span, result),
            Then::Listed { round, at, after } => self.listed(cx, round, at, after, result),
            Then::Fetched { round, at, wanted } => self.fetched(cx, round, at, wanted, result),
            Then::Pushed { round, at, keys } => self.pushed(cx, round, at, keys, result),
            Then::StraysOffered { heads } => self.strays_offered(cx, peer, heads, result),
            Then::Yielded { after } => self.yielded(cx, peer, after, result),
            Then::Ceded { newcomer } => self.ceded(cx, peer, newcomer, result),
            Then::LeaveOffered { heads } => self.leave_offered(cx, peer, heads, result),
            Then::LeaveSent => self.leave_sent(cx),
            Then::Bequeathed => self.bequeathed(cx, peer, result),
            // Alarms and store commands have no peer and never come here.
            Then::Resume { .. }
            | Then::Outwaited { .. }
            | Then::GiveUp { .. }
            | Then::PrefetchSummed { .. }
            | Then::PrefetchStored { .. }
            | Then::Read { .. }
            | Then::GatherOwn { .. }
            | Then::WriteRead { .. }
            | Then::WriteStored { .. }
            | Then::HolderStored { .. }
            | Then::HolderFetched { .. }
            | Then::HolderPaged { .. }
            | Then::HolderSummed { .. }
            | Then::HolderDiscarded { .. }
            | Then::SummedOwn { .. }
            | Then::OfferRead { .. }
            | Then::ListedOwn { .. }
            | Then::FetchedStored { .. }
            | Then::PushRead { .. }
            | Then::Swept
            | Then::StraysListed
            | Then::StraysRead { .. }
            | Then::LeaveListed
            | Then::LeaveRead { .. }
            | Then::BequestRead { .. }
            | Then::Dropped => {}
        }
    }

    /// A store command came back, or an alarm went off (as `Err`).
    pub(crate) fn continue_stored(
        &mut self,
        cx: &mut Cx,
        then: Then,
        result: Result<StoreAnswer, StoreError>,
    ) {
        match then {
            Then::Resume { search, restart } => self.resume(cx, search, restart),
            Then::GiveUp { search } => self.give_up(cx, search),
            Then::Outwaited { operation } => self.outwaited(cx, operation),
            Then::PrefetchSummed { member, from, span } => {
                self.prefetch_summed(cx, (member, from), span, result);
            }
            Then::PrefetchStored {
                member,
                from,
                part,
                after,
            } => {
                self.prefetch_stored(cx, (member, from), part, after, result);
            }
            Then::Read {
                asker,
                key,
                deadline,
            } => self.read(cx, asker, key, deadline, result),
            Then::GatherOwn { gather } => self.gathered_own(cx, gather, result),
            Then::WriteRead { write } => self.write_read(cx, write, result),
            Then::WriteStored { write, version } => {
                self.write_stored(cx, write, version, result);
            }
            Then::HolderStored { ticket } => self.holder_stored(cx, ticket, result),
            Then::HolderFetched { ticket, first } => {
                self.holder_fetched(cx, ticket, first.as_ref(), result);
            }
            Then::HolderPaged {
                ticket,
                span,
                lists,
            } => {
                self.holder_paged(cx, ticket, span, lists, result);
            }
            Then::HolderSummed { ticket, span } => self.holder_summed(cx, ticket, span, result),
            Then::SummedOwn {
                round,
                at,
                span,
                theirs,
            } => {
                self.summed_own(cx, round, at, span, &theirs, result);
            }
            Then::HolderDiscarded { ticket } => self.holder_discarded(cx, ticket, result),
            Then::OfferRead {
                ticket,
                from,
                heads,
                leaving,
            } => {
                self.judge(cx, ticket, from, &heads, leaving, result);
            }
            Then::ListedOwn {
                round,
                at,
                span,
                theirs,
            } => {
                self.listed_own(cx, round, at, span, theirs, result);
            }
            Then::FetchedStored { round, at } => self.fetched_stored(cx, round, at, result),
            Then::PushRead { round, at, keys } => self.push_read(cx, round, at, keys, result),
            Then::Swept => self.swept(cx, result),
            Then::StraysListed => self.strays_listed(cx, result),
            Then::StraysRead { to } => self.strays_read(cx, to, result),
            Then::LeaveListed => self.leave_listed(cx, result),
            Then::LeaveRead { to } => self.leave_read(cx, to, result),
            Then::BequestRead { heirs } => self.bequest_read(cx, heirs, result),
            Then::Dropped => {}
            // Calls always have a peer and never come here.
            Then::Neighbours
            | Then::Notified
            | Then::Checked
            | Then::Probed
            | Then::Told
            | Then::Introduced
            | Then::View { .. }
            | Then::Surveyed
            | Then::OwnerAnswered
            | Then::MemberAnswered { .. }
            | Then::Prefetched { .. }
            | Then::Hop { .. }
            | Then::Asked { .. }
            | Then::MissShared { .. }
            | Then::Gathered { .. }
            | Then::Replicated { .. }
            | Then::Summed { .. }
            | Then::Listed { .. }
            | Then::Fetched { .. }
            | Then::Pushed { .. }
            | Then::StraysOffered { .. }
            | Then::Yielded { .. }
            | Then::Ceded { .. }
            | Then::LeaveOffered { .. }
            | Then::LeaveSent
            | Then::Bequeathed
            | Then::Farewell => {}
        }
    }

    fn viewed(&mut self, cx: &mut Cx, ticket: Ticket, result: Result<Response, CallError>) {
        let result = match result {
            Ok(Response::Neighbours {
                me,
                predecessor,
                successors,
                ..
            }) => {
                let successors = successors.unwrap_or_default();
                Ok(Outcome::View(View {
                    me,
                    predecessor,
                    successors,
                }))
            }
            Ok(_) => Err(Failure::NotMember),
            Err(_) => Err(Failure::TimedOut),
        };
        cx.finish(ticket, result);
    }
}

/// The records of a page, if that is what came.
pub(crate) fn page(result: Result<StoreAnswer, StoreError>) -> Option<(Vec<Record>, bool)> {
    match result {
        Ok(StoreAnswer::Page { records, more }) => Some((records, more)),
        _ => None,
    }
}

/// The heads of a page, if that is what came.
pub(crate) fn heads(result: Result<StoreAnswer, StoreError>) -> Option<(Vec<Head>, bool)> {
    match result {
        Ok(StoreAnswer::Heads { heads, more }) => Some((heads, more)),
        _ => None,
    }
}
