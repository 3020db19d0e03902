//! Outcomes that are posted to the admin door: whose each event is, by the snapshot in force.

use super::handle::{Busy, Handle};
use crate::routing::snapshot::Service;
use crate::routing::user_key::UserKey;
use crate::telemetry::Slot;

/// Events of one post.
pub const EVENTS_MAX: usize = 10_000;

/// One chance for an outcome, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutcomeEvent {
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
    /// Where requests of that cohort and variant are recorded, the user's hash, and whether it happened.
    pub(super) events: Vec<(Slot, Option<u64>, bool)>,
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
            let events = events.iter().filter_map(|event| place(compiled, event)).collect();
            PostedEvents { service: service.to_owned(), name: name.to_owned(), events }
        };
        let answered = self.tell_posted(posted).map_err(|Busy| PostError::Busy)?;
        let accepted = answered.await.map_err(|_| PostError::Busy)?;
        Ok(PostedCount { accepted, unknown: events.len() - accepted })
    }
}

/// Whose an event is; `None` when that cannot be said.
fn place(service: &Service, event: &OutcomeEvent) -> Option<(Slot, Option<u64>, bool)> {
    let named = match &event.cohort {
        Some(name) => Some(service.cohorts.iter().position(|cohort| &*cohort.name == name.as_str())?),
        None => None,
    };
    let user = event.user.as_deref().map(UserKey::of_text);
    let (cohort, variant, hash) = match (&user, &event.variant) {
        // who knows the variant knows it better than we do: the user may have moved since
        (_, Some(variant)) => {
            let variant = service.variants.iter().position(|known| &*known.name == variant.as_str())?;
            let hash = user.as_ref().map(|user| service.salt.hash(user.as_bytes()));
            (named.or_else(|| service.cohort_of_key(user.as_ref()?))?, variant, hash)
        }
        (Some(user), None) => {
            let cohort = named.or_else(|| service.cohort_of_key(user))?;
            let (variant, hash) = service.variant_of_key(user, cohort)?;
            (cohort, variant, Some(hash))
        }
        (None, None) => return None,
    };
    let slot = service.cohorts.get(cohort)?.slots.get(variant)?;
    Some((*slot, hash, event.is_good))
}
