//! One client's connection, from its first byte to its end: which protocol it speaks, when it has been silent for too
//! long, and how it is closed.

use bytes::Bytes;
use http::HeaderValue;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::futures::Notified;

use super::error::ProxyError;
use super::exchange::Exchange;
use super::handshake::{self, Agreed};
use super::http1::{self, After, Wire};
use super::http2::{self, Tally};
use super::idle::Silence;
use super::tunnel;
use super::worker::Worker;
use crate::routing::snapshot::ListenerRules;
use crate::telemetry::overload::Stage;
use crate::upstream::{Alpn, Deadline, Wanted};

/// A client's connection, as its requests see it.
pub(super) struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) listener: SocketAddr,
    pub(super) rules: Arc<ListenerRules>,
    pub(super) peer: SocketAddr,
    /// The peer's address, as it is written into each request.
    pub(super) peer_text: HeaderValue,
    /// The deadline of whatever an HTTP/1.1 connection is doing; HTTP/2 requests have their own.
    pub(super) deadline: Rc<Deadline>,
    pub(super) is_http2: Cell<bool>,
    pub(super) origin: Origin,
    /// What was agreed upon in the TLS handshake; `None` for plain connections.
    pub(super) tls: Option<Agreed>,
    /// The request at hand of an HTTP/1.1 connection; those of HTTP/2 have their own.
    pub(super) exchange: Exchange,
    /// What an HTTP/2 connection has been good for.
    pub(super) tally: Tally,
    /// Its place among the silent ones.
    silence: Rc<Silence>,
    requests: Cell<u32>,
    in_flight: Cell<u32>,
    /// When the last request ended.
    pub(super) silent_since: Cell<Instant>,
}

/// Who has opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody outside.
    Clients,
    /// This process, for probes.
    Ourselves,
}

/// How long a silent connection stays open when the worker drains: what its client sends meanwhile, or has sent just
/// now, is answered, and then the client is told to go elsewhere.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// What a client does while it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    /// It has sent something.
    Bytes,
    /// It has sent nothing until the deadline.
    Silence,
    /// It has closed, or is to be sent away because the worker drains.
    End,
}

/// Ready when the worker drains.
pub(super) type Drain<'d, 'w> = Pin<&'d mut Notified<'w>>;

/// The first bytes of an HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a client may still send after its last answer, so that it gets to read that answer.
const LINGER_BYTES: usize = 64 * 1024;
/// How long it may take for that.
const LINGER: Duration = Duration::from_secs(1);
/// Serves a connection until it ends.
///
/// A silent HTTP/1.1 connection owns no buffer and no protocol state: it waits for a byte, and only then is
/// everything made that a request needs. So ten thousand idle clients cost little more than their sockets.
pub(super) async fn serve(
    worker: Rc<Worker>,
    listener: SocketAddr,
    rules: Arc<ListenerRules>,
    stream: TcpStream,
    peer: SocketAddr,
    origin: Origin,
) {
    let _closed = OnClose(worker.clone());
    let opened = handshake::open(&worker, &rules, listener, stream, peer, origin).await;
    let Some(handshake::Opened { stream, peer, tls, counted: _counted }) = opened else { return };
    let (now, deadline) = (Instant::now(), Rc::new(Deadline::new()));
    let connection = Rc::new(Connection {
        worker: worker.clone(),
        listener,
        rules,
        peer,
        peer_text: address_value(peer),
        exchange: Exchange::new(deadline.clone()),
        deadline,
        is_http2: Cell::new(false),
        origin,
        tls,
        tally: Tally::default(),
        silence: Rc::default(),
        requests: Cell::new(0),
        in_flight: Cell::new(0),
        silent_since: Cell::new(now),
    });
    let timeouts = &connection.rules.timeouts;
    let wire = Rc::new(RefCell::new(Wire::new(stream)));
    let mut drain = pin!(worker.drain.notified());
    drain.as_mut().enable();
    connection.deadline.set(now.into(), timeouts.request_headers);
    loop {
        if wire.borrow().unread().is_empty() && connection.break_of_silence(&wire, drain.as_mut()).await != More::Bytes
        {
            return;
        }
        if connection.requests.get() == 0 {
            match connection.begins_http2(&wire, drain.as_mut()).await {
                None => return,
                Some(false) => {}
                Some(true) => {
                    let Some(wire) = Rc::into_inner(wire) else { return };
                    let (stream, before) = wire.into_inner().into_parts();
                    return Box::pin(http2::serve(connection.clone(), stream, before)).await;
                }
            }
        }
        // boxed, so that all of it is given back while the connection is silent
        let after = Box::pin(http1::serve(&connection, &wire, drain.as_mut())).await;
        if after == After::Next {
            wire.borrow_mut().release();
            connection.deadline.set(connection.silent_since.get().into(), timeouts.keep_alive);
            continue;
        }
        let tunnel = connection.exchange.tunnel.take();
        if after == After::Linger {
            linger(&wire).await;
        }
        if let (After::Tunnel, Some(tunnel), Some(wire)) = (after, tunnel, Rc::into_inner(wire)) {
            let (stream, read) = wire.into_inner().into_parts();
            // boxed: those that never become tunnels need no room for it
            Box::pin(tunnel::run(&connection, stream, read, tunnel)).await;
        }
        return;
    }
}

impl Connection {
    /// A request has come. Returns false when the connection has served enough and should end with it.
    pub(super) fn request_begun(&self) -> bool {
        self.in_flight.set(self.in_flight.get() + 1);
        let requests = self.requests.get().saturating_add(1);
        self.requests.set(requests);
        requests < self.rules.limits.requests_per_connection
            && !self.worker.is_draining.get()
            && self.worker.shared.overload.stage() == Stage::Ease
    }

    /// A stream has become a tunnel, which ends like a request.
    pub(super) fn tunnel_begun(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// Refuses a request when the process is short of memory.
    pub(super) fn check_room(&self) -> Result<(), ProxyError> {
        if self.worker.shared.overload.stage() >= Stage::Short { Err(ProxyError::Overloaded) } else { Ok(()) }
    }

    /// A request's record has ended.
    pub(super) fn request_ended(&self, now: Instant) {
        let in_flight = self.in_flight.get().saturating_sub(1);
        self.in_flight.set(in_flight);
        self.silent_since.set(now);
        if in_flight == 0 && self.is_http2.get() {
            self.deadline.set(now.into(), self.rules.timeouts.keep_alive);
        }
    }

    /// True for a connection within TLS, and for a probe where those of clients are.
    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some() || (self.origin == Origin::Ourselves && self.rules.tls.is_some())
    }

    /// Refuses a request for a host that the connection was not opened for.
    pub(super) fn check_authority(&self, host: &str) -> Result<(), ProxyError> {
        match &self.tls {
            Some(agreed) if !agreed.is_authority_for(host) => Err(ProxyError::Misdirected),
            Some(_) | None => Ok(()),
        }
    }

    /// What a request wants of a connection to an endpoint.
    pub(super) fn wants(&self, alpn: Alpn, client: IpAddr) -> Wanted {
        Wanted { alpn, client: SocketAddr::new(client, self.peer.port()) }
    }

    /// Whether the connection speaks HTTP/2: as was agreed upon within TLS, else by its first bytes. `None` when it has
    /// ended before that could be told.
    async fn begins_http2(&self, wire: &RefCell<Wire>, mut drain: Drain<'_, '_>) -> Option<bool> {
        if let Some(agreed) = &self.tls {
            return Some(agreed.is_http2);
        }
        // so few bytes may become either
        while is_begin_of_preface(wire.borrow().unread()) {
            if self.more_comes(wire, drain.as_mut()).await != More::Bytes {
                return None;
            }
        }
        Some(is_preface(wire.borrow().unread()))
    }

    /// Waits for bytes until the deadline, which is soon when the worker drains.
    pub(super) async fn more_comes(&self, wire: &RefCell<Wire>, mut drain: Drain<'_, '_>) -> More {
        let soon = || self.deadline.set(tokio::time::Instant::now(), DRAIN_GRACE);
        let mut is_closing = self.worker.is_draining.get();
        if is_closing {
            soon();
        }
        std::future::poll_fn(|cx| {
            match wire.borrow_mut().poll_read(cx) {
                Poll::Ready(Ok(1..)) => return Poll::Ready(More::Bytes),
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(More::End),
                Poll::Pending => {}
            }
            if !is_closing && drain.as_mut().poll(cx).is_ready() {
                is_closing = true;
                soon();
            }
            let after = if is_closing { More::End } else { More::Silence };
            self.deadline.poll_passed(cx).map(|()| after)
        })
        .await
    }

    /// The same for a connection that has been silent for a while, or from its beginning: it may have to make room.
    async fn break_of_silence(&self, wire: &RefCell<Wire>, drain: Drain<'_, '_>) -> More {
        self.worker.is_silent(&self.silence);
        let mut more = pin!(self.more_comes(wire, drain));
        let came = std::future::poll_fn(|cx| {
            if self.silence.poll_shed(cx) {
                return Poll::Ready(More::End);
            }
            more.as_mut().poll(cx)
        })
        .await;
        self.silence.over();
        came
    }

    /// It should not be given any more requests.
    pub(super) fn has_served_enough(&self) -> bool {
        self.requests.get() >= self.rules.limits.requests_per_connection
    }

    /// Requests are being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.get() > 0
    }
}

/// Tells the worker that a connection has ended, however it ends.
struct OnClose(Rc<Worker>);

impl Drop for OnClose {
    fn drop(&mut self) {
        self.0.close_connection();
    }
}

/// An address as a header value, of a kind that can be cloned without a copy.
fn address_value(peer: SocketAddr) -> HeaderValue {
    let text = peer.ip().to_canonical().to_string();
    HeaderValue::from_maybe_shared(Bytes::from_owner(text)).unwrap_or(HeaderValue::from_static("unknown"))
}

fn is_preface(bytes: &[u8]) -> bool {
    // the rest of it is the library's to check
    bytes.starts_with(&PREFACE[..16])
}

fn is_begin_of_preface(bytes: &[u8]) -> bool {
    bytes.len() < 16 && PREFACE.starts_with(bytes)
}

/// Closes a connection on which the client may still be sending: closing it at once would throw away the answer that
/// the client has not read yet (RFC 9112 §9.6).
async fn linger(wire: &RefCell<Wire>) {
    if std::future::poll_fn(|cx| wire.borrow_mut().poll_shutdown(cx)).await.is_err() {
        return;
    }
    let mut rest = LINGER_BYTES;
    let drain = std::future::poll_fn(|cx| {
        let wire = &mut *wire.borrow_mut();
        while rest > 0 {
            if !matches!(ready!(wire.poll_read(cx)), Ok(1..)) {
                break;
            }
            rest = rest.saturating_sub(wire.discard());
        }
        Poll::Ready(())
    });
    // whether it ended or the time was up, the connection is closed now
    let _ = tokio::time::timeout(LINGER, drain).await;
}
