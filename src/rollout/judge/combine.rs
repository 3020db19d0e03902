//! Several gates, one decision.

use super::mixture::ln_sum;
use super::rules::JudgeRules;

/// `E = ½·mean E_j + ½·Π E_j` in logarithms; 0 without gates.
///
/// The mean is an e-process whatever the gates have in common. The product is one because within a tick each gate
/// looks at what the gates before it left: errors among the exposed, slow ones among those without error, outcomes
/// among the successful. So two mild signs together decide sooner than either, and one strong sign costs ln 4.
pub fn ln_combined(gates: &[f64]) -> f64 {
    if gates.is_empty() {
        return 0.0;
    }
    let half = f64::ln(0.5);
    let mean = ln_sum(gates.iter().copied()) - (gates.len() as f64).ln();
    let product: f64 = gates.iter().sum();
    ln_sum([half + mean, half + product].into_iter())
}

/// Whether the share may grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brake {
    pub(crate) is_frozen: bool,
    pub(crate) calm_since_s: Option<u64>,
}

impl Brake {
    /// Looks at the evidence of one tick; returns whether the share must not grow.
    pub fn observe(&mut self, at_s: u64, ln_evidence: f64, rules: &JudgeRules) -> bool {
        if ln_evidence >= rules.freeze_at.ln() {
            *self = Brake { is_frozen: true, calm_since_s: None };
        } else if self.is_frozen && ln_evidence < rules.thaw_below.ln() {
            let since = *self.calm_since_s.get_or_insert(at_s);
            if at_s.saturating_sub(since) >= rules.thaw_s {
                *self = Brake::default();
            }
        } else {
            self.calm_since_s = None;
        }
        self.is_frozen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mild_signs_decide_where_neither_would() {
        let ln = |evidence: f64| evidence.ln();
        assert!(ln_combined(&[ln(7.0), ln(6.0)]) >= ln(20.0));
        assert!((ln_combined(&[ln(8.0), ln(2.0)]) - ln(0.5 * 5.0 + 0.5 * 16.0)).abs() < 1e-12);
        assert!((ln_combined(&[ln(40.0)]) - ln(40.0)).abs() < 1e-12);
        assert_eq!(ln_combined(&[]), 0.0);
    }

    #[test]
    fn a_gate_that_is_sure_of_health_does_not_silence_another() {
        let alarmed = ln_combined(&[f64::ln(400.0), -600.0]);
        assert!((alarmed - f64::ln(100.0)).abs() < 1e-9);
    }

    #[test]
    fn the_ramp_goes_on_after_a_minute_of_calm() {
        let (mut brake, rules) = (Brake::default(), JudgeRules::default());
        let ln = |evidence: f64| evidence.ln();
        assert!(!brake.observe(0, ln(3.9), &rules));
        assert!(brake.observe(1, ln(4.0), &rules));
        assert!(brake.observe(2, ln(1.2), &rules));
        assert!(brake.observe(30, ln(2.0), &rules), "between the two it stays");
        assert!(brake.observe(40, ln(1.2), &rules));
        assert!(brake.observe(99, ln(1.2), &rules));
        assert!(!brake.observe(100, ln(1.2), &rules));
    }
}
