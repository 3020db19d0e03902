//! WebSockets over HTTP/2: extended CONNECT (RFC 8441).

use super::client::{Sender, ask, connect, finish, get, run, until};
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
