//! Which part of a cohort each variant had, and since when: asked shares beside the measured ones.

use crate::model::BUCKETS;
use crate::routing::Snapshot;
use crate::telemetry::Slot;
use crate::telemetry::windows::REACH_SECONDS;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Changes that are kept of a slot; older ones go.
const CHANGES_MAX: usize = 256;

/// The asked shares of all slots, as far back as windows reach.
#[derive(Default)]
pub struct Weights {
    changes: BTreeMap<Slot, VecDeque<(u64, f64)>>,
    last: Option<Arc<Snapshot>>,
}

impl Weights {
    /// What is in force from this second on.
    pub(super) fn note(&mut self, now_seconds: u64, snapshot: &Arc<Snapshot>) {
        if self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, snapshot)) {
            return;
        }
        self.last = Some(Arc::clone(snapshot));
        let cohorts = || snapshot.services.iter().flat_map(|service| &service.cohorts);
        for cohort in cohorts() {
            for (variant, slot) in cohort.slots.iter().enumerate() {
                let share = f64::from(cohort.layout.width_of(variant)) / f64::from(BUCKETS);
                self.put(*slot, now_seconds, share);
            }
        }
        let in_force: std::collections::BTreeSet<Slot> =
            cohorts().flat_map(|cohort| cohort.slots.iter().copied()).collect();
        let too_old = now_seconds.saturating_sub(REACH_SECONDS);
        self.changes.retain(|slot, changes| {
            in_force.contains(slot) || changes.back().is_some_and(|(since, _)| *since > too_old)
        });
    }

    fn put(&mut self, slot: Slot, now_seconds: u64, share: f64) {
        let changes = self.changes.entry(slot).or_default();
        if changes.back().is_some_and(|(_, last)| *last == share) {
            return;
        }
        changes.push_back((now_seconds, share));
        if changes.len() > CHANGES_MAX {
            changes.pop_front();
        }
    }

    /// The part of its cohort that a slot had in a second; `None` where that is not known.
    pub fn at(&self, slot: Slot, second: u64) -> Option<f64> {
        let changes = self.changes.get(&slot)?;
        let later = changes.partition_point(|(since, _)| *since <= second);
        changes.get(later.checked_sub(1)?).map(|(_, share)| *share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_holds_until_the_next_one() {
        let mut weights = Weights::default();
        weights.put(Slot::OTHER, 10, 0.05);
        weights.put(Slot::OTHER, 20, 0.05);
        weights.put(Slot::OTHER, 30, 0.5);
        assert_eq!(weights.at(Slot::OTHER, 9), None);
        assert_eq!((weights.at(Slot::OTHER, 10), weights.at(Slot::OTHER, 29)), (Some(0.05), Some(0.05)));
        assert_eq!(weights.at(Slot::OTHER, 1_000), Some(0.5));
        (0..1_000u64).for_each(|at| weights.put(Slot::OTHER, 100 + at, at as f64));
        assert_eq!(weights.changes[&Slot::OTHER].len(), CHANGES_MAX);
    }
}
