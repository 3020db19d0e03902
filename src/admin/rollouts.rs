//! `ringway.rollouts/v1`, and what people ask of a rollout.

use super::actions::actions;
use super::api::answer;
use super::asked::Path;
use super::caller::Caller;
use super::change::{Change, Words, read};
use super::differences;
use super::pages::Page;
use super::problem::Problem;
use super::progress::rollout;
use super::room::Room;
use crate::config::schema::Role;
use crate::config::values;
use crate::control::permanent::{self, Wanted};
use crate::control::{Ask, Handle, RolloutView};
use crate::model::{Weight, printable};
use crate::rollout::command::{Answer, Command, Refusal};
use crate::rollout::state::{PauseCause, Phase};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

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
    #[serde(rename = "for", alias = "lasts")]
    #[schemars(with = "Option<String>")]
    lasts: Option<values::Duration>,
    /// `promote`: all steps at once.
    full: bool,
    /// `rollback`: by the steps of `onHarm.gradual`.
    gradual: bool,
}

/// Names of services that a refusal tells.
const NAMES_MAX: usize = 10;
const DIFFERENCES: &str = "How the difference that a gate sees went since the process began, with its band.";

pub(super) fn pages() -> Vec<Page> {
    let commands = "Ask something of a rollout: promote, pause, resume, rollback, retry, approve, skip or set-weight.";
    vec![
        Page::get("/rollouts", Role::Viewer, "Where every rollout is.", || {
            get(|State(room): State<Room>, caller: Caller| async move {
                answer(StatusCode::OK, &rollouts(&room, &caller))
            })
        })
        .tells("ringway.rollouts/v1"),
        Page::get("/rollouts/{service}", Role::Viewer, "Where one rollout is; its ETag is for If-Match.", || get(one))
            .tells("ringway.rollout/v1"),
        Page::get("/rollouts/{service}/differences", Role::Viewer, DIFFERENCES, || get(differences::differences))
            .with_query(&[
                ("gate", "the gate's name"),
                ("cohort", "the gate's cohort, where it has one"),
                ("window", "how far back, such as `1h`; up to 6 h, which is the default"),
            ])
            .tells("ringway.differences/v1"),
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
    // by what is in force before it
    let undo = undo(&handle, &service, &wanted);
    if change.is_dry_run {
        return rehearse(&handle, &ask, &undo);
    }
    let answered = handle.ask_rollout(ask).map_err(|_| Problem::busy())?;
    let absent = || no_service(&handle, &service);
    let told = answered.await.map_err(|_| Problem::busy())?.ok_or_else(absent)?;
    Ok(answer(StatusCode::OK, &tell(&handle, &service, &wanted, &told, &undo)?))
}

/// What would come of it, by a copy of all that the engine knows.
fn rehearse(handle: &Handle, ask: &Ask, undo: &str) -> Result<Response, Problem> {
    let trials = handle.trials();
    let absent = || no_service(handle, &ask.service);
    let trial = trials.get(&ask.service).ok_or_else(absent)?;
    let now = view_of(handle, &ask.service).map(|view| view.revision());
    if ask.must_match.is_some() && ask.must_match != now {
        return Err(moved());
    }
    let would = trial.ask(&ask.actor, &ask.command).ok_or_else(Problem::busy)?;
    let mut value = tell(handle, &ask.service, &ask.command, &would, undo)?;
    if value["result"] == "done" {
        value["result"] = "would-do".into();
    }
    Ok(answer(StatusCode::OK, &value))
}

/// The names that there are, for whoever mistook one.
fn no_service(handle: &Handle, wanted: &str) -> Problem {
    let snapshot = handle.snapshot();
    let mut names: Vec<&str> = snapshot.services.iter().map(|service| &*service.name).take(NAMES_MAX).collect();
    if snapshot.services.len() > names.len() {
        names.push("..");
    }
    let detail = format!("no such service: {}; there is {}", printable(wanted), names.join(", "));
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// Where one rollout is.
async fn one(State(room): State<Room>, caller: Caller, Path(service): Path<String>) -> Result<Response, Problem> {
    let absent = || Problem::new(StatusCode::NOT_FOUND, "no such service, or it has no rollout; see /api/v1/rollouts");
    let view = view_of(&room.handle, &service).ok_or_else(absent)?;
    let mut value = rollout(&view, &room);
    value["actions"] = actions_of(&room, &caller, &view);
    let mut response = answer(StatusCode::OK, &value);
    if let Ok(tag) = HeaderValue::try_from(format!("\"{:016x}\"", view.revision())) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// What whoever asks can ask of it now.
pub(super) fn actions_of(room: &Room, caller: &Caller, view: &RolloutView) -> Value {
    let trials = room.handle.trials();
    let actions = trials.get(&view.service).map(|trial| actions(trial, caller, room.rules().is_read_only()));
    actions.unwrap_or_default().into()
}

/// Every rollout, with what whoever asks can ask of it.
pub(super) fn rollouts(room: &Room, caller: &Caller) -> Value {
    let one = |view: &Arc<RolloutView>| {
        let mut value = rollout(view, room);
        value["actions"] = actions_of(room, caller, view);
        value
    };
    let rollouts: Vec<Value> = room.handle.rollouts().iter().map(one).collect();
    json!({ "schema": "ringway.rollouts/v1", "rollouts": rollouts })
}

/// The rollout has no cohort or variant of that name, and which there are.
fn unknown_name(handle: &Handle, service: &str, unknown: &Refusal) -> Problem {
    let snapshot = handle.snapshot();
    let served = snapshot.service(service);
    let names: Vec<&str> = match unknown {
        Refusal::UnknownVariant(_) => served.iter().flat_map(|of| &of.variants).map(|of| &*of.name).collect(),
        _ => served.iter().flat_map(|of| &of.cohorts).map(|of| &*of.name).collect(),
    };
    let shown = &names[..names.len().min(NAMES_MAX)];
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("{}; {service} has {}", printable(&unknown.to_string()), shown.join(", ")),
    )
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
        "promote-full" => Command::PromoteFull,
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
            lasts: lasting(wish.lasts).map_err(bad)?,
        },
        _ => return Err(Problem::new(StatusCode::NOT_FOUND, format!("a rollout knows no `{word}`"))),
    };
    let tag = change.must_match.as_ref();
    let must_match = tag.map(|tag| u64::from_str_radix(tag, 16).map_err(|_| moved())).transpose()?;
    Ok(Ask { service, actor, reason: words.reason, command, must_match })
}

fn share(number: &serde_json::Number) -> Result<Weight, String> {
    let text = number.to_string();
    text.parse::<values::Percent>().map(|percent| percent.0).map_err(|why| format!("weight {text}: {why}"))
}

fn lasting(time: Option<values::Duration>) -> Result<Option<Duration>, String> {
    match time {
        Some(values::Duration(Duration::ZERO)) => Err("`for` is a time such as 30m, longer than none".to_owned()),
        time => Ok(time.map(|time| time.0)),
    }
}

/// The answer of a rollout, with the way back. 404 when it knows no such name, 409 when it cannot be done in this phase.
fn tell(handle: &Handle, service: &str, command: &Command, answer: &Answer, undo: &str) -> Result<Value, Problem> {
    let (result, text) = match answer {
        Answer::Done(text) => ("done", text),
        Answer::Unchanged(text) => ("unchanged", text),
        Answer::Refused(_, Refusal::Moved) => return Err(moved()),
        Answer::Refused(_, unknown @ (Refusal::UnknownCohort(_) | Refusal::UnknownVariant(_))) => {
            return Err(unknown_name(handle, service, unknown));
        }
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
        "undo": undo,
        "permanent": permanent(handle, service, command),
    }))
}

fn moved() -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, Refusal::Moved.to_string())
}

fn view_of(handle: &Handle, service: &str) -> Option<Arc<RolloutView>> {
    handle.rollouts().iter().find(|view| view.service == service).cloned()
}

/// What to type to undo a command, which was not done yet.
fn undo(handle: &Handle, service: &str, command: &Command) -> String {
    let word = match command {
        Command::SetWeight { cohort, variant, .. } => {
            let trials = handle.trials();
            let trial = trials.get(service);
            match trial.and_then(|trial| Some((trial, trial.pause()?))) {
                None if trial.is_some_and(|trial| trial.is_back(cohort)) => "retry",
                None => "resume",
                Some((_, PauseCause::Harm)) => "retry",
                // `resume` would go on with the rollout as well
                Some((trial, _)) => {
                    let was = trial.share(cohort, variant);
                    return format!("ringway set-weight {service} {variant} {was} --cohort {cohort}");
                }
            }
        }
        Command::Pause => "resume",
        // what people had set has ended, and there is nothing to pause
        Command::Resume if !is_under_way(handle, service) => {
            return format!("ringway set-weight {service} VARIANT PERCENT");
        }
        Command::Resume => "pause",
        Command::Rollback { .. } => "retry",
        Command::Promote | Command::PromoteFull | Command::Retry | Command::Approve | Command::Skip => "rollback",
    };
    format!("ringway {word} {service}")
}

fn is_under_way(handle: &Handle, service: &str) -> bool {
    view_of(handle, service).is_some_and(|view| view.phase != Phase::Superseded)
}

/// What to write into the file so that it stays. Only of weights: the rest is not of the file, or is what it says already.
fn permanent(handle: &Handle, service: &str, command: &Command) -> Option<String> {
    let (in_force, snapshot) = (handle.in_force(), handle.snapshot());
    let served = snapshot.service(service)?;
    let rollout = in_force.loaded.file.services.get(service)?.rollout.as_ref();
    let wanted = match command {
        Command::SetWeight { cohort, variant, share, .. } => Wanted { cohort: Some(cohort), variant, share: *share },
        Command::Rollback { cohort, .. } => {
            Wanted { cohort: cohort.as_deref(), variant: &rollout?.to, share: Weight::ZERO }
        }
        Command::PromoteFull => {
            let kept = rollout?.holdback.map_or(0, |kept| kept.0.micros());
            let share = Weight::from_micros(Weight::HUNDRED.micros().saturating_sub(kept));
            Wanted { cohort: None, variant: &rollout?.to, share }
        }
        _ => return None,
    };
    permanent::permanent(&in_force.loaded.file, served, &wanted)
}
