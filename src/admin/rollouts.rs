//! `ringway.rollouts/v1`, and what people ask of a rollout.

use super::api::answer;
use super::change::{Change, Words, read};
use super::pages::Page;
use super::problem::Problem;
use crate::config::schema::Role;
use crate::config::values;
use crate::control::{Ask, Handle, RolloutView};
use crate::model::Weight;
use crate::rollout::command::{Answer, Command};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
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
        Page::change("/rollouts/{service}/{command}", Role::Operator, commands, || post(command))
            .takes::<Wish>()
            .tells("ringway.rollout-command/v1"),
    ]
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
    let rollouts: Vec<Value> = handle.rollouts().iter().map(rollout).collect();
    json!({ "schema": "ringway.rollouts/v1", "rollouts": rollouts })
}

/// Where one rollout is.
pub(super) fn rollout(view: &RolloutView) -> Value {
    let cohorts: Vec<Value> = (view.cohorts.iter())
        .map(|cohort| {
            let (users, requests) = cohort.seen;
            let share = cohort.share.as_f64();
            json!({ "name": cohort.name, "share": share, "shown": cohort.shown, "users": users, "requests": requests })
        })
        .collect();
    json!({
        "service": view.service,
        "id": view.id,
        "phase": view.phase.as_str(),
        "why": view.why,
        "to": view.to,
        "from": view.from,
        "step": view.step,
        "steps": view.steps,
        "cohorts": cohorts,
        "gates": gates(view),
    })
}

/// The judge's word.
pub(super) fn gates(view: &RolloutView) -> Vec<Value> {
    let gate = |gate: &crate::control::GateView| {
        json!({
            "name": gate.gate,
            "cohort": gate.cohort,
            "verdict": gate.verdict,
            "evidence": gate.evidence,
            "needed": gate.needed,
            "text": gate.sentence,
        })
    };
    view.gates.iter().map(gate).collect()
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
