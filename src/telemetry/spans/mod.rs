//! Spans of sampled requests, on their way to a tracer.
//!
//! ```text
//! worker: is it on? (one relaxed load) → sampled? → … → encoded once, when the request has ended → bounded channel
//! control thread: looks into the channel, batches, posts
//! ```
//!
//! While no tracer is configured, a request pays that load. No request waits for a tracer: what has no room is dropped and
//! counted. Secrets, cookies, query strings and user keys have no field here, as in the access log.

mod context;
mod encode;

pub use context::{Remote, traceparent};

use super::access_log::Entry;
use crate::model::Outcome;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;

/// Spans that may wait to be sent.
pub const WAITING_MAX: usize = 4_096;
/// The longest text of a client that a span holds, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// No span takes more bytes, as long as names of the file are at most 255 bytes each.
pub const BYTES_MAX: usize = 8 << 10;

/// An encoded span: a message `opentelemetry.proto.trace.v1.Span`.
pub type Encoded = Vec<u8>;

/// Where spans pass by. Shared by all workers.
#[derive(Debug)]
pub struct Spans {
    /// A [`Sampling`] in one word; 0 when there are no spans.
    sampling: AtomicU64,
    waiting: mpsc::Sender<Encoded>,
    /// The other end, until somebody takes it.
    queue: Mutex<Option<mpsc::Receiver<Encoded>>>,
    dropped: AtomicU64,
}

/// Of which requests there are spans. It is decided when a trace begins, and held to by everybody in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Traces are sampled whose id is not below it in its lowest 56 bits.
    threshold: u64,
    /// Every client is believed the trace that it tells, not only peers that are trusted.
    believes_everyone: bool,
}

/// What becomes of a request for tracers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Traced {
    /// There are no spans here. Context is passed on as it came, or started for others.
    #[default]
    Off,
    /// It belongs to a trace that is not recorded; its context is passed on as it came.
    PassedOn,
    /// It begins a trace of this id, which is not recorded.
    Unsampled(u128),
    /// There will be a span of it.
    Sampled(Box<Begun>),
}

/// A request of which there will be a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The trace; never 0.
    pub trace: u128,
    /// The request's own span; never 0.
    pub span: u64,
    /// The caller's span in the same trace.
    pub parent: Option<u64>,
    /// What a caller told who is not believed.
    pub link: Option<Remote>,
    /// As `traceparent` has them.
    pub flags: u8,
    /// When it arrived, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The client came by TLS.
    pub is_https: bool,
}

const ON: u64 = 1 << 63;
const EVERYONE: u64 = 1 << 62;
/// Trace ids have so many values in the bits that are looked at.
const IDS: u64 = 1 << 56;

impl Default for Spans {
    fn default() -> Spans {
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        Spans { sampling: AtomicU64::new(0), waiting, queue: Mutex::new(Some(queue)), dropped: AtomicU64::new(0) }
    }
}

impl Spans {
    /// Of which requests there are spans; `None` while there is no tracer.
    #[inline]
    pub fn sampling(&self) -> Option<Sampling> {
        match self.sampling.load(Relaxed) {
            0 => None,
            word => Some(Sampling { threshold: word & (ON - 1) & !EVERYONE, believes_everyone: word & EVERYONE != 0 }),
        }
    }

    /// Of which requests there are spans from now on.
    pub fn sample(&self, sampling: Option<Sampling>) {
        let word = sampling.map_or(0, |sampling| {
            let everyone = if sampling.believes_everyone { EVERYONE } else { 0 };
            ON | everyone | sampling.threshold
        });
        self.sampling.store(word, Relaxed);
    }

    /// A sampled request has ended. Never waits.
    pub fn offer(&self, entry: &Entry<'_>, begun: &Begun, outcome: Outcome) {
        match self.waiting.try_reserve() {
            Ok(room) => room.send(encode::span(entry, begun, outcome)),
            Err(_) => {
                self.dropped.fetch_add(1, Relaxed);
            }
        }
    }

    /// The end at which spans come out; `None` when somebody has it.
    pub fn take_queue(&self) -> Option<mpsc::Receiver<Encoded>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Spans that had no room, since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

impl Sampling {
    /// Samples this share of the traces that begin here, 0 to 1.
    pub fn new(share: f64, believes_everyone: bool) -> Sampling {
        let threshold = IDS - (share.clamp(0.0, 1.0) * IDS as f64) as u64;
        Sampling { threshold, believes_everyone }
    }

    /// Decides what becomes of a request, by the context that it came with. `arrived` is asked for sampled ones: when it
    /// came, in nanoseconds since 1970, and whether by TLS.
    pub fn decide(self, given: Option<Remote>, is_peer_trusted: bool, arrived: impl FnOnce() -> (u64, bool)) -> Traced {
        let (trace, parent, link, flags) = match given {
            Some(remote) if is_peer_trusted || self.believes_everyone => {
                if !remote.is_sampled() {
                    return Traced::PassedOn;
                }
                (remote.trace, Some(remote.span), None, remote.flags)
            }
            link => {
                let trace = fastrand::u128(1..);
                if !self.takes(trace) {
                    return Traced::Unsampled(trace);
                }
                (trace, None, link, 1)
            }
        };
        let ((unix_ns, is_https), span) = (arrived(), fastrand::u64(1..));
        Traced::Sampled(Box::new(Begun { trace, span, parent, link, flags, unix_ns, is_https }))
    }

    fn takes(self, trace: u128) -> bool {
        (trace as u64) & (IDS - 1) >= self.threshold
    }
}

impl Traced {
    /// There will be a span of it.
    pub fn is_sampled(&self) -> bool {
        matches!(self, Traced::Sampled(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMOTE: Remote = Remote { trace: 7, span: 8, flags: 1 };

    fn decide(sampling: Sampling, given: Option<Remote>, is_peer_trusted: bool) -> Traced {
        sampling.decide(given, is_peer_trusted, || (5, true))
    }

    fn begun(decided: Traced) -> Begun {
        match decided {
            Traced::Sampled(begun) => *begun,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_said_is_read_back_and_nothing_is_sampled_at_the_start() {
        let spans = Spans::default();
        assert_eq!(spans.sampling(), None);
        for (share, everyone) in [(0.0, false), (0.0, true), (0.25, true), (1.0, false), (1.0, true)] {
            let sampling = Sampling::new(share, everyone);
            spans.sample(Some(sampling));
            assert_eq!(spans.sampling(), Some(sampling), "{share} {everyone}");
        }
        spans.sample(None);
        assert_eq!(spans.sampling(), None);
    }

    #[test]
    fn a_believed_caller_decides_and_another_one_is_only_linked() {
        let (all, none, everyone) = (Sampling::new(1.0, false), Sampling::new(0.0, false), Sampling::new(0.0, true));
        for sampling in [all, none, everyone] {
            let begun = begun(decide(sampling, Some(REMOTE), true));
            assert_eq!((begun.trace, begun.parent, begun.link, begun.flags), (7, Some(8), None, 1));
            assert_eq!((begun.unix_ns, begun.is_https), (5, true));
            let unsampled = Remote { flags: 2, ..REMOTE };
            assert_eq!(decide(sampling, Some(unsampled), true), Traced::PassedOn);
        }
        assert_eq!(begun(decide(everyone, Some(REMOTE), false)).parent, Some(8));

        let begun = begun(decide(all, Some(REMOTE), false));
        assert_eq!((begun.parent, begun.link, begun.flags), (None, Some(REMOTE), 1));
        assert!(begun.trace != 7 && begun.trace != 0 && begun.span != 0);
        assert!(matches!(decide(none, Some(REMOTE), false), Traced::Unsampled(trace) if trace != 7));
        assert!(matches!(decide(none, None, true), Traced::Unsampled(_)));
    }

    #[test]
    fn the_share_is_that_of_the_traces_and_one_trace_is_always_decided_alike() {
        fastrand::seed(1);
        let (tenth, half) = (Sampling::new(0.1, false), Sampling::new(0.5, false));
        let ids: Vec<u128> = (0..20_000).map(|_| fastrand::u128(1..)).collect();
        let taken: Vec<&u128> = ids.iter().filter(|id| tenth.takes(**id)).collect();
        assert!((1_850..2_150).contains(&taken.len()), "{}", taken.len());
        assert!(taken.iter().all(|id| half.takes(**id)), "who samples more has those of who samples less");
        assert!(ids.iter().all(|id| Sampling::new(1.0, false).takes(*id)));
        assert!(!ids.iter().any(|id| Sampling::new(0.0, false).takes(*id)));
    }

    #[test]
    fn what_has_no_room_is_dropped_and_counted_and_what_waits_stays() {
        let spans = Spans::default();
        let mut queue = spans.take_queue().unwrap();
        assert!(spans.take_queue().is_none());
        let begun = begun(decide(Sampling::new(1.0, false), None, false));
        for number in 0..WAITING_MAX as u16 + 5 {
            spans.offer(&Entry { status: number, ..Entry::default() }, &begun, Outcome::Success);
        }
        assert_eq!((queue.len(), spans.dropped()), (WAITING_MAX, 5));
        let first = encode::span(&Entry::default(), &begun, Outcome::Success);
        assert_eq!(queue.try_recv().unwrap(), first, "the newest go");
    }
}
