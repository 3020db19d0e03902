//! The last hours: what each slot got and how it went.
//!
//! Once a second the control thread sums the shards and keeps what came on top, packed: each second for 15 minutes, spans
//! of 10 seconds for an hour, and minutes for six hours. Only slots to which something happened take room; an idle slot
//! costs two numbers.

mod frame;
mod pack;
mod series;
mod tally;
mod tests;
mod tier;

pub use series::{Cut, Point, Whole};
pub use tally::BucketTally;

use super::recorder::{Registry, Slot};
use crate::model::Outcome;
use frame::{Frame, Seen, Span};
use std::sync::Arc;
use tier::Tier;

/// How far back single seconds reach.
pub const WINDOW_SECONDS: u64 = 900;

/// How far back the windows reach, in seconds.
pub const REACH_SECONDS: u64 = 6 * 3_600;

/// The most that the packed seconds may take. Beyond, the oldest go first, and the windows reach less far back.
pub const WINDOW_BYTES_MAX: usize = 64 << 20;

/// The same for the spans of 10 seconds, and for the minutes.
pub const COARSE_BYTES_MAX: usize = 32 << 20;

/// The windows of all slots.
#[derive(Debug)]
pub struct Windows {
    registry: Arc<Registry>,
    /// From short spans to long ones.
    tiers: [Tier; 3],
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

impl Windows {
    /// Windows over what `registry` records, empty.
    pub fn new(registry: Arc<Registry>) -> Windows {
        let tiers = [
            Tier::new(1, WINDOW_SECONDS, WINDOW_BYTES_MAX),
            Tier::new(10, 3_600, COARSE_BYTES_MAX),
            Tier::new(60, REACH_SECONDS, COARSE_BYTES_MAX),
        ];
        Windows { registry, tiers, seen: Vec::new(), started: None, now: 0 }
    }

    /// Takes in what was recorded since the last tick. `now_seconds` is a monotonic clock; a tick that is not
    /// later than the last one is left for the next.
    pub fn tick(&mut self, now_seconds: u64) {
        if self.started.is_some() && now_seconds <= self.now {
            return;
        }
        if self.started.is_none() {
            let started = now_seconds.saturating_sub(1);
            self.started = Some(started);
            self.tiers.iter_mut().for_each(|tier| tier.until = started / tier.step * tier.step);
        }
        self.now = now_seconds;
        self.registry.sweep(now_seconds);
        self.seen.resize_with(self.registry.slots_given(), Seen::default);
        let registry = &self.registry;
        let seen = registry.slots().into_iter().map(|known| known.slot);
        let frames: Vec<Frame> = seen.filter_map(|slot| self.seen[slot.index()].frame(registry, slot)).collect();
        let [seconds, coarser @ ..] = &mut self.tiers;
        seconds.push(now_seconds, (!frames.is_empty()).then(|| Span::new(now_seconds, frames)));
        let mut finer = &*seconds;
        for tier in coarser {
            let until = finer.until / tier.step * tier.step;
            if until > tier.until {
                let span = Span::sum(until, finer.between(tier.until, until));
                tier.push(until, span);
            }
            finer = tier;
        }
    }

    /// What happened to a slot in the last seconds, at most [`REACH_SECONDS`], up to the last tick.
    pub fn stats(&self, slot: Slot, last_seconds: u64) -> WindowStats {
        let last_seconds = last_seconds.min(REACH_SECONDS);
        let mut stats = WindowStats::default();
        let (mut answered, mut success) = (BucketTally::default(), BucketTally::default());
        let spans = self.spans(self.now.saturating_sub(last_seconds), self.now);
        for frame in spans.filter_map(|span| span.frame(slot)) {
            for (own, count) in stats.outcomes.iter_mut().zip(frame.outcomes) {
                *own += u64::from(count);
            }
            stats.fallbacks += u64::from(frame.fallbacks);
            pack::unpack(&frame.latencies, |bucket, is_success, count| {
                answered.add(bucket, count);
                if is_success {
                    success.add(bucket, count);
                }
            });
        }
        stats.requests = stats.outcomes.iter().sum();
        stats.rps = stats.requests as f64 / self.covered_seconds(last_seconds).max(1) as f64;
        stats.latency = answered.usual();
        stats.success_latency = success.usual();
        stats
    }

    /// Latencies of a slot's successful requests in the last seconds, at most [`REACH_SECONDS`], up to the last tick.
    pub fn successes(&self, slot: Slot, last_seconds: u64) -> BucketTally {
        let mut found = BucketTally::default();
        let from = self.now.saturating_sub(last_seconds.min(REACH_SECONDS));
        for frame in self.spans(from, self.now).filter_map(|span| span.frame(slot)) {
            pack::unpack(&frame.latencies, |bucket, is_success, count| {
                if is_success {
                    found.add(bucket, count);
                }
            });
        }
        found
    }

    /// How many of the last seconds the windows really know of: less right after the start, and when the oldest
    /// had to go to stay within [`WINDOW_BYTES_MAX`].
    pub fn covered_seconds(&self, last_seconds: u64) -> u64 {
        let known_from = self.tier_for(last_seconds).known_from.max(self.started);
        known_from.map_or(0, |from| self.now.saturating_sub(from)).min(last_seconds).min(REACH_SECONDS)
    }

    /// The second of the last tick.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The tier of the shortest spans that reach back so far.
    fn tier_for(&self, last_seconds: u64) -> &Tier {
        let [seconds, tens, minutes] = &self.tiers;
        [seconds, tens].into_iter().find(|tier| last_seconds <= tier.reach).unwrap_or(minutes)
    }

    /// What happened after `from` and until `to`, the oldest first. Long spans where the window is long, and shorter ones
    /// for what they do not know yet.
    fn spans(&self, from: u64, to: u64) -> impl Iterator<Item = &Span> {
        let coarsest = self.tier_for(self.now.saturating_sub(from)).step;
        let mut known = from;
        let parts = self.tiers.iter().rev().filter(move |tier| tier.step <= coarsest).map(move |tier| {
            let part = (known, tier.until.min(to));
            known = known.max(tier.until);
            (tier, part)
        });
        parts.flat_map(|(tier, (from, to))| tier.between(from, to))
    }
}
