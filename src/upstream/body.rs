use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use hyper::body::{Body, Frame, SizeHint};
use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

use super::{Deadline, Hold, Pace, Tee};

/// A request's body on its way from the client to an endpoint.
///
/// It is streamed: the next piece is read from the client only when the endpoint has taken the one before.
pub struct RequestBody {
    /// What comes before the rest: pieces that were taken out before, and given back because nobody got them.
    first: VecDeque<Bytes>,
    inner: Option<ClientBody>,
    /// Keeps what passes.
    tee: Option<Rc<Tee>>,
    watch: Option<Rc<BodyWatch>>,
    max_bytes: Option<u64>,
    /// Names that trailers must not have, beside those that they never may.
    no_trailers: Option<Arc<[HeaderName]>>,
}

/// A client's body, as its connection gives it.
pub enum ClientBody {
    /// There is none.
    Empty,
    /// Read from the connection, or from its stream, as it is asked for.
    Streamed {
        /// What comes of it.
        body: Pin<Box<dyn Body<Data = Bytes, Error = BodyError>>>,
        /// Bytes that the client may send ahead of what was asked for, and that are kept for it.
        ahead: usize,
    },
    /// One that is there as a whole.
    Whole(Bytes),
}

/// Why a client's body could not be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than the listener allows.
    #[error("the request body is longer than the listener allows")]
    TooLarge,
    /// The client broke off or sent what is not HTTP.
    #[error("the client broke off its request body")]
    Broken,
}

/// What is known of a body while it passes: shared between the body and the request that waits for an answer.
pub struct BodyWatch {
    /// Bytes so far.
    pub bytes: Cell<u64>,
    /// The whole body has passed.
    pub is_complete: Cell<bool>,
    /// The last wish for more bytes was not met by the client.
    pub waits_for_client: Cell<bool>,
    /// Why the body ended early.
    pub failure: Cell<Option<BodyError>>,
    deadline: Rc<Deadline>,
    pace: Pace,
    idle: Duration,
    answer: Duration,
    /// What a long one holds.
    hold: OnceCell<Rc<Hold>>,
    /// The library keeps a part of it on the way to the endpoint.
    is_buffered: Cell<bool>,
}

/// What a connection of HTTP/2 keeps of an upload that its endpoint does not take, in bytes.
pub(super) const BUFFERED_MAX: usize = 128 * 1024;

impl RequestBody {
    /// A body of no bytes.
    pub fn empty() -> RequestBody {
        RequestBody { first: VecDeque::new(), inner: None, tee: None, watch: None, max_bytes: None, no_trailers: None }
    }

    /// A body that is there as a whole.
    pub fn whole(bytes: Bytes) -> RequestBody {
        RequestBody { inner: Some(ClientBody::Whole(bytes)), ..RequestBody::empty() }
    }

    /// Keeps what passes from now on.
    pub fn keep_in(&mut self, tee: Rc<Tee>) {
        self.tee = Some(tee);
    }

    /// The body of a client's request. While it passes, `deadline` is moved ahead as its pace allows, and `answer`
    /// ahead when it is complete. `is_messages`: small ones, far between, are no drip.
    pub fn streamed(
        inner: ClientBody,
        max_bytes: Option<u64>,
        deadline: Rc<Deadline>,
        idle: Duration,
        answer: Duration,
        is_messages: bool,
    ) -> (RequestBody, Rc<BodyWatch>) {
        let watch = Rc::new(BodyWatch {
            bytes: Cell::new(0),
            is_complete: Cell::new(false),
            waits_for_client: Cell::new(false),
            failure: Cell::new(None),
            deadline,
            pace: Pace::new(idle, is_messages),
            idle,
            answer,
            hold: OnceCell::new(),
            is_buffered: Cell::new(false),
        });
        let body = RequestBody {
            first: VecDeque::new(),
            inner: Some(inner),
            tee: None,
            watch: Some(watch.clone()),
            max_bytes,
            no_trailers: None,
        };
        (body, watch)
    }

    /// Takes trailers of these names out.
    pub fn refuse_trailers(&mut self, names: Arc<[HeaderName]>) {
        self.no_trailers = Some(names);
    }

    /// From now on it goes through a connection of HTTP/2, which keeps up to [`BUFFERED_MAX`] of it.
    pub(super) fn note_buffered(&self) {
        self.watch.iter().for_each(|watch| watch.is_buffered.set(true));
    }

    /// Puts pieces back that were taken out.
    pub(super) fn put_back(&mut self, mut pieces: VecDeque<Bytes>) {
        pieces.append(&mut self.first);
        self.first = pieces;
    }
}

impl ClientBody {
    /// True when nothing of it is to come.
    pub fn is_end_stream(&self) -> bool {
        match self {
            ClientBody::Empty => true,
            ClientBody::Streamed { body, .. } => body.is_end_stream(),
            ClientBody::Whole(bytes) => bytes.is_empty(),
        }
    }

    /// How much is to come, as far as that is known.
    pub fn size_hint(&self) -> SizeHint {
        match self {
            ClientBody::Empty => SizeHint::with_exact(0),
            ClientBody::Streamed { body, .. } => body.size_hint(),
            ClientBody::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }

    /// What its client may have sent already, at most, beyond what was read.
    fn unread_max(&self) -> usize {
        match self {
            ClientBody::Streamed { body, ahead } => {
                body.size_hint().upper().map_or(*ahead, |rest| rest.min(*ahead as u64) as usize)
            }
            ClientBody::Empty | ClientBody::Whole(_) => 0,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            ClientBody::Empty => Poll::Ready(None),
            ClientBody::Streamed { body, .. } => body.as_mut().poll_frame(cx),
            ClientBody::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            ClientBody::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        }
    }
}

impl BodyWatch {
    /// What it holds is counted here.
    pub fn count_in(&self, hold: Rc<Hold>) {
        // it is a new one of this body, which has no other
        let _ = self.hold.set(hold);
    }

    /// `unread`: what of it the client may have sent that was not looked at.
    fn note_bytes(&self, count: u64, unread: usize) {
        let now = Instant::now();
        if let Some(hold) = self.hold.get() {
            let sent = if self.is_buffered.get() { self.bytes.get().min(BUFFERED_MAX as u64) as usize } else { 0 };
            hold.handed(count as usize + sent + unread, now);
        }
        self.bytes.set(self.bytes.get() + count);
        self.pace.moved(count, now);
        // now the endpoint is waited for
        self.deadline.set(now, self.idle);
    }

    fn note_wait(&self) {
        let now = Instant::now();
        if let Some(patience) = self.pace.wait(now) {
            self.deadline.set(now, patience);
        }
    }

    fn note_complete(&self) {
        if !self.is_complete.replace(true) {
            self.deadline.set(Instant::now(), self.answer);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let max_bytes = self.max_bytes;
        let body = &mut *self;
        if let Some(piece) = body.first.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let Some(inner) = body.inner.as_mut() else { return Poll::Ready(None) };
        let Some(watch) = body.watch.as_ref() else { return inner.poll_frame(cx) };
        // the endpoint has taken the piece before
        watch.hold.get().iter().for_each(|hold| hold.taken());
        let polled = inner.poll_frame(cx);
        watch.waits_for_client.set(polled.is_pending());
        let frame = match polled {
            Poll::Pending => {
                watch.note_wait();
                return Poll::Pending;
            }
            Poll::Ready(None) => {
                watch.note_complete();
                body.tee.iter().for_each(|tee| tee.complete());
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => {
                watch.failure.set(Some(error));
                return Poll::Ready(Some(Err(error)));
            }
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        if let Some(data) = frame.data_ref() {
            watch.note_bytes(data.len() as u64, inner.unread_max());
            if max_bytes.is_some_and(|max| watch.bytes.get() > max) {
                watch.failure.set(Some(BodyError::TooLarge));
                return Poll::Ready(Some(Err(BodyError::TooLarge)));
            }
            body.tee.iter().for_each(|tee| tee.push(data));
        }
        if inner.is_end_stream() {
            watch.note_complete();
            body.tee.iter().for_each(|tee| tee.complete());
        }
        Poll::Ready(Some(Ok(sanitize_frame(frame, body.no_trailers.as_deref().unwrap_or_default()))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.inner.as_ref().is_none_or(ClientBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), ClientBody::size_hint);
        let first: usize = self.first.iter().map(Bytes::len).sum();
        if first > 0 {
            match hint.exact() {
                Some(rest) => hint.set_exact(rest + first as u64),
                None => hint.set_lower(hint.lower() + first as u64),
            }
        }
        hint
    }
}

/// Trailer fields that would change framing, routing or trust if they were believed (RFC 9110 §6.5.1), in other
/// spellings (`x_real_ip`) too, which many services cannot tell apart. `relied_on`: headers that rules look at, since a
/// service may merge trailers into its headers.
pub fn is_forbidden_trailer(name: &HeaderName, relied_on: &[HeaderName]) -> bool {
    const FORBIDDEN: [&str; 19] = [
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "set-cookie",
        "te",
        "traceparent",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-real-ip",
        "x-request-id",
    ];
    let plain = plain(name);
    FORBIDDEN.contains(&&*plain)
        || plain.starts_with("x-forwarded-")
        || plain.starts_with("x-ringway-")
        || relied_on.iter().any(|relied| self::plain(relied) == plain)
}

/// A name as services see it that take underscores and dots for hyphens.
fn plain(name: &HeaderName) -> Cow<'_, str> {
    let text = name.as_str();
    if text.contains(['_', '.']) { text.replace(['_', '.'], "-").into() } else { text.into() }
}

/// Removes trailer fields that must not be passed on.
fn sanitize_trailers(trailers: HeaderMap, relied_on: &[HeaderName]) -> HeaderMap {
    if !trailers.keys().any(|name| is_forbidden_trailer(name, relied_on)) {
        return trailers;
    }
    let mut kept = HeaderMap::with_capacity(trailers.len());
    for name in trailers.keys().filter(|name| !is_forbidden_trailer(name, relied_on)) {
        for value in trailers.get_all(name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// The frame, without the trailer fields that must not be passed on.
pub(super) fn sanitize_frame(frame: Frame<Bytes>, relied_on: &[HeaderName]) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(trailers) => Frame::trailers(sanitize_trailers(trailers, relied_on)),
        Err(frame) => frame,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_cannot_bring_headers_in_by_the_back_door() {
        let mut trailers = HeaderMap::new();
        let names = ["grpc-status", "x-checksum", "x-ringway-cohort", "x-forwarded-for", "content-length", "host"];
        for name in names.iter().chain(&["x-plan", "x_plan", "x-plan-b"]) {
            trailers.insert(*name, "0".parse().unwrap());
        }
        let kept = sanitize_trailers(trailers, &[HeaderName::from_static("x-plan")]);
        let names: Vec<&str> = kept.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["grpc-status", "x-checksum", "x-plan-b"]);
    }
}
