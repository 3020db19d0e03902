//! A request's way, in one line: understand → believe → route → assign → pick → send → answer. [`handle`] alone turns
//! errors into answers; [`forward`] returns them.

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version, request};
use hyper::body::{Body, Incoming};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::answer::{self, AnswerBody};
use super::cache;
use super::connection::Connection;
use super::edit::{self, Told};
use super::error::ProxyError;
use super::fault;
use super::fields::Fields;
use super::headers;
use super::limit::{self, Quotas};
use super::record::Record;
use super::redirect::{self, Asked};
use super::send::{Outgoing, send};
use super::tunnel::{self, Tunnel};
use crate::model::Reason;

use crate::routing::request::{self as incoming, Destination};
use crate::routing::routes::Route;
use crate::routing::snapshot::Service;
use crate::routing::user_key::{KeySource, UserKey};
use crate::routing::{Assignment, RequestView, client, forged};
use crate::upstream::{BodyWatch, Deadline, RequestBody, UpstreamBody};

/// The longest wait for an answer's head where the route names none.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Answers a request, whatever happens. The deadline is moved as the request goes.
pub(super) async fn handle(
    connection: Rc<Connection>,
    request: Request<Incoming>,
    deadline: Rc<Deadline>,
) -> Result<Response<AnswerBody>, Infallible> {
    let started = Instant::now();
    connection.worker.pools.set_now(started);
    let stays_open = connection.request_begun();
    // a request that is being worked on has its own deadlines, set as it goes
    deadline.clear();
    let (method, version) = (request.method().clone(), request.version());
    let mut record = Record::begin(connection.clone(), started);
    record.describe(&method, request.uri(), version, request.headers());
    let has_body = !request.body().is_end_stream();
    let mut stays_open = stays_open;
    let mut response = match forward(&connection, request, &mut record, &deadline, started).await {
        Ok(answer) => answer.into_response(record, deadline),
        Err(error) => {
            connection.has_unread_body.set(has_body);
            // a client that is refused may leave its body out, or send it: what comes next could be read in two ways
            stays_open &= !has_body || error.comes_after_the_body();
            deadline.set(tokio::time::Instant::now(), connection.rules.timeouts.idle);
            answer::local(error, record, deadline, method == Method::HEAD)
        }
    };
    if !stays_open && version != Version::HTTP_2 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// What an endpoint answered, or what is answered without one.
enum Answer {
    Upstream { response: Response<UpstreamBody>, idle: Duration },
    Local(Response<()>),
}

impl Answer {
    fn into_response(self, mut record: Record, deadline: Rc<Deadline>) -> Response<AnswerBody> {
        match self {
            Answer::Upstream { response, idle } => {
                let (head, body) = response.into_parts();
                Response::from_parts(head, AnswerBody::upstream(body, record, deadline, idle))
            }
            Answer::Local(response) => {
                record.answer(response.status().as_u16());
                response.map(|()| AnswerBody::empty(record, deadline))
            }
        }
    }
}

/// What was decided about a request, and holds to its end.
pub(super) struct Decision<'s> {
    pub(super) route: &'s Route,
    pub(super) service: &'s Service,
    pub(super) cohort: usize,
    pub(super) variant: usize,
    pub(super) reason: Reason,
    pub(super) bucket: u32,
    pub(super) user: Option<u64>,
    /// A `Set-Cookie` for a user who got a key just now.
    issued: Option<HeaderValue>,
    /// What header edits may tell.
    pub(super) told: Option<Box<Told>>,
    /// The position of the source of the user key, when the key came with the request.
    pub(super) source: Option<usize>,
    /// What is left of the limits that it met.
    pub(super) quotas: Quotas,
}

async fn forward(
    connection: &Rc<Connection>,
    request: Request<Incoming>,
    record: &mut Record,
    deadline: &Rc<Deadline>,
    started: Instant,
) -> Result<Answer, ProxyError> {
    let current = connection.worker.current();
    let snapshot = &current.snapshot;
    let rules = current.rules(&connection.listener).unwrap_or(&connection.rules);
    let (mut head, body) = request.into_parts();

    let mut destination = incoming::validate(&head.method, &head.uri, head.version, &head.headers, &rules.limits)?;
    check_length(&body, rules.limits.body_bytes)?;
    let client = client::client_ip(connection.peer.ip(), &rules.trust.proxies, &head.headers);
    record.client(client.ip);
    forged::strip_forged(&mut head.headers, client.peer_trusted, snapshot.geo_header(), &snapshot.relied_on);
    let quotas = limit::of_listener(rules.rate_limit.as_ref(), client.ip, &head.headers, started)?;
    let fields = Fields::of(&head.headers);
    let mut asked = headers::strip_hop_by_hop(&mut head.headers, &snapshot.relied_on, fields);
    asked.wants_websocket &= head.method == Method::GET
        && head.version == Version::HTTP_11
        && head.headers.contains_key(header::SEC_WEBSOCKET_KEY);
    if let Some(answer) = answer_options(&mut head) {
        return Ok(Answer::Local(answer));
    }

    let path = destination.matched_path.as_deref().unwrap_or_else(|| head.uri.path());
    let view = RequestView::new(
        &head.method,
        destination.host(),
        path,
        head.uri.query(),
        &head.headers,
        client,
        &rules.trust,
        snapshot.geo.as_deref(),
    );
    let found = snapshot.routes.find(&view).ok_or(ProxyError::NoRoute)?;
    let route = found.route;
    record.route(&route.name, &current);
    let is_https = is_secure(&head, client.peer_trusted);
    let asked_for = Asked { head: &head, destination: &destination, client, is_https, has_body: !body.is_end_stream() };
    if let Some(answer) = redirect::answer(found, &asked_for, snapshot)? {
        return Ok(Answer::Local(answer));
    }
    let service = &snapshot.services[route.service.ok_or(ProxyError::NoRoute)?];
    let assignment = service.assign(&view);
    let mut decision = Decision::of(service, route, &assignment, is_https);
    drop(assignment);
    decision.record(decision.variant, decision.reason, record);
    decision.quotas = quotas;
    limit::of_route(&mut decision, client.ip, &head.headers, started)?;

    prepare(&mut head, fields, &destination, connection, client.peer_trusted, &decision)?;
    decision.told = Told::of(route, service, snapshot, client, &head.headers);
    redirect::rewrite(found, &head.uri, &mut destination);
    let idle = route.timeouts.idle.unwrap_or(rules.timeouts.idle);
    let is_streaming = asked.wants_websocket || is_grpc(&head.headers);
    let wait = route.timeouts.request.unwrap_or(if is_streaming { Duration::ZERO } else { ANSWER_WAIT });
    let (body, watch) = stream(body, rules.limits.body_bytes, deadline, started, idle, wait);
    if !service.faults.is_empty() {
        fault::inject(connection, &decision, record, deadline).await?;
    }
    let websocket_key = asked.wants_websocket.then(|| head.headers.get(header::SEC_WEBSOCKET_KEY).cloned()).flatten();
    let outgoing = Outgoing { head, destination, body, watch, asked };
    let (response, variant) = send(connection, outgoing, &decision, record, deadline, started).await?;
    let sent = Sent { variant, websocket_key, idle };
    finish(response, &sent, connection, &decision, record)
}

/// A request's body on its way to the endpoint, with the deadline that it moves.
fn stream(
    body: Incoming,
    most: Option<u64>,
    deadline: &Rc<Deadline>,
    started: Instant,
    idle: Duration,
    wait: Duration,
) -> (RequestBody, Option<Rc<BodyWatch>>) {
    if body.is_end_stream() {
        deadline.set(started.into(), wait);
        return (RequestBody::empty(), None);
    }
    deadline.set(started.into(), idle);
    let (body, watch) = RequestBody::streamed(body, most, deadline.clone(), idle, wait);
    (body, Some(watch))
}

/// What was sent, as far as its answer has to know.
struct Sent {
    variant: usize,
    websocket_key: Option<HeaderValue>,
    idle: Duration,
}

impl<'s> Decision<'s> {
    /// What an assignment says, and the cookie of a user who got a key with it.
    fn of(service: &'s Service, route: &'s Route, assignment: &Assignment<'_>, is_secure: bool) -> Decision<'s> {
        Decision {
            service,
            route,
            cohort: assignment.cohort,
            variant: assignment.variant,
            reason: assignment.reason,
            bucket: assignment.bucket.number(),
            user: assignment.user_hash,
            issued: assignment.user.as_ref().and_then(|user| issue(service, user, is_secure)),
            source: assignment.user.as_ref().filter(|user| user.issued().is_none()).map(UserKey::source),
            told: None,
            quotas: Quotas::new(),
        }
    }

    pub(super) fn record(&self, variant: usize, reason: Reason, record: &mut Record) {
        record.assign(self.service, self.cohort, variant, reason, self.bucket, self.user);
    }
}

/// What an endpoint answered, for the client.
fn finish(
    response: Response<UpstreamBody>,
    sent: &Sent,
    connection: &Connection,
    decision: &Decision<'_>,
    record: &mut Record,
) -> Result<Answer, ProxyError> {
    let (mut head, body) = response.into_parts();
    let status = head.status;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return switch_protocols(head, body, sent, connection, record);
    }
    if !headers::has_one_framing(&head.headers, head.version) {
        return Err(ProxyError::BadAnswer);
    }
    record.answer(status.as_u16());
    headers::strip_answer(&mut head.headers);
    head.version = Version::HTTP_11;
    head.extensions.clear();
    edit::response(&mut head.headers, decision, sent.variant);
    cache::guard(&mut head.headers, decision);
    if let Some(cookie) = &decision.issued
        && !is_shared(&head.headers)
    {
        head.headers.append(header::SET_COOKIE, cookie.clone());
    }
    limit::tell(&mut head.headers, &decision.quotas);
    if decision.service.expose_assignment {
        let service = decision.service;
        head.headers.insert(headers::X_RINGWAY_SERVICE, service.header.clone());
        head.headers.insert(headers::X_RINGWAY_COHORT, service.cohorts[decision.cohort].header.clone());
        head.headers.insert(headers::X_RINGWAY_VARIANT, service.variants[sent.variant].header.clone());
    }
    Ok(Answer::Upstream { response: Response::from_parts(head, body), idle: sent.idle })
}

/// Becomes a tunnel once the answer is out, when the answer is one to a WebSocket that was asked for.
fn switch_protocols(
    mut head: http::response::Parts,
    body: UpstreamBody,
    sent: &Sent,
    connection: &Connection,
    record: &mut Record,
) -> Result<Answer, ProxyError> {
    let is_valid = sent.websocket_key.as_ref().is_some_and(|key| tunnel::is_answer_to(key.as_bytes(), &head.headers));
    let upstream = body.into_tunnel().filter(|_| is_valid).ok_or(ProxyError::BadAnswer)?;
    record.answer(head.status.as_u16());
    headers::strip_answer(&mut head.headers);
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    head.version = Version::HTTP_11;
    head.extensions.clear();
    *connection.tunnel.borrow_mut() = Some(Tunnel { upstream });
    Ok(Answer::Local(Response::from_parts(head, ())))
}

/// Signs the request, says where it came from, and what was decided about it.
fn prepare(
    head: &mut request::Parts,
    fields: Fields,
    destination: &Destination,
    connection: &Connection,
    peer_trusted: bool,
    decision: &Decision<'_>,
) -> Result<(), ProxyError> {
    let lines = &mut head.headers;
    headers::add_via(lines, fields, head.version == Version::HTTP_2, &connection.worker.shared.via)?;
    headers::add_forwarded(lines, fields, &connection.peer_text, "http", destination.authority.as_ref());
    headers::ensure_request_id(lines, peer_trusted);
    headers::ensure_trace_context(lines, fields);
    if fields.has(Fields::TRAILER) {
        headers::sanitize_trailer_names(lines);
    }
    if head.version == Version::HTTP_2 {
        headers::join_cookies(lines);
    }
    if fields.has(Fields::EXPECT) {
        lines.remove(header::EXPECT);
    }
    let service = decision.service;
    lines.insert(headers::X_RINGWAY_SERVICE, service.header.clone());
    lines.insert(headers::X_RINGWAY_COHORT, service.cohorts[decision.cohort].header.clone());
    head.extensions.clear();
    Ok(())
}

/// Refuses a body that says itself that it is too long, before anybody is asked for it.
fn check_length(body: &Incoming, most: Option<u64>) -> Result<(), ProxyError> {
    if most.is_some_and(|most| body.size_hint().lower() > most) { Err(ProxyError::BodyTooLarge) } else { Ok(()) }
}

/// Answers `OPTIONS` where this is its last hop (RFC 9110 §7.6.2), or where it asks about the server as a whole.
fn answer_options(head: &mut request::Parts) -> Option<Response<()>> {
    if head.method != Method::OPTIONS {
        return None;
    }
    let hops = head.headers.get(header::MAX_FORWARDS).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    if hops == Some(0) || head.uri.path() == "*" {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(super::answer::ALLOWED));
        return Some(response);
    }
    if let Some(hops) = hops {
        head.headers.insert(header::MAX_FORWARDS, HeaderValue::from(hops - 1));
    }
    None
}

/// The cookie of a user who got a key just now: it lives for a year, and scripts do not see it.
fn issue(service: &Service, user: &UserKey<'_>, is_secure: bool) -> Option<HeaderValue> {
    let id = user.issued()?;
    let KeySource::IssueCookie(name) = &service.key_sources[user.source()] else { return None };
    let secure = if is_secure { "; Secure" } else { "" };
    let cookie = format!("{name}={id}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&cookie).ok()
}

/// True when the client came by TLS, as far as a trusted proxy tells.
fn is_secure(head: &request::Parts, peer_trusted: bool) -> bool {
    peer_trusted && head.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
}

/// True for an answer that a shared cache may keep: it must not carry one user's cookie to others.
fn is_shared(lines: &header::HeaderMap) -> bool {
    lines.get_all(header::CACHE_CONTROL).iter().any(|line| {
        let line = line.as_bytes().to_ascii_lowercase();
        [&b"public"[..], b"s-maxage"].iter().any(|word| memchr::memmem::find(&line, word).is_some())
    })
}

fn is_grpc(lines: &header::HeaderMap) -> bool {
    lines.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
