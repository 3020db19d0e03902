//! D9 and R25: only a WebSocket that was asked for, and that the service agreed to, becomes a tunnel (RFC 9110 §7.8,
//! RFC 6455 §4). Everything else stays an ordinary exchange.

use crate::support::raw::{Raw, eventually};
use crate::support::recording::{Exchange, Recording};
use crate::support::server::Proxy;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// The example of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn upgrade(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nhost: shop\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\r\n"
    )
}

/// Agrees, greets, and sends back what it gets until the other end closes.
fn echo_tunnel(exchange: &mut Exchange) {
    exchange.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {ACCEPT}\r\nsec-websocket-protocol: chat\r\n\r\nhello "
    ));
    let (mut stream, early) = exchange.take_stream();
    stream.write_all(&early).unwrap();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..count]).unwrap();
    }
    // the other end may be gone
    let _ = stream.write_all(b" bye");
    let _ = stream.shutdown(Shutdown::Both);
}

#[test]
fn bytes_pass_both_ways_early_ones_and_the_last_ones_too() {
    let upstream = Recording::start(echo_tunnel);
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.connect();
    // what is sent before the answer must wait for it, and come first
    client.send([upgrade("/").as_bytes(), b"early \0\xff"].concat());
    let head = client.head().unwrap();
    assert_eq!(
        (head.status, head.header("upgrade"), head.header("connection")),
        (101, Some("websocket"), Some("upgrade"))
    );
    assert_eq!(head.header("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(head.header("sec-websocket-protocol"), Some("chat"));
    assert_eq!(client.bytes(14), b"hello early \0\xff");
    client.send("more");
    assert_eq!(client.bytes(4), b"more");
    // one end has finished, the other still speaks
    assert_eq!(client.finish().rest(), b" bye");
    let seen = upstream.last();
    assert_eq!((seen.header("connection"), seen.header("upgrade")), (Some("upgrade"), Some("websocket")));
    assert_eq!(seen.header("sec-websocket-key"), Some(KEY));
    proxy.wait_for_metric("ringway_http_requests_total", &[("code", "101")], 1.0);
    proxy.wait_for_metric("ringway_downstream_connections", &[], 0.0);
}

/// With the library that people use, on both ends.
#[test]
fn websockets_of_a_real_library_work() {
    use tokio_tungstenite::tungstenite::{Message, accept, client};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = listener.local_addr().unwrap();
    let serve = std::thread::spawn(move || {
        let mut socket = accept(listener.accept().unwrap().0).unwrap();
        let mut count = 0;
        while let Ok(message) = socket.read() {
            if message.is_text() || message.is_binary() {
                count += 1;
                socket.send(message).unwrap();
            }
        }
        count
    });
    let proxy = before(service);
    let (mut socket, response) = client("ws://shop/chat", TcpStream::connect(proxy.address()).unwrap()).unwrap();
    assert_eq!(response.status(), 101);
    for message in [Message::text("hello"), Message::binary(vec![7; 200_000]), Message::text("")] {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    assert_eq!(serve.join().unwrap(), 3);
}

fn before(service: SocketAddr) -> Proxy {
    let yaml = format!(
        "{}services: {{ shop: {{ variants: {{ stable: {{ endpoints: [$stable] }} }} }} }}\n",
        crate::support::server::LISTENER
    );
    Proxy::start(&yaml, &[("stable", service)])
}

/// An answer that does not switch is an ordinary answer; one that switches wrongly is no answer, and its connection is
/// not used again.
#[test]
fn only_a_valid_101_becomes_a_tunnel() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n";
    let answers = [
        ("/200", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(), 200),
        ("/403", "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno".to_owned(), 403),
        ("/426", "HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n".to_owned(), 426),
        ("/no-upgrade", format!("{switch}sec-websocket-accept: {ACCEPT}\r\n\r\n"), 502),
        ("/other", format!("{switch}upgrade: h2c\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n"), 502),
        ("/no-accept", format!("{switch}upgrade: websocket\r\n\r\n"), 502),
        ("/wrong-accept", format!("{switch}upgrade: websocket\r\nsec-websocket-accept: AAAA\r\n\r\n"), 502),
        (
            "/case",
            format!("{switch}upgrade: websocket\r\nsec-websocket-accept: {}\r\n\r\n", ACCEPT.to_lowercase()),
            502,
        ),
    ];
    let script = answers.clone();
    let upstream = Recording::start(move |exchange| {
        let answer = script.iter().find(|(target, _, _)| *target == exchange.seen.target);
        exchange.send(answer.map_or("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain", |(_, answer, _)| answer));
    });
    let proxy = Proxy::before(&upstream);
    for (target, _, status) in answers {
        let mut client = proxy.connect();
        client.send(upgrade(target));
        let response = client.response();
        assert_eq!(response.status, status, "{target}");
        assert_eq!(response.header("sec-websocket-accept"), None, "{target}");
        let connections = upstream.connections();
        // bytes of a tunnel that never was are read as a request, which they are not
        client.send("\x01\x02smuggled\r\n\r\n").rest();
        assert_eq!(proxy.get("/plain", "").text(), "plain", "{target}");
        let is_new = upstream.connections() > connections;
        assert_eq!(is_new, status == 502, "{target}: a connection that switched wrongly must not be used again");
    }
    assert!(upstream.seen().iter().all(|seen| !seen.target.contains("smuggled") && seen.method == "GET"));
}

/// Requests that ask for something else, or not in the right way, pass without the question (h2c smuggling).
#[test]
fn other_upgrades_are_taken_out_of_the_request() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let key = format!("sec-websocket-key: {KEY}\r\n");
    for (request_line, lines) in [
        (
            "GET / HTTP/1.1",
            "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n".into(),
        ),
        ("GET / HTTP/1.1", "connection: Upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n".into()),
        ("GET / HTTP/1.1", "upgrade: h2c\r\n".into()),
        ("GET / HTTP/1.1", format!("connection: upgrade\r\nupgrade: websocket, h2c\r\n{key}")),
        ("GET / HTTP/1.1", format!("connection: upgrade\r\nupgrade: websocket\r\nupgrade: h2c\r\n{key}")),
        ("GET / HTTP/1.1", "connection: upgrade\r\nupgrade: TLS/1.3\r\n".into()),
        ("GET / HTTP/1.1", "connection: upgrade\r\nupgrade: websocket\r\n".into()),
        ("GET / HTTP/1.1", format!("upgrade: websocket\r\n{key}")),
        ("GET / HTTP/1.0", format!("connection: upgrade\r\nupgrade: websocket\r\n{key}")),
        ("HEAD / HTTP/1.1", format!("connection: upgrade\r\nupgrade: websocket\r\n{key}")),
        ("POST / HTTP/1.1", format!("connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n{key}")),
    ] {
        let method = request_line.split(' ').next().unwrap();
        let mut client = proxy.connect();
        let status = client.send(format!("{request_line}\r\nhost: shop\r\n{lines}\r\n")).response_to(method).status;
        assert_eq!(status, 200, "{request_line} {lines}");
        let seen = upstream.last();
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(seen.header(name), None, "{request_line} {lines}");
        }
    }
}

#[test]
fn a_service_cannot_switch_a_connection_that_nobody_asked_to_switch() {
    let upstream = Recording::start(|exchange| {
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
        exchange.send(format!("{head}sec-websocket-accept: {ACCEPT}\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"));
    });
    let proxy = Proxy::before(&upstream);
    for lines in ["", "upgrade: h2c\r\nconnection: upgrade\r\n"] {
        assert_eq!(proxy.get("/", lines).status, 502, "{lines}");
    }
}

#[test]
fn a_silent_tunnel_is_closed() {
    let upstream = Recording::start(echo_tunnel);
    let proxy = Proxy::before_with(&upstream, "timeouts: { tunnel: 300ms }");
    let began = Instant::now();
    let mut client = Raw::connect(proxy.address());
    client.send(upgrade("/"));
    assert_eq!(client.head().unwrap().status, 101);
    assert_eq!(client.bytes(6), b"hello ");
    client.rest();
    assert!(began.elapsed() >= Duration::from_millis(290) && began.elapsed() < Duration::from_secs(5));
    eventually("the end of the service's tunnel", || upstream.open() == 0);
}
