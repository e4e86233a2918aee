//! What this node knows of the liveness of others: round trips, suspicion, death.
//!
//! ```text
//! call timed out ──▶ suspected ── Ping ──▶ answered: fine
//!                                      └─▶ timed out too: dead
//! ```
//!
//! A peer is dead after **two** independent signals, because a false suspicion costs the
//! ring as much as a failure; a restart, a farewell or a reset connection is both at once.
//! Timeouts follow measured round trips (RFC 6298 §2); only calls that touch no disk feed
//! them.

use alloc::vec::Vec;

use crate::config::Config;
use crate::id::Id;
use crate::peer::Peer;
use crate::time::{Instant, Micros};

/// Peers remembered. Enough for the list, the fingers and the holders of a node.
const CONTACTS_MAX: usize = 192;

/// How long a death is believed without new evidence. Lists of others may name a dead peer
/// for a while; each such mention must not cost two timeouts again.
const DEATH_BELIEVED: Micros = Micros::from_secs(30);

/// How long it is believed against the word of a member that names the dead as its predecessor:
/// long enough for that one to have looked after it, which our own notification made it do.
const DEATH_CERTAIN: Micros = Micros::from_secs(5);

/// How long "I am not a member" is believed: entering a ring takes a few round trips.
const OUTSIDE_BELIEVED: Micros = Micros::from_millis(300);

/// When a call counts as late, before it is known how fast a peer answers.
const LATE_FIRST: Micros = Micros::from_millis(250);

#[derive(Clone, Debug)]
struct Contact {
    id: Id,
    heard: Instant,
    estimate: Estimate,
    /// The life that is dead, 0: none.
    dead: u32,
    believed_until: Instant,
    /// The life that was no member, 0: none, and until when that is believed. Apart from a death:
    /// an earlier life may be dead for long, and the next one a member in a moment.
    outside: u32,
    outside_until: Instant,
    probing: bool,
}

impl Contact {
    fn is_dead(&self, life: u32, now: Instant) -> bool {
        self.dead != 0 && self.dead >= life && now < self.believed_until
    }

    fn is_outside(&self, life: u32, now: Instant) -> bool {
        self.outside != 0 && self.outside >= life && now < self.outside_until
    }
}

/// Smoothed round trip and its variation in µs (RFC 6298 §2), and from how many samples.
#[derive(Clone, Copy, Default, Debug)]
struct Estimate {
    srtt: u32,
    rttvar: u32,
    samples: u8,
}

impl Estimate {
    fn sample(&mut self, sample: u32) {
        if self.samples == 0 {
            (self.srtt, self.rttvar) = (sample, sample / 2);
        } else {
            let deviation = self.srtt.abs_diff(sample);
            self.rttvar = self.rttvar - self.rttvar / 4 + deviation / 4;
            self.srtt = self.srtt - self.srtt / 8 + sample / 8;
        }
        self.samples = self.samples.saturating_add(1);
    }

    fn timeout(self) -> u64 {
        u64::from(self.srtt).saturating_add(4 * u64::from(self.rttvar))
    }
}

/// Samples before an estimate of one peer is trusted below that of all peers.
const SAMPLES_TRUSTED: u8 = 8;

/// A bounded table of contacts, ordered by id.
#[derive(Clone, Debug)]
pub(crate) struct Contacts {
    list: Vec<Contact>,
    /// Over all peers: what a peer hardly known is given.
    overall: Estimate,
}

impl Contacts {
    pub(crate) const fn new() -> Self {
        Self {
            list: Vec::new(),
            overall: Estimate {
                srtt: 0,
                rttvar: 0,
                samples: 0,
            },
        }
    }

    fn find(&self, id: Id) -> Option<&Contact> {
        let at = self
            .list
            .binary_search_by_key(&id, |contact| contact.id)
            .ok()?;
        self.list.get(at)
    }

    fn entry(&mut self, id: Id, now: Instant) -> &mut Contact {
        let at = match self.list.binary_search_by_key(&id, |contact| contact.id) {
            Ok(at) => at,
            Err(_) => {
                self.make_room();
                let fresh = Contact {
                    id,
                    heard: now,
                    estimate: Estimate::default(),
                    dead: 0,
                    believed_until: Instant(0),
                    outside: 0,
                    outside_until: Instant(0),
                    probing: false,
                };
                let at = self.list.partition_point(|contact| contact.id < id);
                self.list.insert(at, fresh);
                at
            }
        };
        &mut self.list[at]
    }

    fn make_room(&mut self) {
        if self.list.len() < CONTACTS_MAX {
            return;
        }
        let oldest = (0..self.list.len())
            .filter(|&at| !self.list[at].probing)
            .min_by_key(|&at| self.list[at].heard);
        self.list.remove(oldest.unwrap_or(0));
    }

    /// `peer` spoke: it is alive in this life. `round_trip` only from calls without disk.
    pub(crate) fn heard(&mut self, peer: Peer, round_trip: Option<Micros>, now: Instant) {
        let contact = self.entry(peer.id, now);
        contact.heard = now;
        if contact.dead != 0 && peer.incarnation >= contact.dead {
            contact.dead = 0;
            contact.believed_until = now;
        }
        if peer.incarnation >= contact.outside {
            contact.outside = 0;
        }
        let Some(sample) = round_trip else { return };
        let sample = u32::try_from(sample.0).unwrap_or(u32::MAX).max(1);
        contact.estimate.sample(sample);
        self.overall.sample(sample);
    }

    /// How long to wait for an answer of this peer.
    pub(crate) fn timeout(&self, id: Id, config: &Config) -> Micros {
        let Some(contact) = self.find(id).filter(|contact| contact.estimate.samples > 0) else {
            return config.timeout_first;
        };
        let mut timeout = contact.estimate.timeout();
        if contact.estimate.samples < SAMPLES_TRUSTED {
            timeout = timeout.max(self.overall.timeout());
        }
        Micros(timeout.clamp(config.timeout_min.0, config.timeout_max.0))
    }

    /// Whether `peer` has spoken since `since`: then silence in one call is no sign.
    pub(crate) fn heard_since(&self, id: Id, since: Instant) -> bool {
        self.find(id).is_some_and(|contact| contact.heard > since)
    }

    /// When an answer of this peer is late enough to try another way beside it.
    pub(crate) fn late(&self, id: Id, config: &Config) -> Micros {
        let timeout = self.timeout(id, config);
        if self
            .find(id)
            .is_some_and(|contact| contact.estimate.samples > 0)
        {
            return timeout;
        }
        timeout.min(LATE_FIRST)
    }

    /// Whether this life of `peer` is known to be dead.
    pub(crate) fn is_dead(&self, peer: Peer, now: Instant) -> bool {
        let life = peer.incarnation;
        self.find(peer.id)
            .is_some_and(|contact| contact.is_dead(life, now) || contact.is_outside(life, now))
    }

    /// Whether this life of `peer` is known to be dead, whoever else thinks that it lives. Later
    /// its word counts for a question: a false death must not hide a neighbour for as long as a
    /// true one is remembered.
    pub(crate) fn is_certainly_dead(&self, peer: Peer, now: Instant) -> bool {
        let life = peer.incarnation;
        self.find(peer.id).is_some_and(|contact| {
            let left = contact.believed_until.since(now);
            let fresh = left.0 > DEATH_BELIEVED.0 - DEATH_CERTAIN.0;
            contact.is_outside(life, now) || contact.is_dead(life, now) && fresh
        })
    }

    /// A first signal. True if a probe must now be sent.
    pub(crate) fn suspect(&mut self, peer: Peer, now: Instant) -> bool {
        if self.is_dead(peer, now) {
            return false;
        }
        let contact = self.entry(peer.id, now);
        !core::mem::replace(&mut contact.probing, true)
    }

    /// The probe ended, either way.
    pub(crate) fn probed(&mut self, id: Id, now: Instant) {
        self.entry(id, now).probing = false;
    }

    /// Two signals: this life is over. True if that is news.
    pub(crate) fn died(&mut self, peer: Peer, now: Instant) -> bool {
        let news = !self.is_dead(peer, now);
        let contact = self.entry(peer.id, now);
        contact.dead = contact.dead.max(peer.incarnation);
        contact.believed_until = contact.believed_until.max(now + DEATH_BELIEVED);
        news
    }

    /// It said itself that it is no member: true for the moment, and perhaps not for long.
    pub(crate) fn is_outside(&mut self, peer: Peer, now: Instant) {
        let contact = self.entry(peer.id, now);
        contact.outside = contact.outside.max(peer.incarnation);
        contact.outside_until = now + OUTSIDE_BELIEVED;
    }

    /// Drops all suspicion: it was this node that was away.
    pub(crate) fn forgive(&mut self) {
        for contact in &mut self.list {
            (contact.dead, contact.outside) = (0, 0);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> Peer {
        let mut id = [0; 20];
        id[0] = n;
        Peer {
            id: Id(id),
            addr: crate::peer::Addr::default(),
            incarnation: 2,
        }
    }

    #[test]
    fn timeouts_follow_round_trips_between_floor_and_ceiling() {
        // RFC 6298 §2: SRTT + 4 · RTTVAR.
        let config = Config::default();
        let mut contacts = Contacts::new();
        assert_eq!(contacts.timeout(peer(1).id, &config), config.timeout_first);
        for _ in 0..50 {
            contacts.heard(peer(1), Some(Micros::from_millis(1)), Instant(0));
        }
        assert_eq!(contacts.timeout(peer(1).id, &config), config.timeout_min);
        for _ in 0..50 {
            contacts.heard(peer(1), Some(Micros::from_millis(300)), Instant(0));
        }
        let timeout = contacts.timeout(peer(1).id, &config);
        assert!(timeout >= Micros::from_millis(295), "{timeout:?}");
        contacts.heard(peer(1), Some(Micros::from_secs(9_999)), Instant(0));
        assert_eq!(contacts.timeout(peer(1).id, &config), config.timeout_max);
    }

    #[test]
    fn one_probe_at_a_time() {
        let mut contacts = Contacts::new();
        assert!(contacts.suspect(peer(1), Instant(0)));
        assert!(!contacts.suspect(peer(1), Instant(0)));
        contacts.probed(peer(1).id, Instant(0));
        assert!(contacts.suspect(peer(1), Instant(0)));
    }

    #[test]
    fn death_is_of_one_life_and_ends_with_a_word_or_with_time() {
        let mut contacts = Contacts::new();
        assert!(contacts.died(peer(1), Instant(0)));
        assert!(!contacts.died(peer(1), Instant(0)), "no news");
        assert!(contacts.is_dead(peer(1), Instant(1)));
        assert!(contacts.is_dead(
            Peer {
                incarnation: 1,
                ..peer(1)
            },
            Instant(1)
        ));
        assert!(!contacts.is_dead(
            Peer {
                incarnation: 3,
                ..peer(1)
            },
            Instant(1)
        ));
        assert!(!contacts.is_dead(peer(1), Instant(0) + DEATH_BELIEVED));
        contacts.heard(
            Peer {
                incarnation: 1,
                ..peer(1)
            },
            None,
            Instant(2),
        );
        assert!(
            contacts.is_dead(peer(1), Instant(2)),
            "an echo of an earlier life"
        );
        contacts.heard(peer(1), None, Instant(3));
        assert!(!contacts.is_dead(peer(1), Instant(3)));
    }

    #[test]
    fn a_death_outweighs_the_word_of_others_for_a_while_only() {
        let mut contacts = Contacts::new();
        let soon = Instant(0) + Micros(DEATH_CERTAIN.0 - 1);
        let later = Instant(0) + DEATH_CERTAIN;
        contacts.died(peer(1), Instant(0));
        assert!(contacts.is_certainly_dead(peer(1), soon));
        assert!(contacts.is_dead(peer(1), later));
        assert!(!contacts.is_certainly_dead(peer(1), later));
        contacts.is_outside(peer(2), Instant(0));
        assert!(contacts.is_certainly_dead(peer(2), Instant(1)));
    }

    /// A host came back and was asked before it was a member: its earlier life is dead for long,
    /// this one outside for a moment.
    #[test]
    fn a_new_life_is_not_outside_for_as_long_as_the_old_one_is_dead() {
        let mut contacts = Contacts::new();
        let (old, new) = (
            peer(1),
            Peer {
                incarnation: 3,
                ..peer(1)
            },
        );
        contacts.died(old, Instant(0));
        contacts.is_outside(new, Instant(0));
        assert!(contacts.is_dead(new, Instant(1)));
        let later = Instant(0) + OUTSIDE_BELIEVED;
        assert!(!contacts.is_dead(new, later));
        assert!(contacts.is_dead(old, later));
        contacts.is_outside(new, later);
        contacts.heard(new, None, later);
        assert!(!contacts.is_dead(new, later), "it spoke as a member");
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_longest_unheard() {
        let mut contacts = Contacts::new();
        for n in 0..1_000_u64 {
            let mut stranger = peer(0);
            stranger.id = Id::hash(&n.to_be_bytes());
            contacts.heard(stranger, Some(Micros(5)), Instant(n));
        }
        assert_eq!(contacts.len(), CONTACTS_MAX);
        let config = Config::default();
        let measured =
            |n: u64| contacts.timeout(Id::hash(&n.to_be_bytes()), &config) != config.timeout_first;
        assert!(measured(999));
        assert!(!measured(0));
    }
}
