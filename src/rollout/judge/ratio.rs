//! Two groups at the same time: does the canary meet the event more often than `tolerated` times as often as stable?

use super::mixture::Mixture;
use super::tick::Tally;

/// Ratios of error rates that are looked for.
pub const ERROR_RATIOS: [f64; 6] = [1.5, 2.0, 3.0, 5.0, 10.0, 30.0];

/// Ratios of the rates of slow requests that are looked for.
pub const LATENCY_RATIOS: [f64; 6] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0];

/// The exposure-conditioned rate ratio test, an e-process for "p_canary ≤ tolerated · p_stable at every tick".
///
/// The base rate, its drift and the weights of the variants may be anything: only what happens in the same tick is
/// compared, given how many were exposed in it. With alternatives below `tolerated` it tests the other direction,
/// "p_canary ≥ tolerated · p_stable", by the same proof (`docs/statistics.md`).
#[derive(Clone, Debug, PartialEq)]
pub struct RatioTest {
    tolerated: f64,
    ratios: &'static [f64],
    pub(crate) mixture: Mixture,
    waiting: Waiting,
}

/// What happened to the canary while nobody was exposed to stable. A service of a request a second has hardly a tick with
/// both.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Waiting {
    canary: Tally,
    ticks: u32,
}

/// For how many ticks the canary waits for something to be compared with. Beyond, what was is too long ago.
const WAITING_TICKS_MAX: u32 = 60;

impl RatioTest {
    /// A test that tolerates this ratio (> 0) and looks for `ratios`, all of them above it, or all below.
    pub fn new(tolerated: f64, ratios: &'static [f64]) -> RatioTest {
        RatioTest { tolerated, ratios, mixture: Mixture::new(ratios.len()), waiting: Waiting::default() }
    }

    /// Begins now with a share of the whole evidence.
    pub fn start(&mut self, weight: f64) {
        self.mixture.start(weight);
        self.interrupt();
    }

    /// A weight changes: what waits is not compared with what comes after it.
    pub fn interrupt(&mut self) {
        self.waiting = Waiting::default();
    }

    /// What happened to both in one tick. With nobody exposed to stable the canary's waits for the next tick with somebody,
    /// up to [`WAITING_TICKS_MAX`]: when that is depends on who comes and not on what happens to them. With nobody exposed
    /// to the canary there is nothing to compare.
    pub fn add(&mut self, canary: Tally, stable: Tally) {
        let (tolerated, ratios) = (self.tolerated, self.ratios);
        self.waiting.canary.add(canary);
        if self.waiting.canary.of == 0 {
            return;
        }
        if stable.of > 0 {
            let canary = std::mem::take(&mut self.waiting).canary;
            self.mixture.add(|k| ln_likelihood_ratio(tolerated, ratios[k], canary, stable));
        } else {
            self.waiting.ticks += 1;
            if self.waiting.ticks >= WAITING_TICKS_MAX {
                self.interrupt();
            }
        }
    }

    /// The logarithm of the evidence.
    pub fn ln_value(&self) -> f64 {
        self.mixture.ln_value()
    }
}

/// `ln(r/r0)·e_c + e·[ln(1−ρ+ρ·r0) − ln(1−ρ+ρ·r)]` with ρ the canary's part of the exposures; 0 for a ratio on the
/// tolerated side, which would be no test.
fn ln_likelihood_ratio(tolerated: f64, ratio: f64, canary: Tally, stable: Tally) -> f64 {
    let share = canary.of as f64 / (canary.of as f64 + stable.of as f64);
    let of_both = canary.events as f64 + stable.events as f64;
    let pull = (share * (tolerated - 1.0)).ln_1p() - (share * (ratio - 1.0)).ln_1p();
    (ratio / tolerated).ln() * canary.events as f64 + of_both * pull
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// (bad of the canary, bad of stable, exposed of the canary, exposed of stable), by tick.
    type Ticks = &'static [(u64, u64, u64, u64)];

    fn evidence(tolerated: f64, ticks: Ticks) -> f64 {
        let mut test = RatioTest::new(tolerated, &ERROR_RATIOS);
        test.start(1.0);
        for (bad, bad_stable, exposed, exposed_stable) in ticks.iter().copied() {
            test.add(Tally::new(bad, exposed), Tally::new(bad_stable, exposed_stable));
        }
        test.ln_value()
    }

    #[test]
    fn evidence_is_that_of_the_vectors() {
        let table: [(Ticks, f64, f64); 6] = [
            (&[(1, 0, 10, 990)], 1.984483, 1.804160),
            (&[(3, 0, 30, 2970)], 7.718489, 7.177518),
            (&[(5, 100, 500, 49_500)], 2.897259, 2.195441),
            (&[(10, 99, 500, 49_500)], 11.999783, 10.394350),
            (&[(0, 99, 500, 49_500)], -1.656080, -1.458278),
            (&[(2, 10, 50, 950), (4, 9, 100, 900)], 2.324946, 1.607855),
        ];
        for (ticks, at_one, at_1_2) in table {
            assert!((evidence(1.0, ticks) - at_one).abs() < 1e-6, "{ticks:?}: {}", evidence(1.0, ticks));
            assert!((evidence(1.2, ticks) - at_1_2).abs() < 1e-6, "{ticks:?}: {}", evidence(1.2, ticks));
        }
    }

    #[test]
    fn each_ratio_has_the_evidence_of_its_vector() {
        let expected = [1.503634, 2.420951, 3.413786, 3.929015, 2.464267, -9.731446];
        for (ratio, ln) in ERROR_RATIOS.into_iter().zip(expected) {
            let found = ln_likelihood_ratio(1.0, ratio, Tally::new(5, 500), Tally::new(100, 49_500));
            assert!((found - ln).abs() < 1e-6, "{ratio}: {found}");
        }
    }

    #[test]
    fn one_group_alone_says_nothing() {
        assert_eq!(evidence(1.2, &[(5, 0, 10, 0)]), 0.0);
        assert_eq!(evidence(1.2, &[(0, 7, 0, 10), (5, 0, 10, 0)]), 0.0);
    }

    #[test]
    fn the_canary_waits_for_something_to_be_compared_with() {
        let together = evidence(1.2, &[(5, 7, 10, 10)]);
        assert_eq!(evidence(1.2, &[(2, 0, 4, 0), (0, 0, 0, 0), (3, 7, 6, 10)]), together);
        let mut test = RatioTest::new(1.2, &ERROR_RATIOS);
        test.start(1.0);
        // a request a second: one to the canary, which fails, then two to stable, which do not
        for _ in 0..10 {
            test.add(Tally::new(1, 1), Tally::new(0, 0));
            test.add(Tally::new(0, 0), Tally::new(0, 1));
            test.add(Tally::new(0, 0), Tally::new(0, 1));
        }
        assert!(test.ln_value() > f64::ln(20.0), "{}", test.ln_value());
    }

    #[test]
    fn the_canary_does_not_wait_for_ever_nor_for_another_weight() {
        let mut test = RatioTest::new(1.2, &ERROR_RATIOS);
        test.start(1.0);
        test.add(Tally::new(1, 1), Tally::new(0, 0));
        test.interrupt();
        test.add(Tally::new(0, 0), Tally::new(0, 5));
        test.add(Tally::new(1, 1), Tally::new(0, 0));
        (1..WAITING_TICKS_MAX).for_each(|_| test.add(Tally::new(0, 0), Tally::new(0, 0)));
        test.add(Tally::new(0, 0), Tally::new(0, 5));
        assert_eq!(test.ln_value(), 0.0);
    }

    #[test]
    fn a_start_that_comes_late_forgets_what_was() {
        let mut test = RatioTest::new(1.2, &ERROR_RATIOS);
        test.start(0.5);
        (0..600).for_each(|_| test.add(Tally::new(0, 5), Tally::new(10, 500)));
        test.start(0.5);
        (0..20).for_each(|_| test.add(Tally::new(1, 5), Tally::new(10, 500)));
        assert!(test.ln_value() > f64::ln(20.0), "{}", test.ln_value());
        assert!(test.mixture.starts[0].ln[5] < 0.0);
    }

    /// The mean of the likelihood ratio over all that can happen in a tick.
    fn mean(tolerated: f64, ratio: f64, (n_c, n_s): (u64, u64), (p_c, p_s): (f64, f64)) -> f64 {
        let mut sum = 0.0;
        for bad in 0..=n_c {
            for bad_stable in 0..=n_s {
                let chance = binomial(bad, n_c, p_c) * binomial(bad_stable, n_s, p_s);
                let ln = ln_likelihood_ratio(tolerated, ratio, Tally::new(bad, n_c), Tally::new(bad_stable, n_s));
                sum += chance * ln.exp();
            }
        }
        sum
    }

    fn binomial(k: u64, n: u64, p: f64) -> f64 {
        let choose = (0..k).fold(1.0, |choose, i| choose * (n - i) as f64 / (i + 1) as f64);
        choose * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32)
    }

    proptest! {
        /// The claim that everything rests on, by exact summation: under the null the mean is at most 1.
        #[test]
        fn the_mean_ratio_is_at_most_one_under_the_null(
            n_c in 1u64..12, n_s in 1u64..20, p_s in 0.0f64..0.8, part in 0.0f64..=1.0, at in 0usize..6, r0 in 1.0f64..1.4,
        ) {
            let p_c = (part * r0 * p_s).min(1.0);
            prop_assert!(mean(r0, ERROR_RATIOS[at], (n_c, n_s), (p_c, p_s)) <= 1.0 + 1e-9);
        }

        /// The same with the direction down: the canary has at least `r0` times as many events.
        #[test]
        fn the_mean_ratio_is_at_most_one_with_the_direction_down(
            n_c in 1u64..12, n_s in 1u64..20, p_s in 0.0f64..0.8, part in 0.0f64..=1.0, at in 0usize..6,
        ) {
            let ratio = [0.1, 0.25, 0.5, 0.65, 0.8, 0.9][at];
            let p_c = 0.97 * p_s + part * (1.0 - 0.97 * p_s);
            prop_assert!(mean(0.97, ratio, (n_c, n_s), (p_c, p_s)) <= 1.0 + 1e-9);
        }
    }
}
