//! From the file's gates to what the judge is told to tolerate.

use crate::config::schema;
use crate::model::{Failure, Weight};
use crate::rollout::judge::{
    BurnRules, BurnWindow, ErrorRules, JudgeRules, LatencyRules, OnHarm, OutcomeRules, QUANTILES, Unit,
};
use crate::rollout::plan::{Rollout, Step};
use crate::telemetry::recorder::Blames;

/// What is watched of a cohort.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WatchPlan {
    /// For the judge.
    pub(super) rules: JudgeRules,
    /// The ways to fail that are errors.
    pub(super) blames: Blames,
    /// The quantiles of latency that are compared.
    pub(super) quantiles: [bool; QUANTILES],
    /// Outcomes are posted, maybe by trace.
    pub(super) has_posted: bool,
}

/// How many times stable's errors are no harm, and how many more of all requests.
const ERRORS_ALLOWED: (f64, f64) = (1.2, 0.001);
/// How many times stable's latency is no harm, and how many microseconds more.
const LATENCY_ALLOWED: (f64, u64) = (1.1, 5_000);
/// How often a split that is right may be said to be wrong.
const SPLIT_ALPHA: f64 = 0.001;

/// What counts where a rollout of the file says nothing: keys below `rollout`, and their values as the file writes them. A
/// gate that is off has none.
pub fn gate_defaults(gates: &schema::Gates) -> Vec<(&'static str, String)> {
    let judge = JudgeRules::default();
    let mut values = Vec::new();
    if !gates.errors.off {
        values.push(("gates.errors.allow.ratio", ERRORS_ALLOWED.0.to_string()));
        values.push(("gates.errors.allow.floor", format!("{}%", ERRORS_ALLOWED.1 * 100.0)));
    }
    if !gates.latency.off {
        values.push(("gates.latency.allow.ratio", LATENCY_ALLOWED.0.to_string()));
        values.push(("gates.latency.allow.plus", format!("{}ms", LATENCY_ALLOWED.1 / 1_000)));
    }
    if !gates.sample_ratio.off {
        values.push(("gates.sampleRatio.alpha", SPLIT_ALPHA.to_string()));
    }
    values.extend([
        ("judge.falseRollback", format!("{}%", judge.alpha * 100.0)),
        ("judge.freezeAt", judge.freeze_at.to_string()),
        ("judge.minBad", judge.min_bad.to_string()),
        ("judge.minRequests", judge.min_requests.to_string()),
    ]);
    values
}

/// What is watched of a cohort of a service.
pub(super) fn watch_plan(service: &schema::Service, plan: &Rollout, cohort: &str) -> Option<WatchPlan> {
    let rollout = service.rollout.as_ref()?;
    let (gates, judge) = (&rollout.gates, &rollout.judge);
    let default = JudgeRules::default();
    let shifts: Vec<_> = plan.steps.iter().filter_map(Step::shift).filter(|shift| shift.cohort == cohort).collect();
    let errors = ErrorRules {
        ratio: gates.errors.allow.ratio.unwrap_or(ERRORS_ALLOWED.0),
        floor: gates.errors.allow.floor.map_or(ERRORS_ALLOWED.1, |floor| floor.as_f64()),
    };
    let allow = &gates.latency.allow;
    let latency = LatencyRules {
        ratio: allow.ratio.unwrap_or(LATENCY_ALLOWED.0),
        plus_us: allow.plus.map_or(LATENCY_ALLOWED.1, |plus| plus.0.as_micros() as u64),
    };
    let rules = JudgeRules {
        alpha: judge.false_rollback.map_or(default.alpha, |rate| rate.as_f64()),
        freeze_at: judge.freeze_at.unwrap_or(default.freeze_at),
        min_bad: judge.min_bad.unwrap_or(default.min_bad),
        min_requests: judge.min_requests.unwrap_or(default.min_requests),
        count: match judge.count {
            schema::Count::Users => Unit::Users,
            schema::Count::Requests => Unit::Requests,
        },
        steps: shifts.len().max(1) as u32,
        before_after: shifts.iter().any(|shift| plan.share_of(shift) >= Weight::HUNDRED),
        errors: (!gates.errors.off).then_some(errors),
        latency: (!gates.latency.off).then_some(latency),
        sample_ratio: (!gates.sample_ratio.off).then(|| gates.sample_ratio.alpha.unwrap_or(SPLIT_ALPHA)),
        burn: gates.burn.as_ref().map(burn),
        outcomes: gates.outcomes.iter().map(outcome).collect(),
        ..default
    };
    let at = gates.latency.at.as_ref();
    let is_at = |quantile: schema::Quantile| at.is_none_or(|at| at.contains(&quantile));
    use schema::Quantile::{P50, P90, P95, P99, P999};
    Some(WatchPlan {
        rules,
        blames: gates.errors.bad.as_deref().map_or(Blames::default(), blames),
        quantiles: [P50, P90, P95, P99, P999].map(is_at),
        has_posted: gates.outcomes.iter().any(|gate| gate.header.is_none()),
    })
}

fn blames(bad: &[schema::Bad]) -> Blames {
    Blames::of(bad.iter().map(|bad| match bad {
        schema::Bad::Status5xx => Failure::Status5xx,
        schema::Bad::Status4xx => Failure::Status4xx,
        schema::Bad::Reset => Failure::Reset,
        schema::Bad::Timeout => Failure::Timeout,
        schema::Bad::Connect => Failure::Connect,
    }))
}

fn outcome(gate: &schema::OutcomeGate) -> OutcomeRules {
    OutcomeRules { name: gate.name.clone(), ratio: gate.allow.ratio.unwrap_or(0.97), on_harm: on_harm(gate.on_harm) }
}

/// What is no error and no latency stops the rollout where it is, unless the file says otherwise.
fn on_harm(given: Option<schema::HarmAction>) -> OnHarm {
    match given {
        Some(schema::HarmAction::Rollback) => OnHarm::Rollback,
        Some(schema::HarmAction::Pause) | None => OnHarm::Pause,
    }
}

fn burn(gate: &schema::BurnGate) -> BurnRules {
    let of = |window: &schema::BurnWindow| BurnWindow {
        long_s: window.long.0.as_secs(),
        short_s: window.short.0.as_secs(),
        above: window.above,
    };
    let default = [BurnWindow::TABLE[0], BurnWindow::TABLE[4]];
    BurnRules {
        slo: gate.slo.as_f64(),
        windows: gate.windows.as_ref().map_or(default.to_vec(), |windows| windows.iter().map(of).collect()),
        on_harm: on_harm(gate.on_harm),
    }
}
