//! `ofrep`: feature flags by the same assignment.

use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;

/// The door at which services ask what a user gets, by the OpenFeature Remote Evaluation Protocol.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ofrep {
    /// IP address and port. Whoever reaches it may ask, and is believed.
    pub address: SocketAddr,
}
