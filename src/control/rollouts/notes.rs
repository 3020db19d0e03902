//! What is noted down beside the state: the traffic of each cohort and who uses what, for previews and leftovers.

use std::time::Duration;

use super::preview::{Given, previews};
use super::view::GateView;
use super::{Rollouts, unix_ms};
use crate::config::schema::File;
use crate::control::journal::traffic_file::{Known, ServiceTraffic, Traffic};
use crate::control::reload;
use crate::model::{Outcome, Reason};
use crate::rollout::effect::{Event, EventKind};
use crate::rollout::life_cycle::leftovers;
use crate::routing::snapshot::{Cohort, Service};
use crate::telemetry::metrics::LeftoverFact;
use crate::telemetry::windows::WINDOW_SECONDS;
use std::collections::BTreeMap;

/// How often traffic is noted.
const EVERY: Duration = Duration::from_secs(60);

/// How often old audit logs are looked for.
const DAY: Duration = Duration::from_secs(86_400);

/// What is known, and when it was looked at.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) known: Known,
    noted: Duration,
    cleaned: Duration,
    /// Requests with a believed override, by service.
    overridden: BTreeMap<String, u64>,
}

impl Rollouts {
    /// What is done once a minute, and once a day.
    pub(super) fn keep_notes(&mut self, hands: &reload::State) {
        let now = self.began.elapsed();
        if now.saturating_sub(self.notes.cleaned) >= DAY {
            self.notes.cleaned = now;
            self.store.iter().for_each(|store| store.remove_old_audits(std::time::SystemTime::now()));
        }
        if now.saturating_sub(self.notes.noted) >= EVERY {
            self.notes.noted = now;
            self.note_traffic(hands);
            self.checkpoint.note(self.notes.known.clone());
        }
    }

    /// Looks at the traffic of each cohort that a rollout names, and at overrides.
    pub(super) fn note_traffic(&mut self, hands: &reload::State) {
        let (snapshot, in_force) = (hands.common.snapshot.load(), hands.common.in_force.load());
        self.notes.known.services.retain(|name, _| self.plans.contains_key(name));
        for service in &snapshot.services {
            let from = self.plans.get(&*service.name).map_or("", |plan| match &plan.rollout {
                Some(rollout) => rollout.from.as_str(),
                None => plan.remainder.as_str(),
            });
            let written =
                in_force.loaded.file.services.get(&*service.name).and_then(|written| written.rollout.as_ref());
            let outcomes: Vec<String> =
                written.iter().flat_map(|rollout| &rollout.gates.outcomes).map(|gate| gate.name.clone()).collect();
            let gates = self.judged(&service.name).map(|view| view.gates).unwrap_or_default();
            let from = service.variants.iter().position(|variant| &*variant.name == from).unwrap_or(service.remainder);
            let notes = self.notes.known.services.entry(service.name.to_string()).or_default();
            for cohort in &service.cohorts {
                if let Some(traffic) = self.past.traffic(cohort, from) {
                    notes.cohorts.insert(cohort.name.to_string(), traffic);
                }
            }
            note_outcomes(notes, &gates, &outcomes);
            let overridden = overridden(service, hands);
            let before = self.notes.overridden.insert(service.name.to_string(), overridden);
            note_override(notes, service, before.is_some_and(|before| before < overridden));
        }
    }

    /// Adds to events of steps what the step can see, and says it in the log.
    pub(super) fn say_what_steps_see(&self, file: &File, events: &mut [Event]) {
        if !events.iter().any(|event| event.kind == EventKind::StepBegan) {
            return;
        }
        let previews = previews(file, &self.notes.known, &Given::default());
        for event in events.iter_mut().filter(|event| event.kind == EventKind::StepBegan) {
            let Some(state) = self.states.get(&event.service) else { continue };
            let share = |cohort: &str| Some(state.rollout.as_ref()?.given.get(cohort)?.share);
            let preview = previews.iter().find(|step| {
                step.service == event.service
                    && Some(&step.cohort) == event.cohort.as_ref()
                    && Some(step.share) == share(&step.cohort)
            });
            if let Some(preview) = preview {
                let (service, cohort) = (preview.service.as_str(), preview.cohort.as_str());
                tracing::info!(service, cohort, step = preview.number, "this step {}", preview.text);
                event.numbers.push(("sees".to_owned(), preview.text.clone()));
            }
        }
    }

    /// Says at the start what the steps of rollouts that still run can see.
    pub(super) fn say_what_all_steps_see(&self, file: &File) {
        for step in previews(file, &self.notes.known, &Given::default()) {
            if self.states.get(&step.service).is_some_and(|state| state.phase.is_running()) {
                let (service, cohort, share) = (step.service.as_str(), step.cohort.as_str(), step.share.to_string());
                tracing::info!(service, cohort, share, step = step.number, "the step {}", step.text);
            }
        }
    }

    /// How much is left over of releases that are over, by service and kind; each kind is there at 0.
    pub(in crate::control) fn leftover_facts(&self) -> Vec<LeftoverFact> {
        let now_ms = unix_ms();
        let of_service = |(name, plan): (&String, &crate::rollout::plan::Plan)| {
            let used = self.notes.known.services.get(name).and_then(|notes| notes.override_used_ms);
            let found = self.states.get(name).map(|state| leftovers(plan, state, now_ms, used)).unwrap_or_default();
            let count = |kind: &str| found.iter().filter(|left| left.kind() == kind).count() as u64;
            let counts = crate::rollout::life_cycle::KINDS.map(|kind| (kind, count(kind)));
            LeftoverFact { service: name.clone(), counts }
        };
        let is_shown = |(fact, plan): &(LeftoverFact, &crate::rollout::plan::Plan)| {
            plan.rollout.is_some() || fact.counts.iter().any(|(_, count)| *count > 0)
        };
        let facts = self.plans.iter().map(|(name, plan)| (of_service((name, plan)), plan));
        facts.filter(is_shown).map(|(fact, _)| fact).collect()
    }
}

impl super::past::Past {
    /// The traffic of a cohort in the last 15 minutes; `None` when there was none, or too short a time to say.
    fn traffic(&self, cohort: &Cohort, from: usize) -> Option<Traffic> {
        let stats: Vec<_> = cohort.slots.iter().map(|slot| self.stats(*slot)).collect::<Option<_>>()?;
        let per_second = stats.iter().map(|stats| stats.rps).sum::<f64>();
        let of = stats.get(from)?;
        let errors = of.outcomes[Outcome::Error.index()] + of.fallbacks;
        let all = (of.requests + of.fallbacks).max(1);
        let has_some = stats.iter().map(|stats| stats.requests).sum::<u64>() > 0;
        let p99_us = of.success_latency.map(|latency| latency.p99);
        has_some.then_some(Traffic { per_second, error_rate: errors as f64 / all as f64, p99_us })
    }

    fn stats(&self, slot: crate::telemetry::Slot) -> Option<crate::telemetry::windows::WindowStats> {
        self.handle().map(|handle| handle.stats(slot, WINDOW_SECONDS))
    }
}

/// Requests of a service whose override was believed.
fn overridden(service: &Service, hands: &reload::State) -> u64 {
    if service.override_.is_none() {
        return 0;
    }
    let slots = service.cohorts.iter().flat_map(|cohort| &cohort.slots);
    let codes = slots.flat_map(|slot| hands.common.registry.sum(*slot).codes);
    codes.filter(|((reason, _), _)| *reason == Reason::Override).map(|(_, count)| count).sum()
}

/// How many chances of stable a rate is noted of.
const CHANCES_MIN: u64 = 200;

/// How often stable brings the outcomes that are looked at.
fn note_outcomes(notes: &mut ServiceTraffic, gates: &[GateView], names: &[String]) {
    notes.outcomes.values_mut().for_each(|rates| rates.retain(|name, _| names.contains(name)));
    for gate in gates.iter().filter(|gate| gate.stable.of >= CHANCES_MIN && names.contains(&gate.gate)) {
        notes.outcomes.entry(gate.cohort.clone()).or_default().insert(gate.gate.clone(), gate.stable.rate());
    }
}

fn note_override(notes: &mut ServiceTraffic, service: &Service, was_used: bool) {
    if service.override_.is_none() {
        notes.override_used_ms = None;
    } else if was_used || notes.override_used_ms.is_none() {
        notes.override_used_ms = Some(unix_ms());
    }
}
