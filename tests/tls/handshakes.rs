//! Which certificate, which version, which protocol; and what is no handshake at all.

use crate::authority::{Authority, Issued};
use crate::client::Client;
use crate::support::raw::Raw;
use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};
use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A proxy with a listener that has these certificates, and more keys of `tls`.
pub fn proxy(upstream: &Recording, certificates: &[&Issued], tls: &str, files: &[(&'static str, String)]) -> Proxy {
    proxy_with(upstream, certificates, tls, "", files)
}

/// The same, with more keys of the listener.
pub fn proxy_with(
    upstream: &Recording,
    certificates: &[&Issued],
    tls: &str,
    listener: &str,
    files: &[(&'static str, String)],
) -> Proxy {
    const NAMES: [(&str, &str); 4] = [("0.crt", "0.key"), ("1.crt", "1.key"), ("2.crt", "2.key"), ("3.crt", "3.key")];
    let mut setup = Setup { upstreams: vec![("stable", upstream.address)], files: files.to_vec(), workers: 1 };
    let mut list = String::new();
    for ((certificate, key), issued) in NAMES.iter().zip(certificates) {
        setup.files.push((certificate, issued.certificate.clone()));
        setup.files.push((key, issued.key.clone()));
        list.push_str(&format!("{{ certFile: {certificate}, keyFile: {key} }}, "));
    }
    let yaml = format!(
        "listeners: [{{ name: public, address: 127.0.0.1:0, tls: {{ certificates: [{list}]{tls} }}{listener} }}]\n\
         services: {{ shop: {{ hashOn: [{{ issueCookie: id }}], variants: {{ stable: {{ endpoints: [$stable] }} }} }} }}\n"
    );
    Proxy::set_up(&yaml, &setup)
}

#[test]
fn the_certificate_is_chosen_by_exact_name_then_wildcard_then_the_first() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let (first, wild, exact) = (
        authority.issue(&["first.example"]),
        authority.issue(&["*.cdn.example", "*.deep.cdn.example"]),
        authority.issue(&["Exact.cdn.example"]),
    );
    let proxy = proxy(&upstream, &[&first, &wild, &exact], "", &[]);
    for (name, expected) in [
        ("first.example", &first),
        ("exact.cdn.example", &exact),
        ("EXACT.cdn.EXAMPLE", &exact),
        ("other.cdn.example", &wild),
        ("a.deep.cdn.example", &wild),
        ("127.0.0.1", &first),
    ] {
        let connected = Client::new(&authority, name).connect(proxy.address()).unwrap();
        assert_eq!(connected.certificate(), expected.chain()[0], "{name}");
    }
    for name in ["unknown.example", "cdn.example", "a.b.cdn.example"] {
        let refused = Client::new(&authority, name).connect(proxy.address()).err().unwrap();
        assert!(refused.contains("not valid for name"), "{name} gets the first, which it refuses: {refused}");
    }
}

#[test]
fn aes_with_a_short_key_goes_before_a_long_one_and_a_client_without_fast_aes_gets_chacha() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    for (version, order, agreed) in [
        (&TLS13, ["AES_256", "AES_128", "CHACHA20"], "AES_128"),
        (&TLS13, ["CHACHA20", "AES_256", "AES_128"], "CHACHA20"),
        (&TLS12, ["AES_256", "CHACHA20", "AES_128"], "AES_128"),
        (&TLS12, ["CHACHA20", "AES_128", "AES_256"], "CHACHA20"),
    ] {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        let rank = |name: &str| order.iter().position(|part| name.contains(part));
        provider.cipher_suites.sort_by_key(|suite| rank(suite.suite().as_str().unwrap()));
        let client = Client::with_provider(&authority, "a.example", None, &[version], provider);
        let mut connected = client.connect(proxy.address()).unwrap();
        assert_eq!(connected.get("a.example").status, 200);
        let suite = connected.0.conn.negotiated_cipher_suite().unwrap().suite();
        assert!(suite.as_str().unwrap().contains(agreed), "{version:?} {order:?}: {suite:?}");
    }
}

#[test]
fn the_request_says_that_it_came_by_tls() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    let mut connected = Client::new(&authority, "a.example").connect(proxy.address()).unwrap();
    let answer = connected.get("a.example");
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    assert!(answer.head.contains("; secure"), "{}", answer.head);
    assert_eq!(upstream.last().header("x-forwarded-proto"), Some("https"));
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
    // and the next ones come on the same connection, silent for long or not
    std::thread::park_timeout(Duration::from_millis(300));
    for _ in 0..3 {
        assert_eq!(connected.get("a.example").status, 200);
    }
    let mut large = connected
        .send(&format!("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 100000\r\n\r\n{}", "x".repeat(100_000)));
    assert_eq!(large.as_mut().unwrap().status, 200);
    assert_eq!(upstream.last().body.len(), 100_000);
}

#[test]
fn versions_from_the_oldest_allowed_one() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let issued = authority.issue(&["a.example"]);
    let (both, new) =
        (proxy(&upstream, &[&issued], "", &[]), proxy(&upstream, &[&issued], ", minVersion: \"1.3\"", &[]));
    for (versions, spoken) in [(&[&TLS12], ProtocolVersion::TLSv1_2), (&[&TLS13], ProtocolVersion::TLSv1_3)] {
        let client = Client::with(&authority, "a.example", None, versions);
        let connected = client.connect(both.address()).unwrap();
        assert_eq!(connected.0.conn.protocol_version(), Some(spoken));
        let refused = client.connect(new.address()).err();
        assert_eq!(refused.is_some(), spoken == ProtocolVersion::TLSv1_2, "{refused:?}");
    }
}

#[test]
fn the_protocol_is_what_both_agree_upon() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let client = Client::new(&authority, "a.example").offering(offered);
        let connected = client.connect(proxy.address()).unwrap();
        assert_eq!(connected.alpn(), agreed.map(str::as_bytes), "{offered:?}");
    }
    let client = Client::new(&authority, "a.example").offering(&["smtp"]);
    assert!(client.connect(proxy.address()).err().unwrap().contains("NoApplicationProtocol"));
    // HTTP/2 that nobody agreed upon is a wrong request
    let mut connected = Client::new(&authority, "a.example").connect(proxy.address()).unwrap();
    let answer = connected.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 400));
}

/// Passes on what a client sends byte by byte, and each TLS record as records of one byte.
fn fragmenting(to: SocketAddr, in_records: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(to).unwrap();
        server.set_nodelay(true).unwrap();
        let (mut back, mut answers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let down = std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let mut head = [0; 5];
        let mut is_first = true;
        while client.read_exact(&mut head).is_ok() {
            let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
            client.read_exact(&mut body).unwrap();
            let record = match in_records && is_first {
                true => body.iter().flat_map(|byte| [head[0], head[1], head[2], 0, 1, *byte]).collect(),
                false => [&head[..], &body].concat(),
            };
            is_first = false;
            for byte in record {
                if server.write_all(&[byte]).is_err() {
                    return;
                }
            }
        }
        let _ = down.join();
    });
    address
}

#[test]
fn a_hello_in_pieces_is_a_hello() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    for in_records in [false, true] {
        let through = fragmenting(proxy.address(), in_records);
        assert_eq!(Client::new(&authority, "a.example").get(through, "a.example").status, 200, "{in_records}");
    }
}

#[test]
fn plain_http_on_a_tls_port_is_told_so() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    let response = proxy.connect().send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").response();
    assert_eq!((response.status, response.text().as_str()), (400, "this port speaks TLS; use an https: URL\n"));
    proxy.wait_for_metric("ringway_unrouted_requests_total", &[("code", "400")], 1.0);
    for bytes in
        [&b"\0\0\0\0"[..], b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\0\x05hello", b"\x80\x2e\x01\x03\x01", b"\xff"]
    {
        let mut client = proxy.connect();
        client.send(bytes).finish();
        // an alert or nothing, and the end
        assert!(client.rest().len() < 100, "{bytes:?}");
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_handshake_has_ten_seconds() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    let begun = Instant::now();
    let mut silent = proxy.connect().with_patience(Duration::from_secs(20));
    let mut stalled = proxy.connect().with_patience(Duration::from_secs(20));
    stalled.send(b"\x16\x03\x01\x02\0\x01");
    silent.expect_close();
    stalled.expect_close();
    let took = begun.elapsed();
    assert!((9..15).contains(&took.as_secs()), "{took:?}");
    proxy.wait_for_metric("ringway_downstream_connections", &[], 0.0);
}

#[test]
fn the_end_of_a_connection_is_said_within_tls() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    let mut connected = Client::new(&authority, "a.example").connect(proxy.address()).unwrap();
    let answer = connected.send("GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n").unwrap();
    assert_eq!(answer.status, 200);
    // an end without a close_notify would be an error here
    assert_eq!(connected.0.read(&mut [0]).unwrap(), 0);
}

#[test]
fn websockets_pass_through_tls() {
    let upstream = Recording::start(|exchange| {
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        let (mut stream, early) = exchange.take_stream();
        stream.write_all(&early).unwrap();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..count]).unwrap();
        }
    });
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    let mut connected = Client::new(&authority, "a.example").connect(proxy.address()).unwrap();
    let answer = connected.send(
        "GET / HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(answer.unwrap().status, 101);
    let said: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    for piece in said.chunks(50_000) {
        connected.0.write_all(piece).unwrap();
        let back = connected.read_until(|read| read.len() == piece.len()).unwrap();
        assert_eq!(back, piece);
    }
    connected.0.conn.send_close_notify();
    connected.0.flush().unwrap();
    assert_eq!(connected.0.read(&mut [0]).unwrap(), 0);
    proxy.wait_for_metric("ringway_downstream_connections", &[], 0.0);
}

#[test]
fn when_certificates_expire_is_a_metric() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example", "b.example"])], "", &[]);
    let expires =
        proxy.metrics().sum("ringway_tls_certificate_expiry_seconds", &[("listener", "public"), ("name", "a.example")]);
    assert_eq!(expires, 2_208_988_800.0);
    // a plain request on a plain connection stays what it was
    let _ = Raw::connect(proxy.running.telemetry);
}
