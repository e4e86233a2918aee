//! What can be wrong with a frame: the peer's fault on the way in, ours on the way out.

use core::fmt;

/// Why bytes from a peer are no frame. The peer is to blame; nothing was kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The bytes end before the fields do.
    Truncated,
    /// The first byte names a version of the format that this build does not speak.
    Version(u8),
    /// A number that names nothing: a frame, a response, a refusal, a class, a tag.
    Unknown {
        /// What it should have named.
        what: &'static str,
        /// The number.
        number: u8,
    },
    /// A length or a count above its limit; what was too long or too many.
    Limit(&'static str),
    /// A field holds what no encoder writes; which field.
    Value(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the frame ends before its fields do"),
            Self::Version(version) => write!(
                f,
                "the frame is in wire version {version}, this build speaks {}",
                super::WIRE_VERSION
            ),
            Self::Unknown { what, number } => write!(f, "{number} names no {what}"),
            Self::Limit(what) => write!(f, "{what} above the limit"),
            Self::Value(what) => write!(f, "{what} has a value that no encoder writes"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why a frame cannot be written. The caller is to blame; the output is as it was before.
///
/// Whatever the encoder accepts, the decoder accepts too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncodeError {
    /// A length or a count above its limit; what was too long or too many.
    Limit(&'static str),
    /// A field holds what the decoder would refuse or misread; which field.
    Value(&'static str),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(what) => write!(f, "{what} above the limit of a frame"),
            Self::Value(what) => write!(f, "{what} has a value that no frame can carry"),
        }
    }
}

impl core::error::Error for EncodeError {}
