//! The end of a process, as a state machine: what happens in, what to do out. It knows no clock and no thread.
//!
//! ```text
//! serving ── stop ──▶ draining ── all ended ──▶ ended
//!                        │ stop again, or too long ──▶ ended
//! ```

use std::time::{Duration, Instant};

/// Where the process is on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Drain {
    /// New work is welcome.
    #[default]
    Serving,
    /// What is in flight may finish until then.
    Draining {
        /// When patience ends.
        until: Instant,
    },
    /// Nothing more will happen.
    Ended,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// Somebody asked for the end.
    Stop,
    /// Time passed; `all_ended`: no worker is at work any more.
    Passed {
        /// No worker is at work any more.
        all_ended: bool,
    },
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Let readiness fail, stop to accept, finish what is in flight.
    Begin,
    /// Leave. What is still in flight is cut.
    Leave(Ended),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything in flight was finished.
    Clean,
    /// It took longer than the drain timeout; what was left was cut.
    TimedOut,
    /// Asked to stop a second time; what was left was cut.
    Interrupted,
    /// The workers ended without having been asked to: a bug.
    Broken,
}

impl Drain {
    /// Takes the next step.
    pub(super) fn step(&mut self, happened: Happened, now: Instant, timeout: Duration) -> Option<Effect> {
        let effect = match (*self, happened) {
            (Drain::Serving, Happened::Stop) => Effect::Begin,
            (Drain::Serving, Happened::Passed { all_ended: true }) => Effect::Leave(Ended::Broken),
            (Drain::Draining { .. }, Happened::Stop) => Effect::Leave(Ended::Interrupted),
            (Drain::Draining { .. }, Happened::Passed { all_ended: true }) => Effect::Leave(Ended::Clean),
            (Drain::Draining { until }, Happened::Passed { all_ended: false }) if now >= until => {
                Effect::Leave(Ended::TimedOut)
            }
            (Drain::Serving | Drain::Draining { .. }, Happened::Passed { all_ended: false }) => return None,
            (Drain::Ended, _) => return None,
        };
        *self = match effect {
            Effect::Begin => Drain::Draining { until: now + timeout },
            Effect::Leave(_) => Drain::Ended,
        };
        Some(effect)
    }

    /// True from the first stop on.
    pub(super) fn has_begun(&self) -> bool {
        *self != Drain::Serving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Happened = Happened::Passed { all_ended: false };
    const DONE: Happened = Happened::Passed { all_ended: true };

    #[test]
    fn every_way_out() {
        type Story<'s> = (&'s str, &'s [(Happened, u64)], &'s [Effect]);
        let stories: &[Story<'_>] = &[
            ("quiet", &[(BUSY, 0), (BUSY, 100)], &[]),
            ("clean", &[(Happened::Stop, 0), (BUSY, 29), (DONE, 29)], &[Effect::Begin, Effect::Leave(Ended::Clean)]),
            (
                "too long",
                &[(Happened::Stop, 5), (BUSY, 34), (BUSY, 35)],
                &[Effect::Begin, Effect::Leave(Ended::TimedOut)],
            ),
            ("twice", &[(Happened::Stop, 0), (Happened::Stop, 1)], &[Effect::Begin, Effect::Leave(Ended::Interrupted)]),
            ("broken", &[(DONE, 0), (Happened::Stop, 1)], &[Effect::Leave(Ended::Broken)]),
            (
                "done in time at the last moment",
                &[(Happened::Stop, 0), (DONE, 30), (DONE, 31)],
                &[Effect::Begin, Effect::Leave(Ended::Clean)],
            ),
        ];
        let start = Instant::now();
        for (story, happened, expected) in stories {
            let mut drain = Drain::default();
            let step = |(happened, at): &(Happened, u64)| {
                drain.step(*happened, start + Duration::from_secs(*at), Duration::from_secs(30))
            };
            assert_eq!(happened.iter().filter_map(step).collect::<Vec<_>>(), *expected, "{story}");
        }
    }
}
