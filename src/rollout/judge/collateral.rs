//! Collateral damage: stable itself gets worse while the canary runs, as when both share a database.
//!
//! The comparison with the canary cannot see it, because both suffer. What is left is stable's own past, which also
//! changes for other reasons; so by default harm here pauses and asks.

use super::floor::ln_likelihood_ratio;
use super::history::{History, slow_at_most};
use super::mixture::ln_sum;
use super::rules::CollateralRules;
use super::tick::{QUANTILE_LEVELS, QUANTILES, Tally};

/// Multiples of what is tolerated that are looked for.
const MULTIPLES: [f64; 4] = [1.5, 2.0, 4.0, 10.0];

/// Beyond it nothing is decided.
const LN_MAX: f64 = 700.0;

/// An e-detector (Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
/// 2024): the sum of e-processes of which one begins at each tick, so that it does not matter when stable got worse.
///
/// `M_t = LR_t · (M_{t−1} + 1)`. While stable is as it was, the mean time until M reaches A is at least A ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Detector {
    pub(crate) at_most: f64,
    /// `ln M` of each alternative.
    pub(crate) ln: [f64; MULTIPLES.len()],
}

/// The detectors of one cohort: errors, and slow requests by quantile.
#[derive(Clone, Debug, PartialEq)]
pub struct Collateral {
    pub(crate) errors: Option<Detector>,
    pub(crate) slow: [Detector; QUANTILES],
}

impl Detector {
    /// Of a rate that was at most this.
    pub fn new(at_most: f64) -> Detector {
        Detector { at_most, ln: [f64::NEG_INFINITY; MULTIPLES.len()] }
    }

    /// One tick.
    pub fn add(&mut self, tally: Tally) {
        if tally.of == 0 {
            return;
        }
        for (ln, multiple) in self.ln.iter_mut().zip(MULTIPLES) {
            let share = (self.at_most * multiple).min(0.5 + self.at_most / 2.0);
            let begun = ln_sum([*ln, 0.0].into_iter());
            *ln = (begun + ln_likelihood_ratio(self.at_most, share, tally)).min(LN_MAX);
        }
    }

    /// `ln M`, the alternatives weighing the same.
    pub fn ln_value(&self) -> f64 {
        ln_sum(self.ln.into_iter()) - (MULTIPLES.len() as f64).ln()
    }
}

impl Collateral {
    /// Detectors against stable's past. Without a past long enough, errors are not watched.
    pub fn new(past: Option<History>, rules: &CollateralRules, floor: f64) -> Collateral {
        let at_most = past.and_then(|past| past.errors_at_most(rules.ratio, floor));
        let slow = QUANTILE_LEVELS.map(|level| Detector::new(slow_at_most(level)));
        Collateral { errors: at_most.map(Detector::new), slow }
    }

    /// Stable's tick, by request. What counts as slow is frozen anew at each step, so of latency only what happened
    /// since then is seen.
    pub fn add(&mut self, errors: Tally, slow: &[Tally; QUANTILES]) {
        if let Some(detector) = &mut self.errors {
            detector.add(errors);
        }
        self.slow.iter_mut().zip(slow).for_each(|(detector, slow)| detector.add(*slow));
    }

    /// The quantile that speaks the loudest; `None` when errors do.
    pub fn loudest(&self) -> Option<usize> {
        let values = self.slow.each_ref().map(Detector::ln_value);
        let at = (1..QUANTILES).fold(0, |best, at| if values[at] > values[best] { at } else { best });
        let errors = self.errors.as_ref().map_or(f64::NEG_INFINITY, Detector::ln_value);
        (values[at] > errors).then_some(at)
    }

    /// Begins anew, against the same past.
    pub fn forget(&mut self) {
        self.errors.iter_mut().chain(&mut self.slow).for_each(|detector| *detector = Detector::new(detector.at_most));
    }

    /// `ln M`: half for errors, half for the quantiles, which is an e-detector again.
    pub fn ln_value(&self) -> f64 {
        let errors = self.errors.as_ref().map_or(f64::NEG_INFINITY, Detector::ln_value);
        let slow = ln_sum(self.slow.iter().map(Detector::ln_value)) - (QUANTILES as f64).ln();
        ln_sum([errors, slow].into_iter()) - std::f64::consts::LN_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stable_that_gets_worse_late_is_noticed_soon() {
        let past = History { errors: Tally::new(20, 20_000) };
        let mut collateral = Collateral::new(Some(past), &CollateralRules::default(), 0.001);
        let slow = [500, 100, 50, 10].map(|slow| Tally::new(slow, 1_000));
        (0..7_200).for_each(|_| collateral.add(Tally::new(1, 1_000), &slow));
        assert!(collateral.ln_value() < f64::ln(1e4), "{}", collateral.ln_value());
        let noticed = (0..60).find(|_| {
            collateral.add(Tally::new(10, 1_000), &slow);
            collateral.ln_value() > f64::ln(1e6)
        });
        assert!(noticed.is_some_and(|tick| tick < 10), "{noticed:?}");
    }

    /// At the very limit of what is tolerated an alarm within 2,000 ticks has at most the chance 2,000 / A.
    #[test]
    fn alarms_are_as_rare_as_promised() {
        let (runs, ticks, limit) = (200, 2_000, 40_000.0f64);
        let mut alarms = 0;
        for seed in 0..runs {
            let (mut rng, mut detector) = (fastrand::Rng::with_seed(seed), Detector::new(0.02));
            alarms += u64::from((0..ticks).any(|_| {
                let bad = (0..20).filter(|_| rng.f64() < 0.02).count() as u64;
                detector.add(Tally::new(bad, 20));
                detector.ln_value() >= limit.ln()
            }));
        }
        assert!(alarms <= 20, "{alarms} of {runs}");
    }
}
