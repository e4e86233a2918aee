//! `/v1/kv/{key}`: records, bytes in, bytes out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use chord_core::message::{VALUE_MAX, Version};
use chord_net_quic::PutOptions;
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Shared;
use super::key::{self, Encoding};
use super::problem::Problem;
use crate::dht::Dht;

/// Time for a whole body to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// What a PUT may say in its query.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PutQuery {
    ttl: Option<String>,
    copies: u8,
    encoding: Encoding,
}

/// What a GET may say in its query.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GetQuery {
    quorum: bool,
    encoding: Encoding,
}

/// What a DELETE may say in its query.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DeleteQuery {
    encoding: Encoding,
}

/// Stores the body. 204 with the version, once a majority of the holders have it.
pub(super) async fn put<D: Dht>(
    State(shared): State<Shared<D>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let query: PutQuery = key::query(&parts.uri)?;
    let key = key::key(&parts.uri, query.encoding)?;
    let options = PutOptions {
        ttl: key::ttl(query.ttl.as_deref())?,
        copies: query.copies,
        expected: expected(&parts.headers)?,
    };
    let (value, _held) = receive(body, &parts.headers, &shared.bodies).await?;
    let stored = shared.dht.put(key, value, options).await;
    let version = stored.map_err(Problem::of_write)?;
    Ok((
        StatusCode::NO_CONTENT,
        [(header::ETAG, key::entity_tag(version))],
    )
        .into_response())
}

/// The value, 304 if the client has it already, or 404.
pub(super) async fn get<D: Dht>(
    State(shared): State<Shared<D>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query: GetQuery = key::query(&uri)?;
    let key = key::key(&uri, query.encoding)?;
    let record = shared
        .dht
        .get(key, query.quorum)
        .await?
        .ok_or_else(Problem::not_found)?;
    let tag = key::entity_tag(record.header.version);
    let known = tags(&headers, header::IF_NONE_MATCH)?;
    if known.iter().any(|known| known == "*" || *known == tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let mut response = Body::from(record.value).into_response();
    let headers = response.headers_mut();
    // Bytes of strangers must never run in the origin of this port.
    let fixed = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let tag = HeaderValue::try_from(tag).expect("digits, a dash and quotes are a header");
    headers.insert(header::ETAG, tag);
    Ok(response)
}

/// Deletes. 204, also if there was nothing.
pub(super) async fn delete<D: Dht>(
    State(shared): State<Shared<D>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let query: DeleteQuery = key::query(&uri)?;
    let key = key::key(&uri, query.encoding)?;
    let removed = shared.dht.remove(key, expected(&headers)?).await;
    removed.map_err(Problem::of_write)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A path that ends where a key should begin.
pub(super) async fn without_key(uri: Uri) -> Problem {
    match key::key(&uri, Encoding::Utf8) {
        Err(problem) => problem,
        Ok(_) => Problem::not_found(),
    }
}

/// The version a write insists on: `If-Match` names it, `If-None-Match: *` says there must
/// be none.
fn expected(headers: &HeaderMap) -> Result<Option<Version>, Problem> {
    let matching = tags(headers, header::IF_MATCH)?;
    let none = tags(headers, header::IF_NONE_MATCH)?;
    match (matching.as_slice(), none.as_slice()) {
        ([], []) => Ok(None),
        ([], [star]) if star == "*" => Ok(Some(Version::default())),
        ([tag], []) if tag != "*" => match key::version(tag) {
            Some(version) => Ok(Some(version)),
            // No version of ours looks like this, so it cannot be the stored one.
            None => Err(Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "conflict",
                "If-Match names no version that was ever given out",
            )),
        },
        _ => Err(Problem::bad_request(
            "bad_condition",
            "a write takes either If-Match with one version, or If-None-Match: *",
        )),
    }
}

/// The entity tags of a header, one by one.
fn tags(headers: &HeaderMap, name: header::HeaderName) -> Result<Vec<String>, Problem> {
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        let value = value
            .to_str()
            .map_err(|_| Problem::bad_request("bad_condition", "an entity tag must be text"))?;
        tags.extend(value.split(',').map(|tag| tag.trim().to_owned()));
    }
    Ok(tags)
}

/// The whole body, within its time and size, and what it holds of the memory for bodies.
async fn receive(
    body: Body,
    headers: &HeaderMap,
    bodies: &Arc<Semaphore>,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Problem> {
    let declared = headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > VALUE_MAX as u64) {
        return Err(too_large());
    }
    match timeout(BODY_TIME, collect(body, bodies)).await {
        Ok(received) => received,
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow_body",
            format!("the body did not arrive within {} s", BODY_TIME.as_secs()),
        )),
    }
}

async fn collect(
    mut body: Body,
    bodies: &Arc<Semaphore>,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Problem> {
    let mut value = BytesMut::new();
    let mut held: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad_request("bad_body", "the body broke off"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if value.len() + data.len() > VALUE_MAX {
            return Err(too_large());
        }
        // What has arrived counts, not what was announced: a client that promises much and
        // sends little takes nothing from the others.
        let more = u32::try_from(data.len()).expect("a frame below the size of a value");
        let more = bodies
            .clone()
            .try_acquire_many_owned(more)
            .map_err(|_| Problem::overloaded("too many bodies at once"))?;
        match &mut held {
            Some(held) => held.merge(more),
            None => held = Some(more),
        }
        value.extend_from_slice(&data);
    }
    Ok((value.freeze(), held))
}

fn too_large() -> Problem {
    let detail = format!("a value has at most {VALUE_MAX} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Frame;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A body whose end never comes.
    struct Endless {
        left: usize,
    }

    impl hyper::body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return Poll::Pending;
            }
            self.left -= 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_given_up_after_ten_seconds() {
        let bodies = Arc::new(Semaphore::new(100));
        let begun = tokio::time::Instant::now();
        let body = Body::new(Endless { left: 10 });
        let problem = receive(body, &HeaderMap::new(), &bodies)
            .await
            .expect_err("no end");
        assert_eq!(
            problem.into_response().status(),
            StatusCode::REQUEST_TIMEOUT
        );
        assert_eq!(begun.elapsed(), BODY_TIME);
        assert_eq!(
            bodies.available_permits(),
            100,
            "what it held is free again"
        );
    }

    #[tokio::test]
    async fn bodies_share_a_bounded_memory_by_what_has_arrived() {
        let bodies = Arc::new(Semaphore::new(10));
        let (value, held) = receive(Body::from("12345678"), &HeaderMap::new(), &bodies)
            .await
            .expect("there is room");
        assert_eq!(value, "12345678");
        let problem = receive(Body::from("123"), &HeaderMap::new(), &bodies)
            .await
            .expect_err("full");
        assert_eq!(
            problem.into_response().status(),
            StatusCode::TOO_MANY_REQUESTS
        );
        drop(held);
        receive(Body::from("123"), &HeaderMap::new(), &bodies)
            .await
            .expect("there is room again");
    }
}
