use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::tls::CertificateFiles;
use crate::config::values::networks;

/// The door for people and scripts that change things.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admin {
    /// An address and port, or `unix:/path/to.sock`. Beyond loopback it needs `tokensFile`, and `tls` or `plaintext`.
    /// Default `127.0.0.1:9901`.
    #[serde(default = "address")]
    pub address: String,
    /// Who may do what: a line `NAME ROLE HASH [GROUP,GROUP]` for each token, as `ringway token admin` prints it. With
    /// it, nobody gets in without a token, a session or a proxy that vouches. Default: whoever reaches the address is
    /// an admin.
    pub tokens_file: Option<PathBuf>,
    /// The certificate of the door, which then speaks HTTPS alone. Not for sockets. Default: plain HTTP.
    pub tls: Option<CertificateFiles>,
    /// `allow`: plain HTTP to other machines, where tokens and sessions can be read on their way. For networks that encrypt by
    /// themselves, such as a mesh. Default: refused.
    pub plaintext: Option<Plaintext>,
    /// Nothing can be changed through this door, whatever the role. Default false.
    #[serde(default)]
    pub read_only: bool,
    /// Further names under which the door may be asked, such as that of a proxy before it.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Further origins whose pages may ask, such as `https://ringway.example.com`.
    #[serde(default)]
    pub origins: Vec<String>,
    /// A proxy that signs people in and tells who they are. Default: none is believed.
    pub sso: Option<Sso>,
}

/// Whether the door speaks plain HTTP beyond this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Plaintext {
    /// It does.
    Allow,
}

/// A proxy that signs people in, and tells who they are in a header.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sso {
    /// The networks of the proxy; whoever asks from there is believed.
    #[serde(deserialize_with = "networks")]
    pub from: Vec<IpNet>,
    /// The header with the name of the person.
    pub user_header: String,
    /// The header with the groups of the person, separated by commas. Default: nobody is in a group.
    pub groups_header: Option<String>,
    /// The role of a group's members; the greatest counts.
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
    /// The role of whoever is in none of these groups. Default: they are refused.
    pub default_role: Option<Role>,
}

/// What somebody may do; each role may do all that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Command rollouts and set weights.
    Operator,
    /// Everything: reload, drain, the log, endpoints.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// The role of a word.
    pub fn parse(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Default for Admin {
    fn default() -> Admin {
        Admin {
            address: address(),
            tokens_file: None,
            tls: None,
            plaintext: None,
            read_only: false,
            hosts: Vec::new(),
            origins: Vec::new(),
            sso: None,
        }
    }
}

fn address() -> String {
    "127.0.0.1:9901".to_owned()
}
