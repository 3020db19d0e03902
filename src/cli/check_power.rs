//! What the steps of rollouts can see, as `check` tells it.

use super::rehearse::named_rates;
use crate::config::render::StepSight;
use crate::config::{Loaded, values};
use crate::control::{Given, known_traffic, previews};
use crate::model::percent;

/// What is said of the traffic.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Power {
    /// Requests of each cohort, such as 500/s, for what its steps can see [default: as last seen, by `stateDir`]
    #[arg(long, value_name = "RATE", value_parser = per_second)]
    traffic: Option<f64>,
    /// The part of them that fails today, such as 0.2% [default: as last seen, else 0.1%]
    #[arg(long, value_name = "PERCENT")]
    base_errors: Option<values::Rate>,
    /// How many of them bring an outcome of the gates today, such as orders=5%
    #[arg(long = "outcome", value_name = "NAME=RATE")]
    outcomes: Vec<String>,
}

impl Power {
    /// What every step can see, in the order of the file.
    ///
    /// # Errors
    /// What was typed of outcomes cannot be read.
    pub(super) fn sights(&self, loaded: &Loaded) -> anyhow::Result<Vec<StepSight>> {
        let error_rate = self.base_errors.map(|rate| rate.as_f64());
        let given = Given { per_second: self.traffic, error_rate, outcomes: named_rates(&self.outcomes)? };
        let steps = previews(&loaded.file, &known_traffic(loaded), &given).into_iter();
        let sight = |step: crate::control::StepPreview| StepSight {
            service: step.service,
            number: step.number,
            cohort: step.cohort,
            share: step.share.as_f64(),
            hold_seconds: step.hold.as_secs(),
            traffic: step.traffic.map(|traffic| (traffic.per_second, traffic.error_rate)),
            text: step.text,
        };
        Ok(steps.map(sight).collect())
    }
}

/// One line a step; nothing for a file without a rollout.
pub(super) fn text(sights: &[StepSight]) -> String {
    let line = |step: &StepSight| {
        let StepSight { service, number, cohort, share, traffic, text, .. } = step;
        let at = match traffic {
            Some((per_second, errors)) => {
                let per_second = (per_second * 10.0).round() / 10.0;
                format!(" at {per_second} requests/s with {} errors", percent(*errors))
            }
            None => String::new(),
        };
        format!("  {service} step {number}, {cohort} {share} %{at}: {text}\n")
    };
    let lines: String = sights.iter().map(line).collect();
    let has_none = sights.iter().any(|step| step.traffic.is_none());
    let hint = match has_none {
        true => "  no traffic is known yet: --traffic 500/s --base-errors 0.2% says how long that takes\n",
        false => "",
    };
    if lines.is_empty() { lines } else { format!("what each step can see, on average:\n{lines}{hint}") }
}

/// Reads `500/s`, `30000/m` and `90000/h`.
fn per_second(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is no rate; write it like 500/s");
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(wrong()),
    };
    let number = number.trim().parse::<f64>().ok().filter(|number| (0.0..=1e9).contains(number));
    Ok(number.ok_or_else(wrong)? / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_unit() {
        assert_eq!((per_second("500/s"), per_second("30/m"), per_second("3600/h")), (Ok(500.0), Ok(0.5), Ok(1.0)));
        for text in ["500", "/s", "-1/s", "nan/s", "1/d", "1e99/s"] {
            assert!(per_second(text).is_err(), "{text}");
        }
    }
}
