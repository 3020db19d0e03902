//! Fewer and larger writes for HTTP/2, where many streams answer in the same moment.
//!
//! An HTTP/2 connection writes after each answer. Here small writes are gathered, and a flush is a promise: the
//! connection is woken again, so that it goes to the end of the line of the runtime, and when it is polled next (it
//! begins by reading) all that has gathered is written together, and within TLS sealed together. By then the tasks
//! that were ready have had their turn.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose small writes are gathered until the other ready tasks have run. For connections that read whenever
/// they are polled, as those of h2 do: what was flushed is written then.
#[derive(Debug)]
pub struct Coalesced<S> {
    stream: S,
    /// Owns nothing while nothing waits.
    waiting: Vec<u8>,
    /// How much of `waiting` was written.
    written: usize,
    /// A flush was promised; the connection's task has been woken to keep it.
    is_due: bool,
}

/// Bytes that wait at most: a TLS record.
const WAITING_MAX: usize = 16 * 1024;
/// A piece of at least this size is written from where it stands: copying it would cost more than a write saves.
const DIRECT_MIN: usize = 8 * 1024;

impl<S> Coalesced<S> {
    /// Gathers the writes of a stream.
    pub fn new(stream: S) -> Coalesced<S> {
        Coalesced { stream, waiting: Vec::new(), written: 0, is_due: false }
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

    /// Writes all that waits, for good.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        self.is_due = false;
        Pin::new(&mut self.stream).poll_flush(cx)
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // what cannot be written now is no reason not to read: the socket wakes the task when it can be
        if self.is_due
            && let Poll::Ready(Err(error)) = self.poll_out(cx)
        {
            return Poll::Ready(Err(error));
        }
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
        if self.waiting.is_empty() || self.written > 0 {
            return self.poll_out(cx);
        }
        if !self.is_due {
            self.is_due = true;
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::cell::Cell;
    use std::rc::Rc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::Notify;
    use tokio::task::{JoinSet, LocalSet};

    /// A stream that counts what reaches it.
    struct Counting {
        stream: DuplexStream,
        writes: Rc<Cell<usize>>,
    }

    impl AsyncRead for Counting {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.writes.set(self.writes.get() + 1);
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.writes.set(self.writes.get() + 1);
            Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
        }

        /// As sockets have it: so h2 writes each answer from where it stands.
        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, test);
    }

    /// The writes that a number of answers make which are ready in the same moment.
    async fn writes_of<S: AsyncRead + AsyncWrite + Unpin + 'static>(
        answers: usize,
        bytes: usize,
        wrap: impl FnOnce(Counting) -> S,
    ) -> usize {
        let (client, server) = duplex(1 << 20);
        let writes = Rc::new(Cell::new(0));
        let server = wrap(Counting { stream: server, writes: writes.clone() });
        let (go, waiting) = (Rc::new(Notify::new()), Rc::new(Cell::new(0)));
        let (release, arrived) = (go.clone(), waiting.clone());
        tokio::task::spawn_local(async move {
            let mut connection = h2::server::handshake(server).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let (go, waiting) = (go.clone(), waiting.clone());
                tokio::task::spawn_local(async move {
                    let released = go.notified();
                    waiting.set(waiting.get() + 1);
                    released.await;
                    let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                    body.send_data(Bytes::from(vec![b'x'; bytes]), true).unwrap();
                });
            }
        });
        let (sender, connection) = h2::client::handshake(client).await.unwrap();
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        let mut asked = JoinSet::new();
        for _ in 0..answers {
            let mut sender = sender.clone().ready().await.unwrap();
            let (response, _) = sender.send_request(http::Request::get("http://a/").body(()).unwrap(), true).unwrap();
            asked.spawn_local(async move {
                let mut body = response.await.unwrap().into_body();
                let mut count = 0;
                while let Some(piece) = body.data().await {
                    count += piece.unwrap().len();
                }
                count
            });
        }
        while arrived.get() < answers {
            tokio::task::yield_now().await;
        }
        let before = writes.get();
        release.notify_waiters();
        while let Some(count) = asked.join_next().await {
            assert_eq!(count.unwrap(), bytes);
        }
        writes.get() - before
    }

    #[test]
    fn answers_of_the_same_moment_go_out_together() {
        run(async {
            let plain = writes_of(32, 1000, |stream| stream).await;
            let together = writes_of(32, 1000, Coalesced::new).await;
            // 32 answers of 1 kB fill the buffer twice
            assert!(together <= 4 && plain >= 32, "{together} of {plain}");
            assert_eq!(writes_of(1, 10, Coalesced::new).await, 1, "one answer is one write");
        });
    }

    #[test]
    fn bytes_come_in_order_whatever_their_pieces_are() {
        run(async {
            let (mut far, near) = duplex(5_000);
            let mut near = Coalesced::new(near);
            let sizes = [1, 100, DIRECT_MIN - 1, DIRECT_MIN, 3, WAITING_MAX, WAITING_MAX - 1, 0, 50_000, 7];
            let all: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|at| (at * 7 + at / 256) as u8).collect();
            let expected = all.clone();
            tokio::task::spawn_local(async move {
                let mut rest = &all[..];
                for (number, size) in sizes.into_iter().enumerate() {
                    let (piece, after) = rest.split_at(size);
                    near.write_all(piece).await.unwrap();
                    if number % 3 == 0 {
                        near.flush().await.unwrap();
                        // as a connection that is polled again does
                        let mut read = ReadBuf::new(&mut []);
                        let _ = std::future::poll_fn(|cx| {
                            Poll::Ready(Pin::new(&mut near).poll_read(cx, &mut read).is_ready())
                        })
                        .await;
                    }
                    rest = after;
                }
                near.shutdown().await.unwrap();
            });
            let mut came = Vec::new();
            far.read_to_end(&mut came).await.unwrap();
            assert!(came == expected);
        });
    }
}
