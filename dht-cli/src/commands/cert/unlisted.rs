//! A judgement without a list of the revoked: for people who look at a certificate, never for
//! a connection, which does not exist without one.
//!
//! Webpki judges chain, dates and purpose; what is added here can only refuse.

use std::path::Path;
use std::sync::Arc;

use chord_net_quic::identity::{Certified, IdentityError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};

use crate::exit::Stop;

/// Judges a leaf by the authorities in a PEM file: everything but whether it was revoked.
///
/// # Errors
/// Usage: a file that holds no authority. The judgement itself is the result.
pub(super) fn verify(
    ca: &Path,
    leaf: &CertificateDer<'_>,
    now: UnixTime,
) -> Result<Result<Certified, IdentityError>, Stop> {
    let unusable =
        |error: &dyn std::fmt::Display| Stop::usage(format!("{}: {error}", ca.display()));
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(ca).map_err(|error| unusable(&error))? {
        let authority = authority.map_err(|error| unusable(&error))?;
        roots.add(authority).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(
            &"it holds no certificate in PEM form; name the ca.pem of the authority",
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| unusable(&error))?;
    Ok(match verifier.verify_client_cert(leaf, &[], now) {
        Ok(_) => Certified::parse(leaf).and_then(of_its_cluster),
        Err(error) => Err(refusal(error)),
    })
}

/// The constraint in an authority also allows names below its cluster, which are none of ours.
fn of_its_cluster(certified: Certified) -> Result<Certified, IdentityError> {
    let issuer = format!("{} CA ", certified.cluster);
    if certified
        .issuer
        .trim_start_matches("CN=")
        .starts_with(&issuer)
    {
        return Ok(certified);
    }
    Err(IdentityError::Shape(format!(
        "it is for cluster {}, but was issued by {}",
        certified.cluster, certified.issuer
    )))
}

/// The cause behind a refusal of webpki, in the words that connections use.
fn refusal(error: rustls::Error) -> IdentityError {
    let rustls::Error::InvalidCertificate(cause) = &error else {
        return IdentityError::Refused(error);
    };
    match cause {
        CertificateError::ExpiredContext { not_after, .. } => IdentityError::Expired {
            not_after: *not_after,
        },
        CertificateError::NotValidYetContext { not_before, .. } => IdentityError::NotYetValid {
            not_before: *not_before,
        },
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            IdentityError::UnknownIssuer
        }
        _ => IdentityError::Refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_net_quic::identity::{
        self, CertificateAuthority, Cluster, IdChoice, Kind, LEAF_VALID, Order,
    };
    use std::time::Duration;

    fn authority() -> (tempfile::TempDir, CertificateAuthority) {
        let dir = tempfile::tempdir().expect("a directory");
        let now = identity::now();
        let authority = CertificateAuthority::init(dir.path(), "test.example", now);
        (dir, authority.expect("an authority"))
    }

    fn leaf(authority: &mut CertificateAuthority) -> CertificateDer<'static> {
        let order = Order {
            name: "n1",
            kind: Kind::Node,
            valid: LEAF_VALID,
            id: IdChoice::Random,
            csr: None,
        };
        let issued = authority.issue(&order, identity::now()).expect("issued");
        issued.certificate().clone()
    }

    #[test]
    fn dates_and_issuers_are_judged_without_a_list() {
        let (dir, mut ours) = authority();
        let (_other, mut theirs) = authority();
        let ca = dir.path().join("ca.pem");
        let now = identity::now();
        let judge = |leaf: &CertificateDer<'_>, at: UnixTime| {
            verify(&ca, leaf, at).expect("the authority can be read")
        };
        let good = leaf(&mut ours);
        assert_eq!(
            judge(&good, now).expect("good").cluster.as_str(),
            "test.example"
        );
        let late = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + LEAF_VALID * 2);
        assert!(matches!(
            judge(&good, late),
            Err(IdentityError::Expired { .. })
        ));
        let early = UnixTime::since_unix_epoch(Duration::from_secs(1_000));
        assert!(judge(&good, early).is_err());
        let foreign = judge(&leaf(&mut theirs), now);
        assert!(
            matches!(foreign, Err(IdentityError::UnknownIssuer)),
            "{foreign:?}"
        );
        // The authority is no leaf of its own.
        assert!(judge(ours.certificate(), now).is_err());
    }

    #[test]
    fn a_certificate_is_of_the_cluster_that_issued_it() {
        let (_dir, mut ours) = authority();
        let mut certified = Certified::parse(&leaf(&mut ours)).expect("a leaf");
        assert!(of_its_cluster(certified.clone()).is_ok());
        certified.cluster = Cluster::parse("below.test.example").expect("a name");
        let refused = of_its_cluster(certified).expect_err("another cluster");
        assert!(
            refused.to_string().contains("below.test.example"),
            "{refused}"
        );
    }

    #[test]
    fn a_file_without_an_authority_is_bad_usage() {
        let (dir, mut ours) = authority();
        let leaf = leaf(&mut ours);
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "nothing").expect("written");
        for file in ["empty.pem", "missing.pem", "ca.key"] {
            let refused = verify(&dir.path().join(file), &leaf, identity::now());
            assert_eq!(refused.expect_err(file).exit, crate::exit::Exit::Usage);
        }
    }
}
