//! The last 15 minutes, second by second: what each slot got and how it went.
//!
//! Once a second the control thread sums the shards and keeps what came on top, packed. Only slots to which
//! something happened take room; an idle slot costs two numbers.

use super::recorder::{BucketCounts, Registry, Slot, bucket_lowest_us, bucket_of};
use crate::model::{LATENCY_MAX_US, Outcome};
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::sync::Arc;

/// How far back the windows reach, in seconds.
pub const WINDOW_SECONDS: u64 = 900;

/// The most that the packed seconds may take. Beyond, the oldest go first, and the windows reach less far back.
pub const WINDOW_BYTES_MAX: usize = 64 << 20;

/// Two significant digits: the recorder's buckets exactly, each at most 0.8 % wide.
const SIGNIFICANT_DIGITS: u8 = 2;

/// The windows of all slots.
#[derive(Debug)]
pub struct Windows {
    registry: Arc<Registry>,
    seconds: VecDeque<Second>,
    bytes: usize,
    /// What had been recorded of each slot at the last tick, by slot index.
    seen: Vec<Seen>,
    started: Option<u64>,
    now: u64,
}

/// What happened to a slot within a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowStats {
    /// Finished requests.
    pub requests: u64,
    /// Finished requests by [`Outcome::index`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Requests assigned to the slot's variant that a fallback served; they are not among `requests`.
    pub fallbacks: u64,
    /// Finished requests per second, over the part of the window that Ringway was running.
    pub rps: f64,
    /// Latency of answered requests (all but the cancelled), each value at most 1 % off; absent without any.
    pub latency: Option<Quantiles>,
    /// The same of successful requests only: errors that come fast do not flatter it.
    pub success_latency: Option<Quantiles>,
}

/// Quantiles of latency, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// Half of the requests took at most this.
    pub p50: u64,
    /// 95 % took at most this.
    pub p95: u64,
    /// 99 % took at most this.
    pub p99: u64,
}

/// One second: the slots to which something happened, ascending.
#[derive(Debug)]
struct Second {
    at: u64,
    frames: Vec<Frame>,
    bytes: usize,
}

/// What happened to one slot in one second.
#[derive(Debug)]
struct Frame {
    slot: Slot,
    outcomes: [u32; Outcome::ALL.len()],
    fallbacks: u32,
    /// Latencies of answered requests; see [`pack`].
    latencies: Box<[u8]>,
}

#[derive(Debug, Default)]
struct Seen {
    changes: u64,
    records: Option<Box<Records>>,
}

#[derive(Debug, Default)]
struct Records {
    outcomes: [u64; Outcome::ALL.len()],
    fallbacks: u64,
    success: BucketCounts,
    others: BucketCounts,
}

impl Windows {
    /// Windows over what `registry` records, empty.
    pub fn new(registry: Arc<Registry>) -> Windows {
        Windows { registry, seconds: VecDeque::new(), bytes: 0, seen: Vec::new(), started: None, now: 0 }
    }

    /// Takes in what was recorded since the last tick. `now_seconds` is a monotonic clock; a tick that is not
    /// later than the last one is left for the next.
    pub fn tick(&mut self, now_seconds: u64) {
        if self.started.is_some() && now_seconds <= self.now {
            return;
        }
        self.started.get_or_insert(now_seconds.saturating_sub(1));
        self.now = now_seconds;
        self.registry.sweep(now_seconds);
        self.seen.resize_with(self.registry.slots_given(), Seen::default);
        let registry = &self.registry;
        let seen = registry.slots().into_iter().map(|known| known.slot);
        let frames: Vec<_> = seen.filter_map(|slot| self.seen[slot.index()].frame(registry, slot)).collect();
        if !frames.is_empty() {
            let bytes = size_of::<Second>() + frames.iter().map(Frame::bytes).sum::<usize>();
            self.bytes += bytes;
            self.seconds.push_back(Second { at: now_seconds, frames, bytes });
        }
        self.forget();
    }

    /// What happened to a slot in the last seconds, at most [`WINDOW_SECONDS`], up to the last tick.
    pub fn stats(&self, slot: Slot, last_seconds: u64) -> WindowStats {
        let last_seconds = last_seconds.min(WINDOW_SECONDS);
        let mut stats = WindowStats::default();
        let (mut answered, mut success) = (BucketTally::default(), BucketTally::default());
        for frame in self.frames(slot, last_seconds) {
            for (own, count) in stats.outcomes.iter_mut().zip(frame.outcomes) {
                *own += u64::from(count);
            }
            stats.fallbacks += u64::from(frame.fallbacks);
            unpack(&frame.latencies, |bucket, is_success, count| {
                answered.add(bucket, count);
                if is_success {
                    success.add(bucket, count);
                }
            });
        }
        stats.requests = stats.outcomes.iter().sum();
        stats.rps = stats.requests as f64 / self.covered_seconds(last_seconds).max(1) as f64;
        stats.latency = answered.quantiles();
        stats.success_latency = success.quantiles();
        stats
    }

    /// How many of the last seconds the windows really know of: less right after the start, and when the oldest
    /// had to go to stay within [`WINDOW_BYTES_MAX`].
    pub fn covered_seconds(&self, last_seconds: u64) -> u64 {
        self.started.map_or(0, |started| self.now - started).min(last_seconds).min(WINDOW_SECONDS)
    }

    fn frames(&self, slot: Slot, last_seconds: u64) -> impl Iterator<Item = &Frame> {
        let since = self.now.saturating_sub(last_seconds);
        let seconds = self.seconds.iter().rev().take_while(move |second| second.at > since);
        seconds.filter_map(move |second| {
            let at = second.frames.binary_search_by_key(&slot, |frame| frame.slot).ok()?;
            Some(&second.frames[at])
        })
    }

    fn forget(&mut self) {
        let too_old = self.now.saturating_sub(WINDOW_SECONDS);
        while let Some(first) = self.seconds.front() {
            let too_much = self.bytes > WINDOW_BYTES_MAX;
            if first.at > too_old && !too_much {
                break;
            }
            if too_much {
                self.started = Some(first.at);
            }
            self.bytes -= first.bytes;
            self.seconds.pop_front();
        }
    }
}

impl Seen {
    /// What came on top since the last time, if anything.
    fn frame(&mut self, registry: &Registry, slot: Slot) -> Option<Frame> {
        let changes = registry.changes(slot);
        if changes == self.changes {
            return None;
        }
        self.changes = changes;
        let now = Records::of(registry, slot);
        let before = self.records.get_or_insert_default();
        let latencies = pack(now.success.since(&before.success), now.others.since(&before.others));
        let frame = Frame {
            slot,
            outcomes: std::array::from_fn(|at| small(now.outcomes[at] - before.outcomes[at])),
            fallbacks: small(now.fallbacks - before.fallbacks),
            latencies,
        };
        **before = now;
        Some(frame)
    }
}

impl Records {
    fn of(registry: &Registry, slot: Slot) -> Records {
        let mut sum = registry.counts(slot);
        let mut records = Records { fallbacks: sum.fallbacks.iter().sum(), ..Records::default() };
        for outcome in Outcome::ALL {
            let latencies = std::mem::take(&mut sum.latencies[outcome.index()]);
            records.outcomes[outcome.index()] = latencies.total();
            match outcome {
                Outcome::Success => records.success = latencies,
                Outcome::Cancelled => {}
                Outcome::Rejected | Outcome::Error | Outcome::Internal => records.others.merge(&latencies),
            }
        }
        records
    }
}

impl Frame {
    fn bytes(&self) -> usize {
        size_of::<Frame>() + self.latencies.len()
    }
}

/// Counts by bucket of one window, on their way into the `hdrhistogram` crate.
#[derive(Debug, Default)]
struct BucketTally {
    counts: Vec<u64>,
}

impl BucketTally {
    fn add(&mut self, bucket: usize, count: u64) {
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += count;
    }

    fn quantiles(&self) -> Option<Quantiles> {
        let highest = bucket_lowest_us(bucket_of(LATENCY_MAX_US) + 1);
        let mut histogram = Histogram::<u64>::new_with_bounds(1, highest, SIGNIFICANT_DIGITS).ok()?;
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            histogram.saturating_record_n(bucket_lowest_us(bucket), *count);
        }
        let at = |quantile| {
            let value = histogram.value_at_quantile(quantile);
            histogram.median_equivalent(value).clamp(1, LATENCY_MAX_US)
        };
        (!histogram.is_empty()).then(|| Quantiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) })
    }
}

/// Packs latencies of successful and other answered requests: for each bucket that grew, the distance from the
/// one before (times two, plus one for the others), then the count, both as LEB128. About two bytes a bucket.
fn pack(success: impl Iterator<Item = (usize, u64)>, others: impl Iterator<Item = (usize, u64)>) -> Box<[u8]> {
    let mut entries: Vec<(u64, u64)> = success.map(|(bucket, count)| (bucket as u64 * 2, count)).collect();
    entries.extend(others.map(|(bucket, count)| (bucket as u64 * 2 + 1, count)));
    entries.sort_unstable();
    let mut packed = Vec::with_capacity(entries.len() * 2);
    let mut last = 0;
    for (key, count) in entries {
        push_leb128(&mut packed, key - last);
        push_leb128(&mut packed, count);
        last = key;
    }
    packed.into_boxed_slice()
}

/// Calls `each` with bucket, whether its requests succeeded, and count.
fn unpack(packed: &[u8], mut each: impl FnMut(usize, bool, u64)) {
    let mut bytes = packed.iter();
    let mut key = 0;
    while !bytes.as_slice().is_empty() {
        key += read_leb128(&mut bytes);
        let count = read_leb128(&mut bytes);
        each((key / 2) as usize, key % 2 == 0, count);
    }
}

fn push_leb128(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn read_leb128(bytes: &mut std::slice::Iter<'_, u8>) -> u64 {
    let mut value = 0;
    for (at, byte) in bytes.by_ref().enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn small(count: u64) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::recorder::{Finished, Judged, Shard};
    use super::*;
    use crate::model::{Failure, FallbackCause, Reason};
    use proptest::prelude::*;

    struct Story {
        windows: Windows,
        shard: Arc<Shard>,
        slot: Slot,
    }

    fn story() -> Story {
        let registry = Registry::new(1, 10_000);
        let slot = registry.slot("shop", "everyone", "canary", Reason::Split);
        Story { shard: registry.shard(0), windows: Windows::new(registry), slot }
    }

    impl Story {
        fn requests(&self, count: u64, outcome: Outcome, latency_us: u64) -> &Story {
            let reason = Reason::Split;
            for _ in 0..count {
                self.shard.begin(self.slot);
                self.shard.finish(
                    self.slot,
                    &Finished {
                        reason,
                        status: 200,
                        outcome,
                        latency_us,
                        overhead_us: None,
                        user: None,
                        judged: Judged::default(),
                    },
                );
            }
            self
        }

        fn stats(&self, last_seconds: u64) -> WindowStats {
            self.windows.stats(self.slot, last_seconds)
        }
    }

    #[test]
    fn a_window_holds_its_seconds_and_no_others() {
        let mut story = story();
        story.windows.tick(100);
        story.requests(10, Outcome::Success, 1_000).requests(2, Outcome::Error, 50_000);
        story.windows.tick(101);
        story.requests(3, Outcome::Cancelled, 9_000_000);
        story.shard.fallback(story.slot, FallbackCause::Connect, Failure::Connect, None);
        story.windows.tick(102);

        let last = story.stats(1);
        assert_eq!((last.requests, last.outcomes, last.fallbacks), (3, [0, 0, 0, 3, 0], 1));
        assert_eq!((last.rps, last.latency), (3.0, None));
        let both = story.stats(2);
        assert_eq!((both.requests, both.outcomes, both.rps), (15, [10, 0, 2, 3, 0], 7.5));
        assert_eq!(story.stats(60).rps, 5.0, "three seconds are known");
        let slow = both.latency.unwrap();
        assert!(slow.p50.abs_diff(1_000) <= 10 && slow.p99.abs_diff(50_000) <= 500, "{slow:?}");
        assert!(both.success_latency.unwrap().p99.abs_diff(1_000) <= 10);
    }

    #[test]
    fn what_is_older_than_fifteen_minutes_is_forgotten() {
        let mut story = story();
        story.requests(5, Outcome::Success, 10);
        story.windows.tick(1);
        for second in 2..=WINDOW_SECONDS {
            story.windows.tick(second);
        }
        assert_eq!(story.stats(u64::MAX).requests, 5);
        story.windows.tick(WINDOW_SECONDS + 1);
        assert_eq!(story.stats(u64::MAX).requests, 0);
        assert_eq!((story.windows.seconds.len(), story.windows.bytes), (0, 0));
    }

    #[test]
    fn a_clock_that_stands_still_loses_nothing_and_one_that_jumps_ends_the_window() {
        let mut story = story();
        story.windows.tick(10);
        story.requests(1, Outcome::Success, 10);
        story.windows.tick(10);
        story.windows.tick(9);
        assert_eq!(story.stats(10).requests, 0);
        story.windows.tick(11);
        assert_eq!(story.stats(10).requests, 1);
        story.windows.tick(10_000);
        assert_eq!(story.stats(900).requests, 0);
        assert_eq!(story.windows.covered_seconds(900), 900);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut story = story();
        story.windows.bytes = WINDOW_BYTES_MAX - 100;
        for second in 1..=5 {
            story.requests(1, Outcome::Success, 10);
            story.windows.tick(second);
        }
        assert!(story.windows.seconds.len() <= 1);
        assert!(story.windows.covered_seconds(900) <= 1);
    }

    proptest! {
        #[test]
        fn packed_latencies_come_out_as_they_went_in(
            success in proptest::collection::btree_map(0usize..2560, 1u64..1 << 40, 0..50),
            others in proptest::collection::btree_map(0usize..2560, 1u64..300, 0..50),
        ) {
            let packed = pack(success.clone().into_iter(), others.clone().into_iter());
            let (mut out_success, mut out_others) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
            unpack(&packed, |bucket, is_success, count| {
                if is_success { &mut out_success } else { &mut out_others }.insert(bucket, count);
            });
            prop_assert_eq!((success, others), (out_success, out_others));
        }

        #[test]
        fn quantiles_are_within_one_percent(mut latencies in proptest::collection::vec(1u64..=LATENCY_MAX_US, 1..200)) {
            let mut story = story();
            for latency in &latencies {
                story.requests(1, Outcome::Success, *latency);
            }
            story.windows.tick(1);
            latencies.sort_unstable();
            let exact = |quantile: f64| latencies[(quantile * latencies.len() as f64).ceil() as usize - 1];
            let seen = story.stats(1).latency.unwrap();
            for (quantile, value) in [(0.5, seen.p50), (0.95, seen.p95), (0.99, seen.p99)] {
                let exact = exact(quantile);
                prop_assert!(value.abs_diff(exact) as f64 <= 0.01 * exact as f64, "{quantile}: {value} for {exact}");
            }
        }
    }
}
