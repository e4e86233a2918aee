//! A connection whose hellos were exchanged: is it wanted, and what does it replace?
//!
//! ```text
//! own id           a dial of our own address, or a copy of our certificate: closed
//! lower life       closed, and told of the higher one; two processes share one certificate,
//!                  and that is an alarm
//! higher life      replaces all older connections at once; the older life is dead
//! the same life    the second of two: one takes no new calls, drains, closes
//! ```

use chord_core::event::{CallError, Lost};
use chord_core::id::Id;
use chord_core::peer::{Addr, Peer};
use chord_core::time::Instant;

use crate::peers::link::Link;
use crate::peers::{Code, DRAIN, Effect, HOST_LINKS_MAX, Introduced, LINKS_MAX, LinkId, Peers};

impl Peers {
    /// Takes a connection; `dialled` is the address if we opened it.
    pub(crate) fn linked(
        &mut self,
        id: LinkId,
        dialled: Option<Addr>,
        who: &Introduced,
        now: Instant,
    ) {
        if dialled.is_some() {
            self.counters.dialled += 1;
        } else {
            self.counters.accepted += 1;
        }
        if self.is_welcome(id, who) {
            self.admit(id, dialled.is_some(), who, now);
            if let Some(addr) = dialled {
                self.hosts.found(addr, who.host);
            }
        }
        self.settle_dials(dialled, now);
    }

    /// Whether this life of this host may connect at all. If not, the connection is closed.
    fn is_welcome(&mut self, id: LinkId, who: &Introduced) -> bool {
        let other = Peer {
            id: who.host,
            addr: who.addr,
            incarnation: who.incarnation,
        };
        if who.host == self.me.host {
            if who.incarnation == self.me.incarnation && who.addr == self.me.addr {
                // We have dialled ourselves.
                let code = Code::Stranger;
                self.effects.push_back(Effect::Close { link: id, code });
            } else {
                self.effects.push_back(Effect::TwoLives { peer: other });
                let later = self.me.incarnation;
                self.effects.push_back(Effect::Retire { link: id, later });
                self.superseded(Some(who.incarnation));
            }
            return false;
        }
        match self.hosts.get(who.host) {
            Some(host) if who.incarnation < host.incarnation => {
                let later = host.incarnation;
                self.effects.push_back(Effect::TwoLives { peer: other });
                self.effects.push_back(Effect::Retire { link: id, later });
                false
            }
            _ => true,
        }
    }

    /// Somebody takes another process for the later life of this host. What concerns an
    /// earlier one is no news.
    pub(super) fn superseded(&mut self, by: Option<u32>) {
        if by.is_none_or(|by| by >= self.me.incarnation) {
            self.effects.push_back(Effect::Superseded { by });
        }
    }

    fn admit(&mut self, id: LinkId, ours: bool, who: &Introduced, now: Instant) {
        if self
            .hosts
            .get(who.host)
            .is_some_and(|host| host.incarnation < who.incarnation)
        {
            self.bury(who, now);
        }
        let known = self.hosts.get(who.host).is_some();
        self.links.insert(id, Link::new(who, ours, now));
        let host = self.hosts.introduce(who, now);
        host.links.push(id);
        let current = host.current.replace(id);
        if known {
            self.counters.reconnects += 1;
        }
        if let Some(older) = current {
            self.choose(older, id, now);
        }
        self.close_surplus(who.host, now);
        self.make_room_for(id, now);
    }

    /// An earlier life of this host is over: its connections are closed, its calls fail, and
    /// the nodes are told.
    fn bury(&mut self, who: &Introduced, now: Instant) {
        let Some(host) = self.hosts.get(who.host) else {
            return;
        };
        let (links, dead): (Vec<LinkId>, Vec<Peer>) =
            (host.links.clone(), host.peers(who.host).collect());
        let incarnation = who.incarnation;
        for peer in dead {
            self.effects.push_back(Effect::Lost {
                peer,
                why: Lost::Restarted { incarnation },
            });
        }
        for id in links {
            let calls = self.forget(id, now);
            let later = incarnation;
            self.effects.push_back(Effect::Retire { link: id, later });
            for call in calls {
                self.fail(&call, CallError::Restarted { incarnation });
            }
        }
    }

    /// Two connections to one life of one host: which one stays for new calls?
    fn choose(&mut self, older: LinkId, newer: LinkId, now: Instant) {
        let (Some(old), Some(new)) = (self.links.get(&older), self.links.get(&newer)) else {
            return;
        };
        let host = new.host;
        // Both ends come to the same result, because both know both ids and who dialled.
        let keep_older = old.ours != new.ours && old.ours == (self.me.host < host);
        let (keep, drain) = if keep_older {
            (older, newer)
        } else {
            (newer, older)
        };
        self.counters.duplicates += 1;
        if let Some(known) = self.hosts.get_mut(host) {
            known.current = Some(keep);
        }
        if let Some(link) = self.links.get_mut(&drain) {
            link.drained_by = Some(now + DRAIN);
            self.draining.push(drain);
        }
    }

    /// Gives waiting calls the new connection, and ends the wait of those that it
    /// disappoints.
    fn settle_dials(&mut self, dialled: Option<Addr>, now: Instant) {
        let hosts = &self.hosts;
        let reachable = self.dials.take_for(|call| {
            let known = if call.to.is_seed() {
                hosts.at(call.to.addr)
            } else {
                hosts.of_position(call.to.id)
            };
            known.is_some_and(|(_, host)| {
                host.current.is_some() && call.to.incarnation <= host.incarnation
            })
        });
        for call in reachable {
            self.call(call, now);
        }
        let Some(dial) = dialled.and_then(|addr| self.dials.succeeded(addr)) else {
            return;
        };
        for call in dial.waiting {
            self.call_now(call, now);
        }
        if let Some((host, incarnation)) = dial.verdict {
            self.judge(host, incarnation);
        }
    }

    /// Closes the oldest of the connections that drain while one host has too many.
    fn close_surplus(&mut self, host: Id, now: Instant) {
        while let Some(known) = self.hosts.get(host)
            && known.links.len() > HOST_LINKS_MAX
        {
            let spare = |id: &&LinkId| known.current != Some(**id);
            let Some(&oldest) = known.links.iter().find(spare) else {
                return;
            };
            let calls = self.close(oldest, Code::Duplicate, now);
            self.send_again(calls, now);
        }
    }

    /// Closes connections while there are too many: those that drain first, then the one that
    /// is unused for longest, and if all are in use the one that was for longest.
    fn make_room_for(&mut self, newcomer: LinkId, now: Instant) {
        while self.links.len() > LINKS_MAX {
            let others = self.links.iter().filter(|(id, _)| **id != newcomer);
            let least = others.min_by_key(|(id, link)| {
                let busy = !link.is_quiet();
                (link.drained_by.is_none(), busy, link.used, **id)
            });
            let Some(id) = least.map(|(id, _)| *id) else {
                return;
            };
            let calls = self.close(id, Code::Idle, now);
            self.send_again(calls, now);
        }
    }
}
