use bytes::Bytes;
use http::{request, response};
use hyper::body::Body;
use std::rc::Rc;
use std::sync::Arc;

use super::compare::Seen;
use super::lane::{Job, Lane};
use super::outgoing::{Outgoing, RequestId, size};
use crate::proxy::additions::Additions;
use crate::proxy::connection::Connection;
use crate::proxy::forward::Decision;
use crate::proxy::headers::HopByHop;
use crate::routing::forged::X_RINGWAY_MIRROR;
use crate::routing::mirror::Mirror;
use crate::routing::request::Destination;
use crate::telemetry::mirror::MirrorResult;
use crate::upstream::http1::SpareMap;
use crate::upstream::{Held, Lost, RequestBody, Tee, UpstreamBody};

/// A copy of a request, while its user is being served. It becomes a [`Job`] when the user's answer is complete, and
/// is counted as one without an answer if that never happens.
pub(in crate::proxy) struct Copied {
    /// `None` once it is counted.
    open: Option<Open>,
}

struct Open {
    job: Box<Job>,
    lane: Rc<Lane>,
    /// Of the request, if it has a body.
    body: Option<Rc<Tee>>,
    /// Of the user's answer, when that has begun.
    answer: Option<Tee>,
}

/// Bytes of an answer that are kept, on either side.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Copies a request if the service has a mirror and the lot falls on it. The head is the one that is about to be sent.
#[inline]
pub(in crate::proxy) fn copy(
    connection: &Connection,
    decision: &Decision<'_>,
    (head, additions): (&request::Parts, &Additions<'_>),
    destination: &Destination,
    asked: HopByHop,
    body: &mut RequestBody,
) -> Option<Box<Copied>> {
    let mirror = decision.service.mirror.as_ref().filter(|_| !decision.is_probe)?;
    // a WebSocket is no request with an answer, and a copy is not copied again
    let is_left = asked.wants_websocket || head.headers.contains_key(X_RINGWAY_MIRROR);
    if is_left || !mirror.takes(&head.method, decision.cohort, decision.variant) || !mirror.draws() {
        return None;
    }
    let made = Copied::new(connection, (mirror, decision), (head, additions), destination, asked, body);
    made.map_err(|result| mirror.record.count(result)).ok().map(Box::new)
}

impl Copied {
    fn new(
        connection: &Connection,
        (mirror, decision): (&Arc<Mirror>, &Decision<'_>),
        (head, additions): (&request::Parts, &Additions<'_>),
        destination: &Destination,
        asked: HopByHop,
        body: &mut RequestBody,
    ) -> Result<Copied, MirrorResult> {
        let lane = connection.worker.mirrors.lane(mirror, &connection.worker);
        let (head, to) = ((head, additions), (destination, connection.peer));
        let request = Outgoing::new((mirror, decision), head, to, asked, || lane.buffer());
        let request = request.ok_or(MirrorResult::Unanswered)?;
        let held = lane.budget().hold(request.size()).ok_or(MirrorResult::Dropped)?;
        let kept = if body.is_end_stream() {
            None
        } else {
            let expected = body.size_hint().lower();
            if expected > mirror.body_max as u64 {
                return Err(MirrorResult::TooLarge);
            }
            let tee = Rc::new(Tee::new(lane.budget(), mirror.body_max, expected));
            body.keep_in(tee.clone());
            Some(tee)
        };
        let request_id = RequestId::of(head.0, head.1);
        let job = Box::new(Job {
            mirror: mirror.clone(),
            request,
            request_id,
            body: None,
            primary: Seen::default(),
            answered_by: None,
            latencies_us: (0, 0),
            held,
        });
        Ok(Copied { open: Some(Open { job, lane, body: kept, answer: None }) })
    }

    /// The head of the user's answer is there, from the variant of this position and name. `latency_us`: since the
    /// request was sent.
    pub(in crate::proxy) fn note_head(
        &mut self,
        (position, name): (usize, &Arc<str>),
        head: &response::Parts,
        body: &UpstreamBody,
        latency_us: u64,
    ) {
        let Some(Open { job, lane, answer, .. }) = &mut self.open else { return };
        if position == job.mirror.to {
            // it stood in for another one, and would be compared with itself
            self.open = None;
            return;
        }
        let by = &job.mirror.comparison;
        if by.headers || by.body {
            if !job.held.grow(size(&head.headers)) {
                return self.settle(MirrorResult::Dropped);
            }
            job.primary.headers = SpareMap::copy_of(&head.headers);
        }
        let body_max = if by.body { ANSWER_BYTES_MAX } else { 0 };
        *answer = Some(Tee::new(lane.budget(), body_max, body.size_hint().lower()));
        job.primary.status = head.status.as_u16();
        job.answered_by = Some(name.clone());
        job.latencies_us.0 = latency_us;
    }

    /// A piece of the user's answer passes by.
    pub(in crate::proxy) fn note_data(&self, piece: &[u8]) {
        if let Some(Open { answer: Some(answer), .. }) = &self.open {
            answer.push(piece);
        }
    }

    /// The user's answer is complete: now it is the copy's turn.
    pub(in crate::proxy) fn send(mut self) {
        let Some(open) = self.open.take() else { return };
        let record = open.lane.record.clone();
        if let Err(result) = open.send() {
            record.count(result);
        }
    }

    fn settle(&mut self, result: MirrorResult) {
        if let Some(open) = self.open.take() {
            open.lane.record.count(result);
        }
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.settle(MirrorResult::Unanswered);
    }
}

impl Open {
    fn send(self) -> Result<(), MirrorResult> {
        let Open { mut job, lane, body, answer } = self;
        let answer = answer.ok_or(MirrorResult::Unanswered)?;
        job.body = match body.map(|tee| tee.take()).transpose() {
            Ok(body) => body.map(|kept| join(&mut job.held, kept)),
            Err(Lost::TooLong) => return Err(MirrorResult::TooLarge),
            Err(Lost::NoRoom) => return Err(MirrorResult::Dropped),
            // the endpoint answered before it had all of the request
            Err(Lost::Unfinished) => return Err(MirrorResult::Unanswered),
        };
        answer.complete();
        job.primary.body = answer.take().ok().map(|kept| join(&mut job.held, kept));
        lane.push(job);
        Ok(())
    }
}

fn join(held: &mut Held, (bytes, more): (Bytes, Held)) -> Bytes {
    held.join(more);
    bytes
}
