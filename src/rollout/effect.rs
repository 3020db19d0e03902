//! What the engine wants done, in the order in which it must be done.

use std::time::Duration;

use super::command::Answer;
use super::split::Split;

/// Something for the hands to do.
///
/// Shares that fall come before [`Effect::Persist`], so that no disk delays a rollback; shares that rise after it, so
/// that a process that dies never comes back with less than it had told. Answers come last: what was answered is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A cohort is split like this from now on.
    SetWeights {
        /// The cohort.
        cohort: String,
        /// Its shares.
        split: Split,
        /// By whom.
        source: Source,
    },
    /// The state must be written.
    Persist,
    /// The judge begins to count a cohort anew, or goes on with what it has of this serial.
    StartStep {
        /// The cohort.
        cohort: String,
        /// Goes into the readings.
        serial: u64,
        /// Time that does not count.
        warmup: Duration,
        /// The process began anew: counts of this serial that were kept are still good.
        is_resumed: bool,
    },
    /// For the audit log, and for who watches.
    Record(Event),
    /// For who must be told.
    Notify(Event),
    /// For who asked.
    Answer(Answer),
}

/// Who says how a cohort is split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The file.
    File,
    /// A step of the rollout.
    Step {
        /// Its number, from 1.
        number: usize,
        /// Of how many.
        of: usize,
    },
    /// A rollback.
    Rollback,
    /// A person, by `set-weight`.
    Person {
        /// Who.
        actor: String,
        /// Why.
        reason: String,
    },
}

/// Something that happened to a rollout, or to the process (then the service is empty).
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The service.
    pub service: String,
    /// The rollout's id, if there is one.
    pub rollout: Option<String>,
    /// The cohort that it is about.
    pub cohort: Option<String>,
    /// Who did it; `None` is the engine.
    pub actor: Option<String>,
    /// Why, in the words of who did it.
    pub reason: Option<String>,
    /// The whole of it in one sentence.
    pub sentence: String,
    /// The numbers behind it.
    pub numbers: Vec<(String, String)>,
    /// Where to read what to do.
    pub runbook: Option<String>,
}

macro_rules! kinds {
    ($($name:ident $word:literal $is_told:literal $meaning:literal,)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum EventKind {
            $(#[doc = $meaning] $name,)*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$name),*];

            /// The word of events, audit and notifications.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(EventKind::$name => $word,)*
                }
            }

            /// True when people are told; the others are only recorded.
            pub fn is_told(self) -> bool {
                match self {
                    $(EventKind::$name => $is_told,)*
                }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(EventKind::$name => $meaning,)*
                }
            }
        }
    };
}

kinds! {
    Started "started" true "a rollout began",
    StepBegan "step-began" false "a cohort got its next share",
    StepPassed "step-passed" false "a step has seen all that it needed",
    Holding "holding" false "a step waits for evidence, or evidence of harm is growing",
    AwaitingApproval "awaiting-approval" true "a step waits for a person",
    Approved "approved" true "a person approved",
    AwaitingWindow "awaiting-window" false "a step waits for its window of time",
    NoEvidence "no-evidence" true "a step has waited for evidence as long as `maxHold` allows",
    Starved "starved" true "the new version has a share, and gets nothing",
    Promoted "promoted" true "all steps are done",
    Harm "harm" true "a gate found harm, and a person decides",
    RolledBack "rolled-back" true "the new version was taken away",
    FurtherBack "further-back" false "the next step of a gradual way back",
    Paused "paused" true "the rollout was stopped where it is",
    Resumed "resumed" true "the rollout goes on",
    Retried "retried" true "what was taken back or stopped begins again",
    Skipped "skipped" true "a step was left out",
    PromotedByPerson "promoted-by-person" true "a person did not wait for a step",
    Superseded "superseded" true "a person's edit of the file rules from now on",
    EditIgnored "edit-ignored" true "an edit of the file does not undo a rollback",
    PlanChanged "plan-changed" true "the plan of a running rollout was edited",
    Removed "removed" true "the rollout was removed from the file",
    WeightSet "weight-set" true "a person set a share",
    WeightEnded "weight-ended" true "a share that a person had set has ended",
    TooLong "too-long" true "the rollout takes longer than `maxDuration`",
    ReloadApplied "reload-applied" false "other files are in force",
    ReloadRejected "reload-rejected" false "other files were refused, and nothing changed",
    Drain "drain" false "the process finishes what is in flight and ends",
    LogLevel "log-level" false "another level of log lines is in force",
    EndpointDrained "endpoint-drained" false "a person took an endpoint out of use",
    EndpointReady "endpoint-ready" false "a person put an endpoint back into use",
}
