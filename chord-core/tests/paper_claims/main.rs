//! Claims of the papers, each as a test of its name.
//!
//! * I. Stoica et al., *Chord: a scalable peer-to-peer lookup protocol for internet
//!   applications* (IEEE/ACM ToN 2003).
//! * P. Zave, *Reasoning about identifier spaces: how to make Chord correct* (IEEE TSE 2017).
//!
//! The first half drives the membership state alone, with thousands of random steps; the
//! second half plays all peers of one node by hand.

use std::collections::BTreeSet;

use bytes::Bytes;
use chord_core::draw::{below, draw};
use chord_core::event::{CallError, Command, Event, Ticket};
use chord_core::id::{Id, Span};
use chord_core::message::{Key, Refusal, Request, Response};
use chord_core::peer::Peer;
use chord_core::ring::{Next, Query, Rectified, Ring};

use played::{Played, granting, peer};

mod marks;
mod played;

// ---- the membership state ------------------------------------------------------------------

const ME: u8 = 100;
const LIMIT: usize = 3;

/// A member that is told random things, and who has a right to be in its list.
struct Walk {
    ring: Ring,
    seed: u64,
    drawn: u64,
    /// Members that answered, and those in the lists they answered with.
    vouched: BTreeSet<Id>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut ring = Ring::new(peer(ME), LIMIT);
        let list = [peer(120), peer(140), peer(160)];
        ring.join(peer(80), &list);
        Self {
            ring,
            seed,
            drawn: 0,
            vouched: list.iter().map(|peer| peer.id).collect(),
        }
    }

    fn below(&mut self, bound: u64) -> u8 {
        self.drawn += 1;
        u8::try_from(below(draw(self.seed, 0, self.drawn), bound)).expect("small")
    }

    /// Somebody who may be in lists: even positions.
    fn member(&mut self) -> Peer {
        peer(self.below(128) * 2)
    }

    /// Somebody whom only third parties name: odd positions.
    fn rumour(&mut self) -> Peer {
        peer(self.below(128) * 2 + 1)
    }

    /// The peer in question answers with a list in order behind itself.
    fn answer(&mut self, from: Peer) -> Next {
        let mut list = vec![self.member(), self.member(), self.member()];
        list.sort_by_key(|peer| from.id.distance(peer.id));
        list.dedup();
        let named = if self.below(2) == 0 {
            self.rumour()
        } else {
            self.member()
        };
        self.vouched.insert(from.id);
        self.vouched.extend(list.iter().map(|peer| peer.id));
        self.ring.answered(from, Some(named), Some(&list))
    }

    /// One random step; what a stabilisation that ended with it wants to be done.
    fn step(&mut self) -> Option<Next> {
        match (self.below(5), self.ring.query()) {
            (0, None) => {
                self.ring.begin();
                None
            }
            (1, None) => {
                let rumour = self.rumour();
                self.ring.consider(rumour);
                None
            }
            (0 | 1, Some(Query::Head(asked) | Query::Candidate(asked))) => Some(self.answer(asked)),
            (2, Some(_)) => Some(self.ring.failed()),
            (2, None) => {
                if let Some(head) = self
                    .ring
                    .head()
                    .filter(|_| self.ring.successors().len() > 1)
                {
                    self.ring.drop_dead(head);
                }
                None
            }
            (3, _) => {
                let notifier = self.rumour();
                self.ring.notified(notifier, false);
                None
            }
            _ => {
                let notifier = self.member();
                self.ring.notified(notifier, true);
                None
            }
        }
    }
}

/// Thousands of random steps of forty members; `check` sees each one.
fn walks(mut check: impl FnMut(&Walk, &Ring, Option<Next>)) {
    for seed in 0..40 {
        let mut walk = Walk::new(seed);
        for _ in 0..400 {
            let before = walk.ring.clone();
            let next = walk.step();
            check(&walk, &before, next);
        }
    }
}

#[test]
fn no_step_but_a_first_notification_begins_and_none_ends_having_a_predecessor() {
    // Zave 2017: clearing a predecessor disconnects whoever is behind it.
    walks(|walk, before, _| {
        assert!(before.predecessor().is_some() && walk.ring.predecessor().is_some());
    });
}

#[test]
fn rectify_replaces_a_predecessor_only_by_a_closer_one_or_a_dead_one() {
    // Zave 2017, Rectify: the old one is given up for a closer one or for a dead one only.
    let mut ring = Ring::new(peer(ME), LIMIT);
    ring.join(peer(80), &[peer(120)]);
    for at in 0..u8::MAX {
        let mut told = ring.clone();
        let closer = (81..ME).contains(&at);
        let rectified = told.notified(peer(at), false);
        assert_eq!(
            matches!(rectified, Rectified::Adopted { .. }),
            closer,
            "{at}"
        );
        let mut told = ring.clone();
        told.notified(peer(at), true);
        let replaced = at != ME && at != 80;
        assert_eq!(
            told.predecessor() == Some(peer(at)),
            replaced || at == 80,
            "{at}"
        );
    }
}

#[test]
fn a_pointer_of_a_third_party_never_enters_the_list() {
    // Zave 2017: a list holds who answered, and what those answered with; never a bare pointer.
    walks(|walk, _, _| {
        for entry in walk.ring.successors() {
            assert!(walk.vouched.contains(&entry.id), "{entry:?}");
        }
    });
}

#[test]
fn every_stabilisation_ends_by_notifying_the_present_head() {
    // Zave 2017, StabilizeFromSuccessor and StabilizeFromPredecessor; also after a failure.
    let mut ended = 0;
    walks(|walk, _, next| match next {
        Some(Next::Notify(head)) => {
            ended += 1;
            assert_eq!(head, walk.ring.head());
            assert_eq!(walk.ring.query(), None);
        }
        Some(Next::Ask(candidate)) => {
            assert_eq!(walk.ring.query(), Some(Query::Candidate(candidate)));
        }
        None => {}
    });
    assert!(ended > 500, "{ended}");
}

#[test]
fn a_list_is_in_order_without_repeats_without_its_owner_and_bounded() {
    // Zave 2017, OrderedSuccessorLists and NoDuplicates, for one list.
    walks(|walk, _, _| {
        let list = walk.ring.successors();
        let distances: Vec<Id> = list.iter().map(|p| peer(ME).id.distance(p.id)).collect();
        assert!(
            distances.windows(2).all(|pair| pair[0] < pair[1]),
            "{list:?}"
        );
        assert!(
            list.len() <= LIMIT && list.iter().all(|p| p.id != peer(ME).id),
            "{list:?}"
        );
    });
}

#[test]
fn a_list_changes_by_an_answer_or_by_losing_its_dead_head_and_never_runs_empty_by_an_answer() {
    // Zave 2017: replaced whole, or its first entry dropped; r entries survive r − 1 failures.
    walks(|walk, before, next| {
        let (old, new) = (before.successors(), walk.ring.successors());
        if old != new && next.is_none() {
            assert_eq!(&old[1..], new, "only a dead head goes without an answer");
        }
        assert!(!new.is_empty());
    });
}

// ---- one node whose peers are played by hand ------------------------------------------------

#[test]
fn a_newcomer_owns_nothing_until_it_is_granted_and_then_from_the_granted_floor() {
    let mut played = Played::joined(100, 50, &[120, 140]);
    assert_eq!(played.owned(), None);
    let (op, to) = played.take(|request| matches!(request, Request::Notify));
    assert_eq!(to, peer(120), "the first successor is notified");
    // Somebody at 70 joined between the member asked and this node: the granter knows it.
    played.answer(op, Ok(granting(70, 100)));
    assert_eq!(played.owned(), Some(Span::new(peer(70).id, peer(100).id)));
    assert_eq!(played.node.ring().predecessor(), Some(peer(70)));
}

#[test]
fn a_granted_floor_farther_away_does_not_move_the_predecessor() {
    let mut played = Played::joined(100, 50, &[120, 140]);
    let (op, _) = played.take(|request| matches!(request, Request::Notify));
    played.answer(op, Ok(granting(20, 100)));
    assert_eq!(played.node.ring().predecessor(), Some(peer(50)));
}

#[test]
fn whoever_grants_a_span_stops_owning_it_in_that_instant() {
    let mut played = Played::new(100);
    let ticket = Ticket(0);
    let command = Command::Join { seeds: Vec::new() };
    played.handle(Event::Command { ticket, command });
    assert_eq!(played.owned(), Some(Span::whole(peer(100).id)));
    let said = played.ask(40, Request::Notify);
    assert!(
        matches!(
            said,
            Response::Notified {
                granted: Some(_),
                ..
            }
        ),
        "{said:?}"
    );
    assert_eq!(played.owned(), Some(Span::new(peer(40).id, peer(100).id)));
    // A key of the newcomer, found by its position.
    let theirs = (0..).map(|n: u32| Key::new(Bytes::from(n.to_string())).expect("short"));
    let mut theirs =
        theirs.filter(|key| !Span::new(peer(40).id, peer(100).id).contains(key.position()));
    let key = theirs.next().expect("an endless supply");
    let said = played.ask(200, Request::Get { key, quorum: false });
    assert!(
        matches!(said, Response::Refused(Refusal::NotOwner { .. })),
        "{said:?}"
    );
}

#[test]
fn a_process_that_is_no_member_says_so() {
    // Whoever was killed and started again is no member, whatever the lists of others say.
    let mut played = Played::new(100);
    for request in [
        Request::Notify,
        Request::Ping,
        Request::Neighbours { digest: 0 },
        Request::Route { target: Id::MAX },
    ] {
        let said = played.ask(40, request);
        assert_eq!(
            said,
            Response::Refused(Refusal::NotMember { incarnation: 1 })
        );
    }
}

#[test]
fn a_head_that_is_no_member_any_more_is_dropped_at_once() {
    // Zave 2017: failures are detected; a process that began anew is none of the old lists'.
    let mut played = Played::joined(100, 50, &[120, 140]);
    let (op, _) = played.take(|request| matches!(request, Request::Notify));
    played.answer(op, Ok(granting(50, 100)));
    played.calls.clear();
    let (op, to) = played.take(|request| matches!(request, Request::Neighbours { .. }));
    assert_eq!(to, peer(120));
    played.calls.clear();
    let refusal = Refusal::NotMember { incarnation: 2 };
    played.answer(op, Ok(Response::Refused(refusal)));
    assert_eq!(played.node.ring().head(), Some(peer(140)));
    let (_, to) = played.take(|request| matches!(request, Request::Neighbours { .. }));
    assert_eq!(to, peer(140), "and the next one is asked");
}

#[test]
fn a_candidate_that_is_dead_leaves_the_list_and_the_head_is_notified() {
    // Without the notification rings stay imperfect for ever.
    let mut played = Played::joined(100, 50, &[120, 140]);
    let (op, _) = played.take(|request| matches!(request, Request::Notify));
    played.answer(op, Ok(granting(50, 100)));
    played.calls.clear();
    let neighbours = |request: &Request| matches!(request, Request::Neighbours { .. });
    let (op, to) = played.take(neighbours);
    assert_eq!(to, peer(120));
    let named = Response::Neighbours {
        me: peer(120),
        predecessor: Some(peer(110)),
        successors: Some(vec![peer(140), peer(50)]),
        wall: None,
    };
    played.answer(op, Ok(named));
    let (op, to) = played.take(neighbours);
    assert_eq!(
        to,
        peer(110),
        "the candidate is asked before anything is believed"
    );
    assert_eq!(played.node.ring().head(), Some(peer(120)));
    played.calls.clear();
    played.answer(op, Err(CallError::Unreachable));
    let (_, to) = played.take(|request| matches!(request, Request::Notify));
    assert_eq!(to, peer(120));
    let list = [peer(120), peer(140), peer(50)];
    assert_eq!(played.node.ring().successors(), list);
}

#[test]
fn a_predecessor_that_answers_stays_whoever_else_notifies() {
    let mut played = Played::joined(100, 50, &[120, 140]);
    let (op, _) = played.take(|request| matches!(request, Request::Notify));
    played.answer(op, Ok(granting(50, 100)));
    played.calls.clear();
    played.ask(20, Request::Notify);
    let (op, to) = played.take(|request| matches!(request, Request::Ping));
    assert_eq!(
        to,
        peer(50),
        "the present one is asked, not the newcomer believed"
    );
    played.answer(op, Ok(Response::Done));
    assert_eq!(played.node.ring().predecessor(), Some(peer(50)));
    assert_eq!(played.owned(), Some(Span::new(peer(50).id, peer(100).id)));
}
