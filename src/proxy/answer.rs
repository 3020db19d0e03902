use bytes::Bytes;
use http::{HeaderValue, Response, header};
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

use super::error::ProxyError;
use super::grpc;
use super::limit;
use super::record::Record;
use super::room::{BUFFERED_MAX, HOLDS_FROM};
use super::stall::Stall;
use crate::model::{Failure, Outcome};
use crate::routing::request::Refused;
use crate::upstream::{Deadline, Hold, UpstreamBody};

/// The body of an answer on its way to the client. It carries the record of its request, which ends with it.
pub(super) struct AnswerBody {
    source: Source,
    record: Box<Record>,
    deadline: Rc<Deadline>,
    idle: Duration,
    /// With a client of HTTP/2, while the body comes from an endpoint.
    stall: Option<Stall>,
    /// What a long one holds.
    hold: Option<Rc<Hold>>,
}

/// The methods that are served, among others.
pub(super) const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// What an answer of our own looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LocalForm {
    /// A line of text.
    Text,
    /// The head of one.
    Head,
    /// A status in trailers, which are all there is.
    Grpc,
}

enum Source {
    Local(Option<Bytes>),
    Upstream(UpstreamBody),
}

/// Why an answer breaks off in the middle. The client sees a broken connection or stream: the only honest end of an
/// answer whose head is out already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("the endpoint broke off its answer")]
    Broken,
    #[error("the process is out of memory")]
    NoMemory,
    #[error("the endpoint's answer made no progress")]
    Stalled,
}

impl AnswerBody {
    /// The answer of an endpoint.
    pub(super) fn upstream(
        body: UpstreamBody,
        record: Box<Record>,
        deadline: Rc<Deadline>,
        idle: Duration,
    ) -> AnswerBody {
        let mut answer = AnswerBody { source: Source::Upstream(body), record, deadline, idle, stall: None, hold: None };
        if answer.is_end_stream() {
            answer.record.finish();
        } else if answer.record.is_http2() {
            let now = Instant::now();
            let stall = Stall::begin(now);
            answer.deadline.set(now, answer.shorter(stall.left()));
            answer.stall = Some(stall);
        }
        answer
    }

    /// How long the endpoint may be silent, zero for ever; `None` when the answer is not an endpoint's.
    pub(super) fn idle(&self) -> Option<Duration> {
        matches!(self.source, Source::Upstream(_)).then_some(self.idle)
    }

    /// An answer without a body: all of it is in the head.
    pub(super) fn empty(mut record: Box<Record>, deadline: Rc<Deadline>) -> AnswerBody {
        record.finish();
        AnswerBody { source: Source::Local(None), record, deadline, idle: Duration::ZERO, stall: None, hold: None }
    }

    /// The client has taken what it was given: from now on the endpoint is waited for.
    fn note_taken(&mut self) {
        if let Some(hold) = &self.hold {
            hold.taken();
        }
        if let Some(stall) = &mut self.stall {
            let now = Instant::now();
            if stall.taken(now) {
                self.deadline.set(now, self.idle);
            }
        }
    }

    /// A piece was handed over.
    fn note_held(&mut self, piece: usize, now: Instant) {
        if self.record.bytes_out < HOLDS_FROM {
            return;
        }
        let hold = self.hold.get_or_insert_with(|| self.record.holds().begin(self.deadline.clone(), now));
        let is_buffered = self.stall.is_some();
        let before = if is_buffered { (self.record.bytes_out - piece as u64).min(BUFFERED_MAX) as usize } else { 0 };
        hold.handed(before + piece, now);
    }

    /// The process is out of memory, and this request holds more of it than others. What we say of it ourselves is short.
    fn makes_room(&self) -> bool {
        matches!(self.source, Source::Upstream(_)) && self.deadline.is_expired()
    }

    /// A wait that is not longer than any other.
    fn shorter(&self, wait: Duration) -> Duration {
        if self.idle.is_zero() { wait } else { wait.min(self.idle) }
    }

    fn note(&mut self, frame: &Frame<Bytes>) {
        let now = Instant::now();
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let wait = self.stall.as_mut().map(|stall| stall.handed(bytes, now));
        self.deadline.set(now, wait.map_or(self.idle, |wait| self.shorter(wait)));
        if let Some(data) = frame.data_ref() {
            self.record.passed(data.len());
            self.note_held(data.len(), now);
            self.record.copy.iter().for_each(|copy| copy.note_data(data));
        }
    }
}

/// An answer of our own, with a short reason.
pub(super) fn local(
    error: ProxyError,
    mut record: Box<Record>,
    deadline: Rc<Deadline>,
    form: LocalForm,
) -> Response<AnswerBody> {
    if form == LocalForm::Grpc {
        return grpc_failure(error, record, deadline);
    }
    let is_bare = record.is_http2() && matches!(error, ProxyError::Refused(Refused::TooManyFields { .. }));
    if is_bare {
        // many of them cost their client little, and one that takes no body would keep each of them waiting
        record.fail(error);
        let mut response = Response::new(AnswerBody::empty(record, deadline));
        *response.status_mut() = error.status();
        return response;
    }
    let text = format!("{} {}\n", error.status().as_u16(), error.reason());
    record.fail(error);
    record.bytes_out = text.len() as u64;
    record.finish();
    let length = HeaderValue::from(text.len());
    let body = (form == LocalForm::Text).then(|| Bytes::from(text));
    let mut response = Response::new(AnswerBody {
        source: Source::Local(body),
        record,
        deadline,
        idle: Duration::ZERO,
        stall: None,
        hold: None,
    });
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    limit::refuse(headers, error);
    if error == ProxyError::Refused(Refused::Method) {
        headers.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
    }
    response
}

/// The same for a client of gRPC: to it, HTTP has gone well.
fn grpc_failure(error: ProxyError, mut record: Box<Record>, deadline: Rc<Deadline>) -> Response<AnswerBody> {
    record.fail(error);
    let mut response = Response::new(AnswerBody::empty(record, deadline));
    let headers = response.headers_mut();
    grpc::push_failure(headers, error);
    limit::refuse(headers, error);
    response
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if self.makes_room() {
            // its client did not break off, and its variant did nothing wrong
            self.record.end_with(Outcome::Internal, "OM");
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let answer = &mut *self;
        answer.note_taken();
        if answer.makes_room() {
            answer.record.end_with(Outcome::Internal, "OM");
            return Poll::Ready(Some(Err(AnswerError::NoMemory)));
        }
        let polled = match &mut answer.source {
            Source::Local(body) => return Poll::Ready(body.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Upstream(body) => Pin::new(body).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                answer.note(&frame);
                if answer.is_end_stream() {
                    answer.record.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                answer.record.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => {
                answer.record.break_with(Failure::Reset, "UC");
                Poll::Ready(Some(Err(AnswerError::Broken)))
            }
            Poll::Pending if answer.deadline.poll_passed(cx).is_ready() => {
                answer.record.break_with(Failure::Timeout, "SI");
                Poll::Ready(Some(Err(AnswerError::Stalled)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Local(body) => body.is_none(),
            Source::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Local(body) => SizeHint::with_exact(body.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Upstream(body) => body.size_hint(),
        }
    }
}
