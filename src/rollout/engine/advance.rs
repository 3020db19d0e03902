//! From step to step: only when the hold is over, enough was seen, and nothing speaks against it.

use std::time::Duration;

use super::Turn;
use crate::rollout::effect::{Effect, EventKind};
use crate::rollout::input::Verdict;
use crate::rollout::plan::{Action, NoEvidence, Rollout, Shift, Step};
use crate::rollout::sentence;
use crate::rollout::state::{Given, PauseCause, Phase, Told};

/// Where a step is.
enum Standing {
    /// It lasts, as it should.
    Lasts(String),
    /// It waits for something that time alone does not bring.
    Waits(String),
    /// It waits for something to be seen, which may never be.
    LacksEvidence(String),
    /// It has all that it needs.
    Over,
}

impl Turn<'_> {
    /// Ends the step if it is over, and begins the next if it may; at most one share rises in a turn.
    pub(super) fn advance(&mut self) {
        let Some(rollout) = &self.plan.rollout else { return };
        // each turn of the loop passes a step or returns
        for _ in 0..=rollout.steps.len() {
            let Some(position) = &self.state.rollout else { return };
            if !self.state.phase.is_moving() {
                return;
            }
            let Some(step) = rollout.steps.get(position.step) else {
                self.promoted();
                return;
            };
            let is_back = step.shift().is_some_and(|shift| position.taken_back.contains_key(&shift.cohort));
            let is_over = match (&position.begun, &step.action) {
                _ if is_back => true,
                (_, Action::Approve(groups)) => position.is_approved || self.wait_for_approval(groups),
                (None, Action::Shift(shift)) => {
                    self.begin_if_open(rollout, step, shift);
                    return;
                }
                (Some(_), Action::Shift(shift)) => match self.standing(shift) {
                    Standing::Over => {
                        self.passed_event(step);
                        true
                    }
                    Standing::Lasts(why) => {
                        self.enter(Phase::Progressing, why);
                        return;
                    }
                    Standing::Waits(why) => {
                        self.hold(shift, why);
                        return;
                    }
                    Standing::LacksEvidence(why) => self.lacks_evidence(rollout, shift, why),
                },
            };
            if !is_over {
                return;
            }
            self.pass(step);
        }
    }

    /// The step is behind us.
    pub(super) fn pass(&mut self, step: &Step) {
        if let Some(position) = &mut self.state.rollout {
            position.done.push(step.signature());
            position.step += 1;
            position.begun = None;
            position.is_approved = false;
            position.before = None;
            position.step_elapsed = Duration::ZERO;
        }
    }

    fn passed_event(&mut self, step: &Step) {
        let Some(shift) = step.shift() else { return };
        let seen = self.reading(&shift.cohort).map(|reading| (reading.sentence.clone(), reading.numbers.clone()));
        let (seen, numbers) = seen.unwrap_or_default();
        let what = step.signature();
        let sentence = match seen.as_str() {
            "" => format!("{} passed {what}", self.plan.service),
            seen => format!("{} passed {what}: {seen}", self.plan.service),
        };
        self.event(EventKind::StepPassed, Some(&shift.cohort), sentence);
        if let Some(event) = self.events.last_mut() {
            event.numbers = numbers;
        }
    }

    fn promoted(&mut self) {
        let taken_back = self.state.rollout.as_ref().map_or(Vec::new(), |p| p.taken_back.keys().cloned().collect());
        if let Some(position) = &mut self.state.rollout {
            position.ended_ms.get_or_insert(self.input.now.unix_ms);
        }
        let but = match taken_back.is_empty() {
            true => String::new(),
            false => format!(", but for {}", taken_back.join(", ")),
        };
        let id = self.state.rollout.as_ref().map_or(String::new(), |position| position.id.clone());
        self.enter(Phase::Promoted, format!("all steps are done{but}"));
        self.event(EventKind::Promoted, None, format!("promoted {} {id}: all steps are done{but}", self.plan.service));
    }

    /// Always false: it waits.
    fn wait_for_approval(&mut self, groups: &[String]) -> bool {
        let why = format!("a member of {} must approve", groups.join(" or "));
        if self.state.phase != Phase::AwaitingApproval {
            let sentence = format!("{} waits: {why}", self.plan.service);
            self.event(EventKind::AwaitingApproval, None, sentence);
        }
        self.enter(Phase::AwaitingApproval, why);
        false
    }

    fn begin_if_open(&mut self, rollout: &Rollout, step: &Step, shift: &Shift) {
        if let Some(frozen) = self.frozen() {
            self.hold(shift, frozen);
        } else if let Some(window) = self.closed_window(shift) {
            let why = format!("the window {window} is closed");
            if self.state.phase != Phase::AwaitingWindow {
                let sentence = format!("{} waits: {why}", self.whose(Some(&shift.cohort)));
                self.event(EventKind::AwaitingWindow, Some(&shift.cohort), sentence);
            }
            self.enter(Phase::AwaitingWindow, why);
        } else if !self.input.can_persist {
            self.hold(shift, "the state cannot be written".to_owned());
        } else {
            self.begin(rollout, step, shift);
        }
    }

    /// The window that a step must wait for.
    pub(super) fn closed_window<'s>(&self, shift: &'s Shift) -> Option<&'s String> {
        shift.window.as_ref().filter(|window| !self.input.open_windows.contains(window))
    }

    /// Gives a cohort its share, and starts to count.
    pub(super) fn begin(&mut self, rollout: &Rollout, step: &Step, shift: &Shift) {
        let share = rollout.share_of(shift);
        let last = self.share_of(&shift.cohort);
        if let Some(position) = &mut self.state.rollout {
            position.begun = Some(step.signature());
            position.before = position.given.insert(shift.cohort.clone(), Given { share, number: step.number });
            position.step_elapsed = Duration::ZERO;
            position.told = Told { no_evidence: false, starved: false, ..position.told };
        }
        self.start_judge(&shift.cohort, shift.warmup);
        let place = format!("step {}/{}", step.number, rollout.written);
        self.enter(Phase::Progressing, format!("{place}: {} {share} %", shift.cohort));
        let sentence = format!("{} {last} % → {share} %: {place} of {}", self.whose(Some(&shift.cohort)), rollout.id);
        self.event(EventKind::StepBegan, Some(&shift.cohort), sentence);
    }

    pub(super) fn start_judge(&mut self, cohort: &str, warmup: Duration) {
        let Some(position) = &mut self.state.rollout else { return };
        position.serial += 1;
        position.serials.insert(cohort.to_owned(), position.serial);
        let (cohort, serial) = (cohort.to_owned(), position.serial);
        self.starts.push(Effect::StartStep { cohort, serial, warmup, is_resumed: false });
    }

    fn standing(&self, shift: &Shift) -> Standing {
        let elapsed = self.state.rollout.as_ref().map_or(Duration::ZERO, |position| position.step_elapsed);
        if let Some(frozen) = self.frozen() {
            return Standing::Waits(frozen);
        }
        if let Some(pin) = self.state.pins.get(&shift.cohort) {
            return Standing::Waits(format!("{} set the share of {}; type `resume` to go on", pin.actor, shift.cohort));
        }
        if let Some(hold) = sentence::hold(shift, elapsed) {
            return Standing::Lasts(format!("{} {} %: {hold}", shift.cohort, shift.share));
        }
        if let Some(unknown) = self.reading_with(Verdict::Unknown) {
            return Standing::Waits(unknown);
        }
        if !self.input.can_persist {
            return Standing::Waits("the state cannot be written".to_owned());
        }
        let Some(reading) = self.reading(&shift.cohort) else {
            return Standing::LacksEvidence(format!("nothing was seen of {} yet", shift.cohort));
        };
        if let Some(missing) = sentence::missing(&shift.need, reading) {
            return Standing::LacksEvidence(missing);
        }
        if shift.is_until_safe && !reading.is_safe {
            return Standing::LacksEvidence(format!("harm in {} cannot be excluded yet", shift.cohort));
        }
        Standing::Over
    }

    /// True when the step is over without evidence, because the file says so.
    fn lacks_evidence(&mut self, rollout: &Rollout, shift: &Shift, why: String) -> bool {
        let Some(position) = &self.state.rollout else { return false };
        let is_too_long = rollout.max_hold.is_some_and(|most| position.step_elapsed >= most);
        let was_told = position.told.no_evidence;
        if !is_too_long {
            self.hold(shift, why);
            return false;
        }
        let waited = sentence::span(position.step_elapsed);
        let whose = self.whose(Some(&shift.cohort));
        if !was_told {
            let next = match rollout.no_evidence {
                NoEvidence::Hold => "it holds",
                NoEvidence::Advance => "it goes on, as the file says",
                NoEvidence::Rollback => "it is rolled back, as the file says",
            };
            self.event(EventKind::NoEvidence, Some(&shift.cohort), format!("{whose}: {why} after {waited}; {next}"));
        }
        if let Some(position) = &mut self.state.rollout {
            position.told.no_evidence = true;
        }
        match rollout.no_evidence {
            NoEvidence::Advance => return true,
            NoEvidence::Rollback => {
                let cohorts = self.scope(rollout, &shift.cohort);
                self.take_back(&cohorts, &rollout.on_harm.gradual, &format!("{why} after {waited}"));
            }
            NoEvidence::Hold => self.hold(shift, why),
        }
        false
    }

    fn hold(&mut self, shift: &Shift, why: String) {
        if self.state.phase != Phase::Holding {
            let sentence = format!("{} holds: {why}", self.whose(Some(&shift.cohort)));
            self.event(EventKind::Holding, Some(&shift.cohort), sentence);
        }
        self.enter(Phase::Holding, why);
    }

    /// Why nothing may rise, if evidence of harm is growing in any cohort.
    pub(super) fn frozen(&self) -> Option<String> {
        self.reading_with(Verdict::Frozen)
    }

    /// The first cohort of which the judge says this, with its words.
    fn reading_with(&self, verdict: Verdict) -> Option<String> {
        let position = self.state.rollout.as_ref()?;
        let watched = position.serials.keys().filter(|cohort| !position.taken_back.contains_key(*cohort));
        let mut readings = watched.filter_map(|cohort| self.reading(cohort));
        let found = readings.find(|reading| reading.verdict == verdict)?;
        Some(format!("{}: {}", found.cohort, found.sentence))
    }

    /// A rollout that takes too long is stopped, once, and neither promoted nor rolled back by it.
    pub(super) fn look_at_duration(&mut self) {
        let Some(most) = self.plan.rollout.as_ref().and_then(|rollout| rollout.max_duration) else { return };
        let is_moving = self.state.phase.is_moving();
        let Some(position) = self.state.rollout.as_mut().filter(|position| position.elapsed >= most) else { return };
        if position.told.too_long || !is_moving {
            return;
        }
        position.told.too_long = true;
        position.pause = Some(PauseCause::TooLong);
        let why = format!("it takes longer than {}", sentence::span(most));
        let sentence = format!("{} is paused: {why}", self.plan.service);
        self.enter(Phase::Paused, why);
        self.event(EventKind::TooLong, None, sentence);
    }
}
