//! Outcomes that are posted to the admin door: whose each event is, by the snapshot in force.

use super::handle::{Busy, Handle};
use crate::model::Bucket;
use crate::rollout::judge::GroupSet;
use crate::routing::snapshot::Service;
use crate::routing::user_key::UserKey;
use crate::telemetry::recorder::trace_hash;
use crate::telemetry::{Registry, Slot};

/// Events of one post.
pub const EVENTS_MAX: usize = 10_000;

/// One chance for an outcome, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutcomeEvent {
    /// The trace id of the request that it came of: 32 hexadecimal digits.
    pub trace: Option<String>,
    /// The user key.
    pub user: Option<String>,
    /// The cohort; without it the user key must tell.
    pub cohort: Option<String>,
    /// The variant, for who knows no user.
    pub variant: Option<String>,
    /// It happened: the order was placed. Else it could have, and did not.
    pub is_good: bool,
}

/// Events whose variant is known, on their way to the judges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedEvents {
    pub(super) service: String,
    pub(super) name: String,
    pub(super) events: Vec<Placed>,
}

/// An event whose variant is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Where requests of that cohort and variant are recorded.
    pub(super) slot: Slot,
    /// By which the user is counted.
    pub(super) group: u32,
    /// It happened.
    pub(super) is_good: bool,
}

/// What became of posted events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PostedCount {
    /// A judge heard of them.
    pub accepted: usize,
    /// Nobody knows whose they are, or no rollout watches there.
    pub unknown: usize,
}

/// Why posted events are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// There is no such service.
    #[error("there is no service `{0}`; see /api/v1/status")]
    NoService(String),
    /// Its rollout has no such outcome.
    #[error("the rollout of {0} has no outcome `{1}`; write it under `gates.outcomes`")]
    NoOutcome(String, String),
    /// It is not a posted one.
    #[error("the outcome {0} is seen by its response header; remove `header` from it to post it")]
    HasHeader(String),
    /// More than [`EVENTS_MAX`].
    #[error("a post has at most {EVENTS_MAX} events, and this one has {0}")]
    TooMany(usize),
    /// The control thread takes nothing now.
    #[error("the control thread takes no requests; see the log")]
    Busy,
}

impl Handle {
    /// Tells the judges of a service what its business counts.
    ///
    /// # Errors
    /// The service or the outcome is not one to post to. Events that cannot be placed are no error: they are counted.
    pub async fn post_outcomes(
        &self,
        service: &str,
        name: &str,
        events: &[OutcomeEvent],
    ) -> Result<PostedCount, PostError> {
        if events.len() > EVENTS_MAX {
            return Err(PostError::TooMany(events.len()));
        }
        let posted = {
            let snapshot = self.snapshot();
            let compiled = snapshot.service(service).ok_or_else(|| PostError::NoService(service.to_owned()))?;
            let rule = compiled.outcomes.iter().find(|rule| *rule.name == *name);
            let rule = rule.ok_or_else(|| PostError::NoOutcome(service.to_owned(), name.to_owned()))?;
            if rule.seen.is_some() {
                return Err(PostError::HasHeader(name.to_owned()));
            }
            let registry = self.registry();
            let events = events.iter().filter_map(|event| place(compiled, registry, event)).collect();
            PostedEvents { service: service.to_owned(), name: name.to_owned(), events }
        };
        let answered = self.tell_posted(posted).map_err(|Busy| PostError::Busy)?;
        let accepted = answered.await.map_err(|_| PostError::Busy)?;
        Ok(PostedCount { accepted, unknown: events.len() - accepted })
    }
}

/// Whose an event is; `None` when that cannot be said.
fn place(service: &Service, registry: &Registry, event: &OutcomeEvent) -> Option<Placed> {
    let is_good = event.is_good;
    if event.user.is_none() && event.variant.is_none() {
        let (slot, group) = registry.traced(trace_hash(event.trace.as_deref()?.as_bytes())?)?;
        return Some(Placed { slot, group, is_good });
    }
    let named = match &event.cohort {
        Some(name) => Some(service.cohorts.iter().position(|cohort| &*cohort.name == name.as_str())?),
        None => None,
    };
    let user = event.user.as_deref().map(UserKey::of_text);
    let cohort = match (named, &user) {
        (Some(cohort), _) => cohort,
        (None, user) => service.cohort_of_key(user.as_ref()?)?,
    };
    let by_key = user.as_ref().and_then(|user| service.variant_of_key(user, cohort));
    let variant = match &event.variant {
        // who knows the variant knows it better than we do: the user may have moved since
        Some(name) => service.variants.iter().position(|known| &*known.name == name.as_str())?,
        None => by_key?.0,
    };
    let group = group_of(by_key.map(|(_, hash)| hash));
    Some(Placed { slot: *service.cohorts.get(cohort)?.slots.get(variant)?, group, is_good })
}

/// The group by which a user is counted; who is not known is a user of their own.
fn group_of(user: Option<u64>) -> u32 {
    GroupSet::group_of(Bucket::of_hash(user.unwrap_or_else(|| fastrand::u64(..))).number())
}
