//! Counts by bucket of latency, and what they say.

use super::Quantiles;
use crate::model::LATENCY_MAX_US;
use crate::telemetry::recorder::bucket_lowest_us;

/// Counts by bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BucketTally {
    counts: Vec<u64>,
    total: u64,
}

impl BucketTally {
    pub(super) fn add(&mut self, bucket: usize, count: u64) {
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += count;
        self.total += count;
    }

    pub(super) fn clear(&mut self) {
        self.counts.clear();
        self.total = 0;
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Buckets that hold something, ascending: smallest and largest latency in microseconds, count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(bucket, count)| (bucket_lowest_us(bucket), bucket_lowest_us(bucket + 1) - 1, *count))
    }

    /// The latencies in microseconds below which these parts of all lie, at most 1 % off. `levels` ascend. `None` without
    /// any.
    pub fn quantiles<const N: usize>(&self, levels: [f64; N]) -> Option<[u64; N]> {
        let mut found = [0; N];
        self.each_quantile(&levels, |at, us| found[at] = us).then_some(found)
    }

    /// The same for any number of levels.
    pub fn quantiles_at(&self, levels: &[f64]) -> Vec<u64> {
        let mut found = Vec::with_capacity(levels.len());
        self.each_quantile(levels, |_, us| found.push(us));
        found
    }

    pub(super) fn usual(&self) -> Option<Quantiles> {
        self.quantiles([0.5, 0.95, 0.99]).map(|[p50, p95, p99]| Quantiles { p50, p95, p99 })
    }

    fn each_quantile(&self, levels: &[f64], mut found: impl FnMut(usize, u64)) -> bool {
        let rank = |level: f64| ((level * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let (mut at, mut below) = (0, 0);
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            while *count > 0 && at < levels.len() && below >= rank(levels[at]) {
                let (low, next) = (bucket_lowest_us(bucket), bucket_lowest_us(bucket + 1));
                found(at, (low + (next - low) / 2).clamp(1, LATENCY_MAX_US));
                at += 1;
            }
        }
        self.total > 0
    }
}
