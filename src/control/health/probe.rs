//! One health check.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::Future;
use std::net::SocketAddr;

use crate::upstream::{Alpn, Check, Connect, ConnectError, Probe, Protocol, ProxyHeader, Stream, Upstream, connect};

/// Why an endpoint did not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failed {
    #[error("no connection")]
    Connect,
    #[error("no TLS")]
    Tls,
    #[error("no answer in time")]
    TimedOut,
    #[error("the connection broke, or what came is not an answer")]
    Broken,
    #[error("status {0}")]
    Status(u16),
    #[error("it says that it is not serving")]
    NotServing,
    #[error("the path or host of the check cannot be sent")]
    Unsendable,
}

/// Bytes of an answer's head, at most.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer of the health protocol, at most.
const GRPC_BYTES_MAX: usize = 1024;

/// Asks an endpoint once. With what it is asked is closed again.
pub(super) async fn probe(upstream: &Upstream, endpoint: SocketAddr, check: &Check) -> Result<(), Failed> {
    let mut address = endpoint;
    if let Some(port) = check.port {
        address.set_port(port);
    }
    let asked = async {
        let stream = open(upstream, address, check).await?;
        let scheme = if stream.is_tls() { "https" } else { "http" };
        match &check.probe {
            Probe::Tcp => Ok(()),
            Probe::Grpc { service } => ask_grpc(stream, scheme, address, service).await,
            Probe::Http { path, host, expect } => {
                let host = host.clone().unwrap_or_else(|| address.to_string());
                let is_http2 = alpn(upstream, check) == Alpn::Http2;
                let status = ask_http(stream, scheme, path, &host, is_http2).await?;
                let is_expected = expect.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16()));
                if is_expected { Ok(()) } else { Err(Failed::Status(status.as_u16())) }
            }
        }
    };
    tokio::time::timeout(check.timeout, asked).await.map_err(|_| Failed::TimedOut)?
}

async fn ask_http(stream: Stream, scheme: &str, path: &str, host: &str, is_http2: bool) -> Result<StatusCode, Failed> {
    let target = if is_http2 { format!("{scheme}://{host}{path}") } else { path.to_owned() };
    let mut request = Request::get(target).header(header::USER_AGENT, "ringway-health-check");
    if !is_http2 {
        request = request.header(header::HOST, host);
    }
    let request = request.body(Full::default()).map_err(|_| Failed::Unsendable)?;
    let answer =
        if is_http2 { exchange_http2(stream, request).await? } else { exchange_http1(stream, request).await? };
    Ok(answer.0)
}

/// `grpc.health.v1.Health/Check`, with as much of Protocol Buffers as that takes.
async fn ask_grpc(stream: Stream, scheme: &str, address: SocketAddr, service: &str) -> Result<(), Failed> {
    let request = Request::post(format!("{scheme}://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, HeaderValue::from_static("trailers"))
        .header(header::USER_AGENT, "ringway-health-check")
        .body(Full::new(question(service)))
        .map_err(|_| Failed::Unsendable)?;
    let (status, message) = exchange_http2(stream, request).await?;
    if status != StatusCode::OK {
        return Err(Failed::Status(status.as_u16()));
    }
    if is_serving(&message) { Ok(()) } else { Err(Failed::NotServing) }
}

/// A connection as requests would get it: within TLS where they are, but for a check that asks for no more than one.
async fn open(upstream: &Upstream, address: SocketAddr, check: &Check) -> Result<Stream, Failed> {
    let spec = upstream.spec();
    let tls = upstream.tls();
    if spec.is_tls && tls.is_none() {
        return Err(Failed::Tls);
    }
    let tls = tls.as_deref().filter(|_| check.probe != Probe::Tcp).map(|tls| (tls, alpn(upstream, check)));
    // nobody else is behind a check: the endpoint is told its own address
    let proxy_header = spec.proxy_protocol.map(|version| ProxyHeader { version, client: address });
    let how = Connect { address, proxy_header: proxy_header.as_ref(), tls };
    connect(&how, check.timeout).await.map_err(|error| match error {
        ConnectError::TimedOut => Failed::TimedOut,
        ConnectError::Tls => Failed::Tls,
        ConnectError::Refused | ConnectError::Exhausted => Failed::Connect,
    })
}

fn alpn(upstream: &Upstream, check: &Check) -> Alpn {
    match (&check.probe, upstream.spec().protocol) {
        (Probe::Grpc { .. }, _) | (_, Protocol::H2c | Protocol::Http2) => Alpn::Http2,
        (_, Protocol::Http1 | Protocol::Auto) => Alpn::Http1,
    }
}

type Asked = Result<(StatusCode, Bytes), Failed>;

async fn exchange_http1(stream: Stream, request: Request<Full<Bytes>>) -> Asked {
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await.map_err(broken)?;
    beside(connection, async { Ok((sender.send_request(request).await.map_err(broken)?.status(), Bytes::new())) }).await
}

async fn exchange_http2(stream: Stream, request: Request<Full<Bytes>>) -> Asked {
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    beside(connection, async {
        let answer: Response<Incoming> = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = answer.into_parts();
        let message = Limited::new(body, GRPC_BYTES_MAX).collect().await.map(|body| body.to_bytes());
        // a page that is too long says nothing against a check by its status
        Ok((head.status, message.unwrap_or_default()))
    })
    .await
}

/// Runs a connection for as long as something is asked on it.
async fn beside(connection: impl Future, asked: impl Future<Output = Asked>) -> Asked {
    let connection = async {
        let _ = connection.await;
        // an answer may have come with the end
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = asked => answer,
        () = connection => Err(Failed::Broken),
    }
}

fn broken(_: hyper::Error) -> Failed {
    Failed::Broken
}

/// A frame of gRPC around `HealthCheckRequest { service = 1 }`.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(&message);
    frame.freeze()
}

/// True for a frame around `HealthCheckResponse { status = 1 }` with `SERVING`, which is 1.
fn is_serving(frame: &[u8]) -> bool {
    let Some((&[0, a, b, c, d], mut message)) = frame.split_first_chunk::<5>() else { return false };
    if message.len() != u32::from_be_bytes([a, b, c, d]) as usize {
        return false;
    }
    let mut status = 0;
    while !message.is_empty() {
        let Some(key) = take_varint(&mut message) else { return false };
        let skipped = match key & 7 {
            0 => {
                let Some(value) = take_varint(&mut message) else { return false };
                if key >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => take_varint(&mut message).unwrap_or(u64::MAX),
            5 => 4,
            _ => return false,
        };
        let Some(rest) = usize::try_from(skipped).ok().and_then(|skipped| message.get(skipped..)) else { return false };
        message = rest;
    }
    status == 1
}

fn put_varint(to: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        to.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(message: &[u8]) -> Vec<u8> {
        let mut frame = vec![0];
        frame.extend((message.len() as u32).to_be_bytes());
        frame.extend(message);
        frame
    }

    #[test]
    fn only_serving_is_serving() {
        for (message, serving) in [
            (&[0x08, 1][..], true),
            (&[0x08, 2], false),
            (&[0x08, 0], false),
            (&[], false),
            (&[0x08, 2, 0x08, 1], true),
            (&[0x12, 2, 0x08, 1], false),
            (&[0x12, 2, 0x08, 2, 0x08, 1], true),
            (&[0x08, 0x81], false),
            (&[0x12, 9, 1], false),
        ] {
            assert_eq!(is_serving(&frame(message)), serving, "{message:?}");
        }
        assert!(!is_serving(&[]));
        assert!(!is_serving(&[1, 0, 0, 0, 2, 8, 1]), "compressed");
        assert!(!is_serving(&[0, 0, 0, 0, 3, 8, 1]), "cut off");
    }

    #[test]
    fn a_question_names_the_service() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("a.B")[..], [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = "s".repeat(300);
        assert_eq!(question(&long)[5..8], [0x0a, 0xac, 2]);
    }

    proptest! {
        #[test]
        fn nothing_that_comes_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            is_serving(&bytes);
            is_serving(&frame(&bytes));
        }
    }
}
