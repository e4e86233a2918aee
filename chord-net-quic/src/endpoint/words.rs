//! Why a connection did not come about, in words for whoever is on duty: who refused whom,
//! why, and what to do.
//!
//! A refusal of the other end comes as a TLS alert, because our certificate is judged after
//! our own part of the handshake is done, or as a close code of ours. Alerts are coarse by
//! design; what the other end writes beside them is shown too, but as its words, not ours.

use quinn::{ConnectionError, TransportErrorCode};

use crate::endpoint::Refused;
use crate::identity::Serial;
use crate::peers::Code;

/// Most characters shown of what the other end wrote.
const QUOTE_MAX: usize = 160;

/// Who will not talk to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// They refuse us.
    Theirs,
    /// We refuse them.
    Ours,
    /// Nobody refused anything: no answer, or a good reason to part.
    Neither,
}

/// A failure, explained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reason {
    pub(super) side: Side,
    pub(super) text: String,
}

impl Reason {
    fn new(side: Side, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { side, text }
    }
}

/// Explains a dial that brought no connection. `serial` is that of our own certificate.
pub(super) fn explain(refused: &Refused, serial: &Serial) -> Reason {
    match refused {
        Refused::Connection(error) => of_connection(error, serial),
        Refused::Certificate(_) | Refused::NoNode | Refused::Hello(_) => {
            Reason::new(Side::Ours, refused.to_string())
        }
        Refused::Late => Reason::new(
            Side::Neither,
            "no answer within 5 s; is it running, and are UDP packets let through?",
        ),
        Refused::Connect(_) | Refused::Stranger(_) | Refused::Displaced => {
            Reason::new(Side::Neither, refused.to_string())
        }
    }
}

fn of_connection(error: &ConnectionError, serial: &Serial) -> Reason {
    match error {
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code) {
            Some(alert) => {
                let text = their_alert(alert, serial) + &quoted(&close.reason);
                Reason::new(Side::Theirs, text)
            }
            None if close.error_code == TransportErrorCode::CONNECTION_REFUSED => Reason::new(
                Side::Neither,
                "it has too many handshakes under way at the moment",
            ),
            None => Reason::new(Side::Neither, error.to_string()),
        },
        ConnectionError::ApplicationClosed(close) => {
            match Code::from_number(close.error_code.into_inner()) {
                Some(code) => of_code(code, serial),
                None => Reason::new(
                    Side::Theirs,
                    format!(
                        "it closed the connection with code {} that this version does not know",
                        close.error_code
                    ),
                ),
            }
        }
        ConnectionError::TransportError(failed) => match alert(failed.code) {
            Some(alert) => Reason::new(Side::Ours, our_alert(alert, &failed.reason)),
            None => Reason::new(Side::Neither, error.to_string()),
        },
        ConnectionError::TimedOut => Reason::new(Side::Neither, "it does not answer"),
        ConnectionError::VersionMismatch
        | ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => Reason::new(Side::Neither, error.to_string()),
    }
}

/// The number of a TLS alert, if a transport error carries one (RFC 9001, section 4.8).
pub(super) fn alert(code: TransportErrorCode) -> Option<u8> {
    let code = u64::from(code);
    (code >> 8 == 1).then_some((code & 0xff) as u8)
}

/// What the other end's judgement on our certificate means (alerts of RFC 8446, section 6.2).
fn their_alert(alert: u8, serial: &Serial) -> String {
    let ours = format!("our certificate (serial {serial})");
    match alert {
        44 => {
            format!("certificate revoked: {ours} is on its list; issue a new one with `cert issue`")
        }
        45 => format!(
            "certificate out of date: {ours} has expired there or is not valid yet; renew it \
             with `cert renew`, and compare the clocks of both hosts"
        ),
        48 => format!(
            "unknown authority: {ours} was issued by none that it trusts, or its list of the \
             revoked is overdue; give both nodes the ca.pem and ca.crl of one authority"
        ),
        42 | 43 | 46 | 116 => format!(
            "wrong certificate: {ours} is not that of a node of its cluster; issue one with \
             `cert issue --role node`"
        ),
        51 => format!(
            "{ours} or its key is damaged, or of an authority that was made again under its \
             old name; issue a new one with `cert issue`"
        ),
        70 | 120 => "it speaks another version of the protocol; run the same release on both \
                     hosts"
            .to_owned(),
        other => format!("its TLS alert is {other}; its own log says more"),
    }
}

/// What our judgement on the other end's certificate means.
fn our_alert(alert: u8, said: &str) -> String {
    match alert {
        44 => "its certificate is on our list of the revoked; if it should be a member, issue a \
               new one for it"
            .to_owned(),
        45 => "its certificate has expired or is not valid yet; renew it there, and compare the \
               clocks of both hosts"
            .to_owned(),
        48 => "its certificate was issued by no authority trusted here, or our list of the \
               revoked is overdue; it may belong to another cluster, or [tls] ca names another \
               file than there"
            .to_owned(),
        70 | 120 => "it speaks another version of the protocol; run the same release on both \
                     hosts"
            .to_owned(),
        _ => format!("its handshake is not acceptable: {said}"),
    }
}

/// What it means for us that the other end closed with this code.
pub(super) fn of_code(code: Code, serial: &Serial) -> Reason {
    match code {
        Code::Certificate => Reason::new(
            Side::Theirs,
            format!(
                "our certificate (serial {serial}) is no good there any more: revoked, run out, \
                 or its authority is not trusted any more; see `ca list`, and renew it or issue \
                 a new one"
            ),
        ),
        Code::Stale => Reason::new(
            Side::Theirs,
            "it knows a later start of a node with our certificate; stop the other process that \
             uses it, or revoke the certificate if it was stolen; this node then comes back by \
             itself",
        ),
        Code::Violation => Reason::new(
            Side::Theirs,
            "it says that we broke the protocol; run the same release on both hosts, its own \
             log says more",
        ),
        Code::Stranger => Reason::new(Side::Neither, "it looked for somebody else"),
        Code::Shutdown => Reason::new(Side::Neither, "it is stopping"),
        Code::Idle | Code::Duplicate => {
            Reason::new(Side::Neither, "it does not need the connection")
        }
    }
}

/// The other end's own words: shortened, and nothing in them can be taken for a line of ours.
fn quoted(said: &[u8]) -> String {
    if said.is_empty() {
        return String::new();
    }
    let said: String = String::from_utf8_lossy(said)
        .chars()
        .take(QUOTE_MAX)
        .collect();
    format!(" (it says {said:?})")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quinn::{ApplicationClose, ConnectionClose, VarInt};

    use super::*;

    fn serial() -> Serial {
        Serial::from_bytes(&[1, 0xab, 0x12])
    }

    fn closed(code: u64, said: &'static [u8]) -> Refused {
        let close = ConnectionClose {
            error_code: TransportErrorCode::crypto(u8::try_from(code).expect("an alert")),
            frame_type: None,
            reason: Bytes::from_static(said),
        };
        Refused::Connection(ConnectionError::ConnectionClosed(close))
    }

    #[test]
    fn every_judgement_on_our_certificate_names_it_and_says_what_to_do() {
        for (alert, words) in [
            (44, "revoked"),
            (45, "clocks"),
            (48, "ca.pem"),
            (42, "cert issue"),
            (43, "cert issue"),
            (46, "cert issue"),
            (116, "cert issue"),
        ] {
            let reason = explain(&closed(alert, b""), &serial());
            assert_eq!(reason.side, Side::Theirs, "{alert}");
            assert!(reason.text.contains(words), "{alert}: {}", reason.text);
            let named = reason.text.contains(&serial().to_string());
            assert!(named, "{alert}: {}", reason.text);
        }
    }

    #[test]
    fn the_other_ends_own_words_are_short_and_stay_on_one_line() {
        let text = explain(&closed(255, &[b'\n'; 4_000]), &serial()).text;
        assert!(!text.contains('\n') && text.len() < 600, "{text}");
    }

    #[test]
    fn who_only_stops_or_is_silent_has_not_refused_us() {
        let close = |code: Code| {
            let error_code = VarInt::from_u32(code as u32);
            let reason = Bytes::new();
            let close = ApplicationClose { error_code, reason };
            Refused::Connection(ConnectionError::ApplicationClosed(close))
        };
        for (refused, side) in [
            (close(Code::Shutdown), Side::Neither),
            (close(Code::Idle), Side::Neither),
            (close(Code::Certificate), Side::Theirs),
            (close(Code::Stale), Side::Theirs),
            (
                Refused::Connection(ConnectionError::TimedOut),
                Side::Neither,
            ),
            (Refused::Late, Side::Neither),
        ] {
            assert_eq!(explain(&refused, &serial()).side, side, "{refused:?}");
        }
    }
}
