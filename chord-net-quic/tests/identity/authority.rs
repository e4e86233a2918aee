//! What the authority issues, keeps and revokes.

use std::time::Duration;

use chord_core::id::Id;
use chord_net_quic::identity::{
    self, CertificateAuthority, Certified, IdChoice, Identity, IdentityError, KeyHash, Kind,
    LEAF_VALID, Order, Role, Serial, Trust,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use x509_parser::prelude::*;

use crate::support::{CLUSTER, World, authority_params, dns, in_seconds, node_params, order};

mod dates;
mod home;
mod issuing;
mod renewing;

const DAY: u64 = 86_400;

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// A date far from today: nothing here may depend on the real clock.
const NOW: u64 = 2_000_000_000;

fn authority() -> CertificateAuthority {
    CertificateAuthority::in_memory(CLUSTER, at(NOW)).unwrap()
}

fn x509<'a>(der: &'a CertificateDer<'_>) -> X509Certificate<'a> {
    parse_x509_certificate(der).unwrap().1
}

fn list<'a>(der: &'a CertificateRevocationListDer<'_>) -> CertificateRevocationList<'a> {
    CertificateRevocationList::from_der(der).unwrap().1
}
