//! What is seen of one cohort under a rollout: the recorder's counts, second by second, to the judge and its word.

use std::time::Duration;

use super::feed::{self, POSTED_MAX, Posted, take, take_overdue, take_posted};
use super::rules::WatchPlan;
use crate::control::journal::judge_file::Kept;
use crate::control::posted::Placed;
use crate::model::Outcome;
use crate::rollout::input::CohortReading;
use crate::rollout::judge::{
    Counted, Decision, Gate, GateReading, GroupSet, History, Judge, Met, QUANTILES, Reading, Side, StepStart, Tally,
    Thresholds, Tick, sentence,
};
use crate::telemetry::recorder::{WatchRules, Watched, bucket_lowest_us};
use crate::telemetry::windows::BucketTally;
use crate::telemetry::{Registry, Slot};

/// A clock that stands beyond was not ours: 100 years.
const CLOCK_MAX_S: u64 = 100 * 365 * 86_400;

/// What is seen of one cohort.
pub(super) struct Watching {
    /// Of the rollout that it is about.
    pub(super) rollout: String,
    serial: u64,
    /// What is compared: for who goes on with it.
    variants: Pair<String>,
    /// How far the judge's clock is ahead of the process's: it goes on where that of the process before stood.
    ahead: Duration,
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
    posted: Vec<Posted>,
    /// Late answers of stable up to now.
    late: [Tally; QUANTILES],
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
    /// What `from` did in this cohort before.
    pub(super) past: History,
    /// How long its answers took lately; `None` for all since the process began.
    pub(super) lately: Option<BucketTally>,
}

impl Watching {
    /// A judge that has seen nothing.
    pub(super) fn new(rollout: &str, plan: WatchPlan, slots: Pair<Slot>, variants: Pair<String>) -> Watching {
        Watching {
            rollout: rollout.to_owned(),
            serial: 0,
            variants,
            ahead: Duration::ZERO,
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
            posted: Vec::new(),
            late: Default::default(),
            reading: None,
        }
    }

    /// True when this judge can go on: it is about the same, and has not found harm, which is latched.
    pub(super) fn can_go_on(&self, rollout: &str, plan: &WatchPlan, slots: &Pair<Slot>) -> bool {
        let is_harm = self.judge.is_latched();
        let is_same = (self.slots.canary, self.slots.stable) == (slots.canary, slots.stable);
        self.rollout == rollout && self.plan == *plan && is_same && !is_harm
    }

    /// A step of the cohort begins.
    pub(super) fn begin_step(&mut self, start: &Start, registry: &Registry) {
        self.judge.begin_step(StepStart {
            at_s: (start.now + self.ahead).as_secs(),
            thresholds: self.freeze(registry, start.lately.as_ref()),
            past: Some(start.past),
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
            && let Some(thresholds) = self.freeze(registry, None)
        {
            self.judge.freeze(thresholds);
            self.tell_workers(registry);
        }
        let (mut canary, mut stable) = self.take(registry);
        let late = self.late(registry);
        if now < self.counts_from {
            self.users.clear();
            self.posted.clear();
            return;
        }
        let Pair { canary: met, stable: met_by_stable } = &mut self.met;
        take_posted(&mut self.posted, (&mut canary, met), (&mut stable, met_by_stable));
        if self.judge.epoch() != self.epoch {
            self.epoch = self.judge.epoch();
            self.counted.clear();
        }
        let users = self.counted.count(&self.met.canary, &self.met.stable);
        let outcomes = self.counted.count_outcomes(&self.met.canary, &self.met.stable);
        let side = |watched: &Watched, users, user_outcomes| Side {
            errors: Tally::new(watched.errors, watched.finished),
            slow: self.tallies(watched),
            late: Default::default(),
            users: Some(users),
            outcomes: feed::outcomes(watched, self.plan.rules.outcomes.len()),
            user_outcomes,
        };
        let (canary, mut stable) = (side(&canary, users.0, outcomes.0), side(&stable, users.1, outcomes.1));
        stable.late = late;
        self.requests += canary.errors.of;
        self.reading = {
            let at_s = (now + self.ahead).as_secs();
            Some(self.judge.tick(&Tick { at_s, canary_share, canary, stable }))
        };
    }

    /// For the engine; `None` before the first second.
    pub(super) fn cohort_reading(&self, cohort: &str) -> Option<CohortReading> {
        let reading = self.reading.as_ref()?;
        let loudest = reading.loudest();
        let calm = self.judge.calm(reading.at_s).filter(|_| reading.decision == Decision::Frozen);
        let sentence = match (calm, loudest) {
            // what it holds for is in none of the gates any more
            (Some((calm_s, thaw_s)), _) => {
                format!("what looked like harm has passed; it goes on after {thaw_s}s of calm, {calm_s}s so far")
            }
            (None, Some(gate)) => self.sentence(gate),
            (None, None) => String::new(),
        };
        Some(CohortReading {
            cohort: cohort.to_owned(),
            serial: self.serial,
            verdict: reading.decision.verdict(),
            is_safe: reading.is_safe(&self.plan.rules),
            is_starved: reading.is_silent,
            requests: self.requests,
            users: self.users.len(),
            probes: 0,
            gate: loudest.map_or_else(String::new, |gate| self.name_of(gate.gate).to_owned()),
            sentence,
            numbers: loudest.map(|gate| numbers(self.name_of(gate.gate), gate)).unwrap_or_default(),
        })
    }

    /// A gate in one sentence, with the numbers behind it.
    pub(super) fn sentence(&self, gate: &GateReading) -> String {
        let names: Vec<&str> = self.plan.rules.outcomes.iter().map(|rules| rules.name.as_str()).collect();
        sentence(gate, &names)
    }

    /// The name of a gate; that of the file for an outcome.
    pub(super) fn name_of(&self, gate: Gate) -> &str {
        let named = match gate {
            Gate::Outcome(at) => self.plan.rules.outcomes.get(at),
            _ => None,
        };
        named.map_or(gate.as_str(), |rules| &rules.name)
    }

    /// Takes an event that was posted for one of the two variants; `false` when it is about neither, or too many wait.
    pub(super) fn post(&mut self, name: &str, event: &Placed) -> bool {
        let Placed { slot, group, is_good } = *event;
        let outcome = self.plan.rules.outcomes.iter().position(|rules| rules.name == name);
        let is_canary = slot == self.slots.canary;
        let Some(outcome) = outcome.filter(|_| is_canary || slot == self.slots.stable) else { return false };
        let has_room = self.posted.len() < POSTED_MAX;
        if has_room {
            self.posted.push(Posted { outcome, is_canary, group, is_good });
        }
        has_room
    }

    /// What it has seen, to be kept.
    pub(super) fn save(&self, service: &str, cohort: &str, now: Duration) -> Kept {
        let warmup_left = self.counts_from.saturating_sub(now);
        let judge = self.judge.save();
        let head = [(now + self.ahead).as_secs(), warmup_left.as_secs(), self.requests, judge.len() as u64];
        let mut words = [&head[..], &judge].concat();
        self.users.save(&mut words);
        self.counted.save(&mut words);
        Kept {
            service: service.to_owned(),
            cohort: cohort.to_owned(),
            rollout: self.rollout.clone(),
            variants: [self.variants.canary.clone(), self.variants.stable.clone()],
            rules: format!("{:?}", self.plan),
            serial: self.serial,
            words,
        }
    }

    /// Goes on where a judge of the process before was: of the same rollout, step, rules and variants. `None` for another.
    /// The judge's clock stood still meanwhile.
    pub(super) fn restored(mut self, kept: &Kept, serial: u64, now: Duration, registry: &Registry) -> Option<Watching> {
        let is_same = kept.rollout == self.rollout
            && kept.serial == serial
            && kept.rules == format!("{:?}", self.plan)
            && kept.variants == [self.variants.canary.as_str(), self.variants.stable.as_str()];
        let (head, rest) = kept.words.split_first_chunk::<4>().filter(|_| is_same)?;
        let [clock_s, warmup_s, requests, length] = *head;
        let (judge, mut rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.judge = Judge::restore(self.plan.rules.clone(), judge)?;
        self.users = GroupSet::restore(&mut rest)?;
        self.counted = Counted::restore(&mut rest).filter(|_| rest.is_empty())?;
        (self.serial, self.requests, self.epoch) = (serial, requests, self.judge.epoch());
        self.ahead = Duration::from_secs(clock_s.min(CLOCK_MAX_S)).saturating_sub(now);
        self.counts_from = now + Duration::from_secs(warmup_s.min(CLOCK_MAX_S));
        let users = self.users.clone();
        self.take(registry);
        self.users = users;
        self.tell_workers(registry);
        Some(self)
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

    /// How much larger the canary's rate may be than stable's. As large as stable's for latency: what may be slower is in
    /// the threshold. `None` where no difference decides.
    pub(super) fn limit(&self, gate: &GateReading) -> Option<f64> {
        match gate.gate {
            Gate::Errors => Some(self.plan.rules.errors.as_ref()?.limit(gate.stable.rate())),
            Gate::Latency => Some(0.0),
            Gate::Outcome(_) | Gate::SampleRatio | Gate::Burn | Gate::Collateral => None,
        }
    }

    /// What stable's latencies make of the rules: those of lately, which say more of today than all since the process
    /// began, where enough are known; `None` while there are too few of either.
    fn freeze(&self, registry: &Registry, lately: Option<&BucketTally>) -> Option<Thresholds> {
        let rules = self.plan.rules.latency.as_ref()?;
        if let Some(lately) = lately {
            return Thresholds::freeze(lately.buckets().map(|(_, largest_us, count)| (largest_us, count)), rules);
        }
        let mut sum = registry.sum(self.slots.stable);
        let mut latencies = std::mem::take(&mut sum.latencies[Outcome::Success.index()]);
        latencies.merge(&sum.latencies[Outcome::Rejected.index()]);
        Thresholds::freeze(latencies.iter().map(|(bucket, count)| (bucket_lowest_us(bucket + 1) - 1, count)), rules)
    }

    fn tell_workers(&mut self, registry: &Registry) {
        // what was late by other thresholds is no news
        self.late(registry);
        let thresholds = self.judge.thresholds();
        let blames = self.plan.blames;
        let rules = |slower_than_us| WatchRules { blames, slower_than_us };
        if self.plan.has_posted {
            registry.remember_traces();
        }
        registry.watch(self.slots.canary, &rules(thresholds.map(|known| known.canary_us)));
        registry.watch(self.slots.stable, &rules(thresholds.map(|known| known.stable_us)));
    }

    /// What came on top since the last time, of canary and stable; the users are in `met`.
    fn take(&mut self, registry: &Registry) -> (Watched, Watched) {
        let (users, exposed) = (&mut self.users, &mut self.exposed);
        let Pair { canary: met, stable: met_by_stable } = &mut self.met;
        let mut canary = take(registry, self.slots.canary, &mut self.seen.canary, met, |word, bits| {
            users.insert_word(word, bits);
            exposed.insert_word(word, bits);
        });
        let mut stable = take(registry, self.slots.stable, &mut self.seen.stable, met_by_stable, |_, _| ());
        if let Some(largest_us) = self.judge.thresholds().map(Thresholds::largest_us) {
            take_overdue(registry, self.slots.canary, largest_us, &mut canary, met);
            take_overdue(registry, self.slots.stable, largest_us, &mut stable, met_by_stable);
        }
        (canary, stable)
    }

    /// Stable's late answers since the last time, of the quantiles that are compared.
    fn late(&mut self, registry: &Registry) -> [Tally; QUANTILES] {
        let Some(thresholds) = self.judge.thresholds() else { return Default::default() };
        let now = feed::late(registry, self.slots.stable, &thresholds.canary_us);
        let before = std::mem::replace(&mut self.late, now);
        let more = |now: u64, before: u64| now.saturating_sub(before);
        std::array::from_fn(|at| match self.plan.quantiles[at] {
            true => Tally::new(more(now[at].events, before[at].events), more(now[at].of, before[at].of)),
            false => Tally::default(),
        })
    }

    /// Quantiles that are not compared say nothing.
    fn tallies(&self, watched: &Watched) -> [Tally; QUANTILES] {
        std::array::from_fn(|at| match self.plan.quantiles[at] {
            true => Tally::new(watched.slow[at], watched.timed),
            false => Tally::default(),
        })
    }
}

/// The numbers behind a gate's word, by name.
fn numbers(name: &str, gate: &GateReading) -> Vec<(String, String)> {
    let number = |name: &str, value: String| (name.to_owned(), value);
    vec![
        number("gate", name.to_owned()),
        number("canary", format!("{} of {}", gate.canary.events, gate.canary.of)),
        number("stable", format!("{} of {}", gate.stable.events, gate.stable.of)),
        number("lnEvidence", format!("{:.4}", gate.ln_evidence)),
        number("lnNeeded", format!("{:.4}", gate.ln_needed)),
    ]
}
