//! What people ask of a rollout, and how they are answered.

use std::fmt;
use std::time::Duration;

use super::state::Phase;
use crate::model::Weight;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Their name.
    pub name: String,
    /// The groups that they are in, for approvals.
    pub groups: Vec<String>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// On to the next step, whatever this one still waits for.
    Promote,
    /// All steps at once.
    PromoteFull,
    /// Stop where it is.
    Pause,
    /// Go on; also ends the weights that people set.
    Resume,
    /// Take the new version away.
    Rollback {
        /// From whom; `None` is everybody.
        cohort: Option<String>,
        /// By the steps of `onHarm.gradual`, not at once.
        is_gradual: bool,
    },
    /// Begin again what was taken back or stopped.
    Retry,
    /// Let the step that waits for people begin.
    Approve,
    /// Leave this step out: its cohort gets back what it had before.
    Skip,
    /// Another share for a variant.
    SetWeight {
        /// In which cohort.
        cohort: String,
        /// For which variant.
        variant: String,
        /// Percent of the cohort.
        share: Weight,
        /// For how long; `None` is until `resume`, an edit, or a new rollout.
        lasts: Option<Duration>,
    },
}

/// How a command is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, and what was done.
    Done(String),
    /// It was so already: asking twice is asking once.
    Unchanged(String),
    /// It cannot be done in this phase.
    Refused(Phase, Refusal),
}

/// Why a command cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The service has no rollout.
    NoRollout,
    /// It is over: nothing is left to pause or to promote.
    Over,
    /// It is paused.
    Paused,
    /// A gate found harm, and that holds.
    Harm,
    /// It was rolled back, and that holds.
    RolledBack,
    /// A person's edit of the file rules.
    Superseded,
    /// There is evidence of harm, or was a moment ago.
    Frozen(String),
    /// A member of these groups must approve first.
    NeedsApproval(Vec<String>),
    /// Only members of these groups may approve.
    NotMember(Vec<String>),
    /// No step waits for approval.
    NothingToApprove,
    /// Nothing was taken back or stopped.
    NothingToRetry,
    /// Nothing is being done that could be left out.
    NothingToSkip,
    /// The step may begin only in its window.
    WindowClosed(String),
    /// Steps that are done were changed in the file.
    PlanChanged(String),
    /// The state cannot be written, so nothing may rise.
    CannotPersist,
    /// There is no such cohort, or the rollout does not name it.
    UnknownCohort(String),
    /// There is no such variant.
    UnknownVariant(String),
    /// The other variants leave less than that.
    TooMuch,
    /// It is not as it was when whoever asks looked.
    Moved,
}

impl Command {
    /// The word on the command line.
    pub fn as_str(&self) -> &'static str {
        match self {
            Command::Promote => "promote",
            Command::PromoteFull => "promote --full",
            Command::Pause => "pause",
            Command::Resume => "resume",
            Command::Rollback { .. } => "rollback",
            Command::Retry => "retry",
            Command::Approve => "approve",
            Command::Skip => "skip",
            Command::SetWeight { .. } => "set-weight",
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Done(text) | Answer::Unchanged(text) => f.write_str(text),
            Answer::Refused(phase, refusal) => write!(f, "refused while {phase}: {refusal}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoRollout => f.write_str("the service has no rollout; add one to the file"),
            Refusal::Over => f.write_str("the rollout is over; a new id begins a new one"),
            Refusal::Paused => f.write_str("it is paused; type `resume` first"),
            Refusal::Harm => f.write_str("a gate found harm; type `retry` to begin again, or `rollback`"),
            Refusal::RolledBack => f.write_str("it was rolled back; type `retry`, or give the rollout a new id"),
            Refusal::Superseded => {
                f.write_str("the file rules: it was edited, or the state was lost; type `retry`, or give it a new id")
            }
            Refusal::Frozen(why) => write!(f, "no share may grow now ({why}); wait, or type `rollback`"),
            Refusal::NeedsApproval(groups) => write!(f, "a member of {} must approve first", groups.join(" or ")),
            Refusal::NotMember(groups) => write!(f, "only members of {} may approve", groups.join(" or ")),
            Refusal::NothingToApprove => f.write_str("no step waits for approval"),
            Refusal::NothingToRetry => f.write_str("nothing was taken back or stopped"),
            Refusal::NothingToSkip => f.write_str("no step is being done that could be left out"),
            Refusal::WindowClosed(window) => write!(f, "the window `{window}` is closed; wait, or type `skip`"),
            Refusal::PlanChanged(what) => write!(f, "{what}; put it back, type `retry`, or give it a new id"),
            Refusal::CannotPersist => f.write_str("the state cannot be written; see the log, then try again"),
            Refusal::UnknownCohort(name) => write!(f, "the rollout names no cohort `{name}`"),
            Refusal::UnknownVariant(name) => write!(f, "there is no variant `{name}`"),
            Refusal::Moved => f.write_str("it has changed since you looked; look again, then ask"),
            Refusal::TooMuch => f.write_str("the other variants leave less than that"),
        }
    }
}
