//! The pages of the API.

use super::problem::Problem;
use super::rollouts;
use super::status::status;
use crate::config::render::{Format, Report};
use crate::control::reload::{milliseconds, warnings};
use crate::control::{Applied, Cause, Handle, Rejected, ReloadResult};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

pub(super) fn router(handle: Handle) -> Router {
    Router::new()
        .route(
            "/api/v1/status",
            get(|State(handle): State<Handle>| async move { answer(StatusCode::OK, &status(&handle)) }),
        )
        .route(
            "/api/v1/config",
            get(|State(handle): State<Handle>| async move { answer(StatusCode::OK, &config(&handle)) }),
        )
        .route(
            "/api/v1/rollouts",
            get(|State(handle): State<Handle>| async move { answer(StatusCode::OK, &rollouts::rollouts(&handle)) }),
        )
        .route("/api/v1/rollouts/{service}/{command}", post(ask_rollout))
        .route("/api/v1/mirror/{service}", get(mirror))
        .route("/api/v1/outcomes", post(super::outcomes::post))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/drain", post(drain))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "no such page; the API is below /api/v1/") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "GET shows and POST changes; see the Allow header")
        })
        .with_state(handle)
}

async fn mirror(State(handle): State<Handle>, Path(service): Path<String>) -> Result<Response, Problem> {
    let found = super::mirror::mirror(&handle.snapshot(), &service);
    let absent = || Problem::new(StatusCode::NOT_FOUND, "no such service, or it has no mirror; see /api/v1/status");
    found.map(|value| answer(StatusCode::OK, &value)).ok_or_else(absent)
}

/// Does what is asked of a rollout, and says how it is undone.
async fn ask_rollout(
    State(handle): State<Handle>,
    Path((service, command)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Problem> {
    let ask = rollouts::read(service.clone(), &command, &body)?;
    let wanted = ask.command.clone();
    let busy = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the control thread takes no requests; see the log");
    let answered = handle.ask_rollout(ask).map_err(|_| busy())?;
    let absent = || Problem::new(StatusCode::NOT_FOUND, "no such service; see /api/v1/status");
    let told = answered.await.map_err(|_| busy())?.ok_or_else(absent)?;
    Ok(answer(StatusCode::OK, &rollouts::tell(&service, &wanted, &told)?))
}

/// Waits for the result.
async fn reload(State(handle): State<Handle>, body: Bytes) -> Result<Response, Problem> {
    expect_no_wish(&body)?;
    let busy = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the control thread takes no requests; see the log");
    let answered = handle.reload(Cause::Asked).map_err(|_| busy())?;
    match answered.await.map_err(|_| busy())? {
        ReloadResult::Applied(applied) => Ok(answer(StatusCode::OK, &of_applied(&applied))),
        ReloadResult::Unchanged { rev } => {
            let value = json!({ "schema": "ringway.reload/v1", "result": "unchanged", "rev": &*rev, "warnings": [] });
            Ok(answer(StatusCode::OK, &value))
        }
        ReloadResult::Rejected(rejected) => Err(of_rejected(&handle, &rejected)),
    }
}

/// The end comes later: the answer only says that it has begun.
async fn drain(State(handle): State<Handle>, body: Bytes) -> Result<Response, Problem> {
    expect_no_wish(&body)?;
    let busy = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the control thread takes no requests; see the log");
    // a second drain would end the process at once, which is for signals: whoever repeats a request means one drain
    if !handle.health().is_draining() {
        handle.drain().map_err(busy)?;
    }
    Ok(answer(StatusCode::ACCEPTED, &json!({ "schema": "ringway.drain/v1", "result": "draining" })))
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

/// These requests have no settings; a body that is no empty object was meant for something else.
fn expect_no_wish(body: &Bytes) -> Result<(), Problem> {
    let is_empty =
        body.trim_ascii().is_empty() || serde_json::from_slice::<Value>(body).is_ok_and(|value| value == json!({}));
    match is_empty {
        true => Ok(()),
        false => Err(Problem::new(StatusCode::BAD_REQUEST, "the body must be empty or {}")),
    }
}

fn answer(status: StatusCode, value: &Value) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], format!("{value}\n")).into_response()
}
