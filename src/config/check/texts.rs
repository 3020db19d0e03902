//! Texts with a grammar of their own: headers, cookies, methods, hosts, paths, regular expressions, addresses.

use super::problems::Problems;
use crate::config::codes::Code;
use crate::config::place::Place;
use http::{HeaderName, HeaderValue};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The most memory that a compiled regular expression may take, in bytes.
pub(super) const REGEX_BYTES_MAX: usize = 1 << 20;

/// Checks a header name; false when it is none.
pub(super) fn check_header_name(name: &str, place: &Place, problems: &mut Problems<'_>) -> bool {
    let is_valid = HeaderName::from_bytes(name.as_bytes()).is_ok();
    if !is_valid {
        let last = problems.at(Code::BadHeaderName, place, format!("`{name}` is not a header name"));
        last.help("header names are letters, digits and `-`, such as x-user-id");
    }
    is_valid
}

/// Checks a cookie name (RFC 6265: a token).
pub(super) fn check_cookie_name(name: &str, place: &Place, problems: &mut Problems<'_>) {
    let is_token_byte = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        let last = problems.at(Code::BadCookieName, place, format!("`{name}` is not a cookie name"));
        last.help("cookie names are letters, digits, `-`, `_` and `.`, such as uid");
    }
}

/// Checks a header value that is to be sent.
pub(super) fn check_header_value(value: &str, place: &Place, problems: &mut Problems<'_>) {
    if HeaderValue::from_str(value).is_err() || !value.is_ascii() || value != value.trim() {
        let last = problems.at(Code::BadHeaderValue, place, "this value cannot stand in a header");
        last.help("header values are printable ASCII without white space at the ends");
    }
}

/// Checks a request method: a token (RFC 9110), which is case-sensitive, so that `get` would never match.
pub(super) fn check_method(method: &str, place: &Place, problems: &mut Problems<'_>) {
    let is_token = http::Method::from_bytes(method.as_bytes()).is_ok();
    if is_token && !method.bytes().any(|b| b.is_ascii_lowercase()) {
        return;
    }
    let last = problems.at(Code::BadMethod, place, format!("`{method}` is not a method"));
    match is_token {
        true => last.help(format!("methods are written in capitals: {}", method.to_ascii_uppercase())),
        false => last.help("methods are words in capitals, such as GET or POST"),
    };
}

/// Checks a host pattern: a DNS name, an address, or `*.` and a DNS name.
pub(super) fn check_host(host: &str, place: &Place, problems: &mut Problems<'_>) {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_address = host.parse::<Ipv4Addr>().is_ok() || bracketed(host).is_some_and(is_v6);
    if is_address || is_dns_name(name.strip_suffix('.').unwrap_or(name)) {
        return;
    }
    let without_port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let help = match (host, without_port) {
        ("*", _) => "leave the hosts out to match any host".to_owned(),
        (_, Some((name, _))) if !name.contains(':') => format!("a host has no port: write `{name}`"),
        _ if host.contains("://") || host.contains('/') => "write the host alone, without scheme and path".to_owned(),
        _ if host.contains('*') => "a wildcard stands for whole labels at the start: *.example.com".to_owned(),
        _ => "write a host name such as shop.example.com, or *.example.com".to_owned(),
    };
    problems.at(Code::BadHost, place, format!("`{host}` is not a host")).help(help);
}

/// Checks a path or the beginning of one.
pub(super) fn check_path(path: &str, place: &Place, problems: &mut Problems<'_>) {
    if !path.starts_with('/') {
        let last = problems.at(Code::PathWithoutSlash, place, format!("the path `{path}` does not begin with `/`"));
        last.help(format!("write `/{path}`"));
    }
}

/// Checks a regular expression.
pub(super) fn check_regex(pattern: &str, place: &Place, problems: &mut Problems<'_>) {
    let compiled =
        regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build();
    match compiled {
        Ok(_) => {}
        Err(regex::Error::CompiledTooBig(_)) => {
            let last = problems.at(Code::RegexTooLarge, place, "this regular expression takes too much memory");
            last.help("repeat less: `{1,1000}` copies what stands before it a thousand times");
        }
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            let last = problems.at(Code::BadRegex, place, format!("this is not a regular expression: {reason}"));
            last.help("look-around and back-references are not supported; quote the pattern with '..'");
        }
    }
}

/// Why a text is not an endpoint, `host:port`.
pub(super) fn endpoint_error(endpoint: &str) -> Option<String> {
    if let Some((_, rest)) = endpoint.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        return Some(format!("write it without scheme and path: `{host}`"));
    }
    if endpoint.is_empty() {
        return Some("write it like 127.0.0.1:3001 or shop:8080".to_owned());
    }
    if endpoint.contains('/') {
        return Some("write host and port only, without a path".to_owned());
    }
    if is_v6(endpoint) {
        return Some(format!("put the IPv6 address in brackets and add a port: `[{endpoint}]:8080`"));
    }
    let Some((host, port)) = endpoint.rsplit_once(':') else {
        return Some(format!("add a port: `{endpoint}:8080`"));
    };
    if !matches!(port.parse::<u16>(), Ok(1..)) || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Some("a port is a number from 1 to 65535".to_owned());
    }
    let is_host = host.parse::<Ipv4Addr>().is_ok() || bracketed(host).is_some_and(is_v6) || is_dns_name(host);
    (!is_host).then(|| "a host is a DNS name, an IPv4 address, or an IPv6 address in brackets".to_owned())
}

/// True for names of letters, digits, `-` and `_` in labels of at most 63, as resolvers take them. A name of
/// digits alone would be taken for an address.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let has_letter = name.rsplit('.').next().is_some_and(|last| last.bytes().any(|b| !b.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(is_label) && has_letter
}

fn is_v6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

fn bracketed(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_host_and_port() {
        for good in ["127.0.0.1:80", "[::1]:80", "shop:8080", "shop_v1.svc.cluster.local:65535", "a-b.c:1"] {
            assert_eq!(endpoint_error(good), None, "{good}");
        }
        for bad in [
            "shop",
            ":80",
            "shop:0",
            "shop:65536",
            "shop:+80",
            "shop:",
            "::1:80x",
            "::1",
            "http://shop:80",
            "a b:80",
            "-a:80",
            "a..b:80",
            "256.0.0.1:80",
            "1.2.3:80",
            "[::1]",
            "[shop]:80",
            "shop:80/x",
            "",
        ] {
            assert!(endpoint_error(bad).is_some(), "{bad}");
        }
    }
}
