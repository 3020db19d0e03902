//! Requests of our own to a new version, through the data plane, so that a cohort that is too small to speak gets a
//! signal.
//!
//! A probe that fails holds its rollout back. Only when it fails again and again while the same request to `from` goes
//! well is that harm: what fails for both says nothing of the release.

mod exchange;
mod script;
mod tally;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::AbortHandle;

use super::asked::{Word, weigh};
use super::view::GateView;
use crate::config::schema::File;
use crate::control::plane::Dialer;
use crate::rollout::input::CohortReading;
use crate::rollout::plan::Plan;
use crate::telemetry::metrics::ProbeFact;
use exchange::Came;
use script::Script;
use tally::Tally;

/// The name of probes among gates.
const GATE: &str = "probes";

/// All probes of the file.
#[derive(Default)]
pub(super) struct Probes {
    lines: Vec<Line>,
    dialer: Option<Dialer>,
    /// By service and cohort: how many had passed when the step began.
    begun: BTreeMap<(String, String), u64>,
}

struct Line {
    service: String,
    script: Script,
    tally: Arc<Mutex<Tally>>,
    /// While it is sent.
    task: Option<AbortHandle>,
}

impl Probes {
    /// Other files are in force. Probes that are the same go on.
    pub(super) fn follow(&mut self, file: &File, plans: &BTreeMap<String, Plan>, dialer: Dialer) {
        let mut known = std::mem::take(&mut self.lines);
        for (service, plan) in plans {
            for script in script::scripts(file, service, plan) {
                let at = known.iter().position(|line| line.service == *service && line.script == script);
                let line = match at.map(|at| known.swap_remove(at)) {
                    Some(same) => same,
                    None => Line::new(service, script),
                };
                self.lines.push(line);
            }
        }
        self.dialer = Some(dialer);
    }

    /// Sends the probes of cohorts that are watched, and no others. Must be called within a runtime.
    pub(super) fn look(&mut self, is_watched: impl Fn(&str, &str) -> bool) {
        let Some(dialer) = &self.dialer else { return };
        for line in &mut self.lines {
            match (is_watched(&line.service, &line.script.cohort), &line.task) {
                (true, None) => {
                    let probe = probe_forever(line.script.clone(), Arc::clone(&line.tally), Arc::clone(dialer));
                    line.task = Some(tokio::spawn(probe).abort_handle());
                }
                (false, Some(_)) => line.rest(),
                (true, Some(_)) | (false, None) => {}
            }
        }
    }

    /// A person begins a rollout again: what was found before says nothing of it.
    pub(super) fn begin_again(&mut self, service: &str) {
        self.lines.iter_mut().filter(|line| line.service == service).for_each(Line::rest);
    }

    /// A step of a cohort begins: what passed before is no evidence for it.
    pub(super) fn begin_step(&mut self, service: &str, cohort: &str) {
        let passed = self.passed(service, cohort);
        self.begun.insert((service.to_owned(), cohort.to_owned()), passed);
    }

    /// Probes of a cohort that have passed since its step began.
    pub(super) fn since_step(&self, service: &str, cohort: &str) -> u64 {
        let before = self.begun.get(&(service.to_owned(), cohort.to_owned())).copied().unwrap_or(0);
        self.passed(service, cohort).saturating_sub(before)
    }

    /// What the judge says of a cohort and what its probes say, as one.
    pub(super) fn join(&self, service: &str, mut reading: CohortReading) -> CohortReading {
        reading.probes = self.since_step(service, &reading.cohort);
        let cohort = reading.cohort.clone();
        for line in self.of(service, &cohort) {
            let (word, text) = line.tally().word();
            weigh(&mut reading, GATE, word, line.script.on_harm, text);
        }
        reading
    }

    /// What is shown of the probes of a service: the gravest of each cohort.
    pub(super) fn views(&self, service: &str) -> Vec<GateView> {
        let mut gravest: BTreeMap<&str, (Word, String)> = BTreeMap::new();
        for line in self.lines.iter().filter(|line| line.service == service && line.task.is_some()) {
            let (word, text) = line.tally().word();
            let known = gravest.entry(line.script.cohort.as_str()).or_insert_with(|| (word, text.clone()));
            if word.gravity() > known.0.gravity() {
                *known = (word, text);
            }
        }
        let views = gravest.into_iter();
        views.map(|(cohort, (word, text))| GateView::of_word(cohort, GATE, word.as_str(), text)).collect()
    }

    /// What metrics tell of probes.
    pub(super) fn facts(&self) -> Vec<ProbeFact> {
        let mut counts: BTreeMap<(&str, &str, &str), [u64; Came::KINDS.len()]> = BTreeMap::new();
        for line in &self.lines {
            let tally = line.tally();
            for (variant, of) in [(&line.script.to, tally.of_to), (&line.script.from, tally.of_from)] {
                let sum =
                    counts.entry((line.service.as_str(), line.script.cohort.as_str(), variant.as_str())).or_default();
                sum.iter_mut().zip(of).for_each(|(sum, count)| *sum += count);
            }
        }
        let fact = |((service, cohort, variant), counts): ((&str, &str, &str), [u64; Came::KINDS.len()])| ProbeFact {
            service: service.to_owned(),
            cohort: cohort.to_owned(),
            variant: variant.to_owned(),
            results: Came::KINDS.into_iter().zip(counts).collect(),
        };
        counts.into_iter().map(fact).collect()
    }

    fn passed(&self, service: &str, cohort: &str) -> u64 {
        let of_cohort = self.lines.iter().filter(|line| line.service == service && line.script.cohort == cohort);
        of_cohort.map(|line| line.tally().passed()).sum()
    }

    fn of<'p>(&'p self, service: &'p str, cohort: &'p str) -> impl Iterator<Item = &'p Line> {
        let is_of = move |line: &&Line| line.service == service && line.script.cohort == cohort;
        self.lines.iter().filter(is_of).filter(|line| line.task.is_some())
    }
}

impl Line {
    fn new(service: &str, script: Script) -> Line {
        let tally = Arc::new(Mutex::new(Tally::of(script.name())));
        Line { service: service.to_owned(), script, tally, task: None }
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it found of late says nothing of the next time. What it counted stays.
    fn rest(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.tally().forget();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn probe_forever(script: Script, tally: Arc<Mutex<Tally>>, dialer: Dialer) {
    // those that begin together do not stay together
    tokio::time::sleep(script.every.min(script::FIRST_MAX).mul_f64(fastrand::f64())).await;
    loop {
        let came = exchange::send(&script, &script.to, &dialer).await;
        // what fails is asked of the other version too, so that a fault of both is told from harm
        let other = match came {
            Came::Passed | Came::Misrouted(_) => None,
            Came::Unexpected(_) | Came::Failed(_) => Some(exchange::send(&script, &script.from, &dialer).await),
        };
        tally.lock().unwrap_or_else(PoisonError::into_inner).note(came, other, &script.from);
        tokio::time::sleep(script.every.mul_f64(0.95 + 0.1 * fastrand::f64())).await;
    }
}
