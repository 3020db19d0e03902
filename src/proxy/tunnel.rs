//! Connections that have left HTTP behind: bytes in both directions, until one end closes or both are silent.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connection::Connection;
use crate::upstream::{Deadline, TunnelParts};

/// The endpoint's end of a tunnel that begins when the answer is out.
pub(super) struct Tunnel {
    pub(super) upstream: TunnelParts,
}

const BUFFER_BYTES: usize = 16 * 1024;

/// What the answer to a key must say.
fn accept_value(key: &[u8]) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    base64::engine::general_purpose::STANDARD.encode(hash)
}

/// True when an answer really switches to the WebSocket that was asked for (RFC 6455 §4.1): anything else must not
/// become a tunnel, or a service that ignores the upgrade would be sent a client's bytes as requests.
pub(super) fn is_answer_to(key: &[u8], answered: &HeaderMap) -> bool {
    let is_websocket =
        answered.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let is_for_key = answered
        .get(header::SEC_WEBSOCKET_ACCEPT)
        .is_some_and(|value: &HeaderValue| value.as_bytes() == accept_value(key).as_bytes());
    is_websocket && is_for_key
}

/// Copies bytes both ways until one end closes, or neither has sent anything for the listener's tunnel timeout.
pub(super) async fn run(connection: &Connection, mut client: TcpStream, early: Bytes, tunnel: Tunnel) {
    let TunnelParts { stream: mut upstream, read: answered } = tunnel.upstream;
    let idle = connection.rules.timeouts.tunnel;
    let deadline = Deadline::new();
    deadline.set(Instant::now(), idle);
    let copy = async {
        client.write_all(&answered).await?;
        upstream.write_all(&early).await?;
        copy_both_ways(&mut client, &mut upstream, &deadline, idle).await
    };
    tokio::select! {
        // how a tunnel ends is between its two ends
        _ = copy => {}
        () = deadline.passed() => {}
        () = drained(connection) => {}
    }
}

/// The same, for a client whose end is a stream among others.
pub(super) async fn run_stream(connection: &Connection, client: impl AsyncRead + AsyncWrite, tunnel: Tunnel) {
    let TunnelParts { stream: mut upstream, read: answered } = tunnel.upstream;
    let idle = connection.rules.timeouts.tunnel;
    let deadline = Deadline::new();
    deadline.set(Instant::now(), idle);
    let (client_read, mut client_write) = tokio::io::split(client);
    let copy = async {
        client_write.write_all(&answered).await?;
        client_write.flush().await?;
        let (upstream_read, upstream_write) = upstream.split();
        tokio::try_join!(
            copy(client_read, upstream_write, &deadline, idle),
            copy(upstream_read, client_write, &deadline, idle)
        )
    };
    tokio::select! {
        _ = copy => {}
        () = deadline.passed() => {}
        () = drained(connection) => {}
    }
}

/// Ready when the worker drains: a tunnel has no end that could be waited for.
async fn drained(connection: &Connection) {
    let mut drain = std::pin::pin!(connection.worker.drain.notified());
    drain.as_mut().enable();
    if !connection.worker.is_draining.get() {
        drain.await;
    }
}

async fn copy_both_ways(
    client: &mut TcpStream,
    upstream: &mut TcpStream,
    deadline: &Deadline,
    idle: Duration,
) -> std::io::Result<()> {
    let (client_read, client_write) = client.split();
    let (upstream_read, upstream_write) = upstream.split();
    tokio::try_join!(
        copy(client_read, upstream_write, deadline, idle),
        copy(upstream_read, client_write, deadline, idle)
    )?;
    Ok(())
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    deadline: &Deadline,
    idle: Duration,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        deadline.set(Instant::now(), idle);
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 §1.3.
    #[test]
    fn the_answer_must_be_to_the_question() {
        let key = b"dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(accept_value(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let mut answered = HeaderMap::new();
        answered.insert("upgrade", HeaderValue::from_static("WebSocket"));
        assert!(!is_answer_to(key, &answered));
        answered.insert("sec-websocket-accept", HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(is_answer_to(key, &answered));
        assert!(!is_answer_to(b"another key", &answered));
    }
}
