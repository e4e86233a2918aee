//! The vocabulary of the one interface: six events in, five actions out.
//!
//! ```text
//! application ── Command(ticket) ──▶ node ── Finish(ticket) ──▶ application
//! peer ───────── Request(ticket) ──▶ node ── Reply(ticket) ───▶ peer
//! peer ◀──────── Call(op) ────────── node ◀─ Answer(op) ─────── peer
//! store ◀─────── Store(op) ───────── node ◀─ Stored(op) ─────── store
//! clock ──────── Wake ─────────────▶ node ── next_deadline() ─▶ clock
//! transport ──── Peer(lost) ───────▶ node ── Notice ──────────▶ observer
//! ```
//!
//! **Invariant:** every ticket is answered exactly once.
//! **Invariant:** every operation is taken exactly once: by its answer, or by its deadline.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{Id, Span};
use crate::message::{Head, Key, Mark, Record, Request, Response, Version};
use crate::peer::{Addr, Peer};
use crate::sums::PartSum;
use crate::time::{Instant, Micros};

/// Minted by the driver for a command or request; echoed exactly once by the node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Minted by the node for a call or store command; echoed at most once by the driver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId(pub u64);

/// Priority of work: what comes first when not all can be done. Lower is more urgent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Ring upkeep.
    Ring = 0,
    /// Replication of acknowledged or pending writes.
    Replication = 1,
    /// Reads and writes of clients.
    Client = 2,
    /// Hand-over, repair and scans.
    Repair = 3,
}

/// What travels beside every call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// After this the caller does not wait any more; remaining time on the wire.
    pub deadline: Instant,
    /// How urgent.
    pub class: Class,
    /// One number for all calls that serve one operation of a client; 0 for upkeep.
    pub trace: u64,
}

/// Something happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The application wants something.
    Command {
        /// Echoed by the one [`Action::Finish`].
        ticket: Ticket,
        /// What.
        command: Command,
    },
    /// A peer wants something.
    Request {
        /// Echoed by the one [`Action::Reply`].
        ticket: Ticket,
        /// Authenticated by the driver.
        from: Peer,
        /// Deadline, priority, trace.
        terms: Terms,
        /// What.
        request: Request,
    },
    /// A call was answered, or could not be.
    Answer {
        /// From the [`Action::Call`].
        op: OpId,
        /// What came back.
        result: Result<Response, CallError>,
    },
    /// A store command was carried out, or could not be.
    Stored {
        /// From the [`Action::Store`].
        op: OpId,
        /// What came back.
        result: Result<StoreAnswer, StoreError>,
    },
    /// The transport says something about a peer, unasked.
    Peer {
        /// Whom.
        peer: Peer,
        /// What.
        change: PeerChange,
    },
    /// Time has passed. Spurious ones are harmless.
    Wake,
}

/// What the transport can say about a peer unasked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerChange {
    /// It is dead: a stateless reset whose redial failed, or a later life of it spoke.
    Lost(Lost),
}

/// How the transport knows that a peer is dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// Its host forgot the connection, and a fresh dial failed.
    Reset,
    /// It presented a higher incarnation.
    Restarted {
        /// Its present life.
        incarnation: u32,
    },
}

/// Something must now be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// The one answer to a command.
    Finish {
        /// From the [`Event::Command`].
        ticket: Ticket,
        /// How it ended.
        result: Result<Outcome, Failure>,
    },
    /// The one answer to a request.
    Reply {
        /// From the [`Event::Request`].
        ticket: Ticket,
        /// What to send back.
        response: Response,
    },
    /// Ask a peer. At the deadline the driver may drop the call and stay silent.
    ///
    /// A driver that knows `to` to be in a later life than named must not deliver the
    /// call but answer [`CallError::Restarted`]; incarnation 0 is any life.
    Call {
        /// Echoed at most once.
        op: OpId,
        /// Whom; [`Peer::is_seed`] means whoever answers at the address.
        to: Peer,
        /// Deadline, priority, trace.
        terms: Terms,
        /// What.
        request: Request,
    },
    /// Read or write the store. Answered only when it is durable.
    Store {
        /// Echoed at most once.
        op: OpId,
        /// What.
        command: StoreCommand,
    },
    /// Something worth knowing; drivers log it, the simulator counts it.
    Notice(Notice),
}

/// What the application can ask for.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// Enter a ring through these addresses, or found one if there are none and no peer
    /// was ever known. Repeated whenever the names were resolved again. Finishes at once
    /// with [`Outcome::Done`]; [`Notice::Joined`] tells of the success.
    Join {
        /// Any members. Own addresses among them are ignored.
        seeds: Vec<Addr>,
    },
    /// Store a record.
    Put {
        /// Its name.
        key: Key,
        /// At most [`crate::message::VALUE_MAX`] bytes.
        value: Bytes,
        /// Zero is the default.
        ttl: Micros,
        /// 0 is the default.
        copies: u8,
        /// Only over this version; the default version expects no live record.
        expected: Option<Version>,
    },
    /// Read a record.
    Get {
        /// Its name.
        key: Key,
        /// Read from a majority.
        quorum: bool,
    },
    /// Delete a record; a missing one is no failure.
    Delete {
        /// Its name.
        key: Key,
        /// Only this version.
        expected: Option<Version>,
    },
    /// Find the owner of a position, and remember the way.
    Lookup {
        /// The position.
        target: Id,
    },
    /// This node's view of the ring, or, over the ring, that of another member.
    View {
        /// Whose; `None` is this node.
        of: Option<Peer>,
    },
    /// How this node is.
    Status,
    /// Hand everything over, then leave the ring.
    Leave,
}

/// How a command ended well.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Nothing more to say.
    Done,
    /// A put or delete: a majority has it.
    Written {
        /// The version it got.
        version: Version,
    },
    /// A get.
    Got {
        /// `None`: not found.
        record: Option<Record>,
    },
    /// A lookup.
    Owner {
        /// Who owns the position.
        owner: Peer,
        /// Every peer asked, in order; empty if answered from the own table.
        hops: Vec<Hop>,
    },
    /// A view of the ring.
    View(View),
    /// How the node is.
    Status(Status),
    /// The node has left.
    Left {
        /// Records that are confirmed elsewhere.
        handed_over: u64,
        /// Records nobody took.
        remaining: u64,
    },
}

/// One step of a lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Who was asked.
    pub peer: Peer,
    /// How long the answer took; `None`: it did not come.
    pub round_trip: Option<Micros>,
    /// Why this peer.
    pub why: Why,
}

/// Why a lookup asked a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The closest preceding peer in the own table.
    Table,
    /// Named as closer by the hop before.
    Closer,
    /// Named as owner; its answer confirms.
    Owner,
    /// Another way round a hop that did not answer.
    Detour,
}

/// What one member believes of the ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// Who.
    pub me: Peer,
    /// Believed predecessor.
    pub predecessor: Option<Peer>,
    /// The successor list.
    pub successors: Vec<Peer>,
}

/// How a node is, for people and probes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Who.
    pub me: Peer,
    /// Where in its life.
    pub state: State,
    /// Since when it could not acknowledge writes for want of other holders.
    pub unavailable_since: Option<Instant>,
    /// Spans settled although too few complete holders were left, since the start.
    pub may_have_lost: u64,
    /// Estimated number of members, this one included.
    pub members: u64,
    /// Records known to lack copies, as of the last repair round.
    pub copies_missing: u64,
    /// What repair and hand-over have moved.
    pub moved: Moved,
    /// Spans that still need corroboration.
    pub spans_unsettled: u32,
    /// What it owns, if anything.
    pub owned: Option<Span>,
    /// Believed predecessor.
    pub predecessor: Option<Peer>,
    /// The successor list.
    pub successors: Vec<Peer>,
    /// Peers of the routing table, successors included.
    pub table: u32,
    /// Operations in flight.
    pub ops: u32,
}

/// Bytes of records that a node moved for repair and hand-over, since its start, repeated ones
/// included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Moved {
    /// Fetched from others: what they have and this node lacks.
    pub fetched: u64,
    /// Sent to others: copies that they lack, records that others own now.
    pub sent: u64,
}

/// Where in its life a node is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Not a member yet.
    Joining,
    /// A member.
    Joined,
    /// Cut off from everybody; re-joining through every peer it knows.
    Lost,
    /// Handing over.
    Leaving,
    /// Gone.
    Left,
}

/// How a command ended badly, by what to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Not now: too few holders answered. A write may survive; repeating is safe.
    Unavailable {
        /// How many stored or answered.
        stored: u8,
        /// How many are needed.
        needed: u8,
    },
    /// Not now: no answer in time. A write may survive; repeating is safe.
    TimedOut,
    /// Not now: this node is not a member. Nothing happened.
    NotMember,
    /// Not now: too much in flight. Nothing happened.
    Overloaded,
    /// The expected version is not the stored one. Nothing happened.
    Conflict {
        /// The default version if there is no live record.
        stored: Version,
    },
    /// Not as asked: a field makes no sense. Nothing happened; do not repeat.
    Invalid,
    /// A disk is full. Nothing happened.
    Full,
    /// A disk failed. A write may survive.
    Storage,
}

/// Why a call has no response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallError {
    /// The deadline passed. What was asked may have been done.
    TimedOut,
    /// No connection. Nothing was done.
    Unreachable,
    /// The peer is in a later life. Nothing was done.
    Restarted {
        /// Its present one.
        incarnation: u32,
    },
    /// Our own side has too much in flight. Nothing was done.
    Overloaded,
    /// It answered something that is no response. What was asked may have been done.
    Garbled,
}

/// What a node asks of its store. Answered in any order.
#[derive(Clone, PartialEq, Debug)]
pub enum StoreCommand {
    /// One record, tombstones included. Answer: [`StoreAnswer::Record`].
    Get {
        /// Which.
        key: Key,
    },
    /// Several records in the order asked, tombstones included, misses left out. Answer:
    /// [`StoreAnswer::Page`]; if it says more, keys behind the last record were not read.
    GetMany {
        /// Which.
        keys: Vec<Key>,
        /// Stop before this would be exceeded, after at least one record.
        bytes_max: u32,
    },
    /// The heads of several records, all of them, misses left out. Answer:
    /// [`StoreAnswer::Heads`].
    Heads {
        /// Which.
        keys: Vec<Key>,
    },
    /// Store each unless a higher version is there; the same version is stored already.
    /// Answer: [`StoreAnswer::Put`].
    Put {
        /// At most what fits a page beyond the first.
        records: Vec<Record>,
    },
    /// A page of a span in order of position, then key. Answer: [`StoreAnswer::Page`].
    Scan {
        /// Which part of the ring.
        span: Span,
        /// Resume behind this key.
        after: Option<Key>,
        /// Stop once this is reached, after at least one record.
        bytes_max: u32,
    },
    /// The same without values. Answer: [`StoreAnswer::Heads`].
    List {
        /// Which part of the ring.
        span: Span,
        /// Resume behind this key.
        after: Option<Key>,
        /// Stop once this is reached, after at least one head.
        bytes_max: u32,
    },
    /// The sums of the parts of a span, tombstones included. Answer: [`StoreAnswer::Sums`].
    Sums {
        /// Which part of the ring.
        span: Span,
    },
    /// Drop each whose stored version is not above the named one. Answer:
    /// [`StoreAnswer::Discarded`].
    Discard {
        /// Which.
        heads: Vec<Head>,
    },
    /// Turn what expired before `now` into tombstones, and drop tombstones whose shadow
    /// ended before `bury`. Answer: [`StoreAnswer::Swept`].
    Sweep {
        /// The present.
        now: Instant,
        /// Tombstones with an older shadow go.
        bury: Instant,
        /// At most this many records.
        limit: u32,
    },
}

/// What a store answers.
#[derive(Clone, PartialEq, Debug)]
pub enum StoreAnswer {
    /// To `Get`.
    Record(Option<Record>),
    /// To `Put`.
    Put {
        /// Index into the command and the higher version stored.
        newer: Vec<(u16, Version)>,
    },
    /// To `Scan` and `GetMany`.
    Page {
        /// In order.
        records: Vec<Record>,
        /// More may follow.
        more: bool,
    },
    /// To `List` and `Heads`.
    Heads {
        /// In order.
        heads: Vec<Head>,
        /// More may follow.
        more: bool,
    },
    /// To `Sums`.
    Sums {
        /// In order of part, then copies.
        sums: Vec<PartSum>,
    },
    /// To `Discard`.
    Discarded {
        /// How many went.
        count: u32,
    },
    /// To `Sweep`.
    Swept {
        /// How many expired: tombstones now.
        expired: u32,
        /// How many tombstones went.
        buried: u32,
        /// The limit was reached.
        more: bool,
    },
}

/// Why a store command was not carried out. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// No room; reads and deletes go on.
    Full,
    /// The disk failed, or what it holds is damaged.
    Failed,
}

/// Something worth knowing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// This node is a member now.
    Joined {
        /// As the founder of a ring.
        founded: bool,
    },
    /// The head of the successor list is another one.
    HeadChanged {
        /// Which.
        head: Peer,
    },
    /// The predecessor is another one.
    PredecessorChanged {
        /// Which.
        predecessor: Peer,
    },
    /// Two signals, a restart or a farewell: treated as dead.
    PeerLost {
        /// Whom.
        peer: Peer,
    },
    /// The owned span is another one, or owned again.
    Owns {
        /// Which.
        span: Span,
    },
    /// Every span is settled: reads need no corroboration.
    Settled,
    /// A span was settled with fewer complete holders than reads need to be certain.
    MayHaveLost {
        /// Which.
        span: Span,
    },
    /// Writes cannot reach a majority, since just now.
    Unavailable,
    /// Writes reach a majority again.
    Available,
    /// Holders refuse what this host's wall clock shows: it is ahead of theirs. Versions go on
    /// from what the others showed.
    ClockSkew,
    /// At its start this host's wall clock was so many microseconds ahead of those of most hosts
    /// heard, behind if negative: more than an hour; 0: no longer. If it was ahead, the store
    /// must take less time for passed since its last life before the next command.
    ClockOff {
        /// By how much.
        ahead: i64,
    },
    /// Every peer is gone or unreachable; re-joining.
    Lost,
    /// More than a second passed unseen: own spans must settle again.
    Slept {
        /// For how long.
        length: Micros,
    },
    /// Two processes with one id: a certificate was copied.
    TwoLives {
        /// The other one.
        peer: Peer,
    },
    /// A leave has moved its data.
    HandedOver {
        /// Confirmed elsewhere.
        records: u64,
    },
    /// No seed or known peer answers; trying again.
    Unreachable,
    /// The store refused or failed.
    Store {
        /// Why.
        error: StoreError,
    },
}

/// What survives the end of a process beside its records: from
/// [`Node::remember`](crate::node::Node::remember) to [`crate::node::Node::new`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Restored {
    /// Every peer known at the end. Not empty: this node was in a ring and never founds one
    /// lightly.
    pub peers: Vec<Peer>,
    /// Those of them that were away, and count for majorities until they are forgotten.
    pub absent: Vec<Id>,
    /// The version clock: nothing assigned from now on is at or below it.
    pub clock: u64,
    /// What the records still stored are worth as evidence. Empty if the store is empty:
    /// a mark without its records would make a loss look like a miss.
    pub marks: Vec<(Span, Mark)>,
}
