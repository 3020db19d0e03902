use super::super::recorder::{BucketCounts, bucket_lowest_us};
use super::native::Native;
use prometheus::core::Desc;
use prometheus::proto;
use std::collections::{BTreeMap, HashMap};

/// The bounds of request durations in seconds, as OpenTelemetry's HTTP conventions advise.
pub(super) const DURATION_BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The bounds of Ringway's own time in seconds: from ten microseconds, where it should be, to one second.
pub(super) const OVERHEAD_BOUNDS: [f64; 14] =
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 1.0];

/// Series of a histogram beside its bounds: the infinite bound, the sum and the count.
const SERIES_BESIDE_BOUNDS: usize = 3;

/// A metric's name, type, meaning and label names.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Series on their way to a scraper.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    families: BTreeMap<&'static str, proto::MetricFamily>,
    /// Of each histogram of a family, in the order of its series; only where a scraper wants them.
    natives: Option<Natives>,
    series: usize,
}

/// Native histograms by the name of their family.
pub(super) type Natives = BTreeMap<&'static str, Vec<Native>>;

pub(super) const fn family(
    kind: Kind,
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
) -> Family {
    Family { kind, name, help, labels }
}

impl Family {
    pub(super) fn desc(&self) -> Result<Desc, prometheus::Error> {
        let labels = self.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
    }
}

impl Exposition {
    /// One that keeps native histograms beside the classic ones.
    pub(super) fn with_natives() -> Exposition {
        Exposition { natives: Some(Natives::new()), ..Exposition::default() }
    }

    pub(super) fn count(&mut self, family: &Family, labels: &[&str], count: u64) {
        self.counter(family, labels, count as f64);
    }

    /// A counter of seconds, which come in parts.
    pub(super) fn seconds(&mut self, family: &Family, seconds: f64) {
        self.counter(family, &[], seconds);
    }

    pub(super) fn gauge(&mut self, family: &Family, labels: &[&str], value: f64) {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        let mut metric = labelled(family, labels);
        metric.set_gauge(gauge);
        self.push(family, metric, 1);
    }

    pub(super) fn histogram(&mut self, family: &Family, labels: &[&str], bounds: &[f64], counts: &BucketCounts) {
        let mut metric = labelled(family, labels);
        metric.set_histogram(coarse(counts, bounds));
        if let Some(natives) = &mut self.natives {
            natives.entry(family.name).or_default().push(Native::of(counts));
        }
        self.push(family, metric, histogram_series(bounds));
    }

    /// How many series there are so far.
    pub(super) fn series(&self) -> usize {
        self.series
    }

    pub(super) fn into_parts(self) -> (Vec<proto::MetricFamily>, Natives) {
        (self.families.into_values().collect(), self.natives.unwrap_or_default())
    }

    fn counter(&mut self, family: &Family, labels: &[&str], value: f64) {
        let mut counter = proto::Counter::default();
        counter.set_value(value);
        let mut metric = labelled(family, labels);
        metric.set_counter(counter);
        self.push(family, metric, 1);
    }

    fn push(&mut self, of: &Family, metric: proto::Metric, series: usize) {
        self.series += series;
        let family = self.families.entry(of.name).or_insert_with(|| {
            let mut family = proto::MetricFamily::default();
            family.set_name(of.name.to_owned());
            family.set_help(of.help.to_owned());
            family.set_field_type(match of.kind {
                Kind::Counter => proto::MetricType::COUNTER,
                Kind::Gauge => proto::MetricType::GAUGE,
                Kind::Histogram => proto::MetricType::HISTOGRAM,
            });
            family
        });
        family.mut_metric().push(metric);
    }
}

/// How many series a histogram with these bounds is.
pub(super) fn histogram_series(bounds: &[f64]) -> usize {
    bounds.len() + SERIES_BESIDE_BOUNDS
}

/// A fine bucket counts below a bound when its lowest latency does: whoever took at most the bound is always
/// below it, and so is who took at most 0.8 % longer. All counts come from one reading, so they agree.
fn coarse(counts: &BucketCounts, bounds: &[f64]) -> proto::Histogram {
    let mut fine = counts.iter().peekable();
    let mut cumulative = 0;
    let mut buckets = Vec::with_capacity(bounds.len());
    for bound in bounds {
        let bound_us = (bound * 1e6).round() as u64;
        while let Some((_, count)) = fine.next_if(|(bucket, _)| bucket_lowest_us(*bucket) <= bound_us) {
            cumulative += count;
        }
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(cumulative);
        buckets.push(bucket);
    }
    let mut histogram = proto::Histogram::default();
    histogram.set_sample_count(cumulative + fine.map(|(_, count)| count).sum::<u64>());
    histogram.set_sample_sum(counts.sum_us() as f64 / 1e6);
    histogram.set_bucket(buckets);
    histogram
}

fn labelled(family: &Family, values: &[&str]) -> proto::Metric {
    let pairs = family.labels.iter().zip(values).map(|(name, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    proto::Metric::from_label(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::super::super::recorder::Histogram;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn coarse_counts_are_right_to_one_percent_of_the_bound(
            latencies in proptest::collection::vec(1u64..60_000_000, 0..100),
        ) {
            let fine = Histogram::default();
            latencies.iter().for_each(|us| fine.record(*us));
            let mut counts = BucketCounts::default();
            counts.add(&fine);
            let coarse = coarse(&counts, &DURATION_BOUNDS);
            prop_assert_eq!(coarse.get_sample_count(), latencies.len() as u64);
            for bucket in coarse.get_bucket() {
                let below = |bound: f64| latencies.iter().filter(|us| **us as f64 <= bound * 1e6).count() as u64;
                let count = bucket.cumulative_count();
                prop_assert!(below(bucket.upper_bound()) <= count && count <= below(bucket.upper_bound() * 1.01));
            }
        }
    }
}
