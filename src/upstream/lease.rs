use bytes::Bytes;
use http::{Method, StatusCode, response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::upgrade::OnUpgrade;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::body::sanitize_frame;
use super::http1::{Failure, Http1, Malformed, TunnelEnd, TunnelParts, content_length};
use super::http2::{Http2, SendError};
use super::pool::Pool;
use super::{BodyError, ConnectionPermit, Endpoint, Fields, Pools, RequestBody, Sendable};

/// A connection that one request uses. Dropping it before the answer is complete closes an HTTP/1.1 connection and
/// resets an HTTP/2 stream.
pub struct Lease {
    pub(super) pools: Rc<Pools>,
    pub(super) pool: Rc<Pool>,
    pub(super) connection: Option<Borrowed>,
    pub(super) is_reused: bool,
    pub(super) generation: u32,
    pub(super) client: Option<SocketAddr>,
}

pub(super) enum Borrowed {
    Http1(Box<Http1>, ConnectionPermit),
    Http2(Http2),
}

/// How an exchange failed before there was an answer.
pub enum ExchangeError {
    /// The endpoint has not seen the request: the connection had been closed before, or it refused to look. Here is
    /// the body back.
    Unsent(RequestBody),
    /// The endpoint closed the connection without an answer.
    Closed,
    /// The answer was not HTTP, or its head was too large.
    Malformed,
    /// The client's body failed.
    Body(BodyError),
    /// The endpoint takes no tunnels, and was not asked for one.
    NoTunnels,
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
    is_error: bool,
    /// The answer to a HEAD over HTTP/2: whatever comes behind its head is nobody's.
    is_unwanted: bool,
    /// A stream that has left HTTP behind.
    tunnel: Option<OnUpgrade>,
}

/// Tells the endpoint of a request what came of it, for as long as answers are looked at.
pub struct Witness(Option<Rc<Pool>>);

/// Bytes of an answer that nobody wants which are read so that its connection can be used again.
const DISCARD_BYTES_MAX: usize = 64 * 1024;

impl Witness {
    /// The endpoint failed the request: no answer, none in time, or one that is not HTTP.
    pub fn failed(&self) {
        if let Some(pool) = &self.0 {
            pool.note(true, Instant::now());
        }
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

    /// Who can tell the endpoint what came of the request when the lease is gone.
    pub fn witness(&self) -> Witness {
        Witness(self.pool.is_watched.get().then(|| self.pool.clone()))
    }

    /// True for HTTP/2.
    pub fn is_http2(&self) -> bool {
        matches!(self.connection, Some(Borrowed::Http2(_)))
    }

    /// Sends a request and waits for the head of its answer.
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep room for what it is given twice")]
    pub fn exchange(
        mut self,
        request: &Sendable<'_>,
        body: RequestBody,
    ) -> impl Future<Output = Result<Answered, ExchangeError>> {
        async move {
            match &mut self.connection {
                Some(Borrowed::Http1(connection, _)) => {
                    connection.begin(request, body);
                    let (head, fields) = connection.answer(request).await?;
                    let is_complete =
                        connection.remaining() == Some(0) && head.status != StatusCode::SWITCHING_PROTOCOLS;
                    let mut body = UpstreamBody::of(None, self, head.status);
                    if is_complete {
                        body.finish();
                    }
                    Ok(Answered { head, fields, body })
                }
                Some(Borrowed::Http2(connection)) => match Box::pin(connection.send(request.head, body)).await {
                    Ok(answer) => {
                        let (mut head, incoming) = answer.into_parts();
                        let fields = Fields::of(&head.headers);
                        // the library looks at the first line alone, and takes nothing for a number
                        content_length(&head.headers, fields)?;
                        let mut body = UpstreamBody::of(Some(incoming), self, head.status);
                        body.is_unwanted = request.head.method == Method::HEAD;
                        if request.head.method == Method::CONNECT {
                            body.tunnel = head.extensions.remove::<OnUpgrade>();
                        }
                        Ok(Answered { head, fields, body })
                    }
                    Err(error) => {
                        if let (SendError::Unsent(_), Ok(mut shared)) = (&error, self.pool.http2.try_lock()) {
                            // the next request opens another one; those that are on it stay
                            *shared = None;
                        }
                        Err(error.into())
                    }
                },
                None => Err(ExchangeError::Unsent(body)),
            }
        }
    }

    /// Gives the connection back for the next request, if it can take one.
    fn give_back(mut self) {
        if let Some(Borrowed::Http1(mut connection, permit)) = self.connection.take()
            && self.generation == self.pool.generation.get()
            && connection.is_reusable()
        {
            let since = self.pools.now();
            self.pool.give_back(connection, permit, self.client, since);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.in_flight.set(self.pool.in_flight.get().saturating_sub(1));
        self.pool.endpoint.load().end_request();
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

impl From<Malformed> for ExchangeError {
    fn from(_: Malformed) -> ExchangeError {
        ExchangeError::Malformed
    }
}

impl From<SendError> for ExchangeError {
    fn from(error: SendError) -> ExchangeError {
        let error = match error {
            SendError::Unsent(body) => return ExchangeError::Unsent(body),
            SendError::NoTunnels => return ExchangeError::NoTunnels,
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
    fn of(source: Option<Incoming>, lease: Lease, status: StatusCode) -> UpstreamBody {
        let is_error = status.is_server_error();
        if is_error {
            lease.pool.note(true, Instant::now());
        }
        UpstreamBody { source, lease: Some(lease), is_error, is_unwanted: false, tunnel: None }
    }

    /// Reads what has come of an answer that nobody wants, so that its connection can be used again if that is all.
    pub async fn discard(mut self) {
        let mut rest = DISCARD_BYTES_MAX;
        std::future::poll_fn(|cx| {
            while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut self).poll_frame(cx) {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if bytes > rest {
                    break;
                }
                rest -= bytes;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// True for a stream of HTTP/2 that has become a tunnel.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel.is_some()
    }

    /// Takes the endpoint's end out after it has switched protocols. `None` when it has not.
    pub fn into_tunnel(mut self) -> Option<TunnelParts> {
        match self.lease.take()?.connection.take()? {
            Borrowed::Http1(connection, permit) => {
                Some(TunnelParts { permit: Some(permit), ..connection.into_tunnel() })
            }
            Borrowed::Http2(connection) => {
                let end = TunnelEnd::Stream(self.tunnel.take()?);
                Some(TunnelParts { end, read: Bytes::new(), permit: None, _shared: Some(connection) })
            }
        }
    }

    fn http1(&self) -> Option<&Http1> {
        match &self.lease {
            Some(Lease { connection: Some(Borrowed::Http1(connection, _)), .. }) => Some(connection),
            _ => None,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let polled = match (&mut self.source, &mut self.lease) {
            (Some(incoming), _) if self.is_unwanted => return poll_past(incoming, cx),
            (Some(incoming), _) => Pin::new(incoming).poll_frame(cx).map_err(|_| true),
            (None, Some(Lease { connection: Some(Borrowed::Http1(connection, _)), .. })) => {
                connection.poll_piece(cx).map_err(|failure| !matches!(failure, Failure::Body(_)))
            }
            _ => return Poll::Ready(None),
        };
        polled.map_err(|is_endpoints| {
            if let Some(lease) = self.lease.as_ref().filter(|_| is_endpoints) {
                lease.pool.note(true, Instant::now());
            }
            BrokenOff
        })
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            if !self.is_error {
                lease.pool.note(false, lease.pools.now());
            }
            lease.give_back();
        }
    }
}

/// Ready at the end of a body that may not be there, in whichever way it ends (RFC 9110 §9.3.2).
fn poll_past(unwanted: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
    while let Some(Ok(_)) = ready!(Pin::new(&mut *unwanted).poll_frame(cx)) {}
    Poll::Ready(None)
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
                Poll::Ready(Some(Ok(sanitize_frame(frame, &[]))))
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
