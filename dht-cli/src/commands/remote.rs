//! What all client commands share: which node, how to reach it, which record.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chord_core::message::KEY_MAX;
use chord_net_quic::identity::{self, Identity, IdentityError, IdentityFiles, Trust};
use clap::Args;
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256};

use crate::client::{Client, Target, Tls};
use crate::config::units::parse_duration;
use crate::exit::Stop;

/// The one protocol spoken inside TLS here.
const HTTP: &[&[u8]] = &[b"http/1.1"];

/// How to reach a node.
#[derive(Args)]
pub(super) struct NodeArgs {
    /// The node's HTTP API
    #[arg(
        long,
        env = "DHT_NODE",
        value_name = "URL",
        default_value = "http://127.0.0.1:7480"
    )]
    node: String,
    /// Trusted authorities, for a node that speaks TLS
    #[arg(long, env = "DHT_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Own client certificate
    #[arg(long, env = "DHT_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its private key
    #[arg(long = "key", env = "DHT_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Revocation lists of the authorities
    #[arg(long, env = "DHT_CRL", value_name = "FILE")]
    crl: Option<PathBuf>,
    /// Give up after this
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    timeout: Duration,
}

impl NodeArgs {
    /// A client of that node.
    ///
    /// # Errors
    /// Usage: a URL or a set of files that make no sense.
    pub(super) fn client(&self) -> Result<Client, Stop> {
        let target = Target::parse(&self.node)?;
        let tls = if target.secure {
            Some(self.tls()?)
        } else {
            None
        };
        Ok(Client::new(target, tls, self.timeout))
    }

    fn tls(&self) -> Result<Tls, Stop> {
        let (Some(ca), Some(crl)) = (&self.ca, &self.crl) else {
            return Err(Stop::usage(
                "https needs --ca and --crl (or DHT_CA, DHT_CRL), and --cert with --key for \
                 everything but health",
            ));
        };
        let unusable = |error: IdentityError| Stop::usage(error);
        let (config, name) = match (&self.cert, &self.tls_key) {
            (Some(cert), Some(key)) => {
                let files = IdentityFiles {
                    ca: ca.clone(),
                    cert: cert.clone(),
                    key: key.clone(),
                    crl: crl.clone(),
                    crl_strict: false,
                };
                let identity = Identity::load(&files, identity::now()).map_err(unusable)?;
                (identity.client_tls(HTTP), identity.server_name())
            }
            (None, None) => {
                let trust = Trust::load(ca, crl, false).map_err(unusable)?;
                let trust = Arc::new(trust);
                (trust.client_tls(HTTP), format!("node.{}", trust.cluster()))
            }
            _ => return Err(Stop::usage("--cert and --key belong together")),
        };
        let name = ServerName::try_from(name)
            .map_err(|error| Stop::usage(format!("the cluster's name is no DNS name: {error}")))?;
        Ok(Tls {
            config: Arc::new(config),
            name,
        })
    }
}

/// Which record.
#[derive(Args)]
pub(super) struct KeyArgs {
    /// The record's key: 1 to 1,024 bytes, as UTF-8 unless told otherwise
    #[arg(value_name = "KEY")]
    record: String,
    /// KEY is hexadecimal
    #[arg(long)]
    hex: bool,
    /// Pad the key with zero bytes to 32, as TCP clients with short keys do
    #[arg(long, conflicts_with = "sha256")]
    pad32: bool,
    /// The key is the SHA-256 of KEY
    #[arg(long)]
    sha256: bool,
}

impl KeyArgs {
    /// The bytes of the key.
    ///
    /// # Errors
    /// Usage: no bytes, too many, or digits that are none.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, Stop> {
        let mut bytes = if self.hex {
            from_hex(&self.record)
                .ok_or_else(|| Stop::usage("--hex: an even number of hexadecimal digits, please"))?
        } else {
            self.record.clone().into_bytes()
        };
        if bytes.is_empty() {
            return Err(Stop::usage("the key is empty; keys have 1 to 1,024 bytes"));
        }
        if self.sha256 {
            return Ok(Sha256::digest(&bytes).to_vec());
        }
        if self.pad32 {
            if bytes.len() > 32 {
                let text = format!("--pad32: the key has {} bytes, more than 32", bytes.len());
                return Err(Stop::usage(text));
            }
            bytes.resize(32, 0);
        }
        if bytes.len() > KEY_MAX {
            return Err(Stop::usage(format!(
                "the key has {} bytes; keys have 1 to 1,024 (--sha256 shortens any)",
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    /// The bytes of the key in hexadecimal, as they travel.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub(super) fn hex(&self) -> Result<String, Stop> {
        self.bytes().map(|bytes| to_hex(&bytes))
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from an even number of hexadecimal digits of either case.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        })
        .collect()
}

/// A length of time with its unit, as in configurations: `90s`, `500ms`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map(|length| Duration::from_micros(length.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn key(record: &str, hex: bool, pad32: bool, sha256: bool) -> Result<String, Exit> {
        KeyArgs {
            record: record.into(),
            hex,
            pad32,
            sha256,
        }
        .hex()
        .map_err(|stop| stop.exit)
    }

    #[test]
    fn a_key_is_read_as_text_hexadecimal_padded_or_hashed() {
        assert_eq!(key("ä", false, false, false), Ok("c3a4".into()));
        assert_eq!(key("C3a4", true, false, false), Ok("c3a4".into()));
        assert_eq!(
            key("a", false, true, false),
            Ok(format!("61{}", "00".repeat(31)))
        );
        assert_eq!(
            key("abc", false, false, true).as_deref(),
            Ok("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
    }

    #[test]
    fn keys_beyond_their_bounds_are_bad_usage() {
        assert_eq!(key("", false, false, false), Err(Exit::Usage));
        assert_eq!(
            key(&"x".repeat(1_025), false, false, false),
            Err(Exit::Usage)
        );
        assert!(key(&"x".repeat(1_024), false, false, false).is_ok());
        assert!(key(&"x".repeat(9_999), false, false, true).is_ok());
        assert_eq!(key(&"x".repeat(33), false, true, false), Err(Exit::Usage));
        for bad in ["6", "6g", "0x61", "ä"] {
            assert_eq!(key(bad, true, false, false), Err(Exit::Usage), "{bad}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for bad in ["", "5", "s", "-1s", "1.5h", "1 h", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
