use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{RequestBody, Wire};

/// An HTTP/1.1 connection to an endpoint, driven by whoever uses it.
///
/// There is no task behind it: the request that borrows the connection polls it together with the answer it waits
/// for. So an exchange costs no hand-over between tasks, and an idle connection costs nothing.
pub(super) struct Http1 {
    sender: SendRequest<RequestBody>,
    connection: Connection<TokioIo<Source>, RequestBody>,
    has_ended: bool,
    /// Shared with the [`Source`].
    unanswered_bytes: Rc<Cell<usize>>,
}

/// The socket, which is read only so far without an answer: an endpoint that sends informational answers without end
/// would keep its worker busy with nothing else.
struct Source {
    stream: Wire,
    /// Bytes that may still be read before the answer.
    unanswered_bytes: Rc<Cell<usize>>,
}

/// What is left of a connection when the endpoint has switched protocols: the socket, and what it sent already.
pub struct TunnelParts {
    /// The socket.
    pub stream: TcpStream,
    /// Bytes of the new protocol that came together with the answer.
    pub read: Bytes,
}

/// Header fields that an answer may have; more is refused with 502.
const RESPONSE_FIELDS_MAX: usize = 200;
/// Bytes that an answer's header block may have, and that may wait in the buffer.
const RESPONSE_HEAD_MAX: usize = 64 * 1024;
/// The largest piece of a body read at once.
const BUFFER_MAX: usize = 256 * 1024;
/// Bytes that may come before the end of an answer's head: informational answers, the head, and one full buffer of
/// what follows it.
const UNANSWERED_MAX: usize = 128 * 1024 + BUFFER_MAX;

/// How an exchange failed before there was an answer.
pub(super) enum SendError {
    /// Nothing was sent; here is the request back.
    Unsent(Box<Request<RequestBody>>),
    /// Something was, or may have been, sent.
    Failed(hyper::Error),
}

impl Http1 {
    pub(super) async fn handshake(stream: TcpStream) -> Result<Http1, hyper::Error> {
        let unanswered_bytes = Rc::new(Cell::new(UNANSWERED_MAX));
        let source = Source { stream: Wire(stream), unanswered_bytes: unanswered_bytes.clone() };
        let (sender, connection) = Builder::new()
            .max_headers(RESPONSE_FIELDS_MAX)
            .max_header_size(RESPONSE_HEAD_MAX)
            .max_buf_size(BUFFER_MAX)
            .handshake(TokioIo::new(source))
            .await?;
        Ok(Http1 { sender, connection, has_ended: false, unanswered_bytes })
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, SendError> {
        self.unanswered_bytes.set(UNANSWERED_MAX);
        let mut answer = pin!(self.sender.try_send_request(request));
        let (connection, has_ended) = (&mut self.connection, &mut self.has_ended);
        let answer = std::future::poll_fn(|cx| {
            drive(connection, has_ended, cx);
            answer.as_mut().poll(cx)
        });
        let answer = answer.await;
        self.unanswered_bytes.set(usize::MAX);
        answer.map_err(|mut error| match error.take_message() {
            Some(request) => SendError::Unsent(Box::new(request)),
            None => SendError::Failed(error.into_error()),
        })
    }

    /// Lets the connection work: read what has come, write what waits.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.connection, &mut self.has_ended, cx);
    }

    /// True when the connection is between two exchanges and still open. Also takes the last waker out of the
    /// connection, so that its next user does not wake the task of its last one.
    pub(super) fn is_reusable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.has_ended && self.sender.is_ready()
    }

    /// Takes the socket out after the endpoint has switched protocols.
    pub(super) fn into_tunnel(self) -> TunnelParts {
        let parts = self.connection.into_parts();
        TunnelParts { stream: parts.io.into_inner().stream.0, read: parts.read_buf }
    }
}

fn drive(connection: &mut Connection<TokioIo<Source>, RequestBody>, has_ended: &mut bool, cx: &mut Context<'_>) {
    // an error reaches the request through its answer or its body; here it only ends the connection
    if !*has_ended && matches!(Pin::new(connection).poll_without_shutdown(cx), Poll::Ready(_)) {
        *has_ended = true;
    }
}

impl AsyncRead for Source {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = self.unanswered_bytes.get();
        if left == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "no answer among so many bytes")));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.unanswered_bytes.set(left.saturating_sub(buffer.filled().len() - before));
        polled
    }
}

impl AsyncWrite for Source {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
