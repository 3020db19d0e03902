//! A request as routing sees it.

use http::{HeaderMap, Method};
use ipnet::IpNet;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::client::ClientAddr;
use crate::config::files::{Claims, Expected, Geo, GeoFacts, KeySet};

/// Whom a listener believes.
#[derive(Debug, Default)]
pub struct Trust {
    /// Networks whose forwarding and geo headers are believed.
    pub proxies: Box<[IpNet]>,
    /// The keys with which tokens are verified.
    pub keys: Option<Arc<KeySet>>,
    /// Who must have issued them, and for whom.
    pub expected: Expected,
}

/// A request as routing sees it. What is costly to find out is found out when it is asked for, and once.
pub struct RequestView<'r> {
    /// The method.
    pub method: &'r Method,
    /// The host: lower case, without port and trailing dot.
    pub host: &'r str,
    /// The path as it is matched: normalised, without query.
    pub path: &'r str,
    /// The query, without `?`.
    pub query: Option<&'r str>,
    /// The header fields that are left after forged ones were removed.
    pub headers: &'r HeaderMap,
    /// Who the client is.
    pub client: ClientAddr,
    trust: &'r Trust,
    geo: Option<&'r Geo>,
    geo_facts: OnceCell<GeoFacts<'r>>,
    claims: OnceCell<Option<Claims>>,
}

impl<'r> RequestView<'r> {
    /// The view of a request whose host and path have been validated.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        method: &'r Method,
        host: &'r str,
        path: &'r str,
        query: Option<&'r str>,
        headers: &'r HeaderMap,
        client: ClientAddr,
        trust: &'r Trust,
        geo: Option<&'r Geo>,
    ) -> RequestView<'r> {
        let (geo_facts, claims) = (OnceCell::new(), OnceCell::new());
        RequestView { method, host, path, query, headers, client, trust, geo, geo_facts, claims }
    }

    /// The client's address.
    pub fn client_ip(&self) -> IpAddr {
        self.client.ip
    }

    /// The client's place; empty without a source.
    pub fn geo(&self) -> &GeoFacts<'r> {
        self.geo_facts.get_or_init(|| match self.geo {
            Some(geo) => geo.facts(self.client.ip, self.headers, self.client.peer_trusted),
            None => GeoFacts::default(),
        })
    }

    /// The claims of the bearer token: verified with the listener's keys or, without keys, believed from a trusted
    /// proxy only.
    pub fn claims(&self) -> Option<&Claims> {
        let read = || {
            let value = self.headers.get(http::header::AUTHORIZATION)?.as_bytes();
            let (scheme, token) = value.split_at_checked(7)?;
            if !scheme.eq_ignore_ascii_case(b"bearer ") {
                return None;
            }
            let token = token.trim_ascii();
            match &self.trust.keys {
                Some(keys) => keys.verify(token, &self.trust.expected, unix_seconds()).ok(),
                None if self.client.peer_trusted => Claims::unverified(token),
                None => None,
            }
        };
        self.claims.get_or_init(read).as_ref()
    }
}

/// Seconds since 1970 (UTC).
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
