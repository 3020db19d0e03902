//! Back: at once or by degrees, whatever else is going on. Nothing here asks a window, an approval or a disk.

use super::Turn;
use crate::model::Weight;
use crate::rollout::effect::EventKind;
use crate::rollout::input::{CohortReading, Verdict};
use crate::rollout::ownership::in_force;
use crate::rollout::plan::{HarmAction, Rollout, Scope};
use crate::rollout::state::{PauseCause, Phase, TakenBack};
use std::time::Duration;

impl Turn<'_> {
    /// Acts on each cohort of which the judge says that it is hurt.
    pub(super) fn look_for_harm(&mut self) {
        let Some(rollout) = &self.plan.rollout else { return };
        for cohort in rollout.cohorts() {
            let is_back = self.state.rollout.as_ref().is_none_or(|position| position.taken_back.contains_key(cohort));
            let Some(reading) = self.reading(cohort).filter(|_| !is_back).cloned() else { continue };
            self.look_for_traffic(&reading);
            let action = match (reading.verdict, rollout.on_harm.action) {
                (Verdict::Harm, HarmAction::Rollback) => HarmAction::Rollback,
                (Verdict::Harm | Verdict::PausingHarm, _) => HarmAction::Pause,
                (Verdict::Clear | Verdict::Unknown | Verdict::Frozen, _) => continue,
            };
            match (self.state.phase, action) {
                (Phase::Idle, _) => {}
                (Phase::Superseded, _) | (Phase::Promoted | Phase::RolledBack, HarmAction::Pause) => {
                    self.tell_harm(&reading);
                }
                (_, HarmAction::Rollback) => {
                    let cohorts = self.scope(rollout, cohort);
                    self.take_back(&cohorts, &rollout.on_harm.gradual, &reading.sentence);
                    self.numbers(&reading);
                }
                (_, HarmAction::Pause) => self.pause_for_harm(&reading),
            }
        }
    }

    /// The cohorts that harm in one of them concerns.
    pub(super) fn scope(&self, rollout: &Rollout, cohort: &str) -> Vec<String> {
        match rollout.on_harm.scope {
            Scope::Cohort => vec![cohort.to_owned()],
            Scope::Rollout => rollout.cohorts().into_iter().map(str::to_owned).collect(),
        }
    }

    /// Takes the new version away from cohorts. `gradual` are the shares on the way; those that are not below the
    /// share of a cohort are left out, so that a small one goes at once.
    pub(super) fn take_back(&mut self, cohorts: &[String], gradual: &[Weight], why: &str) {
        let mut told = Vec::new();
        for cohort in cohorts {
            let last = self.share_of(cohort);
            let mut way: Vec<Weight> = gradual.iter().copied().filter(|share| *share < last).collect();
            if way.last().is_none_or(|share| !share.is_zero()) {
                way.push(Weight::ZERO);
            }
            let share = way.remove(0);
            if !last.is_zero() {
                told.push((cohort.clone(), last, share));
            }
            self.state.pins.remove(cohort);
            if let Some(position) = &mut self.state.rollout {
                let back = TakenBack { share, way, elapsed: Duration::ZERO, why: why.to_owned() };
                position.taken_back.insert(cohort.clone(), back);
            }
        }
        if let Some(position) = &mut self.state.rollout {
            position.pause = None;
            position.ended_ms = Some(self.input.now.unix_ms);
        }
        let service = &self.plan.service;
        let sentence = match told.as_slice() {
            [] => format!("rolled back {service}: {why}"),
            [(cohort, last, share)] => format!("rolled back {service}/{cohort} {last} % → {share} %: {why}"),
            several => {
                let parts: Vec<String> =
                    several.iter().map(|(c, last, share)| format!("{c} {last} % → {share} %")).collect();
                format!("rolled back {service} ({}): {why}", parts.join(", "))
            }
        };
        // a part of what a person's edit rules: the rest goes on following the file
        let is_part = self.plan.rollout.as_ref().is_some_and(|rollout| !self.is_all_back(rollout));
        let phase =
            if self.state.phase == Phase::Superseded && is_part { Phase::Superseded } else { Phase::RolledBack };
        self.enter(phase, sentence.clone());
        let cohort = if let [cohort] = cohorts { Some(cohort.as_str()) } else { None };
        self.event(EventKind::RolledBack, cohort, sentence);
    }

    /// The next shares of gradual ways back.
    pub(super) fn go_further_back(&mut self) {
        let every = self.plan.rollout.as_ref().map_or(Duration::ZERO, |rollout| rollout.on_harm.every);
        let passed = self.passed;
        let mut told = Vec::new();
        let Some(position) = &mut self.state.rollout else { return };
        for (cohort, back) in position.taken_back.iter_mut().filter(|(_, back)| !back.way.is_empty()) {
            back.elapsed = back.elapsed.saturating_add(passed);
            if back.elapsed >= every {
                let last = back.share;
                back.share = back.way.remove(0);
                back.elapsed = Duration::ZERO;
                told.push((cohort.clone(), last, back.share));
            }
        }
        for (cohort, last, share) in told {
            let sentence = format!("{} {last} % → {share} %: on the way back", self.whose(Some(&cohort)));
            self.event(EventKind::FurtherBack, Some(&cohort), sentence);
        }
    }

    /// True when nothing of the rollout is left to go on with.
    pub(super) fn is_all_back(&self, rollout: &Rollout) -> bool {
        let position = self.state.rollout.as_ref();
        let is_back = |cohort: &str| position.is_some_and(|position| position.taken_back.contains_key(cohort));
        rollout.cohorts().into_iter().all(is_back)
    }

    /// Percent of a cohort that gets the new version now.
    pub(super) fn share_of(&self, cohort: &str) -> Weight {
        let to = self.state.rollout.as_ref().map_or("", |position| position.to.as_str());
        in_force(self.plan, &self.state, cohort).0.of(to)
    }

    fn pause_for_harm(&mut self, reading: &CohortReading) {
        let Some(position) = &mut self.state.rollout else { return };
        if position.pause == Some(PauseCause::Harm) {
            return;
        }
        position.pause = Some(PauseCause::Harm);
        let why = format!("harm in {}: {}", reading.cohort, reading.sentence);
        let sentence = format!("paused {}: {}", self.whose(Some(&reading.cohort)), reading.sentence);
        self.enter(Phase::Paused, why);
        self.event(EventKind::Harm, Some(&reading.cohort), sentence);
        self.numbers(reading);
    }

    /// Harm where the engine must not act: a person's number rules, or all that is left to do is to say so.
    fn tell_harm(&mut self, reading: &CohortReading) {
        let phase = self.state.phase;
        let Some(position) = self.state.rollout.as_mut().filter(|position| !position.told.harm) else { return };
        position.told.harm = true;
        let sentence = format!("harm in {} while {phase}: {}", self.whose(Some(&reading.cohort)), reading.sentence);
        self.event(EventKind::Harm, Some(&reading.cohort), sentence);
        self.numbers(reading);
    }

    fn look_for_traffic(&mut self, reading: &CohortReading) {
        let Some(position) = self.state.rollout.as_mut().filter(|_| reading.is_starved) else { return };
        if position.told.starved {
            return;
        }
        position.told.starved = true;
        let to = position.to.clone();
        let sentence = format!("{}: {to} has a share, and gets no requests", self.whose(Some(&reading.cohort)));
        self.event(EventKind::Starved, Some(&reading.cohort), sentence);
    }

    fn numbers(&mut self, reading: &CohortReading) {
        if let Some(event) = self.events.last_mut() {
            event.numbers.clone_from(&reading.numbers);
        }
    }
}
