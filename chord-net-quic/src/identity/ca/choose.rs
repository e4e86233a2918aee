//! Where on the ring a new node belongs.

use chord_core::id::{ID_BITS, Id};

use super::super::error::IdentityError;

/// A position at random that is not taken and not [`Id::ZERO`].
pub(super) fn random(taken: &[Id]) -> Result<Id, IdentityError> {
    loop {
        let mut id = Id::ZERO;
        getrandom::fill(&mut id.0).map_err(IdentityError::Entropy)?;
        if id != Id::ZERO && !taken.contains(&id) {
            return Ok(id);
        }
    }
}

/// The middle of the widest gap between the positions taken; at random while there is none.
pub(super) fn spread(taken: &[Id]) -> Result<Id, IdentityError> {
    match middle_of_widest(taken) {
        Some(id) if id != Id::ZERO && !taken.contains(&id) => Ok(id),
        // Only on a ring so full that neighbours touch, or for the one forbidden position.
        _ => random(taken),
    }
}

fn middle_of_widest(taken: &[Id]) -> Option<Id> {
    let mut sorted = taken.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let last = *sorted.last()?;
    if sorted.len() == 1 {
        return Some(last.plus_power(ID_BITS - 1));
    }
    let mut after = last;
    let mut widest = (Id::ZERO, last);
    for &id in &sorted {
        let gap = after.distance(id);
        if gap > widest.0 {
            widest = (gap, after);
        }
        after = id;
    }
    let (gap, after) = widest;
    // after + gap / 2, with what the ring offers: a - (0 - b) is a + b.
    Some(after.distance(Id::ZERO).distance(halved(gap)))
}

fn halved(mut distance: Id) -> Id {
    let mut carry = 0;
    for byte in &mut distance.0 {
        let low = *byte & 1;
        *byte = *byte >> 1 | carry << 7;
        carry = low;
    }
    distance
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(at: u8) -> Id {
        let mut id = Id::ZERO;
        id.0[0] = at;
        id
    }

    #[test]
    fn the_middle_of_the_widest_gap_is_found_across_zero_too() {
        for (taken, middle) in [
            (vec![10], 138),
            (vec![10, 138], 202),
            (vec![10, 138, 202], 74),
            (vec![200, 100], 22),
            (vec![0, 1, 2], 129),
            (vec![7, 7, 7], 135),
            (vec![250, 20], 135),
        ] {
            let ids: Vec<Id> = taken.iter().map(|&at| small(at)).collect();
            assert_eq!(middle_of_widest(&ids), Some(small(middle)), "{taken:?}");
        }
        assert_eq!(middle_of_widest(&[]), None);
    }

    #[test]
    fn sixteen_spread_nodes_share_the_ring_evenly() {
        let mut taken = vec![spread(&[]).unwrap()];
        while taken.len() < 16 {
            let next = spread(&taken).unwrap();
            taken.push(next);
        }
        taken.sort_unstable();
        for at in 0..16 {
            let gap = taken[at].distance(taken[(at + 1) % 16]);
            assert_eq!(gap, small(16), "after number {at}");
        }
    }

    #[test]
    fn the_forbidden_position_is_not_given_even_if_it_is_the_middle() {
        assert_eq!(middle_of_widest(&[small(128)]), Some(Id::ZERO));
        let id = spread(&[small(128)]).unwrap();
        assert_ne!(id, Id::ZERO);
        assert_ne!(id, small(128));
    }

    #[test]
    fn halving_shifts_across_bytes() {
        assert_eq!(halved(Id::MAX).0[0], 0x7f);
        assert_eq!(halved(Id::MAX).0[19], 0xff);
        let mut one = Id::ZERO;
        one.0[0] = 1;
        assert_eq!(halved(one).0[..2], [0, 0x80]);
    }
}
