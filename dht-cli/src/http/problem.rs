//! What went wrong, as a problem document (RFC 9457) with a stable `code`.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chord_core::event::Failure;

use crate::dht::failure_code;
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

    /// Asks the client to come back.
    fn later(self) -> Self {
        Self {
            retry: true,
            ..self
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let (status, detail) = match failure {
            Failure::Unavailable { stored, needed } => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "{stored} of {needed} holders answered; a write may survive, repeating it is safe"
                ),
            ),
            Failure::TimedOut => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no answer in time; a write may survive, repeating it is safe".to_owned(),
            ),
            Failure::NotMember => (
                StatusCode::SERVICE_UNAVAILABLE,
                "this node is not a member of the ring now; nothing happened".to_owned(),
            ),
            Failure::Overloaded => (
                StatusCode::TOO_MANY_REQUESTS,
                "too much in flight; nothing happened".to_owned(),
            ),
            Failure::Conflict { .. } => (
                StatusCode::PRECONDITION_FAILED,
                "the stored version is another one; nothing happened".to_owned(),
            ),
            Failure::Invalid => (
                StatusCode::BAD_REQUEST,
                "the ring does not accept this request; nothing happened".to_owned(),
            ),
            Failure::Full => (
                StatusCode::INSUFFICIENT_STORAGE,
                "a disk is full; a write may survive at other holders".to_owned(),
            ),
            Failure::Storage => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "a disk failed; a write may survive".to_owned(),
            ),
        };
        let problem = Self::new(status, failure_code(failure), detail);
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
