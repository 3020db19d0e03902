//! Fewer and larger writes for HTTP/2, where many streams answer in the same moment.
//!
//! An HTTP/2 connection flushes after each answer. Here a flush waits once for the tasks that are ready already: it is
//! pending, with the connection woken again, so that it goes to the end of the line of the runtime. What those tasks
//! have to say is then written together, and within TLS sealed together.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose small writes are gathered until the other ready tasks have run.
#[derive(Debug)]
pub struct Coalesced<S> {
    stream: S,
    /// Owns nothing while nothing waits.
    waiting: Vec<u8>,
    /// How much of `waiting` was written.
    written: usize,
    has_yielded: bool,
}

/// Bytes that wait at most: a TLS record.
const WAITING_MAX: usize = 16 * 1024;
/// A piece of at least this size is written from where it stands: copying it would cost more than a write saves.
const DIRECT_MIN: usize = 8 * 1024;

impl<S> Coalesced<S> {
    /// Gathers the writes of a stream.
    pub fn new(stream: S) -> Coalesced<S> {
        Coalesced { stream, waiting: Vec::new(), written: 0, has_yielded: false }
    }
}

impl<S: AsyncWrite + Unpin> Coalesced<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.waiting.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        (self.waiting, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Makes room for a piece. `false`: it is better written directly.
    fn poll_room(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<io::Result<bool>> {
        if self.waiting.len() + bytes > WAITING_MAX || bytes >= DIRECT_MIN {
            ready!(self.poll_drain(cx))?;
        }
        if bytes >= DIRECT_MIN {
            return Poll::Ready(Ok(false));
        }
        if self.waiting.capacity() == 0 {
            self.waiting.reserve_exact(WAITING_MAX);
        }
        Poll::Ready(Ok(true))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !ready!(self.poll_room(cx, bytes.len()))? {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        self.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        if !ready!(self.poll_room(cx, bytes))? {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        }
        slices.iter().for_each(|slice| self.waiting.extend_from_slice(slice));
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waiting.is_empty() && self.written == 0 && !self.has_yielded {
            self.has_yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_drain(cx))?;
        self.has_yielded = false;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
