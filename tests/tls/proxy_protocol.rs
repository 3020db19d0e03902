//! The PROXY protocol, from load balancers and to endpoints (row D11).

use crate::authority::Authority;
use crate::client::Client;
use crate::handshakes::proxy_with;
use crate::support::raw::Raw;
use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(fixed: &[u8; 2], rest: &[u8]) -> Vec<u8> {
    [V2, fixed, &(rest.len() as u16).to_be_bytes(), rest].concat()
}

#[test]
fn a_listed_peer_speaks_for_its_client_and_must() {
    let upstream = Recording::text("hello");
    let proxy = Proxy::before_with(&upstream, "proxyProtocol: { from: [127.0.0.8/32] }");
    let v4 = b"\xc0\0\x02\x01\x0a\0\0\x01\x12\x34\0\x50";
    let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1], b"\x12\x34\0\x50"].concat();
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(), Some("192.0.2.1")),
        (b"PROXY TCP6 2001:db8::1 ::1 4660 80\r\n".to_vec(), Some("2001:db8::1")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Some("127.0.0.8")),
        (b"PROXY UNKNOWN 1 2 3\r\n".to_vec(), Some("127.0.0.8")),
        (v2(b"\x21\x11", v4), Some("192.0.2.1")),
        (v2(b"\x21\x21", &v6), Some("2001:db8::1")),
        (v2(b"\x21\x11", &[&v4[..], b"\x01\0\x02h2", &[0; 1000]].concat()), Some("192.0.2.1")),
        (v2(b"\x20\0", b""), Some("127.0.0.8")),
        (v2(b"\x21\0", b""), Some("127.0.0.8")),
        (v2(b"\x21\x11", &v4[..4]), None),
        (v2(b"\x21\x12", v4), None),
        (v2(b"\x2f\x11", v4), None),
        (v2(b"\x21\x11", &[0; 3000]), None),
        (b"PROXY TCP4 192.0.2.1\r\n".to_vec(), None),
        (b"PROXY TCP4 nobody 10.0.0.1 1 2\r\n".to_vec(), None),
        ([b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200], b"\r\n".to_vec()].concat(), None),
        (b"".to_vec(), None),
    ] {
        let before = upstream.count();
        let mut balancer = Raw::connect_from(BALANCER, proxy.address());
        let response = balancer.send([&header[..], GET].concat()).response();
        let shown = String::from_utf8_lossy(&header).into_owned();
        assert_eq!(response.status, if client.is_some() { 200 } else { 400 }, "{shown}");
        assert_eq!(upstream.count() - before, usize::from(client.is_some()), "{shown}");
        if let Some(client) = client {
            assert_eq!(upstream.last().header("x-forwarded-for"), Some(client), "{shown}");
        }
    }
}

#[test]
fn of_others_it_is_no_header_but_a_wrong_request() {
    let upstream = Recording::text("hello");
    let proxy = Proxy::before_with(&upstream, "proxyProtocol: { from: [127.0.0.8/32] }");
    for header in [b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(), v2(b"\x20\0", b"")] {
        let response = proxy.ask([&header[..], GET].concat());
        assert_eq!(response.status, 400);
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(proxy.ask(GET).status, 200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn it_comes_before_tls() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let issued = authority.issue(&["a.example"]);
    let proxy = proxy_with(&upstream, &[&issued], "", ", proxyProtocol: { from: [127.0.0.0/8] }", &[]);
    for header in [
        b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(),
        v2(b"\x21\x11", b"\xc0\0\x02\x01\x0a\0\0\x01\x12\x34\0\x50"),
    ] {
        let mut socket = TcpStream::connect(proxy.address()).unwrap();
        socket.write_all(&header).unwrap();
        let mut connected = Client::new(&authority, "a.example").connect_on(socket).unwrap();
        assert_eq!(connected.get("a.example").status, 200);
        assert_eq!(upstream.last().header("x-forwarded-for"), Some("192.0.2.1"));
    }
    let mut bare = TcpStream::connect(proxy.address()).unwrap();
    bare.write_all(b"\x16\x03\x01\0\x05hello world").unwrap();
    let mut answer = String::new();
    bare.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("no PROXY protocol header before the request\n"));
}

/// Reads the header of each connection, and answers with it.
fn telling_service() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut header = Vec::new();
                let mut byte = [0];
                while !header.ends_with(b"\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
                    header.push(byte[0]);
                }
                let line = String::from_utf8_lossy(&header).trim_end().to_owned();
                let mut read = Vec::new();
                while stream.read(&mut byte).is_ok_and(|count| count == 1) {
                    read.push(byte[0]);
                    if read.ends_with(b"\r\n\r\n") {
                        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len());
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                }
            });
        }
    });
    address
}

#[test]
fn an_endpoint_is_told_and_connections_are_not_shared() {
    let service = telling_service();
    let yaml = "listeners: [{ address: 127.0.0.1:0 }]\n\
                services: { shop: { variants: { stable: { endpoints: [$stable], proxyProtocol: v1 } } } }\n";
    let proxy = Proxy::set_up(yaml, &Setup { upstreams: vec![("stable", service)], ..Setup::default() });
    let ask = |client: &mut Raw| {
        let response = client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").response();
        let port = client.stream().local_addr().unwrap().port();
        let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}", service.port());
        assert_eq!(response.text(), expected);
    };
    let (mut one, mut other) = (proxy.connect(), proxy.connect());
    for _ in 0..3 {
        ask(&mut one);
        ask(&mut other);
    }
    assert_eq!(proxy.metrics().sum("ringway_upstream_connections_total", &[]), 2.0);
}
