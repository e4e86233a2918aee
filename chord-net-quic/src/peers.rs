//! Which connection a call goes over, and what the connections tell about the peers.
//!
//! Pure: what happened goes in through the methods, what must be done comes out as
//! [`Effect`]s, and time is an argument. Sockets, streams and tasks live in
//! [`crate::endpoint`] and [`crate::link`].
//!
//! ```text
//! node ── call ──▶ peers ── Write / Bulk ──▶ link        connected: at once
//!                  peers ── Dial ──────────▶ endpoint    not connected: the call waits
//! endpoint ── linked / dial_failed ──▶ peers             hello was exchanged, or no way
//! link ────── heard ──▶ peers ── Request ──▶ node        vouched for by the certificate
//!                       peers ── Answer ───▶ node
//! link ────── ended ──▶ peers ── Lost ─────▶ node        reset and redial failed, or a later
//!                                                        life of the peer spoke
//!                       peers ── Superseded ▶ driver     a later life of our own did
//! ```
//!
//! **Invariant:** connections are known by the id in the certificate; no message changes it.
//! **Invariant:** of two connections to one host both ends keep the one dialled by the
//! smaller id (of two dialled by one end, the later).
//! **Invariant:** all open connections to a host are to the latest life of it that spoke.
//! **Invariant:** everything that waits, waits in a bounded place.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use chord_core::event::{CallError, Lost, OpId, Terms};
use chord_core::id::Id;
use chord_core::message::{Request, Response};
use chord_core::peer::{Addr, Peer};
use chord_core::time::{Instant, Micros};
use tokio::sync::oneshot;

use crate::counters::Counters;
use crate::lines::Lines;
use crate::peers::dials::Dials;
use crate::peers::hosts::Hosts;
use crate::peers::link::Link;

mod arrive;
mod call;
mod depart;
mod dials;
mod hosts;
mod link;
mod serve;
mod tend;

pub(crate) use depart::is_one_of;
#[cfg(test)]
mod tests;

/// Most calls in flight to one peer, and most requests of one peer being served.
pub(crate) const CALLS_MAX: usize = 256;
/// Of those, what reads, writes and repair may take: upkeep of the ring and replication
/// always find room.
pub(crate) const CLIENT_CALLS_MAX: usize = 224;
/// Most bulk streams in flight that way on a connection.
pub(crate) const BULK_MAX: usize = 8;
/// Most calls and answers that wait for a bulk stream of a connection.
pub(crate) const BULK_WAITING_MAX: usize = 32;
/// Most connections; above it, one that drains or else the one unused for longest is closed.
pub(crate) const LINKS_MAX: usize = 1_024;
/// Most connections to one host: two when both ends dial at once, and room for those that
/// drain. Above it the oldest of these is closed at once.
pub(crate) const HOST_LINKS_MAX: usize = 4;
/// How long a connection stays open unused. Shorter than the transport's own timeout, so
/// that both ends hear of the end instead of guessing.
pub(crate) const IDLE: Micros = Micros::from_secs(25);
/// How long the second of two connections to a host may take to finish what it carries.
pub(crate) const DRAIN: Micros = Micros::from_secs(5);
/// How long it must have been quiet before that: the other end may not have heard yet.
pub(crate) const DRAIN_QUIET: Micros = Micros::from_millis(500);

/// One connection, numbered for the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LinkId(pub(crate) u64);

/// Who this host is.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    /// The id in the certificate.
    pub(crate) host: Id,
    /// Which start of the process.
    pub(crate) incarnation: u32,
    /// What others dial.
    pub(crate) addr: Addr,
    /// The ids of the positions, the certified one first.
    pub(crate) positions: Vec<Id>,
}

impl Local {
    /// Position number `at` as others see it.
    pub(crate) fn peer(&self, at: usize) -> Option<Peer> {
        let id = *self.positions.get(at)?;
        Some(Peer {
            id,
            addr: self.addr,
            incarnation: self.incarnation,
        })
    }
}

/// What is known of the other end once both hellos were exchanged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Introduced {
    /// The id in its certificate.
    pub(crate) host: Id,
    /// Which start of its process.
    pub(crate) incarnation: u32,
    /// Where it says it listens.
    pub(crate) addr: Addr,
    /// How many positions it says it has; at most the bound of the cluster.
    pub(crate) positions: u16,
    /// Where it says it serves clients.
    pub(crate) service: Option<Addr>,
}

/// A call of one of our nodes on its way.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Call {
    /// Which of our positions asks.
    pub(crate) position: u16,
    /// Echoed with the answer.
    pub(crate) op: OpId,
    /// Whom.
    pub(crate) to: Peer,
    /// Deadline, priority, trace.
    pub(crate) terms: Terms,
    /// What.
    pub(crate) request: Request,
    /// How far it got.
    pub(crate) stage: Stage,
}

/// How far a call got. Only forwards, so that no call is tried for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    /// Nothing left this host.
    Fresh,
    /// Sent: it may have been done. Its number stays the same.
    Sent(u32),
    /// Its connection was closed under it; it goes out once more.
    Again(u32),
    /// Sent a second time.
    SentAgain(u32),
}

impl Stage {
    /// Whether a peer may have seen the call.
    pub(crate) fn left(self) -> bool {
        self != Self::Fresh
    }
}

/// Where an answer to a peer's request goes.
#[derive(Debug)]
pub(crate) struct Way {
    /// Over which connection it came.
    pub(crate) link: LinkId,
    /// Of which host.
    pub(crate) host: Id,
    /// Its number there.
    pub(crate) id: u32,
    /// The stream it came on, if that was one of its own.
    pub(crate) bulk: Option<oneshot::Sender<Bytes>>,
}

/// Why a connection is closed, as told to the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Code {
    /// The host stops.
    Shutdown = 1,
    /// Unused.
    Idle = 2,
    /// The second of two.
    Duplicate = 3,
    /// A later life of the closed end has spoken.
    Stale = 4,
    /// It broke the protocol.
    Violation = 5,
    /// Not whom we wanted to talk to.
    Stranger = 6,
    /// The other end's certificate ran out or was revoked.
    Certificate = 7,
}

impl Code {
    /// The meaning of a number that the other end sent.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        [
            Self::Shutdown,
            Self::Idle,
            Self::Duplicate,
            Self::Stale,
            Self::Violation,
            Self::Stranger,
            Self::Certificate,
        ]
        .into_iter()
        .find(|code| *code as u64 == number)
    }
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// The other end closed it.
    Closed(Code),
    /// The other end closed it because a later life of ours has spoken to it: this one, if
    /// it said so.
    Superseded(Option<u32>),
    /// The other end's host does not know the connection any more.
    Reset,
    /// Nothing was heard for the transport's idle timeout.
    Silent,
    /// Anything else: the transport failed, or an unknown code.
    Failed,
}

/// Why a dial brought no connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DialError {
    /// No answer, or a refused handshake.
    Failed,
    /// Another node lives there: this one.
    Stranger(Id),
    /// A later life of ours has spoken there: this one, if it said so.
    Superseded(Option<u32>),
}

/// What must now be done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Connect. Somebody else than one of `wanted` (if there are any) is left without a word.
    Dial { addr: Addr, wanted: Vec<Id> },
    /// Write these frames to the frame stream.
    Write { link: LinkId, bytes: Bytes },
    /// Write this frame to a stream of its own; with `call`, read the answer from it.
    Bulk {
        link: LinkId,
        bytes: Bytes,
        call: Option<u32>,
        deadline: Instant,
    },
    /// Close the connection.
    Close { link: LinkId, code: Code },
    /// Close the connection: it is to an earlier life than this one.
    Retire { link: LinkId, later: u32 },
    /// Hand a request to one of our nodes.
    Request {
        way: Way,
        position: u16,
        from: Peer,
        terms: Terms,
        request: Request,
    },
    /// Hand an answer to one of our nodes.
    Answer {
        position: u16,
        op: OpId,
        result: Result<Response, CallError>,
    },
    /// Tell all our nodes that a peer is dead.
    Lost { peer: Peer, why: Lost },
    /// Two processes share one certificate: say so.
    TwoLives { peer: Peer },
    /// Others take another process for the later life of this host: this life, if known.
    Superseded { by: Option<u32> },
}

/// The connections of a host.
#[derive(Debug)]
pub(crate) struct Peers {
    me: Local,
    links: HashMap<LinkId, Link>,
    hosts: Hosts,
    dials: Dials,
    /// Links with frames in their buffers, for [`Peers::flush`].
    dirty: Vec<LinkId>,
    /// Links that take no new calls.
    draining: Vec<LinkId>,
    /// Numbers of calls, one sequence for all connections: a call that is sent again keeps
    /// its number.
    next_call: u32,
    next_sweep: Instant,
    /// What insiders can make us log.
    lines: Lines,
    /// What must now be done, in order.
    pub(crate) effects: VecDeque<Effect>,
    /// What this part counts.
    pub(crate) counters: Counters,
}

impl Peers {
    /// No connections yet.
    pub(crate) fn new(me: Local, now: Instant) -> Self {
        Self {
            me,
            links: HashMap::new(),
            hosts: Hosts::default(),
            dials: Dials::default(),
            dirty: Vec::new(),
            draining: Vec::new(),
            next_call: 0,
            next_sweep: now + tend::SWEEP,
            lines: Lines::default(),
            effects: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Open connections.
    pub(crate) fn open(&self) -> usize {
        self.links.len()
    }

    /// Which of our positions an id is.
    pub(crate) fn own_position(&self, id: Id) -> Option<u16> {
        let at = self.me.positions.iter().position(|own| *own == id)?;
        u16::try_from(at).ok()
    }

    /// Whether an id is one of our positions.
    pub(crate) fn is_own(&self, id: Id) -> bool {
        self.own_position(id).is_some()
    }

    /// Where the host of a position says it serves clients; `None` as long as nobody there
    /// has said so.
    pub(crate) fn service_of(&self, position: Id) -> Option<SocketAddr> {
        let (_, host) = self.hosts.of_position(position)?;
        let mut service = host.service?;
        if service.ip == [0; 16] {
            service.ip = host.addr.ip;
        }
        service.to_socket()
    }

    /// Our position number `at` as others see it.
    pub(crate) fn own_peer(&self, at: u16) -> Option<Peer> {
        self.me.peer(usize::from(at))
    }

    /// Whether no call of ours waits for an answer.
    pub(crate) fn all_answered(&self) -> bool {
        self.links.values().all(|link| link.calls.is_empty())
    }

    /// Hands out the frames that were put into buffers since the last time, one piece for
    /// each connection.
    pub(crate) fn flush(&mut self) {
        for id in self.dirty.drain(..) {
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            if link.out.is_empty() {
                continue;
            }
            let bytes = link.out.split().freeze();
            self.counters.bytes_sent += bytes.len() as u64;
            self.effects.push_back(Effect::Write { link: id, bytes });
        }
    }

    fn answer(&mut self, call: &Call, result: Result<Response, CallError>) {
        if result.is_err() {
            self.counters.calls_failed += 1;
        }
        self.effects.push_back(Effect::Answer {
            position: call.position,
            op: call.op,
            result,
        });
    }

    /// Ends a call that cannot go on. Once it has left this host it may have been done, and
    /// the answer must say so.
    fn fail(&mut self, call: &Call, error: CallError) {
        let error = if call.stage.left() {
            CallError::TimedOut
        } else {
            error
        };
        self.answer(call, Err(error));
    }
}
