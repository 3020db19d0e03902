//! Native histograms: buckets whose bounds grow by a fixed factor, so that a scraper gets the whole distribution and not
//! only what fourteen bounds say of it.

use super::super::recorder::{BucketCounts, bucket_lowest_us};

/// Bounds grow by 2^(2^-SCHEMA), here 4.4 %; fine buckets are narrower than 0.8 %, so each falls into one of them whole.
pub(super) const SCHEMA: i32 = 4;
/// What is smaller counts as nothing; Prometheus' own value. Nothing is, as latencies are at least a microsecond.
pub(super) const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

/// A histogram of seconds with exponential buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Native {
    /// Counts by the number of their bucket, ascending: bucket `i` ends with 2^(i / 2^SCHEMA) seconds, inclusive.
    buckets: Vec<(i32, u64)>,
}

/// Buckets in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The number of the first one, or buckets left out since the span before.
    pub(super) offset: i32,
    /// How many.
    pub(super) length: u32,
}

impl Native {
    /// A fine bucket belongs where its lowest latency does, as with the classic bounds.
    pub(super) fn of(counts: &BucketCounts) -> Native {
        let mut buckets: Vec<(i32, u64)> = Vec::new();
        for (fine, count) in counts.iter() {
            let number = number_of(bucket_lowest_us(fine));
            match buckets.last_mut() {
                Some((last, sum)) if *last == number => *sum += count,
                _ => buckets.push((number, count)),
            }
        }
        Native { buckets }
    }

    /// Where the buckets are.
    pub(super) fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut next = 0;
        for (number, _) in &self.buckets {
            match spans.last_mut() {
                Some(span) if *number == next => span.length += 1,
                _ => spans.push(Span { offset: number - next, length: 1 }),
            }
            next = number + 1;
        }
        spans
    }

    /// The count of each bucket less that of the one before.
    pub(super) fn deltas(&self) -> impl Iterator<Item = i64> {
        let mut before = 0;
        self.buckets.iter().map(move |(_, count)| {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            let delta = count - before;
            before = count;
            delta
        })
    }
}

fn number_of(latency_us: u64) -> i32 {
    let seconds = latency_us.max(1) as f64 / 1e6;
    (seconds.log2() * f64::from(1 << SCHEMA)).ceil() as i32
}

#[cfg(test)]
mod tests {
    use super::super::super::recorder::Histogram;
    use super::*;
    use proptest::prelude::*;

    fn native(latencies: &[u64]) -> Native {
        let fine = Histogram::default();
        latencies.iter().for_each(|us| fine.record(*us));
        let mut counts = BucketCounts::default();
        counts.add(&fine);
        Native::of(&counts)
    }

    #[test]
    fn a_second_ends_bucket_0_and_two_seconds_bucket_16() {
        assert_eq!([number_of(1_000_000), number_of(2_000_000), number_of(500_000)], [0, 16, -16]);
        // 10 ms: log2(0.01) * 16 = -106.3
        let native = native(&[10_000, 10_000, 1_000_000, 1_040_000]);
        assert_eq!(native.buckets, [(-106, 2), (0, 1), (1, 1)]);
        assert_eq!(native.spans(), [Span { offset: -106, length: 1 }, Span { offset: 105, length: 2 }]);
        assert_eq!(native.deltas().collect::<Vec<_>>(), [2, -1, 0]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_everything_is_where_it_belongs_to_one_percent(
            latencies in proptest::collection::vec(1u64..60_000_000, 0..100),
        ) {
            let native = native(&latencies);
            prop_assert_eq!(native.buckets.iter().map(|(_, count)| count).sum::<u64>(), latencies.len() as u64);
            prop_assert!(native.buckets.is_sorted_by(|one, next| one.0 < next.0));
            for (number, _) in &native.buckets {
                let end = 2f64.powf(f64::from(*number) / 16.0) * 1e6;
                let below = latencies.iter().filter(|us| **us as f64 <= end).count() as u64;
                let below_more = latencies.iter().filter(|us| **us as f64 <= end * 1.01).count() as u64;
                let counted = native.buckets.iter().filter(|(other, _)| other <= number).map(|(_, count)| count).sum::<u64>();
                prop_assert!(below <= counted && counted <= below_more, "{} {} {}", below, counted, below_more);
            }
            let starts = native.spans().iter().map(|span| span.length).sum::<u32>();
            prop_assert_eq!(starts as usize, native.buckets.len());
            prop_assert_eq!(native.deltas().count(), native.buckets.len());
        }
    }
}
