use super::burn::BurnGate;
use super::collateral::Collateral;
use super::combine::{Brake, ln_combined};
use super::floor::FloorTest;
use super::history::{BeforeAfter, History};
use super::latency::{LatencyTest, Thresholds};
use super::mixture::ln_sum;
use super::outcomes::OutcomeTest;
use super::ratio::{ERROR_RATIOS, RatioTest};
use super::reading::{Decision, Reading};
use super::rules::{ErrorRules, JudgeRules, OnHarm, Unit};
use super::sample_ratio::SampleRatioTest;
use super::schedule::Schedule;
use super::tick::{QUANTILES, Side, Tally, Tick};

/// The judge of one service and cohort through one rollout: it is told each second what happened to canary and
/// stable, and says whether the canary does harm.
///
/// It knows no clock, no weights but those of the ticks, and does nothing: the engine acts. The same ticks give the
/// same readings, so that a decision can be replayed from what was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    pub(super) rules: JudgeRules,
    pub(super) schedule: Schedule,
    pub(super) errors: Option<ErrorsGate>,
    pub(super) latency: Option<LatencyTest>,
    pub(super) before: Option<BeforeAfter>,
    pub(super) outcomes: Vec<OutcomeTest>,
    pub(super) sample_ratio: Option<SampleRatioTest>,
    pub(super) burn: Option<BurnGate>,
    pub(super) collateral: Option<Collateral>,
    pub(super) thresholds: Option<Thresholds>,
    pub(super) has_control: bool,
    pub(super) brake: Brake,
    pub(super) latched: Option<OnHarm>,
    pub(super) silence: Silence,
    pub(super) epoch: u64,
    pub(super) canary_share: Option<f64>,
    /// By request, since the step began.
    pub(super) step: Totals,
    /// The canary's by request, since the judge began.
    pub(super) whole: Side,
}

/// A step as the judge needs to know it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepStart {
    /// The second at which it begins.
    pub at_s: u64,
    /// What counts as slow from now on; `None` keeps what there is.
    pub thresholds: Option<Thresholds>,
    /// Stable's own past in this cohort.
    pub past: Option<History>,
    /// Whether stable gets traffic of this cohort during the step. Without, the past is what is compared with.
    pub has_control: bool,
}

/// Both variants' counts by request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) canary: Side,
    pub(super) stable: Side,
}

/// Errors against stable's, and against the floor: the weaker of the two is the gate's evidence, so that both must
/// speak. It costs nothing, as the smaller of two e-processes is one under either's null.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ErrorsGate {
    pub(super) ratio: RatioTest,
    pub(super) floor: FloorTest,
}

/// How long the canary has got nothing, and how many requests it should have got meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Silence {
    pub(super) since_s: Option<u64>,
    pub(super) expected: f64,
}

/// How long a canary may get nothing, in seconds, and of how many requests it must have been to be told.
const SILENCE: (u64, f64) = (60, 10.0);

impl ErrorsGate {
    fn new(rules: &ErrorRules) -> ErrorsGate {
        ErrorsGate { ratio: RatioTest::new(rules.ratio, &ERROR_RATIOS), floor: FloorTest::new(rules.floor) }
    }

    fn start(&mut self, weight: f64) {
        self.ratio.start(weight);
        self.floor.start(weight);
    }

    fn add(&mut self, canary: Tally, stable: Tally) {
        self.ratio.add(canary, stable);
        self.floor.add(canary);
    }

    fn ln_value(&self) -> f64 {
        self.ratio.ln_value().min(self.floor.ln_value())
    }
}

impl Judge {
    /// A judge that has seen nothing. [`Judge::begin_step`] comes before the first tick.
    pub fn new(rules: JudgeRules) -> Judge {
        Judge {
            schedule: Schedule::new(rules.steps),
            errors: rules.errors.as_ref().map(ErrorsGate::new),
            latency: rules.latency.map(|_| LatencyTest::default()),
            before: rules.before_after.then(BeforeAfter::default),
            outcomes: rules.outcomes.iter().map(|outcome| OutcomeTest::new(outcome.ratio)).collect(),
            sample_ratio: rules.sample_ratio.map(|_| SampleRatioTest::default()),
            burn: rules.burn.as_ref().map(BurnGate::new),
            collateral: None,
            thresholds: None,
            has_control: true,
            brake: Brake::default(),
            latched: None,
            silence: Silence::default(),
            epoch: 0,
            canary_share: None,
            step: Totals::default(),
            whole: Side::default(),
            rules,
        }
    }

    /// A step begins: the tests begin anew with their share of the evidence, and users count again.
    pub fn begin_step(&mut self, start: StepStart) {
        let weight = self.schedule.begin_step(start.at_s);
        self.begin(weight);
        self.thresholds = start.thresholds.or(self.thresholds);
        self.has_control = start.has_control;
        self.step = Totals::default();
        if let Some(before) = &mut self.before {
            match start.past.filter(|_| !start.has_control) {
                Some(past) => before.start(past, self.rules.errors.as_ref(), weight),
                None => before.past = None,
            }
        }
        if let (Some(rules), None) = (&self.rules.collateral, &self.collateral) {
            let floor = self.rules.errors.map_or(0.001, |errors| errors.floor);
            self.collateral = Some(Collateral::new(start.past, rules, floor));
        }
    }

    /// Changes whenever users must count again: then what they were counted by is to be emptied
    /// ([`Counted::clear`](super::Counted::clear)) before the next tick is counted.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// While the share must not grow though evidence of harm has fallen: for how many seconds of how many.
    pub fn calm(&self, at_s: u64) -> Option<(u64, u64)> {
        let since = self.brake.calm_since_s.filter(|_| self.brake.is_frozen)?;
        Some((at_s.saturating_sub(since), self.rules.thaw_s))
    }

    /// It has found harm, and says so until it is made anew or resumed.
    pub fn is_latched(&self) -> bool {
        self.latched.is_some()
    }

    /// What counts as slow now; `None` before stable's latencies were known.
    pub fn thresholds(&self) -> Option<&Thresholds> {
        self.thresholds.as_ref()
    }

    /// What counts as slow from now on, where the step began before stable's latencies were known.
    pub fn freeze(&mut self, thresholds: Thresholds) {
        self.thresholds.get_or_insert(thresholds);
    }

    /// What happened in a second, and what follows from all that happened so far.
    pub fn tick(&mut self, tick: &Tick) -> Reading {
        if let Some(weight) = self.schedule.restart(tick.at_s) {
            self.begin(weight);
            if let Some(before) = &mut self.before {
                before.restart(weight);
            }
        }
        self.observe(tick);
        self.read(tick.at_s)
    }

    /// A person has seen the harm of a pause and goes on: it is not held against the rollout again, and the gates
    /// of that class begin anew. A rollback stays.
    pub fn resume(&mut self) {
        if self.latched != Some(OnHarm::Pause) {
            return;
        }
        self.latched = None;
        let fresh = Judge::new(self.rules.clone());
        self.sample_ratio = fresh.sample_ratio;
        self.burn = fresh.burn;
        if let Some(share) = self.canary_share {
            self.sample_ratio.iter_mut().for_each(|test| test.start(share));
        }
        if let Some(collateral) = &mut self.collateral {
            collateral.forget();
        }
        let weight = self.schedule.stake / 2.0;
        for (at, outcome) in fresh.outcomes.into_iter().enumerate() {
            if self.rules.outcomes[at].on_harm == OnHarm::Pause {
                self.outcomes[at] = outcome;
                self.outcomes[at].start(weight.max(0.1));
            }
        }
    }

    /// What is at stake begins anew with this weight.
    fn begin(&mut self, weight: f64) {
        self.epoch = self.epoch.wrapping_add(1);
        self.errors.iter_mut().for_each(|gate| gate.start(weight));
        self.latency.iter_mut().for_each(|test| test.start(weight));
        self.outcomes.iter_mut().for_each(|test| test.start(weight));
    }

    fn observe(&mut self, tick: &Tick) {
        let (canary, stable) = (&tick.canary, &tick.stable);
        if self.canary_share != Some(tick.canary_share) {
            self.canary_share = Some(tick.canary_share);
            self.sample_ratio.iter_mut().for_each(|test| test.start(tick.canary_share));
            self.errors.iter_mut().for_each(|gate| gate.ratio.interrupt());
            self.latency.iter_mut().for_each(LatencyTest::interrupt);
        }
        let (errors, slow) = self.unit(tick);
        if let Some(gate) = &mut self.errors {
            gate.add(errors.0, errors.1);
        }
        if let Some(test) = self.latency.as_mut().filter(|_| self.thresholds.is_some()) {
            test.add(&slow.0, &slow.1);
        }
        if let Some(before) = &mut self.before {
            before.add(canary.errors.checked(), &canary.slow.map(Tally::checked));
        }
        for (at, test) in self.outcomes.iter_mut().enumerate() {
            let by_user = self.rules.count == Unit::Users && !canary.user_outcomes.is_empty();
            let of = |side: &Side| {
                let outcomes = if by_user { &side.user_outcomes } else { &side.outcomes };
                outcomes.get(at).copied().unwrap_or_default().checked()
            };
            test.add(of(canary), of(stable));
        }
        if let Some(test) = &mut self.sample_ratio {
            test.add(new_users(canary), new_users(stable));
        }
        if let Some(burn) = &mut self.burn {
            let mut both = canary.errors.checked();
            both.add(stable.errors.checked());
            burn.add(tick.at_s, both);
        }
        if let (Some(collateral), Some(rules)) = (&mut self.collateral, &self.rules.collateral) {
            collateral.add(tick.at_s, stable.errors.checked(), &stable.late.map(Tally::checked), rules);
        }
        self.silence.observe(tick);
        self.step.canary.add(canary);
        self.step.stable.add(stable);
        self.whole.add(canary);
    }

    /// The tick in the unit of the rules: errors, then slow ones, each of canary and stable.
    #[allow(clippy::type_complexity)]
    fn unit(&self, tick: &Tick) -> ((Tally, Tally), ([Tally; QUANTILES], [Tally; QUANTILES])) {
        let of = |side: &Side| match side.users.filter(|_| self.rules.count == Unit::Users) {
            Some(users) => (users.errors.checked(), users.slow.map(Tally::checked)),
            None => (side.errors.checked(), side.slow.map(Tally::checked)),
        };
        let (canary, stable) = (of(&tick.canary), of(&tick.stable));
        ((canary.0, stable.0), (canary.1, stable.1))
    }

    pub(super) fn ln_errors(&self) -> Option<f64> {
        let concurrent = self.errors.as_ref()?.ln_value();
        Some(self.with_before(concurrent, BeforeAfter::ln_errors))
    }

    pub(super) fn ln_latency(&self) -> Option<f64> {
        let concurrent = self.latency.as_ref()?.ln_value();
        Some(self.with_before(concurrent, BeforeAfter::ln_slow))
    }

    /// Half of the evidence for each comparison, in a plan that needs both.
    fn with_before(&self, concurrent: f64, ln: impl Fn(&BeforeAfter) -> f64) -> f64 {
        match &self.before {
            None => concurrent,
            Some(before) => ln_sum([concurrent, ln(before)].into_iter()) - std::f64::consts::LN_2,
        }
    }

    /// The combined evidence of the rollback class.
    pub(super) fn ln_rollback(&self) -> f64 {
        let outcomes = self.outcomes.iter().zip(&self.rules.outcomes);
        let outcomes = outcomes.filter(|(_, rules)| rules.on_harm == OnHarm::Rollback).map(|(test, _)| test.ln_value());
        let gates: Vec<f64> = self.ln_errors().into_iter().chain(self.ln_latency()).chain(outcomes).collect();
        ln_combined(&gates)
    }

    /// Latches what the gates say.
    pub(super) fn decide(&mut self, at_s: u64, is_harm: impl Fn(OnHarm) -> bool) -> Decision {
        let outcomes = self.outcomes.iter().map(OutcomeTest::ln_value);
        let loudest = outcomes.fold(self.ln_rollback(), f64::max);
        // while stable itself is worse than it was, nobody can say what the release does
        let is_alarm = self.collateral.as_ref().is_some_and(Collateral::is_alarm);
        let loudest = if is_alarm { loudest.max(self.rules.freeze_at.ln()) } else { loudest };
        let is_frozen = self.brake.observe(at_s, loudest, &self.rules);
        if self.latched != Some(OnHarm::Rollback) && is_harm(OnHarm::Rollback) {
            self.latched = Some(OnHarm::Rollback);
        } else if self.latched.is_none() && is_harm(OnHarm::Pause) {
            self.latched = Some(OnHarm::Pause);
        }
        match self.latched {
            Some(on_harm) => Decision::Harm(on_harm),
            None if is_frozen => Decision::Frozen,
            None => Decision::Clear,
        }
    }
}

impl Side {
    /// Adds another tick by request.
    pub(super) fn add(&mut self, other: &Side) {
        self.errors.add(other.errors.checked());
        self.slow.iter_mut().zip(other.slow).for_each(|(own, slow)| own.add(slow.checked()));
        self.late.iter_mut().zip(other.late).for_each(|(own, late)| own.add(late.checked()));
        self.outcomes.resize(self.outcomes.len().max(other.outcomes.len()), Tally::default());
        self.outcomes.iter_mut().zip(&other.outcomes).for_each(|(own, outcome)| own.add(outcome.checked()));
    }

    /// Requests that ended, or crossed the largest threshold: a variant that hangs is not silent.
    pub(super) fn requests(&self) -> u64 {
        self.slow.iter().map(|slow| slow.of).fold(self.errors.of, u64::max)
    }
}

/// Users seen for the first time; where users are not known, requests.
fn new_users(side: &Side) -> u64 {
    side.users.map_or(side.errors.of, |users| users.new)
}

impl Silence {
    fn observe(&mut self, tick: &Tick) {
        if tick.canary.requests() > 0 || tick.canary_share <= 0.0 {
            *self = Silence::default();
        } else {
            self.since_s.get_or_insert(tick.at_s);
            let share = tick.canary_share.min(0.99);
            self.expected += tick.stable.requests() as f64 * share / (1.0 - share);
        }
    }

    /// Whether it is told: by chance it happens less than once in 20,000 times.
    pub(super) fn is_told(&self, at_s: u64) -> bool {
        self.since_s.is_some_and(|since| at_s.saturating_sub(since) >= SILENCE.0) && self.expected >= SILENCE.1
    }
}
