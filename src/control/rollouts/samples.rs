//! The last failing requests of the new versions that are watched, so that a rollback can show what it was about.

use crate::telemetry::Registry;
use crate::telemetry::tap::{Listening, Passed};
use std::collections::{BTreeMap, VecDeque};

/// Failing requests that are kept of a cohort and variant.
pub const SAMPLES_MAX: usize = 20;
/// Cohorts and variants of which some are kept.
const KEPT_MAX: usize = 256;
/// Failing requests that are looked at in a second.
const RATE_MAX: u32 = 200;

/// Failing requests by service, cohort and variant, the oldest first.
#[derive(Default)]
pub(super) struct Samples {
    listening: Option<Listening>,
    kept: BTreeMap<(String, String, String), VecDeque<Passed>>,
}

impl Samples {
    /// Takes in what failed since the last time.
    pub(super) fn take_in(&mut self, registry: &Registry) {
        if self.listening.is_none() {
            self.listening = registry.tap().listen_to_samples(RATE_MAX);
        }
        let Some(listening) = &mut self.listening else { return };
        while let Some(passed) = listening.try_next() {
            let key = (passed.service.clone(), passed.cohort.clone(), passed.variant.clone());
            if self.kept.len() >= KEPT_MAX && !self.kept.contains_key(&key) {
                continue;
            }
            let kept = self.kept.entry(key).or_default();
            kept.push_back(passed);
            if kept.len() > SAMPLES_MAX {
                kept.pop_front();
            }
        }
        listening.refill();
    }

    /// What failed of a variant, in one cohort or in all, the latest first.
    pub(super) fn of(&self, service: &str, cohort: Option<&str>, variant: &str) -> Vec<Passed> {
        let is_meant = |(of, in_cohort, by): &(String, String, String)| {
            of == service && by == variant && cohort.is_none_or(|cohort| cohort == in_cohort)
        };
        let mut found: Vec<Passed> =
            self.kept.iter().filter(|(key, _)| is_meant(key)).flat_map(|(_, kept)| kept.iter().cloned()).collect();
        found.sort_by_key(|passed| std::cmp::Reverse(passed.unix_ms));
        found.truncate(SAMPLES_MAX);
        found
    }

    /// Forgets a service whose rollout begins anew.
    pub(super) fn forget(&mut self, service: &str) {
        self.kept.retain(|(of, _, _), _| of != service);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;
    use crate::telemetry::access_log::Entry;

    #[test]
    fn the_latest_failures_are_kept_and_no_more() {
        let registry = Registry::new(1, 1_000);
        let mut samples = Samples::default();
        samples.take_in(&registry);
        let tell = |cohort: &str, status, unix_ms| {
            let entry = Entry { service: "shop", cohort, variant: "canary", status, unix_ms, ..Entry::default() };
            registry.tap().sample(vec![crate::telemetry::Slot::OTHER]);
            registry.tap().tell(&entry, Outcome::of_status(status));
        };
        (0..50).for_each(|at| tell("everyone", 500, at));
        tell("beta", 503, 7);
        tell("beta", 200, 8);
        samples.take_in(&registry);
        let found = samples.of("shop", Some("everyone"), "canary");
        assert_eq!((found.len(), found[0].unix_ms, found[19].unix_ms), (SAMPLES_MAX, 49, 30));
        assert_eq!(samples.of("shop", Some("beta"), "canary").len(), 1);
        assert_eq!(samples.of("shop", None, "canary").len(), SAMPLES_MAX);
        assert!(samples.of("shop", None, "stable").is_empty());
        samples.forget("shop");
        assert!(samples.of("shop", None, "canary").is_empty());
    }
}
