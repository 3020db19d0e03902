//! One copy: sent, answered, and handed to the comparison. Nothing of it concerns the user whose request it is a copy of.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::compare::Seen;
use super::comparer::Pair;
use super::copied::ANSWER_BYTES_MAX;
use super::lane::{Job, Lane};
use super::outgoing::Addressed;
use crate::routing::mirror::Mirror;
use crate::telemetry::mirror::MirrorResult;
use crate::upstream::{
    Alpn, Answered, ExchangeError, Held, Lease, RequestBody, Sendable, Standard, UpstreamBody, Want, Wanted,
};

/// To open a connection. A copy that has less time in all has less for this too.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Connections that turn out to be closed before anything was sent.
const UNSENT_MAX: usize = 3;

/// Sends a copy and has its answer compared with the user's. An error says why there was none.
pub(super) async fn exchange(lane: &Rc<Lane>, mut job: Box<Job>, began: Instant) -> Result<(), MirrorResult> {
    let mut wanted = Wanted { alpn: job.mirror.upstream.spec().alpn(job.request.version), client: job.request.client };
    let lease = lease(lane, &job.mirror, wanted, began).await?;
    // another connection must speak the protocol that the copy is written for
    wanted.alpn = if lease.is_http2() { Alpn::Http2 } else { Alpn::Http1 };
    let body = job.body.take();
    let addressed = job.request.address(&job.mirror, body.as_ref().map(Bytes::len), lease.is_http2());
    let addressed = addressed.ok_or(MirrorResult::Failed)?;
    let body = body.map_or_else(RequestBody::empty, RequestBody::whole);
    let (answered, sent) = send(lane, &job.mirror, (lease, wanted), &addressed, body).await?;
    lane.give_back(addressed.lines);
    job.latencies_us.1 = sent.elapsed().as_micros() as u64;
    let Answered { head, body, .. } = answered;
    let body = read(body, &mut job.held).await?;
    let mirror = Seen { status: head.status.as_u16(), headers: head.headers, body };
    lane.latencies.record(job.latencies_us.0, job.latencies_us.1);
    lane.shared.comparer.take(Pair { job, mirror });
    Ok(())
}

/// Gives the answer, and when its request was sent.
async fn send(
    lane: &Rc<Lane>,
    mirror: &Mirror,
    (mut lease, wanted): (Lease, Wanted),
    Addressed { head, fields, lines }: &Addressed,
    mut body: RequestBody,
) -> Result<(Answered, Instant), MirrorResult> {
    let added = |to: &mut Vec<u8>| to.extend_from_slice(lines);
    for _ in 0..UNSENT_MAX {
        let sent = Instant::now();
        let sendable = Sendable { head, fields: *fields, added: &added, interim: None };
        match lease.exchange(&sendable, body).await {
            Ok(answered) => return Ok((answered, sent)),
            // nothing was sent: this is no second try
            Err(ExchangeError::Unsent(unsent)) => body = unsent,
            Err(_) => return Err(MirrorResult::Failed),
        }
        lease = self::lease(lane, mirror, wanted, Instant::now()).await?;
    }
    Err(MirrorResult::Failed)
}

/// A connection to an endpoint of the mirror. Whether it is well is not of interest, and its user has no say in which.
async fn lease(lane: &Rc<Lane>, mirror: &Mirror, wanted: Wanted, now: Instant) -> Result<Lease, MirrorResult> {
    let want = Want {
        wanted,
        connect_timeout: CONNECT_MAX.min(mirror.timeout),
        now,
        hash: fastrand::u64(..),
        avoid: None,
        at_worst: Standard::Usable,
    };
    lane.pools.lease(&mirror.upstream, &want).await.map_err(|_| MirrorResult::Failed)
}

/// Reads an answer, as much of it as is kept; `None` for a longer one. What is left of that closes its connection.
async fn read(mut body: UpstreamBody, held: &mut Held) -> Result<Option<Bytes>, MirrorResult> {
    use hyper::body::Body;
    if body.size_hint().lower() > ANSWER_BYTES_MAX as u64 {
        return Ok(None);
    }
    let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| MirrorResult::Failed)?.into_data() else { continue };
        let length = if joined.is_empty() { first.len() } else { joined.len() };
        if length + data.len() > ANSWER_BYTES_MAX || !held.grow(data.len()) {
            return Ok(None);
        }
        if length == 0 {
            // mostly the only one: it need not be copied
            first = data;
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&data);
    }
    Ok(Some(if joined.is_empty() { first } else { joined.freeze() }))
}
