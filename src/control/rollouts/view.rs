//! Where rollouts are, for people and metrics.

use super::watching::Watching;
use crate::model::Weight;
use crate::rollout::judge::{Band, Detail, Gate, GateReading, Tally, Verdict, difference_band};
use crate::rollout::ownership;
use crate::rollout::plan::{Action, Plan, Rollout, Step};
use crate::rollout::state::{Phase, Position, State};
use siphasher::sip::SipHasher13;
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// How surely a difference lies within the band that is shown: 95 %.
pub const BAND_ALPHA: f64 = 0.05;

/// Where the rollout of a service is.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// The steps of the file, in order.
    pub plan: Vec<StepView>,
    /// How long it takes so far, as far as the process ran.
    pub elapsed: Duration,
    /// How long the step has been watched; pauses do not count.
    pub step_elapsed: Duration,
    /// The least time of the step; `None` when it waits for a person, or all are done.
    pub step_hold: Option<Duration>,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// The cohorts that the rollout names, in the order of its steps.
    pub cohorts: Vec<CohortView>,
    /// The judge's word, by cohort and gate.
    pub gates: Vec<GateView>,
}

/// One step of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct StepView {
    /// Its number, from 1.
    pub number: usize,
    /// The cohort that gets a share; `None` for an approval.
    pub cohort: Option<String>,
    /// The shares, in percent: several of a ramp, none of an approval.
    pub shares: Vec<Weight>,
    /// The groups of whom one must approve.
    pub approve: Vec<String>,
    /// The least time at each share.
    pub hold: Duration,
    /// It begins only while this window is open.
    pub window: Option<String>,
    /// How far the rollout is with it.
    pub progress: Progress,
}

/// How far a rollout is with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is over.
    Done,
    /// It is being done.
    Current,
    /// It comes later.
    Next,
}

/// What a cohort has of the new version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CohortView {
    /// The cohort.
    pub name: String,
    /// Percent of it.
    pub share: Weight,
    /// Percent of it by the file.
    pub in_file: Weight,
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
    /// Events of the new version since the step began.
    pub canary: Tally,
    /// Events of what it replaces.
    pub stable: Tally,
    /// The largest difference of the rates that is no harm, if the gate has such a limit.
    pub limit: Option<f64>,
    /// Numbers that only some gates have.
    pub detail: Detail,
    /// The two rates are of the same kind, so that their difference says something.
    pub is_comparison: bool,
}

impl RolloutView {
    /// Changes when there is something else to decide about: a phase, a step, a share.
    pub fn revision(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        let RolloutView { service, id, phase, to, from, step, plan, .. } = self;
        (service, id, phase, to, from, step).hash(&mut hasher);
        plan.iter().for_each(|step| (step.progress as u8).hash(&mut hasher));
        self.cohorts.iter().for_each(|cohort| (&cohort.name, cohort.share).hash(&mut hasher));
        hasher.finish()
    }
}

impl GateView {
    /// A gate that others answer with a word, and without numbers to compare.
    pub(in crate::control) fn of_word(cohort: &str, gate: &str, verdict: &'static str, sentence: String) -> GateView {
        GateView {
            cohort: cohort.to_owned(),
            gate: gate.to_owned(),
            verdict,
            evidence: f64::from(u8::from(verdict == Verdict::Harm.as_str())),
            needed: 1.0,
            sentence,
            canary: Tally::default(),
            stable: Tally::default(),
            limit: None,
            detail: Detail::None,
            is_comparison: false,
        }
    }

    /// There are two rates to compare.
    pub fn compares(&self) -> bool {
        self.is_comparison && self.canary.of > 0 && self.stable.of > 0
    }

    /// The new version's rate less that of what it replaces, and where it lies with [`BAND_ALPHA`]. `None` when there is
    /// nothing to compare.
    pub fn difference(&self) -> Option<(f64, Band)> {
        self.compares().then(|| {
            let band = difference_band(self.canary, self.stable, BAND_ALPHA);
            (self.canary.rate() - self.stable.rate(), band)
        })
    }
}

impl Progress {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Progress::Done => "done",
            Progress::Current => "current",
            Progress::Next => "next",
        }
    }
}

/// Where the rollout of a service is; `None` when it has none.
pub(super) fn view<'w>(
    plan: &Plan,
    state: &State,
    watching: impl Fn(&str) -> Option<&'w Watching>,
) -> Option<RolloutView> {
    let (rollout, position) = (plan.rollout.as_ref()?, state.rollout.as_ref()?);
    let cohorts = rollout.cohorts();
    // a cohort that no step has reached has counts and readings of the rollout before, which are nobody's business here
    let has_begun = |name: &&&str| position.given.contains_key(**name);
    let of_cohort = |name: &&str| CohortView {
        name: (*name).to_owned(),
        share: ownership::in_force(plan, state, name).0.of(&position.to),
        in_file: plan.in_file(name).map_or(Weight::ZERO, |split| split.of(&position.to)),
        shown: ownership::shown(plan, state, name, &position.to),
        seen: watching(name).filter(|_| has_begun(&name)).map(Watching::seen).unwrap_or_default(),
        probes: 0,
    };
    let of_gates = |name: &&str| {
        let watching = watching(name);
        let readings = watching.and_then(|watching| watching.reading.clone()).map(|reading| reading.gates);
        let cohort = (*name).to_owned();
        let readings = readings.into_iter().flatten();
        readings.filter_map(move |gate| Some(gate_view(&cohort, &gate, watching?)))
    };
    let step = rollout.steps.get(position.step);
    Some(RolloutView {
        service: plan.service.clone(),
        id: position.id.clone(),
        phase: state.phase,
        why: state.why.clone(),
        to: position.to.clone(),
        from: position.from.clone(),
        step: step.map_or(rollout.written, |step| step.number),
        steps: rollout.written,
        plan: steps(rollout, state.phase, position),
        elapsed: position.elapsed,
        step_elapsed: position.step_elapsed,
        step_hold: step.and_then(Step::shift).map(|shift| shift.hold),
        runbook: rollout.runbook.clone(),
        cohorts: cohorts.iter().map(of_cohort).collect(),
        gates: cohorts.iter().filter(has_begun).flat_map(of_gates).collect(),
    })
}

fn gate_view(cohort: &str, gate: &GateReading, watching: &Watching) -> GateView {
    let is_comparison = matches!(gate.gate, Gate::Errors | Gate::Latency | Gate::Outcome(_));
    GateView {
        cohort: cohort.to_owned(),
        gate: watching.name_of(gate.gate).to_owned(),
        verdict: gate.verdict.as_str(),
        evidence: gate.evidence(),
        needed: gate.ln_needed.exp(),
        sentence: watching.sentence(gate),
        canary: gate.canary,
        stable: gate.stable,
        limit: watching.limit(gate),
        detail: gate.detail,
        is_comparison: is_comparison && gate.verdict != Verdict::Unknown,
    }
}

/// The steps of the file: the values of a ramp are one.
fn steps(rollout: &Rollout, phase: Phase, position: &Position) -> Vec<StepView> {
    let of_number = |number: usize| {
        let unrolled = || rollout.steps.iter().enumerate().filter(move |(_, step)| step.number == number);
        let (_, first) = unrolled().next()?;
        let (at, last) = (unrolled().map(|(at, _)| at).next()?, unrolled().map(|(at, _)| at).next_back()?);
        let progress = match position.step {
            _ if phase == Phase::Promoted || position.step > last => Progress::Done,
            step if step > at || (step == at && phase.is_running()) => Progress::Current,
            // where a rollout ended
            step if step == at && position.begun.is_some() => Progress::Current,
            _ => Progress::Next,
        };
        let shift = first.shift();
        Some(StepView {
            number,
            cohort: shift.map(|shift| shift.cohort.clone()),
            shares: unrolled().filter_map(|(_, step)| step.shift()).map(|shift| shift.share).collect(),
            approve: match &first.action {
                Action::Approve(groups) => groups.clone(),
                Action::Shift(_) => Vec::new(),
            },
            hold: shift.map_or(Duration::ZERO, |shift| shift.hold),
            window: shift.and_then(|shift| shift.window.clone()),
            progress,
        })
    };
    (1..=rollout.written).filter_map(of_number).collect()
}
