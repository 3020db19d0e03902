//! One turn of a rollout: from the state and what was seen and asked to the next state and what is to be done.
//!
//! ```text
//! count time → compare the file → go further back → look for harm → answer → advance → tell
//! ```
//!
//! Harm comes before commands and before advancing, so nothing that is asked or due in the same second can outrun it.

mod advance;
mod commands;
mod edits;
mod harm;

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::command::Answer;
use super::effect::{Effect, Event, EventKind};
use super::input::{CohortReading, Happened, Input};
use super::ownership::in_force;
use super::plan::Plan;
use super::split::Split;
use super::state::{Phase, State};

/// The most time that one input can let pass. A clock that leaps, or a process that was suspended, brings no step
/// nearer to its end than this.
pub const TURN_MAX: Duration = Duration::from_secs(5);

/// How much counted time may be lost when the process dies.
pub const UNSAVED_MAX: Duration = Duration::from_secs(10);

/// Takes one turn. Total: whatever comes in, the state stays one that could be.
///
/// Called once a second, after each load of the file, and for each command; a turn does everything that is due.
pub fn step(plan: &Plan, state: State, input: &Input) -> (State, Vec<Effect>) {
    let before = essence(&state);
    let mut turn =
        Turn { plan, state, input, passed: Duration::ZERO, events: Vec::new(), starts: Vec::new(), answer: None };
    turn.count_time();
    turn.compare_file();
    if input.happened == Happened::Started {
        turn.resume_judges();
    }
    turn.end_pins();
    turn.go_further_back();
    turn.look_for_harm();
    if let Happened::Asked { actor, reason, command } = &input.happened {
        turn.ask(actor, reason, command);
    }
    turn.look_at_duration();
    turn.advance();
    turn.tell(&before)
}

/// One turn while it is taken.
struct Turn<'t> {
    plan: &'t Plan,
    state: State,
    input: &'t Input,
    /// Time that counts in this turn.
    passed: Duration,
    events: Vec<Event>,
    starts: Vec<Effect>,
    answer: Option<Answer>,
}

impl Turn<'_> {
    fn count_time(&mut self) {
        let now = self.input.now.monotonic;
        let last = self.state.session.last.replace(now).unwrap_or(now);
        self.passed = match self.input.happened {
            Happened::Started => Duration::ZERO,
            _ => now.saturating_sub(last).min(TURN_MAX),
        };
        let phase = self.state.phase;
        if let Some(position) = &mut self.state.rollout {
            if phase.is_running() {
                position.elapsed = position.elapsed.saturating_add(self.passed);
            }
            if matches!(phase, Phase::Progressing | Phase::Holding) && position.begun.is_some() {
                position.step_elapsed = position.step_elapsed.saturating_add(self.passed);
            }
        }
        self.state.session.unsaved = self.state.session.unsaved.saturating_add(self.passed);
    }

    /// What people set for a while ends.
    fn end_pins(&mut self) {
        let passed = self.passed;
        let mut ended = Vec::new();
        for (cohort, pin) in &mut self.state.pins {
            if let Some(left) = &mut pin.left {
                *left = left.saturating_sub(passed);
                if left.is_zero() {
                    ended.push(cohort.clone());
                }
            }
        }
        for cohort in ended {
            self.end_pin(&cohort, "its time is over");
        }
    }

    fn end_pin(&mut self, cohort: &str, why: &str) {
        if let Some(pin) = self.state.pins.remove(cohort) {
            let sentence = format!("{}: what {} set has ended, {why}", self.whose(Some(cohort)), pin.actor);
            self.event(EventKind::WeightEnded, Some(cohort), sentence);
        }
    }

    /// The judge goes on where it was, or begins anew if it has forgotten.
    fn resume_judges(&mut self) {
        let Some(position) = &self.state.rollout else { return };
        for (cohort, serial) in &position.serials {
            self.starts.push(Effect::StartStep {
                cohort: cohort.clone(),
                serial: *serial,
                warmup: Duration::ZERO,
                is_resumed: true,
            });
        }
    }

    /// The reading of a cohort, if it counts from the latest start of its judge.
    fn reading(&self, cohort: &str) -> Option<&CohortReading> {
        let serial = self.state.rollout.as_ref()?.serials.get(cohort)?;
        self.input.readings.iter().find(|reading| reading.cohort == cohort && reading.serial == *serial)
    }

    fn enter(&mut self, phase: Phase, why: impl Into<String>) {
        self.state.phase = phase;
        self.state.why = why.into();
    }

    /// `shop/beta`, or `shop` for all of it.
    fn whose(&self, cohort: Option<&str>) -> String {
        match cohort {
            Some(cohort) => format!("{}/{cohort}", self.plan.service),
            None => self.plan.service.clone(),
        }
    }

    fn event(&mut self, kind: EventKind, cohort: Option<&str>, sentence: String) {
        self.events.push(Event {
            kind,
            unix_ms: self.input.now.unix_ms,
            service: self.plan.service.clone(),
            rollout: self.state.rollout.as_ref().map(|position| position.id.clone()),
            cohort: cohort.map(str::to_owned),
            actor: None,
            reason: None,
            sentence,
            numbers: Vec::new(),
            runbook: self.plan.rollout.as_ref().and_then(|rollout| rollout.runbook.clone()),
        });
    }

    /// Adds who asked, and why, to the latest event.
    fn by(&mut self, actor: &str, reason: &str) {
        if let Some(event) = self.events.last_mut() {
            event.actor = Some(actor.to_owned());
            event.reason = (!reason.is_empty()).then(|| reason.to_owned());
        }
    }

    /// The effects of the turn, in the order in which they must be done; see [`Effect`].
    fn tell(mut self, before: &State) -> (State, Vec<Effect>) {
        let is_start = self.input.happened == Happened::Started;
        let (mut falling, mut rising) = (Vec::new(), Vec::new());
        let mut shares = std::collections::BTreeMap::new();
        for (cohort, by_file) in &self.plan.file {
            let (split, source) = in_force(self.plan, &self.state, cohort);
            let last = self.state.in_force.get(cohort);
            if is_start || last != Some(&split) {
                let rises = self.rises(last.unwrap_or(by_file), &split);
                let effect = Effect::SetWeights { cohort: cohort.clone(), split: split.clone(), source };
                if rises { &mut rising } else { &mut falling }.push(effect);
            }
            shares.insert(cohort.clone(), split);
        }
        self.state.in_force = shares;
        self.note_variants_without_share();
        let is_counting = self.state.rollout.is_some() || !self.state.pins.is_empty();
        let is_due = is_counting && self.state.session.unsaved >= UNSAVED_MAX;
        let mut effects = falling;
        if is_due || essence(&self.state) != *before {
            self.state.session.unsaved = Duration::ZERO;
            effects.push(Effect::Persist);
        }
        effects.append(&mut rising);
        effects.append(&mut self.starts);
        for event in self.events {
            let is_told = event.kind.is_told();
            effects.push(Effect::Record(event.clone()));
            effects.extend(is_told.then_some(Effect::Notify(event)));
        }
        if let Some(answer) = self.answer {
            let now = match self.state.why.as_str() {
                "" => self.state.phase.to_string(),
                why => format!("{}: {why}", self.state.phase),
            };
            effects.push(Effect::Answer(match answer {
                Answer::Done(text) => Answer::Done(format!("{text}; now {now}")),
                other => other,
            }));
        }
        (self.state, effects)
    }

    /// True when more users see what is being released, or something that no rollout rules changes.
    fn rises(&self, last: &Split, next: &Split) -> bool {
        match &self.state.rollout {
            Some(position) => next.of(&position.to) > last.of(&position.to),
            None => true,
        }
    }

    fn note_variants_without_share(&mut self) {
        let now = self.input.now.unix_ms;
        let state = &mut self.state;
        state.without_share.retain(|name, _| self.plan.variants.contains(name));
        for variant in &self.plan.variants {
            let has_share = state.in_force.values().any(|split| !split.of(variant).is_zero());
            match has_share {
                true => drop(state.without_share.remove(variant)),
                false => drop(state.without_share.entry(variant.clone()).or_insert(now)),
            }
        }
    }
}

/// What of a state must be written at once when it changes: all but clocks, and words that follow from the rest.
fn essence(state: &State) -> State {
    let mut state = State { session: Default::default(), why: String::new(), ..state.clone() };
    for pin in state.pins.values_mut() {
        pin.left = pin.left.map(|_| Duration::ZERO);
    }
    if let Some(position) = &mut state.rollout {
        position.elapsed = Duration::ZERO;
        position.step_elapsed = Duration::ZERO;
        position.taken_back.values_mut().for_each(|back| back.elapsed = Duration::ZERO);
    }
    state
}
