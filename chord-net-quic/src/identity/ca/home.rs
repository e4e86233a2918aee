//! The directory of an authority: what is where, and who may work there.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls::pki_types::{CertificateRevocationListDer, UnixTime};

use super::super::certificate::KeyHash;
use super::super::error::IdentityError;
use super::super::files::{self, Secrecy};
use super::super::trust::Candidate;
use super::ledger::{self, Entry};
use super::profile;

/// The directory of an authority that lives in files, held against other processes.
pub(super) struct Home {
    dir: PathBuf,
    /// `ca.key`, locked: two processes must not write the ledger at once.
    _lock: File,
}

/// What a directory holds, as far as it was read.
pub(super) struct Opened {
    pub(super) home: Home,
    pub(super) own: Candidate,
    pub(super) own_pem: String,
    pub(super) key: KeyPair,
    pub(super) entries: Vec<Entry>,
    /// Nothing if there is no `ca.crl`.
    pub(super) list: Option<List>,
}

impl Home {
    /// Writes a new authority, and refuses if any file of one is there.
    pub(super) fn create(dir: &Path, own_pem: &str, key: &KeyPair) -> Result<Self, IdentityError> {
        let path = Self::key(dir);
        // The key first: who loses a race against another process fails here, having written
        // nothing.
        files::write_new(&path, key.serialize_pem().as_bytes(), Secrecy::Secret)?;
        files::write_new(&Self::certificate(dir), own_pem.as_bytes(), Secrecy::Public)?;
        let (file, _) = files::read_secret(&path)?;
        let lock = locked(file, &path)?;
        Ok(Self {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// Makes the directory if need be, and refuses if any file of an authority is in it.
    pub(super) fn prepare(dir: &Path) -> Result<(), IdentityError> {
        std::fs::create_dir_all(dir).map_err(|source| IdentityError::Write {
            path: dir.to_owned(),
            source,
        })?;
        for path in [
            Self::certificate(dir),
            Self::crl(dir),
            Self::ledger(dir),
            Self::key(dir),
        ] {
            if path.symlink_metadata().is_ok() {
                return Err(IdentityError::Exists { path });
            }
        }
        Ok(())
    }

    /// Reads everything, and checks that the key is the certificate's.
    pub(super) fn open(dir: &Path) -> Result<Opened, IdentityError> {
        let at = Self::certificate(dir);
        let own_pem = String::from_utf8_lossy(&files::read(&at)?).into_owned();
        let origin = at.display().to_string();
        let own = Candidate::parse(&files::certificate_in(own_pem.as_bytes(), &origin)?)?;
        let path = Self::key(dir);
        let (file, pem) = files::read_secret(&path)?;
        let home = Self {
            dir: dir.to_owned(),
            _lock: locked(file, &path)?,
        };
        let key = key_pair(&pem, &path)?;
        if KeyHash::of(&key.subject_public_key_info()) != own.key_hash {
            let key = path.display().to_string();
            return Err(IdentityError::KeyMismatch {
                certificate: origin,
                key,
            });
        }
        let entries = ledger::read(&Self::ledger(dir))?;
        let list = List::read(&Self::crl(dir), &own)?;
        Ok(Opened {
            home,
            own,
            own_pem,
            key,
            entries,
            list,
        })
    }

    pub(super) fn save_ledger(&self, entries: &[Entry]) -> Result<(), IdentityError> {
        ledger::write(&Self::ledger(&self.dir), entries)
    }

    pub(super) fn save_list(&self, list: &List) -> Result<(), IdentityError> {
        files::replace(&Self::crl(&self.dir), list.pem.as_bytes(), Secrecy::Public)
    }

    fn certificate(dir: &Path) -> PathBuf {
        dir.join("ca.pem")
    }

    fn key(dir: &Path) -> PathBuf {
        dir.join("ca.key")
    }

    fn crl(dir: &Path) -> PathBuf {
        dir.join("ca.crl")
    }

    fn ledger(dir: &Path) -> PathBuf {
        dir.join("ca.ledger")
    }
}

/// The list of revoked certificates in force.
pub(super) struct List {
    pub(super) der: CertificateRevocationListDer<'static>,
    pub(super) pem: String,
    pub(super) number: u64,
}

impl List {
    /// Signs a list of those revoked in the ledger.
    pub(super) fn sign(
        issuer: &Issuer<'_, KeyPair>,
        number: u64,
        entries: &[Entry],
        now: UnixTime,
    ) -> Result<Self, IdentityError> {
        let signed = profile::crl(issuer, number, entries, now)?;
        let pem = signed.pem().map_err(IdentityError::Signing)?;
        Ok(Self {
            der: signed.der().clone(),
            pem,
            number,
        })
    }

    /// The list in a file, nothing if there is no such file.
    fn read(path: &Path, own: &Candidate) -> Result<Option<Self>, IdentityError> {
        let bytes = match files::read(path) {
            Ok(bytes) => bytes,
            Err(IdentityError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let list = own.newest(&files::lists_in(&bytes, &path.display().to_string())?)?;
        let pem = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Some(Self {
            der: list.der,
            pem,
            number: list.number,
        }))
    }
}

/// Waits for the lock that goes with the key file.
fn locked(file: File, path: &Path) -> Result<File, IdentityError> {
    match file.lock() {
        Ok(()) => Ok(file),
        Err(source) => Err(IdentityError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn key_pair(pem: &[u8], path: &Path) -> Result<KeyPair, IdentityError> {
    let origin = path.display().to_string();
    let der = files::key_in(pem, &origin)?;
    let key = KeyPair::try_from(&der).map_err(|_| IdentityError::Key(origin.clone()))?;
    if key.is_compatible(&rcgen::PKCS_ECDSA_P256_SHA256) {
        Ok(key)
    } else {
        Err(IdentityError::Key(origin))
    }
}
