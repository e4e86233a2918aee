//! What is claimed of a ring, and for how long: the premise, and the judge.
//!
//! The theorem holds as long as failures leave L + 1 principals and every other member a live entry.
//! So before a fault happens it is asked what it would leave; what happens unplanned (a peer that is
//! taken for dead because messages were lost, a goodbye whose lists have changed since it began) is
//! asked afterwards. Once the premise is left, nothing is claimed before the ring is ideal again.

use chord_core::event::{State, View};
use chord_core::peer::Peer;

use super::{Ring, line};
use crate::chance::Purpose;
use crate::walk::Walk;
use crate::walk::claims::Moment;

/// How long a suspicion may have consequences, in microseconds: longer than the core believes in
/// a death.
pub(super) const DOUBTED: u64 = 40_000_000;
/// The same of the word of one that says itself that it is no member, and may be one soon.
pub(super) const OUTSIDE: u64 = 400_000;

/// What the premise of the claims has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Premise {
    /// Fewer members than the theorem needs, so far.
    Small,
    /// L + 1 principals, and failures that left them.
    Theorem,
    /// A fault left too little: nothing is claimed before the ring is ideal again.
    Left,
}

impl Ring {
    /// Whether a fault happens: it leaves the premise standing, or the walk is reckless.
    pub(super) fn is_taken(&mut self, walk: &Walk, by: Option<usize>, whom: usize) -> bool {
        if self.premise == Premise::Left || self.survives(by, whom) {
            return true;
        }
        let reckless = self.chance.below(Purpose::Fault, 100) < walk.reckless.into();
        if reckless {
            self.leave_premise();
        }
        reckless
    }

    fn leave_premise(&mut self) {
        if self.premise != Premise::Left && !self.blind {
            self.premise = Premise::Left;
            self.met.left_premise += 1;
            self.tell(|| "the premise is left".to_owned());
        }
    }

    /// What happened unplanned: does the premise still stand?
    pub(super) fn notice_failure(&mut self, by: Option<usize>, whom: usize) {
        if self.premise != Premise::Left && !self.survives(by, whom) {
            self.leave_premise();
        }
    }

    /// Whether the premise stands once somebody, or everybody, takes `whom` for dead.
    fn survives(&self, by: Option<usize>, whom: usize) -> bool {
        let entering = self.nodes.iter().flatten().count() > self.members().len();
        let (sent, length) = (self.sent(), self.config.successors.into());
        // Whoever leaves may be there for a while, or be gone at any moment.
        [true, false].into_iter().all(|leavers_stay| {
            let mut members = self.views();
            members.retain(|view| {
                let at = self.position_of(view.me.addr);
                let stays = at.is_some_and(|at| self.is_in(at, &[State::Joined]));
                (leavers_stay || stays) && (by.is_some() || view.me != self.peer(whom))
            });
            let stands = |members: &[View]| match self.premise {
                Premise::Theorem => Moment::of(members, &sent, length).is_of_theorem(),
                // Whoever enters a ring of one may get a list that nobody vouches for.
                Premise::Small => Moment::of(members, &sent, length).is_small() && !entering,
                Premise::Left => false,
            };
            // Whoever is doubted is dropped once it is the head, which may be now or later.
            let without = self.without_doubted(&members, by, whom, false);
            let in_the_end = self.without_doubted(&members, by, whom, true);
            Moment::of(&members, &sent, length).lists_on_their_way_have_a_live_entry()
                && stands(&members)
                && stands(&without)
                && Moment::of(&in_the_end, &sent, length).is_nobody_stranded()
        })
    }

    /// The members without whom each of them doubts: the heads, or all.
    fn without_doubted(
        &self,
        members: &[View],
        by: Option<usize>,
        whom: usize,
        all: bool,
    ) -> Vec<View> {
        let doubt = by.map(|by| (self.peer(by), self.peer(whom)));
        let lives = |peer: &Peer| members.iter().any(|view| view.me == *peer);
        let without = |view: &View| {
            let doubts = |peer: &Peer| {
                let known = self.doubted.iter().filter(|doubt| doubt.2 > self.now);
                let mut known = known.map(|doubt| (doubt.0, doubt.1)).chain(doubt);
                known.any(|doubt| doubt == (view.me, *peer))
            };
            let mut successors = view.successors.clone();
            if all {
                successors.retain(|peer| !doubts(peer));
            } else {
                let gone = successors
                    .iter()
                    .take_while(|peer| doubts(peer) || !lives(peer));
                let gone = gone.count();
                successors.drain(..gone);
            }
            View {
                successors,
                ..view.clone()
            }
        };
        members.iter().map(without).collect()
    }

    pub(super) fn judge(&mut self) -> Result<(), String> {
        let views = self.views();
        let sent = self.sent();
        let moment = Moment::of(&views, &sent, self.config.successors.into());
        let mut members = self.members().into_iter();
        let all_stay = members.all(|at| self.is_in(at, &[State::Joined]));
        self.met.judged += 1;
        let judged = match self.premise {
            Premise::Theorem => moment.broken_theorem(),
            Premise::Small if moment.is_of_theorem() && all_stay => {
                self.premise = Premise::Theorem;
                moment.broken_theorem()
            }
            Premise::Small => moment.broken(),
            Premise::Left => Ok(()),
        };
        match self.premise {
            Premise::Theorem => self.met.theorem += 1,
            Premise::Small => self.met.small += 1,
            Premise::Left if self.is_ideal() => {
                self.premise = match views.len() > self.config.successors.into() {
                    true => Premise::Theorem,
                    false => Premise::Small,
                };
            }
            Premise::Left => {}
        }
        let premise = self.premise;
        self.tell(|| format!("{premise:?}  {}", line(&views)));
        judged.map_err(|what| format!("{what}, at step {}", self.met.steps))
    }

    /// Somebody takes a peer for dead. If it lives, and nobody planned that, messages were lost:
    /// a failure all the same.
    pub(super) fn lost(&mut self, by: usize, peer: Peer) {
        let doubt = (self.peer(by), peer);
        self.doubted.retain(|doubt| doubt.2 > self.now);
        let planned = self.doubted.iter().any(|d| (d.0, d.1) == doubt);
        let whom = self.position_of(peer.addr);
        let lives = |at: &usize| self.is_member(*at) && self.peer(*at) == peer;
        if let Some(whom) = whom.filter(lives)
            && !planned
        {
            self.count("loss", format!("{by} takes {whom} for dead, unplanned"));
            self.notice_failure(Some(by), whom);
            self.doubted.push((doubt.0, doubt.1, self.now + DOUBTED));
        }
    }
}
