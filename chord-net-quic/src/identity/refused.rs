//! Whose certificate was refused, for the log.
//!
//! An address alone does not tell an operator which node it was that came with a revoked or
//! foreign certificate. What the certificate says is only its claim as long as it is not
//! trusted, so the line says "claims"; the address is in the one that follows.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chord_core::time::{Instant, Micros};
use rustls::pki_types::CertificateDer;

use super::certificate::{Certified, Serial};
use super::error::IdentityError;
use crate::lines::Lines;

/// Most certificates remembered; above it all are forgotten, and `Lines` bounds the log.
const KNOWN_MAX: usize = 256;
/// After this, the same certificate is told of again.
const SAY_AGAIN: Micros = Micros::from_secs(60);

/// The certificates refused lately.
#[derive(Debug, Default)]
pub(super) struct Refused {
    said: Mutex<HashMap<Serial, Instant>>,
    /// What those without a good certificate can make us log.
    lines: Lines,
}

impl Refused {
    /// Says that this leaf was refused, unless it was said just now or it is none of ours:
    /// then it names nobody whom anybody knows.
    pub(super) fn note(&self, leaf: &CertificateDer<'_>, error: &rustls::Error, now: Instant) {
        let Ok(claimed) = Certified::parse(leaf) else {
            return;
        };
        if !self.is_due(&claimed.serial, now) {
            return;
        }
        let Certified {
            role, name, serial, ..
        } = claimed;
        let error = IdentityError::of_refusal(error.clone());
        tracing::warn!(claims = %role, %name, %serial, %error, "certificate refused");
    }

    fn is_due(&self, serial: &Serial, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said
            .get(serial)
            .is_some_and(|at| now.since(*at) < SAY_AGAIN)
        {
            return false;
        }
        if !self.lines.ask(now).granted {
            return false;
        }
        if said.len() >= KNOWN_MAX {
            said.clear();
        }
        said.insert(serial.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_of_once_a_minute_and_many_cost_bounded_memory() {
        let refused = Refused::default();
        let at = |seconds| Instant(1) + Micros::from_secs(seconds);
        let (one, other) = (Serial::from_bytes(&[1]), Serial::from_bytes(&[2]));
        assert!(refused.is_due(&one, at(0)));
        assert!(!refused.is_due(&one, at(59)));
        assert!(refused.is_due(&other, at(59)));
        assert!(refused.is_due(&one, at(60)));
        for n in 0..10_000_u64 {
            let serial = Serial::from_bytes(&n.to_be_bytes());
            refused.is_due(&serial, at(n * 10));
        }
        assert!(refused.said.lock().expect("sound").len() <= KNOWN_MAX);
    }
}
