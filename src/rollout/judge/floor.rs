//! One group alone: does the event happen more often than in a fixed share of the exposures?

use super::mixture::Mixture;
use super::tick::Tally;

/// Multiples of the floor that are looked for.
const MULTIPLES: [f64; 4] = [2.0, 4.0, 10.0, 40.0];

/// Alternatives stay below this share: a certain event would make a single miss infinite evidence.
const SHARE_MAX: f64 = 0.99;

/// A one-sample e-process for "p ≤ floor at every tick".
///
/// Next to the ratio test it keeps rates near zero from deciding anything: three times one in a million hurts
/// nobody. Alone it compares a cohort with its own past (`history.rs`).
#[derive(Clone, Debug, PartialEq)]
pub struct FloorTest {
    pub(crate) floor: f64,
    pub(crate) mixture: Mixture,
}

impl FloorTest {
    /// A test of this share, above 0 and below 1.
    pub fn new(floor: f64) -> FloorTest {
        FloorTest { floor: floor.clamp(1e-9, 0.98), mixture: Mixture::new(MULTIPLES.len()) }
    }

    /// Begins now with a share of the whole evidence.
    pub fn start(&mut self, weight: f64) {
        self.mixture.start(weight);
    }

    /// What happened in one tick.
    pub fn add(&mut self, tally: Tally) {
        let floor = self.floor;
        if tally.of > 0 {
            self.mixture.add(|k| ln_likelihood_ratio(floor, alternative(floor, MULTIPLES[k]), tally));
        }
    }

    /// The logarithm of the evidence.
    pub fn ln_value(&self) -> f64 {
        self.mixture.ln_value()
    }
}

/// A multiple of the floor, or where that is no share, a point on the way from the floor to certainty.
fn alternative(floor: f64, multiple: f64) -> f64 {
    let share = floor * multiple;
    if share < SHARE_MAX { share } else { floor + (SHARE_MAX - floor) * (1.0 - 1.0 / multiple).max(0.5) }
}

/// `e·ln(g/f) + (n−e)·ln((1−g)/(1−f))`: of shares `g` against `f`.
pub(super) fn ln_likelihood_ratio(floor: f64, share: f64, tally: Tally) -> f64 {
    let misses = tally.of.saturating_sub(tally.events) as f64;
    tally.events as f64 * (share / floor).ln() + misses * ((-share).ln_1p() - (-floor).ln_1p())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_that_of_the_vectors() {
        for (bad, of, ln) in [(5, 500, 5.846848), (10, 500, 17.466493), (0, 1_000, -2.261303)] {
            let mut test = FloorTest::new(0.001);
            test.start(1.0);
            test.add(Tally::new(bad, of));
            assert!((test.ln_value() - ln).abs() < 1e-6, "{bad} of {of}: {}", test.ln_value());
        }
    }

    #[test]
    fn a_high_floor_can_still_be_exceeded() {
        let mut test = FloorTest::new(0.6);
        test.start(1.0);
        (0..10).for_each(|_| test.add(Tally::new(19, 20)));
        assert!(test.ln_value() > f64::ln(20.0), "{}", test.ln_value());
        let mut healthy = FloorTest::new(0.6);
        healthy.start(1.0);
        (0..10).for_each(|_| healthy.add(Tally::new(10, 20)));
        assert!(healthy.ln_value() < 0.0);
    }

    #[test]
    fn nobody_exposed_says_nothing() {
        let mut test = FloorTest::new(0.001);
        test.start(1.0);
        test.add(Tally::new(0, 0));
        assert!(test.ln_value().abs() < 1e-12);
    }
}
