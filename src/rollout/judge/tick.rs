//! What the judge is given: what happened to one cohort in one second.

/// How many quantiles of latency are watched.
pub const QUANTILES: usize = 5;

/// The quantiles of stable's latency that become thresholds.
pub const QUANTILE_LEVELS: [f64; QUANTILES] = [0.50, 0.90, 0.95, 0.99, 0.999];

/// The first so many are known well enough from a sample to be compared with the past. Two groups at the same time may be
/// compared by any threshold, but how many of one group alone exceed the 99.9th percentile of 500 latencies is chance.
pub const PAST_QUANTILES: usize = 4;

/// Events among those exposed to them; never more events than exposed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many it happened to.
    pub events: u64,
    /// How many it could have happened to.
    pub of: u64,
}

/// One second of a cohort, or a part of one: a tick ends early when a weight changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tick {
    /// Seconds on a clock that only goes forward.
    pub at_s: u64,
    /// The share of the cohort that is assigned to the canary in this tick, 0 to 1.
    pub canary_share: f64,
    /// What happened to the canary.
    pub canary: Side,
    /// What happened to stable, at the same time.
    pub stable: Side,
}

/// What happened to one variant in one tick. Only judged requests: no overrides, health checks, mirrored requests,
/// aborts of clients, or requests within `warmup`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Side {
    /// Bad requests among those that finished.
    pub errors: Tally,
    /// Slow requests among those without an error that finished or crossed the largest threshold, by quantile.
    pub slow: [Tally; QUANTILES],
    /// Requests without an error that finished and took longer than is tolerated of the canary, by quantile. Told of
    /// stable alone, for whoever compares it with its own past.
    pub late: [Tally; QUANTILES],
    /// Errors and slow requests by user, where assignment is sticky.
    pub users: Option<Users>,
    /// Events of each outcome of the rules among those eligible, in the order of the rules.
    pub outcomes: Vec<Tally>,
    /// The same by user, where assignment is sticky: each counts until they had it once. Empty where users are not known.
    pub user_outcomes: Vec<Tally>,
}

/// The same tick counted by user: each counts until it happened to them once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// First errors among the users who were seen and had none before.
    pub errors: Tally,
    /// First slow answers among the users who got one in time before, or none, by quantile.
    pub slow: [Tally; QUANTILES],
    /// Users seen for the first time.
    pub new: u64,
}

impl Tally {
    /// `events` among `of`; counts that contradict each other are cut.
    pub fn new(events: u64, of: u64) -> Tally {
        Tally { events: events.min(of), of }
    }

    /// Adds another tally.
    pub fn add(&mut self, other: Tally) {
        self.events = self.events.saturating_add(other.events);
        self.of = self.of.saturating_add(other.of);
    }

    /// Events by exposed; 0 without any.
    pub fn rate(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.events as f64 / self.of as f64 }
    }

    /// The same, never more events than exposed: what came from outside is not believed.
    pub(super) fn checked(self) -> Tally {
        Tally::new(self.events, self.of)
    }
}
