use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::endpoint::milliseconds;

/// How many requests of a variant were sent, and sent again, in the last ten seconds, by all workers.
///
/// It bounds what retries add to the load of a variant that is in trouble already: whatever fails, at most a share of
/// the requests is sent again. By requests and not by those in flight, because errors come fast.
#[derive(Debug, Default)]
pub struct RetryBudget {
    seconds: [AtomicU64; WINDOW_SECONDS as usize],
}

/// How many requests may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryShare {
    /// In millionths of the requests.
    pub ppm: u32,
    /// So many in any case.
    pub min: u32,
}

/// How far back requests count.
const WINDOW_SECONDS: u64 = 10;

/// What happened in one second, in one word: 20 bits of the second, 24 of requests, 20 of retries.
#[derive(Clone, Copy)]
struct Second {
    at: u64,
    requests: u64,
    retries: u64,
}

const AT_BITS: u32 = 20;
const REQUEST_BITS: u32 = 24;
const RETRY_BITS: u32 = 20;

impl RetryBudget {
    /// A request is sent for the first time.
    pub fn note_request(&self, now: Instant) {
        self.change(now, |second| second.requests += 1);
    }

    /// True when a request may be sent again; it counts from then on.
    pub fn spend(&self, share: RetryShare, now: Instant) -> bool {
        let (requests, retries) = self.sum(now);
        let most = (requests.saturating_mul(u64::from(share.ppm)) / 1_000_000).max(u64::from(share.min));
        let may = retries < most;
        if may {
            self.change(now, |second| second.retries += 1);
        }
        may
    }

    fn sum(&self, now: Instant) -> (u64, u64) {
        let at = second_of(now);
        let seconds = self.seconds.iter().map(|word| Second::unpack(word.load(Relaxed)));
        let recent = seconds.filter(|second| at.wrapping_sub(second.at) & mask(AT_BITS) < WINDOW_SECONDS);
        recent.fold((0, 0), |(requests, retries), second| (requests + second.requests, retries + second.retries))
    }

    fn change(&self, now: Instant, change: impl Fn(&mut Second)) {
        let at = second_of(now);
        let word = &self.seconds[((milliseconds(now) / 1000) % WINDOW_SECONDS) as usize];
        let next = |packed: u64| {
            let mut second = Second::unpack(packed);
            if second.at != at {
                second = Second { at, requests: 0, retries: 0 };
            }
            change(&mut second);
            Some(second.pack())
        };
        // it always succeeds: `next` never refuses
        let _ = word.fetch_update(Relaxed, Relaxed, next);
    }
}

impl Second {
    fn unpack(word: u64) -> Second {
        Second {
            at: word >> (REQUEST_BITS + RETRY_BITS),
            requests: (word >> RETRY_BITS) & mask(REQUEST_BITS),
            retries: word & mask(RETRY_BITS),
        }
    }

    fn pack(self) -> u64 {
        let requests = self.requests.min(mask(REQUEST_BITS));
        let retries = self.retries.min(mask(RETRY_BITS));
        (self.at << (REQUEST_BITS + RETRY_BITS)) | (requests << RETRY_BITS) | retries
    }
}

/// The second, as far as it is kept: it comes again after twelve days.
fn second_of(now: Instant) -> u64 {
    (milliseconds(now) / 1000) & mask(AT_BITS)
}

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const SHARE: RetryShare = RetryShare { ppm: 200_000, min: 3 };

    #[test]
    fn a_quiet_service_may_try_again_a_few_times() {
        let (budget, now) = (RetryBudget::default(), Instant::now());
        let spent = |now| (0..10).filter(|_| budget.spend(SHARE, now)).count();
        budget.note_request(now);
        assert_eq!(spent(now), 3);
        assert_eq!(spent(now + Duration::from_secs(9)), 0, "within ten seconds");
        assert_eq!(spent(now + Duration::from_secs(10)), 3);
        assert_eq!(spent(now + Duration::from_secs(1_000_000)), 3);
    }

    /// Looking and spending are two looks at the budget, so that each worker may spend one too many, and no more.
    #[test]
    fn threads_overspend_by_no_more_than_one_each() {
        const THREADS: usize = 8;
        for round in 0..200u64 {
            let (budget, now) = (RetryBudget::default(), Instant::now() + Duration::from_secs(60 * round));
            (0..100).for_each(|_| budget.note_request(now));
            let spent: usize = std::thread::scope(|scope| {
                let spend = || (0..50).filter(|_| budget.spend(SHARE, now)).count();
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(spend)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert!((20..20 + THREADS).contains(&spent), "round {round}: {spent} of 20");
        }
    }

    proptest! {
        /// However requests come and all of them fail: at most a fifth of them is sent again, or three in ten seconds
        /// in which there were too few.
        #[test]
        fn retries_stay_within_their_share(gaps in proptest::collection::vec(0u64..500, 1..2_000)) {
            let budget = RetryBudget::default();
            let (mut now, mut times): (_, Vec<Instant>) = (Instant::now(), Vec::new());
            let began = now;
            for gap in &gaps {
                now += Duration::from_millis(*gap);
                budget.note_request(now);
                if budget.spend(SHARE, now) {
                    times.push(now);
                }
            }
            let windows = (now - began).as_secs() / WINDOW_SECONDS + 2;
            let most = gaps.len() as u64 / 5 + 3 * windows;
            prop_assert!(times.len() as u64 <= most, "{} of {} in {} windows", times.len(), gaps.len(), windows);
            prop_assert!(times.len() >= gaps.len().min(3));
        }
    }
}
