//! The metrics: every name is in this file. Summed from the recorder when they are scraped.
//!
//! Labels are names of the configuration and closed sets of words, never anything that a client sends. Status
//! codes are the upstream's to choose, so each slot shows a bounded number of them.

mod collect;
mod exposition;
mod facts;
mod fold;
mod mirror;
mod native;
mod outside;
mod process;
mod protobuf;
mod rollouts;

pub use facts::{CertificateFact, EndpointFact, Facts, LeftoverFact, UpstreamFact, WeightFact};
pub use outside::{NotifierFact, ProbeFact};
pub use protobuf::{PROTOBUF_CONTENT_TYPE, prefers_protobuf};
pub use rollouts::RolloutFact;

use super::access_log::LogCounters;
use super::health::Health;
use super::recorder::Registry;
use arc_swap::ArcSwap;
use collect::{RecorderCollector, Shared};
use exposition::Kind::{Counter, Gauge, Histogram};
use exposition::{Family, family};
use process::ProcessCollector;
use prometheus::{Encoder, TextEncoder};
use std::sync::Arc;

const REQUESTS: Family = family(
    Counter,
    "ringway_http_requests_total",
    "Finished requests by the variant that served them, the reason they got it, and the status sent (0: none).",
    &["service", "cohort", "variant", "reason", "code"],
);
const DURATION: Family = family(
    Histogram,
    "ringway_http_request_duration_seconds",
    "Time from the first byte of a request to the last byte of its response.",
    &["service", "cohort", "variant", "outcome"],
);
const IN_FLIGHT: Family = family(
    Gauge,
    "ringway_http_requests_in_flight",
    "Requests that have begun and not finished.",
    &["service", "cohort", "variant"],
);
const WEIGHT: Family = family(
    Gauge,
    "ringway_variant_weight_ratio",
    "Share of the cohort that is assigned to the variant now.",
    &["service", "cohort", "variant"],
);
const WEIGHT_CONFIGURED: Family = family(
    Gauge,
    "ringway_variant_configured_weight_ratio",
    "Share of the cohort that the file gives to the variant.",
    &["service", "cohort", "variant"],
);
const USERS: Family = family(
    Gauge,
    "ringway_users_exposed",
    "Distinct users that the variant has served since the start, to about 1 %.",
    &["service", "cohort", "variant"],
);
const USERS_WITH_ERRORS: Family = family(
    Gauge,
    "ringway_users_with_errors",
    "Distinct users that have met an error of the variant since the start, to about 1 %.",
    &["service", "cohort", "variant"],
);
const FALLBACK: Family = family(
    Counter,
    "ringway_fallback_total",
    "Requests assigned to the variant that its fallback served, because the variant could not.",
    &["service", "cohort", "variant", "cause"],
);
const RETRIES: Family = family(
    Counter,
    "ringway_http_retries_total",
    "Requests that were sent again after a failure of the variant, by what came of that attempt.",
    &["service", "cohort", "variant", "result"],
);
const FAULTS_INJECTED: Family = family(
    Counter,
    "ringway_faults_injected_total",
    "Faults of the file that were injected into requests of the variant: drills.",
    &["service", "cohort", "variant", "kind"],
);
const RELOAD_SUCCESSFUL: Family = family(
    Gauge,
    "ringway_config_last_reload_successful",
    "1 when the last load of the configuration was put in force, 0 when it was rejected.",
    &[],
);
const RELOAD_TIMESTAMP: Family = family(
    Gauge,
    "ringway_config_last_reload_success_timestamp_seconds",
    "When a configuration was last put in force, in seconds since 1970.",
    &[],
);
const RELOADS: Family =
    family(Counter, "ringway_config_reloads_total", "Loads of the configuration by their result.", &["result"]);
const CONFIG_INFO: Family = family(Gauge, "ringway_config_info", "The revision in force.", &["rev"]);
const OVERHEAD: Family = family(
    Histogram,
    "ringway_proxy_overhead_seconds",
    "Time spent in Ringway itself until a request was handed upstream.",
    &[],
);
const ENDPOINTS: Family =
    family(Gauge, "ringway_upstream_endpoints", "Endpoints by their state.", &["service", "variant", "state"]);
const EJECTIONS: Family = family(
    Counter,
    "ringway_upstream_ejections_total",
    "Endpoints that were left alone for a while because of what they answered.",
    &["service", "variant", "cause"],
);
const HEALTH_CHECKS: Family = family(
    Counter,
    "ringway_upstream_health_checks_total",
    "Health checks of endpoints by their result.",
    &["service", "variant", "result"],
);
const IN_USE: Family = family(
    Gauge,
    "ringway_upstream_in_use",
    "What a variant uses of its limits: connections, requests in flight, and requests that wait (pending).",
    &["service", "variant", "of"],
);
const CERTIFICATES: Family = family(
    Gauge,
    "ringway_tls_certificate_expiry_seconds",
    "When the certificate of a listener expires, in seconds since 1970.",
    &["listener", "name"],
);
const BUILD_INFO: Family = family(Gauge, "ringway_build_info", "The version of Ringway.", &["version"]);
const LOG_DROPPED: Family = family(
    Counter,
    "ringway_access_log_dropped_total",
    "Lines of the access log that were lost because its writer was behind or failed.",
    &[],
);
const FOLDED: Family = family(
    Counter,
    "ringway_series_folded_total",
    "Names (service, cohort, variant) whose series are folded into __other__ to stay within maxSeries.",
    &[],
);
const DOWNSTREAM: Family = family(Gauge, "ringway_downstream_connections", "Open connections of clients.", &[]);
const DOWNSTREAM_TOTAL: Family =
    family(Counter, "ringway_downstream_connections_total", "Connections accepted from clients.", &[]);
const DOWNSTREAM_REFUSED: Family = family(
    Counter,
    "ringway_downstream_connections_refused_total",
    "Connections of clients that were closed as soon as they were accepted, by the reason.",
    &["reason"],
);
const UPSTREAM_TOTAL: Family =
    family(Counter, "ringway_upstream_connections_total", "Connections established to endpoints.", &[]);
const UNROUTED: Family = family(
    Counter,
    "ringway_unrouted_requests_total",
    "Requests that were answered before their service was known, by the status sent.",
    &["code"],
);
const PANICS: Family = family(Counter, "ringway_panics_total", "Panics that were contained: each is a bug.", &[]);
const OVERLOAD: Family = family(
    Gauge,
    "ringway_overload_stage",
    "How short of memory the process is: 0 not at all, 1 no keep-alive, 2 new requests get 503, 3 answers that hold most are cut.",
    &[],
);
const PROCESS_CPU: Family =
    family(Counter, "process_cpu_seconds_total", "User and system CPU time spent, in seconds.", &[]);
const PROCESS_RESIDENT: Family = family(Gauge, "process_resident_memory_bytes", "Resident memory size, in bytes.", &[]);
const PROCESS_FDS: Family = family(Gauge, "process_open_fds", "Open file descriptors.", &[]);
const PROCESS_FDS_MAX: Family = family(Gauge, "process_max_fds", "The most file descriptors that may be open.", &[]);
const PROCESS_START: Family =
    family(Gauge, "process_start_time_seconds", "When the process started, in seconds since 1970.", &[]);

/// The families of the recorder.
const RECORDED: [&Family; 30] = [
    &REQUESTS,
    &DURATION,
    &IN_FLIGHT,
    &WEIGHT,
    &WEIGHT_CONFIGURED,
    &USERS,
    &USERS_WITH_ERRORS,
    &FALLBACK,
    &RETRIES,
    &FAULTS_INJECTED,
    &RELOAD_SUCCESSFUL,
    &RELOAD_TIMESTAMP,
    &RELOADS,
    &CONFIG_INFO,
    &OVERHEAD,
    &ENDPOINTS,
    &EJECTIONS,
    &HEALTH_CHECKS,
    &IN_USE,
    &CERTIFICATES,
    &BUILD_INFO,
    &LOG_DROPPED,
    &FOLDED,
    &DOWNSTREAM,
    &DOWNSTREAM_TOTAL,
    &DOWNSTREAM_REFUSED,
    &UPSTREAM_TOTAL,
    &UNROUTED,
    &PANICS,
    &OVERLOAD,
];

/// The families of the process.
const OF_PROCESS: [&Family; 5] = [&PROCESS_CPU, &PROCESS_RESIDENT, &PROCESS_FDS, &PROCESS_FDS_MAX, &PROCESS_START];

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of the process.
pub struct Metrics {
    gathered: prometheus::Registry,
    recorded: Arc<RecorderCollector>,
    process: ProcessCollector,
    facts: Arc<ArcSwap<Facts>>,
}

impl Metrics {
    /// Metrics of what `recorder` holds, of `health`, of the access log if there is one, and of the process.
    pub fn new(
        recorder: Arc<Registry>,
        health: Arc<Health>,
        log: Option<LogCounters>,
    ) -> Result<Metrics, prometheus::Error> {
        let facts = Arc::new(ArcSwap::default());
        let gathered = prometheus::Registry::new();
        let log = log.unwrap_or_default();
        let recorded = Arc::new(RecorderCollector::new(recorder, health, log, Arc::clone(&facts))?);
        gathered.register(Box::new(Shared(Arc::clone(&recorded))))?;
        gathered.register(Box::new(ProcessCollector::new()?))?;
        Ok(Metrics { gathered, recorded, process: ProcessCollector::new()?, facts })
    }

    /// Says what is true from now on.
    pub fn state(&self, facts: Facts) {
        self.facts.store(Arc::new(facts));
    }

    /// All series in Prometheus' text format 0.0.4.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.gathered.gather(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
