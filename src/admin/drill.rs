//! What only the demo has: its new version is made bad on purpose, and healed.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

use super::api::answer;
use super::change::{Change, read};
use super::pages::Page;
use super::problem::Problem;
use crate::config::schema::Role;
use crate::control::{DRILL_DELAY_MAX, Handle};

/// How the sample's new version behaves from now on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Harm {
    /// The share of its requests that fail, from 0 to 1.
    errors: f64,
    /// How much longer each takes, in milliseconds, at most 10,000.
    #[serde(default)]
    delay_ms: u64,
}

pub(super) fn pages() -> Vec<Page> {
    let summary = "Make the demo's new version bad, or heal it with 0; there is no such page outside of the demo.";
    vec![
        Page::change("/demo/canary", Role::Operator, summary, || post(canary))
            .takes::<Harm>()
            .tells("ringway.demo-canary/v1"),
    ]
}

async fn canary(State(handle): State<Handle>, change: Change, body: Bytes) -> Result<Response, Problem> {
    let absent = || Problem::new(StatusCode::NOT_FOUND, "only `ringway demo` has a version that can be made bad");
    let drill = handle.drill().ok_or_else(absent)?;
    let wanted: Harm = read(&body)?;
    let delay = Duration::from_millis(wanted.delay_ms);
    if !(0.0..=1.0).contains(&wanted.errors) || delay > DRILL_DELAY_MAX {
        let detail = "`errors` is from 0 to 1, `delayMs` at most 10000";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    if !change.is_dry_run {
        drill.set(wanted.errors, delay);
    }
    Ok(answer(
        StatusCode::OK,
        &json!({
            "schema": "ringway.demo-canary/v1",
            "result": if change.is_dry_run { "would-do" } else { "done" },
            "errors": wanted.errors,
            "delayMs": wanted.delay_ms,
        }),
    ))
}
