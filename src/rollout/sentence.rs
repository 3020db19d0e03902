//! Times and shares in the words of events.

use std::time::Duration;

use super::input::CohortReading;
use super::plan::{Need, Shift};
use crate::model::grouped;

/// A span of time as people say it: `45s`, `12m`, `1h 30m`, `2d 4h`.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let two = |big: u64, unit: &str, small: u64, below: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit} {small}{below}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => two(minutes, "m", seconds % 60, "s"),
        (0, hours, minutes) => two(hours, "h", minutes, "m"),
        (days, hours, _) => two(days, "d", hours, "h"),
    }
}

/// What a step still needs: `312 of 1,000 requests`; `None` when it has all.
pub(super) fn missing(need: &Need, reading: &CohortReading) -> Option<String> {
    let probes = if need.counts_probes { reading.probes } else { 0 };
    let requests = reading.requests.saturating_add(probes);
    if requests < need.requests {
        return Some(format!("{} of {} requests", grouped(requests), grouped(need.requests)));
    }
    (reading.users < need.users).then(|| format!("{} of {} users", grouped(reading.users), grouped(need.users)))
}

/// How far a hold is: `4m of 15m`.
pub(super) fn hold(shift: &Shift, elapsed: Duration) -> Option<String> {
    (elapsed < shift.hold).then(|| format!("{} of {}", span(elapsed), span(shift.hold)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_two_words_at_most() {
        for (seconds, text) in
            [(0, "0s"), (45, "45s"), (61, "1m 1s"), (720, "12m"), (5_400, "1h 30m"), (7_200, "2h"), (187_200, "2d 4h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
