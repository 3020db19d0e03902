use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Uri, Version, header, request};
use http_body_util::BodyExt;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::compare::Seen;
use super::comparer::{Facts, Pair};
use super::copied::{ANSWER_BYTES_MAX, Outgoing};
use crate::proxy::headers::X_RINGWAY_VARIANT;
use crate::proxy::send::over_http2;
use crate::proxy::worker::{Shared, Worker};
use crate::routing::forged::X_RINGWAY_MIRROR;
use crate::routing::mirror::Mirror;
use crate::telemetry::mirror::{Latencies, MirrorRecord, MirrorResult};
use crate::upstream::{
    Alpn, Answered, Budget, ExchangeError, Fields, Held, Lease, Pools, RequestBody, Sendable, Standard, UpstreamBody,
    Want, Wanted,
};

/// One worker's lanes: one for each mirror that it has met.
#[derive(Default)]
pub(in crate::proxy) struct Lanes {
    lanes: RefCell<Vec<Rc<Lane>>>,
}

/// One worker's copies for one mirror: those that wait, and those that are under way.
pub(super) struct Lane {
    record: Arc<MirrorRecord>,
    latencies: Arc<Latencies>,
    pools: Rc<Pools>,
    shared: Arc<Shared>,
    budget: Budget,
    /// Boxed, since they are large and passed on.
    waiting: RefCell<VecDeque<Box<Job>>>,
    in_flight: Cell<usize>,
}

/// A copy that is ready to be sent, and the answer that its own is compared with.
pub(super) struct Job {
    pub(super) mirror: Arc<Mirror>,
    pub(super) request: Outgoing,
    pub(super) body: Option<Bytes>,
    pub(super) primary: Seen,
    pub(super) facts: Facts,
    pub(super) held: Held,
}

/// Copies that wait in a lane; further ones are dropped, and counted.
const WAITING_MAX: usize = 256;
/// Bytes that a lane keeps: heads and bodies of requests and of answers on both sides.
const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// To open a connection. A copy that has less time in all has less for this too.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Connections that turn out to be closed before anything was sent.
const UNSENT_MAX: usize = 3;

impl Lanes {
    /// The lane of a mirror. It stays when the file changes, as its record does.
    pub(super) fn lane(&self, mirror: &Mirror, worker: &Worker) -> Rc<Lane> {
        let mut lanes = self.lanes.borrow_mut();
        // few enough to look through
        if let Some(lane) = lanes.iter().find(|lane| Arc::ptr_eq(&lane.record, &mirror.record)) {
            return lane.clone();
        }
        let lane = Rc::new(Lane {
            record: mirror.record.clone(),
            latencies: mirror.record.worker(),
            pools: worker.pools.clone(),
            shared: worker.shared.clone(),
            budget: Budget::new(HELD_BYTES_MAX),
            waiting: RefCell::default(),
            in_flight: Cell::new(0),
        });
        lanes.push(lane.clone());
        lane
    }
}

impl Lane {
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Sends a copy, now or when it is its turn; drops it when too many wait.
    pub(super) fn push(self: &Rc<Self>, job: Job) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= WAITING_MAX {
            return self.record.count(MirrorResult::Dropped);
        }
        waiting.push_back(Box::new(job));
        drop(waiting);
        self.start();
    }

    /// Starts as many copies as may be under way.
    fn start(self: &Rc<Self>) {
        loop {
            let mut waiting = self.waiting.borrow_mut();
            if waiting.front().is_none_or(|job| self.in_flight.get() >= job.mirror.in_flight_max) {
                return;
            }
            let Some(job) = waiting.pop_front() else { return };
            drop(waiting);
            let underway = Underway::begin(self.clone());
            // boxed, since the runtime moves what it is given three times
            tokio::task::spawn_local(Box::pin(async move {
                underway.lane.run(job).await;
                underway.end();
            }));
        }
    }

    async fn run(&self, job: Box<Job>) {
        let Job { mirror, request, body, primary, mut facts, mut held } = *job;
        let exchange = self.exchange(&mirror, request, body, &mut held);
        let answered = tokio::time::timeout(mirror.timeout, exchange).await.unwrap_or(Err(MirrorResult::Timeout));
        match answered {
            Ok((seen, latency_us)) => {
                self.latencies.record(facts.latencies_us.0, latency_us);
                facts.latencies_us.1 = latency_us;
                self.shared.comparer.take(Pair { by: mirror, primary, mirror: seen, facts, held });
            }
            Err(result) => self.record.count(result),
        }
    }

    /// Sends a copy once and reads its answer as far as it is kept.
    async fn exchange(
        &self,
        mirror: &Mirror,
        request: Outgoing,
        body: Option<Bytes>,
        held: &mut Held,
    ) -> Result<(Seen, u64), MirrorResult> {
        let mut wanted = Wanted { alpn: mirror.upstream.spec().alpn(request.version), client: request.client };
        let mut lease = self.lease(mirror, wanted).await?;
        // another connection must speak the protocol that the copy is written for
        wanted.alpn = if lease.is_http2() { Alpn::Http2 } else { Alpn::Http1 };
        let length = body.as_ref().map(Bytes::len);
        let head = head(mirror, request, length, lease.is_http2()).ok_or(MirrorResult::Failed)?;
        let fields = Fields::of(&head.headers);
        let mut body = body.map_or_else(RequestBody::empty, RequestBody::whole);
        for _ in 0..UNSENT_MAX {
            let began = Instant::now();
            let sendable = Sendable { head: &head, fields, added: &|_| (), interim: None };
            match lease.exchange(&sendable, body).await {
                Ok(Answered { head, body, .. }) => {
                    let latency_us = began.elapsed().as_micros() as u64;
                    let body = read(body, held).await?;
                    return Ok((Seen { status: head.status.as_u16(), headers: head.headers, body }, latency_us));
                }
                // nothing was sent: this is no second try
                Err(ExchangeError::Unsent(unsent)) => body = unsent,
                Err(_) => return Err(MirrorResult::Failed),
            }
            lease = self.lease(mirror, wanted).await?;
        }
        Err(MirrorResult::Failed)
    }

    async fn lease(&self, mirror: &Mirror, wanted: Wanted) -> Result<Lease, MirrorResult> {
        let time = CONNECT_MAX.min(mirror.timeout);
        let want = Want {
            wanted,
            connect_timeout: time,
            now: Instant::now(),
            hash: fastrand::u64(..),
            avoid: None,
            at_worst: Standard::Usable,
        };
        self.pools.lease(&mirror.upstream, &want).await.map_err(|_| MirrorResult::Failed)
    }
}

/// One of the copies that are under way. Its end, whatever it is, makes room.
struct Underway {
    lane: Rc<Lane>,
}

impl Underway {
    fn begin(lane: Rc<Lane>) -> Underway {
        lane.in_flight.set(lane.in_flight.get() + 1);
        Underway { lane }
    }

    /// The next one takes its place.
    fn end(self) {
        let lane = self.lane.clone();
        drop(self);
        lane.start();
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.lane.in_flight.set(self.lane.in_flight.get().saturating_sub(1));
    }
}

/// The body of a copy's answer; `None` when it is longer than what is kept. Dropping it breaks it off.
async fn read(mut body: UpstreamBody, held: &mut Held) -> Result<Option<Bytes>, MirrorResult> {
    use hyper::body::Body;
    if body.size_hint().lower() > ANSWER_BYTES_MAX as u64 {
        return Ok(None);
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| MirrorResult::Failed)?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > ANSWER_BYTES_MAX || !held.grow(data.len()) {
            return Ok(None);
        }
        bytes.extend_from_slice(data);
    }
    Ok(Some(bytes.freeze()))
}

/// The head of a copy: as the user's variant got it, but for what is the mirror's own.
fn head(mirror: &Mirror, request: Outgoing, length: Option<usize>, is_http2: bool) -> Option<request::Parts> {
    let Outgoing { method, target, authority, mut headers, takes_trailers, .. } = request;
    headers.insert(X_RINGWAY_VARIANT, mirror.header.clone());
    headers.insert(X_RINGWAY_MIRROR, HeaderValue::from_static("1"));
    if mirror.strips_credentials {
        for name in [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE] {
            headers.remove(name);
        }
    }
    // the body is there as a whole, and trailers are not copied
    headers.remove(header::TRAILER);
    headers.remove(header::TRANSFER_ENCODING);
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let uri = if is_http2 {
        over_http2(&mut headers, authority.as_ref(), target, mirror.upstream.spec().scheme())
    } else {
        Some(over_http1(&mut headers, authority, target))
    };
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if !is_http2 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
    }
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.version = if is_http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    (head.method, head.uri, head.headers) = (method, uri?, headers);
    Some(head)
}

fn over_http1(headers: &mut HeaderMap, authority: Option<HeaderValue>, target: http::uri::PathAndQuery) -> Uri {
    headers.insert(header::HOST, authority.unwrap_or(HeaderValue::from_static("")));
    Uri::from(target)
}
