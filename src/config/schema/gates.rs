//! `gates` and `judge` of a rollout: what is watched, and how sure one must be.

use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

use super::{Condition, Field};
use crate::config::values::{Duration, Rate, Threshold};

/// What is watched. `errors`, `latency` and `sampleRatio` are on without being written.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Gates {
    /// Failed requests, against those of `from` at the same time.
    pub errors: ErrorsGate,
    /// Slow requests, against those of `from` at the same time.
    pub latency: LatencyGate,
    /// Whether users are split as the weights say.
    pub sample_ratio: SampleRatioGate,
    /// Outcomes that count for the business.
    pub outcomes: Vec<OutcomeGate>,
    /// How fast the error budget is spent.
    pub burn: Option<BurnGate>,
    /// Queries to a Prometheus.
    pub prometheus: Vec<PrometheusGate>,
    /// Questions to a web service.
    pub http: Vec<HttpGate>,
}

/// Failed requests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ErrorsGate {
    /// Silences the gate. Default false.
    pub off: bool,
    /// What counts as failed. Default `[5xx, reset, timeout, connect]`.
    pub bad: Option<Vec<Bad>>,
    /// What is tolerated.
    pub allow: ErrorsAllowed,
}

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Bad {
    /// A status from 500 to 599.
    #[serde(rename = "5xx")]
    Status5xx,
    /// A status from 400 to 499.
    #[serde(rename = "4xx")]
    Status4xx,
    /// The connection broke.
    #[serde(rename = "reset")]
    Reset,
    /// No answer in time.
    #[serde(rename = "timeout")]
    Timeout,
    /// No connection.
    #[serde(rename = "connect")]
    Connect,
}

/// How many more errors are tolerated.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ErrorsAllowed {
    /// This many times those of `from`. Default 1.2.
    pub ratio: Option<f64>,
    /// A rate that is never harm. Default 0.1%.
    pub floor: Option<Rate>,
}

/// Slow requests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LatencyGate {
    /// Silences the gate. Default false.
    pub off: bool,
    /// The quantiles of `from` that are compared with. Default all five.
    pub at: Option<Vec<Quantile>>,
    /// What is tolerated.
    pub allow: LatencyAllowed,
}

/// A quantile of latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Quantile {
    /// The median.
    P50,
    /// Nine of ten are faster.
    P90,
    /// 95 of 100 are faster.
    P95,
    /// 99 of 100 are faster.
    P99,
    /// 999 of 1,000 are faster.
    P999,
}

/// How much slower is tolerated.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LatencyAllowed {
    /// This many times the latency of `from`. Default 1.1.
    pub ratio: Option<f64>,
    /// And this much on top. Default 5ms.
    pub plus: Option<Duration>,
}

/// Whether users are split as the weights say; harm pauses.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SampleRatioGate {
    /// Silences the gate. Default false.
    pub off: bool,
    /// The chance of a false alarm in a rollout. Default 0.001.
    pub alpha: Option<f64>,
}

/// An outcome that counts for the business: seen in responses, or posted to the admin door.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutcomeGate {
    /// The outcome's name, such as `orders`.
    pub name: String,
    /// The response header by which it is seen. Default: it is posted.
    pub header: Option<Field>,
    /// The requests that could have it; without `header`, those that are
    /// remembered by their trace. Default: all.
    pub among: Option<Condition>,
    /// What is tolerated.
    #[serde(default)]
    pub allow: OutcomeAllowed,
    /// Default `pause`.
    pub on_harm: Option<HarmAction>,
}

/// How many fewer are tolerated.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OutcomeAllowed {
    /// This share of the rate of `from`, 0.91 to 1. Default 0.97.
    pub ratio: Option<f64>,
}

/// What a gate's harm does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HarmAction {
    /// The new version is taken away.
    #[default]
    Rollback,
    /// The rollout stops where it is, and asks.
    Pause,
}

/// How fast the error budget is spent. Absolute: it also sees harm to `from`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BurnGate {
    /// The share of requests that must be good, such as `99.9%`.
    pub slo: Rate,
    /// Pairs of windows; both of a pair must exceed its limit. Default: 1h and 5m above 14.4, 10m and 50s above 8.64.
    pub windows: Option<Vec<BurnWindow>>,
    /// Default `pause`.
    pub on_harm: Option<HarmAction>,
}

/// Two windows that must both exceed a limit.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BurnWindow {
    /// The long one: it is worth a stop.
    pub long: Duration,
    /// The short one: it is still so.
    pub short: Duration,
    /// Times the rate that would spend the budget exactly.
    pub above: f64,
}

/// A query to a Prometheus.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusGate {
    /// The gate's name.
    pub name: String,
    /// The server, such as `http://prometheus:9090`.
    pub url: String,
    /// A file with a token that is sent as `Authorization: Bearer`. Default: none.
    pub token_file: Option<PathBuf>,
    /// PromQL with one number as its answer.
    pub query: String,
    /// When it passes: `< 2`, `>= 0.99`.
    pub pass_when: Threshold,
    /// How often it is asked. Default 30s.
    pub every: Option<Duration>,
    /// Default `pause`.
    pub on_harm: Option<HarmAction>,
}

/// A question to a web service: 2xx pass, 409 harm, anything else unknown.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpGate {
    /// The gate's name.
    pub name: String,
    /// The address that is asked.
    pub url: String,
    /// A file with a token that is sent as `Authorization: Bearer`. Default: none.
    pub token_file: Option<PathBuf>,
    /// How often. Default 1m.
    pub every: Option<Duration>,
    /// Default `pause`.
    pub on_harm: Option<HarmAction>,
}

/// How sure the judge must be.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Judge {
    /// The chance that a good release is rolled back, for all gates of a rollout together. Default 5%.
    pub false_rollback: Option<Rate>,
    /// Evidence at which the ramp stops. Default 4.
    pub freeze_at: Option<f64>,
    /// Fewer bad requests of `to` are never harm. Default 3.
    pub min_bad: Option<u64>,
    /// Fewer requests of `to` are never harm. Default 10.
    pub min_requests: Option<u64>,
    /// What is counted. Default `users`.
    pub count: Count,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Count {
    /// Each user once: one broken client is not a broken release.
    #[default]
    Users,
    /// Each request.
    Requests,
}
