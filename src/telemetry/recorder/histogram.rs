use super::{add, zeroed};
use crate::model::{LATENCY_MAX_US, LATENCY_MIN_US};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets in one page, which is also how many there are between a power of two and the next.
const PAGE: usize = 128;
const PAGES: usize = HISTOGRAM_BUCKETS / PAGE;

/// How many buckets a histogram has.
pub const HISTOGRAM_BUCKETS: usize = 2560;

/// Latencies in log-linear buckets: exact below 256 µs, and from there 128 buckets for each doubling, so that a
/// bucket is at most 0.8 % wide and its midpoint at most 0.4 % off.
///
/// The buckets are those of an HDR histogram with two significant digits (Gil Tene, hdrhistogram.org). Pages of buckets are allocated when first used:
/// latencies of one variant spread over few doublings. One writer, any number of readers.
#[derive(Debug, Default)]
pub struct Histogram {
    pages: [OnceLock<Box<[AtomicU64; PAGE]>>; PAGES],
    sum_us: AtomicU64,
}

/// A sum of histograms, owned by one thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketCounts {
    pages: [Option<Box<[u64; PAGE]>>; PAGES],
    sum_us: u64,
}

impl Histogram {
    /// Counts one latency, in microseconds; what is outside of 1 µs to 60 s counts as the nearest end.
    pub fn record(&self, latency_us: u64) {
        let bucket = bucket_of(latency_us);
        let page = self.pages[bucket / PAGE].get_or_init(zeroed);
        add(&page[bucket % PAGE], 1);
        add(&self.sum_us, latency_us.clamp(LATENCY_MIN_US, LATENCY_MAX_US));
    }
}

impl BucketCounts {
    /// Adds what a histogram holds now.
    pub fn add(&mut self, histogram: &Histogram) {
        for (own, page) in self.pages.iter_mut().zip(&histogram.pages) {
            let Some(page) = page.get() else { continue };
            let own = own.get_or_insert_with(|| Box::new([0; PAGE]));
            for (own, count) in own.iter_mut().zip(page.iter()) {
                *own += count.load(Ordering::Relaxed);
            }
        }
        self.sum_us = self.sum_us.wrapping_add(histogram.sum_us.load(Ordering::Relaxed));
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &BucketCounts) {
        for (bucket, count) in other.iter() {
            self.add_count(bucket, count);
        }
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
    }

    /// Buckets that hold something, ascending, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u64)> {
        let pages = self.pages.iter().enumerate().filter_map(|(at, page)| Some((at, page.as_ref()?)));
        pages
            .flat_map(|(at, page)| page.iter().enumerate().map(move |(within, count)| (at * PAGE + within, *count)))
            .filter(|(_, count)| *count > 0)
    }

    /// What came on top of `earlier`: buckets, ascending, with how much they grew.
    pub fn since(&self, earlier: &BucketCounts) -> impl Iterator<Item = (usize, u64)> {
        self.iter().map(|(bucket, count)| (bucket, count - earlier.count(bucket).min(count))).filter(|(_, n)| *n > 0)
    }

    /// The number of latencies counted.
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    /// The sum of all latencies, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    fn count(&self, bucket: usize) -> u64 {
        self.pages[bucket / PAGE].as_ref().map_or(0, |page| page[bucket % PAGE])
    }

    fn add_count(&mut self, bucket: usize, count: u64) {
        self.pages[bucket / PAGE].get_or_insert_with(|| Box::new([0; PAGE]))[bucket % PAGE] += count;
    }
}

/// The bucket that a latency falls into.
pub fn bucket_of(latency_us: u64) -> usize {
    let value = latency_us.clamp(LATENCY_MIN_US, LATENCY_MAX_US);
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(8);
    ((shift as usize) << 7) + (value >> shift) as usize
}

/// The smallest latency of a bucket, in microseconds.
pub fn bucket_lowest_us(bucket: usize) -> u64 {
    let shift = (bucket / PAGE).saturating_sub(1);
    ((bucket - shift * PAGE) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_latencies_are_exact_and_the_ends_saturate() {
        for us in 1..=256 {
            assert_eq!(bucket_lowest_us(bucket_of(us)), us);
        }
        assert_eq!(bucket_of(0), bucket_of(1));
        assert_eq!(bucket_of(u64::MAX), bucket_of(LATENCY_MAX_US));
        assert!(bucket_of(LATENCY_MAX_US) < HISTOGRAM_BUCKETS);
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for bucket in 1..bucket_of(LATENCY_MAX_US) {
            assert_eq!(bucket_of(bucket_lowest_us(bucket)), bucket);
            assert_eq!(bucket_of(bucket_lowest_us(bucket + 1) - 1), bucket);
        }
    }

    #[test]
    fn sums_add_up_and_differences_are_what_was_added() {
        let (one, two) = (Histogram::default(), Histogram::default());
        for us in [5, 5, 1_000] {
            one.record(us);
        }
        two.record(1_000);
        let mut sum = BucketCounts::default();
        sum.add(&one);
        sum.add(&two);
        assert_eq!((sum.total(), sum.sum_us()), (4, 2_010));
        one.record(70);
        let mut later = BucketCounts::default();
        later.add(&one);
        later.add(&two);
        assert_eq!(later.since(&sum).collect::<Vec<_>>(), [(bucket_of(70), 1)]);
        later.merge(&sum);
        assert_eq!((later.total(), later.sum_us()), (9, 4_090));
    }

    proptest! {
        #[test]
        fn a_bucket_tells_a_latency_to_one_percent(us in LATENCY_MIN_US..=LATENCY_MAX_US) {
            let (low, next) = (bucket_lowest_us(bucket_of(us)), bucket_lowest_us(bucket_of(us) + 1));
            prop_assert!(low <= us && us < next);
            prop_assert!((next - 1 - low) as f64 <= 0.01 * us as f64);
        }
    }
}
