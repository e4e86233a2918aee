//! Whether members that were asked one after another form the ring that Chord promises.
//!
//! A pure function from what each live member said of its neighbours to a list of what is
//! wrong. The rules are those of P. Zave, *Reasoning about identifier spaces: how to make
//! Chord correct* (IEEE TSE 2017), and, stricter, the ideal state that a ring at rest must
//! have reached: every list exactly the next members, every predecessor the one before.
//!
//! A walk is no snapshot: a member may join while it is under way. So a caller walks up to
//! three times and believes what *all* walks saw, see [`persisting`].
//!
//! **Invariant:** a violation names the member that shows it, unless it is one of the whole
//! ring.

use std::collections::BTreeMap;

use chord_core::id::Id;
use serde::Serialize;

/// What one live member believes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    /// Who.
    pub(crate) id: Id,
    /// Its predecessor.
    pub(crate) predecessor: Option<Id>,
    /// Its successor list, the nearest first.
    pub(crate) successors: Vec<Id>,
}

/// What a violation is against.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rule {
    /// The first successors form exactly one cycle, in the order of the ids.
    OneRing,
    /// A first successor is the next live member.
    FirstSuccessor,
    /// A list runs clockwise, without repeats and without its owner.
    OrderedList,
    /// A list is exactly the next members, as many as the ring or the list's length has.
    IdealList,
    /// A predecessor is the live member before.
    Predecessor,
    /// (I1) Every member has a live entry in its list.
    LiveEntry,
    /// (I2) At least L + 1 members are principal: skipped by no adjacent pair of any list.
    Principals,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Violation {
    /// Against what.
    pub(crate) rule: Rule,
    /// Whose state shows it: 40 hexadecimal digits; absent for the whole ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<String>,
    /// A sentence for people.
    pub(crate) what: String,
}

impl Violation {
    fn of(rule: Rule, member: Id, what: String) -> Self {
        Self {
            rule,
            member: Some(member.to_string()),
            what,
        }
    }

    fn of_ring(rule: Rule, what: String) -> Self {
        Self {
            rule,
            member: None,
            what,
        }
    }
}

/// Checks members that all answered, with successor lists of at most `length` entries.
pub(crate) fn check(members: &[Member], length: usize) -> Vec<Violation> {
    let mut found = Vec::new();
    if members.is_empty() {
        found.push(Violation::of_ring(
            Rule::OneRing,
            "no member answered".into(),
        ));
        return found;
    }
    let ring = Ring::new(members);
    ring.check_cycles(&mut found);
    for at in 0..ring.ids.len() {
        ring.check_member(at, length, &mut found);
    }
    ring.check_principals(length, &mut found);
    found
}

/// What every one of several walks saw, in the words of the last.
pub(crate) fn persisting(walks: &[Vec<Violation>]) -> Vec<Violation> {
    let Some((last, earlier)) = walks.split_last() else {
        return Vec::new();
    };
    let same = |a: &Violation, b: &Violation| a.rule == b.rule && a.member == b.member;
    last.iter()
        .filter(|violation| {
            earlier
                .iter()
                .all(|walk| walk.iter().any(|other| same(other, violation)))
        })
        .cloned()
        .collect()
}

/// The live members in the order of their ids.
struct Ring<'a> {
    ids: Vec<Id>,
    members: Vec<&'a Member>,
}

impl<'a> Ring<'a> {
    fn new(members: &'a [Member]) -> Self {
        let by_id: BTreeMap<Id, &Member> =
            members.iter().map(|member| (member.id, member)).collect();
        Self {
            ids: by_id.keys().copied().collect(),
            members: by_id.into_values().collect(),
        }
    }

    /// The live members behind `at`, clockwise, once round.
    fn following(&self, at: usize) -> impl Iterator<Item = Id> {
        let count = self.ids.len();
        (1..count).map(move |step| self.ids[(at + step) % count])
    }

    fn index(&self, id: Id) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }

    /// Where the first live entry of a member's list leads; a member with an empty list is
    /// its own head.
    fn head(&self, at: usize) -> Option<usize> {
        let successors = &self.members[at].successors;
        if successors.is_empty() {
            return Some(at);
        }
        successors.iter().find_map(|&id| self.index(id))
    }

    fn check_cycles(&self, found: &mut Vec<Violation>) {
        let cycles = self.cycles();
        if cycles.is_empty() {
            let what = "no ring: no chain of first successors comes back to where it began";
            found.push(Violation::of_ring(Rule::OneRing, what.into()));
        }
        if cycles.len() > 1 {
            let sizes: Vec<String> = cycles
                .iter()
                .map(|cycle| format!("{} with {:.8}", cycle.len(), self.ids[cycle[0]]))
                .collect();
            let what = format!("{} separate rings: {}", cycles.len(), sizes.join(", "));
            found.push(Violation::of_ring(Rule::OneRing, what));
        }
        for cycle in &cycles {
            // In order, going round once passes the smallest id exactly once.
            let falls = (0..cycle.len())
                .filter(|&step| cycle[step] >= cycle[(step + 1) % cycle.len()])
                .count();
            if falls > 1 {
                let what = format!(
                    "the ring of {:.8} goes round the circle {falls} times before it closes",
                    self.ids[cycle[0]]
                );
                found.push(Violation::of_ring(Rule::OneRing, what));
            }
        }
    }

    /// The cycles of the graph of first live successors, each in its own order.
    fn cycles(&self) -> Vec<Vec<usize>> {
        const UNSEEN: usize = usize::MAX;
        let mut seen_from = vec![UNSEEN; self.ids.len()];
        let mut cycles = Vec::new();
        for start in 0..self.ids.len() {
            let mut at = start;
            while seen_from[at] == UNSEEN {
                seen_from[at] = start;
                match self.head(at) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            // Only a chain that met itself closed a cycle that is not known yet.
            if seen_from[at] != start || self.head(at).is_none() {
                continue;
            }
            let mut cycle = vec![at];
            let mut next = self.head(at);
            while let Some(step) = next
                && step != at
                && cycle.len() <= self.ids.len()
            {
                cycle.push(step);
                next = self.head(step);
            }
            cycles.push(cycle);
        }
        cycles
    }

    fn check_member(&self, at: usize, length: usize, found: &mut Vec<Violation>) {
        let member = self.members[at];
        let me = member.id;
        let ideal: Vec<Id> = self.following(at).take(length).collect();

        if let Some(what) = disorder(me, &member.successors) {
            found.push(Violation::of(
                Rule::OrderedList,
                me,
                format!("{me:.8}: {what}"),
            ));
        }
        if !ideal.is_empty() && !member.successors.iter().any(|&id| self.index(id).is_some()) {
            let what = format!(
                "{me:.8}: no live entry among its {} successors",
                member.successors.len()
            );
            found.push(Violation::of(Rule::LiveEntry, me, what));
        }
        if member.successors.first() != ideal.first() {
            let what = format!(
                "{me:.8}: first successor is {}, the next live member is {}",
                name(member.successors.first()),
                name(ideal.first())
            );
            found.push(Violation::of(Rule::FirstSuccessor, me, what));
        }
        if member.successors != ideal {
            let what = format!("{me:.8}: {}", difference(&member.successors, &ideal));
            found.push(Violation::of(Rule::IdealList, me, what));
        }
        let before = self.ids[(at + self.ids.len() - 1) % self.ids.len()];
        let right = match member.predecessor {
            // A member that is alone may know no predecessor, or itself.
            None => before == me,
            Some(predecessor) => predecessor == before,
        };
        if !right {
            let what = format!(
                "{me:.8}: predecessor is {}, the live member before is {before:.8}",
                name(member.predecessor.as_ref())
            );
            found.push(Violation::of(Rule::Predecessor, me, what));
        }
    }

    fn check_principals(&self, length: usize, found: &mut Vec<Violation>) {
        // Below L + 1 members the theorem says nothing; there the claim is one ordered ring
        // that every appendage reaches, which the other rules cover.
        if self.ids.len() <= length {
            return;
        }
        let principals = self.principals();
        if principals <= length {
            let what = format!(
                "only {principals} of {} members are principal, at least {} must be",
                self.ids.len(),
                length + 1
            );
            found.push(Violation::of_ring(Rule::Principals, what));
        }
    }

    /// Members that no adjacent pair of any extended list (a member and its successors)
    /// skips. Each pair skips one arc; arcs are marked by their ends and summed once.
    fn principals(&self) -> usize {
        let count = self.ids.len();
        let mut change = vec![0_i64; count + 1];
        let mut mark = |from: usize, to: usize| {
            if from < to {
                change[from] += 1;
                change[to] -= 1;
            }
        };
        for member in &self.members {
            let extended = std::iter::once(&member.id).chain(&member.successors);
            for (&a, &b) in extended.zip(&member.successors) {
                let behind_a = self.ids.partition_point(|&id| id <= a);
                let at_b = self.ids.partition_point(|&id| id < b);
                if a < b {
                    mark(behind_a, at_b);
                } else {
                    mark(behind_a, count);
                    mark(0, at_b);
                }
            }
        }
        let mut skipped = 0;
        change[..count]
            .iter()
            .filter(|&&step| {
                skipped += step;
                skipped == 0
            })
            .count()
    }
}

/// What is out of order in a list, if anything.
fn disorder(me: Id, successors: &[Id]) -> Option<String> {
    if let Some(place) = successors.iter().position(|&id| id == me) {
        return Some(format!(
            "its own successor list names itself at place {}",
            place + 1
        ));
    }
    successors.windows(2).enumerate().find_map(|(place, pair)| {
        let [a, b] = [pair[0], pair[1]];
        if a == b || successors[..place].contains(&b) {
            return Some(format!(
                "successor list repeats {b:.8} at place {}",
                place + 2
            ));
        }
        (me.distance(a) >= me.distance(b)).then(|| {
            format!(
                "successor list turns back behind place {}: {a:.8}, then {b:.8}",
                place + 1
            )
        })
    })
}

fn difference(list: &[Id], ideal: &[Id]) -> String {
    let place = list
        .iter()
        .zip(ideal)
        .take_while(|(is, should)| is == should)
        .count();
    // People count from one.
    let at = place + 1;
    match (list.get(place), ideal.get(place)) {
        (Some(is), Some(should)) => {
            format!("successor list has {is:.8} at place {at} where {should:.8} belongs")
        }
        (Some(is), None) => {
            format!("successor list goes on with {is:.8} at place {at} where it should have ended")
        }
        (None, Some(should)) => {
            format!("successor list ends before place {at} where {should:.8} belongs")
        }
        (None, None) => "successor list differs".into(),
    }
}

fn name(id: Option<&Id>) -> String {
    id.map_or_else(|| "nobody".into(), |id| format!("{id:.8}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(at: u8) -> Id {
        let mut bytes = [0; 20];
        bytes[0] = at;
        Id(bytes)
    }

    /// The ideal ring of these positions, with lists of `length`.
    fn ideal(positions: &[u8], length: usize) -> Vec<Member> {
        let count = positions.len();
        (0..count)
            .map(|at| Member {
                id: id(positions[at]),
                predecessor: (count > 1).then(|| id(positions[(at + count - 1) % count])),
                successors: (1..count)
                    .take(length)
                    .map(|step| id(positions[(at + step) % count]))
                    .collect(),
            })
            .collect()
    }

    fn rules(members: &[Member], length: usize) -> Vec<Rule> {
        let mut rules: Vec<Rule> = check(members, length)
            .iter()
            .map(|found| found.rule)
            .collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    #[test]
    fn ideal_rings_of_every_size_pass() {
        for count in 1..=20 {
            let positions: Vec<u8> = (0..count).map(|at| at * 12 + 3).collect();
            for length in [1, 2, 4, 16] {
                assert_eq!(
                    check(&ideal(&positions, length), length),
                    [],
                    "{count} {length}"
                );
            }
        }
    }

    #[test]
    fn the_order_in_which_members_were_asked_does_not_matter() {
        let mut members = ideal(&[1, 50, 99, 200], 2);
        members.reverse();
        assert_eq!(check(&members, 2), []);
    }

    #[test]
    fn nobody_is_no_ring() {
        assert_eq!(rules(&[], 4), [Rule::OneRing]);
    }

    #[test]
    fn two_rings_are_told_from_one() {
        let mut members = ideal(&[10, 90, 170], 4);
        members.extend(ideal(&[40, 120, 250], 4));
        let found = check(&members, 4);
        assert_eq!(found[0].rule, Rule::OneRing);
        assert!(
            found[0].what.starts_with("2 separate rings"),
            "{}",
            found[0].what
        );
    }

    #[test]
    fn a_member_that_is_alone_beside_a_ring_is_a_second_ring() {
        let mut members = ideal(&[10, 90, 170], 4);
        members.push(Member {
            id: id(200),
            predecessor: None,
            successors: vec![],
        });
        assert!(rules(&members, 4).contains(&Rule::OneRing));
        assert!(rules(&members, 4).contains(&Rule::LiveEntry));
    }

    #[test]
    fn a_loopy_ring_goes_round_twice() {
        // 10 → 90 → 170 → 40 → 120 → 250 → 10: one cycle, twice round.
        let order = [10, 90, 170, 40, 120, 250];
        let members = ideal(&order, 1);
        let found = check(&members, 1);
        assert!(found[0].what.contains("2 times"), "{found:?}");
    }

    #[test]
    fn an_appendage_is_named_with_its_first_successor_right_and_the_one_before_it_wrong() {
        let mut members = ideal(&[10, 90, 170], 2);
        members.push(Member {
            id: id(100),
            predecessor: Some(id(90)),
            successors: vec![id(170), id(10)],
        });
        let found = check(&members, 2);
        let wrong: Vec<_> = found
            .iter()
            .filter(|found| found.rule == Rule::FirstSuccessor)
            .collect();
        assert_eq!(wrong.len(), 1);
        assert_eq!(wrong[0].member, Some(id(90).to_string()));
        assert!(
            found.iter().any(|found| found.rule == Rule::Predecessor
                && found.member == Some(id(170).to_string()))
        );
    }

    #[test]
    fn each_planted_fault_of_a_list_breaks_its_own_rule() {
        let plant = |change: fn(&mut Member)| {
            let mut members = ideal(&[10, 40, 90, 130, 170, 220], 3);
            change(&mut members[1]);
            rules(&members, 3)
        };
        let swapped = plant(|member| member.successors.swap(1, 2));
        assert!(swapped.contains(&Rule::OrderedList), "{swapped:?}");
        let repeated = plant(|member| member.successors[2] = member.successors[1]);
        assert!(repeated.contains(&Rule::OrderedList), "{repeated:?}");
        let own = plant(|member| member.successors[2] = member.id);
        assert!(own.contains(&Rule::OrderedList), "{own:?}");
        let short = plant(|member| member.successors.truncate(2));
        assert_eq!(short, [Rule::IdealList]);
        let long = plant(|member| member.successors.push(id(220)));
        assert_eq!(long, [Rule::IdealList]);
        let dead = plant(|member| member.successors = vec![id(41), id(42)]);
        assert!(dead.contains(&Rule::LiveEntry), "{dead:?}");
        let gap = plant(|member| member.successors[1] = id(100));
        assert_eq!(gap, [Rule::IdealList]);
        let before = plant(|member| member.predecessor = Some(id(220)));
        assert_eq!(before, [Rule::Predecessor]);
        let nobody = plant(|member| member.predecessor = None);
        assert_eq!(nobody, [Rule::Predecessor]);
    }

    #[test]
    fn too_few_principals_break_the_second_invariant() {
        // Every list skips the member behind the next one: half of the members are skipped.
        let mut members = ideal(&[10, 40, 90, 130, 170, 220], 4);
        for member in &mut members {
            member.successors.remove(1);
        }
        assert!(rules(&members, 4).contains(&Rule::Principals));
        assert!(!rules(&ideal(&[10, 40, 90, 130, 170, 220], 4), 4).contains(&Rule::Principals));
    }

    #[test]
    fn counting_principals_by_arcs_agrees_with_the_definition() {
        let mut draw = 0_u64;
        let mut next = |bound: u64| {
            draw += 1;
            chord_core::draw::below(chord_core::draw::draw(7, 1, draw), bound)
        };
        for _ in 0..200 {
            let mut positions: Vec<u8> = (0..8).map(|_| next(256) as u8).collect();
            positions.sort_unstable();
            positions.dedup();
            let mut members = ideal(&positions, 3);
            for member in &mut members {
                for place in 0..member.successors.len() {
                    if next(4) == 0 {
                        member.successors[place] = id(next(256) as u8);
                    }
                }
            }
            let by_definition = members
                .iter()
                .filter(|p| {
                    !members.iter().any(|m| {
                        let list: Vec<Id> =
                            std::iter::once(m.id).chain(m.successors.clone()).collect();
                        list.windows(2)
                            .any(|pair| Id::between(pair[0], p.id, pair[1]))
                    })
                })
                .count();
            assert_eq!(
                Ring::new(&members).principals(),
                by_definition,
                "{members:?}"
            );
        }
    }

    #[test]
    fn only_what_all_walks_saw_is_reported() {
        let seen = |rule, member: u8| Violation::of(rule, id(member), "x".into());
        let first = vec![seen(Rule::Predecessor, 1), seen(Rule::IdealList, 2)];
        let second = vec![seen(Rule::IdealList, 2), seen(Rule::IdealList, 3)];
        assert_eq!(
            persisting(&[first.clone(), second.clone()]),
            [seen(Rule::IdealList, 2)]
        );
        assert_eq!(persisting(&[first, second, vec![]]), []);
        assert_eq!(persisting(&[]), []);
    }
}
