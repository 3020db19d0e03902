//! What is told about requests.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::values::Percent;

/// The door for scrapers and probes, the access log, and traces.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Telemetry {
    /// IP address and port of `/metrics`, `/livez`, `/readyz` and `/startupz`. Default `127.0.0.1:9902`.
    pub address: Option<SocketAddr>,
    /// One line for each request. Default: none.
    pub access_log: Option<AccessLog>,
    /// Spans of requests, for a tracer. Default: none.
    pub traces: Option<Traces>,
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

/// Spans of requests, for a tracer: OTLP over HTTP, in protobuf.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traces {
    /// The receiver, such as `http://otel-collector:4318`. Without a path, `/v1/traces` is meant.
    pub endpoint: String,
    /// Share of the traces that begin here. A caller that is believed decides for its own. Default 100.
    pub percent: Option<Percent>,
    /// Whose `traceparent` is believed; that of others is linked, and another trace begins.
    #[serde(default)]
    pub parent_from: ParentFrom,
    /// `service.name` of the spans. Default `ringway`.
    pub service_name: Option<String>,
    /// What is said of this process beside that, such as `deployment.environment.name: production`.
    #[serde(default)]
    pub resource_attributes: IndexMap<String, String>,
    /// Header fields for the receiver.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// Header fields whose values are secrets: the file of each, such as `authorization: collector.token`.
    #[serde(default)]
    pub header_files: IndexMap<String, PathBuf>,
}

/// Whose `traceparent` is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ParentFrom {
    /// That of `trustedProxies` of the listener.
    #[default]
    TrustedProxies,
    /// Everybody's: clients can have themselves traced, and choose the ids of traces.
    Everyone,
}
