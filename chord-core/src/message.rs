//! What members say to each other: requests, responses, and the data in them.
//!
//! A request names no sender: the driver authenticated the connection and vouches for it.
//! Times on the wire are remaining times; each receiver adds its own clock.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::id::{Id, Span};
use crate::peer::Peer;
use crate::sums::PartSum;
use crate::time::{Instant, Micros};

/// Longest key in bytes.
pub const KEY_MAX: usize = 1_024;
/// Longest value in bytes.
pub const VALUE_MAX: usize = 1 << 20;

/// The name of a record: 1 to [`KEY_MAX`] bytes, compared in full, and its position.
///
/// SHA-1 places records; it is never trusted to tell keys apart.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    position: Id,
    bytes: Bytes,
}

impl Key {
    /// A key from its bytes; `None` if there are none or more than [`KEY_MAX`].
    #[must_use]
    pub fn new(bytes: Bytes) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > KEY_MAX {
            return None;
        }
        Some(Self {
            position: Id::hash(&bytes),
            bytes,
        })
    }

    /// Where on the ring the record lives: SHA-1 of the key.
    #[must_use]
    pub fn position(&self) -> Id {
        self.position
    }

    /// The key itself.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Ord for Key {
    /// By position, then by bytes: the order of every store and every page.
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.position, &self.bytes).cmp(&(other.position, &other.bytes))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:.8})", self.position)
    }
}

/// The version of a record, compared field by field: a hybrid clock (Kulkarni et al.,
/// *Logical physical clocks*, OPODIS 2014) and, between equal times, the writer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Version {
    /// Microseconds since the Unix epoch, or one more than the latest seen.
    pub time: u64,
    /// The owner that assigned it.
    pub writer: Id,
}

/// Names one put or delete for ever, the same on every retry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct OperationId {
    /// The node the client spoke to.
    pub gateway: Id,
    /// In which life.
    pub incarnation: u32,
    /// The how-manyeth of that life.
    pub counter: u64,
}

/// What a record carries beside key and value. Kept by holders, compared by repair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Higher wins.
    pub version: Version,
    /// The write that made it.
    pub operation: OperationId,
    /// Wanted copies, the owner's included.
    pub copies: u8,
    /// A deletion, or an expired record whose value is gone.
    pub tombstone: bool,
    /// Unreadable from then on. Remaining time on the wire.
    pub expires: Instant,
    /// The latest expiry among this record and what it replaced: until then, plus the
    /// repair bound, its tombstone stays, so that nothing older can come back.
    pub shadow: Instant,
}

/// Key, value and header. A tombstone's value is empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its name.
    pub key: Key,
    /// What the client stored.
    pub value: Bytes,
    /// The rest.
    pub header: Header,
}

/// Versions from here on are refused, whoever sends them: there must be room above any.
pub(crate) const TIME_LIMIT: u64 = 1 << 63;

impl Record {
    /// Whether such a record may be stored: what fails this is refused everywhere, and must not
    /// come in by a side door.
    pub(crate) fn is_sane(&self) -> bool {
        self.header.version.time < TIME_LIMIT && self.header.copies > 0
    }

    /// Whether a reader may see it.
    #[must_use]
    pub fn is_live(&self, now: Instant) -> bool {
        !self.header.tombstone && now < self.header.expires
    }

    /// The record without its value.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            key: self.key.clone(),
            version: self.header.version,
            copies: self.header.copies,
        }
    }

    /// Bytes it takes on the wire and in a page, to within a few.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.bytes().len() + self.value.len() + 128
    }
}

/// Bytes that records take on the wire, to within a few for each.
#[must_use]
pub(crate) fn size_of_all(records: &[Record]) -> u64 {
    records.iter().map(|record| record.size() as u64).sum()
}

/// A record without its value: what key lists consist of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its name.
    pub key: Key,
    /// Higher wins.
    pub version: Version,
    /// Wanted copies.
    pub copies: u8,
}

impl Head {
    /// Bytes it takes on the wire, to within a few.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.bytes().len() + 40
    }
}

/// What a client wants written. `value: None` deletes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// Which record.
    pub key: Key,
    /// At most [`VALUE_MAX`] bytes; `None` deletes.
    pub value: Option<Bytes>,
    /// Lifetime; zero is the owner's default, above its maximum is its maximum.
    pub ttl: Micros,
    /// Copies; 0 is the owner's default, above its maximum is its maximum.
    pub copies: u8,
    /// The same on every retry.
    pub operation: OperationId,
    /// Write only if the stored version is this one (the default version: no live record).
    pub expected: Option<Version>,
}

/// Whether a holder had every acknowledged record of a span when it was told so.
///
/// Set by the span's owner after a repair round that ended equal. `epoch` is one value for
/// all holders of one composition of the group and grows with every new one, so that the
/// holders of the latest composition are told from those of earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mark {
    /// Which composition of the holders' group.
    pub epoch: u64,
    /// Place in that group: 0 for the owner. A holder of rank k keeps records of more
    /// than k copies.
    pub rank: u8,
}

/// A request from one member (or newcomer) to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Are you there? Touches nothing.
    Ping,
    /// Who owns `target`, or who is closer to it?
    Route {
        /// The position looked for.
        target: Id,
    },
    /// Your predecessor and successors, or `Same` if their digest is this one.
    Neighbours {
        /// Digest of the list last received from you; 0 asks for the list.
        digest: u64,
    },
    /// I believe to be your predecessor (Zave, *How to make Chord correct*: rectify).
    Notify,
    /// Something changed here: stabilise soon. A hint, rate-limited by the receiver.
    Stabilise,
    /// I have left; treat me as dead.
    Leave,
    /// Your predecessor stops owning `(after, sender]` in your favour and stays reachable
    /// until you have its data.
    Yield {
        /// Where the yielded span begins.
        after: Id,
    },
    /// The sender has yielded to you and is still here; `after` came in before it, so what
    /// lies up to there is not yours any more. `Done` once you own only what is behind.
    Cede {
        /// Where your span begins now.
        after: Id,
    },
    /// To the owner: write, and answer once a majority has stored it.
    Put(Write),
    /// To the owner: read.
    Get {
        /// Which record.
        key: Key,
        /// Ask a majority, and write the newest back, before answering.
        quorum: bool,
    },
    /// To a holder: store these; higher version wins.
    Replicate {
        /// At most a page ([`crate::wire::PAGE_MAX`] bytes) beyond the first.
        records: Vec<Record>,
        /// A client is waiting: refuse versions too far ahead. Repair accepts any.
        fresh: bool,
    },
    /// To a holder: your copies of these keys, tombstones included.
    Fetch {
        /// At most 1,024.
        keys: Vec<Key>,
    },
    /// A page of the records of a span, in order.
    Pull {
        /// Which part of the ring.
        span: Span,
        /// Resume behind this key.
        after: Option<Key>,
        /// Stop once this is reached, after at least one record.
        bytes_max: u32,
    },
    /// A page of the heads of a span, in order.
    List {
        /// Which part of the ring.
        span: Span,
        /// Resume behind this key.
        after: Option<Key>,
        /// Stop once this is reached, after at least one head.
        bytes_max: u32,
    },
    /// The sums of the parts of a span.
    Sums {
        /// Which part of the ring; cut by [`parts`](crate::sums::parts).
        span: Span,
    },
    /// From the owner: your copy of this span is complete.
    Mark {
        /// Which part of the ring.
        span: Span,
        /// In which group, at which place.
        mark: Mark,
    },
    /// To the owner: I hold these. May I drop them, must I send them, or do I keep them?
    Offer {
        /// At most what fits a page.
        heads: Vec<Head>,
        /// The sender leaves: it does not count as a holder any more.
        leaving: bool,
    },
    /// From the owner: these copies of yours are surplus and safe elsewhere.
    Discard {
        /// Drop those whose stored version is not above the named one.
        heads: Vec<Head>,
    },
}

/// What a [`Request`] is answered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// Heard and, where there was something to do, done.
    Done,
    /// To `Route`.
    Route(Route),
    /// To `Neighbours`.
    Neighbours {
        /// Who answers: how the id behind a seed's address is learned.
        me: Peer,
        /// Believed predecessor.
        predecessor: Option<Peer>,
        /// The successor list, or `None` if its digest is the one asked with.
        successors: Option<Vec<Peer>>,
        /// The wall clock of who answers, in microseconds since the Unix epoch; absent where it
        /// does not tell.
        wall: Option<u64>,
    },
    /// To `Notify`.
    Notified {
        /// The predecessor after this notification.
        predecessor: Option<Peer>,
        /// You own the positions behind this member up to yourself; absent if I cannot grant.
        granted: Option<Peer>,
    },
    /// To `Put`: stored by a majority.
    Written {
        /// The version it got; on a retry, the one it got at first.
        version: Version,
    },
    /// To `Get`: the live record, or that there is none.
    Got {
        /// `None`: not found, and that is certain.
        record: Option<Record>,
    },
    /// To `Replicate`: all stored, except those that the holder has newer.
    Replicated {
        /// Index into the request and version stored here.
        newer: Vec<(u16, Version)>,
    },
    /// To `Fetch`: what is stored, in the order asked, misses left out.
    Fetched {
        /// The copies, tombstones included.
        records: Vec<Record>,
        /// What this holder was told about the span of the first key.
        mark: Option<Mark>,
    },
    /// To `Pull`.
    Page {
        /// In order of position, then key.
        records: Vec<Record>,
        /// More may follow behind the last one.
        more: bool,
    },
    /// To `List`.
    Heads {
        /// In order of position, then key.
        heads: Vec<Head>,
        /// More may follow behind the last one.
        more: bool,
        /// What this holder was told about the whole span.
        mark: Option<Mark>,
    },
    /// To `Sums`.
    Sums {
        /// In order of part, then copies; none twice.
        sums: Vec<PartSum>,
        /// What this holder was told about the whole span.
        mark: Option<Mark>,
    },
    /// To `Offer`: one verdict for each head, in order.
    Offered {
        /// As long as the request's heads.
        verdicts: Vec<Verdict>,
    },
    /// Not done; nothing changed unless the variant says so.
    Refused(Refusal),
}

/// The answer to a route question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// I own the target, or answer for it because its owner is dead.
    Owner {
        /// Reads need no corroboration.
        settled: bool,
    },
    /// The target lies between me and my head: the owner is the first of these alive.
    Successors(Vec<Peer>),
    /// These lie between me and the target, the closest first.
    Closer(Vec<Peer>),
}

/// What the owner says to an offered record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// You are one of its holders.
    Keep,
    /// A majority of its holders have it in this version or a newer one: drop it.
    Drop,
    /// I lack it: replicate it to me, and ask again later.
    Send,
    /// I have it, its holders not yet: ask again later.
    Wait,
}

/// Why a request was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// I am not, or not yet, a member in this life.
    NotMember {
        /// My present life: all lower ones are dead.
        incarnation: u32,
    },
    /// I do not own this key.
    NotOwner {
        /// Who might.
        hint: Option<Peer>,
    },
    /// It will be mine in a moment: retry within the deadline.
    Settling,
    /// Too few holders answered. A write may survive; repeating it is safe.
    Unavailable {
        /// How many stored or answered.
        stored: u8,
        /// How many are needed.
        needed: u8,
    },
    /// Too much is in flight: retry after this many milliseconds.
    Overloaded {
        /// When to come back.
        retry_after_ms: u32,
    },
    /// The version lies too far ahead of my clock.
    ClockSkew,
    /// The stored version is this one, not the expected one.
    Conflict {
        /// The default version if there is no live record.
        stored: Version,
    },
    /// The disk is nearly full; reads, deletes and hand-over go on.
    Full,
    /// The disk failed.
    Storage,
    /// I am leaving and take no data.
    Leaving,
    /// A request this version does not know.
    Unsupported,
    /// Known, but with fields that make no sense together.
    Invalid,
}
