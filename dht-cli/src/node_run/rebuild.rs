//! A damaged store is rebuilt in place: the host begins again in the same process.
//!
//! ```text
//! damage ─▶ file moved aside ─▶ node leaves, ends ─▶ next life, empty, unmarked ─▶ filled by others
//! ```
//!
//! The next life is that of a restarted process: a later incarnation, every check of a start,
//! no mark of what the lost records were worth. It is bounded both ways: a disk that rots
//! again and again is no place for records, and without another member there is nobody to
//! fill it. Then the process ends with the cause.

use std::collections::VecDeque;
use std::time::Duration;

use chord_net_quic::Stopped;
use tokio::time::Instant;

/// Rebuilds within [`WINDOW`]; the next damage ends the process.
const REBUILDS_MAX: usize = 3;
const WINDOW: Duration = Duration::from_secs(3_600);
/// Within this time the next life must have met another member.
pub(super) const REJOIN: Duration = Duration::from_secs(60);

/// When stores were rebuilt.
#[derive(Debug, Default)]
pub(super) struct Rebuilds {
    begun: VecDeque<Instant>,
}

impl Rebuilds {
    /// Whether a host that ended like this may begin again; if so, that is counted.
    pub(super) fn may_follow(&mut self, stopped: &Stopped, now: Instant) -> bool {
        let Stopped::Damaged { alone: false, .. } = stopped else {
            return false;
        };
        while let Some(&first) = self.begun.front()
            && now.duration_since(first) >= WINDOW
        {
            self.begun.pop_front();
        }
        if self.begun.len() >= REBUILDS_MAX {
            tracing::error!(
                "{REBUILDS_MAX} stores were rebuilt within the hour: the disk of this host is not \
                 to be trusted"
            );
            return false;
        }
        self.begun.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged(alone: bool) -> Stopped {
        let why = "a bit flipped".to_owned();
        Stopped::Damaged { why, alone }
    }

    #[tokio::test]
    async fn rebuilds_are_bounded_and_want_company() {
        let mut rebuilds = Rebuilds::default();
        let now = Instant::now();
        assert!(!rebuilds.may_follow(&damaged(true), now));
        assert!(!rebuilds.may_follow(&Stopped::Store("a dead disk".to_owned()), now));
        for _ in 0..REBUILDS_MAX {
            assert!(rebuilds.may_follow(&damaged(false), now));
        }
        assert!(!rebuilds.may_follow(&damaged(false), now));
        assert!(rebuilds.may_follow(&damaged(false), now + WINDOW));
    }
}
