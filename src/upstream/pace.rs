//! How slowly a body may come or be taken: so that one byte a minute is not progress.
//!
//! Whoever is waited for has some time, at most `idle` at once. Waiting spends it, and each KiB earns half of `idle`
//! back: at the default of 60 s, 1 KiB in 30 s on the average. Time in which somebody else is waited for is not counted.

use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// The patience with one end of a body.
#[derive(Debug)]
pub struct Pace {
    /// At most so long at once; zero for no limit.
    idle: Duration,
    /// Any byte is progress: messages of a stream may be small and far between.
    is_lenient: bool,
    left: Cell<Duration>,
    /// Bytes that have not earned time yet.
    bytes: Cell<u64>,
    waiting: Cell<Option<Instant>>,
}

/// Bytes that earn time.
const STEP: u64 = 1024;
/// The part of `idle` that they earn.
const EARNED: u32 = 2;
/// The least time that is given, as none would mean for ever.
const INSTANT: Duration = Duration::from_millis(1);

impl Pace {
    /// A patience of `idle`.
    pub fn new(idle: Duration, is_lenient: bool) -> Pace {
        Pace { idle, is_lenient, left: Cell::new(idle), bytes: Cell::new(0), waiting: Cell::new(None) }
    }

    /// It is waited for from now on, unless it was already. Gives how long it may take then; zero for no limit.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        if self.waiting.get().is_some() {
            return None;
        }
        self.waiting.set(Some(now));
        Some(if self.idle.is_zero() { Duration::ZERO } else { self.left.get().max(INSTANT) })
    }

    /// So many bytes have moved, and it is waited for no longer.
    pub fn moved(&self, bytes: u64, now: Instant) {
        let waited = self.waiting.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if self.is_lenient && bytes > 0 {
            self.left.set(self.idle);
            return;
        }
        let bytes = self.bytes.get() + bytes;
        self.bytes.set(bytes % STEP);
        let steps = u32::try_from(bytes / STEP).unwrap_or(u32::MAX).min(EARNED);
        let left = self.left.get().saturating_sub(waited) + self.idle / EARNED * steps;
        self.left.set(left.min(self.idle));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a body lasts that brings so many bytes every so many seconds; at most an hour.
    fn lasts(pace: &Pace, bytes: u64, every: u64) -> Option<u64> {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut now = 0;
        while now < 3600 {
            let patience = pace.wait(at(now)).unwrap();
            if !patience.is_zero() && patience <= Duration::from_secs(every) {
                return Some(now + patience.as_secs());
            }
            now += every;
            pace.moved(bytes, at(now));
        }
        None
    }

    #[test]
    fn a_kib_in_half_a_minute_is_enough_and_less_is_not() {
        let minute = || Pace::new(Duration::from_secs(60), false);
        assert_eq!(lasts(&minute(), 0, 1), Some(60));
        assert_eq!(lasts(&minute(), 1, 10), Some(60), "drips");
        assert_eq!(lasts(&minute(), 1024, 29), None);
        assert_eq!(lasts(&minute(), 100, 2), None);
        assert_eq!(lasts(&minute(), 1024, 59), Some(90), "1 KiB a minute is too little");
        assert_eq!(lasts(&minute(), 1 << 30, 60), Some(60), "silence is silence");
        assert_eq!(lasts(&Pace::new(Duration::ZERO, false), 0, 100), None);
        assert_eq!(lasts(&Pace::new(Duration::from_secs(60), true), 1, 59), None, "a stream of messages");
    }

    #[test]
    fn waiting_for_somebody_else_costs_nothing() {
        let pace = Pace::new(Duration::from_secs(60), false);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        pace.moved(5, at(0));
        pace.moved(5, at(1000));
        assert_eq!(pace.wait(at(1000)), Some(Duration::from_secs(60)));
        assert_eq!(pace.wait(at(1010)), None, "waited for already");
        pace.moved(5, at(1030));
        assert_eq!(pace.wait(at(2000)), Some(Duration::from_secs(30)));
    }
}
