use http::{Method, request};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::body::BUFFERED_MAX;
use super::replay::Replay;
use super::{Coalesced, ConnectionPermit, RequestBody, Stream};

/// An HTTP/2 connection to an endpoint, shared by the requests of one worker.
#[derive(Clone)]
pub(super) struct Http2 {
    sender: SendRequest<Replay>,
    /// What its endpoint has said.
    settings: Rc<Settings>,
    /// Ends with the last user of the connection.
    _permit: Rc<ConnectionPermit>,
    /// That of the pool when it was opened.
    pub(super) generation: u32,
}

/// What an endpoint has said of itself.
#[derive(Default)]
struct Settings {
    has_tunnels: Cell<bool>,
    /// Of the task that knows: it is not woken by what the endpoint says.
    task: RefCell<Option<Waker>>,
}

/// How long an endpoint may take to say that it takes extended CONNECT; it does so as the first thing it says.
const SETTINGS_WAIT: Duration = Duration::from_secs(1);
/// How often it is looked whether it has.
const SETTINGS_LOOK: Duration = Duration::from_millis(2);
/// Bytes that an answer's header block may have.
const RESPONSE_HEAD_MAX: u32 = 64 * 1024;
/// Flow-control window of one answer, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Flow-control window of a connection, in bytes.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// How often a connection with requests in flight is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(20);

impl Http2 {
    pub(super) async fn handshake(stream: Stream, permit: ConnectionPermit) -> Result<Http2, hyper::Error> {
        let (sender, connection) = Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .max_header_list_size(RESPONSE_HEAD_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(BUFFERED_MAX)
            .keep_alive_interval(PING_EVERY)
            .handshake(TokioIo::new(Coalesced::new(stream)))
            .await?;
        let settings = Rc::<Settings>::default();
        let told = settings.clone();
        tokio::task::spawn_local(async move {
            let mut connection = pin!(connection);
            // the requests on it learn of an error by themselves
            let _ = std::future::poll_fn(|cx| {
                let polled = connection.as_mut().poll(cx);
                told.note(connection.is_extended_connect_protocol_enabled(), cx);
                polled
            })
            .await;
        });
        Ok(Http2 { sender, settings, _permit: Rc::new(permit), generation: 0 })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        head: &request::Parts,
        body: RequestBody,
    ) -> Result<Response<Incoming>, SendError> {
        if self.sender.ready().await.is_err() {
            return Err(SendError::Unsent(body));
        }
        if head.method == Method::CONNECT && !self.settings.has_tunnels().await {
            return Err(SendError::NoTunnels);
        }
        body.note_buffered();
        let (body, kept) = Replay::of(body);
        let request = Request::from_parts(head.clone(), body);
        let answered = self.sender.try_send_request(request).await;
        answered.map_err(|mut error| {
            let was_unseen = error.take_message().is_some() || is_unprocessed(error.error());
            match kept.take_back().filter(|_| was_unseen) {
                Some(body) => SendError::Unsent(body),
                None => SendError::Failed(error.into_error()),
            }
        })
    }
}

impl Settings {
    fn note(&self, has_tunnels: bool, cx: &Context<'_>) {
        self.has_tunnels.set(has_tunnels);
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    /// True when the endpoint takes extended CONNECT (RFC 8441 §3); none may be sent before it has said so.
    async fn has_tunnels(&self) -> bool {
        let look = async {
            while !self.has_tunnels.get() {
                self.task.borrow().iter().for_each(Waker::wake_by_ref);
                tokio::time::sleep(SETTINGS_LOOK).await;
            }
        };
        tokio::time::timeout(SETTINGS_WAIT, look).await.is_ok()
    }
}

/// True when the endpoint says that it has not looked at the request: it refused the stream, or went away before it
/// (RFC 9113 §8.7). Sending it again is then safe, whatever its method.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let reason = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    reason.is_some_and(|error| {
        let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        // a stream that a graceful GOAWAY ends is one beyond its last
        let is_beyond = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        error.is_remote() && (is_refused || is_beyond)
    })
}

/// How an exchange failed before there was an answer.
pub(super) enum SendError {
    /// The endpoint has not seen it; here is the body back.
    Unsent(RequestBody),
    /// The endpoint does not take extended CONNECT, and was not asked.
    NoTunnels,
    /// Something was, or may have been, sent.
    Failed(hyper::Error),
}

/// Runs the parts of an HTTP/2 connection on the worker's own thread.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
