//! What one host may take of us at a time, over all its connections.
//!
//! ```text
//! reader of a frame stream ┐                 ┌─ a turn, held until the driver has taken
//! bulk stream, bulk stream ┴─ share of host ─┤  the frame ─▶ inbox
//!                                            └─ memory for a body, then that of all hosts
//! ```
//!
//! **Invariant:** of what waits in the driver's inbox at most [`FRAMES_MAX`] frames are one
//! host's. So what another one sends is taken after at most that many of each host, however
//! fast the one sends and however many connections it opens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use chord_core::id::Id;
use tokio::sync::Semaphore;

/// Most frames of one host that wait for the driver.
pub(super) const FRAMES_MAX: usize = 64;
/// Most bytes of bulk bodies of one host: a quarter of what there is for all.
pub(super) const BODIES_MAX: usize = super::BODIES_MAX / 4;

/// The share of one host.
#[derive(Clone, Debug)]
pub(crate) struct Share(Arc<Limits>);

#[derive(Debug)]
struct Limits {
    frames: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

impl Share {
    /// All of it free.
    pub(super) fn new() -> Self {
        Self(Arc::new(Limits {
            frames: Arc::new(Semaphore::new(FRAMES_MAX)),
            bodies: Arc::new(Semaphore::new(BODIES_MAX)),
        }))
    }

    /// Turns in the inbox, one for each frame.
    pub(super) fn frames(&self) -> Arc<Semaphore> {
        self.0.frames.clone()
    }

    /// Memory for bulk bodies, in bytes.
    pub(super) fn bodies(&self) -> Arc<Semaphore> {
        self.0.bodies.clone()
    }
}

/// The shares of all connected hosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shares(Arc<Mutex<HashMap<Id, Weak<Limits>>>>);

impl Shares {
    /// The share of a host: the same for all connections it has at a time.
    pub(crate) fn of(&self, host: Id) -> Share {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limits) = shares.get(&host).and_then(Weak::upgrade) {
            return Share(limits);
        }
        shares.retain(|_, limits| limits.strong_count() > 0);
        let share = Share::new();
        shares.insert(host, Arc::downgrade(&share.0));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_one_host_share_and_others_have_their_own() {
        let shares = Shares::default();
        let (a, b) = (Id::hash(b"a"), Id::hash(b"b"));
        let first = shares.of(a);
        let turn = first.frames().try_acquire_owned().expect("all free");
        assert_eq!(shares.of(a).frames().available_permits(), FRAMES_MAX - 1);
        assert_eq!(shares.of(b).frames().available_permits(), FRAMES_MAX);
        drop((first, turn));
        assert_eq!(shares.of(b).frames().available_permits(), FRAMES_MAX);
        assert_eq!(
            shares.0.lock().expect("sound").len(),
            1,
            "who left is forgotten"
        );
    }
}
