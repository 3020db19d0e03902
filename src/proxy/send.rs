//! From a decided request to the head of its answer: pick an endpoint, borrow a connection, send, wait.

use http::header::{self, HeaderValue};
use http::{Response, Uri, Version, request};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::connection::Connection;
use super::edit;
use super::error::ProxyError;
use super::forward::Decision;
use super::headers::{self, HopByHop};
use super::record::Record;
use crate::model::Reason;
use crate::routing::request::{Destination, Refused};
use crate::upstream::{
    BodyWatch, Deadline, ExchangeError, Lease, PickError, Protocol, RequestBody, Upstream, UpstreamBody,
};

/// A request that is ready to be sent, but for what depends on the endpoint's protocol.
pub(super) struct Outgoing {
    pub(super) head: request::Parts,
    pub(super) destination: Destination,
    pub(super) body: RequestBody,
    pub(super) watch: Option<Rc<BodyWatch>>,
    pub(super) asked: HopByHop,
}

/// How often a request is sent again on another connection, when the one that it was to be sent on had been closed
/// by the endpoint meanwhile.
const RECONNECTS_MAX: u32 = 3;

/// Sends a request to its variant or, when that has no usable endpoint, to the fallback. Gives the answer and the
/// variant that it came from.
pub(super) async fn send(
    connection: &Rc<Connection>,
    mut outgoing: Outgoing,
    decision: &Decision<'_>,
    record: &mut Record,
    deadline: &Deadline,
    started: Instant,
) -> Result<(Response<UpstreamBody>, usize), ProxyError> {
    let service = decision.service;
    let worker = &connection.worker;
    let mut variant = decision.variant;
    let lease = loop {
        let upstream = &service.variants[variant].upstream;
        let is_http2 = wants_http2(upstream, outgoing.head.version);
        match lend(connection, upstream, is_http2, decision, started).await {
            Ok(lease) => break lease,
            Err(PickError(cause)) => {
                let is_first = variant == decision.variant;
                let standby = service.fallback.filter(|standby| *standby != variant && is_first);
                let Some(standby) = standby else { return Err(ProxyError::NoEndpoint(cause)) };
                let failed = service.cohorts[decision.cohort].slots[variant];
                worker.shard.fallback(failed, cause, decision.user);
                decision.record(standby, Reason::Fallback, record);
                variant = standby;
            }
        }
    };
    let chosen = &service.variants[variant];
    let lines = &mut outgoing.head.headers;
    lines.insert(headers::X_RINGWAY_VARIANT, chosen.header.clone());
    for (name, value) in &chosen.set_headers {
        lines.insert(name.clone(), value.clone());
    }
    edit::request(lines, decision, variant);
    record.send(lines, lease.endpoint(), outgoing.watch.clone());
    let response = exchange(connection, outgoing, lease, &chosen.upstream, decision, deadline, started).await?;
    Ok((response, variant))
}

/// A connection to an endpoint of an upstream.
async fn lend(
    connection: &Connection,
    upstream: &Upstream,
    is_http2: bool,
    decision: &Decision<'_>,
    now: Instant,
) -> Result<Lease, PickError> {
    let worker = &connection.worker;
    let lease = worker.pools.lease(upstream, is_http2, decision.route.timeouts.connect, now).await?;
    if !lease.is_reused() {
        worker.shard.upstream_opened();
    }
    Ok(lease)
}

fn wants_http2(upstream: &Upstream, version: Version) -> bool {
    match upstream.spec().protocol {
        Protocol::Http1 => false,
        Protocol::H2c => true,
        Protocol::Auto => version == Version::HTTP_2,
    }
}

/// Sends a request on a connection and waits for the head of the answer.
///
/// A connection that waited in the pool may have been closed by the endpoint at the very moment of use. A request
/// that was not sent at all then goes out on another connection, and one that may have been sent does so if
/// repeating it is harmless (RFC 9110 §9.2.2) and it has no body. It stays with its variant in any case.
async fn exchange(
    connection: &Connection,
    outgoing: Outgoing,
    mut lease: Lease,
    upstream: &Upstream,
    decision: &Decision<'_>,
    deadline: &Deadline,
    started: Instant,
) -> Result<Response<UpstreamBody>, ProxyError> {
    let Outgoing { mut head, destination, mut body, watch, asked } = outgoing;
    let is_http2 = lease.is_http2();
    let is_repeatable = watch.is_none() && head.method.is_idempotent();
    address(&mut head, &destination, asked, watch.is_some(), is_http2)?;
    for _ in 0..=RECONNECTS_MAX {
        let was_reused = lease.is_reused();
        match within(lease.exchange(&head, body), deadline, watch.as_deref()).await? {
            Ok(response) => return Ok(response),
            Err(ExchangeError::Unsent(unsent)) => body = unsent,
            Err(ExchangeError::Closed) if is_repeatable && was_reused => body = RequestBody::empty(),
            Err(ExchangeError::Closed) => return Err(ProxyError::Reset),
            Err(ExchangeError::Malformed) => return Err(ProxyError::BadAnswer),
            Err(ExchangeError::Body(error)) => return Err(error.into()),
        }
        lease = lend(connection, upstream, is_http2, decision, started)
            .await
            .map_err(|PickError(cause)| ProxyError::NoEndpoint(cause))?;
    }
    Err(ProxyError::Reset)
}

/// Waits for an answer, but not for ever.
async fn within<T>(
    answer: impl Future<Output = T>,
    deadline: &Deadline,
    watch: Option<&BodyWatch>,
) -> Result<T, ProxyError> {
    let mut answer = pin!(answer);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        let waits_for_client = watch.is_some_and(|watch| watch.waits_for_client.get() && !watch.is_complete.get());
        let late = if waits_for_client { ProxyError::ClientTimeout } else { ProxyError::AnswerTimeout };
        deadline.poll_passed(cx).map(|()| Err(late))
    })
    .await
}

/// Writes the target and the framing of a request as the endpoint's protocol wants them.
fn address(
    head: &mut request::Parts,
    destination: &Destination,
    asked: HopByHop,
    has_body: bool,
    is_http2: bool,
) -> Result<(), ProxyError> {
    let target = destination.target.as_ref().unwrap_or(&head.uri).path_and_query().cloned();
    let target = target.ok_or(Refused::Target)?;
    let lines = &mut head.headers;
    if asked.takes_trailers {
        lines.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if is_http2 {
        lines.remove(header::HOST);
        let authority = destination.authority.as_ref().map_or(&b"localhost"[..], HeaderValue::as_bytes);
        let uri = Uri::builder().scheme("http").authority(authority).path_and_query(target).build();
        head.uri = uri.map_err(|_| Refused::Target)?;
        head.version = Version::HTTP_2;
        return Ok(());
    }
    head.uri = Uri::from(target);
    head.version = Version::HTTP_11;
    let authority = destination.authority.as_ref();
    if lines.get(header::HOST) != authority || authority.is_none() {
        lines.insert(header::HOST, authority.cloned().unwrap_or(HeaderValue::from_static("")));
    }
    if asked.wants_websocket {
        lines.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        lines.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    } else if asked.takes_trailers {
        lines.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if has_body && !lines.contains_key(header::CONTENT_LENGTH) {
        // said outright, since a body of unknown length would be left out for methods that seldom have one
        lines.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    Ok(())
}
