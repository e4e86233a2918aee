//! Another process lives, or lived, with the certificate of this host, and others take it for
//! the later life: they refuse us.
//!
//! ```text
//! refused as an earlier life ──▶ alarm ── a while ──▶ end, Stopped::Superseded
//!                                         whoever runs the host starts it again: a life above
//!                                         the other one, and an ordinary join
//! ```
//!
//! The other process may be gone long since: those who met it know only that there was a
//! later life. So this host begins a life above it, which is the one thing that they believe.
//! If the other one is still there it will do the same in its turn. That is what the wait is
//! for: it grows with every time, up to five minutes, so that two processes with one
//! certificate change places ever more rarely, and both raise the alarm as long as they do.
//!
//! **Invariant:** the life to outdo is on disk before the host ends.

use std::time::SystemTime;

use chord_core::event::Command;
use chord_core::time::{Instant, Micros};

use crate::api::{Duplicate, Stopped};
use crate::clock;
use crate::driver::Driver;
use crate::identity;

/// The wait of a host that cannot remember how often it has waited.
const WAIT_UNREMEMBERED: Micros = Micros::from_secs(60);
/// How far ahead of our clock a life may be, in seconds, to be believed: lives are counted in
/// seconds of the wall clock. Who claims more could otherwise use up all the numbers.
const AHEAD_MAX: u32 = 1 << 24;
/// Pace of repeating the alarm.
const REPEAT: Micros = Micros::from_secs(60);

/// What others hold against this life.
#[derive(Debug)]
pub(super) struct Superseded {
    /// The latest life that was named to us; 0 if none was.
    by: u32,
    /// When this life ends.
    pub(super) until: Instant,
    /// When the alarm was raised last.
    said: Instant,
}

impl Driver {
    /// Somebody refuses us because of a later life, which he may have named.
    pub(super) fn superseded(&mut self, by: Option<u32>, now: Instant) {
        if self.leaving.is_some() || self.broken.is_some() {
            return; // This life ends anyway.
        }
        let by = by.filter(|by| is_credible(*by)).unwrap_or(0);
        let wait = self
            .state
            .as_ref()
            .map_or(WAIT_UNREMEMBERED, |state| state.patience());
        let first = self.superseded.is_none();
        let known = self.superseded.get_or_insert(Superseded {
            by,
            until: now + wait,
            said: now,
        });
        known.by = known.by.max(by);
        if first || now.since(known.said) >= REPEAT {
            known.said = now;
            tracing::error!(
                incarnation = known.by,
                again_in_ms = known.until.since(now).as_millis(),
                "two processes use the certificate of this node, and the others hold to the one \
                 that started later: stop one of the two, or revoke the certificate if it was \
                 stolen; this node begins a new life and joins again"
            );
        }
        let by = known.by;
        self.met_ourselves(by);
    }

    /// Whether a command is about records that others keep by now, behind our back: what we
    /// would answer may be old.
    pub(super) fn is_outside(&self, command: &Command) -> bool {
        let of_records = matches!(
            command,
            Command::Put { .. } | Command::Get { .. } | Command::Delete { .. }
        );
        of_records && self.superseded.is_some()
    }

    /// Ends this life once it has waited long enough.
    pub(super) fn give_way(&mut self, now: Instant) {
        let due = |superseded: &&Superseded| superseded.until <= now;
        let Some(superseded) = self.superseded.as_ref().filter(due) else {
            return;
        };
        let by = superseded.by;
        if let Some(state) = &self.state
            && let Err(error) = state.outdo(by)
        {
            tracing::error!(%error, "cannot write to the data directory");
        }
        self.ending = Some(Stopped::Superseded);
    }

    /// Another process with our certificate has been met, or others have met it.
    pub(super) fn met_ourselves(&mut self, incarnation: u32) {
        let known = self.duplicate.get_or_insert(Duplicate {
            refused: false,
            incarnation,
            times: 0,
            seen: SystemTime::UNIX_EPOCH,
        });
        known.seen = clock::since_epoch(identity::now().as_secs());
        known.incarnation = known.incarnation.max(incarnation);
    }

    /// What is known of another process with our certificate.
    pub(super) fn duplicate(&self) -> Option<Duplicate> {
        let refused = self.superseded.is_some();
        self.duplicate.map(|known| Duplicate { refused, ..known })
    }
}

fn is_credible(life: u32) -> bool {
    life <= crate::state::next_incarnation(0).saturating_add(AHEAD_MAX)
}
