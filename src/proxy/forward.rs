//! A request's way, in one line: understand → believe → route → assign → pick → send → answer. [`handle`] alone turns
//! errors into answers; [`forward`] returns them.

use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Version, request};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::additions::Additions;
use super::answer::{self, AnswerBody, LocalForm};
use super::arrived::Arrived;
use super::cache;
use super::connection::Connection;
use super::edit::{self, Told};
use super::error::ProxyError;
use super::exchange::Exchange;
use super::extended;
use super::fault;
use super::grpc;
use super::headers::{self, HopByHop};
use super::limit::{self, Quotas};
use super::mirror;
use super::probe;
use super::record::Record;
use super::redirect::{self, Asked};
use super::send::{Outgoing, Sending, send};
use super::tunnel::{self, Tunnel};
use super::upload::{self, Upload};
use crate::model::Reason;
use crate::routing::request::{self as incoming, Destination};
use crate::routing::routes::Route;
use crate::routing::snapshot::Service;
use crate::routing::user_key::{KeySource, UserKey};
use crate::routing::{Assignment, RequestView, forged};
use crate::upstream::{Answered, Deadline, Fields, mix};

/// The longest wait for an answer's head where the route names none.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// An answer that is on its way to the client.
pub(super) struct Reply {
    pub(super) response: Response<AnswerBody>,
    /// The fields that its head has.
    pub(super) fields: Fields,
    /// An HTTP/1.1 connection may serve another request after it.
    pub(super) stays_open: bool,
}

/// Answers a request, whatever happens. The deadline is moved as the request goes.
pub(super) async fn handle(connection: &Rc<Connection>, arrived: &mut Arrived, exchange: &Exchange) -> Reply {
    #[cfg(test)]
    assert!(!arrived.head.headers.contains_key("x-panic"), "a bug, as a test wants");
    let (started, deadline) = (Instant::now(), &exchange.deadline);
    connection.worker.pools.set_now(started);
    let stays_open = connection.request_begun();
    // a request that is being worked on has its own deadlines, set as it goes
    deadline.clear();
    let has_body = !arrived.body.is_end_stream();
    let form = local_form(arrived);
    let mut record = Record::begin(connection.clone(), started);
    record.describe(arrived);
    let answered = match connection.check_room() {
        Ok(()) => forward(connection, arrived, &mut record, exchange, started).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(answer) => answer.into_reply(record, deadline.clone(), stays_open),
        Err(error) => {
            // a client that is refused may leave its body out, or send it: what comes next could be read in two ways
            let stays_open = stays_open && (!has_body || error.comes_after_the_body());
            deadline.set(tokio::time::Instant::now(), connection.rules.timeouts.idle);
            let response = answer::local(error, record, deadline.clone(), form);
            Reply { fields: Fields::of(response.headers()), response, stays_open }
        }
    }
}

/// What an answer of ours to this request looks like.
fn local_form(arrived: &Arrived) -> LocalForm {
    let Arrived { head, fields, .. } = arrived;
    match head.version {
        Version::HTTP_2 if fields.has(Fields::CONTENT_TYPE) && grpc::is_native(&head.headers) => LocalForm::Grpc,
        _ if head.method == Method::HEAD => LocalForm::Head,
        _ => LocalForm::Text,
    }
}

/// What an endpoint answered, or what is answered without one.
enum Answer {
    Upstream { answered: Answered, idle: Duration },
    Local(Response<()>),
}

impl Answer {
    fn into_reply(self, mut record: Box<Record>, deadline: Rc<Deadline>, stays_open: bool) -> Reply {
        match self {
            Answer::Upstream { answered: Answered { head, fields, body }, idle } => {
                let body = AnswerBody::upstream(body, record, deadline, idle);
                Reply { response: Response::from_parts(head, body), fields, stays_open }
            }
            Answer::Local(response) => {
                record.answer(response.status().as_u16());
                let fields = Fields::of(response.headers());
                Reply { response: response.map(|()| AnswerBody::empty(record, deadline)), fields, stays_open }
            }
        }
    }
}

/// What was decided about a request, and holds to its end.
pub(super) struct Decision<'s> {
    pub(super) route: &'s Route,
    pub(super) service: &'s Service,
    pub(super) client: IpAddr,
    pub(super) cohort: usize,
    pub(super) variant: usize,
    pub(super) reason: Reason,
    pub(super) bucket: u32,
    pub(super) user: Option<u64>,
    /// It is a request of our own: nobody stands in for its variant, and it is not tried again.
    pub(super) is_probe: bool,
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
    arrived: &mut Arrived,
    record: &mut Record,
    exchange: &Exchange,
    started: Instant,
) -> Result<Answer, ProxyError> {
    let (deadline, current) = (&exchange.deadline, connection.worker.current());
    let (snapshot, relied_on) = (&current.snapshot, &current.snapshot.relied_on);
    let rules = current.rules(&connection.listener).unwrap_or(&connection.rules);
    let &mut Arrived { ref mut head, fields, ref mut body } = arrived;

    let destination = incoming::validate(&head.method, &head.uri, head.version, &head.headers, fields, &rules.limits)?;
    connection.check_authority(destination.host())?;
    upload::check_length(body, rules.limits.body_bytes)?;
    let (client, probed) = probe::whose(connection, rules, &head.headers);
    record.client(client.ip);
    forged::strip_forged(&mut head.headers, fields, client.peer_trusted, snapshot.geo_header(), relied_on);
    let quotas = limit::of_listener(rules.rate_limit.as_ref(), client.ip, &head.headers, started)?;
    let mut asked = headers::strip_hop_by_hop(&mut head.headers, relied_on, fields);
    asked.wants_websocket = asked.wants_websocket && may_be_websocket(head);
    if let Some(answer) = answer_options(head) {
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
    let is_https = record.scheme(connection.is_secure() || is_secure(head, client.peer_trusted));
    if let Some(answer) =
        redirect::answer(found, &Asked { head, destination: &destination, client, is_https }, snapshot)?
    {
        return Ok(Answer::Local(answer));
    }
    let service = &snapshot.services[route.service.ok_or(ProxyError::NoRoute)?];
    let mut decision = Decision::of(service, route, client.ip, &record.decide(service, &view), is_https);
    probe::decide(&mut decision, probed, &mut head.headers)?;
    decision.begin_record(head, record);
    limit::of_route(&mut decision, quotas, client.ip, &head.headers, started)?;

    let additions =
        prepare(head, (fields, relied_on), &destination, connection, client.peer_trusted, &decision, record)?;
    decision.told = Told::of(route, service, snapshot, client, &head.headers, &additions);
    let rewritten = redirect::rewrite(found, head, &destination);
    let idle = route.timeouts.idle.unwrap_or(rules.timeouts.idle);
    let (wait, is_grpc) = longest_wait(route.timeouts.request, head, fields, asked);
    let upload = Upload { most: rules.limits.body_bytes, deadline, started, idle, wait, is_grpc, relied_on };
    let (mut body, watch) = upload.stream(body, &connection.worker.holds);
    record.copy = mirror::copy(connection, &decision, (&*head, &additions), &destination, asked, &mut body);
    if !service.faults.is_empty() && !decision.is_probe {
        Box::pin(fault::inject(connection, &decision, record, exchange)).await?;
    }
    let (websocket_key, was_connect) = websocket(head, asked);
    let (interim, destination) = (exchange.interim_for(head.version), rewritten.as_ref().unwrap_or(&destination));
    let mut outgoing = Outgoing { head, fields, additions, destination, body, watch, asked };
    let sending = Sending { connection, decision: &decision, deadline, interim, started };
    let (answered, variant) = send(&sending, &mut outgoing, record).await?;
    finish(answered, Sent { variant, websocket_key, was_connect, idle }, exchange, &decision, record)
}

/// How long to wait for the head of an answer: what the route says, and not longer than a client of gRPC does. Says as well
/// whether it is one.
fn longest_wait(
    of_route: Option<Duration>,
    head: &request::Parts,
    fields: Fields,
    asked: HopByHop,
) -> (Duration, bool) {
    let is_grpc = fields.has(Fields::CONTENT_TYPE) && grpc::is_grpc(&head.headers);
    let is_streaming = asked.wants_websocket || is_grpc;
    let wait = of_route.unwrap_or(if is_streaming { Duration::ZERO } else { ANSWER_WAIT });
    (if is_streaming { grpc::bounded(wait, &head.headers) } else { wait }, is_grpc)
}

/// What was sent, as far as its answer has to know.
struct Sent {
    variant: usize,
    websocket_key: Option<HeaderValue>,
    /// It was an extended CONNECT.
    was_connect: bool,
    idle: Duration,
}

impl<'s> Decision<'s> {
    /// What an assignment says, and the cookie of a user who got a key with it.
    fn of(
        service: &'s Service,
        route: &'s Route,
        client: IpAddr,
        assignment: &Assignment<'_>,
        is_secure: bool,
    ) -> Decision<'s> {
        Decision {
            service,
            route,
            client,
            cohort: assignment.cohort,
            variant: assignment.variant,
            reason: assignment.reason,
            bucket: assignment.bucket.number(),
            user: assignment.user_hash,
            is_probe: false,
            issued: assignment.user.as_ref().and_then(|user| issue(service, user, is_secure)),
            source: assignment.user.as_ref().filter(|user| user.issued().is_none()).map(UserKey::source),
            told: None,
            quotas: Quotas::new(),
        }
    }

    /// A hash by which the user stays with one endpoint: of the user key, or of the client's address without one.
    pub(super) fn affinity(&self) -> u64 {
        self.user.unwrap_or_else(|| match self.client {
            IpAddr::V4(address) => u64::from(u32::from(address)),
            IpAddr::V6(address) => mix(u128::from(address) as u64, 0) ^ (u128::from(address) >> 64) as u64,
        })
    }

    fn begin_record(&self, head: &request::Parts, record: &mut Record) {
        record.describe_sample(head, self.service.cohorts[self.cohort].slots[self.variant]);
        self.record(self.variant, self.reason, record);
    }

    pub(super) fn record(&self, variant: usize, reason: Reason, record: &mut Record) {
        record.assign(self.service, self.cohort, variant, reason, self.bucket, self.user);
    }
}

/// What an endpoint answered, for the client.
fn finish(
    mut answered: Answered,
    sent: Sent,
    exchange: &Exchange,
    decision: &Decision<'_>,
    record: &mut Record,
) -> Result<Answer, ProxyError> {
    let head = &mut answered.head;
    if let (Some(key), true) = (&sent.websocket_key, answered.body.is_tunnel()) {
        extended::to_switch(head, key);
        answered.fields = Fields::of(&head.headers);
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return switch_protocols(answered, &sent, exchange, record);
    }
    if head.version == Version::HTTP_2 && answered.fields.has(Fields::TRANSFER_ENCODING) {
        // it has no meaning there (RFC 9113 §8.2.2), and two to whoever reads it further on
        return Err(ProxyError::BadAnswer);
    }
    if sent.was_connect && head.status.is_success() {
        // to the client of an extended CONNECT that would be a tunnel (RFC 8441 §5)
        return Err(ProxyError::BadAnswer);
    }
    record.answer(head.status.as_u16());
    record.shows(decision.service, &head.headers);
    record.mirror_answer((sent.variant, &decision.service.variants[sent.variant].name), head, &answered.body);
    headers::strip_answer(&mut head.headers, answered.fields);
    head.version = Version::HTTP_11;
    if decision.told.is_some() {
        edit::response(&mut head.headers, decision, sent.variant);
        answered.fields = Fields::of(&head.headers);
    }
    cache::guard(&mut head.headers, answered.fields, decision);
    limit::tell(&mut head.headers, &decision.quotas);
    if let Some(cookie) = &decision.issued
        && !cache::is_shared(&head.headers)
    {
        head.headers.append(header::SET_COOKIE, cookie.clone());
    }
    if decision.service.expose_assignment || decision.is_probe {
        let service = decision.service;
        head.headers.insert(headers::X_RINGWAY_SERVICE, service.header.clone());
        head.headers.insert(headers::X_RINGWAY_COHORT, service.cohorts[decision.cohort].header.clone());
        head.headers.insert(headers::X_RINGWAY_VARIANT, service.variants[sent.variant].header.clone());
    }
    Ok(Answer::Upstream { answered, idle: sent.idle })
}

/// Becomes a tunnel once the answer is out, when the answer is one to a WebSocket that was asked for.
fn switch_protocols(
    answered: Answered,
    sent: &Sent,
    exchange: &Exchange,
    record: &mut Record,
) -> Result<Answer, ProxyError> {
    let Answered { mut head, fields, body } = answered;
    let is_valid = sent.websocket_key.as_ref().is_some_and(|key| tunnel::is_answer_to(key.as_bytes(), &head.headers));
    let upstream = body.into_tunnel().filter(|_| is_valid).ok_or(ProxyError::BadAnswer)?;
    record.answer(head.status.as_u16());
    headers::strip_answer(&mut head.headers, fields);
    *exchange.tunnel.borrow_mut() = Some(Tunnel { upstream });
    if sent.was_connect {
        head.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
        head.status = StatusCode::OK;
        return Ok(Answer::Local(Response::from_parts(head, ())));
    }
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    head.version = Version::HTTP_11;
    Ok(Answer::Local(Response::from_parts(head, ())))
}

/// Removes what this hop replaces, and gives what it adds: its signature, where the request came from, and what was
/// decided about it.
fn prepare<'r>(
    head: &mut request::Parts,
    (fields, relied_on): (Fields, &[HeaderName]),
    destination: &'r Destination,
    connection: &'r Connection,
    peer_trusted: bool,
    decision: &Decision<'r>,
    record: &Record,
) -> Result<Additions<'r>, ProxyError> {
    let lines = &mut head.headers;
    let is_http2 = head.version == Version::HTTP_2;
    let via = headers::via(lines, fields, is_http2, &connection.worker.shared.via)?;
    let may_tell = peer_trusted && fields.has(Fields::EXTENDED);
    let is_told = |name| may_tell && lines.contains_key(name);
    let (has_scheme, has_host) = (is_told(headers::X_FORWARDED_PROTO), is_told(headers::X_FORWARDED_HOST));
    if fields.has(Fields::TRAILER) {
        headers::sanitize_trailer_names(lines, relied_on);
    }
    if fields.has(Fields::EXPECT) {
        lines.remove(header::EXPECT);
    }
    let service = decision.service;
    Ok(Additions {
        via,
        forwarded_for: headers::forwarded_for(lines, fields, &connection.peer_text),
        scheme: (!has_scheme).then_some(if connection.is_secure() { "https" } else { "http" }),
        forwarded_host: destination.authority.as_ref().filter(|_| !has_host),
        request_id: headers::request_id(lines, fields, peer_trusted),
        traceparent: record.context(lines, fields),
        decided: [
            &service.header,
            &service.cohorts[decision.cohort].header,
            &service.variants[decision.variant].header,
        ],
        set: &[],
    })
}

/// What the answer to a handshake is checked by, and whether it was an extended CONNECT.
fn websocket(head: &mut request::Parts, asked: HopByHop) -> (Option<HeaderValue>, bool) {
    if !asked.wants_websocket {
        return (None, false);
    }
    (head.headers.get(header::SEC_WEBSOCKET_KEY).cloned(), extended::was_connect(head))
}

/// A handshake of RFC 6455 is a GET of HTTP/1.1 with a key.
fn may_be_websocket(head: &request::Parts) -> bool {
    // or what an extended CONNECT has become
    let is_get = head.method == Method::GET
        && (head.version == Version::HTTP_11 || head.extensions.get::<hyper::ext::Protocol>().is_some());
    is_get && head.headers.contains_key(header::SEC_WEBSOCKET_KEY)
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
