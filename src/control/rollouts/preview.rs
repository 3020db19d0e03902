//! What each step of a rollout can see and what it cannot, before it begins.

use std::time::Duration;

use super::rules::{WatchPlan, watch_plan};
use crate::config::schema::{File, OutcomeGate, Service};
use crate::control::journal::traffic_file::{Known, ServiceTraffic, Traffic};
use crate::control::plans::plan;
use crate::model::{Weight, grouped, percent};
use crate::rollout::judge::{PAST_ERRORS_RATIO, Preview, QUANTILE_LEVELS, QUANTILES, starts_of_step};
use crate::rollout::plan::{Rollout, Shift, Step};

/// What a step can see, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct StepPreview {
    /// The service.
    pub service: String,
    /// The step's number in the file, from 1. The values of a ramp share one.
    pub number: usize,
    /// The cohort.
    pub cohort: String,
    /// Percent of it.
    pub share: Weight,
    /// How long it lasts at least.
    pub hold: Duration,
    /// The traffic that this is about; `None` when none is known.
    pub traffic: Option<Traffic>,
    /// In plain words.
    pub text: String,
}

/// Error rates of which it is said how many requests they take, where no traffic is known.
const EXAMPLES: [f64; 3] = [0.01, 0.05, 0.5];

/// Stable's error rate where nobody knows it.
const ERROR_RATE_DEFAULT: f64 = 0.001;

/// What every step of the file can see. `given` counts before what is known.
pub fn previews(file: &File, known: &Known, given: &Given) -> Vec<StepPreview> {
    let of_service = |(name, written): (&String, &crate::config::schema::Service)| {
        let rollout = plan(name, written).rollout?;
        let traffic = |cohort: &str| given.over(known.traffic(name, cohort));
        let (none, seen) = (ServiceTraffic::default(), known.services.get(name));
        let seen = seen.unwrap_or(&none);
        let watched = |cohort: &str| watch_plan(written, &rollout, cohort);
        let shifts = rollout.steps.iter().filter_map(|step| Some((step, step.shift()?)));
        let previews = shifts.enumerate().filter_map(|(at, (step, shift))| {
            let watched = watched(&shift.cohort)?;
            let text = sees(&rollout, at, shift, &watched, traffic(&shift.cohort), written, (given, seen));
            Some(StepPreview {
                service: name.clone(),
                number: step.number,
                cohort: shift.cohort.clone(),
                share: rollout.share_of(shift),
                hold: shift.hold,
                traffic: traffic(&shift.cohort),
                text,
            })
        });
        Some(previews.collect::<Vec<_>>())
    };
    file.services.iter().filter_map(of_service).flatten().collect()
}

/// What somebody says of the traffic of each cohort.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// Requests per second.
    pub per_second: Option<f64>,
    /// Stable's error rate (0 to 1).
    pub error_rate: Option<f64>,
    /// How many requests bring an outcome (0 to 1), by its name.
    pub outcomes: Vec<(String, f64)>,
}

impl Given {
    /// How many requests of a cohort bring an outcome: as somebody says, else as was seen when it was last looked at.
    fn outcome(&self, name: &str, known: &ServiceTraffic, cohort: &str) -> Option<f64> {
        let given = self.outcomes.iter().find(|(of, _)| of == name).map(|(_, rate)| *rate);
        given.or_else(|| known.outcomes.get(cohort)?.get(name).copied()).filter(|rate| *rate > 0.0)
    }

    fn over(&self, known: Option<Traffic>) -> Option<Traffic> {
        let per_second = self.per_second.or(known.map(|known| known.per_second))?;
        let error_rate = self.error_rate.or(known.map(|known| known.error_rate)).unwrap_or(ERROR_RATE_DEFAULT);
        Some(Traffic { per_second, error_rate, p99_us: known.and_then(|known| known.p99_us) })
    }
}

/// What one step can see. `at` is its place among the steps that give shares.
fn sees(
    rollout: &Rollout,
    at: usize,
    shift: &Shift,
    watched: &WatchPlan,
    traffic: Option<Traffic>,
    written: &Service,
    (given, known): (&Given, &ServiceTraffic),
) -> String {
    let (rules, share) = (&watched.rules, rollout.share_of(shift));
    let before = rollout.steps.iter().filter_map(Step::shift).take(at).filter(|other| other.cohort == shift.cohort);
    let error_rate = given.error_rate.unwrap_or(ERROR_RATE_DEFAULT);
    let error_rate = traffic.map_or(error_rate, |traffic| traffic.error_rate);
    let has_control = share < Weight::HUNDRED;
    let floor = rules.errors.map_or(f64::MIN_POSITIVE, |errors| errors.floor);
    let preview = Preview {
        requests_per_s: traffic.map_or(0.0, |traffic| traffic.per_second),
        canary_share: share.as_f64() / 100.0,
        hold_s: shift.hold.saturating_sub(shift.warmup).as_secs(),
        error_rate,
        alpha: rules.alpha,
        starts: starts_of_step(before.count() as u32, rules.steps),
        // against the past more is tolerated
        floor: if has_control { floor } else { floor.max(PAST_ERRORS_RATIO * error_rate) },
        min_bad: rules.min_bad,
        min_requests: rules.min_requests,
    };
    let has_times = traffic.is_some() && preview.hold_s > 0;
    let mut parts = vec![match rules.errors {
        None => "does not look at errors: the gate is off".to_owned(),
        Some(_) if has_times => preview.text(),
        Some(_) => needs(&preview),
    }];
    if let (Some(latency), Some(at), true) = (&rules.latency, highest_known(&watched.quantiles), has_times) {
        let p99_us = traffic.and_then(|traffic| traffic.p99_us).filter(|_| QUANTILE_LEVELS[at] == 0.99);
        let limit =
            p99_us.map(|us| format!("{} ms", (latency.ratio * us as f64 + latency.plus_us as f64).round() / 1e3));
        parts.push(format!("latency: {}", preview.slow_text(QUANTILE_LEVELS[at], has_control, limit.as_deref())));
    }
    for (rules, gate) in rules.outcomes.iter().zip(&outcome_gates(written)) {
        parts.push(match given.outcome(&rules.name, known, &shift.cohort) {
            _ if !has_control => format!("{}: nobody is left to compare with", rules.name),
            Some(rate) => {
                let sees = preview.outcome_text(rate, rules.ratio, gate.among.is_none() && has_times);
                format!("{} ({} bring one): {sees}", rules.name, percent(rate))
            }
            None => {
                format!("{}: nobody has said how many requests bring one (--outcome {}=5%)", rules.name, rules.name)
            }
        });
    }
    if !has_control {
        let lacks = "has only the time before the step to compare with: `holdback` keeps some users there";
        parts.push(lacks.to_owned());
    }
    parts.join("; ")
}

fn outcome_gates(written: &Service) -> Vec<OutcomeGate> {
    written.rollout.as_ref().map(|rollout| rollout.gates.outcomes.clone()).unwrap_or_default()
}

/// The highest quantile that is compared, but for p99.9, of which few know what it is.
fn highest_known(quantiles: &[bool; QUANTILES]) -> Option<usize> {
    (0..QUANTILES - 1).rev().find(|at| quantiles[*at])
}

/// How many requests it takes, for who does not know how long they take.
fn needs(preview: &Preview) -> String {
    let examples = EXAMPLES.iter().filter(|rate| **rate > 1.5 * preview.error_rate);
    let part =
        |rate: &f64| format!("{} to see {}", grouped(preview.requests_until(*rate).ceil() as u64), percent(*rate));
    let parts: Vec<String> = examples.map(part).collect();
    format!("needs requests of the new version: {}, where {} fail today", parts.join(", "), percent(preview.error_rate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load_texts};

    const FILE: &str = "\
listeners: [{ address: 127.0.0.1:8080 }]
stateDir: state
services:
  shop:
    variants:
      stable: { weight: 100, endpoints: [127.0.0.1:3001] }
      canary: { weight: 0, endpoints: [127.0.0.1:3002] }
    rollout:
      id: v42
      to: canary
      steps: [{ cohort: everyone, ramp: [1, 100], hold: 10m }]
";

    fn texts(known: &Known, given: Given) -> Vec<String> {
        texts_of(FILE, known, given)
    }

    fn texts_of(file: &str, known: &Known, given: Given) -> Vec<String> {
        let file = load_texts(vec![Source::new("a.yaml", file)]).unwrap_or_else(|errors| panic!("{errors}")).file;
        previews(&file, known, &given).into_iter().map(|step| step.text).collect()
    }

    #[test]
    fn a_step_says_what_it_sees_at_the_traffic_that_is_known() {
        let mut known = Known::default();
        let cohorts = &mut known.services.entry("shop".to_owned()).or_default().cohorts;
        cohorts.insert("everyone".to_owned(), Traffic { per_second: 500.0, error_rate: 0.002, p99_us: Some(160_000) });
        let steps = texts(&known, Given::default());
        assert!(steps[0].starts_with("sees 0.2 % → ") && steps[0].contains("cannot see ×"), "{steps:?}");
        assert!(steps[1].contains("only the time before the step"), "{steps:?}");
        let given = texts(&known, Given { per_second: Some(0.01), ..Given::default() });
        assert!(given[0].starts_with("cannot see anything within the hold"), "{given:?}");
    }

    #[test]
    fn latency_and_outcomes_are_said_where_the_plan_looks_at_them() {
        let gates = "\n      gates: { outcomes: [{ name: orders, header: { name: x-order, present: true } }, { name: signups }] }\n";
        let file = FILE.replace("      to: canary\n", &format!("      to: canary{gates}"));
        let mut known = Known::default();
        let cohorts = &mut known.services.entry("shop".to_owned()).or_default().cohorts;
        cohorts.insert("everyone".to_owned(), Traffic { per_second: 500.0, error_rate: 0.002, p99_us: Some(160_000) });
        let given = Given { outcomes: vec![("orders".to_owned(), 0.05)], ..Given::default() };
        let steps = texts_of(&file, &known, given);
        for part in [
            "; latency: sees 1 % → ",
            " slower than p99 (181 ms) in about ",
            "; orders (5 % bring one): half as many in about ",
            "; signups: nobody has said how many requests bring one (--outcome signups=5%)",
        ] {
            assert!(steps[0].contains(part), "{part}: {steps:?}");
        }
        let off = FILE.replace("      to: canary\n", "      to: canary\n      gates: { latency: { off: true } }\n");
        assert!(!texts_of(&off, &known, Given::default())[0].contains("latency"));

        let seen = &mut known.services.get_mut("shop").unwrap().outcomes;
        seen.entry("everyone".to_owned()).or_default().insert("signups".to_owned(), 0.02);
        let steps = texts_of(&file, &known, Given { outcomes: vec![("orders".to_owned(), 0.05)], ..Given::default() });
        assert!(steps[0].contains("; signups (2 % bring one): half as many "), "{steps:?}");
        let said = Given { outcomes: vec![("signups".to_owned(), 0.5)], ..Given::default() };
        assert!(texts_of(&file, &known, said)[0].contains("; signups (50 % bring one): "));
    }

    #[test]
    fn without_traffic_it_says_what_it_needs() {
        let steps = texts(&Known::default(), Given { error_rate: Some(0.02), ..Given::default() });
        let expected = "needs requests of the new version: ";
        assert!(steps[0].starts_with(expected) && steps[0].ends_with("where 2 % fail today"), "{steps:?}");
        assert!(!steps[0].contains("to see 1 %") && steps[0].contains("to see 5 %"), "{steps:?}");
    }
}
