//! The pages of the API.

use super::asked::Path;
use super::change::{Change, Plain, Words, read};
use super::pages::Page;
use super::problem::Problem;
use super::status::status;
use crate::config::render::{Format, Report};
use crate::config::schema::Role;
use crate::control::reload::{milliseconds, warnings};
use crate::control::{Applied, Cause, Handle, Rehearsed, Rejected, ReloadResult, rehearse};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

pub(super) fn pages() -> Vec<Page> {
    vec![
        Page::get("/status", Role::Viewer, "What is in force, and what came of it in the last minute.", || {
            get(|State(handle): State<Handle>| async move { answer(StatusCode::OK, &status(&handle)) })
        })
        .tells("ringway.status/v1"),
        Page::get("/config", Role::Viewer, "Which files are in force, and since when.", || {
            get(|State(handle): State<Handle>| async move { answer(StatusCode::OK, &config(&handle)) })
        })
        .tells("ringway.config/v1"),
        Page::get("/mirror/{service}", Role::Viewer, "What came of the copies of a service.", || get(mirror))
            .tells("ringway.mirror/v1"),
        Page::change("/reload", Role::Admin, "Load the files again, and wait for the result.", || post(reload))
            .takes::<Plain>()
            .tells("ringway.reload/v1"),
        Page::change("/drain", Role::Admin, "Finish what is in flight, and end.", || post(drain))
            .takes::<Plain>()
            .tells("ringway.drain/v1"),
    ]
}

async fn mirror(State(handle): State<Handle>, Path(service): Path<String>) -> Result<Response, Problem> {
    let found = super::mirror::mirror(&handle.snapshot(), &service);
    let absent = || Problem::new(StatusCode::NOT_FOUND, "no such service, or it has no mirror; see /api/v1/status");
    found.map(|value| answer(StatusCode::OK, &value)).ok_or_else(absent)
}

/// Waits for the result.
async fn reload(State(handle): State<Handle>, change: Change, body: Bytes) -> Result<Response, Problem> {
    let by = change.by(&Words::from(read::<Plain>(&body)?))?;
    if change.is_dry_run {
        let rehearsed = rehearse(&handle).await.ok_or_else(Problem::busy)?;
        return rehearsal(&handle, rehearsed);
    }
    let answered = handle.reload_by(Cause::Asked, Some(by)).map_err(|_| Problem::busy())?;
    match answered.await.map_err(|_| Problem::busy())? {
        ReloadResult::Applied(applied) => Ok(answer(StatusCode::OK, &of_applied(&applied))),
        ReloadResult::Unchanged { rev } => Ok(answer(StatusCode::OK, &of_unchanged(&rev))),
        ReloadResult::Rejected(rejected) => Err(of_rejected(&handle, &rejected)),
    }
}

fn rehearsal(handle: &Handle, rehearsed: Rehearsed) -> Result<Response, Problem> {
    let now = handle.snapshot().rev.to_string();
    match rehearsed {
        Rehearsed::Fit { rev, .. } if *rev == *now => Ok(answer(StatusCode::OK, &of_unchanged(&rev))),
        Rehearsed::Fit { rev, warnings } => {
            let value = json!({
                "schema": "ringway.reload/v1", "result": "would-do", "rev": rev, "previousRev": now,
                "warnings": warnings,
            });
            Ok(answer(StatusCode::OK, &value))
        }
        Rehearsed::Unfit(errors) => Err(of_rejected(handle, &Rejected::Config(errors))),
    }
}

/// The end comes later: the answer only says that it has begun.
async fn drain(State(handle): State<Handle>, change: Change, body: Bytes) -> Result<Response, Problem> {
    let by = change.by(&Words::from(read::<Plain>(&body)?))?;
    let tell = |status, result: &str| Ok(answer(status, &json!({ "schema": "ringway.drain/v1", "result": result })));
    if change.is_dry_run {
        return tell(StatusCode::OK, if handle.health().is_draining() { "draining" } else { "would-do" });
    }
    // a second drain would end the process at once, which is for signals: whoever repeats a request means one drain
    if !handle.health().is_draining() {
        handle.drain_by(Some(by)).map_err(|_| Problem::busy())?;
    }
    tell(StatusCode::ACCEPTED, "draining")
}

/// Revision, names and warnings: texts may hold what is nobody's business.
fn config(handle: &Handle) -> Value {
    let in_force = handle.in_force();
    let sources: Vec<&str> = in_force.loaded.sources.iter().map(|source| source.name.as_str()).collect();
    let named: Vec<String> = in_force.named.iter().map(|path| path.display().to_string()).collect();
    let listeners: Vec<Value> = (in_force.listeners.iter())
        .map(|(address, bound)| json!({ "address": address.to_string(), "bound": bound.to_string() }))
        .collect();
    json!({
        "schema": "ringway.config/v1",
        "rev": in_force.loaded.rev,
        "loadedUnixSeconds": in_force.since_unix_seconds,
        "files": sources,
        "named": named,
        "listeners": listeners,
        "warnings": warnings(&in_force.loaded).collect::<Vec<_>>(),
        "problem": handle.health().reloads().problem,
    })
}

fn of_applied(applied: &Applied) -> Value {
    json!({
        "schema": "ringway.reload/v1",
        "result": "applied",
        "rev": &*applied.rev,
        "previousRev": &*applied.previous_rev,
        "tookMs": milliseconds(applied.took),
        "warnings": applied.warnings,
    })
}

fn of_rejected(handle: &Handle, rejected: &Rejected) -> Problem {
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, rejected.to_string())
        .with("schema", "ringway.reload/v1".into())
        .with("result", "rejected".into())
        .with("rev", (*handle.snapshot().rev).into())
        .with("errors", rejected.errors().into());
    match rejected {
        Rejected::Config(errors) => {
            let report = Report::from(errors);
            let check = serde_json::from_str::<Value>(&report.render(Format::Json, false)).unwrap_or_default();
            problem
                .with("diagnostics", check["diagnostics"].clone())
                .with("text", report.render(Format::Text, false).into())
        }
        Rejected::Bind { .. } | Rejected::Broken => {
            problem.with("diagnostics", json!([])).with("text", format!("{rejected}\n").into())
        }
    }
}

fn of_unchanged(rev: &str) -> Value {
    json!({ "schema": "ringway.reload/v1", "result": "unchanged", "rev": rev, "warnings": [] })
}

/// An answer as it is written.
pub(super) fn answer(status: StatusCode, value: &Value) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], format!("{value}\n")).into_response()
}
