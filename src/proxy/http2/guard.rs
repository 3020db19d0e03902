//! What the HTTP/2 library does not count: frames that cost us work and bring no request (RFC 9113 §10.5).
//!
//! The library bounds streams, header lists, CONTINUATION, empty and tiny DATA, and resets that wait. It answers PING,
//! SETTINGS, PRIORITY, WINDOW_UPDATE and unknown frames for as long as they come, and resets for as long as they are
//! spread out. So the heads of incoming frames are counted on their way to it, against what the connection has been
//! good for: nine bytes are looked at for each frame, nothing is kept, nothing is copied.
//!
//! Of a connection that is over its allowance nothing more is read; whoever drives it tells the client to calm down.

use h2::Reason;
use http::{HeaderMap, HeaderValue, header};
use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::heads::{CONTINUATION, DATA, HEADERS, Heads, PUSH_PROMISE};
use crate::proxy::connection::Connection;

/// Bytes of frames that every connection may send for nothing, of header blocks and of others each.
const FREE_BYTES: u64 = 1 << 20;
/// Bytes of other frames that each request may bring.
const OTHER_BYTES_PER_REQUEST: u64 = 1024;
/// Bytes of other frames for each byte of a body: a client that takes an answer in small pieces acknowledges each.
const OTHER_BYTES_PER_BODY_BYTE: u64 = 4;
/// Bytes of header blocks that each request may bring, trailers included.
const HEAD_BYTES_PER_REQUEST: u64 = 64 * 1024;
/// Requests of a connection that its client took back before there was an answer.
const TAKEN_BACK_MAX: u32 = 1000;
/// Streams of a connection that were reset by us, as their time was up.
const RESET_BY_US_MAX: u32 = 500;

/// Frames of one read, beyond which the other connections of the worker have their turn: tiny ones are cheap to send
/// and not to answer, and the library takes all that is there.
const FRAMES_A_TURN: u32 = 128;

/// Requests that may be read before the first of them is looked at, beside those of one read.
const HEADS_AHEAD: i32 = 4;

/// What a connection has been good for so far.
#[derive(Default)]
pub(in crate::proxy) struct Tally {
    /// Requests that came so far as to be looked at.
    requests: Cell<u32>,
    /// Bytes of bodies, in both directions.
    moved: Cell<u64>,
    taken_back: Cell<u32>,
    reset_by_us: Cell<u32>,
    /// Some bytes have become more fields than a request may have.
    is_wary: Cell<bool>,
    cut: Cell<Option<Reason>>,
}

/// A client's HTTP/2 connection, whose frames are counted as they are read.
pub(in crate::proxy) struct Guarded<S> {
    inner: S,
    connection: Rc<Connection>,
    frames: Frames,
    /// Others of this worker have their turn first.
    owes_turn: bool,
    /// Requests that had been looked at when reading was last put off for those that had not.
    put_off_at: Option<u32>,
}

/// Where one is in the stream of frames, and what has come.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes of the preface that have been seen.
    preface: usize,
    heads: Heads,
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have been seen.
    known: usize,
    /// Bytes of the payload that have not been seen.
    rest: usize,
    count: u32,
    /// Requests that have begun to come, as far as frames tell.
    begun: u32,
    head_bytes: u64,
    other_bytes: u64,
    /// The connection is to end after this frame.
    is_over: bool,
    /// The connection is to end before this frame.
    wrong: Option<Reason>,
}

/// Bytes that are read at a time where requests may come: some thirty usual ones.
const HEADS_READ: usize = 2048;
/// The same, of a client that has asked with too many fields: about one request.
const WARY_READ: usize = 256;
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
/// All but the reserved bit (RFC 9113 §4.1).
const STREAM_BITS: u32 = u32::MAX >> 1;

/// Lets go of the fields of a request that has too many, before the next one is read: a few bytes become many fields
/// by HPACK, and a hundred requests are read at once. What is left is refused like the whole. True for such a request.
pub(in crate::proxy) fn bound_fields(fields: &mut HeaderMap, most: usize) -> bool {
    let is_beyond = fields.len() > most;
    if is_beyond {
        let mut few = HeaderMap::new();
        for _ in 0..=most {
            few.append(header::COOKIE, HeaderValue::from_static(""));
        }
        *fields = few;
    }
    is_beyond
}

impl Tally {
    /// A request has come.
    pub(in crate::proxy) fn request(&self) {
        self.requests.set(self.requests.get().saturating_add(1));
    }

    /// Bytes of a body have passed.
    pub(in crate::proxy) fn moved(&self, bytes: usize) {
        self.moved.set(self.moved.get().wrapping_add(bytes as u64));
    }

    /// A request was taken back before there was an answer.
    pub(in crate::proxy) fn taken_back(&self) {
        self.taken_back.set(self.taken_back.get().saturating_add(1));
    }

    /// A stream was reset, as its time was up.
    pub(in crate::proxy) fn reset_by_us(&self) {
        self.reset_by_us.set(self.reset_by_us.get().saturating_add(1));
    }

    /// A request had too many fields. Those that follow are read and answered one by one, so that they are never in
    /// memory together.
    pub(in crate::proxy) fn be_wary(&self) {
        self.is_wary.set(true);
    }

    pub(in crate::proxy) fn is_wary(&self) -> bool {
        self.is_wary.get()
    }

    /// Why the connection is ending: it is over its allowance, or a frame was wrong.
    pub(in crate::proxy) fn cut(&self) -> Option<Reason> {
        self.cut.get()
    }

    fn allows(&self, head_bytes: u64, other_bytes: u64) -> bool {
        let requests = u64::from(self.requests.get());
        let heads = FREE_BYTES + requests * HEAD_BYTES_PER_REQUEST;
        let others = FREE_BYTES
            + requests * OTHER_BYTES_PER_REQUEST
            + self.moved.get().saturating_mul(OTHER_BYTES_PER_BODY_BYTE);
        head_bytes <= heads
            && other_bytes <= others
            && self.taken_back.get() <= TAKEN_BACK_MAX
            && self.reset_by_us.get() <= RESET_BY_US_MAX
    }
}

impl Frames {
    /// Looks at bytes as they come. When the connection is to end, tells how many of them still count: up to the end of
    /// a frame.
    fn scan(&mut self, bytes: &[u8], tally: &Tally) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let left = bytes.len() - at;
            if self.preface < PREFACE_BYTES {
                let count = left.min(PREFACE_BYTES - self.preface);
                self.preface += count;
                at += count;
                continue;
            }
            if self.rest > 0 {
                let count = left.min(self.rest);
                self.rest -= count;
                at += count;
            } else {
                let count = left.min(HEAD_BYTES - self.known);
                self.head[self.known..self.known + count].copy_from_slice(&bytes[at..at + count]);
                self.known += count;
                at += count;
                if self.known < HEAD_BYTES {
                    return None;
                }
                self.begin(tally);
                if self.wrong.is_some() {
                    self.rest = 0;
                    return Some(at.saturating_sub(HEAD_BYTES));
                }
            }
            if self.rest == 0 && self.is_over {
                return Some(at);
            }
        }
        None
    }

    /// The head of a frame is complete.
    fn begin(&mut self, tally: &Tally) {
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        self.known = 0;
        self.count = self.count.wrapping_add(1);
        self.rest = u32::from_be_bytes([0, a, b, c]) as usize;
        self.wrong = self.heads.wrong(self.rest, kind, flags, u32::from_be_bytes(stream) & STREAM_BITS);
        let bytes = (HEAD_BYTES + self.rest) as u64;
        match kind {
            DATA => tally.moved(self.rest),
            HEADERS | PUSH_PROMISE | CONTINUATION => {
                self.begun = self.begun.wrapping_add(u32::from(kind == HEADERS));
                self.head_bytes += bytes;
            }
            _ => self.other_bytes += bytes,
        }
        self.is_over |= !tally.allows(self.head_bytes, self.other_bytes);
    }

    /// What comes next belongs to a body.
    fn is_within_body(&self) -> bool {
        self.rest > 0 && self.head[3] == DATA
    }

    fn is_between_frames(&self) -> bool {
        self.known == 0 && self.rest == 0
    }
}

impl<S> Guarded<S> {
    pub(in crate::proxy) fn new(inner: S, connection: Rc<Connection>) -> Guarded<S> {
        Guarded { inner, connection, frames: Frames::default(), owes_turn: false, put_off_at: None }
    }
}

impl<S> Guarded<S> {
    /// True when requests that have been read wait to be looked at: by HPACK each may be a hundred times its bytes, until
    /// its fields are counted. What the library refuses is never looked at, so once without progress is enough.
    fn is_ahead(&mut self) -> bool {
        let requests = self.connection.tally.requests.get();
        let waiting = self.frames.begun.wrapping_sub(requests).cast_signed();
        if waiting <= HEADS_AHEAD {
            return false;
        }
        if self.put_off_at == Some(requests) {
            self.frames.begun = requests;
            return false;
        }
        self.put_off_at = Some(requests);
        true
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Reads what there is of a body, and little of what may be requests: the library decodes all that it is given before
    /// anybody gets to see the first of them.
    fn poll_some(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = if self.connection.tally.is_wary() { WARY_READ } else { HEADS_READ };
        if self.frames.is_within_body() || buffer.remaining() <= most {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let mut scratch = [MaybeUninit::uninit(); HEADS_READ];
        let mut few = ReadBuf::uninit(&mut scratch[..most]);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut few))?;
        buffer.put_slice(few.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guarded = &mut *self;
        if guarded.connection.tally.cut().is_some() {
            // nothing more is read; whoever waits for the end of the connection has a timer
            return Poll::Pending;
        }
        if std::mem::take(&mut guarded.owes_turn) || guarded.is_ahead() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (before, frames) = (buffer.filled().len(), guarded.frames.count);
        ready!(guarded.poll_some(cx, buffer))?;
        let tally = &guarded.connection.tally;
        if let Some(end) = guarded.frames.scan(&buffer.filled()[before..], tally) {
            debug_assert!(guarded.frames.is_between_frames());
            buffer.set_filled(before + end);
            let peer = guarded.connection.peer;
            let reason = guarded.frames.wrong.unwrap_or(Reason::ENHANCE_YOUR_CALM);
            tracing::debug!(%peer, %reason, "an http/2 connection is ended for its frames, or resets");
            tally.cut.set(Some(reason));
            if end == 0 {
                // to have read nothing would be the end of the connection, without a word
                return Poll::Pending;
            }
        }
        let most = if tally.is_wary() { 0 } else { FRAMES_A_TURN };
        guarded.owes_turn = guarded.frames.count.wrapping_sub(frames) > most;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let head = [(length >> 16) as u8, (length >> 8) as u8, length as u8, kind, 0, 0, 0, 0, 1];
        [&head[..], &vec![0xff; length]].concat()
    }

    /// Bytes until a connection is cut, given in pieces.
    fn cut_after(frames: impl Iterator<Item = Vec<u8>>, piece: usize, tally: &Tally) -> Option<usize> {
        let (mut guard, mut count) = (Frames::default(), 0);
        let mut waiting = vec![b'P'; PREFACE_BYTES];
        let settings = frame(4, 0);
        for frame in std::iter::once(settings).chain(frames) {
            waiting.extend(frame);
            while waiting.len() >= piece {
                let rest = waiting.split_off(piece);
                let bytes = std::mem::replace(&mut waiting, rest);
                if let Some(end) = guard.scan(&bytes, tally) {
                    assert!(guard.is_between_frames());
                    return Some(count + end);
                }
                count += bytes.len();
            }
        }
        guard.scan(&waiting, tally).map(|end| count + end)
    }

    #[test]
    fn frames_for_nothing_end_a_connection_wherever_the_pieces_break() {
        const PING: usize = 17;
        for piece in [1, 7, 9, 4096] {
            let floods = std::iter::repeat_with(|| frame(6, 8)).take(100_000);
            let expected = PREFACE_BYTES + HEAD_BYTES + (FREE_BYTES as usize / PING + 1) * PING;
            assert_eq!(cut_after(floods, piece, &Tally::default()), Some(expected), "{piece}");
        }
        // settings, priority, window updates, unknown ones
        for (kind, length) in [(4, 0), (2, 5), (8, 4), (0xfe, 16_384)] {
            let floods = std::iter::repeat_with(|| frame(kind, length)).take(120_000);
            assert!(cut_after(floods, 4096, &Tally::default()).is_some(), "{kind}");
        }
    }

    #[test]
    fn who_brings_requests_and_bodies_may_send_what_goes_with_them() {
        let tally = Tally::default();
        let download = (0..200_000).flat_map(|_| {
            tally.moved(64);
            [frame(8, 4), frame(8, 4)]
        });
        assert_eq!(cut_after(download, 4096, &tally), None);
        let tally = Tally::default();
        let requests = (0..10_000).flat_map(|_| {
            tally.request();
            [frame(1, 600), frame(9, 2000), frame(0, 10), frame(8, 4)]
        });
        assert_eq!(cut_after(requests, 4096, &tally), None);
        let heads = std::iter::repeat_with(|| frame(1, 600)).take(10_000);
        assert!(cut_after(heads, 4096, &Tally::default()).is_some(), "header blocks that never become a request");
    }

    #[test]
    fn resets_are_counted_for_life() {
        for (reset, most) in [(Tally::taken_back as fn(&Tally), TAKEN_BACK_MAX), (Tally::reset_by_us, RESET_BY_US_MAX)]
        {
            let tally = Tally::default();
            (0..most).for_each(|_| reset(&tally));
            assert_eq!(cut_after(std::iter::once(frame(6, 8)), 4096, &tally), None);
            reset(&tally);
            assert_eq!(cut_after(std::iter::once(frame(6, 8)), 4096, &tally), Some(PREFACE_BYTES + HEAD_BYTES));
        }
    }

    #[test]
    fn a_wrong_frame_is_withheld() {
        let tally = Tally::default();
        assert_eq!(
            cut_after([frame(6, 8), frame(6, 7), frame(6, 8)].into_iter(), 4096, &tally),
            Some(PREFACE_BYTES + 26)
        );
        assert_eq!(cut_after([frame(6, 8), frame(6, 8)].into_iter(), 4096, &tally), None);
    }

    #[test]
    fn fields_beyond_the_limit_are_let_go_of() {
        for (count, is_beyond, left) in [(100, false, 100), (101, true, 101), (480, true, 101)] {
            let mut fields = HeaderMap::new();
            for _ in 0..count {
                fields.append(header::ACCEPT, HeaderValue::from_static("a"));
            }
            assert_eq!((bound_fields(&mut fields, 100), fields.len()), (is_beyond, left), "{count}");
        }
    }
}
