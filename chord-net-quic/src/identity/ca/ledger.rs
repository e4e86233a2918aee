//! What an authority issued, one JSON document a line, oldest first.

use std::io;
use std::path::Path;

use chord_core::id::Id;
use rustls::pki_types::UnixTime;
use serde::{Deserialize, Serialize};

use super::super::certificate::{Certified, Serial};
use super::super::error::IdentityError;
use super::super::files::{self, Secrecy};
use super::super::names::Kind;

/// One certificate in the ledger. Times are seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The name it was issued under.
    pub name: String,
    /// The role of its holder.
    pub role: Kind,
    /// A node's ring position, as 40 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hex")]
    pub id: Option<Id>,
    /// Its number.
    pub serial: Serial,
    /// When it was issued.
    pub issued: u64,
    /// When it expires.
    pub not_after: u64,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
}

impl Entry {
    pub(super) fn of(certified: &Certified, issued: UnixTime) -> Self {
        Self {
            name: certified.name.clone(),
            role: certified.role.kind(),
            id: certified.id(),
            serial: certified.serial.clone(),
            issued: issued.as_secs(),
            not_after: certified.not_after.as_secs(),
            revoked: None,
        }
    }

    /// The ring position, if a node may stand there now.
    pub(super) fn living_id(&self, now: UnixTime) -> Option<Id> {
        let living = self.revoked.is_none() && now.as_secs() <= self.not_after;
        self.id.filter(|_| living)
    }
}

/// A ring position as hexadecimal text.
mod hex {
    use chord_core::id::Id;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &Option<Id>, to: S) -> Result<S::Ok, S::Error> {
        id.map(|id| id.to_string()).serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Id>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| Id::from_hex(&text).ok_or_else(|| D::Error::custom("bad id")))
            .transpose()
    }
}

/// Reads a ledger; one that does not exist is refused, because whoever lost it must know.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, IdentityError> {
    let bytes = files::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            serde_json::from_str(line).map_err(|error| IdentityError::Ledger {
                path: path.to_owned(),
                line: at + 1,
                why: error.to_string(),
            })
        })
        .collect()
}

/// Puts a whole ledger in the place of the old one.
pub(super) fn write(path: &Path, entries: &[Entry]) -> Result<(), IdentityError> {
    let mut text = String::new();
    for entry in entries {
        let line = serde_json::to_string(entry).map_err(|error| IdentityError::Write {
            path: path.to_owned(),
            source: io::Error::other(error),
        })?;
        text.push_str(&line);
        text.push('\n');
    }
    files::replace(path, text.as_bytes(), Secrecy::Public)
}
