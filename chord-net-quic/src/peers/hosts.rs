//! What is known of other hosts, connected or not.

use std::collections::HashMap;

use chord_core::id::Id;
use chord_core::peer::{Addr, Peer};
use chord_core::time::Instant;

use crate::peers::{Introduced, LinkId};

/// Most hosts remembered without a connection, for their incarnations.
const REMEMBERED_MAX: usize = 4_096;

/// One host: the latest life of it that spoke to us.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) incarnation: u32,
    pub(super) addr: Addr,
    pub(super) positions: u16,
    pub(super) service: Option<Addr>,
    /// The connection that takes new calls.
    pub(super) current: Option<LinkId>,
    /// All connections, draining ones included.
    pub(super) links: Vec<LinkId>,
    /// Requests of it that a node works on, also those of connections that are gone.
    serving: usize,
    /// When a connection last came or went.
    seen: Instant,
}

impl Host {
    /// Its positions as peers.
    pub(super) fn peers(&self, host: Id) -> impl Iterator<Item = Peer> {
        let Self {
            addr, incarnation, ..
        } = *self;
        (0..self.positions).map(move |at| Peer {
            id: host.of_position(at),
            addr,
            incarnation,
        })
    }
}

/// All hosts known, and by which names.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    hosts: HashMap<Id, Host>,
    /// Positions other than the certified id itself.
    positions: HashMap<Id, Id>,
    /// Who answered at addresses we dialled.
    dialled: HashMap<Addr, Id>,
}

impl Hosts {
    pub(super) fn get(&self, host: Id) -> Option<&Host> {
        self.hosts.get(&host)
    }

    pub(super) fn get_mut(&mut self, host: Id) -> Option<&mut Host> {
        self.hosts.get_mut(&host)
    }

    /// The host that has a position, and what is known of it.
    pub(super) fn of_position(&self, position: Id) -> Option<(Id, &Host)> {
        let id = match self.hosts.contains_key(&position) {
            true => position,
            false => *self.positions.get(&position)?,
        };
        Some((id, self.hosts.get(&id)?))
    }

    /// The host that answered when we dialled an address.
    pub(super) fn at(&self, addr: Addr) -> Option<(Id, &Host)> {
        let id = *self.dialled.get(&addr)?;
        Some((id, self.hosts.get(&id)?))
    }

    /// Remembers who answered at an address.
    pub(super) fn found(&mut self, addr: Addr, host: Id) {
        if self.dialled.len() >= REMEMBERED_MAX {
            // One host may answer at many addresses. Who is forgotten is dialled again.
            self.dialled.clear();
        }
        self.dialled.insert(addr, host);
    }

    /// Replaces what is known of a host by what it just said of itself.
    pub(super) fn introduce(&mut self, who: &Introduced, now: Instant) -> &mut Host {
        let host = self.hosts.entry(who.host).or_insert(Host {
            incarnation: who.incarnation,
            addr: who.addr,
            positions: 0,
            service: None,
            current: None,
            links: Vec::new(),
            serving: 0,
            seen: now,
        });
        for at in who.positions.max(1)..host.positions {
            self.positions.remove(&who.host.of_position(at));
        }
        for at in host.positions.max(1)..who.positions {
            self.positions.insert(who.host.of_position(at), who.host);
        }
        host.incarnation = who.incarnation;
        host.addr = who.addr;
        host.positions = who.positions;
        host.service = who.service;
        host.seen = now;
        host
    }

    /// One more request of a host is being served. Answers how many are now.
    pub(super) fn begin_serving(&mut self, host: Id) -> usize {
        self.hosts.get_mut(&host).map_or(0, |host| {
            host.serving += 1;
            host.serving
        })
    }

    /// A request of a host was answered.
    pub(super) fn end_serving(&mut self, host: Id) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.serving = host.serving.saturating_sub(1);
        }
    }

    /// A connection is gone. The next best one takes its place.
    pub(super) fn unlink(&mut self, id: Id, link: LinkId, other: Option<LinkId>, now: Instant) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.links.retain(|known| *known != link);
            host.seen = now;
            if host.current == Some(link) {
                host.current = other;
            }
        }
    }

    /// Forgets the hosts unseen for longest once there are too many, those that are connected
    /// or owed an answer never.
    pub(super) fn trim(&mut self) {
        let mut absent: Vec<(Instant, Id)> = self
            .hosts
            .iter()
            .filter(|(_, host)| host.links.is_empty() && host.serving == 0)
            .map(|(id, host)| (host.seen, *id))
            .collect();
        if absent.len() <= REMEMBERED_MAX {
            return;
        }
        absent.sort_unstable();
        for (_, id) in &absent[..absent.len() - REMEMBERED_MAX] {
            let Some(host) = self.hosts.remove(id) else {
                continue;
            };
            for at in 1..host.positions {
                self.positions.remove(&id.of_position(at));
            }
        }
        let hosts = &self.hosts;
        self.dialled.retain(|_, id| hosts.contains_key(id));
    }
}
