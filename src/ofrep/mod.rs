//! Feature flags by the same assignment: the OpenFeature Remote Evaluation Protocol, on a door of its own.
//!
//! ```text
//! POST /ofrep/v1/evaluate/flags/{service}   →  the variant that a user gets
//! POST /ofrep/v1/evaluate/flags             →  of all services, with an ETag
//! ```
//!
//! A flag is a service and its value the name of a variant. Nothing can be changed here. It runs on the control thread;
//! who asks is believed, as a trusted proxy is: what the context says about a user is not doubted.

mod context;
mod evaluate;

use crate::control::Handle;
use crate::telemetry::door;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use context::Context;
use evaluate::{Failure, evaluate};
use serde_json::{Value, json};
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// The longest context.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bulk evaluations at the same time: each costs CPU that belongs to the users' requests.
const BULKS_MAX: usize = 2;

#[derive(Clone)]
struct Room {
    handle: Handle,
    bulks: Arc<Semaphore>,
}

/// Serves the door until `shutdown` completes; what is in flight then has one second.
pub async fn serve(listener: TcpListener, handle: Handle, shutdown: impl Future<Output = ()>) {
    let room = Room { handle, bulks: Arc::new(Semaphore::new(BULKS_MAX)) };
    door::serve_router(listener, router(room), "ofrep", shutdown).await;
}

fn router(room: Room) -> Router {
    Router::new()
        .route("/ofrep/v1/evaluate/flags/{service}", post(one))
        .route("/ofrep/v1/evaluate/flags", post(all))
        .fallback(|| async { answer(StatusCode::NOT_FOUND, &json!({ "errorDetails": "no such page" })) })
        .method_not_allowed_fallback(|| async {
            answer(StatusCode::METHOD_NOT_ALLOWED, &json!({ "errorDetails": "this page takes POST" }))
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(room)
}

type Body = Result<Bytes, BytesRejection>;

async fn one(State(room): State<Room>, Path(service): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let context = match context(&headers, body) {
        Ok(context) => context,
        Err((status, told)) => return answer(status, &told),
    };
    match evaluate(&room.handle.in_force().loaded.file, &room.handle.snapshot(), &service, &context) {
        Ok(flag) => answer(StatusCode::OK, &flag),
        Err(failure) => answer(failure.status(), &failure.to_json(&service)),
    }
}

async fn all(State(room): State<Room>, headers: HeaderMap, body: Body) -> Response {
    let context = match context(&headers, body) {
        Ok(context) => context,
        Err((status, told)) => return answer(status, &told),
    };
    let shutting_down = || answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "errorDetails": "shutting down" }));
    let Ok(place) = Arc::clone(&room.bulks).acquire_owned().await else { return shutting_down() };
    let (in_force, snapshot) = (room.handle.in_force(), room.handle.snapshot());
    let work = move || {
        let flag = |name: &str| {
            evaluate(&in_force.loaded.file, &snapshot, name, &context).unwrap_or_else(|failure| failure.to_json(name))
        };
        let flags: Vec<Value> = snapshot.services.iter().map(|service| flag(&service.name)).collect();
        drop(place);
        json!({ "flags": flags, "metadata": { "rev": *snapshot.rev } })
    };
    let Ok(flags) = tokio::task::spawn_blocking(work).await else {
        return answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "errorDetails": "a bug of Ringway; see the log" }));
    };
    let etag = etag(&flags);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|value| value.split(',')).any(|tag| tag.trim().trim_start_matches("W/") == etag);
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => answer(StatusCode::OK, &flags),
    };
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// What is asked, or the answer to who cannot be understood. A web page cannot ask: the type of its body would need
/// leave that nobody gives.
fn context(headers: &HeaderMap, body: Body) -> Result<Context, (StatusCode, Value)> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let detail = json!({ "errorDetails": "the body must be application/json" });
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let body = body.map_err(|refused| {
        (refused.status(), json!({ "errorDetails": format!("a context has at most {BODY_BYTES_MAX} bytes") }))
    })?;
    Context::read(&body).map_err(|failure: Failure| {
        let mut told = failure.to_json("");
        told.as_object_mut().map(|told| told.shift_remove("key"));
        (failure.status(), told)
    })
}

fn answer(status: StatusCode, value: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, value.to_string()).into_response()
}

fn etag(flags: &Value) -> String {
    let hash = digest(&SHA256, flags.to_string().as_bytes());
    let digits: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

#[cfg(test)]
mod tests;
