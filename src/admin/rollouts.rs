//! `ringway.rollouts/v1`, and what people ask of a rollout.

use super::problem::Problem;
use crate::config::values;
use crate::control::{Ask, Handle, RolloutView};
use crate::model::Weight;
use crate::rollout::command::{Actor, Answer, Command};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// The longest name of a person or group, and the longest reason, in bytes: they stand in the state and the audit log.
const NAME_BYTES_MAX: usize = 256;
const REASON_BYTES_MAX: usize = 4 * 1024;
/// Groups of one person.
const GROUPS_MAX: usize = 32;

/// What a request for a change says. Who asks is believed: whoever reaches this door may do everything.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Wish {
    actor: String,
    groups: Vec<String>,
    reason: String,
    cohort: Option<String>,
    variant: Option<String>,
    /// Percent of the cohort.
    weight: Option<serde_json::Number>,
    /// `set-weight`: how long it lasts.
    lasts: Option<values::Duration>,
    /// `promote`: all steps at once.
    full: bool,
    /// `rollback`: by the steps of `onHarm.gradual`.
    gradual: bool,
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
            json!({
                "name": cohort.name,
                "share": share,
                "shown": cohort.shown,
                "users": users,
                "requests": requests,
                "probes": cohort.probes,
            })
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
pub(super) fn read(service: String, word: &str, body: &[u8]) -> Result<Ask, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let wish: Wish = match body.trim_ascii() {
        b"" => Wish::default(),
        body => serde_json::from_slice(body).map_err(|error| bad(format!("the body is not understood: {error}")))?,
    };
    let names = wish.groups.iter().chain([&wish.actor]);
    let is_long = names.into_iter().any(|name| name.len() > NAME_BYTES_MAX) || wish.groups.len() > GROUPS_MAX;
    if is_long || wish.reason.len() > REASON_BYTES_MAX {
        return Err(bad("a name has at most 256 bytes, a reason 4096; there are at most 32 groups".to_owned()));
    }
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
    let name = if wish.actor.is_empty() { "somebody".to_owned() } else { wish.actor };
    Ok(Ask { service, actor: Actor { name, groups: wish.groups }, reason: wish.reason, command })
}

fn share(number: &serde_json::Number) -> Result<Weight, String> {
    let text = number.to_string();
    text.parse::<values::Percent>().map(|percent| percent.0).map_err(|why| format!("weight {text}: {why}"))
}

/// The answer of a rollout, with the way back. 409 when it cannot be done in this phase.
pub(super) fn tell(service: &str, command: &Command, answer: &Answer) -> Result<Value, Problem> {
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
