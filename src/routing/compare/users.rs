use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::net::{IpAddr, Ipv4Addr};

use crate::routing::client::ClientAddr;
use crate::routing::user_key::KeySource;

/// The users that are assigned.
pub(crate) enum Users {
    /// So many made-up ones, the same each time.
    Synthetic(u32),
    /// Those of a list.
    Listed(Vec<String>),
}

/// The request of a user: what carries the user key, and nothing else.
pub(crate) struct UserRequest {
    pub(crate) headers: HeaderMap,
    pub(crate) query: Option<String>,
    pub(crate) client: ClientAddr,
}

/// The client of users who are not told apart by address: TEST-NET-1 (RFC 5737).
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

impl Users {
    pub(crate) fn len(&self) -> usize {
        match self {
            Users::Synthetic(count) => *count as usize,
            Users::Listed(keys) => keys.len(),
        }
    }

    /// The key of a user. Made-up ones are addresses where users are told apart by address.
    pub(crate) fn key(&self, at: usize, is_address: bool) -> String {
        match self {
            Users::Listed(keys) => keys[at].clone(),
            Users::Synthetic(_) if is_address => Ipv4Addr::from_bits(0x0a00_0000 + at as u32).to_string(),
            Users::Synthetic(_) => format!("user-{at}"),
        }
    }
}

impl UserRequest {
    /// A request that has `key` at each of the sources; `None` where it cannot be there.
    pub(crate) fn new(key: &str, sources: &[&KeySource]) -> Option<UserRequest> {
        let client = ClientAddr { ip: ADDRESS, peer_trusted: false };
        let mut request = UserRequest { headers: HeaderMap::new(), query: None, client };
        sources.iter().try_for_each(|source| request.put(key, source))?;
        Some(request)
    }

    fn put(&mut self, key: &str, source: &KeySource) -> Option<()> {
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).ok();
        match source {
            KeySource::Header(name) => {
                self.headers.insert(name, value(key)?);
            }
            KeySource::Cookie(name) | KeySource::IssueCookie(name) => {
                if key.contains(';') || key.trim() != key {
                    return None;
                }
                self.headers.append(header::COOKIE, value(&format!("{name}={key}"))?);
            }
            KeySource::Query(name) => {
                let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
                let before = self.query.take().map_or(String::new(), |query| query + "&");
                self.query = Some(format!("{before}{}={}", encode(name), encode(key)));
            }
            KeySource::JwtClaim(name) => {
                // without keys a token is believed from a trusted proxy: this request is one's
                self.client.peer_trusted = true;
                let claims = serde_json::json!({ &**name: key }).to_string();
                let token = format!("Bearer e30.{}.", URL_SAFE_NO_PAD.encode(claims));
                self.headers.insert(header::AUTHORIZATION, value(&token)?);
            }
            KeySource::ClientIp => self.client.ip = key.parse::<IpAddr>().ok()?.to_canonical(),
        }
        Some(())
    }
}
