//! `ringway.events/v1`, `ringway.history/v1` and `ringway.audit-verify/v1`: what happened.

use super::api::answer;
use super::asked::Query;
use super::history;
use super::problem::Problem;
use crate::control::Handle;
use crate::control::events::{Asked, PastEvent};
use crate::control::journal::past;
use crate::telemetry::tap::Passed;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Events of one answer, where nobody says how many.
const LIMIT_DEFAULT: usize = 100;
/// The most events of one answer.
const LIMIT_MAX: usize = 1_000;
/// The longest time that history tells about, in days: as long as audit logs are kept.
const DAYS_MAX: u64 = 90;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    limit: Option<usize>,
    before: Option<u64>,
    service: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Days {
    days: Option<u64>,
}

/// `GET /events?limit=100&before=<id>&service=`: the newest first.
pub(super) async fn events(State(handle): State<Handle>, Query(wanted): Query<Wanted>) -> Response {
    let service = wanted.service.as_deref().filter(|service| !service.is_empty());
    let limit = wanted.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let found = handle.events().latest(&Asked { before: wanted.before, service, limit });
    let events: Vec<Value> = found.iter().map(|found| event(found)).collect();
    answer(StatusCode::OK, &json!({ "schema": "ringway.events/v1", "events": events }))
}

/// `GET /history?days=30`: rollouts, the latest first.
pub(super) async fn history(State(handle): State<Handle>, Query(wanted): Query<Days>) -> Response {
    let since_ms = history::unix_ms().saturating_sub(wanted.days.unwrap_or(30).clamp(1, DAYS_MAX) * 86_400_000);
    let rollouts = history::history(&handle.events().all(), &handle.rollouts(), since_ms);
    answer(StatusCode::OK, &json!({ "schema": "ringway.history/v1", "rollouts": rollouts }))
}

/// `GET /audit/verify`: reads all of the audit log, on a thread of its own.
pub(super) async fn verify(State(handle): State<Handle>) -> Result<Response, Problem> {
    let no_log = "there is no audit log, because there is no `stateDir`; write one, and restart";
    let folder = handle.events().folder().ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, no_log))?;
    let broken = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the check broke off: a bug of Ringway");
    let found = tokio::task::spawn_blocking(move || past::verify(&folder)).await.map_err(broken)?;
    Ok(answer(
        StatusCode::OK,
        &json!({
            "schema": "ringway.audit-verify/v1",
            "ok": found.problem.is_none(),
            "lines": found.lines,
            "problem": found.problem,
        }),
    ))
}

/// One event.
pub(super) fn event(of: &PastEvent) -> Value {
    json!({
        "id": of.id,
        "unixMs": of.unix_ms,
        "kind": of.kind,
        "service": of.service,
        "rollout": of.rollout,
        "cohort": of.cohort,
        "actor": of.actor,
        "reason": of.reason,
        "sentence": of.sentence,
        "numbers": numbers(of),
        "runbook": of.runbook,
    })
}

/// What Ringway decided by itself, with the requests behind it; null when it decided nothing.
pub(super) fn decision(of: Option<&PastEvent>) -> Value {
    let Some(of) = of else { return Value::Null };
    json!({
        "unixMs": of.unix_ms,
        "kind": of.kind,
        "sentence": of.sentence,
        "cohort": of.cohort,
        "gate": of.number("gate"),
        "numbers": numbers(of),
        "samples": of.samples.iter().map(sample).collect::<Vec<_>>(),
    })
}

fn sample(of: &Passed) -> Value {
    json!({
        "unixMs": of.unix_ms,
        "status": of.status,
        "method": of.method,
        "path": of.path,
        "variant": of.variant,
        "cohort": of.cohort,
        "flags": of.flags,
        "durationMs": of.duration_us as f64 / 1_000.0,
        "trace": of.trace,
        "requestId": of.request_id,
    })
}

/// Numbers as numbers, where they are.
fn numbers(of: &PastEvent) -> Map<String, Value> {
    of.numbers.iter().map(|(name, text)| (name.clone(), number_of(text))).collect()
}

/// A text as the number that it is, or as a text.
fn number_of(text: &str) -> Value {
    let whole = text.parse::<u64>().ok().map(Value::from);
    let number = whole.or_else(|| serde_json::Number::from_f64(text.parse().ok()?).map(Value::from));
    number.unwrap_or_else(|| text.into())
}
