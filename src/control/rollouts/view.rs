//! Where rollouts are, for people and metrics.

use super::watching::Watching;
use crate::model::Weight;
use crate::rollout::judge::sentence;
use crate::rollout::ownership;
use crate::rollout::plan::Plan;
use crate::rollout::state::{Phase, State};

/// Where the rollout of a service is.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutView {
    /// The service.
    pub service: String,
    /// The rollout's id.
    pub id: String,
    /// The phase.
    pub phase: Phase,
    /// Why it is so; empty when the phase says all.
    pub why: String,
    /// The variant that is released.
    pub to: String,
    /// The variant that it replaces.
    pub from: String,
    /// The step of the file that is being done, from 1; as many as there are when all are done.
    pub step: usize,
    /// Steps of the file.
    pub steps: usize,
    /// The cohorts that the rollout names, in the order of its steps.
    pub cohorts: Vec<CohortView>,
    /// The judge's word, by cohort and gate.
    pub gates: Vec<GateView>,
}

/// What a cohort has of the new version.
#[derive(Clone, Debug, PartialEq)]
pub struct CohortView {
    /// The cohort.
    pub name: String,
    /// Percent of it.
    pub share: Weight,
    /// The same with its source: `10 % (rollout step 2/5; the file says 0)`.
    pub shown: String,
    /// Users and requests of the new version since the step began.
    pub seen: (u64, u64),
    /// Probes that have passed since then.
    pub probes: u64,
}

/// What a gate says of a cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct GateView {
    /// The cohort; empty for a gate that is about all of the rollout.
    pub cohort: String,
    /// The gate; an outcome has the name that the file gives it.
    pub gate: String,
    /// `pass`, `harm`, `waiting` or `unknown`.
    pub verdict: &'static str,
    /// How many times likelier harm is than a healthy release.
    pub evidence: f64,
    /// What would be harm.
    pub needed: f64,
    /// The numbers in words.
    pub sentence: String,
}

/// Where the rollout of a service is; `None` when it has none.
pub(super) fn view<'w>(
    plan: &Plan,
    state: &State,
    watching: impl Fn(&str) -> Option<&'w Watching>,
) -> Option<RolloutView> {
    let (rollout, position) = (plan.rollout.as_ref()?, state.rollout.as_ref()?);
    let cohorts = rollout.cohorts();
    let of_cohort = |name: &&str| CohortView {
        name: (*name).to_owned(),
        share: ownership::in_force(plan, state, name).0.of(&position.to),
        shown: ownership::shown(plan, state, name, &position.to),
        seen: watching(name).map(Watching::seen).unwrap_or_default(),
        probes: 0,
    };
    let of_gates = |name: &&str| {
        let readings = watching(name).and_then(|watching| watching.reading.clone()).map(|reading| reading.gates);
        let cohort = (*name).to_owned();
        readings.into_iter().flatten().map(move |gate| GateView {
            cohort: cohort.clone(),
            gate: gate.gate.as_str().to_owned(),
            verdict: gate.verdict.as_str(),
            evidence: gate.evidence(),
            needed: gate.ln_needed.exp(),
            sentence: sentence(&gate, &[]),
        })
    };
    Some(RolloutView {
        service: plan.service.clone(),
        id: position.id.clone(),
        phase: state.phase,
        why: state.why.clone(),
        to: position.to.clone(),
        from: position.from.clone(),
        step: rollout.steps.get(position.step).map_or(rollout.written, |step| step.number),
        steps: rollout.written,
        cohorts: cohorts.iter().map(of_cohort).collect(),
        gates: cohorts.iter().flat_map(of_gates).collect(),
    })
}
