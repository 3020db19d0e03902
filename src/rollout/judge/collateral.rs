//! Collateral damage: stable itself gets worse while the canary runs, as when both share a database.
//!
//! The comparison with the canary cannot see it, because both suffer. What is left is stable's own past, which also
//! changes for other reasons, most often by an outage that is over in minutes. So an alarm only keeps the share from
//! rising, and not before it has lasted is a person asked.

use super::floor::ln_likelihood_ratio;
use super::history::{History, slow_at_most};
use super::mixture::ln_sum;
use super::rules::CollateralRules;
use super::tick::{PAST_QUANTILES, QUANTILE_LEVELS, QUANTILES, Tally};

/// Multiples of what is tolerated that are looked for.
const MULTIPLES: [f64; 4] = [1.5, 2.0, 4.0, 10.0];

/// How far beyond an alarm the evidence is counted. Less than an e-detector is one as well, and what is capped forgets
/// an outage soon after its end.
const LN_BEYOND: f64 = 4.0;

/// Seconds in a row that it takes at least until an alarm. What happens within one second is one event of the machine more
/// often than it is many of its requests: a service on a machine that stops for a moment answers all of them late. So a
/// second counts no more than this part of an alarm, which takes nothing from its validity: what is cut is smaller.
const SECONDS_MIN: f64 = 5.0;

/// An e-detector (Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
/// 2024): the sum of e-processes of which one begins at each tick, so that it does not matter when stable got worse.
///
/// `M_t = LR_t · (M_{t−1} + 1)`. While stable is as it was, the mean time until M reaches A is at least A ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Detector {
    pub(crate) at_most: f64,
    /// Where the evidence is cut.
    pub(crate) ln_max: f64,
    /// `ln M` of each alternative.
    pub(crate) ln: [f64; MULTIPLES.len()],
}

/// The detectors of one cohort: errors, and slow requests by quantile.
#[derive(Clone, Debug, PartialEq)]
pub struct Collateral {
    pub(crate) errors: Option<Detector>,
    pub(crate) slow: [Detector; PAST_QUANTILES],
    /// Since which second there is an alarm.
    pub(crate) since_s: Option<u64>,
}

impl Detector {
    /// Of a rate that was at most this; `ln_needed` is the alarm.
    pub fn new(at_most: f64, ln_needed: f64) -> Detector {
        Detector { at_most, ln_max: ln_needed + LN_BEYOND, ln: [f64::NEG_INFINITY; MULTIPLES.len()] }
    }

    /// One tick.
    pub fn add(&mut self, tally: Tally) {
        if tally.of == 0 {
            return;
        }
        let most = (self.ln_max - LN_BEYOND) / SECONDS_MIN;
        for (ln, multiple) in self.ln.iter_mut().zip(MULTIPLES) {
            let share = (self.at_most * multiple).min(0.5 + self.at_most / 2.0);
            let begun = ln_sum([*ln, 0.0].into_iter());
            let ratio = ln_likelihood_ratio(self.at_most, share, tally).min(most);
            *ln = (begun + ratio).min(self.ln_max);
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
        let at_most = past.filter(History::is_long).map(|past| past.errors_at_most(rules.ratio, floor));
        let ln_needed = rules.ticks_between_alarms.ln();
        let slow = std::array::from_fn(|at| Detector::new(slow_at_most(QUANTILE_LEVELS[at]), ln_needed));
        Collateral { errors: at_most.map(|most| Detector::new(most, ln_needed)), slow, since_s: None }
    }

    /// Stable's tick, by request. What counts as slow is frozen anew at each step, so of latency only what happened
    /// since then is seen. `late` are those beyond what is tolerated of the canary, `1.1·τ + 5 ms`, and not those beyond
    /// τ: of a service that answers within 1 ms half of the requests take 2 ms when the machine is busy, and nobody is hurt.
    pub fn add(&mut self, at_s: u64, errors: Tally, late: &[Tally; QUANTILES], rules: &CollateralRules) {
        if let Some(detector) = &mut self.errors {
            detector.add(errors);
        }
        self.slow.iter_mut().zip(late).for_each(|(detector, late)| detector.add(*late));
        let is_alarm = self.ln_value() >= rules.ticks_between_alarms.ln();
        self.since_s = is_alarm.then(|| self.since_s.unwrap_or(at_s));
    }

    /// Stable is worse than it was.
    pub fn is_alarm(&self) -> bool {
        self.since_s.is_some()
    }

    /// It has been for long.
    pub fn is_lasting(&self, at_s: u64, rules: &CollateralRules) -> bool {
        self.since_s.is_some_and(|since| at_s.saturating_sub(since) >= rules.lasting_s)
    }

    /// The quantile that speaks the loudest; `None` when errors do.
    pub fn loudest(&self) -> Option<usize> {
        let values = self.slow.each_ref().map(Detector::ln_value);
        let at = (1..PAST_QUANTILES).fold(0, |best, at| if values[at] > values[best] { at } else { best });
        let errors = self.errors.as_ref().map_or(f64::NEG_INFINITY, Detector::ln_value);
        (values[at] > errors).then_some(at)
    }

    /// Begins anew, against the same past.
    pub fn forget(&mut self) {
        let detectors = self.errors.iter_mut().chain(&mut self.slow);
        detectors.for_each(|detector| detector.ln = [f64::NEG_INFINITY; MULTIPLES.len()]);
        self.since_s = None;
    }

    /// `ln M`: half for errors, half for the quantiles, which is an e-detector again.
    pub fn ln_value(&self) -> f64 {
        let errors = self.errors.as_ref().map_or(f64::NEG_INFINITY, Detector::ln_value);
        let slow = ln_sum(self.slow.iter().map(Detector::ln_value)) - (PAST_QUANTILES as f64).ln();
        ln_sum([errors, slow].into_iter()) - std::f64::consts::LN_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::judge::OnHarm;

    const RULES: CollateralRules =
        CollateralRules { ratio: 1.5, ticks_between_alarms: 1e6, lasting_s: 300, on_harm: OnHarm::Pause };

    /// Stable as it was for so long, then with so many errors of 1,000 a second; when an alarm is raised, and when it lasts.
    fn alarm(calm_s: u64, bad: u64, bad_s: u64) -> (Option<u64>, Option<u64>, bool) {
        let past = History { errors: Tally::new(20, 20_000) };
        let mut collateral = Collateral::new(Some(past), &RULES, 0.001);
        let slow = [500, 100, 50, 10, 1].map(|slow| Tally::new(slow, 1_000));
        let (mut raised, mut lasting) = (None, None);
        for at_s in 0..calm_s + bad_s + 60 {
            let is_bad = (calm_s..calm_s + bad_s).contains(&at_s);
            collateral.add(at_s, Tally::new(if is_bad { bad } else { 1 }, 1_000), &slow, &RULES);
            raised = raised.or(collateral.is_alarm().then(|| at_s - calm_s));
            lasting = lasting.or(collateral.is_lasting(at_s, &RULES).then(|| at_s - calm_s));
        }
        (raised, lasting, collateral.is_alarm())
    }

    #[test]
    fn a_stable_that_gets_worse_late_is_noticed_soon_and_told_when_it_lasts() {
        let (raised, lasting, _) = alarm(7_200, 10, 400);
        assert!(raised.is_some_and(|after_s| after_s < 10), "{raised:?}");
        assert_eq!(lasting, raised.map(|after_s| after_s + 300));
        assert_eq!(alarm(7_200, 1, 400).0, None);
    }

    #[test]
    fn a_short_outage_is_forgotten_soon() {
        let (raised, lasting, is_still) = alarm(600, 300, 120);
        assert!(raised.is_some() && lasting.is_none() && !is_still, "{raised:?} {lasting:?} {is_still}");
    }

    /// At the very limit of what is tolerated an alarm within 2,000 ticks has at most the chance 2,000 / A.
    #[test]
    fn alarms_are_as_rare_as_promised() {
        let (runs, ticks, limit) = (200, 2_000, 40_000.0f64);
        let mut alarms = 0;
        for seed in 0..runs {
            let (mut rng, mut detector) = (fastrand::Rng::with_seed(seed), Detector::new(0.02, limit.ln()));
            alarms += u64::from((0..ticks).any(|_| {
                let bad = (0..20).filter(|_| rng.f64() < 0.02).count() as u64;
                detector.add(Tally::new(bad, 20));
                detector.ln_value() >= limit.ln()
            }));
        }
        assert!(alarms <= 20, "{alarms} of {runs}");
    }
}
