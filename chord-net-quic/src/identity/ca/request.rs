//! Signing requests: a public key, and whatever else is in them left aside.

use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::super::error::IdentityError;

/// The public key of a signing request whose signature shows that the requester holds the
/// private one. Everything else in it (names, the wish to be an authority) is left aside.
pub(super) fn requested_key(pem: &str) -> Result<SubjectPublicKeyInfo, IdentityError> {
    let refused = |why: &str| IdentityError::Csr(why.to_owned());
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| refused("it is not in PEM form"))?;
    let (rest, request) =
        X509CertificationRequest::from_der(&der).map_err(|_| refused("it is damaged"))?;
    if !rest.is_empty() {
        return Err(refused("bytes follow it"));
    }
    request
        .verify_signature()
        .map_err(|_| refused("it is not signed by the key it asks a certificate for"))?;
    let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|_| refused("its kind of key is unknown"))?;
    if *key.algorithm() != rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(refused("its key is not ECDSA P-256"));
    }
    Ok(key)
}
