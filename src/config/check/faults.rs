//! `faults` of services.

use super::problems::Problems;
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{Fault, FaultAbort, FaultDelay, Service};
use crate::config::suggest::known;
use crate::model::EVERYONE;
use std::time::Duration;

/// The longest delay.
const DELAY_MAX: Duration = Duration::from_secs(600);

pub(super) fn check(service: &Service, place: &Place, problems: &mut Problems<'_>) {
    for (index, fault) in service.faults.iter().enumerate() {
        check_fault(service, fault, &place.index(index), problems);
    }
}

fn check_fault(service: &Service, fault: &Fault, place: &Place, problems: &mut Problems<'_>) {
    if !service.variants.contains_key(&fault.variant) {
        let message = format!("the variant `{}` does not exist", fault.variant);
        let last = problems.at(Code::UnknownVariant, &place.key("variant"), message);
        last.help_with(|| known(&fault.variant, "variants", service.variants.keys().map(String::as_str)));
    }
    let cohorts = || service.cohorts.iter().map(|cohort| cohort.name.as_str()).chain([EVERYONE]);
    if let Some(cohort) = &fault.cohort
        && !cohorts().any(|name| name == cohort)
    {
        let message = format!("the cohort `{cohort}` does not exist");
        let last = problems.at(Code::UnknownCohort, &place.key("cohort"), message);
        last.help_with(|| known(cohort, "cohorts", cohorts()));
    }
    if fault.delay.is_none() && fault.abort.is_none() {
        let last = problems.at(Code::FaultWithoutEffect, &place.key("variant"), "the fault does nothing");
        last.help("add `delay: { fixed: 200ms }`, `abort: { status: 503 }` or `abort: reset`");
    }
    if fault.percent.0.is_zero() {
        let last = problems.at(Code::FaultWithoutEffect, &place.key("percent"), "the fault meets nobody");
        last.help("write more than 0, or remove the fault");
    }
    if let Some(delay) = &fault.delay {
        check_delay(delay, &place.key("delay"), problems);
    }
    if let Some(FaultAbort::Status(status)) = &fault.abort
        && !(400..600).contains(status)
    {
        let place = place.key("abort").key("status");
        let last = problems.at(Code::BadFaultStatus, &place, format!("{status} is not a status of failures"));
        last.help("write 400 to 599, such as 503");
    }
    match &fault.until {
        None => {
            let last = problems.at(Code::FaultForEver, &place.key("variant"), "the fault has no end");
            last.help("add `until: 2026-12-24T18:00:00Z`, so that a drill that is forgotten ends by itself");
        }
        Some(until) if until.parse::<jiff::Timestamp>().is_err() => {
            let last = problems.at(Code::BadTime, &place.key("until"), format!("`{until}` is not a time"));
            last.help("write it as in RFC 3339: 2026-12-24T18:00:00Z, or with an offset such as +01:00");
        }
        Some(_) => {}
    }
}

fn check_delay(delay: &FaultDelay, place: &Place, problems: &mut Problems<'_>) {
    let quantiles = [("p50", delay.p50), ("p90", delay.p90), ("p99", delay.p99)];
    let is_spread = quantiles.iter().any(|(_, given)| given.is_some());
    if delay.fixed.is_some() == is_spread {
        let last = problems.at_key(Code::BadDelay, place, "a delay is either `fixed` or spread by quantiles");
        last.help("write `{ fixed: 200ms }`, or `{ p50: 50ms, p99: 1s }`");
        return;
    }
    let mut least = Duration::ZERO;
    for (key, given) in [("fixed", delay.fixed)].into_iter().chain(quantiles) {
        let Some(given) = given else { continue };
        if given.0 > DELAY_MAX || (given.0.is_zero() && key == "fixed") {
            let last = problems.at(Code::BadDelay, &place.key(key), "a delay is from 1ms to 10m");
            last.help("the timeout of the route ends a longer one in any case");
        } else if given.0 < least {
            let last =
                problems.at(Code::BadDelay, &place.key(key), format!("`{key}` is shorter than a quantile below it"));
            last.help("quantiles ascend: p50 at most p90 at most p99");
        }
        least = least.max(given.0);
    }
}
