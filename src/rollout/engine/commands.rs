//! What people ask. The safer direction is never refused; asking twice is asking once.

use super::Turn;
use crate::model::Weight;
use crate::rollout::command::{Actor, Answer, Command, Refusal};
use crate::rollout::effect::EventKind;
use crate::rollout::ownership::in_force;
use crate::rollout::plan::{Action, Rollout};
use crate::rollout::state::{Given, PauseCause, Phase, Pin, Position};
use std::time::Duration;

type Result = std::result::Result<Answer, Refusal>;

impl Turn<'_> {
    /// Does what was asked, or says why not.
    pub(super) fn ask(&mut self, actor: &Actor, reason: &str, command: &Command) {
        let phase = self.state.phase;
        let events = self.events.len();
        let result = match (command, &self.plan.rollout) {
            (Command::SetWeight { cohort, variant, share, lasts }, _) => {
                self.set_weight(actor, reason, (cohort, variant), *share, *lasts)
            }
            (Command::Resume, _) if self.state.rollout.is_none() && !self.state.pins.is_empty() => self.end_all_pins(),
            (_, Some(rollout)) if self.state.rollout.is_some() => self.ask_rollout(actor, rollout, command),
            _ => Err(Refusal::NoRollout),
        };
        if self.events.len() > events {
            self.by(&actor.name, reason);
        }
        self.answer = Some(result.unwrap_or_else(|refusal| Answer::Refused(phase, refusal)));
    }

    fn ask_rollout(&mut self, actor: &Actor, rollout: &Rollout, command: &Command) -> Result {
        match command {
            Command::Promote => self.promote(rollout, actor),
            Command::PromoteFull => self.promote_full(rollout, actor),
            Command::Pause => self.pause(actor),
            Command::Resume => self.resume(rollout, actor),
            Command::Rollback { cohort, is_gradual } => self.rollback(rollout, actor, cohort.as_deref(), *is_gradual),
            Command::Retry => self.retry(rollout, actor),
            Command::Approve => self.approve(rollout, actor),
            Command::Skip => self.skip(rollout, actor),
            Command::SetWeight { .. } => Err(Refusal::NoRollout),
        }
    }

    fn done(&mut self, kind: EventKind, actor: &Actor, what: &str) -> Result {
        let sentence = format!("{} {what} {}", actor.name, self.plan.service);
        self.event(kind, None, sentence);
        Ok(Answer::Done(format!("{what} {}", self.plan.service)))
    }

    /// That it moves, and may rise.
    fn may_rise(&self) -> std::result::Result<(), Refusal> {
        match (self.state.phase, self.pause_cause()) {
            (Phase::Paused, Some(PauseCause::Harm)) => Err(Refusal::Harm),
            (Phase::Paused, _) => Err(Refusal::Paused),
            (Phase::RolledBack, _) => Err(Refusal::RolledBack),
            (Phase::Superseded, _) => Err(Refusal::Superseded),
            (Phase::Idle, _) => Err(Refusal::NoRollout),
            _ if !self.input.can_persist => Err(Refusal::CannotPersist),
            _ => match self.frozen() {
                Some(frozen) => Err(Refusal::Frozen(frozen)),
                None => Ok(()),
            },
        }
    }

    fn pause_cause(&self) -> Option<PauseCause> {
        self.state.rollout.as_ref().and_then(|position| position.pause)
    }

    fn promote(&mut self, rollout: &Rollout, actor: &Actor) -> Result {
        if self.state.phase == Phase::Promoted {
            return Ok(Answer::Unchanged("it is promoted already".to_owned()));
        }
        self.may_rise()?;
        let Some(position) = &self.state.rollout else { return Err(Refusal::NoRollout) };
        let Some(step) = rollout.steps.get(position.step) else { return Err(Refusal::Over) };
        match &step.action {
            Action::Approve(groups) => return Err(Refusal::NeedsApproval(groups.clone())),
            Action::Shift(shift) if position.begun.is_none() => {
                if let Some(window) = self.closed_window(shift) {
                    return Err(Refusal::WindowClosed(window.clone()));
                }
            }
            Action::Shift(_) => self.pass(step),
        }
        self.done(EventKind::PromotedByPerson, actor, "promoted")
    }

    /// All shares at once. Whoever may approve what is still to be approved does so by asking.
    fn promote_full(&mut self, rollout: &Rollout, actor: &Actor) -> Result {
        if self.state.phase == Phase::Promoted {
            return Ok(Answer::Unchanged("it is promoted already".to_owned()));
        }
        self.may_rise()?;
        let Some(position) = &self.state.rollout else { return Err(Refusal::NoRollout) };
        let (from, has_begun) = (position.step, position.begun.is_some());
        let left = rollout.steps.get(from..).unwrap_or_default();
        for (at, step) in left.iter().enumerate() {
            match &step.action {
                Action::Approve(groups) if !is_member(actor, groups) => {
                    return Err(Refusal::NeedsApproval(groups.clone()));
                }
                Action::Approve(_) => {}
                Action::Shift(_) if at == 0 && has_begun => {}
                Action::Shift(shift) => {
                    if let Some(window) = self.closed_window(shift) {
                        return Err(Refusal::WindowClosed(window.clone()));
                    }
                }
            }
        }
        for step in left {
            if let Some(shift) = step.shift() {
                let given = Given { share: rollout.share_of(shift), number: step.number };
                let last = match &mut self.state.rollout {
                    Some(position) if !position.taken_back.contains_key(&shift.cohort) => {
                        position.given.insert(shift.cohort.clone(), given)
                    }
                    _ => Some(given),
                };
                if last != Some(given) {
                    self.start_judge(&shift.cohort, shift.warmup);
                }
            }
            self.pass(step);
        }
        self.done(EventKind::PromotedByPerson, actor, "promoted to the end")
    }

    fn pause(&mut self, actor: &Actor) -> Result {
        match self.state.phase {
            Phase::Paused => Ok(Answer::Unchanged("it is paused already".to_owned())),
            phase if phase.is_moving() => {
                if let Some(position) = &mut self.state.rollout {
                    position.pause = Some(PauseCause::Person);
                }
                self.enter(Phase::Paused, format!("{} paused it", actor.name));
                self.done(EventKind::Paused, actor, "paused")
            }
            Phase::RolledBack => Err(Refusal::RolledBack),
            Phase::Superseded => Err(Refusal::Superseded),
            _ => Err(Refusal::Over),
        }
    }

    fn resume(&mut self, rollout: &Rollout, actor: &Actor) -> Result {
        let phase = self.state.phase;
        let Some(position) = &self.state.rollout else { return Err(Refusal::NoRollout) };
        let is_back = phase == Phase::RolledBack && self.is_all_back(rollout);
        let has_pins = !self.state.pins.is_empty();
        match (phase, position.pause) {
            (Phase::Superseded, _) if has_pins => return self.end_all_pins(),
            (Phase::RolledBack, _) if is_back && has_pins => return self.end_all_pins(),
            (Phase::Paused, Some(PauseCause::Harm)) => return Err(Refusal::Harm),
            (Phase::Paused, _) => {
                if let Some(what) = self.plan_conflict(rollout) {
                    return Err(Refusal::PlanChanged(what));
                }
            }
            (Phase::Superseded, _) => return Err(Refusal::Superseded),
            (Phase::RolledBack, _) if is_back => return Err(Refusal::RolledBack),
            (Phase::RolledBack, _) => {}
            _ if !has_pins => return Ok(Answer::Unchanged("it is not paused".to_owned())),
            _ => {}
        }
        self.end_all_pins()?;
        if let Some(position) = &mut self.state.rollout {
            position.pause = None;
            if phase != Phase::Promoted {
                position.ended_ms = None;
            }
        }
        if phase != Phase::Promoted {
            self.enter(Phase::Progressing, "");
        }
        self.done(EventKind::Resumed, actor, "resumed")
    }

    /// A cohort that was taken back gets no more, and less at once where it is still on its way. `None`: it was not.
    fn hurry_back(&mut self, cohort: &str, wanted: Weight) -> Option<Result> {
        let back = self.state.rollout.as_mut()?.taken_back.get_mut(cohort)?;
        let last = back.share;
        if wanted >= last {
            let answer = Answer::Unchanged(format!("{cohort} was rolled back, and has {last} %"));
            return Some(if wanted > last { Err(Refusal::RolledBack) } else { Ok(answer) });
        }
        back.share = wanted;
        back.way.retain(|share| *share < wanted);
        back.elapsed = Duration::ZERO;
        let sentence = format!("{} {last} % → {wanted} %: sooner on the way back", self.whose(Some(cohort)));
        self.event(EventKind::FurtherBack, Some(cohort), sentence);
        Some(Ok(Answer::Done(format!("took {cohort} further back, to {wanted} %"))))
    }

    /// Where there is nothing to go on with, what people set ends all the same.
    fn end_all_pins(&mut self) -> Result {
        for cohort in self.state.pins.keys().cloned().collect::<Vec<String>>() {
            self.end_pin(&cohort, "it was resumed");
        }
        Ok(Answer::Done(format!("ended what people had set of {}", self.plan.service)))
    }

    fn rollback(&mut self, rollout: &Rollout, actor: &Actor, cohort: Option<&str>, is_gradual: bool) -> Result {
        let Some(position) = &self.state.rollout else { return Err(Refusal::NoRollout) };
        let cohorts: Vec<String> = match cohort {
            Some(cohort) if !rollout.rules(cohort) => return Err(Refusal::UnknownCohort(cohort.to_owned())),
            Some(cohort) => vec![cohort.to_owned()],
            None => rollout.cohorts().into_iter().map(str::to_owned).collect(),
        };
        let is_going = |cohort: &String| match position.taken_back.get(cohort) {
            None => true,
            // at once is sooner than by degrees
            Some(back) => !is_gradual && !back.share.is_zero(),
        };
        let cohorts: Vec<String> = cohorts.into_iter().filter(is_going).collect();
        if cohorts.is_empty() {
            return Ok(Answer::Unchanged("it is rolled back already".to_owned()));
        }
        let gradual = if is_gradual { rollout.on_harm.gradual.as_slice() } else { &[] };
        self.take_back(&cohorts, gradual, &format!("{} asked for it", actor.name));
        Ok(Answer::Done(format!("rolled back {}", cohorts.join(", "))))
    }

    fn retry(&mut self, rollout: &Rollout, actor: &Actor) -> Result {
        let phase = self.state.phase;
        let has_conflict = self.plan_conflict(rollout).is_some();
        let is_part = phase == Phase::RolledBack && !self.is_all_back(rollout) && !has_conflict;
        let Some(position) = &mut self.state.rollout else { return Err(Refusal::NoRollout) };
        match (phase, position.pause) {
            (Phase::RolledBack, _) if is_part => {
                let is_back = |step: &crate::rollout::plan::Step| {
                    step.shift().is_some_and(|shift| position.taken_back.contains_key(&shift.cohort))
                };
                let first = rollout.steps.iter().position(is_back).unwrap_or(position.step);
                let back: Vec<String> = position.taken_back.keys().cloned().collect();
                for cohort in &back {
                    position.given.remove(cohort);
                    position.serials.remove(cohort);
                }
                position.taken_back.clear();
                position.step = position.step.min(first);
                position.done.truncate(position.step);
                position.begun = None;
                position.before = None;
                position.is_approved = false;
                position.step_elapsed = Duration::ZERO;
                position.ended_ms = None;
            }
            (Phase::Paused, Some(PauseCause::Harm)) if !has_conflict => {
                position.begun = None;
                position.pause = None;
                let watched: Vec<String> = position.serials.keys().cloned().collect();
                for cohort in watched {
                    self.start_judge(&cohort, Duration::ZERO);
                }
            }
            (Phase::RolledBack | Phase::Superseded, _)
            | (Phase::Paused, Some(PauseCause::Harm | PauseCause::PlanChanged)) => {
                let serial = position.serial;
                *position = Position::new(&rollout.id, &rollout.to, &rollout.from);
                position.serial = serial;
            }
            _ => return Err(Refusal::NothingToRetry),
        }
        if let Some(position) = &mut self.state.rollout {
            position.told = Default::default();
        }
        self.enter(Phase::Progressing, "");
        self.done(EventKind::Retried, actor, "retried")
    }

    fn approve(&mut self, rollout: &Rollout, actor: &Actor) -> Result {
        let Some(position) = &mut self.state.rollout else { return Err(Refusal::NoRollout) };
        let approval = |at: usize| match rollout.steps.get(at).map(|step| &step.action) {
            Some(Action::Approve(groups)) => Some(groups),
            _ => None,
        };
        match (self.state.phase, approval(position.step)) {
            (Phase::AwaitingApproval, Some(groups)) if is_member(actor, groups) => {
                position.is_approved = true;
                self.done(EventKind::Approved, actor, "approved")
            }
            (Phase::AwaitingApproval, Some(groups)) => Err(Refusal::NotMember(groups.clone())),
            (Phase::Paused, _) => Err(Refusal::Paused),
            (phase, _)
                if phase.is_moving() && position.step.checked_sub(1).is_some_and(|at| approval(at).is_some()) =>
            {
                Ok(Answer::Unchanged("it is approved already".to_owned()))
            }
            _ => Err(Refusal::NothingToApprove),
        }
    }

    fn skip(&mut self, rollout: &Rollout, actor: &Actor) -> Result {
        match (self.state.phase, self.pause_cause()) {
            (Phase::Paused, Some(PauseCause::Harm)) => return Err(Refusal::Harm),
            (Phase::Paused, _) => return Err(Refusal::Paused),
            (Phase::RolledBack, _) => return Err(Refusal::RolledBack),
            (Phase::Superseded, _) => return Err(Refusal::Superseded),
            _ => {}
        }
        let Some(position) = &mut self.state.rollout else { return Err(Refusal::NoRollout) };
        let Some(step) = rollout.steps.get(position.step) else { return Err(Refusal::NothingToSkip) };
        match &step.action {
            Action::Approve(groups) => return Err(Refusal::NeedsApproval(groups.clone())),
            Action::Shift(shift) if position.begun.is_some() => match position.before {
                Some(before) => drop(position.given.insert(shift.cohort.clone(), before)),
                None => drop(position.given.remove(&shift.cohort)),
            },
            Action::Shift(_) => {}
        }
        self.pass(step);
        let answer = self.done(EventKind::Skipped, actor, &format!("skipped {} of", step.signature()));
        if let Some(event) = self.events.last_mut() {
            event.numbers.push(("step".to_owned(), step.number.to_string()));
        }
        answer
    }

    fn set_weight(
        &mut self,
        actor: &Actor,
        reason: &str,
        (cohort, variant): (&str, &str),
        share: Weight,
        lasts: Option<Duration>,
    ) -> Result {
        if self.plan.in_file(cohort).is_none() {
            return Err(Refusal::UnknownCohort(cohort.to_owned()));
        }
        if !self.plan.variants.iter().any(|known| known == variant) {
            return Err(Refusal::UnknownVariant(variant.to_owned()));
        }
        let (last, _) = in_force(self.plan, &self.state, cohort);
        let rest = match &self.state.rollout {
            Some(position) if variant == position.to => &position.from,
            _ => &self.plan.remainder,
        };
        let split = last.with(variant, share, rest).ok_or(Refusal::TooMuch)?;
        let wanted = self.state.rollout.as_ref().map_or(Weight::ZERO, |position| split.of(&position.to));
        if let Some(answer) = self.hurry_back(cohort, wanted) {
            return answer;
        }
        if let (Some(PauseCause::Harm), Some(position)) = (self.pause_cause(), &self.state.rollout)
            && split.of(&position.to) > last.of(&position.to)
        {
            return Err(Refusal::Harm);
        }
        let left = lasts.map(|lasts| lasts.max(Duration::from_millis(1)));
        let known = self.state.pins.get(cohort);
        if known.is_some_and(|pin| pin.split == split && pin.left == left) {
            return Ok(Answer::Unchanged(format!("{cohort} has {share} % of {variant} already")));
        }
        let (was, name) = (last.of(variant), actor.name.clone());
        let pin = Pin { split, actor: name.clone(), reason: reason.to_owned(), left };
        self.state.pins.insert(cohort.to_owned(), pin);
        let until = lasts.map_or(String::new(), |lasts| format!(" for {}", crate::rollout::sentence::span(lasts)));
        let sentence = format!("{} {variant} {was} % → {share} %{until}: {name} set it", self.whose(Some(cohort)));
        self.event(EventKind::WeightSet, Some(cohort), sentence);
        Ok(Answer::Done(format!("set {variant} to {share} % of {cohort}{until}")))
    }
}

fn is_member(actor: &Actor, groups: &[String]) -> bool {
    actor.groups.iter().any(|group| groups.contains(group))
}
