//! What went wrong, as a status.
//!
//! UNAVAILABLE, DEADLINE_EXCEEDED and RESOURCE_EXHAUSTED mean that the same call may succeed
//! later; every other one, that it will not until something else has changed.

use chord_core::event::Failure;
use tonic::{Code, Status};

use crate::dht::{Asked, failure_text};

/// The status for a failure of a call that changes nothing.
pub(super) fn of(failure: Failure) -> Status {
    status(failure, Asked::Read)
}

/// The status for a failure of a write.
pub(super) fn of_write(failure: Failure) -> Status {
    status(failure, Asked::Write)
}

fn status(failure: Failure, asked: Asked) -> Status {
    let code = match failure {
        Failure::Unavailable { .. } | Failure::NotMember => Code::Unavailable,
        Failure::TimedOut => Code::DeadlineExceeded,
        Failure::Overloaded => Code::ResourceExhausted,
        Failure::Conflict { .. } => Code::Aborted,
        Failure::Invalid => Code::InvalidArgument,
        // Not RESOURCE_EXHAUSTED: somebody must make room before the same call can succeed.
        Failure::Full => Code::FailedPrecondition,
        Failure::Storage => Code::Internal,
    };
    Status::new(code, failure_text(failure, asked))
}

/// The code as a label of counters.
pub(super) fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_core::message::Version;

    #[test]
    fn each_failure_has_its_code_and_only_those_worth_repeating_say_so() {
        let stored = Version::default();
        for (failure, code) in [
            (
                Failure::Unavailable {
                    stored: 1,
                    needed: 2,
                },
                Code::Unavailable,
            ),
            (Failure::TimedOut, Code::DeadlineExceeded),
            (Failure::NotMember, Code::Unavailable),
            (Failure::Overloaded, Code::ResourceExhausted),
            (Failure::Conflict { stored }, Code::Aborted),
            (Failure::Invalid, Code::InvalidArgument),
            (Failure::Full, Code::FailedPrecondition),
            (Failure::Storage, Code::Internal),
        ] {
            assert_eq!(of(failure).code(), code, "{failure:?}");
            assert_eq!(of_write(failure).code(), code, "{failure:?}");
        }
    }
}
