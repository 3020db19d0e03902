use http::{HeaderMap, request, response};
use hyper::body::Body;
use std::rc::Rc;
use std::sync::Arc;

use super::compare::Seen;
use super::comparer::Facts;
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
use crate::upstream::{Held, Lost, RequestBody, Tee, UpstreamBody};

/// A copy of a request, while its user is being served. It becomes a [`Job`] when the user's answer is complete, and
/// is counted as one without an answer if that never happens.
pub(in crate::proxy) struct Copied {
    /// `None` once it is counted.
    open: Option<Open>,
}

struct Open {
    mirror: Arc<Mirror>,
    lane: Rc<Lane>,
    request: Outgoing,
    request_id: RequestId,
    body: Option<Rc<Tee>>,
    held: Held,
    primary: Option<Primary>,
}

/// What the user is being answered.
struct Primary {
    status: u16,
    headers: HeaderMap,
    latency_us: u64,
    variant: Arc<str>,
    body: Tee,
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
        let open = Open { mirror: mirror.clone(), lane, request, request_id, body: kept, held, primary: None };
        Ok(Copied { open: Some(open) })
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
        let Some(open) = &mut self.open else { return };
        if position == open.mirror.to {
            // it stood in for another one, and would be compared with itself
            self.open = None;
            return;
        }
        let by = &open.mirror.comparison;
        let headers = if by.headers || by.body { head.headers.clone() } else { HeaderMap::new() };
        if !open.held.grow(size(&headers)) {
            return self.settle(MirrorResult::Dropped);
        }
        let body_max = if by.body { ANSWER_BYTES_MAX } else { 0 };
        let body = Tee::new(open.lane.budget(), body_max, body.size_hint().lower());
        let status = head.status.as_u16();
        open.primary = Some(Primary { status, headers, latency_us, variant: name.clone(), body });
    }

    /// A piece of the user's answer passes by.
    pub(in crate::proxy) fn note_data(&self, piece: &[u8]) {
        if let Some(Open { primary: Some(primary), .. }) = &self.open {
            primary.body.push(piece);
        }
    }

    /// The user's answer is complete: now it is the copy's turn.
    pub(in crate::proxy) fn send(mut self) {
        let Some(open) = self.open.take() else { return };
        let record = open.mirror.record.clone();
        if let Err(result) = open.send() {
            record.count(result);
        }
    }

    fn settle(&mut self, result: MirrorResult) {
        if let Some(open) = self.open.take() {
            open.mirror.record.count(result);
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
        let Open { mirror, lane, request, request_id, body, mut held, primary } = self;
        let primary = primary.ok_or(MirrorResult::Unanswered)?;
        let body = match body.map(|tee| tee.take()).transpose() {
            Ok(body) => body,
            Err(Lost::TooLong) => return Err(MirrorResult::TooLarge),
            Err(Lost::NoRoom) => return Err(MirrorResult::Dropped),
            // the endpoint answered before it had all of the request
            Err(Lost::Unfinished) => return Err(MirrorResult::Unanswered),
        };
        let body = body.map(|(bytes, more)| {
            held.join(more);
            bytes
        });
        primary.body.complete();
        let seen = primary.body.take().ok().map(|(bytes, more)| {
            held.join(more);
            bytes
        });
        let facts = Facts {
            method: request.method.clone(),
            target: request.target.clone(),
            request_id,
            primary: primary.variant,
            latencies_us: (primary.latency_us, 0),
        };
        let primary = Seen { status: primary.status, headers: primary.headers, body: seen };
        lane.push(Job { mirror, request, body, primary, facts, held });
        Ok(())
    }
}
