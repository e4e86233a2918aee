//! What went wrong, as a problem document (RFC 9457) with a stable `code`.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chord_core::event::Failure;

use crate::dht::{Asked, failure_code, failure_text};
use crate::documents::ProblemDocument;

/// An answer that is not the one asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry: bool,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry: false,
        }
    }

    pub(super) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "no live record has this key",
        )
    }

    pub(super) fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", detail).later()
    }

    pub(super) fn not_ready(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail).later()
    }

    pub(super) fn not_member(detail: impl Into<String>) -> Self {
        let code = failure_code(Failure::NotMember);
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).later()
    }

    /// Asks the client to come back.
    fn later(self) -> Self {
        Self {
            retry: true,
            ..self
        }
    }
}

impl From<Failure> for Problem {
    /// Of a question that changes nothing; for others there is [`Problem::of_write`].
    fn from(failure: Failure) -> Self {
        Self::of(failure, Asked::Read)
    }
}

impl Problem {
    /// Of a write or a deletion.
    pub(super) fn of_write(failure: Failure) -> Self {
        Self::of(failure, Asked::Write)
    }

    fn of(failure: Failure, asked: Asked) -> Self {
        let status = match failure {
            Failure::Unavailable { .. } | Failure::TimedOut | Failure::NotMember => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Failure::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Failure::Conflict { .. } => StatusCode::PRECONDITION_FAILED,
            Failure::Invalid => StatusCode::BAD_REQUEST,
            Failure::Full => StatusCode::INSUFFICIENT_STORAGE,
            Failure::Storage => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let problem = Self::new(status, failure_code(failure), failure_text(failure, asked));
        match failure {
            Failure::Unavailable { .. }
            | Failure::TimedOut
            | Failure::NotMember
            | Failure::Overloaded => problem.later(),
            Failure::Conflict { .. } | Failure::Invalid | Failure::Full | Failure::Storage => {
                problem
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = ProblemDocument {
            kind: "about:blank".to_owned(),
            title: self
                .status
                .canonical_reason()
                .unwrap_or_default()
                .to_owned(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail,
        };
        let mut response = (self.status, json_body(&document)).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if self.retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A document as JSON, not to be kept by caches.
pub(super) fn json(document: &impl serde::Serialize) -> Response {
    let headers: [(HeaderName, &str); 2] = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, json_body(document)).into_response()
}

fn json_body(document: &impl serde::Serialize) -> String {
    serde_json::to_string(document).expect("our documents have text keys and print")
}
