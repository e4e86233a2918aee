//! What can be wrong with certificates and keys, each with its remedy.

use std::io;
use std::path::PathBuf;

use rustls::pki_types::UnixTime;

use super::certificate::Serial;
use super::files::date;
use super::names::{Cluster, Kind};

/// Why an identity could not be made, loaded or accepted. Nothing was changed, unless the
/// variant is [`IdentityError::Write`].
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A cluster's name that cannot stand in a certificate.
    #[error(
        "{name:?} is no cluster name: {why}; use lower-case letters, digits, '-' and '.', \
         at most {max} characters, for example demo.example",
        max = super::names::CLUSTER_MAX
    )]
    ClusterName {
        /// What was given.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },

    /// A name that cannot stand in a certificate.
    #[error(
        "{name:?} is no name for a certificate: {why}; use 1 to 63 lower-case letters, digits \
         and '-', for example node-1"
    )]
    Name {
        /// What was given.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },

    /// A role other than node, client and admin.
    #[error("{0:?} is no role; use node, client or admin")]
    KindName(String),

    /// A serial number that is not hexadecimal, or longer than 20 bytes.
    #[error("{0:?} is no serial number; give its hexadecimal digits as `ca list` prints them")]
    SerialName(String),

    /// A file that cannot be read.
    #[error("cannot read {path}: {source}; check the path and who may read it", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// A file that cannot be written; what stood there before still does.
    #[error(
        "cannot write {path}: {source}; check the directory, its permissions and the free space",
        path = .path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// A file that would have been overwritten.
    #[error(
        "{path} exists already and is never overwritten; choose another directory or name, or \
         move it away",
        path = .path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },

    /// A file larger than anything this module writes.
    #[error("{path} is larger than {max} bytes; is this the right file?", path = .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        max: u64,
    },

    /// A secret that others on this host may read.
    #[error(
        "others may read {path} (mode {mode:04o}); run `chmod 600 {path}`, and renew the \
         certificate if somebody may have copied the key",
        path = .path.display()
    )]
    LoosePermissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },

    /// A file without what it should hold, in PEM form.
    #[error("{origin} holds no {what} in PEM form; is this the right file?")]
    NotPem {
        /// The file, or what the text was given as.
        origin: String,
        /// What was looked for.
        what: &'static str,
    },

    /// More than one certificate where one belongs.
    #[error(
        "{origin} holds {count} certificates; it must hold one, the authorities belong into \
         the file that [tls] ca names"
    )]
    Several {
        /// The file.
        origin: String,
        /// How many it holds.
        count: usize,
    },

    /// Bytes that are no certificate.
    #[error("this is no X.509 certificate: {0}; issue it again")]
    Malformed(String),

    /// A certificate that this project's authority would not have issued.
    #[error("this is no certificate of a Chord cluster: {0}; issue one with `cert issue`")]
    Shape(String),

    /// A certificate that is no authority of this project.
    #[error(
        "this is no authority of a Chord cluster: {0}; use the ca.pem that `ca init` made for \
         this cluster"
    )]
    CaShape(String),

    /// Two authorities that a certificate's issuer field cannot tell apart.
    #[error("two authorities are both called {0:?}; remove the one that is not in use from ca.pem")]
    CaTwice(String),

    /// Authorities of different clusters in one bundle.
    #[error("the bundle of authorities mixes the clusters {0} and {1}; keep those of one cluster")]
    MixedClusters(Cluster, Cluster),

    /// A private key that does not belong to the certificate.
    #[error(
        "the private key {key} does not belong to the certificate {certificate}; use the pair \
         that was issued together"
    )]
    KeyMismatch {
        /// Where the certificate came from.
        certificate: String,
        /// Where the key came from.
        key: String,
    },

    /// A private key of a kind that cannot be used.
    #[error("the private key {0} cannot be used; it must be ECDSA P-256 in PKCS#8 form")]
    Key(String),

    /// A certificate of another cluster.
    #[error(
        "the certificate belongs to cluster {found}, the authorities to {expected}; use the \
         files of one cluster"
    )]
    ForeignCluster {
        /// The certificate's.
        found: Cluster,
        /// The authorities'.
        expected: Cluster,
    },

    /// A certificate of another role than is needed here.
    #[error(
        "this is a certificate for a {found}, but only a {wanted} belongs here; issue one with --role {wanted}"
    )]
    WrongRole {
        /// The certificate's.
        found: Kind,
        /// The one that belongs here.
        wanted: Kind,
    },

    /// A certificate whose time has passed.
    #[error(
        "the certificate expired on {when}; renew it with `cert renew`, and if the date looks \
         right check this host's clock",
        when = date(*.not_after)
    )]
    Expired {
        /// The end of its life.
        not_after: UnixTime,
    },

    /// A certificate whose time has not come.
    #[error(
        "the certificate is valid only from {when}; check this host's clock and that of the \
         authority",
        when = date(*.not_before)
    )]
    NotYetValid {
        /// The start of its life.
        not_before: UnixTime,
    },

    /// A certificate on its authority's list.
    #[error("the certificate is revoked; if this is a mistake issue a new one with `cert issue`")]
    Revoked,

    /// A certificate of an authority that is not trusted here.
    #[error(
        "the certificate was not issued by any authority trusted here; use the ca.pem of the \
         authority that issued it"
    )]
    UnknownIssuer,

    /// A certificate that webpki refused for another reason.
    #[error("the certificate is refused: {0}; issue it again")]
    Refused(rustls::Error),

    /// An authority without a list of the revoked.
    #[error(
        "there is no list of revoked certificates of the authority {0:?}; put the ca.crl of its \
         directory where [tls] crl points, or make one with `ca crl`"
    )]
    NoCrl(String),

    /// A list that was not signed by the authority it names.
    #[error(
        "a list of revoked certificates claims to be from the authority {0:?} but is not signed \
         by its key; copy ca.crl again from the authority's directory"
    )]
    CrlSignature(String),

    /// Bytes that are no list of revoked certificates, or none this module accepts.
    #[error(
        "the list of revoked certificates is damaged: {0}; copy ca.crl again, or make one with `ca crl`"
    )]
    CrlMalformed(String),

    /// A list past its next update, in strict mode.
    #[error(
        "the list of revoked certificates should have been replaced by {when}; make a new one \
         with `ca crl`, or set crl_strict = false",
        when = date(*.next_update)
    )]
    CrlExpired {
        /// When the next one was due.
        next_update: UnixTime,
    },

    /// A signing request that cannot be honoured.
    #[error("the signing request is refused: {0}; make one with an ECDSA P-256 key")]
    Csr(String),

    /// A serial number that the ledger does not know.
    #[error(
        "this authority's ledger knows no certificate with serial {0}; see `ca list`, or name \
         the certificate's file instead"
    )]
    UnknownSerial(Serial),

    /// A certificate of another authority, given to this one.
    #[error(
        "this certificate was not issued by this authority; use the directory of the one that did"
    )]
    NotIssuedHere,

    /// A revoked certificate that should have been renewed.
    #[error("a revoked certificate is not renewed; issue a new one with `cert issue`")]
    RenewRevoked,

    /// A ledger that cannot be understood.
    #[error(
        "line {line} of {path} cannot be understood: {why}; restore the file from a backup, \
         nothing is issued or revoked before",
        path = .path.display()
    )]
    Ledger {
        /// The ledger.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },

    /// An authority at the end of its life.
    #[error("this authority expired on {when}; make a new one with `ca init`", when = date(*.not_after))]
    CaExpired {
        /// The end of its life.
        not_after: UnixTime,
    },

    /// A length of life that cannot be had.
    #[error("a certificate cannot be valid for less than a minute; give --valid, for example 90d")]
    Validity,

    /// A reload that would have made this node somebody else.
    #[error(
        "the new certificate is for {found}, this process runs as {current}; the old one stays \
         in use: renew with the same id, or restart with the new one"
    )]
    Changed {
        /// The new certificate's role and name.
        found: String,
        /// The one in use.
        current: String,
    },

    /// A reset key of the wrong length.
    #[error(
        "{path} is damaged ({length} bytes instead of 64); delete it, a new one is made at the \
         next start",
        path = .path.display()
    )]
    ResetKey {
        /// The file.
        path: PathBuf,
        /// Its length, in bytes.
        length: usize,
    },

    /// The operating system gave no random numbers.
    #[error("the operating system gives no random numbers: {0}; try again")]
    Entropy(getrandom::Error),

    /// A library refused to sign or encode.
    #[error("signing failed: {0}; check that ca.pem and ca.key are undamaged")]
    Signing(rcgen::Error),
}

impl IdentityError {
    /// The cause behind a refusal of webpki, in this module's words.
    pub(super) fn of_refusal(error: rustls::Error) -> Self {
        use rustls::CertificateError as Bad;
        let rustls::Error::InvalidCertificate(bad) = &error else {
            return Self::Refused(error);
        };
        match bad {
            Bad::ExpiredContext { not_after, .. } => Self::Expired {
                not_after: *not_after,
            },
            Bad::NotValidYetContext { not_before, .. } => Self::NotYetValid {
                not_before: *not_before,
            },
            Bad::Revoked => Self::Revoked,
            Bad::UnknownIssuer | Bad::BadSignature => Self::UnknownIssuer,
            Bad::ExpiredRevocationListContext { next_update, .. } => Self::CrlExpired {
                next_update: *next_update,
            },
            _ => Self::Refused(error),
        }
    }
}
