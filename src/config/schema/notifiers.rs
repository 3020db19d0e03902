//! `notifiers`: who is told about rollouts, and `outbound`: whom Ringway itself may ask on the network.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

use crate::config::values::networks;

/// Whom Ringway itself may ask on the network, for notifiers, gates and traces. Public addresses by https may always be asked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Outbound {
    /// Networks that may be asked although they are private, and without encryption, such as `10.0.0.0/8`. Default:
    /// none.
    #[serde(deserialize_with = "networks")]
    pub allow: Vec<IpNet>,
    /// A PEM file with authorities that are believed beside those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Someone who is told about rollouts; exactly one of its kinds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notifier {
    /// The notifier's name.
    pub name: String,
    /// A Slack incoming webhook, or one that understands the same.
    pub slack: Option<Hook>,
    /// A web service of your own.
    pub webhook: Option<SignedHook>,
    /// PagerDuty, Events API v2.
    pub pagerduty: Option<PagerDuty>,
    /// A Prometheus Alertmanager, API v2.
    pub alertmanager: Option<Hook>,
}

/// An address that is a secret.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// A file with the URL.
    pub url_file: PathBuf,
}

/// An address whose messages are signed.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedHook {
    /// A file with the URL.
    pub url_file: PathBuf,
    /// A file with the secret of the signature (HMAC-SHA-256). Default: not signed.
    pub secret_file: Option<PathBuf>,
}

/// PagerDuty.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PagerDuty {
    /// A file with the integration's routing key.
    pub key_file: PathBuf,
    /// A file with the URL. Default: `https://events.pagerduty.com/v2/enqueue`.
    pub url_file: Option<PathBuf>,
}
