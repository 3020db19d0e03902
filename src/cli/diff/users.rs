use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use crate::config::files::{USER_KEY_BYTES_MAX, USER_LIST_BYTES_MAX, USER_LIST_KEYS_MAX};
use crate::routing::client::ClientAddr;
use crate::routing::user_key::KeySource;

/// The users that are assigned.
pub(super) enum Users {
    /// So many made-up ones, the same each time.
    Synthetic(u32),
    /// Those of a list.
    Listed(Vec<String>),
}

/// The request of a user: what carries the user key, and nothing else.
pub(super) struct UserRequest {
    pub(super) headers: HeaderMap,
    pub(super) query: Option<String>,
    pub(super) client: ClientAddr,
}

/// The client of users who are not told apart by address: TEST-NET-1 (RFC 5737).
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

impl Users {
    /// Reads a list: one key a line, blank lines and those that begin with `#` left out.
    pub(super) fn read(path: &Path) -> anyhow::Result<Users> {
        let cannot = || format!("cannot read {}", path.display());
        let mut text = String::new();
        let file = File::open(path).with_context(cannot)?;
        file.take(USER_LIST_BYTES_MAX as u64 + 1).read_to_string(&mut text).with_context(cannot)?;
        if text.len() > USER_LIST_BYTES_MAX {
            bail!("{} is larger than 16 MiB", path.display());
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<String> = lines.map(str::to_owned).collect();
        if keys.is_empty() {
            bail!("{} names no user; it has one user key a line", path.display());
        }
        if keys.len() > USER_LIST_KEYS_MAX || keys.iter().any(|key| key.len() > USER_KEY_BYTES_MAX) {
            bail!("{} has more than 1,000,000 keys, or one of more than 1024 bytes", path.display());
        }
        Ok(Users::Listed(keys))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Users::Synthetic(count) => *count as usize,
            Users::Listed(keys) => keys.len(),
        }
    }

    /// The key of a user. Made-up ones are addresses where users are told apart by address.
    pub(super) fn key(&self, at: usize, is_address: bool) -> String {
        match self {
            Users::Listed(keys) => keys[at].clone(),
            Users::Synthetic(_) if is_address => Ipv4Addr::from_bits(0x0a00_0000 + at as u32).to_string(),
            Users::Synthetic(_) => format!("user-{at}"),
        }
    }
}

impl UserRequest {
    /// A request that has `key` at each of the sources; `None` where it cannot be there.
    pub(super) fn new(key: &str, sources: &[&KeySource]) -> Option<UserRequest> {
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
