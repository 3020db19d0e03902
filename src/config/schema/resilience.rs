//! `variants.*` and `routes[].retry`: what is done about endpoints that fail.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::{Duration, Percent, StatusRange};

/// How each endpoint is asked whether it is well; exactly one of `path`, `grpc` and `tcp`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HealthCheck {
    /// A GET for this path, with HTTP/1.1, or HTTP/2 for a variant with `protocol: h2c`.
    pub path: Option<String>,
    /// The health protocol of gRPC, over HTTP/2.
    pub grpc: Option<GrpcCheck>,
    /// A connection that is opened, and closed again.
    pub tcp: Option<TcpCheck>,
    /// Between two checks, give or take a tenth. Default 5s.
    pub interval: Option<Duration>,
    /// How long one check may take. Default 2s, or the interval if that is shorter.
    pub timeout: Option<Duration>,
    /// Checks in a row that an unhealthy endpoint must pass. Default 2.
    pub healthy_threshold: Option<u32>,
    /// Checks in a row that an endpoint must fail to be unhealthy. Default 3.
    pub unhealthy_threshold: Option<u32>,
    /// Another port than that of the endpoint.
    pub port: Option<u16>,
    /// The `Host` of a check by path. Default: the address of the endpoint.
    pub host: Option<String>,
    /// Status codes of a check by path that pass, such as `200-299` or `204`. Default 200-299.
    pub expect: Option<Vec<StatusRange>>,
}

/// A check by the health protocol of gRPC.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrpcCheck {
    /// The service that is asked about. Default: the server as a whole.
    pub service: String,
}

/// A check by a connection; it has no settings.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TcpCheck {}

/// When an endpoint is left alone for a while because of what it answers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OutlierDetection {
    /// Errors in a row (5xx, reset, timeout, no connection). Default 5; 0 is never.
    pub consecutive_errors: Option<u32>,
    /// Ejects endpoints that fail far more often than the others. Default: off.
    pub success_rate: Option<SuccessRate>,
    /// For how long; so many times that for the second, third, ... time in short order, at most 5m. Default 30s.
    pub eject_for: Option<Duration>,
    /// The share of endpoints that may be ejected at the same time, rounded down. Default 50.
    pub max_ejected_percent: Option<Percent>,
    /// How often success rates are compared, and a past ejection is forgiven. Default 10s.
    pub interval: Option<Duration>,
}

/// Ejects endpoints whose share of successes is far below that of the others.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SuccessRate {
    /// Endpoints with enough requests that there must be. Default 5.
    pub min_endpoints: Option<u32>,
    /// Requests of an endpoint within an interval that are enough. Default 100.
    pub min_requests: Option<u32>,
    /// Standard deviations below the mean that are too far. Default 1.9.
    pub deviations: Option<f64>,
}

/// What a variant may use, over all workers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VariantLimits {
    /// Open connections to its endpoints, idle ones and tunnels included. Default 1024.
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection or for their turn. Default 256.
    pub max_pending: Option<u32>,
    /// Requests in flight. Default 1024.
    pub max_requests: Option<u32>,
}

/// When a request is sent again. Default: never.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retry {
    /// Further attempts after the first. Default 1.
    pub attempts: Option<u32>,
    /// What is tried again: `connect`, `reset`, `timeout`, `502`, `503`, `504`. Default `[connect, reset]`.
    pub on: Option<Vec<RetryOn>>,
    /// How long each attempt may take to the head of its response. Default: as long as the request.
    pub per_try_timeout: Option<Duration>,
    /// How long is waited before a further attempt.
    pub backoff: Backoff,
    /// How many requests may be sent again.
    pub budget: RetryBudget,
    /// The further attempts go to the fallback variant. Default false: a user stays with their variant.
    pub across_variants: bool,
}

/// Something that a request may be sent again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RetryOn {
    /// No connection could be opened: safe for every method.
    Connect,
    /// The connection broke before there was a response.
    Reset,
    /// There was no response in time.
    Timeout,
    /// Bad Gateway.
    #[serde(rename = "502")]
    Status502,
    /// Service Unavailable.
    #[serde(rename = "503")]
    Status503,
    /// Gateway Timeout.
    #[serde(rename = "504")]
    Status504,
}

/// How long is waited before a further attempt: a random time up to `base`, doubled each time up to `max`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Backoff {
    /// Default 25ms.
    pub base: Option<Duration>,
    /// Default 250ms. A response that asks for more by `Retry-After` is passed on.
    pub max: Option<Duration>,
}

/// How many requests of a variant may be sent again, in any ten seconds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryBudget {
    /// Share of the variant's requests. Default 20.
    pub percent: Option<Percent>,
    /// So many in any case. Default 3.
    pub min: Option<u32>,
}
