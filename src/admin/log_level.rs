//! Another level of the log, for a while.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::api::answer;
use super::change::{Change, Words, read};
use super::pages::Page;
use super::problem::Problem;
use super::room::Room;
use crate::config::schema::Role;
use crate::config::values;
use crate::control::{By, Handle, event_of_process};
use crate::rollout::effect::EventKind;
use crate::telemetry::log_level::{self, Refused};

/// How long another level lasts when nobody says.
const LASTS_DEFAULT: Duration = Duration::from_secs(600);
/// The longest: whoever wants more writes it where the process is started.
const LASTS_MAX: Duration = Duration::from_secs(24 * 3600);

/// Counts changes, so that only the latest one is ended by its time.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes(Arc<AtomicU64>);

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Wish {
    /// `error`, `warn`, `info`, `debug`, `trace`, by module as in `ringway=debug,hyper=info`, or `default` for what the
    /// process was started with.
    level: String,
    /// How long, such as `10m`; at most a day.
    #[serde(rename = "for")]
    #[schemars(with = "Option<String>")]
    lasts: Option<values::Duration>,
    /// Who asks; counts only where nothing else tells, and is marked as unverified.
    actor: String,
    /// Why; stands in the audit log.
    reason: String,
}

pub(super) fn pages() -> Vec<Page> {
    vec![
        Page::get("/log-level", Role::Viewer, "What is logged.", || {
            get(|| async { answer(StatusCode::OK, &told("unchanged", &log_level::now().unwrap_or_default())) })
        })
        .tells("ringway.log-level/v1"),
        Page::change("/log-level", Role::Admin, "Log more or less for a while; it ends by itself.", || post(change))
            .takes::<Wish>()
            .tells("ringway.log-level/v1"),
    ]
}

async fn change(State(room): State<Room>, change: Change, body: Bytes) -> Result<Response, Problem> {
    let Wish { level, lasts, actor, reason } = read(&body)?;
    let by = change.by(&Words { actor, reason, groups: Vec::new() })?;
    let lasts = lasts.map_or(LASTS_DEFAULT, |lasts| lasts.0);
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    if lasts.is_zero() || lasts > LASTS_MAX {
        return Err(bad("`for` is a time such as 10m, at most 24h".to_owned()));
    }
    let first = log_level::first().ok_or_else(|| bad(Refused::NoLog.to_string()))?;
    let is_end = level == "default" || level == first;
    let level = if level == "default" { first.clone() } else { level };
    if !is_end {
        log_level::check(&level).map_err(|refused| bad(refused.to_string()))?;
    }
    let until = if is_end { String::new() } else { format!(" for {} s", lasts.as_secs()) };
    let mut value = told(if change.is_dry_run { "would-do" } else { "done" }, &level);
    value["text"] = format!("the log is at {level}{until}").into();
    value["undo"] = "POST /api/v1/log-level {\"level\":\"default\"}".into();
    if change.is_dry_run {
        return Ok(answer(StatusCode::OK, &value));
    }
    put(&room.handle, &level, format!("the log is at {level}{until}"), Some(by)).map_err(bad)?;
    let number = room.log_changes.0.fetch_add(1, Ordering::AcqRel) + 1;
    if !is_end {
        tokio::spawn(revert(room.handle, room.log_changes, number, lasts));
    }
    Ok(answer(StatusCode::OK, &value))
}

async fn revert(handle: Handle, changes: Changes, number: u64, after: Duration) {
    tokio::time::sleep(after).await;
    if changes.0.load(Ordering::Acquire) == number
        && let Some(first) = log_level::first()
        && let Err(problem) = put(&handle, &first, format!("the log is at {first} again: its time is over"), None)
    {
        tracing::error!(problem, "the log stays at the level that was asked for");
    }
}

fn put(handle: &Handle, level: &str, sentence: String, by: Option<By>) -> Result<(), String> {
    log_level::set(level).map_err(|refused| refused.to_string())?;
    let event = event_of_process(EventKind::LogLevel, sentence, by);
    // the level is in force; a control thread that takes nothing is in the log already
    let _ = handle.note(event);
    Ok(())
}

fn told(result: &str, level: &str) -> Value {
    json!({ "schema": "ringway.log-level/v1", "result": result, "level": level })
}
