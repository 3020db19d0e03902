//! How a variant did lately: what is known before a step begins.

use super::Rollouts;
use crate::control::Handle;
use crate::model::{Failure, Outcome};
use crate::rollout::judge::{FREEZE_REQUESTS_MIN, History, Tally};
use crate::telemetry::recorder::Blames;
use crate::telemetry::windows::{BucketTally, WINDOW_SECONDS};
use crate::telemetry::{Registry, Slot};

/// The windows of the last 15 minutes, where there are some.
#[derive(Default)]
pub(super) struct Past(Option<Handle>);

impl Past {
    pub(super) fn new(handle: Handle) -> Past {
        Past(Some(handle))
    }

    pub(super) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref()
    }

    /// Errors of a slot in the last 15 minutes. What was longer ago says less of today than it weighs; only where
    /// nobody keeps windows all since the process began is taken.
    pub(super) fn history(&self, registry: &Registry, slot: Slot, blames: Blames) -> History {
        let outcomes: [u64; Outcome::ALL.len()] = match &self.0 {
            Some(handle) => handle.stats(slot, WINDOW_SECONDS).outcomes,
            None => registry.sum(slot).latencies.each_ref().map(|latencies| latencies.total()),
        };
        let of = |outcome: Outcome| outcomes[outcome.index()];
        let rejected = if blames.has(Failure::Status4xx) { of(Outcome::Rejected) } else { 0 };
        let all = of(Outcome::Error) + of(Outcome::Rejected) + of(Outcome::Success);
        History { errors: Tally::new(of(Outcome::Error) + rejected, all) }
    }
}

impl Past {
    /// Latencies of a slot's successes in the last 15 minutes, as buckets with their largest latency; `None` where nobody
    /// keeps windows, or too few are known to say what is slow.
    pub(super) fn latencies(&self, slot: Slot) -> Option<BucketTally> {
        let known = self.0.as_ref()?.with_windows(|windows| windows.successes(slot, WINDOW_SECONDS));
        (known.total() >= FREEZE_REQUESTS_MIN).then_some(known)
    }
}

impl Rollouts {
    /// Counts are looked up there as they were lately, and not since the process began.
    pub(in crate::control) fn look_back(&mut self, handle: Handle) {
        self.past = Past::new(handle);
    }
}
