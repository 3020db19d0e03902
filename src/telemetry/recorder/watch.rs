//! What a judge of a release is told: requests and users of a slot, counted apart while somebody watches.
//!
//! Requests that do not speak for a variant are left out: those that an override chose, those that stood in for another
//! variant, those whose client went away, and those that Ringway itself failed.

use super::{Finished, add};
use crate::model::{BUCKETS, Bucket, Outcome, Reason};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// How many groups of users are told apart: ten buckets of the assignment share one.
pub const WATCH_GROUPS: u32 = 100_000;

/// How many latencies are told apart.
pub const WATCH_QUANTILES: usize = 5;

/// Words of a set of groups.
const WORDS: usize = (WATCH_GROUPS as usize).div_ceil(64);
const SETS: usize = 3 + WATCH_QUANTILES;

/// What is watched of a slot by one worker. The sets of users, 100 KB, are made by the first request.
#[derive(Debug)]
pub(super) struct WatchCells {
    is_on: AtomicBool,
    blames_rejected: AtomicBool,
    slower_than_us: [AtomicU64; WATCH_QUANTILES],
    finished: AtomicU64,
    errors: AtomicU64,
    timed: AtomicU64,
    slow: [AtomicU64; WATCH_QUANTILES],
    users: OnceLock<Box<[AtomicU64]>>,
}

/// Requests of a slot since it was first watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Those that speak for the variant.
    pub finished: u64,
    /// Bad ones among them.
    pub errors: u64,
    /// The others.
    pub timed: u64,
    /// Slow ones among the others, by threshold.
    pub slow: [u64; WATCH_QUANTILES],
}

/// A set of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchedUsers {
    /// Who had a request that counts.
    Seen,
    /// Who had a bad one.
    Errors,
    /// Who had one that was not bad.
    Timed,
    /// Who had a slow one, by threshold.
    Slow(usize),
}

/// How a slot is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchRules {
    /// Answers of the 4xx class are bad.
    pub blames_rejected: bool,
    /// An answer that took longer, in microseconds, is slow; `None` before that is known.
    pub slower_than_us: Option<[u64; WATCH_QUANTILES]>,
}

impl Default for WatchCells {
    fn default() -> WatchCells {
        WatchCells {
            is_on: AtomicBool::new(false),
            blames_rejected: AtomicBool::new(false),
            slower_than_us: [const { AtomicU64::new(u64::MAX) }; WATCH_QUANTILES],
            finished: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            timed: AtomicU64::new(0),
            slow: [const { AtomicU64::new(0) }; WATCH_QUANTILES],
            users: OnceLock::new(),
        }
    }
}

impl WatchCells {
    pub(super) fn start(&self, rules: &WatchRules) {
        self.blames_rejected.store(rules.blames_rejected, Relaxed);
        for (at, own) in self.slower_than_us.iter().enumerate() {
            own.store(rules.slower_than_us.map_or(u64::MAX, |all| all[at]), Relaxed);
        }
        self.is_on.store(true, Relaxed);
    }

    pub(super) fn stop(&self) {
        self.is_on.store(false, Relaxed);
    }

    pub(super) fn finish(&self, finished: &Finished) {
        let is_bad = match finished.outcome {
            Outcome::Error => true,
            Outcome::Rejected => self.blames_rejected.load(Relaxed),
            Outcome::Success => false,
            Outcome::Cancelled | Outcome::Internal => return,
        };
        if !self.is_on.load(Relaxed) || matches!(finished.reason, Reason::Override | Reason::Fallback) {
            return;
        }
        self.count(is_bad, finished.latency_us, finished.user);
    }

    /// The variant could not serve a request at all.
    pub(super) fn fail(&self, user: Option<u64>) {
        if self.is_on.load(Relaxed) {
            self.count(true, 0, user);
        }
    }

    fn count(&self, is_bad: bool, latency_us: u64, user: Option<u64>) {
        let users = self.users.get_or_init(|| (0..WORDS * SETS).map(|_| AtomicU64::new(0)).collect());
        // who has no key is a user of their own
        let group = group_of(user.unwrap_or_else(|| fastrand::u64(..)));
        add(&self.finished, 1);
        insert(users, WatchedUsers::Seen, group);
        if is_bad {
            add(&self.errors, 1);
            return insert(users, WatchedUsers::Errors, group);
        }
        add(&self.timed, 1);
        insert(users, WatchedUsers::Timed, group);
        for (at, slower_than) in self.slower_than_us.iter().enumerate() {
            if latency_us > slower_than.load(Relaxed) {
                add(&self.slow[at], 1);
                insert(users, WatchedUsers::Slow(at), group);
            }
        }
    }

    /// Bad ones are read first, so that there are never more of them than requests.
    pub(super) fn add_to(&self, sum: &mut Watched) {
        for (sum, own) in sum.slow.iter_mut().zip(&self.slow) {
            *sum += own.load(Relaxed);
        }
        sum.errors += self.errors.load(Relaxed);
        sum.timed += self.timed.load(Relaxed);
        sum.finished += self.finished.load(Relaxed);
    }

    /// Takes the users that were met, 64 groups at a time: the set, the word's number, the word.
    pub(super) fn take(&self, tell: &mut impl FnMut(WatchedUsers, usize, u64)) {
        let Some(users) = self.users.get() else { return };
        for set in WatchedUsers::ALL {
            let words = users.iter().skip(set.index() * WORDS).take(WORDS).enumerate();
            for (number, word) in words.filter(|(_, word)| word.load(Relaxed) != 0) {
                tell(set, number, word.swap(0, Relaxed));
            }
        }
    }
}

impl WatchedUsers {
    const ALL: [WatchedUsers; SETS] = [
        WatchedUsers::Seen,
        WatchedUsers::Errors,
        WatchedUsers::Timed,
        WatchedUsers::Slow(0),
        WatchedUsers::Slow(1),
        WatchedUsers::Slow(2),
        WatchedUsers::Slow(3),
        WatchedUsers::Slow(4),
    ];

    fn index(self) -> usize {
        match self {
            WatchedUsers::Seen => 0,
            WatchedUsers::Errors => 1,
            WatchedUsers::Timed => 2,
            WatchedUsers::Slow(at) => 3 + at.min(WATCH_QUANTILES - 1),
        }
    }
}

fn group_of(hash: u64) -> u32 {
    Bucket::of_hash(hash).number() / (BUCKETS / WATCH_GROUPS)
}

/// One write for each user and second: a bit that is set is left alone.
fn insert(users: &[AtomicU64], set: WatchedUsers, group: u32) {
    let (word, bit) = (set.index() * WORDS + group as usize / 64, 1 << (group % 64));
    if let Some(word) = users.get(word)
        && word.load(Relaxed) & bit == 0
    {
        word.fetch_or(bit, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
    use super::*;

    fn finished(reason: Reason, outcome: Outcome, user: u64) -> Finished {
        Finished { reason, status: 200, outcome, latency_us: 2_000, overhead_us: None, user: Some(user) }
    }

    #[test]
    fn what_speaks_for_the_variant_counts_and_the_rest_does_not() {
        let registry = Registry::new(1, 10_000);
        let slot = registry.slot("shop", "everyone", "canary", Reason::Split);
        let shard = registry.shard(0);
        let request = |reason, outcome, user| {
            shard.begin(slot);
            shard.finish(slot, &finished(reason, outcome, user));
        };
        request(Reason::Split, Outcome::Error, 1);
        assert_eq!(registry.watched(slot), Watched::default(), "nobody watches");
        registry.watch(
            slot,
            &WatchRules { blames_rejected: false, slower_than_us: Some([1_000, 2_000, 3_000, 4_000, 5_000]) },
        );
        request(Reason::Override, Outcome::Error, 1);
        request(Reason::Fallback, Outcome::Error, 1);
        request(Reason::Split, Outcome::Cancelled, 1);
        request(Reason::Split, Outcome::Internal, 1);
        assert_eq!(registry.watched(slot), Watched::default());
        request(Reason::Split, Outcome::Error, u64::MAX);
        request(Reason::Split, Outcome::Error, u64::MAX);
        request(Reason::Split, Outcome::Success, 0);
        request(Reason::Cohort, Outcome::Rejected, 0);
        shard.fallback(slot, crate::model::FallbackCause::Connect, Some(u64::MAX));
        let expected = Watched { finished: 5, errors: 3, timed: 2, slow: [2, 0, 0, 0, 0] };
        assert_eq!(registry.watched(slot), expected);

        let mut met = Vec::new();
        registry.take_users(slot, &mut |set, word, bits| met.push((set, word, bits.count_ones())));
        let last = WORDS - 1;
        let seen = [(WatchedUsers::Seen, 0, 1), (WatchedUsers::Seen, last, 1), (WatchedUsers::Errors, last, 1)];
        assert_eq!(met[..3], seen);
        assert_eq!(met[3..], [(WatchedUsers::Timed, 0, 1), (WatchedUsers::Slow(0), 0, 1)]);
        registry.take_users(slot, &mut |_, _, _| panic!("they were taken"));

        registry.unwatch(slot);
        request(Reason::Split, Outcome::Error, 1);
        assert_eq!(registry.watched(slot), expected);
    }
}
