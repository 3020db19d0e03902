//! Endpoints that are left alone for a while because of what they answer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::{Endpoint, Outliers, SuccessRate, Upstream};

/// However often an endpoint was ejected, it is tried again after this time, or the first ejection's if that is longer.
const EJECTION_MAX: Duration = Duration::from_secs(300);

/// Notes what came of a request. True when the endpoint was ejected for it.
pub(super) fn note(upstream: &Upstream, endpoint: &Endpoint, is_error: bool, now: Instant) -> bool {
    let Some(settings) = &upstream.spec().resilience.outliers else { return false };
    if settings.success_rate.is_some() {
        endpoint.answers.fetch_add(1, Relaxed);
        if is_error {
            endpoint.errors.fetch_add(1, Relaxed);
        }
    }
    if !is_error {
        if endpoint.errors_in_a_row.load(Relaxed) != 0 {
            endpoint.errors_in_a_row.store(0, Relaxed);
        }
        return false;
    }
    let errors = endpoint.errors_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
    settings.consecutive > 0
        && errors >= settings.consecutive
        && eject(upstream, endpoint, settings, &upstream.load().counts.ejected_consecutive, now)
}

impl Upstream {
    /// Compares success rates since the last time, ejects those far below the others, and forgives one ejection of
    /// each endpoint that is in use. To be called once each interval. Returns whom it ejected.
    pub fn judge(&self, now: Instant) -> Vec<String> {
        let Some(settings) = &self.spec().resilience.outliers else { return Vec::new() };
        let members = self.endpoints();
        for endpoint in members.iter().filter(|endpoint| !endpoint.is_ejected(now)) {
            let ejections = endpoint.ejections.load(Relaxed);
            endpoint.ejections.store(ejections.saturating_sub(1), Relaxed);
        }
        let Some(rule) = &settings.success_rate else { return Vec::new() };
        let take = |endpoint: &Endpoint| (endpoint.answers.swap(0, Relaxed), endpoint.errors.swap(0, Relaxed));
        let answers: Vec<(u32, u32)> = members.iter().map(|endpoint| take(endpoint)).collect();
        let counter = &self.load().counts.ejected_success_rate;
        far_below(&answers, rule)
            .into_iter()
            .map(|at| &members[at])
            .filter(|endpoint| eject(self, endpoint, settings, counter, now))
            .map(|endpoint| endpoint.text().to_owned())
            .collect()
    }
}

/// Ejects an endpoint, unless it is or too many are.
fn eject(upstream: &Upstream, endpoint: &Endpoint, settings: &Outliers, counter: &AtomicU64, now: Instant) -> bool {
    if upstream.is_ejecting.swap(true, SeqCst) {
        return false; // somebody else is at it; the next error asks again
    }
    let members = upstream.endpoints();
    let ejected = members.iter().filter(|endpoint| endpoint.is_ejected(now)).count() as u64;
    let most = members.len() as u64 * u64::from(settings.max_ejected_ppm) / 1_000_000;
    let may = !endpoint.is_ejected(now) && ejected < most;
    if may {
        let times = endpoint.ejections.fetch_add(1, Relaxed).saturating_add(1);
        let most = EJECTION_MAX.max(settings.eject_for);
        endpoint.eject_until(now + settings.eject_for.saturating_mul(times).min(most));
        counter.fetch_add(1, Relaxed);
    }
    upstream.is_ejecting.store(false, SeqCst);
    may
}

/// The positions of those whose success rate is too many standard deviations below the mean, worst first. `answers`
/// are all answers and the errors among them.
fn far_below(answers: &[(u32, u32)], rule: &SuccessRate) -> Vec<usize> {
    let rates: Vec<(usize, f64)> = (answers.iter().enumerate())
        .filter(|(_, (answers, _))| *answers >= rule.requests_min.max(1))
        .map(|(at, (answers, errors))| (at, 1.0 - f64::from(*errors.min(answers)) / f64::from(*answers)))
        .collect();
    if rates.len() < rule.endpoints_min.max(1) as usize {
        return Vec::new();
    }
    let count = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / count;
    // a rounding error is no difference
    let least = mean - variance.sqrt() * f64::from(rule.deviations_milli) / 1000.0 - 1e-9;
    let mut below: Vec<(usize, f64)> = rates.into_iter().filter(|(_, rate)| *rate < least).collect();
    below.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    below.into_iter().map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Resilience, Spec, Target};
    use super::*;
    use proptest::prelude::*;

    const RULE: SuccessRate = SuccessRate { endpoints_min: 5, requests_min: 100, deviations_milli: 1900 };

    fn upstream(count: u16, percent: u32, consecutive: u32) -> Upstream {
        let targets = (1..=count).map(|port| Target::Address(([127, 0, 0, 1], port).into())).collect();
        let outliers = Outliers {
            consecutive,
            success_rate: Some(RULE),
            eject_for: Duration::from_secs(30),
            max_ejected_ppm: percent * 10_000,
            interval: Duration::from_secs(10),
        };
        let resilience = Resilience { outliers: Some(outliers), ..Resilience::default() };
        Upstream::new(Spec { resilience, ..Spec::plain("shop", "stable", targets) })
    }

    fn ejected(upstream: &Upstream, now: Instant) -> Vec<bool> {
        upstream.endpoints().iter().map(|endpoint| endpoint.is_ejected(now)).collect()
    }

    fn fail(upstream: &Upstream, at: usize, times: u32, now: Instant) -> bool {
        (0..times).any(|_| note(upstream, &upstream.endpoints()[at], true, now))
    }

    #[test]
    fn errors_in_a_row_eject_and_a_success_between_them_does_not() {
        let (upstream, now) = (upstream(2, 50, 5), Instant::now());
        for _ in 0..10 {
            assert!(!fail(&upstream, 0, 4, now));
            note(&upstream, &upstream.endpoints()[0], false, now);
        }
        assert!(fail(&upstream, 0, 5, now));
        assert_eq!(ejected(&upstream, now), [true, false]);
        assert!(!fail(&upstream, 1, 50, now), "never more than half");
        assert_eq!(ejected(&upstream, now + Duration::from_secs(31)), [false, false]);
    }

    #[test]
    fn ejections_grow_are_bounded_and_forgiven() {
        let upstream = upstream(2, 50, 1);
        let mut now = Instant::now();
        let seconds = |now: Instant| {
            (0..1_000).find(|after| !upstream.endpoints()[0].is_ejected(now + Duration::from_secs(*after))).unwrap()
        };
        let lengths = [(); 12].map(|()| {
            assert!(fail(&upstream, 0, 1, now));
            let length = seconds(now);
            now += Duration::from_secs(length);
            length
        });
        assert_eq!(lengths, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
        (0..12).for_each(|_| drop(upstream.judge(now)));
        assert!(fail(&upstream, 0, 1, now));
        assert_eq!(seconds(now), 30);
    }

    #[test]
    fn how_many_may_go() {
        for (count, percent, most) in
            [(1, 50, 0), (1, 100, 1), (2, 50, 1), (3, 50, 1), (4, 50, 2), (3, 10, 0), (3, 0, 0)]
        {
            let (upstream, now) = (upstream(count, percent, 1), Instant::now());
            for at in 0..usize::from(count) {
                fail(&upstream, at, 3, now);
            }
            let found = ejected(&upstream, now).into_iter().filter(|ejected| *ejected).count();
            assert_eq!(found, most, "{count} endpoints, {percent} %");
        }
    }

    #[test]
    fn a_rate_far_below_the_others_ejects() {
        let (upstream, now) = (upstream(6, 50, 0), Instant::now());
        for at in 0..6 {
            for request in 0..200 {
                note(&upstream, &upstream.endpoints()[at], at == 3 && request % 2 == 0, now);
            }
        }
        assert_eq!(upstream.judge(now), ["127.0.0.1:4"]);
        assert_eq!(upstream.judge(now), [""; 0], "each interval has its own counts");
        assert_eq!(upstream.load().counts.ejected_success_rate.load(Relaxed), 1);
    }

    #[test]
    fn too_few_are_not_compared() {
        assert_eq!(far_below(&[(200, 0), (200, 0), (200, 0), (200, 200)], &RULE), [0; 0], "four endpoints");
        let seldom = [(200, 0), (200, 0), (200, 0), (200, 0), (99, 99)];
        assert_eq!(far_below(&seldom, &RULE), [0; 0], "99 requests");
        assert_eq!(far_below(&[(0, 0); 9], &SuccessRate { requests_min: 0, ..RULE }), [0; 0]);
    }

    proptest! {
        /// Whatever fails in whatever order: never more than the share, and whoever fails alike stays.
        #[test]
        fn never_too_many(
            count in 1u16..20,
            percent in 0u32..=100,
            events in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0u64..40), 1..300),
        ) {
            let upstream = upstream(count, percent, 2);
            let mut now = Instant::now();
            for (at, is_error, seconds) in events {
                now += Duration::from_secs(seconds);
                note(&upstream, &upstream.endpoints()[at.index(usize::from(count))], is_error, now);
                if seconds > 30 {
                    upstream.judge(now);
                }
                let gone = ejected(&upstream, now).into_iter().filter(|ejected| *ejected).count() as u32;
                prop_assert!(gone * 100 <= u32::from(count) * percent);
            }
            let alike = vec![(500u32, 100u32); usize::from(count)];
            prop_assert!(far_below(&alike, &RULE).is_empty());
        }
    }
}
