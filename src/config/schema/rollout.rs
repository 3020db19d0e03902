//! `rollout` of a service: how a new version goes from nobody to everybody, and what stops it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::gates::{Gates, HarmAction, Judge};
use crate::config::values::{Duration, Percent};
use indexmap::IndexMap;

/// How a new version goes from nobody to everybody: step by step, watched, and back by itself when it does harm.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// The release's name. A new one is a new rollout, and the default salt: other users come first.
    pub id: String,
    /// The variant that is released.
    pub to: String,
    /// The variant that it replaces. Default: `stable`, or else the first variant.
    pub from: Option<String>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Percent of each cohort that stays with `from` as control, also at the end. Default 0.
    pub holdback: Option<Percent>,
    /// The longest that a step may wait for evidence, counted from its start. Default: no limit.
    pub max_hold: Option<Duration>,
    /// What happens after `maxHold` without evidence. Default `hold`.
    #[serde(default)]
    pub no_evidence: NoEvidence,
    /// The longest that the rollout may take, pauses included; after it, it is paused once. Default: no limit.
    pub max_duration: Option<Duration>,
    /// What happens when a gate finds harm.
    #[serde(default)]
    pub on_harm: OnHarm,
    /// What is watched. `errors`, `latency` and `sampleRatio` are on without being written.
    #[serde(default)]
    pub gates: Gates,
    /// How sure the judge must be.
    #[serde(default)]
    pub judge: Judge,
    /// Requests of our own, so that a cohort that is too small to speak gets a signal.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// Names of `notifiers`. Default: all of them.
    pub notify: Option<Vec<String>>,
    /// A link for whoever is called at night.
    pub runbook: Option<String>,
    /// After this long `check` and a metric name what is left over of it. Default 14d.
    pub expire_after: Option<Duration>,
}

impl super::Service {
    /// The salt of a service that has no secret one: a new rollout begins with other users.
    pub fn open_salt<'s>(&'s self, name: &'s str) -> &'s str {
        let of_rollout = self.rollout.as_ref().map(|rollout| rollout.id.as_str());
        self.salt.as_deref().or(of_rollout).unwrap_or(name)
    }
}

/// One step: a share for a cohort, or an approval.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Step {
    /// The cohort whose share changes.
    pub cohort: Option<String>,
    /// Percent of the cohort that gets `to`.
    pub weight: Option<Percent>,
    /// Several percentages, each a step with the same `hold` and `need`.
    pub ramp: Option<Vec<Percent>>,
    /// The least time at this share. Default 0s.
    pub hold: Option<Duration>,
    /// What must have been seen of `to` before the next step.
    pub need: Option<Need>,
    /// Time at the start of the step that the judge does not count. Default 0s.
    pub warmup: Option<Duration>,
    /// A window of time: the step begins only while it is open.
    pub window: Option<String>,
    /// Groups of people; one of their members must approve before the step begins.
    pub approve: Option<Vec<String>>,
    /// `safe`: the next step also waits until harm beyond what the gates allow can be excluded.
    pub until: Option<Until>,
}

/// What must have been seen of the new version, in the step's cohort and since its start.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Need {
    /// Requests. Default: `judge.minRequests`.
    pub requests: Option<u64>,
    /// Distinct users. Default 0.
    pub users: Option<u64>,
    /// Whether probes count as requests. Default `ignore`.
    pub probes: ProbeEvidence,
}

/// Whether probes count as evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProbeEvidence {
    /// They are shown, and do not count.
    #[default]
    Ignore,
    /// Each counts as a request.
    Count,
}

/// What a step waits for beside `hold` and `need`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Until {
    /// Harm beyond what the gates allow can be excluded.
    Safe,
}

/// What happens after `maxHold` without evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NoEvidence {
    /// It waits on.
    #[default]
    Hold,
    /// The next step begins.
    Advance,
    /// It is rolled back.
    Rollback,
}

/// What happens when a gate finds harm.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OnHarm {
    /// Default `rollback`.
    pub action: HarmAction,
    /// Who is taken back. Default `cohort`.
    pub scope: Scope,
    /// Percentages on the way back, falling, the last one 0. Default: at once.
    pub gradual: Vec<Percent>,
    /// How long each of them lasts. Default 30s.
    pub every: Option<Duration>,
}

/// Who is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// The cohort that is hurt.
    #[default]
    Cohort,
    /// All cohorts of the rollout.
    Rollout,
}

/// Scripted requests to the new version, recorded and shown apart from those of users.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// The cohort that it stands for.
    pub cohort: String,
    /// The path, with a query if need be.
    pub path: String,
    /// Default `GET`.
    pub method: Option<String>,
    /// Headers, such as those by which the cohort is known.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// How often. Default 10s.
    pub every: Option<Duration>,
    /// What must come back. Default: a status from 200 to 399.
    #[serde(default)]
    pub expect: ProbeExpect,
    /// What happens after three times in a row at which `to` did not answer so and `from` did. Default `pause`.
    pub on_harm: Option<HarmAction>,
}

/// What must come back of a probe.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProbeExpect {
    /// The status.
    pub status: Option<u16>,
    /// A text in the first 64 KiB of the body.
    pub contains: Option<String>,
}
