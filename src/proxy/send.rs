//! From a decided request to the head of its answer: pick an endpoint, borrow a connection, send, wait.

use http::header::{self, HeaderValue};
use http::{Uri, Version, request};
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::additions::Additions;
use super::connection::Connection;
use super::error::ProxyError;
use super::forward::Decision;
use super::headers::HopByHop;
use super::record::Record;
use crate::model::Reason;
use crate::routing::request::{Destination, Refused};
use crate::upstream::{
    Alpn, Answered, BodyWatch, Deadline, ExchangeError, Fields, Lease, PickError, RequestBody, Sendable, Upstream,
    Wanted,
};

/// A request that is ready to be sent, but for what depends on the variant and on the endpoint's protocol.
pub(super) struct Outgoing<'r> {
    pub(super) head: &'r mut request::Parts,
    pub(super) fields: Fields,
    pub(super) additions: Additions<'r>,
    pub(super) destination: &'r Destination,
    pub(super) body: RequestBody,
    pub(super) watch: Option<Rc<BodyWatch>>,
    pub(super) asked: HopByHop,
    /// The client, as far as trusted proxies tell it.
    pub(super) client: IpAddr,
}

/// How often a request is sent again on another connection, when the one that it was to be sent on had been closed
/// by the endpoint meanwhile.
const RECONNECTS_MAX: u32 = 3;

/// Sends a request to its variant or, when that has no usable endpoint, to the fallback. Gives the answer and the
/// variant that it came from.
pub(super) async fn send<'r>(
    connection: &Rc<Connection>,
    mut outgoing: Outgoing<'r>,
    decision: &Decision<'r>,
    record: &mut Record,
    deadline: &Deadline,
    started: Instant,
) -> Result<(Answered, usize), ProxyError> {
    let service = decision.service;
    let worker = &connection.worker;
    let mut variant = decision.variant;
    let lease = loop {
        let upstream = &service.variants[variant].upstream;
        let wants_websocket = outgoing.asked.wants_websocket;
        let alpn = match upstream.spec().alpn(if wants_websocket { Version::HTTP_11 } else { outgoing.head.version }) {
            // a handshake of RFC 6455 has no words in HTTP/2
            Alpn::Either if wants_websocket => Alpn::Http1,
            alpn => alpn,
        };
        let wanted = connection.wants(alpn, outgoing.client);
        match lend(connection, upstream, wanted, decision, started).await {
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
    outgoing.additions.decided[2] = &chosen.header;
    outgoing.additions.set = &chosen.set_headers;
    for (name, _) in &chosen.set_headers {
        outgoing.head.headers.remove(name);
    }
    record.send(&outgoing.head.headers, &outgoing.additions, lease.endpoint(), outgoing.watch.clone());
    let answered = exchange(connection, outgoing, lease, &chosen.upstream, decision, deadline, started).await?;
    Ok((answered, variant))
}

/// A connection to an endpoint of an upstream.
async fn lend(
    connection: &Connection,
    upstream: &Upstream,
    wanted: Wanted,
    decision: &Decision<'_>,
    now: Instant,
) -> Result<Lease, PickError> {
    let worker = &connection.worker;
    let lease = worker.pools.lease(upstream, wanted, decision.timeouts.connect, now).await?;
    if !lease.is_reused() {
        worker.shard.upstream_opened();
    }
    Ok(lease)
}

/// Sends a request on a connection and waits for the head of the answer.
///
/// A connection that waited in the pool may have been closed by the endpoint at the very moment of use. A request
/// that was not sent at all then goes out on another connection, and one that may have been sent does so if
/// repeating it is harmless (RFC 9110 §9.2.2) and it has no body. It stays with its variant in any case.
async fn exchange(
    connection: &Connection,
    outgoing: Outgoing<'_>,
    mut lease: Lease,
    upstream: &Upstream,
    decision: &Decision<'_>,
    deadline: &Deadline,
    started: Instant,
) -> Result<Answered, ProxyError> {
    let Outgoing { head, fields, additions, destination, mut body, watch, asked, client } = outgoing;
    let is_http2 = lease.is_http2();
    // hyper's server has no way to send them on a stream
    let interim = (head.version == Version::HTTP_11).then_some(&connection.interim);
    let is_repeatable = watch.is_none() && head.method.is_idempotent();
    // another connection must speak the protocol that the request is written for
    let wanted = connection.wants(if is_http2 { Alpn::Http2 } else { Alpn::Http1 }, client);
    if is_http2 {
        address_http2(head, destination, asked, upstream.spec().scheme())?;
        additions.insert_into(&mut head.headers);
    } else {
        address_http1(head, destination);
    }
    let has_open_end = watch.is_some() && !fields.has(Fields::CONTENT_LENGTH);
    let added = |lines: &mut Vec<u8>| {
        push_hop_by_hop(lines, asked, has_open_end);
        additions.write_to(lines);
    };
    for _ in 0..=RECONNECTS_MAX {
        let was_reused = lease.is_reused();
        let request = Sendable { head, fields, added: &added, interim };
        match within(lease.exchange(&request, body), deadline, watch.as_deref()).await? {
            Ok(response) => return Ok(response),
            Err(ExchangeError::Unsent(unsent)) => body = unsent,
            Err(ExchangeError::Closed) if is_repeatable && was_reused => body = RequestBody::empty(),
            Err(ExchangeError::Closed) => return Err(ProxyError::Reset),
            Err(ExchangeError::Malformed) => return Err(ProxyError::BadAnswer),
            Err(ExchangeError::Body(error)) => return Err(error.into()),
        }
        lease = lend(connection, upstream, wanted, decision, started)
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

/// Writes the target of a request as HTTP/2 wants it.
fn address_http2(
    head: &mut request::Parts,
    destination: &Destination,
    asked: HopByHop,
    scheme: &str,
) -> Result<(), ProxyError> {
    let target = destination.target.as_ref().unwrap_or(&head.uri).path_and_query().cloned();
    let target = target.ok_or(Refused::Target)?;
    if asked.takes_trailers {
        head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    head.headers.remove(header::HOST);
    let authority = destination.authority.as_ref().map_or(&b"localhost"[..], HeaderValue::as_bytes);
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build();
    head.uri = uri.map_err(|_| Refused::Target)?;
    head.version = Version::HTTP_2;
    Ok(())
}

/// Writes the target and the host of a request as HTTP/1.1 wants them.
fn address_http1(head: &mut request::Parts, destination: &Destination) {
    let authority = destination.authority.as_ref();
    if head.uri.authority().is_some() || authority.is_none() || head.version == Version::HTTP_2 {
        // else the host stands there as it came
        head.headers.insert(header::HOST, authority.cloned().unwrap_or(HeaderValue::from_static("")));
    }
    if let Some(target) = &destination.target {
        head.uri = target.clone();
    }
}

/// Writes the fields for the next hop alone. `has_open_end`: a body comes, and nobody knows how long it will be.
fn push_hop_by_hop(lines: &mut Vec<u8>, asked: HopByHop, has_open_end: bool) {
    if asked.takes_trailers {
        lines.extend_from_slice(b"te: trailers\r\n");
    }
    if asked.wants_websocket {
        lines.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    } else if asked.takes_trailers {
        lines.extend_from_slice(b"connection: te\r\n");
    }
    if has_open_end {
        // said outright, since a body of unknown length would be left out for methods that seldom have one
        lines.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
}
