//! The judgement on a peer, in a handshake and on connections that live.
//!
//! ```text
//! dialler ── certificate, signature over the handshake ──▶ acceptor
//!            webpki: chain to an authority, dates, purpose, list of the revoked
//!            ours:   exactly the names of a role, our cluster, a role that belongs on this port
//!            webpki: the signature, so the dialler holds the key
//! ```
//!
//! **Invariant:** both signature checks and the chain go to webpki, in every case and without
//! a condition. A certificate without its key proves nothing.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::certificate::Certified;
use super::error::IdentityError;
use super::live::Live;
use super::names::Kind;
use super::refused::Refused;
use super::trust::Trust;
use crate::clock;

/// Who belongs on a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admits {
    /// Members of the ring, and nobody without a certificate.
    Nodes,
    /// Clients and administrators; also those without a certificate, who are told apart by
    /// route.
    Clients,
}

impl Admits {
    fn check(self, kind: Kind) -> Result<(), IdentityError> {
        match (self, kind) {
            (Self::Nodes, Kind::Node) | (Self::Clients, Kind::Client | Kind::Admin) => Ok(()),
            (Self::Nodes, found) => Err(IdentityError::WrongRole {
                found,
                wanted: Kind::Node,
            }),
            (Self::Clients, found) => Err(IdentityError::WrongRole {
                found,
                wanted: Kind::Client,
            }),
        }
    }
}

impl Trust {
    /// Judges a leaf as of `now`: chain, dates, purpose, lists, shape and cluster. Every leaf
    /// of ours may be a client's, so this is right for peers that dialled and for those that
    /// answered.
    ///
    /// # Errors
    /// [`IdentityError::Expired`], [`IdentityError::NotYetValid`], [`IdentityError::Revoked`],
    /// [`IdentityError::UnknownIssuer`], [`IdentityError::CrlExpired`],
    /// [`IdentityError::Shape`], [`IdentityError::ForeignCluster`], or
    /// [`IdentityError::Refused`] for what has no better word.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<Certified, IdentityError> {
        self.clients
            .verify_client_cert(leaf, &[], now)
            .map_err(IdentityError::of_refusal)?;
        self.check_shape(leaf)
    }

    fn check_shape(&self, leaf: &CertificateDer<'_>) -> Result<Certified, IdentityError> {
        let certified = Certified::parse(leaf)?;
        if certified.cluster != *self.cluster() {
            return Err(IdentityError::ForeignCluster {
                found: certified.cluster,
                expected: self.cluster().clone(),
            });
        }
        Ok(certified)
    }

    fn admit(&self, leaf: &CertificateDer<'_>, admits: Admits) -> Result<(), Error> {
        self.check_shape(leaf)
            .and_then(|certified| admits.check(certified.role.kind()))
            .map_err(refusal)
    }
}

/// Our refusals in a log: rustls prints an error of ours with `Debug`, so that is the text.
struct Refusal(IdentityError);

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Refusal {}

fn refusal(error: IdentityError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refusal(
        error,
    )))))
}

/// Where a verifier finds what is trusted at the moment of a handshake.
#[derive(Clone, Debug)]
pub(super) enum TrustSource {
    /// What an identity has in force.
    Live(Arc<Live>),
    /// Always the same.
    Fixed(Arc<Trust>),
}

impl TrustSource {
    fn trust(&self) -> Arc<Trust> {
        match self {
            Self::Live(live) => live.material().trust.clone(),
            Self::Fixed(trust) => trust.clone(),
        }
    }
}

/// Judges those who dial in.
#[derive(Debug)]
pub(super) struct DiallerVerifier {
    source: TrustSource,
    admits: Admits,
    refused: Refused,
}

impl DiallerVerifier {
    pub(super) fn new(source: TrustSource, admits: Admits) -> Self {
        let refused = Refused::default();
        Self {
            source,
            admits,
            refused,
        }
    }

    fn judge(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<ClientCertVerified, Error> {
        let trust = self.source.trust();
        // Authorities have path length 0, so nothing the peer sends along can help its case.
        let verified = trust.clients.verify_client_cert(leaf, &[], now)?;
        trust.admit(leaf, self.admits)?;
        Ok(verified)
    }
}

impl ClientCertVerifier for DiallerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.admits == Admits::Nodes
    }

    /// No hints: a dialler has one certificate, and the names of our authorities are nobody's
    /// business.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let judged = self.judge(end_entity, now);
        if let Err(error) = &judged {
            self.refused.note(end_entity, error, clock::mono());
        }
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.source
            .trust()
            .clients
            .verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.source
            .trust()
            .clients
            .verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.source.trust().clients.supported_verify_schemes()
    }
}

/// Judges those whom we dial: always nodes.
#[derive(Debug)]
pub(super) struct AnswererVerifier {
    source: TrustSource,
    refused: Refused,
}

impl AnswererVerifier {
    pub(super) fn new(source: TrustSource) -> Self {
        let refused = Refused::default();
        Self { source, refused }
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let trust = self.source.trust();
        let name = &trust.server_name;
        let verified = trust
            .servers
            .verify_server_cert(leaf, &[], name, ocsp, now)?;
        trust.admit(leaf, Admits::Nodes)?;
        Ok(verified)
    }
}

impl ServerCertVerifier for AnswererVerifier {
    /// The name that the caller dialled is not asked for: whatever it is, only a node of our
    /// cluster will do.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self.judge(end_entity, ocsp_response, now);
        if let Err(error) = &judged {
            self.refused.note(end_entity, error, clock::mono());
        }
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.source
            .trust()
            .servers
            .verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.source
            .trust()
            .servers
            .verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.source.trust().servers.supported_verify_schemes()
    }
}
