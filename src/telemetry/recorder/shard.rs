use super::cells::{CodeCells, SlotCells};
use super::in_flight::{InFlight, Tracked};
use super::traces::Traces;
use super::{Histogram, OutcomeBits, SLOTS_MAX, Slot, add};
use crate::model::{Failure, FallbackCause, InjectedKind, Outcome, Reason, RetryResult};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

const CHUNK: usize = 64;
const CHUNKS: usize = SLOTS_MAX / CHUNK;

/// What one worker records.
///
/// Only that worker's thread may call the methods that record; a second writer would lose counts, nothing
/// worse. None of them blocks, and none allocates but on the first use of what it counts in.
#[derive(Debug)]
pub struct Shard {
    /// Filled by the control thread before a slot is given out, so that the worker only looks up.
    chunks: Box<[OnceLock<Box<[SlotCells; CHUNK]>>]>,
    pub(super) in_flight: InFlight,
    pub(super) traces: Traces,
    pub(super) overhead: Histogram,
    pub(super) unrouted: CodeCells,
    pub(super) downstream_opened: AtomicU64,
    pub(super) downstream_closed: AtomicU64,
    pub(super) downstream_refused: [AtomicU64; ConnectionRefused::ALL.len()],
    pub(super) upstream_opened: AtomicU64,
    pub(super) panics: AtomicU64,
}

/// What came of a request that was assigned to a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Why the request got its variant.
    pub reason: Reason,
    /// The status code sent to the client; 0 when none was sent.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// From the first byte of the request to the last byte of the response, in microseconds.
    pub latency_us: u64,
    /// Time spent in the proxy itself until the request was handed upstream, in microseconds.
    pub overhead_us: Option<u64>,
    /// Keyed 64-bit hash of the user key.
    pub user: Option<u64>,
    /// What a judge wants to know beyond that.
    pub judged: Judged,
}

/// What only a judge wants to know of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// How the variant failed; says something of errors only.
    pub failure: Failure,
    /// What the business counts.
    pub outcomes: OutcomeBits,
    /// It was counted as a slow one while it still ran.
    pub was_overdue: bool,
}

/// Why a client's connection was closed as soon as it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRefused {
    /// The listener has as many as it may.
    Limit,
    /// The client's address has.
    ClientLimit,
    /// The process has no descriptors for it.
    Descriptors,
}

impl ConnectionRefused {
    /// All of them, in order.
    pub const ALL: [ConnectionRefused; 3] =
        [ConnectionRefused::Limit, ConnectionRefused::ClientLimit, ConnectionRefused::Descriptors];

    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectionRefused::Limit => "limit",
            ConnectionRefused::ClientLimit => "clientLimit",
            ConnectionRefused::Descriptors => "descriptors",
        }
    }
}

impl Shard {
    /// `born`: when the registry was made, from which requests in flight are timed.
    pub(super) fn new(born: Instant) -> Shard {
        Shard {
            in_flight: InFlight::new(born),
            traces: Traces::default(),
            chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
            overhead: Histogram::default(),
            unrouted: CodeCells::default(),
            downstream_opened: AtomicU64::new(0),
            downstream_closed: AtomicU64::new(0),
            downstream_refused: [const { AtomicU64::new(0) }; ConnectionRefused::ALL.len()],
            upstream_opened: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }

    /// A request was assigned: one more in flight. Each is followed by one [`Shard::finish`] of the same slot.
    pub fn begin(&self, slot: Slot) {
        if let Some(cells) = self.cells(slot) {
            cells.begin();
        }
    }

    /// Remembers of which variant's slot and user a trace is, for as long as nobody takes its place.
    pub fn remember(&self, trace: u64, slot: Slot, user: Option<u64>) {
        self.traces.remember(trace, slot, user);
    }

    /// A request that was begun here goes on with another slot: its variant could not serve it.
    pub fn abandon(&self, slot: Slot) {
        if let Some(cells) = self.cells(slot) {
            cells.abandon();
        }
    }

    /// A request has ended, in whatever way.
    pub fn finish(&self, slot: Slot, finished: &Finished) {
        if let Some(cells) = self.cells(slot) {
            cells.finish(finished);
        }
        if let Some(overhead_us) = finished.overhead_us {
            self.overhead.record(overhead_us);
        }
    }

    /// The variant of this slot could not serve a request, so that its fallback did. Counted against the
    /// variant that failed, as is the user, who was exposed to the failure.
    pub fn fallback(&self, failed: Slot, cause: FallbackCause, failure: Failure, user: Option<u64>) {
        if let Some(cells) = self.cells(failed) {
            cells.fallback(cause, failure, user);
        }
    }

    /// A request of a slot begins that a judge wants to hear of before it ends, should it hang. `None` when nobody does,
    /// or when too many are under way; else it ends with [`Shard::untrack`].
    pub fn track(&self, slot: Slot, reason: Reason, user: Option<u64>, started: Instant) -> Option<Tracked> {
        let watch = self.cells(slot)?.watch.get()?;
        if !watch.is_timed(reason) { None } else { self.in_flight.begin(slot, user, started) }
    }

    /// The request has ended, or goes on with another slot. True when it was counted as a slow one meanwhile.
    pub fn untrack(&self, tracked: Tracked) -> bool {
        self.in_flight.end(tracked)
    }

    /// A request of this slot was sent again, or would have been.
    pub fn retried(&self, slot: Slot, result: RetryResult) {
        if let Some(cells) = self.cells(slot) {
            cells.retried(result);
        }
    }

    /// A fault was injected into a request of this slot.
    pub fn fault_injected(&self, slot: Slot, kind: InjectedKind) {
        if let Some(cells) = self.cells(slot) {
            cells.fault_injected(kind);
        }
    }

    /// A request was answered with this status before its service was known.
    pub fn unrouted(&self, status: u16) {
        self.unrouted.count(status);
    }

    /// A client's connection was accepted.
    pub fn downstream_opened(&self) {
        add(&self.downstream_opened, 1);
    }

    /// A client's connection has ended.
    pub fn downstream_closed(&self) {
        add(&self.downstream_closed, 1);
    }

    /// A client's connection was closed as soon as it was accepted.
    pub fn downstream_refused(&self, why: ConnectionRefused) {
        add(&self.downstream_refused[why as usize], 1);
    }

    /// A connection to an endpoint was established.
    pub fn upstream_opened(&self) {
        add(&self.upstream_opened, 1);
    }

    /// A task has panicked and was contained.
    pub fn panicked(&self) {
        add(&self.panics, 1);
    }

    /// Makes room for a slot; for the control thread.
    pub(super) fn make_room(&self, slot: Slot) {
        if let Some(chunk) = self.chunks.get(slot.index() / CHUNK) {
            chunk.get_or_init(|| Box::new([const { SlotCells::new() }; CHUNK]));
        }
    }

    pub(super) fn cells(&self, slot: Slot) -> Option<&SlotCells> {
        let chunk = self.chunks.get(slot.index() / CHUNK)?.get()?;
        Some(&chunk[slot.index() % CHUNK])
    }
}
