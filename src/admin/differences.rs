//! `ringway.differences/v1`: how the difference that a gate sees went over time, with its band.

use super::api::answer;
use super::asked::{Path, Query};
use super::history::unix_ms;
use super::problem::Problem;
use crate::config::values;
use crate::control::{BAND_ALPHA, Handle, Look, OfGate};
use crate::telemetry::windows::REACH_SECONDS;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

/// Looks of one answer.
const POINTS_MAX: usize = 240;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    gate: String,
    #[serde(default)]
    cohort: String,
    window: Option<String>,
}

/// `GET /rollouts/{service}/differences?gate=errors&cohort=asia&window=1h`
pub(super) async fn differences(
    State(handle): State<Handle>,
    Path(service): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let window = match wanted.window.as_deref() {
        None | Some("") => REACH_SECONDS,
        Some(text) => {
            let bad = |why| Problem::new(StatusCode::BAD_REQUEST, format!("window {text}: {why}"));
            text.parse::<values::Duration>().map_err(bad)?.0.as_secs().min(REACH_SECONDS)
        }
    };
    let views = handle.rollouts();
    let absent = || Problem::new(StatusCode::NOT_FOUND, "no such service, or it has no rollout; see /api/v1/rollouts");
    let rollout = views.iter().find(|view| view.service == service).ok_or_else(absent)?.id.clone();
    let gate = OfGate { service, rollout, cohort: wanted.cohort, gate: wanted.gate };
    let since = unix_ms().saturating_sub(window * 1_000);
    let looks = handle.with_looks(|looks| looks.of(&gate, since, POINTS_MAX));
    let points: Vec<Value> = looks.iter().map(point).collect();
    Ok(answer(
        StatusCode::OK,
        &json!({
            "schema": "ringway.differences/v1",
            "service": gate.service,
            "rollout": gate.rollout,
            "cohort": gate.cohort,
            "gate": gate.gate,
            "alpha": BAND_ALPHA,
            "points": points,
        }),
    ))
}

fn point(of: &Look) -> Value {
    let (value, band) = of.difference();
    json!({ "unixMs": of.unix_ms, "value": value, "low": band.low, "high": band.high, "limit": of.limit })
}
