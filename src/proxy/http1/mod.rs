//! HTTP/1.1 toward clients, driven by the connection's own task: read a head, have it answered, write the answer.
//!
//! There is no machine between the socket and the request: a body is read from the connection when the endpoint has
//! room for it, an answer is written as it comes, and between two requests nothing is kept. Any doubt about where a
//! request ends is the end of the connection.

mod answer;
mod head;
mod wire;

use http::{HeaderValue, Method, StatusCode, Version, header};
use hyper::body::Body;
use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

use super::answer::AnswerBody;
use super::arrived::Arrived;
use super::connection::{Connection, Drain, More};
use super::forward::{self, Reply};
use super::headers;
use crate::upstream::http1::{BodyForm, SpareMap};
use crate::upstream::{Fields, Interim, Pace};
use answer::push_head;
use head::{Garbled, Manner};

pub(super) use wire::Wire;

/// What becomes of a connection after a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It serves the next one, whenever that comes.
    Next,
    /// It is closed.
    Close,
    /// It is closed, but the client may still be sending, and should get to read its answer.
    Linger,
    /// It has left HTTP behind.
    Tunnel,
}

/// What the request says about its answer.
#[derive(Clone, Copy)]
struct Asked {
    is_head: bool,
    version: Version,
    keeps_alive: bool,
}

/// How long a connection may be silent before its buffers are given back. It stays open.
const PARK_AFTER: Duration = Duration::from_millis(200);
/// Bytes of informational answers that may wait for a client.
const INTERIM_BYTES_MAX: usize = 64 * 1024;
/// What a client may still send of a body that nobody wants, so that its connection can serve another request.
const UNWANTED_BYTES_MAX: u64 = 64 * 1024;
/// How long that may take.
const UNWANTED_WAIT: Duration = Duration::from_secs(1);

/// Serves requests, of the first of which at least one byte was read, until the client is silent for a while.
pub(super) async fn serve(connection: &Rc<Connection>, wire: &Rc<RefCell<Wire>>, mut drain: Drain<'_, '_>) -> After {
    // what a request is read into serves the next one, too
    let mut arrived = Arrived::nothing();
    loop {
        match exchange(connection, wire, &mut arrived).await {
            After::Next => {}
            after => return after,
        }
        connection.deadline.set(connection.silent_since.get().into(), PARK_AFTER);
        if wire.borrow().unread().is_empty() {
            match connection.more_comes(wire, drain.as_mut()).await {
                More::Bytes => {}
                More::Silence => return After::Next,
                More::End => return After::Close,
            }
        }
    }
}

async fn exchange(connection: &Rc<Connection>, wire: &Rc<RefCell<Wire>>, arrived: &mut Arrived) -> After {
    let manner = match next_head(connection, wire, arrived).await {
        Ok(manner) => manner,
        Err(None) => return After::Close,
        Err(Some(refused)) => return refuse(connection, wire, refused).await,
    };
    let Arrived { head, fields, body } = arrived;
    let (version, is_head) = (head.version, head.method == Method::HEAD);
    let expects_continue = fields.has(Fields::EXPECT) && version == Version::HTTP_11;
    *body = Wire::take_up(wire, manner.framing, expects_continue);
    let asked = Asked { is_head, version, keeps_alive: manner.keeps_alive };
    connection.exchange.interim.borrow_mut().clear();
    let reply = {
        let mut answering = pin!(forward::handle(connection, arrived, &connection.exchange));
        std::future::poll_fn(|cx| {
            let polled = answering.as_mut().poll(cx);
            let wire = &mut *wire.borrow_mut();
            if !connection.exchange.interim.borrow().is_empty() {
                pass_on(&connection.exchange.interim, wire);
            }
            match polled {
                Poll::Ready(reply) => Poll::Ready(Some(reply)),
                Poll::Pending if connection.exchange.is_cut.get() => Poll::Ready(None),
                Poll::Pending => {
                    // who is gone is noticed by reading
                    let _ = wire.poll_flush(cx);
                    // a client that leaves takes its request along: dropping it tells the endpoint
                    wire.poll_gone(cx).map(|()| None)
                }
            }
        })
        .await
    };
    match reply {
        Some(reply) => deliver(connection, wire, reply, asked).await,
        None => After::Close,
    }
}

/// Why bytes are no request, and what is known of the one that they were to be.
struct Refusal {
    status: StatusCode,
    reason: &'static str,
    is_head: bool,
}

/// Reads the head of a request. `Err(None)`: the client has left.
async fn next_head(
    connection: &Connection,
    wire: &RefCell<Wire>,
    arrived: &mut Arrived,
) -> Result<Manner, Option<Refusal>> {
    let limits = &connection.rules.limits;
    let mut looked_at = 0;
    let mut take = |wire: &mut Wire| {
        let is_head = asks_for_head(wire);
        let refusal = |garbled: Garbled| Refusal { status: garbled.status(), reason: garbled.reason(), is_head };
        head::take(&mut wire.read, &mut looked_at, limits, arrived).map_err(|garbled| Some(refusal(garbled)))
    };
    if let Some(manner) = take(&mut wire.borrow_mut())? {
        return Ok(manner);
    }
    connection.deadline.set(Instant::now(), connection.rules.timeouts.request_headers);
    std::future::poll_fn(|cx| {
        let wire = &mut *wire.borrow_mut();
        loop {
            match wire.poll_read(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(None)),
                Poll::Pending => {
                    ready!(connection.deadline.poll_passed(cx));
                    let (status, reason) = (StatusCode::REQUEST_TIMEOUT, "the request header came too slowly");
                    return Poll::Ready(Err(Some(Refusal { status, reason, is_head: asks_for_head(wire) })));
                }
            }
            if let Some(manner) = take(wire)? {
                return Poll::Ready(Ok(manner));
            }
        }
    })
    .await
}

/// What is unread begins like a request for a head alone, after whatever some skip before a request: whatever answers it
/// must have no body.
fn asks_for_head(wire: &Wire) -> bool {
    wire.read.trim_ascii_start().starts_with(b"HEAD ")
}

/// Takes answers that come before the answer to be written. A client that does not read is spared them.
fn pass_on(interim: &Interim, wire: &mut Wire) {
    for mut head in interim.take() {
        if wire.pending.front().len() < INTERIM_BYTES_MAX {
            headers::strip_interim(&mut head.headers);
            answer::push_interim(wire.pending.front(), &head);
        }
    }
}

/// Answers bytes that are no request.
async fn refuse(connection: &Connection, wire: &RefCell<Wire>, refusal: Refusal) -> After {
    let Refusal { status, reason, is_head } = refusal;
    connection.worker.shard.unrouted(status.as_u16());
    {
        let wire = &mut *wire.borrow_mut();
        answer::push_refusal(wire.pending.front(), is_head, status, reason, &connection.worker.date.borrow());
    }
    connection.deadline.set(Instant::now(), connection.rules.timeouts.idle);
    let written = std::future::poll_fn(|cx| {
        if let Poll::Ready(flushed) = wire.borrow_mut().poll_flush(cx) {
            return Poll::Ready(flushed.is_ok());
        }
        connection.deadline.poll_passed(cx).map(|()| false)
    });
    if written.await { After::Linger } else { After::Close }
}

/// Writes an answer, and says what becomes of the connection.
async fn deliver(connection: &Connection, wire: &Rc<RefCell<Wire>>, reply: Reply, asked: Asked) -> After {
    let Reply { response, fields, mut stays_open } = reply;
    let (mut head, body) = response.into_parts();
    let is_switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let form = answer::form(&mut head, fields, &body, asked.is_head, asked.version);
    {
        let wire = &mut *wire.borrow_mut();
        // a client that was not told to go on may do so or not: what it sends next could be read in two ways
        let is_in_doubt = std::mem::take(&mut wire.expects_continue) && !wire.framing.is_done();
        stays_open &= asked.keeps_alive && form != BodyForm::UntilClose && !is_in_doubt;
        stays_open &= !connection.worker.is_draining.get();
        if !is_switch && !stays_open {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        } else if !is_switch && asked.version == Version::HTTP_10 {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
        }
        push_head(wire.pending.front(), &head, fields, form, asked.version, &connection.worker.date.borrow());
    }
    let has_ended = form != BodyForm::Chunked && body.is_end_stream();
    let idle = body.idle().unwrap_or(connection.rules.timeouts.idle);
    let pace = Pace::new(idle, false);
    let mut delivery = Delivery { connection, wire, body, form, has_ended, is_blocked: false, pace, idle };
    let is_delivered = std::future::poll_fn(|cx| delivery.poll(cx)).await;
    drop(delivery);
    SpareMap::give_back(head.headers);
    if !is_delivered {
        return After::Close;
    }
    if is_switch {
        return After::Tunnel;
    }
    let has_read_all = wire.borrow().framing.is_done() || read_unwanted(wire).await;
    match (stays_open, has_read_all) {
        (true, true) => After::Next,
        (false, true) if wire.borrow().unread().is_empty() => After::Close,
        _ => After::Linger,
    }
}

/// An answer on its way to the client.
struct Delivery<'d> {
    connection: &'d Connection,
    wire: &'d Rc<RefCell<Wire>>,
    body: AnswerBody,
    form: BodyForm,
    /// Nothing more is to be asked of the body.
    has_ended: bool,
    /// The client did not take all of what was written last.
    is_blocked: bool,
    /// Of the client that takes it.
    pace: Pace,
    idle: Duration,
}

impl Delivery<'_> {
    /// Ready when all was written (`true`), or the answer or the client broke off.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            if !self.has_ended && !self.wire.borrow().pending.has_body() {
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(frame) => {
                        if !self.take_frame(frame) {
                            return self.poll_break_off(cx);
                        }
                    }
                    Poll::Pending if self.wire.borrow().pending.is_empty() => {
                        return self.wire.borrow_mut().poll_gone(cx).map(|()| false);
                    }
                    Poll::Pending => {}
                }
            }
            if self.wire.borrow().pending.is_empty() {
                if self.has_ended {
                    return Poll::Ready(true);
                }
                continue;
            }
            match self.wire.borrow_mut().poll_write(cx) {
                Poll::Ready(Ok(count @ 1..)) => {
                    if self.is_blocked {
                        self.unblock(count);
                    }
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                Poll::Pending => {
                    self.block();
                    return self.connection.deadline.poll_passed(cx).map(|()| false);
                }
            }
        }
    }

    /// The client is waited for.
    fn block(&mut self) {
        let now = Instant::now();
        self.is_blocked = true;
        if let Some(patience) = self.pace.wait(now) {
            self.connection.deadline.set(now, patience);
        }
    }

    /// The client has taken so many bytes.
    fn unblock(&mut self, count: usize) {
        let now = Instant::now();
        self.is_blocked = false;
        self.pace.moved(count as u64, now);
        // now the endpoint is waited for, unless the client has to be again
        self.connection.deadline.set(now, self.idle);
    }

    /// Takes a frame of the body to be written; false when the answer cannot be completed.
    fn take_frame<E>(&mut self, frame: Option<Result<hyper::body::Frame<bytes::Bytes>, E>>) -> bool {
        let pending = &mut self.wire.borrow_mut().pending;
        let trailers = match frame {
            Some(Err(_)) => return false,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    match &mut self.form {
                        BodyForm::Length(rest) => match rest.checked_sub(data.len() as u64) {
                            Some(left) => *rest = left,
                            None => return false,
                        },
                        BodyForm::Empty if !data.is_empty() => return false,
                        BodyForm::Empty | BodyForm::Chunked | BodyForm::UntilClose => {}
                    }
                    pending.push_data(data, self.form);
                    self.has_ended = self.form == BodyForm::Length(0) && self.body.is_end_stream();
                    return true;
                }
                Err(frame) => frame.into_trailers().ok(),
            },
            None => None,
        };
        self.has_ended = true;
        match self.form {
            BodyForm::Chunked => pending.push_end(trailers.as_ref()),
            BodyForm::Length(1..) => return false,
            BodyForm::Length(0) | BodyForm::Empty | BodyForm::UntilClose => {}
        }
        true
    }

    /// Writes what there was of an answer that will not be complete.
    fn poll_break_off(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let wire = &mut *self.wire.borrow_mut();
        // as much as the client takes at once: it must not wait for the rest, and must not believe that this is all
        let _ = wire.poll_flush(cx);
        if self.form == BodyForm::UntilClose {
            wire.abort();
        }
        Poll::Ready(false)
    }
}

/// Reads what is left of a body that was answered before its end. False when that is too much, or takes too long.
async fn read_unwanted(wire: &Rc<RefCell<Wire>>) -> bool {
    let mut rest = UNWANTED_BYTES_MAX;
    let read = std::future::poll_fn(|cx| {
        loop {
            match ready!(wire.borrow_mut().poll_piece(cx)) {
                None => return Poll::Ready(true),
                Some(Err(_)) => return Poll::Ready(false),
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(0, bytes::Bytes::len) as u64;
                    match rest.checked_sub(bytes) {
                        Some(left) => rest = left,
                        None => return Poll::Ready(false),
                    }
                }
            }
        }
    });
    tokio::time::timeout(UNWANTED_WAIT, read).await.unwrap_or(false)
}
