//! Keys, versions and queries as they stand in a request.

use axum::extract::Query;
use axum::http::Uri;
use bytes::Bytes;
use chord_core::id::Id;
use chord_core::message::{KEY_MAX, Key, Version};
use chord_core::time::Micros;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::config::units::parse_duration;

/// How the key is written in the path.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    /// The percent-decoded segment is the key.
    #[default]
    Utf8,
    /// The segment is the key in hexadecimal digits.
    Hex,
}

/// The key in the last segment of a path: its bytes as they are, not as text.
pub(super) fn key(uri: &Uri, encoding: Encoding) -> Result<Key, Problem> {
    let segment = uri.path().rsplit('/').next().unwrap_or_default();
    let bytes = percent_decoded(segment)
        .ok_or_else(|| bad_key("a % must be followed by two hexadecimal digits"))?;
    let bytes = match encoding {
        Encoding::Utf8 => bytes,
        Encoding::Hex => {
            from_hex(&bytes).ok_or_else(|| bad_key("not an even number of hexadecimal digits"))?
        }
    };
    let length = bytes.len();
    Key::new(Bytes::from(bytes)).ok_or_else(|| {
        bad_key(format!(
            "a key has 1 to {KEY_MAX} bytes, this one has {length}"
        ))
    })
}

fn bad_key(detail: impl Into<String>) -> Problem {
    Problem::bad_request("bad_key", detail)
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let (pair, after) = after.split_at_checked(2)?;
            bytes.push(hex_byte(pair)?);
            rest = after;
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    Some(bytes)
}

fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(hex_byte).collect()
}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    let &[high, low] = pair else { return None };
    let high = char::from(high).to_digit(16)?;
    let low = char::from(low).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

/// The query of a request as `T`; unknown names are refused.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let parsed = Query::try_from_uri(uri);
    parsed
        .map(|Query(query)| query)
        .map_err(|error| Problem::bad_request("bad_query", error.body_text()))
}

/// A lifetime: seconds, or a number with a unit; nothing and zero are the default.
pub(super) fn ttl(text: Option<&str>) -> Result<Micros, Problem> {
    let Some(text) = text else {
        return Ok(Micros::ZERO);
    };
    if let Ok(seconds) = text.parse() {
        return Ok(Micros::from_secs(seconds));
    }
    parse_duration(text).map_err(|error| Problem::bad_request("bad_query", format!("ttl: {error}")))
}

/// A version as an entity tag: `"time-writer"`.
pub(super) fn entity_tag(version: Version) -> String {
    format!("\"{}-{}\"", version.time, version.writer)
}

/// The version an entity tag names; `None` for a tag that is none of ours.
pub(super) fn version(tag: &str) -> Option<Version> {
    let inner = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    let (time, writer) = inner.split_once('-')?;
    let version = Version {
        time: time.parse().ok()?,
        writer: Id::from_hex(writer)?,
    };
    // `+7` and `07` parse as numbers, but are not what we gave out.
    (entity_tag(version) == tag.trim()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &'static str, encoding: Encoding) -> Option<Vec<u8>> {
        key(&Uri::from_static(path), encoding)
            .ok()
            .map(|key| key.bytes().to_vec())
    }

    #[test]
    fn keys_are_the_bytes_of_their_segment() {
        let cases = [
            ("/v1/kv/abc", Encoding::Utf8, Some(b"abc".to_vec())),
            ("/v1/kv/a%2Fb", Encoding::Utf8, Some(b"a/b".to_vec())),
            ("/v1/kv/%ff%00", Encoding::Utf8, Some(vec![0xff, 0])),
            ("/v1/kv/a+b", Encoding::Utf8, Some(b"a+b".to_vec())),
            ("/v1/kv/61FF", Encoding::Hex, Some(vec![0x61, 0xff])),
            ("/v1/kv/", Encoding::Utf8, None),
            ("/v1/kv/", Encoding::Hex, None),
            ("/v1/kv/%f", Encoding::Utf8, None),
            ("/v1/kv/%zz", Encoding::Utf8, None),
            ("/v1/kv/616", Encoding::Hex, None),
            ("/v1/kv/6g", Encoding::Hex, None),
        ];
        for (path, encoding, expected) in cases {
            assert_eq!(read(path, encoding), expected, "{path}");
        }
    }

    #[test]
    fn keys_end_at_a_kibibyte() {
        let path = |digits: usize| format!("/v1/kv/{}", "6".repeat(digits)).parse::<Uri>();
        assert!(key(&path(2_048).expect("a path"), Encoding::Hex).is_ok());
        assert!(key(&path(2_050).expect("a path"), Encoding::Hex).is_err());
    }

    #[test]
    fn versions_go_to_tags_and_back() {
        let given = Version {
            time: 1_700_000_000_000_000,
            writer: Id([0xab; 20]),
        };
        assert_eq!(version(&entity_tag(given)), Some(given));
        let tag = entity_tag(given);
        for foreign in [
            "*",
            "",
            "\"\"",
            "\"7\"",
            "\"+7-00\"",
            &tag[1..],
            &format!("W/{tag}"),
        ] {
            assert_eq!(version(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn lifetimes_are_seconds_or_carry_a_unit() {
        assert_eq!(ttl(None), Ok(Micros::ZERO));
        assert_eq!(ttl(Some("60")), Ok(Micros::from_secs(60)));
        assert_eq!(ttl(Some("1h")), Ok(Micros::from_secs(3_600)));
        assert!(ttl(Some("soon")).is_err());
        assert!(ttl(Some("-1")).is_err());
    }
}
