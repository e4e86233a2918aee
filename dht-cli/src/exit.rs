//! How a process ends: one code for each thing a caller may want to do next.
//!
//! Commands return `Result<Exit, Stop>`. A [`Stop`] is an ending that needs a sentence: what
//! happened and what to do about it, for standard error. Codes without a sentence, such as
//! "the check found something", are plain [`Exit`]s whose report is the output itself.

use std::fmt;
use std::process::ExitCode;

/// The exit codes, a contract with scripts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed; the cause is on standard error.
    Failed = 1,
    /// Bad usage or configuration; nothing was started.
    Usage = 2,
    /// The key was not found.
    NotFound = 3,
    /// Not available now; retrying is safe.
    Unavailable = 4,
    /// A check found a violation.
    Violation = 5,
    /// A simulation proved nothing: a configured fault never fired.
    Vacuous = 6,
    /// An internal error: something panicked.
    Internal = 70,
    /// Interrupted by a signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An ending with a sentence for standard error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stop {
    /// The code.
    pub exit: Exit,
    /// What happened, and what to do about it.
    pub message: String,
}

impl Stop {
    /// Failed: exit code 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.to_string(),
        }
    }

    /// A check found a violation: exit code 5.
    pub fn violation(message: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Violation,
            message: message.to_string(),
        }
    }

    /// Bad usage or configuration: exit code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.to_string(),
        }
    }

    /// Not available now: exit code 4.
    pub fn unavailable(message: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Unavailable,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Stop {}

/// Makes a panic in any thread or task end the process with [`Exit::Internal`], after the
/// usual report of where it happened. A half-dead node would be worse than a dead one. The
/// exception is a panic around a damaged store, which is caught and told as damage.
pub fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if chord_net_quic::store::disk::panics_are_caught() {
            return;
        }
        report(info);
        std::process::exit(i32::from(Exit::Internal as u8));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_published_ones() {
        let codes = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::NotFound, 3),
            (Exit::Unavailable, 4),
            (Exit::Violation, 5),
            (Exit::Vacuous, 6),
            (Exit::Internal, 70),
            (Exit::Interrupted, 130),
        ];
        for (exit, code) in codes {
            assert_eq!(exit as u8, code, "{exit:?}");
        }
    }
}
