use super::{BucketCounts, ConnectionRefused, Registry, Slot, UserCount, WatchRules, Watched, WatchedUsers};
use crate::model::{FallbackCause, InjectedKind, Outcome, Reason, RetryResult};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stands for "no status was sent".
pub const CODE_NONE: u16 = 0;
/// Stands for all status codes outside of 100 to 599.
pub const CODE_OTHER: u16 = u16::MAX;

/// What all workers have recorded for a slot since the start of the process.
#[derive(Clone, Debug, Default)]
pub struct SlotSum {
    /// Requests that have begun and not finished.
    pub in_flight: u64,
    /// Finished requests by reason and status code ([`CODE_NONE`], [`CODE_OTHER`]).
    pub codes: BTreeMap<(Reason, u16), u64>,
    /// Latencies by [`Outcome::index`].
    pub latencies: [BucketCounts; Outcome::ALL.len()],
    /// Requests that a fallback served, by [`FallbackCause::index`].
    pub fallbacks: [u64; FallbackCause::ALL.len()],
    /// Requests that were sent again, by [`RetryResult::index`].
    pub retries: [u64; RetryResult::ALL.len()],
    /// Faults that were injected, by [`InjectedKind::index`].
    pub injected: [u64; InjectedKind::ALL.len()],
    /// The distinct users of the slot, if any had a key.
    pub users: Option<UserCount>,
    /// The distinct users who met an error.
    pub users_with_errors: Option<UserCount>,
}

/// What all workers have recorded apart from any slot.
#[derive(Clone, Debug, Default)]
pub struct ShardTotals {
    /// Time spent in the proxy itself.
    pub overhead: BucketCounts,
    /// Requests answered before a service was known, by status code.
    pub unrouted: BTreeMap<u16, u64>,
    /// Connections accepted from clients.
    pub downstream_opened: u64,
    /// Those of them that have ended.
    pub downstream_closed: u64,
    /// Connections of clients that were closed as soon as they were accepted, by [`ConnectionRefused`].
    pub downstream_refused: [u64; ConnectionRefused::ALL.len()],
    /// Connections established to endpoints.
    pub upstream_opened: u64,
    /// Panics that were contained.
    pub panics: u64,
}

impl Registry {
    /// How many records a slot has; what is summed afterwards holds at least those.
    pub fn changes(&self, slot: Slot) -> u64 {
        let cells = self.shards().iter().filter_map(|shard| shard.cells(slot));
        cells.fold(0, |sum, cells| sum.wrapping_add(cells.changes()))
    }

    /// What all workers have recorded for a slot.
    pub fn sum(&self, slot: Slot) -> SlotSum {
        let mut sum = self.counts(slot);
        for cells in self.shards().iter().filter_map(|shard| shard.cells(slot)) {
            if let Some(sketch) = cells.users() {
                sum.users.get_or_insert_default().add(sketch);
            }
            if let Some(sketch) = cells.users_with_errors() {
                sum.users_with_errors.get_or_insert_default().add(sketch);
            }
        }
        sum
    }

    /// Only what windows need: all but users.
    pub(in crate::telemetry) fn counts(&self, slot: Slot) -> SlotSum {
        let mut sum = SlotSum::default();
        self.add_counts(slot, &mut sum);
        for cells in self.shards().iter().filter_map(|shard| shard.cells(slot)) {
            for reason in Reason::ALL {
                for (code, count) in cells.codes(reason).into_iter().flat_map(|codes| codes.iter()) {
                    *sum.codes.entry((reason, code)).or_default() += count;
                }
            }
        }
        sum
    }

    /// Latencies of a slot's requests that ended so, and nothing else of it.
    pub fn latencies(&self, slot: Slot, outcome: Outcome) -> BucketCounts {
        let mut sum = BucketCounts::default();
        let cells = self.shards().iter().filter_map(|shard| shard.cells(slot));
        cells.filter_map(|cells| cells.latencies(outcome)).for_each(|latencies| sum.add(latencies));
        sum
    }

    /// How many distinct users slots have had together since the start, about; 0 where nobody has a key.
    pub fn users(&self, slots: &[Slot]) -> u64 {
        let mut users = UserCount::default();
        for slot in slots {
            let cells = self.shards().iter().filter_map(|shard| shard.cells(*slot));
            cells.filter_map(|cells| cells.users()).for_each(|sketch| users.add(sketch));
        }
        users.estimate()
    }

    /// Counts the requests and users of a slot apart from now on, by these rules.
    pub fn watch(&self, slot: Slot, rules: &WatchRules) {
        for shard in self.shards() {
            if rules.slower_than_us.is_some() {
                shard.in_flight.make_room();
            }
            if let Some(cells) = shard.cells(slot) {
                cells.watch.get_or_init(Box::default).start(rules);
            }
        }
    }

    /// Requests are remembered by their trace from now on, where somebody asks for it.
    pub fn remember_traces(&self) {
        self.shards().iter().for_each(|shard| shard.traces.make_room());
    }

    /// The slot and the group of the user of a trace, by its hash; `None` when nobody remembers.
    pub fn traced(&self, trace: u64) -> Option<(Slot, u32)> {
        self.shards().iter().find_map(|shard| shard.traces.find(trace))
    }

    /// Takes the requests of a slot that have been under way for longer than this, in microseconds: tells the group of
    /// each one's user, and each one once.
    pub fn take_overdue(&self, slot: Slot, longer_than_us: u64, tell: &mut impl FnMut(u32)) {
        for shard in self.shards() {
            shard.in_flight.take_overdue(slot, longer_than_us, tell);
        }
    }

    /// Nobody watches a slot any more.
    pub fn unwatch(&self, slot: Slot) {
        for watch in self.shards().iter().filter_map(|shard| shard.cells(slot)?.watch.get()) {
            watch.stop();
        }
    }

    /// What was counted of a slot while it was watched.
    pub fn watched(&self, slot: Slot) -> Watched {
        let mut sum = Watched::default();
        for watch in self.shards().iter().filter_map(|shard| shard.cells(slot)?.watch.get()) {
            watch.add_to(&mut sum);
        }
        sum
    }

    /// Takes the users of a watched slot that were met since the last time: each set, 64 groups at a time.
    pub fn take_users(&self, slot: Slot, tell: &mut impl FnMut(WatchedUsers, usize, u64)) {
        for watch in self.shards().iter().filter_map(|shard| shard.cells(slot)?.watch.get()) {
            watch.take(tell);
        }
    }

    /// What all workers have recorded apart from any slot.
    pub fn totals(&self) -> ShardTotals {
        let mut totals = ShardTotals::default();
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        for shard in self.shards() {
            totals.overhead.add(&shard.overhead);
            for (code, count) in shard.unrouted.iter() {
                *totals.unrouted.entry(code).or_default() += count;
            }
            totals.downstream_opened += read(&shard.downstream_opened);
            totals.downstream_closed += read(&shard.downstream_closed);
            for (sum, count) in totals.downstream_refused.iter_mut().zip(&shard.downstream_refused) {
                *sum += read(count);
            }
            totals.upstream_opened += read(&shard.upstream_opened);
            totals.panics += read(&shard.panics);
        }
        totals
    }

    fn add_counts(&self, slot: Slot, sum: &mut SlotSum) {
        for cells in self.shards().iter().filter_map(|shard| shard.cells(slot)) {
            cells.changes();
            sum.in_flight += cells.in_flight();
            for cause in FallbackCause::ALL {
                sum.fallbacks[cause.index()] += cells.fallbacks(cause);
            }
            for result in RetryResult::ALL {
                sum.retries[result.index()] += cells.retries(result);
            }
            for kind in InjectedKind::ALL {
                sum.injected[kind.index()] += cells.injected(kind);
            }
            for outcome in Outcome::ALL {
                if let Some(latencies) = cells.latencies(outcome) {
                    sum.latencies[outcome.index()].add(latencies);
                }
            }
        }
    }
}

impl SlotSum {
    /// Adds another slot's records.
    pub fn merge(&mut self, other: &SlotSum) {
        self.in_flight += other.in_flight;
        for (key, count) in &other.codes {
            *self.codes.entry(*key).or_default() += count;
        }
        for (own, latencies) in self.latencies.iter_mut().zip(&other.latencies) {
            own.merge(latencies);
        }
        for (own, injected) in self.injected.iter_mut().zip(other.injected) {
            *own += injected;
        }
        for (own, fallbacks) in self.fallbacks.iter_mut().zip(other.fallbacks) {
            *own += fallbacks;
        }
        for (own, retries) in self.retries.iter_mut().zip(other.retries) {
            *own += retries;
        }
        for (own, users) in [(&mut self.users, &other.users), (&mut self.users_with_errors, &other.users_with_errors)] {
            if let Some(users) = users {
                own.get_or_insert_default().merge(users);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Finished, Judged};
    use super::*;
    use crate::model::Failure;
    use std::sync::atomic::AtomicBool;

    fn finished(status: u16, user: u64) -> Finished {
        Finished {
            reason: Reason::Split,
            status,
            outcome: Outcome::of_status(status),
            latency_us: 1_000,
            overhead_us: Some(20),
            user: Some(user),
            judged: Judged::default(),
        }
    }

    #[test]
    fn the_workers_records_add_up() {
        let registry = Registry::new(2, 10_000);
        let slot = registry.slot("shop", "everyone", "canary", Reason::Split);
        let (one, two) = (registry.shard(0), registry.shard(1));
        for status in [200, 503, 999, 0] {
            one.begin(slot);
            one.finish(slot, &finished(status, 7));
        }
        two.begin(slot);
        two.begin(slot);
        two.finish(slot, &finished(200, 8));
        two.fallback(slot, FallbackCause::Resolve, Failure::Connect, Some(9));
        two.unrouted(404);

        let sum = registry.sum(slot);
        let codes: Vec<_> = sum.codes.iter().map(|((_, code), count)| (*code, *count)).collect();
        assert_eq!(codes, [(CODE_NONE, 1), (200, 2), (503, 1), (CODE_OTHER, 1)]);
        assert_eq!((sum.in_flight, sum.fallbacks), (1, [0, 0, 1, 0, 0, 0, 0]));
        assert_eq!(sum.latencies[Outcome::Error.index()].total(), 2);
        assert_eq!(sum.users.unwrap().estimate(), 3);
        assert_eq!(sum.users_with_errors.unwrap().estimate(), 2);
        let totals = registry.totals();
        assert_eq!((totals.overhead.total(), totals.unrouted.get(&404)), (5, Some(&1)));
    }

    #[test]
    fn sums_never_fall_while_the_worker_writes_and_end_exact() {
        const REQUESTS: u64 = 200_000;
        let registry = Registry::new(1, 10_000);
        let slot = registry.slot("shop", "everyone", "canary", Reason::Split);
        let shard = registry.shard(0);
        let done = AtomicBool::new(false);
        let answered = |sum: &SlotSum| sum.latencies[0].total();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for user in 0..REQUESTS {
                    shard.begin(slot);
                    shard.finish(slot, &Finished { latency_us: user, ..finished(200, user) });
                }
                done.store(true, Ordering::Release);
            });
            let mut last = 0;
            while !done.load(Ordering::Acquire) {
                let changes = registry.changes(slot);
                let now = answered(&registry.sum(slot));
                assert!(now >= last && now >= changes && now <= REQUESTS);
                last = now;
            }
        });
        let sum = registry.sum(slot);
        assert_eq!((answered(&sum), sum.codes[&(Reason::Split, 200)], sum.in_flight), (REQUESTS, REQUESTS, 0));
        assert_eq!(registry.changes(slot), REQUESTS);
    }

    /// 1,000 services × 3 cohorts × 2 variants × 2 workers must stay small while nothing happens.
    #[test]
    fn an_idle_slot_is_small() {
        let idle_bytes = size_of::<super::super::cells::SlotCells>() * 6_000 * 2;
        assert!(idle_bytes < 8 << 20, "{idle_bytes} bytes");
    }
}
