//! One request of HTTP/2 on its stream, from its head to the end of its answer. Dropping the parts of a stream resets
//! it, so whatever ends early here tells the client so.

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::client_end::ClientEnd;
use super::seats::Given;
use crate::proxy::answer::AnswerBody;
use crate::proxy::arrived::Arrived;
use crate::proxy::connection::Connection;
use crate::proxy::exchange::Exchange;
use crate::proxy::forward::{self, Reply};
use crate::proxy::{extended, headers, tunnel};
use crate::upstream::http1::content_length;
use crate::upstream::{BodyError, ClientBody, Fields};

/// A request that somebody answers now.
pub(super) struct Taken {
    connection: Rc<Connection>,
    arrived: Arrived,
    /// What the client sends into the tunnel that it asks for.
    client_end: Option<RecvStream>,
    respond: SendResponse<Bytes>,
}

impl Taken {
    /// A request, and what whoever answers it and its stream tell each other.
    pub(super) fn of(given: Given, exchange: &Rc<Exchange>) -> Taken {
        let Given { connection, request, respond } = given;
        let (mut head, body) = request.into_parts();
        let is_tunnel = head.method == Method::CONNECT && extended::to_handshake(&mut head);
        let fields = Fields::of(&head.headers);
        let (body, client_end) = match is_tunnel {
            true => (ClientBody::Empty, Some(body)),
            false => (take_up(body, &head.headers, fields, exchange), None),
        };
        Taken { connection, arrived: Arrived { head, fields, body }, client_end, respond }
    }
}

/// Answers a request, or resets its stream when its time is up. An answer that takes its time goes on by itself.
pub(super) async fn answer(taken: &mut Taken, exchange: &Rc<Exchange>) {
    let Taken { connection, arrived, client_end, respond } = taken;
    let part = pin!(serve(connection, exchange, arrived, client_end, respond));
    in_time(connection, exchange, part).await;
}

/// Does something for as long as a stream has time.
///
/// When a client takes no more of an answer, the body is asked for nothing, so it cannot see that its time is up.
async fn in_time(connection: &Connection, exchange: &Exchange, mut part: Pin<&mut impl Future<Output = ()>>) {
    std::future::poll_fn(|cx| {
        if part.as_mut().poll(cx).is_ready() || exchange.is_cut.get() {
            return Poll::Ready(());
        }
        exchange.deadline.poll_passed(cx).map(|()| connection.tally.reset_by_us())
    })
    .await;
}

async fn serve(
    connection: &Rc<Connection>,
    exchange: &Rc<Exchange>,
    arrived: &mut Arrived,
    client_end: &mut Option<RecvStream>,
    respond: &mut SendResponse<Bytes>,
) {
    let mut reply = {
        let mut handling = pin!(forward::handle(connection, arrived, exchange));
        std::future::poll_fn(|cx| {
            let polled = handling.as_mut().poll(cx);
            pass_on(exchange, respond);
            match polled {
                Poll::Ready(reply) => Poll::Ready(Some(reply)),
                // a client that takes its request back takes it along: dropping it tells the endpoint
                Poll::Pending => respond.poll_reset(cx).map(|_| None),
            }
        })
        .await
    };
    *arrived = Arrived::nothing();
    if let (Some(tunnel), Some(end)) = (exchange.tunnel.take(), client_end.take()) {
        if let Some(reply) = reply {
            Box::pin(switch(connection, reply, end, tunnel, respond)).await;
        }
        return;
    }
    std::future::poll_fn(|cx| {
        if let Some(reply) = reply.take() {
            deliver(connection, exchange, reply, respond, cx);
        }
        Poll::Ready(())
    })
    .await;
}

/// The body of a request that has begun to come.
fn take_up(stream: RecvStream, headers: &HeaderMap, fields: Fields, exchange: &Rc<Exchange>) -> ClientBody {
    if stream.is_end_stream() {
        return ClientBody::Empty;
    }
    // the library holds it to what follows
    let length = content_length(headers, fields).unwrap_or_default();
    let expects_continue = fields.has(Fields::EXPECT).then(|| exchange.clone());
    ClientBody::Streamed {
        body: Box::pin(StreamBody { stream, rest: length, expects_continue }),
        ahead: super::STREAM_WINDOW as usize,
    }
}

/// Passes answers on that come before the answer.
fn pass_on(exchange: &Exchange, respond: &mut SendResponse<Bytes>) {
    if exchange.interim.borrow().is_empty() {
        return;
    }
    for mut head in exchange.interim.take() {
        headers::strip_interim(&mut head.headers);
        // a stream that has ended needs none
        let _ = respond.send_informational(Response::from_parts(head, ()));
    }
}

/// Sends an answer. An answer that breaks off, or that nobody wants any more, resets the stream.
///
/// What is not there yet, or not taken, is left to a task of its own, which is small: answers may take hours.
fn deliver(
    connection: &Rc<Connection>,
    exchange: &Rc<Exchange>,
    reply: Reply,
    respond: &mut SendResponse<Bytes>,
    cx: &mut Context<'_>,
) {
    let Reply { response, fields, .. } = reply;
    let (mut head, body) = response.into_parts();
    // a message without a date gets that of its arrival (RFC 9110 §6.6.1)
    if !fields.has(Fields::DATE) {
        head.headers.insert(header::DATE, connection.worker.date.borrow().value());
    }
    let has_body = !body.is_end_stream();
    let Ok(stream) = respond.send_response(Response::from_parts(head, ()), !has_body) else { return };
    if !has_body {
        return;
    }
    let mut delivery = Delivery { body, stream, waiting: None };
    if delivery.poll(cx).is_pending() {
        let (connection, exchange) = (connection.clone(), exchange.clone());
        tokio::task::spawn_local(async move {
            in_time(&connection, &exchange, pin!(std::future::poll_fn(|cx| delivery.poll(cx)))).await;
        });
    }
}

/// Makes the stream a tunnel, which ends like a request.
async fn switch(
    connection: &Rc<Connection>,
    reply: Reply,
    client: RecvStream,
    tunnel: tunnel::Tunnel,
    respond: &mut SendResponse<Bytes>,
) {
    let (mut head, body) = reply.response.into_parts();
    drop(body);
    debug_assert_eq!(head.status, StatusCode::OK);
    head.headers.remove(header::CONTENT_LENGTH);
    if let Ok(stream) = respond.send_response(Response::from_parts(head, ()), false) {
        let open = Open::begin(connection);
        tunnel::run(connection, ClientEnd::new(client, stream), Bytes::new(), tunnel).await;
        drop(open);
    }
}

/// A connection with a tunnel is not idle.
struct Open<'c>(&'c Connection);

impl Open<'_> {
    fn begin(connection: &Connection) -> Open<'_> {
        connection.tunnel_begun();
        Open(connection)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.request_ended(Instant::now());
    }
}

/// The body of a request, as it comes on its stream.
struct StreamBody {
    stream: RecvStream,
    /// How much is still to come, where the client has said so.
    rest: Option<u64>,
    /// The client waits to be told that its body is wanted (RFC 9110 §10.1.1), and this is where.
    expects_continue: Option<Rc<Exchange>>,
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = &mut *self;
        if let Some(exchange) = body.expects_continue.take() {
            let (mut head, ()) = Response::new(()).into_parts();
            head.status = StatusCode::CONTINUE;
            exchange.interim.borrow_mut().push(head);
        }
        match ready!(body.stream.poll_data(cx)) {
            Some(Ok(data)) => {
                // the next piece may come when somebody has taken this one
                let _ = body.stream.flow_control().release_capacity(data.len());
                body.rest = body.rest.map(|rest| rest.saturating_sub(data.len() as u64));
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(BodyError::Broken))),
            None => match ready!(body.stream.poll_trailers(cx)) {
                Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
                Err(_) => Poll::Ready(Some(Err(BodyError::Broken))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// An answer's body on its way to the client.
struct Delivery {
    body: AnswerBody,
    stream: SendStream<Bytes>,
    /// A piece that the client has no room for yet, and whether it is the last one.
    waiting: Option<(Bytes, bool)>,
}

impl Delivery {
    /// Ready when all was handed over, or nothing more can be.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some((_, is_last)) = self.waiting {
                ready!(self.poll_room(cx));
                let Some((data, _)) = self.waiting.take() else { return Poll::Ready(()) };
                if self.stream.send_data(data, is_last).is_err() || is_last {
                    return Poll::Ready(());
                }
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                // who is gone is noticed by asking
                Poll::Pending => return self.stream.poll_reset(cx).map(|_| ()),
            };
            if self.take_frame(frame) {
                return Poll::Ready(());
            }
        }
    }

    /// Waits until the windows of the stream and of the connection are open, or the stream has ended.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.stream.capacity() == 0 {
            if !matches!(ready!(self.stream.poll_capacity(cx)), Some(Ok(_))) {
                self.waiting = None;
                break;
            }
        }
        Poll::Ready(())
    }

    /// Takes a frame of the body. True when it was the last one.
    fn take_frame<E>(&mut self, frame: Option<Result<Frame<Bytes>, E>>) -> bool {
        match frame.map(|frame| frame.map(Frame::into_data)) {
            None => {
                // a stream that has ended needs no end
                let _ = self.stream.send_data(Bytes::new(), true);
                true
            }
            Some(Err(_)) => {
                self.stream.send_reset(Reason::INTERNAL_ERROR);
                true
            }
            Some(Ok(Ok(data))) => {
                let is_last = self.body.is_end_stream();
                if data.is_empty() && !is_last {
                    return false;
                }
                if data.is_empty() {
                    let _ = self.stream.send_data(data, true);
                    return true;
                }
                // a claim, which sending raises to the whole piece: streams that only wait must not share the window
                self.stream.reserve_capacity(1);
                self.waiting = Some((data, is_last));
                false
            }
            Some(Ok(Err(frame))) => {
                let Ok(trailers) = frame.into_trailers() else { return false };
                let _ = self.stream.send_trailers(trailers);
                true
            }
        }
    }
}
