//! The hands of rollouts: what is seen goes to the engine, and what it wants is done, in its order.
//!
//! ```text
//! recorder ─counts─▶ watching (judge) ─readings─▶ engine::step ─▶ shares that fall → state written → shares that rise
//!                                       people ─▶              └▶ audit log, log, answer
//! ```
//!
//! Once a second, for each command, and after each reload. What falls is in force before anything is written; what rises
//! waits until the state that says so is on the disk.

mod asked;
mod outward;
mod probes;
mod rules;
mod view;
mod wanted;
mod watching;

pub use view::{CohortView, GateView, RolloutView};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::journal::store::{Found, Store, StoreError, WAITING_MAX};
use super::notify::Notifiers;
use super::plans::{open_windows, plans};
use super::reload;
use crate::config::schema::File;
use crate::model::Weight;
use crate::rollout::command::{Actor, Answer, Command};
use crate::rollout::effect::{Effect, Event};
use crate::rollout::engine::step;
use crate::rollout::input::{Happened, Input, Moment};
use crate::rollout::plan::Plan;
use crate::rollout::state::{Phase, State};
use crate::routing::Overlay;
use crate::telemetry::metrics::RolloutFact;
use asked::Asked;
use probes::Probes;
use rules::watch_plan;
use wanted::{Change, Wanted};
use watching::{Pair, Start, Watching};

/// All rollouts of the file, and what they need.
pub struct Rollouts {
    /// `None` without a `stateDir`: all of it is in memory.
    store: Option<Store>,
    can_persist: bool,
    can_append: bool,
    states: BTreeMap<String, State>,
    plans: BTreeMap<String, Plan>,
    /// By service and cohort.
    watching: BTreeMap<(String, String), Watching>,
    overlay: Overlay,
    /// Shares that rise once the state is written.
    waiting: Vec<Change>,
    began: Instant,
    /// Looks at a gate, by service and cohort, gate, verdict.
    verdicts: BTreeMap<(String, String), VerdictCounts>,
    notifiers: Notifiers,
    asked: Asked,
    probes: Probes,
    /// The folder that another process hands over.
    awaited: Option<PathBuf>,
    /// Events until then.
    unwritten: Vec<Event>,
    /// Another process goes on with them.
    is_over: bool,
}

/// Something that a person asks of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The service.
    pub service: String,
    /// Who asks.
    pub actor: Actor,
    /// Why, in their words.
    pub reason: String,
    /// For what.
    pub command: Command,
}

/// How often a gate had a verdict, by both.
type VerdictCounts = BTreeMap<(String, &'static str), u64>;

impl Default for Rollouts {
    fn default() -> Rollouts {
        Rollouts {
            store: None,
            can_persist: true,
            can_append: true,
            states: BTreeMap::new(),
            plans: BTreeMap::new(),
            watching: BTreeMap::new(),
            overlay: Overlay::default(),
            waiting: Vec::new(),
            began: Instant::now(),
            verdicts: BTreeMap::new(),
            notifiers: Notifiers::default(),
            asked: Asked::default(),
            probes: Probes::default(),
            awaited: None,
            unwritten: Vec::new(),
            is_over: false,
        }
    }
}

impl Rollouts {
    /// Takes the `stateDir` of a file, and reads where rollouts were. When another process hands over, that comes later:
    /// it holds the folder until it has.
    ///
    /// # Errors
    /// Another process has it, or it cannot be written. A state that is damaged is told, and no error.
    pub fn open(file: &File, is_handed_over: bool) -> Result<Rollouts, StoreError> {
        let mut rollouts = Rollouts { plans: plans(file), ..Rollouts::default() };
        let has_rollout = rollouts.plans.values().any(|plan| plan.rollout.is_some());
        match &file.state_dir {
            None if has_rollout => {
                tracing::warn!("there is no stateDir: rollouts begin anew, and rollbacks are forgotten, at each start");
            }
            None => {}
            Some(folder) if is_handed_over => rollouts.awaited = Some(folder.clone()),
            Some(folder) => rollouts.take_folder(folder)?,
        }
        Ok(rollouts)
    }

    fn take_folder(&mut self, folder: &Path) -> Result<(), StoreError> {
        let opened = Store::open(folder, SystemTime::now())?;
        opened.problems.iter().for_each(|problem| tracing::error!(problem, "state of rollouts"));
        self.adopt(opened.found);
        self.store = Some(opened.store);
        Ok(())
    }

    /// What was written is what is known, but for what this process took back meanwhile.
    fn adopt(&mut self, found: Found) {
        let states: BTreeMap<String, State> = match found {
            Found::Nothing => return,
            Found::Good(document) => document.services,
            Found::Older(document) => {
                let why = "the latest state was damaged; look where the rollout is, then type `resume`";
                document.services.into_iter().map(|(name, state)| (name, state.stopped(why))).collect()
            }
            Found::Lost => {
                let why = "the state was damaged; type `retry` to begin again";
                self.plans.iter().map(|(name, plan)| (name.clone(), State::lost(plan, why))).collect()
            }
        };
        for (name, state) in states {
            if self.states.get(&name).is_none_or(|own| own.phase != Phase::RolledBack) {
                self.states.insert(name, state);
            }
        }
    }

    /// The process before this one has ended, or still holds the folder: until it goes, nothing rises here.
    fn await_folder(&mut self, hands: &mut reload::State) {
        let Some(folder) = self.awaited.clone() else { return };
        match self.take_folder(&folder) {
            Ok(()) => {
                self.awaited = None;
                self.can_persist = true;
                let unwritten = std::mem::take(&mut self.unwritten);
                self.append(unwritten);
                self.turn(hands, None, &Happened::Started);
            }
            Err(StoreError::Locked(_)) => {}
            Err(error) => tracing::error!(%error, "the state of rollouts was not handed over: nothing rises"),
        }
    }

    /// Another process goes on with them: the folder is free when this returns, and nothing moves here any more.
    pub(super) fn hand_over(&mut self, hands: &mut reload::State) {
        self.watching.values().for_each(|watching| watching.end(&hands.common.registry));
        *self = Rollouts { is_over: true, ..Rollouts::default() };
    }

    /// The process begins: what was in force is in force again, before the first request.
    pub(super) fn start(&mut self, hands: &mut reload::State) {
        if let Some(folder) = &self.awaited {
            self.adopt(Store::peek(folder));
            self.can_persist = false;
        }
        self.follow(hands);
        self.turn(hands, None, &Happened::Started);
    }

    /// A second has passed.
    pub(super) fn second(&mut self, hands: &mut reload::State) {
        let now = self.began.elapsed();
        let registry = &hands.common.registry;
        for (key, watching) in &mut self.watching {
            let (service, cohort) = key;
            let Some(state) = self.states.get(service).filter(|state| is_watched(state, cohort)) else { continue };
            watching.tick(registry, now, canary_share(state, cohort));
            let counts = self.verdicts.entry(key.clone()).or_default();
            for gate in watching.reading.iter().flat_map(|reading| &reading.gates) {
                *counts.entry((gate.gate.as_str().to_owned(), gate.verdict.as_str())).or_default() += 1;
            }
        }
        self.look_outward();
        self.await_folder(hands);
        if !self.can_persist && self.awaited.is_none() {
            self.write();
        }
        self.turn(hands, None, &Happened::Tick);
    }

    /// Other files are in force.
    pub(super) fn reloaded(&mut self, hands: &mut reload::State) {
        if self.is_over {
            return;
        }
        self.plans = plans(&hands.common.in_force.load().loaded.file);
        self.follow(hands);
        let plans = &self.plans;
        self.overlay.retain(|service| plans.contains_key(service));
        self.waiting.retain(|change| plans.contains_key(&change.service));
        self.verdicts.retain(|(service, _), _| plans.contains_key(service));
        let registry = &hands.common.registry;
        self.watching.retain(|(service, _), watching| {
            let is_kept = plans.get(service).is_some_and(|plan| plan.rollout.is_some());
            if !is_kept {
                watching.end(registry);
            }
            is_kept
        });
        self.turn(hands, None, &Happened::Tick);
    }

    /// Somebody asks for something; `None` when there is no such service.
    pub(super) fn ask(&mut self, hands: &mut reload::State, ask: Ask) -> Option<Answer> {
        let Ask { service, actor, reason, command } = ask;
        self.plans.get(&service)?;
        self.turn(hands, Some(&service), &Happened::Asked { actor, reason, command })
    }

    /// Where each rollout is.
    pub(super) fn views(&self) -> Vec<RolloutView> {
        let mut views = self.judged();
        views.iter_mut().for_each(|view| self.add_outward(view));
        views
    }

    /// The same as far as the judge goes.
    fn judged(&self) -> Vec<RolloutView> {
        let of = |(name, plan): (&String, &Plan)| {
            let watching = |cohort: &str| self.watching.get(&(name.clone(), cohort.to_owned()));
            view::view(plan, self.states.get(name)?, watching)
        };
        self.plans.iter().filter_map(of).collect()
    }

    /// What metrics tell of rollouts.
    pub(super) fn facts(&self) -> Vec<RolloutFact> {
        let fact = |view: RolloutView| RolloutFact {
            phases: Phase::ALL.iter().map(|phase| (phase.as_str(), *phase == view.phase)).collect(),
            step: view.step,
            evidence: view.gates.into_iter().map(|gate| (gate.cohort, gate.gate, gate.evidence)).collect(),
            verdicts: self.verdicts_of(&view.service),
            service: view.service,
        };
        self.judged().into_iter().map(fact).collect()
    }

    fn verdicts_of(&self, service: &str) -> Vec<(String, String, &'static str, u64)> {
        let cohorts = self.verdicts.iter().filter(|((of, _), _)| of == service);
        let counts = cohorts.flat_map(|((_, cohort), counts)| {
            counts.iter().map(|((gate, verdict), count)| (cohort.clone(), gate.clone(), *verdict, *count))
        });
        counts.collect()
    }

    /// One turn of the engine for one service, or for all.
    fn turn(&mut self, hands: &mut reload::State, only: Option<&str>, happened: &Happened) -> Option<Answer> {
        let in_force = hands.common.in_force.load_full();
        let file = &in_force.loaded.file;
        let now = Moment { monotonic: self.began.elapsed(), unix_ms: unix_ms() };
        let open_windows = match file.windows.is_empty() {
            true => Vec::new(),
            false => open_windows(file, &jiff::Zoned::now()),
        };
        let mut wanted = Wanted::default();
        for (name, plan) in self.plans.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
            let of_service = self.watching.range((name.clone(), String::new())..);
            let of_service = of_service.take_while(|((service, _), _)| service == name);
            let readings = of_service.filter_map(|((_, cohort), watching)| watching.cohort_reading(cohort));
            let readings = readings.map(|reading| self.joined(name, reading)).collect();
            let (can_persist, open_windows) = (self.can_persist, open_windows.clone());
            let input = Input { now, readings, open_windows, can_persist, happened: happened.clone() };
            let state = self.states.remove(name).unwrap_or_default();
            let (state, effects) = step(plan, state, &input);
            self.states.insert(name.clone(), state);
            wanted.add(name, effects);
        }
        self.carry_out(hands, file, wanted)
    }

    fn carry_out(&mut self, hands: &mut reload::State, file: &File, wanted: Wanted) -> Option<Answer> {
        let Wanted { falls, persist, rises, starts, events, told, answer } = wanted;
        let fell = self.change(falls);
        self.publish(hands, fell);
        if persist {
            self.write();
        }
        // what waited first, so that what was decided later wins
        self.waiting.extend(rises);
        if self.can_persist {
            let waiting = std::mem::take(&mut self.waiting);
            let rose = self.change(waiting);
            self.publish(hands, rose);
        }
        for (service, start) in starts {
            self.start_step(hands, file, &service, start);
        }
        self.end_watches(hands);
        self.record(events);
        // what it says is in force and on the disk by now
        told.iter().for_each(|event| self.notifiers.tell(event));
        answer
    }

    /// Weights into the overlay; says whether that changes anything.
    fn change(&mut self, changes: Vec<Change>) -> bool {
        let mut is_changed = false;
        for Change { service, cohort, ruled } in changes {
            self.waiting.retain(|waiting| waiting.service != service || waiting.cohort != cohort);
            is_changed |= self.overlay.set(&service, &cohort, ruled);
        }
        is_changed
    }

    fn publish(&self, hands: &mut reload::State, is_changed: bool) {
        if is_changed {
            hands.put_weights_in_force(self.overlay.clone());
        }
    }

    /// Writes the state of all services. What cannot be written is told once, and tried again each second.
    fn write(&mut self) {
        let Some(store) = &self.store else { return };
        let written = store.save(unix_ms(), &self.states);
        match &written {
            Ok(()) if !self.can_persist => tracing::info!("the state of rollouts is written again"),
            Err(error) if self.can_persist => {
                tracing::error!(%error, "the state of rollouts cannot be written: nothing rises until it can");
            }
            Ok(()) | Err(_) => {}
        }
        self.can_persist = written.is_ok();
    }

    fn start_step(&mut self, hands: &reload::State, file: &File, service: &str, start: Effect) {
        let Effect::StartStep { cohort, serial, warmup, is_resumed } = start else { return };
        let snapshot = hands.common.snapshot.load();
        let (Some(plan), Some(state)) = (self.plans.get(service), self.states.get(service)) else { return };
        let (Some(rollout), Some(position)) = (&plan.rollout, &state.rollout) else { return };
        let watched = file.services.get(service).and_then(|written| watch_plan(written, rollout, &cohort));
        let compiled = snapshot.service(service);
        let slot = |variant: &str| {
            let compiled = compiled?;
            let at = compiled.variants.iter().position(|known| &*known.name == variant)?;
            let cohort = compiled.cohorts.iter().find(|known| *known.name == *cohort)?;
            cohort.slots.get(at).copied()
        };
        let (Some(watched), Some(canary), Some(stable)) = (watched, slot(&position.to), slot(&position.from)) else {
            return;
        };
        let slots = Pair { canary, stable };
        let key = (service.to_owned(), cohort.clone());
        let known = self.watching.remove(&key).filter(|known| {
            let can_go_on = !is_resumed && known.can_go_on(&position.id, &watched, &slots);
            if !can_go_on {
                known.end(&hands.common.registry);
            }
            can_go_on
        });
        let mut watching = known.unwrap_or_else(|| Watching::new(&position.id, watched, slots));
        let has_control = state.in_force.get(&cohort).is_none_or(|split| !split.of(&position.from).is_zero());
        let start = Start { serial, now: self.began.elapsed(), warmup, has_control };
        watching.begin_step(&start, &hands.common.registry);
        self.probes.begin_step(service, &cohort);
        self.watching.insert(key, watching);
    }

    /// Workers count only what somebody looks at.
    fn end_watches(&self, hands: &reload::State) {
        for ((service, cohort), watching) in &self.watching {
            if !self.states.get(service).is_some_and(|state| is_watched(state, cohort)) {
                watching.end(&hands.common.registry);
            }
        }
    }

    fn record(&mut self, events: Vec<Event>) {
        for event in &events {
            let (service, what) = (event.service.as_str(), event.kind.as_str());
            let (actor, reason) = (event.actor.as_deref(), event.reason.as_deref());
            let (rollout, runbook) = (event.rollout.as_deref(), event.runbook.as_deref());
            tracing::info!(service, rollout, event = what, actor, reason, runbook, "{}", event.sentence);
        }
        self.append(events);
    }

    fn append(&mut self, events: Vec<Event>) {
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

/// A cohort is watched from its first step on, until the new version is gone from it.
fn is_watched(state: &State, cohort: &str) -> bool {
    let Some(position) = &state.rollout else { return false };
    let is_gone = position.taken_back.get(cohort).is_some_and(|back| back.share.is_zero());
    state.phase != Phase::Idle && position.serials.contains_key(cohort) && !is_gone
}

/// The share of what is released among both variants.
fn canary_share(state: &State, cohort: &str) -> f64 {
    let (Some(position), Some(split)) = (&state.rollout, state.in_force.get(cohort)) else { return 0.0 };
    let (to, from): (Weight, Weight) = (split.of(&position.to), split.of(&position.from));
    let both = to.as_f64() + from.as_f64();
    if both > 0.0 { to.as_f64() / both } else { 0.0 }
}

fn unix_ms() -> u64 {
    let since: Duration = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
