//! What may stand in a certificate: clusters, names and roles, and how they become DNS names.
//!
//! ```text
//! node      <40 hex>.node.<cluster>     node.<cluster>
//! client    <name>.client.<cluster>     client.<cluster>
//! admin     <name>.admin.<cluster>      admin.<cluster>
//! ```
//!
//! The second name is the same for the whole role: a dialler that does not know yet whom it
//! will meet asks for `node.<cluster>`.
//!
//! **Invariant:** exactly one role and cluster belongs to a pair of names, and exactly one
//! pair of names to a role and cluster.

use std::fmt;
use std::str::FromStr;

use chord_core::id::Id;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};

use super::error::IdentityError;

/// The longest name of a cluster, in characters: X.520 allows a common name 64, and that of
/// an authority is `<cluster> CA <8 hex>`.
pub const CLUSTER_MAX: usize = 48;

/// The longest label of a DNS name (RFC 1035, §2.3.4).
const LABEL_MAX: usize = 63;

/// The name of a cluster: one or more DNS labels in lower case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cluster(String);

impl Cluster {
    /// Checks a name.
    ///
    /// # Errors
    /// [`IdentityError::ClusterName`] with the rule it breaks.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        match cluster_fault(text) {
            Some(why) => Err(IdentityError::ClusterName {
                name: shown(text),
                why,
            }),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a dialler asks for: `node.<cluster>`, held by every node and by nobody else.
    #[must_use]
    pub fn server_name(&self) -> String {
        format!("node.{}", self.0)
    }

    pub(super) fn tls_server_name(&self) -> ServerName<'static> {
        ServerName::try_from(self.server_name()).expect("a checked cluster makes a DNS name")
    }
}

fn cluster_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > CLUSTER_MAX {
        return Some("it is too long");
    }
    if let Some(fault) = text.split('.').find_map(label_fault) {
        return Some(fault);
    }
    // The last label could still be read as the end of an IP address.
    match ServerName::try_from(format!("node.{text}")) {
        Ok(ServerName::DnsName(_)) => None,
        _ => Some("its last part is a number"),
    }
}

fn label_fault(label: &str) -> Option<&'static str> {
    if label.is_empty() {
        return Some("a part between dots is empty");
    }
    if label.len() > LABEL_MAX {
        return Some("a part is longer than 63 characters");
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Some("a part begins or ends with '-'");
    }
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if !label.bytes().all(allowed) {
        return Some("it holds something other than lower-case letters, digits and '-'");
    }
    None
}

/// Text of unknown origin, cut to a length that fits a line.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The name a certificate is issued under: one DNS label in lower case, so it is a safe file
/// name too.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`IdentityError::Name`] with the rule it breaks.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        match label_fault(text) {
            Some(why) => Err(IdentityError::Name {
                name: shown(text),
                why,
            }),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a certificate's holder may be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A member of the ring.
    Node,
    /// Reads and writes records.
    Client,
    /// A client that may change the configuration and revoke.
    Admin,
}

impl Kind {
    /// The word for it, in certificates and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Client => "client",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        match text {
            "node" => Ok(Self::Node),
            "client" => Ok(Self::Client),
            "admin" => Ok(Self::Admin),
            _ => Err(IdentityError::KindName(shown(text))),
        }
    }
}

/// Who the holder of a certificate is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// A member of the ring.
    Node {
        /// The ring position that the authority chose; never [`Id::ZERO`].
        id: Id,
    },
    /// A client.
    Client {
        /// The name it was issued under.
        name: Name,
    },
    /// An administrator.
    Admin {
        /// The name it was issued under.
        name: Name,
    },
}

impl Role {
    /// The role without the name.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Node { .. } => Kind::Node,
            Self::Client { .. } => Kind::Client,
            Self::Admin { .. } => Kind::Admin,
        }
    }

    /// The two DNS names of a certificate for this role, in the order in which they stand.
    #[must_use]
    pub fn dns_names(&self, cluster: &Cluster) -> [String; 2] {
        let general = format!("{}.{cluster}", self.kind());
        let label = match self {
            Self::Node { id } => id.to_string(),
            Self::Client { name } | Self::Admin { name } => name.to_string(),
        };
        [format!("{label}.{general}"), general]
    }

    /// The role and cluster that two DNS names stand for, if they are exactly what
    /// [`Role::dns_names`] would have made.
    #[must_use]
    pub fn from_dns_names(own: &str, general: &str) -> Option<(Self, Cluster)> {
        let label = own.strip_suffix(general)?.strip_suffix('.')?;
        let (kind, cluster) = general.split_once('.')?;
        let cluster = Cluster::parse(cluster).ok()?;
        let role = match Kind::from_str(kind).ok()? {
            Kind::Node => Self::Node {
                id: Id::from_hex(label).filter(|&id| id != Id::ZERO)?,
            },
            Kind::Client => Self::Client {
                name: Name::parse(label).ok()?,
            },
            Kind::Admin => Self::Admin {
                name: Name::parse(label).ok()?,
            },
        };
        // Hexadecimal reads in either case but is written in one.
        (role.dns_names(&cluster)[0] == own).then_some((role, cluster))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { id } => write!(f, "node {id}"),
            Self::Client { name } => write!(f, "client {name}"),
            Self::Admin { name } => write!(f, "admin {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_dns_labels_in_lower_case() {
        let longest = "a".repeat(CLUSTER_MAX);
        for good in ["demo", "a", "x-1.eu", "0a.b", "3.demo", longest.as_str()] {
            assert_eq!(Cluster::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(CLUSTER_MAX + 1);
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "Demo",
            "de mo",
            "*.demo",
            "-a",
            "a-",
            "a_b",
            "ü",
            "127.0.0.1",
            "demo.0x7f",
            "demo\n",
            "a/b",
            too_long.as_str(),
        ] {
            let error = Cluster::parse(bad).unwrap_err();
            assert!(
                matches!(error, IdentityError::ClusterName { .. }),
                "{bad:?}"
            );
            assert!(error.to_string().contains("lower-case"), "{error}");
        }
    }

    #[test]
    fn names_are_single_labels_and_so_safe_as_file_names() {
        assert!(Name::parse("node-1").is_ok());
        assert!(Name::parse(&"n".repeat(63)).is_ok());
        let too_long = "n".repeat(64);
        for bad in [
            "",
            "a.b",
            "..",
            "../x",
            "a/b",
            "A",
            "-",
            "a-",
            "a b",
            "ä",
            too_long.as_str(),
        ] {
            assert!(
                matches!(Name::parse(bad), Err(IdentityError::Name { .. })),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_role_is_read_back_from_its_own_names_only() {
        let cluster = Cluster::parse("demo.example").unwrap();
        let id = Id::hash(b"a node");
        let roles = [
            Role::Node { id },
            Role::Client {
                name: Name::parse("app").unwrap(),
            },
            Role::Admin {
                name: Name::parse("node").unwrap(),
            },
        ];
        for role in roles {
            let [own, general] = role.dns_names(&cluster);
            assert_eq!(
                Role::from_dns_names(&own, &general),
                Some((role, cluster.clone()))
            );
            assert_eq!(Role::from_dns_names(&general, &own), None, "order matters");
            assert_eq!(Role::from_dns_names(&own, &own), None);
        }
    }

    #[test]
    fn malformed_names_stand_for_nobody() {
        let id = Id::hash(b"a node").to_string();
        let zero = "0".repeat(40);
        for (label, general) in [
            (id[..39].to_owned(), "node.demo"),
            (format!("{id}0"), "node.demo"),
            (id.to_uppercase(), "node.demo"),
            (zero, "node.demo"),
            ("*".to_owned(), "node.demo"),
            (format!("x.{id}"), "node.demo"),
            ("*".to_owned(), "client.demo"),
            ("a.b".to_owned(), "admin.demo"),
            (String::new(), "client.demo"),
            (id.clone(), "member.demo"),
            (id.clone(), "node"),
            (id.clone(), "node."),
            (id.clone(), "node.Demo"),
            (id.clone(), "demo"),
        ] {
            let own = format!("{label}.{general}");
            assert_eq!(Role::from_dns_names(&own, general), None, "{own}");
        }
        assert_eq!(
            Role::from_dns_names(&format!("{id}.node.demo"), "node.other"),
            None
        );
        assert_eq!(Role::from_dns_names("", ""), None);
    }
}
