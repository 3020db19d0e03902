use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Rollouts, unix_ms, view};
use crate::model::Weight;
use crate::rollout::command::{Actor, Answer, Command};
use crate::rollout::effect::Effect;
use crate::rollout::engine::step;
use crate::rollout::input::{CohortReading, Happened, Input, Moment};
use crate::rollout::ownership;
use crate::rollout::plan::Plan;
use crate::rollout::state::{PauseCause, Phase, State};

/// A copy of all that the engine knows of a service, to ask what would come of a command. The engine alone says what can
/// be done: it is asked, and what it wants done is not.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    pub(super) plan: Plan,
    pub(super) state: State,
    pub(super) now: Moment,
    pub(super) readings: Vec<CohortReading>,
    pub(super) open_windows: Vec<String>,
    pub(super) can_persist: bool,
}

impl Trial {
    /// How a command would be answered. `None`: a bug of the engine, which answers every command.
    pub fn ask(&self, actor: &Actor, command: &Command) -> Option<Answer> {
        let happened = Happened::Asked { actor: actor.clone(), reason: String::new(), command: command.clone() };
        let input = Input {
            now: self.now,
            readings: self.readings.clone(),
            open_windows: self.open_windows.clone(),
            can_persist: self.can_persist,
            happened,
        };
        let (_, effects) = step(&self.plan, self.state.clone(), &input);
        effects.into_iter().find_map(|effect| match effect {
            Effect::Answer(answer) => Some(answer),
            _ => None,
        })
    }

    /// Why the rollout is paused; `None` while it is not.
    pub fn pause(&self) -> Option<PauseCause> {
        self.state.rollout.as_ref().filter(|_| self.state.phase == Phase::Paused).and_then(|position| position.pause)
    }

    /// Whether a cohort was taken back.
    pub fn is_back(&self, cohort: &str) -> bool {
        self.state.rollout.as_ref().is_some_and(|position| position.taken_back.contains_key(cohort))
    }

    /// The share of a cohort that a variant has now.
    pub fn share(&self, cohort: &str, variant: &str) -> Weight {
        ownership::in_force(&self.plan, &self.state, cohort).0.of(variant)
    }

    /// How much longer a share holds that a person set for a while: `, 42m more`.
    pub fn time_left(&self, cohort: &str) -> String {
        ownership::time_left(&self.state, cohort)
    }

    /// A share that could be set: the first cohort's share of what is released, as it is. `None` without a rollout.
    pub fn weight_as_it_is(&self) -> Option<Command> {
        let rollout = self.plan.rollout.as_ref()?;
        let cohort = (*rollout.cohorts().first()?).to_owned();
        let share = self.state.in_force.get(&cohort)?.of(&rollout.to);
        Some(Command::SetWeight { cohort, variant: rollout.to.clone(), share, lasts: None })
    }
}

impl Rollouts {
    /// The [`super::RolloutView::revision`] of a service's rollout.
    pub(super) fn revision(&self, service: &str) -> Option<u64> {
        let (plan, state) = (self.plans.get(service)?, self.states.get(service)?);
        view::view(plan, state, |_| None).map(|view| view.revision())
    }

    /// What the engine would be told now, by service.
    pub(in crate::control) fn trials(&self) -> BTreeMap<String, Arc<Trial>> {
        self.plans.keys().filter_map(|name| Some((name.clone(), self.trial(name)?))).collect()
    }

    /// The same of one service.
    pub(in crate::control) fn trial(&self, service: &str) -> Option<Arc<Trial>> {
        Some(Arc::new(Trial {
            plan: self.plans.get(service)?.clone(),
            state: self.states.get(service)?.clone(),
            now: Moment { monotonic: self.began.elapsed(), unix_ms: unix_ms() },
            readings: self.readings(service),
            open_windows: self.open_windows.clone(),
            can_persist: self.can_persist,
        }))
    }

    pub(super) fn readings(&self, service: &str) -> Vec<CohortReading> {
        let of_service = self.watching.range((service.to_owned(), String::new())..);
        let of_service = of_service.take_while(|((of, _), _)| of == service);
        of_service
            .filter_map(|((_, cohort), watching)| watching.cohort_reading(cohort))
            .map(|reading| self.joined(service, reading))
            .collect()
    }
}
