//! The judge's state as a row of numbers: written every second, read when a process begins.
//!
//! The rules are not part of it. They stand in the plan; a state that does not fit them is refused.

use super::buckets::{Counted, GroupSet};
use super::burn::{BurnGate, CELLS, Window};
use super::cohort::{Judge, Silence, Totals};
use super::collateral::{Collateral, Detector};
use super::combine::Brake;
use super::floor::FloorTest;
use super::history::{BeforeAfter, History};
use super::latency::Thresholds;
use super::mixture::{Mixture, STARTS_MAX, Start};
use super::rules::{JudgeRules, OnHarm};
use super::sample_ratio::{Counts, SampleRatioTest};
use super::schedule::{RESTARTS_MAX, Schedule};
use super::tick::{QUANTILES, Side, Tally};
use super::words::{Reader, Writer};

/// The form of what is written. Another one is refused: evidence begins anew, what was decided stands elsewhere.
const FORM: u64 = 3;

/// Counts beyond this were not counted by anybody; up to here floats hold them exactly.
const COUNT_MAX: u64 = 1 << 53;

impl Judge {
    /// The state, to be kept. Under 100 KB even for a plan of a hundred steps.
    pub fn save(&self) -> Vec<u64> {
        let mut to = Writer::default();
        to.number(FORM);
        self.for_each_mixture(|mixture| mixture.save(&mut to));
        self.schedule.save(&mut to);
        self.before.iter().for_each(|before| before.save(&mut to));
        self.sample_ratio.iter().for_each(|test| test.save(&mut to));
        self.burn.iter().for_each(|burn| burn.save(&mut to));
        to.number(u64::from(self.collateral.is_some()));
        self.collateral.iter().for_each(|collateral| collateral.save(&mut to));
        to.number(u64::from(self.thresholds.is_some()));
        if let Some(thresholds) = &self.thresholds {
            thresholds.stable_us.iter().chain(&thresholds.canary_us).for_each(|us| to.number(*us));
        }
        to.number(u64::from(self.has_control));
        to.number(u64::from(self.brake.is_frozen));
        to.optional(self.brake.calm_since_s);
        to.number(self.latched.map_or(0, |on_harm| if on_harm == OnHarm::Pause { 1 } else { 2 }));
        to.optional(self.silence.since_s);
        to.float(self.silence.expected);
        to.number(self.epoch);
        to.optional(self.canary_share.map(f64::to_bits));
        [&self.step.canary, &self.step.stable, &self.whole].into_iter().for_each(|side| side.save(&mut to));
        to.words
    }

    /// A judge by these rules with a state that [`Judge::save`] wrote; `None` when it does not fit.
    pub fn restore(rules: JudgeRules, words: &[u64]) -> Option<Judge> {
        let (mut judge, mut from) = (Judge::new(rules), Reader::new(words));
        from.number().filter(|form| *form == FORM)?;
        judge.for_each_mixture_mut(|mixture| mixture.restore(&mut from))?;
        judge.schedule = Schedule::restore(&mut from)?;
        if let Some(before) = &mut judge.before {
            before.restore(&mut from)?;
        }
        if let Some(test) = &mut judge.sample_ratio {
            test.restore(&mut from)?;
        }
        if let Some(burn) = &mut judge.burn {
            burn.restore(&mut from)?;
        }
        if from.below(1)? == 1 {
            judge.collateral = Some(Collateral::restore(&mut from)?);
        }
        if from.below(1)? == 1 {
            let (mut stable_us, mut canary_us) = ([0; QUANTILES], [0; QUANTILES]);
            for us in stable_us.iter_mut().chain(&mut canary_us) {
                *us = from.number()?;
            }
            judge.thresholds = Some(Thresholds { stable_us, canary_us });
        }
        judge.has_control = from.below(1)? == 1;
        judge.brake = Brake { is_frozen: from.below(1)? == 1, calm_since_s: from.optional()? };
        judge.latched = [None, Some(OnHarm::Pause), Some(OnHarm::Rollback)][from.below(2)? as usize];
        judge.silence = Silence { since_s: from.optional()?, expected: from.float()? };
        judge.epoch = from.number()?;
        judge.canary_share = from.optional()?.map(f64::from_bits).filter(|share| !share.is_nan());
        let outcomes = judge.rules.outcomes.len();
        let mut side = || Side::restore(&mut from, outcomes);
        (judge.step, judge.whole) = (Totals { canary: side()?, stable: side()? }, side()?);
        from.is_done().then_some(judge)
    }

    fn for_each_mixture(&self, mut each: impl FnMut(&Mixture)) {
        if let Some(gate) = &self.errors {
            each(&gate.ratio.mixture);
            each(&gate.floor.mixture);
        }
        self.latency.iter().flat_map(|latency| &latency.by_quantile).for_each(|test| each(&test.mixture));
        self.outcomes.iter().for_each(|outcome| each(&outcome.test.mixture));
    }

    fn for_each_mixture_mut(&mut self, mut each: impl FnMut(&mut Mixture) -> Option<()>) -> Option<()> {
        if let Some(gate) = &mut self.errors {
            each(&mut gate.ratio.mixture)?;
            each(&mut gate.floor.mixture)?;
        }
        for test in self.latency.iter_mut().flat_map(|latency| &mut latency.by_quantile) {
            each(&mut test.mixture)?;
        }
        self.outcomes.iter_mut().try_for_each(|outcome| each(&mut outcome.test.mixture))
    }
}

impl Mixture {
    fn save(&self, to: &mut Writer) {
        to.float(self.stake);
        to.number(self.starts.len() as u64);
        for start in &self.starts {
            to.float(start.weight);
            start.ln.iter().for_each(|ln| to.float(*ln));
        }
    }

    fn restore(&mut self, from: &mut Reader) -> Option<()> {
        self.stake = from.part()?;
        for _ in 0..from.below(STARTS_MAX as u64)? {
            let weight = from.part()?;
            let ln = (0..self.alternatives()).map(|_| from.float()).collect::<Option<Vec<f64>>>()?;
            self.starts.push(Start { weight, ln });
        }
        let whole = self.stake + self.starts.iter().map(|start| start.weight).sum::<f64>();
        (whole <= 1.0 + 1e-6).then_some(())
    }
}

impl Schedule {
    fn save(&self, to: &mut Writer) {
        to.number(u64::from(self.steps_left));
        to.float(self.stake);
        to.float(self.step_part);
        to.number(self.began_s);
        to.number(u64::from(self.restarts));
    }

    fn restore(from: &mut Reader) -> Option<Schedule> {
        Some(Schedule {
            steps_left: from.below(u64::from(u32::MAX))? as u32,
            stake: from.part()?,
            step_part: from.part()?,
            began_s: from.number()?,
            restarts: from.below(u64::from(RESTARTS_MAX))? as u32,
        })
    }
}

impl FloorTest {
    fn save(&self, to: &mut Writer) {
        to.float(self.floor);
        self.mixture.save(to);
    }

    fn restore(&mut self, from: &mut Reader) -> Option<()> {
        self.floor = from.part().filter(|floor| *floor > 0.0 && *floor < 1.0)?;
        self.mixture.restore(from)
    }
}

impl BeforeAfter {
    fn save(&self, to: &mut Writer) {
        self.errors.save(to);
        self.slow.iter().for_each(|test| test.save(to));
        to.number(u64::from(self.past.is_some()));
        self.past.iter().for_each(|past| past.errors.save(to));
    }

    fn restore(&mut self, from: &mut Reader) -> Option<()> {
        self.errors.restore(from)?;
        self.slow.iter_mut().try_for_each(|test| test.restore(from))?;
        if from.below(1)? == 1 {
            self.past = Some(History { errors: Tally::restore(from)? });
        }
        Some(())
    }
}

impl SampleRatioTest {
    fn save(&self, to: &mut Writer) {
        to.float(self.stake);
        to.number(self.ended.len() as u64);
        for (weight, ln) in &self.ended {
            to.float(*weight);
            to.float(*ln);
        }
        to.number(u64::from(self.current.is_some()));
        if let Some(counts) = &self.current {
            to.float(counts.canary_share);
            to.number(counts.canary);
            to.number(counts.stable);
            to.float(counts.weight);
        }
    }

    fn restore(&mut self, from: &mut Reader) -> Option<()> {
        self.stake = from.part()?;
        for _ in 0..from.below(STARTS_MAX as u64)? {
            self.ended.push((from.part()?, from.float()?));
        }
        if from.below(1)? == 1 {
            let canary_share = from.part().filter(|share| *share > 0.0 && *share < 1.0)?;
            let (canary, stable, weight) = (from.below(COUNT_MAX)?, from.below(COUNT_MAX)?, from.part()?);
            self.current = Some(Counts { canary_share, canary, stable, weight });
        }
        Some(())
    }
}

impl BurnGate {
    fn save(&self, to: &mut Writer) {
        for window in self.pairs.iter().flat_map(|pair| [&pair.long, &pair.short]) {
            to.number(window.cells.len() as u64);
            for (cell, tally) in &window.cells {
                to.number(*cell);
                tally.save(to);
            }
        }
    }

    fn restore(&mut self, from: &mut Reader) -> Option<()> {
        self.pairs
            .iter_mut()
            .flat_map(|pair| [&mut pair.long, &mut pair.short])
            .try_for_each(|window| window.restore(from))
    }
}

impl Window {
    fn restore(&mut self, from: &mut Reader) -> Option<()> {
        for _ in 0..from.below(CELLS)? {
            let (cell, tally) = (from.number()?, Tally::restore(from)?);
            self.cells.push_back((cell, tally));
            self.sum.add(tally);
        }
        Some(())
    }
}

impl Collateral {
    fn save(&self, to: &mut Writer) {
        to.number(u64::from(self.errors.is_some()));
        self.errors.iter().chain(&self.slow).for_each(|detector| detector.save(to));
        to.optional(self.since_s);
    }

    fn restore(from: &mut Reader) -> Option<Collateral> {
        let errors = match from.below(1)? {
            1 => Some(Detector::restore(from)?),
            _ => None,
        };
        let slow =
            [Detector::restore(from)?, Detector::restore(from)?, Detector::restore(from)?, Detector::restore(from)?];
        Some(Collateral { errors, slow, since_s: from.optional()? })
    }
}

impl Detector {
    fn save(&self, to: &mut Writer) {
        to.float(self.at_most);
        to.float(self.ln_max);
        self.ln.iter().for_each(|ln| to.float(*ln));
    }

    fn restore(from: &mut Reader) -> Option<Detector> {
        let mut detector = Detector::new(from.part().filter(|most| *most > 0.0 && *most < 1.0)?, 0.0);
        detector.ln_max = from.float()?;
        for ln in &mut detector.ln {
            *ln = from.float()?;
        }
        Some(detector)
    }
}

impl Side {
    fn save(&self, to: &mut Writer) {
        self.errors.save(to);
        self.slow.iter().chain(&self.late).for_each(|tally| tally.save(to));
        to.number(self.outcomes.len() as u64);
        self.outcomes.iter().for_each(|tally| tally.save(to));
    }

    fn restore(from: &mut Reader, outcomes: usize) -> Option<Side> {
        let mut side = Side { errors: Tally::restore(from)?, ..Side::default() };
        for tally in side.slow.iter_mut().chain(&mut side.late) {
            *tally = Tally::restore(from)?;
        }
        for _ in 0..from.below(outcomes as u64)? {
            side.outcomes.push(Tally::restore(from)?);
        }
        Some(side)
    }
}

impl Tally {
    fn save(self, to: &mut Writer) {
        to.number(self.events);
        to.number(self.of);
    }

    fn restore(from: &mut Reader) -> Option<Tally> {
        let (events, of) = (from.number()?, from.number()?);
        (events <= of && of <= COUNT_MAX).then_some(Tally { events, of })
    }
}

/// Outcomes of a rollout are fewer.
const OUTCOMES_MAX: u64 = 64;

impl Counted {
    /// Who was counted, to be kept.
    pub fn save(&self, words: &mut Vec<u64>) {
        let Counted { known, errors, slow, outcomes } = self;
        words.push(outcomes.len() as u64);
        [known, errors].into_iter().chain(slow).chain(outcomes).for_each(|set| set.save(words));
    }

    /// Who was counted; `None` when it does not fit. What was read is gone from `words`.
    pub fn restore(words: &mut &[u64]) -> Option<Counted> {
        let (count, rest) = words.split_first().filter(|(count, _)| **count <= OUTCOMES_MAX)?;
        *words = rest;
        let mut set = || GroupSet::restore(words);
        Some(Counted {
            known: set()?,
            errors: set()?,
            slow: [set()?, set()?, set()?, set()?, set()?],
            outcomes: (0..*count).map(|_| set()).collect::<Option<_>>()?,
        })
    }
}

impl GroupSet {
    /// The groups, 64 in a word; only words in which somebody is.
    pub fn save(&self, to: &mut Vec<u64>) {
        let used = || (0u64..).zip(self.all()).filter(|(_, word)| **word != 0);
        to.push(used().count() as u64);
        used().for_each(|(at, word)| to.extend([at, *word]));
    }

    /// The groups; `None` when they do not fit. What was read is gone from `words`.
    pub fn restore(words: &mut &[u64]) -> Option<GroupSet> {
        let (count, rest) = words.split_first().filter(|(count, _)| **count <= GroupSet::words() as u64)?;
        let (pairs, rest) = rest.split_at_checked(2 * *count as usize)?;
        let mut set = GroupSet::default();
        for pair in pairs.chunks_exact(2) {
            let at = usize::try_from(*pair.first()?).ok().filter(|at| *at < GroupSet::words())?;
            set.insert_word(at, *pair.last()?);
        }
        *words = rest;
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::judge::{Met, MetOutcome};

    #[test]
    fn who_was_counted_comes_back_and_what_does_not_fit_is_refused() {
        let mut counted = Counted::default();
        let mut met = Met { outcomes: vec![MetOutcome::default()], ..Met::default() };
        [3, 64, 99_999].into_iter().for_each(|group| met.seen.insert(group));
        met.slow[2].insert(64);
        met.outcomes[0].happened.insert(5);
        counted.count(&met, &Met::default());
        counted.count_outcomes(&met, &Met::default());
        let mut words = Vec::new();
        counted.save(&mut words);
        words.push(77);
        let mut from = words.as_slice();
        assert_eq!(Counted::restore(&mut from), Some(counted));
        assert_eq!(from, [77]);
        for end in 0..words.len() - 1 {
            assert_eq!(Counted::restore(&mut &words[..end]), None, "{end} words");
        }
        let absurd: [&[u64]; 3] = [&[u64::MAX], &[1, u64::MAX], &[1, 1, u64::MAX, 1]];
        absurd.into_iter().for_each(|mut words| assert_eq!(Counted::restore(&mut words), None));
    }
}
