//! The private authority of one cluster.
//!
//! ```text
//! init ── ca.pem, ca.key (0600), ca.crl with nobody on it, ca.ledger
//! issue ── name, role ──▶ id chosen here, fields fixed here ──▶ ledger, then certificate
//! renew ── certificate ─▶ same role, name and id, new serial
//! revoke ─ serial ──────▶ ledger, then ca.crl with a higher number
//! ```
//!
//! **Invariant:** the ledger knows every certificate before anybody else does, and every
//! revocation before a list carries it; a crash in between leaves a line too many, never one
//! too few.
//!
//! **Invariant:** a node neither chooses nor influences its ring id: from a signing request
//! only the public key is taken.

mod choose;
mod home;
mod issued;
mod ledger;
mod profile;
mod request;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use chord_core::id::Id;
use rcgen::{Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use super::certificate::{self, Certified, Serial};
use super::error::IdentityError;
use super::files;
use super::names::{Cluster, Kind, Name, Role};
use super::trust::Candidate;
use home::{Home, List, Opened};
use request::requested_key;

pub use issued::{IdChoice, Issued, Order};
pub use ledger::Entry;

/// How long a certificate lives unless told otherwise.
pub const LEAF_VALID: Duration = Duration::from_secs(90 * 86_400);

/// The shortest life that is worth a certificate: clocks differ by seconds.
const VALID_MIN: Duration = Duration::from_secs(60);

/// A private authority: its key, what it issued and whom it revoked.
pub struct CertificateAuthority {
    own: Candidate,
    own_pem: String,
    issuer: Issuer<'static, KeyPair>,
    entries: Vec<Entry>,
    list: List,
    /// Nothing for an authority in memory.
    home: Option<Home>,
}

impl CertificateAuthority {
    /// Makes an authority in `dir`, which is made if need be: `ca.pem`, `ca.key` (mode 0600),
    /// `ca.crl` and the ledger. Lives five years.
    ///
    /// # Errors
    /// [`IdentityError::Exists`] if there is one, [`IdentityError::ClusterName`],
    /// [`IdentityError::Write`].
    pub fn init(dir: &Path, cluster: &str, now: UnixTime) -> Result<Self, IdentityError> {
        let cluster = Cluster::parse(cluster)?;
        Home::prepare(dir)?;
        let mut made = Self::make(&cluster, now)?;
        let home = Home::create(dir, &made.own_pem, made.issuer.key())?;
        home.save_ledger(&made.entries)?;
        home.save_list(&made.list)?;
        made.home = Some(home);
        Ok(made)
    }

    /// An authority without files: for demonstrations and tests.
    ///
    /// # Errors
    /// [`IdentityError::ClusterName`].
    pub fn in_memory(cluster: &str, now: UnixTime) -> Result<Self, IdentityError> {
        Self::make(&Cluster::parse(cluster)?, now)
    }

    fn make(cluster: &Cluster, now: UnixTime) -> Result<Self, IdentityError> {
        let key = KeyPair::generate().map_err(IdentityError::Signing)?;
        let params = profile::authority(cluster, &key, serial()?, now);
        let made = params.self_signed(&key).map_err(IdentityError::Signing)?;
        let own = Candidate::parse(made.der())?;
        let issuer = Issuer::new(params, key);
        let list = List::sign(&issuer, now.as_secs(), &[], now)?;
        Ok(Self {
            own,
            own_pem: made.pem(),
            issuer,
            entries: Vec::new(),
            list,
            home: None,
        })
    }

    /// Opens the authority in `dir` and keeps others out of it until dropped; waits while
    /// another process works there. A missing `ca.crl` is issued again from the ledger.
    ///
    /// # Errors
    /// [`IdentityError::LoosePermissions`] and [`IdentityError::KeyMismatch`] for `ca.key`,
    /// [`IdentityError::CaShape`] for `ca.pem`, [`IdentityError::CrlSignature`] for `ca.crl`,
    /// [`IdentityError::Ledger`], and what can go wrong with a file.
    pub fn open(dir: &Path, now: UnixTime) -> Result<Self, IdentityError> {
        let Opened {
            home,
            own,
            own_pem,
            key,
            entries,
            list,
        } = Home::open(dir)?;
        let issuer = Issuer::from_ca_cert_der(&own.der, key).map_err(IdentityError::Signing)?;
        let list = match list {
            Some(list) => list,
            None => {
                let list = List::sign(&issuer, now.as_secs(), &entries, now)?;
                home.save_list(&list)?;
                list
            }
        };
        Ok(Self {
            own,
            own_pem,
            issuer,
            entries,
            list,
            home: Some(home),
        })
    }

    /// Issues a certificate.
    ///
    /// # Errors
    /// [`IdentityError::Name`], [`IdentityError::Validity`], [`IdentityError::Csr`],
    /// [`IdentityError::CaExpired`], [`IdentityError::Write`] if the ledger cannot be written;
    /// nothing is issued then.
    pub fn issue(&mut self, order: &Order<'_>, now: UnixTime) -> Result<Issued, IdentityError> {
        let name = Name::parse(order.name)?;
        let role = match order.kind {
            Kind::Node => Role::Node {
                id: self.choose(order.id, now)?,
            },
            Kind::Client => Role::Client { name: name.clone() },
            Kind::Admin => Role::Admin { name: name.clone() },
        };
        self.sign(&role, name.as_str(), order.valid, order.csr, now)
    }

    /// Issues a successor of a certificate: same role, name and ring id, new serial number,
    /// and a new key unless a signing request is given. The old one stays valid until it
    /// expires or is revoked.
    ///
    /// # Errors
    /// [`IdentityError::NotIssuedHere`], [`IdentityError::RenewRevoked`], and as
    /// [`CertificateAuthority::issue`].
    pub fn renew(
        &mut self,
        certificate_pem: &str,
        valid: Duration,
        csr: Option<&str>,
        now: UnixTime,
    ) -> Result<Issued, IdentityError> {
        let old = self.issued_here(certificate_pem)?;
        let revoked = |entry: &Entry| entry.serial == old.serial && entry.revoked.is_some();
        if self.entries.iter().any(revoked) {
            return Err(IdentityError::RenewRevoked);
        }
        self.sign(&old.role, &old.name, valid, csr, now)
    }

    fn sign(
        &mut self,
        role: &Role,
        name: &str,
        valid: Duration,
        csr: Option<&str>,
        now: UnixTime,
    ) -> Result<Issued, IdentityError> {
        if valid < VALID_MIN {
            return Err(IdentityError::Validity);
        }
        if self.own.not_after.as_secs() < now.as_secs().saturating_add(VALID_MIN.as_secs()) {
            return Err(IdentityError::CaExpired {
                not_after: self.own.not_after,
            });
        }
        let ends = now.as_secs().saturating_add(valid.as_secs());
        let not_after = ends.min(self.own.not_after.as_secs());
        let serial = serial()?;
        let params = profile::leaf(role, &self.own.cluster, name, &serial, now, not_after)?;
        let (made, key_pem) = match csr {
            Some(csr) => (params.signed_by(&requested_key(csr)?, &self.issuer), None),
            None => {
                let key = KeyPair::generate().map_err(IdentityError::Signing)?;
                (
                    params.signed_by(&key, &self.issuer),
                    Some(key.serialize_pem()),
                )
            }
        };
        let made = made.map_err(IdentityError::Signing)?;
        let issued = Issued {
            certified: Certified::parse(made.der())?,
            certificate: made.der().clone(),
            certificate_pem: made.pem(),
            key_pem,
        };
        let mut entries = self.entries.clone();
        entries.push(Entry::of(&issued.certified, now));
        self.record(entries)?;
        Ok(issued)
    }

    /// Revokes by serial number and issues a new list. Revoking twice is no error: the date
    /// of the first stays.
    ///
    /// # Errors
    /// [`IdentityError::UnknownSerial`], [`IdentityError::Write`].
    pub fn revoke_serial(
        &mut self,
        serial: &Serial,
        now: UnixTime,
    ) -> Result<Entry, IdentityError> {
        let mut entries = self.entries.clone();
        let Some(entry) = entries.iter_mut().find(|entry| entry.serial == *serial) else {
            return Err(IdentityError::UnknownSerial(serial.clone()));
        };
        entry.revoked.get_or_insert(now.as_secs());
        let entry = entry.clone();
        self.record(entries)?;
        self.reissue_crl(now)?;
        Ok(entry)
    }

    /// Revokes a certificate given in PEM form, also one that the ledger has lost.
    ///
    /// # Errors
    /// [`IdentityError::NotIssuedHere`], and as [`CertificateAuthority::revoke_serial`].
    pub fn revoke_certificate(&mut self, pem: &str, now: UnixTime) -> Result<Entry, IdentityError> {
        let certified = self.issued_here(pem)?;
        if !self
            .entries
            .iter()
            .any(|entry| entry.serial == certified.serial)
        {
            let mut entries = self.entries.clone();
            entries.push(Entry::of(&certified, certified.not_before));
            self.record(entries)?;
        }
        self.revoke_serial(&certified.serial, now)
    }

    /// Issues the list again with a higher number and a new date for the next, which is due
    /// in 30 days. Answers the number.
    ///
    /// # Errors
    /// [`IdentityError::Write`]; the old list stays then.
    pub fn reissue_crl(&mut self, now: UnixTime) -> Result<u64, IdentityError> {
        // Counting in seconds of the clock: an authority restored from an old backup must not
        // give out a number that its nodes have seen, they would ignore the list.
        let number = now.as_secs().max(self.list.number.saturating_add(1));
        let list = List::sign(&self.issuer, number, &self.entries, now)?;
        if let Some(home) = &self.home {
            home.save_list(&list)?;
        }
        self.list = list;
        Ok(number)
    }

    /// What was issued, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.own.cluster
    }

    /// Its own common name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.own.name
    }

    /// The last second of its life.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.own.not_after
    }

    /// Its certificate in DER form.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.own.der
    }

    /// Its certificate in PEM form.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.own_pem
    }

    /// Its list of revoked certificates in DER form.
    #[must_use]
    pub fn crl(&self) -> &CertificateRevocationListDer<'static> {
        &self.list.der
    }

    /// Its list of revoked certificates in PEM form.
    #[must_use]
    pub fn crl_pem(&self) -> &str {
        &self.list.pem
    }

    /// The number of that list.
    #[must_use]
    pub fn crl_number(&self) -> u64 {
        self.list.number
    }

    fn choose(&self, choice: IdChoice, now: UnixTime) -> Result<Id, IdentityError> {
        let taken: Vec<Id> = self
            .entries
            .iter()
            .filter_map(|entry| entry.living_id(now))
            .collect();
        match choice {
            IdChoice::Random => choose::random(&taken),
            IdChoice::Spread => choose::spread(&taken),
        }
    }

    /// Reads a certificate that this authority's key signed.
    fn issued_here(&self, pem: &str) -> Result<Certified, IdentityError> {
        let der = files::certificate_in(pem.as_bytes(), "the certificate")?;
        let leaf = certificate::parse(&der)?;
        let own = certificate::parse(&self.own.der)?;
        if leaf.issuer().as_raw() != own.subject().as_raw()
            || leaf.verify_signature(Some(own.public_key())).is_err()
        {
            return Err(IdentityError::NotIssuedHere);
        }
        Certified::parse(&der)
    }

    /// Writes a ledger down, then takes it over.
    fn record(&mut self, entries: Vec<Entry>) -> Result<(), IdentityError> {
        if let Some(home) = &self.home {
            home.save_ledger(&entries)?;
        }
        self.entries = entries;
        Ok(())
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("name", &self.own.name)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

/// 128 random bits.
fn serial() -> Result<Serial, IdentityError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(IdentityError::Entropy)?;
    Ok(Serial::from_bytes(&bytes))
}
