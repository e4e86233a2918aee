//! Who said a value, and the words in which he says it: errors name what the operator wrote,
//! not what we call it.

use std::fmt;

/// Who said a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A configuration file.
    File {
        /// As it was named.
        name: String,
        /// From 1; `None`: by what is absent from it.
        line: Option<usize>,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File {
                name,
                line: Some(line),
            } => write!(f, "{name}:{line}"),
            Self::File { name, line: None } => write!(f, "{name}"),
            Self::Environment(name) => write!(f, "{name}"),
            Self::Flag(name) => write!(f, "{name}"),
        }
    }
}

/// A configuration that makes no sense. Nothing was started; exit code 2.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    /// File and line, variable or flag.
    pub place: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl ConfigError {
    /// About an option by the name it has for whoever said it. A flag is a place that says the
    /// name already.
    pub(super) fn about(origin: &Origin, called: &str, message: impl fmt::Display) -> Self {
        match origin {
            Origin::Flag(_) => Self::at(origin, message.to_string()),
            Origin::Default | Origin::File { .. } | Origin::Environment(_) => {
                Self::at(origin, format!("{called}: {message}"))
            }
        }
    }

    pub(super) fn at(origin: &Origin, message: impl Into<String>) -> Self {
        let place = match origin {
            Origin::Default => "configuration".to_owned(),
            Origin::File { .. } | Origin::Environment(_) | Origin::Flag(_) => origin.to_string(),
        };
        Self {
            place,
            message: message.into(),
        }
    }
}

/// The file that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Source {
    /// As it was named.
    pub(super) name: String,
    /// Which words it knows.
    pub(super) form: Form,
}

/// The two forms of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Every option, by its name.
    Toml,
    /// A few options, by other names, in one section.
    Ini,
}
