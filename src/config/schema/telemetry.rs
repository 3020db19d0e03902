//! What is told about requests.

use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;

/// The door for scrapers and probes, and the access log.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Telemetry {
    /// IP address and port of `/metrics`, `/livez`, `/readyz` and `/startupz`. Default `127.0.0.1:9902`.
    pub address: Option<SocketAddr>,
    /// One line for each request. Default: none.
    pub access_log: Option<AccessLog>,
    /// The most series that `/metrics` exposes; what is beyond is folded into `__other__`. Default 10000.
    pub max_series: Option<u32>,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessLog {
    /// `stdout`, `stderr`, or a file that is appended to.
    pub path: String,
    /// The shape of a line. Default: `ringway`.
    #[serde(default)]
    pub format: LogFormat,
}

/// The shape of a line of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// JSON with all there is.
    #[default]
    Ringway,
    /// JSON by the Elastic Common Schema.
    Ecs,
    /// Envoy's default text format, which has no place for cohort and variant.
    Envoy,
    /// The combined log format of web servers, which has none either.
    Combined,
}
