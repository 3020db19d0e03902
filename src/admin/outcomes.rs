//! `POST /api/v1/outcomes`: what the business counts and no response header shows.

use super::api::answer;
use super::change::{Change, read};
use super::pages::Page;
use super::problem::Problem;
use crate::config::schema::Role;
use crate::control::{Handle, OutcomeEvent, PostError};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post as posted;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// What the business has seen.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Posted {
    service: String,
    name: String,
    events: Vec<Event>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Event {
    user: Option<String>,
    /// Remembered for a while; then such an event is counted as unknown.
    trace: Option<String>,
    variant: Option<String>,
    cohort: Option<String>,
    good: bool,
}

pub(super) fn pages() -> Vec<Page> {
    let summary = "Count events of an outcome that no response header shows, such as orders that were paid later.";
    vec![
        Page::change("/outcomes", Role::Operator, summary, || posted(post))
            .takes::<Posted>()
            .tells("ringway.outcomes/v1"),
    ]
}

/// Counts the events of `{service, name, events: [{user?|trace?|variant?+cohort?, good}]}`.
async fn post(State(handle): State<Handle>, change: Change, body: Bytes) -> Result<Response, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let posted: Posted = read(&body)?;
    let is_without = |event: &Event| event.user.is_none() && event.trace.is_none() && event.variant.is_none();
    if posted.events.iter().any(is_without) {
        return Err(bad("an event has a `user`, a `trace`, or a `variant` with its `cohort`".to_owned()));
    }
    let event = |Event { user, trace, variant, cohort, good }| {
        let is_good = good;
        OutcomeEvent { trace, user, cohort, variant, is_good }
    };
    let events: Vec<OutcomeEvent> = posted.events.into_iter().map(event).collect();
    if change.is_dry_run {
        return Err(bad("events cannot be tried: what is counted cannot be taken back".to_owned()));
    }
    let counted =
        handle.post_outcomes(&posted.service, &posted.name, &events).await.map_err(|error| refused(&error))?;
    let value = json!({ "schema": "ringway.outcomes/v1", "accepted": counted.accepted, "unknown": counted.unknown });
    Ok(answer(StatusCode::OK, &value))
}

fn refused(error: &PostError) -> Problem {
    let status = match error {
        PostError::NoService(_) | PostError::NoOutcome(..) => StatusCode::NOT_FOUND,
        PostError::HasHeader(_) => StatusCode::CONFLICT,
        PostError::TooMany(_) => StatusCode::PAYLOAD_TOO_LARGE,
        PostError::Busy => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, error.to_string())
}
