//! One rollout on paper: the engine, a judge for each cohort, and a clock that the caller moves on.
//!
//! What the hands of real rollouts do (`control::rollouts`), without workers, files and people: approvals are given at once,
//! windows of time are open, and gates that ask others say nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::schema::Service;
use crate::control::judge_rules;
use crate::rollout::command::{Actor, Command};
use crate::rollout::effect::{Effect, Event};
use crate::rollout::engine::step;
use crate::rollout::input::{CohortReading, Happened, Input, Moment};
use crate::rollout::judge::{
    History, Judge, JudgeRules, LatencyRules, QUANTILES, Reading, StepStart, Tally, Thresholds, Tick, sentence,
};
use crate::rollout::plan::{Action, Plan, Rollout};
use crate::rollout::split::Split;
use crate::rollout::state::{Phase, State};

/// Events that are kept, the first ones; a rollout that goes on for days says the same again and again.
const EVENTS_MAX: usize = 1_000;

/// A rollout on paper.
pub struct Paper {
    plan: Plan,
    rollout: Rollout,
    rules: BTreeMap<String, (JudgeRules, [bool; QUANTILES])>,
    state: State,
    watched: BTreeMap<String, Watched>,
    elapsed_s: u64,
    began_unix_ms: u64,
    windows: Vec<String>,
    /// What happened, the first `EVENTS_MAX`.
    pub events: Vec<Event>,
}

/// What is known of stable in a cohort when a step begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past {
    /// What counts as slow; `None` while too few latencies are known.
    pub thresholds: Option<Thresholds>,
    /// Its requests so far.
    pub history: History,
}

/// One cohort under its judge.
struct Watched {
    judge: Judge,
    serial: u64,
    counts_from_s: u64,
    requests: u64,
    users: SeenUsers,
    reading: Option<Reading>,
}

/// Distinct users since the step began: users count again at each epoch of the judge, and the largest count is taken.
#[derive(Clone, Copy, Debug, Default)]
struct SeenUsers {
    epoch: u64,
    of_epoch: u64,
    most: u64,
}

impl Paper {
    /// The rollout of a service before it has begun; `None` when it has none.
    pub fn new(plan: Plan, service: &Service, began_unix_ms: u64) -> Option<Paper> {
        let rollout = plan.rollout.clone()?;
        let of = |cohort: &str| Some((cohort.to_owned(), judge_rules(service, &rollout, cohort)?));
        let windows: BTreeSet<String> = rollout.steps.iter().filter_map(|step| step.shift()?.window.clone()).collect();
        Some(Paper {
            rules: rollout.cohorts().into_iter().filter_map(of).collect(),
            windows: windows.into_iter().collect(),
            state: State::default(),
            watched: BTreeMap::new(),
            elapsed_s: 0,
            began_unix_ms,
            events: Vec::new(),
            plan,
            rollout,
        })
    }

    /// When it begins by the wall clock, for its events.
    pub fn set_beginning(&mut self, unix_ms: u64) {
        self.began_unix_ms = unix_ms;
    }

    /// The rollout begins. `past` tells what is known of a cohort's stable.
    pub fn begin(&mut self, past: &dyn Fn(&str, Option<&LatencyRules>) -> Past) {
        self.turn(Happened::Started, past);
    }

    /// A second has passed: `tick` tells what happened in a cohort.
    pub fn second(
        &mut self,
        tick: &mut dyn FnMut(&str) -> Option<Tick>,
        past: &dyn Fn(&str, Option<&LatencyRules>) -> Past,
    ) {
        self.elapsed_s += 1;
        for (cohort, watched) in &mut self.watched {
            if is_gone(&self.state, cohort) {
                continue;
            }
            if watched.judge.thresholds().is_none() {
                let latency = self.rules.get(cohort).and_then(|(rules, _)| rules.latency.as_ref());
                if let Some(thresholds) = past(cohort, latency).thresholds {
                    watched.judge.freeze(thresholds);
                }
            }
            let Some(tick) = tick(cohort) else { continue };
            let quantiles = self.rules.get(cohort).map_or([true; QUANTILES], |(_, quantiles)| *quantiles);
            watched.see(self.elapsed_s, tick, &quantiles);
        }
        if self.state.phase == Phase::AwaitingApproval {
            let actor = Actor { name: "paper".to_owned(), groups: self.groups() };
            self.turn(Happened::Asked { actor, reason: String::new(), command: Command::Approve }, past);
        } else {
            self.turn(Happened::Tick, past);
        }
    }

    fn turn(&mut self, happened: Happened, past: &dyn Fn(&str, Option<&LatencyRules>) -> Past) {
        let now = Moment {
            monotonic: Duration::from_secs(self.elapsed_s),
            unix_ms: self.began_unix_ms + self.elapsed_s * 1_000,
        };
        let readings = self.watched.iter().filter_map(|(cohort, watched)| {
            let (rules, _) = self.rules.get(cohort)?;
            watched.cohort_reading(cohort, rules)
        });
        let input = Input {
            now,
            readings: readings.collect(),
            open_windows: self.windows.clone(),
            can_persist: true,
            happened,
        };
        let (state, effects) = step(&self.plan, std::mem::take(&mut self.state), &input);
        self.state = state;
        for effect in effects {
            match effect {
                Effect::StartStep { cohort, serial, warmup, .. } => self.start(&cohort, serial, warmup, past),
                Effect::Record(event) if self.events.len() < EVENTS_MAX => self.events.push(event),
                // weights are read from the state
                Effect::Record(_)
                | Effect::SetWeights { .. }
                | Effect::Persist
                | Effect::Notify(_)
                | Effect::Answer(_) => {}
            }
        }
    }

    fn start(
        &mut self,
        cohort: &str,
        serial: u64,
        warmup: Duration,
        past: &dyn Fn(&str, Option<&LatencyRules>) -> Past,
    ) {
        let Some((rules, _)) = self.rules.get(cohort) else { return };
        let known = past(cohort, rules.latency.as_ref());
        let has_control = self.split(cohort).is_none_or(|split| !split.of(&self.rollout.from).is_zero());
        let fresh = || Watched {
            judge: Judge::new(rules.clone()),
            serial,
            counts_from_s: 0,
            requests: 0,
            users: SeenUsers::default(),
            reading: None,
        };
        let watched = self.watched.entry(cohort.to_owned()).or_insert_with(fresh);
        watched.serial = serial;
        watched.counts_from_s = self.elapsed_s + warmup.as_secs();
        (watched.requests, watched.users) = (0, SeenUsers::default());
        watched.judge.begin_step(StepStart {
            at_s: self.elapsed_s,
            thresholds: known.thresholds,
            past: Some(known.history),
            has_control,
        });
    }

    /// The groups that must approve.
    fn groups(&self) -> Vec<String> {
        let current = self.state.rollout.as_ref().and_then(|position| self.rollout.steps.get(position.step));
        match current.map(|step| &step.action) {
            Some(Action::Approve(groups)) => groups.clone(),
            Some(Action::Shift(_)) | None => Vec::new(),
        }
    }

    /// How a cohort is split now.
    pub fn split(&self, cohort: &str) -> Option<&Split> {
        self.state.in_force.get(cohort).or_else(|| self.plan.in_file(cohort))
    }

    /// The share of what is released among it and what it replaces, 0 to 1.
    pub fn share(&self, cohort: &str) -> f64 {
        let Some(split) = self.split(cohort) else { return 0.0 };
        let (to, from) = (split.of(&self.rollout.to).as_f64(), split.of(&self.rollout.from).as_f64());
        if to + from > 0.0 { to / (to + from) } else { 0.0 }
    }

    /// What counts as slow in a cohort.
    pub fn thresholds(&self, cohort: &str) -> Option<Thresholds> {
        self.watched.get(cohort)?.judge.thresholds().copied()
    }

    /// The epoch of a cohort's judge; see [`Judge::epoch`].
    pub fn epoch(&self, cohort: &str) -> u64 {
        self.watched.get(cohort).map_or(0, |watched| watched.judge.epoch())
    }

    /// What the judge said last of a cohort.
    pub fn reading(&self, cohort: &str) -> Option<&Reading> {
        self.watched.get(cohort)?.reading.as_ref()
    }

    /// Cohorts of which the version was taken away.
    pub fn taken_back(&self) -> impl Iterator<Item = &str> {
        self.state.rollout.iter().flat_map(|position| position.taken_back.keys().map(String::as_str))
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.state.phase
    }

    /// The phase in words.
    pub fn why(&self) -> &str {
        &self.state.why
    }

    /// The number of the step in the file, from 1; one more than there are when all are done.
    pub fn step(&self) -> usize {
        let position = self.state.rollout.as_ref().map_or(0, |position| position.step);
        self.rollout.steps.get(position).map_or(self.rollout.written + 1, |step| step.number)
    }

    /// How long it takes so far, in seconds.
    pub fn elapsed_s(&self) -> u64 {
        self.elapsed_s
    }

    /// The rollout as the file has it.
    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }
}

impl Watched {
    fn see(&mut self, now_s: u64, mut tick: Tick, quantiles: &[bool; QUANTILES]) {
        if now_s < self.counts_from_s {
            return;
        }
        for side in [&mut tick.canary, &mut tick.stable] {
            for (at, _) in quantiles.iter().enumerate().filter(|(_, is_compared)| !**is_compared) {
                (side.slow[at], side.late[at]) = (Tally::default(), Tally::default());
                side.users.iter_mut().for_each(|users| users.slow[at] = Tally::default());
            }
        }
        tick.at_s = now_s;
        self.requests += tick.canary.errors.of;
        self.users.add(self.judge.epoch(), tick.canary.users.map_or(tick.canary.errors.of, |users| users.new));
        self.reading = Some(self.judge.tick(&tick));
    }

    fn cohort_reading(&self, cohort: &str, rules: &JudgeRules) -> Option<CohortReading> {
        let reading = self.reading.as_ref()?;
        let loudest = reading.loudest();
        let outcomes: Vec<&str> = rules.outcomes.iter().map(|outcome| outcome.name.as_str()).collect();
        Some(CohortReading {
            cohort: cohort.to_owned(),
            serial: self.serial,
            verdict: reading.decision.verdict(),
            is_safe: reading.is_safe(rules),
            is_starved: reading.is_silent,
            requests: self.requests,
            users: self.users.most,
            probes: 0,
            gate: loudest.map_or_else(String::new, |gate| gate.gate.as_str().to_owned()),
            sentence: loudest.map_or_else(String::new, |gate| sentence(gate, &outcomes)),
            numbers: Vec::new(),
        })
    }
}

impl SeenUsers {
    fn add(&mut self, epoch: u64, more: u64) {
        if epoch != self.epoch {
            (self.epoch, self.of_epoch) = (epoch, 0);
        }
        self.of_epoch += more;
        self.most = self.most.max(self.of_epoch);
    }
}

fn is_gone(state: &State, cohort: &str) -> bool {
    let taken_back = state.rollout.as_ref().and_then(|position| position.taken_back.get(cohort));
    taken_back.is_some_and(|back| back.share.is_zero())
}
