//! This node's view of the ring, as the corrected protocol sees it.
//!
//! No version of Chord published before 2017 is correct. The steps here are those of
//! P. Zave, *Reasoning about identifier spaces: how to make Chord correct* (IEEE TSE 2017):
//! a list changes by being copied at join, replaced whole by the answer of a member that
//! just answered, or by losing a dead head; never by a pointer from a third party. A
//! predecessor is never cleared. Time, randomness and operation numbers are none of this
//! module's business, so that the state can be explored exhaustively.
//!
//! **Invariant:** the list is ordered clockwise from this node, free of repeats and of
//! this node, and at most `limit` long.

use alloc::vec::Vec;

use crate::id::Id;
use crate::peer::Peer;

/// Predecessor, successor list, and the one list-changing query in flight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ring {
    me: Peer,
    limit: usize,
    predecessor: Option<Peer>,
    successors: Vec<Peer>,
    query: Option<Query>,
    revision: u32,
}

/// A question to somebody whose answer will change the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Query {
    /// To the head: your neighbours?
    Head(Peer),
    /// To somebody said to lie between this node and its head: the same.
    Candidate(Peer),
}

/// What to do after a stabilisation answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Ask this candidate, which lies between this node and its head.
    Ask(Peer),
    /// Notify the head; `None` is this node itself.
    Notify(Option<Peer>),
}

/// What a notification did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rectified {
    /// The predecessor is now the notifier.
    Adopted {
        /// Who it was before.
        before: Option<Peer>,
    },
    /// It was already.
    Same,
    /// Another, closer one is believed; only if it is dead does the notifier replace it.
    Probe(Peer),
}

impl Ring {
    /// A node on its own: it is its own head.
    #[must_use]
    pub fn new(me: Peer, limit: usize) -> Self {
        Self {
            me,
            limit,
            predecessor: None,
            successors: Vec::new(),
            query: None,
            revision: 0,
        }
    }

    /// Believed predecessor.
    #[must_use]
    pub fn predecessor(&self) -> Option<Peer> {
        self.predecessor
    }

    /// The successor list.
    #[must_use]
    pub fn successors(&self) -> &[Peer] {
        &self.successors
    }

    /// The head of the list; `None` is this node itself.
    #[must_use]
    pub fn head(&self) -> Option<Peer> {
        self.successors.first().copied()
    }

    /// The list-changing query in flight.
    #[must_use]
    pub fn query(&self) -> Option<Query> {
        self.query
    }

    /// Grows with every change of predecessor or list.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// **Join(j)**: `member`, with `between(member, j, its head)`, has answered with its list.
    ///
    /// The published step appends the member to its list. Where the list is short because a
    /// dead head was just dropped, that makes a pair of neighbours with members between
    /// them; so the member is appended only if it was alone, and otherwise comes with the
    /// first stabilisation.
    pub fn join(&mut self, member: Peer, its_successors: &[Peer]) {
        if its_successors.is_empty() {
            self.replace(&[member]);
        } else {
            self.replace(its_successors);
        }
        self.set_predecessor(member);
        self.query = None;
    }

    /// Begins **Stabilise**: whom to ask; `None` if the head is this node, to be answered by
    /// [`Ring::answered_by_self`]. Does nothing while a query is in flight.
    pub fn begin(&mut self) -> Option<Peer> {
        if self.query.is_some() {
            return None;
        }
        let head = self.head()?;
        self.query = Some(Query::Head(head));
        Some(head)
    }

    /// **Stabilise** where the head is this node itself: its predecessor, if it has one, lies
    /// between it and itself.
    pub fn answered_by_self(&mut self) -> Next {
        if let Some(predecessor) = self.predecessor
            && self.consider(predecessor)
        {
            return Next::Ask(predecessor);
        }
        Next::Notify(None)
    }

    /// Somebody claims, or this node found out, that `candidate` exists. True if it lies
    /// between this node and its head and no query is in flight: it is now being asked.
    pub fn consider(&mut self, candidate: Peer) -> bool {
        if self.query.is_some() || !self.is_better(candidate) {
            return false;
        }
        self.query = Some(Query::Candidate(candidate));
        true
    }

    /// Whether `peer` lies between this node and its head.
    #[must_use]
    pub fn is_better(&self, peer: Peer) -> bool {
        let head = self.head().map_or(self.me.id, |head| head.id);
        peer.id != self.me.id && !peer.is_seed() && Id::between(self.me.id, peer.id, head)
    }

    /// The query in flight was answered: its list replaces ours (`None`: its list is the one
    /// we have), its predecessor may be a candidate.
    pub fn answered(
        &mut self,
        peer: Peer,
        its_predecessor: Option<Peer>,
        its_successors: Option<&[Peer]>,
    ) -> Next {
        let Some(query) = self.query.take() else {
            return Next::Notify(self.head());
        };
        let still_wanted = match query {
            Query::Head(head) => self.head() == Some(head),
            Query::Candidate(candidate) => self.is_better(candidate),
        };
        if still_wanted && let Some(list) = its_successors {
            let whole = self.with_what_it_lacks(peer, list);
            self.replace(&whole);
        }
        match its_predecessor {
            Some(candidate) if still_wanted && self.consider(candidate) => Next::Ask(candidate),
            _ => Next::Notify(self.head()),
        }
    }

    /// The query in flight went to a dead peer. A dead head was or will be dropped by
    /// [`Ring::drop_dead`]; a dead candidate changes nothing. Either way the current head is
    /// notified (without that, rings stay imperfect for ever).
    pub fn failed(&mut self) -> Next {
        self.query = None;
        Next::Notify(self.head())
    }

    /// Drops `dead` if it is the head. True if the list changed.
    pub fn drop_dead(&mut self, dead: Peer) -> bool {
        if self.head().is_some_and(|head| dead.supersedes(head)) {
            self.successors.remove(0);
            self.revision = self.revision.wrapping_add(1);
            return true;
        }
        false
    }

    /// **Rectify(r, n)**: `notifier` believes to be this node's predecessor.
    /// `predecessor_dead` tells whether the present one is known to be dead.
    pub fn notified(&mut self, notifier: Peer, predecessor_dead: bool) -> Rectified {
        if notifier.id == self.me.id {
            return Rectified::Same;
        }
        let Some(before) = self.predecessor else {
            self.set_predecessor(notifier);
            return Rectified::Adopted { before: None };
        };
        if before.id == notifier.id {
            if notifier.incarnation > before.incarnation {
                self.set_predecessor(notifier);
                return Rectified::Adopted {
                    before: Some(before),
                };
            }
            return Rectified::Same;
        }
        if Id::between(before.id, notifier.id, self.me.id) || predecessor_dead {
            self.set_predecessor(notifier);
            return Rectified::Adopted {
                before: Some(before),
            };
        }
        Rectified::Probe(before)
    }

    /// The member whose span ends where the granted one begins: closer than the believed
    /// predecessor, and named by the owner of the span, so it takes its place. It is a
    /// pointer to be rectified like any other: the next notification tests whether it lives.
    pub fn granted_behind(&mut self, floor: Peer) -> bool {
        let closer = self
            .predecessor
            .is_none_or(|predecessor| Id::between(predecessor.id, floor.id, self.me.id));
        if closer && floor.id != self.me.id {
            self.set_predecessor(floor);
        }
        closer && floor.id != self.me.id
    }

    /// Whether the list, were it `list`, is the present one; see [`digest`].
    #[must_use]
    pub fn digest(&self) -> u64 {
        digest(&self.successors)
    }

    /// The answering peer and its list. Where that list is short and does not come round to
    /// this node, the peer does not know the whole ring: it has just come in, or it is from
    /// another ring that was parted from ours. To take its list alone would trade sixteen
    /// successors for one, and the trade would spread backwards round the ring; so what we
    /// had behind the peer stays until a list that comes round replaces it.
    fn with_what_it_lacks(&self, peer: Peer, list: &[Peer]) -> Vec<Peer> {
        let mut whole = Vec::with_capacity(self.limit + 1);
        whole.push(peer);
        whole.extend_from_slice(list);
        let comes_round = list.iter().any(|known| known.id == self.me.id);
        if whole.len() >= self.limit || comes_round {
            return whole;
        }
        for &before in &self.successors {
            let known = whole.iter().any(|other| other.id == before.id);
            if !known && Id::between(peer.id, before.id, self.me.id) {
                whole.push(before);
            }
        }
        whole[1..].sort_by_key(|known| self.me.id.distance(known.id));
        whole
    }

    fn set_predecessor(&mut self, predecessor: Peer) {
        self.predecessor = Some(predecessor);
        self.revision = self.revision.wrapping_add(1);
    }

    /// First L of `list`, cut at this node and at the first entry out of order.
    fn replace(&mut self, list: &[Peer]) {
        let before = core::mem::take(&mut self.successors);
        let mut last = self.me.id;
        for &peer in list {
            let in_order = last == self.me.id || Id::between(last, peer.id, self.me.id);
            if peer.id == self.me.id || peer.is_seed() || !in_order {
                break;
            }
            if self.successors.len() == self.limit {
                break;
            }
            last = peer.id;
            self.successors.push(peer);
        }
        if self.successors != before {
            self.revision = self.revision.wrapping_add(1);
        }
    }
}

/// A fingerprint of a successor list, never 0 (0 asks for the list). Ids are random, so
/// eight of their bytes and the incarnation tell entries apart.
#[must_use]
pub fn digest(list: &[Peer]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for peer in list {
        for word in [
            peer.id.prefix(),
            u64::from(peer.incarnation),
            u64::from(peer.addr.port),
        ] {
            hash = crate::draw::draw(hash, word, 0);
        }
    }
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Addr;

    fn peer(at: u8) -> Peer {
        let mut id = [0; 20];
        id[0] = at;
        Peer {
            id: Id(id),
            addr: Addr::v4(10, 0, 0, at, 1),
            incarnation: 1,
        }
    }

    fn peers(at: &[u8]) -> Vec<Peer> {
        at.iter().map(|&at| peer(at)).collect()
    }

    fn member(at: u8, predecessor: u8, successors: &[u8]) -> Ring {
        let mut ring = Ring::new(peer(at), 3);
        ring.join(peer(predecessor), &peers(successors));
        ring
    }

    #[test]
    fn a_newcomer_copies_the_list_of_its_member_and_cuts_it_at_itself() {
        // Zave 2017, operation Join.
        let mut ring = Ring::new(peer(5), 3);
        ring.join(peer(1), &peers(&[9, 20, 30]));
        assert_eq!(ring.successors(), peers(&[9, 20, 30]));
        assert_eq!(ring.predecessor(), Some(peer(1)));
        ring.join(peer(1), &peers(&[9]));
        assert_eq!(
            ring.successors(),
            peers(&[9]),
            "what lies behind 9 is not known yet"
        );
        ring.join(peer(1), &[]);
        assert_eq!(ring.successors(), peers(&[1]));
    }

    #[test]
    fn an_answering_head_replaces_the_list_whole() {
        // Zave 2017, StabilizeFromSuccessor; piecemeal lists are one of the mistakes named.
        let mut ring = member(5, 1, &[9, 20, 30]);
        assert_eq!(ring.begin(), Some(peer(9)));
        assert_eq!(ring.begin(), None, "one query in flight");
        let next = ring.answered(peer(9), Some(peer(5)), Some(&peers(&[21, 40, 1])));
        assert_eq!(next, Next::Notify(Some(peer(9))));
        assert_eq!(ring.successors(), peers(&[9, 21, 40]));
    }

    #[test]
    fn a_closer_predecessor_of_the_head_is_asked_before_it_is_adopted() {
        // Zave 2017, StabilizeFromPredecessor: blind adoption is the classic mistake.
        let mut ring = member(5, 1, &[9, 20, 30]);
        ring.begin();
        let next = ring.answered(peer(9), Some(peer(7)), Some(&peers(&[20, 30, 1])));
        assert_eq!(next, Next::Ask(peer(7)));
        assert_eq!(ring.head(), Some(peer(9)), "not yet adopted");
        let next = ring.answered(peer(7), Some(peer(1)), Some(&peers(&[9, 20])));
        assert_eq!(next, Next::Notify(Some(peer(7))));
        assert_eq!(ring.successors(), peers(&[7, 9, 20]));
    }

    #[test]
    fn a_dead_candidate_leaves_the_list_and_the_head_is_notified() {
        let mut ring = member(5, 1, &[9, 20, 30]);
        ring.begin();
        ring.answered(peer(9), Some(peer(7)), Some(&peers(&[20, 30, 1])));
        assert_eq!(ring.failed(), Next::Notify(Some(peer(9))));
        assert_eq!(ring.successors(), peers(&[9, 20, 30]));
    }

    #[test]
    fn a_dead_head_is_dropped_and_others_stay() {
        let mut ring = member(5, 1, &[9, 20, 30]);
        assert!(!ring.drop_dead(peer(20)), "only the head is dropped");
        assert!(ring.drop_dead(peer(9)));
        assert_eq!(ring.successors(), peers(&[20, 30]));
        let earlier = Peer {
            incarnation: 0,
            ..peer(20)
        };
        assert!(
            !ring.drop_dead(earlier),
            "an earlier life says nothing of this one"
        );
    }

    #[test]
    fn a_closer_notifier_is_adopted_without_checking_the_old_predecessor() {
        // Zave 2017, Rectify.
        let mut ring = member(9, 1, &[20]);
        assert_eq!(
            ring.notified(peer(5), false),
            Rectified::Adopted {
                before: Some(peer(1))
            }
        );
        assert_eq!(ring.notified(peer(3), false), Rectified::Probe(peer(5)));
        assert_eq!(ring.predecessor(), Some(peer(5)), "never cleared");
        assert_eq!(
            ring.notified(peer(3), true),
            Rectified::Adopted {
                before: Some(peer(5))
            }
        );
        assert_eq!(ring.notified(peer(3), false), Rectified::Same);
    }

    #[test]
    fn a_new_life_of_the_predecessor_replaces_the_old_one_and_not_the_other_way_round() {
        let mut ring = member(9, 1, &[20]);
        let reborn = Peer {
            incarnation: 2,
            ..peer(1)
        };
        assert_eq!(
            ring.notified(reborn, false),
            Rectified::Adopted {
                before: Some(peer(1))
            }
        );
        assert_eq!(ring.notified(peer(1), false), Rectified::Same);
        assert_eq!(ring.predecessor(), Some(reborn));
    }

    #[test]
    fn a_ring_of_one_grows_to_two_through_its_predecessor() {
        let mut founder = Ring::new(peer(1), 3);
        assert_eq!(founder.begin(), None);
        assert_eq!(founder.answered_by_self(), Next::Notify(None));
        founder.notified(peer(5), false);
        assert_eq!(founder.answered_by_self(), Next::Ask(peer(5)));
        founder.answered(peer(5), Some(peer(1)), Some(&peers(&[1])));
        assert_eq!(founder.successors(), peers(&[5]));
    }

    #[test]
    fn lists_out_of_order_or_with_oneself_are_cut() {
        let mut ring = member(5, 1, &[9]);
        for (claimed, kept) in [
            (&[20, 15, 30][..], &[9, 20][..]),
            (&[20, 5, 30], &[9, 20]),
            (&[9, 20], &[9]),
            (&[20, 30, 40], &[9, 20, 30]),
        ] {
            ring.begin();
            ring.answered(peer(9), None, Some(&peers(claimed)));
            assert_eq!(ring.successors(), peers(kept));
        }
    }

    #[test]
    fn an_answer_of_a_head_that_is_no_longer_head_changes_nothing() {
        let mut ring = member(5, 1, &[9, 20, 30]);
        ring.begin();
        ring.drop_dead(peer(9));
        ring.answered(peer(9), Some(peer(7)), Some(&peers(&[40])));
        assert_eq!(ring.successors(), peers(&[20, 30]));
    }

    #[test]
    fn a_stranger_with_a_short_list_does_not_cost_the_list_we_had() {
        let mut ring = member(5, 1, &[9, 20, 30]);
        assert!(ring.consider(peer(7)));
        ring.answered(peer(7), None, Some(&[]));
        assert_eq!(ring.successors(), peers(&[7, 9, 20]));
        ring.begin();
        ring.answered(peer(7), Some(peer(5)), Some(&peers(&[9, 5])));
        assert_eq!(
            ring.successors(),
            peers(&[7, 9]),
            "a list that comes round is the whole"
        );
    }

    #[test]
    fn digests_tell_lists_and_lives_apart() {
        let list = peers(&[1, 2, 3]);
        let mut reborn = list.clone();
        reborn[1].incarnation = 2;
        let mut digests = [
            digest(&[]),
            digest(&list),
            digest(&reborn),
            digest(&list[..2]),
        ];
        assert!(!digests.contains(&0));
        digests.sort_unstable();
        assert!(digests.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
