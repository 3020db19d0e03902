use bytes::Bytes;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::upstream::Stream;

/// The socket of a client that speaks HTTP/2, with what was read of it before anybody knew what to do with it.
pub(super) struct Socket {
    stream: Stream,
    before: Bytes,
    parting: Option<Box<Parting>>,
}

/// Nothing more is sent; what the client sends is read for a while and forgotten.
struct Parting {
    /// The client has been told that nothing more comes.
    is_said: bool,
    /// Bytes that it may still send.
    rest: usize,
    /// When it has been silent for too long.
    silence: Pin<Box<Sleep>>,
    /// When it must be over.
    end: Instant,
}

/// What a client may still send after the last frame: all that our windows allow, and what goes with it.
const PARTING_BYTES: usize = super::CONNECTION_WINDOW as usize + 64 * 1024;
/// How long it may say nothing meanwhile. One that reads opens its windows again and again.
const PARTING_SILENCE: Duration = Duration::from_secs(2);
/// How long it may take in all.
const PARTING: Duration = Duration::from_secs(30);
/// Bytes that are read, and forgotten, at a time.
const PARTING_READ: usize = 2048;

impl Socket {
    pub(super) fn new(stream: Stream, before: Bytes) -> Socket {
        Socket { stream, before, parting: None }
    }

    /// Ready when the client has closed as well, or may not go on.
    fn poll_parted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let parting = self.parting.get_or_insert_with(Box::default);
        if !parting.is_said {
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => parting.is_said = true,
                // it is gone
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return parting.silence.as_mut().poll(cx),
            }
        }
        let mut scratch = [MaybeUninit::uninit(); PARTING_READ];
        loop {
            let mut some = ReadBuf::uninit(&mut scratch);
            let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, &mut some) else {
                return parting.silence.as_mut().poll(cx);
            };
            let count = some.filled().len();
            if read.is_err() || count == 0 || count > parting.rest {
                return Poll::Ready(());
            }
            parting.rest -= count;
            let until = parting.end.min(Instant::now() + PARTING_SILENCE);
            parting.silence.as_mut().reset(until);
        }
    }
}

impl Default for Parting {
    fn default() -> Parting {
        let end = Instant::now() + PARTING;
        Parting { is_said: false, rest: PARTING_BYTES, silence: Box::pin(sleep(PARTING_SILENCE)), end }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.before.len().min(buffer.remaining());
        buffer.put_slice(&self.before.split_to(count));
        if self.before.is_empty() {
            self.before = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // a single piece by `send`, which is cheaper in the kernel than `writev` with one piece
        match slices {
            [only] => Pin::new(&mut self.stream).poll_write(cx, only),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// TLS may hold what the socket did not take.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends our half, and waits for the client's. A socket that is closed while something in it is unread, or that gets
    /// something afterwards, resets the connection, and with it goes what is on its way to the client: the end of an
    /// answer whose beginning it acknowledges, or the reason for which it is sent away (RFC 9112 §9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_parted(cx));
        Poll::Ready(Ok(()))
    }
}
