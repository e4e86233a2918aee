//! Questions about the ring, in the words of the Chord papers.
//!
//! Stoica et al., *Chord* (SIGCOMM 2001), figures 4 and 6: `find_predecessor`,
//! `closest_preceding_finger`, and a table whose entry number i is the owner of the own
//! position plus 2ⁱ.

use std::collections::BTreeMap;

use chord_core::event::{Failure, View, Why};
use chord_core::id::{ID_BITS, Id};
use chord_core::peer::{Addr, Peer};

use crate::dht::Dht;

/// The last member before `position`: the one whose successor owns it.
pub(super) async fn predecessor_of<D: Dht>(dht: &D, position: Id) -> Result<Peer, Failure> {
    let owner = dht.lookup(position).await?.owner;
    let own = dht.view(None).await?;
    let view = if owner.id == own.me.id {
        own
    } else {
        dht.view(Some(owner)).await?
    };
    match view.predecessor {
        Some(predecessor) => Ok(predecessor),
        None if is_alone(&view) => Ok(view.me),
        // It has just lost its predecessor and waits for the next to announce itself.
        None => Err(Failure::Unavailable {
            stored: 0,
            needed: 1,
        }),
    }
}

/// The next member; a lone one is its own.
pub(super) fn successor(view: &View) -> Peer {
    view.successors.first().copied().unwrap_or(view.me)
}

fn is_alone(view: &View) -> bool {
    successor(view).id == view.me.id
}

/// Of those in the own table, the closest before `position`; oneself if there is none.
pub(super) async fn closest_preceding<D: Dht>(dht: &D, position: Id) -> Result<Peer, Failure> {
    let view = dht.view(None).await?;
    let me = view.me;
    // A search begins with the closest of the table; the neighbours are in it, too.
    let found = dht.lookup(position).await?;
    let asked = found.hops.iter().filter(|hop| hop.why == Why::Table);
    let known = asked.map(|hop| hop.peer);
    let known = known.chain(view.successors).chain(view.predecessor);
    let before = known.filter(|peer| Id::between(me.id, peer.id, position));
    let closest = before.max_by_key(|peer| me.id.distance(peer.id));
    Ok(closest.unwrap_or(me))
}

/// The 160 fingers of the position `me`, looked up now.
pub(super) async fn fingers<D: Dht>(dht: &D, me: Id) -> Result<Vec<Peer>, Failure> {
    let mut fingers = Vec::with_capacity(ID_BITS as usize);
    let mut last: Option<(Id, Peer)> = None;
    for exponent in 0..ID_BITS {
        let start = me.plus_power(exponent);
        // Most starts lie between the last one and its owner, and so have the same owner.
        let owner = match last {
            Some((from, owner)) if from.distance(start) <= from.distance(owner.id) => owner,
            Some(_) | None => dht.lookup(start).await?.owner,
        };
        last = Some((start, owner));
        fingers.push(owner);
    }
    Ok(fingers)
}

/// Where members serve the Chord service; each host is asked once.
pub(super) struct Services<'a, D> {
    dht: &'a D,
    known: BTreeMap<Addr, String>,
}

impl<'a, D: Dht> Services<'a, D> {
    /// This host, at `me`, serves at `own`.
    pub(super) fn new(dht: &'a D, me: Peer, own: String) -> Self {
        let known = BTreeMap::from([(me.addr, own)]);
        Self { dht, known }
    }

    /// Where a client can go on from `member`: its service, or, if it serves none, the
    /// address that members dial.
    pub(super) async fn of(&mut self, member: Peer) -> Result<String, Failure> {
        if let Some(known) = self.known.get(&member.addr) {
            return Ok(known.clone());
        }
        let service = self.dht.service_of(member).await?;
        let service = service.map_or_else(|| member.addr.to_string(), |at| at.to_string());
        self.known.insert(member.addr, service.clone());
        Ok(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::fake::{Fake, member};

    /// A ring of the members at these first bytes; this node is at 1.
    fn ring(at: &[u8]) -> Fake {
        let fake = Fake::new();
        fake.inner().owners = at.iter().copied().map(member).collect();
        fake
    }

    fn position(first: u8) -> Id {
        Id([first; 20])
    }

    #[tokio::test]
    async fn every_finger_owns_its_start_and_no_member_lies_between() {
        let members = [1, 2, 3, 9, 0x41, 0x42, 0x90, 0xff];
        let dht = ring(&members);
        let me = member(1).id;
        let fingers = fingers(&dht, me).await.expect("all are there");
        assert_eq!(fingers.len(), 160);
        for (exponent, finger) in (0..).zip(&fingers) {
            let start = me.plus_power(exponent);
            let nearest = members
                .iter()
                .map(|&at| member(at))
                .min_by_key(|peer| start.distance(peer.id));
            assert_eq!(Some(*finger), nearest, "{exponent}");
        }
        let lone = ring(&[1]);
        let own = super::fingers(&lone, me).await.expect("there is one");
        assert!(own.iter().all(|finger| *finger == member(1)));
    }

    #[tokio::test]
    async fn the_closest_before_a_position_is_one_of_the_table_or_oneself() {
        // The lookup of the fake begins with member 2 of its table.
        let dht = Fake::new();
        let closest = async |at| closest_preceding(&dht, at).await.expect("an answer");
        assert_eq!(closest(position(9)).await, member(2), "from the table");
        assert_eq!(closest(position(1)).await, member(1), "nobody between");
        dht.inner().views[0].successors = vec![member(4), member(7)];
        dht.inner().views[0].predecessor = Some(member(8));
        assert_eq!(closest(position(6)).await, member(4));
        assert_eq!(closest(position(9)).await, member(8));
        assert_eq!(closest(member(4).id).await, member(2), "strictly before");
        assert_eq!(closest(member(1).id).await, member(8), "all the way round");
    }

    #[tokio::test]
    async fn the_predecessor_of_a_position_is_that_of_its_owner() {
        let dht = ring(&[1, 5]);
        let of = async |at| predecessor_of(&dht, position(at)).await;
        assert_eq!(
            of(3).await,
            Err(Failure::TimedOut),
            "nobody can ask member 5"
        );
        dht.inner().views[0].successors = vec![member(5)];
        let view = View {
            me: member(5),
            predecessor: Some(member(1)),
            successors: vec![member(1)],
        };
        dht.inner().views.push(view);
        assert_eq!(of(3).await, Ok(member(1)));
        assert!(
            matches!(of(7).await, Err(Failure::Unavailable { .. })),
            "this node owns it, is not alone, and knows none"
        );
        dht.inner().views[0].predecessor = Some(member(5));
        assert_eq!(of(7).await, Ok(member(5)));
        let lone = ring(&[1]);
        assert_eq!(predecessor_of(&lone, position(7)).await, Ok(member(1)));
    }

    #[tokio::test]
    async fn services_are_asked_for_once_and_quic_stands_in() {
        let dht = Fake::new();
        let of = member(4).id;
        let service = ([10, 0, 0, 4], 7_490).into();
        dht.inner().services.insert(of, service);
        let mut services = Services::new(&dht, member(1), "10.0.0.1:7490".to_owned());
        let said = services.of(member(1)).await;
        assert_eq!(said.as_deref(), Ok("10.0.0.1:7490"));
        let said = services.of(member(4)).await;
        assert_eq!(said.as_deref(), Ok("10.0.0.4:7490"));
        dht.inner().services.clear();
        let said = services.of(member(4)).await;
        assert_eq!(said.as_deref(), Ok("10.0.0.4:7490"), "not asked again");
        let said = services.of(member(5)).await;
        assert_eq!(said.as_deref(), Ok("10.0.0.5:7400"));
    }
}
