//! `windows`: when something is allowed.

use schemars::JsonSchema;
use serde::Deserialize;

/// A window of time.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// An IANA time zone, such as `Asia/Tokyo`. Default `UTC`.
    pub tz: Option<String>,
    /// Spans such as `mon-thu 01:00-05:00`.
    pub allow: Vec<String>,
    /// Days on which it stays closed, such as `2026-12-20/2027-01-03`, both included.
    #[serde(default)]
    pub freezes: Vec<String>,
}
