//! How often something may happen, for each of many keys, counted by all workers together and without a lock.
//!
//! The generic cell rate algorithm (ITU-T I.371) needs one number for each key: the theoretical arrival time (TAT) of the
//! next request. It lives in an atomic; the workers agree by compare-and-swap. Keys live in a table of fixed size, in
//! sets of four; a new key takes the place of the one in its set that has the most of its quota left, which for most
//! keys is all of it, so that nothing is lost. A map that grows (as in `governor`) would need locks and a limit of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a limiter allows. Two limits with the same spec and owner are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LimitSpec {
    /// Whose limit it is.
    pub owner: String,
    /// So many requests ..
    pub requests: u32,
    /// .. in this time.
    pub per: Duration,
    /// So many at once.
    pub burst: u32,
    /// The most keys that are told apart; 1 when all requests count together.
    pub keys_max: usize,
}

/// How often something may happen, for each of many keys.
#[derive(Debug)]
pub struct Limiter {
    spec: LimitSpec,
    epoch: Instant,
    interval_ns: u64,
    secret: (u64, u64),
    sets: Box<[Set]>,
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// It may pass.
    pub is_allowed: bool,
    /// How many more may pass right now.
    pub remaining: u32,
    /// Until the key has all of its quota again.
    pub full_after: Duration,
    /// Until the next one may pass; zero when one may right now.
    pub retry_after: Duration,
}

/// Keys that share a place in the table: one line of the cache.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([Way; WAYS]);

#[derive(Debug, Default)]
struct Way {
    /// The hash of the key; 0 when nobody is here.
    tag: AtomicU64,
    /// Nanoseconds since the epoch.
    tat: AtomicU64,
}

const WAYS: usize = 4;

/// How often a place for a new key is tried when other workers take places in the same set.
const ATTEMPTS: usize = 8;

impl Limiter {
    /// A limiter with a full quota for every key.
    pub fn new(spec: LimitSpec) -> Limiter {
        let interval_ns = (spec.per.as_nanos() / u128::from(spec.requests.max(1))).clamp(1, 1 << 56) as u64;
        let sets = spec.keys_max.div_ceil(WAYS).max(1).next_power_of_two();
        let secret = (random(), random());
        Limiter { interval_ns, secret, epoch: Instant::now(), sets: (0..sets).map(|_| Set::default()).collect(), spec }
    }

    /// What it allows.
    pub fn spec(&self) -> &LimitSpec {
        &self.spec
    }

    /// The key of the hash of keys: drawn at random, so that nobody outside can compute it.
    pub fn secret(&self) -> (u64, u64) {
        self.secret
    }

    /// The bytes that its table takes, whatever the number of keys.
    pub fn bytes(&self) -> usize {
        self.sets.len() * size_of::<Set>()
    }

    /// Counts a request of a key, given by a hash that nobody outside can compute.
    pub fn take(&self, key: u64, now: Instant) -> Taken {
        let now_ns = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        let most_ns = self.interval_ns.saturating_mul(u64::from(self.spec.burst.max(1)));
        let next = |tat: u64| tat.max(now_ns).saturating_add(self.interval_ns);
        let is_within = |tat: u64| next(tat) - now_ns <= most_ns;
        let cell = self.cell(key, now_ns);
        // each failed swap is another worker's success
        let swapped = cell.fetch_update(Ordering::AcqRel, Ordering::Acquire, |tat| is_within(tat).then(|| next(tat)));
        let (is_allowed, tat) = match swapped {
            Ok(before) => (true, next(before)),
            Err(before) => (false, before.max(now_ns)),
        };
        let used_ns = tat - now_ns;
        let wait_ns = (used_ns + self.interval_ns).saturating_sub(most_ns);
        Taken {
            is_allowed,
            remaining: u32::try_from(most_ns.saturating_sub(used_ns) / self.interval_ns).unwrap_or(u32::MAX),
            full_after: Duration::from_nanos(used_ns),
            retry_after: Duration::from_nanos(wait_ns),
        }
    }

    /// The cell of a key, which may have been another's until now.
    fn cell(&self, key: u64, now_ns: u64) -> &AtomicU64 {
        let tag = key | 1;
        let Set(ways) = &self.sets[(key >> 32) as usize & (self.sets.len() - 1)];
        for _ in 0..ATTEMPTS {
            if let Some(way) = ways.iter().find(|way| way.tag.load(Ordering::Acquire) == tag) {
                return &way.tat;
            }
            let mut victim = (&ways[0], 0, u64::MAX);
            for way in ways {
                let (owner, tat) = (way.tag.load(Ordering::Acquire), way.tat.load(Ordering::Acquire));
                if tat < victim.2 {
                    victim = (way, owner, tat);
                }
            }
            let (way, owner, _) = victim;
            if way.tag.compare_exchange(owner, tag, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                way.tat.store(now_ns, Ordering::Release);
                return &way.tat;
            }
        }
        // others are filling this set at this very moment: counted with one of them, rather than not at all
        &ways[key as usize % WAYS].tat
    }
}

fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| fastrand::u64(..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn limiter(requests: u32, per_ms: u64, burst: u32, keys_max: usize) -> Limiter {
        let per = Duration::from_millis(per_ms);
        Limiter::new(LimitSpec { owner: "test".to_owned(), requests, per, burst, keys_max })
    }

    fn hash(number: u64) -> u64 {
        number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = limiter(10, 1000, 5, 16);
        let start = limiter.epoch;
        let at = |ms: u64| limiter.take(7, start + Duration::from_millis(ms));
        for remaining in [4, 3, 2, 1, 0] {
            assert_eq!((at(0).is_allowed, remaining), (true, remaining));
        }
        let refused = at(0);
        assert_eq!((refused.is_allowed, refused.remaining), (false, 0));
        assert_eq!(refused.retry_after, Duration::from_millis(100));
        assert_eq!(refused.full_after, Duration::from_millis(500));
        assert!(!at(99).is_allowed);
        assert!(at(100).is_allowed);
        assert!(!at(100).is_allowed);
        // nobody saves up more than a burst
        assert_eq!((0..100).filter(|_| at(60_000).is_allowed).count(), 5);
        assert!(limiter.take(9, start).is_allowed, "another key has a quota of its own");
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_allows_no_more() {
        let limiter = limiter(1000, 1000, 3, 1);
        let late = limiter.epoch + Duration::from_secs(9);
        assert_eq!((0..10).filter(|_| limiter.take(0, late).is_allowed).count(), 3);
        assert_eq!((0..10).filter(|_| limiter.take(0, limiter.epoch).is_allowed).count(), 0);
    }

    /// A million keys once each: the table keeps its size, and a key at its limit keeps its count meanwhile.
    #[test]
    fn a_flood_of_keys_takes_no_memory_and_frees_nobody() {
        let limiter = limiter(10, 10_000, 10, 65_536);
        let bytes = limiter.bytes();
        assert_eq!(bytes, 1 << 20);
        let now = limiter.epoch + Duration::from_secs(1);
        let busy = hash(u64::MAX / 3);
        assert_eq!((0..20).filter(|_| limiter.take(busy, now).is_allowed).count(), 10);
        let mut refused_new = 0;
        for number in 0..1_000_000 {
            refused_new += u32::from(!limiter.take(hash(number), now).is_allowed);
            if number % 10_000 == 0 {
                assert!(!limiter.take(busy, now).is_allowed, "after {number} others");
            }
        }
        assert_eq!((refused_new, limiter.bytes()), (0, bytes));
    }

    #[test]
    fn keys_are_told_apart_until_the_table_is_full() {
        let limiter = limiter(1, 60_000, 2, 4096);
        let now = limiter.epoch;
        let mut passed: HashMap<u64, u32> = HashMap::new();
        for _ in 0..5 {
            for number in 0..512 {
                *passed.entry(number).or_default() += u32::from(limiter.take(hash(number), now).is_allowed);
            }
        }
        assert!(passed.values().all(|count| *count == 2), "{passed:?}");
    }

    /// Many threads on few keys pass exactly as many as one thread would.
    #[test]
    fn threads_count_together() {
        let limiter = limiter(1, 3_600_000, 1_000, 64);
        let now = limiter.epoch;
        for key in [hash(1), hash(2)] {
            limiter.take(key, now);
        }
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let try_both = |_| [hash(1), hash(2)].map(|key| limiter.take(key, now).is_allowed);
                        (0..2_000).flat_map(try_both).filter(|is_allowed| *is_allowed).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 2 * 999);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        /// Within any time the limit passes at most a burst and the rate.
        #[test]
        fn no_more_than_burst_and_rate(
            requests in 1u32..200, burst in 1u32..50, steps in proptest::collection::vec(0u64..50_000, 1..400),
        ) {
            let limiter = limiter(requests, 1000, burst, 1);
            let (mut now_us, mut passed) = (0, 0u64);
            for step in steps {
                now_us += step;
                passed += u64::from(limiter.take(0, limiter.epoch + Duration::from_micros(now_us)).is_allowed);
                let most = u64::from(burst) + now_us * u64::from(requests) / 1_000_000 + 1;
                proptest::prop_assert!(passed <= most, "{passed} of {most} in {now_us}us");
            }
        }
    }
}
