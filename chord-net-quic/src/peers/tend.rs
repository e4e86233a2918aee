//! What time alone brings: back-offs end, duplicates are drained, unused connections close.

use chord_core::time::{Instant, Micros};

use crate::peers::{Code, DRAIN_QUIET, IDLE, LinkId, Peers};

/// Pace of looking at every connection.
pub(super) const SWEEP: Micros = Micros::from_secs(5);

impl Peers {
    /// When [`Peers::tend`] is next needed.
    pub(crate) fn next_deadline(&self) -> Instant {
        let drained = self
            .draining
            .iter()
            .filter_map(|id| self.drain_time(*id))
            .min();
        [drained, self.dials.next_due()]
            .into_iter()
            .flatten()
            .fold(self.next_sweep, Instant::min)
    }

    /// Does whatever is due.
    pub(crate) fn tend(&mut self, now: Instant) {
        self.start_dials(now);
        self.close_drained(now);
        if self.next_sweep <= now {
            self.next_sweep = now + SWEEP;
            self.sweep(now);
        }
    }

    /// When a draining connection is to be closed: at the latest by its deadline, earlier if
    /// nothing is under way and the other end had time to notice.
    fn drain_time(&self, id: LinkId) -> Option<Instant> {
        let link = self.links.get(&id)?;
        let last = link.drained_by?;
        Some(if link.is_quiet() {
            last.min(link.used + DRAIN_QUIET)
        } else {
            last
        })
    }

    fn close_drained(&mut self, now: Instant) {
        let due = |id: &LinkId| self.drain_time(*id).is_none_or(|time| time <= now);
        let due: Vec<LinkId> = self.draining.iter().copied().filter(due).collect();
        for id in due {
            let calls = self.close(id, Code::Duplicate, now);
            self.send_again(calls, now);
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.dials.forget_old(now, false);
        self.hosts.trim();
        let mut idle: Vec<LinkId> = Vec::new();
        for (id, link) in &mut self.links {
            link.forget_late(now);
            if link.is_quiet() && now.since(link.used) >= IDLE {
                idle.push(*id);
            }
        }
        idle.sort_unstable();
        for id in idle {
            self.close(id, Code::Idle, now);
        }
    }
}
