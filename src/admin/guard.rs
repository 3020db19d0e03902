//! Keeps out web pages that somebody on this machine looks at, before anybody is asked who they are.
//!
//! A page from elsewhere can make a browser send requests to loopback. It cannot choose `Host` (so a name that
//! was rebound to 127.0.0.1 is told apart), it cannot leave out `Origin`, and it cannot send JSON without
//! asking first, which nothing here answers with yes. There is no CORS.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::channel::IsEncrypted;
use super::pages::closing;
use super::problem::Problem;
use super::room::Room;
use crate::config::schema::Admin;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What browsers send and others do not.
const OF_BROWSERS: [HeaderName; 6] = [
    header::ORIGIN,
    header::REFERER,
    header::COOKIE,
    SEC_FETCH_SITE,
    HeaderName::from_static("sec-fetch-mode"),
    HeaderName::from_static("sec-fetch-dest"),
];
/// What answers of the API may do in a browser: nothing.
const POLICY_OF_ANSWERS: &str = "default-src 'none'; frame-ancestors 'none'";
/// What the pages for people may do: use what comes from this door, and nothing else.
const POLICY_OF_PAGES: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Puts the guard before every page, also before those that are not there.
pub(super) fn guarded(pages: Router, room: Room) -> Router {
    pages.layer(middleware::from_fn_with_state(room, guard))
}

async fn guard(State(room): State<Room>, request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let rules = room.rules();
    let is_encrypted = request.extensions().get::<IsEncrypted>().is_some_and(|channel| channel.0);
    let hosts = Hosts { bound: room.bound, is_encrypted, admin: rules.admin() };
    let refusal = refusal(&hosts, request.method(), request.uri(), request.headers());
    let mut response = match refusal {
        Some(problem) => closing(problem),
        None => next.run(request).await,
    };
    let policy = if is_api { POLICY_OF_ANSWERS } else { POLICY_OF_PAGES };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

fn refusal(hosts: &Hosts<'_>, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Problem> {
    let Some(host) = only(headers, &header::HOST) else {
        return Some(Problem::new(StatusCode::BAD_REQUEST, "a request needs one Host"));
    };
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    if !hosts.allow(host) || !hosts.allow(authority) {
        let detail = "this host name is not the admin door's; use localhost, 127.0.0.1 or [::1], or add it to \
                      `admin.hosts` of the file";
        return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    let is_own = |origin: &HeaderValue| origin.to_str().is_ok_and(|origin| hosts.allow_origin(origin, host));
    if !headers.get_all(header::ORIGIN).iter().all(is_own) {
        let detail = "requests of other web pages are refused (Origin); `admin.origins` of the file adds one";
        return Some(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let is_own = |site: &HeaderValue| site == "same-origin" || site == "none";
    let is_named = hosts.names_an_origin(headers);
    if !is_named && !headers.get_all(SEC_FETCH_SITE).iter().all(is_own) && !is_visit(method, uri) {
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

/// Somebody follows a link to the page for people: it shows nothing until its own script has asked.
fn is_visit(method: &Method, uri: &Uri) -> bool {
    *method == Method::GET && uri.path() == "/"
}

/// The names of the door.
struct Hosts<'f> {
    /// The address of the door, when it has one.
    bound: Option<SocketAddr>,
    /// The request came within TLS.
    is_encrypted: bool,
    admin: Option<&'f Admin>,
}

impl Hosts<'_> {
    /// True for a `Host` that a page of another machine cannot have.
    fn allow(&self, host: &str) -> bool {
        if self.bound.is_some_and(|bound| host == bound.to_string() || host == bound.ip().to_string()) {
            return true;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() && !name.is_empty() => name,
            _ => host,
        };
        let is_own = name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]";
        is_own || self.is_further(name) || (self.is_beyond() && is_address(name))
    }

    /// Other machines reach the door: by any of its addresses, also those that a network in between has made of them. An
    /// address as a name cannot be rebound to another one.
    fn is_beyond(&self) -> bool {
        self.bound.is_some_and(|bound| !bound.ip().is_loopback())
    }

    fn is_further(&self, name: &str) -> bool {
        self.admin.is_some_and(|admin| admin.hosts.iter().any(|host| host.eq_ignore_ascii_case(name)))
    }

    /// True for the door's own pages, also behind a proxy that speaks TLS under a name of the file.
    fn allow_origin(&self, origin: &str, host: &str) -> bool {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        (!self.is_encrypted && origin.strip_prefix("http://") == Some(host))
            || ((self.is_encrypted || self.is_further(name)) && origin.strip_prefix("https://") == Some(host))
            || self.is_named(origin)
    }

    fn is_named(&self, origin: &str) -> bool {
        self.admin.is_some_and(|admin| admin.origins.iter().any(|known| known.eq_ignore_ascii_case(origin)))
    }

    /// The request comes from a page of another origin that the file names.
    fn names_an_origin(&self, headers: &HeaderMap) -> bool {
        only(headers, &header::ORIGIN).is_some_and(|origin| self.is_named(origin))
    }
}

/// An IP address as it stands in a URL.
fn is_address(name: &str) -> bool {
    let in_brackets = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    in_brackets.map_or_else(|| name.parse::<Ipv4Addr>().is_ok(), |name| name.parse::<Ipv6Addr>().is_ok())
}

/// True for a request that a browser sends, and what it sends by itself proves nothing.
pub(super) fn is_browser(headers: &HeaderMap) -> bool {
    OF_BROWSERS.iter().any(|name| headers.contains_key(name))
}

/// The value of a header that is there once, as text.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}
