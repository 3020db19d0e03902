//! What a judge of a release is told: requests and users of a slot, counted apart while somebody watches.
//!
//! Requests that do not speak for a variant are left out: those that an override chose, those that stood in for another
//! variant, those whose client went away, and those that Ringway itself failed.

use super::watched_outcomes::{OUTCOMES_MAX, OutcomeCells, OutcomeCount};
use super::{Finished, add};
use crate::model::{BUCKETS, Bucket, Failure, Outcome, Reason};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

/// How many groups of users are told apart: ten buckets of the assignment share one.
pub const WATCH_GROUPS: u32 = 100_000;

/// How many latencies are told apart.
pub const WATCH_QUANTILES: usize = 5;

/// Words of a set of groups.
pub(super) const WORDS: usize = (WATCH_GROUPS as usize).div_ceil(64);
const SETS: usize = 3 + WATCH_QUANTILES;

/// What is watched of a slot by one worker. The sets of users, 100 KB, are made by the first request.
#[derive(Debug)]
pub(super) struct WatchCells {
    is_on: AtomicBool,
    blames: AtomicU8,
    is_timed: AtomicBool,
    slower_than_us: [AtomicU64; WATCH_QUANTILES],
    finished: AtomicU64,
    errors: AtomicU64,
    timed: AtomicU64,
    slow: [AtomicU64; WATCH_QUANTILES],
    users: OnceLock<Box<[AtomicU64]>>,
    outcomes: OutcomeCells,
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
    /// What the business counts, among the successful ones.
    pub outcomes: [OutcomeCount; OUTCOMES_MAX],
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
    /// Who had a request that could have this outcome.
    Eligible(usize),
    /// Who had the outcome.
    Happened(usize),
}

/// The ways to fail that are held against a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blames(u8);

/// How a slot is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchRules {
    /// What is bad.
    pub blames: Blames,
    /// An answer that took longer, in microseconds, is slow; `None` before that is known.
    pub slower_than_us: Option<[u64; WATCH_QUANTILES]>,
}

impl Default for WatchCells {
    fn default() -> WatchCells {
        WatchCells {
            is_on: AtomicBool::new(false),
            blames: AtomicU8::new(0),
            is_timed: AtomicBool::new(false),
            slower_than_us: [const { AtomicU64::new(u64::MAX) }; WATCH_QUANTILES],
            finished: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            timed: AtomicU64::new(0),
            slow: [const { AtomicU64::new(0) }; WATCH_QUANTILES],
            users: OnceLock::new(),
            outcomes: OutcomeCells::default(),
        }
    }
}

/// All but 4xx: nobody's version is blamed for what clients do.
impl Default for Blames {
    fn default() -> Blames {
        Blames::of([Failure::Status5xx, Failure::Reset, Failure::Timeout, Failure::Connect])
    }
}

impl Blames {
    /// Those.
    pub fn of(failures: impl IntoIterator<Item = Failure>) -> Blames {
        Blames(failures.into_iter().fold(0, |bits, failure| bits | 1 << failure as u8))
    }

    /// Whether this one is.
    pub fn has(self, failure: Failure) -> bool {
        self.0 >> (failure as u8) & 1 == 1
    }
}

impl WatchCells {
    pub(super) fn start(&self, rules: &WatchRules) {
        self.blames.store(rules.blames.0, Relaxed);
        for (at, own) in self.slower_than_us.iter().enumerate() {
            own.store(rules.slower_than_us.map_or(u64::MAX, |all| all[at]), Relaxed);
        }
        self.is_timed.store(rules.slower_than_us.is_some(), Relaxed);
        self.is_on.store(true, Relaxed);
    }

    pub(super) fn stop(&self) {
        self.is_on.store(false, Relaxed);
    }

    /// True when somebody wants to hear of a request that hangs.
    pub(super) fn is_timed(&self, reason: Reason) -> bool {
        self.is_on.load(Relaxed) && self.is_timed.load(Relaxed) && speaks(reason)
    }

    pub(super) fn finish(&self, finished: &Finished) {
        let blames = Blames(self.blames.load(Relaxed));
        // fast errors do not flatter, whether or not they are held against the variant
        let (is_bad, is_timed) = match finished.outcome {
            Outcome::Error => (blames.has(finished.judged.failure), false),
            Outcome::Rejected if blames.has(Failure::Status4xx) => (true, false),
            Outcome::Rejected | Outcome::Success => (false, true),
            Outcome::Cancelled | Outcome::Internal => return,
        };
        if !self.is_on.load(Relaxed) || !speaks(finished.reason) {
            return;
        }
        let group = group_of_user(finished.user);
        self.count(is_bad, group);
        if is_timed && !finished.judged.was_overdue {
            self.time(finished.latency_us, group);
        }
        if finished.outcome == Outcome::Success {
            self.outcomes.count(finished.judged.outcomes, group);
        }
    }

    /// The variant could not serve a request at all.
    pub(super) fn fail(&self, failure: Failure, user: Option<u64>) {
        if self.is_on.load(Relaxed) {
            self.count(Blames(self.blames.load(Relaxed)).has(failure), group_of_user(user));
        }
    }

    fn sets(&self) -> &[AtomicU64] {
        self.users.get_or_init(|| (0..WORDS * SETS).map(|_| AtomicU64::new(0)).collect())
    }

    fn count(&self, is_bad: bool, group: u32) {
        add(&self.finished, 1);
        insert(self.sets(), WatchedUsers::Seen, group);
        if is_bad {
            add(&self.errors, 1);
            insert(self.sets(), WatchedUsers::Errors, group);
        }
    }

    fn time(&self, latency_us: u64, group: u32) {
        let users = self.sets();
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
        self.outcomes.add_to(&mut sum.outcomes);
    }

    /// Takes the users that were met, 64 groups at a time: the set, the word's number, the word.
    pub(super) fn take(&self, tell: &mut impl FnMut(WatchedUsers, usize, u64)) {
        let users = self.users.get().map(AsRef::as_ref).unwrap_or_default();
        for set in WatchedUsers::ALL {
            let words = users.iter().skip(set.index() * WORDS).take(WORDS).enumerate();
            for (number, word) in words.filter(|(_, word)| word.load(Relaxed) != 0) {
                tell(set, number, word.swap(0, Relaxed));
            }
        }
        self.outcomes.take(tell);
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
            // they have sets of their own
            WatchedUsers::Eligible(_) | WatchedUsers::Happened(_) => SETS,
        }
    }
}

/// Requests that an override chose, and those that stood in for another variant, do not speak for it.
fn speaks(reason: Reason) -> bool {
    !matches!(reason, Reason::Override | Reason::Fallback)
}

/// Who has no key is a user of their own.
pub(super) fn group_of_user(user: Option<u64>) -> u32 {
    Bucket::of_hash(user.unwrap_or_else(|| fastrand::u64(..))).number() / (BUCKETS / WATCH_GROUPS)
}

fn insert(users: &[AtomicU64], set: WatchedUsers, group: u32) {
    insert_word_bit(users, set.index() * WORDS, group);
}

/// One write for each user and second: a bit that is set is left alone.
pub(super) fn insert_word_bit(users: &[AtomicU64], from: usize, group: u32) {
    let (word, bit) = (from + group as usize / 64, 1 << (group % 64));
    if let Some(word) = users.get(word)
        && word.load(Relaxed) & bit == 0
    {
        word.fetch_or(bit, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Judged, OutcomeBits, Registry};
    use super::*;

    fn finished(reason: Reason, outcome: Outcome, user: u64) -> Finished {
        let judged = Judged::default();
        Finished { reason, status: 200, outcome, latency_us: 2_000, overhead_us: None, user: Some(user), judged }
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
        let slower_than_us = Some([1_000, 2_000, 3_000, 4_000, 5_000]);
        registry.watch(slot, &WatchRules { slower_than_us, ..WatchRules::default() });
        request(Reason::Override, Outcome::Error, 1);
        request(Reason::Fallback, Outcome::Error, 1);
        request(Reason::Split, Outcome::Cancelled, 1);
        request(Reason::Split, Outcome::Internal, 1);
        assert_eq!(registry.watched(slot), Watched::default());
        request(Reason::Split, Outcome::Error, u64::MAX);
        request(Reason::Split, Outcome::Error, u64::MAX);
        request(Reason::Split, Outcome::Success, 0);
        request(Reason::Cohort, Outcome::Rejected, 0);
        shard.fallback(slot, crate::model::FallbackCause::Connect, Failure::Connect, Some(u64::MAX));
        let expected = Watched { finished: 5, errors: 3, timed: 2, slow: [2, 0, 0, 0, 0], ..Watched::default() };
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
    #[test]
    fn each_way_to_fail_is_held_against_it_only_where_the_file_says_so() {
        let all = [Failure::Status5xx, Failure::Status4xx, Failure::Reset, Failure::Timeout, Failure::Connect];
        for blamed in all {
            let registry = Registry::new(1, 10_000);
            let slot = registry.slot("shop", "everyone", "canary", Reason::Split);
            let shard = registry.shard(0);
            registry.watch(slot, &WatchRules { blames: Blames::of([blamed]), slower_than_us: None });
            for failure in all {
                let outcome = if failure == Failure::Status4xx { Outcome::Rejected } else { Outcome::Error };
                let judged = Judged { failure, ..Judged::default() };
                shard.begin(slot);
                shard.finish(slot, &Finished { judged, ..finished(Reason::Split, outcome, 1) });
            }
            shard.fallback(slot, crate::model::FallbackCause::Connect, Failure::Connect, None);
            let watched = registry.watched(slot);
            let errors = if blamed == Failure::Connect { 2 } else { 1 };
            let timed = u64::from(blamed != Failure::Status4xx);
            assert_eq!((watched.finished, watched.errors, watched.timed), (6, errors, timed), "{blamed:?}");
        }
    }

    #[test]
    fn outcomes_are_counted_among_successful_requests_and_hanging_ones_once() {
        let registry = Registry::new(1, 10_000);
        let slot = registry.slot("shop", "everyone", "canary", Reason::Split);
        let shard = registry.shard(0);
        registry.watch(slot, &WatchRules { slower_than_us: Some([1_000; WATCH_QUANTILES]), ..WatchRules::default() });
        let started = std::time::Instant::now();
        let tracked = shard.track(slot, Reason::Split, Some(1), started).unwrap();
        assert!(shard.track(slot, Reason::Override, Some(1), started).is_none());
        let mut met = 0;
        while met == 0 {
            registry.take_overdue(slot, 10, &mut |_| met += 1);
        }
        let judged = |was_overdue| Judged {
            was_overdue,
            outcomes: OutcomeBits { eligible: 1, happened: 1 },
            ..Judged::default()
        };
        for (outcome, was_overdue) in
            [(Outcome::Success, shard.untrack(tracked)), (Outcome::Rejected, false), (Outcome::Error, false)]
        {
            shard.begin(slot);
            let judged = judged(was_overdue);
            shard.finish(slot, &Finished { judged, ..finished(Reason::Split, outcome, 1) });
        }
        let watched = registry.watched(slot);
        assert_eq!((watched.outcomes[0].events, watched.outcomes[0].of), (1, 1));
        assert_eq!((watched.finished, watched.timed, met), (3, 1, 1), "the overdue one was timed before");
    }
}
