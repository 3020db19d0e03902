//! What waits to be written on an HTTP/1.1 connection, in either direction (RFC 9112 §7).

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName};
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// What of a message waits to be written: its head and framing, and one piece of its body behind it.
#[derive(Default)]
pub(crate) struct Pending {
    front: Vec<u8>,
    written: usize,
    body: Bytes,
    /// Written behind the body.
    back: &'static [u8],
    /// All was taken, and TLS still holds what the socket did not take.
    is_held: bool,
}

/// How the end of a body is told to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyForm {
    /// There is none.
    Empty,
    /// By the end of the connection, as for a client of HTTP/1.0.
    UntilClose,
    /// So many bytes are to come.
    Length(u64),
    /// As many chunks as there are pieces.
    Chunked,
}

/// The largest piece of a body that is copied behind what stands before it.
const COPIED_BYTES_MAX: usize = 2048;
/// A front that once had to be larger than this does not stay so.
const FRONT_BYTES_KEPT: usize = 4096;

impl Pending {
    /// Where the head of a message is written, before anything of its body.
    pub(crate) fn front(&mut self) -> &mut Vec<u8> {
        &mut self.front
    }

    /// Takes a piece of the body, unless one waits ([`Pending::has_body`]).
    pub(crate) fn push_data(&mut self, data: Bytes, form: BodyForm) {
        if form == BodyForm::Chunked && !data.is_empty() {
            // writing to memory does not fail
            let _ = write!(self.front, "{:x}\r\n", data.len());
            self.back = b"\r\n";
        }
        if data.len() <= COPIED_BYTES_MAX && !self.front.is_empty() {
            // a copy of so little costs less than a second piece does in the kernel
            self.front.extend_from_slice(&data);
            self.front.extend_from_slice(std::mem::take(&mut self.back));
        } else {
            self.body = data;
        }
    }

    /// Ends a chunked body.
    pub(crate) fn push_end(&mut self, trailers: Option<&HeaderMap>) {
        self.front.extend_from_slice(b"0\r\n");
        if let Some(trailers) = trailers {
            push_fields(&mut self.front, trailers);
        }
        self.front.extend_from_slice(b"\r\n");
    }

    /// True when as much waits as may, so that the next piece of a body has to.
    pub(crate) fn has_body(&self) -> bool {
        !self.body.is_empty() || !self.back.is_empty() || self.front.len() > FRONT_BYTES_KEPT
    }

    /// True when all was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_taken() && !self.is_held
    }

    /// Writes as much as the other end takes, and says how many bytes that was.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut stream = Pin::new(stream);
        if self.is_held && self.is_taken() {
            ready!(stream.as_mut().poll_flush(cx))?;
            self.is_held = false;
            // no new bytes, but bytes that are out
            return Poll::Ready(Ok(1));
        }
        let [front, body, back] = self.slices();
        // one piece by `send`, which is cheaper in the kernel than `writev` with one piece
        let count = match (front.is_empty(), body.is_empty(), back.is_empty()) {
            (_, true, true) => ready!(stream.as_mut().poll_write(cx, front))?,
            (true, _, true) => ready!(stream.as_mut().poll_write(cx, body))?,
            _ => {
                let slices = [IoSlice::new(front), IoSlice::new(body), IoSlice::new(back)];
                ready!(stream.as_mut().poll_write_vectored(cx, &slices))?
            }
        };
        self.advance(count);
        if self.is_taken() {
            self.is_held = stream.poll_flush(cx)?.is_pending();
        }
        Poll::Ready(Ok(count))
    }

    fn is_taken(&self) -> bool {
        self.front.is_empty() && self.body.is_empty() && self.back.is_empty()
    }

    fn slices(&self) -> [&[u8]; 3] {
        [&self.front[self.written..], &self.body, self.back]
    }

    /// So many bytes of it were written.
    fn advance(&mut self, mut count: usize) {
        let of_front = count.min(self.front.len() - self.written);
        self.written += of_front;
        count -= of_front;
        if self.written == self.front.len() {
            self.front.clear();
            self.written = 0;
            if self.front.capacity() > FRONT_BYTES_KEPT {
                self.front = Vec::new();
            }
        }
        let of_body = count.min(self.body.len());
        self.body.advance(of_body);
        count -= of_body;
        if self.body.is_empty() {
            self.body = Bytes::new();
        }
        self.back = &self.back[count.min(self.back.len())..];
    }
}

/// Writes header or trailer fields, a line each.
pub(crate) fn push_fields(to: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        push_field(to, name, value.as_bytes());
    }
}

/// Writes one field as a line.
pub(crate) fn push_field(to: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    to.extend_from_slice(name.as_str().as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(pending: &mut Pending, step: usize) -> String {
        let mut all = Vec::new();
        while !pending.is_empty() {
            let slices = pending.slices().concat();
            let count = step.min(slices.len());
            all.extend_from_slice(&slices[..count]);
            pending.advance(count);
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn chunks_are_framed_however_they_are_written() {
        for step in 1..30 {
            let mut pending = Pending::default();
            pending.push_data(Bytes::from_static(b"hello world, hello"), BodyForm::Chunked);
            let mut all = drain(&mut pending, step);
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "9".parse().unwrap());
            pending.push_end(Some(&trailers));
            all += &drain(&mut pending, step);
            assert_eq!(all, "12\r\nhello world, hello\r\n0\r\nx-sum: 9\r\n\r\n");
        }
    }

    #[test]
    fn small_pieces_gather_behind_a_head_but_not_without_end() {
        let mut pending = Pending::default();
        pending.front().extend_from_slice(b"head\r\n\r\n");
        let mut pieces = 0;
        while !pending.has_body() {
            pending.push_data(Bytes::from_static(&[b'x'; 1000]), BodyForm::UntilClose);
            pieces += 1;
        }
        assert!(pending.slices()[0].len() <= FRONT_BYTES_KEPT + COPIED_BYTES_MAX && (2..10).contains(&pieces));
        assert_eq!(drain(&mut pending, 700).len(), 8 + pieces * 1000);
        pending.push_data(Bytes::from_static(b"large enough to stay where it is"), BodyForm::UntilClose);
        assert!(pending.slices()[0].is_empty() && pending.has_body());
    }
}
