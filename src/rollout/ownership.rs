//! Who owns a weight: which shares are in force for a cohort, and by whose word.
//!
//! 1. What was taken back stays back, until `retry` or a new id.
//! 2. Else what a person set.
//! 3. Else what the rollout gave, unless a person's edit superseded it.
//! 4. Else the file.

use super::effect::Source;
use super::plan::Plan;
use super::split::Split;
use super::state::{Phase, State};

/// The shares in force for a cohort, and who says so. A cohort that the file does not have is all `remainder`.
pub fn in_force(plan: &Plan, state: &State, cohort: &str) -> (Split, Source) {
    let by_file = || plan.in_file(cohort).cloned().unwrap_or_else(|| Split::all(&plan.remainder));
    let position = state.rollout.as_ref();
    if let Some(position) = position
        && let Some(back) = position.taken_back.get(cohort)
    {
        return (Split::between(&position.to, back.share, &position.from), Source::Rollback);
    }
    if let Some(pin) = state.pins.get(cohort) {
        return (pin.split.clone(), Source::Person { actor: pin.actor.clone(), reason: pin.reason.clone() });
    }
    if let Some(position) = position
        && !matches!(state.phase, Phase::Idle | Phase::Superseded)
        && let Some(given) = position.given.get(cohort)
    {
        let of = plan.rollout.as_ref().map_or(given.number, |rollout| rollout.written);
        let split = Split::between(&position.to, given.share, &position.from);
        return (split, Source::Step { number: given.number, of });
    }
    (by_file(), Source::File)
}

/// How much longer what a person set for a while holds: `, 42m more`.
pub fn time_left(state: &State, cohort: &str) -> String {
    let left = state.pins.get(cohort).and_then(|pin| pin.left);
    left.map_or(String::new(), |left| format!(", {} more", super::sentence::span(left)))
}

/// A share with its source: `10 % (rollout step 2/5; the file says 0)`.
pub fn shown(plan: &Plan, state: &State, cohort: &str, variant: &str) -> String {
    let (split, source) = in_force(plan, state, cohort);
    let in_file = plan.in_file(cohort).map_or(crate::model::Weight::ZERO, |split| split.of(variant));
    let by = match source {
        Source::File => return format!("{} % (the file)", split.of(variant)),
        Source::Step { number, of } => format!("rollout step {number}/{of}"),
        Source::Rollback => "rolled back".to_owned(),
        Source::Person { actor, .. } => format!("set by {actor}{}", time_left(state, cohort)),
    };
    format!("{} % ({by}; the file says {in_file})", split.of(variant))
}
