//! What routes do to requests and answers on their way: header edits, redirects, rewrites.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

/// What is done to answers so that shared caches do not mix versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Cache {
    /// Names what decided in `Vary`; where no header tells it (the address, the lot), keeps answers private.
    #[default]
    Vary,
    /// Keeps all answers out of shared caches.
    Private,
    /// Leaves answers as the service sent them.
    Off,
}

/// Edits of header fields. A value may have variables: `${cohort}`, `${variant}`, `${service}`, `${bucket}`,
/// `${geo.country}`, `${clientIP}`, `${requestId}`. A header whose value comes out empty is not sent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HeaderEdits {
    /// Gives the header this value alone.
    pub set: IndexMap<String, String>,
    /// Adds the value to those that are there.
    pub add: IndexMap<String, String>,
    /// Removes the header.
    pub remove: Vec<String>,
}

impl HeaderEdits {
    /// The names of the headers that are given a value.
    pub fn written(&self) -> impl Iterator<Item = &str> {
        self.set.keys().chain(self.add.keys()).map(String::as_str)
    }

    /// The names of the headers that are given a value or removed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.written().chain(self.remove.iter().map(String::as_str))
    }
}

/// Answers with the address to go to. What is not written stays as the client asked for it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Redirect {
    /// The scheme.
    pub scheme: Option<Scheme>,
    /// The host.
    pub hostname: Option<String>,
    /// The port. Default: that of the scheme where one is written, else the one that the client came by.
    pub port: Option<u16>,
    /// The path.
    pub path: Option<PathEdit>,
    /// 301, 302, 303, 307 or 308. Default 302.
    pub status: Option<u16>,
}

/// A scheme of URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

/// Changes what the service is asked for. Routing and assignment look at what the client asked for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rewrite {
    /// The host that the service is asked for.
    pub hostname: Option<String>,
    /// The path that the service is asked for.
    pub path: Option<PathEdit>,
}

/// A change of a path. The query stays.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PathEdit {
    /// This path instead of the whole path.
    ReplaceFull(String),
    /// This path, or nothing, instead of the prefix that the route matched by whole segments.
    ReplacePrefix(String),
}
