//! Dials that failed and connections that others closed on us: the last reason for each
//! address, so that the refused end's operator learns it without a look at the other's log.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chord_core::peer::Addr;
use chord_core::time::{Instant, Micros};

use crate::clock;
use crate::endpoint::Refused;
use crate::endpoint::words::{self, Reason, Side};
use crate::identity::Serial;
use crate::lines::Lines;
use crate::peers::Code;

/// Most addresses remembered; above it the one that failed longest ago is forgotten.
const KNOWN_MAX: usize = 256;
/// After this, the same reason at the same address is said again.
const SAY_AGAIN: Micros = Micros::from_secs(60);

/// What is remembered and said.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    known: Mutex<HashMap<Addr, Failure>>,
    lines: Lines,
}

#[derive(Debug)]
struct Failure {
    reason: Reason,
    at: Instant,
    /// Whether a dial has succeeded since. Kept all the same: who lets us in only to close
    /// again gives its reason once, not at every dial.
    over: bool,
    /// When it was last logged as a warning.
    said: Option<Instant>,
}

impl Failures {
    /// A dial brought no connection.
    pub(super) fn note(&self, addr: Addr, refused: &Refused, serial: &Serial) {
        let reason = words::explain(refused, serial);
        if reason.side == Side::Neither {
            tracing::debug!(peer = %addr, reason = %reason.text, "cannot connect");
        }
        self.keep(addr, reason, clock::mono());
    }

    /// The other end closed a connection with this code.
    pub(crate) fn closed(&self, from: SocketAddr, code: Code, serial: &Serial) {
        let reason = words::of_code(code, serial);
        if reason.side != Side::Neither {
            self.keep(Addr::from_socket(from), reason, clock::mono());
        }
    }

    /// A dial brought a connection.
    pub(super) fn succeeded(&self, addr: Addr) {
        if let Some(failure) = self.known().get_mut(&addr) {
            failure.over = true;
        }
    }

    /// Why there is no connection to one of these, refusals first; nothing if none of them
    /// has failed since it last succeeded.
    pub(crate) fn worst_of(&self, addrs: &[Addr]) -> Option<String> {
        let known = self.known();
        let failed = |addr: &Addr| known.get(addr).map(|failure| (*addr, failure));
        let (addr, failure) = addrs
            .iter()
            .filter_map(failed)
            .filter(|(_, failure)| !failure.over)
            .min_by_key(|(_, failure)| failure.reason.side == Side::Neither)?;
        Some(sentence(addr, &failure.reason))
    }

    fn keep(&self, addr: Addr, reason: Reason, now: Instant) {
        let mut known = self.known();
        let before = known.get(&addr).filter(|known| known.reason == reason);
        let mut said = before.and_then(|known| known.said);
        let due = said.is_none_or(|said| now.since(said) >= SAY_AGAIN);
        if reason.side != Side::Neither && due && self.lines.ask(now).granted {
            tracing::warn!("{}", sentence(addr, &reason));
            said = Some(now);
        }
        if known.len() >= KNOWN_MAX && !known.contains_key(&addr) {
            let oldest = known.iter().min_by_key(|(addr, known)| (known.at, **addr));
            if let Some(oldest) = oldest.map(|(addr, _)| *addr) {
                known.remove(&oldest);
            }
        }
        let failure = Failure {
            reason,
            at: now,
            over: false,
            said,
        };
        known.insert(addr, failure);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Addr, Failure>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sentence(addr: Addr, reason: &Reason) -> String {
    let text = &reason.text;
    match reason.side {
        Side::Theirs => format!("refused by {addr}: {text}"),
        Side::Ours => format!("will not talk to {addr}: {text}"),
        Side::Neither => format!("cannot reach {addr}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> Addr {
        Addr::v4(127, 0, 0, 1, port)
    }

    fn reason(side: Side, text: &str) -> Reason {
        let text = text.to_owned();
        Reason { side, text }
    }

    fn said(failures: &Failures, addr: Addr) -> Option<Instant> {
        failures.known().get(&addr).and_then(|known| known.said)
    }

    #[test]
    fn a_reason_is_said_once_a_minute_and_another_one_at_once() {
        let failures = Failures::default();
        let at = |seconds| Instant(1) + Micros::from_secs(seconds);
        for (seconds, text, last) in [
            (0, "revoked", 0),
            (59, "revoked", 0),
            (60, "revoked", 60),
            (61, "expired", 61),
        ] {
            failures.keep(addr(1), reason(Side::Theirs, text), at(seconds));
            assert_eq!(said(&failures, addr(1)), Some(at(last)), "{seconds}");
        }
        failures.keep(addr(2), reason(Side::Neither, "silence"), at(61));
        assert_eq!(said(&failures, addr(2)), None, "silence is no refusal");
    }

    #[test]
    fn of_several_addresses_a_refusal_is_told_first_and_success_forgets() {
        let failures = Failures::default();
        let all = [addr(1), addr(2)];
        assert_eq!(failures.worst_of(&all), None);
        failures.keep(addr(1), reason(Side::Neither, "silence"), Instant(1));
        failures.keep(addr(2), reason(Side::Theirs, "revoked"), Instant(2));
        let worst = failures.worst_of(&all).expect("both failed");
        assert_eq!(worst, "refused by 127.0.0.1:2: revoked");
        failures.succeeded(addr(2));
        let worst = failures.worst_of(&all).expect("one failed");
        assert_eq!(worst, "cannot reach 127.0.0.1:1: silence");
        failures.keep(addr(2), reason(Side::Theirs, "revoked"), Instant(3));
        assert_eq!(said(&failures, addr(2)), Some(Instant(2)), "let in between");
    }

    #[test]
    fn the_address_that_failed_longest_ago_is_forgotten_first() {
        let failures = Failures::default();
        let many = u16::try_from(KNOWN_MAX).expect("few");
        for port in 0..=many {
            let at = Instant(u64::from(port));
            failures.keep(addr(port), reason(Side::Neither, "silence"), at);
        }
        assert_eq!(failures.known().len(), KNOWN_MAX);
        assert_eq!(failures.worst_of(&[addr(0)]), None);
        assert!(failures.worst_of(&[addr(1)]).is_some());
    }
}
