//! Bytes as a source of decisions, and of everything in the core's vocabulary.
//!
//! An exhausted script draws zeros, which stand for the dullest choice.

use arbitrary::Unstructured;
use bytes::Bytes;
use chord_core::event::{
    CallError, Class, Command, Lost, PeerChange, StoreAnswer, StoreError, Terms,
};
use chord_core::id::{Id, Span};
use chord_core::message::{
    Head, Header, KEY_MAX, Key, Mark, OperationId, Record, Refusal, Request, Response, Route,
    VALUE_MAX, Verdict, Version, Write,
};
use chord_core::peer::{Addr, Peer};
use chord_core::sums::{PartSum, Sum};
use chord_core::time::{Instant, Micros};

/// Positions of the little world; the first is the node under test.
pub(super) const MEMBERS: u8 = 8;

static ZEROS: [u8; VALUE_MAX + 1] = [0; VALUE_MAX + 1];

/// The position of member number `n`.
pub(super) fn id(n: u8) -> Id {
    // Evenly spread, and no position is zero.
    Id::from_prefix(u64::from(n % MEMBERS) << 61 | 1 << 60)
}

/// Where member number `n` listens: two neighbouring positions share a host.
pub(super) fn addr(n: u8) -> Addr {
    Addr::v4(10, 0, 0, n % MEMBERS / 2 + 1, 7_400)
}

/// Decisions drawn from bytes, in order.
pub(super) struct Script<'a> {
    bytes: Unstructured<'a>,
}

impl<'a> Script<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self {
            bytes: Unstructured::new(data),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.bytes.arbitrary().unwrap_or(0)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub(super) fn bool(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// True about once in `times`; never once the script is over.
    pub(super) fn rarely(&mut self, times: u8) -> bool {
        self.byte() % times == times - 1
    }

    /// Small, of any magnitude, or at the edge.
    pub(super) fn u64(&mut self) -> u64 {
        let byte = self.byte();
        match byte {
            0..=127 => u64::from(byte),
            128..=251 => {
                let low = u64::from(self.byte()) << 8 | u64::from(self.byte());
                (low | 1 << 16) << (byte % 48)
            }
            _ => u64::MAX - u64::from(255 - byte),
        }
    }

    fn u32(&mut self) -> u32 {
        let wide = self.u64();
        u32::try_from(wide).unwrap_or(u32::MAX)
    }

    /// From no time to a month, each magnitude as likely as the others.
    pub(super) fn micros(&mut self) -> Micros {
        let byte = self.byte();
        Micros((1_u64 << (byte % 42)) + u64::from(byte))
    }

    pub(super) fn id(&mut self) -> Id {
        match self.byte() {
            0..=127 => id(self.byte()),
            byte @ 128..=199 => {
                // Just before or behind a member.
                let mut near = id(byte);
                near.0[19] = self.byte();
                near
            }
            200 => Id::ZERO,
            201 => Id::MAX,
            byte => Id([byte; 20]),
        }
    }

    pub(super) fn peer(&mut self) -> Peer {
        let n = self.byte();
        let known = Peer {
            id: id(n),
            addr: addr(n),
            incarnation: 1 + u32::from(n / MEMBERS % 2),
        };
        match n {
            0..=223 => known,
            224..=239 => Peer {
                incarnation: self.u32(),
                ..known
            },
            240..=247 => Peer {
                addr: addr(self.byte()),
                ..known
            },
            // Nobody has the position zero: a seed, where one may be given.
            _ => Peer {
                id: Id([n; 20]),
                addr: addr(n),
                incarnation: self.u32(),
            },
        }
    }

    fn peers(&mut self) -> Vec<Peer> {
        (0..self.below(6)).map(|_| self.peer()).collect()
    }

    fn span(&mut self) -> Span {
        Span::new(self.id(), self.id())
    }

    /// One of few keys, so that writes meet.
    pub(super) fn key(&mut self) -> Key {
        let n = self.byte();
        let len = if n == 255 { KEY_MAX } else { 4 };
        let mut bytes = vec![b'k'; len];
        bytes[0] = n % 12;
        Key::new(Bytes::from(bytes)).expect("4 or KEY_MAX bytes")
    }

    fn key_or_none(&mut self) -> Option<Key> {
        self.bool().then(|| self.key())
    }

    fn value(&mut self, rarely: usize) -> Bytes {
        let len = match self.byte() {
            byte @ 0..=199 => usize::from(byte),
            200..=254 => 4_000,
            255 => rarely,
        };
        Bytes::from_static(&ZEROS[..len])
    }

    fn version(&mut self) -> Version {
        Version {
            time: self.u64(),
            writer: self.id(),
        }
    }

    fn expected(&mut self) -> Option<Version> {
        match self.byte() % 8 {
            0..=5 => None,
            6 => Some(Version::default()),
            _ => Some(self.version()),
        }
    }

    fn operation(&mut self) -> OperationId {
        OperationId {
            gateway: self.id(),
            incarnation: 1,
            counter: u64::from(self.byte() % 4),
        }
    }

    fn lifetime(&mut self, now: Instant) -> Instant {
        now + Micros(self.u64().min(1 << 62))
    }

    pub(super) fn record(&mut self, now: Instant) -> Record {
        let tombstone = self.rarely(4);
        Record {
            key: self.key(),
            value: if tombstone {
                Bytes::new()
            } else {
                self.value(VALUE_MAX)
            },
            header: Header {
                version: self.version(),
                operation: self.operation(),
                copies: self.byte() % 12,
                tombstone,
                expires: self.lifetime(now),
                shadow: self.lifetime(now),
            },
        }
    }

    fn records(&mut self, now: Instant) -> Vec<Record> {
        (0..self.below(4)).map(|_| self.record(now)).collect()
    }

    fn head(&mut self) -> Head {
        Head {
            key: self.key(),
            version: self.version(),
            copies: self.byte() % 12,
        }
    }

    fn heads(&mut self) -> Vec<Head> {
        (0..self.below(5)).map(|_| self.head()).collect()
    }

    fn mark(&mut self) -> Mark {
        Mark {
            epoch: self.u64(),
            rank: self.byte() % 12,
        }
    }

    fn mark_or_none(&mut self) -> Option<Mark> {
        self.bool().then(|| self.mark())
    }

    fn newer(&mut self) -> Vec<(u16, Version)> {
        (0..self.below(3))
            .map(|_| (u16::from(self.byte() % 5), self.version()))
            .collect()
    }

    /// Terms of a request: the deadline may be past, and may be never.
    pub(super) fn terms(&mut self, now: Instant) -> Terms {
        let deadline = match self.byte() {
            0..=199 => now + Micros::from_millis(1_500),
            200..=219 => now,
            220..=235 => Instant(now.0 / 2),
            236..=250 => now + self.micros(),
            251..=255 => Instant(u64::MAX),
        };
        let class = [
            Class::Ring,
            Class::Replication,
            Class::Client,
            Class::Repair,
        ];
        Terms {
            deadline,
            class: class[self.below(4)],
            trace: u64::from(self.byte()),
        }
    }

    pub(super) fn command(&mut self) -> Command {
        match self.byte() % 32 {
            0..=9 => Command::Put {
                key: self.key(),
                value: self.value(VALUE_MAX + 1),
                ttl: Micros(self.u64()),
                copies: self.byte() % 12,
                expected: self.expected(),
            },
            10..=17 => Command::Get {
                key: self.key(),
                quorum: self.bool(),
            },
            18..=22 => Command::Delete {
                key: self.key(),
                expected: self.expected(),
            },
            23..=25 => Command::Lookup { target: self.id() },
            26 => Command::View { of: None },
            27 => Command::View {
                of: Some(self.peer()),
            },
            28 => Command::Status,
            29 | 30 => Command::Join {
                seeds: (0..self.below(4)).map(|_| addr(self.byte())).collect(),
            },
            _ if self.rarely(4) => Command::Leave,
            _ => Command::Status,
        }
    }

    pub(super) fn request(&mut self, now: Instant) -> Request {
        match self.byte() % 24 {
            0 => Request::Ping,
            1 | 2 => Request::Route { target: self.id() },
            3 => Request::Neighbours { digest: self.u64() },
            4..=6 => Request::Notify,
            7 => Request::Stabilise,
            8 => Request::Leave,
            9 if self.rarely(3) => Request::Cede { after: self.id() },
            9 => Request::Yield { after: self.id() },
            10 | 11 => Request::Put(Write {
                key: self.key(),
                value: self.bool().then(|| self.value(VALUE_MAX)),
                ttl: Micros(self.u64()),
                copies: self.byte() % 12,
                operation: self.operation(),
                expected: self.expected(),
            }),
            12 | 13 => Request::Get {
                key: self.key(),
                quorum: self.bool(),
            },
            14 | 15 => Request::Replicate {
                records: self.records(now),
                fresh: self.bool(),
            },
            16 | 17 => Request::Fetch {
                keys: (0..self.below(5)).map(|_| self.key()).collect(),
            },
            18 => Request::Pull {
                span: self.span(),
                after: self.key_or_none(),
                bytes_max: self.u32(),
            },
            19 => Request::List {
                span: self.span(),
                after: self.key_or_none(),
                bytes_max: self.u32(),
            },
            20 => Request::Mark {
                span: self.span(),
                mark: self.mark(),
            },
            21 => Request::Sums { span: self.span() },
            22 => Request::Offer {
                heads: self.heads(),
                leaving: self.bool(),
            },
            _ => Request::Discard {
                heads: self.heads(),
            },
        }
    }

    /// Any response to any request: a peer may answer what it likes.
    pub(super) fn response(&mut self, now: Instant) -> Response {
        match self.byte() % 20 {
            0 => Response::Done,
            1 => Response::Route(Route::Owner {
                settled: self.bool(),
            }),
            2 => Response::Route(Route::Successors(self.peers())),
            3 | 4 => Response::Route(Route::Closer(self.peers())),
            5 | 6 => Response::Neighbours {
                me: self.peer(),
                predecessor: self.bool().then(|| self.peer()),
                successors: self.bool().then(|| self.peers()),
                wall: Some(0),
            },
            7 => Response::Notified {
                predecessor: self.bool().then(|| self.peer()),
                granted: self.bool().then(|| self.peer()),
            },
            8 => Response::Written {
                version: self.version(),
            },
            9 => Response::Got {
                record: self.bool().then(|| self.record(now)),
            },
            10 => Response::Replicated {
                newer: self.newer(),
            },
            11 => Response::Fetched {
                records: self.records(now),
                mark: self.mark_or_none(),
            },
            12 => Response::Page {
                records: self.records(now),
                more: self.bool(),
            },
            13 => Response::Heads {
                heads: self.heads(),
                more: self.bool(),
                mark: self.mark_or_none(),
            },
            14 => {
                let verdicts = [Verdict::Keep, Verdict::Drop, Verdict::Send, Verdict::Wait];
                let verdicts = (0..self.below(6))
                    .map(|_| verdicts[self.below(4)])
                    .collect();
                Response::Offered { verdicts }
            }
            15 => Response::Sums {
                sums: (0..self.below(6))
                    .map(|_| PartSum {
                        part: self.byte(),
                        copies: self.byte() % 12,
                        sum: Sum(u128::from(self.byte())),
                    })
                    .collect(),
                mark: self.mark_or_none(),
            },
            _ => Response::Refused(self.refusal()),
        }
    }

    fn refusal(&mut self) -> Refusal {
        match self.byte() % 14 {
            0 | 1 => Refusal::NotMember {
                incarnation: self.u32(),
            },
            2 | 3 => Refusal::NotOwner {
                hint: self.bool().then(|| self.peer()),
            },
            4 => Refusal::Settling,
            5 => Refusal::Unavailable {
                stored: self.byte(),
                needed: self.byte(),
            },
            6 => Refusal::Overloaded {
                retry_after_ms: self.u32(),
            },
            7 => Refusal::ClockSkew,
            8 => Refusal::Conflict {
                stored: self.version(),
            },
            9 => Refusal::Full,
            10 => Refusal::Storage,
            11 => Refusal::Leaving,
            12 => Refusal::Unsupported,
            _ => Refusal::Invalid,
        }
    }

    pub(super) fn call_error(&mut self) -> CallError {
        match self.byte() % 6 {
            0 | 1 => CallError::TimedOut,
            2 => CallError::Unreachable,
            3 => CallError::Restarted {
                incarnation: self.u32(),
            },
            4 => CallError::Overloaded,
            _ => CallError::Garbled,
        }
    }

    /// Any answer to any command: a disk may rot.
    pub(super) fn store_result(&mut self, now: Instant) -> Result<StoreAnswer, StoreError> {
        Ok(match self.byte() % 12 {
            0 | 1 => return Err(StoreError::Full),
            2 | 3 => return Err(StoreError::Failed),
            4 | 5 => StoreAnswer::Record(self.bool().then(|| self.record(now))),
            6 => StoreAnswer::Put {
                newer: self.newer(),
            },
            7 | 8 => StoreAnswer::Page {
                records: self.records(now),
                more: self.bool(),
            },
            9 => StoreAnswer::Heads {
                heads: self.heads(),
                more: self.bool(),
            },
            10 => StoreAnswer::Discarded { count: self.u32() },
            _ => StoreAnswer::Swept {
                expired: self.u32(),
                buried: 0,
                more: self.bool(),
            },
        })
    }

    pub(super) fn change(&mut self) -> PeerChange {
        PeerChange::Lost(if self.bool() {
            Lost::Restarted {
                incarnation: self.u32(),
            }
        } else {
            Lost::Reset
        })
    }
}
