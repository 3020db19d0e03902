//! Rate limits: whose quota a request is taken from.

use http::{HeaderMap, HeaderName};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cookies;
use crate::upstream::{LimitSpec, Limiter, Taken};

/// How often requests may come, by whom they come from.
#[derive(Debug)]
pub struct RateLimit {
    /// The counts, which outlive a reload that leaves the limit as it is.
    pub limiter: Arc<Limiter>,
    /// Whose quota it is.
    pub key: LimitKey,
    /// The key of the hash: nobody can find keys that share a quota with somebody else's.
    secret: (u64, u64),
}

/// Whose quota a request is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitKey {
    /// The client's: an IPv4 address, or an IPv6 network of 64 bits, which is what one subscriber gets.
    ClientIp,
    /// That of the value of a header field; without one, the client's.
    Header(HeaderName),
    /// That of the value of a cookie; without one, the client's.
    Cookie(Box<str>),
    /// That of the user key; without one, or with one that is issued just now, the client's.
    UserKey,
    /// All requests share one.
    Together,
}

/// What is known of a quota after a request was taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Of a route, not of a listener.
    pub is_of_route: bool,
    /// So many requests ..
    pub requests: u32,
    /// .. in so many seconds, rounded up.
    pub window_seconds: u32,
    /// What became of the request.
    pub taken: Taken,
}

impl RateLimit {
    /// A limit that counts with `limiter`.
    pub fn new(limiter: Arc<Limiter>, key: LimitKey) -> RateLimit {
        // from the owner of the counts, so that a key keeps its place over reloads
        let secret = limiter.secret();
        RateLimit { limiter, key, secret }
    }

    /// Takes a request from its quota. `user` is the hash of a user key that came with the request.
    pub fn take(&self, client: IpAddr, headers: &HeaderMap, user: Option<u64>, now: Instant) -> Taken {
        let key = match &self.key {
            LimitKey::Together => 0,
            LimitKey::ClientIp => self.of_client(client),
            LimitKey::Header(name) => {
                headers.get(name).map_or_else(|| self.of_client(client), |value| self.hash(1, value.as_bytes()))
            }
            LimitKey::Cookie(name) => {
                cookies::cookie(headers, name).map_or_else(|| self.of_client(client), |value| self.hash(1, value))
            }
            LimitKey::UserKey => user.map_or_else(|| self.of_client(client), |user| self.hash(2, &user.to_le_bytes())),
        };
        self.limiter.take(key, now)
    }

    /// What is told of a quota after a request.
    pub fn quota(&self, taken: Taken, is_of_route: bool) -> Quota {
        let LimitSpec { requests, per, .. } = self.limiter.spec();
        Quota { is_of_route, requests: *requests, window_seconds: seconds(*per), taken }
    }

    /// The limit for people.
    pub fn describe(&self) -> String {
        let LimitSpec { requests, per, burst, .. } = self.limiter.spec();
        let key = match &self.key {
            LimitKey::ClientIp => "for each client address".to_owned(),
            LimitKey::Header(name) => format!("for each value of the header {name}"),
            LimitKey::Cookie(name) => format!("for each value of the cookie {name}"),
            LimitKey::UserKey => "for each user key".to_owned(),
            LimitKey::Together => "for all requests together".to_owned(),
        };
        format!("{requests} requests in {per:?}, {burst} at once, {key}")
    }

    fn of_client(&self, client: IpAddr) -> u64 {
        match client.to_canonical() {
            IpAddr::V4(address) => self.hash(0, &address.octets()),
            IpAddr::V6(address) => self.hash(0, &address.octets()[..8]),
        }
    }

    fn hash(&self, kind: u8, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        hasher.write_u8(kind);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// Whole seconds, rounded up.
pub fn seconds(time: Duration) -> u32 {
    let up = u64::from(time.subsec_nanos() > 0);
    u32::try_from(time.as_secs() + up).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::forged::testing::headers;

    /// How many of the clients, each with one line of headers, get a request through when each quota is one.
    fn passed(key: LimitKey, requests: &[(&str, (&str, &str), Option<u64>)]) -> Vec<bool> {
        let per = Duration::from_secs(3600);
        let spec = LimitSpec { owner: "test".to_owned(), requests: 1, per, burst: 1, keys_max: 64 };
        let limit = RateLimit::new(Arc::new(Limiter::new(spec)), key);
        let now = Instant::now();
        let take = |(client, line, user): &(&str, (&str, &str), Option<u64>)| {
            limit.take(client.parse().unwrap(), &headers(&[*line]), *user, now).is_allowed
        };
        requests.iter().map(take).collect()
    }

    #[test]
    fn each_key_has_a_quota_of_its_own() {
        let none = ("x-none", "1");
        let header = || LimitKey::Header(HeaderName::from_static("x-key"));
        for (key, requests, expected) in [
            (
                LimitKey::ClientIp,
                vec![("192.0.2.1", none, None), ("192.0.2.2", none, None), ("::ffff:192.0.2.1", none, None)],
                [true, true, false],
            ),
            (
                LimitKey::ClientIp,
                vec![("2001:db8::1", none, None), ("2001:db8::2", none, None), ("2001:db8:0:1::1", none, None)],
                [true, false, true],
            ),
            (
                header(),
                vec![
                    ("192.0.2.1", ("x-key", "a"), None),
                    ("192.0.2.2", ("x-key", "a"), None),
                    ("192.0.2.1", ("x-key", "b"), None),
                ],
                [true, false, true],
            ),
            // leaving the key out leads to the quota of the address, not around it
            (
                header(),
                vec![("192.0.2.1", none, None), ("192.0.2.1", none, None), ("192.0.2.2", none, None)],
                [true, false, true],
            ),
            (
                LimitKey::Cookie("uid".into()),
                vec![
                    ("192.0.2.1", ("cookie", "a=b; uid=1"), None),
                    ("192.0.2.2", ("cookie", "uid=1"), None),
                    ("192.0.2.2", none, None),
                ],
                [true, false, true],
            ),
            (
                LimitKey::UserKey,
                vec![("192.0.2.1", none, Some(1)), ("192.0.2.2", none, Some(1)), ("192.0.2.1", none, None)],
                [true, false, true],
            ),
            (
                LimitKey::Together,
                vec![("192.0.2.1", none, None), ("192.0.2.2", none, Some(1)), ("::1", none, None)],
                [true, false, false],
            ),
        ] {
            assert_eq!(passed(key.clone(), &requests), expected, "{key:?}");
        }
    }
}
