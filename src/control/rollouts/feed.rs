//! What a judge is fed: what came on top in the recorder since the last second, and what was posted meanwhile.

use super::Rollouts;
use super::watching::Watching;
use crate::control::posted::{Placed, PostedEvents};
use crate::model::Outcome;
use crate::rollout::judge::{Met, MetOutcome, QUANTILES, Tally};
use crate::telemetry::recorder::{OUTCOMES_MAX, OutcomeCount, Watched, WatchedUsers, bucket_lowest_us};
use crate::telemetry::{Registry, Slot};

impl Rollouts {
    /// Takes events that were posted for an outcome of a service; how many of them a judge will hear of.
    pub(in crate::control) fn post(&mut self, posted: &PostedEvents) -> usize {
        let of_service = self.watching.iter_mut().filter(|((service, _), _)| *service == posted.service);
        let mut watching: Vec<&mut Watching> = of_service.map(|(_, watching)| watching).collect();
        let mut take = |event: &Placed| watching.iter_mut().any(|watching| watching.post(&posted.name, event));
        posted.events.iter().filter(|event| take(event)).count()
    }
}

/// Posted events of a cohort that wait for the next second; further ones are not accepted.
pub(super) const POSTED_MAX: usize = 100_000;

/// One event that was posted: a chance for an outcome, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Posted {
    /// The outcome, by its place in the file.
    pub(super) outcome: usize,
    pub(super) is_canary: bool,
    pub(super) group: u32,
    pub(super) is_good: bool,
}

/// What came on top of a slot since `seen`; the users are in `met`. `saw` is told of everybody who was seen.
pub(super) fn take(
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
        WatchedUsers::Eligible(at) => outcome(met, at, |met| met.eligible.insert_word(word, bits)),
        WatchedUsers::Happened(at) => outcome(met, at, |met| {
            met.happened.insert_word(word, bits);
            met.eligible.insert_word(word, bits);
        }),
    });
    let more = |now: u64, before: u64| now.saturating_sub(before);
    Watched {
        finished: more(now.finished, before.finished),
        errors: more(now.errors, before.errors),
        timed: more(now.timed, before.timed),
        slow: std::array::from_fn(|at| more(now.slow[at], before.slow[at])),
        outcomes: std::array::from_fn(|at| OutcomeCount {
            events: more(now.outcomes[at].events, before.outcomes[at].events),
            of: more(now.outcomes[at].of, before.outcomes[at].of),
        }),
    }
}

/// Requests that still run and have taken longer than anything that is compared: each counts as slow, now and not when
/// it ends.
pub(super) fn take_overdue(registry: &Registry, slot: Slot, longer_than_us: u64, watched: &mut Watched, met: &mut Met) {
    registry.take_overdue(slot, longer_than_us, &mut |group| {
        watched.timed += 1;
        watched.slow.iter_mut().for_each(|slow| *slow += 1);
        met.timed.insert(group);
        met.slow.iter_mut().for_each(|set| set.insert(group));
    });
}

/// How many answers of a slot took longer than each of these, among all without an error that finished, since the process
/// began.
pub(super) fn late(registry: &Registry, slot: Slot, longer_than_us: &[u64; QUANTILES]) -> [Tally; QUANTILES] {
    let mut late = [Tally::default(); QUANTILES];
    for outcome in [Outcome::Success, Outcome::Rejected] {
        for (bucket, count) in registry.latencies(slot, outcome).iter() {
            let at_least_us = bucket_lowest_us(bucket);
            for (tally, limit) in late.iter_mut().zip(longer_than_us) {
                tally.add(Tally::new(if at_least_us > *limit { count } else { 0 }, count));
            }
        }
    }
    late
}

/// Posted events, as if requests had shown them.
pub(super) fn take_posted<'m>(
    posted: &mut Vec<Posted>,
    mut canary: (&'m mut Watched, &'m mut Met),
    mut stable: (&'m mut Watched, &'m mut Met),
) {
    for Posted { outcome: at, is_canary, group, is_good } in posted.drain(..) {
        let (watched, met) = if is_canary { &mut canary } else { &mut stable };
        if let Some(count) = watched.outcomes.get_mut(at) {
            count.of += 1;
            count.events += u64::from(is_good);
        }
        outcome(met, at, |met| {
            met.eligible.insert(group);
            if is_good {
                met.happened.insert(group);
            }
        });
    }
}

/// Counts of outcomes for the judge, as many as its rules have.
pub(super) fn outcomes(watched: &Watched, count: usize) -> Vec<Tally> {
    watched.outcomes.iter().take(count).map(|outcome| Tally::new(outcome.events, outcome.of)).collect()
}

fn outcome(met: &mut Met, at: usize, tell: impl FnOnce(&mut MetOutcome)) {
    if at >= met.outcomes.len() && at < OUTCOMES_MAX {
        met.outcomes.resize_with(at + 1, MetOutcome::default);
    }
    if let Some(met) = met.outcomes.get_mut(at) {
        tell(met);
    }
}
