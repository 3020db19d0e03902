//! An HTTP/1.1 connection to an endpoint, driven by whoever uses it.
//!
//! There is no task behind a connection, and no channel: the request that borrows it writes and reads by itself. So an
//! exchange costs no hand-over, an idle connection owns no buffer, and a request is written from where it stands.
//! Heads are parsed by `httparse`; how bodies end is told in `decode`. Any doubt ends the connection.

mod decode;
mod encode;
mod framing;
mod names;
mod pending;
mod scratch;
mod spare;
mod text;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, request, response};
use hyper::body::{Body, Frame};
use hyper::upgrade::OnUpgrade;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, ReadBuf};

use super::{BodyError, Fields, RequestBody, Stream};
use decode::Head;

pub(crate) use decode::keeps_alive;
pub(crate) use framing::{Chunk, Framing, Malformed, Piece, content_length, is_chunked};
pub(crate) use names::header_name;
pub(crate) use pending::{BodyForm, Pending, push_field, push_fields};
pub(crate) use scratch::ReadSize;
pub(crate) use spare::SpareMap;
pub(crate) use text::HeadText;

/// A connection, and how far its exchange is.
pub(super) struct Http1 {
    stream: Stream,
    read: BytesMut,
    read_size: ReadSize,
    pending: Pending,
    body: RequestBody,
    form: BodyForm,
    is_sent: bool,
    framing: Framing,
    keeps_alive: bool,
    informational: u32,
}

/// A request as it is sent.
#[derive(Clone, Copy)]
pub struct Sendable<'r> {
    /// Its head, in the form that the endpoint's protocol wants.
    pub head: &'r request::Parts,
    /// The fields that its head has.
    pub fields: Fields,
    /// Writes header lines in addition, for HTTP/1.1.
    pub added: &'r dyn Fn(&mut Vec<u8>),
    /// Where answers before the answer are put, for a client that can be given them.
    pub interim: Option<&'r Interim>,
}

/// Informational answers (RFC 9110 §15.2) that wait to be passed on. At most as many as one answer may have before it.
pub type Interim = RefCell<Vec<response::Parts>>;

/// What is left of a connection when the endpoint has switched protocols: the socket, and what it sent already.
pub struct TunnelParts {
    /// The connection, or a stream of one.
    pub end: TunnelEnd,
    /// Bytes of the new protocol that came together with the answer.
    pub read: Bytes,
    /// The connection counts for its variant as long as the tunnel is open.
    pub permit: Option<super::ConnectionPermit>,
    /// The connection that the stream is of.
    pub(super) _shared: Option<super::http2::Http2>,
}

/// The endpoint's end of a tunnel.
pub enum TunnelEnd {
    /// A connection of its own.
    Connection(Stream),
    /// A stream of an HTTP/2 connection.
    Stream(OnUpgrade),
}

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The endpoint closed the connection.
    Closed,
    /// The answer is not HTTP, or not in one way only.
    Malformed,
    /// The client's body failed.
    Body(BodyError),
}

/// A buffer larger than this does not wait for the next answer.
const READ_BYTES_KEPT: usize = 4096;
/// Informational answers that may come before the real one (RFC 9110 §15.2).
const INFORMATIONAL_MAX: u32 = 16;

impl Http1 {
    pub(super) fn new(stream: Stream) -> Http1 {
        Http1 {
            stream,
            read: BytesMut::new(),
            read_size: ReadSize::SMALL,
            pending: Pending::default(),
            body: RequestBody::empty(),
            form: BodyForm::Empty,
            is_sent: true,
            framing: Framing::Length(0),
            keeps_alive: true,
            informational: 0,
        }
    }

    /// Takes a request to be sent.
    pub(super) fn begin(&mut self, request: &Sendable<'_>, body: RequestBody) {
        let Sendable { head, fields, added, .. } = *request;
        self.form = encode::body_form(head, fields, !body.is_end_stream());
        self.is_sent = self.form == BodyForm::Empty;
        self.body = body;
        self.informational = 0;
        encode::push_head(self.pending.front(), head, added, fields, self.form);
    }

    /// Sends the request that was begun, and waits for the head of its answer.
    pub(super) async fn answer(&mut self, request: &Sendable<'_>) -> Result<(response::Parts, Fields), Failure> {
        std::future::poll_fn(|cx| self.poll_answer(&request.head.method, request.interim, cx)).await
    }

    /// The next piece of the answer's body.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Poll::Ready(Err(failure @ Failure::Body(_))) = self.poll_send(cx) {
            return Poll::Ready(Some(Err(failure)));
        }
        loop {
            match self.framing.take_piece(&mut self.read) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Piece::End) => return Poll::Ready(None),
                Err(Malformed) => return Poll::Ready(Some(Err(Failure::Malformed))),
                Ok(Piece::Starved) => match ready!(self.poll_read(cx)) {
                    Ok(0) if self.framing == Framing::UntilClose => {
                        self.framing = Framing::Length(0);
                        return Poll::Ready(None);
                    }
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Poll::Ready(Some(Err(Failure::Closed))),
                },
            }
        }
    }

    /// How much of the body is to come, if that is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(rest) => Some(rest),
            framing if framing.is_done() => Some(0),
            Framing::Chunked(_) | Framing::UntilClose => None,
        }
    }

    /// True when the connection is between two exchanges, silent, and still open. Also gives its buffer back, and
    /// takes the last waker out of it, so that its next user does not wake the task of its last one.
    pub(super) fn is_reusable(&mut self) -> bool {
        let is_between = self.is_sent && self.pending.is_empty() && self.framing.is_done() && self.keeps_alive;
        if !is_between || !self.read.is_empty() {
            return false;
        }
        if self.read.capacity() > READ_BYTES_KEPT {
            self.read = BytesMut::new();
        }
        let mut one = [0];
        let mut probe = ReadBuf::new(&mut one);
        let mut cx = Context::from_waker(Waker::noop());
        // a byte now answers nothing, and an end is an end
        Pin::new(&mut self.stream).poll_read(&mut cx, &mut probe).is_pending()
    }

    /// Takes the socket out after the endpoint has switched protocols.
    pub(super) fn into_tunnel(self) -> TunnelParts {
        TunnelParts { end: TunnelEnd::Connection(self.stream), read: self.read.freeze(), permit: None, _shared: None }
    }

    fn poll_answer(
        &mut self,
        method: &Method,
        interim: Option<&Interim>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(response::Parts, Fields), Failure>> {
        let sent = self.poll_send(cx);
        if let Poll::Ready(Err(failure @ Failure::Body(_))) = sent {
            return Poll::Ready(Err(failure));
        }
        // an endpoint that takes no more of a body may still have answered: look before giving up
        loop {
            if !self.read.is_empty() {
                match decode::take_head(&mut self.read, method) {
                    Err(Malformed) => return Poll::Ready(Err(Failure::Malformed)),
                    Ok(Some(head)) if is_interim(&head) => {
                        self.informational += 1;
                        if self.informational > INFORMATIONAL_MAX {
                            return Poll::Ready(Err(Failure::Malformed));
                        }
                        // nobody but us would have asked to go on, and we do not
                        if head.parts.status != StatusCode::CONTINUE
                            && let Some(interim) = interim
                        {
                            interim.borrow_mut().push(head.parts);
                        }
                        continue;
                    }
                    Ok(Some(head)) => {
                        (self.framing, self.keeps_alive) = (head.framing, head.keeps_alive);
                        return Poll::Ready(Ok((head.parts, head.fields)));
                    }
                    Ok(None) => {}
                }
            }
            match ready!(self.poll_read(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Err(Failure::Closed)),
            }
        }
    }

    /// Writes what there is of the request. Ready when all was written, or writing has failed for good.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            // the head and the first piece of a body go out together
            if !self.is_sent && !self.pending.has_body() {
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(frame) => self.take_frame(frame)?,
                    Poll::Pending if self.pending.is_empty() => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            if self.pending.is_empty() {
                if self.is_sent {
                    if self.form != BodyForm::Empty {
                        // whose body it was may be waiting to be the only one that knows its connection
                        (self.body, self.form) = (RequestBody::empty(), BodyForm::Empty);
                    }
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            match ready!(self.pending.poll_write(&mut self.stream, cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => {
                    // nothing more can be sent, and the connection serves nobody else
                    (self.is_sent, self.keeps_alive) = (true, false);
                    self.pending = Pending::default();
                    self.body = RequestBody::empty();
                    return Poll::Ready(Err(Failure::Closed));
                }
            }
        }
    }

    fn take_frame(&mut self, frame: Option<Result<Frame<Bytes>, BodyError>>) -> Result<(), Failure> {
        let trailers = match frame {
            Some(Err(error)) => {
                (self.is_sent, self.keeps_alive) = (true, false);
                return Err(Failure::Body(error));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.take_data(data)?;
                    if !self.body.is_end_stream() || self.form == BodyForm::Chunked {
                        return Ok(());
                    }
                    None
                }
                Err(frame) => frame.into_trailers().ok(),
            },
            None => None,
        };
        self.is_sent = true;
        match self.form {
            BodyForm::Chunked => self.pending.push_end(trailers.as_ref()),
            // fewer bytes than were promised: the endpoint must not take the next request for the rest
            BodyForm::Length(1..) => return Err(Failure::Body(BodyError::Broken)),
            BodyForm::Length(0) | BodyForm::Empty | BodyForm::UntilClose => {}
        }
        Ok(())
    }

    fn take_data(&mut self, data: Bytes) -> Result<(), Failure> {
        if let BodyForm::Length(rest) = &mut self.form {
            *rest = rest.checked_sub(data.len() as u64).ok_or(Failure::Body(BodyError::Broken))?;
        }
        self.pending.push_data(data, self.form);
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.read_size.poll_read(&mut self.stream, &mut self.read, cx)
    }
}

/// An answer before the answer. One that switches protocols is an answer.
fn is_interim(head: &Head) -> bool {
    head.parts.status.is_informational() && head.parts.status != StatusCode::SWITCHING_PROTOCOLS
}
