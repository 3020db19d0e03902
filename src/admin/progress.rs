//! `ringway.rollout/v1`: where a rollout is, with its plan and its numbers.

use super::room::Room;
use crate::control::{BAND_ALPHA, CohortView, GateView, Progress, RolloutView, StepView};
use crate::rollout::judge::{Detail, Tally};
use serde_json::{Value, json};

/// Where one rollout is.
pub(super) fn rollout(view: &RolloutView, room: &Room) -> Value {
    let (snapshot, events) = (room.handle.snapshot(), room.handle.events());
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
