//! The identity in force, and how it changes while everything runs.
//!
//! ```text
//! file change, SIGHUP ──▶ reload ── all good ──▶ one pointer moves: next handshakes use it
//!                               └── anything bad ──▶ an error; what was in force stays
//! then, for each live peer: is_still_valid(chain)? ── no ──▶ the driver closes it
//! ```
//!
//! Configurations of [`tls`](super::tls) read through this handle at every handshake, so they
//! are made once and never replaced.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use chord_core::id::Id;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;

use super::ca::{CertificateAuthority, Issued};
use super::certificate::{Certified, peer_identity};
use super::error::IdentityError;
use super::files::{self, IdentityFiles, date};
use super::names::{Cluster, Kind, Role};
use super::provider;
use super::trust::Trust;

/// What is in force at one moment.
pub(super) struct Material {
    pub(super) trust: Arc<Trust>,
    pub(super) key: Arc<CertifiedKey>,
    certified: Certified,
}

/// The place where the moment's [`Material`] is found.
pub(super) struct Live {
    material: RwLock<Arc<Material>>,
    reloads_failed: AtomicU64,
}

impl Live {
    pub(super) fn material(&self) -> Arc<Material> {
        // Only a finished pointer is ever stored, so a poisoned lock still guards a good one.
        self.material
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn put(&self, material: Material) {
        *self
            .material
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(material);
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({})", self.material().certified.role)
    }
}

/// Everything an identity is made of, before it is judged.
struct Sources {
    authorities: Vec<CertificateDer<'static>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    leaf: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    /// Where leaf and key came from, for messages.
    origins: [String; 2],
    crl_strict: bool,
}

impl Sources {
    fn read(files: &IdentityFiles) -> Result<Self, IdentityError> {
        Ok(Self {
            authorities: files::certificates(&files.ca)?,
            lists: files::lists(&files.crl)?,
            leaf: files::certificate(&files.cert)?,
            key: files::key(&files.key)?,
            origins: [
                files.cert.display().to_string(),
                files.key.display().to_string(),
            ],
            crl_strict: files.crl_strict,
        })
    }

    fn in_memory(ca: &CertificateAuthority, issued: &Issued) -> Result<Self, IdentityError> {
        let key = issued.key_pem().ok_or_else(|| IdentityError::NotPem {
            origin: "the certificate made from a signing request".to_owned(),
            what: "private key",
        })?;
        Ok(Self {
            authorities: vec![ca.certificate().clone()],
            lists: vec![ca.crl().clone()],
            leaf: issued.certificate().clone(),
            key: files::key_in(key.as_bytes(), "the issued key")?,
            origins: ["as issued".to_owned(), "as issued".to_owned()],
            crl_strict: false,
        })
    }

    /// Judges everything: what comes out would be accepted by a peer that trusts the same.
    fn check(self, now: UnixTime) -> Result<Material, IdentityError> {
        let trust = Trust::new(&self.authorities, &self.lists, self.crl_strict)?;
        let certified = Certified::parse(&self.leaf)?;
        if certified.cluster != *trust.cluster() {
            return Err(IdentityError::ForeignCluster {
                found: certified.cluster,
                expected: trust.cluster().clone(),
            });
        }
        let [certificate, key] = self.origins;
        let signer = CertifiedKey::from_der(vec![self.leaf.clone()], self.key, &provider())
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    IdentityError::KeyMismatch { certificate, key }
                }
                _ => IdentityError::Key(key),
            })?;
        let certified = trust.verify(&self.leaf, now)?;
        Ok(Material {
            trust: Arc::new(trust),
            key: Arc::new(signer),
            certified,
        })
    }
}

/// Something about certificates that an operator should mend before it hurts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Warning {
    /// The own certificate nears its end, or is past it.
    CertificateExpires {
        /// How much of its life is left: at most 30, the alarm's second level at most 10.
        percent_left: u8,
        /// Its last second.
        not_after: UnixTime,
        /// That has passed: every peer refuses this process.
        expired: bool,
    },
    /// An authority's list nears its next update or is past it, and still in force.
    CrlExpires {
        /// The authority's name.
        authority: String,
        /// How much of the list's time is left: at most 30; 0 when the next one is overdue.
        percent_left: u8,
        /// When the next one was or is due.
        next_update: UnixTime,
        /// Whether every peer is refused from then on.
        strict: bool,
    },
}

/// How a certificate lives on.
const RENEW: &str = "renew it in the authority's directory with `dht-cli cert renew --ca DIR \
                     --cert FILE --out DIR`, and copy the new certificate and key over the old \
                     ones: they are read within seconds, without a restart";

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CertificateExpires {
                not_after,
                expired: true,
                ..
            } => write!(
                f,
                "the certificate expired on {}, and every other member refuses this one; {RENEW}",
                date(*not_after)
            ),
            Self::CertificateExpires {
                percent_left,
                not_after,
                expired: false,
            } => write!(
                f,
                "the certificate expires on {} ({percent_left} % of its life is left); {RENEW}",
                date(*not_after)
            ),
            Self::CrlExpires {
                authority,
                percent_left,
                next_update,
                strict,
            } => write!(
                f,
                "the list of revoked certificates of {authority:?} must be replaced by {} \
                 ({percent_left} % of its time is left){}; make a new one with `ca crl` and copy \
                 it to every node",
                date(*next_update),
                if *strict {
                    ", or every peer is refused"
                } else {
                    ""
                },
            ),
        }
    }
}

/// The part of the life of a certificate or a list, in percent, below which its end is worth
/// a warning.
const WARN_BELOW_PERCENT: u8 = 30;

/// Who this process is, and whom it trusts. Clones share what is in force.
#[derive(Clone)]
pub struct Identity {
    pub(super) live: Arc<Live>,
}

impl Identity {
    /// Loads and judges the files of a configuration as of `now`.
    ///
    /// # Errors
    /// Everything that peers would refuse and every mistake of an operator that can be seen
    /// here, each with its remedy.
    pub fn load(files: &IdentityFiles, now: UnixTime) -> Result<Self, IdentityError> {
        Ok(Self::of(Sources::read(files)?.check(now)?))
    }

    /// From an authority and what it issued, without files: for demonstrations and tests.
    ///
    /// # Errors
    /// As [`Identity::load`]; [`IdentityError::NotPem`] if the certificate was made from a
    /// signing request, because then the key is elsewhere.
    pub fn in_memory(
        ca: &CertificateAuthority,
        issued: &Issued,
        now: UnixTime,
    ) -> Result<Self, IdentityError> {
        Ok(Self::of(Sources::in_memory(ca, issued)?.check(now)?))
    }

    fn of(material: Material) -> Self {
        Self {
            live: Arc::new(Live {
                material: RwLock::new(Arc::new(material)),
                reloads_failed: AtomicU64::new(0),
            }),
        }
    }

    /// Puts new files in force, all or nothing. A list with a lower number than the one in
    /// force does not take its place.
    ///
    /// # Errors
    /// As [`Identity::load`], and [`IdentityError::Changed`] if the certificate is for
    /// somebody else; what was in force stays.
    pub fn reload(&self, files: &IdentityFiles, now: UnixTime) -> Result<(), IdentityError> {
        let replaced = Sources::read(files).and_then(|sources| self.replace(sources, now));
        if replaced.is_err() {
            self.live.reloads_failed.fetch_add(1, Ordering::Relaxed);
        }
        replaced
    }

    /// How often [`Identity::reload`] has failed: what was in force stayed.
    #[must_use]
    pub fn reloads_failed(&self) -> u64 {
        self.live.reloads_failed.load(Ordering::Relaxed)
    }

    /// [`Identity::reload`] without files.
    ///
    /// # Errors
    /// As [`Identity::reload`].
    pub fn reload_in_memory(
        &self,
        ca: &CertificateAuthority,
        issued: &Issued,
        now: UnixTime,
    ) -> Result<(), IdentityError> {
        self.replace(Sources::in_memory(ca, issued)?, now)
    }

    fn replace(&self, mut sources: Sources, now: UnixTime) -> Result<(), IdentityError> {
        let old = self.live.material();
        sources.lists.extend(old.trust.lists().iter().cloned());
        let new = sources.check(now)?;
        let same = new.certified.role == old.certified.role
            && new.certified.cluster == old.certified.cluster;
        if !same {
            let full = |one: &Certified| format!("{} of {}", one.role, one.cluster);
            return Err(IdentityError::Changed {
                found: full(&new.certified),
                current: full(&old.certified),
            });
        }
        self.live.put(new);
        Ok(())
    }

    /// The own certificate in force.
    #[must_use]
    pub fn certified(&self) -> Certified {
        self.live.material().certified.clone()
    }

    /// The certified ring position.
    ///
    /// # Errors
    /// [`IdentityError::WrongRole`] if this is no node's certificate.
    pub fn node_id(&self) -> Result<Id, IdentityError> {
        match self.live.material().certified.role {
            Role::Node { id } => Ok(id),
            Role::Client { .. } => Err(IdentityError::WrongRole {
                found: Kind::Client,
                wanted: Kind::Node,
            }),
            Role::Admin { .. } => Err(IdentityError::WrongRole {
                found: Kind::Admin,
                wanted: Kind::Node,
            }),
        }
    }

    /// The cluster; it never changes.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        self.live.material().certified.cluster.clone()
    }

    /// What to dial every node of the cluster as: `node.<cluster>`.
    #[must_use]
    pub fn server_name(&self) -> String {
        self.cluster().server_name()
    }

    /// The authorities and lists in force.
    #[must_use]
    pub fn trust(&self) -> Arc<Trust> {
        self.live.material().trust.clone()
    }

    /// What should be mended soon, worst first; empty when all is well.
    #[must_use]
    pub fn warnings(&self, now: UnixTime) -> Vec<Warning> {
        let material = self.live.material();
        let strict = material.trust.is_crl_strict();
        let lists = material.trust.authorities().iter().filter_map(|authority| {
            let percent_left = authority.crl_percent_left(now);
            (percent_left <= WARN_BELOW_PERCENT).then(|| Warning::CrlExpires {
                authority: authority.name.clone(),
                percent_left,
                next_update: authority.crl_next_update,
                strict,
            })
        });
        let percent_left = material.certified.percent_left(now);
        let expiring = (percent_left <= WARN_BELOW_PERCENT).then_some({
            Warning::CertificateExpires {
                percent_left,
                not_after: material.certified.not_after,
                expired: material.certified.not_after < now,
            }
        });
        lists.chain(expiring).collect()
    }

    /// Judges the chain of a live connection again: after a reload, and when its leaf reaches
    /// its end.
    ///
    /// # Errors
    /// As [`Trust::verify`]; the connection must be closed then.
    pub fn is_still_valid(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Certified, IdentityError> {
        match chain.first() {
            Some(leaf) => self.live.material().trust.verify(leaf, now),
            None => peer_identity(chain),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = self.live.material();
        f.debug_struct("Identity")
            .field("certified", &material.certified)
            .field("trust", &material.trust)
            .finish_non_exhaustive()
    }
}
