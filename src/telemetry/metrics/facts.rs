use super::super::recorder::Slot;
use super::outside::{NotifierFact, ProbeFact};
use super::rollouts::RolloutFact;
use std::collections::HashMap;

/// What others know and the recorder does not. Replaced as a whole by [`super::Metrics::state`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The revision in force; empty before the first.
    pub rev: String,
    /// The weights of each slot.
    pub weights: HashMap<Slot, WeightFact>,
    /// How many endpoints there are in each state; one entry for each service, variant and state, 0 included.
    pub endpoints: Vec<EndpointFact>,
    /// The certificates of listeners.
    pub certificates: Vec<CertificateFact>,
    /// What came of the endpoints of each variant.
    pub upstreams: Vec<UpstreamFact>,
    /// Where rollouts are.
    pub rollouts: Vec<RolloutFact>,
    /// What is left over of releases that are over; one entry for each service.
    pub leftovers: Vec<LeftoverFact>,
    /// Whether the state of rollouts is on the disk; `None` where there is no folder for it.
    pub state_durable: Option<bool>,
    /// What became of notes to notifiers.
    pub notifiers: Vec<NotifierFact>,
    /// What came of probes.
    pub probes: Vec<ProbeFact>,
    /// What became of spans, by result; a closed set. Empty where there has been no tracer.
    pub spans: Vec<(&'static str, u64)>,
}

/// What is left over of the releases of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftoverFact {
    /// The service's name.
    pub service: String,
    /// How much, by kind; a closed set.
    pub counts: [(&'static str, u64); 3],
}

/// When a certificate of a listener expires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateFact {
    /// The listener's name.
    pub listener: String,
    /// The first name of the certificate.
    pub name: String,
    /// The last second of its validity, in seconds since 1970.
    pub expires_unix_seconds: i64,
}

/// A variant's shares of a cohort, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightFact {
    /// What the file says.
    pub configured: f64,
    /// What requests get now.
    pub in_force: f64,
}

/// How many endpoints of a variant are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFact {
    /// The service's name.
    pub service: String,
    /// The variant's name.
    pub variant: String,
    /// The state, such as `healthy`; one of a closed set.
    pub state: &'static str,
    /// The number of endpoints.
    pub count: u64,
}

/// What came of the endpoints of a variant since it is there, and what it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamFact {
    /// The service's name.
    pub service: String,
    /// The variant's name.
    pub variant: String,
    /// Ejections by cause; a closed set.
    pub ejections: Vec<(&'static str, u64)>,
    /// Health checks by result; none without a check.
    pub checks: Vec<(&'static str, u64)>,
    /// What is in use now.
    pub in_use: Vec<(&'static str, u64)>,
}
