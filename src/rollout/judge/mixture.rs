/// How many starts one mixture may have. A plan has at most a step for each percent and few restarts within it;
/// beyond this, what is left of the stake stays at 1, which is valid and only a little less powerful.
pub const STARTS_MAX: usize = 256;

/// The largest logarithm that one term may have: beyond it nothing is decided and `exp` would overflow.
const LN_MAX: f64 = 700.0;

/// A mixture of likelihood ratios that began at different times, each against several alternatives: an e-process.
///
/// Its value is `stake + Σ_j π_j · mean_k exp(L_jk)`. What has not begun yet is held as `stake`, which counts as a
/// ratio of 1, so that `stake + Σπ = 1` always and the value is 1 before the first observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    pub(crate) stake: f64,
    pub(crate) starts: Vec<Start>,
    alternatives: usize,
}

/// One start: its weight and what each alternative has gathered since.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Start {
    pub(crate) weight: f64,
    pub(crate) ln: Vec<f64>,
}

impl Mixture {
    /// Nothing begun, for this many alternatives.
    pub fn new(alternatives: usize) -> Mixture {
        Mixture { stake: 1.0, starts: Vec::new(), alternatives: alternatives.max(1) }
    }

    /// Begins now with `weight` of the whole (0 to 1), at most with what is left.
    pub fn start(&mut self, weight: f64) {
        let weight = weight.min(self.stake);
        if weight > 0.0 && self.starts.len() < STARTS_MAX {
            self.stake -= weight;
            self.starts.push(Start { weight, ln: vec![0.0; self.alternatives] });
        }
    }

    /// Adds one tick's log likelihood ratio of alternative `k`, as `ln_ratio(k)`, to every start.
    pub fn add(&mut self, ln_ratio: impl Fn(usize) -> f64) {
        if self.starts.is_empty() {
            return;
        }
        for k in 0..self.alternatives {
            let more = ln_ratio(k);
            for start in &mut self.starts {
                start.ln[k] = (start.ln[k] + more).min(LN_MAX);
            }
        }
    }

    /// The logarithm of the e-process.
    pub fn ln_value(&self) -> f64 {
        let stake = (self.stake > 0.0).then(|| self.stake.ln());
        let share = (self.alternatives as f64).ln();
        let terms = self.starts.iter().flat_map(|start| {
            let ln_weight = start.weight.ln() - share;
            start.ln.iter().map(move |ln| ln_weight + ln)
        });
        ln_sum(stake.into_iter().chain(terms))
    }

    pub(crate) fn alternatives(&self) -> usize {
        self.alternatives
    }
}

/// `ln Σ exp(x)` without overflow; negative infinity of nothing.
pub fn ln_sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut most, mut sum) = (f64::NEG_INFINITY, 0.0);
    for term in terms {
        if term > most {
            sum = sum * (most - term).exp() + 1.0;
            most = term;
        } else if most > f64::NEG_INFINITY {
            sum += (term - most).exp();
        }
    }
    most + f64::ln(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_observed_is_evidence_of_one() {
        let mut mixture = Mixture::new(3);
        assert_eq!(mixture.ln_value(), 0.0);
        mixture.start(0.25);
        mixture.start(0.25);
        assert!(mixture.ln_value().abs() < 1e-12);
    }

    #[test]
    fn what_has_not_begun_counts_as_one() {
        let mut mixture = Mixture::new(1);
        mixture.start(0.25);
        mixture.add(|_| f64::ln(9.0));
        assert!((mixture.ln_value() - f64::ln(0.75 + 0.25 * 9.0)).abs() < 1e-12);
        mixture.add(|_| -1e9);
        assert!((mixture.ln_value() - f64::ln(0.75)).abs() < 1e-9);
    }

    #[test]
    fn weights_never_sum_to_more_than_the_whole() {
        let mut mixture = Mixture::new(1);
        mixture.start(0.9);
        mixture.start(0.9);
        mixture.start(0.9);
        assert_eq!(mixture.starts.len(), 2);
        assert!(mixture.ln_value().abs() < 1e-12);
    }

    #[test]
    fn starts_are_bounded() {
        let mut mixture = Mixture::new(1);
        (0..2 * STARTS_MAX).for_each(|_| mixture.start(1e-6));
        assert_eq!(mixture.starts.len(), STARTS_MAX);
        assert!(mixture.ln_value().abs() < 1e-9);
    }

    #[test]
    fn huge_evidence_stays_a_number() {
        let mut mixture = Mixture::new(2);
        mixture.start(1.0);
        (0..10).for_each(|_| mixture.add(|_| 500.0));
        assert_eq!(mixture.ln_value(), LN_MAX);
        assert_eq!(ln_sum(std::iter::empty()), f64::NEG_INFINITY);
        assert_eq!(ln_sum([f64::NEG_INFINITY, f64::NEG_INFINITY, 0.0].into_iter()), 0.0);
    }
}
