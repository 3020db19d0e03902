use super::evaluate::Failure;
use crate::routing::explain::ImaginedRequest;
use crate::routing::user_key::KeySource;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use std::net::{IpAddr, Ipv4Addr};

/// Attributes with a meaning of their own; every other one stands for the header of its name.
const OWN: [&str; 8] = ["targetingKey", "headers", "cookies", "query", "method", "host", "path", "ip"];

/// Headers that say how a message is sent, and nothing about a user.
const OF_THE_MESSAGE: [&str; 10] = [
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a service tells about a user.
#[derive(Clone, Debug)]
pub(super) struct Context {
    key: Option<String>,
    /// It tells the user's address.
    pub(super) has_ip: bool,
    query: String,
    request: ImaginedRequest,
}

impl Context {
    /// Reads `{"context": {...}}`.
    pub(super) fn read(body: &[u8]) -> Result<Context, Failure> {
        let parsed: Value = serde_json::from_slice(body).map_err(|error| Failure::Parse(error.to_string()))?;
        let empty = Map::new();
        let context = match parsed.get("context") {
            Some(Value::Object(context)) => context,
            None | Some(Value::Null) if parsed.is_object() => &empty,
            _ => return Err(Failure::Parse("`context` is an object".to_owned())),
        };
        let text = |name: &str| context.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let ip = text("ip").map(str::parse::<IpAddr>).transpose();
        let ip = ip.map_err(|_| Failure::invalid("`ip` is no address"))?;
        let method = Method::from_bytes(text("method").unwrap_or("GET").as_bytes());
        let (host, path) = (text("host").unwrap_or("ofrep.invalid"), text("path").unwrap_or("/"));
        if host.contains(['/', '?', '#', '@']) || !path.starts_with('/') || path.contains(['?', '#']) {
            return Err(Failure::invalid("`host` is a host, and `path` begins with `/` and has no query"));
        }
        let query: Vec<String> =
            texts(context, "query").map(|(name, value)| format!("{}={}", encode(name), encode(&value))).collect();
        // an address may stand for the user, too
        let key_ip = text("targetingKey").and_then(|key| key.parse().ok());
        let ip = ip.or(key_ip);
        Ok(Context {
            key: text("targetingKey").map(str::to_owned),
            has_ip: ip.is_some(),
            query: query.join("&"),
            request: ImaginedRequest {
                method: method.map_err(|_| Failure::invalid("`method` is no method"))?,
                url: format!("http://{host}{path}"),
                headers: headers(context)?,
                peer: ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                listener: None,
            },
        })
    }

    /// The request that this user would send, with the user key where the service reads it first.
    pub(super) fn request(&self, sources: &[KeySource]) -> Result<ImaginedRequest, Failure> {
        let mut request = self.request.clone();
        let mut query = self.query.clone();
        if let Some(key) = &self.key {
            let source = sources.iter().find(|source| !matches!(source, KeySource::JwtClaim(_)));
            match source {
                Some(KeySource::Header(name)) => {
                    request.headers.insert(name, header_value(key)?);
                }
                Some(KeySource::Cookie(name) | KeySource::IssueCookie(name)) => {
                    add_cookie(&mut request.headers, name, key, true)?;
                }
                Some(KeySource::Query(name)) => query = format!("{}={}&{query}", encode(name), encode(key)),
                // who is told apart by address alone, or by a token, is not named by a key
                Some(KeySource::ClientIp | KeySource::JwtClaim(_)) | None => {}
            }
        }
        if !query.is_empty() {
            request.url = format!("{}?{query}", request.url);
        }
        Ok(request)
    }
}

fn headers(context: &Map<String, Value>) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let is_plain = |name: &str| !OWN.contains(&name) && !OF_THE_MESSAGE.contains(&name.to_ascii_lowercase().as_str());
    for (name, value) in context.iter().filter(|(name, _)| is_plain(name)) {
        // what cannot be a header cannot be asked for by a condition
        if let (Ok(name), Some(Ok(value))) =
            (HeaderName::from_bytes(name.as_bytes()), text_of(value).map(|text| HeaderValue::from_str(&text)))
        {
            headers.insert(name, value);
        }
    }
    for (name, value) in texts(context, "headers").filter(|(name, _)| is_plain(name)) {
        let name = HeaderName::from_bytes(name.as_bytes());
        headers.insert(name.map_err(|_| Failure::invalid("`headers` has a bad name"))?, header_value(&value)?);
    }
    for (name, value) in texts(context, "cookies") {
        add_cookie(&mut headers, name, &value, false)?;
    }
    Ok(headers)
}

/// The texts, numbers and truths of an attribute that is a map.
fn texts<'c>(context: &'c Map<String, Value>, name: &str) -> impl Iterator<Item = (&'c str, String)> {
    let map = context.get(name).and_then(Value::as_object).into_iter().flatten();
    map.filter_map(|(name, value)| Some((name.as_str(), text_of(value)?)))
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn header_value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Failure::invalid("a value has characters that no header has"))
}

/// All cookies stand on one line; the first of a name counts.
fn add_cookie(headers: &mut HeaderMap, name: &str, value: &str, is_first: bool) -> Result<(), Failure> {
    let is_bad = |c: char| matches!(c, ';' | '"') || c.is_whitespace() || c.is_control();
    if name.contains(is_bad) || name.contains('=') || value.contains(is_bad) {
        return Err(Failure::invalid("a value has characters that no cookie has"));
    }
    let cookie = format!("{name}={value}").into_bytes();
    let line = match headers.get(header::COOKIE) {
        None => cookie,
        Some(line) if is_first => [&cookie, line.as_bytes()].join(&b"; "[..]),
        Some(line) => [line.as_bytes(), &cookie].join(&b"; "[..]),
    };
    let line = HeaderValue::from_bytes(&line).map_err(|_| Failure::invalid("a cookie has a bad value"))?;
    headers.insert(header::COOKIE, line);
    Ok(())
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
