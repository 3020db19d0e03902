use http::{HeaderMap, HeaderValue, Method, Version, header, request, response};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::additions::Additions;
use super::arrived::Arrived;
use super::connection::{Connection, Origin};
use super::error::ProxyError;
use super::headers::{TRACEPARENT, X_REQUEST_ID};
use super::mirror::Copied;
use super::room::Holds;
use super::traced;
use super::worker::Current;
use crate::model::{Failure, Outcome, Reason};
use crate::routing::snapshot::Service;
use crate::routing::{Assignment, RequestView};
use crate::telemetry::access_log::Entry;
use crate::telemetry::recorder::{OutcomeBits, Tracked, trace_hash};
use crate::telemetry::spans::Traced;
use crate::telemetry::{Finished, Judged, Slot};
use crate::upstream::{Endpoint, Fields, UpstreamBody};

/// What becomes of a request. It is recorded exactly once: when the answer is complete, when it breaks off, or, when
/// the client goes away and everything about the request is dropped, by that drop.
pub(super) struct Record {
    connection: Rc<Connection>,
    started: Instant,
    assigned: Option<Assigned>,
    overhead_us: Option<u64>,
    status: u16,
    /// How it ends when it is complete.
    outcome: Outcome,
    /// How the variant failed, if it did.
    failure: Failure,
    /// How the first of several attempts ended: what the request counts as, whatever comes of the others.
    first_outcome: Option<(Outcome, Failure)>,
    /// What the business counts.
    outcomes: OutcomeBits,
    /// Somebody may ask for its trace.
    is_remembered: bool,
    /// The trace's hash.
    trace: Option<u64>,
    attempts: u32,
    flags: &'static str,
    is_finished: bool,
    /// What it is when it is dropped.
    dropped: Option<(Outcome, &'static str)>,
    log: Option<Box<LogFields>>,
    /// What tracers are told.
    traced: Traced,
    pub(super) bytes_out: u64,
    /// The request's copy for the mirror.
    pub(super) copy: Option<Box<Copied>>,
}

/// Whom the request counts for.
struct Assigned {
    slot: Slot,
    reason: Reason,
    user: Option<u64>,
    /// Somebody wants to hear of it if it hangs.
    tracked: Option<Tracked>,
}

/// What the access log says beyond the numbers. Gathered only when somebody wants it.
struct LogFields {
    unix_ms: u64,
    method: Method,
    version: Version,
    host: String,
    path: String,
    client: IpAddr,
    user_agent: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
    traceparent: Option<HeaderValue>,
    current: Option<Rc<Current>>,
    route: Option<Box<str>>,
    decided: Option<Decided>,
    endpoint: Option<Arc<Endpoint>>,
    upstream_us: Option<u64>,
    body: Option<Rc<crate::upstream::BodyWatch>>,
}

struct Decided {
    service: Arc<str>,
    cohort: Arc<str>,
    variant: Arc<str>,
    bucket: u32,
}

impl Record {
    /// A request has come.
    pub(super) fn begin(connection: Rc<Connection>, started: Instant) -> Box<Record> {
        // it is handed on from station to station: a pointer is handed on for less
        Box::new(Record {
            connection,
            started,
            assigned: None,
            overhead_us: None,
            status: 0,
            outcome: Outcome::Internal,
            failure: Failure::default(),
            first_outcome: None,
            outcomes: OutcomeBits::default(),
            is_remembered: false,
            trace: None,
            attempts: 1,
            flags: "",
            is_finished: false,
            dropped: None,
            log: None,
            traced: Traced::Off,
            bytes_out: 0,
            copy: None,
        })
    }

    /// Gathers what the access log tells of a request, if there is an access log, or somebody else who wants it.
    pub(super) fn describe(&mut self, arrived: &Arrived) {
        self.traced = traced::decide(&self.connection, &arrived.head, arrived.fields);
        let worker = &self.connection.worker;
        if worker.log.is_some() || worker.shared.registry.tap().is_listened() || self.traced.is_sampled() {
            self.gather(&arrived.head);
        }
    }

    /// Gathers the same of a request to a variant whose failing requests are kept.
    pub(super) fn describe_sample(&mut self, head: &request::Parts, slot: Slot) {
        if self.log.is_none() && self.connection.worker.shared.registry.tap().is_sampled(slot) {
            self.gather(head);
        }
    }

    fn gather(&mut self, head: &request::Parts) {
        let request::Parts { method, uri, version, headers, .. } = head;
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
        self.log = Some(Box::new(LogFields {
            unix_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            method: method.clone(),
            version: *version,
            host: host.to_owned(),
            path: uri.path().to_owned(),
            client: self.connection.peer.ip(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            request_id: None,
            traceparent: None,
            current: None,
            route: None,
            decided: None,
            endpoint: None,
            upstream_us: None,
            body: None,
        }));
    }

    /// The trace context that the service gets, unless it is the one that came.
    pub(super) fn context(&self, headers: &mut HeaderMap, fields: Fields) -> Option<[u8; 55]> {
        traced::context(&self.traced, headers, fields)
    }

    /// Whether the client came by TLS is known.
    pub(super) fn scheme(&mut self, is_https: bool) -> bool {
        traced::told_scheme(&mut self.traced, is_https);
        is_https
    }

    /// The client behind trusted proxies is known.
    pub(super) fn client(&mut self, client: IpAddr) {
        if let Some(log) = &mut self.log {
            log.client = client;
        }
    }

    /// The request got a variant. From here on it counts for it.
    pub(super) fn assign(
        &mut self,
        service: &Service,
        cohort: usize,
        variant: usize,
        reason: Reason,
        bucket: u32,
        user: Option<u64>,
    ) {
        if self.connection.origin == Origin::Ourselves {
            return;
        }
        let slot = service.cohorts[cohort].slots[variant];
        let shard = &self.connection.worker.shard;
        if let Some(before) = self.assigned.take() {
            // a fallback: the request counts for whom it ends up with
            shard.abandon(before.slot);
            if let Some(tracked) = before.tracked {
                shard.untrack(tracked);
            }
        }
        shard.begin(slot);
        let tracked = shard.track(slot, reason, user, self.started);
        self.assigned = Some(Assigned { slot, reason, user, tracked });
        if let Some(log) = &mut self.log {
            let (cohort, variant) = (&service.cohorts[cohort].name, &service.variants[variant].name);
            log.decided = Some(Decided {
                service: service.name.clone(),
                cohort: cohort.clone(),
                variant: variant.clone(),
                bucket,
            });
        }
    }

    /// What the request gets, with what the business counts and could come of it.
    pub(super) fn decide<'r>(&mut self, service: &Service, view: &RequestView<'r>) -> Assignment<'r> {
        let assignment = service.assign(view);
        if !service.outcomes.is_empty() {
            let user = assignment.user.as_ref();
            self.outcomes.eligible = service.eligible(view, user);
            self.is_remembered = service.is_remembered(view, user);
        }
        assignment
    }

    /// Takes the trace, if somebody may ask whose it was.
    fn remember(&mut self, headers: &HeaderMap, additions: &Additions<'_>) {
        if self.is_remembered {
            let given = || headers.get(&TRACEPARENT).map(HeaderValue::as_bytes);
            let context = additions.traceparent.as_ref().map(|made| &made[..]).or_else(given);
            self.trace = context.and_then(|context| trace_hash(context.get(3..35)?));
        }
    }

    /// The outcomes that the endpoint's answer shows.
    pub(super) fn shows(&mut self, service: &Service, headers: &HeaderMap) {
        if self.outcomes.eligible != 0 {
            self.outcomes.happened = service.happened(headers);
        }
    }

    /// What the access log says of the way that the request takes.
    pub(super) fn route(&mut self, name: &str, current: &Rc<Current>) {
        if let Some(log) = &mut self.log {
            log.route = Some(name.into());
            log.current = Some(current.clone());
        }
    }

    /// The request is about to be sent to an endpoint.
    pub(super) fn send(
        &mut self,
        headers: &HeaderMap,
        additions: &Additions<'_>,
        endpoint: &Arc<Endpoint>,
        body: Option<Rc<crate::upstream::BodyWatch>>,
    ) {
        if self.overhead_us.is_none() {
            self.overhead_us = Some(microseconds(self.started));
        }
        self.remember(headers, additions);
        if let Some(log) = &mut self.log {
            let made = |value: &[u8]| HeaderValue::from_bytes(value).ok();
            log.request_id = match &additions.request_id {
                Some(id) => made(id),
                None => headers.get(&X_REQUEST_ID).cloned(),
            };
            log.traceparent = match &additions.traceparent {
                Some(context) => made(context),
                None => headers.get(&TRACEPARENT).cloned(),
            };
            log.endpoint = Some(endpoint.clone());
            log.body = body;
        }
    }

    /// The endpoint's answer has begun.
    pub(super) fn answer(&mut self, status: u16) {
        self.status = status;
        self.outcome = Outcome::of_status(status);
        let (overhead, started) = (self.overhead_us.unwrap_or(0), self.started);
        if let Some(log) = &mut self.log {
            log.upstream_us = Some(microseconds(started).saturating_sub(overhead));
        }
    }

    /// Something happened to the request that the access log tells whatever comes of it.
    pub(super) fn flag(&mut self, flag: &'static str) {
        self.flags = flag;
    }

    /// The request is answered by us.
    pub(super) fn fail(&mut self, error: ProxyError) {
        self.status = error.status().as_u16();
        (self.outcome, self.failure) = (error.outcome(), error.failure());
        self.flags = match (self.flags, error.flag()) {
            ("DI", "FI") => "DI,FI",
            (_, flag) => flag,
        };
    }

    /// The request will be dropped without an answer: the variant failed it so.
    pub(super) fn break_off(&mut self, failure: Failure, flags: &'static str) {
        (self.dropped, self.failure) = (Some((Outcome::Error, flags)), failure);
    }

    /// The variant's answer breaks off in the middle.
    pub(super) fn break_with(&mut self, failure: Failure, flags: &'static str) {
        self.failure = failure;
        self.end_with(Outcome::Error, flags);
    }

    /// The request is sent again after an attempt ended so. Only the first one counts.
    pub(super) fn first_attempt(&mut self, ended: (Outcome, Failure)) {
        self.first_outcome.get_or_insert(ended);
    }

    /// One more attempt.
    pub(super) fn try_again(&mut self) {
        self.attempts += 1;
    }

    /// The client speaks HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.connection.is_http2.get()
    }

    /// The worker's answers that hold memory.
    pub(super) fn holds(&self) -> &Holds {
        &self.connection.worker.holds
    }

    /// Bytes of the answer's body have gone out.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
        self.connection.tally.moved(bytes);
    }

    /// What the mirror has to know of the endpoint's answer.
    pub(super) fn mirror_answer(&mut self, variant: (usize, &Arc<str>), head: &response::Parts, body: &UpstreamBody) {
        if let Some(copy) = &mut self.copy {
            let latency_us = microseconds(self.started).saturating_sub(self.overhead_us.unwrap_or(0));
            copy.note_head(variant, head, body, latency_us);
        }
    }

    /// The answer is complete.
    pub(super) fn finish(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.send();
        }
        self.end_with(self.outcome, self.flags);
    }

    /// The request ends here, in this way.
    pub(super) fn end_with(&mut self, outcome: Outcome, flags: &'static str) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        let last_outcome = outcome;
        let (outcome, failure) = self.first_outcome.unwrap_or((outcome, self.failure));
        let now = Instant::now();
        let latency_us = now.saturating_duration_since(self.started).as_micros() as u64;
        let worker = &self.connection.worker;
        if self.connection.origin == Origin::Ourselves {
            self.connection.request_ended(now);
            return;
        }
        match &mut self.assigned {
            Some(Assigned { slot, reason, user, tracked }) => {
                let (slot, reason, user) = (*slot, *reason, *user);
                let was_overdue = tracked.take().is_some_and(|tracked| worker.shard.untrack(tracked));
                let judged = Judged { failure, outcomes: self.outcomes, was_overdue };
                let (status, overhead_us) = (self.status, self.overhead_us);
                let finished = Finished { reason, status, outcome, latency_us, overhead_us, user, judged };
                worker.shard.finish(slot, &finished);
                let speaks = !matches!(reason, Reason::Override | Reason::Fallback);
                if let Some(trace) = self.trace.filter(|_| speaks && outcome == Outcome::Success) {
                    worker.shard.remember(trace, slot, user);
                }
            }
            None => worker.shard.unrouted(self.status),
        }
        if let Some(fields) = &self.log {
            let entry = self.entry(fields, latency_us, flags);
            worker.log.iter().for_each(|shard| shard.write(&entry));
            worker.shared.registry.tap().tell(&entry, outcome);
            if let Traced::Sampled(begun) = &self.traced {
                worker.shared.registry.spans().offer(&entry, begun, last_outcome);
            }
        }
        self.connection.request_ended(now);
    }

    fn entry<'e>(&'e self, fields: &'e LogFields, duration_us: u64, flags: &'e str) -> Entry<'e> {
        let decided = fields.decided.as_ref();
        let bytes = |value: &'e Option<HeaderValue>| value.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        Entry {
            unix_ms: fields.unix_ms,
            listener: &self.connection.rules.name,
            client: Some(fields.client),
            method: fields.method.as_str(),
            host: fields.host.as_bytes(),
            path: &fields.path,
            route: fields.route.as_deref().unwrap_or_default(),
            service: decided.map_or("", |decided| &decided.service),
            cohort: decided.map_or("", |decided| &decided.cohort),
            variant: decided.map_or("", |decided| &decided.variant),
            reason: self.assigned.as_ref().map(|assigned| assigned.reason),
            bucket: decided.map(|decided| decided.bucket),
            rev: fields.current.as_ref().map_or("", |current| &current.snapshot.rev),
            status: self.status,
            flags,
            duration_us,
            upstream_us: fields.upstream_us,
            attempts: self.attempts,
            bytes_in: fields.body.as_ref().map_or(0, |body| body.bytes.get()),
            bytes_out: self.bytes_out,
            protocol: protocol(fields.version),
            request_id: bytes(&fields.request_id),
            trace_id: bytes(&fields.traceparent).get(3..35).unwrap_or_default(),
            endpoint: fields.endpoint.as_ref().map_or("", |endpoint| endpoint.text()),
            user_agent: bytes(&fields.user_agent),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.is_finished && self.status == 0 {
            self.connection.tally.taken_back();
        }
        // whoever has not said how it ended was interrupted: the client is gone
        let (outcome, flags) = match self.dropped {
            _ if std::thread::panicking() => (Outcome::Internal, "DC"),
            Some(dropped) => dropped,
            None => (Outcome::Cancelled, "DC"),
        };
        self.end_with(outcome, flags);
    }
}

fn microseconds(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
