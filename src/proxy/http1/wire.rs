use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

use crate::upstream::http1::{Framing, Malformed, Pending, Piece, ReadSize};
use crate::upstream::{BodyError, ClientBody, Stream};

/// A client's HTTP/1.1 connection: what was read and not yet understood, what waits to be written, and how much of the
/// body of the request at hand is still to come. It owns no memory while it is silent.
pub(in crate::proxy) struct Wire {
    stream: Stream,
    pub(super) read: BytesMut,
    read_size: ReadSize,
    /// Of the request at hand.
    pub(super) framing: Framing,
    /// Which request that is.
    turn: u64,
    /// The client waits to be told that its body is wanted (RFC 9110 §10.1.1).
    pub(super) expects_continue: bool,
    pub(super) pending: Pending,
}

/// What may wait to be understood while a request is answered: the requests that follow it, sent without waiting.
const AHEAD_BYTES_MAX: usize = 64 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Wire {
    pub(in crate::proxy) fn new(stream: Stream) -> Wire {
        Wire {
            stream,
            read: BytesMut::new(),
            read_size: ReadSize::SMALL,
            framing: Framing::Length(0),
            turn: 0,
            expects_continue: false,
            pending: Pending::default(),
        }
    }

    /// What was read and not understood yet.
    pub(in crate::proxy) fn unread(&self) -> &[u8] {
        &self.read
    }

    /// The socket, and what was read from it beyond the last request.
    pub(in crate::proxy) fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.read.freeze())
    }

    /// Takes up a request, and gives its body.
    pub(super) fn take_up(this: &Rc<RefCell<Wire>>, framing: Framing, expects_continue: bool) -> ClientBody {
        let wire = &mut *this.borrow_mut();
        wire.turn += 1;
        wire.framing = framing;
        wire.expects_continue = expects_continue && !framing.is_done();
        if framing.is_done() {
            return ClientBody::Empty;
        }
        ClientBody::Streamed { body: Box::pin(WireBody { wire: this.clone(), turn: wire.turn }), ahead: 0 }
    }

    /// Reads what there is; `Ok(0)` is the end.
    pub(in crate::proxy) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.read_size.poll_read(&mut self.stream, &mut self.read, cx)
    }

    /// Writes what waits. Ready when nothing does any more.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            if ready!(self.poll_write(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes once, and says how many bytes were taken.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.pending.poll_write(&mut self.stream, cx)
    }

    /// Ready when the client is gone, as far as that can be seen without reading its body for somebody else.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.framing.is_done() && self.read.len() < AHEAD_BYTES_MAX {
            match ready!(self.poll_read(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// The next piece of the body of the request at hand.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.framing.take_piece(&mut self.read) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Piece::End) => return Poll::Ready(None),
                Err(Malformed) => return Poll::Ready(Some(Err(BodyError::Broken))),
                Ok(Piece::Starved) => {}
            }
            if std::mem::take(&mut self.expects_continue) {
                self.pending.front().extend_from_slice(CONTINUE);
            }
            if matches!(self.poll_flush(cx), Poll::Ready(Err(_))) {
                return Poll::Ready(Some(Err(BodyError::Broken)));
            }
            match ready!(self.poll_read(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(BodyError::Broken))),
            }
        }
    }

    /// Says that nothing more will be written.
    pub(in crate::proxy) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Forgets what was read, and says how much that was.
    pub(in crate::proxy) fn discard(&mut self) -> usize {
        std::mem::take(&mut self.read).len()
    }

    /// Makes the close of the connection one that no client takes for the end of an answer.
    pub(super) fn abort(&mut self) {
        self.stream.abort();
    }

    /// Gives back what a silent connection does not need.
    pub(in crate::proxy) fn release(&mut self) {
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
        if self.pending.is_empty() {
            self.pending = Pending::default();
        }
        self.read_size = ReadSize::SMALL;
    }
}

/// The body of a request, read from the connection as it is asked for.
struct WireBody {
    wire: Rc<RefCell<Wire>>,
    /// Whose body it is. An endpoint may have answered, and the connection gone on, before it asks again.
    turn: u64,
}

impl Body for WireBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let wire = &mut *self.wire.borrow_mut();
        if wire.turn == self.turn { wire.poll_piece(cx) } else { Poll::Ready(Some(Err(BodyError::Broken))) }
    }

    fn is_end_stream(&self) -> bool {
        let wire = self.wire.borrow();
        wire.turn == self.turn && wire.framing.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        match self.wire.borrow().framing {
            Framing::Length(rest) => SizeHint::with_exact(rest),
            framing if framing.is_done() => SizeHint::with_exact(0),
            Framing::Chunked(_) | Framing::UntilClose => SizeHint::default(),
        }
    }
}
