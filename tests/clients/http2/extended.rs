//! WebSockets over HTTP/2: extended CONNECT (RFC 8441).

use super::client::{Sender, ask, connect, finish, get, run, until};
use crate::support::raw::Raw;
use crate::support::recording::Recording;
use crate::support::server::{LISTENER, Proxy};
use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Request, Version};
use std::net::{SocketAddr, TcpListener};
use tokio_tungstenite::tungstenite::accept;

fn before(service: SocketAddr) -> Proxy {
    let yaml = format!("{LISTENER}services: {{ shop: {{ variants: {{ stable: {{ endpoints: [$stable] }} }} }} }}\n");
    Proxy::start(&yaml, &[("stable", service)])
}

fn extended(protocol: &'static str, path: &str) -> Request<()> {
    let request = Request::builder().method(Method::CONNECT).version(Version::HTTP_2);
    let request = request.uri(format!("http://shop{path}")).header("sec-websocket-version", "13");
    request.extension(Protocol::from_static(protocol)).body(()).unwrap()
}

/// A connection on which the proxy has said that it takes extended CONNECT (RFC 8441 §3).
async fn connect_extended(proxy: &Proxy) -> Sender {
    let sender = connect(proxy.address()).await;
    until(|| sender.is_extended_connect_protocol_enabled()).await;
    sender
}

#[test]
fn a_stream_becomes_a_websocket_beside_ordinary_ones() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = listener.local_addr().unwrap();
    let serve = std::thread::spawn(move || {
        let mut socket = accept(listener.accept().unwrap().0).unwrap();
        let mut count = 0;
        while let Ok(message) = socket.read() {
            if message.is_text() {
                count += 1;
                socket.send(message).unwrap();
            }
        }
        count
    });
    let proxy = before(service);
    run(async {
        let sender = connect_extended(&proxy).await;
        let mut ready = sender.clone().ready().await.unwrap();
        let (response, mut stream) = ready.send_request(extended("websocket", "/chat"), false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        for gone in ["connection", "upgrade", "sec-websocket-accept"] {
            assert!(!response.headers().contains_key(gone), "{gone}");
        }
        let mut body = response.into_body();
        for _ in 0..3 {
            // a text message of five bytes, with a mask of zeros (RFC 6455 §5.2)
            stream.send_data(Bytes::from_static(b"\x81\x85\0\0\0\0hello"), false).unwrap();
            let mut got = Vec::new();
            while got.len() < 7 {
                let data = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                got.extend_from_slice(&data);
            }
            assert_eq!(got, b"\x81\x05hello");
            // the rest of the connection goes on
            let refused = ask(&mut sender.clone(), get("/a%2fb", &[])).await.unwrap();
            assert_eq!(refused.status, 400);
        }
        stream.send_data(Bytes::from_static(b"\x88\x80\0\0\0\0"), true).unwrap();
        while let Some(data) = body.data().await {
            data.unwrap();
        }
    });
    assert_eq!(serve.join().unwrap(), 3);
    proxy.wait_for_metric("ringway_downstream_connections", &[], 0.0);
}

/// Only a valid 101 is a tunnel; a success that is none would be taken for one by the client (RFC 8441 §5).
#[test]
fn whatever_is_no_websocket_is_no_tunnel() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    let upstream = Recording::start(move |exchange| {
        let answer = match exchange.seen.target.as_str() {
            "/403" => "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno".to_owned(),
            "/200" => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(),
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            "/wrong" => format!("{switch}sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
            _ => format!("{switch}\r\n"),
        };
        exchange.send(answer);
    });
    let proxy = Proxy::before(&upstream);
    run(async {
        let sender = connect_extended(&proxy).await;
        for (protocol, path, expected, reaches) in [
            ("websocket", "/403", 403, true),
            ("websocket", "/200", 502, true),
            ("websocket", "/204", 502, true),
            ("websocket", "/wrong", 502, true),
            ("websocket", "/none", 502, true),
            ("connect-udp", "/200", 405, false),
            ("WebSocket", "/200", 405, false),
        ] {
            let before = upstream.count();
            let mut ready = sender.clone().ready().await.unwrap();
            let (response, _stream) = ready.send_request(extended(protocol, path), false).unwrap();
            let answer = finish(response.await.unwrap()).await.unwrap();
            assert_eq!(answer.status, expected, "{protocol} {path}");
            assert_eq!(upstream.count() - before, usize::from(reaches), "{protocol} {path}");
        }
        // CONNECT as it ever was
        let mut ready = sender.clone().ready().await.unwrap();
        let plain =
            Request::builder().method(Method::CONNECT).version(Version::HTTP_2).uri("shop:80").body(()).unwrap();
        let (response, _stream) = ready.send_request(plain, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 405);
    });
}

/// A service of HTTP/2 that takes extended CONNECT, or does not say so. A tunnel sends back what comes, with the path and
/// the fields of the handshake before it; `/no` is refused, and anything else is an ordinary request.
fn service_of_http2(takes_tunnels: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let mut builder = h2::server::Builder::new();
                if takes_tunnels {
                    builder.enable_connect_protocol();
                }
                tokio::spawn(async move {
                    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond));
                    }
                });
            }
        });
    });
    address
}

async fn answer(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let (head, mut body) = request.into_parts();
    let protocol = head.extensions.get::<Protocol>().map(|protocol| protocol.as_str().to_owned());
    let is_tunnel = head.method == Method::CONNECT && protocol.as_deref() == Some("websocket");
    let gone = ["sec-websocket-key", "connection", "upgrade"].iter().all(|name| !head.headers.contains_key(*name));
    let status = match head.uri.path() {
        "/no" => 403,
        _ if is_tunnel == gone => 200,
        _ => 500,
    };
    let response = http::Response::builder().status(status).header("sec-websocket-protocol", "chat");
    let is_over = status != 200 || !is_tunnel;
    let Ok(mut stream) = respond.send_response(response.body(()).unwrap(), is_over) else { return };
    while let Some(Ok(data)) = body.data().await.filter(|_| !is_over) {
        body.flow_control().release_capacity(data.len()).unwrap();
        // masked by zeros, so that the same bytes are a frame of a server without the mask
        let [kind, length, _, _, _, _, text @ ..] = &data[..] else { return };
        let frame = [&[*kind, length & 0x7f], text].concat();
        if stream.send_data(frame.into(), kind & 0xf == 8).is_err() {
            return;
        }
    }
}

fn before_http2(takes_tunnels: bool) -> Proxy {
    let yaml = format!(
        "{LISTENER}services: {{ shop: {{ variants: {{ stable: {{ endpoints: [$stable], protocol: h2c }} }} }} }}\n"
    );
    Proxy::start(&yaml, &[("stable", service_of_http2(takes_tunnels))])
}

/// A text message of five bytes, with a mask of zeros, and a close (RFC 6455 §5.2).
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";
const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn websockets_reach_services_of_http2() {
    let proxy = before_http2(true);
    // over HTTP/1.1
    let mut raw = Raw::connect(proxy.address());
    let head = raw.send(HANDSHAKE).head().unwrap();
    assert_eq!((head.status, head.header("sec-websocket-accept")), (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    assert_eq!(head.header("sec-websocket-protocol"), Some("chat"));
    for _ in 0..3 {
        raw.send(HELLO);
        assert_eq!(raw.bytes(7), b"\x81\x05hello");
    }
    // over HTTP/2, beside ordinary requests on the same connections
    run(async {
        let sender = connect_extended(&proxy).await;
        let mut ready = sender.clone().ready().await.unwrap();
        let (response, mut stream) = ready.send_request(extended("websocket", "/chat"), false).unwrap();
        let response = response.await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers().contains_key("sec-websocket-accept")), (200, false));
        let mut body = response.into_body();
        for _ in 0..3 {
            stream.send_data(Bytes::from_static(HELLO), false).unwrap();
            assert_eq!(body.data().await.unwrap().unwrap(), &b"\x81\x05hello"[..]);
            assert_eq!(ask(&mut sender.clone(), get("/a", &[])).await.unwrap().status, 500);
        }
        let mut ready = sender.clone().ready().await.unwrap();
        let (response, _stream) = ready.send_request(extended("websocket", "/no"), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 403);
    });
    assert_eq!(proxy.metrics().sum("ringway_upstream_connections_total", &[]), 1.0);
}

#[test]
fn a_service_of_http2_without_tunnels_is_not_asked_for_one() {
    let proxy = before_http2(false);
    let mut raw = Raw::connect(proxy.address());
    assert_eq!(raw.send(HANDSHAKE).response().status, 502);
    assert_eq!(raw.send("GET /no HTTP/1.1\r\nhost: shop\r\n\r\n").response().status, 403);
}
