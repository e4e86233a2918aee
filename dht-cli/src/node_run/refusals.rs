//! Why a host does not start, or ends though nobody asked it to: the sentence and its code.
//!
//! The layers below know files and addresses; the operator knows the lines of his
//! configuration. What is wrong is said at the line, in the words of its form.

use std::io;
use std::path::Path;

use chord_net_quic::identity::IdentityError;
use chord_net_quic::{StartError, Stopped};

use crate::config::{Loaded, TlsSettings};
use crate::exit::{Exit, Stop};

/// Why the files of `[tls]` make no identity.
pub(super) fn unusable(loaded: &Loaded, error: &IdentityError) -> Stop {
    let Some(option) = culprit(&loaded.settings.tls, error) else {
        return Stop::usage(error);
    };
    let crl = loaded.settings.tls.crl.display();
    Stop::usage(match error {
        IdentityError::NoCrl(authority) => loaded.error(
            option,
            format!(
                "{crl} holds no list of the authority {authority:?}; copy the ca.crl of its \
                 directory there, or make one with `ca crl`"
            ),
        ),
        other => loaded.error(option, other),
    })
}

/// The option whose file is to blame, as far as an error tells.
fn culprit(tls: &TlsSettings, error: &IdentityError) -> Option<&'static str> {
    match error {
        IdentityError::Read { path, .. }
        | IdentityError::TooLarge { path, .. }
        | IdentityError::LoosePermissions { path, .. } => named(tls, path),
        // Two options may name one file by mistake: what was looked for tells them apart.
        IdentityError::NotPem { what, .. } if what.starts_with("list") => Some("tls.crl"),
        IdentityError::NotPem { what, .. } if what.starts_with("private key") => Some("tls.key"),
        IdentityError::NotPem { origin, .. } | IdentityError::Several { origin, .. } => {
            named(tls, Path::new(origin))
        }
        IdentityError::NoCrl(_)
        | IdentityError::CrlSignature(_)
        | IdentityError::CrlMalformed(_)
        | IdentityError::CrlExpired { .. } => Some("tls.crl"),
        IdentityError::CaShape(_)
        | IdentityError::CaTwice(_)
        | IdentityError::MixedClusters(..) => Some("tls.ca"),
        IdentityError::KeyMismatch { .. } | IdentityError::Key(_) => Some("tls.key"),
        IdentityError::WrongRole { .. }
        | IdentityError::Shape(_)
        | IdentityError::Expired { .. }
        | IdentityError::NotYetValid { .. }
        | IdentityError::Revoked
        | IdentityError::UnknownIssuer
        | IdentityError::ForeignCluster { .. } => Some("tls.cert"),
        _ => None,
    }
}

fn named(tls: &TlsSettings, path: &Path) -> Option<&'static str> {
    let files = [
        ("tls.ca", &tls.ca),
        ("tls.cert", &tls.cert),
        ("tls.key", &tls.key),
        ("tls.crl", &tls.crl),
    ];
    let (name, _) = files.into_iter().find(|(_, file)| *file == path)?;
    Some(name)
}

/// Why the node did not start, with the code that belongs to it.
pub(super) fn refused(loaded: &Loaded, error: &StartError) -> Stop {
    match error {
        StartError::Positions(_) => Stop::usage(loaded.error("node.virtual", error)),
        StartError::Advertise(_) => Stop::usage(loaded.error("node.advertise", error)),
        StartError::Foreign { .. } => Stop::usage(loaded.error("node.data_dir", error)),
        StartError::Identity(error) => unusable(loaded, error),
        StartError::NoDataDir => Stop::usage(loaded.error("store.kind", error)),
        StartError::Config(_) => Stop::usage(error),
        StartError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            Stop::failed(loaded.error(
                "node.listen",
                format!(
                    "{} is in use by another process; stop that, or choose another address",
                    loaded.settings.node.listen
                ),
            ))
        }
        StartError::Bind { source, .. } => {
            let what = format!("{error}{}", listen_remedy(source));
            Stop::failed(loaded.error("node.listen", what))
        }
        StartError::Locked(dir) => Stop::failed(loaded.error(
            "node.data_dir",
            format!(
                "{} is in use by another process; stop that, or choose another directory",
                dir.display()
            ),
        )),
        StartError::DataDir { .. } => Stop::usage(loaded.error("node.data_dir", error)),
        StartError::Newer { .. }
        | StartError::Damaged { .. }
        | StartError::Store { .. }
        | StartError::State { .. } => Stop::failed(loaded.error("node.data_dir", error)),
        StartError::Thread(_) => Stop::failed(error),
    }
}

/// What to do about an address that cannot be listened on, as far as the cause tells.
pub(super) fn listen_remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "; choose an address of this host, or 0.0.0.0 for all of them"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 are for root: choose a higher one, or give the program \
             CAP_NET_BIND_SERVICE"
        }
        _ => "",
    }
}

/// Why the node ended though nobody asked it to.
pub(super) fn broken(stopped: &Stopped) -> Stop {
    let exit = match stopped {
        Stopped::Panicked => Exit::Internal,
        Stopped::Left
        | Stopped::Killed
        | Stopped::Superseded
        | Stopped::Store(_)
        | Stopped::Damaged { .. }
        | Stopped::Socket(_) => Exit::Failed,
    };
    Stop {
        exit,
        message: stopped.to_string(),
    }
}
