//! `POST /simulate`: lines of an access log through the file in force, and what its rollout would have done.

use super::api::answer;
use super::change::read;
use super::pages::Page;
use super::problem::Problem;
use super::room::Room;
use crate::config::schema::Role;
use crate::control::in_force_again;
use crate::simulate::{self as paper, Injection, replay::Options};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use schemars::JsonSchema;
use serde::Deserialize;

/// A small log; larger ones are for `ringway simulate`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Log {
    /// Lines of Ringway, Envoy, Caddy, Traefik, or of the combined format.
    log: String,
    /// The host of lines that name none.
    host: Option<String>,
    /// The service whose rollout is played; without it none is.
    service: Option<String>,
    /// What is wrong with the new version, such as `canary: error=2%, latency=x1.3`.
    #[serde(default)]
    inject: Vec<String>,
    /// For what chance decides.
    #[serde(default)]
    seed: u64,
}

pub(super) fn pages() -> Vec<Page> {
    let summary =
        "Send a small access log through the file in force: who gets what, and what the rollout would have done.";
    vec![Page::ask("/simulate", Role::Viewer, summary, || post(simulate)).takes::<Log>().tells("ringway.simulate/v1")]
}

async fn simulate(State(room): State<Room>, body: Bytes) -> Result<Response, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let Log { log, host, service: rollout_of, inject, seed } = read(&body)?;
    let injections: Vec<Injection> =
        inject.iter().map(|text| text.parse()).collect::<Result<_, String>>().map_err(bad)?;
    if rollout_of.is_none() && !injections.is_empty() {
        return Err(bad("`inject` is about a rollout: name its `service`".to_owned()));
    }
    let in_force = room.handle.in_force();
    let work = move || {
        let prepared = in_force_again(&in_force).map_err(|errors| bad(errors.to_string()))?;
        let options = Options { format: None, host, rollout_of, injections, seed };
        paper::simulate(&prepared, None, options, &log).map(|report| report.json).map_err(bad)
    };
    Ok(answer(StatusCode::OK, &room.bench.work(work).await??))
}
