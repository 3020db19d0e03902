//! Harm on purpose, to see it being taken back: the demo's new version can be broken while it is released.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// What the demo's new version does wrong. Nothing at first.
#[derive(Debug, Default)]
pub struct Drill {
    failing_per_million: AtomicU32,
    delay_ms: AtomicU32,
}

/// The longest delay.
pub const DRILL_DELAY_MAX: Duration = Duration::from_secs(10);
const MILLION: f64 = 1e6;

impl Drill {
    /// From now on this share of requests fails, from 0 to 1, and each takes so much longer, at most
    /// [`DRILL_DELAY_MAX`].
    pub fn set(&self, failing: f64, delay: Duration) {
        self.failing_per_million.store((failing.clamp(0.0, 1.0) * MILLION) as u32, Relaxed);
        self.delay_ms.store(delay.min(DRILL_DELAY_MAX).as_millis() as u32, Relaxed);
    }

    /// The share of requests that fails, from 0 to 1.
    pub fn failing(&self) -> f64 {
        f64::from(self.failing_per_million.load(Relaxed)) / MILLION
    }

    /// How much longer each request takes.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms.load(Relaxed).into())
    }

    /// True when nothing is wrong.
    pub fn is_off(&self) -> bool {
        self.failing() == 0.0 && self.delay().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harm_has_bounds() {
        let drill = Drill::default();
        assert!(drill.is_off());
        drill.set(0.25, Duration::from_millis(300));
        assert_eq!((drill.failing(), drill.delay()), (0.25, Duration::from_millis(300)));
        drill.set(7.0, Duration::from_secs(3_600));
        assert_eq!((drill.failing(), drill.delay()), (1.0, DRILL_DELAY_MAX));
        drill.set(f64::NAN, Duration::ZERO);
        assert!(drill.is_off());
    }
}
