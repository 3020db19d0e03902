use schemars::JsonSchema;
use serde::Deserialize;

use super::super::values::{Duration, Percent, Size};

/// Copies of requests that another variant answers too; its answers are compared and thrown away.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// The variant that gets the copies. Requests that it serves anyway are not copied.
    pub to: String,
    /// Share of the requests that are copied, drawn for each request. Default 100.
    pub percent: Option<Percent>,
    /// The methods that are copied. Default `[GET, HEAD]`: a copy of any other may do something twice.
    pub methods: Option<Vec<String>>,
    /// The cohorts whose requests are copied. Default: all of them.
    pub cohorts: Option<Vec<String>>,
    /// The longest body of a request that is copied, at most 1MiB. Default 64KiB.
    pub max_body: Option<Size>,
    /// What is compared. Default `[status, headers, body]`; `[]` for load alone.
    pub compare: Option<Vec<MirrorPart>>,
    /// The header fields that are compared. Default: all but those that differ by nature, such as `date` and `etag`.
    pub headers: Option<Vec<String>>,
    /// What is left out of the comparison.
    #[serde(default)]
    pub ignore: MirrorIgnore,
    /// From the copy's start to the end of its answer, at most 1m. Default 5s.
    pub timeout: Option<Duration>,
    /// Copies of one worker that are under way at the same time, 1 to 1024; further ones wait. Default 32.
    pub max_in_flight: Option<u32>,
    /// Leaves `authorization`, `proxy-authorization` and `cookie` out of copies. Default false.
    #[serde(default)]
    pub strip_credentials: bool,
}

/// A part of an answer that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MirrorPart {
    /// The status code.
    Status,
    /// The header fields.
    Headers,
    /// The body: JSON by its structure, anything else byte by byte.
    Body,
}

/// What is left out of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MirrorIgnore {
    /// Header fields.
    pub headers: Vec<String>,
    /// Places in JSON bodies, such as `$.time`, `$.items[*].id` or `$..traceId` (of RFC 9535: names, indices, `*`, `..`).
    pub json_paths: Vec<String>,
}
