//! The value that stays with one variant.

use http::HeaderName;
use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;

use super::view::RequestView;
use super::{cookies, query};

/// A place where the user key is read.
#[derive(Debug)]
pub enum KeySource {
    /// A header field.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
    /// A query parameter.
    Query(Box<str>),
    /// A claim of the bearer token.
    JwtClaim(Box<str>),
    /// A cookie that is issued to users who have no key yet.
    IssueCookie(Box<str>),
    /// The client's address, as text.
    ClientIp,
}

/// The value that stays with one variant, and where it was read.
#[derive(Debug)]
pub struct UserKey<'r> {
    value: Value<'r>,
    source: usize,
}

#[derive(Debug)]
enum Value<'r> {
    Text(Cow<'r, [u8]>),
    Address(AddressText),
    Issued(String),
}

/// The text of an address without an allocation. The longest is that of an IPv6 address: 45 bytes.
#[derive(Debug)]
struct AddressText {
    bytes: [u8; 46],
    len: u8,
}

impl KeySource {
    /// The source as it is written in the file.
    pub fn describe(&self) -> String {
        match self {
            KeySource::Header(name) => format!("header {name}"),
            KeySource::Cookie(name) => format!("cookie {name}"),
            KeySource::Query(name) => format!("query {name}"),
            KeySource::JwtClaim(name) => format!("jwtClaim {name}"),
            KeySource::IssueCookie(name) => format!("issueCookie {name}"),
            KeySource::ClientIp => "clientIP".to_owned(),
        }
    }

    fn read<'r>(&self, view: &RequestView<'r>) -> Option<Value<'r>> {
        let text = |text: &'r [u8]| Some(Value::Text(Cow::Borrowed(text))).filter(|_| !text.is_empty());
        match self {
            KeySource::Header(name) => text(view.headers.get(name)?.as_bytes()),
            KeySource::Cookie(name) | KeySource::IssueCookie(name) => text(cookies::cookie(view.headers, name)?),
            KeySource::Query(name) => {
                let value = query::parameter(view.query?, name).filter(|value| !value.is_empty())?;
                Some(Value::Text(match value {
                    Cow::Borrowed(value) => Cow::Borrowed(value.as_bytes()),
                    Cow::Owned(value) => Cow::Owned(value.into_bytes()),
                }))
            }
            KeySource::JwtClaim(name) => {
                let claim = view.claims()?.claim_text(name).filter(|value| !value.is_empty())?;
                Some(Value::Text(Cow::Owned(claim.into_owned().into_bytes())))
            }
            KeySource::ClientIp => Some(Value::Address(AddressText::new(view.client_ip()))),
        }
    }
}

impl<'r> UserKey<'r> {
    /// Reads the key from the first source that has one. When none before an `issueCookie` has, a key is issued.
    pub fn read(sources: &[KeySource], view: &RequestView<'r>) -> Option<UserKey<'r>> {
        for (source, place) in sources.iter().enumerate() {
            if let Some(value) = place.read(view) {
                return Some(UserKey { value, source });
            }
            if matches!(place, KeySource::IssueCookie(_)) {
                return Some(UserKey { value: Value::Issued(new_id()), source });
            }
        }
        None
    }

    /// A key that did not come with a request: of a list of users.
    pub fn of_text(text: &'r str) -> UserKey<'r> {
        UserKey { value: Value::Text(Cow::Borrowed(text.as_bytes())), source: 0 }
    }

    /// The key's bytes: UTF-8, as they are hashed.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.value {
            Value::Text(text) => text,
            Value::Address(address) => &address.bytes[..usize::from(address.len)],
            Value::Issued(id) => id.as_bytes(),
        }
    }

    /// The position of the source that it was read from.
    pub fn source(&self) -> usize {
        self.source
    }

    /// The new id, when the key was issued just now.
    pub fn issued(&self) -> Option<&str> {
        match &self.value {
            Value::Issued(id) => Some(id),
            Value::Text(_) | Value::Address(_) => None,
        }
    }
}

impl AddressText {
    fn new(ip: IpAddr) -> AddressText {
        let mut bytes = [0; 46];
        if let IpAddr::V4(ip) = ip {
            let len = write_octets(ip.octets(), &mut bytes) as u8;
            return AddressText { bytes, len };
        }
        let mut rest = &mut bytes[..];
        // an address never outgrows the buffer
        let _ = write!(rest, "{ip}");
        let len = (46 - rest.len()) as u8;
        AddressText { bytes, len }
    }
}

/// Writes an IPv4 address, and says how long it is. A tenth of what the standard formatting costs, for each request of
/// a user without another key.
fn write_octets(octets: [u8; 4], to: &mut [u8; 46]) -> usize {
    let mut len = 0;
    for (at, octet) in octets.into_iter().enumerate() {
        let digits = [octet / 100, octet / 10 % 10, octet % 10].map(|digit| b'0' + digit);
        let leading = usize::from(octet < 100) + usize::from(octet < 10);
        if at > 0 {
            to[len] = b'.';
            len += 1;
        }
        for digit in &digits[leading..] {
            to[len] = *digit;
            len += 1;
        }
    }
    len
}

/// 128 random bits as 22 letters: nobody can guess another user's id, and none is ever issued twice.
fn new_id() -> String {
    use base64::Engine;
    let mut bits = [0; 16];
    if getrandom::fill(&mut bits).is_err() {
        fastrand::fill(&mut bits);
    }
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_everybody_writes_it() {
        for octet in 0..=255 {
            let ip = std::net::Ipv4Addr::from([octet, 255 - octet, 7, octet / 2]);
            let text = AddressText::new(ip.into());
            assert_eq!(&text.bytes[..usize::from(text.len)], ip.to_string().as_bytes());
        }
    }

    #[test]
    fn addresses_are_text() {
        for text in ["203.0.113.7", "2001:db8::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            let address = AddressText::new(text.parse().unwrap());
            assert_eq!(&address.bytes[..usize::from(address.len)], text.as_bytes());
        }
    }

    #[test]
    fn issued_ids_differ() {
        let (one, other) = (new_id(), new_id());
        assert_eq!(one.len(), 22);
        assert_ne!(one, other);
    }
}
