//! Reading and writing certificates and keys, with care for who else may read them.
//!
//! New files are never written over old ones. What must change in place (the list of the
//! revoked, the ledger) is written beside and renamed, so that a reader sees the old file or
//! the new one and never half of one.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::IdentityError;

/// The largest file read, in bytes: a list of 50,000 revoked certificates is 2 MiB.
const LARGEST: u64 = 4 << 20;

/// Permission bits that give anybody but the owner something.
const OTHERS: u32 = 0o077;

/// The file in a data directory that holds the reset key.
const RESET_KEY: &str = "reset.key";

/// The files that make an identity, as a configuration names them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityFiles {
    /// The trusted authorities, one or more in PEM form.
    pub ca: PathBuf,
    /// The own certificate in PEM form, one.
    pub cert: PathBuf,
    /// The own private key in PEM form, readable by its owner alone.
    pub key: PathBuf,
    /// The lists of revoked certificates in PEM form, at least one of each authority.
    pub crl: PathBuf,
    /// Whether a list past its next update refuses everybody instead of raising an alarm.
    pub crl_strict: bool,
}

/// Reads a file of at most [`LARGEST`] bytes.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let failed = |source| IdentityError::Read {
        path: path.to_owned(),
        source,
    };
    read_all(&File::open(path).map_err(failed)?, path)
}

fn read_all(file: &File, path: &Path) -> Result<Vec<u8>, IdentityError> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| IdentityError::Read {
            path: path.to_owned(),
            source,
        })?;
    if bytes.len() as u64 > LARGEST {
        return Err(IdentityError::TooLarge {
            path: path.to_owned(),
            max: LARGEST,
        });
    }
    Ok(bytes)
}

/// Opens and reads a file that nobody but its owner may read. The permissions are those of
/// the opened file, so exchanging it in between gains nothing.
pub(super) fn read_secret(path: &Path) -> Result<(File, Vec<u8>), IdentityError> {
    let failed = |source| IdentityError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = mode_of(&file).map_err(failed)?;
    if mode & OTHERS != 0 {
        return Err(IdentityError::LoosePermissions {
            path: path.to_owned(),
            mode,
        });
    }
    let bytes = read_all(&file, path)?;
    Ok((file, bytes))
}

#[cfg(unix)]
fn mode_of(file: &File) -> io::Result<u32> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o7777)
}

/// Elsewhere access is no matter of mode bits, so there is nothing to refuse.
#[cfg(not(unix))]
fn mode_of(_: &File) -> io::Result<u32> {
    Ok(0)
}

/// The one certificate in a PEM file.
pub(super) fn certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    certificate_in(&read(path)?, &path.display().to_string())
}

/// The one certificate in a PEM text that came from `origin`.
pub(super) fn certificate_in(
    pem: &[u8],
    origin: &str,
) -> Result<CertificateDer<'static>, IdentityError> {
    let mut all = certificates_in(pem, origin)?;
    match (all.pop(), all.len()) {
        (Some(one), 0) => Ok(one),
        (_, others) => Err(IdentityError::Several {
            origin: origin.to_owned(),
            count: others + 1,
        }),
    }
}

/// The certificates in a PEM file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    certificates_in(&read(path)?, &path.display().to_string())
}

fn certificates_in(
    pem: &[u8],
    origin: &str,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let missing = || IdentityError::NotPem {
        origin: origin.to_owned(),
        what: "certificate",
    };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(missing)
}

/// The lists of revoked certificates in a PEM file, at least one.
pub(super) fn lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, IdentityError> {
    lists_in(&read(path)?, &path.display().to_string())
}

/// The lists of revoked certificates in a PEM text that came from `origin`, at least one.
pub(super) fn lists_in(
    pem: &[u8],
    origin: &str,
) -> Result<Vec<CertificateRevocationListDer<'static>>, IdentityError> {
    let missing = || IdentityError::NotPem {
        origin: origin.to_owned(),
        what: "list of revoked certificates",
    };
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(missing)
}

/// The private key in a PEM file that only its owner may read.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let (_, pem) = read_secret(path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| IdentityError::NotPem {
        origin: path.display().to_string(),
        what: "private key",
    })
}

/// The private key in a PEM text; only PKCS#8 is understood.
pub(super) fn key_in(pem: &[u8], origin: &str) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivatePkcs8KeyDer::from_pem_slice(pem)
        .map(PrivateKeyDer::Pkcs8)
        .map_err(|_| IdentityError::NotPem {
            origin: origin.to_owned(),
            what: "private key (PKCS#8)",
        })
}

/// Who may read a new file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// Everybody, as far as the process's mask allows.
    Public,
    /// The owner alone.
    Secret,
}

fn create(path: &Path, secrecy: Secrecy) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(if secrecy == Secrecy::Secret {
            0o600
        } else {
            0o644
        });
    }
    #[cfg(not(unix))]
    let _ = secrecy;
    options.open(path)
}

/// Writes a file that must not exist yet.
pub(super) fn write_new(path: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<(), IdentityError> {
    let path_owned = || path.to_owned();
    let mut file = create(path, secrecy).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => IdentityError::Exists { path: path_owned() },
        _ => IdentityError::Write {
            path: path_owned(),
            source,
        },
    })?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|source| IdentityError::Write {
            path: path_owned(),
            source,
        })
}

/// Puts new contents in the place of a file, all or nothing.
pub(super) fn replace(path: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<(), IdentityError> {
    let failed = |source| IdentityError::Write {
        path: path.to_owned(),
        source,
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // One that a crash left behind; whoever may write here at the same time holds the lock.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let written = create(&beside, secrecy)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&beside, path))
        .and_then(|()| sync_directory(path));
    written.map_err(failed)
}

/// Makes a rename last: the directory is what changed.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    match File::open(directory.unwrap_or(Path::new("."))) {
        Ok(directory) => directory.sync_all(),
        // Not every system opens directories; there the rename is as lasting as it gets.
        Err(_) => Ok(()),
    }
}

/// The two files of a certificate issued under `name`: `NAME.pem` and `NAME.key`.
#[must_use]
pub(super) fn pair(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    (
        dir.join(format!("{name}.pem")),
        dir.join(format!("{name}.key")),
    )
}

/// Refuses if `NAME.pem` or `NAME.key` exists in `dir`: ask before issuing, so that no
/// certificate is made that cannot be saved.
///
/// # Errors
/// [`IdentityError::Exists`] with the file, [`IdentityError::Read`] if that cannot be found
/// out.
pub fn refuse_existing(dir: &Path, name: &str) -> Result<(), IdentityError> {
    let (certificate, key) = pair(dir, name);
    for path in [certificate, key] {
        match path.symlink_metadata() {
            Ok(_) => return Err(IdentityError::Exists { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(IdentityError::Read { path, source }),
        }
    }
    Ok(())
}

/// The key behind QUIC's stateless resets. A node that keeps it over a restart can tell peers
/// of its former life at once that their connections are gone.
#[derive(Clone)]
pub struct ResetKey([u8; 64]);

impl ResetKey {
    /// The secret itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// A fresh one that no file keeps.
    ///
    /// # Errors
    /// [`IdentityError::Entropy`].
    pub fn random() -> Result<Self, IdentityError> {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).map_err(IdentityError::Entropy)?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKey(secret)")
    }
}

/// The reset key in `data_dir`, made (file `reset.key`, 64 bytes, mode 0600) if it is not
/// there. The caller holds the directory's lock.
///
/// # Errors
/// [`IdentityError::LoosePermissions`], [`IdentityError::ResetKey`] for another length, and
/// what can go wrong with a file.
pub fn load_or_create_reset_key(data_dir: &Path) -> Result<ResetKey, IdentityError> {
    let path = data_dir.join(RESET_KEY);
    match read_secret(&path) {
        Ok((_, bytes)) => {
            let length = bytes.len();
            <[u8; 64]>::try_from(bytes)
                .map(ResetKey)
                .map_err(|_| IdentityError::ResetKey { path, length })
        }
        Err(IdentityError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let key = ResetKey::random()?;
            replace(&path, &key.0, Secrecy::Secret)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

/// A time for people: RFC 3339 in UTC, or the seconds if it is beyond every calendar.
pub(super) fn date(at: UnixTime) -> String {
    i64::try_from(at.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("second {} after 1970", at.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reset_key_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let made = load_or_create_reset_key(dir.path()).unwrap();
        let kept = load_or_create_reset_key(dir.path()).unwrap();
        assert_eq!(made.bytes(), kept.bytes());
        assert_ne!(made.bytes(), &[0; 64]);
        assert_ne!(made.bytes(), ResetKey::random().unwrap().bytes());
        assert_eq!(format!("{made:?}"), "ResetKey(secret)");
    }

    #[cfg(unix)]
    #[test]
    fn a_reset_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        load_or_create_reset_key(dir.path()).unwrap();
        let path = dir.path().join(RESET_KEY);
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o7777,
            0o600
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = load_or_create_reset_key(dir.path()).unwrap_err();
        assert!(
            matches!(error, IdentityError::LoosePermissions { mode: 0o640, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_reset_key_of_another_length_is_not_replaced_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RESET_KEY);
        write_new(&path, &[7; 63], Secrecy::Secret).unwrap();
        let error = load_or_create_reset_key(dir.path()).unwrap_err();
        assert!(
            matches!(error, IdentityError::ResetKey { length: 63, .. }),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), [7; 63]);
    }

    #[test]
    fn a_new_file_never_replaces_an_old_one_and_a_replacement_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_new(&path, b"old", Secrecy::Public).unwrap();
        let error = write_new(&path, b"new", Secrecy::Public).unwrap_err();
        assert!(matches!(error, IdentityError::Exists { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");

        std::fs::write(dir.path().join("file.new"), b"left by a crash").unwrap();
        replace(&path, b"new", Secrecy::Public).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_file_beyond_the_limit_is_not_read_into_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        let file = File::create(&path).unwrap();
        file.set_len(LARGEST + 1).unwrap();
        assert!(matches!(read(&path), Err(IdentityError::TooLarge { .. })));
        file.set_len(LARGEST).unwrap();
        assert_eq!(read(&path).unwrap().len() as u64, LARGEST);
    }

    #[test]
    fn dates_beyond_the_calendar_are_printed_too() {
        let at = |seconds| date(UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        assert_eq!(at(1_800_000_000), "2027-01-15T08:00:00Z");
        assert_eq!(at(u64::MAX), format!("second {} after 1970", u64::MAX));
    }
}
