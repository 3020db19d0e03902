//! From a decided request to the head of its answer: pick an endpoint, borrow a connection, send, wait.

use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri, Version, request};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::additions::Additions;
use super::connection::Connection;
use super::edit;
use super::error::ProxyError;
use super::extended;
use super::forward::Decision;
use super::headers::{HopByHop, join_cookies};
use super::record::Record;
use super::retry;
use crate::model::{Failure, FallbackCause, Reason};
use crate::routing::request::{Destination, Refused};
use crate::upstream::{
    Alpn, Answered, Balance, BodyWatch, Deadline, ExchangeError, Fields, Interim, Lease, PickError, RequestBody,
    Sendable, Standard, Upstream, Want,
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
}

/// What the attempts to send a request have in common.
pub(super) struct Sending<'r> {
    pub(super) connection: &'r Rc<Connection>,
    pub(super) decision: &'r Decision<'r>,
    pub(super) deadline: &'r Deadline,
    /// Where answers before the answer go, if the client takes any.
    pub(super) interim: Option<&'r Interim>,
    pub(super) started: Instant,
}

/// How an attempt differs from the one before.
pub(super) struct Attempt {
    /// Whom it goes to.
    pub(super) variant: usize,
    /// The endpoint that failed before.
    pub(super) avoid: Option<u32>,
    /// It goes to an endpoint even if connections to all of them fail.
    pub(super) tries_any: bool,
    /// How long it may take, beside what the request may.
    pub(super) timeout: Option<Duration>,
    /// The variant and protocol that the head is made for.
    pub(super) made_for: Option<usize>,
}

/// How often a request is sent again on another connection, when the one that it was to be sent on had been closed
/// by the endpoint meanwhile.
const RECONNECTS_MAX: u32 = 3;

/// Sends a request to its variant or, when that has no usable endpoint, to the fallback. Gives the answer and the
/// variant that it came from.
pub(super) async fn send<'r>(
    sending: &Sending<'r>,
    outgoing: &mut Outgoing<'r>,
    record: &mut Record,
) -> Result<(Answered, usize), ProxyError> {
    let mut attempt = Attempt::first(sending.decision);
    let retry = sending.decision.route.retry.as_deref().filter(|_| !sending.decision.is_probe);
    let response = match retry {
        None => attempt.run(sending, outgoing, record).await?,
        Some(retry) => Box::pin(retry::send(sending, outgoing, &mut attempt, retry, record)).await?,
    };
    Ok((response, attempt.variant))
}

impl Outgoing<'_> {
    /// The protocol of a connection for it. A handshake of RFC 6455 is one of HTTP/1.1, where the endpoint has the choice.
    fn alpn(&self, upstream: &Upstream) -> Alpn {
        if !self.asked.wants_websocket {
            return upstream.spec().alpn(self.head.version);
        }
        match upstream.spec().alpn(Version::HTTP_11) {
            Alpn::Either => Alpn::Http1,
            alpn => alpn,
        }
    }

    /// True when sending it twice does no harm (RFC 9110 §9.2.2), and all of it is at hand.
    pub(super) fn is_repeatable(&self) -> bool {
        self.watch.is_none() && self.head.method.is_idempotent()
    }
}

impl Attempt {
    pub(super) fn first(decision: &Decision<'_>) -> Attempt {
        Attempt { variant: decision.variant, avoid: None, tries_any: false, timeout: None, made_for: None }
    }

    /// One attempt: to an endpoint of the variant or, when that has none, of the fallback.
    pub(super) async fn run<'r>(
        &mut self,
        sending: &Sending<'r>,
        outgoing: &mut Outgoing<'r>,
        record: &mut Record,
    ) -> Result<Answered, ProxyError> {
        let lease = self.pick(sending, outgoing, record).await?;
        let chosen = &sending.decision.service.variants[self.variant];
        if self.made_for != Some(self.variant) {
            outgoing.additions.decided[2] = &chosen.header;
            outgoing.additions.set = &chosen.set_headers;
            for (name, _) in &chosen.set_headers {
                outgoing.head.headers.remove(name);
            }
            edit::request(&mut outgoing.head.headers, &mut outgoing.additions, sending.decision, self.variant);
        }
        record.send(&outgoing.head.headers, &outgoing.additions, lease.endpoint(), outgoing.watch.clone());
        self.exchange(sending, outgoing, lease, &chosen.upstream).await
    }

    /// A connection to an endpoint of the variant, or of its fallback from here on.
    async fn pick(
        &mut self,
        sending: &Sending<'_>,
        outgoing: &Outgoing<'_>,
        record: &mut Record,
    ) -> Result<Lease, ProxyError> {
        let decision = sending.decision;
        loop {
            let upstream = &decision.service.variants[self.variant].upstream;
            let cause = match self.lend(sending, upstream, outgoing.alpn(upstream)).await {
                Ok(lease) => return Ok(lease),
                Err(PickError::Exhausted) => return Err(ProxyError::Exhausted),
                Err(PickError::Variant(cause)) => cause,
            };
            let Some(standby) = self.standby(decision) else { return Err(ProxyError::NoEndpoint(cause)) };
            self.fall_back(sending, standby, cause, Failure::Connect, record);
        }
    }

    /// The variant that stands in if this one cannot.
    pub(super) fn standby(&self, decision: &Decision<'_>) -> Option<usize> {
        let is_first = self.variant == decision.variant && !decision.is_probe;
        decision.service.fallback.filter(|standby| *standby != self.variant && is_first)
    }

    /// Goes on with another variant. What failed counts against the one before.
    pub(super) fn fall_back(
        &mut self,
        sending: &Sending<'_>,
        standby: usize,
        cause: FallbackCause,
        failure: Failure,
        record: &mut Record,
    ) {
        let decision = sending.decision;
        let failed = decision.service.cohorts[decision.cohort].slots[self.variant];
        sending.connection.worker.shard.fallback(failed, cause, failure, decision.user);
        decision.record(standby, Reason::Fallback, record);
        self.variant = standby;
    }

    /// A connection to an endpoint of an upstream.
    async fn lend(&self, sending: &Sending<'_>, upstream: &Arc<Upstream>, alpn: Alpn) -> Result<Lease, PickError> {
        let decision = sending.decision;
        let worker = &sending.connection.worker;
        let want = Want {
            wanted: sending.connection.wants(alpn, decision.client),
            connect_timeout: decision.route.timeouts.connect,
            now: if self.made_for.is_none() { sending.started } else { Instant::now() },
            hash: match upstream.spec().balance {
                Balance::ConsistentHash => decision.affinity(),
                Balance::RoundRobin | Balance::LeastRequest => 0,
            },
            avoid: self.avoid,
            at_worst: match self.standby(decision) {
                _ if self.tries_any => Standard::Any,
                // where nobody stands in, health that speaks against all is more likely wrong than all are dead
                None => Standard::Reachable,
                Some(_) => Standard::Usable,
            },
        };
        let lease = worker.pools.lease(upstream, &want).await?;
        if !lease.is_reused() {
            worker.shard.upstream_opened();
        }
        Ok(lease)
    }

    /// Sends a request on a connection and waits for the head of the answer.
    ///
    /// A connection that waited in the pool may have been closed by the endpoint at the very moment of use. A request
    /// that no endpoint has looked at then goes out on another connection, and one that may have been seen does so if
    /// repeating it is harmless (RFC 9110 §9.2.2) and it has no body. It stays with its variant in any case.
    async fn exchange(
        &mut self,
        sending: &Sending<'_>,
        outgoing: &mut Outgoing<'_>,
        mut lease: Lease,
        upstream: &Arc<Upstream>,
    ) -> Result<Answered, ProxyError> {
        let is_http2 = lease.is_http2();
        // another connection must speak the protocol that the request is written for
        let alpn = if is_http2 { Alpn::Http2 } else { Alpn::Http1 };
        let is_repeatable = outgoing.is_repeatable();
        let mut body = std::mem::replace(&mut outgoing.body, RequestBody::empty());
        let Outgoing { head, fields, additions, destination, watch, asked, .. } = outgoing;
        let (fields, asked) = (*fields, *asked);
        if self.made_for != Some(self.variant) {
            if is_http2 {
                address_http2(head, destination, asked, upstream.spec().scheme())?;
                additions.insert_into(&mut head.headers);
            } else {
                address_http1(head, destination);
            }
            self.made_for = Some(self.variant);
        }
        let connect = (is_http2 && asked.wants_websocket).then(|| Box::new(extended::to_connect(head)));
        let has_open_end = watch.is_some() && !fields.has(Fields::CONTENT_LENGTH);
        let added = |lines: &mut Vec<u8>| {
            push_hop_by_hop(lines, asked, has_open_end);
            additions.write_to(lines);
        };
        for _ in 0..=RECONNECTS_MAX {
            let (was_reused, witness) = (lease.is_reused(), lease.witness());
            self.avoid = Some(lease.endpoint().id());
            let sent: &request::Parts = connect.as_deref().unwrap_or(head);
            let request = Sendable { head: sent, fields, added: &added, interim: sending.interim };
            let answer = pin!(lease.exchange(&request, body));
            let answered = within(answer, self.timeout, sending.deadline, watch.as_deref()).await;
            if matches!(answered, Err(ProxyError::AnswerTimeout)) {
                witness.failed();
            }
            match answered? {
                Ok(response) => return Ok(response),
                Err(ExchangeError::Unsent(unsent)) => body = unsent,
                Err(ExchangeError::Closed) if is_repeatable && was_reused => body = RequestBody::empty(),
                Err(ExchangeError::Body(error)) => return Err(error.into()),
                Err(ExchangeError::Closed) => {
                    witness.failed();
                    return Err(ProxyError::Reset);
                }
                // nor is it the endpoint's fault: any client may ask
                Err(ExchangeError::NoTunnels) => return Err(ProxyError::BadAnswer),
                Err(ExchangeError::Malformed) => {
                    witness.failed();
                    return Err(ProxyError::BadAnswer);
                }
            }
            // boxed: it is seldom needed
            lease = Box::pin(self.lend(sending, upstream, alpn)).await.map_err(|error| match error {
                PickError::Variant(cause) => ProxyError::NoEndpoint(cause),
                PickError::Exhausted => ProxyError::Exhausted,
            })?;
        }
        Err(ProxyError::Reset)
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn within<T>(
    mut answer: Pin<&mut impl Future<Output = T>>,
    timeout: Option<Duration>,
    deadline: &Deadline,
    watch: Option<&BodyWatch>,
) -> Result<T, ProxyError> {
    let mut timer = pin!(timeout.map(tokio::time::sleep));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        if deadline.is_expired() {
            return Poll::Ready(Err(ProxyError::Overloaded));
        }
        if timer.as_mut().as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready()) {
            return Poll::Ready(Err(ProxyError::AnswerTimeout));
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
    let uri = over_http2(&mut head.headers, destination.authority.as_ref(), target, scheme);
    head.uri = uri.ok_or(Refused::Target)?;
    head.version = Version::HTTP_2;
    Ok(())
}

/// A target as HTTP/2 wants it: the host is a part of it, and no field (RFC 9113 §8.3.1).
pub(super) fn over_http2(
    headers: &mut HeaderMap,
    authority: Option<&HeaderValue>,
    target: PathAndQuery,
    scheme: &str,
) -> Option<Uri> {
    headers.remove(header::HOST);
    join_cookies(headers);
    let authority = authority.map_or(&b"localhost"[..], HeaderValue::as_bytes);
    Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build().ok()
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
