//! What each step of a rollout can see and what it cannot, before it begins.

use std::time::Duration;

use super::rules::watch_plan;
use crate::config::schema::File;
use crate::control::journal::traffic_file::{Known, Traffic};
use crate::control::plans::plan;
use crate::model::{Weight, grouped, percent};
use crate::rollout::judge::{JudgeRules, Preview, starts_of_step};
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
        let rules = |cohort: &str| watch_plan(written, &rollout, cohort).map(|watched| watched.rules);
        let shifts = rollout.steps.iter().filter_map(|step| Some((step, step.shift()?)));
        let previews = shifts.enumerate().filter_map(|(at, (step, shift))| {
            let text = sees(&rollout, at, shift, &rules(&shift.cohort)?, traffic(&shift.cohort), given.error_rate);
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
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Given {
    /// Requests per second.
    pub per_second: Option<f64>,
    /// Stable's error rate (0 to 1).
    pub error_rate: Option<f64>,
}

impl Given {
    fn over(&self, known: Option<Traffic>) -> Option<Traffic> {
        let per_second = self.per_second.or(known.map(|known| known.per_second))?;
        let error_rate = self.error_rate.or(known.map(|known| known.error_rate)).unwrap_or(ERROR_RATE_DEFAULT);
        Some(Traffic { per_second, error_rate })
    }
}

/// What one step can see. `at` is its place among the steps that give shares.
fn sees(
    rollout: &Rollout,
    at: usize,
    shift: &Shift,
    rules: &JudgeRules,
    traffic: Option<Traffic>,
    error_rate: Option<f64>,
) -> String {
    let Some(errors) = rules.errors else { return "does not look at errors: the gate is off".to_owned() };
    let share = rollout.share_of(shift);
    let before = rollout.steps.iter().filter_map(Step::shift).take(at).filter(|other| other.cohort == shift.cohort);
    let preview = Preview {
        requests_per_s: traffic.map_or(0.0, |traffic| traffic.per_second),
        canary_share: share.as_f64() / 100.0,
        hold_s: shift.hold.saturating_sub(shift.warmup).as_secs(),
        error_rate: traffic.map_or(error_rate.unwrap_or(ERROR_RATE_DEFAULT), |traffic| traffic.error_rate),
        alpha: rules.alpha,
        starts: starts_of_step(before.count() as u32, rules.steps),
        floor: errors.floor,
        min_bad: rules.min_bad,
        min_requests: rules.min_requests,
    };
    let weaker = match share >= Weight::HUNDRED {
        true => ", and has only the time before the step to compare with: `holdback` keeps some users there",
        false => "",
    };
    match traffic {
        Some(_) if preview.hold_s > 0 => format!("{}{weaker}", preview.text()),
        _ => format!("{}{weaker}", needs(&preview)),
    }
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
        let file = load_texts(vec![Source::new("a.yaml", FILE)]).unwrap_or_else(|errors| panic!("{errors}")).file;
        previews(&file, known, &given).into_iter().map(|step| step.text).collect()
    }

    #[test]
    fn a_step_says_what_it_sees_at_the_traffic_that_is_known() {
        let mut known = Known::default();
        let cohorts = &mut known.services.entry("shop".to_owned()).or_default().cohorts;
        cohorts.insert("everyone".to_owned(), Traffic { per_second: 500.0, error_rate: 0.002 });
        let steps = texts(&known, Given::default());
        assert!(steps[0].starts_with("sees 0.2 % → ") && steps[0].contains("cannot see ×"), "{steps:?}");
        assert!(steps[1].contains("only the time before the step"), "{steps:?}");
        let given = texts(&known, Given { per_second: Some(0.01), error_rate: None });
        assert!(given[0].starts_with("cannot see anything within the hold"), "{given:?}");
    }

    #[test]
    fn without_traffic_it_says_what_it_needs() {
        let steps = texts(&Known::default(), Given { per_second: None, error_rate: Some(0.02) });
        let expected = "needs requests of the new version: ";
        assert!(steps[0].starts_with(expected) && steps[0].ends_with("where 2 % fail today"), "{steps:?}");
        assert!(!steps[0].contains("to see 1 %") && steps[0].contains("to see 5 %"), "{steps:?}");
    }
}
