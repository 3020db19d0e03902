//! A cohort without stable traffic at the same time, compared with its own time before the step.
//!
//! Weaker than a comparison at the same time, and said to be: whatever else changes with the step (the hour, a
//! campaign, a dependency) looks like the release. So the tolerances are wider, and only clear harm is noticed.
//! A `holdback` avoids it.

use super::bands::{BAND_REQUESTS, rate_band};
use super::floor::FloorTest;
use super::mixture::ln_sum;
use super::rules::ErrorRules;
use super::tick::{PAST_QUANTILES, QUANTILE_LEVELS, QUANTILES, Tally};

/// Requests from which a past says what is slow, and whether stable got worse.
pub const HISTORY_REQUESTS_MIN: u64 = 500;

/// How many times the rate of errors before the step, at its upper bound, is tolerated after it.
pub const PAST_ERRORS_RATIO: f64 = 2.0;

/// How many times as many may be slow as were before the step.
const SLOW_RATIO: f64 = 1.5;

/// The rate of errors that no past makes acceptable, be it as short as it likes; and where many of its few requests failed.
const ERRORS_MOST: (f64, f64) = (0.5, 0.9);

/// How surely the upper bound of the past's rate holds.
const BOUND_ALPHA: f64 = 0.01;

/// Stable's requests before the step, by request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Errors among those that finished.
    pub errors: Tally,
}

/// Errors and latency against the past: an e-process each.
#[derive(Clone, Debug, PartialEq)]
pub struct BeforeAfter {
    pub(crate) errors: FloorTest,
    pub(crate) slow: [FloorTest; PAST_QUANTILES],
    pub(crate) past: Option<History>,
}

impl History {
    /// The largest rate that the past allows, times what is tolerated. The shorter the past, the more it allows.
    pub(super) fn errors_at_most(&self, ratio: f64, floor: f64) -> f64 {
        (ratio * rate_band(self.errors, BAND_REQUESTS, BOUND_ALPHA).high).max(floor).min(self.ceiling())
    }

    fn ceiling(&self) -> f64 {
        if self.errors.rate() <= ERRORS_MOST.0 / 2.0 { ERRORS_MOST.0 } else { ERRORS_MOST.1 }
    }

    /// Long enough for what needs many requests.
    pub(super) fn is_long(&self) -> bool {
        self.errors.of >= HISTORY_REQUESTS_MIN
    }
}

impl Default for BeforeAfter {
    fn default() -> Self {
        let slow = std::array::from_fn(|at| FloorTest::new(slow_at_most(QUANTILE_LEVELS[at])));
        BeforeAfter { errors: FloorTest::new(0.5), slow, past: None }
    }
}

impl BeforeAfter {
    /// A step without control begins: what it is compared with, and its share of the evidence.
    pub fn start(&mut self, past: History, rules: Option<&ErrorRules>, weight: f64) {
        self.past = Some(past);
        // evidence that was gathered against an earlier past stays: each tick's ratio is fair given its own
        self.errors.floor = past.errors_at_most(PAST_ERRORS_RATIO, rules.map_or(0.001, |rules| rules.floor));
        self.restart(weight);
    }

    /// The past bounds the rate of errors; else only a canary that fails most of its requests is noticed.
    pub fn knows_errors(&self) -> bool {
        self.past.is_some_and(|past| self.errors.floor < past.ceiling())
    }

    /// The past says what is slow.
    pub fn knows_latency(&self) -> bool {
        self.past.is_some_and(|past| past.is_long())
    }

    /// Begins anew within the step.
    pub fn restart(&mut self, weight: f64) {
        if self.past.is_some() {
            self.errors.start(weight);
        }
        if self.knows_latency() {
            self.slow.iter_mut().for_each(|test| test.start(weight));
        }
    }

    /// The canary's tick.
    pub fn add(&mut self, errors: Tally, slow: &[Tally; QUANTILES]) {
        if self.past.is_some() {
            self.errors.add(errors);
        }
        if self.knows_latency() {
            self.slow.iter_mut().zip(slow).for_each(|(test, slow)| test.add(*slow));
        }
    }

    /// The logarithm of the evidence of errors.
    pub fn ln_errors(&self) -> f64 {
        self.errors.ln_value()
    }

    /// The logarithm of the evidence of latency.
    pub fn ln_slow(&self) -> f64 {
        ln_sum(self.slow.iter().map(FloorTest::ln_value)) - (PAST_QUANTILES as f64).ln()
    }

    /// The quantile that speaks the loudest.
    pub fn loudest(&self) -> usize {
        let values = self.slow.each_ref().map(FloorTest::ln_value);
        (1..PAST_QUANTILES).fold(0, |best, at| if values[at] > values[best] { at } else { best })
    }
}

/// The share of slow requests that is tolerated; never so large that it could not be exceeded.
pub(super) fn slow_at_most(level: f64) -> f64 {
    (SLOW_RATIO * (1.0 - level)).min(0.9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(bad: u64, seconds: u64) -> BeforeAfter {
        let mut test = BeforeAfter::default();
        let rules = ErrorRules { ratio: 1.2, floor: 0.001 };
        test.start(History { errors: Tally::new(40, 20_000) }, Some(&rules), 1.0);
        (0..seconds).for_each(|_| test.add(Tally::new(bad, 100), &[50, 10, 5, 1, 0].map(|slow| Tally::new(slow, 100))));
        test
    }

    #[test]
    fn clear_harm_is_noticed_and_ordinary_days_are_not() {
        assert!(after(5, 10).ln_errors() > f64::ln(20.0), "{}", after(5, 10).ln_errors());
        assert!(after(0, 300).ln_errors() < 0.0);
        assert!(after(0, 300).ln_slow() < 0.0);
    }

    #[test]
    fn a_slower_version_is_noticed() {
        let mut test = after(0, 0);
        (0..60).for_each(|_| test.add(Tally::new(0, 100), &[50, 10, 5, 5, 0].map(|slow| Tally::new(slow, 100))));
        assert!(test.ln_slow() > f64::ln(20.0), "{}", test.ln_slow());
        assert_eq!(test.loudest(), 3);
    }

    /// So many bad ones of 10 in each of 60 seconds, after a past of so many good requests.
    fn after_few(past: u64, bad: u64) -> BeforeAfter {
        let mut test = BeforeAfter::default();
        test.start(History { errors: Tally::new(0, past) }, None, 1.0);
        (0..60).for_each(|_| test.add(Tally::new(bad, 10), &[Tally::new(10, 10); QUANTILES]));
        test
    }

    #[test]
    fn the_shorter_a_past_the_more_it_allows() {
        let harm = f64::ln(20.0);
        // without any, only what fails more often than not is harm
        assert!(!after_few(0, 0).knows_errors());
        assert!(after_few(0, 7).ln_errors() > harm && after_few(0, 5).ln_errors() < 0.0);
        assert!(after_few(200, 0).knows_errors() && after_few(200, 0).ln_errors() < 0.0);
        assert!(after_few(200, 5).ln_errors() > harm);
        // slow is what a long past says
        assert!(!after_few(200, 0).knows_latency() && after_few(200, 0).ln_slow() == 0.0);
        assert!(after_few(500, 0).knows_latency() && after_few(500, 0).ln_slow() > harm);
    }
}
