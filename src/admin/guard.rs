//! Keeps out web pages that somebody on this machine looks at, and clients that take too much.
//!
//! A page from elsewhere can make a browser send requests to loopback. It cannot choose `Host` (so a name that
//! was rebound to 127.0.0.1 is told apart), it cannot leave out `Origin`, and it cannot send JSON without
//! asking first, which nothing here answers with yes. There are no cookies and no CORS.

use super::problem::Problem;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a request's body.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;
/// For a body to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// For an answer to be found.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The hosts that a request may name.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// The address of the door, when it has one.
    pub bound: Option<SocketAddr>,
}

/// Puts the guard before every page, also before those that are not there.
pub(super) fn guarded(pages: Router, hosts: Hosts) -> Router {
    pages.layer(middleware::from_fn_with_state(Arc::new(hosts), guard))
}

async fn guard(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&hosts, request.method(), request.uri(), request.headers()) {
        Some(problem) => closing(problem),
        None => match with_body(request).await {
            Ok(request) => match tokio::time::timeout(ANSWER_TIME_MAX, next.run(request)).await {
                Ok(response) => response,
                Err(_) => {
                    Problem::new(StatusCode::GATEWAY_TIMEOUT, "no answer within 10 s; see the log").into_response()
                }
            },
            Err(problem) => closing(problem),
        },
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, nothing);
    response
}

/// What is refused may have more bytes underway, which nobody will read.
fn closing(problem: Problem) -> Response {
    let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
    (close, problem).into_response()
}

fn refusal(hosts: &Hosts, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Problem> {
    let Some(host) = only(headers, &header::HOST) else {
        return Some(Problem::new(StatusCode::BAD_REQUEST, "a request needs one Host"));
    };
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    if !hosts.allow(host) || !hosts.allow(authority) {
        let detail = "this host name is not the admin door's; use localhost, 127.0.0.1 or [::1]";
        return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    let is_same =
        |origin: &HeaderValue| origin.to_str().is_ok_and(|origin| origin.strip_prefix("http://") == Some(host));
    if !headers.get_all(header::ORIGIN).iter().all(is_same) {
        return Some(Problem::new(StatusCode::FORBIDDEN, "requests of other web pages are refused (Origin)"));
    }
    let is_own = |site: &HeaderValue| site == "same-origin" || site == "none";
    if !headers.get_all(SEC_FETCH_SITE).iter().all(is_own) {
        return Some(Problem::new(StatusCode::FORBIDDEN, "requests of other web pages are refused (Sec-Fetch-Site)"));
    }
    if method.is_safe() {
        return None;
    }
    if !only(headers, &header::CONTENT_TYPE).is_some_and(is_json) {
        let detail = "changes need `content-type: application/json`";
        return Some(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    None
}

/// The body as a whole, so that no page waits for one or reads too much.
async fn with_body(request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let declared =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 1 MiB"));
    }
    let whole = Limited::new(body, BODY_BYTES_MAX).collect();
    let Ok(collected) = tokio::time::timeout(BODY_TIME_MAX, whole).await else {
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took longer than 10 s"));
    };
    let body = collected.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
        true => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 1 MiB"),
        false => Problem::new(StatusCode::BAD_REQUEST, "the body broke off"),
    })?;
    Ok(Request::from_parts(parts, Body::from(body.to_bytes())))
}

impl Hosts {
    /// True for a `Host` that a page of another machine cannot have.
    fn allow(&self, host: &str) -> bool {
        if self.bound.is_some_and(|bound| host == bound.to_string() || host == bound.ip().to_string()) {
            return true;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() && !name.is_empty() => name,
            _ => host,
        };
        name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
    }
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}
