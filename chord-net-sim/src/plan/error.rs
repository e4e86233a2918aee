//! What can be wrong with a scenario.

use chord_core::config::ConfigError;

/// Why a scenario was refused, and what to do. Nothing was started.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// Not TOML.
    #[error("{name} is not valid TOML: {message}")]
    Syntax {
        /// The scenario.
        name: String,
        /// Where and why, from the parser.
        message: String,
    },
    /// A key that means nothing.
    #[error("unknown key {at}{}; known here: {known}", suggestion(.nearest.as_deref()))]
    UnknownKey {
        /// Its full name.
        at: String,
        /// What was probably meant.
        nearest: Option<String>,
        /// What could stand there.
        known: String,
    },
    /// A value of the wrong kind, out of range or without unit.
    #[error("{at} = {found} makes no sense: write {wanted}")]
    Wrong {
        /// The key's full name.
        at: String,
        /// The value.
        found: String,
        /// What to write instead.
        wanted: String,
    },
    /// A key that must be there.
    #[error("{at} is missing: write {wanted}")]
    Missing {
        /// The key's full name.
        at: String,
        /// What to write.
        wanted: String,
    },
    /// Two values that cannot both be meant.
    #[error("{at}: {why}")]
    Contradiction {
        /// The key to change.
        at: String,
        /// Why, and how.
        why: String,
    },
    /// An option of the core out of its bounds.
    #[error("[ring] {0}")]
    Ring(ConfigError),
    /// An override that cannot be applied.
    #[error("override `{text}`: {why}")]
    Override {
        /// As given.
        text: String,
        /// Why, and how.
        why: String,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}
