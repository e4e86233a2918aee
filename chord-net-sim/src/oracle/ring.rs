//! Is it a ring?
//!
//! Always, while failures allow it: lists are ordered; (I1) every member has a live entry in
//! its list; (I2) at least L + 1 members are principal (P. Zave, *Reasoning about identifier
//! spaces*, TSE 2017). At rest: every list, and every predecessor, is exactly what sorting
//! the live members gives.

use chord_core::event::View;
use chord_core::id::Id;
use chord_core::peer::Peer;

/// What differs from the ideal ring of `members`, which are all live members, sorted by id.
/// Each line names one member and what is wrong with it.
#[must_use]
pub fn imperfections(members: &[View], length: usize) -> Vec<String> {
    let count = members.len();
    let mut wrong = Vec::new();
    for (at, view) in members.iter().enumerate() {
        let ahead = |n: usize| members[(at + n) % count].me;
        let expected: Vec<Peer> = (1..count).take(length).map(ahead).collect();
        if !same_list(view, &expected) {
            wrong.push(format!(
                "{:?} {}",
                view.me,
                difference(&view.successors, &expected)
            ));
        }
        let before = ahead(count - 1);
        let alone = count == 1 && view.predecessor.is_none();
        if view.predecessor != Some(before) && !alone {
            wrong.push(format!(
                "{:?} has predecessor {:?} instead of {before:?}",
                view.me, view.predecessor
            ));
        }
    }
    wrong
}

/// What a list lacks, and what it has too much.
fn difference(list: &[Peer], expected: &[Peer]) -> String {
    let beyond = |these: &[Peer], those: &[Peer]| -> Vec<Peer> {
        these
            .iter()
            .filter(|peer| !those.contains(peer))
            .copied()
            .collect()
    };
    let (lacks, extra) = (beyond(expected, list), beyond(list, expected));
    if lacks.is_empty() && extra.is_empty() {
        return format!("lists {list:?} in a wrong order");
    }
    format!("lacks successors {lacks:?} and lists {extra:?}")
}

/// Whether the list is the expected one; one who is alone may name itself.
fn same_list(view: &View, expected: &[Peer]) -> bool {
    view.successors == expected || (expected.is_empty() && view.successors == [view.me])
}

/// What breaks the order of one list: it runs clockwise from its owner, who is not in it,
/// without repeats, and has at most `length` entries.
#[must_use]
pub fn disorder(view: &View, length: usize) -> Option<String> {
    if view.successors.len() > length {
        return Some(format!("{:?} lists more than {length} successors", view.me));
    }
    if view.successors == [view.me] {
        return None;
    }
    let mut reached = Id::ZERO;
    for peer in &view.successors {
        let distance = view.me.id.distance(peer.id);
        if distance <= reached {
            return Some(format!(
                "{:?} lists {:?} out of order",
                view.me, view.successors
            ));
        }
        reached = distance;
    }
    None
}

/// Members without a live entry in their list. `live` says whether a peer is, in that life.
#[must_use]
pub fn stranded(members: &[View], live: impl Fn(Peer) -> bool) -> Vec<Peer> {
    let alone = members.len() == 1;
    let stranded = members.iter().filter(|view| {
        !alone
            && !view
                .successors
                .iter()
                .any(|peer| peer.id != view.me.id && live(*peer))
    });
    stranded.map(|view| view.me).collect()
}

/// The members that are not principal, each with one that skips it: a live member whose
/// extended list (itself, then its successors) has an adjacent pair that encloses it.
/// `members` are sorted by id.
#[must_use]
pub fn skipped(members: &[View]) -> Vec<(Peer, Peer)> {
    let lists = members.iter().map(|view| (view.me, &view.successors[..]));
    skipped_by(members, lists)
}

/// The same by these lists and whose they are, for instance on their way in an answer.
#[must_use]
pub fn skipped_by<'a>(
    members: &[View],
    lists: impl Iterator<Item = (Peer, &'a [Peer])>,
) -> Vec<(Peer, Peer)> {
    let mut skippers = vec![None; members.len()];
    for (whose, successors) in lists {
        let mut before = whose.id;
        for peer in successors {
            if before == peer.id {
                continue;
            }
            // From the first member behind `before`, clockwise, up to `peer`.
            let first = members.partition_point(|member| member.me.id <= before);
            for step in 0..members.len() {
                let at = (first + step) % members.len();
                if !Id::between(before, members[at].me.id, peer.id) {
                    break;
                }
                skippers[at].get_or_insert(whose);
            }
            before = peer.id;
        }
    }
    let pairs = members.iter().zip(skippers);
    pairs
        .filter_map(|(view, skipper)| Some((view.me, skipper?)))
        .collect()
}

/// Whether the failures so far leave the ring invariants standing.
///
/// The proof needs L + 1 principals that no failure touches. So since the last moment the
/// ring was ideal, failures (ends of processes, and live peers taken for dead) are counted;
/// once they could have left fewer than L + 1 principals, or hosts were kept apart, nothing
/// is promised until the ring is ideal again.
#[derive(Clone, Default, Debug)]
pub struct Premises {
    members: usize,
    failures: usize,
    void: bool,
}

impl Premises {
    /// The ring was ideal with this many members.
    pub fn ideal(&mut self, members: usize) {
        *self = Self {
            members,
            failures: 0,
            void: false,
        };
    }

    /// A process ended, or a live peer was taken for dead.
    pub fn failed(&mut self) {
        self.failures += 1;
    }

    /// Hosts were kept apart, or stood still.
    pub fn void(&mut self) {
        self.void = true;
    }

    /// Whether I1 and I2 must hold, with lists of `length`.
    #[must_use]
    pub fn hold(&self, length: usize) -> bool {
        !self.void && self.members.saturating_sub(self.failures) > length
    }
}

#[cfg(test)]
mod tests {
    use chord_core::peer::Addr;

    use super::*;

    fn peer(at: u8) -> Peer {
        Peer {
            id: Id::from_prefix(u64::from(at) << 56),
            addr: Addr::v4(10, 0, 0, at, 1),
            incarnation: 1,
        }
    }

    /// The ideal views of members at these positions.
    fn ideal(at: &[u8], length: usize) -> Vec<View> {
        let ahead = |from: usize, n: usize| peer(at[(from + n) % at.len()]);
        (0..at.len())
            .map(|n| View {
                me: peer(at[n]),
                predecessor: Some(ahead(n, at.len() - 1)),
                successors: (1..at.len())
                    .take(length)
                    .map(|step| ahead(n, step))
                    .collect(),
            })
            .collect()
    }

    #[test]
    fn an_ideal_ring_has_no_fault() {
        for length in 1..6 {
            let views = ideal(&[10, 20, 30, 200], length);
            assert_eq!(imperfections(&views, length), Vec::<String>::new());
            assert!(views.iter().all(|view| disorder(view, length).is_none()));
            assert!(stranded(&views, |_| true).is_empty());
            assert!(skipped(&views).is_empty());
        }
        let alone = View {
            me: peer(1),
            predecessor: None,
            successors: Vec::new(),
        };
        assert!(imperfections(std::slice::from_ref(&alone), 3).is_empty());
        let itself = View {
            predecessor: Some(peer(1)),
            successors: vec![peer(1)],
            ..alone
        };
        assert!(imperfections(&[itself], 3).is_empty());
    }

    #[test]
    fn each_planted_fault_is_seen() {
        let good = ideal(&[10, 20, 30, 200], 2);
        let broken = |change: fn(&mut View)| {
            let mut views = good.clone();
            change(&mut views[1]);
            imperfections(&views, 2).len()
        };
        assert_eq!(broken(|view| view.predecessor = Some(peer(200))), 1);
        assert_eq!(broken(|view| view.predecessor = None), 1);
        assert_eq!(broken(|view| view.successors.reverse()), 1);
        assert_eq!(broken(|view| view.successors.truncate(1)), 1);
        assert_eq!(broken(|view| view.successors[0].incarnation = 2), 1);
        assert_eq!(broken(|view| view.successors.clear()), 1);
    }

    #[test]
    fn two_rings_beside_each_other_are_not_one() {
        let mut views = ideal(&[10, 30], 2);
        views.extend(ideal(&[20, 200], 2));
        views.sort_by_key(|view| view.me.id);
        assert!(!imperfections(&views, 2).is_empty());
        // Each of them is skipped by the other ring's lists.
        assert_eq!(skipped(&views).len(), 4);
    }

    #[test]
    fn disorder_is_a_repeat_a_step_back_oneself_or_excess() {
        let view = |successors: &[u8]| View {
            me: peer(100),
            predecessor: None,
            successors: successors.iter().map(|at| peer(*at)).collect(),
        };
        for good in [&[150, 200, 50][..], &[], &[100], &[99]] {
            assert_eq!(disorder(&view(good), 3), None, "{good:?}");
        }
        for bad in [
            &[150, 150][..],
            &[200, 150],
            &[50, 200],
            &[150, 100],
            &[1, 2, 3, 4],
        ] {
            assert!(disorder(&view(bad), 3).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_member_whose_entries_are_all_dead_is_stranded() {
        let views = ideal(&[10, 20, 30, 200], 2);
        let dead = [peer(30), peer(200)];
        let live: Vec<View> = views
            .into_iter()
            .filter(|view| !dead.contains(&view.me))
            .collect();
        assert_eq!(stranded(&live, |peer| !dead.contains(&peer)), [peer(20)]);
    }

    #[test]
    fn a_member_that_a_list_jumps_over_is_no_principal() {
        let mut views = ideal(&[10, 20, 30, 200], 2);
        views[0].successors = vec![peer(30), peer(200)];
        assert_eq!(skipped(&views), [(peer(20), peer(10))]);
    }

    #[test]
    fn premises_end_with_too_many_failures_and_begin_again_with_an_ideal_ring() {
        let mut premises = Premises::default();
        assert!(
            !premises.hold(2),
            "nothing is promised before the first ideal ring"
        );
        premises.ideal(5);
        premises.failed();
        premises.failed();
        assert!(premises.hold(2));
        premises.failed();
        assert!(!premises.hold(2));
        premises.ideal(5);
        premises.void();
        assert!(!premises.hold(2));
    }
}
