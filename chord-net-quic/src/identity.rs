//! Who is who: certificates, the private authority that issues them, and TLS built on both.
//!
//! ```text
//! operator ── init ───────▶ ca       ca.pem, ca.key, ca.crl and the ledger of what was issued
//! operator ── issue ──────▶ ca       a certificate that binds a ring id the authority chose
//! node ────── load ───────▶ files    authorities, lists of the revoked, own certificate and key
//! node a ──── hello ──────▶ node b   each verifies the other: chain, list, key, shape of the names
//! operator ── revoke ─────▶ ca       a list with a higher number
//! node ────── reload ─────▶ files    new handshakes use it at once, live peers are checked again
//! ```
//!
//! A certificate names a ring position and a cluster, never a host: a node may move, and
//! "certificate does not match host" cannot happen. The rooms of this module: [`names`] (what
//! may stand in a certificate), [`certificate`] (reading one), [`trust`] (authorities and their
//! lists), [`verify`] (the judgement in a handshake), [`live`] (what is in force now), [`tls`]
//! (configurations), [`ca`] (the authority), [`files`] (reading and writing safely).
//!
//! **Invariant:** chain and handshake signature are always judged by webpki; what this module
//! adds can refuse a peer, never accept one.
//!
//! **Invariant:** no verifier exists without exactly one list of the revoked for each
//! authority, whose signature was checked before it was put in force.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;

pub mod ca;
pub mod certificate;
pub mod error;
pub mod files;
pub mod live;
pub mod names;
mod refused;
pub mod tls;
pub mod trust;
pub mod verify;

pub use ca::{CertificateAuthority, Entry, IdChoice, Issued, LEAF_VALID, Order};
pub use certificate::{Certified, KeyHash, Serial, peer_identity};
pub use error::IdentityError;
pub use files::{IdentityFiles, ResetKey, load_or_create_reset_key, refuse_existing};
pub use live::{Identity, Warning};
pub use names::{Cluster, Kind, Name, Role};
pub use trust::Trust;

/// The protocol that node-to-node connections negotiate; both ends refuse any other.
pub const ALPN: &[u8] = b"chord/1";

/// The wall clock as certificates count it: whole seconds since 1970, 0 before.
#[must_use]
pub fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_micros(crate::clock::wall()))
}

/// The one provider of cryptography, always named: with two in a process the default of
/// rustls would be ambiguous.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
