use super::super::mirror::{MirrorRecord, MirrorRecords};
use super::super::spans::Spans;
use super::super::tap::Tap;
use super::{Shard, Slot};
use crate::model::Reason;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How many slots there can ever be in one process; names beyond share [`Slot::OTHER`].
pub const SLOTS_MAX: usize = 65_536;

/// How long the series of names that are no longer in force stay, in seconds: as long as windows look back.
pub const RETIRED_SECONDS: u64 = 900;

/// The label value of all that is folded.
pub const OTHER: &str = "__other__";

/// All shards, and the names of their slots. Control side; workers get their [`Shard`] once.
///
/// A slot is never given to other names, so the table is bounded by [`SLOTS_MAX`] (a process that has seen so
/// many names of services, cohorts and variants counts further ones together) and an old index stays valid.
#[derive(Debug)]
pub struct Registry {
    shards: Vec<Arc<Shard>>,
    max_series: u32,
    names: Mutex<Names>,
    mirrors: MirrorRecords,
    tap: Arc<Tap>,
    spans: Arc<Spans>,
}

/// Who a slot is for.
#[derive(Clone, Debug)]
pub struct SlotNames {
    /// The slot.
    pub slot: Slot,
    /// The service's name.
    pub service: Arc<str>,
    /// The cohort's name.
    pub cohort: Arc<str>,
    /// The variant's name.
    pub variant: Arc<str>,
    /// The reason that most requests of the slot will have: its series exist from the start.
    pub expected_reason: Reason,
}

/// Service, cohort, variant.
type Key = (Arc<str>, Arc<str>, Arc<str>);

#[derive(Debug, Default)]
struct Names {
    index: HashMap<Key, Slot>,
    slots: Vec<(SlotNames, State)>,
    /// Names that had no room in the table.
    refused: u64,
    now_seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InForce,
    Retired { since: u64 },
    Gone,
}

impl Registry {
    /// Shards for `workers` workers; `/metrics` will expose at most `max_series` series, but room for 500
    /// there always is.
    pub fn new(workers: usize, max_series: u32) -> Arc<Registry> {
        let born = Instant::now();
        let registry = Registry {
            shards: (0..workers.max(1)).map(|_| Arc::new(Shard::new(born))).collect(),
            max_series,
            names: Mutex::new(Names::default()),
            mirrors: MirrorRecords::default(),
            tap: Arc::default(),
            spans: Arc::default(),
        };
        registry.slot(OTHER, OTHER, OTHER, Reason::Split);
        Arc::new(registry)
    }

    /// The slot of these names, the same for the same names for the life of the process. Puts them in force.
    pub fn slot(&self, service: &str, cohort: &str, variant: &str, expected_reason: Reason) -> Slot {
        let mut names = self.names();
        let key: Key = (service.into(), cohort.into(), variant.into());
        if let Some(slot) = names.index.get(&key).copied() {
            let (known, state) = &mut names.slots[slot.index()];
            known.expected_reason = expected_reason;
            *state = State::InForce;
            return slot;
        }
        if names.slots.len() >= SLOTS_MAX {
            names.refused += 1;
            return Slot::OTHER;
        }
        let slot = Slot(names.slots.len() as u32);
        self.shards.iter().for_each(|shard| shard.make_room(slot));
        let (service, cohort, variant) = key.clone();
        names.slots.push((SlotNames { slot, service, cohort, variant, expected_reason }, State::InForce));
        names.index.insert(key, slot);
        slot
    }

    /// Where the mirror of a service to this variant is recorded: the same for the same names.
    pub fn mirror(&self, service: &str, variant: &str) -> Arc<MirrorRecord> {
        self.mirrors.obtain(service, variant)
    }

    /// Where finished requests pass by.
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// Where spans of sampled requests pass by.
    pub fn spans(&self) -> &Arc<Spans> {
        &self.spans
    }

    /// Every mirror that there has been.
    pub fn mirrors(&self) -> Vec<Arc<MirrorRecord>> {
        self.mirrors.all()
    }

    /// Says which slots are in force after a reload. The series of all others stay for [`RETIRED_SECONDS`], so
    /// that the last requests are scraped, then disappear; should their names return, they go on counting.
    pub fn keep(&self, in_force: &[Slot]) {
        let mut names = self.names();
        let mut kept = vec![false; names.slots.len()];
        for slot in in_force.iter().chain([&Slot::OTHER]) {
            kept.get_mut(slot.index()).into_iter().for_each(|kept| *kept = true);
        }
        let since = names.now_seconds;
        for ((_, state), kept) in names.slots.iter_mut().zip(kept) {
            match (kept, *state) {
                (true, _) => *state = State::InForce,
                (false, State::InForce) => *state = State::Retired { since },
                (false, _) => {}
            }
        }
    }

    /// Lets retired series go when their time has come and nothing is in flight. Called once a second.
    pub fn sweep(&self, now_seconds: u64) {
        let mut names = self.names();
        names.now_seconds = now_seconds;
        for (known, state) in &mut names.slots {
            let State::Retired { since } = *state else { continue };
            if now_seconds.saturating_sub(since) >= RETIRED_SECONDS && self.in_flight(known.slot) == 0 {
                *state = State::Gone;
            }
        }
    }

    /// The shard of a worker, counted from 0.
    ///
    /// # Panics
    /// When there is no such worker.
    pub fn shard(&self, worker: usize) -> Arc<Shard> {
        Arc::clone(&self.shards[worker])
    }

    /// The slots whose series exist, ascending; [`Slot::OTHER`] is the first.
    pub fn slots(&self) -> Vec<SlotNames> {
        let names = self.names();
        names.slots.iter().filter(|(_, state)| *state != State::Gone).map(|(known, _)| known.clone()).collect()
    }

    /// How many slots were ever given out: one more than the largest index.
    pub fn slots_given(&self) -> usize {
        self.names().slots.len()
    }

    /// How many names had no room in the table and were counted in [`Slot::OTHER`].
    pub fn refused(&self) -> u64 {
        self.names().refused
    }

    /// The most series that `/metrics` exposes.
    pub fn max_series(&self) -> u32 {
        self.max_series
    }

    pub(super) fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    fn in_flight(&self, slot: Slot) -> u64 {
        self.shards.iter().filter_map(|shard| shard.cells(slot)).map(|cells| cells.in_flight()).sum()
    }

    /// A panic of another reader cannot leave names half written, so a poisoned lock is taken all the same.
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Finished, Judged};
    use super::*;
    use crate::model::Outcome;

    fn named(registry: &Registry) -> Vec<String> {
        registry.slots().iter().map(|slot| slot.variant.to_string()).collect()
    }

    #[test]
    fn the_same_names_have_the_same_slot() {
        let registry = Registry::new(2, 10_000);
        let stable = registry.slot("shop", "everyone", "stable", Reason::Split);
        let canary = registry.slot("shop", "everyone", "canary", Reason::Split);
        assert_ne!(stable, canary);
        assert_eq!(registry.slot("shop", "everyone", "stable", Reason::Only), stable);
        assert_eq!(registry.slots()[1].expected_reason, Reason::Only);
    }

    #[test]
    fn removed_names_stay_for_a_while_and_come_back_with_their_counts() {
        let registry = Registry::new(1, 10_000);
        let v1 = registry.slot("shop", "everyone", "v1", Reason::Only);
        let v2 = registry.slot("shop", "everyone", "v2", Reason::Only);
        registry.sweep(100);
        registry.keep(&[v2]);
        registry.sweep(100 + RETIRED_SECONDS - 1);
        assert_eq!(named(&registry), [OTHER, "v1", "v2"]);
        registry.sweep(100 + RETIRED_SECONDS);
        assert_eq!(named(&registry), [OTHER, "v2"]);
        assert_eq!(registry.slot("shop", "everyone", "v1", Reason::Only), v1);
        assert_eq!(named(&registry), [OTHER, "v1", "v2"]);
    }

    #[test]
    fn a_request_in_flight_keeps_its_series() {
        let registry = Registry::new(1, 10_000);
        let slot = registry.slot("shop", "everyone", "v1", Reason::Only);
        let shard = registry.shard(0);
        shard.begin(slot);
        registry.keep(&[]);
        registry.sweep(RETIRED_SECONDS);
        assert_eq!(registry.slots().len(), 2);
        let (reason, outcome) = (Reason::Only, Outcome::Success);
        shard.finish(
            slot,
            &Finished {
                reason,
                status: 200,
                outcome,
                latency_us: 1,
                overhead_us: None,
                user: None,
                judged: Judged::default(),
            },
        );
        registry.sweep(RETIRED_SECONDS + 1);
        assert_eq!(registry.slots().len(), 1);
    }

    #[test]
    fn a_flood_of_names_shares_one_slot() {
        let registry = Registry::new(1, 10_000);
        for number in 0..SLOTS_MAX + 9 {
            registry.slot("shop", "everyone", &number.to_string(), Reason::Only);
        }
        assert_eq!((registry.slots_given(), registry.refused()), (SLOTS_MAX, 10));
        assert_eq!(registry.slot("shop", "everyone", "one more", Reason::Only), Slot::OTHER);
        assert_eq!(registry.slot("shop", "everyone", "7", Reason::Only).index(), 8);
    }
}
