use bytes::Bytes;
use http::{StatusCode, response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::body::sanitize_frame;
use super::connect::ConnectError;
use super::http1::{Failure, Http1, TunnelParts};
use super::http2::{Http2, SendError};
use super::{Balance, BodyError, ClientTls, Endpoint, Fields, RequestBody, Sendable, Upstream};
use crate::model::FallbackCause;

mod open;

pub use open::Wanted;

/// One worker's connections to all endpoints. Never shared between threads.
#[derive(Default)]
pub struct Pools {
    pools: RefCell<HashMap<u32, Rc<Pool>>>,
    turns: RefCell<HashMap<u32, usize>>,
    /// The time of the last request or sweep: good enough to age idle connections, and free.
    now: Cell<Option<Instant>>,
}

/// One worker's connections to one endpoint.
struct Pool {
    endpoint: Arc<Endpoint>,
    idle: RefCell<Vec<Idle>>,
    http2: tokio::sync::Mutex<Option<Http2>>,
    in_flight: Cell<u32>,
    /// How its connections speak TLS. When that changes, the ones before are used no longer.
    tls: RefCell<Option<Arc<ClientTls>>>,
    generation: Cell<u32>,
    /// The endpoint chose HTTP/1.1 when it was left the choice.
    chose_http1: Cell<bool>,
    /// How the last attempt to connect failed.
    last_failure: Cell<ConnectError>,
}

struct Idle {
    connection: Box<Http1>,
    since: Instant,
    /// The client that it belongs to, where the endpoint was told of one.
    client: Option<SocketAddr>,
}

/// A connection that one request uses. Dropping it before the answer is complete closes an HTTP/1.1 connection and
/// resets an HTTP/2 stream.
pub struct Lease {
    pools: Rc<Pools>,
    pool: Rc<Pool>,
    connection: Option<Borrowed>,
    is_reused: bool,
    generation: u32,
    client: Option<SocketAddr>,
}

enum Borrowed {
    Http1(Box<Http1>),
    Http2(Http2),
}

/// Why no connection could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PickError(pub FallbackCause);

/// How an exchange failed before there was an answer.
pub enum ExchangeError {
    /// Nothing was sent: the connection had been closed before. Here is the body back.
    Unsent(RequestBody),
    /// The endpoint closed the connection without an answer.
    Closed,
    /// The answer was not HTTP, or its head was too large.
    Malformed,
    /// The client's body failed.
    Body(BodyError),
}

/// What an endpoint answered.
pub struct Answered {
    /// The head, as it came.
    pub head: response::Parts,
    /// The fields that the head has.
    pub fields: Fields,
    /// The body, of which nothing was read yet.
    pub body: UpstreamBody,
}

/// An answer's body, together with the connection that it comes from.
pub struct UpstreamBody {
    /// Of HTTP/2; an HTTP/1.1 connection is read by itself.
    source: Option<Incoming>,
    lease: Option<Lease>,
}

/// How long a connection waits for its next request.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// How many connections to one endpoint one worker keeps waiting.
const IDLE_CONNECTIONS_MAX: usize = 1024;

impl Pools {
    /// Tells the time, at least once a second.
    pub fn set_now(&self, now: Instant) {
        self.now.set(Some(now));
    }

    /// Chooses an endpoint and gives a connection to it: a waiting one, or a new one.
    ///
    /// An endpoint to which no connection can be opened is left alone for a while, and the next one is tried, so
    /// long as there is one that was not tried yet. Nothing of the request has been sent by then.
    pub async fn lease(
        self: &Rc<Self>,
        upstream: &Upstream,
        wanted: Wanted,
        connect_timeout: Duration,
        now: Instant,
    ) -> Result<Lease, PickError> {
        let endpoints = Arc::clone(&upstream.endpoints());
        if endpoints.is_empty() {
            return Err(PickError(FallbackCause::Resolve));
        }
        let first = self.first(upstream, &endpoints);
        let mut cause = FallbackCause::Ejected;
        for at in 0..endpoints.len() {
            let endpoint = &endpoints[(first + at) % endpoints.len()];
            if endpoint.is_ejected(now) || !endpoint.claim_probe(now, connect_timeout) {
                continue;
            }
            let pool = self.pool(endpoint);
            let began = Instant::now();
            match self.open(upstream, &pool, wanted, connect_timeout).await {
                Ok(lease) => return Ok(lease),
                Err(error) => {
                    pool.last_failure.set(error);
                    endpoint.note_connect_failure(began, Instant::now());
                    cause = match error {
                        ConnectError::Refused => FallbackCause::Connect,
                        ConnectError::TimedOut => FallbackCause::ConnectTimeout,
                        ConnectError::Tls => FallbackCause::Tls,
                    };
                }
            }
        }
        Err(PickError(cause))
    }

    /// Closes connections that have waited too long, and forgets endpoints that nobody uses any more.
    pub fn sweep(&self, now: Instant) {
        self.set_now(now);
        self.pools.borrow_mut().retain(|_, pool| {
            let mut idle = pool.idle.borrow_mut();
            idle.retain_mut(|waiting| {
                now.saturating_duration_since(waiting.since) < IDLE_MAX && waiting.connection.is_reusable()
            });
            let is_used = pool.in_flight.get() > 0 || !idle.is_empty() || Arc::strong_count(&pool.endpoint) > 1;
            if idle.is_empty() {
                *idle = Vec::new();
            }
            is_used
        });
    }

    /// Open connections that wait for a request.
    pub fn idle_count(&self) -> usize {
        self.pools.borrow().values().map(|pool| pool.idle.borrow().len()).sum()
    }

    fn first(&self, upstream: &Upstream, endpoints: &[Arc<Endpoint>]) -> usize {
        let count = endpoints.len();
        if count == 1 {
            return 0;
        }
        match upstream.spec().balance {
            Balance::RoundRobin => {
                let mut turns = self.turns.borrow_mut();
                let turn = turns.entry(upstream.id()).or_insert_with(|| fastrand::usize(..count));
                *turn = turn.wrapping_add(1);
                *turn % count
            }
            Balance::LeastRequest => {
                let (one, other) = (fastrand::usize(..count), fastrand::usize(..count - 1));
                let other = if other >= one { other + 1 } else { other };
                let load = |at: usize| {
                    let load = self.pools.borrow().get(&endpoints[at].id()).map_or(0, |pool| pool.in_flight.get());
                    (endpoints[at].is_ejected(self.now.get().unwrap_or_else(Instant::now)), load)
                };
                if load(other) < load(one) { other } else { one }
            }
        }
    }

    fn pool(&self, endpoint: &Arc<Endpoint>) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(endpoint.id()).or_insert_with(|| {
            Rc::new(Pool {
                endpoint: endpoint.clone(),
                idle: RefCell::default(),
                http2: tokio::sync::Mutex::default(),
                in_flight: Cell::new(0),
                last_failure: Cell::new(ConnectError::Refused),
                tls: RefCell::default(),
                generation: Cell::new(0),
                chose_http1: Cell::new(false),
            })
        });
        pool.clone()
    }
}

impl Lease {
    /// The endpoint at the other end.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.pool.endpoint
    }

    /// True when the connection served requests before: it may have been closed by the endpoint meanwhile.
    pub fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// True for HTTP/2.
    pub fn is_http2(&self) -> bool {
        matches!(self.connection, Some(Borrowed::Http2(_)))
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn exchange(mut self, request: &Sendable<'_>, body: RequestBody) -> Result<Answered, ExchangeError> {
        match &mut self.connection {
            Some(Borrowed::Http1(connection)) => {
                let (head, fields) = connection.send(request, body).await?;
                let is_complete = connection.remaining() == Some(0) && head.status != StatusCode::SWITCHING_PROTOCOLS;
                let mut body = UpstreamBody { source: None, lease: Some(self) };
                if is_complete {
                    body.finish();
                }
                Ok(Answered { head, fields, body })
            }
            Some(Borrowed::Http2(connection)) => {
                let (head, incoming) = connection.send(request.head, body).await?.into_parts();
                let fields = Fields::of(&head.headers);
                Ok(Answered { head, fields, body: UpstreamBody { source: Some(incoming), lease: Some(self) } })
            }
            None => Err(ExchangeError::Unsent(body)),
        }
    }

    /// Gives the connection back for the next request, if it can take one.
    fn give_back(mut self) {
        if let Some(Borrowed::Http1(mut connection)) = self.connection.take()
            && self.generation == self.pool.generation.get()
            && connection.is_reusable()
        {
            let mut idle = self.pool.idle.borrow_mut();
            if idle.len() < IDLE_CONNECTIONS_MAX {
                let since = self.pools.now.get().unwrap_or_else(Instant::now);
                idle.push(Idle { connection, since, client: self.client });
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.in_flight.set(self.pool.in_flight.get().saturating_sub(1));
    }
}

impl From<Failure> for ExchangeError {
    fn from(failure: Failure) -> ExchangeError {
        match failure {
            Failure::Closed => ExchangeError::Closed,
            Failure::Malformed => ExchangeError::Malformed,
            Failure::Body(error) => ExchangeError::Body(error),
        }
    }
}

impl From<SendError> for ExchangeError {
    fn from(error: SendError) -> ExchangeError {
        let error = match error {
            SendError::Unsent(body) => return ExchangeError::Unsent(body),
            SendError::Failed(error) => error,
        };
        let body = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<BodyError>());
        match body {
            Some(body) => ExchangeError::Body(*body),
            None if error.is_parse() => ExchangeError::Malformed,
            None => ExchangeError::Closed,
        }
    }
}

impl UpstreamBody {
    /// Takes the socket out after the endpoint has switched protocols. `None` for HTTP/2.
    pub fn into_tunnel(mut self) -> Option<TunnelParts> {
        match self.lease.take()?.connection.take()? {
            Borrowed::Http1(connection) => Some(connection.into_tunnel()),
            Borrowed::Http2(_) => None,
        }
    }

    fn http1(&self) -> Option<&Http1> {
        match &self.lease {
            Some(Lease { connection: Some(Borrowed::Http1(connection)), .. }) => Some(connection),
            _ => None,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Some(incoming) = &mut self.source {
            return Pin::new(incoming).poll_frame(cx).map_err(|_| BrokenOff);
        }
        match &mut self.lease {
            Some(Lease { connection: Some(Borrowed::Http1(connection)), .. }) => {
                connection.poll_piece(cx).map_err(|_| BrokenOff)
            }
            _ => Poll::Ready(None),
        }
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

/// The endpoint, or the client's own body, broke off in the middle of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the exchange broke off")]
pub struct BrokenOff;

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let polled = self.poll_next(cx);
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if self.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(sanitize_frame(frame))))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Some(incoming) => incoming.is_end_stream(),
            None => self.http1().is_none_or(|connection| connection.remaining() == Some(0)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Some(incoming) => incoming.size_hint(),
            None => match self.http1().map_or(Some(0), Http1::remaining) {
                Some(bytes) => SizeHint::with_exact(bytes),
                None => SizeHint::default(),
            },
        }
    }
}
