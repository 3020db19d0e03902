//! `tests`: requests with the assignment that they must get.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

/// A request with the assignment that it must get.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Test {
    /// What the test is about.
    pub name: Option<String>,
    /// The request.
    pub request: TestRequest,
    /// What must come out; at least one of its fields.
    pub expect: TestExpect,
}

/// A request of a test.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestRequest {
    /// Absolute URL.
    pub url: String,
    /// Default `GET`.
    pub method: Option<String>,
    /// Request headers, cookies included.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// The address that the request comes from. Default `127.0.0.1`.
    #[serde(rename = "clientIP")]
    pub client_ip: Option<std::net::IpAddr>,
}

/// What must come out of a test's request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TestExpect {
    /// The name of the route.
    pub route: Option<String>,
    /// The service.
    pub service: Option<String>,
    /// The cohort.
    pub cohort: Option<String>,
    /// The variant.
    pub variant: Option<String>,
    /// The reason.
    pub reason: Option<String>,
    /// Where the client is sent: the `Location` of a redirect. Stands alone, as nothing else comes of it.
    pub redirect: Option<String>,
}
