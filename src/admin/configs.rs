//! The files in force, where each value comes from, and what a text would do in their place. Nothing is ever written.

use super::api::answer;
use super::change::read;
use super::problem::Problem;
use super::room::Room;
use super::status::source;
use crate::config::render::{Format, Report, TestCounts};
use crate::config::{ConfigErrors, Source};
use crate::control::{ADMIN_DEFAULT, Draft, Handle, InForce, TELEMETRY_DEFAULT, draft, gate_defaults, in_force_again};
use crate::model::BUCKETS;
use crate::routing::Snapshot;
use crate::routing::compare::{Comparison, Users};
use crate::routing::prepare::count;
use crate::routing::snapshot::{ListenerRules, Service};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Texts that are looked at at a time; further ones wait.
const BENCH_PLACES: usize = 2;
/// Users that are made up to find out who moves.
const USERS: u32 = 20_000;

/// Places to work on texts. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Bench(Arc<Semaphore>);

/// A configuration to look at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Text {
    /// What the file would say.
    text: String,
}

impl Default for Bench {
    fn default() -> Bench {
        Bench(Arc::new(Semaphore::new(BENCH_PLACES)))
    }
}

impl Bench {
    /// Works on a thread of its own, when there is a place.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = Arc::clone(&self.0).acquire_owned().await.map_err(|_| Problem::busy())?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        let broken =
            |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this broke off: a bug of Ringway; see the log");
        done.await.map_err(broken)
    }
}

/// `GET /config/file`. Secrets are in files of their own, which are not shown.
pub(super) async fn file(State(handle): State<Handle>) -> Response {
    let in_force = handle.in_force();
    let files: Vec<Value> =
        in_force.loaded.sources.iter().map(|source| json!({ "name": source.name, "text": source.text })).collect();
    let value = json!({ "schema": "ringway.config-file/v1", "rev": in_force.loaded.rev, "files": files });
    answer(StatusCode::OK, &value)
}

/// `GET /config/effective`: what stands in the files, what counts where they are silent, and weights that are not theirs.
pub(super) async fn effective(State(handle): State<Handle>) -> Response {
    let (in_force, snapshot) = (handle.in_force(), handle.snapshot());
    let mut values = written(&in_force);
    let is_written = |path: &str, values: &[Value]| values.iter().any(|value| value["path"] == path);
    for (path, value) in defaults(&in_force, &snapshot) {
        if !is_written(&path, &values) {
            values.push(json!({ "path": path, "value": value, "source": "default", "file": null, "line": null }));
        }
    }
    values.extend(snapshot.services.iter().flat_map(weights));
    answer(
        StatusCode::OK,
        &json!({
            "schema": "ringway.config-effective/v1",
            "rev": in_force.loaded.rev,
            "values": values,
        }),
    )
}

/// `POST /config/check`: as `ringway check -o json`.
pub(super) async fn check(State(room): State<Room>, body: Bytes) -> Result<Response, Problem> {
    let Text { text } = read(&body)?;
    let in_force = room.handle.in_force();
    let value = room.bench.work(move || checked(text, &in_force)).await?;
    Ok(answer(StatusCode::OK, &value))
}

fn checked(text: String, in_force: &InForce) -> Value {
    let (report, unread) = match draft(text, in_force) {
        Err(errors) => (of_errors(&errors, TestCounts::default()), Vec::new()),
        Ok(Draft::Unread(loaded, unread)) => (of_report(&Report::from(&*loaded)), unread),
        Ok(Draft::Whole(prepared)) => {
            let verdicts = prepared.verdicts();
            let tests = count(&verdicts);
            let report = match prepared.judged(&verdicts) {
                Ok(prepared) => of_report(&Report { tests, ..Report::from(&prepared.loaded) }),
                Err(errors) => of_errors(&errors, tests),
            };
            (report, Vec::new())
        }
    };
    let mut report = report;
    report["unread"] = unread.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().into();
    report
}

fn of_errors(errors: &ConfigErrors, tests: TestCounts) -> Value {
    of_report(&Report { tests, ..Report::from(errors) })
}

fn of_report(report: &Report<'_>) -> Value {
    serde_json::from_str(&report.render(Format::Json, false)).unwrap_or_default()
}

/// `POST /config/diff`: as `ringway diff -o json` with made-up users.
pub(super) async fn diff(State(room): State<Room>, body: Bytes) -> Result<Response, Problem> {
    let Text { text } = read(&body)?;
    let in_force = room.handle.in_force();
    let value = room.bench.work(move || differences(text, &in_force)).await??;
    Ok(answer(StatusCode::OK, &value))
}

fn differences(text: String, in_force: &InForce) -> Result<Value, Problem> {
    let refused = |errors: ConfigErrors| {
        let report = of_errors(&errors, TestCounts::default());
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, errors.to_string())
            .with("diagnostics", report["diagnostics"].clone())
    };
    let new = match draft(text, in_force).map_err(refused)? {
        Draft::Whole(prepared) => prepared,
        Draft::Unread(_, paths) => {
            let first = paths.first().map_or_else(String::new, |path| path.display().to_string());
            let detail =
                format!("{first} is not named by the files in force, so it is not read here; use `ringway diff`");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
    };
    let old = in_force_again(in_force).map_err(refused)?;
    Ok(Comparison::new(&old, &new, &Users::Synthetic(USERS), None).to_json())
}

fn written(in_force: &InForce) -> Vec<Value> {
    let sources = &in_force.loaded.sources;
    let place = |source: &Source, at: usize| (source.name.clone(), source.position(at).line);
    let written = in_force.loaded.written();
    let value = written.iter().map(|one| {
        let (file, line) = sources.get(one.span.source).map(|source| place(source, one.span.start)).unzip();
        json!({ "path": one.place.to_string(), "value": one.text, "source": "file", "file": file, "line": line })
    });
    value.collect()
}

/// What counts where the files say nothing.
fn defaults(in_force: &InForce, snapshot: &Snapshot) -> Vec<(String, Value)> {
    let mut values = vec![
        ("admin.address".to_owned(), json!(ADMIN_DEFAULT.to_string())),
        ("telemetry.address".to_owned(), json!(TELEMETRY_DEFAULT.to_string())),
    ];
    for (at, listener) in in_force.loaded.file.listeners.iter().enumerate() {
        let Some(rules) = snapshot.rules(&listener.address) else { continue };
        values.extend(of_listener(rules).map(|(name, value)| (format!("listeners[{at}].{name}"), value)));
    }
    for service in &snapshot.services {
        let name = &service.name;
        values.push((format!("services.{name}.exposeAssignment"), json!(service.expose_assignment)));
        let is_written = in_force.loaded.file.services.get(&**name).is_some_and(|written| written.hash_on.is_some());
        let keys: Vec<String> = service.key_sources.iter().map(|source| source.describe()).collect();
        if !is_written {
            values.push((format!("services.{name}.hashOn"), json!(keys)));
        }
        if let Some(rollout) = in_force.loaded.file.services.get(&**name).and_then(|written| written.rollout.as_ref()) {
            let of_gates = gate_defaults(&rollout.gates);
            values.extend(
                of_gates.into_iter().map(|(key, value)| (format!("services.{name}.rollout.{key}"), json!(value))),
            );
        }
    }
    values
}

fn of_listener(rules: &ListenerRules) -> [(&'static str, Value); 7] {
    let (limits, timeouts) = (&rules.limits, &rules.timeouts);
    let seconds = |time: std::time::Duration| json!(format!("{}s", time.as_secs()));
    [
        ("limits.headerFields", json!(limits.header_fields)),
        ("limits.headerBytes", json!(limits.header_bytes)),
        ("limits.targetBytes", json!(limits.target_bytes)),
        ("timeouts.requestHeaders", seconds(timeouts.request_headers)),
        ("timeouts.keepAlive", seconds(timeouts.keep_alive)),
        ("timeouts.idle", seconds(timeouts.idle)),
        ("timeouts.tunnel", seconds(timeouts.tunnel)),
    ]
}

/// The shares in force of each cohort, in percent, and by whose word.
fn weights(service: &Service) -> Vec<Value> {
    let of = |cohort: &crate::routing::snapshot::Cohort| {
        let each = service.variants.iter().enumerate().map(|(at, variant)| {
            let share = f64::from(cohort.layout.width_of(at)) / f64::from(BUCKETS) * 100.0;
            json!({
                "path": format!("services.{}.cohorts.{}.weights.{}", service.name, cohort.name, variant.name),
                "value": share,
                "source": source(cohort, at, None),
                "file": null,
                "line": null,
            })
        });
        each.collect::<Vec<_>>()
    };
    service.cohorts.iter().flat_map(of).collect()
}
