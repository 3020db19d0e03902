//! The file as people write it. Every name here is the contract with users.
//!
//! The types mirror the text and decide nothing: what is wrong with a file is said by `super::check`, and
//! what it means by `routing::compile`. Enums are externally tagged, so that each place keeps its span.

use indexmap::IndexMap;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

mod resilience;

pub use resilience::{
    Backoff, GrpcCheck, HealthCheck, OutlierDetection, Retry, RetryBudget, RetryOn, SuccessRate, TcpCheck,
    VariantLimits,
};

use super::values::{Duration, Percent, Size, Weight, networks};

mod admin;
mod faults;
mod gates;
mod limits;
mod mirror;
mod notifiers;
mod ofrep;
mod rollout;
mod telemetry;
mod traffic;
pub use admin::{Admin, Plaintext, Role, Sso};
pub use faults::{Fault, FaultAbort, FaultDelay};
pub use limits::{Memory, RateKey, RateLimit};
pub use telemetry::{AccessLog, LogFormat, ParentFrom, Telemetry, Traces};
pub use traffic::{Cache, HeaderEdits, PathEdit, Redirect, Rewrite, Scheme};
mod test;
mod tls;
mod window;

pub use gates::*;
pub use mirror::{Mirror, MirrorIgnore, MirrorPart};
pub use notifiers::*;
pub use ofrep::Ofrep;
pub use rollout::*;
pub use test::{Test, TestExpect, TestRequest};
pub use tls::{
    CertificateFiles, ClientAuth, ListenerTls, ProxyProtocolFrom, ProxyProtocolVersion, TlsVersion, UpstreamTls,
};
pub use window::Window;

/// A Ringway configuration: who listens, what is released, and how requests find it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct File {
    /// The schema that an editor checks this file against; Ringway does not read it.
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    /// The addresses that accept connections.
    pub listeners: Vec<Listener>,
    /// The door for people and scripts that change things. Loopback only.
    pub admin: Option<Admin>,
    /// The door for scrapers and probes, and the access log.
    pub telemetry: Option<Telemetry>,
    /// The door at which services ask what a user gets. Default: none.
    pub ofrep: Option<Ofrep>,
    /// Where the place of a client comes from.
    pub geo: Option<GeoSource>,
    /// How much memory the process may use.
    pub memory: Option<Memory>,
    /// A directory for what must outlive the process.
    pub state_dir: Option<PathBuf>,
    /// What is being released, by name.
    pub services: IndexMap<String, Service>,
    /// Host, path, method and header conditions that lead to a service. A file with one service needs none.
    pub routes: Vec<Route>,
    /// Windows of time, by name.
    pub windows: BTreeMap<String, Window>,
    /// Who is told about rollouts.
    pub notifiers: Vec<Notifier>,
    /// Whom Ringway itself may ask on the network.
    pub outbound: Option<Outbound>,
    /// Requests with the assignment they must get; run by `check`, and before a reload is accepted.
    pub tests: Vec<Test>,
}

/// An address that accepts connections.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// The listener's name in logs. Default: its address.
    pub name: Option<String>,
    /// IP address and port, such as `0.0.0.0:8080` or `[::]:8080`.
    pub address: SocketAddr,
    /// Speaks TLS, with HTTP/2 or HTTP/1.1 by ALPN. Default: plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Believes PROXY protocol headers of load balancers, before TLS. Default: nobody's.
    pub proxy_protocol: Option<ProxyProtocolFrom>,
    /// Networks whose `X-Forwarded-For` and geo headers are believed. Default: none.
    #[serde(default, deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// How JSON Web Tokens of requests are verified for `jwtClaim`.
    pub jwt: Option<Jwt>,
    /// What a client may use.
    #[serde(default)]
    pub limits: ListenerLimits,
    /// How long a client may take.
    #[serde(default)]
    pub timeouts: ListenerTimeouts,
    /// How often requests may come, before they are routed.
    pub rate_limit: Option<RateLimit>,
}

/// How JSON Web Tokens (RFC 7519) are verified.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jwt {
    /// A JSON Web Key Set (RFC 7517).
    pub keys_file: PathBuf,
    /// The only accepted `iss`. Default: any.
    pub issuer: Option<String>,
    /// The only accepted `aud`. Default: any.
    pub audience: Option<String>,
}

/// What a client may use of a listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ListenerLimits {
    /// Open connections. Default: the smaller of 10,000 and half of the process's descriptors less 64.
    pub max_connections: Option<u32>,
    /// Open connections of one client address, IPv6 by networks of 64 bits. Trusted proxies are exempt, and what they
    /// say by the PROXY protocol counts. Default: no limit.
    #[serde(rename = "maxConnectionsPerIP")]
    pub max_connections_per_ip: Option<u32>,
    /// Header fields of a request, cookie crumbs counted one by one. Default 100.
    pub max_header_fields: Option<u16>,
    /// Bytes of a request's header block. Default 32KiB.
    pub max_header_bytes: Option<Size>,
    /// Bytes of a request target. Default 8KiB.
    pub max_target_bytes: Option<Size>,
    /// Bytes of a request body. Default: no limit, bodies are streamed.
    pub max_body_bytes: Option<Size>,
    /// Requests on one connection before it is closed. Default 1000000.
    pub max_requests_per_connection: Option<u32>,
    /// Concurrent streams of an HTTP/2 connection. Default 100.
    pub max_concurrent_streams: Option<u32>,
}

/// How long a client may take on a listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ListenerTimeouts {
    /// From the first byte of a request to the end of its headers. Default 10s.
    pub request_headers: Option<Duration>,
    /// Without a request on an open connection. Default 60s.
    pub keep_alive: Option<Duration>,
    /// Without progress of a request or response body. Default 60s.
    pub idle: Option<Duration>,
    /// Without a byte on an upgraded connection (WebSocket). Default 10m.
    pub tunnel: Option<Duration>,
}

/// Where the place of a client comes from.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum GeoSource {
    /// A MaxMind DB file that the operator supplies.
    Mmdb(PathBuf),
    /// A header with a country code, believed from trusted proxies only.
    Header(String),
    /// A CSV file of networks: `cidr,country` and, where known, `continent,subdivision,city,asn`.
    Table(PathBuf),
}

/// What is being released: its variants and its cohorts.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Where the user key is read, in order; the first source with a value counts. Default: `[clientIP]`.
    pub hash_on: Option<Vec<KeySource>>,
    /// Salt of the bucket hash. Default: the rollout's `id`, or else the service's name.
    pub salt: Option<String>,
    /// A file with a secret salt, so that nobody outside can compute buckets.
    pub salt_file: Option<PathBuf>,
    /// How a request may ask for the new version or refuse it.
    #[serde(rename = "override")]
    pub override_: Option<Override>,
    /// The variant that stands in when another has no usable endpoint, or `none`. Default: the remainder variant.
    pub fallback: Option<String>,
    /// Shows clients the assignment in `x-ringway-*` response headers. Default false.
    #[serde(default)]
    pub expose_assignment: bool,
    /// The versions of the service, by name.
    pub variants: IndexMap<String, Variant>,
    /// Groups of requests; the first that matches wins, `everyone` takes the rest.
    #[serde(default)]
    pub cohorts: Vec<Cohort>,
    /// How a new version goes from nobody to everybody.
    pub rollout: Option<Rollout>,
    /// Copies of requests to another variant, whose answers are compared and thrown away.
    pub mirror: Option<Mirror>,
    /// Faults that are injected into requests of a variant, for drills.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// A place where the user key is read.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum KeySource {
    /// A request header.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
    /// A claim of a verified JSON Web Token.
    JwtClaim(String),
    /// A cookie that Ringway issues on the first visit.
    IssueCookie(String),
    /// The client's address, as far as trusted proxies tell it.
    #[serde(rename = "clientIP")]
    ClientIp,
}

/// How a request may ask for the new version (`always`) or refuse it (`never`).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Override {
    /// The header, and the cookie, that carries the override.
    pub header: String,
    /// A file with the secret of signed overrides.
    pub secret_file: Option<PathBuf>,
    /// Networks from which an override counts without a signature.
    #[serde(default, deserialize_with = "networks")]
    pub from: Vec<IpNet>,
}

/// One version of a service, with its endpoints.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variant {
    /// Share of every cohort without weights of its own. Default 100 for the only variant, else it must be said.
    pub weight: Option<Weight>,
    /// The version's name for people.
    pub version: Option<String>,
    /// `host:port` each; DNS names are resolved again and again.
    pub endpoints: Vec<String>,
    /// The protocol spoken to the endpoints. Default `http1`.
    #[serde(default)]
    pub protocol: Protocol,
    /// Speaks TLS to the endpoints. Default: plain TCP.
    pub tls: Option<UpstreamTls>,
    /// Tells the endpoints the client's address by a PROXY protocol header. Default: it is told in headers only.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
    /// How endpoints are chosen. Default `roundRobin`.
    #[serde(default)]
    pub load_balancing: LoadBalancing,
    /// How each endpoint is asked whether it is well. Default: not at all.
    pub health_check: Option<HealthCheck>,
    /// When an endpoint is left alone because of what it answers. Default: never.
    pub outlier_detection: Option<OutlierDetection>,
    /// How long an endpoint that is new or well again takes to its full share. Default 0s.
    pub slow_start: Option<Duration>,
    /// What the variant may use.
    pub limits: Option<VariantLimits>,
    /// Headers set on requests to this variant.
    #[serde(default)]
    pub set_headers: IndexMap<String, String>,
    /// Edits of the headers of requests to this variant, after those of the route and the cohort.
    pub request_headers: Option<HeaderEdits>,
    /// Edits of the headers of this variant's answers, after those of the route and the cohort.
    pub response_headers: Option<HeaderEdits>,
}

/// The protocol spoken to endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 over plain TCP, with prior knowledge.
    H2c,
    /// HTTP/2 over TLS.
    Http2,
    /// Over TLS: what the endpoint chooses by ALPN. Without: what the client speaks, HTTP/2 (h2c) for HTTP/2 requests
    /// and HTTP/1.1 for the others.
    Auto,
}

/// How an endpoint of a variant is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LoadBalancing {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight, of two chosen at random.
    LeastRequest,
    /// Always the same one for the same user key, or client address without one (Maglev).
    ConsistentHash,
}

/// A named group of requests.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cohort {
    /// The cohort's name; `everyone` is the last one and needs no entry.
    pub name: String,
    /// Which requests belong to it. Left out only for `everyone`.
    pub when: Option<Condition>,
    /// Replaces the variants' weights as a whole: a variant that is not named has 0.
    pub weights: Option<IndexMap<String, Weight>>,
    /// Edits of the headers of its requests, after those of the route.
    pub request_headers: Option<HeaderEdits>,
    /// Edits of the headers of its answers, after those of the route.
    pub response_headers: Option<HeaderEdits>,
}

impl Cohort {
    /// The cohort that takes the rest, where the file does not write it.
    pub fn everyone() -> Cohort {
        let name = crate::model::EVERYONE.to_owned();
        Cohort { name, when: None, weights: None, request_headers: None, response_headers: None }
    }
}

/// A condition on a request.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Condition {
    /// At least one of them is true.
    Any(Vec<Condition>),
    /// All of them are true.
    All(Vec<Condition>),
    /// It is not true.
    Not(Box<Condition>),
    /// A request header.
    Header(Field),
    /// A query parameter.
    Query(Field),
    /// A cookie.
    Cookie(Field),
    /// The path, without the query.
    Path(Text),
    /// The method is one of these.
    Method(Vec<String>),
    /// The host is one of these; `*.example.com` stands for any host below `example.com`.
    Host(Vec<String>),
    /// The client's address is in one of these networks.
    #[serde(rename = "clientIP", deserialize_with = "networks")]
    ClientIp(Vec<IpNet>),
    /// The client's place.
    Geo(Geo),
    /// The user key is a line of a file.
    UserList(UserList),
    /// The user key is a number in a range.
    UserId(UserId),
    /// A share of users, by bucket of a salt of its own.
    Percent(Percent),
    /// The client's device, read from `Sec-CH-UA-Platform` or `User-Agent`.
    Device(Device),
    /// A claim of a verified JSON Web Token.
    JwtClaim(Field),
}

/// A named value and exactly one way to look at it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    /// The name of the header, parameter, cookie or claim.
    pub name: String,
    /// Equal to this.
    pub exact: Option<String>,
    /// Begins with this.
    pub prefix: Option<String>,
    /// Ends with this.
    pub suffix: Option<String>,
    /// Contains this.
    pub contains: Option<String>,
    /// Matches this regular expression, somewhere; `^` and `$` anchor it.
    pub regex: Option<String>,
    /// Equal to one of these.
    pub one_of: Option<Vec<String>>,
    /// Is there, or is not.
    pub present: Option<bool>,
    /// A number in this range, both ends included.
    pub range: Option<[f64; 2]>,
}

/// Exactly one way to look at a text. For a path, `prefix` goes by whole segments.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Text {
    /// Equal to this.
    pub exact: Option<String>,
    /// Begins with this, by whole segments: `/api` matches `/api` and `/api/x`, not `/apix`.
    pub prefix: Option<String>,
    /// Ends with this.
    pub suffix: Option<String>,
    /// Contains this.
    pub contains: Option<String>,
    /// Matches this regular expression, somewhere; `^` and `$` anchor it.
    pub regex: Option<String>,
    /// Equal to one of these.
    pub one_of: Option<Vec<String>>,
}

/// The client's place. Within a list one must match, and each list that is written must.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Geo {
    /// ISO 3166-1 alpha-2 codes, such as `NO`.
    pub countries: Vec<String>,
    /// `AF`, `AN`, `AS`, `EU`, `NA`, `OC`, `SA`.
    pub continents: Vec<String>,
    /// ISO 3166-2 codes, such as `US-CA`.
    pub subdivisions: Vec<String>,
    /// English city names.
    pub cities: Vec<String>,
    /// Autonomous system numbers.
    pub asns: Vec<u32>,
}

/// A file of user keys, one a line; `#` begins a comment line. Reloaded when it changes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserList {
    /// The file.
    pub file: PathBuf,
}

/// A range of numeric user keys.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserId {
    /// First and last number, both included.
    pub range: [u64; 2],
}

/// The client's device.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// The platform is one of these.
    pub platform: Vec<Platform>,
}

/// The platform of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Platform {
    /// iPhone and iPad.
    Ios,
    /// Android phones and tablets.
    Android,
    /// Windows.
    Windows,
    /// macOS.
    Macos,
    /// Linux desktops.
    Linux,
    /// Anything else.
    Other,
}

/// Conditions that lead to a service. The most specific route wins, ties go by order.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// The route's name in logs. Default: `routes[N]`.
    pub name: Option<String>,
    /// Hosts, exact or `*.example.com`. Default: any host.
    #[serde(default)]
    pub hostnames: Vec<String>,
    /// One of them must match. Default: any request.
    #[serde(default)]
    pub matches: Vec<RouteMatch>,
    /// The service it leads to. Left out only where every request is redirected.
    pub service: Option<String>,
    /// Sends clients to another address. With a `service`, it gets the requests that are there already.
    pub redirect: Option<Redirect>,
    /// Changes what the service is asked for.
    pub rewrite: Option<Rewrite>,
    /// What is done to answers so that shared caches do not mix versions. Default `vary`.
    #[serde(default)]
    pub cache: Cache,
    /// How often requests may come.
    pub rate_limit: Option<RateLimit>,
    /// Edits of the headers of requests.
    pub request_headers: Option<HeaderEdits>,
    /// Edits of the headers of answers, those of `redirect` included.
    pub response_headers: Option<HeaderEdits>,
    /// How long the service may take.
    #[serde(default)]
    pub timeouts: RouteTimeouts,
    /// When a request is sent again. Default: never.
    pub retry: Option<Retry>,
}

/// Conditions of a route; all that are written must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RouteMatch {
    /// The path, by exactly one of `exact`, `prefix` and `regex`.
    pub path: Option<PathMatch>,
    /// The method is one of these.
    pub method: Vec<String>,
    /// Request headers.
    pub headers: Vec<Field>,
    /// Query parameters.
    pub query: Vec<Field>,
}

/// A path, looked at in one way.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PathMatch {
    /// Equal to this.
    Exact(String),
    /// Begins with this, by whole segments.
    Prefix(String),
    /// Matches this regular expression as a whole.
    Regex(String),
}

/// How long a service may take on a route.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RouteTimeouts {
    /// From the whole request to the response's headers. Default 30s; `0s` is none.
    pub request: Option<Duration>,
    /// To open a connection to an endpoint. Default 2s.
    pub connect: Option<Duration>,
    /// Without progress of a body. Default: the listener's.
    pub idle: Option<Duration>,
}
