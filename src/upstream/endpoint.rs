use arc_swap::{ArcSwap, ArcSwapOption};
use http::Version;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{Alpn, ClientTls, ProxyVersion};

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
    /// Within TLS; [`Upstream::tls`] says how.
    pub is_tls: bool,
    /// Connections begin with the client's address.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How one of them is chosen.
    pub balance: Balance,
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
}

/// A variant's endpoints, shared by all workers.
#[derive(Debug)]
pub struct Upstream {
    spec: Spec,
    id: u32,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    tls: ArcSwapOption<ClientTls>,
    is_resolved: AtomicBool,
}

/// One address of a variant.
#[derive(Debug)]
pub struct Endpoint {
    id: u32,
    address: SocketAddr,
    text: Box<str>,
    /// Milliseconds since [`epoch`] until which the endpoint is left alone; 0 when it is in use.
    ejected_until: AtomicU64,
    failures_in_a_row: AtomicU32,
    /// Milliseconds since [`epoch`] when the last of them was noted; 0 for never.
    failed_at: AtomicU64,
}

/// How long an endpoint is left alone after its first failed connection; doubled with each further one.
const EJECTION_MIN: Duration = Duration::from_millis(500);
/// The longest time that an endpoint is left alone before it is tried again.
const EJECTION_MAX: Duration = Duration::from_secs(10);

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

impl Spec {
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
}

impl Upstream {
    /// An upstream with the literal addresses of its spec; names wait for [`Upstream::set_addresses`].
    pub fn new(spec: Spec) -> Upstream {
        let literal: Vec<SocketAddr> = spec
            .targets
            .iter()
            .filter_map(|target| match target {
                Target::Address(address) => Some(*address),
                Target::Name(..) => None,
            })
            .collect();
        let endpoints = literal.into_iter().map(|address| Arc::new(Endpoint::new(address))).collect();
        let is_resolved = AtomicBool::new(!spec.targets.iter().any(|target| matches!(target, Target::Name(..))));
        let (id, endpoints) = (NEXT_ID.fetch_add(1, Relaxed), ArcSwap::from_pointee(endpoints));
        Upstream { spec, id, endpoints, tls: ArcSwapOption::empty(), is_resolved }
    }

    /// What it is made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// A number of its own in this process.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The endpoints now.
    pub fn endpoints(&self) -> arc_swap::Guard<Arc<Vec<Arc<Endpoint>>>> {
        self.endpoints.load()
    }

    /// How new connections speak TLS; `None` for plain ones.
    pub fn tls(&self) -> Option<Arc<ClientTls>> {
        if self.spec.is_tls { self.tls.load_full() } else { None }
    }

    /// New connections use this from now on.
    pub fn set_tls(&self, tls: Option<Arc<ClientTls>>) {
        self.tls.store(tls);
    }

    /// True once every name has been looked up at least once.
    pub fn is_resolved(&self) -> bool {
        self.is_resolved.load(Relaxed)
    }

    /// Takes over the addresses that names resolve to now; an endpoint whose address stays keeps its health.
    pub fn set_addresses(&self, addresses: &[SocketAddr]) {
        let old = self.endpoints.load();
        let keep = |address: &SocketAddr| old.iter().find(|endpoint| endpoint.address == *address).cloned();
        let mut new: Vec<Arc<Endpoint>> = Vec::with_capacity(addresses.len());
        for address in addresses {
            if new.iter().all(|endpoint| endpoint.address != *address) {
                new.push(keep(address).unwrap_or_else(|| Arc::new(Endpoint::new(*address))));
            }
        }
        let is_same = new.len() == old.len() && new.iter().zip(old.iter()).all(|(a, b)| a.address == b.address);
        if !is_same {
            self.endpoints.store(Arc::new(new));
        }
        self.is_resolved.store(true, Relaxed);
    }
}

impl Endpoint {
    fn new(address: SocketAddr) -> Endpoint {
        Endpoint {
            id: NEXT_ID.fetch_add(1, Relaxed),
            address,
            text: address.to_string().into(),
            ejected_until: AtomicU64::new(0),
            failures_in_a_row: AtomicU32::new(0),
            failed_at: AtomicU64::new(0),
        }
    }

    /// A number of its own in this process.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True while the endpoint is left alone because connections to it failed.
    pub fn is_ejected(&self, now: Instant) -> bool {
        let until = self.ejected_until.load(Relaxed);
        until != 0 && milliseconds(now) < until
    }

    /// Notes that no connection could be opened. The endpoint is left alone for a while, longer each time; when that
    /// time is over the next request tries it, and finds out for the others.
    ///
    /// Attempts that ran side by side are one failure: a burst says no more about an endpoint than a request does.
    pub fn note_connect_failure(&self, began: Instant, now: Instant) {
        let last = self.failed_at.load(Relaxed);
        if last != 0 && milliseconds(began) <= last {
            return;
        }
        self.failed_at.store(milliseconds(now), Relaxed);
        let failures = self.failures_in_a_row.fetch_add(1, Relaxed).min(8);
        let pause = (EJECTION_MIN * 2u32.pow(failures)).min(EJECTION_MAX);
        self.ejected_until.store(milliseconds(now + pause), Relaxed);
    }

    /// Connections that failed since the last one that was opened.
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row.load(Relaxed)
    }

    /// Keeps others away while one request finds out whether an endpoint is back. True for that request.
    pub fn claim_probe(&self, now: Instant, connect_timeout: Duration) -> bool {
        let until = self.ejected_until.load(Relaxed);
        if until == 0 {
            return true;
        }
        let next = milliseconds(now + connect_timeout);
        self.ejected_until.compare_exchange(until, next, Relaxed, Relaxed).is_ok()
    }

    /// Notes that a connection was opened.
    pub fn note_connected(&self) {
        if self.ejected_until.load(Relaxed) != 0 {
            self.ejected_until.store(0, Relaxed);
            self.failures_in_a_row.store(0, Relaxed);
        }
    }
}

/// The moment from which the milliseconds of health are counted.
fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *EPOCH.get_or_init(|| Instant::now() - Duration::from_secs(1))
}

fn milliseconds(at: Instant) -> u64 {
    at.saturating_duration_since(epoch()).as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(addresses: &[&str]) -> Upstream {
        let targets = addresses.iter().map(|address| Target::Address(address.parse().unwrap())).collect();
        let (service, variant) = ("shop".to_owned(), "canary".to_owned());
        Upstream::new(Spec {
            service,
            variant,
            targets,
            protocol: Protocol::Http1,
            is_tls: false,
            proxy_protocol: None,
            balance: Balance::RoundRobin,
        })
    }

    #[test]
    fn an_address_that_stays_keeps_its_health() {
        let upstream = upstream(&["127.0.0.1:1", "127.0.0.1:2"]);
        let now = Instant::now();
        upstream.endpoints()[1].note_connect_failure(now, now);
        upstream.set_addresses(&["127.0.0.1:2".parse().unwrap(), "127.0.0.1:3".parse().unwrap()]);
        let ejected: Vec<bool> = upstream.endpoints().iter().map(|endpoint| endpoint.is_ejected(now)).collect();
        assert_eq!(ejected, [true, false]);
    }

    #[test]
    fn ejection_grows_ends_and_is_forgiven() {
        let upstream = upstream(&["127.0.0.1:1"]);
        let endpoint = &upstream.endpoints()[0];
        let mut now = Instant::now();
        let fail = |at: Instant| endpoint.note_connect_failure(at, at);
        fail(now);
        assert!(endpoint.is_ejected(now + Duration::from_millis(499)));
        assert!(!endpoint.is_ejected(now + Duration::from_millis(501)));
        now += Duration::from_secs(1);
        fail(now);
        assert!(endpoint.is_ejected(now + Duration::from_millis(999)));
        for _ in 0..100 {
            now += Duration::from_secs(10);
            fail(now);
        }
        assert!(!endpoint.is_ejected(now + EJECTION_MAX + Duration::from_millis(1)));
        endpoint.note_connected();
        assert!(!endpoint.is_ejected(now));
    }

    #[test]
    fn a_burst_is_one_failure() {
        let upstream = upstream(&["127.0.0.1:1"]);
        let endpoint = &upstream.endpoints()[0];
        let began = Instant::now();
        for after in 0..100 {
            endpoint.note_connect_failure(began, began + Duration::from_millis(after));
        }
        assert!(!endpoint.is_ejected(began + Duration::from_millis(501)));
    }

    #[test]
    fn only_one_request_finds_out() {
        let upstream = upstream(&["127.0.0.1:1"]);
        let endpoint = &upstream.endpoints()[0];
        let now = Instant::now();
        endpoint.note_connect_failure(now, now);
        let later = now + Duration::from_secs(1);
        assert!(endpoint.claim_probe(later, Duration::from_secs(2)));
        assert!(endpoint.is_ejected(later));
    }
}
