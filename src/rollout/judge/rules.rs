//! What the judge of a rollout is told to tolerate.

/// The rules of one rollout, the same for each of its cohorts.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeRules {
    /// The most that all gates of the rollback class together may take back a healthy rollout (0 to 1).
    pub alpha: f64,
    /// Evidence at which the ramp stops.
    pub freeze_at: f64,
    /// Evidence below which it goes on, after [`JudgeRules::thaw_s`].
    pub thaw_below: f64,
    /// How long evidence must be low, in seconds.
    pub thaw_s: u64,
    /// Bad events of the canary below which nothing is harm.
    pub min_bad: u64,
    /// Requests of the canary below which nothing is harm.
    pub min_requests: u64,
    /// What is counted.
    pub count: Unit,
    /// Steps of the plan for this cohort, at least 1: the evidence is spread over their starts.
    pub steps: u32,
    /// Whether the plan has a step without stable traffic at the same time, so that half of the evidence is kept
    /// for the comparison with what was before it.
    pub before_after: bool,
    /// Errors against stable's.
    pub errors: Option<ErrorRules>,
    /// Latency against stable's.
    pub latency: Option<LatencyRules>,
    /// How often the weights may be said to be wrong while they are not (0 to 1).
    pub sample_ratio: Option<f64>,
    /// What the business counts.
    pub outcomes: Vec<OutcomeRules>,
    /// The error budget.
    pub burn: Option<BurnRules>,
    /// Whether stable gets worse while the canary runs.
    pub collateral: Option<CollateralRules>,
}

/// What a bad event happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// To a user, once: where assignment is sticky.
    Users,
    /// To a request: where each is assigned on its own.
    Requests,
}

/// What follows from a gate's harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHarm {
    /// The version is taken back.
    Rollback,
    /// The rollout stops and asks.
    Pause,
}

/// What is tolerated of errors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorRules {
    /// The canary's rate may be this many times stable's, at least 1 and below 1.5.
    pub ratio: f64,
    /// Rates up to this are never harm (above 0, below 1).
    pub floor: f64,
}

impl ErrorRules {
    /// How much larger than stable's rate the canary's may be.
    pub fn limit(&self, stable_rate: f64) -> f64 {
        ((self.ratio - 1.0) * stable_rate).max(self.floor - stable_rate)
    }
}

/// What is tolerated of latency: `ratio · stable + plus`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyRules {
    /// At least 1.
    pub ratio: f64,
    /// In microseconds.
    pub plus_us: u64,
}

/// What is tolerated of a business outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct OutcomeRules {
    /// Its name.
    pub name: String,
    /// The canary's rate may be this part of stable's, 0.91 to 1.
    pub ratio: f64,
    /// What follows.
    pub on_harm: OnHarm,
}

/// What may be spent of the error budget.
#[derive(Clone, Debug, PartialEq)]
pub struct BurnRules {
    /// The objective: the part of requests that must be good (0 to 1).
    pub slo: f64,
    /// At least one.
    pub windows: Vec<BurnWindow>,
    /// What follows.
    pub on_harm: OnHarm,
}

/// A pair of windows that fires when both exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurnWindow {
    /// The long window, in seconds.
    pub long_s: u64,
    /// The short one, by custom a twelfth of it: it tells that it still goes on.
    pub short_s: u64,
    /// How many times faster than allowed the budget may go.
    pub above: f64,
}

/// What is tolerated of stable itself, compared with its time before the rollout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CollateralRules {
    /// Its rates may be this many times what they were, above 1. Wider than that of a comparison at the same time.
    pub ratio: f64,
    /// A healthy stable raises an alarm at most once in so many ticks, on average.
    pub ticks_between_alarms: f64,
    /// While there is an alarm nothing rises. After so many seconds of it what follows follows: most outages are over
    /// sooner, and need nobody.
    pub lasting_s: u64,
    /// What follows.
    pub on_harm: OnHarm,
}

impl Default for JudgeRules {
    fn default() -> Self {
        JudgeRules {
            alpha: 0.05,
            freeze_at: 4.0,
            thaw_below: 1.5,
            thaw_s: 60,
            min_bad: 3,
            min_requests: 10,
            count: Unit::Users,
            steps: 1,
            before_after: false,
            errors: Some(ErrorRules { ratio: 1.2, floor: 0.001 }),
            latency: Some(LatencyRules { ratio: 1.1, plus_us: 5_000 }),
            sample_ratio: Some(0.001),
            outcomes: Vec::new(),
            burn: None,
            collateral: Some(CollateralRules::default()),
        }
    }
}

impl Default for CollateralRules {
    fn default() -> Self {
        CollateralRules { ratio: 1.5, ticks_between_alarms: 1e6, lasting_s: 300, on_harm: OnHarm::Pause }
    }
}

impl Default for BurnRules {
    fn default() -> Self {
        BurnRules { slo: 0.999, windows: BurnWindow::TABLE.to_vec(), on_harm: OnHarm::Pause }
    }
}

impl BurnWindow {
    /// The windows of the SRE workbook (Google, "Alerting on SLOs"), and one for rollouts: 2 % of a budget of three
    /// days within 10 minutes.
    pub const TABLE: [BurnWindow; 5] = [
        BurnWindow { long_s: 3_600, short_s: 300, above: 14.4 },
        BurnWindow { long_s: 21_600, short_s: 1_800, above: 6.0 },
        BurnWindow { long_s: 86_400, short_s: 7_200, above: 3.0 },
        BurnWindow { long_s: 259_200, short_s: 21_600, above: 1.0 },
        BurnWindow { long_s: 600, short_s: 50, above: 8.64 },
    ];
}
