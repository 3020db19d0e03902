//! Latency: does the canary exceed stable's own quantiles more often than stable does?

use super::mixture::ln_sum;
use super::ratio::{LATENCY_RATIOS, RatioTest};
use super::rules::LatencyRules;
use super::tick::{QUANTILE_LEVELS, QUANTILES, Tally};

/// Latencies from which thresholds are frozen: fewer say too little about the 99th percentile.
pub const FREEZE_REQUESTS_MIN: u64 = 500;

/// What counts as slow, frozen at the start of a step from stable's latencies before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// A stable request is slow when it took longer than this, in microseconds, by quantile.
    pub stable_us: [u64; QUANTILES],
    /// A canary request is slow when it took longer than this: what is tolerated is added.
    pub canary_us: [u64; QUANTILES],
}

/// One ratio test for each quantile, mixed evenly: an e-process for "the canary is stochastically no slower than
/// `ratio · stable + plus`".
///
/// Exceedance was preferred to a time-uniform band around the whole distribution (DKW): the band missed a regression
/// of "2 % of requests take 500 ms longer" within 134,000 requests that this test noticed in about 680.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyTest {
    pub(crate) by_quantile: [RatioTest; QUANTILES],
}

impl Thresholds {
    /// Freezes stable's quantiles from a histogram: buckets ascending, each as the largest latency in it (µs) with
    /// its count. `None` below [`FREEZE_REQUESTS_MIN`] latencies.
    pub fn freeze(histogram: impl Iterator<Item = (u64, u64)>, rules: &LatencyRules) -> Option<Thresholds> {
        let buckets: Vec<(u64, u64)> = histogram.collect();
        let total: u64 = buckets.iter().map(|(_, count)| count).sum();
        if total < FREEZE_REQUESTS_MIN {
            return None;
        }
        let mut stable_us = [0; QUANTILES];
        for (threshold, level) in stable_us.iter_mut().zip(QUANTILE_LEVELS) {
            let rank = (level * total as f64).ceil() as u64;
            let mut below = 0;
            let found = buckets.iter().find(|(_, count)| {
                below += count;
                below >= rank
            });
            *threshold = found.map_or(0, |(us, _)| *us);
        }
        let tolerated = |us: u64| (rules.ratio * us as f64) as u64 + rules.plus_us;
        Some(Thresholds { stable_us, canary_us: stable_us.map(tolerated) })
    }

    /// When a request of either variant is counted although it has not ended, in microseconds.
    pub fn largest_us(&self) -> u64 {
        self.canary_us[QUANTILES - 1].max(self.stable_us[QUANTILES - 1])
    }
}

impl Default for LatencyTest {
    fn default() -> Self {
        LatencyTest { by_quantile: std::array::from_fn(|_| RatioTest::new(1.0, &LATENCY_RATIOS)) }
    }
}

impl LatencyTest {
    /// Begins now with a share of the whole evidence.
    pub fn start(&mut self, weight: f64) {
        self.by_quantile.iter_mut().for_each(|test| test.start(weight));
    }

    /// A weight changes.
    pub fn interrupt(&mut self) {
        self.by_quantile.iter_mut().for_each(RatioTest::interrupt);
    }

    /// Slow requests among those without error in one tick, by quantile.
    pub fn add(&mut self, canary: &[Tally; QUANTILES], stable: &[Tally; QUANTILES]) {
        for (at, test) in self.by_quantile.iter_mut().enumerate() {
            test.add(canary[at], stable[at]);
        }
    }

    /// The logarithm of the evidence.
    pub fn ln_value(&self) -> f64 {
        ln_sum(self.by_quantile.iter().map(RatioTest::ln_value)) - (QUANTILES as f64).ln()
    }

    /// The quantile that speaks the loudest.
    pub fn loudest(&self) -> usize {
        let values = self.by_quantile.each_ref().map(RatioTest::ln_value);
        (1..QUANTILES).fold(0, |best, at| if values[at] > values[best] { at } else { best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: LatencyRules = LatencyRules { ratio: 1.1, plus_us: 5_000 };

    #[test]
    fn thresholds_are_stables_quantiles_with_what_is_tolerated() {
        let histogram = (1..=1_000).map(|ms| (ms * 1_000, 1));
        let thresholds = Thresholds::freeze(histogram, &RULES).unwrap();
        assert_eq!(thresholds.stable_us, [500_000, 900_000, 950_000, 990_000, 999_000]);
        assert_eq!(thresholds.canary_us, [555_000, 995_000, 1_050_000, 1_094_000, 1_103_900]);
        assert_eq!(thresholds.largest_us(), 1_103_900);
        assert_eq!(Thresholds::freeze([(1_000, FREEZE_REQUESTS_MIN - 1)].into_iter(), &RULES), None);
    }

    fn tick(test: &mut LatencyTest, canary: [u64; QUANTILES]) {
        test.add(&canary.map(|slow| Tally::new(slow, 100)), &[500, 100, 50, 10, 1].map(|slow| Tally::new(slow, 1_000)));
    }

    #[test]
    fn a_slower_tail_is_noticed_at_its_quantile() {
        let mut test = LatencyTest::default();
        test.start(1.0);
        (0..12).for_each(|_| tick(&mut test, [50, 10, 6, 4, 0]));
        assert!(test.ln_value() > f64::ln(20.0), "{}", test.ln_value());
        assert_eq!(test.loudest(), 3);
    }

    #[test]
    fn a_faster_canary_is_no_evidence() {
        let mut test = LatencyTest::default();
        test.start(1.0);
        (0..50).for_each(|_| tick(&mut test, [40, 7, 3, 0, 0]));
        assert!(test.ln_value() < 0.0);
    }
}
