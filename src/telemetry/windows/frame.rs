//! What happened to slots in one span of time.

use super::pack::{pack, unpack};
use crate::model::Outcome;
use crate::telemetry::recorder::{BucketCounts, Registry, Slot};
use std::collections::BTreeMap;

/// One span of time: the slots to which something happened, ascending.
#[derive(Debug)]
pub(super) struct Span {
    /// The second with which it ends.
    pub(super) at: u64,
    pub(super) frames: Vec<Frame>,
    pub(super) bytes: usize,
}

/// What happened to one slot in one span.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) slot: Slot,
    pub(super) outcomes: [u32; Outcome::ALL.len()],
    pub(super) fallbacks: u32,
    /// Counts by status code, ascending.
    pub(super) codes: Box<[(u16, u32)]>,
    /// Latencies of answered requests; see [`pack`].
    pub(super) latencies: Box<[u8]>,
}

/// What had been recorded of a slot at the last tick.
#[derive(Debug, Default)]
pub(super) struct Seen {
    changes: u64,
    records: Option<Box<Records>>,
}

#[derive(Debug, Default)]
struct Records {
    outcomes: [u64; Outcome::ALL.len()],
    fallbacks: u64,
    codes: BTreeMap<u16, u64>,
    success: BucketCounts,
    others: BucketCounts,
}

impl Span {
    pub(super) fn new(at: u64, frames: Vec<Frame>) -> Span {
        let bytes = size_of::<Span>() + frames.iter().map(Frame::bytes).sum::<usize>();
        Span { at, frames, bytes }
    }

    pub(super) fn frame(&self, slot: Slot) -> Option<&Frame> {
        let at = self.frames.binary_search_by_key(&slot, |frame| frame.slot).ok()?;
        self.frames.get(at)
    }

    /// Several spans as one; `None` when nothing happened in them.
    pub(super) fn sum<'s>(at: u64, spans: impl Iterator<Item = &'s Span>) -> Option<Span> {
        let mut by_slot: BTreeMap<Slot, Vec<&Frame>> = BTreeMap::new();
        for frame in spans.flat_map(|span| &span.frames) {
            by_slot.entry(frame.slot).or_default().push(frame);
        }
        let frames: Vec<Frame> = by_slot.into_iter().map(|(slot, frames)| Frame::sum(slot, &frames)).collect();
        (!frames.is_empty()).then(|| Span::new(at, frames))
    }
}

impl Frame {
    fn bytes(&self) -> usize {
        size_of::<Frame>() + self.latencies.len() + size_of_val(&*self.codes)
    }

    fn sum(slot: Slot, frames: &[&Frame]) -> Frame {
        let mut outcomes = [0u32; Outcome::ALL.len()];
        let mut fallbacks = 0u32;
        let (mut success, mut others) = (BTreeMap::<usize, u64>::new(), BTreeMap::<usize, u64>::new());
        let mut codes = BTreeMap::<u16, u32>::new();
        for frame in frames {
            for (own, count) in outcomes.iter_mut().zip(frame.outcomes) {
                *own = own.saturating_add(count);
            }
            fallbacks = fallbacks.saturating_add(frame.fallbacks);
            for (code, count) in &frame.codes {
                let own = codes.entry(*code).or_default();
                *own = own.saturating_add(*count);
            }
            unpack(&frame.latencies, |bucket, is_success, count| {
                *if is_success { &mut success } else { &mut others }.entry(bucket).or_default() += count;
            });
        }
        let latencies = pack(success.into_iter(), others.into_iter());
        Frame { slot, outcomes, fallbacks, codes: codes.into_iter().collect(), latencies }
    }
}

impl Seen {
    /// What came on top since the last time, if anything.
    pub(super) fn frame(&mut self, registry: &Registry, slot: Slot) -> Option<Frame> {
        let changes = registry.changes(slot);
        if changes == self.changes {
            return None;
        }
        self.changes = changes;
        let now = Records::of(registry, slot);
        let before = self.records.get_or_insert_default();
        let latencies = pack(now.success.since(&before.success), now.others.since(&before.others));
        let more = |(code, count): (&u16, &u64)| {
            let more = count.saturating_sub(before.codes.get(code).copied().unwrap_or(0));
            (more > 0).then(|| (*code, small(more)))
        };
        let frame = Frame {
            slot,
            outcomes: std::array::from_fn(|at| small(now.outcomes[at] - before.outcomes[at])),
            fallbacks: small(now.fallbacks - before.fallbacks),
            codes: now.codes.iter().filter_map(more).collect(),
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
        for ((_, code), count) in &sum.codes {
            *records.codes.entry(*code).or_default() += count;
        }
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

fn small(count: u64) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}
