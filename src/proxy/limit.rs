//! Rate limits on real requests: of the listener before routing, of the route once the user is known.

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use smallvec::SmallVec;
use std::net::IpAddr;
use std::time::Instant;

use super::error::ProxyError;
use super::forward::Decision;
use crate::routing::limit::{Quota, RateLimit, seconds};
use crate::routing::user_key::KeySource;

/// The `RateLimit` fields of draft-ietf-httpapi-ratelimit-headers-10: lists of named policies (`q` requests in `w`
/// seconds) and of what is left of each (`r` requests, all of it again after `t` seconds).
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// See [`RATELIMIT`].
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The quotas that a request was taken from: the listener's, the route's.
pub(super) type Quotas = SmallVec<[Quota; 2]>;

/// Takes a request from the quota of its listener, if that has a limit.
pub(super) fn of_listener(
    limit: Option<&RateLimit>,
    client: IpAddr,
    headers: &HeaderMap,
    now: Instant,
) -> Result<Quotas, ProxyError> {
    let mut quotas = Quotas::new();
    if let Some(limit) = limit {
        take(limit, false, client, headers, None, now, &mut quotas)?;
    }
    Ok(quotas)
}

/// Takes a request from the quota of its route, if that has a limit. `quotas` are those that it met before.
pub(super) fn of_route(
    decision: &mut Decision<'_>,
    quotas: Quotas,
    client: IpAddr,
    headers: &HeaderMap,
    now: Instant,
) -> Result<(), ProxyError> {
    decision.quotas = quotas;
    let Some(limit) = &decision.route.rate_limit else { return Ok(()) };
    // an address is looked at as one: an IPv6 client has many
    let source = decision.source.map(|source| &decision.service.key_sources[source]);
    let user = decision.user.filter(|_| source.is_some_and(|source| !matches!(source, KeySource::ClientIp)));
    take(limit, true, client, headers, user, now, &mut decision.quotas)
}

fn take(
    limit: &RateLimit,
    is_of_route: bool,
    client: IpAddr,
    headers: &HeaderMap,
    user: Option<u64>,
    now: Instant,
    quotas: &mut Quotas,
) -> Result<(), ProxyError> {
    let quota = limit.quota(limit.take(client, headers, user, now), is_of_route);
    if !quota.taken.is_allowed {
        return Err(ProxyError::RateLimited(quota));
    }
    quotas.push(quota);
    Ok(())
}

/// Tells a client what is left of its quotas.
pub(super) fn tell(headers: &mut HeaderMap, quotas: &[Quota]) {
    for quota in quotas {
        let name = if quota.is_of_route { "route" } else { "listener" };
        let policy = format!("\"{name}\";q={};w={}", quota.requests, quota.window_seconds);
        let remaining = quota.taken.remaining.min(quota.requests);
        let left = format!("\"{name}\";r={remaining};t={}", seconds(quota.taken.full_after));
        for (name, text) in [(RATELIMIT_POLICY, policy), (RATELIMIT, left)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                // a list may stand on several lines: what the service says of its own limits stays
                headers.append(name, value);
            }
        }
    }
}

/// Tells a client that is refused when to come again.
pub(super) fn refuse(headers: &mut HeaderMap, error: ProxyError) {
    if let ProxyError::RateLimited(quota) = error {
        tell(headers, &[quota]);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds(quota.taken.retry_after).max(1)));
    }
}
