//! Whom we believe: the authorities of the cluster and their lists of revoked certificates.
//!
//! Webpki checks a list's signature at every handshake but picks it by the issuer's name
//! alone, the first that fits. One bad list would refuse every good peer, two would hide the
//! newer. So lists are judged here before they are put in force: of those signed by an
//! authority the one with the highest number, exactly one for each; without one for each
//! authority there is no [`Trust`] at all, because webpki given no list checks nothing.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::certificate::{self, KeyHash};
use super::error::IdentityError;
use super::names::Cluster;
use super::{files, provider};

/// One authority and the list in force for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authority {
    /// Its common name, `<cluster> CA <8 hex>`.
    pub name: String,
    /// Which key signs for it.
    pub key_hash: KeyHash,
    /// The last second of its life; nothing it issued lives longer.
    pub not_after: UnixTime,
    /// The number of its list in force.
    pub crl_number: u64,
    /// When that list was made.
    pub crl_this_update: UnixTime,
    /// When its next list was or is due.
    pub crl_next_update: UnixTime,
}

impl Authority {
    /// The part of its list's time that is left, in percent: 0 once the next one is overdue.
    #[must_use]
    pub fn crl_percent_left(&self, now: UnixTime) -> u8 {
        certificate::percent_left(self.crl_this_update, self.crl_next_update, now)
    }
}

/// What is trusted: never changes, a new one takes its place.
pub struct Trust {
    cluster: Cluster,
    authorities: Vec<Authority>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    crl_strict: bool,
    pub(super) server_name: ServerName<'static>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    pub(super) servers: Arc<WebPkiServerVerifier>,
}

impl Trust {
    /// Reads authorities and lists from PEM files; both may be bundles.
    ///
    /// # Errors
    /// What can be wrong with a file, an authority or a list; [`IdentityError::NoCrl`] if one
    /// is missing.
    pub fn load(ca: &Path, crl: &Path, crl_strict: bool) -> Result<Self, IdentityError> {
        Self::new(&files::certificates(ca)?, &files::lists(crl)?, crl_strict)
    }

    /// From authorities and lists in DER form. Lists of authorities that are not among them
    /// are left out; of several by one authority the one with the highest number counts.
    ///
    /// # Errors
    /// As [`Trust::load`].
    pub fn new(
        authorities: &[CertificateDer<'static>],
        lists: &[CertificateRevocationListDer<'static>],
        crl_strict: bool,
    ) -> Result<Self, IdentityError> {
        let candidates = Candidate::distinct(authorities)?;
        let Some(first) = candidates.first() else {
            return Err(IdentityError::CaShape("there is none".to_owned()));
        };
        let cluster = first.cluster.clone();
        let mut roots = RootCertStore::empty();
        let mut known = Vec::new();
        let mut in_force: Vec<CertificateRevocationListDer<'static>> = Vec::new();
        for candidate in &candidates {
            if candidate.cluster != cluster {
                return Err(IdentityError::MixedClusters(
                    cluster,
                    candidate.cluster.clone(),
                ));
            }
            roots
                .add(candidate.der.clone())
                .map_err(IdentityError::Refused)?;
            let list = candidate.newest(lists)?;
            known.push(candidate.with(&list));
            if !in_force.contains(&list.der) {
                in_force.push(list.der);
            }
        }
        let (clients, servers) = verifiers(roots, &in_force, crl_strict)?;
        let server_name = cluster.tls_server_name();
        Ok(Self {
            cluster,
            authorities: known,
            lists: in_force,
            crl_strict,
            server_name,
            clients,
            servers,
        })
    }

    /// The cluster that all authorities are for.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The authorities, each with the list in force for it.
    #[must_use]
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// Whether peers are refused once a list is past its next update; otherwise that is only
    /// a warning.
    #[must_use]
    pub fn is_crl_strict(&self) -> bool {
        self.crl_strict
    }

    /// When the first of the lists in force was or is due to be replaced.
    #[must_use]
    pub fn crl_next_update(&self) -> UnixTime {
        let due = self.authorities.iter().map(|known| known.crl_next_update);
        due.min().expect("there is no trust without an authority")
    }

    /// The lists in force, in DER form.
    #[must_use]
    pub fn lists(&self) -> &[CertificateRevocationListDer<'static>] {
        &self.lists
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("cluster", &self.cluster)
            .field("authorities", &self.authorities)
            .finish_non_exhaustive()
    }
}

fn verifiers(
    roots: RootCertStore,
    lists: &[CertificateRevocationListDer<'static>],
    strict: bool,
) -> Result<(Arc<dyn ClientCertVerifier>, Arc<WebPkiServerVerifier>), IdentityError> {
    let roots = Arc::new(roots);
    let damaged = |error: rustls::server::VerifierBuilderError| {
        IdentityError::CrlMalformed(error.to_string())
    };
    let mut clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider())
        .with_crls(lists.iter().cloned());
    let mut servers = WebPkiServerVerifier::builder_with_provider(roots, provider())
        .with_crls(lists.iter().cloned());
    if strict {
        clients = clients.enforce_revocation_expiration();
        servers = servers.enforce_revocation_expiration();
    }
    Ok((
        clients.build().map_err(damaged)?,
        servers.build().map_err(damaged)?,
    ))
}

/// An authority whose certificate has the right shape and is signed by its own key.
pub(super) struct Candidate {
    pub(super) der: CertificateDer<'static>,
    pub(super) cluster: Cluster,
    pub(super) name: String,
    pub(super) key_hash: KeyHash,
    pub(super) not_after: UnixTime,
    subject: Vec<u8>,
}

/// A list whose signature was checked.
pub(super) struct RevocationList {
    pub(super) der: CertificateRevocationListDer<'static>,
    pub(super) number: u64,
    pub(super) this_update: UnixTime,
    pub(super) next_update: UnixTime,
}

impl Candidate {
    /// Reads one authority.
    pub(super) fn parse(der: &CertificateDer<'static>) -> Result<Self, IdentityError> {
        let x509 = certificate::parse(der)?;
        let cluster = authority_shape(&x509).map_err(|why| IdentityError::CaShape(why.into()))?;
        x509.verify_signature(None)
            .map_err(|_| IdentityError::CaShape("its own signature is wrong".to_owned()))?;
        Ok(Self {
            cluster,
            name: certificate::common_name(x509.subject()),
            key_hash: KeyHash::of(x509.public_key().raw),
            not_after: certificate::time(x509.validity().not_after),
            subject: x509.subject().as_raw().to_vec(),
            der: der.clone(),
        })
    }

    /// Reads a bundle; repeated certificates count once.
    fn distinct(ders: &[CertificateDer<'static>]) -> Result<Vec<Self>, IdentityError> {
        let mut all: Vec<Self> = Vec::new();
        for der in ders {
            if all.iter().any(|known| known.der == *der) {
                continue;
            }
            let new = Self::parse(der)?;
            let clash =
                |known: &Self| known.subject == new.subject && known.key_hash != new.key_hash;
            if all.iter().any(clash) {
                return Err(IdentityError::CaTwice(new.name));
            }
            all.push(new);
        }
        Ok(all)
    }

    /// The list with the highest number that this authority signed.
    pub(super) fn newest(
        &self,
        lists: &[CertificateRevocationListDer<'static>],
    ) -> Result<RevocationList, IdentityError> {
        let mut newest: Option<RevocationList> = None;
        for der in lists {
            let Some(list) = self.verify_list(der)? else {
                continue;
            };
            if newest.as_ref().is_none_or(|best| best.number < list.number) {
                newest = Some(list);
            }
        }
        newest.ok_or_else(|| IdentityError::NoCrl(self.name.clone()))
    }

    /// Judges a list: nothing if it names another authority, an error if it names this one
    /// and was not signed by its key.
    pub(super) fn verify_list(
        &self,
        der: &CertificateRevocationListDer<'static>,
    ) -> Result<Option<RevocationList>, IdentityError> {
        let damaged = |why: &str| IdentityError::CrlMalformed(why.to_owned());
        let (rest, list) = CertificateRevocationList::from_der(der)
            .map_err(|error| damaged(&error.to_string()))?;
        if !rest.is_empty() {
            return Err(damaged("bytes follow it"));
        }
        if list.issuer().as_raw() != self.subject {
            return Ok(None);
        }
        let authority = certificate::parse(&self.der)?;
        list.verify_signature(authority.public_key())
            .map_err(|_| IdentityError::CrlSignature(self.name.clone()))?;
        let number = list
            .crl_number()
            .ok_or_else(|| damaged("it has no number"))?;
        let number = match number.to_u64_digits()[..] {
            [] => 0,
            [number] => number,
            _ => return Err(damaged("its number is beyond 64 bits")),
        };
        let next_update = list
            .next_update()
            .ok_or_else(|| damaged("it does not say when the next is due"))?;
        Ok(Some(RevocationList {
            der: der.clone(),
            number,
            this_update: certificate::time(list.last_update()),
            next_update: certificate::time(next_update),
        }))
    }

    fn with(&self, list: &RevocationList) -> Authority {
        Authority {
            name: self.name.clone(),
            key_hash: self.key_hash,
            not_after: self.not_after,
            crl_number: list.number,
            crl_this_update: list.this_update,
            crl_next_update: list.next_update,
        }
    }
}

/// The cluster of an authority of our shape: path length 0, signs certificates and lists, and
/// is bound to names of one cluster.
fn authority_shape(x509: &X509Certificate<'_>) -> Result<Cluster, &'static str> {
    let constraints = x509
        .basic_constraints()
        .ok()
        .flatten()
        .ok_or("it is a leaf")?
        .value;
    if !constraints.ca {
        return Err("it is a leaf");
    }
    if constraints.path_len_constraint != Some(0) {
        return Err("it may issue other authorities");
    }
    let usage = x509
        .key_usage()
        .ok()
        .flatten()
        .ok_or("it does not say what its key is for")?;
    if !usage.value.key_cert_sign() || !usage.value.crl_sign() {
        return Err("its key may not sign both certificates and lists");
    }
    let unbound = "it is not bound to the names of one cluster";
    let names = x509.name_constraints().ok().flatten().ok_or(unbound)?;
    let permitted = names
        .value
        .permitted_subtrees
        .as_deref()
        .unwrap_or_default();
    let [subtree] = permitted else {
        return Err(unbound);
    };
    let GeneralName::DNSName(cluster) = subtree.base else {
        return Err(unbound);
    };
    if !names.critical || names.value.excluded_subtrees.is_some() {
        return Err(unbound);
    }
    Cluster::parse(cluster).map_err(|_| "its cluster has no valid name")
}
