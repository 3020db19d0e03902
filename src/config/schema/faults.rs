//! Injected faults, for drills.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::{Duration, Percent};

/// A fault that is injected into requests of a variant, as if the variant had it: a drill for gates and people.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// The variant that seems to have it.
    pub variant: String,
    /// Only for requests of this cohort. Default: all.
    pub cohort: Option<String>,
    /// Holds requests back before they are sent.
    pub delay: Option<FaultDelay>,
    /// Answers instead of the variant.
    pub abort: Option<FaultAbort>,
    /// So many of the requests, or of the users.
    pub percent: Percent,
    /// The same users each time, rather than requests at random. Default false.
    #[serde(default)]
    pub sticky: bool,
    /// From this time on (RFC 3339, such as `2026-12-24T18:00:00Z`) nothing is injected.
    pub until: Option<String>,
}

/// How long requests are held back: always the same, or spread so that these are the quantiles.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FaultDelay {
    /// All of them this long. Stands alone.
    pub fixed: Option<Duration>,
    /// Half of them at most this long.
    pub p50: Option<Duration>,
    /// Nine in ten of them at most this long.
    pub p90: Option<Duration>,
    /// 99 of 100 of them at most this long.
    pub p99: Option<Duration>,
}

/// What is answered instead of the variant.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum FaultAbort {
    /// This status, 400 to 599.
    Status(u16),
    /// Nothing: the connection is closed, or the stream reset.
    Reset,
}
