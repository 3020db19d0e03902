//! The PROXY protocol as it is written to endpoints (version 2.2 of the specification by HAProxy's authors).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What an endpoint is told about the client of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The form of it.
    pub version: ProxyVersion,
    /// The client.
    pub client: SocketAddr,
}

/// What a header of version 2 begins with.
pub const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

impl ProxyHeader {
    /// The bytes that a connection to this endpoint begins with. Both addresses are of one family: where they are not,
    /// the one of IPv4 is written as IPv6 writes it (RFC 4291 §2.5.5.2).
    pub fn bytes(&self, endpoint: SocketAddr) -> Vec<u8> {
        let (from, to) = (self.client.ip().to_canonical(), endpoint.ip().to_canonical());
        let (from, to) = match (from, to) {
            (IpAddr::V4(_), IpAddr::V4(_)) => (from, to),
            _ => (IpAddr::V6(as_v6(from)), IpAddr::V6(as_v6(to))),
        };
        let (from_port, to_port) = (self.client.port(), endpoint.port());
        match self.version {
            ProxyVersion::V1 => {
                let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
                format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
            }
            ProxyVersion::V2 => {
                let mut bytes = V2_SIGNATURE.to_vec();
                // version 2, command PROXY; then family and stream; then the length of the rest
                bytes.extend(if from.is_ipv4() { [0x21, 0x11, 0, 12] } else { [0x21, 0x21, 0, 36] });
                for address in [from, to] {
                    match address {
                        IpAddr::V4(address) => bytes.extend(address.octets()),
                        IpAddr::V6(address) => bytes.extend(address.octets()),
                    }
                }
                bytes.extend([from_port.to_be_bytes(), to_port.to_be_bytes()].concat());
                bytes
            }
        }
    }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(version: ProxyVersion, client: &str, endpoint: &str) -> Vec<u8> {
        ProxyHeader { version, client: client.parse().unwrap() }.bytes(endpoint.parse().unwrap())
    }

    #[test]
    fn the_forms_are_those_of_the_specification() {
        let v1 = |client, endpoint| String::from_utf8(bytes(ProxyVersion::V1, client, endpoint)).unwrap();
        assert_eq!(v1("192.0.2.1:5", "10.0.0.1:80"), "PROXY TCP4 192.0.2.1 10.0.0.1 5 80\r\n");
        assert_eq!(v1("[::ffff:192.0.2.1]:5", "10.0.0.1:80"), "PROXY TCP4 192.0.2.1 10.0.0.1 5 80\r\n");
        assert_eq!(v1("[2001:db8::1]:5", "10.0.0.1:80"), "PROXY TCP6 2001:db8::1 ::ffff:10.0.0.1 5 80\r\n");
        let longest = v1("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:f:f:f:f:f:f:f]:65535");
        assert!(longest.len() <= 107);
        let v2 = bytes(ProxyVersion::V2, "192.0.2.1:5", "10.0.0.1:80");
        assert_eq!(v2, [&V2_SIGNATURE[..], b"\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\0\x05\0\x50"].concat());
        assert_eq!(bytes(ProxyVersion::V2, "[2001:db8::1]:5", "10.0.0.1:80").len(), 16 + 36);
    }
}
