//! The kinds of values that options have: how each is read from what was said, and shown as
//! TOML that reads back the same.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chord_core::time::Micros;

use super::StoreSetting;
use super::raw::Raw;
use super::units::{show_duration, show_size};

/// How one kind of value is read and shown.
pub(super) struct Kind<T> {
    /// Relative paths hang below the given directory. The error says what to write instead.
    pub(super) read: fn(&Raw, &Path) -> Result<T, String>,
    /// As TOML; empty if there is nothing to show.
    pub(super) show: fn(&T) -> String,
}

/// Where to listen.
pub(super) const ADDRESS: Kind<SocketAddr> = Kind {
    read: |raw, _| raw.address(),
    show: |at| quoted(at),
};

/// An address that may be absent.
pub(super) const MAYBE_ADDRESS: Kind<Option<SocketAddr>> = Kind {
    read: |raw, _| raw.address().map(Some),
    show: |at| at.map_or_else(String::new, quoted),
};

/// Where a server listens, or `off`.
pub(super) const SERVER: Kind<Option<SocketAddr>> = Kind {
    read: |raw, _| raw.server(),
    show: |at| at.map_or_else(|| quoted("off"), quoted),
};

/// Hosts with ports.
pub(super) const HOSTS: Kind<Vec<String>> = Kind {
    read: |raw, _| raw.hosts(),
    show: |hosts| quoted_list(hosts),
};

/// Host names.
pub(super) const NAMES: Kind<Vec<String>> = Kind {
    read: |raw, _| raw.names(),
    show: |names| quoted_list(names),
};

/// A file; the empty path is one that nobody named.
pub(super) const FILE: Kind<PathBuf> = Kind {
    read: |raw, base| raw.path(base),
    show: |path| match path.as_os_str().is_empty() {
        true => String::new(),
        false => quoted(path.display()),
    },
};

/// A directory that may be absent.
pub(super) const MAYBE_DIRECTORY: Kind<Option<PathBuf>> = Kind {
    read: |raw, base| raw.path(base).map(Some),
    show: |path| {
        let path = path.as_deref();
        path.map_or_else(String::new, |path| quoted(path.display()))
    },
};

/// Yes or no.
pub(super) const FLAG: Kind<bool> = Kind {
    read: |raw, _| raw.flag(),
    show: |flag| flag.to_string(),
};

/// A length of time with its unit.
pub(super) const DURATION: Kind<Micros> = Kind {
    read: |raw, _| raw.duration(),
    show: |length| quoted(show_duration(*length)),
};

/// A size with its unit.
pub(super) const SIZE: Kind<u32> = Kind {
    read: |raw, _| raw.size(),
    show: |bytes| quoted(show_size(u64::from(*bytes))),
};

/// How many clients a server takes.
pub(super) const CONNECTIONS: Kind<u32> = Kind {
    read: |raw, _| match raw.number()? {
        0 => Err("a server without connections: write \"off\" as its address".to_owned()),
        count => Ok(count),
    },
    show: |count| count.to_string(),
};

/// The kind of store.
pub(super) const STORE: Kind<StoreSetting> = Kind {
    read: |raw, _| {
        let kinds = [StoreSetting::Redb, StoreSetting::Memory];
        let kind = raw.word(&kinds.map(StoreSetting::name))?;
        let found = kinds.into_iter().find(|known| known.name() == kind);
        found.ok_or_else(|| format!("{kind}: not a kind of store"))
    },
    show: |kind| quoted(kind.name()),
};

/// A whole number, within the bounds of its type.
pub(super) const fn number<T: TryFrom<i64> + Display>() -> Kind<T> {
    Kind {
        read: |raw, _| raw.number(),
        show: |number| number.to_string(),
    }
}

/// Text as a TOML string: the strings of JSON are strings of TOML.
pub(super) fn quoted(text: impl Display) -> String {
    serde_json::Value::from(text.to_string()).to_string()
}

fn quoted_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}
