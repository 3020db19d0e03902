//! The judge: does the canary do harm? Pure code: no clock, no files, no threads.
//!
//! Canary and stable are compared second by second, among the same cohort, by tests that may be looked at all the
//! time without raising false alarms. `docs/statistics.md` has the formulas, their proofs, and what was measured.
//!
//! A [`Judge`] is given a [`Tick`] each second and returns a [`Reading`]. It does not know how the counts came about,
//! what a rollout is, or what is done about harm.

mod bands;
mod buckets;
mod burn;
mod cohort;
mod collateral;
mod combine;
mod floor;
mod gates;
mod history;
mod latency;
mod mixture;
mod outcomes;
mod power;
mod ratio;
mod reading;
mod rules;
mod sample_ratio;
mod saved;
mod schedule;
mod sentence;
pub mod simulation;
mod special;
#[cfg(test)]
mod tests;
mod tick;
mod words;

pub use bands::{BAND_REQUESTS, Band, difference_band, quantile_band, rate_band};
pub use buckets::{Counted, GROUPS, GroupSet, Met, MetOutcome};
pub use burn::CELLS;
pub use cohort::{Judge, StepStart};
pub use history::{HISTORY_REQUESTS_MIN, History, PAST_ERRORS_RATIO};
pub use latency::{FREEZE_REQUESTS_MIN, Thresholds};
pub use mixture::STARTS_MAX;
pub use outcomes::TOLERATED_MIN;
pub use power::{Preview, requests_needed};
pub use reading::{Decision, Detail, Gate, GateReading, Reading, Verdict};
pub use rules::{
    BurnRules, BurnWindow, CollateralRules, ErrorRules, JudgeRules, LatencyRules, OnHarm, OutcomeRules, Unit,
};
pub use schedule::starts_of_step;
pub use sentence::sentence;
pub use tick::{QUANTILE_LEVELS, QUANTILES, Side, Tally, Tick, Users};
