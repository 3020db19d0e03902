//! What the judge says.

use super::bands::difference_band;
use super::rules::{JudgeRules, OnHarm};
use super::tick::Tally;

use crate::rollout::input;

/// How surely harm beyond what is allowed is excluded by `until: safe`.
const SAFE_ALPHA: f64 = 0.05;

/// The judge's word on a cohort after a tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The tick's second.
    pub at_s: u64,
    /// Each gate, in a fixed order.
    pub gates: Vec<GateReading>,
    /// The logarithm of the combined evidence of the rollback class.
    pub ln_combined: f64,
    /// Where the combined evidence becomes harm: `ln(1/α)`.
    pub ln_needed: f64,
    /// What follows.
    pub decision: Decision,
    /// The canary has a share and got nothing for a minute, while stable did.
    pub is_silent: bool,
}

/// What follows from the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing stands against going on.
    Clear,
    /// The share must not grow.
    Frozen,
    /// Harm: latched until the judge is made anew or, for a pause, a person resumes.
    Harm(OnHarm),
}

/// One gate.
#[derive(Clone, Debug, PartialEq)]
pub struct GateReading {
    /// Which.
    pub gate: Gate,
    /// Its verdict.
    pub verdict: Verdict,
    /// What follows from its harm.
    pub on_harm: OnHarm,
    /// The logarithm of its evidence.
    pub ln_evidence: f64,
    /// Where its evidence would be harm on its own.
    pub ln_needed: f64,
    /// The canary's events since the step began, by request.
    pub canary: Tally,
    /// Stable's, at the same time; or before the step, if that is what it is compared with.
    pub stable: Tally,
    /// What else there is to say.
    pub detail: Detail,
}

/// What a gate looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    /// Errors.
    Errors,
    /// Latency.
    Latency,
    /// A business outcome, by its place in the rules.
    Outcome(usize),
    /// Users per variant against the weights.
    SampleRatio,
    /// The error budget.
    Burn,
    /// Stable itself against its time before.
    Collateral,
}

/// A gate's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing against going on.
    Pass,
    /// The canary does harm.
    Harm,
    /// Not enough data, or enough evidence to wait but not to act.
    Waiting,
    /// There is nothing to compare with, or the source failed: this gate neither promotes nor takes back.
    Unknown,
}

/// Numbers that only some gates have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detail {
    /// None.
    None,
    /// Compared with stable's past: weaker than with stable at the same time.
    Before,
    /// Compared with nothing: nobody is on stable, and its past is too short.
    Alone,
    /// Stable's latencies are not known well enough to say what is slow.
    Unfrozen,
    /// The quantile that speaks the loudest, with what counts as slow.
    Slow {
        /// The quantile, 0 to 1.
        level: f64,
        /// In microseconds.
        stable_us: u64,
        /// In microseconds.
        canary_us: u64,
        /// Compared with stable's past.
        before: bool,
    },
    /// Share of users that the weights give to the canary.
    Share(f64),
    /// Burn rates over the long and the short window, and what is allowed.
    Burn {
        /// Over the long window.
        long: f64,
        /// Over the short one.
        short: f64,
        /// Allowed.
        above: f64,
    },
}

impl Verdict {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Harm => "harm",
            Verdict::Waiting => "waiting",
            Verdict::Unknown => "unknown",
        }
    }
}

impl Gate {
    /// The word of the contract; outcomes have the name that the rules give them.
    pub fn as_str(self) -> &'static str {
        match self {
            Gate::Errors => "errors",
            Gate::Latency => "latency",
            Gate::Outcome(_) => "outcome",
            Gate::SampleRatio => "sampleRatio",
            Gate::Burn => "burn",
            Gate::Collateral => "collateral",
        }
    }
}

impl GateReading {
    /// Evidence as people read it: how many times likelier the harm is than the healthy release.
    pub fn evidence(&self) -> f64 {
        self.ln_evidence.exp()
    }
}

impl Decision {
    /// The same for the engine.
    pub fn verdict(self) -> input::Verdict {
        match self {
            Decision::Harm(OnHarm::Rollback) => input::Verdict::Harm,
            Decision::Harm(OnHarm::Pause) => input::Verdict::PausingHarm,
            Decision::Frozen => input::Verdict::Frozen,
            Decision::Clear => input::Verdict::Clear,
        }
    }
}

impl Reading {
    /// Errors beyond what is allowed can be excluded.
    pub fn is_safe(&self, rules: &JudgeRules) -> bool {
        let Some(rules) = &rules.errors else { return true };
        let Some(gate) = self.gates.iter().find(|gate| gate.gate == Gate::Errors) else { return true };
        difference_band(gate.canary, gate.stable, SAFE_ALPHA).high <= rules.limit(gate.stable.rate())
    }

    /// The gate that speaks the loudest among those whose verdict is harm, or among all.
    pub fn loudest(&self) -> Option<&GateReading> {
        let margin = |gate: &GateReading| gate.ln_evidence - gate.ln_needed;
        let rank = |gate: &GateReading| (gate.verdict == Verdict::Harm, margin(gate));
        self.gates.iter().max_by(|a, b| {
            let ((harm, margin), (other, than)) = (rank(a), rank(b));
            harm.cmp(&other).then(margin.total_cmp(&than))
        })
    }
}
