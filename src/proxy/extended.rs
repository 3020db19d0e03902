//! WebSockets on streams of HTTP/2: extended CONNECT (RFC 8441).
//!
//! On its way through here such a request is the handshake of RFC 6455 that it stands for, so that it is routed, assigned
//! and recorded like one, and any service that speaks HTTP/1.1 can answer it. Only the last step differs: a valid 101
//! becomes 200, and the stream becomes the client's end of the tunnel.

use base64::Engine;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header, request, response};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::rc::Rc;
use std::time::Instant;

use super::connection::Connection;
use super::tunnel::{self, Tunnel};

/// Turns an extended CONNECT for a WebSocket into a handshake. Any other CONNECT stays what it is, and is refused.
pub(super) fn to_handshake(head: &mut request::Parts) {
    let is_websocket = head.extensions.get::<Protocol>().is_some_and(|asked| asked.as_str() == "websocket");
    if head.method != Method::CONNECT || !is_websocket {
        return;
    }
    head.method = Method::GET;
    let nonce: [u8; 16] = fastrand::u128(..).to_ne_bytes();
    let key = base64::engine::general_purpose::STANDARD.encode(nonce);
    // in place of what a client may have written there
    if let Ok(key) = HeaderValue::from_str(&key) {
        head.headers.insert(header::SEC_WEBSOCKET_KEY, key);
    }
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// A handshake as an endpoint of HTTP/2 wants it (RFC 8441 §5). The handshake stays what it is, for another endpoint.
pub(super) fn to_connect(handshake: &request::Parts) -> request::Parts {
    let mut head = handshake.clone();
    head.method = Method::CONNECT;
    head.headers.remove(header::SEC_WEBSOCKET_KEY);
    head.extensions.insert(Protocol::from_static("websocket"));
    head
}

/// Makes the answer of an endpoint of HTTP/2 one to a handshake with this key.
pub(super) fn to_switch(head: &mut response::Parts, key: &HeaderValue) {
    head.status = StatusCode::SWITCHING_PROTOCOLS;
    head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&tunnel::accept_value(key.as_bytes())) {
        head.headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
}

/// The client's end of the tunnel that this request asks for; `None` for any other request. The protocol is not passed on:
/// to an endpoint it is a handshake.
pub(super) fn client_end(head: &mut request::Parts) -> Option<OnUpgrade> {
    head.extensions.remove::<Protocol>()?;
    head.extensions.remove::<OnUpgrade>()
}

/// Runs the tunnel beside the other streams of the connection, once the answer is out.
pub(super) fn start(connection: &Rc<Connection>, client: OnUpgrade, tunnel: Tunnel) {
    let connection = connection.clone();
    connection.tunnel_begun();
    tokio::task::spawn_local(async move {
        let open = Open(&connection);
        // a client that has gone meanwhile needs no tunnel
        if let Ok(upgraded) = client.await {
            tunnel::run(&connection, TokioIo::new(upgraded), Bytes::new(), tunnel).await;
        }
        drop(open);
    });
}

/// A connection with a tunnel is not idle.
struct Open<'c>(&'c Connection);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.request_ended(Instant::now());
    }
}
