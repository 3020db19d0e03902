//! The PROXY protocol as load balancers write it before everything else (versions 1 and 2 of the specification by
//! HAProxy's authors): whose connection it really is.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::upstream::V2_SIGNATURE;

/// The longest line of version 1, its end included.
const V1_BYTES_MAX: usize = 107;
/// The most bytes after the fixed part of version 2: addresses, and what else a load balancer has to say, which is
/// passed over.
const V2_REST_MAX: usize = 2048;
/// No header of either version is shorter than this.
const FIRST_BYTES: usize = 12;
/// Signature, version and command, family, and length.
const V2_FIXED: usize = 16;

/// Why a connection that must begin with a header does not.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// The bytes are something else, or more than a header may have.
    #[error("no valid PROXY protocol header")]
    Malformed,
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads a header, and nothing beyond it. Gives the client; `None` when the load balancer speaks for itself (`LOCAL`,
/// as its health checks do) or does not know (`UNKNOWN`).
pub(super) async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, HeaderError> {
    let mut header = [0; V2_FIXED + V2_REST_MAX];
    stream.read_exact(&mut header[..FIRST_BYTES]).await?;
    if header.starts_with(V2_SIGNATURE) {
        stream.read_exact(&mut header[FIRST_BYTES..V2_FIXED]).await?;
        let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if rest > V2_REST_MAX {
            return Err(HeaderError::Malformed);
        }
        stream.read_exact(&mut header[V2_FIXED..V2_FIXED + rest]).await?;
        return parse(&header[..V2_FIXED + rest]).ok_or(HeaderError::Malformed);
    }
    if !header.starts_with(b"PROXY ") {
        return Err(HeaderError::Malformed);
    }
    let mut length = FIRST_BYTES;
    while !header[..length].ends_with(b"\r\n") {
        // looked at before it is taken, so that not a byte of what follows the line is
        let count = stream.peek(&mut header[length..V1_BYTES_MAX]).await?;
        if count == 0 {
            return Err(HeaderError::Malformed);
        }
        let line = memchr::memchr(b'\n', &header[length..length + count]).map_or(count, |end| end + 1);
        stream.read_exact(&mut header[length..length + line]).await?;
        length += line;
        if header[length - 1] == b'\n' && !header[..length].ends_with(b"\r\n") {
            return Err(HeaderError::Malformed);
        }
    }
    parse(&header[..length]).ok_or(HeaderError::Malformed)
}

/// A whole header of either version. `None`: it is none; `Some(None)`: it tells no address.
pub fn parse(header: &[u8]) -> Option<Option<SocketAddr>> {
    if header.starts_with(V2_SIGNATURE) { parse_v2(header) } else { parse_v1(header) }
}

/// A line with its end. `None`: it is none; `Some(None)`: it tells no address.
fn parse_v1(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    if line.contains(['\r', '\n']) {
        return None;
    }
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let mut words = line.split(' ');
    let [Some(family), Some(from), Some(to), Some(from_port), Some(to_port), None] =
        std::array::from_fn(|_| words.next())
    else {
        return None;
    };
    let (from, to): (IpAddr, IpAddr) = (from.parse().ok()?, to.parse().ok()?);
    let is_family = match family {
        "TCP4" => from.is_ipv4() && to.is_ipv4(),
        "TCP6" => from.is_ipv6() && to.is_ipv6(),
        _ => false,
    };
    let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok())?;
    let (from_port, _) = (port(from_port)?, port(to_port)?);
    is_family.then_some(Some(SocketAddr::new(from, from_port)))
}

/// A whole header of version 2. `None`: it is none; `Some(None)`: it tells no address.
fn parse_v2(header: &[u8]) -> Option<Option<SocketAddr>> {
    let fixed = header.strip_prefix(V2_SIGNATURE)?;
    let (fixed, rest) = fixed.split_at_checked(V2_FIXED - FIRST_BYTES)?;
    match (fixed[0], fixed[1]) {
        (0x20, _) => Some(None),
        // a stream over IPv4: two addresses, two ports, and perhaps more
        (0x21, 0x11) => {
            let address: [u8; 4] = rest.get(..4)?.try_into().ok()?;
            let port = u16::from_be_bytes(rest.get(..12)?.get(8..10)?.try_into().ok()?);
            Some(Some(SocketAddr::new(address.into(), port)))
        }
        (0x21, 0x21) => {
            let address: [u8; 16] = rest.get(..16)?.try_into().ok()?;
            let port = u16::from_be_bytes(rest.get(..36)?.get(32..34)?.try_into().ok()?);
            Some(Some(SocketAddr::new(Ipv6Addr::from(address).into(), port)))
        }
        // unspecified: the connection's own addresses hold
        (0x21, 0x00) => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{ProxyHeader, ProxyVersion};
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn version_1() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 10.0.0.1 5 80\r\n", Some(address("192.0.2.1:5"))),
            ("PROXY TCP6 2001:db8::1 ::1 65535 1\r\n", Some(address("[2001:db8::1]:65535"))),
            ("PROXY UNKNOWN\r\n", Some(None)),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Some(None)),
            ("PROXY UNKNOWNX\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 5 80\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 5 80 \r\n", None),
            ("PROXY TCP4  192.0.2.1 10.0.0.1 5 80\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 5\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 +5 80\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 65536 80\r\n", None),
            ("PROXY TCP4 192.0.2.01 10.0.0.1 5 80\r\n", None),
            ("PROXY TCP4 ::1 ::2 5 80\r\n", None),
            ("PROXY TCP6 192.0.2.1 10.0.0.1 5 80\r\n", None),
            ("PROXY UDP4 192.0.2.1 10.0.0.1 5 80\r\n", None),
            ("proxy TCP4 192.0.2.1 10.0.0.1 5 80\r\n", None),
            ("PROXY UNKNOWN a\rb\r\n", None),
        ] {
            assert_eq!(parse_v1(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn version_2() {
        let v4 = b"\xc0\0\x02\x01\x0a\0\0\x01\0\x05\0\x50";
        for (fixed, rest, expected) in [
            (b"\x21\x11", &v4[..], Some(address("192.0.2.1:5"))),
            (b"\x21\x11", &[&v4[..], b"\x04\0\x01x"].concat(), Some(address("192.0.2.1:5"))),
            (b"\x20\x11", &v4[..], Some(None)),
            (b"\x20\x00", b"", Some(None)),
            (b"\x21\x00", b"", Some(None)),
            (b"\x21\x11", &v4[..11], None),
            (b"\x21\x21", &v4[..], None),
            (b"\x21\x31", &[0; 216][..], None),
            (b"\x21\x12", &v4[..], None),
            (b"\x22\x11", &v4[..], None),
            (b"\x11\x11", &v4[..], None),
        ] {
            let length = (rest.len() as u16).to_be_bytes();
            let header = [&V2_SIGNATURE[..], fixed, &length, rest].concat();
            assert_eq!(parse_v2(&header), expected, "{fixed:?} {rest:?}");
        }
    }

    /// What a connection gives, and what is left of its bytes, however they are cut.
    fn read_in_pieces(bytes: Vec<u8>, piece: usize) -> (Result<Option<SocketAddr>, String>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            sender.set_nodelay(true).unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let send = async {
                for piece in bytes.chunks(piece) {
                    // the other end may have closed
                    if sender.write_all(piece).await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                let _ = sender.shutdown().await;
            };
            let receive = async {
                let result = read(&mut stream).await.map_err(|error| error.to_string());
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                (result, rest)
            };
            tokio::join!(send, receive).1
        })
    }

    #[test]
    fn not_a_byte_beyond_the_header_is_taken() {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let header = ProxyHeader { version, client: "192.0.2.1:5".parse().unwrap() };
            let bytes = [&header.bytes("10.0.0.1:80".parse().unwrap())[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
            for piece in [1, 2, 7, 13, 1000] {
                let (result, rest) = read_in_pieces(bytes.clone(), piece);
                assert_eq!(result, Ok(address("192.0.2.1:5")), "{version:?} {piece}");
                assert_eq!(rest, b"GET / HTTP/1.1\r\n\r\n");
            }
        }
        let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 10_000]].concat();
        assert!(read_in_pieces(endless, 500).0.is_err());
        let huge = [&V2_SIGNATURE[..], b"\x21\x11\xff\xff", &[0; 5000]].concat();
        assert!(read_in_pieces(huge, 500).0.is_err());
        assert!(read_in_pieces(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(), 100).0.is_err());
        assert!(read_in_pieces(b"PROXY".to_vec(), 100).0.is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_header_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = parse_v1(&bytes);
            let _ = parse_v1(&[b"PROXY TCP4 ", &bytes[..], b"\r\n"].concat());
            let _ = parse_v2(&bytes);
            let _ = parse_v2(&[&V2_SIGNATURE[..], &bytes].concat());
        }

        #[test]
        fn what_is_written_is_read(client: std::net::SocketAddr, endpoint: std::net::SocketAddrV4) {
            let read = |version| {
                let bytes = ProxyHeader { version, client }.bytes(endpoint.into());
                if version == ProxyVersion::V1 { parse_v1(&bytes) } else { parse_v2(&bytes) }
            };
            let same = |found: Option<Option<SocketAddr>>| {
                found.flatten().map(|found| (found.ip().to_canonical(), found.port()))
            };
            let expected = Some((client.ip().to_canonical(), client.port()));
            prop_assert_eq!(same(read(ProxyVersion::V1)), expected);
            prop_assert_eq!(same(read(ProxyVersion::V2)), expected);
        }
    }
}
