//! A rollout on the stage of a test: a plan, a clock, cohorts that are seen, and people who ask.

#![cfg(test)]

use std::collections::BTreeMap;
use std::time::Duration;

use super::command::{Actor, Answer, Command};
use super::effect::{Effect, Event, EventKind};
use super::engine::step;
use super::input::{CohortReading, Happened, Input, Moment, Verdict};
use super::plan::{Action, HarmAction, Need, NoEvidence, OnHarm, Plan, Rollout, Scope, Shift, Step};
use super::split::Split;
use super::state::{Phase, State};
use crate::model::Weight;

pub(crate) struct Stage {
    pub plan: Plan,
    pub state: State,
    pub readings: BTreeMap<String, CohortReading>,
    pub open_windows: Vec<String>,
    pub can_persist: bool,
    pub events: Vec<Event>,
    /// The effects of the last input.
    pub effects: Vec<Effect>,
    pub now: Moment,
}

/// Percent of `canary` in the shop's cohorts: staff 50, beta 10 and 50, an approval, everyone 25 and 100.
pub(crate) fn plan() -> Plan {
    let file = |cohort: &str| (cohort.to_owned(), Split::all("stable"));
    let mut steps = vec![
        shift(1, "staff", 50),
        shift(2, "beta", 10),
        shift(3, "beta", 50),
        Step { number: 4, action: Action::Approve(vec!["release-managers".to_owned()]) },
        shift(5, "everyone", 25),
        shift(5, "everyone", 100),
    ];
    for step in steps.iter_mut().filter(|step| step.number == 5) {
        if let Action::Shift(shift) = &mut step.action {
            shift.window = Some("nights".to_owned());
        }
    }
    Plan {
        service: "shop".to_owned(),
        variants: vec!["stable".to_owned(), "canary".to_owned()],
        remainder: "stable".to_owned(),
        file: vec![file("staff"), file("beta"), file("everyone")],
        rollout: Some(Rollout {
            id: "v42".to_owned(),
            to: "canary".to_owned(),
            from: "stable".to_owned(),
            written: 5,
            steps,
            holdback: Weight::ZERO,
            max_hold: None,
            no_evidence: NoEvidence::Hold,
            max_duration: None,
            on_harm: OnHarm {
                action: HarmAction::Rollback,
                scope: Scope::Cohort,
                gradual: Vec::new(),
                every: Duration::from_secs(30),
            },
            expire_after: super::life_cycle::EXPIRE_AFTER_DEFAULT,
            runbook: Some("https://wiki.example.com/shop".to_owned()),
        }),
    }
}

/// A minute at a share, and a hundred requests.
pub(crate) fn shift(number: usize, cohort: &str, share: u64) -> Step {
    Step {
        number,
        action: Action::Shift(Shift {
            cohort: cohort.to_owned(),
            share: Weight::whole(share),
            hold: Duration::from_secs(60),
            need: Need { requests: 100, users: 0, counts_probes: false },
            warmup: Duration::ZERO,
            window: None,
            is_until_safe: false,
        }),
    }
}

impl Stage {
    /// The first step has begun.
    pub fn new() -> Stage {
        Stage::of(plan())
    }

    pub fn of(plan: Plan) -> Stage {
        let mut stage = Stage::before(plan);
        stage.happens(Happened::Started);
        stage
    }

    /// Nothing has happened yet.
    pub fn before(plan: Plan) -> Stage {
        Stage {
            plan,
            state: State::default(),
            readings: BTreeMap::new(),
            open_windows: vec!["nights".to_owned()],
            can_persist: true,
            events: Vec::new(),
            effects: Vec::new(),
            now: Moment { monotonic: Duration::from_secs(1_000), unix_ms: 1_790_000_000_000 },
        }
    }

    pub fn happens(&mut self, happened: Happened) -> Vec<Effect> {
        let input = self.input(happened);
        let (state, effects) = step(&self.plan, std::mem::take(&mut self.state), &input);
        self.state = state;
        self.effects.clone_from(&effects);
        for effect in &effects {
            match effect {
                Effect::Record(event) => self.events.push(event.clone()),
                Effect::StartStep { cohort, serial, is_resumed: false, .. } => {
                    self.readings.insert(cohort.clone(), reading(cohort, *serial));
                }
                _ => {}
            }
        }
        effects
    }

    pub fn input(&self, happened: Happened) -> Input {
        Input {
            now: self.now,
            readings: self.readings.values().cloned().collect(),
            open_windows: self.open_windows.clone(),
            can_persist: self.can_persist,
            happened,
        }
    }

    /// Seconds pass, one by one.
    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.leap(1_000, 1_000);
        }
    }

    /// The clocks go on by so many milliseconds, and a tick comes.
    pub fn leap(&mut self, monotonic_ms: u64, wall_ms: i64) {
        self.now.monotonic += Duration::from_millis(monotonic_ms);
        self.now.unix_ms = self.now.unix_ms.saturating_add_signed(wall_ms);
        self.happens(Happened::Tick);
    }

    /// Requests of the new version were seen in a cohort.
    pub fn see(&mut self, cohort: &str, requests: u64) {
        if let Some(reading) = self.readings.get_mut(cohort) {
            reading.requests = requests;
            reading.users = requests;
        }
    }

    pub fn judge(&mut self, cohort: &str, verdict: Verdict) {
        if let Some(reading) = self.readings.get_mut(cohort) {
            reading.verdict = verdict;
            reading.sentence = match verdict {
                Verdict::Clear => "errors 0.08 % against stable 0.07 %".to_owned(),
                Verdict::Unknown => "memory: unknown".to_owned(),
                Verdict::Frozen => "errors: evidence 5.2 of 20".to_owned(),
                _ => "errors 2.3 % against stable 0.07 %, n = 4,118, evidence 31 of 20".to_owned(),
            };
        }
    }

    /// The current step gets all that it needs, and its hold passes.
    pub fn complete_step(&mut self) {
        let shift = self.current().and_then(|step| step.shift().cloned());
        if let Some(shift) = shift {
            self.see(&shift.cohort, 1_000);
        }
        self.pass(61);
    }

    /// Until the approval, which is given; then until a phase.
    pub fn until(&mut self, phase: Phase) {
        for _ in 0..20 {
            if self.state.phase == phase {
                return;
            }
            if self.state.phase == Phase::AwaitingApproval {
                self.ask(Command::Approve);
            } else {
                self.complete_step();
            }
        }
        panic!("never {phase}: {:?}", self.state);
    }

    pub fn current(&self) -> Option<&Step> {
        self.plan.rollout.as_ref()?.steps.get(self.state.rollout.as_ref()?.step)
    }

    pub fn ask(&mut self, command: Command) -> Answer {
        self.ask_as("alice", &["release-managers"], command)
    }

    pub fn ask_as(&mut self, name: &str, groups: &[&str], command: Command) -> Answer {
        let actor = Actor { name: name.to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect() };
        let effects = self.happens(Happened::Asked { actor, reason: "because".to_owned(), command });
        let mut answers = effects.iter().filter_map(|effect| match effect {
            Effect::Answer(answer) => Some(answer.clone()),
            _ => None,
        });
        answers.next_back().expect("every command is answered")
    }

    pub fn rollback(&mut self, cohort: Option<&str>) -> Answer {
        self.ask(Command::Rollback { cohort: cohort.map(str::to_owned), is_gradual: false })
    }

    /// Percent of the new version in a cohort, as the hands were told.
    pub fn share(&self, cohort: &str) -> String {
        self.state.in_force[cohort].of("canary").to_string()
    }

    pub fn phase(&self) -> Phase {
        self.state.phase
    }

    pub fn unix_ms(&self) -> u64 {
        self.now.unix_ms
    }

    /// The sentence of the latest event of a kind.
    pub fn said(&self, kind: EventKind) -> &str {
        self.events.iter().rev().find(|event| event.kind == kind).map_or("", |event| &event.sentence)
    }

    pub fn count(&self, kind: EventKind) -> usize {
        self.events.iter().filter(|event| event.kind == kind).count()
    }
}

fn reading(cohort: &str, serial: u64) -> CohortReading {
    CohortReading {
        cohort: cohort.to_owned(),
        serial,
        verdict: Verdict::Clear,
        is_safe: false,
        is_starved: false,
        requests: 0,
        users: 0,
        probes: 0,
        gate: "errors".to_owned(),
        sentence: "errors 0.08 % against stable 0.07 %".to_owned(),
        numbers: vec![("evidence".to_owned(), "0.4".to_owned())],
    }
}
