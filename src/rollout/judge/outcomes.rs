//! What the business counts: orders, sign-ups. Here fewer are worse.

use super::ratio::RatioTest;
use super::tick::Tally;

/// Ratios of a business rate that are looked for; all below what is tolerated. None is 0, which a single order
/// of the canary would refute for ever.
pub const OUTCOME_RATIOS: [f64; 6] = [0.1, 0.25, 0.5, 0.65, 0.8, 0.9];

/// The largest ratio that can be tolerated, so that every alternative lies below it.
pub const TOLERATED_MIN: f64 = 0.91;

/// An e-process for "the canary's rate is at least `tolerated` times stable's", among eligible successful requests.
#[derive(Clone, Debug, PartialEq)]
pub struct OutcomeTest {
    pub(crate) test: RatioTest,
}

impl OutcomeTest {
    /// A test that tolerates this ratio: 0.97 for "3 % fewer orders are all right"; between [`TOLERATED_MIN`] and 1.
    pub fn new(tolerated: f64) -> OutcomeTest {
        OutcomeTest { test: RatioTest::new(tolerated.clamp(TOLERATED_MIN, 1.0), &OUTCOME_RATIOS) }
    }

    /// Begins now with a share of the whole evidence.
    pub fn start(&mut self, weight: f64) {
        self.test.start(weight);
    }

    /// Events among those eligible in one tick. Of one variant alone they are not compared: those that are posted come in
    /// batches, of which one may be of another hour than the next.
    pub fn add(&mut self, canary: Tally, stable: Tally) {
        self.test.add(canary, stable);
        self.test.interrupt();
    }

    /// The logarithm of the evidence.
    pub fn ln_value(&self) -> f64 {
        self.test.ln_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(canary_orders: u64, seconds: u64) -> f64 {
        let mut test = OutcomeTest::new(0.97);
        test.start(1.0);
        (0..seconds).for_each(|_| test.add(Tally::new(canary_orders, 100), Tally::new(100, 1_000)));
        test.ln_value()
    }

    #[test]
    fn fewer_orders_are_noticed() {
        assert!(evidence(0, 1) > 4.0, "{}", evidence(0, 1));
        assert!(evidence(5, 5) > f64::ln(20.0), "{}", evidence(5, 5));
    }

    #[test]
    fn as_many_or_more_are_not() {
        for orders in [10, 20] {
            assert!(evidence(orders, 200) < 0.0);
        }
    }
}
