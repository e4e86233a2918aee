//! The body of an answer: knows how the call ended, and counts it when it is gone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use tonic::{Code, Status};

use super::memory::Share;
use super::status::word;
use crate::metrics::Metrics;

/// The trailer of an answer that is not all there was.
const TRUNCATED: HeaderName = HeaderName::from_static("dht-truncated");

/// Extension of a response: it is not all there was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Truncated;

/// A call until the last byte of its answer, or until the client is gone.
#[derive(Debug)]
pub(super) struct Counted {
    metrics: Arc<Metrics>,
    method: &'static str,
    begun: Instant,
    /// Until something else is said, the client has gone.
    code: Code,
    /// What its request and answer hold of the memory.
    _share: Share,
}

impl Counted {
    pub(super) fn new(metrics: Arc<Metrics>, method: &'static str, share: Share) -> Self {
        Self {
            metrics,
            method,
            begun: Instant::now(),
            code: Code::Cancelled,
            _share: share,
        }
    }

    /// Makes `response` carry this call.
    pub(super) fn answer(mut self, response: Response<tonic::body::Body>) -> Response<Answer> {
        // A status in the head is a refusal; else it comes in the trailers.
        if let Some(code) = response.headers().get(Status::GRPC_STATUS) {
            self.code = Code::from_bytes(code.as_bytes());
        }
        let truncated = response.extensions().get::<Truncated>().is_some();
        response.map(|body| Answer {
            body,
            truncated,
            call: self,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics
            .grpc_request(self.method, word(self.code), self.begun.elapsed());
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Answer {
    body: tonic::body::Body,
    truncated: bool,
    call: Counted,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        polled.map(|frame| {
            frame.map(|frame| {
                let mut frame = frame?;
                if let Some(trailers) = frame.trailers_mut() {
                    if let Some(code) = trailers.get(Status::GRPC_STATUS) {
                        self.call.code = Code::from_bytes(code.as_bytes());
                    }
                    if self.truncated {
                        trailers.insert(TRUNCATED, HeaderValue::from_static("true"));
                    }
                }
                Ok(frame)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
