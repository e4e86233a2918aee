//! What is asked of an authority, and what it gives.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::super::certificate::Certified;
use super::super::error::IdentityError;
use super::super::files::{self, Secrecy};
use super::super::names::{Kind, Name};

/// How the authority chooses a node's ring position.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IdChoice {
    /// At random.
    #[default]
    Random,
    /// In the middle of the widest gap between the ids given, at random for the first: even
    /// shares for a handful of nodes.
    Spread,
}

/// What is wanted of [`CertificateAuthority::issue`](super::CertificateAuthority::issue).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order<'a> {
    /// The name to issue under: see [`Name`].
    pub name: &'a str,
    /// The role of the holder.
    pub kind: Kind,
    /// How long it shall live from now; it never outlives the authority.
    pub valid: Duration,
    /// How to choose the ring position; only for nodes.
    pub id: IdChoice,
    /// A signing request in PEM form; without one a key is made here.
    pub csr: Option<&'a str>,
}

/// A certificate fresh from the authority.
pub struct Issued {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) certificate_pem: String,
    pub(super) key_pem: Option<String>,
    /// What the certificate says.
    pub certified: Certified,
}

impl Issued {
    /// The certificate in DER form.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate in PEM form.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key in PEM form (PKCS#8), a secret; none if a signing request was given.
    #[must_use]
    pub fn key_pem(&self) -> Option<&str> {
        self.key_pem.as_deref()
    }

    /// Writes `NAME.pem` and, if the key was made here, `NAME.key` (mode 0600) into `dir`,
    /// which is made if need be. Answers the paths written, the certificate's first.
    ///
    /// # Errors
    /// [`IdentityError::Exists`] rather than overwrite, [`IdentityError::Write`].
    pub fn save(&self, dir: &Path, name: &str) -> Result<Vec<PathBuf>, IdentityError> {
        std::fs::create_dir_all(dir).map_err(|source| IdentityError::Write {
            path: dir.to_owned(),
            source,
        })?;
        let name = Name::parse(name)?;
        files::refuse_existing(dir, name.as_str())?;
        let (certificate, key) = files::pair(dir, name.as_str());
        files::write_new(
            &certificate,
            self.certificate_pem.as_bytes(),
            Secrecy::Public,
        )?;
        let mut written = vec![certificate];
        if let Some(pem) = &self.key_pem {
            files::write_new(&key, pem.as_bytes(), Secrecy::Secret)?;
            written.push(key);
        }
        Ok(written)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("certified", &self.certified)
            .finish_non_exhaustive()
    }
}
