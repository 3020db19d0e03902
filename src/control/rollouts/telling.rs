//! What happened to rollouts is told: to the log, to those who look on, and to the audit log.

use super::Rollouts;
use crate::control::journal::store::WAITING_MAX;
use crate::control::reload;
use crate::rollout::effect::{Event, EventKind};
use crate::telemetry::tap::Passed;

impl Rollouts {
    pub(super) fn record(&mut self, hands: &reload::State, mut events: Vec<Event>) {
        for event in &mut events {
            self.tell_whom_it_met(event);
            let samples = self.samples_of(event);
            hands.common.events.push(event, samples);
            let (service, what) = (event.service.as_str(), event.kind.as_str());
            let (actor, reason) = (event.actor.as_deref(), event.reason.as_deref());
            let (rollout, runbook) = (event.rollout.as_deref(), event.runbook.as_deref());
            tracing::info!(service, rollout, event = what, actor, reason, runbook, "{}", event.sentence);
        }
        self.append(events);
    }

    /// How many users the new version had until it was taken back or promoted.
    fn tell_whom_it_met(&self, event: &mut Event) {
        if !matches!(event.kind, EventKind::RolledBack | EventKind::Harm | EventKind::Promoted) {
            return;
        }
        let is_meant = |service: &str, cohort: &str| {
            service == event.service && event.cohort.as_deref().is_none_or(|only| only == cohort)
        };
        let met = self.watching.iter().filter(|((service, cohort), _)| is_meant(service, cohort));
        let users: u64 = met.map(|(_, watching)| watching.exposed()).sum();
        event.numbers.push(("users".to_owned(), users.to_string()));
    }

    /// The failing requests behind a decision.
    fn samples_of(&mut self, event: &Event) -> Vec<Passed> {
        match event.kind {
            EventKind::Started => self.samples.forget(&event.service),
            EventKind::Retried => {
                self.samples.forget(&event.service);
                // what was answered and found before it says nothing of what begins now
                self.asked.begin_again(&event.service);
                self.probes.begin_again(&event.service);
            }
            EventKind::RolledBack | EventKind::Harm => {
                let position = self.states.get(&event.service).and_then(|state| state.rollout.as_ref());
                let variant = position.map_or("", |position| position.to.as_str());
                return self.samples.of(&event.service, event.cohort.as_deref(), variant);
            }
            _ => {}
        }
        Vec::new()
    }

    pub(super) fn append(&mut self, events: Vec<Event>) {
        if self.awaited.is_some() {
            self.unwritten.extend(events);
            let beyond = self.unwritten.len().saturating_sub(WAITING_MAX);
            self.unwritten.drain(..beyond);
            return;
        }
        let Some(store) = &mut self.store else { return };
        let (waiting, _) = store.unwritten();
        if events.is_empty() && waiting == 0 {
            return;
        }
        let written = store.append(events);
        if let (Err(error), true) = (&written, self.can_append) {
            tracing::error!(%error, "the audit log cannot be written: what happens waits in memory");
        }
        self.can_append = written.is_ok();
    }
}
