//! Rate limits, and the memory of the process.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::{Duration, Size};

/// How often requests may come. What is beyond is answered with 429.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// So many requests ..
    pub requests: u32,
    /// .. in this time.
    pub per: Duration,
    /// So many at once, where nothing came for a while. Default: `requests`.
    pub burst: Option<u32>,
    /// Whose quota a request is taken from. Default `clientIP`.
    #[serde(default)]
    pub key: RateKey,
    /// The most keys that are told apart, each 16 bytes. Default 65536.
    pub max_keys: Option<u32>,
}

/// Whose quota a request is taken from. A request without the header, cookie or user key counts for its address.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum RateKey {
    /// The client's address, as far as trusted proxies tell it; IPv6 by networks of 64 bits.
    #[default]
    #[serde(rename = "clientIP")]
    ClientIp,
    /// The value of a header.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
    /// The user key of the service (`hashOn`). For routes only.
    UserKey,
    /// All requests together.
    None,
}

/// How much memory the process may use, beside what its control group says. See docs/operations/overload.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Memory {
    /// Resident bytes at which nothing is left, at least 32MiB. Less and less is done from 85 % of it on.
    pub limit: Size,
}
