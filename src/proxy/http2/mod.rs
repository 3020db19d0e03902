//! HTTP/2 toward clients: frames, windows and header blocks are the library's, and what may be asked of us is bounded
//! here ([`guard`]). Each request is answered by a task of its own ([`seats`], [`stream`]), as they come and go.

mod client_end;
mod guard;
mod heads;
mod seats;
mod socket;
mod stream;

use bytes::Bytes;
use h2::server::{Builder, Connection as Streams};
use h2::{Ping, PingPong};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

use super::connection::Connection;
use crate::routing::snapshot::ListenerLimits;
use crate::upstream::Coalesced;
use guard::Guarded;
use seats::Given;
use socket::Socket;

pub(super) use guard::Tally;
pub(super) use seats::Seats;

/// Flow-control window of a request's body, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Flow-control window of a connection, in bytes.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of an answer that the library keeps for its client.
const SEND_BUFFER: usize = 128 * 1024;
/// Requests that were taken back before they were looked at.
const TAKEN_BACK_UNSEEN_MAX: usize = 20;
/// Streams that were reset for what their client did.
const VIOLATIONS_MAX: usize = 128;
/// How often a client is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long it may take to give one.
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// How long a client that is sent away may take to read why.
const GOODBYE: Duration = Duration::from_secs(1);

type Http2 = Streams<Guarded<Coalesced<Socket>>, Bytes>;

/// Serves a connection, of which `read` was read already, until it ends.
pub(super) async fn serve(connection: Rc<Connection>, stream: crate::upstream::Stream, read: Bytes) {
    connection.is_http2.set(true);
    connection.deadline.set(Instant::now(), connection.rules.timeouts.request_headers);
    let socket = Guarded::new(Coalesced::new(Socket::new(stream, read)), connection.clone());
    let mut handshake = pin!(builder(&connection.rules.limits).handshake(socket));
    let opened = std::future::poll_fn(|cx| match handshake.as_mut().poll(cx) {
        Poll::Ready(opened) => Poll::Ready(opened.ok()),
        Poll::Pending => connection.deadline.poll_passed(cx).map(|()| None),
    });
    if let Some(mut streams) = opened.await {
        drive(&connection, &mut streams).await;
    }
}

fn builder(limits: &ListenerLimits) -> Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.concurrent_streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(TAKEN_BACK_UNSEEN_MAX)
        .max_local_error_reset_streams(Some(VIOLATIONS_MAX))
        .enable_connect_protocol();
    builder
}

async fn drive(connection: &Rc<Connection>, streams: &mut Http2) {
    let worker = &connection.worker;
    let mut drain = pin!(worker.drain.notified());
    let mut is_closing = worker.is_draining.get();
    if is_closing {
        streams.graceful_shutdown();
    }
    let mut liveness = Liveness::new(streams);
    let mut goodbye = None;
    std::future::poll_fn(|cx: &mut Context<'_>| {
        if poll_requests(connection, streams, cx).is_ready() || liveness.poll_dead(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Some(reason) = connection.tally.cut() {
            let patience = goodbye.get_or_insert_with(|| {
                streams.abrupt_shutdown(reason);
                Box::pin(sleep(GOODBYE))
            });
            let is_told = poll_requests(connection, streams, cx).is_ready();
            return if is_told { Poll::Ready(()) } else { patience.as_mut().poll(cx) };
        }
        let has_served_enough = connection.has_served_enough();
        if !is_closing && (has_served_enough || drain.as_mut().poll(cx).is_ready()) {
            is_closing = true;
            streams.graceful_shutdown();
            if poll_requests(connection, streams, cx).is_ready() {
                return Poll::Ready(());
            }
        }
        if connection.is_busy() {
            return Poll::Pending;
        }
        ready!(connection.deadline.poll_passed(cx));
        if is_closing {
            return Poll::Ready(());
        }
        // a request may be on its way: it is answered, or its client learns that it was not read (RFC 9113 §6.8)
        is_closing = true;
        streams.graceful_shutdown();
        connection.deadline.set(Instant::now(), GOODBYE);
        let is_over = connection.deadline.poll_passed(cx).is_ready();
        if is_over { Poll::Ready(()) } else { poll_requests(connection, streams, cx) }
    })
    .await;
}

/// Has the requests answered that have come. Ready when the connection has ended.
fn poll_requests(connection: &Rc<Connection>, streams: &mut Http2, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        match ready!(streams.poll_accept(cx)) {
            Some(Ok((mut request, respond))) => {
                connection.tally.request();
                // now, and not when its task has its turn: many are read at once
                if guard::bound_fields(request.headers_mut(), connection.rules.limits.header_fields) {
                    connection.tally.be_wary();
                }
                connection.worker.seats.give(Given { connection: connection.clone(), request, respond });
                if connection.tally.is_wary() {
                    // it is answered before the next one is read
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            Some(Err(_)) | None => return Poll::Ready(()),
        }
    }
}

/// Whether a client is still there, beyond what its socket tells: it is asked now and then (RFC 9113 §6.7).
struct Liveness {
    pings: Option<PingPong>,
    timer: Pin<Box<Sleep>>,
    is_asked: bool,
}

impl Liveness {
    fn new(streams: &mut Http2) -> Liveness {
        Liveness { pings: streams.ping_pong(), timer: Box::pin(sleep(PING_EVERY)), is_asked: false }
    }

    /// Ready when the client has not answered in time.
    fn poll_dead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else { return Poll::Pending };
        loop {
            if self.is_asked && pings.poll_pong(cx).is_ready() {
                self.is_asked = false;
                self.timer.as_mut().reset(Instant::now() + PING_EVERY);
            }
            ready!(self.timer.as_mut().poll(cx));
            if self.is_asked || pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            self.is_asked = true;
            self.timer.as_mut().reset(Instant::now() + PONG_WITHIN);
        }
    }
}
