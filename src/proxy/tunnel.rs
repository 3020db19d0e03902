//! Connections that have left HTTP behind: bytes in both directions, until one end closes or both are silent.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use hyper_util::rt::TokioIo;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use super::connection::Connection;
use crate::upstream::{Deadline, TunnelEnd, TunnelParts};

/// The endpoint's end of a tunnel that begins when the answer is out.
pub(super) struct Tunnel {
    pub(super) upstream: TunnelParts,
}

const BUFFER_BYTES: usize = 16 * 1024;

/// What the answer to a key must say.
pub(super) fn accept_value(key: &[u8]) -> String {
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
pub(super) async fn run(
    connection: &Connection,
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    early: Bytes,
    mut tunnel: Tunnel,
) {
    let Tunnel { upstream: TunnelParts { end, read: answered, .. } } = &mut tunnel;
    let answered = std::mem::take(answered);
    match end {
        TunnelEnd::Connection(endpoint) => relay(connection, &mut client, endpoint, early, answered).await,
        TunnelEnd::Stream(upgrade) => {
            // an endpoint that has gone meanwhile ends the tunnel
            let Ok(endpoint) = upgrade.await else { return };
            relay(connection, &mut client, &mut TokioIo::new(endpoint), early, answered).await;
        }
    }
}

async fn relay(
    connection: &Connection,
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    upstream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    early: Bytes,
    answered: Bytes,
) {
    let idle = connection.rules.timeouts.tunnel;
    let deadline = Deadline::new();
    deadline.set(Instant::now(), idle);
    let copy = async {
        client.write_all(&answered).await?;
        upstream.write_all(&early).await?;
        client.flush().await?;
        upstream.flush().await?;
        copy_both_ways(client, upstream, &deadline, idle).await
    };
    tokio::select! {
        // how a tunnel ends is between its two ends
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
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    upstream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    deadline: &Deadline,
    idle: Duration,
) -> std::io::Result<()> {
    let (mut up, mut down) = (Direction::new(), Direction::new());
    std::future::poll_fn(|cx| {
        let up = up.poll_copy(cx, client, upstream, deadline, idle)?;
        let down = down.poll_copy(cx, upstream, client, deadline, idle)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// One way of a tunnel, and what is on it.
struct Direction {
    buffer: Box<[u8]>,
    /// Read and not yet written.
    waiting: Range<usize>,
    needs_flush: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing more comes; what was read has still to go out.
    Ended,
    Done,
}

impl Direction {
    fn new() -> Direction {
        Direction { buffer: vec![0; BUFFER_BYTES].into(), waiting: 0..0, needs_flush: false, state: State::Open }
    }

    /// Moves bytes until it has to wait; ready when the end has been passed on.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        deadline: &Deadline,
        idle: Duration,
    ) -> Poll<std::io::Result<()>> {
        while self.state != State::Done {
            if !self.waiting.is_empty() {
                match ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer[self.waiting.clone()]))? {
                    0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                    count => self.waiting.start += count,
                }
                self.needs_flush = true;
                continue;
            }
            if self.state == State::Ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.state = State::Done;
                continue;
            }
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut *from).poll_read(cx, &mut buffer) {
                Poll::Ready(result) => {
                    result?;
                    self.waiting = 0..buffer.filled().len();
                    deadline.set(Instant::now(), idle);
                    if self.waiting.is_empty() {
                        self.state = State::Ended;
                    }
                }
                Poll::Pending => {
                    if self.needs_flush {
                        ready!(Pin::new(&mut *to).poll_flush(cx))?;
                        self.needs_flush = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
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
