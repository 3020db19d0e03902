//! What the engine is told: the time, what was seen of each cohort, what people ask.

use std::time::Duration;

use super::command::{Actor, Command};

/// Everything that the engine is told at once. Something of it is true at every moment, so all of it is always there.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// When.
    pub now: Moment,
    /// What the judge says of each cohort that has begun; a cohort that is missing was not seen.
    pub readings: Vec<CohortReading>,
    /// The windows of time that are open.
    pub open_windows: Vec<String>,
    /// The state can be written. While it cannot, nothing advances; rollbacks go on.
    pub can_persist: bool,
    /// What happened.
    pub happened: Happened,
}

/// A moment, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By a clock that never goes back, from any beginning. All waiting is measured by it.
    pub monotonic: Duration,
    /// Milliseconds since 1970. For the record only: it may leap, and decides nothing.
    pub unix_ms: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// The process has begun, with the state of an earlier one or a new one: weights and steps are told again.
    Started,
    /// A second has passed, or the file was loaded again: the engine compares it by itself.
    Tick,
    /// Someone asks for something.
    Asked {
        /// Who.
        actor: Actor,
        /// Why, in their words.
        reason: String,
        /// For what.
        command: Command,
    },
}

/// What the judge says of a cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct CohortReading {
    /// The cohort.
    pub cohort: String,
    /// The serial of [`super::effect::Effect::StartStep`] from which it counts. Readings of another one are ignored.
    pub serial: u64,
    /// What it comes to.
    pub verdict: Verdict,
    /// Harm beyond what the gates allow can be excluded.
    pub is_safe: bool,
    /// `to` has a share, and got nothing for a minute in which `from` got some.
    pub is_starved: bool,
    /// Requests of users that `to` answered since the step began.
    pub requests: u64,
    /// Distinct users of `to` since then.
    pub users: u64,
    /// Probes since then.
    pub probes: u64,
    /// The gate that says most, such as `errors`.
    pub gate: String,
    /// The numbers in words: `errors 2.3 % against stable 0.07 %, n = 4,118, evidence 31 of 20`.
    pub sentence: String,
    /// The numbers behind it, by name, for the record.
    pub numbers: Vec<(String, String)>,
}

/// What the gates of a cohort come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against it.
    Clear,
    /// A source cannot be asked: no reason to go on, and none to go back.
    Unknown,
    /// Evidence of harm is growing: nothing rises.
    Frozen,
    /// Harm, by a gate that stops the rollout.
    PausingHarm,
    /// Harm, by a gate that takes the version away.
    Harm,
}
