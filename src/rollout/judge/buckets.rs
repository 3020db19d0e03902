//! The unit of counting: users, as far as buckets tell them apart.

use super::tick::{QUANTILES, Tally, Users};
use crate::model::BUCKETS;

/// How many groups of users are told apart; ten buckets of the assignment share one.
pub const GROUPS: u32 = 100_000;

const WORDS: usize = (GROUPS as usize).div_ceil(64);

/// A set of groups of users: 12.5 KB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSet {
    words: Box<[u64]>,
}

/// What one variant's users met in one tick, as sets. The recorder fills one per worker and adds them up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Who had a judged request that finished.
    pub seen: GroupSet,
    /// Who had an error.
    pub errors: GroupSet,
    /// Who had an answer without error, or one that crossed the largest threshold.
    pub timed: GroupSet,
    /// Who had a slow one, by quantile.
    pub slow: [GroupSet; QUANTILES],
    /// What the business counts, in the order of the rules.
    pub outcomes: Vec<MetOutcome>,
}

/// Who met an outcome that the business counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetOutcome {
    /// Who could have had it.
    pub eligible: GroupSet,
    /// Who had it.
    pub happened: GroupSet,
}

/// Who has been counted since the counting began anew: a user counts until it happened to them once, so that one
/// broken client that retries all day is one bad user and not thousands of bad requests.
///
/// One of these serves both variants of a cohort. A set for each would be unfair when a weight grows: the broken
/// clients that move to the canary would count again there, while stable's were counted long ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub(super) known: GroupSet,
    pub(super) errors: GroupSet,
    pub(super) slow: [GroupSet; QUANTILES],
    pub(super) outcomes: Vec<GroupSet>,
}

impl Default for GroupSet {
    fn default() -> Self {
        GroupSet { words: vec![0; WORDS].into_boxed_slice() }
    }
}

impl GroupSet {
    /// The group of a bucket of the assignment.
    pub fn group_of(bucket: u32) -> u32 {
        bucket.min(BUCKETS - 1) / (BUCKETS / GROUPS)
    }

    /// Adds a group; one that does not exist is left out.
    pub fn insert(&mut self, group: u32) {
        if let Some(word) = self.words.get_mut(group as usize / 64).filter(|_| group < GROUPS) {
            *word |= 1 << (group % 64);
        }
    }

    /// Adds 64 groups at once, as the recorder's words hold them: `word` counts from 0, its lowest bit first.
    pub fn insert_word(&mut self, word: usize, bits: u64) {
        if let Some(own) = self.words.get_mut(word) {
            *own |= bits;
        }
    }

    /// How many words [`GroupSet::insert_word`] knows.
    pub fn words() -> usize {
        WORDS
    }

    /// How many groups are in it.
    pub fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    pub(super) fn all(&self) -> &[u64] {
        &self.words
    }

    /// How many of `self` are not in `counted`.
    fn beyond(&self, counted: &GroupSet) -> u64 {
        let pairs = self.words.iter().zip(&counted.words);
        pairs.map(|(own, counted)| u64::from((own & !counted).count_ones())).sum()
    }

    fn add(&mut self, other: &GroupSet) {
        self.words.iter_mut().zip(&other.words).for_each(|(own, other)| *own |= other);
    }
}

impl Met {
    /// Removes all, for the next tick.
    pub fn clear(&mut self) {
        let Met { seen, errors, timed, slow, outcomes } = self;
        let of_outcomes = outcomes.iter_mut().flat_map(|met| [&mut met.eligible, &mut met.happened]);
        [seen, errors, timed].into_iter().chain(slow).chain(of_outcomes).for_each(GroupSet::clear);
    }
}

impl Counted {
    /// Counts one tick of both variants: canary, then stable. Both are counted against what was before the tick.
    pub fn count(&mut self, canary: &Met, stable: &Met) -> (Users, Users) {
        let counts = (self.of(canary), self.of(stable));
        for met in [canary, stable] {
            self.known.add(&met.seen);
            self.errors.add(&met.errors);
            self.slow.iter_mut().zip(&met.slow).for_each(|(own, slow)| own.add(slow));
        }
        counts
    }

    /// Counts the outcomes of one tick of both variants: canary, then stable. A user counts until they had it once.
    pub fn count_outcomes(&mut self, canary: &Met, stable: &Met) -> (Vec<Tally>, Vec<Tally>) {
        let outcomes = canary.outcomes.len().max(stable.outcomes.len());
        self.outcomes.resize_with(outcomes.max(self.outcomes.len()), GroupSet::default);
        let of = |met: &Met| {
            let tally = |(met, counted): (&MetOutcome, &GroupSet)| {
                Tally::new(met.happened.beyond(counted), met.eligible.beyond(counted))
            };
            met.outcomes.iter().zip(&self.outcomes).map(tally).collect()
        };
        let counts = (of(canary), of(stable));
        for met in [canary, stable] {
            self.outcomes.iter_mut().zip(&met.outcomes).for_each(|(own, met)| own.add(&met.happened));
        }
        counts
    }

    /// Everybody counts again. To be called whenever [`Judge::epoch`](super::Judge::epoch) has changed.
    pub fn clear(&mut self) {
        let Counted { known, errors, slow, outcomes } = self;
        [known, errors].into_iter().chain(slow).chain(outcomes).for_each(GroupSet::clear);
    }

    fn of(&self, met: &Met) -> Users {
        let mut slow = [Tally::default(); QUANTILES];
        for (at, tally) in slow.iter_mut().enumerate() {
            *tally = Tally::new(met.slow[at].beyond(&self.slow[at]), met.timed.beyond(&self.slow[at]));
        }
        Users {
            errors: Tally::new(met.errors.beyond(&self.errors), met.seen.beyond(&self.errors)),
            slow,
            new: met.seen.beyond(&self.known),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn met(seen: &[u32], errors: &[u32]) -> Met {
        let mut met = Met::default();
        seen.iter().for_each(|group| met.seen.insert(*group));
        errors.iter().for_each(|group| met.errors.insert(*group));
        met
    }

    #[test]
    fn a_broken_client_counts_once() {
        let mut counted = Counted::default();
        let (canary, stable) = counted.count(&met(&[1, 2, 3], &[1]), &met(&[50, 51], &[]));
        assert_eq!((canary.errors, canary.new), (Tally::new(1, 3), 3));
        assert_eq!((stable.errors, stable.new), (Tally::new(0, 2), 2));
        let (canary, _) = counted.count(&met(&[1, 2], &[1]), &met(&[], &[]));
        assert_eq!((canary.errors, canary.new), (Tally::new(0, 1), 0));
        counted.clear();
        let (canary, _) = counted.count(&met(&[1, 2], &[1]), &met(&[], &[]));
        assert_eq!((canary.errors, canary.new), (Tally::new(1, 2), 2));
    }

    #[test]
    fn who_moves_to_the_canary_is_not_counted_again() {
        let mut counted = Counted::default();
        counted.count(&met(&[], &[]), &met(&[7], &[7]));
        let (canary, _) = counted.count(&met(&[7, 8], &[7]), &met(&[], &[]));
        assert_eq!(canary.errors, Tally::new(0, 1));
    }

    #[test]
    fn slow_answers_count_once_by_quantile() {
        let mut counted = Counted::default();
        let mut canary = Met::default();
        (0..10).for_each(|group| canary.timed.insert(group));
        canary.slow[0].insert(3);
        let (users, _) = counted.count(&canary, &Met::default());
        assert_eq!((users.slow[0], users.slow[3]), (Tally::new(1, 10), Tally::new(0, 10)));
        let (users, _) = counted.count(&canary, &Met::default());
        assert_eq!((users.slow[0], users.slow[3]), (Tally::new(0, 9), Tally::new(0, 10)));
        canary.clear();
        assert!(canary.timed.is_empty() && canary.slow[0].is_empty());
    }

    #[test]
    fn an_order_counts_once_and_who_had_it_is_no_chance_any_more() {
        let mut counted = Counted::default();
        let of = |eligible: &[u32], happened: &[u32]| {
            let mut met = Met { outcomes: vec![MetOutcome::default(); 2], ..Met::default() };
            eligible.iter().for_each(|group| met.outcomes[1].eligible.insert(*group));
            happened.iter().for_each(|group| met.outcomes[1].happened.insert(*group));
            met
        };
        let (canary, stable) = counted.count_outcomes(&of(&[1, 2, 3], &[1]), &of(&[50, 51], &[]));
        assert_eq!((canary[0], canary[1], stable[1]), (Tally::default(), Tally::new(1, 3), Tally::new(0, 2)));
        let (canary, stable) = counted.count_outcomes(&of(&[1, 2, 3], &[1, 2]), &of(&[50], &[50]));
        assert_eq!((canary[1], stable[1]), (Tally::new(1, 2), Tally::new(1, 1)));
        counted.clear();
        let (canary, _) = counted.count_outcomes(&of(&[1], &[1]), &Met::default());
        assert_eq!(canary[1], Tally::new(1, 1));
    }

    #[test]
    fn every_bucket_has_a_group_and_others_are_left_out() {
        assert_eq!((GroupSet::group_of(0), GroupSet::group_of(9), GroupSet::group_of(10)), (0, 0, 1));
        assert_eq!(GroupSet::group_of(u32::MAX), GROUPS - 1);
        let mut set = GroupSet::default();
        set.insert(GROUPS);
        set.insert(u32::MAX);
        set.insert_word(usize::MAX, 1);
        assert!(set.is_empty());
        set.insert(GROUPS - 1);
        set.insert_word(0, 0b101);
        assert_eq!((set.len(), set.words[0]), (3, 0b101));
    }

    proptest! {
        /// Against sets of the standard library.
        #[test]
        fn counts_are_those_of_plain_sets(ticks in proptest::collection::vec(
            (proptest::collection::vec(0u32..200, 0..30), proptest::collection::vec(any::<bool>(), 30)), 1..10)) {
            let (mut counted, mut bad, mut known) = (Counted::default(), BTreeSet::new(), BTreeSet::new());
            for (seen, is_bad) in ticks {
                let errors: Vec<u32> = seen.iter().zip(is_bad).filter(|(_, bad)| *bad).map(|(group, _)| *group).collect();
                let (users, _) = counted.count(&met(&seen, &errors), &Met::default());
                let seen: BTreeSet<u32> = seen.into_iter().collect();
                let errors: BTreeSet<u32> = errors.into_iter().collect();
                prop_assert_eq!(users.errors.of, seen.difference(&bad).count() as u64);
                prop_assert_eq!(users.errors.events, errors.difference(&bad).count() as u64);
                prop_assert_eq!(users.new, seen.difference(&known).count() as u64);
                bad.extend(errors);
                known.extend(seen);
            }
        }
    }
}
