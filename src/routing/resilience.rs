//! What is done about failures, from the file: health checks, ejection and limits of a variant, retries of a route.

use std::time::Duration;

use crate::config::schema::{self, RetryOn};
use crate::config::values;
use crate::upstream::{Balance, Check, Limits, Outliers, Probe, Resilience, RetryShare, SuccessRate};

/// When a request of a route is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Further attempts after the first.
    pub attempts: u32,
    /// For what.
    pub on: Box<[RetryOn]>,
    /// How long each attempt may take to the head of its answer.
    pub per_try: Option<Duration>,
    /// The first wait is a random time up to this.
    pub backoff_base: Duration,
    /// No wait is longer.
    pub backoff_max: Duration,
    /// How many requests of a variant.
    pub share: RetryShare,
    /// Further attempts go to the fallback.
    pub across_variants: bool,
}

impl Retry {
    /// True when a request may be sent again for this.
    pub fn is_on(&self, what: RetryOn) -> bool {
        self.on.contains(&what)
    }

    /// The most that is waited before the attempt after `failures` failed ones.
    pub fn backoff(&self, failures: u32) -> Duration {
        self.backoff_base.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(self.backoff_max)
    }
}

pub(super) fn of_retry(retry: &schema::Retry) -> Retry {
    let backoff_base = given(retry.backoff.base, Duration::from_millis(25));
    Retry {
        attempts: retry.attempts.unwrap_or(1),
        on: retry.on.as_deref().unwrap_or(&[RetryOn::Connect, RetryOn::Reset]).into(),
        per_try: retry.per_try_timeout.map(|time| time.0),
        backoff_base,
        backoff_max: given(retry.backoff.max, Duration::from_millis(250).max(backoff_base)),
        share: RetryShare { ppm: retry.budget.percent.map_or(200_000, ppm), min: retry.budget.min.unwrap_or(3) },
        across_variants: retry.across_variants,
    }
}

pub(super) fn of_variant(variant: &schema::Variant) -> Resilience {
    let default = Limits::default();
    let limits = variant.limits.clone().unwrap_or_default();
    Resilience {
        check: variant.health_check.as_ref().map(check),
        outliers: variant.outlier_detection.as_ref().map(outliers),
        slow_start: given(variant.slow_start, Duration::ZERO),
        limits: Limits {
            connections: limits.max_connections.unwrap_or(default.connections),
            pending: limits.max_pending.unwrap_or(default.pending),
            requests: limits.max_requests.unwrap_or(default.requests),
        },
    }
}

pub(super) fn balance(balance: schema::LoadBalancing) -> Balance {
    match balance {
        schema::LoadBalancing::RoundRobin => Balance::RoundRobin,
        schema::LoadBalancing::LeastRequest => Balance::LeastRequest,
        schema::LoadBalancing::ConsistentHash => Balance::ConsistentHash,
    }
}

fn check(check: &schema::HealthCheck) -> Check {
    let probe = match (&check.path, &check.grpc) {
        (Some(path), _) => Probe::Http {
            path: path.clone(),
            host: check.host.clone(),
            expect: match &check.expect {
                Some(ranges) => ranges.iter().map(|range| (range.0, range.1)).collect(),
                None => vec![(200, 299)],
            },
        },
        (None, Some(grpc)) => Probe::Grpc { service: grpc.service.clone() },
        (None, None) => Probe::Tcp,
    };
    let interval = given(check.interval, Duration::from_secs(5));
    Check {
        probe,
        interval,
        timeout: given(check.timeout, Duration::from_secs(2).min(interval)),
        healthy_after: check.healthy_threshold.unwrap_or(2),
        unhealthy_after: check.unhealthy_threshold.unwrap_or(3),
        port: check.port,
    }
}

fn outliers(outliers: &schema::OutlierDetection) -> Outliers {
    let success_rate = outliers.success_rate.as_ref().map(|rate| SuccessRate {
        endpoints_min: rate.min_endpoints.unwrap_or(5),
        requests_min: rate.min_requests.unwrap_or(100),
        deviations_milli: (rate.deviations.unwrap_or(1.9) * 1000.0).round() as u32,
    });
    Outliers {
        consecutive: outliers.consecutive_errors.unwrap_or(5),
        success_rate,
        eject_for: given(outliers.eject_for, Duration::from_secs(30)),
        max_ejected_ppm: outliers.max_ejected_percent.map_or(500_000, ppm),
        interval: given(outliers.interval, Duration::from_secs(10)),
    }
}

fn given(given: Option<values::Duration>, default: Duration) -> Duration {
    given.map_or(default, |given| given.0)
}

/// Millionths of a percentage.
fn ppm(percent: values::Percent) -> u32 {
    (percent.0.micros() / 100) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most() {
        let retry = of_retry(&schema::Retry::default());
        let waits = [1, 2, 3, 4, 5, 40].map(|failures| retry.backoff(failures).as_millis());
        assert_eq!(waits, [25, 50, 100, 200, 250, 250]);
    }

    #[test]
    fn percentages_are_exact() {
        let share = |text: &str| ppm(text.parse().unwrap());
        assert_eq!((share("20"), share("100"), share("0.0001"), share("0")), (200_000, 1_000_000, 1, 0));
    }
}
