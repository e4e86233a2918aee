//! Random walks over small rings: a few nodes of the shipping core, and whatever can happen to
//! them next.
//!
//! ```text
//! trouble (a number of moves) ── deliver · lose · wake · join · leave · fail · suspect
//!    after each: is it still the ring of the theorem?  ─▶ claims
//! one more leave, failure or suspicion, if one can happen
//! quiet ── deliver · wake, until the ring is ideal     ─▶ healing, in rounds
//! ```
//!
//! A walk differs from a scenario of [`crate::sim`] in what it is for: no data, no disk, no
//! realistic delays, but short lists, few positions, a fault every few dozen events, and every
//! state judged, the lists in answers on their way included. Every choice is a draw from the seed.
//!
//! The claims are those of P. Zave, *Reasoning about identifier spaces: how to make Chord correct*
//! (IEEE TSE 2017), for failures that leave L + 1 principals and every other member a live entry.
//! A false suspicion counts as a failure. Rings of at most L members lie outside of the theorem;
//! there it is claimed that they are one ordered ring, as long as failures leave every other member
//! a live entry. A walk that leaves its premise (some do so on purpose) is counted, and must only
//! heal from there.

mod claims;
mod many;
mod ring;

use std::collections::BTreeMap;

use chord_core::draw::{below, draw};

use crate::chance::Purpose;
pub use many::{Sum, many};
use ring::Ring;

/// What a walk does.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Names it: the same walk with the same seed takes the same steps.
    pub seed: u64,
    /// Positions that nodes may take, at most 64.
    pub positions: usize,
    /// Nodes that are a ring before the trouble begins.
    pub members: usize,
    /// L, the length of successor lists.
    pub length: u8,
    /// Events of trouble, before a last fault and the quiet.
    pub moves: u64,
    /// Of a thousand events, how many are preceded by a join, leave, failure or suspicion.
    pub faults: u16,
    /// Of a hundred faults, how many are false suspicions.
    pub suspicions: u8,
    /// Of a thousand messages, how many are lost.
    pub losses: u16,
    /// Of a hundred faults that would end the premise of the claims, how many happen.
    pub reckless: u8,
    /// The claims are judged although their premise is left: a control, which must find some
    /// broken.
    pub blind: bool,
}

/// What a walk met.
#[derive(Clone, Debug, Default)]
pub struct Met {
    /// Events handled by nodes.
    pub steps: u64,
    /// States judged.
    pub judged: u64,
    /// States in which the theorem was in force: at least L + 1 principals.
    pub theorem: u64,
    /// States in which the claim of small rings was.
    pub small: u64,
    /// How often each kind of fault happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// Times that the premise of the claims was left.
    pub left_premise: u64,
    /// From the last fault until every member's first successor was right, in rounds.
    pub heads_right: f64,
    /// From the last fault until the ring was ideal, in rounds.
    pub ideal: f64,
    /// What was broken, if anything.
    pub violation: Option<String>,
}

/// Rounds within which a ring must be ideal after the last fault.
const ROUNDS_MAX: f64 = 80.0;

impl Walk {
    /// One of many: lists of 2 to 4, 3 to 12 positions, faults more or less often.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let purpose = u64::from_be_bytes(*b"one walk");
        let among = |n: u64, bound: u64| below(draw(seed, purpose, n), bound) as usize;
        let positions = 3 + among(0, 10);
        Self {
            seed,
            positions,
            members: 1 + among(6, positions as u64),
            length: 2 + among(1, 3) as u8,
            moves: 2_000,
            faults: [2, 5, 10, 20][among(2, 4)],
            suspicions: [0, 10, 25, 50][among(3, 4)],
            losses: [0, 0, 5, 20][among(4, 4)],
            reckless: [0, 0, 0, 5][among(5, 4)],
            blind: false,
        }
    }

    /// Takes it, until the ring is ideal, or a claim is broken.
    #[must_use]
    pub fn run(&self) -> Met {
        self.walk(false).met
    }

    /// The same walk, told: what happened when, and the ring after each change.
    #[must_use]
    pub fn story(&self) -> Vec<String> {
        self.walk(true).story.unwrap_or_default()
    }

    fn walk(&self, told: bool) -> Ring {
        let mut ring = Ring::new(self);
        ring.story = told.then(Vec::new);
        let mut outcome = ring.form(self.members);
        let begun = ring.met.steps;
        while ring.met.steps - begun < self.moves && outcome.is_ok() {
            if ring.chance.below(Purpose::Fault, 1_000) < self.faults.into() {
                ring.fault(self);
            }
            outcome = ring.step();
        }
        ring.lose_nothing();
        ring.last_fault(self);
        ring.met.violation = outcome.and_then(|()| quiet(&mut ring)).err();
        ring
    }
}

/// No more faults: the ring becomes ideal, in time.
fn quiet(ring: &mut Ring) -> Result<(), String> {
    let begun = ring.now;
    let mut heads = None;
    loop {
        let rounds = (ring.now - begun) as f64 / ring.round() as f64;
        if heads.is_none() && ring.heads_are_right() {
            heads = Some(rounds);
        }
        if ring.is_ideal() {
            ring.met.heads_right = heads.unwrap_or(rounds);
            ring.met.ideal = rounds;
            return Ok(());
        }
        if rounds > ROUNDS_MAX {
            let wrong = ring.imperfections();
            return Err(format!(
                "not ideal {rounds:.0} rounds after the last fault: {wrong:?}"
            ));
        }
        ring.step()?;
    }
}
