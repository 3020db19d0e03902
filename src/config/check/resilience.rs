//! `healthCheck`, `outlierDetection`, `slowStart` and `limits` of a variant, and `retry` of a route.

use http::uri::{Authority, PathAndQuery};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::listeners::check_not_zero;
use super::problems::Problems;
use super::texts::check_path;
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{File, HealthCheck, OutlierDetection, Retry, Route, Variant};

/// Attempts after the first: more than a few help nobody.
const ATTEMPTS: RangeInclusive<u32> = 0..=10;
/// Checks in a row.
const THRESHOLDS: RangeInclusive<u32> = 1..=100;
/// What a variant may use.
const LIMITS: RangeInclusive<u32> = 1..=1_000_000;

pub(super) fn check_variant(variant: &Variant, place: &Place, problems: &mut Problems<'_>) {
    if let Some(check) = &variant.health_check {
        check_health(check, &place.key("healthCheck"), problems);
    }
    if let Some(outliers) = &variant.outlier_detection {
        check_outliers(outliers, variant, &place.key("outlierDetection"), problems);
    }
    let limits = variant.limits.clone().unwrap_or_default();
    let at = place.key("limits");
    check_range("maxConnections", limits.max_connections, LIMITS, &at, problems);
    check_range("maxPending", limits.max_pending, 0..=*LIMITS.end(), &at, problems);
    check_range("maxRequests", limits.max_requests, LIMITS, &at, problems);
}

fn check_health(check: &HealthCheck, place: &Place, problems: &mut Problems<'_>) {
    let kinds = [check.path.is_some(), check.grpc.is_some(), check.tcp.is_some()];
    if kinds.into_iter().filter(|is_there| *is_there).count() != 1 {
        let message = "a health check has exactly one of `path`, `grpc` and `tcp`";
        problems
            .at_key(Code::NotOneCheck, place, message)
            .help("write `{ path: /healthz }`, `{ grpc: {} }` or `{ tcp: {} }`");
    }
    for (key, is_there) in [("host", check.host.is_some()), ("expect", check.expect.is_some())] {
        if is_there && check.path.is_none() {
            let message = format!("`{key}` belongs to a check by `path`");
            problems.at(Code::CheckKeyUnused, &place.key(key), message).help("remove it, or check by `path`");
        }
    }
    if let Some(path) = &check.path {
        check_path(path, &place.key("path"), problems);
        if path.starts_with('/') && path.parse::<PathAndQuery>().is_err() {
            let message = format!("the path `{path}` cannot be sent as it is");
            problems.at(Code::PathWithoutSlash, &place.key("path"), message).help("escape spaces and the like: `%20`");
        }
    }
    if let Some(host) = check.host.as_deref().filter(|host| host.parse::<Authority>().is_err()) {
        let message = format!("`{host}` is not a host");
        problems.at(Code::BadHost, &place.key("host"), message).help("write a name such as shop.internal");
    }
    if check.expect.as_ref().is_some_and(Vec::is_empty) {
        let last = problems.at(Code::EmptyList, &place.key("expect"), "no status would pass");
        last.help("write `[200-299]`, or remove the key for that");
    }
    if check.port == Some(0) {
        problems.at(Code::LimitOutOfRange, &place.key("port"), "`port` must be from 1 to 65535");
    }
    check_not_zero("interval", check.interval, place, problems);
    check_not_zero("timeout", check.timeout, place, problems);
    check_range("healthyThreshold", check.healthy_threshold, THRESHOLDS, place, problems);
    check_range("unhealthyThreshold", check.unhealthy_threshold, THRESHOLDS, place, problems);
    let interval = check.interval.map_or(std::time::Duration::from_secs(5), |interval| interval.0);
    if check.timeout.is_some_and(|timeout| timeout.0 > interval) {
        let last = problems.at(Code::SlowCheck, &place.key("timeout"), "a check may take longer than its interval");
        last.help("a slow endpoint is then checked less often; make `timeout` shorter or `interval` longer");
    }
}

fn check_outliers(outliers: &OutlierDetection, variant: &Variant, place: &Place, problems: &mut Problems<'_>) {
    check_not_zero("ejectFor", outliers.eject_for, place, problems);
    check_not_zero("interval", outliers.interval, place, problems);
    if outliers.consecutive_errors == Some(0) && outliers.success_rate.is_none() {
        let last = problems.at_key(Code::NothingToEjectFor, place, "neither errors nor success rates are looked at");
        last.help("remove `consecutiveErrors: 0`, add `successRate: {}`, or remove `outlierDetection`");
    }
    if let Some(rate) = &outliers.success_rate {
        let at = place.key("successRate");
        check_range("minEndpoints", rate.min_endpoints, 2..=10_000, &at, problems);
        check_range("minRequests", rate.min_requests, LIMITS, &at, problems);
        if rate.deviations.is_some_and(|deviations| !(0.1..=10.0).contains(&deviations)) {
            problems.at(Code::LimitOutOfRange, &at.key("deviations"), "`deviations` must be from 0.1 to 10");
        }
    }
    // a name may have any number of addresses
    let is_literal = |endpoint: &String| endpoint.parse::<SocketAddr>().is_ok();
    let percent = outliers.max_ejected_percent.map_or(50.0, |percent| percent.0.as_f64());
    let count = variant.endpoints.len();
    if count > 0 && variant.endpoints.iter().all(is_literal) && (count as f64 * percent / 100.0) < 1.0 {
        let message = format!("{percent} % of {count} endpoints is none: no endpoint can ever be ejected");
        let last = problems.at_key(Code::NeverEjected, place, message);
        last.help(format!("write `maxEjectedPercent: {}` or more, or add endpoints", 100usize.div_ceil(count)));
    }
}

pub(super) fn check_retry(file: &File, route: &Route, retry: &Retry, place: &Place, problems: &mut Problems<'_>) {
    check_range("attempts", retry.attempts, ATTEMPTS, place, problems);
    check_range("min", retry.budget.min, 0..=*LIMITS.end(), &place.key("budget"), problems);
    check_not_zero("perTryTimeout", retry.per_try_timeout, place, problems);
    if retry.on.as_ref().is_some_and(Vec::is_empty) {
        let last = problems.at(Code::EmptyList, &place.key("on"), "nothing would be tried again");
        last.help("write `on: [connect, reset, 503]`, or remove `retry`");
    }
    let request = route.timeouts.request.map_or(std::time::Duration::from_secs(30), |request| request.0);
    if retry.per_try_timeout.is_some_and(|one| !request.is_zero() && one.0 >= request) {
        let message = "one attempt may take as long as the whole request: there is no time for another";
        let last = problems.at(Code::TryAsLongAsRequest, &place.key("perTryTimeout"), message);
        last.help("make it shorter than `timeouts.request` of the route, 30s by default");
    }
    if let (Some(base), Some(max)) = (retry.backoff.base, retry.backoff.max)
        && base > max
    {
        let place = place.key("backoff");
        let last = problems.at(Code::ReversedBackoff, &place.key("base"), "`base` is longer than `max`");
        last.also(&place.key("max"), "shorter than that").help("exchange them");
    }
    let Some(name) = &route.service else { return };
    let fallback = file.services.get(name).and_then(|service| service.fallback.as_deref());
    if retry.across_variants && fallback == Some("none") {
        let message = format!("the service `{name}` has no fallback that a retry could go to");
        let last = problems.at(Code::NoVariantToRetryOn, &place.key("acrossVariants"), message);
        last.help("remove `fallback: none` of the service, or `acrossVariants`");
    }
}

fn check_range(key: &str, value: Option<u32>, range: RangeInclusive<u32>, place: &Place, problems: &mut Problems<'_>) {
    if value.is_some_and(|value| !range.contains(&value)) {
        let message = format!("`{key}` must be from {} to {}", range.start(), range.end());
        problems.at(Code::LimitOutOfRange, &place.key(key), message);
    }
}
