//! How long a client of HTTP/2 may leave an answer lying: the window of its stream is shut, or opened by a byte at a
//! time (RFC 9113 §10.5). Waiting costs us memory and an endpoint's connection, and the client nothing.
//!
//! Only waiting for the client counts, so a service that says little for hours is not concerned. It counts over the
//! whole answer, until some kilobytes have moved: WINDOW_UPDATE alone is no progress.

use std::time::Duration;
use tokio::time::Instant;

/// How long a client may be waited for until it takes [`PROGRESS_BYTES`].
const STALL_MAX: Duration = Duration::from_secs(30);
/// What counts as progress.
const PROGRESS_BYTES: usize = 16 * 1024;
/// The least time that is given, as none would mean for ever.
const INSTANT: Duration = Duration::from_millis(1);

/// The patience with one client's stream.
#[derive(Debug)]
pub(super) struct Stall {
    left: Duration,
    moved: usize,
    /// The client is waited for since then.
    waiting: Option<Instant>,
}

impl Stall {
    /// The head of an answer goes out, and its body will when the client takes it.
    pub(super) fn begin(now: Instant) -> Stall {
        Stall { left: STALL_MAX, moved: 0, waiting: Some(now) }
    }

    /// The client is asked to take this many bytes; gives how long it may wait with that.
    pub(super) fn handed(&mut self, bytes: usize, now: Instant) -> Duration {
        self.moved += bytes;
        self.waiting = Some(now);
        self.left.max(INSTANT)
    }

    /// The client has room again. True when it was waited for.
    pub(super) fn taken(&mut self, now: Instant) -> bool {
        let Some(since) = self.waiting.take() else { return false };
        self.left = self.left.saturating_sub(now.saturating_duration_since(since));
        if self.moved >= PROGRESS_BYTES {
            *self = Stall { left: STALL_MAX, moved: 0, waiting: None };
        }
        true
    }

    /// How long the client may be waited for now.
    pub(super) fn left(&self) -> Duration {
        self.left.max(INSTANT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drips_are_no_progress_and_kilobytes_are() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut stall = Stall::begin(start);
        assert!(stall.taken(at(10)));
        assert_eq!(stall.handed(1, at(10)), Duration::from_secs(20));
        assert!(stall.taken(at(20)));
        // the service is silent for an hour: that is no stall
        assert!(!stall.taken(at(3000)));
        assert_eq!(stall.handed(1, at(3620)), Duration::from_secs(10));
        assert!(stall.taken(at(3629)));
        assert_eq!(stall.handed(PROGRESS_BYTES, at(3629)), Duration::from_secs(1));
        assert!(stall.taken(at(3629)));
        assert_eq!(stall.left(), STALL_MAX);
        assert_eq!(stall.handed(5, at(3700)), STALL_MAX);
        assert!(stall.taken(at(4000)));
        assert_eq!(stall.left(), INSTANT, "never none at all, which would mean for ever");
    }
}
