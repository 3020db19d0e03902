use super::super::recorder::{CODE_OTHER, Slot, SlotSum};
use super::exposition::{DURATION_BOUNDS, histogram_series};
use crate::model::{FallbackCause, InjectedKind, Outcome, Reason, RetryResult};
use std::collections::{BTreeSet, HashMap};

/// Status codes whose series exist from the start.
pub(super) const CODES_EXPECTED: [u16; 5] = [200, 500, 502, 503, 504];

/// How many pairs of reason and code one slot shows; further codes count as `other`. Codes come from the
/// upstream, and one that makes up codes must not push the series of others out.
const CODES_MAX: usize = 40;

/// Gauges of a slot: in flight, two weights, two counts of users.
const GAUGES: usize = 5;

/// The most series of one slot, reserved for `__other__`.
pub(super) const SLOT_SERIES_MAX: usize = CODES_MAX
    + Reason::ALL.len()
    + Outcome::ALL.len() * (DURATION_BOUNDS.len() + 3)
    + FallbackCause::ALL.len()
    + RetryResult::ALL.len()
    + InjectedKind::ALL.len()
    + GAUGES;

/// Remembers what is folded, so that a series that was folded once stays so: series that come and go would
/// look like restarts to the scraper, and what is folded into `__other__` must never be taken out again.
#[derive(Debug, Default)]
pub(super) struct Fold {
    folded: BTreeSet<Slot>,
    shown: HashMap<Slot, BTreeSet<(Reason, u16)>>,
}

impl Fold {
    /// The slots that are folded into `__other__`.
    pub(super) fn folded(&self) -> &BTreeSet<Slot> {
        &self.folded
    }

    /// Folds a slot for good.
    pub(super) fn fold(&mut self, slot: Slot) {
        self.folded.insert(slot);
        self.shown.remove(&slot);
    }

    /// Adds the codes that exist from the start, and moves those beyond [`CODES_MAX`] to `other`.
    pub(super) fn limit_codes(&mut self, slot: Slot, expected: Reason, sum: &mut SlotSum) {
        let shown = self.shown.entry(slot).or_default();
        for code in CODES_EXPECTED {
            sum.codes.entry((expected, code)).or_default();
            shown.insert((expected, code));
        }
        for ((reason, code), count) in std::mem::take(&mut sum.codes) {
            let is_shown = code == CODE_OTHER || shown.contains(&(reason, code)) || {
                let has_room = shown.len() < CODES_MAX;
                has_room && shown.insert((reason, code))
            };
            *sum.codes.entry((reason, if is_shown { code } else { CODE_OTHER })).or_default() += count;
        }
    }
}

/// How many series a slot is.
pub(super) fn slot_series(sum: &SlotSum) -> usize {
    let durations = Outcome::ALL.into_iter().filter(|outcome| is_outcome_shown(*outcome, sum)).count();
    let counters = sum.codes.len() + FallbackCause::ALL.len() + RetryResult::ALL.len() + InjectedKind::ALL.len();
    counters + durations * histogram_series(&DURATION_BOUNDS) + GAUGES
}

/// Success and error exist from the start, the others from their first request on.
pub(super) fn is_outcome_shown(outcome: Outcome, sum: &SlotSum) -> bool {
    matches!(outcome, Outcome::Success | Outcome::Error) || sum.latencies[outcome.index()].total() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn codes_beyond_the_limit_count_as_other_and_the_first_stay() {
        let mut fold = Fold::default();
        let sum_of = |codes: std::ops::Range<u16>| SlotSum {
            codes: codes.map(|code| ((Reason::Split, code), 1)).collect(),
            ..SlotSum::default()
        };
        let mut first = sum_of(300..310);
        fold.limit_codes(Slot::OTHER, Reason::Split, &mut first);
        assert_eq!(first.codes.len(), 15);
        let mut flood = sum_of(100..600);
        fold.limit_codes(Slot::OTHER, Reason::Split, &mut flood);
        assert_eq!(flood.codes.len(), CODES_MAX + 1);
        assert_eq!(flood.codes.values().sum::<u64>(), 500);
        assert!((300..310).all(|code| flood.codes.contains_key(&(Reason::Split, code))));
        assert!(slot_series(&flood) <= SLOT_SERIES_MAX);
        let none: BTreeMap<(Reason, u16), u64> = BTreeMap::new();
        assert_eq!(SlotSum::default().codes, none);
    }
}
