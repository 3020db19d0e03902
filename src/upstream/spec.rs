use http::Version;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Alpn, ProxyVersion};

/// What a variant's upstream is made of. Two equal ones are the same upstream, also across reloads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// The service, as written in the file.
    pub service: String,
    /// The variant, as written in the file.
    pub variant: String,
    /// The endpoints in the order of the file.
    pub targets: Vec<Target>,
    /// The protocol spoken to them.
    pub protocol: Protocol,
    /// Within TLS; [`super::Upstream::tls`] says how.
    pub is_tls: bool,
    /// Connections begin with the client's address.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// What is done about those that fail.
    pub resilience: Resilience,
}

/// One endpoint as written in the file: a host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A literal address.
    Address(SocketAddr),
    /// A DNS name and a port; resolved again and again.
    Name(String, u16),
}

/// The protocol spoken to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113 §3.3).
    H2c,
    /// HTTP/2, agreed upon in the TLS handshake.
    Http2,
    /// Within TLS what the endpoint chooses; else HTTP/2 for HTTP/2 requests, HTTP/1.1 for the others.
    Auto,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
    /// The one with fewer requests in flight of two taken at random (Mitzenmacher, "The power of two choices").
    LeastRequest,
    /// Always the same one for the same user; see [`super::Maglev`].
    ConsistentHash,
}

/// What is done about endpoints that fail. The default is what a variant without such keys has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resilience {
    /// How endpoints are asked whether they are well.
    pub check: Option<Check>,
    /// When an endpoint is left alone because of what it answers.
    pub outliers: Option<Outliers>,
    /// How long an endpoint that is new or well again takes to its full share; zero for at once.
    pub slow_start: Duration,
    /// What all workers together may use.
    pub limits: Limits,
}

/// An active health check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// What is asked.
    pub probe: Probe,
    /// Between two checks of an endpoint.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Checks in a row that an unhealthy endpoint must pass.
    pub healthy_after: u32,
    /// Checks in a row that an endpoint must fail.
    pub unhealthy_after: u32,
    /// Another port than the endpoint's.
    pub port: Option<u16>,
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A GET whose status is in one of these ranges, both ends included.
    Http {
        /// The path, query included.
        path: String,
        /// The host; the endpoint's address without one.
        host: Option<String>,
        /// Statuses that pass.
        expect: Vec<(u16, u16)>,
    },
    /// `grpc.health.v1.Health/Check` for a service; the empty name is the server as a whole.
    Grpc {
        /// The service's name.
        service: String,
    },
    /// A connection, nothing more.
    Tcp,
}

/// When an endpoint is ejected.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outliers {
    /// Errors in a row; 0 for never.
    pub consecutive: u32,
    /// Success rates far below those of the others.
    pub success_rate: Option<SuccessRate>,
    /// How long the first ejection lasts.
    pub eject_for: Duration,
    /// The share of endpoints that may be ejected at the same time, in millionths; rounded down.
    pub max_ejected_ppm: u32,
    /// How often success rates are compared, and ejections forgiven.
    pub interval: Duration,
}

/// When a success rate is far below those of the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SuccessRate {
    /// Endpoints with enough requests that there must be.
    pub endpoints_min: u32,
    /// Requests within an interval that are enough.
    pub requests_min: u32,
    /// Standard deviations below the mean, in thousandths.
    pub deviations_milli: u32,
}

/// What all workers together may use of a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Open connections, idle ones and tunnels included.
    pub connections: u32,
    /// Requests that wait for a connection or for their turn.
    pub pending: u32,
    /// Requests in flight.
    pub requests: u32,
}

impl Spec {
    /// A spec with the defaults of a variant that says nothing but its endpoints.
    pub fn plain(service: &str, variant: &str, targets: Vec<Target>) -> Spec {
        Spec {
            service: service.to_owned(),
            variant: variant.to_owned(),
            targets,
            protocol: Protocol::Http1,
            is_tls: false,
            proxy_protocol: None,
            balance: Balance::RoundRobin,
            resilience: Resilience::default(),
        }
    }

    /// The protocol of a connection for a request of this version.
    pub fn alpn(&self, version: Version) -> Alpn {
        match self.protocol {
            Protocol::Http1 => Alpn::Http1,
            Protocol::H2c | Protocol::Http2 => Alpn::Http2,
            Protocol::Auto if self.is_tls => Alpn::Either,
            Protocol::Auto if version == Version::HTTP_2 => Alpn::Http2,
            Protocol::Auto => Alpn::Http1,
        }
    }

    /// The scheme of requests to it.
    pub fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }

    /// True when connections of one can serve the other: everything is equal but who is in it and how it is chosen.
    pub(super) fn is_kin(&self, other: &Spec) -> bool {
        let common = |spec: &Spec| {
            let (balance, resilience) = (Balance::RoundRobin, Resilience::default());
            Spec { targets: Vec::new(), balance, resilience, ..spec.clone() }
        };
        self.service == other.service && self.variant == other.variant && common(self) == common(other)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { connections: 1024, pending: 256, requests: 1024 }
    }
}
