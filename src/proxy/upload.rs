//! The body of a client's request, as it is handed to its endpoint.

use http::HeaderName;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::ProxyError;
use super::room::{HOLDS_FROM, Holds};
use crate::upstream::{BodyWatch, ClientBody, Deadline, RequestBody};

/// What holds for a request's body.
pub(super) struct Upload<'u> {
    /// Its longest length in bytes.
    pub(super) most: Option<u64>,
    /// The request's, which it moves.
    pub(super) deadline: &'u Rc<Deadline>,
    /// When the request began.
    pub(super) started: Instant,
    /// How long it may make no progress.
    pub(super) idle: Duration,
    /// How long the endpoint has to answer when it is complete.
    pub(super) wait: Duration,
    /// Small messages, far between, are no drip.
    pub(super) is_grpc: bool,
    /// Names that its trailers must not have, since rules look at headers of these names.
    pub(super) relied_on: &'u Arc<[HeaderName]>,
}

impl Upload<'_> {
    /// A body on its way to the endpoint, taken from its request. What it holds is counted in `holds`.
    pub(super) fn stream(&self, body: &mut ClientBody, holds: &Holds) -> (RequestBody, Option<Rc<BodyWatch>>) {
        let body = std::mem::replace(body, ClientBody::Empty);
        let started = self.started.into();
        if body.is_end_stream() {
            self.deadline.set(started, self.wait);
            return (RequestBody::empty(), None);
        }
        self.deadline.set(started, self.idle);
        let is_short = body.size_hint().upper().is_some_and(|most| most < HOLDS_FROM);
        let (deadline, idle, wait) = (self.deadline.clone(), self.idle, self.wait);
        let (mut body, watch) = RequestBody::streamed(body, self.most, deadline, idle, wait, self.is_grpc);
        body.refuse_trailers(self.relied_on.clone());
        if !is_short {
            watch.count_in(holds.begin(self.deadline.clone(), started));
        }
        (body, Some(watch))
    }
}

/// Refuses a body that says itself that it is too long, before anybody is asked for it.
pub(super) fn check_length(body: &ClientBody, most: Option<u64>) -> Result<(), ProxyError> {
    if most.is_some_and(|most| body.size_hint().lower() > most) { Err(ProxyError::BodyTooLarge) } else { Ok(()) }
}
