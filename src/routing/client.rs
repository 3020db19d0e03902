//! Who the client is: the peer, or whom trusted proxies say they speak for.

use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The most entries of `X-Forwarded-For` that are looked at, from the right.
pub const FORWARDED_ENTRIES_MAX: usize = 32;

/// The client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr {
    /// The address, IPv4 where it is IPv4 in the clothes of IPv6 (`::ffff:192.0.2.1`).
    pub ip: IpAddr,
    /// Whether the peer is a trusted proxy, whose headers about the client are believed.
    pub peer_trusted: bool,
}

/// Finds the client behind `peer`, the other end of the connection.
///
/// A peer that is not in `trusted` is the client. Otherwise `X-Forwarded-For` is read from right to left, all its
/// lines joined in order: each entry was written by the hop to its right, so it is believed as long as that hop is
/// trusted. The first address that is not trusted is the client; if all are, it is the leftmost one read.
///
/// An entry that is no address ends the walk: the client is then the last trusted hop that was good, as nobody
/// trusted says anything beyond it. So do more than [`FORWARDED_ENTRIES_MAX`] entries. Empty entries say nothing.
pub fn client_ip(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> ClientAddr {
    let peer = peer.to_canonical();
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
    if !is_trusted(&peer) {
        return ClientAddr { ip: peer, peer_trusted: false };
    }
    let mut client = peer;
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let entries = entries.map(<[u8]>::trim_ascii).take(FORWARDED_ENTRIES_MAX).filter(|entry| !entry.is_empty());
    for entry in entries {
        let Some(ip) = parse_address(entry) else { break };
        client = ip;
        if !is_trusted(&ip) {
            break;
        }
    }
    ClientAddr { ip: client, peer_trusted: true }
}

/// Reads an address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`.
pub fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let ip = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
            return None;
        }
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else {
        match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => IpAddr::V4(is_port(port).then(|| address.parse().ok())??),
            _ => text.parse().ok()?,
        }
    };
    Some(ip.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (http::HeaderName::from_static(X_FORWARDED_FOR), line.parse().unwrap())).collect()
    }

    fn client(peer: &str, lines: &[&str]) -> (String, bool) {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "192.0.2.7/32", "2001:db8:ffff::/48"].map(|network| network.parse().unwrap()).to_vec();
        let ClientAddr { ip, peer_trusted } = client_ip(peer.parse().unwrap(), &trusted, &headers(lines));
        (ip.to_string(), peer_trusted)
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says() {
        for lines in [&[][..], &["203.0.113.9"], &["10.0.0.1"], &["203.0.113.9, 10.0.0.1"], &["junk"]] {
            assert_eq!(client("198.51.100.1", lines), ("198.51.100.1".to_owned(), false), "{lines:?}");
            assert_eq!(client("2001:db8::1", lines), ("2001:db8::1".to_owned(), false), "{lines:?}");
        }
        let nobody = client_ip("10.0.0.1".parse().unwrap(), &[], &headers(&["203.0.113.9"]));
        assert_eq!(nobody, ClientAddr { ip: "10.0.0.1".parse().unwrap(), peer_trusted: false });
    }

    #[test]
    fn trusted_hops_are_walked_from_right_to_left() {
        for (lines, ip) in [
            (&[][..], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&[" , ,"], "10.0.0.1"),
            (&["203.0.113.9"], "203.0.113.9"),
            (&["  203.0.113.9\t"], "203.0.113.9"),
            (&["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            (&["203.0.113.9,10.0.0.2,192.0.2.7"], "203.0.113.9"),
            (&["198.51.100.66, 203.0.113.9"], "203.0.113.9"),
            (&["198.51.100.66, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["10.9.9.9, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            (&["203.0.113.9, 2001:db8:ffff::5"], "203.0.113.9"),
            (&["2001:db8::9, 10.0.0.2"], "2001:db8::9"),
            (&["203.0.113.9,, ,10.0.0.2,"], "203.0.113.9"),
        ] {
            assert_eq!(client("10.0.0.1", lines), (ip.to_owned(), true), "{lines:?}");
        }
    }

    #[test]
    fn several_lines_are_one_list_in_order() {
        for (lines, ip) in [
            (&["203.0.113.9", "10.0.0.2"][..], "203.0.113.9"),
            (&["198.51.100.66", "203.0.113.9"], "203.0.113.9"),
            (&["198.51.100.66, 203.0.113.9", "10.0.0.3, 10.0.0.2"], "203.0.113.9"),
            (&["203.0.113.9", "", "10.0.0.2"], "203.0.113.9"),
        ] {
            assert_eq!(client("10.0.0.1", lines), (ip.to_owned(), true), "{lines:?}");
        }
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_walk_at_the_last_good_hop() {
        for (lines, ip) in [
            (&["junk"][..], "10.0.0.1"),
            (&["unknown"], "10.0.0.1"),
            (&["_hidden"], "10.0.0.1"),
            (&["203.0.113.9, junk, 10.0.0.2"], "10.0.0.2"),
            (&["junk, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            (&["203.0.113.9, 10.0.0.300, 10.0.0.2"], "10.0.0.2"),
            (&["203.0.113.9; 10.0.0.2"], "10.0.0.1"),
            (&["\"203.0.113.9\""], "10.0.0.1"),
            (&["203.0.113.9 10.0.0.2"], "10.0.0.1"),
            (&["for=203.0.113.9"], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", lines), (ip.to_owned(), true), "{lines:?}");
        }
        let mut bytes = HeaderMap::new();
        bytes.append(X_FORWARDED_FOR, HeaderValue::from_bytes(b"203.0.113.9, \xff\xfe").unwrap());
        let found = client_ip("10.0.0.1".parse().unwrap(), &["10.0.0.0/8".parse().unwrap()], &bytes);
        assert_eq!(found.ip.to_string(), "10.0.0.1");
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let line = |trusted_hops: usize| format!("203.0.113.9{}", ", 10.0.0.2".repeat(trusted_hops));
        assert_eq!(client("10.0.0.1", &[&line(FORWARDED_ENTRIES_MAX - 1)]).0, "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[&line(FORWARDED_ENTRIES_MAX)]).0, "10.0.0.2");
        assert_eq!(client("10.0.0.1", &[&format!("203.0.113.9{}", ",".repeat(100))]).0, "10.0.0.1");
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert_eq!(client("::ffff:10.0.0.1", &["::ffff:203.0.113.9"]), ("203.0.113.9".to_owned(), true));
        assert_eq!(client("::ffff:198.51.100.1", &["203.0.113.9"]), ("198.51.100.1".to_owned(), false));
        assert_eq!(client("10.0.0.1", &["203.0.113.9, ::ffff:10.0.0.2"]), ("203.0.113.9".to_owned(), true));
        assert_eq!(client("10.0.0.1", &["203.0.113.9, [::ffff:a00:2]:443"]), ("203.0.113.9".to_owned(), true));
    }

    #[test]
    fn addresses_come_with_ports_and_brackets() {
        for (text, ip) in [
            ("1.2.3.4", Some("1.2.3.4")),
            ("1.2.3.4:80", Some("1.2.3.4")),
            ("1.2.3.4:65535", Some("1.2.3.4")),
            ("::1", Some("::1")),
            ("[::1]", Some("::1")),
            ("[::1]:80", Some("::1")),
            ("2001:db8::80", Some("2001:db8::80")),
            ("::ffff:1.2.3.4", Some("1.2.3.4")),
            ("", None),
            ("1.2.3", None),
            ("01.2.3.4", None),
            ("1.2.3.4.5", None),
            ("1.2.3.4:", None),
            ("1.2.3.4:x", None),
            ("1.2.3.4:+80", None),
            ("1.2.3.4:65536", None),
            ("1.2.3.4/32", None),
            ("[1.2.3.4]", None),
            ("[::1", None),
            ("::1]", None),
            ("[::1]80", None),
            ("[::1]:", None),
            ("[::1]:x", None),
            ("[]", None),
            ("[fe80::1%eth0]", None),
            ("fe80::1%eth0", None),
            ("localhost", None),
            (":80", None),
        ] {
            assert_eq!(parse_address(text.as_bytes()).map(|ip| ip.to_string()).as_deref(), ip, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_client(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_address(&bytes);
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers = HeaderMap::from_iter([(http::HeaderName::from_static(X_FORWARDED_FOR), value)]);
                client_ip("10.0.0.1".parse().unwrap(), &["10.0.0.0/8".parse().unwrap()], &headers);
            }
        }

        #[test]
        fn what_a_client_writes_in_front_changes_nothing(forged in "[0-9a-f.:, ]{0,60}") {
            let forged = format!("{forged}, 203.0.113.9, 10.0.0.2");
            prop_assert_eq!(client("10.0.0.1", &[&forged]).0, "203.0.113.9");
        }
    }
}
