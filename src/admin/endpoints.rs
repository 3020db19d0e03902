//! One endpoint out of use, and back: for maintenance of a single address.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde_json::json;
use std::net::SocketAddr;

use super::api::answer;
use super::asked::Path;
use super::change::{Change, Plain, Words, read};
use super::pages::Page;
use super::problem::Problem;
use crate::config::schema::Role;
use crate::control::{Handle, drained_in_words, event_of_process};
use crate::rollout::effect::EventKind;

pub(super) fn pages() -> Vec<Page> {
    const PATH: &str = "/services/{service}/{variant}/endpoints/{address}/{command}";
    let summary = "Take an endpoint out of use (drain), or put it back (ready). Lasts until the process ends.";
    vec![
        Page::change(PATH, Role::Admin, summary, || post(change)).takes::<Plain>().tells("ringway.endpoint-command/v1"),
    ]
}

async fn change(
    State(handle): State<Handle>,
    Path((service, variant, address, command)): Path<(String, String, String, String)>,
    change: Change,
    body: Bytes,
) -> Result<Response, Problem> {
    let by = change.by(&Words::from(read::<Plain>(&body)?))?;
    let absent = |detail: &str| Problem::new(StatusCode::NOT_FOUND, detail);
    let is_drain = match command.as_str() {
        "drain" => true,
        "ready" => false,
        _ => return Err(absent("an endpoint knows `drain` and `ready`")),
    };
    let snapshot = handle.snapshot();
    let of_service = snapshot.service(&service).ok_or_else(|| absent("no such service; see /api/v1/status"))?;
    let of_variant = of_service.variants.iter().find(|known| *known.name == *variant);
    let upstream = &of_variant.ok_or_else(|| absent("the service has no such variant; see /api/v1/status"))?.upstream;
    let wanted: Option<SocketAddr> = address.parse().ok();
    let members = upstream.endpoints();
    let endpoint = members.iter().find(|endpoint| Some(endpoint.address()) == wanted);
    let endpoint =
        endpoint.ok_or_else(|| absent("the variant has no such endpoint: write IP:PORT, as it is resolved"))?;

    let is_changed = endpoint.is_drained() != is_drain;
    let fallback = of_service.fallback.map(|at| &*of_service.variants[at].name);
    let text = drained_in_words(upstream, endpoint, is_drain, fallback.filter(|name| *name != variant));
    let undo = format!(
        "POST /api/v1/services/{service}/{variant}/endpoints/{address}/{}",
        if is_drain { "ready" } else { "drain" }
    );
    let result = match (is_changed, change.is_dry_run) {
        (false, _) => "unchanged",
        (true, true) => "would-do",
        (true, false) => "done",
    };
    if result == "done" {
        if !handle.upstreams().set_drained(&service, &variant, endpoint.address(), is_drain) {
            return Err(Problem::new(StatusCode::CONFLICT, "1,000 endpoints are drained already; put some back first"));
        }
        let kind = if is_drain { EventKind::EndpointDrained } else { EventKind::EndpointReady };
        let mut event = event_of_process(kind, format!("{service}/{variant}: {text}"), Some(by));
        event.service.clone_from(&service);
        // it is done; a control thread that takes nothing is in the log already
        let _ = handle.note(event);
    }
    let schema = "ringway.endpoint-command/v1";
    Ok(answer(StatusCode::OK, &json!({ "schema": schema, "result": result, "text": text, "undo": undo })))
}
