use super::sum::{CODE_NONE, CODE_OTHER};
use super::watch::WatchCells;
use super::{Finished, Histogram, Sketch, add, zeroed};
use crate::model::{Failure, FallbackCause, InjectedKind, Outcome, Reason, RetryResult};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What one worker has recorded for one slot. About 300 bytes until the first request.
#[derive(Debug)]
pub(super) struct SlotCells {
    /// Grows with each record, last and with release, so that a reader that has seen it sees the whole record.
    changes: AtomicU64,
    in_flight: AtomicU64,
    fallbacks: [AtomicU64; FallbackCause::ALL.len()],
    retries: [AtomicU64; RetryResult::ALL.len()],
    injected: [AtomicU64; InjectedKind::ALL.len()],
    codes: [OnceLock<Box<CodeCells>>; Reason::ALL.len()],
    latencies: [OnceLock<Box<Histogram>>; Outcome::ALL.len()],
    users: OnceLock<Box<Sketch>>,
    users_with_errors: OnceLock<Box<Sketch>>,
    pub(super) watch: OnceLock<Box<WatchCells>>,
}

/// Counts by status code; a page for each class of codes that occurs.
#[derive(Debug, Default)]
pub(super) struct CodeCells {
    none: AtomicU64,
    other: AtomicU64,
    classes: [OnceLock<Box<[AtomicU64; 100]>>; 5],
}

impl SlotCells {
    pub(super) const fn new() -> SlotCells {
        SlotCells {
            changes: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            fallbacks: [const { AtomicU64::new(0) }; FallbackCause::ALL.len()],
            retries: [const { AtomicU64::new(0) }; RetryResult::ALL.len()],
            injected: [const { AtomicU64::new(0) }; InjectedKind::ALL.len()],
            codes: [const { OnceLock::new() }; Reason::ALL.len()],
            latencies: [const { OnceLock::new() }; Outcome::ALL.len()],
            users: OnceLock::new(),
            users_with_errors: OnceLock::new(),
            watch: OnceLock::new(),
        }
    }

    pub(super) fn begin(&self) {
        add(&self.in_flight, 1);
    }

    pub(super) fn abandon(&self) {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        self.in_flight.store(in_flight.saturating_sub(1), Ordering::Relaxed);
    }

    pub(super) fn finish(&self, finished: &Finished) {
        self.abandon();
        self.codes[finished.reason.index()].get_or_init(Box::default).count(finished.status);
        self.latencies[finished.outcome.index()].get_or_init(Box::default).record(finished.latency_us);
        self.expose(finished.user, finished.outcome == Outcome::Error);
        if let Some(watch) = self.watch.get() {
            watch.finish(finished);
        }
        self.changed();
    }

    pub(super) fn fallback(&self, cause: FallbackCause, failure: Failure, user: Option<u64>) {
        add(&self.fallbacks[cause.index()], 1);
        self.expose(user, true);
        if let Some(watch) = self.watch.get() {
            watch.fail(failure, user);
        }
        self.changed();
    }

    pub(super) fn retried(&self, result: RetryResult) {
        add(&self.retries[result.index()], 1);
        self.changed();
    }

    pub(super) fn retries(&self, result: RetryResult) -> u64 {
        self.retries[result.index()].load(Ordering::Relaxed)
    }

    pub(super) fn fault_injected(&self, kind: InjectedKind) {
        add(&self.injected[kind.index()], 1);
    }

    fn expose(&self, user: Option<u64>, with_error: bool) {
        let Some(user) = user else { return };
        self.users.get_or_init(Box::default).insert(user);
        if with_error {
            self.users_with_errors.get_or_init(Box::default).insert(user);
        }
    }

    fn changed(&self) {
        self.changes.store(self.changes.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// How many records there are. What is read afterwards holds at least those.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn fallbacks(&self, cause: FallbackCause) -> u64 {
        self.fallbacks[cause.index()].load(Ordering::Relaxed)
    }

    pub(super) fn injected(&self, kind: InjectedKind) -> u64 {
        self.injected[kind.index()].load(Ordering::Relaxed)
    }

    pub(super) fn codes(&self, reason: Reason) -> Option<&CodeCells> {
        self.codes[reason.index()].get().map(Box::as_ref)
    }

    pub(super) fn latencies(&self, outcome: Outcome) -> Option<&Histogram> {
        self.latencies[outcome.index()].get().map(Box::as_ref)
    }

    pub(super) fn users(&self) -> Option<&Sketch> {
        self.users.get().map(Box::as_ref)
    }

    pub(super) fn users_with_errors(&self) -> Option<&Sketch> {
        self.users_with_errors.get().map(Box::as_ref)
    }
}

impl CodeCells {
    pub(super) fn count(&self, status: u16) {
        let count = match status {
            CODE_NONE => &self.none,
            100..600 => {
                let class = self.classes[usize::from(status / 100) - 1].get_or_init(zeroed);
                &class[usize::from(status % 100)]
            }
            _ => &self.other,
        };
        add(count, 1);
    }

    /// The codes that occurred, with their counts: ascending, but for [`CODE_OTHER`], which is second.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        let special = [(CODE_NONE, &self.none), (CODE_OTHER, &self.other)].into_iter();
        let classes = (1u16..).zip(&self.classes).filter_map(|(class, page)| Some((class, page.get()?)));
        let codes = classes.flat_map(|(class, page)| (class * 100..).zip(page.iter()));
        special.chain(codes).map(|(code, count)| (code, count.load(Ordering::Relaxed))).filter(|(_, n)| *n > 0)
    }
}
