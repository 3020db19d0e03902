//! What came of copied requests: counts, latencies on both sides, and the last differences.
//!
//! Apart from the recorder of users' requests, so that no copy can ever count for a variant or a release.

use super::recorder::{BucketCounts, Histogram, OTHER};
use arc_swap::ArcSwapOption;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Differences of one mirror that are kept; older ones go.
pub const DIFFERENCES_KEPT: usize = 100;
/// Differences of one mirror that are kept in one second; further ones are counted.
pub const DETAILS_PER_SECOND: u64 = 100;
/// Mirrors that are counted apart in one process; further names are counted together.
pub const MIRRORS_MAX: usize = 256;

/// What came of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorResult {
    /// Nothing that was compared differs.
    Same,
    /// Something differs.
    Different,
    /// No connection, or no whole answer.
    Failed,
    /// No whole answer in time.
    Timeout,
    /// There was no room to keep the copy.
    Dropped,
    /// The request's body is longer than what is copied.
    TooLarge,
    /// The user got no whole answer, so that there is nothing to compare with.
    Unanswered,
}

/// The part of an answer that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The status code.
    Status,
    /// A header field.
    Headers,
    /// The body.
    Body,
}

/// Why two bodies were not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncompared {
    /// One of them is longer than what is kept for it.
    TooLarge,
    /// Too many comparisons wait.
    Busy,
}

/// Two answers to one request that are not the same. Texts are cut and secrets left out by who makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// When the copy was answered, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The request's method.
    pub method: String,
    /// The request's path, without the query.
    pub path: String,
    /// The id that both requests carried.
    pub request_id: String,
    /// The variant that answered the user.
    pub primary: String,
    /// The status codes: of the user's answer and of the copy's.
    pub statuses: (u16, u16),
    /// From the sent request to the head of the answer, in microseconds: of the user's and of the copy's.
    pub latencies_us: (u64, u64),
    /// Which parts differ.
    pub kinds: Vec<DifferenceKind>,
    /// Where they differ.
    pub places: Vec<DifferentPlace>,
}

/// One place at which two answers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DifferentPlace {
    /// Such as `header content-type`, `$.items[0].id` or `byte 17`.
    pub place: String,
    /// What the user's answer has there.
    pub primary: Option<String>,
    /// What the copy's answer has there.
    pub mirror: Option<String>,
}

/// What came of the copies of one service to one variant. Shared by all workers, and outlives reloads.
#[derive(Debug)]
pub struct MirrorRecord {
    service: Arc<str>,
    variant: Arc<str>,
    results: [AtomicU64; MirrorResult::ALL.len()],
    differences: [AtomicU64; DifferenceKind::ALL.len()],
    uncompared: [AtomicU64; Uncompared::ALL.len()],
    latencies: Mutex<Vec<Arc<Latencies>>>,
    began: Instant,
    /// The second since then, times 2^32, and how many differences were kept in it.
    details: AtomicU64,
    /// Counts the differences ever kept; each takes the place of the one that is [`DIFFERENCES_KEPT`] older.
    kept: AtomicU64,
    last: Box<[ArcSwapOption<(u64, Difference)>]>,
}

/// Latencies of one worker's copies, and of the requests that they are copies of.
#[derive(Debug, Default)]
pub struct Latencies {
    primary: Histogram,
    mirror: Histogram,
}

/// All mirrors of a process.
#[derive(Debug, Default)]
pub(super) struct MirrorRecords {
    known: Mutex<Vec<Arc<MirrorRecord>>>,
}

impl MirrorResult {
    /// Each one.
    pub const ALL: [MirrorResult; 7] = [
        MirrorResult::Same,
        MirrorResult::Different,
        MirrorResult::Failed,
        MirrorResult::Timeout,
        MirrorResult::Dropped,
        MirrorResult::TooLarge,
        MirrorResult::Unanswered,
    ];

    /// The word in metrics and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            MirrorResult::Same => "same",
            MirrorResult::Different => "different",
            MirrorResult::Failed => "failed",
            MirrorResult::Timeout => "timeout",
            MirrorResult::Dropped => "dropped",
            MirrorResult::TooLarge => "too_large",
            MirrorResult::Unanswered => "unanswered",
        }
    }
}

impl DifferenceKind {
    /// Each one.
    pub const ALL: [DifferenceKind; 3] = [DifferenceKind::Status, DifferenceKind::Headers, DifferenceKind::Body];

    /// The word in metrics and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            DifferenceKind::Status => "status",
            DifferenceKind::Headers => "headers",
            DifferenceKind::Body => "body",
        }
    }
}

impl Uncompared {
    /// Each one.
    pub const ALL: [Uncompared; 2] = [Uncompared::TooLarge, Uncompared::Busy];

    /// The word in metrics and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Uncompared::TooLarge => "too_large",
            Uncompared::Busy => "busy",
        }
    }
}

impl MirrorRecord {
    fn new(service: &str, variant: &str) -> MirrorRecord {
        MirrorRecord {
            service: service.into(),
            variant: variant.into(),
            results: Default::default(),
            differences: Default::default(),
            uncompared: Default::default(),
            latencies: Mutex::default(),
            began: Instant::now(),
            details: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            last: (0..DIFFERENCES_KEPT).map(|_| ArcSwapOption::empty()).collect(),
        }
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The name of the variant that gets the copies.
    pub fn variant(&self) -> &str {
        &self.variant
    }

    /// Counts what came of a copy.
    pub fn count(&self, result: MirrorResult) {
        self.results[result as usize].fetch_add(1, Relaxed);
    }

    /// Counts two bodies that were not compared.
    pub fn count_uncompared(&self, why: Uncompared) {
        self.uncompared[why as usize].fetch_add(1, Relaxed);
    }

    /// Counts two answers that differ. Waits for nobody.
    pub fn differ(&self, kinds: &[DifferenceKind]) {
        self.count(MirrorResult::Different);
        for kind in kinds {
            self.differences[*kind as usize].fetch_add(1, Relaxed);
        }
    }

    /// Whether the next difference is to be kept: at most [`DETAILS_PER_SECOND`] are, so that a copy which always
    /// differs does not cost much more than one that never does.
    pub fn wants_detail(&self) -> bool {
        let second = self.began.elapsed().as_secs() << 32;
        let count = |known: u64| if known >> 32 << 32 == second { known } else { second };
        let more = |known| Some(count(known) + 1).filter(|next| next - second <= DETAILS_PER_SECOND);
        self.details.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Keeps two answers that differ for inspection. Waits for nobody.
    pub fn keep(&self, difference: Difference) {
        let number = self.kept.fetch_add(1, Relaxed);
        let place = number as usize % DIFFERENCES_KEPT;
        self.last[place].store(Some(Arc::new((number, difference))));
    }

    /// Where a worker records latencies. Each call makes a new place: it is for the worker's start, not for requests.
    pub fn worker(&self) -> Arc<Latencies> {
        let own = Arc::<Latencies>::default();
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(own.clone());
        own
    }

    /// How many copies came to this result.
    pub fn results(&self, result: MirrorResult) -> u64 {
        self.results[result as usize].load(Relaxed)
    }

    /// How many pairs of answers differ in this part.
    pub fn differences(&self, kind: DifferenceKind) -> u64 {
        self.differences[kind as usize].load(Relaxed)
    }

    /// How many pairs of bodies were not compared.
    pub fn uncompared(&self, why: Uncompared) -> u64 {
        self.uncompared[why as usize].load(Relaxed)
    }

    /// Latencies to the head of the answer: of users' requests, and of their copies.
    pub fn latencies(&self) -> (BucketCounts, BucketCounts) {
        let (mut primary, mut mirror) = (BucketCounts::default(), BucketCounts::default());
        for worker in self.latencies.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            primary.add(&worker.primary);
            mirror.add(&worker.mirror);
        }
        (primary, mirror)
    }

    /// The last differences, the newest first.
    pub fn last(&self) -> Vec<Difference> {
        let mut kept: Vec<Arc<(u64, Difference)>> = self.last.iter().filter_map(ArcSwapOption::load_full).collect();
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.0));
        kept.into_iter().map(|kept| kept.1.clone()).collect()
    }
}

impl Latencies {
    /// Records a pair, in microseconds. Only the worker that this was made for may call it.
    pub fn record(&self, primary_us: u64, mirror_us: u64) {
        self.primary.record(primary_us);
        self.mirror.record(mirror_us);
    }
}

impl MirrorRecords {
    pub(super) fn obtain(&self, service: &str, variant: &str) -> Arc<MirrorRecord> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |known: &[Arc<MirrorRecord>], service: &str, variant: &str| {
            known.iter().find(|record| *record.service == *service && *record.variant == *variant).cloned()
        };
        let has_room = known.len() < MIRRORS_MAX - 1;
        let (service, variant) = match find(&known, service, variant) {
            Some(found) => return found,
            None if has_room => (service, variant),
            None => (OTHER, OTHER),
        };
        find(&known, service, variant).unwrap_or_else(|| {
            let new = Arc::new(MirrorRecord::new(service, variant));
            known.push(new.clone());
            new
        })
    }

    pub(super) fn all(&self) -> Vec<Arc<MirrorRecord>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(path: u64) -> Difference {
        let kinds = vec![DifferenceKind::Status, DifferenceKind::Body];
        Difference { path: format!("/{path}"), kinds, ..Difference::default() }
    }

    #[test]
    fn the_last_hundred_are_kept_and_all_are_counted() {
        let record = MirrorRecord::new("shop", "canary");
        assert!(record.last().is_empty());
        for number in 0..250 {
            let difference = difference(number);
            record.differ(&difference.kinds);
            record.keep(difference);
        }
        let last = record.last();
        assert_eq!((last.len(), last[0].path.as_str(), last[99].path.as_str()), (100, "/249", "/150"));
        assert_eq!(record.results(MirrorResult::Different), 250);
        let kinds = DifferenceKind::ALL.map(|kind| record.differences(kind));
        assert_eq!(kinds, [250, 0, 250]);
    }

    #[test]
    fn a_hundred_differences_a_second_are_kept_at_most() {
        let record = MirrorRecord::new("shop", "canary");
        let kept = (0..5_000).filter(|_| record.wants_detail()).count() as u64;
        let seconds = record.began.elapsed().as_secs() + 1;
        assert!((DETAILS_PER_SECOND..=seconds * DETAILS_PER_SECOND).contains(&kept), "{kept} in {seconds} s");
    }

    #[test]
    fn words_stand_at_their_positions() {
        assert!(MirrorResult::ALL.iter().enumerate().all(|(at, result)| *result as usize == at));
        assert!(DifferenceKind::ALL.iter().enumerate().all(|(at, kind)| *kind as usize == at));
        assert!(Uncompared::ALL.iter().enumerate().all(|(at, why)| *why as usize == at));
    }

    #[test]
    fn latencies_of_all_workers_add_up() {
        let record = MirrorRecord::new("shop", "canary");
        let (one, two) = (record.worker(), record.worker());
        one.record(10, 20);
        two.record(30, 40);
        let (primary, mirror) = record.latencies();
        assert_eq!((primary.total(), primary.sum_us(), mirror.sum_us()), (2, 40, 60));
    }

    #[test]
    fn a_flood_of_names_is_counted_together() {
        let records = MirrorRecords::default();
        for number in 0..2 * MIRRORS_MAX {
            records.obtain("shop", &number.to_string());
        }
        assert_eq!(records.all().len(), MIRRORS_MAX);
        assert_eq!(records.obtain("shop", "one more").variant(), OTHER);
        assert!(Arc::ptr_eq(&records.obtain("shop", "7"), &records.obtain("shop", "7")));
    }
}
