//! Values before they have a type: what a file, a variable or a flag said, and the readers
//! that turn it into what an option needs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use chord_core::time::Micros;

use super::units;

/// A value as written. Variables, flags and INI files know only text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Raw {
    /// Text; numbers and flags too where the source has no other kind.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean.
    Flag(bool),
    /// A TOML array of strings.
    List(Vec<String>),
}

impl Raw {
    fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text.trim()),
            Self::Integer(number) => Err(format!("{number} must be text in quotes")),
            Self::Flag(flag) => Err(format!("{flag} must be text in quotes")),
            Self::List(_) => Err("a list stands where one text belongs".to_owned()),
        }
    }

    pub(super) fn word(&self, allowed: &[&str]) -> Result<String, String> {
        let text = self.text()?;
        if allowed.contains(&text) {
            return Ok(text.to_owned());
        }
        Err(format!("`{text}` is not one of: {}", allowed.join(", ")))
    }

    pub(super) fn address(&self) -> Result<SocketAddr, String> {
        let text = self.text()?;
        if let Some(port) = text.strip_prefix("localhost:")
            && let Ok(port) = port.parse()
        {
            return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        }
        text.parse().map_err(|_| {
            format!("`{text}` is no address: write ip:port, such as 127.0.0.1:7400 or [::1]:7400")
        })
    }

    /// An address, or nothing for `off`.
    pub(super) fn server(&self) -> Result<Option<SocketAddr>, String> {
        if self.text()? == "off" {
            return Ok(None);
        }
        match self.address() {
            Ok(address) => Ok(Some(address)),
            Err(error) => Err(format!("{error}, or \"off\"")),
        }
    }

    /// Names with ports, as a list or separated by commas; they are resolved later.
    pub(super) fn hosts(&self) -> Result<Vec<String>, String> {
        let entries: Vec<String> = match self {
            Self::List(list) => list.clone(),
            Self::Text(_) | Self::Integer(_) | Self::Flag(_) => {
                self.text()?.split(',').map(str::to_owned).collect()
            }
        };
        let mut hosts = Vec::new();
        for entry in entries {
            let entry = entry.trim();
            if entry.is_empty() {
                continue;
            }
            if !is_host_and_port(entry) {
                return Err(format!(
                    "`{entry}` lacks a port: write host:port, such as a.example.org:7400"
                ));
            }
            hosts.push(entry.to_owned());
        }
        Ok(hosts)
    }

    /// Host names, as a list or separated by commas.
    pub(super) fn names(&self) -> Result<Vec<String>, String> {
        let entries: Vec<&str> = match self {
            Self::List(list) => list.iter().map(String::as_str).collect(),
            Self::Text(_) | Self::Integer(_) | Self::Flag(_) => self.text()?.split(',').collect(),
        };
        let entries = entries
            .into_iter()
            .map(str::trim)
            .filter(|name| !name.is_empty());
        Ok(entries.map(str::to_ascii_lowercase).collect())
    }

    pub(super) fn path(&self, base: &Path) -> Result<PathBuf, String> {
        let text = self.text()?;
        if text.is_empty() {
            return Err("an empty path".to_owned());
        }
        // Component by component, so that `./n1` below `/etc` becomes `/etc/n1`.
        Ok(base.join(text).components().collect())
    }

    pub(super) fn flag(&self) -> Result<bool, String> {
        match self {
            Self::Flag(flag) => Ok(*flag),
            Self::Text(text) if text.trim() == "true" => Ok(true),
            Self::Text(text) if text.trim() == "false" => Ok(false),
            Self::Text(_) | Self::Integer(_) | Self::List(_) => {
                Err("write true or false".to_owned())
            }
        }
    }

    /// A whole number that fits `T`.
    pub(super) fn number<T: TryFrom<i64>>(&self) -> Result<T, String> {
        let number = match self {
            Self::Integer(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Flag(_) | Self::List(_) => None,
        };
        let number = number.ok_or("write a whole number")?;
        T::try_from(number).map_err(|_| format!("{number} is out of range"))
    }

    pub(super) fn duration(&self) -> Result<Micros, String> {
        match self {
            Self::Integer(number) => Err(format!(
                "{number} has no unit: write \"{number}s\", or d, h, m, ms, us"
            )),
            Self::Text(_) | Self::Flag(_) | Self::List(_) => units::parse_duration(self.text()?),
        }
    }

    pub(super) fn size<T: TryFrom<u64>>(&self) -> Result<T, String> {
        let bytes = match self {
            Self::Integer(number) => {
                return Err(format!(
                    "{number} has no unit: write \"{number}B\", or KiB, MiB"
                ));
            }
            Self::Text(_) | Self::Flag(_) | Self::List(_) => units::parse_size(self.text()?)?,
        };
        T::try_from(bytes).map_err(|_| format!("{} is out of range", units::show_size(bytes)))
    }
}

fn is_host_and_port(text: &str) -> bool {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return address.port() != 0;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let host_is_sound = !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    host_is_sound && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn addresses_need_a_port() {
        assert!(text("127.0.0.1:80").address().is_ok());
        assert!(text("[::1]:80").address().is_ok());
        assert!(
            text("localhost:80")
                .address()
                .is_ok_and(|at| at.ip().is_loopback())
        );
        for wrong in [
            "127.0.0.1",
            "example.org:80",
            ":80",
            "1.2.3.4:99999",
            "",
            "localhost:x",
        ] {
            assert!(text(wrong).address().is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_come_as_list_or_by_comma() {
        let both = vec!["a.example.org:7400".to_owned(), "[::1]:1".to_owned()];
        assert_eq!(
            text("a.example.org:7400, [::1]:1,").hosts(),
            Ok(both.clone())
        );
        assert_eq!(Raw::List(both.clone()).hosts(), Ok(both));
        assert_eq!(text("").hosts(), Ok(Vec::new()));
        for wrong in ["a", "a:", ":7", "a:0", "a b:7", "::1:7x", "a:70000"] {
            assert!(text(wrong).hosts().is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_must_fit() {
        assert_eq!(Raw::Integer(255).number::<u8>(), Ok(255));
        assert_eq!(text("7").number::<u8>(), Ok(7));
        assert!(Raw::Integer(256).number::<u8>().is_err());
        assert!(Raw::Integer(-1).number::<u32>().is_err());
        assert!(text("many").number::<u32>().is_err());
        assert!(text("5TiB").size::<u32>().is_err());
    }

    #[test]
    fn relative_paths_hang_below_their_base() {
        let base = Path::new("/etc/dht");
        assert_eq!(text("./n1").path(base), Ok("/etc/dht/n1".into()));
        assert_eq!(text("/abs").path(base), Ok("/abs".into()));
        assert!(text("").path(base).is_err());
    }
}
