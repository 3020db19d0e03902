//! `ringway.status/v1`: what is in force, and what came of it in the last minute.

use super::progress::gates;
use super::sentence;
use crate::control::{Handle, RolloutView, Trial};
use crate::model::BUCKETS;
use crate::routing::snapshot::{Cohort, Service};
use crate::telemetry::windows::{WindowStats, Windows};
use serde_json::{Value, json};

/// How far back the figures reach.
const WINDOW_SECONDS: u64 = 60;

/// Latencies are in milliseconds, shares between 0 and 1, `share` as measured (null without a request), users since the
/// start of the process.
pub(super) fn status(handle: &Handle) -> Value {
    let snapshot = handle.snapshot();
    let health = handle.health();
    let rollouts = handle.rollouts();
    let view = |of: &Service| rollouts.iter().find(|view| *view.service == *of.name).map(|view| &**view);
    let figures = |windows: &Windows| {
        let services = snapshot.services.iter().map(|of| service(of, view(of), windows, handle));
        (services.collect::<Vec<Value>>(), windows.covered_seconds(WINDOW_SECONDS))
    };
    let (services, covered) = handle.with_windows(figures);
    json!({
        "schema": "ringway.status/v1",
        "version": env!("CARGO_PKG_VERSION"),
        "sentence": sentence::sentence(&rollouts, sentence::share_of_users(&snapshot, &rollouts, handle)),
        "rev": &*snapshot.rev,
        "phase": if health.is_draining() { "draining" } else { "serving" },
        "problem": health.reloads().problem,
        "loadedUnixSeconds": handle.in_force().since_unix_seconds,
        "windowSeconds": covered,
        "services": services,
    })
}

fn service(service: &Service, rollout: Option<&RolloutView>, windows: &Windows, handle: &Handle) -> Value {
    let cohorts: Vec<Value> = service.cohorts.iter().map(|of| cohort(of, service, windows, handle)).collect();
    match rollout {
        None => json!({ "name": &*service.name, "phase": "idle", "cohorts": cohorts }),
        Some(view) => json!({
            "name": &*service.name,
            "phase": view.phase.as_str(),
            "why": view.why,
            "rollout": view.id,
            "to": view.to,
            "from": view.from,
            "step": view.step,
            "steps": view.steps,
            "cohorts": cohorts,
            "gates": gates(view),
        }),
    }
}

fn cohort(cohort: &Cohort, service: &Service, windows: &Windows, handle: &Handle) -> Value {
    let stats: Vec<WindowStats> = cohort.slots.iter().map(|slot| windows.stats(*slot, WINDOW_SECONDS)).collect();
    let trials = handle.trials();
    let trial = trials.get(&*service.name).map(|trial| &**trial);
    let all: u64 = stats.iter().map(|stats| stats.requests).sum();
    let variants: Vec<Value> = (service.variants.iter().zip(&cohort.weights).zip(&stats).enumerate())
        .map(|(position, ((variant, weight), stats))| {
            let latency = |of: fn(&crate::telemetry::windows::Quantiles) -> u64| {
                stats.latency.as_ref().map(|quantiles| of(quantiles) as f64 / 1000.0)
            };
            json!({
                "name": &*variant.name,
                "version": variant.version,
                "weight": weight.as_f64(),
                "source": source(cohort, position, trial),
                "configuredShare": f64::from(cohort.layout.width_of(position)) / f64::from(BUCKETS),
                "share": (all > 0).then(|| stats.requests as f64 / all as f64),
                "users": handle.users(&cohort.slots[position..=position]),
                "rps": stats.rps,
                "requests": stats.requests,
                "errors": errors(stats),
                "p50": latency(|quantiles| quantiles.p50),
                "p95": latency(|quantiles| quantiles.p95),
                "p99": latency(|quantiles| quantiles.p99),
            })
        })
        .collect();
    json!({ "name": &*cohort.name, "variants": variants })
}

/// By whose word a variant has its weight.
pub(super) fn source(cohort: &Cohort, variant: usize, trial: Option<&Trial>) -> String {
    if cohort.ruled_by.is_none() {
        return "file".to_owned();
    }
    let more = trial.map_or(String::new(), |trial| trial.time_left(&cohort.name));
    cohort.source_for(variant, &more)
}

/// Requests that failed, and not by the client's fault; those that a fallback had to serve count too.
pub(super) fn errors(stats: &WindowStats) -> u64 {
    use crate::model::{Fault, Outcome};
    let is_ours = |outcome: &&Outcome| matches!(outcome.fault(), Some(Fault::Upstream | Fault::Ours));
    let failed: u64 = Outcome::ALL.iter().filter(is_ours).map(|outcome| stats.outcomes[outcome.index()]).sum();
    failed + stats.fallbacks
}
