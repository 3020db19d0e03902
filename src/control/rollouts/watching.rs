//! What is seen of one cohort under a rollout: the recorder's counts, second by second, to the judge and its word.

use std::time::Duration;

use super::rules::WatchPlan;
use crate::model::Outcome;
use crate::rollout::input::{CohortReading, Verdict};
use crate::rollout::judge::{
    Counted, Decision, Gate, GateReading, GroupSet, History, Judge, Met, OnHarm, QUANTILES, Reading, Side, StepStart,
    Tally, Thresholds, Tick, difference_band, sentence,
};
use crate::telemetry::recorder::{WatchRules, Watched, WatchedUsers, bucket_lowest_us};
use crate::telemetry::{Registry, Slot};

/// How surely harm beyond what is allowed is excluded by `until: safe`.
const SAFE_ALPHA: f64 = 0.05;

/// What is seen of one cohort.
pub(super) struct Watching {
    /// Of the rollout that it is about.
    pub(super) rollout: String,
    serial: u64,
    plan: WatchPlan,
    judge: Judge,
    slots: Pair<Slot>,
    seen: Pair<Watched>,
    met: Pair<Met>,
    counted: Counted,
    epoch: u64,
    counts_from: Duration,
    requests: u64,
    users: GroupSet,
    /// Users of the new version in all steps.
    exposed: GroupSet,
    /// The judge's latest word.
    pub(super) reading: Option<Reading>,
}

/// The same of both variants.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair<T> {
    /// What is released.
    pub(super) canary: T,
    /// What it replaces.
    pub(super) stable: T,
}

/// A step as its hands know it.
pub(super) struct Start {
    pub(super) serial: u64,
    pub(super) now: Duration,
    pub(super) warmup: Duration,
    /// `from` has a share too.
    pub(super) has_control: bool,
}

impl Watching {
    /// A judge that has seen nothing.
    pub(super) fn new(rollout: &str, plan: WatchPlan, slots: Pair<Slot>) -> Watching {
        Watching {
            rollout: rollout.to_owned(),
            serial: 0,
            judge: Judge::new(plan.rules.clone()),
            plan,
            slots,
            seen: Pair::default(),
            met: Pair::default(),
            counted: Counted::default(),
            epoch: 0,
            counts_from: Duration::ZERO,
            requests: 0,
            users: GroupSet::default(),
            exposed: GroupSet::default(),
            reading: None,
        }
    }

    /// True when this judge can go on: it is about the same, and has not found harm, which is latched.
    pub(super) fn can_go_on(&self, rollout: &str, plan: &WatchPlan, slots: &Pair<Slot>) -> bool {
        let is_harm = matches!(self.reading.as_ref().map(|reading| reading.decision), Some(Decision::Harm(_)));
        let is_same = (self.slots.canary, self.slots.stable) == (slots.canary, slots.stable);
        self.rollout == rollout && self.plan == *plan && is_same && !is_harm
    }

    /// A step of the cohort begins.
    pub(super) fn begin_step(&mut self, start: &Start, registry: &Registry) {
        let past = registry.sum(self.slots.stable);
        let of = |outcome: Outcome| past.latencies[outcome.index()].total();
        let bad = of(Outcome::Error);
        let history = History { errors: Tally::new(bad, bad + of(Outcome::Success) + of(Outcome::Rejected)) };
        self.judge.begin_step(StepStart {
            at_s: start.now.as_secs(),
            thresholds: self.freeze(registry),
            past: Some(history),
            has_control: start.has_control,
        });
        self.serial = start.serial;
        self.counts_from = start.now + start.warmup;
        // what was met before belongs to no step
        self.take(registry);
        self.requests = 0;
        self.users.clear();
        self.tell_workers(registry);
    }

    /// Takes in what was recorded since the last time.
    pub(super) fn tick(&mut self, registry: &Registry, now: Duration, canary_share: f64) {
        if self.judge.thresholds().is_none()
            && let Some(thresholds) = self.freeze(registry)
        {
            self.judge.freeze(thresholds);
            self.tell_workers(registry);
        }
        let (canary, stable) = self.take(registry);
        if now < self.counts_from {
            self.users.clear();
            return;
        }
        if self.judge.epoch() != self.epoch {
            self.epoch = self.judge.epoch();
            self.counted.clear();
        }
        let users = self.counted.count(&self.met.canary, &self.met.stable);
        let side = |watched: &Watched, users| Side {
            errors: Tally::new(watched.errors, watched.finished),
            slow: self.tallies(watched),
            users: Some(users),
            outcomes: Vec::new(),
        };
        let (canary, stable) = (side(&canary, users.0), side(&stable, users.1));
        self.requests += canary.errors.of;
        self.reading = Some(self.judge.tick(&Tick { at_s: now.as_secs(), canary_share, canary, stable }));
    }

    /// For the engine; `None` before the first second.
    pub(super) fn cohort_reading(&self, cohort: &str) -> Option<CohortReading> {
        let reading = self.reading.as_ref()?;
        let loudest = reading.loudest();
        let verdict = match reading.decision {
            Decision::Harm(OnHarm::Rollback) => Verdict::Harm,
            Decision::Harm(OnHarm::Pause) => Verdict::PausingHarm,
            Decision::Frozen => Verdict::Frozen,
            Decision::Clear if !self.plan.unanswered.is_empty() => Verdict::Unknown,
            Decision::Clear => Verdict::Clear,
        };
        let sentence = match verdict {
            Verdict::Unknown => format!("the gate {} cannot be asked", self.plan.unanswered.join(", ")),
            _ => loudest.map_or_else(String::new, |gate| sentence(gate, &[])),
        };
        Some(CohortReading {
            cohort: cohort.to_owned(),
            serial: self.serial,
            verdict,
            is_safe: self.is_safe(reading),
            is_starved: reading.is_silent,
            requests: self.requests,
            users: self.users.len(),
            probes: 0,
            gate: loudest.map_or_else(String::new, |gate| gate.gate.as_str().to_owned()),
            sentence,
            numbers: loudest.map(numbers).unwrap_or_default(),
        })
    }

    /// Nobody watches any more.
    pub(super) fn end(&self, registry: &Registry) {
        registry.unwatch(self.slots.canary);
        registry.unwatch(self.slots.stable);
    }

    /// Users of the new version since this began.
    pub(super) fn exposed(&self) -> u64 {
        self.exposed.len()
    }

    /// Where the new version's requests are recorded.
    pub(super) fn canary_slot(&self) -> Slot {
        self.slots.canary
    }

    /// Users and requests of the new version since the step began.
    pub(super) fn seen(&self) -> (u64, u64) {
        (self.users.len(), self.requests)
    }

    /// Errors beyond what is allowed can be excluded.
    fn is_safe(&self, reading: &Reading) -> bool {
        let Some(gate) = reading.gates.iter().find(|gate| gate.gate == Gate::Errors) else { return true };
        let Some(allowed) = self.limit(gate) else { return true };
        difference_band(gate.canary, gate.stable, SAFE_ALPHA).high <= allowed
    }

    /// How much larger the canary's rate may be than stable's. As large as stable's for latency: what may be slower is in
    /// the threshold. `None` where no difference decides.
    pub(super) fn limit(&self, gate: &GateReading) -> Option<f64> {
        match gate.gate {
            Gate::Errors => {
                let (rules, rate) = (self.plan.rules.errors.as_ref()?, gate.stable.rate());
                Some(((rules.ratio - 1.0) * rate).max(rules.floor - rate))
            }
            Gate::Latency => Some(0.0),
            Gate::Outcome(_) | Gate::SampleRatio | Gate::Burn | Gate::Collateral => None,
        }
    }

    /// What stable's latencies make of the rules; `None` while too few are known.
    fn freeze(&self, registry: &Registry) -> Option<Thresholds> {
        let rules = self.plan.rules.latency.as_ref()?;
        let mut sum = registry.sum(self.slots.stable);
        let mut latencies = std::mem::take(&mut sum.latencies[Outcome::Success.index()]);
        latencies.merge(&sum.latencies[Outcome::Rejected.index()]);
        Thresholds::freeze(latencies.iter().map(|(bucket, count)| (bucket_lowest_us(bucket + 1) - 1, count)), rules)
    }

    fn tell_workers(&self, registry: &Registry) {
        let thresholds = self.judge.thresholds();
        let blames_rejected = self.plan.blames_rejected;
        let rules = |slower_than_us| WatchRules { blames_rejected, slower_than_us };
        registry.watch(self.slots.canary, &rules(thresholds.map(|known| known.canary_us)));
        registry.watch(self.slots.stable, &rules(thresholds.map(|known| known.stable_us)));
    }

    /// What came on top since the last time, of canary and stable; the users are in `met`.
    fn take(&mut self, registry: &Registry) -> (Watched, Watched) {
        let (users, exposed) = (&mut self.users, &mut self.exposed);
        let canary = take(registry, self.slots.canary, &mut self.seen.canary, &mut self.met.canary, |word, bits| {
            users.insert_word(word, bits);
            exposed.insert_word(word, bits);
        });
        let stable = take(registry, self.slots.stable, &mut self.seen.stable, &mut self.met.stable, |_, _| ());
        (canary, stable)
    }

    /// Quantiles that are not compared say nothing.
    fn tallies(&self, watched: &Watched) -> [Tally; QUANTILES] {
        std::array::from_fn(|at| match self.plan.quantiles[at] {
            true => Tally::new(watched.slow[at], watched.timed),
            false => Tally::default(),
        })
    }
}

fn take(
    registry: &Registry,
    slot: Slot,
    seen: &mut Watched,
    met: &mut Met,
    mut saw: impl FnMut(usize, u64),
) -> Watched {
    let now = registry.watched(slot);
    let before = std::mem::replace(seen, now);
    met.clear();
    registry.take_users(slot, &mut |set, word, bits| match set {
        WatchedUsers::Seen => {
            met.seen.insert_word(word, bits);
            saw(word, bits);
        }
        WatchedUsers::Errors => met.errors.insert_word(word, bits),
        WatchedUsers::Timed => met.timed.insert_word(word, bits),
        WatchedUsers::Slow(at) => met.slow.iter_mut().skip(at).take(1).for_each(|set| set.insert_word(word, bits)),
    });
    let more = |now: u64, before: u64| now.saturating_sub(before);
    Watched {
        finished: more(now.finished, before.finished),
        errors: more(now.errors, before.errors),
        timed: more(now.timed, before.timed),
        slow: std::array::from_fn(|at| more(now.slow[at], before.slow[at])),
    }
}

/// The numbers behind a gate's word, by name.
fn numbers(gate: &GateReading) -> Vec<(String, String)> {
    let number = |name: &str, value: String| (name.to_owned(), value);
    vec![
        number("gate", gate.gate.as_str().to_owned()),
        number("canary", format!("{} of {}", gate.canary.events, gate.canary.of)),
        number("stable", format!("{} of {}", gate.stable.events, gate.stable.of)),
        number("lnEvidence", format!("{:.4}", gate.ln_evidence)),
        number("lnNeeded", format!("{:.4}", gate.ln_needed)),
    ]
}
