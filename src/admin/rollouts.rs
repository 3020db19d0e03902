//! `ringway.rollouts/v1`, and what people ask of a rollout.

use super::api::answer;
use super::change::{Change, Words, read};
use super::pages::Page;
use super::problem::Problem;
use crate::config::schema::Role;
use crate::config::values;
use crate::control::events::Events;
use crate::control::{Ask, BAND_ALPHA, CohortView, GateView, Handle, Progress, RolloutView, StepView};
use crate::model::Weight;
use crate::rollout::command::{Answer, Command};
use crate::rollout::judge::{Detail, Tally};
use crate::routing::Snapshot;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// What a request for a change says.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Wish {
    /// Who asks; counts only where nothing else tells, and is marked as unverified.
    actor: String,
    /// The groups that they are in; likewise.
    groups: Vec<String>,
    /// Why; stands in the audit log.
    reason: String,
    /// `rollback`: from this cohort only; `set-weight`: of this one.
    cohort: Option<String>,
    /// `set-weight`: the variant.
    variant: Option<String>,
    /// `set-weight`: percent of the cohort.
    #[schemars(with = "Option<f64>")]
    weight: Option<serde_json::Number>,
    /// `set-weight`: how long it lasts, such as `30m`.
    #[serde(alias = "for")]
    #[schemars(with = "Option<String>")]
    lasts: Option<values::Duration>,
    /// `promote`: all steps at once.
    full: bool,
    /// `rollback`: by the steps of `onHarm.gradual`.
    gradual: bool,
}

pub(super) fn pages() -> Vec<Page> {
    let commands = "Ask something of a rollout: promote, pause, resume, rollback, retry, approve, skip or set-weight.";
    vec![
        Page::get("/rollouts", Role::Viewer, "Where every rollout is.", || {
            get(|State(handle): State<Handle>| async move { answer(StatusCode::OK, &rollouts(&handle)) })
        })
        .tells("ringway.rollouts/v1"),
        Page::get("/rollouts/{service}", Role::Viewer, "Where one rollout is; the ETag is for If-Match.", || get(one))
            .tells("ringway.rollout/v1"),
        Page::change("/rollouts/{service}/{command}", Role::Operator, commands, || post(command))
            .takes::<Wish>()
            .tells("ringway.rollout-command/v1"),
    ]
}

async fn one(State(handle): State<Handle>, Path(service): Path<String>) -> Result<Response, Problem> {
    let absent = || Problem::new(StatusCode::NOT_FOUND, "no such service, or it has no rollout; see /api/v1/rollouts");
    let (etag, value) = rollout_of(&handle, &service).ok_or_else(absent)?;
    let mut response = answer(StatusCode::OK, &value);
    if let Ok(etag) = HeaderValue::try_from(etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

/// Does what is asked of a rollout, and says how it is undone.
async fn command(
    State(handle): State<Handle>,
    Path((service, command)): Path<(String, String)>,
    change: Change,
    body: Bytes,
) -> Result<Response, Problem> {
    let ask = ask_of(&change, service.clone(), &command, &body)?;
    let wanted = ask.command.clone();
    let answered = handle.ask_rollout(ask).map_err(|_| Problem::busy())?;
    let absent = || Problem::new(StatusCode::NOT_FOUND, "no such service; see /api/v1/status");
    let told = answered.await.map_err(|_| Problem::busy())?.ok_or_else(absent)?;
    Ok(answer(StatusCode::OK, &tell(&service, &wanted, &told)?))
}

/// Every rollout.
pub(super) fn rollouts(handle: &Handle) -> Value {
    let (views, snapshot) = (handle.rollouts(), handle.snapshot());
    let rollouts: Vec<Value> = views.iter().map(|view| rollout(view, &snapshot, handle.events())).collect();
    json!({ "schema": "ringway.rollouts/v1", "rollouts": rollouts })
}

/// The rollout of one service, with what tells its state apart from others.
pub(super) fn rollout_of(handle: &Handle, service: &str) -> Option<(String, Value)> {
    let views = handle.rollouts();
    let view = views.iter().find(|view| view.service == service)?;
    Some((etag(view), rollout(view, &handle.snapshot(), handle.events())))
}

/// The entity tag of a rollout: another one when there is something else to decide about.
pub(super) fn etag(view: &RolloutView) -> String {
    format!("\"{:016x}\"", view.revision())
}

/// Where one rollout is.
fn rollout(view: &RolloutView, snapshot: &Snapshot, events: &Events) -> Value {
    let service = snapshot.service(&view.service);
    let version = |name: &str| {
        let variant = service?.variants.iter().find(|variant| *variant.name == *name)?;
        variant.version.as_deref()
    };
    let skipped = events.skipped(&view.service, &view.id);
    let plan: Vec<Value> = view.plan.iter().map(|of| step(of, skipped.contains(&of.number))).collect();
    let decision = events.decision(&view.service, &view.id);
    json!({
        "schema": "ringway.rollout/v1",
        "service": view.service,
        "id": view.id,
        "phase": view.phase.as_str(),
        "why": view.why,
        "to": view.to,
        "from": view.from,
        "toVersion": version(&view.to),
        "fromVersion": version(&view.from),
        "step": view.step,
        "steps": view.steps,
        "plan": plan,
        "stepElapsedSeconds": view.step_elapsed.as_secs(),
        "stepHoldSeconds": view.step_hold.map(|hold| hold.as_secs()),
        "elapsedSeconds": view.elapsed.as_secs(),
        "runbook": view.runbook,
        "cohorts": view.cohorts.iter().map(cohort).collect::<Vec<_>>(),
        "gates": view.gates.iter().map(gate).collect::<Vec<_>>(),
        "decision": super::events::decision(decision.as_deref()),
    })
}

/// One step of the file; `weight` and `ramp` are in percent, `hold` in seconds.
fn step(of: &StepView, is_skipped: bool) -> Value {
    let ramp: Vec<f64> = of.shares.iter().map(|share| share.as_f64()).collect();
    let is_skipped = is_skipped && of.progress == Progress::Done;
    json!({
        "number": of.number,
        "cohort": of.cohort,
        "weight": if let [share] = ramp[..] { Some(share) } else { None },
        "ramp": (ramp.len() > 1).then_some(&ramp),
        "approve": (!of.approve.is_empty()).then_some(&of.approve),
        "hold": of.hold.as_secs(),
        "window": of.window,
        "state": if is_skipped { "skipped" } else { of.progress.as_str() },
    })
}

fn cohort(of: &CohortView) -> Value {
    let (users, requests) = of.seen;
    json!({
        "name": of.name,
        "share": of.share.as_f64() / 100.0,
        "fileShare": of.in_file.as_f64() / 100.0,
        "shown": of.shown,
        "users": users,
        "requests": requests,
        "probes": of.probes,
    })
}

/// The judge's word.
pub(super) fn gates(view: &RolloutView) -> Vec<Value> {
    view.gates.iter().map(gate).collect()
}

/// Rates are from 0 to 1, also those of latency: of requests that were slower than `slow.limitMs` says.
fn gate(of: &GateView) -> Value {
    let tally = |tally: Tally| json!({ "events": tally.events, "of": tally.of, "rate": tally.rate() });
    let difference = of
        .difference()
        .map(|(value, band)| json!({ "value": value, "low": band.low, "high": band.high, "alpha": BAND_ALPHA }));
    let slow = match of.detail {
        Detail::Slow { level, stable_us, canary_us, .. } => Some(json!({
            "quantile": level,
            "stableMs": stable_us as f64 / 1_000.0,
            "limitMs": canary_us as f64 / 1_000.0,
        })),
        _ => None,
    };
    json!({
        "name": of.gate,
        "cohort": of.cohort,
        "verdict": of.verdict,
        "evidence": of.evidence,
        "needed": of.needed,
        "text": of.sentence,
        "stable": tally(of.stable),
        "canary": tally(of.canary),
        "difference": difference,
        "limit": of.limit,
        "unit": "rate",
        "slow": slow,
    })
}

/// Understands a request for a change.
fn ask_of(change: &Change, service: String, word: &str, body: &[u8]) -> Result<Ask, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let wish: Wish = read(body)?;
    let words = Words { actor: wish.actor, groups: wish.groups, reason: wish.reason };
    let actor = change.actor(&words)?;
    let needs = |name: &str| bad(format!("{word} needs `{name}`"));
    let command = match word {
        "promote" if wish.full => Command::PromoteFull,
        "promote" => Command::Promote,
        "pause" => Command::Pause,
        "resume" => Command::Resume,
        "rollback" => Command::Rollback { cohort: wish.cohort, is_gradual: wish.gradual },
        "retry" => Command::Retry,
        "approve" => Command::Approve,
        "skip" => Command::Skip,
        "set-weight" => Command::SetWeight {
            cohort: wish.cohort.ok_or_else(|| needs("cohort"))?,
            variant: wish.variant.ok_or_else(|| needs("variant"))?,
            share: share(&wish.weight.ok_or_else(|| needs("weight"))?).map_err(bad)?,
            lasts: wish.lasts.map(|time| time.0),
        },
        _ => return Err(Problem::new(StatusCode::NOT_FOUND, format!("a rollout knows no `{word}`"))),
    };
    Ok(Ask { service, actor, reason: words.reason, command })
}

fn share(number: &serde_json::Number) -> Result<Weight, String> {
    let text = number.to_string();
    text.parse::<values::Percent>().map(|percent| percent.0).map_err(|why| format!("weight {text}: {why}"))
}

/// The answer of a rollout, with the way back. 409 when it cannot be done in this phase.
fn tell(service: &str, command: &Command, answer: &Answer) -> Result<Value, Problem> {
    let (result, text) = match answer {
        Answer::Done(text) => ("done", text),
        Answer::Unchanged(text) => ("unchanged", text),
        Answer::Refused(phase, _) => {
            return Err(Problem::new(StatusCode::CONFLICT, answer.to_string())
                .with("schema", "ringway.rollout-command/v1".into())
                .with("result", "refused".into())
                .with("phase", phase.as_str().into()));
        }
    };
    Ok(json!({
        "schema": "ringway.rollout-command/v1",
        "result": result,
        "text": text,
        "undo": undo(service, command),
        "permanent": permanent(service, command),
    }))
}

/// What to type to undo a command.
fn undo(service: &str, command: &Command) -> String {
    let word = match command {
        Command::Pause | Command::SetWeight { .. } => "resume",
        Command::Resume => "pause",
        Command::Rollback { .. } => "retry",
        Command::Promote | Command::PromoteFull | Command::Retry | Command::Approve | Command::Skip => "rollback",
    };
    format!("ringway {word} {service}")
}

/// What to write into the file so that it stays; only for weights, the rest is not of the file.
fn permanent(service: &str, command: &Command) -> Option<String> {
    let Command::SetWeight { cohort, variant, share, .. } = command else { return None };
    Some(format!("services.{service}: the weights of cohort {cohort}, so that {variant} has {share} of 100"))
}
