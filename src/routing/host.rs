//! The host that a request is for, from `Host` or `:authority`.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

/// The most bytes of a host, its port included.
pub const HOST_BYTES_MAX: usize = 255;

/// A host as routes are looked up by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'h> {
    /// The name in lower case and without a dot at its end; an IPv4 address; or an IPv6 address in brackets, in its
    /// canonical form.
    pub name: Cow<'h, str>,
    /// The port, where there is one.
    pub port: Option<u16>,
}

/// Why a host is refused. The request is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostProblem {
    /// There is nothing, or nothing before the port.
    Empty,
    /// It has more than [`HOST_BYTES_MAX`] bytes.
    TooLong,
    /// It has a byte that no host has: a comma, an `@`, a slash, a space, a control character, or one beyond ASCII.
    Character,
    /// It has a dot at its begin, or two in a row.
    EmptyLabel,
    /// The port is not a number from 1 to 65535.
    Port,
    /// The brackets do not hold an IPv6 address.
    Ipv6,
}

impl HostProblem {
    /// What is wrong, for people.
    pub fn reason(self) -> &'static str {
        match self {
            HostProblem::Empty => "the host is empty",
            HostProblem::TooLong => "the host is longer than 255 bytes",
            HostProblem::Character => "the host has a character that no host has",
            HostProblem::EmptyLabel => "the host has an empty label",
            HostProblem::Port => "the host's port is not a number from 1 to 65535",
            HostProblem::Ipv6 => "the host is not an IPv6 address within its brackets",
        }
    }
}

impl fmt::Display for HostProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for HostProblem {}

/// Reads a host. Names have letters, digits, `-`, `_` and dots: percent escapes and the other characters that
/// RFC 3986 allows in a name are refused, as no DNS name has them. An empty port (`shop.example.com:`) is none
/// (RFC 3986 section 6.2.3).
///
/// # Errors
/// It is not a host; see [`HostProblem`].
pub fn parse(bytes: &[u8]) -> Result<Host<'_>, HostProblem> {
    if bytes.is_empty() {
        return Err(HostProblem::Empty);
    }
    if bytes.len() > HOST_BYTES_MAX {
        return Err(HostProblem::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| HostProblem::Character)?;
    if let Some(bracketed) = text.strip_prefix('[') {
        return parse_ipv6(bracketed);
    }
    let (name, port) = match memchr::memchr(b':', bytes) {
        Some(colon) => (&text[..colon], parse_port(&text[colon + 1..])?),
        None => (text, None),
    };
    Ok(Host { name: parse_name(name)?, port })
}

fn parse_name(name: &str) -> Result<Cow<'_, str>, HostProblem> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(HostProblem::Empty);
    }
    let mut has_capitals = false;
    let mut previous = b'.';
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => has_capitals = true,
            b'.' if previous == b'.' => return Err(HostProblem::EmptyLabel),
            b'.' => {}
            _ => return Err(HostProblem::Character),
        }
        previous = byte;
    }
    if previous == b'.' {
        return Err(HostProblem::EmptyLabel);
    }
    Ok(if has_capitals { name.to_ascii_lowercase().into() } else { name.into() })
}

fn parse_ipv6(bracketed: &str) -> Result<Host<'static>, HostProblem> {
    let (address, port) = bracketed.split_once(']').ok_or(HostProblem::Ipv6)?;
    let address: Ipv6Addr = address.parse().map_err(|_| HostProblem::Ipv6)?;
    let port = match port.strip_prefix(':') {
        Some(port) => parse_port(port)?,
        None if port.is_empty() => None,
        None => return Err(HostProblem::Ipv6),
    };
    Ok(Host { name: format!("[{address}]").into(), port })
}

fn parse_port(text: &str) -> Result<Option<u16>, HostProblem> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > 5 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostProblem::Port);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(HostProblem::Port),
        Ok(port) => Ok(Some(port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_are_normalised() {
        for (text, name, port) in [
            ("shop.example.com", "shop.example.com", None),
            ("Shop.Example.COM", "shop.example.com", None),
            ("shop.example.com.", "shop.example.com", None),
            ("shop.example.com.:80", "shop.example.com", Some(80)),
            ("shop.example.com:8443", "shop.example.com", Some(8443)),
            ("shop.example.com:", "shop.example.com", None),
            ("shop:65535", "shop", Some(65535)),
            ("shop:00080", "shop", Some(80)),
            ("_dmarc.xn--n3h.example", "_dmarc.xn--n3h.example", None),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[2001:DB8:0::1]:443", "[2001:db8::1]", Some(443)),
        ] {
            let host = parse(text.as_bytes()).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!((&*host.name, host.port), (name, port), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        use HostProblem::{Character, Empty, EmptyLabel, Ipv6, Port, TooLong};
        let long = "a".repeat(HOST_BYTES_MAX + 1);
        for (bytes, problem) in [
            (&b""[..], Empty),
            (b".", Empty),
            (b":80", Empty),
            (b".:80", Empty),
            (b"a,b", Character),
            (b"a, b", Character),
            (b"user@host", Character),
            (b"user:pass@host", Port),
            (b"host/path", Character),
            (b"host?x", Character),
            (b"host#x", Character),
            (b"host\\x", Character),
            (b" host", Character),
            (b"host ", Character),
            (b"ho\tst", Character),
            (b"ho\x00st", Character),
            (b"ho\x7fst", Character),
            (b"h\xc3\xb8st", Character),
            (b"\xff", Character),
            (b"h%6fst", Character),
            (b"*.example.com", Character),
            (b"host\"", Character),
            (b"..", EmptyLabel),
            (b"a..b", EmptyLabel),
            (b".a", EmptyLabel),
            (b"a..", EmptyLabel),
            (b"host:0", Port),
            (b"host:00000", Port),
            (b"host:65536", Port),
            (b"host:99999", Port),
            (b"host:000080", Port),
            (b"host:+80", Port),
            (b"host:-1", Port),
            (b"host:80x", Port),
            (b"host:80:80", Port),
            (b"::1", Port),
            (b"2001:db8::1", Port),
            (b"[::1", Ipv6),
            (b"[]", Ipv6),
            (b"[::1]x", Ipv6),
            (b"[::1]80", Ipv6),
            (b"[::1]:0", Port),
            (b"[fe80::1%25eth0]", Ipv6),
            (b"[v1.x]", Ipv6),
            (b"[192.0.2.1]", Ipv6),
            (b"[::1::2]", Ipv6),
            (long.as_bytes(), TooLong),
        ] {
            assert_eq!(parse(bytes), Err(problem), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert!(parse(&long.as_bytes()[1..]).is_ok());
    }

    #[test]
    fn a_name_in_lower_case_is_borrowed() {
        assert!(matches!(parse(b"shop.example.com.:80"), Ok(Host { name: Cow::Borrowed("shop.example.com"), .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_host_or_a_problem(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_normalised_host_stays_as_it_is(text in "[A-Za-z0-9.:\\[\\]_-]{0,30}") {
            if let Ok(Host { name, .. }) = parse(text.as_bytes()) {
                prop_assert_eq!(parse(name.as_bytes()), Ok(Host { name: name.clone(), port: None }));
            }
        }
    }
}
