//! Who may ask: the checks before every route.
//!
//! A page from anywhere can make a browser send requests to a port on loopback. Two things
//! give it away: after a name was rebound to 127.0.0.1 the `Host` is that name, and a write
//! carries the `Origin` of the page. Neither is ever sent by a command line.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::problem::Problem;
use crate::accept::{Access, Client};
use crate::dht::Dht;

/// Judges a request, lets it through or not, and counts the answer.
pub(super) async fn watch<D: Dht>(
    State(shared): State<Shared<D>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let route = route(request.extensions().get::<MatchedPath>());
    let method = method(request.method());
    let mut response = match judge(&shared.names, &request, route.access) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let nosniff = HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    let status = response.status().as_u16();
    shared
        .metrics
        .http_request(route.name, method, status, begun.elapsed());
    response
}

struct Route {
    name: &'static str,
    access: Access,
}

/// What is behind a path: its name in the counters, and who may use it.
fn route(path: Option<&MatchedPath>) -> Route {
    let (name, access) = match path.map_or("", MatchedPath::as_str) {
        "/v1/kv/" | "/v1/kv/{key}" => ("kv", Access::Client),
        "/v1/lookup/" | "/v1/lookup/{key}" => ("lookup", Access::Client),
        "/v1/ring" => ("ring", Access::Client),
        "/v1/status" => ("status", Access::Client),
        "/v1/config" => ("config", Access::Admin),
        "/metrics" => ("metrics", Access::Client),
        "/livez" => ("livez", Access::Anyone),
        "/readyz" => ("readyz", Access::Anyone),
        _ => ("other", Access::Client),
    };
    Route { name, access }
}

/// The method as a label: a client may invent any word, the counters keep none of them.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn judge(names: &[String], request: &Request, access: Access) -> Result<(), Problem> {
    let nobody = Client {
        role: None,
        is_plain: false,
    };
    let client = request.extensions().get::<Client>().unwrap_or(&nobody);
    let host = host(request);
    if client.is_plain {
        judge_host(names, request.version(), host.as_deref())?;
    }
    if !client.may(access) {
        let wanted = match access {
            Access::Admin => "an administrator's certificate",
            Access::Client | Access::Anyone => "a client's certificate",
        };
        let detail = format!("this needs {wanted} of the cluster");
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "certificate_needed",
            detail,
        ));
    }
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !reads && is_foreign(request.headers(), host.as_deref()) {
        let detail = "writes from pages of other origins are refused";
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            detail,
        ));
    }
    Ok(())
}

/// Host and port as the client named them.
fn host(request: &Request) -> Option<String> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str().to_owned());
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    // Two hosts are none.
    hosts.next().is_none().then(|| host.to_owned())
}

fn judge_host(names: &[String], version: Version, host: Option<&str>) -> Result<(), Problem> {
    let Some(host) = host else {
        // Health checks of old kind send none; browsers always do.
        if version == Version::HTTP_10 {
            return Ok(());
        }
        return Err(Problem::bad_request("bad_host", "send exactly one Host"));
    };
    let known = host.parse::<Authority>().is_ok_and(|authority| {
        let name = authority.host();
        let literal = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(name);
        literal.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || names.iter().any(|known| name.eq_ignore_ascii_case(known))
    });
    if known {
        return Ok(());
    }
    let detail =
        "this Host is no address, not localhost and not in api.http_names of the configuration";
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "unknown_host",
        detail,
    ))
}

/// Whether a page of another origin sent this.
fn is_foreign(headers: &HeaderMap, host: Option<&str>) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return false;
    };
    let origin = origin.to_str().unwrap_or_default();
    let named = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    let same = match (named, host) {
        (Some(named), Some(host)) => named.eq_ignore_ascii_case(host),
        (Some(_), None) | (None, _) => false,
    };
    !same || origins.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(host: &str) -> bool {
        judge_host(&["dht.internal".to_owned()], Version::HTTP_11, Some(host)).is_ok()
    }

    #[test]
    fn addresses_localhost_and_configured_names_are_hosts() {
        for host in [
            "127.0.0.1:7480",
            "127.0.0.1",
            "[::1]:7480",
            "[::1]",
            "localhost",
            "LOCALHOST:1",
            "dht.internal:7480",
            "DHT.internal",
        ] {
            assert!(accepts(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:7480",
            "127.0.0.1.evil.example",
            "",
            "a b",
            "x@localhost.evil",
            "[::1",
            "dht.internal.evil",
        ] {
            assert!(!accepts(host), "{host}");
        }
    }

    #[test]
    fn only_http_1_0_may_leave_the_host_out() {
        assert!(judge_host(&[], Version::HTTP_10, None).is_ok());
        assert!(judge_host(&[], Version::HTTP_11, None).is_err());
    }

    #[test]
    fn origins_must_be_the_host() {
        let foreign = |origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            is_foreign(&headers, Some("127.0.0.1:7480"))
        };
        assert!(!is_foreign(&HeaderMap::new(), Some("127.0.0.1:7480")));
        assert!(!foreign("http://127.0.0.1:7480"));
        for origin in [
            "null",
            "http://evil.example",
            "http://127.0.0.1:7481",
            "http://127.0.0.1",
            "file://",
            "",
        ] {
            assert!(foreign(origin), "{origin}");
        }
    }
}
