//! Intervals for people: where a rate, a difference or a quantile lies, valid however often one looks.

use super::special::ln_beta;
use super::tick::Tally;

/// The number of requests around which a band is the narrowest.
pub const BAND_REQUESTS: f64 = 1_000.0;

/// An interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Where a rate lies, at every time at once with probability `1 − alpha`, narrowest around `best_at` requests.
///
/// The beta-binomial mixture (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric,
/// nonasymptotic confidence sequences", 2021, proposition 7).
pub fn rate_band(tally: Tally, best_at: f64, alpha: f64) -> Band {
    if tally.of == 0 {
        return Band { low: 0.0, high: 1.0 };
    }
    let prior = prior_size(best_at);
    let excess = |p: f64| ln_mixture(tally, p, prior) + alpha.ln();
    let rate = tally.rate();
    let low = if tally.events == 0 || excess(EDGE) < 0.0 { 0.0 } else { root(excess, rate.min(1.0 - EDGE), EDGE) };
    let all = tally.events >= tally.of;
    let high = if all || excess(1.0 - EDGE) < 0.0 { 1.0 } else { root(excess, rate.max(EDGE), 1.0 - EDGE) };
    Band { low, high }
}

/// Where the canary's rate less stable's lies, with probability `1 − alpha` at every time at once.
///
/// Each rate gets half of `alpha`: wider than need be, and it assumes nothing about how the two hang together.
pub fn difference_band(canary: Tally, stable: Tally, alpha: f64) -> Band {
    let canary = rate_band(canary, BAND_REQUESTS, alpha / 2.0);
    let stable = rate_band(stable, BAND_REQUESTS, alpha / 2.0);
    Band { low: canary.low - stable.high, high: canary.high - stable.low }
}

/// Where a quantile of latency lies (µs), with probability `1 − alpha` at every time at once (Howard and Ramdas,
/// "Sequential estimation of quantiles", 2022). `buckets` ascend: smallest and largest latency, count.
///
/// How many lie at or below the true quantile is binomial, so the ranks that the rate's martingale does not refute
/// bound it. The upper end is `None` where the data do not bound it yet.
pub fn quantile_band(buckets: &[(u64, u64, u64)], level: f64, alpha: f64) -> Option<(u64, Option<u64>)> {
    let total: u64 = buckets.iter().map(|(_, _, count)| count).sum();
    if total == 0 || !(level > 0.0 && level < 1.0) {
        return None;
    }
    let prior = prior_size(BAND_REQUESTS);
    let is_refuted = |rank: u64| ln_mixture(Tally::new(rank, total), level, prior) + alpha.ln() >= 0.0;
    let middle = (level * total as f64).round() as u64;
    let lowest = least(0, middle, |rank| !is_refuted(rank));
    let highest = least(middle, total + 1, |rank| rank > total || is_refuted(rank));
    let at = |rank: u64| {
        let mut below = 0;
        buckets.iter().find(|(_, _, count)| {
            below += count;
            below >= rank
        })
    };
    let low = at(lowest.max(1)).filter(|_| lowest > 0).map_or(0, |(low, _, _)| *low);
    Some((low, at(highest).filter(|_| highest <= total).map(|(_, high, _)| *high)))
}

/// How near to 0 and 1 a rate is looked for.
const EDGE: f64 = 1e-9;

/// The size `a + b` of the beta prior whose band is the narrowest around `best_at` requests, for 95 %: that of the
/// normal mixture, less the 1 by which the variance of a beta distribution differs.
fn prior_size(best_at: f64) -> f64 {
    let twice = 2.0 * f64::ln(1.0 / 0.05);
    (best_at / (twice + (1.0 + twice).ln()) - 1.0).max(1e-3)
}

/// `ln` of the mixture martingale at the rate `p`, with a beta prior around it.
fn ln_mixture(tally: Tally, p: f64, prior: f64) -> f64 {
    let (a, b) = (prior * p, prior * (1.0 - p));
    let (events, misses) = (tally.events as f64, tally.of.saturating_sub(tally.events) as f64);
    ln_beta(a + events, b + misses) - ln_beta(a, b) - events * p.ln() - misses * (-p).ln_1p()
}

/// Where `f` changes its sign, between a place where it is negative and one where it is not.
fn root(f: impl Fn(f64) -> f64, negative: f64, positive: f64) -> f64 {
    let (mut negative, mut positive) = (negative, positive);
    for _ in 0..80 {
        let middle = 0.5 * (negative + positive);
        if f(middle) < 0.0 { negative = middle } else { positive = middle }
    }
    0.5 * (negative + positive)
}

/// The least number from `low` on of which `holds`, which must go on to hold; `high` if none before it.
fn least(low: u64, high: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (low, high);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_those_of_the_vectors() {
        for (events, of, best_at, low, high) in [
            (700, 1_000, 100.0, 0.651_629, 0.745_949),
            (15, 50, 50.0, 0.129_556, 0.511_896),
            (1, 50, 50.0, 0.0, 0.134_89),
        ] {
            let band = rate_band(Tally::new(events, of), best_at, 0.05);
            assert!((band.low - low).abs() < 2e-6 && (band.high - high).abs() < 2e-6, "{events}/{of}: {band:?}");
        }
    }

    #[test]
    fn nothing_seen_says_nothing_and_the_ends_are_ends() {
        assert_eq!(rate_band(Tally::new(0, 0), 100.0, 0.05), Band { low: 0.0, high: 1.0 });
        let none = rate_band(Tally::new(0, 1_000), 1_000.0, 0.05);
        assert!(none.low == 0.0 && none.high < 0.01, "{none:?}");
        let all = rate_band(Tally::new(1_000, 1_000), 1_000.0, 0.05);
        assert!(all.high == 1.0 && all.low > 0.99, "{all:?}");
    }

    #[test]
    fn a_difference_is_told_when_there_is_one() {
        let band = difference_band(Tally::new(50, 1_000), Tally::new(20, 10_000), 0.05);
        assert!(band.low > 0.0 && band.high < 0.1, "{band:?}");
        let same = difference_band(Tally::new(2, 1_000), Tally::new(20, 10_000), 0.05);
        assert!(same.low < 0.0 && same.high > 0.0);
    }

    #[test]
    fn a_quantile_lies_in_its_band() {
        let buckets: Vec<(u64, u64, u64)> = (1..=1_000).map(|us| (us, us, 10)).collect();
        let (low, high) = quantile_band(&buckets, 0.9, 0.05).unwrap();
        assert!((870..900).contains(&low) && (900..930).contains(&high.unwrap()), "{low} {high:?}");
        assert_eq!(quantile_band(&[], 0.9, 0.05), None);
        let (low, high) = quantile_band(&[(5, 6, 20)], 0.99, 0.05).unwrap();
        assert_eq!((low, high), (5, None));
    }

    /// Of 400 sequences each looked at 2,000 times, at most 5 % may leave their band even once.
    #[test]
    fn bands_hold_while_one_watches() {
        let mut missed = 0;
        for seed in 0..400 {
            let (mut rng, mut tally) = (fastrand::Rng::with_seed(seed), Tally::default());
            let p = [0.002, 0.02, 0.3][seed as usize % 3];
            let left = (0..2_000).any(|at| {
                tally.add(Tally::new(u64::from(rng.f64() < p), 1));
                let is_looked_at = at % 40 == 39;
                is_looked_at && {
                    let band = rate_band(tally, 500.0, 0.05);
                    p < band.low || p > band.high
                }
            });
            missed += u64::from(left);
        }
        assert!(missed <= 20, "{missed} of 400");
    }
}
