//! Reading a leaf certificate: who it says its holder is, if it has exactly our shape.
//!
//! Nothing here is proof. A [`Certified`] from [`Certified::parse`] is a claim until
//! [`Trust::verify`](super::trust::Trust::verify) or a handshake has judged the chain.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use chord_core::id::Id;
use rustls::pki_types::{CertificateDer, UnixTime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

use super::error::IdentityError;
use super::files;
use super::names::{Cluster, Kind, Role};

/// What a leaf certificate of our shape says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certified {
    /// Who the holder is.
    pub role: Role,
    /// The cluster it belongs to.
    pub cluster: Cluster,
    /// Its number, unique under its authority.
    pub serial: Serial,
    /// The first second of its life.
    pub not_before: UnixTime,
    /// The last second of its life.
    pub not_after: UnixTime,
    /// The name it was issued under, for humans only; empty if it has none.
    pub name: String,
    /// The name of the authority that it claims.
    pub issuer: String,
    /// Which public key it certifies.
    pub key_hash: KeyHash,
}

impl Certified {
    /// Reads a leaf in DER form.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`] for bytes that are no certificate,
    /// [`IdentityError::Shape`] for names or purposes that our authority would not issue.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let x509 = parse(der)?;
        if x509.is_ca() {
            return Err(shape("it is an authority, not a leaf"));
        }
        let (role, cluster) = names(&x509)?;
        purposes(&x509, role.kind())?;
        Ok(Self {
            role,
            cluster,
            serial: Serial::from_bytes(x509.raw_serial()),
            not_before: time(x509.validity().not_before),
            not_after: time(x509.validity().not_after),
            name: common_name(x509.subject()),
            issuer: common_name(x509.issuer()),
            key_hash: KeyHash::of(x509.public_key().raw),
        })
    }

    /// Reads the one leaf in a PEM file.
    ///
    /// # Errors
    /// As [`Certified::parse`], and what can be wrong with a file.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        Self::parse(&files::certificate(path)?)
    }

    /// Reads the one leaf in a PEM text.
    ///
    /// # Errors
    /// As [`Certified::parse`].
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        Self::parse(&files::certificate_in(pem.as_bytes(), "the certificate")?)
    }

    /// The certified ring position, if the holder is a node.
    #[must_use]
    pub fn id(&self) -> Option<Id> {
        match self.role {
            Role::Node { id } => Some(id),
            Role::Client { .. } | Role::Admin { .. } => None,
        }
    }

    /// Whole days until it expires, 0 once it has.
    #[must_use]
    pub fn days_left(&self, now: UnixTime) -> u64 {
        self.left(now).as_secs() / 86_400
    }

    /// The part of its life that is left, in percent: 100 before it starts, 0 at its end.
    #[must_use]
    pub fn percent_left(&self, now: UnixTime) -> u8 {
        percent_left(self.not_before, self.not_after, now)
    }

    /// The time until it expires, zero once it has.
    #[must_use]
    pub fn left(&self, now: UnixTime) -> Duration {
        Duration::from_secs(self.not_after.as_secs().saturating_sub(now.as_secs()))
    }
}

/// Who the other end of a connection is, by the leaf of the chain it presented.
///
/// The handshake has verified the chain; this reads it. An empty chain is refused.
///
/// # Errors
/// As [`Certified::parse`].
pub fn peer_identity(chain: &[CertificateDer<'_>]) -> Result<Certified, IdentityError> {
    let leaf = chain
        .first()
        .ok_or_else(|| shape("the peer presented none"))?;
    Certified::parse(leaf)
}

/// The certificate in `der`, which must hold nothing else.
pub(super) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IdentityError> {
    let (rest, x509) = x509_parser::parse_x509_certificate(der)
        .map_err(|error| IdentityError::Malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(IdentityError::Malformed("bytes follow it".to_owned()));
    }
    Ok(x509)
}

fn names(x509: &X509Certificate<'_>) -> Result<(Role, Cluster), IdentityError> {
    let names = x509
        .subject_alternative_name()
        .map_err(|error| IdentityError::Malformed(error.to_string()))?
        .ok_or_else(|| shape("it has no alternative names"))?;
    let [GeneralName::DNSName(own), GeneralName::DNSName(general)] = names.value.general_names[..]
    else {
        return Err(shape("its alternative names are not exactly two DNS names"));
    };
    Role::from_dns_names(own, general)
        .ok_or_else(|| shape("its two names are not those of a node, client or admin"))
}

fn purposes(x509: &X509Certificate<'_>, kind: Kind) -> Result<(), IdentityError> {
    let purposes = x509
        .extended_key_usage()
        .map_err(|error| IdentityError::Malformed(error.to_string()))?
        .ok_or_else(|| shape("it names no purposes"))?
        .value;
    let others = purposes.any
        || purposes.code_signing
        || purposes.email_protection
        || purposes.time_stamping
        || purposes.ocsp_signing
        || !purposes.other.is_empty();
    let server = kind == Kind::Node;
    if others || !purposes.client_auth || purposes.server_auth != server {
        return Err(shape("its purposes are not those of its role"));
    }
    Ok(())
}

fn shape(why: &str) -> IdentityError {
    IdentityError::Shape(why.to_owned())
}

/// The common name, without anything that could disturb a line of a log.
pub(super) fn common_name(name: &x509_parser::x509::X509Name<'_>) -> String {
    let Some(text) = name
        .iter_common_name()
        .next()
        .and_then(|cn| cn.as_str().ok())
    else {
        return String::new();
    };
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// A time of a certificate; those before 1970 are taken for 1970.
pub(super) fn time(time: ASN1Time) -> UnixTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// The part of the time from `start` to `end` that is left at `now`, in percent: 100 before it
/// starts, 0 at its end.
pub(super) fn percent_left(start: UnixTime, end: UnixTime, now: UnixTime) -> u8 {
    let length = end.as_secs().saturating_sub(start.as_secs());
    let left = end.as_secs().saturating_sub(now.as_secs());
    let percent = u128::from(left) * 100 / u128::from(length.max(1));
    u8::try_from(percent.min(100)).unwrap_or(100)
}

/// A certificate's number as its authority gave it: at most 20 bytes, big-endian, without
/// leading zeros.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Serial(Vec<u8>);

impl Serial {
    /// From big-endian bytes; leading zeros do not count.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        Self(bytes[zeros..].to_vec())
    }

    /// Big-endian, without leading zeros.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    /// Lower-case hexadecimal, two digits a byte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("00");
        }
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.to_string()
    }
}

impl TryFrom<String> for Serial {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Self, IdentityError> {
        text.parse()
    }
}

impl FromStr for Serial {
    type Err = IdentityError;

    /// Hexadecimal digits of either case, with or without colons between bytes.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let bad = || IdentityError::SerialName(text.chars().take(80).collect());
        let digits: Option<Vec<u32>> = text
            .chars()
            .filter(|&c| c != ':')
            .map(|c| c.to_digit(16))
            .collect();
        let mut digits = digits.ok_or_else(bad)?;
        if digits.is_empty() || digits.len() > 42 {
            return Err(bad());
        }
        if digits.len() % 2 == 1 {
            digits.insert(0, 0);
        }
        let bytes: Result<Vec<u8>, _> = digits
            .chunks_exact(2)
            .map(|pair| u8::try_from(pair[0] * 16 + pair[1]))
            .collect();
        let serial = Self::from_bytes(&bytes.map_err(|_| bad())?);
        if serial.0.len() > 20 {
            Err(bad())
        } else {
            Ok(serial)
        }
    }
}

/// Which public key: the first 20 bytes of the SHA-256 of its `SubjectPublicKeyInfo`
/// (RFC 7093, method 1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 20]);

impl KeyHash {
    /// Of a `SubjectPublicKeyInfo` in DER form.
    #[must_use]
    pub fn of(public_key_info: &[u8]) -> Self {
        let digest = Sha256::digest(public_key_info);
        let mut hash = [0; 20];
        hash.copy_from_slice(&digest[..20]);
        Self(hash)
    }
}

impl fmt::Display for KeyHash {
    /// 40 lower-case hexadecimal digits; with a precision, that many of them, whole bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = f.precision().unwrap_or(40).min(40) / 2;
        self.0[..bytes]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_read_as_people_write_them() {
        let serial = Serial::from_bytes(&[0, 0xab, 0x01]);
        for text in ["ab01", "AB01", "00ab01", "AB:01", "00:ab:01", "0ab01"] {
            assert_eq!(text.parse::<Serial>().unwrap(), serial, "{text}");
        }
        assert_eq!(serial.to_string(), "ab01");
        assert_eq!("0".parse::<Serial>().unwrap().to_string(), "00");
        let too_long = "1".repeat(41);
        for bad in ["", ":", "xyz", "-1", "0x12", too_long.as_str()] {
            assert!(
                matches!(bad.parse::<Serial>(), Err(IdentityError::SerialName(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn garbage_is_no_certificate() {
        for bytes in [&b""[..], b"x", &[0x30, 0x80], &[0xff; 100]] {
            let der = CertificateDer::from(bytes.to_vec());
            assert!(matches!(
                Certified::parse(&der),
                Err(IdentityError::Malformed(_))
            ));
        }
        assert!(matches!(peer_identity(&[]), Err(IdentityError::Shape(_))));
    }
}
