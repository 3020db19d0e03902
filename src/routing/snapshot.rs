//! What a file is compiled into.

use http::{HeaderName, HeaderValue};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::condition::Condition;
use super::edit::Edits;
use super::fault::Fault;
use super::host_pattern::HostPattern;
use super::limit::RateLimit;
use super::mirror::Mirror;
use super::outcome::OutcomeRule;
use super::overlay::RuledBy;
use super::routes::RouteTable;
use super::tls::ListenerTls;
use super::user_key::KeySource;
use super::vary::VaryTable;
use super::view::Trust;
use crate::config::files::{Geo, Secret};
use crate::model::{Layout, SaltKey, Weight};
use crate::telemetry::Slot;
use crate::upstream::{ClientTls, Upstream};

/// The immutable compiled state that serves requests. Published by one pointer, loaded once per request.
pub struct Snapshot {
    /// A short hash of the files that it was compiled from.
    pub rev: Arc<str>,
    /// Which request goes to which service.
    pub routes: RouteTable,
    /// What is being released.
    pub services: Vec<Service>,
    /// What each listener believes and allows.
    pub listeners: HashMap<SocketAddr, Arc<ListenerRules>>,
    /// Where the place of a client comes from.
    pub geo: Option<Arc<Geo>>,
    /// Lower-case header names that rules rely on: other spellings of them are removed from requests.
    pub relied_on: Arc<[HeaderName]>,
}

/// What a listener believes and allows.
#[derive(Debug)]
pub struct ListenerRules {
    /// The name in logs.
    pub name: Box<str>,
    /// TLS; `None` for plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Whose connections begin with a PROXY protocol header.
    pub proxy_protocol: Option<Box<[ipnet::IpNet]>>,
    /// Whom it believes.
    pub trust: Trust,
    /// What a client may use.
    pub limits: ListenerLimits,
    /// How long a client may take.
    pub timeouts: ListenerTimeouts,
    /// How often requests may come.
    pub rate_limit: Option<RateLimit>,
}

/// What a client may use of a listener. Defaults: security considerations in `docs/reference/limits.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Open connections; `None`: as many as descriptors allow, at most 10,000.
    pub connections: Option<u32>,
    /// Open connections of one client address; `None`: no limit.
    pub connections_per_ip: Option<u32>,
    /// Header fields of a request, cookie crumbs counted one by one.
    pub header_fields: usize,
    /// Bytes of a header block.
    pub header_bytes: usize,
    /// Bytes of a request target.
    pub target_bytes: usize,
    /// Bytes of a request body.
    pub body_bytes: Option<u64>,
    /// Requests on one connection.
    pub requests_per_connection: u32,
    /// Concurrent streams of an HTTP/2 connection.
    pub concurrent_streams: u32,
}

/// How long a client may take on a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// From the first byte of a request to the end of its head.
    pub request_headers: Duration,
    /// Without a request on an open connection.
    pub keep_alive: Duration,
    /// Without progress of a body.
    pub idle: Duration,
    /// Without a byte on a tunnel.
    pub tunnel: Duration,
}

/// What is being released: its variants and its cohorts.
pub struct Service {
    /// The name.
    pub name: Arc<str>,
    /// The name as a header value.
    pub header: HeaderValue,
    /// Where the user key is read, in order.
    pub key_sources: Box<[KeySource]>,
    /// The key of the bucket hash.
    pub salt: SaltKey,
    /// How a request may ask for the new version or refuse it.
    pub override_: Option<Override>,
    /// The variant that stands in for one without a usable endpoint.
    pub fallback: Option<usize>,
    /// Clients are shown the assignment.
    pub expose_assignment: bool,
    /// The versions, in the order of the file.
    pub variants: Box<[Variant]>,
    /// The remainder variant.
    pub remainder: usize,
    /// What shared caches must know of its answers.
    pub vary: VaryTable,
    /// What is injected into its requests.
    pub faults: Box<[Fault]>,
    /// True when a cohort or a variant edits headers.
    pub has_edits: bool,
    /// The groups, in order; `everyone` is the last one.
    pub cohorts: Box<[Cohort]>,
    /// What the business counts, in the order of the file.
    pub outcomes: Box<[OutcomeRule]>,
    /// Which requests are copied to another variant.
    pub mirror: Option<Arc<Mirror>>,
}

/// How a request may ask for the new version (`always`) or refuse it (`never`).
pub struct Override {
    /// The header.
    pub header: HeaderName,
    /// The cookie of the same name.
    pub cookie: Box<str>,
    /// The secret of signed overrides.
    pub secret: Option<Arc<Secret>>,
    /// Networks from which it counts without a signature.
    pub from: Box<[ipnet::IpNet]>,
}

/// One version of a service.
pub struct Variant {
    /// The name.
    pub name: Arc<str>,
    /// The name as a header value.
    pub header: HeaderValue,
    /// The version's name for people.
    pub version: Option<Box<str>>,
    /// Its endpoints.
    pub upstream: Arc<Upstream>,
    /// How new connections to it speak TLS, from [`Snapshot::put_in_force`] on.
    pub tls: Option<Arc<ClientTls>>,
    /// Headers set on requests to it.
    pub set_headers: Box<[(HeaderName, HeaderValue)]>,
    /// Edits of headers of its requests and answers.
    pub edits: Edits,
}

/// A group of requests.
pub struct Cohort {
    /// The name.
    pub name: Arc<str>,
    /// The name as a header value.
    pub header: HeaderValue,
    /// Which requests belong to it; `None` for all of them.
    pub when: Option<Condition>,
    /// The weights in force, one for each variant.
    pub weights: Box<[Weight]>,
    /// The weights are the cohort's own, not those of the variants.
    pub has_own_weights: bool,
    /// By whose word, when it is not the file's.
    pub ruled_by: Option<RuledBy>,
    /// Which buckets belong to which variant.
    pub layout: Layout,
    /// Where each variant's requests are recorded.
    pub slots: Box<[Slot]>,
    /// Edits of headers of its requests and answers.
    pub edits: Edits,
}

impl Snapshot {
    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| &*service.name == name)
    }

    /// The header that says a client's place, if one does.
    pub fn geo_header(&self) -> Option<&HeaderName> {
        match self.geo.as_deref() {
            Some(Geo::Header(name)) => Some(name),
            Some(Geo::Mmdb(_) | Geo::Table(_)) | None => None,
        }
    }

    /// Gives upstreams, which outlive snapshots, what new connections of theirs use from now on.
    pub fn put_in_force(&self) {
        for variant in self.services.iter().flat_map(|service| &service.variants) {
            variant.upstream.set_tls(variant.tls.clone());
        }
        for mirror in self.services.iter().filter_map(|service| service.mirror.as_ref()) {
            mirror.upstream.set_tls(mirror.tls.clone());
        }
    }

    /// The rules of a listener. `None` once the listener is gone from the file.
    pub fn rules(&self, address: &SocketAddr) -> Option<&Arc<ListenerRules>> {
        self.listeners.get(address)
    }
}

impl Service {
    /// The variant that an override asks for with `always`: the first that is not the remainder.
    pub fn newcomer(&self) -> Option<usize> {
        (0..self.variants.len()).find(|variant| *variant != self.remainder)
    }

    /// The edits of all cohorts and variants.
    pub fn edits(&self) -> impl Iterator<Item = &Edits> {
        let of_cohorts = self.cohorts.iter().map(|cohort| &cohort.edits);
        of_cohorts.chain(self.variants.iter().map(|variant| &variant.edits))
    }
}

impl ListenerRules {
    /// True for a peer that speaks for others: its own address says nothing of clients.
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trust.proxies.iter().any(|network| network.contains(&peer))
    }

    /// True for a peer whose connections must begin with a PROXY protocol header.
    pub fn expects_proxy_header(&self, peer: IpAddr) -> bool {
        let networks = self.proxy_protocol.as_deref().unwrap_or_default();
        let peer = peer.to_canonical();
        networks.iter().any(|network| network.contains(&peer))
    }
}

impl Default for ListenerRules {
    fn default() -> ListenerRules {
        let (limits, timeouts) = (ListenerLimits::default(), ListenerTimeouts::default());
        let trust = Trust::default();
        ListenerRules { name: "".into(), tls: None, proxy_protocol: None, trust, limits, timeouts, rate_limit: None }
    }
}

impl Default for ListenerLimits {
    fn default() -> ListenerLimits {
        ListenerLimits {
            connections: None,
            connections_per_ip: None,
            header_fields: 100,
            header_bytes: 32 * 1024,
            target_bytes: 8 * 1024,
            body_bytes: None,
            requests_per_connection: 1_000_000,
            concurrent_streams: 100,
        }
    }
}

impl Default for ListenerTimeouts {
    fn default() -> ListenerTimeouts {
        ListenerTimeouts {
            request_headers: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            tunnel: Duration::from_secs(600),
        }
    }
}

/// The default of a route: 2 s to connect.
impl Default for super::routes::Timeouts {
    fn default() -> super::routes::Timeouts {
        super::routes::Timeouts { request: None, connect: Duration::from_secs(2), idle: None }
    }
}

/// The hosts that a route is for, as patterns.
pub fn host_patterns(hosts: &[String]) -> Vec<HostPattern> {
    hosts.iter().map(|host| HostPattern::parse(host)).collect()
}
