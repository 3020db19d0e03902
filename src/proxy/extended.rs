//! WebSockets on streams of HTTP/2: extended CONNECT (RFC 8441).
//!
//! On its way through here such a request is the handshake of RFC 6455 that it stands for, so that it is routed, assigned
//! and recorded like one, and any service that speaks HTTP/1.1 can answer it. Only the last step differs: a valid 101
//! becomes 200, and the stream becomes the client's end of the tunnel.

use base64::Engine;
use http::{HeaderValue, Method, StatusCode, header, request, response};
use hyper::ext::Protocol;

use super::tunnel;

/// Turns an extended CONNECT for a WebSocket into a handshake. Any other CONNECT stays what it is, and is refused (`false`).
pub(super) fn to_handshake(head: &mut request::Parts) -> bool {
    let asked = head.extensions.remove::<h2::ext::Protocol>();
    if head.method != Method::CONNECT || asked.is_none_or(|asked| asked.as_str() != "websocket") {
        return false;
    }
    head.extensions.insert(Protocol::from_static("websocket"));
    head.method = Method::GET;
    let nonce: [u8; 16] = fastrand::u128(..).to_ne_bytes();
    let key = base64::engine::general_purpose::STANDARD.encode(nonce);
    // in place of what a client may have written there
    if let Ok(key) = HeaderValue::from_str(&key) {
        head.headers.insert(header::SEC_WEBSOCKET_KEY, key);
    }
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    true
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

/// True for a handshake that was an extended CONNECT. The protocol is not passed on: to an endpoint it is a handshake.
pub(super) fn was_connect(head: &mut request::Parts) -> bool {
    head.extensions.remove::<Protocol>().is_some()
}
