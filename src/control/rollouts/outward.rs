//! What rollouts ask and tell beyond the recorder: gates that others answer, probes, notifiers.

use std::time::Instant;

use super::view::{GateView, RolloutView};
use super::{Rollouts, is_watched};
use crate::control::reload;
use crate::rollout::input::CohortReading;
use crate::telemetry::metrics::{NotifierFact, ProbeFact};

impl Rollouts {
    /// Whom the files in force name outside of this process.
    pub(super) fn follow(&mut self, hands: &reload::State) {
        let in_force = hands.common.in_force.load();
        let (file, references) = (&in_force.loaded.file, &in_force.references);
        self.notifiers.follow(file, references);
        self.asked.follow(file, references);
        self.probes.follow(file, &self.plans, hands.plane.dialer());
        self.ask_of_watched();
    }

    /// A second has passed: asks whom it must, and counts what was said.
    pub(super) fn look_outward(&mut self) {
        self.ask_of_watched();
        let services: Vec<String> = self.plans.keys().cloned().collect();
        for service in services {
            for gate in self.views_outward(&service) {
                let counts = self.verdicts.entry((service.clone(), gate.cohort)).or_default();
                *counts.entry((gate.gate, gate.verdict)).or_default() += 1;
            }
        }
    }

    /// What the judge says of a cohort, with what gates outside and probes say.
    pub(super) fn joined(&self, service: &str, reading: CohortReading) -> CohortReading {
        self.asked.join(service, self.probes.join(service, reading), Instant::now())
    }

    /// Shows what stands beside the judge.
    pub(super) fn add_outward(&self, view: &mut RolloutView) {
        for cohort in &mut view.cohorts {
            cohort.probes = self.probes.since_step(&view.service, &cohort.name);
        }
        view.gates.extend(self.views_outward(&view.service));
    }

    /// What metrics tell of notifiers.
    pub(in crate::control) fn notifier_facts(&self) -> Vec<NotifierFact> {
        self.notifiers.facts()
    }

    /// What metrics tell of probes.
    pub(in crate::control) fn probe_facts(&self) -> Vec<ProbeFact> {
        self.probes.facts()
    }

    fn views_outward(&self, service: &str) -> Vec<GateView> {
        let mut views = self.probes.views(service);
        views.extend(self.asked.views(service, Instant::now()));
        views
    }

    /// Gates and probes of rollouts that are watched are asked, and no others.
    fn ask_of_watched(&mut self) {
        let (states, watching) = (&self.states, &self.watching);
        let is_on = |key: &(String, String)| states.get(&key.0).is_some_and(|state| is_watched(state, &key.1));
        self.asked.look(|service| watching.keys().any(|key| key.0 == service && is_on(key)));
        self.probes.look(|service, cohort| {
            let key = (service.to_owned(), cohort.to_owned());
            watching.contains_key(&key) && is_on(&key)
        });
    }
}
