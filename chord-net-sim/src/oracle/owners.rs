//! Who owned a position, and when may a lookup name somebody else?
//!
//! The true owner of a position is the first member at or after it. An answer is **right**
//! if it names whoever was that at some instant between the beginning and the end of the
//! lookup. Any other answer has *skipped* the members between the target and the one it
//! names. It is **excused** only if each of them is:
//!
//! * *entering*: no owner had granted it its span yet at some instant of the lookup, so the
//!   one behind it still owned that span ([`ENTRY_MAX`] at most);
//! * *suspected*: alive, but somebody had just taken it for dead ([`SUSPICION_MAX`]): the named
//!   one, or one behind it, whose list and notifications then pass it over too;
//! * *apart*: messages between it and the named one, the predecessor of that one, or the one
//!   who asked, were stopped at some instant of the lookup, or had been and the ring was not
//!   ideal again since ([`MERGE_MAX`] at most). In that time there may be several rings, on
//!   one side too: one who came in meanwhile, perhaps after it had lost everybody, is apart
//!   from all others.
//!
//! Everything else is **wrong**: the named one answered for a span that was somebody else's.

use std::collections::BTreeMap;

use chord_core::id::Id;

use super::data::Ring;

/// How long the span of a newcomer may stay with the one behind it, in microseconds: a lost
/// notification is repeated by the next stabilisation but one.
pub const ENTRY_MAX: u64 = 10_000_000;
/// How long a live peer may be taken for dead, in microseconds: the core believes a death for
/// 30 s, and the next stabilisation puts it right.
pub const SUSPICION_MAX: u64 = 35_000_000;
/// How long two rings may take to become one after messages pass again, in microseconds.
pub const MERGE_MAX: u64 = 60_000_000;

/// A lookup that named somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Naming<'a> {
    /// What was looked for.
    pub target: Id,
    /// Who naming.
    pub gateway: u32,
    /// Whom the answer named.
    pub named: u32,
    /// Its position.
    pub named_id: Id,
    /// Whom that one believes to be its predecessor.
    pub behind: Option<u32>,
    /// When it began, in microseconds since the start of the run.
    pub begun: u64,
    /// Every host that was the true owner in between.
    pub owners: &'a [u32],
}

/// What an answer is worth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Answer {
    /// The named one was the owner at some instant of the lookup.
    Right,
    /// All whom it skipped were entering.
    Entering,
    /// Some whom it skipped were taken for dead, the others entering.
    Suspected,
    /// Some whom it skipped were apart, the others entering or suspected.
    Apart,
    /// It names a member that has no business there.
    Wrong,
    /// It names somebody who is no member.
    WrongGone,
}

/// A time in which some hosts did not hear the others.
#[derive(Clone, Debug)]
struct Split {
    number: u64,
    since: u64,
    inside: Vec<bool>,
    /// When messages passed again.
    healed: Option<u64>,
    /// When the ring was ideal again.
    ideal: Option<u64>,
}

impl Split {
    /// When its consequences are over.
    fn until(&self) -> u64 {
        match (self.ideal, self.healed) {
            (Some(ideal), _) => ideal,
            (None, Some(healed)) => healed.saturating_add(MERGE_MAX),
            (None, None) => u64::MAX,
        }
    }
}

/// When a member came, and when it was granted a span.
#[derive(Clone, Copy, Debug)]
struct Entry {
    joined: u64,
    granted: Option<u64>,
    gone: Option<u64>,
}

/// What the excuses rest on.
#[derive(Clone, Default, Debug)]
pub struct Owners {
    entries: BTreeMap<u32, Entry>,
    /// When somebody last took a host for dead, although it was alive.
    suspicions: BTreeMap<u32, u64>,
    splits: Vec<Split>,
}

impl Owners {
    /// A host is a member from now on.
    pub fn joined(&mut self, host: u32, now: u64) {
        let entry = Entry {
            joined: now,
            granted: None,
            gone: None,
        };
        self.entries.insert(host, entry);
    }

    /// A host owns something now.
    pub fn granted(&mut self, host: u32, now: u64) {
        if let Some(entry) = self.entries.get_mut(&host) {
            entry.granted.get_or_insert(now);
        }
    }

    /// A host is no member any more.
    pub fn gone(&mut self, host: u32, now: u64) {
        if let Some(entry) = self.entries.get_mut(&host) {
            entry.gone = Some(now);
        }
    }

    /// Somebody takes `whom`, who is alive, for dead.
    pub fn suspected(&mut self, whom: u32, now: u64) {
        self.suspicions.insert(whom, now);
    }

    /// Messages between the hosts inside and all others are stopped from now on.
    pub fn split(&mut self, number: u64, inside: Vec<bool>, now: u64) {
        self.splits.push(Split {
            number,
            since: now,
            inside,
            healed: None,
            ideal: None,
        });
    }

    /// They pass again, from `time` on.
    pub fn heal(&mut self, number: u64, time: u64) {
        for split in &mut self.splits {
            if split.number == number {
                split.healed.get_or_insert(time);
            }
        }
    }

    /// All messages pass again.
    pub fn heal_all(&mut self, now: u64) {
        for split in &mut self.splits {
            split.healed.get_or_insert(now);
        }
    }

    /// The ring is ideal.
    pub fn ideal(&mut self, now: u64) {
        for split in &mut self.splits {
            if split.healed.is_some_and(|healed| healed < now) {
                split.ideal.get_or_insert(now);
            }
        }
    }

    /// Whether, at some instant since `begun`, hosts were kept apart or not one ring again.
    #[must_use]
    pub fn parted_since(&self, begun: u64) -> bool {
        self.splits.iter().any(|split| begun <= split.until())
    }

    /// What the answer of a lookup is worth; `ring` are the members at its end.
    #[must_use]
    pub fn judge(&self, ring: &Ring, naming: &Naming) -> Answer {
        if naming.owners.contains(&naming.named) {
            return Answer::Right;
        }
        let entry = self.entries.get(&naming.named);
        if entry.is_none_or(|entry| entry.gone.is_some_and(|gone| gone < naming.begun)) {
            return Answer::WrongGone;
        }
        let named = naming.named_id;
        let skipped = ring
            .iter()
            .filter(|(id, _)| *id == naming.target || Id::between(naming.target, *id, named))
            .filter(|(id, _)| *id != named);
        skipped
            .map(|(_, host)| self.excuse(*host, naming))
            .max()
            .unwrap_or(Answer::Entering)
    }

    /// Why this member may have been skipped.
    fn excuse(&self, host: u32, naming: &Naming) -> Answer {
        let entering = self.entries.get(&host).is_some_and(|entry| {
            let until = entry.granted.unwrap_or(u64::MAX);
            entry.joined > naming.begun
                || naming.begun <= until.min(entry.joined.saturating_add(ENTRY_MAX))
        });
        if entering {
            return Answer::Entering;
        }
        let suspected = self.suspicions.get(&host);
        if suspected.is_some_and(|at| naming.begun <= at.saturating_add(SUSPICION_MAX)) {
            return Answer::Suspected;
        }
        let concerned = [Some(naming.named), naming.behind, Some(naming.gateway)];
        let mut concerned = concerned.into_iter().flatten();
        if concerned.any(|other| self.apart(host, other, naming.begun)) {
            return Answer::Apart;
        }
        Answer::Wrong
    }

    /// Whether two hosts were kept apart at `begun` or later, consequences included.
    fn apart(&self, one: u32, other: u32, begun: u64) -> bool {
        self.splits.iter().any(|split| {
            let inside = |host: u32| split.inside.get(host as usize).copied().unwrap_or(false);
            let came = |host: u32| {
                let entry = self.entries.get(&host);
                entry.is_some_and(|entry| entry.joined >= split.since)
            };
            begun <= split.until() && (inside(one) != inside(other) || came(one) || came(other))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: u64 = 100_000_000;

    /// Hosts 1, 2, 3 at positions 10, 20, 30; all members for long.
    fn world() -> (Owners, Vec<(Id, u32)>) {
        let mut owners = Owners::default();
        let mut ring = Vec::new();
        for host in 1..=3 {
            owners.joined(host, 0);
            owners.granted(host, 1);
            ring.push((at(u64::from(host) * 10), host));
        }
        (owners, ring)
    }

    fn at(position: u64) -> Id {
        Id::from_prefix(position << 56)
    }

    /// The answer `named` for a target that host 2 owns.
    fn naming(named: u32) -> Naming<'static> {
        Naming {
            target: at(15),
            gateway: 1,
            named,
            named_id: at(u64::from(named) * 10),
            behind: None,
            begun: BEGUN,
            owners: &[2],
        }
    }

    #[test]
    fn whoever_owned_at_some_instant_is_right_and_nobody_else() {
        let (owners, ring) = world();
        assert_eq!(owners.judge(&ring, &naming(2)), Answer::Right);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Wrong);
        assert_eq!(owners.judge(&ring, &naming(1)), Answer::Wrong);
        assert_eq!(owners.judge(&ring, &naming(7)), Answer::WrongGone);
    }

    #[test]
    fn who_was_a_member_when_the_lookup_began_is_not_gone() {
        let (mut owners, mut ring) = world();
        ring.retain(|(_, host)| *host != 3);
        owners.gone(3, BEGUN + 10);
        owners.suspected(2, BEGUN);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Suspected);
        owners.gone(3, BEGUN - 10);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::WrongGone);
    }

    #[test]
    fn a_newcomer_may_be_skipped_until_it_was_granted_its_span_and_not_for_ever() {
        let (mut owners, ring) = world();
        owners.joined(2, BEGUN - 1_000);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Entering);
        owners.granted(2, BEGUN + 500);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Entering);
        owners.joined(2, BEGUN - 1_000);
        owners.granted(2, BEGUN - 500);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Wrong);
        owners.joined(2, BEGUN - ENTRY_MAX - 1);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Wrong, "too long");
    }

    #[test]
    fn one_who_was_just_taken_for_dead_may_be_skipped_and_not_for_ever() {
        let (mut owners, ring) = world();
        owners.suspected(1, BEGUN - 1_000);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Wrong);
        owners.suspected(2, BEGUN - 1_000);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Suspected);
        owners.suspected(2, BEGUN - SUSPICION_MAX - 1);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Wrong);
    }

    #[test]
    fn a_split_excuses_what_lies_across_it_until_the_ring_is_ideal() {
        let (mut owners, ring) = world();
        let mut same_side = owners.clone();
        same_side.split(7, vec![true, false, false, false], 9);
        assert_eq!(same_side.judge(&ring, &naming(3)), Answer::Wrong);
        owners.split(7, vec![false, false, true, false], 9);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Apart);
        owners.heal(7, BEGUN - 2_000);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Apart);
        owners.ideal(BEGUN - 1_000);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Wrong);
    }

    #[test]
    fn a_predecessor_from_across_a_split_excuses_what_was_skipped() {
        let (mut owners, ring) = world();
        owners.split(7, vec![true, true, false, false], 9);
        owners.heal(7, BEGUN - 2_000);
        let same_side = Naming {
            gateway: 3,
            ..naming(3)
        };
        assert_eq!(owners.judge(&ring, &same_side), Answer::Wrong);
        let behind = Some(1);
        let granted = Naming {
            behind,
            ..same_side
        };
        assert_eq!(owners.judge(&ring, &granted), Answer::Apart);
    }

    #[test]
    fn one_who_came_in_while_there_were_two_rings_may_be_in_the_other_one() {
        let (mut owners, ring) = world();
        owners.split(7, vec![true], BEGUN - 40_000_000);
        owners.joined(2, BEGUN - 30_000_000);
        owners.granted(2, BEGUN - 30_000_000);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Apart);
        owners.heal_all(BEGUN - 20_000_000);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Apart);
        owners.ideal(BEGUN - 10_000_000);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Wrong);
    }

    #[test]
    fn two_rings_may_not_stay_two_for_ever() {
        let (mut owners, ring) = world();
        owners.split(7, vec![false, false, true, false], 9);
        owners.heal_all(BEGUN - MERGE_MAX - 1);
        assert_eq!(owners.judge(&ring, &naming(3)), Answer::Wrong);
    }

    #[test]
    fn one_skipped_member_without_an_excuse_is_enough() {
        let (mut owners, ring) = world();
        owners.joined(2, BEGUN - 1_000);
        let behind_both = naming(1);
        assert_eq!(
            owners.judge(&ring, &behind_both),
            Answer::Wrong,
            "3 was skipped too"
        );
        owners.suspected(3, BEGUN);
        assert_eq!(owners.judge(&ring, &behind_both), Answer::Suspected);
    }
}
