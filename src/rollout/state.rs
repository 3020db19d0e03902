//! Where a service's rollout is. Everything here outlives the process but the clock and what was told to the hands.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::plan::Plan;
use super::split::Split;
use crate::model::Weight;

/// How many rollouts that are over are remembered, the latest ones.
pub const ENDED_MAX: usize = 32;

/// Where a service's rollout is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The phase.
    pub phase: Phase,
    /// Why it is so, in words; empty when the phase says all.
    pub why: String,
    /// The rollout that is running, or was the last one to.
    pub rollout: Option<Position>,
    /// Shares that people set, by cohort.
    pub pins: BTreeMap<String, Pin>,
    /// The weights of the file as they were last seen, by cohort.
    pub file: BTreeMap<String, Split>,
    /// The weights in force, as they were last told to the hands.
    pub in_force: BTreeMap<String, Split>,
    /// Rollouts that are over, the latest last; at most [`ENDED_MAX`].
    pub ended: Vec<Ended>,
    /// Since when a variant has no share in any cohort, in milliseconds since 1970.
    pub without_share: BTreeMap<String, u64>,
    /// What is true of this process only.
    pub session: Session,
}

/// What is true of one process only, and not written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// The monotonic clock at the last input.
    pub last: Option<Duration>,
    /// Time that was counted since the state was last written.
    pub unsaved: Duration,
}

/// The phases of a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// There is no rollout.
    #[default]
    Idle,
    /// A step is being done.
    Progressing,
    /// A step waits for evidence, or evidence of harm is growing.
    Holding,
    /// It was stopped where it is.
    Paused,
    /// A step waits for a person.
    AwaitingApproval,
    /// A step waits for its window of time.
    AwaitingWindow,
    /// All steps are done; the gates watch on.
    Promoted,
    /// The new version was taken away, from a cohort or from everybody.
    RolledBack,
    /// A person's edit of the file rules.
    Superseded,
}

/// Where a rollout is.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// Its id.
    pub id: String,
    /// The variant that is released.
    pub to: String,
    /// The variant that it replaces.
    pub from: String,
    /// The step that is being done or comes next, from 0, ramps unrolled.
    pub step: usize,
    /// The step has begun; what it did, in words.
    pub begun: Option<String>,
    /// A person approved the step.
    pub is_approved: bool,
    /// What the steps that are over did, in words, to see whether the file still says the same.
    pub done: Vec<String>,
    /// What the steps gave, by cohort.
    pub given: BTreeMap<String, Given>,
    /// What the step's cohort had before it, for `skip`.
    pub before: Option<Given>,
    /// What was taken back, by cohort. Holds until `retry` or a new id.
    pub taken_back: BTreeMap<String, TakenBack>,
    /// Why it is paused.
    pub pause: Option<PauseCause>,
    /// How long it takes so far, as far as the process ran.
    pub elapsed: Duration,
    /// How long the step has been watched; pauses do not count.
    pub step_elapsed: Duration,
    /// The serial of the latest start of each cohort's judge.
    pub serials: BTreeMap<String, u64>,
    /// The latest serial of all.
    pub serial: u64,
    /// What was said once, and is not said again.
    pub told: Told,
    /// When it was promoted, rolled back or superseded, in milliseconds since 1970.
    pub ended_ms: Option<u64>,
}

/// What a step gave to a cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Percent of `to`.
    pub share: Weight,
    /// The step's number in the file.
    pub number: usize,
}

/// A cohort that was taken back, or is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBack {
    /// Percent of `to` now.
    pub share: Weight,
    /// The shares that follow, falling to 0; empty at the end of the way.
    pub way: Vec<Weight>,
    /// How long it has been at this share.
    pub elapsed: Duration,
    /// Why, in words.
    pub why: String,
}

/// A share that a person set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The shares of the cohort.
    pub split: Split,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// How much longer; `None` is until it is ended.
    pub left: Option<Duration>,
}

/// Why a rollout is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseCause {
    /// A person paused it.
    Person,
    /// A gate found harm.
    Harm,
    /// Steps that are done were changed in the file.
    PlanChanged,
    /// It took longer than `maxDuration`.
    TooLong,
    /// The state that was written was damaged, so it is not known what was done last.
    Damaged,
}

/// What was said once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// That the rollout takes too long.
    pub too_long: bool,
    /// That the step has no evidence.
    pub no_evidence: bool,
    /// That the new version gets nothing.
    pub starved: bool,
    /// That there is harm, where the engine does not act on it.
    pub harm: bool,
}

/// A rollout that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its id.
    pub id: String,
    /// How it was at the end.
    pub phase: Phase,
    /// Cohorts that were taken back.
    pub taken_back: Vec<String>,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}

impl Phase {
    /// All phases.
    pub const ALL: [Phase; 9] = [
        Phase::Idle,
        Phase::Progressing,
        Phase::Holding,
        Phase::Paused,
        Phase::AwaitingApproval,
        Phase::AwaitingWindow,
        Phase::Promoted,
        Phase::RolledBack,
        Phase::Superseded,
    ];

    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Progressing => "progressing",
            Phase::Holding => "holding",
            Phase::Paused => "paused",
            Phase::AwaitingApproval => "awaiting-approval",
            Phase::AwaitingWindow => "awaiting-window",
            Phase::Promoted => "promoted",
            Phase::RolledBack => "rolled-back",
            Phase::Superseded => "superseded",
        }
    }

    /// True while steps are still to be done and nobody has stopped it.
    pub fn is_moving(self) -> bool {
        matches!(self, Phase::Progressing | Phase::Holding | Phase::AwaitingApproval | Phase::AwaitingWindow)
    }

    /// True while an edit of the weights supersedes it.
    pub fn is_running(self) -> bool {
        self.is_moving() || self == Phase::Paused
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl State {
    /// An older state in the place of one that was damaged: what moved is stopped, until a person has looked.
    pub fn stopped(mut self, why: &str) -> State {
        if self.phase.is_moving() {
            self.phase = Phase::Paused;
            self.why = why.to_owned();
            self.rollout.iter_mut().for_each(|position| position.pause = Some(PauseCause::Damaged));
        }
        self
    }

    /// In the place of a state that is lost: the file rules, and nothing begins until a person says `retry`.
    pub fn lost(plan: &Plan, why: &str) -> State {
        let Some(rollout) = &plan.rollout else { return State::default() };
        State {
            phase: Phase::Superseded,
            why: why.to_owned(),
            rollout: Some(Position::new(&rollout.id, &rollout.to, &rollout.from)),
            ..State::default()
        }
    }
}

impl PauseCause {
    /// All causes.
    pub const ALL: [PauseCause; 5] =
        [PauseCause::Person, PauseCause::Harm, PauseCause::PlanChanged, PauseCause::TooLong, PauseCause::Damaged];

    /// The word in the state that is written.
    pub fn as_str(self) -> &'static str {
        match self {
            PauseCause::Person => "person",
            PauseCause::Harm => "harm",
            PauseCause::PlanChanged => "plan-changed",
            PauseCause::TooLong => "too-long",
            PauseCause::Damaged => "damaged",
        }
    }
}

impl Position {
    /// A rollout before its first step.
    pub fn new(id: &str, to: &str, from: &str) -> Position {
        Position {
            id: id.to_owned(),
            to: to.to_owned(),
            from: from.to_owned(),
            step: 0,
            begun: None,
            is_approved: false,
            done: Vec::new(),
            given: BTreeMap::new(),
            before: None,
            taken_back: BTreeMap::new(),
            pause: None,
            elapsed: Duration::ZERO,
            step_elapsed: Duration::ZERO,
            serials: BTreeMap::new(),
            serial: 0,
            told: Told::default(),
            ended_ms: None,
        }
    }
}
