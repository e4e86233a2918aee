//! Data directories that cannot be used, and what their owner should do.

use std::io;
use std::path::Path;

use crate::api::StartError;

/// What it means that something at `path`, in the data directory `dir`, cannot be read or
/// written.
pub(crate) fn unusable(dir: &Path, path: &Path, source: io::Error) -> StartError {
    use io::ErrorKind as Kind;
    let at = dir.display();
    let remedy = match source.kind() {
        Kind::NotADirectory | Kind::AlreadyExists => {
            "what stands there is no directory: name another place, or move that file away"
                .to_owned()
        }
        Kind::NotFound => "it cannot be made there: name another place".to_owned(),
        Kind::IsADirectory => format!(
            "a directory stands where a file belongs: move it away, or name another place than {at}"
        ),
        Kind::PermissionDenied => format!(
            "the user that runs this node may not read and write there: give it the directory, \
             `chown -R USER {at}` and `chmod 700 {at}`, or name another"
        ),
        Kind::ReadOnlyFilesystem => "its file system is read-only: name a place on another, or \
                                     make it writable (mount options; under systemd \
                                     StateDirectory= or ReadWritePaths=)"
            .to_owned(),
        _ => {
            return StartError::State {
                path: path.to_owned(),
                source,
            };
        }
    };
    StartError::DataDir {
        path: path.to_owned(),
        source,
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_its_owner_can_mend_comes_with_the_remedy_and_a_failing_disk_does_not() {
        let dir = Path::new("/var/lib/dht");
        let path = dir.join("lock");
        for (kind, word) in [
            (io::ErrorKind::NotADirectory, "no directory"),
            (io::ErrorKind::AlreadyExists, "no directory"),
            (io::ErrorKind::IsADirectory, "a directory stands"),
            (io::ErrorKind::NotFound, "another place"),
            (
                io::ErrorKind::PermissionDenied,
                "chown -R USER /var/lib/dht",
            ),
            (io::ErrorKind::ReadOnlyFilesystem, "read-only"),
        ] {
            let error = unusable(dir, &path, kind.into());
            let said = error.to_string();
            assert!(matches!(error, StartError::DataDir { .. }), "{said}");
            assert!(
                said.contains(word) && said.contains("/var/lib/dht/lock"),
                "{said}"
            );
        }
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
            let error = unusable(dir, &path, kind.into());
            assert!(matches!(error, StartError::State { .. }), "{error}");
        }
    }
}
