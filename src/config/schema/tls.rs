//! TLS toward clients and endpoints, and the PROXY protocol.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

use super::super::values::networks;

/// TLS on a listener.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerTls {
    /// One is chosen by the name that a client asks for: exact, then wildcard, then the first of the list.
    pub certificates: Vec<CertificateFiles>,
    /// Authorities (PEM) whose certificates clients may present.
    pub client_ca_file: Option<PathBuf>,
    /// Whether a client must present a certificate. Default `required` where there is a `clientCaFile`.
    pub client_auth: Option<ClientAuth>,
    /// Revocation lists (PEM) of those authorities: a client whose authority has no list in it is refused.
    pub crl_file: Option<PathBuf>,
    /// The oldest version that is spoken. Default `"1.2"`.
    pub min_version: Option<TlsVersion>,
}

/// A certificate with its chain, and its key. Both are read again when they change.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateFiles {
    /// The certificate (PEM), followed by those that lead to its authority.
    pub cert_file: PathBuf,
    /// Its private key (PEM), readable by nobody else.
    pub key_file: PathBuf,
}

/// Whether a client must present a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClientAuth {
    /// Without a certificate there is no connection.
    #[default]
    Required,
    /// A client without a certificate is served; one with a wrong certificate is not.
    Optional,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    Tls13,
}

/// Who tells the address of the client before anything else, in a PROXY protocol header.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyProtocolFrom {
    /// Networks of load balancers. Each of their connections must begin with a header; those of others must not.
    #[serde(deserialize_with = "networks")]
    pub from: Vec<IpNet>,
}

/// TLS toward the endpoints of a variant.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UpstreamTls {
    /// The authorities (PEM) that may vouch for an endpoint. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The name that the endpoint's certificate must have. Default: the host of the first endpoint.
    pub server_name: Option<String>,
    /// The certificate (PEM) that is presented to the endpoint.
    pub client_cert_file: Option<PathBuf>,
    /// Its private key (PEM), readable by nobody else.
    pub client_key_file: Option<PathBuf>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProxyProtocolVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}
