//! Rules as others have them: a success rate and a latency that must not be crossed, looked at every minute or so,
//! on numbers that somebody scrapes.

use crate::rollout::judge::tick::{Tally, Tick};
use std::collections::VecDeque;

/// A threshold rule on the canary alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThresholdRule {
    /// How often it is looked at, in seconds.
    pub every_s: u64,
    /// Over how many seconds before.
    pub window_s: u64,
    /// The least part of requests that must succeed.
    pub success_min: f64,
    /// The most that the 99th percentile may take, in microseconds.
    pub p99_max_us: Option<u64>,
    /// Failed looks until it rolls back.
    pub failures: u32,
    /// Whether a good look lets it forget the failed ones.
    pub forgets: bool,
}

/// Seconds between scrapes.
const SCRAPE_S: u64 = 15;

impl ThresholdRule {
    /// The example of Argo Rollouts' documentation ("Analysis & Progressive Delivery"): success of at least 95 %,
    /// every 5 minutes over 5 minutes, rolled back at the fourth failure (`failureLimit: 3`).
    pub const ARGO: ThresholdRule =
        ThresholdRule { every_s: 300, window_s: 300, success_min: 0.95, p99_max_us: None, failures: 4, forgets: false };

    /// The example of Flagger's documentation ("Istio Canary Deployments"): success of at least 99 % and a 99th
    /// percentile of at most 500 ms, every minute over a minute, rolled back at the fifth failure (`threshold: 5`).
    pub const FLAGGER: ThresholdRule = ThresholdRule {
        every_s: 60,
        window_s: 60,
        success_min: 0.99,
        p99_max_us: Some(500_000),
        failures: 5,
        forgets: false,
    };
}

/// A rule at work.
#[derive(Debug)]
pub(super) struct Watch {
    rule: ThresholdRule,
    /// What each scrape found: requests of the canary since the last one, and their latencies.
    scrapes: VecDeque<(Tally, Vec<u64>)>,
    current: (Tally, Vec<u64>),
    elapsed_s: u64,
    failed: u32,
    last_failed: bool,
}

impl Watch {
    pub(super) fn new(rule: ThresholdRule) -> Watch {
        Watch {
            rule,
            scrapes: VecDeque::new(),
            current: Default::default(),
            elapsed_s: 0,
            failed: 0,
            last_failed: false,
        }
    }

    /// One second; whether it rolls back now.
    pub(super) fn look(&mut self, tick: &Tick, latencies: &[u64]) -> bool {
        self.elapsed_s += 1;
        self.current.0.add(tick.canary.errors);
        if self.rule.p99_max_us.is_some() {
            self.current.1.extend_from_slice(latencies);
        }
        if self.elapsed_s.is_multiple_of(SCRAPE_S) {
            self.scrapes.push_back(std::mem::take(&mut self.current));
            while self.scrapes.len() as u64 > self.rule.window_s.div_ceil(SCRAPE_S) {
                self.scrapes.pop_front();
            }
        }
        if self.elapsed_s.is_multiple_of(self.rule.every_s) {
            self.last_failed = self.is_bad();
            match (self.last_failed, self.rule.forgets) {
                (true, _) => self.failed += 1,
                (false, true) => self.failed = 0,
                (false, false) => {}
            }
        }
        self.failed >= self.rule.failures
    }

    /// Whether the last look failed, so that the share does not grow.
    pub(super) fn is_failing(&self) -> bool {
        self.last_failed
    }

    fn is_bad(&self) -> bool {
        let mut errors = Tally::default();
        self.scrapes.iter().for_each(|(scraped, _)| errors.add(*scraped));
        if errors.of > 0 && 1.0 - errors.rate() < self.rule.success_min {
            return true;
        }
        let Some(most) = self.rule.p99_max_us else { return false };
        let mut latencies: Vec<u64> = self.scrapes.iter().flat_map(|(_, latencies)| latencies).copied().collect();
        latencies.sort_unstable();
        let rank = (latencies.len() as f64 * 0.99).ceil() as usize;
        rank > 0 && latencies[rank - 1] > most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::judge::Side;

    fn run(rule: ThresholdRule, bad: u64, latency_us: u64) -> Option<u64> {
        let mut watch = Watch::new(rule);
        let tick = Tick { canary: Side { errors: Tally::new(bad, 10), ..Side::default() }, ..Tick::default() };
        (1..=3_600).find(|_| watch.look(&tick, &[latency_us; 10]))
    }

    #[test]
    fn rules_decide_when_their_documentation_says() {
        assert_eq!(run(ThresholdRule::FLAGGER, 5, 1_000), Some(300));
        assert_eq!(run(ThresholdRule::FLAGGER, 0, 600_000), Some(300));
        assert_eq!(run(ThresholdRule::FLAGGER, 0, 1_000), None);
        assert_eq!(run(ThresholdRule::ARGO, 1, 1_000), Some(1_200));
        assert_eq!(run(ThresholdRule::ARGO, 0, 9_000_000), None);
    }
}
