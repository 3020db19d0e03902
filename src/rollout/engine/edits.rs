//! The file under a running rollout: what a person edits in it wins, but for what was taken back.

use super::Turn;
use crate::model::Weight;
use crate::rollout::effect::EventKind;
use crate::rollout::ownership::in_force;
use crate::rollout::plan::Rollout;
use crate::rollout::state::{ENDED_MAX, Ended, PauseCause, Phase, Position, TakenBack};
use std::time::Duration;

impl Turn<'_> {
    /// Compares the file with what was last seen of it.
    pub(super) fn compare_file(&mut self) {
        let plan = self.plan;
        let edited = self.edited_cohorts();
        self.state.file = plan.file.iter().cloned().collect();
        for cohort in &edited {
            self.end_pin(cohort, "the file was edited");
        }
        let running = self.state.rollout.as_ref().map(|position| position.id.clone());
        match (&plan.rollout, running) {
            (None, None) => {}
            (None, Some(id)) => {
                self.end();
                self.event(EventKind::Removed, None, format!("{} {id} is no longer in the file", plan.service));
                self.state.rollout = None;
                self.enter(Phase::Idle, "");
            }
            (Some(rollout), None) => self.start(rollout),
            (Some(rollout), Some(id)) if rollout.id != id => {
                if self.state.phase.is_running() {
                    let sentence =
                        format!("{} {id} ends while {}: {} begins", plan.service, self.state.phase, rollout.id);
                    self.event(EventKind::Superseded, None, sentence);
                }
                self.end();
                self.start(rollout);
            }
            (Some(rollout), Some(_)) => {
                self.compare_plan(rollout);
                self.compare_weights(rollout, &edited);
            }
        }
    }

    /// The cohorts that had other weights in the file when it was last seen.
    fn edited_cohorts(&self) -> Vec<String> {
        let is_edited = |(cohort, split): &&(String, _)| self.state.file.get(cohort).is_some_and(|last| last != split);
        self.plan.file.iter().filter(is_edited).map(|(cohort, _)| cohort.clone()).collect()
    }

    /// Remembers how the rollout ended.
    fn end(&mut self) {
        let Some(position) = &self.state.rollout else { return };
        let ended = Ended {
            id: position.id.clone(),
            phase: self.state.phase,
            taken_back: position.taken_back.keys().cloned().collect(),
            unix_ms: position.ended_ms.unwrap_or(self.input.now.unix_ms),
        };
        self.state.ended.retain(|other| other.id != ended.id);
        self.state.ended.push(ended);
        let beyond = self.state.ended.len().saturating_sub(ENDED_MAX);
        self.state.ended.drain(..beyond);
    }

    /// Begins a rollout; one that was rolled back before is still rolled back.
    fn start(&mut self, rollout: &Rollout) {
        let mut position = Position::new(&rollout.id, &rollout.to, &rollout.from);
        // readings of the rollout before must not be taken for its own
        position.serial = self.state.rollout.as_ref().map_or(0, |last| last.serial);
        let known = self.state.ended.iter().find(|ended| ended.id == rollout.id && !ended.taken_back.is_empty());
        let (id, service) = (&rollout.id, &self.plan.service);
        let Some(known) = known else {
            self.state.rollout = Some(position);
            for cohort in rollout.cohorts() {
                self.end_pin(cohort, "a rollout begins");
            }
            self.enter(Phase::Progressing, "");
            let sentence = format!("{service} {} → {}: rollout {id} began", rollout.from, rollout.to);
            self.event(EventKind::Started, None, sentence);
            return;
        };
        let why = format!("{id} was rolled back before, and that holds");
        for cohort in &known.taken_back {
            let back = TakenBack { share: Weight::ZERO, way: Vec::new(), elapsed: Duration::ZERO, why: why.clone() };
            position.taken_back.insert(cohort.clone(), back);
        }
        position.ended_ms = Some(known.unix_ms);
        self.state.rollout = Some(position);
        self.enter(Phase::RolledBack, why.clone());
        self.event(EventKind::EditIgnored, None, format!("{}: {why}", self.plan.service));
    }

    /// An edit of the plan that keeps the id. The place is kept if all steps that are done are still what they were;
    /// else the rollout stops, as nobody can say where in the new plan it is.
    fn compare_plan(&mut self, rollout: &Rollout) {
        let conflict = self.plan_conflict(rollout);
        let phase = self.state.phase;
        let Some(position) = &mut self.state.rollout else { return };
        match conflict {
            Some(_) if !phase.is_running() || position.pause == Some(PauseCause::PlanChanged) => {}
            Some(what) => {
                position.pause = Some(PauseCause::PlanChanged);
                let sentence = format!("paused {}: {what}", self.plan.service);
                self.enter(Phase::Paused, what);
                self.event(EventKind::PlanChanged, None, sentence);
            }
            None => {
                let now = rollout.steps.get(position.step).map(|step| step.signature());
                let is_other = position.begun.is_some() && position.begun != now;
                if is_other && phase.is_running() {
                    let was = position.begun.take().unwrap_or_default();
                    let sentence = format!("{}: the step {was} was edited, and begins again", self.plan.service);
                    self.event(EventKind::PlanChanged, None, sentence);
                }
                let has_more = self.state.rollout.as_ref().is_some_and(|p| p.step < rollout.steps.len());
                if phase == Phase::Promoted && has_more {
                    self.enter(Phase::Progressing, "");
                    let sentence = format!("{}: steps were added to the plan", self.plan.service);
                    self.event(EventKind::PlanChanged, None, sentence);
                }
            }
        }
    }

    /// What of the part that is done was changed.
    pub(super) fn plan_conflict(&self, rollout: &Rollout) -> Option<String> {
        let position = self.state.rollout.as_ref()?;
        let is_untouched = position.done.is_empty() && position.given.is_empty();
        if (position.to != rollout.to || position.from != rollout.from) && !is_untouched {
            return Some(format!(
                "the file now releases {} → {}, and {} → {} was begun",
                rollout.from, rollout.to, position.from, position.to
            ));
        }
        let changed = position
            .done
            .iter()
            .enumerate()
            .find(|(at, done)| rollout.steps.get(*at).is_none_or(|step| step.signature() != **done));
        changed.map(|(_, done)| format!("the step {done} is done, and the file no longer has it there"))
    }

    /// An edit of the weights.
    fn compare_weights(&mut self, rollout: &Rollout, edited: &[String]) {
        let edited: Vec<String> = edited.iter().filter(|cohort| rollout.rules(cohort)).cloned().collect();
        let Some(first) = edited.first() else { return };
        let service = &self.plan.service;
        match self.state.phase {
            Phase::RolledBack => self.edited_after_rollback(&edited),
            Phase::Idle | Phase::Superseded => {}
            // whoever makes the outcome permanent has not overruled it
            Phase::Promoted if edited.iter().all(|cohort| self.is_in_force(cohort)) => {}
            phase => {
                let sentence = format!(
                    "{service} {} is superseded while {phase}: the weights of {} were edited in the file",
                    rollout.id,
                    edited.join(", ")
                );
                if let Some(position) = &mut self.state.rollout {
                    position.pause = None;
                    position.given.clear();
                    position.ended_ms = Some(self.input.now.unix_ms);
                }
                self.enter(Phase::Superseded, format!("the weights of {first} were edited in the file"));
                self.event(EventKind::Superseded, None, sentence);
            }
        }
    }

    fn is_in_force(&self, cohort: &str) -> bool {
        self.plan.in_file(cohort) == Some(&in_force(self.plan, &self.state, cohort).0)
    }

    /// What was taken back stays back; the other cohorts follow the file.
    fn edited_after_rollback(&mut self, edited: &[String]) {
        let Some(position) = &mut self.state.rollout else { return };
        let (back, others): (Vec<&String>, Vec<&String>) =
            edited.iter().partition(|cohort| position.taken_back.contains_key(*cohort));
        for cohort in &others {
            position.given.remove(*cohort);
        }
        let (id, service) = (position.id.clone(), self.plan.service.clone());
        if let Some(cohort) = back.first() {
            let sentence = format!(
                "{service}/{cohort} was edited in the file, and stays back: type `retry`, or give {id} a new id"
            );
            self.event(EventKind::EditIgnored, Some(cohort), sentence);
        }
        for cohort in others {
            let sentence = format!("{service}/{cohort} was edited in the file, and follows it from now on");
            self.event(EventKind::Superseded, Some(cohort), sentence);
        }
    }
}
