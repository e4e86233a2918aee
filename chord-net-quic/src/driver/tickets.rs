//! What is owed an answer by a node, and where the answer goes.

use chord_core::event::{Failure, OpId, Outcome, Ticket};
use tokio::sync::oneshot;

use crate::api::HostStatus;
use crate::peers::Way;

/// Who waits for the one answer to a ticket.
#[derive(Debug)]
pub(crate) enum Origin {
    /// The application.
    Command(oneshot::Sender<Result<Outcome, Failure>>),
    /// The application, for the state of the host.
    Status(oneshot::Sender<Result<HostStatus, Failure>>),
    /// Nobody in particular: we told the node to join.
    Join,
    /// The end of the host.
    Leave,
    /// Another host.
    Remote(Way),
    /// Another position of this host.
    Sibling { position: u16, op: OpId },
}

/// A slab: tickets are places, with a count that tells a place's users apart.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    places: Vec<(u32, Option<Origin>)>,
    free: Vec<u32>,
}

impl Tickets {
    /// A ticket for somebody.
    pub(crate) fn mint(&mut self, origin: Origin) -> Ticket {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            u32::try_from(self.places.len() - 1).expect("bounded by connections and commands")
        });
        let (turn, slot) = &mut self.places[place as usize];
        *slot = Some(origin);
        Ticket(u64::from(*turn) << 32 | u64::from(place))
    }

    /// Whose ticket it was; `None` if it was taken before.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Origin> {
        let place = (ticket.0 & u64::from(u32::MAX)) as u32;
        let (turn, slot) = self.places.get_mut(place as usize)?;
        if u64::from(*turn) != ticket.0 >> 32 {
            return None;
        }
        let origin = slot.take()?;
        *turn = turn.wrapping_add(1);
        self.free.push(place);
        Some(origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_taken_once_and_its_place_used_again() {
        let mut tickets = Tickets::default();
        let first = tickets.mint(Origin::Join);
        let second = tickets.mint(Origin::Leave);
        assert!(matches!(tickets.take(first), Some(Origin::Join)));
        assert!(tickets.take(first).is_none());
        let third = tickets.mint(Origin::Join);
        assert_ne!(first, third);
        assert!(tickets.take(first).is_none(), "the place has a new user");
        assert!(matches!(tickets.take(second), Some(Origin::Leave)));
        assert!(tickets.take(Ticket(u64::MAX)).is_none());
    }
}
