use bytes::BytesMut;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

/// How much the next read of a connection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadSize(usize);

/// The most that is read through the thread's scratch, in bytes.
const SCRATCH_BYTES: usize = 16 * 1024;
/// The most that one read asks for, in bytes.
const READ_BYTES_MAX: usize = 128 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

impl ReadSize {
    /// As for a connection of which nothing is known yet.
    pub(crate) const SMALL: ReadSize = ReadSize(SCRATCH_BYTES);

    /// Reads what there is, behind what was read before.
    ///
    /// Small reads go through a scratch of the thread: a connection that waits owns no buffer, and what it keeps is as
    /// large as what came. Whoever fills that is read into memory of its own, more at a time.
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        read: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if *self == ReadSize::SMALL {
            let count = SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                let polled = Pin::new(stream).poll_read(cx, &mut buffer);
                polled.map_ok(|()| {
                    read.extend_from_slice(buffer.filled());
                    buffer.filled().len()
                })
            });
            if let Poll::Ready(Ok(SCRATCH_BYTES)) = count {
                self.0 *= 2;
            }
            return count;
        }
        read.reserve(self.0);
        let space = read.capacity() - read.len();
        let count = ready!(poll_read_buf(Pin::new(stream), cx, read))?;
        if count == space {
            self.0 = (self.0 * 2).min(READ_BYTES_MAX);
        } else if count < self.0 / 4 {
            self.0 = (self.0 / 2).max(SCRATCH_BYTES);
        }
        Poll::Ready(Ok(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_read_in_order_and_reads_grow_and_shrink() {
        let text: Vec<u8> = (0..400_000_u32).map(|number| number as u8).collect();
        let (mut from, mut read, mut size) = (&text[..], BytesMut::new(), ReadSize::SMALL);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut largest = 0;
        while let Poll::Ready(Ok(count @ 1..)) = size.poll_read(&mut from, &mut read, &mut cx) {
            largest = largest.max(count);
        }
        assert!(read == text && largest >= READ_BYTES_MAX, "{largest}");
        for _ in 0..5 {
            let _ = size.poll_read(&mut &b"x"[..], &mut read, &mut cx);
        }
        assert_eq!(size, ReadSize::SMALL);
    }
}
