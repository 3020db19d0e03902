//! Do users fall to the variants as the weights say? When they do not, targeting is wrong, and so is every
//! comparison that rests on it.

use super::mixture::{STARTS_MAX, ln_sum};
use super::special::ln_gamma;

/// How firmly the prior expects the weights: as 100 users seen before.
const PRIOR: f64 = 100.0;

/// What the next change of the weights gets of the stake.
const START_SHARE: f64 = 0.5;

/// A sequential multinomial test with a Dirichlet prior (Lindon and Malek, "Anytime-valid inference for multinomial
/// count data", 2022), begun anew at each change of the weights: an e-process for "users are assigned by the weights".
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRatioTest {
    pub(crate) stake: f64,
    /// Ended ones: weight, and the logarithm of what they came to.
    pub(crate) ended: Vec<(f64, f64)>,
    pub(crate) current: Option<Counts>,
}

/// Users seen for the first time since the weights are what they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counts {
    /// The canary's share by the weights, above 0 and below 1.
    pub canary_share: f64,
    /// New users of the canary.
    pub canary: u64,
    /// New users of stable.
    pub stable: u64,
    pub(crate) weight: f64,
}

impl Default for SampleRatioTest {
    fn default() -> Self {
        SampleRatioTest { stake: 1.0, ended: Vec::new(), current: None }
    }
}

impl SampleRatioTest {
    /// The weights are now these. A share of 0 or 1 leaves nothing to test.
    pub fn start(&mut self, canary_share: f64) {
        if let Some(current) = self.current.take() {
            self.ended.push((current.weight, current.ln_value()));
        }
        if canary_share > 0.0 && canary_share < 1.0 && self.ended.len() < STARTS_MAX {
            let weight = self.stake * START_SHARE;
            self.stake -= weight;
            self.current = Some(Counts { canary_share, canary: 0, stable: 0, weight });
        }
    }

    /// Users who were seen for the first time since [`SampleRatioTest::start`].
    pub fn add(&mut self, canary: u64, stable: u64) {
        if let Some(current) = &mut self.current {
            current.canary = current.canary.saturating_add(canary);
            current.stable = current.stable.saturating_add(stable);
        }
    }

    /// What has been counted since the last change.
    pub fn counts(&self) -> Option<Counts> {
        self.current
    }

    /// The logarithm of the evidence.
    pub fn ln_value(&self) -> f64 {
        let current = self.current.iter().map(|counts| counts.weight.ln() + counts.ln_value());
        let ended = self.ended.iter().map(|(weight, ln)| weight.ln() + ln);
        ln_sum(std::iter::once(self.stake.ln()).chain(ended).chain(current))
    }
}

impl Counts {
    fn ln_value(&self) -> f64 {
        let shares = [self.canary_share, 1.0 - self.canary_share];
        ln_multinomial(&shares, &[self.canary, self.stable])
    }
}

/// `lnΓ(Σα) − ΣlnΓ(α_i) + ΣlnΓ(α_i+n_i) − lnΓ(Σ(α_i+n_i)) − Σ n_i ln ρ_i`, α = 100·ρ.
fn ln_multinomial(shares: &[f64], counts: &[u64]) -> f64 {
    let total: f64 = counts.iter().map(|count| *count as f64).sum();
    let by_share = shares.iter().zip(counts).map(|(share, count)| {
        let (prior, count) = (PRIOR * share, *count as f64);
        ln_gamma(prior + count) - ln_gamma(prior) - count * share.ln()
    });
    ln_gamma(PRIOR) - ln_gamma(PRIOR + total) + by_share.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_that_of_the_vectors() {
        for (counts, ln) in [([90, 10], 0.601279), ([95, 15], 2.935777), ([50, 50], 53.490229), ([980, 40], 0.097063)] {
            let found = ln_multinomial(&[0.95, 0.05], &counts);
            assert!((found - ln).abs() < 1e-6, "{counts:?}: {found}");
        }
    }

    #[test]
    fn a_canary_that_gets_half_of_its_users_is_noticed() {
        let mut test = SampleRatioTest::default();
        test.start(0.1);
        (0..100).for_each(|_| test.add(1, 18));
        assert!(test.ln_value() > f64::ln(1_000.0), "{}", test.ln_value());
    }

    #[test]
    fn users_by_the_weights_are_no_evidence() {
        let mut test = SampleRatioTest::default();
        for share in [0.01, 0.1, 0.5] {
            test.start(share);
            (0..1_000).for_each(|_| test.add((share * 100.0) as u64, 100 - (share * 100.0) as u64));
        }
        assert!(test.ln_value() < 0.0);
        test.start(1.0);
        test.add(1_000, 0);
        assert!(test.counts().is_none() && test.ln_value() < 0.0);
    }

    #[test]
    fn evidence_of_earlier_weights_stays() {
        let mut test = SampleRatioTest::default();
        test.start(0.1);
        test.add(100, 100);
        let before = test.ln_value();
        test.start(0.2);
        assert!((test.ln_value() - before).abs() < 1.0);
    }
}
