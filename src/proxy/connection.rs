//! One client's connection, from its first byte to its end: which protocol it speaks, when it has been silent for too
//! long, and how it is closed.

use bytes::Bytes;
use http::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::forward;
use super::h2_guard::{Guarded, Tally};
use super::socket::Socket;
use super::tunnel::{self, Tunnel};
use super::worker::Worker;
use crate::routing::snapshot::ListenerRules;
use crate::upstream::Deadline;

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
    /// Set by a request whose answer switches protocols: what to do once that answer is out.
    pub(super) tunnel: RefCell<Option<Tunnel>>,
    /// A request was answered before all of its body was read.
    pub(super) has_unread_body: Cell<bool>,
    /// What an HTTP/2 connection has been good for.
    pub(super) tally: Tally,
    requests: Cell<u32>,
    in_flight: Cell<u32>,
    is_write_blocked: Rc<Cell<bool>>,
}

/// How an HTTP/1.1 exchange of requests ended.
enum Ended {
    /// Nothing was asked for a while. Here are the bytes of a request that has begun, if one has.
    Idle(Socket, Bytes),
    /// The connection is done; a tunnel may be wanted.
    Done(Socket, Bytes),
    /// The connection is broken, or its time is up: there may be more to read before it is closed.
    Broken(Socket),
}

/// How long a silent connection stays open when the worker drains: what its client sends meanwhile, or has sent just
/// now, is answered, and then the client is told to go elsewhere.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// How long an HTTP/1.1 connection may be silent before its buffers are given back. It stays open; see `serve`.
const PARK_AFTER: Duration = Duration::from_millis(200);
/// The first bytes of an HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The size of the first read.
const FIRST_READ_BYTES: usize = 8 * 1024;
/// What a client may still send after its last answer, so that it gets to read that answer.
const LINGER_BYTES: usize = 64 * 1024;
/// How long it may take for that.
const LINGER: Duration = Duration::from_secs(1);
/// The most bytes that wait in a connection's buffer.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

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
) {
    let _closed = OnClose(worker.clone());
    let connection = Rc::new(Connection {
        worker,
        listener,
        rules,
        peer,
        peer_text: address_value(peer),
        deadline: Rc::new(Deadline::new()),
        is_http2: Cell::new(false),
        tunnel: RefCell::new(None),
        has_unread_body: Cell::new(false),
        tally: Tally::default(),
        requests: Cell::new(0),
        in_flight: Cell::new(0),
        is_write_blocked: Rc::default(),
    });
    let timeouts = &connection.rules.timeouts;
    let mut wait = timeouts.request_headers;
    let mut stream = stream;
    let mut before = Bytes::new();
    loop {
        if before.is_empty() {
            match connection.first_bytes(&mut stream, wait).await {
                Some(bytes) => before = bytes,
                None => return,
            }
        }
        if connection.requests.get() == 0 && is_preface(&before) {
            return Box::pin(connection.serve_http2(Socket::new(stream, before, Rc::default()))).await;
        }
        if connection.requests.get() == 0 && PREFACE.starts_with(&before) {
            // so few bytes that it may become either
            match connection.first_bytes(&mut stream, timeouts.request_headers).await {
                Some(more) => before = [before, more].concat().into(),
                None => return,
            }
            continue;
        }
        let socket = Socket::new(stream, before, connection.is_write_blocked.clone());
        // boxed, so that all of it is given back while the connection is silent
        match Box::pin(connection.clone().serve_http1(socket)).await {
            Ended::Idle(socket, begun) => {
                let (back, unread) = socket.into_parts();
                stream = back;
                before = if unread.is_empty() { begun } else { [begun, unread].concat().into() };
                wait = timeouts.keep_alive.saturating_sub(PARK_AFTER);
            }
            Ended::Done(socket, read) => {
                let tunnel = connection.tunnel.take();
                match tunnel {
                    Some(tunnel) => tunnel::run(&connection, socket, read, tunnel).await,
                    None if connection.has_unread_body.get() => linger(socket).await,
                    None => {}
                }
                return;
            }
            Ended::Broken(socket) => return linger(socket).await,
        }
    }
}

impl Connection {
    /// A request has come. Returns false when the connection has served enough and should end with it.
    pub(super) fn request_begun(&self) -> bool {
        self.in_flight.set(self.in_flight.get() + 1);
        let requests = self.requests.get().saturating_add(1);
        self.requests.set(requests);
        requests < self.rules.limits.requests_per_connection && !self.worker.is_draining.get()
    }

    /// A request's record has ended.
    pub(super) fn request_ended(&self, now: Instant) {
        let in_flight = self.in_flight.get().saturating_sub(1);
        self.in_flight.set(in_flight);
        if in_flight == 0 {
            let idle = if self.is_http2.get() { self.rules.timeouts.keep_alive } else { PARK_AFTER };
            self.deadline.set(now.into(), idle);
        }
    }

    /// Waits for bytes; `None` when the client has closed or the time is up, which is soon when the worker drains.
    async fn first_bytes(&self, stream: &mut TcpStream, wait: Duration) -> Option<Bytes> {
        self.deadline.set(tokio::time::Instant::now(), wait);
        let mut drain = pin!(self.worker.drain.notified());
        drain.as_mut().enable();
        let mut is_closing = self.worker.is_draining.get();
        if is_closing {
            self.deadline.set(tokio::time::Instant::now(), wait.min(DRAIN_GRACE));
        }
        loop {
            tokio::select! {
                biased;
                ready = stream.readable() => ready.ok()?,
                () = self.deadline.passed() => return None,
                () = &mut drain, if !is_closing => {
                    is_closing = true;
                    self.deadline.set(tokio::time::Instant::now(), wait.min(DRAIN_GRACE));
                    continue;
                }
            }
            let mut buffer = Vec::with_capacity(FIRST_READ_BYTES);
            match stream.try_read_buf(&mut buffer) {
                Ok(0) => return None,
                Ok(_) => return Some(buffer.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    async fn serve_http1(self: Rc<Self>, socket: Socket) -> Ended {
        let requests = self.clone();
        let service = service_fn(move |request| forward::handle(requests.clone(), request, requests.deadline.clone()));
        let limits = &self.rules.limits;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX).max_header_size(limits.header_bytes).timer(TokioTimer::new());
        builder.header_read_timeout(None);
        if limits.header_fields != 100 {
            // hyper's own default is 100, without an allocation for each request
            builder.max_headers(limits.header_fields);
        }
        let mut http = builder.serve_connection(TokioIo::new(socket), service);
        self.deadline.set(tokio::time::Instant::now(), self.rules.timeouts.request_headers);
        let begun_with = self.requests.get();
        let mut drain = pin!(self.worker.drain.notified());
        let mut is_closing = false;
        let ended = std::future::poll_fn(|cx: &mut Context<'_>| {
            if let Poll::Ready(result) = Pin::new(&mut http).poll(cx) {
                return Poll::Ready(Some(result));
            }
            if !is_closing && drain.as_mut().poll(cx).is_ready() {
                is_closing = true;
                // without a request it is soon silent: see `first_bytes`
                if self.in_flight.get() > 0 {
                    Pin::new(&mut http).graceful_shutdown();
                }
                if let Poll::Ready(result) = Pin::new(&mut http).poll(cx) {
                    return Poll::Ready(Some(result));
                }
            }
            self.deadline.poll_passed(cx).map(|()| None)
        })
        .await;
        let is_idle = ended.is_none() && self.in_flight.get() == 0 && self.requests.get() > begun_with;
        let parts = http.into_parts();
        let socket = parts.io.into_inner();
        match ended {
            Some(Ok(())) => Ended::Done(socket, parts.read_buf),
            Some(Err(error)) => {
                self.count_refused(&error);
                Ended::Broken(socket)
            }
            None if is_idle && !self.is_write_blocked.get() => Ended::Idle(socket, parts.read_buf),
            None => Ended::Broken(socket),
        }
    }

    async fn serve_http2(self: Rc<Self>, socket: Socket) {
        self.is_http2.set(true);
        let requests = self.clone();
        let next = Rc::<Cell<Option<Rc<Deadline>>>>::default();
        let executor = StreamExecutor { next: next.clone(), connection: self.clone() };
        let service = service_fn(move |request| {
            requests.tally.request();
            let deadline = Rc::new(Deadline::new());
            next.set(Some(deadline.clone()));
            forward::handle(requests.clone(), request, deadline)
        });
        let limits = &self.rules.limits;
        let mut builder = http2::Builder::new(executor);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.concurrent_streams)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_send_buf_size(128 * 1024)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(128)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let socket = TokioIo::new(Guarded::new(socket, self.clone()));
        let mut http = pin!(builder.serve_connection(socket, service));
        self.deadline.set(tokio::time::Instant::now(), self.rules.timeouts.request_headers);
        let mut drain = pin!(self.worker.drain.notified());
        let mut is_closing = self.worker.is_draining.get();
        if is_closing {
            http.as_mut().graceful_shutdown();
        }
        let mut goodbye = None;
        std::future::poll_fn(|cx: &mut Context<'_>| {
            if http.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if self.tally.is_cut() {
                let patience = goodbye.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
                return patience.as_mut().poll(cx);
            }
            let has_served_enough = self.requests.get() >= limits.requests_per_connection;
            if !is_closing && (has_served_enough || drain.as_mut().poll(cx).is_ready()) {
                is_closing = true;
                http.as_mut().graceful_shutdown();
                if http.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
            }
            if self.in_flight.get() > 0 {
                return Poll::Pending;
            }
            self.deadline.poll_passed(cx)
        })
        .await;
    }

    /// Counts a request that hyper's parser refused: it never became one, but somebody got an answer.
    fn count_refused(&self, error: &hyper::Error) {
        if error.is_parse_too_large() {
            self.worker.shard.unrouted(431);
        } else if error.is_parse() {
            self.worker.shard.unrouted(400);
        }
    }
}

/// Runs the streams of an HTTP/2 connection, each until its deadline.
///
/// When a client takes no more of an answer, hyper waits for the client and asks the body for nothing, so the body
/// cannot see that its time is up. Dropping the stream resets it.
#[derive(Clone)]
struct StreamExecutor {
    /// The deadline of the request that hyper has just handed over; it spawns its stream next.
    next: Rc<Cell<Option<Rc<Deadline>>>>,
    connection: Rc<Connection>,
}

impl<F: Future + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let deadline = self.next.take().unwrap_or_default();
        let connection = self.connection.clone();
        tokio::task::spawn_local(async move {
            tokio::select! {
                biased;
                _ = stream => {}
                () = deadline.passed() => connection.tally.reset_by_us(),
            }
        });
    }
}

/// Tells the worker that a connection has ended, however it ends.
struct OnClose(Rc<Worker>);

impl Drop for OnClose {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.shard.panicked();
        }
        self.0.close_connection();
    }
}

/// An address as a header value, of a kind that can be cloned without a copy.
fn address_value(peer: SocketAddr) -> HeaderValue {
    let text = peer.ip().to_canonical().to_string();
    HeaderValue::from_maybe_shared(Bytes::from_owner(text)).unwrap_or(HeaderValue::from_static("unknown"))
}

fn is_preface(bytes: &[u8]) -> bool {
    // the rest of it is hyper's to check
    bytes.starts_with(&PREFACE[..16])
}

/// Closes a connection on which the client may still be sending: closing it at once would throw away the answer that
/// the client has not read yet (RFC 9112 §9.6).
async fn linger(socket: Socket) {
    let (mut stream, _) = socket.into_parts();
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut scratch = [0; 4096];
    let mut rest = LINGER_BYTES;
    let drain = async {
        while let Ok(count @ 1..) = stream.read(&mut scratch).await {
            rest = rest.saturating_sub(count);
            if rest == 0 {
                return;
            }
        }
    };
    // whether it ended or the time was up, the connection is closed now
    let _ = tokio::time::timeout(LINGER, drain).await;
}
