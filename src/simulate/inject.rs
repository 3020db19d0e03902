//! Faults of a version that does not exist yet, as people type them: `canary: error=2%, latency=x1.3`.

use std::str::FromStr;
use std::time::Duration;

use crate::config::values;
use crate::rollout::plan::Rollout;

/// What is wrong with the new version.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// As it was typed.
    pub text: String,
    /// The variant, or `canary` for whatever the rollout releases.
    pub variant: String,
    /// Only in this cohort.
    pub cohort: Option<String>,
    /// From this step of the file on; from 1.
    pub step: usize,
    /// Not before so much of the rollout is over.
    pub after: Duration,
    /// Part of its requests that fail, 0 to 1.
    pub errors: f64,
    /// All answers take so many times as long.
    pub times: f64,
    /// Some answers take so much longer.
    pub plus: Duration,
    /// Which part of them, 0 to 1.
    pub part: f64,
    /// So much is left of all outcomes, 0 to 1.
    pub outcomes: f64,
}

/// The most that latency may be multiplied by.
const TIMES_MAX: f64 = 1_000.0;

const HELP: &str = "write `canary: error=2%, latency=x1.3`; the parts are error=2%, latency=x1.3, latency=+500ms, \
    part=2% (of the answers that take longer), outcomes=x0.8, cohort=NAME, step=N, after=5m";

impl FromStr for Injection {
    type Err = String;

    fn from_str(text: &str) -> Result<Injection, String> {
        let (variant, parts) = text.split_once(':').ok_or(HELP)?;
        let mut injection = Injection {
            text: text.trim().to_owned(),
            variant: variant.trim().to_owned(),
            cohort: None,
            step: 1,
            after: Duration::ZERO,
            errors: 0.0,
            times: 1.0,
            plus: Duration::ZERO,
            part: 1.0,
            outcomes: 1.0,
        };
        for part in parts.split(',') {
            let (key, value) = part.trim().split_once('=').ok_or_else(|| format!("`{}`: {HELP}", part.trim()))?;
            injection.put(key.trim(), value.trim()).map_err(|error| format!("`{}`: {error}", part.trim()))?;
        }
        if injection.part < 1.0 && injection.plus.is_zero() {
            return Err("`part` says how many answers `latency=+500ms` concerns, and that is not there".to_owned());
        }
        if injection.variant.is_empty() || !injection.is_any() {
            return Err(format!("it breaks nothing; {HELP}"));
        }
        Ok(injection)
    }
}

impl Injection {
    fn put(&mut self, key: &str, value: &str) -> Result<(), String> {
        let rate = |text: &str| text.parse::<values::Rate>().map(values::Rate::as_f64);
        match (key, value.strip_prefix('x'), value.strip_prefix('+')) {
            ("error" | "errors", ..) => self.errors = rate(value)?,
            ("latency", Some(times), _) => {
                let times: f64 = times.parse().map_err(|_| "a factor is a number such as x1.3".to_owned())?;
                if !(1.0..=TIMES_MAX).contains(&times) {
                    return Err(format!("a factor is from 1 to {TIMES_MAX}"));
                }
                self.times = times;
            }
            ("latency", None, Some(plus)) => self.plus = plus.parse::<values::Duration>()?.0,
            ("outcome" | "outcomes", Some(left), _) => {
                let left = left.parse::<f64>().ok().filter(|left| (0.0..=1.0).contains(left));
                self.outcomes = left.ok_or("what is left of outcomes is from x0 to x1, such as x0.8")?;
            }
            ("part", ..) => self.part = rate(value)?,
            ("cohort", ..) => self.cohort = Some(value.to_owned()),
            ("step", ..) => {
                self.step = value.parse().ok().filter(|step| *step > 0).ok_or("a step is a number from 1")?;
            }
            ("after", ..) => self.after = value.parse::<values::Duration>()?.0,
            _ => return Err(HELP.to_owned()),
        }
        Ok(())
    }

    /// That it can be met in a rollout at all: a fault that cannot would look like a release that is well.
    ///
    /// # Errors
    /// It is of another variant, cohort or step; says which there are.
    pub fn fits(&self, rollout: &Rollout) -> Result<(), String> {
        let (text, to) = (&self.text, &rollout.to);
        if !self.concerns(to, to) {
            return Err(format!("`{text}`: what is released is {to}; write `canary: ..`"));
        }
        let known = rollout.cohorts();
        if let Some(cohort) = self.cohort.as_deref().filter(|cohort| !known.contains(cohort)) {
            return Err(format!(
                "`{text}`: the rollout has no step for cohort `{cohort}`; it has {}",
                known.join(", ")
            ));
        }
        match self.step > rollout.written {
            true => Err(format!("`{text}`: the rollout has no step {}, it has {}", self.step, rollout.written)),
            false => Ok(()),
        }
    }

    /// Whether anything is wrong.
    pub fn is_any(&self) -> bool {
        let is_slow = self.times > 1.0 || (!self.plus.is_zero() && self.part > 0.0);
        self.errors > 0.0 || is_slow || self.outcomes < 1.0
    }

    /// Whether it is about a variant.
    pub fn concerns(&self, variant: &str, released: &str) -> bool {
        self.variant == variant || self.variant == "canary" && variant == released
    }

    /// Whether it is there in a cohort, at a step (from 1) and a time of the rollout.
    pub fn is_there(&self, cohort: &str, step: usize, elapsed: Duration) -> bool {
        self.cohort.as_deref().is_none_or(|own| own == cohort) && step >= self.step && elapsed >= self.after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_people_type_them() {
        let read: Injection = "canary: error=2%, latency=x1.3".parse().unwrap();
        assert_eq!((read.errors, read.times, read.step, read.part), (0.02, 1.3, 1, 1.0));
        let read: Injection = "v2: latency=+500ms, part=2%, cohort=beta, step=2, after=5m".parse().unwrap();
        assert_eq!((read.plus.as_millis(), read.part, read.cohort.as_deref()), (500, 0.02, Some("beta")));
        assert!(read.is_there("beta", 2, Duration::from_secs(300)));
        assert!(!read.is_there("beta", 2, Duration::from_secs(299)) && !read.is_there("beta", 1, Duration::MAX));
        assert!(!read.is_there("staff", 2, Duration::MAX));
        assert!(read.concerns("v2", "v2") && !read.concerns("canary", "v2"));
    }

    #[test]
    fn what_breaks_nothing_or_is_misspelt_is_told() {
        for (text, told) in [
            ("canary", "write `canary"),
            ("canary: error=0%", "it breaks nothing"),
            ("canary: error=2", "a rate is a percentage with its sign"),
            ("canary: eror=2%", "`eror=2%`: write"),
            ("canary: latency=1.3", "`latency=1.3`: write"),
            ("canary: latency=x0.5", "a factor is from 1"),
            ("canary: latency=x10, part=50%", "`part` says how many answers"),
            ("canary: error=2%, part=50%", "`part` says how many answers"),
            ("canary: error=1%, step=0", "a step is a number"),
            ("canary: outcomes=x1.2", "what is left of outcomes"),
            (": error=1%", "it breaks nothing"),
        ] {
            let error = text.parse::<Injection>().unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
