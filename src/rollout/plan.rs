//! What the file wants of a service: its weights, and its rollout with ramps unrolled.

use std::time::Duration;

use super::split::Split;
use crate::model::Weight;

/// What the engine must know of a service's part of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The service.
    pub service: String,
    /// All variants, in the order of the file.
    pub variants: Vec<String>,
    /// The variant that takes what the others leave.
    pub remainder: String,
    /// The cohorts with their shares by the file, `everyone` last.
    pub file: Vec<(String, Split)>,
    /// The rollout, if there is one.
    pub rollout: Option<Rollout>,
}

/// A rollout as the file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// The release's name: a new one is a new rollout.
    pub id: String,
    /// The variant that is released.
    pub to: String,
    /// The variant that it replaces.
    pub from: String,
    /// What is done, in order; each value of a ramp is a step of its own.
    pub steps: Vec<Step>,
    /// How many steps stand in the file.
    pub written: usize,
    /// Percent of each cohort that stays with `from`.
    pub holdback: Weight,
    /// The longest that a step may wait for evidence, from its start.
    pub max_hold: Option<Duration>,
    /// What happens after that.
    pub no_evidence: NoEvidence,
    /// The longest that the rollout may take.
    pub max_duration: Option<Duration>,
    /// What happens when a gate finds harm.
    pub on_harm: OnHarm,
    /// After this long `check` names what is left over.
    pub expire_after: Duration,
    /// A link for whoever is called at night.
    pub runbook: Option<String>,
}

/// One step, with ramps unrolled.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its number in the file, from 1. The values of a ramp share one.
    pub number: usize,
    /// What is done.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A member of one of these groups must approve.
    Approve(Vec<String>),
    /// A cohort gets a share.
    Shift(Shift),
}

/// A share for a cohort, and what must be seen before the next step.
#[derive(Clone, Debug, PartialEq)]
pub struct Shift {
    /// The cohort.
    pub cohort: String,
    /// Percent of it that gets `to`, before the holdback.
    pub share: Weight,
    /// The least time at this share.
    pub hold: Duration,
    /// What must have been seen.
    pub need: Need,
    /// Time at the start that the judge does not count.
    pub warmup: Duration,
    /// It begins only while this window is open.
    pub window: Option<String>,
    /// The next step waits until harm can be excluded.
    pub is_until_safe: bool,
}

/// What must have been seen of the new version since the step began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Requests.
    pub requests: u64,
    /// Distinct users.
    pub users: u64,
    /// Probes count as requests.
    pub counts_probes: bool,
}

/// What happens when a step has waited long enough for evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEvidence {
    /// It waits on.
    Hold,
    /// The next step begins.
    Advance,
    /// It is rolled back.
    Rollback,
}

/// What happens when a gate finds harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnHarm {
    /// Taken back, or just stopped.
    pub action: HarmAction,
    /// Who is taken back.
    pub scope: Scope,
    /// Shares on the way back, falling; nothing means at once.
    pub gradual: Vec<Weight>,
    /// How long each of them lasts.
    pub every: Duration,
}

/// What harm does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HarmAction {
    /// The new version is taken away.
    Rollback,
    /// The rollout stops, and asks.
    Pause,
}

/// Who is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The cohort that is hurt.
    Cohort,
    /// All cohorts of the rollout.
    Rollout,
}

impl Plan {
    /// The shares that the file gives to a cohort.
    pub fn in_file(&self, cohort: &str) -> Option<&Split> {
        self.file.iter().find(|(name, _)| name == cohort).map(|(_, split)| split)
    }
}

impl Rollout {
    /// The share that a step really gives: less than all of it when a part is held back.
    pub fn share_of(&self, shift: &Shift) -> Weight {
        let most = Weight::from_micros(Weight::HUNDRED.micros().saturating_sub(self.holdback.micros()));
        shift.share.min(most)
    }

    /// The cohorts that the rollout names, each once, in the order of the steps.
    pub fn cohorts(&self) -> Vec<&str> {
        let mut cohorts = Vec::new();
        for shift in self.steps.iter().filter_map(Step::shift) {
            if !cohorts.contains(&shift.cohort.as_str()) {
                cohorts.push(shift.cohort.as_str());
            }
        }
        cohorts
    }

    /// True for a cohort that a step names.
    pub fn rules(&self, cohort: &str) -> bool {
        self.steps.iter().filter_map(Step::shift).any(|shift| shift.cohort == cohort)
    }

    /// The split of a cohort in which `to` has a share.
    pub fn split(&self, share: Weight) -> Split {
        Split::between(&self.to, share, &self.from)
    }
}

impl Step {
    /// The share that it gives, if it is not an approval.
    pub fn shift(&self) -> Option<&Shift> {
        match &self.action {
            Action::Shift(shift) => Some(shift),
            Action::Approve(_) => None,
        }
    }

    /// What it does, in words. Two steps that say the same have done the same, whatever they waited for.
    pub fn signature(&self) -> String {
        match &self.action {
            Action::Approve(groups) => format!("approve by {}", groups.join(", ")),
            Action::Shift(shift) => format!("{} {} %", shift.cohort, shift.share),
        }
    }
}
