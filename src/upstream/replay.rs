use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::{BodyError, RequestBody};

/// A request's body that can be had back while its beginning is still known, for a request that an endpoint refuses
/// to look at after it was sent.
///
/// What is kept are references to buffers, not copies; a body without a byte costs nothing.
pub(super) struct Replay(Rc<RefCell<State>>);

/// The other end of a [`Replay`]. Dropping it lets go of what is kept.
pub(super) struct Kept(Rc<RefCell<State>>);

struct State {
    body: RequestBody,
    kept: VecDeque<Bytes>,
    kept_bytes: usize,
    /// Everything that was taken out is kept.
    is_whole: bool,
    /// Somebody may still want it back.
    is_wanted: bool,
}

/// Bytes of a body that are kept until the endpoint answers. A longer body cannot be had back.
const KEPT_BYTES_MAX: usize = 64 * 1024;

impl Replay {
    pub(super) fn of(body: RequestBody) -> (Replay, Kept) {
        let state = State { body, kept: VecDeque::new(), kept_bytes: 0, is_whole: true, is_wanted: true };
        let state = Rc::new(RefCell::new(state));
        (Replay(state.clone()), Kept(state))
    }
}

impl Kept {
    /// The body as it was, if its beginning is still known. Whoever has the other end sees an empty one from then on.
    pub(super) fn take_back(self) -> Option<RequestBody> {
        let mut state = self.0.borrow_mut();
        if !state.is_whole {
            return None;
        }
        let mut body = std::mem::replace(&mut state.body, RequestBody::empty());
        body.put_back(std::mem::take(&mut state.kept));
        Some(body)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        state.is_wanted = false;
        state.kept = VecDeque::new();
    }
}

impl State {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if !self.is_wanted || !self.is_whole {
            return;
        }
        match frame.data_ref() {
            Some(data) if self.kept_bytes + data.len() <= KEPT_BYTES_MAX => {
                self.kept_bytes += data.len();
                self.kept.push_back(data.clone());
            }
            Some(_) | None => {
                self.is_whole = false;
                self.kept = VecDeque::new();
            }
        }
    }
}

impl Body for Replay {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.0.borrow_mut();
        let polled = Pin::new(&mut state.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => state.keep(frame),
            Poll::Ready(Some(Err(_))) => state.is_whole = false,
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    /// A body of these pieces.
    fn body(pieces: &[&[u8]]) -> RequestBody {
        let mut body = RequestBody::empty();
        body.put_back(pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect());
        body
    }

    async fn next(replay: &mut Replay) -> Bytes {
        replay.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    #[tokio::test]
    async fn what_was_taken_out_comes_first_again() {
        let (mut replay, kept) = Replay::of(body(&[b"one", b"two", b"three"]));
        assert_eq!(replay.size_hint().exact(), Some(11));
        assert_eq!((next(&mut replay).await, next(&mut replay).await), ("one".into(), "two".into()));
        let back = kept.take_back().unwrap();
        assert_eq!(back.collect().await.unwrap().to_bytes(), "onetwothree");
        assert!(replay.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_long_body_does_not_come_back_and_takes_no_room() {
        let long = vec![b'x'; KEPT_BYTES_MAX];
        let (mut replay, kept) = Replay::of(body(&[&long, b"y"]));
        next(&mut replay).await;
        assert_eq!(kept.0.borrow().kept.len(), 1);
        next(&mut replay).await;
        assert_eq!(kept.0.borrow().kept.len(), 0);
        assert!(kept.take_back().is_none());
    }

    #[tokio::test]
    async fn nothing_is_kept_once_there_is_an_answer() {
        let (mut replay, kept) = Replay::of(body(&[b"one", b"two"]));
        next(&mut replay).await;
        drop(kept);
        next(&mut replay).await;
        assert_eq!(replay.0.borrow().kept.len(), 0);
    }
}
