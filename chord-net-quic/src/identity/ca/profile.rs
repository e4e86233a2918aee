//! The fields of everything an authority signs, in one place.
//!
//! Nothing is left to the library's defaults: its certificates would be valid from 1975 to
//! 4096, and their serial number a hash of the key.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList,
    CertificateRevocationListParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints,
    PublicKeyData, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::UnixTime;
use time::OffsetDateTime;

use super::super::certificate::{KeyHash, Serial};
use super::super::error::IdentityError;
use super::super::names::{Cluster, Kind, Role};
use super::ledger::Entry;

/// How far back a certificate is valid: hosts whose clocks are slow must accept it at once.
const BACKDATED: u64 = 5 * 60;

/// How long an authority lives, in seconds: five years.
const AUTHORITY_VALID: u64 = 5 * 365 * 86_400;

/// When the next list is due, in seconds: long enough for a vacation, short enough that a
/// forgotten chore is noticed within a leaf's 90 days.
const CRL_VALID: u64 = 30 * 86_400;

/// How long a revoked certificate stays on the list after its own end, in seconds: a host
/// whose clock is a week slow still refuses it.
const CRL_KEEPS: u64 = 7 * 86_400;

/// An authority for one cluster.
pub(super) fn authority(
    cluster: &Cluster,
    key: &KeyPair,
    serial: Serial,
    now: UnixTime,
) -> CertificateParams {
    let hash = KeyHash::of(&key.subject_public_key_info());
    let mut params = CertificateParams::default();
    // Part of the key in the name: of two authorities with one name webpki may pick the wrong
    // one and refuse a good leaf.
    params.distinguished_name = common_name(&format!("{cluster} CA {hash:.8}"));
    params.serial_number = Some(number(&serial));
    params.not_before = date(now.as_secs().saturating_sub(BACKDATED));
    params.not_after = date(now.as_secs().saturating_add(AUTHORITY_VALID));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(cluster.to_string())],
        excluded_subtrees: Vec::new(),
    });
    params
}

/// A leaf.
pub(super) fn leaf(
    role: &Role,
    cluster: &Cluster,
    name: &str,
    serial: &Serial,
    now: UnixTime,
    not_after: u64,
) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.serial_number = Some(number(serial));
    params.not_before = date(now.as_secs().saturating_sub(BACKDATED));
    params.not_after = date(not_after);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match role.kind() {
        Kind::Node => vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ],
        Kind::Client | Kind::Admin => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    for dns_name in role.dns_names(cluster) {
        let dns_name = dns_name.try_into().map_err(IdentityError::Signing)?;
        params.subject_alt_names.push(SanType::DnsName(dns_name));
    }
    Ok(params)
}

/// The list of those revoked in the ledger.
pub(super) fn crl(
    issuer: &Issuer<'_, KeyPair>,
    crl_number: u64,
    entries: &[Entry],
    now: UnixTime,
) -> Result<CertificateRevocationList, IdentityError> {
    let revoked_certs = entries
        .iter()
        .filter(|entry| entry.not_after.saturating_add(CRL_KEEPS) >= now.as_secs())
        .filter_map(|entry| {
            Some(RevokedCertParams {
                serial_number: number(&entry.serial),
                revocation_time: date(entry.revoked?),
                reason_code: None,
                invalidity_date: None,
            })
        })
        .collect();
    let params = CertificateRevocationListParams {
        // Backdated like certificates, and for the same reason.
        this_update: date(now.as_secs().saturating_sub(BACKDATED)),
        next_update: date(now.as_secs().saturating_add(CRL_VALID)),
        crl_number: SerialNumber::from(crl_number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).map_err(IdentityError::Signing)
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn number(serial: &Serial) -> SerialNumber {
    SerialNumber::from_slice(serial.as_bytes())
}

/// A time as the library takes it; what is beyond the year 9999 is its end.
fn date(seconds: u64) -> OffsetDateTime {
    /// 9999-12-31T23:59:59Z, the last second X.509 can write.
    const LAST: i64 = 253_402_300_799;
    let seconds = i64::try_from(seconds).unwrap_or(LAST).min(LAST);
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_beyond_the_calendar_are_its_end() {
        assert_eq!(date(0), OffsetDateTime::UNIX_EPOCH);
        assert_eq!(date(u64::MAX).year(), 9999);
    }
}
