//! What has to be looked after now and then: certificates, and the data directory.

use chord_core::event::Restored;
use chord_core::node::Node;
use chord_core::time::{Instant, Micros};

use crate::clock;
use crate::driver::Driver;
use crate::identity::{self, Certified, IdentityError};
use crate::link::Line;

/// Pace of warning about what expires.
const WARNINGS: Micros = Micros::from_secs(24 * 3_600);

impl Driver {
    /// What has to be looked after now and then.
    pub(super) fn chores(&mut self, now: Instant) {
        self.verify_peers(now, false);
        if self.next_warnings <= now {
            self.warn_of_dates(now);
        }
        let Some(state) = self.state.clone() else {
            return;
        };
        let known = self.known();
        // Writing takes milliseconds that the nodes should not wait for.
        tokio::task::spawn_blocking(move || {
            log_failure(state.remember(&known));
            log_failure(state.complete_ballast());
        });
    }

    /// Says what will expire: at the start, after a reload, and every day.
    pub(super) fn warn_of_dates(&mut self, now: Instant) {
        self.next_warnings = now + WARNINGS;
        for warning in self.identity.warnings(identity::now()) {
            tracing::warn!("{warning}");
        }
    }

    pub(super) fn remember(&mut self) {
        if let Some(state) = &self.state {
            log_failure(state.remember(&self.known()));
        }
    }

    pub(super) fn known(&self) -> Vec<Restored> {
        let now = clock::mono();
        let of_node = |node: &Node| {
            let mut known = node.remember(now);
            known.peers.retain(|peer| !self.peers.is_own(peer.id));
            if !self.store.outlives() {
                // The next life will not hold what they speak of.
                known.marks.clear();
            }
            known
        };
        self.nodes.iter().map(of_node).collect()
    }

    /// Closes connections whose certificate has run out; with `all`, also those whose
    /// certificate is not trusted any more.
    pub(super) fn verify_peers(&mut self, now: Instant, all: bool) {
        let wall = identity::now();
        let mut expelled = Vec::new();
        for (link, line) in &self.lines {
            let passport = line.passport();
            if !all && wall < passport.not_after {
                continue;
            }
            if let Err(error) = self.identity.is_still_valid(&passport.chain, wall) {
                say_who(line, &error);
                expelled.push(*link);
            }
        }
        expelled.sort_unstable();
        for link in expelled {
            self.peers.expel(link, now);
        }
    }
}

/// Whose connection is closed for its certificate, and why.
fn say_who(line: &Line, error: &IdentityError) {
    let at = line.remote();
    match identity::peer_identity(&line.passport().chain) {
        Ok(Certified {
            role, name, serial, ..
        }) => tracing::warn!(
            peer = %role, %name, %serial, %at, %error,
            "the certificate of a peer is no good any more: connection closed"
        ),
        // It was read when the connection was admitted.
        Err(_) => tracing::warn!(%at, %error, "a peer is not trusted any more: connection closed"),
    }
}

fn log_failure(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "cannot write to the data directory");
    }
}
