//! Recording: one [`Shard`] for each worker, written by that worker alone and summed by the control thread.
//!
//! Because a shard has one writer, a count is a plain load and store: no lock, no read-modify-write, no cache
//! line that two workers write. Readers may see a request half recorded for an instant, never a count that goes
//! back. All that is large (histograms, status codes, sketches) is allocated by the first request that needs it.

mod cells;
mod histogram;
mod in_flight;
mod registry;
mod shard;
mod sketch;
mod sum;
mod traces;
mod watch;
mod watched_outcomes;

pub use histogram::{BucketCounts, HISTOGRAM_BUCKETS, Histogram, bucket_lowest_us, bucket_of};
pub use in_flight::{IN_FLIGHT_MAX, Tracked};
pub use registry::{OTHER, RETIRED_SECONDS, Registry, SLOTS_MAX, SlotNames};
pub use shard::{ConnectionRefused, Finished, Judged, Shard};
pub use sketch::{REGISTERS, Sketch, UserCount};
pub use sum::{CODE_NONE, CODE_OTHER, ShardTotals, SlotSum};
pub use traces::{TRACES, trace_hash};
pub use watch::{Blames, WATCH_GROUPS, WATCH_QUANTILES, WatchRules, Watched, WatchedUsers};
pub use watched_outcomes::{OUTCOMES_MAX, OutcomeBits, OutcomeCount};

/// Where the records of one service, cohort and variant go: a small index, stable for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// The slot that stands in when there is no room for more names.
    pub const OTHER: Slot = Slot(0);

    /// The slot's index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

use std::sync::atomic::{AtomicU64, Ordering};

/// Adds to a count of which the caller is the only writer.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

fn zeroed<const N: usize>() -> Box<[AtomicU64; N]> {
    Box::new([const { AtomicU64::new(0) }; N])
}
