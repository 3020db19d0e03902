//! What happened to slots, span by span of a window, and over all of it.

use super::tally::BucketTally;
use super::{Quantiles, Windows};
use crate::model::{Fault, Outcome};
use crate::telemetry::recorder::Slot;
use std::collections::BTreeMap;

/// A window cut into steps. Seconds are those of the windows' own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// It begins after this second.
    pub from: u64,
    /// It ends with this second.
    pub to: u64,
    /// Seconds of a step.
    pub step: u64,
}

/// One step of some slots together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Requests that were assigned.
    pub requests: u64,
    /// Those among them that failed, and not by the client's fault; a fallback may have served them.
    pub errors: u64,
    /// Latency of answered requests.
    pub latency: Option<Quantiles>,
}

/// What happened to some slots within a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Whole {
    /// Requests that were assigned.
    pub requests: u64,
    /// Those among them that failed, and not by the client's fault.
    pub errors: u64,
    /// Finished requests by status code; 0 where none was sent.
    pub codes: BTreeMap<u16, u64>,
    /// Latencies of answered requests.
    pub latencies: BucketTally,
}

impl Windows {
    /// How a window of the last seconds is cut into about `points` steps. The last step that is not over yet is left out.
    pub fn cut(&self, last_seconds: u64, points: u64) -> Cut {
        let tier = self.tier_for(last_seconds);
        let wanted = last_seconds.div_ceil(points.max(1));
        let step = wanted.div_ceil(tier.step).max(1) * tier.step;
        let to = self.now / step * step;
        let steps = last_seconds.div_ceil(step);
        Cut { from: to.saturating_sub(steps * step), to, step }
    }

    /// What happened to slots together, step by step.
    pub fn series(&self, slots: &[Slot], cut: &Cut) -> Vec<Point> {
        let mut points = vec![Point::default(); (cut.to.saturating_sub(cut.from) / cut.step) as usize];
        let (mut tally, mut open) = (BucketTally::default(), 0);
        for span in self.spans(cut.from, cut.to) {
            let at = ((span.at - 1).saturating_sub(cut.from) / cut.step) as usize;
            if at != open {
                points.get_mut(open).into_iter().for_each(|point| point.latency = tally.usual());
                tally.clear();
                open = at;
            }
            let Some(point) = points.get_mut(at) else { continue };
            for frame in slots.iter().filter_map(|slot| span.frame(*slot)) {
                let (requests, errors) = counts(&frame.outcomes, frame.fallbacks);
                point.requests += requests;
                point.errors += errors;
                super::pack::unpack(&frame.latencies, |bucket, _, count| tally.add(bucket, count));
            }
        }
        points.get_mut(open).into_iter().for_each(|point| point.latency = tally.usual());
        points
    }

    /// What happened to slots together in the last seconds.
    pub fn whole(&self, slots: &[Slot], last_seconds: u64) -> Whole {
        let mut whole = Whole::default();
        for span in self.spans(self.now.saturating_sub(last_seconds), self.now) {
            for frame in slots.iter().filter_map(|slot| span.frame(*slot)) {
                let (requests, errors) = counts(&frame.outcomes, frame.fallbacks);
                whole.requests += requests;
                whole.errors += errors;
                for (code, count) in &frame.codes {
                    *whole.codes.entry(*code).or_default() += u64::from(*count);
                }
                super::pack::unpack(&frame.latencies, |bucket, _, count| whole.latencies.add(bucket, count));
            }
        }
        whole
    }

    /// Requests that finished in the last seconds.
    pub fn requests(&self, slot: Slot, last_seconds: u64) -> u64 {
        let spans = self.spans(self.now.saturating_sub(last_seconds), self.now);
        spans.filter_map(|span| span.frame(slot)).flat_map(|frame| frame.outcomes).map(u64::from).sum()
    }
}

/// Requests and errors among them.
fn counts(outcomes: &[u32; Outcome::ALL.len()], fallbacks: u32) -> (u64, u64) {
    let of = |is_meant: &dyn Fn(Outcome) -> bool| -> u64 {
        let meant = Outcome::ALL.iter().filter(|outcome| is_meant(**outcome));
        meant.map(|outcome| u64::from(outcomes[outcome.index()])).sum()
    };
    let failed = of(&|outcome| matches!(outcome.fault(), Some(Fault::Upstream | Fault::Ours)));
    (of(&|_| true) + u64::from(fallbacks), failed + u64::from(fallbacks))
}
