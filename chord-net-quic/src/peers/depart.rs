//! A connection that ended, a dial that brought none: who is told what.
//!
//! ```text
//! closed as idle or duplicate   its calls go out once more, under the same numbers
//! reset                         likewise, over a fresh dial; if that fails, the peer is dead
//! anything else                 its calls may have been done: timed out, now
//! ```
//!
//! No close is a sign of death; only a reset whose redial failed is.

use chord_core::event::{CallError, Lost};
use chord_core::id::Id;
use chord_core::peer::{Addr, Peer};
use chord_core::time::Instant;

use crate::peers::{Call, Code, DialError, Effect, End, LinkId, Peers, Stage};

impl Peers {
    /// A connection ended without our doing.
    pub(crate) fn ended(&mut self, id: LinkId, end: End, now: Instant) {
        if let End::Superseded(by) = end {
            self.superseded(by);
        }
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let (host, incarnation) = (link.host, link.incarnation);
        let calls = self.forget(id, now);
        match end {
            End::Closed(Code::Idle | Code::Duplicate) => self.send_again(calls, now),
            End::Reset => {
                self.redial(host, incarnation, now);
                self.send_again(calls, now);
            }
            End::Closed(
                Code::Shutdown | Code::Stale | Code::Violation | Code::Stranger | Code::Certificate,
            )
            | End::Superseded(_)
            | End::Silent
            | End::Failed => {
                for call in calls {
                    self.call_cut(call, now);
                }
            }
        }
    }

    /// A dial brought no connection.
    pub(crate) fn dial_failed(&mut self, addr: Addr, why: DialError, now: Instant) {
        self.counters.dials_failed += 1;
        if let DialError::Superseded(by) = why {
            self.superseded(by);
        }
        let (waiting, verdict) = self.dials.failed(addr, now);
        if let Some((host, incarnation)) = verdict {
            self.judge(host, incarnation);
        }
        let lives_there: Vec<Id> = match why {
            DialError::Stranger(found) => positions_of(found).collect(),
            DialError::Failed | DialError::Superseded(_) => Vec::new(),
        };
        for call in waiting {
            if lives_there.contains(&call.to.id) {
                // It was asked for while we were already looking for somebody else.
                self.call(call, now);
            } else {
                self.fail(&call, CallError::Unreachable);
            }
        }
    }

    /// Closes a connection. Returns the calls it carried, whose fate the caller decides; if
    /// it drops them, their nodes time out.
    pub(super) fn close(&mut self, id: LinkId, code: Code, now: Instant) -> Vec<Call> {
        let calls = self.forget(id, now);
        self.effects.push_back(Effect::Close { link: id, code });
        calls
    }

    /// Closes every connection to a host whose certificate is no good any more.
    pub(crate) fn expel(&mut self, id: LinkId, now: Instant) {
        for call in self.close(id, Code::Certificate, now) {
            self.fail(&call, CallError::Unreachable);
        }
    }

    pub(super) fn forget(&mut self, id: LinkId, now: Instant) -> Vec<Call> {
        let Some(mut link) = self.links.remove(&id) else {
            return Vec::new();
        };
        self.draining.retain(|draining| *draining != id);
        let other = self.hosts.get(link.host).and_then(|host| {
            host.links.iter().copied().find(|other| {
                *other != id
                    && self
                        .links
                        .get(other)
                        .is_some_and(|link| link.drained_by.is_none())
            })
        });
        self.hosts.unlink(link.host, id, other, now);
        link.take_calls()
    }

    /// Sends calls a second time that an orderly close has cut off.
    pub(super) fn send_again(&mut self, calls: Vec<Call>, now: Instant) {
        for mut call in calls {
            match call.stage {
                Stage::Fresh | Stage::Again(_) => self.call(call, now),
                Stage::Sent(number) => {
                    call.stage = Stage::Again(number);
                    self.call(call, now);
                }
                Stage::SentAgain(_) => self.fail(&call, CallError::TimedOut),
            }
        }
    }

    /// A call whose connection broke: it was sent, or it only waited there.
    fn call_cut(&mut self, call: Call, now: Instant) {
        if call.stage.left() {
            self.fail(&call, CallError::TimedOut);
        } else {
            self.call(call, now);
        }
    }

    /// After a reset: a fresh dial tells whether the host lives.
    fn redial(&mut self, host: Id, incarnation: u32, now: Instant) {
        let Some(known) = self.hosts.get(host) else {
            return;
        };
        if known.current.is_some() || known.incarnation != incarnation {
            return; // Another connection to it is alive, or it is known to have restarted.
        }
        let addr = known.addr;
        if let Some(dial) = self.dials.at(addr, now) {
            dial.verdict = Some((host, incarnation));
            self.start_dials(now);
        }
    }

    /// The dial after a reset is over: the host is connected again, in this or a later life,
    /// or it is dead.
    pub(super) fn judge(&mut self, host: Id, incarnation: u32) {
        let Some(known) = self.hosts.get(host) else {
            return;
        };
        if known.incarnation != incarnation || known.current.is_some() {
            return;
        }
        let dead: Vec<Peer> = known.peers(host).collect();
        for peer in dead {
            self.effects.push_back(Effect::Lost {
                peer,
                why: Lost::Reset,
            });
        }
    }
}

/// Whether a host with this certified id can have one of these positions. Each of its
/// positions is computed once, however many are asked for: that is hashing.
pub(crate) fn is_one_of(host: Id, positions: &[Id]) -> bool {
    positions_of(host).any(|position| positions.contains(&position))
}

/// All positions that a host with this certified id can have.
fn positions_of(host: Id) -> impl Iterator<Item = Id> {
    (0..crate::api::POSITIONS_MAX).map(move |at| host.of_position(at))
}
