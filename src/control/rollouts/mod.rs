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
mod checkpoint;
mod feed;
mod folder;
mod notes;
mod outward;
mod past;
mod preview;
mod probes;
mod rules;
mod samples;
mod telling;
mod trial;
mod view;
mod wanted;
mod watching;

pub use preview::{Given, StepPreview, previews};
pub use rules::gate_defaults;
pub use trial::Trial;
pub use view::{BAND_ALPHA, CohortView, GateView, Progress, RolloutView, StepView};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::events::PastEvent;
use super::journal::store::Store;
use super::notify::Notifiers;
use super::plans::{open_windows, plans};
use super::reload;
use crate::config::schema::{File, Service};
use crate::model::Weight;
use crate::rollout::command::{Actor, Answer, Command, Refusal};
use crate::rollout::effect::{Effect, Event};
use crate::rollout::engine::step;
use crate::rollout::input::{Happened, Input, Moment};
use crate::rollout::judge::{JudgeRules, QUANTILES};
use crate::rollout::plan::{Plan, Rollout};
use crate::rollout::state::{Phase, State};
use crate::routing::Overlay;
use crate::telemetry::metrics::RolloutFact;
use asked::Asked;
use checkpoint::Checkpoint;
use notes::Notes;
use past::Past;
use probes::Probes;
use rules::watch_plan;
use samples::Samples;
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
    past: Past,
    checkpoint: Checkpoint,
    notes: Notes,
    notifiers: Notifiers,
    asked: Asked,
    probes: Probes,
    /// The folder that another process hands over.
    awaited: Option<PathBuf>,
    /// What was read in it before it was handed over; that process may have gone on since.
    adopted: BTreeMap<String, Phase>,
    /// Events until then.
    unwritten: Vec<Event>,
    /// Another process goes on with them.
    is_over: bool,
    /// What the audit log tells of the time before, until somebody takes it.
    past_events: Vec<PastEvent>,
    samples: Samples,
    /// The windows of time that were open at the last turn.
    open_windows: Vec<String>,
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
    /// The [`RolloutView::revision`] that whoever asks has seen; another one is not what they mean.
    pub must_match: Option<u64>,
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
            past: Past::default(),
            checkpoint: Checkpoint::default(),
            notes: Notes::default(),
            notifiers: Notifiers::default(),
            asked: Asked::default(),
            probes: Probes::default(),
            awaited: None,
            adopted: BTreeMap::new(),
            unwritten: Vec::new(),
            is_over: false,
            past_events: Vec::new(),
            samples: Samples::default(),
            open_windows: Vec::new(),
        }
    }
}

impl Rollouts {
    /// The process begins: what was in force is in force again, before the first request.
    pub(super) fn start(&mut self, hands: &mut reload::State) {
        if self.awaited.is_none() {
            self.restore_past(hands);
        }
        if let Some(folder) = &self.awaited {
            self.adopt(Store::peek(folder));
            self.can_persist = false;
        }
        self.follow(hands);
        self.turn(hands, None, &Happened::Started);
        self.take_back_what_may_be_old(hands);
        self.note_traffic(hands);
        self.say_what_all_steps_see(&hands.common.in_force.load().loaded.file);
    }

    /// A second has passed.
    pub(super) fn second(&mut self, hands: &mut reload::State) {
        let now = self.began.elapsed();
        let registry = &hands.common.registry;
        self.samples.take_in(registry);
        for (key, watching) in &mut self.watching {
            let (service, cohort) = key;
            let Some(state) = self.states.get(service).filter(|state| is_watched(state, cohort)) else { continue };
            watching.tick(registry, now, canary_share(state, cohort));
            let counts = self.verdicts.entry(key.clone()).or_default();
            for gate in watching.reading.iter().flat_map(|reading| &reading.gates) {
                let name = watching.name_of(gate.gate).to_owned();
                *counts.entry((name, gate.verdict.as_str())).or_default() += 1;
            }
        }
        self.look_outward();
        self.await_folder(hands);
        let has_unknown_lines = self.store.as_ref().is_some_and(Store::has_unknown_lines);
        if has_unknown_lines || !self.can_persist && self.awaited.is_none() {
            self.write();
        }
        self.turn(hands, None, &Happened::Tick);
        let watched = self
            .watching
            .iter()
            .filter(|((service, cohort), _)| self.states.get(service).is_some_and(|state| is_watched(state, cohort)));
        hands.common.registry.tap().sample(watched.map(|(_, watching)| watching.canary_slot()).collect());
        self.keep_evidence();
        self.keep_notes(hands);
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
        let Ask { service, actor, reason, command, must_match } = ask;
        self.plans.get(&service)?;
        if must_match.is_some_and(|seen| self.revision(&service) != Some(seen)) {
            let phase = self.states.get(&service).map_or(Phase::Idle, |state| state.phase);
            return Some(Answer::Refused(phase, Refusal::Moved));
        }
        self.turn(hands, Some(&service), &Happened::Asked { actor, reason, command })
    }

    /// Something else happened.
    pub(super) fn note(&mut self, hands: &reload::State, event: Event) {
        self.record(hands, vec![event]);
        // it may be the last that is written: that the process ends
        if self.store.as_ref().is_some_and(Store::has_unknown_lines) {
            self.write();
        }
    }

    /// Where each rollout is.
    pub(super) fn views(&self) -> Vec<Arc<RolloutView>> {
        self.plans.keys().filter_map(|service| self.view(service)).collect()
    }

    /// Where the rollout of a service is; `None` when it has none.
    pub(super) fn view(&self, service: &str) -> Option<Arc<RolloutView>> {
        let mut view = self.judged(service)?;
        self.add_outward(&mut view);
        Some(Arc::new(view))
    }

    /// The same as far as the judge goes.
    fn judged(&self, service: &str) -> Option<RolloutView> {
        let watching = |cohort: &str| self.watching.get(&(service.to_owned(), cohort.to_owned()));
        view::view(self.plans.get(service)?, self.states.get(service)?, watching)
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
        self.plans.keys().filter_map(|service| self.judged(service)).map(fact).collect()
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
        self.open_windows.clone_from(&open_windows);
        let mut wanted = Wanted::default();
        for (name, plan) in self.plans.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
            let readings = self.readings(name);
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
        let Wanted { falls, persist, rises, starts, mut events, told, answer } = wanted;
        self.say_what_steps_see(file, &mut events);
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
        self.record(hands, events);
        // what it says is in force, and on the disk unless it says otherwise
        told.iter().for_each(|event| self.notifiers.tell(event));
        answer.map(|answer| self.with_durability(answer))
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
        let past = self.past.history(&hands.common.registry, stable, watched.blames);
        let key = (service.to_owned(), cohort.clone());
        let known = self.watching.remove(&key).filter(|known| {
            let can_go_on = !is_resumed && known.can_go_on(&position.id, &watched, &slots);
            if !can_go_on {
                known.end(&hands.common.registry);
            }
            can_go_on
        });
        let now = self.began.elapsed();
        let variants = Pair { canary: position.to.clone(), stable: position.from.clone() };
        let fresh = || Watching::new(&position.id, watched.clone(), slots.clone(), variants.clone());
        let at = self.checkpoint.found.iter().position(|kept| (&kept.service, &kept.cohort) == (&key.0, &key.1));
        if let Some(kept) = at.map(|at| self.checkpoint.found.swap_remove(at)).filter(|_| is_resumed)
            && let Some(restored) = fresh().restored(&kept, serial, now, &hands.common.registry)
        {
            tracing::info!(service, cohort, "the judge goes on with what it had seen");
            self.watching.insert(key, restored);
            return;
        }
        let mut watching = known.unwrap_or_else(fresh);
        let has_control = state.in_force.get(&cohort).is_none_or(|split| !split.of(&position.from).is_zero());
        let lately = self.past.latencies(stable);
        let start = Start { serial, now, warmup, has_control, past, lately };
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
}

/// What a cohort's judge is told to tolerate by the file, and which quantiles of latency are compared: for who plays a
/// rollout on paper.
pub fn judge_rules(service: &Service, plan: &Rollout, cohort: &str) -> Option<(JudgeRules, [bool; QUANTILES])> {
    watch_plan(service, plan, cohort).map(|watched| (watched.rules, watched.quantiles))
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

/// Now, in milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    let since: Duration = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
