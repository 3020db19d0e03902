//! What a connection goes through before its first request: the PROXY protocol, and TLS.

use rustls::HandshakeKind;
use rustls::server::Acceptor;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

use super::client_counts::Counted;
use super::connection::Origin;
use super::proxy_protocol::{self, HeaderError};
use super::worker::Worker;
use crate::config::files::{Validity, now};
use crate::routing::snapshot::ListenerRules;
use crate::routing::tls::{Certificates, ListenerTls};
use crate::telemetry::ConnectionRefused;
use crate::upstream::Stream;

/// A connection on which requests may come.
pub(super) struct Opened {
    pub(super) stream: Stream,
    /// The peer, or whom a trusted load balancer speaks for.
    pub(super) peer: SocketAddr,
    /// What was agreed upon in the handshake; `None` for plain connections.
    pub(super) tls: Option<Agreed>,
    /// As one of its client's address.
    pub(super) counted: Counted,
}

/// What was agreed upon in a TLS handshake.
pub(super) struct Agreed {
    /// The client chose HTTP/2 (ALPN, RFC 7301).
    pub(super) is_http2: bool,
    /// The name that the client asked for, in lower case.
    asked: Option<Box<str>>,
    certificates: Arc<Certificates>,
}

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What is still taken of a connection that was refused, in bytes and time.
const REFUSED_BYTES: usize = 64 * 1024;
const REFUSED: Duration = Duration::from_secs(1);
/// The content type of a handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;
/// What a client that speaks plain HTTP is told.
const SPEAK_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 40\r\n\
    connection: close\r\n\r\nthis port speaks TLS; use an https: URL\n";
/// What a peer that must send a PROXY protocol header and does not is told.
const SPEAK_PROXY: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 44\r\nconnection: close\r\n\r\nno PROXY protocol header before the request\n";

impl Agreed {
    /// Whether a request for this host, in lower case, may come on the connection.
    ///
    /// HTTP/2 clients send requests for one host on a connection that was opened for another, when the certificate
    /// names both (RFC 9113 §9.1.1). So may they here, and nobody else.
    pub(super) fn is_authority_for(&self, host: &str) -> bool {
        match &self.asked {
            None => true,
            Some(asked) => **asked == *host || self.certificates.is_authority_for(asked, host),
        }
    }
}

/// Opens a connection; `None` when it is over before it has begun.
pub(super) async fn open(
    worker: &Worker,
    rules: &ListenerRules,
    listener: SocketAddr,
    stream: TcpStream,
    peer: SocketAddr,
    origin: Origin,
) -> Option<Opened> {
    if origin == Origin::Ourselves {
        return Some(Opened { stream: Stream::Plain(stream), peer, tls: None, counted: Counted::not_at_all() });
    }
    if rules.tls.is_none() && rules.proxy_protocol.is_none() {
        let counted = count(worker, rules, listener, peer.ip())?;
        return Some(Opened { stream: Stream::Plain(stream), peer, tls: None, counted });
    }
    let mut drain = pin!(worker.drain.notified());
    drain.as_mut().enable();
    if worker.is_draining.get() {
        return None;
    }
    // boxed, since a handshake is large and short
    let negotiating = Box::pin(negotiate(worker, rules, listener, stream, peer));
    tokio::select! {
        biased;
        opened = negotiating => opened,
        () = drain => None,
    }
}

async fn negotiate(
    worker: &Worker,
    rules: &ListenerRules,
    listener: SocketAddr,
    mut stream: TcpStream,
    mut peer: SocketAddr,
) -> Option<Opened> {
    let mut is_clients = true;
    if rules.expects_proxy_header(peer.ip()) {
        let header = tokio::time::timeout(rules.timeouts.request_headers, proxy_protocol::read(&mut stream));
        match header.await.ok()? {
            Ok(Some(client)) => peer = client,
            // a health check of a load balancer, or a client that it cannot name
            Ok(None) => is_clients = false,
            Err(HeaderError::Malformed) => {
                worker.shard.unrouted(400);
                refuse(stream, SPEAK_PROXY).await;
                return None;
            }
            Err(HeaderError::Io(_)) => return None,
        }
    }
    let counted = match is_clients {
        true => count(worker, rules, listener, peer.ip())?,
        false => Counted::not_at_all(),
    };
    let Some(tls) = &rules.tls else {
        return Some(Opened { stream: Stream::Plain(stream), peer, tls: None, counted });
    };
    let (stream, agreed) = tokio::time::timeout(HANDSHAKE, accept(worker, tls, stream)).await.ok()??;
    Some(Opened { stream, peer, tls: Some(agreed), counted })
}

/// Counts a connection for its client's address; `None` when that has as many as it may.
fn count(worker: &Worker, rules: &ListenerRules, listener: SocketAddr, client: IpAddr) -> Option<Counted> {
    let Some(most) = rules.limits.connections_per_ip.filter(|_| !rules.is_proxy(client)) else {
        return Some(Counted::not_at_all());
    };
    let counted = worker.shared.client_counts.enter(listener, client, most);
    if counted.is_none() {
        worker.shard.downstream_refused(ConnectionRefused::ClientLimit);
    }
    counted
}

async fn accept(worker: &Worker, tls: &ListenerTls, stream: TcpStream) -> Option<(Stream, Agreed)> {
    // nothing is made for a client that says nothing
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first[0] == TLS_HANDSHAKE => {}
        Ok(1) if first[0].is_ascii_uppercase() => {
            worker.shard.unrouted(400);
            refuse(stream, SPEAK_TLS).await;
            return None;
        }
        Ok(_) | Err(_) => return None,
    }
    let shake = async {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let config = tls.config_for(hello.client_hello().cipher_suites()).clone();
        hello.into_stream(config).await
    };
    let stream = match shake.await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake failed");
            return None;
        }
    };
    let connection = stream.get_ref().1;
    if is_resumed_with_outdated_certificate(connection) {
        return None;
    }
    let agreed = Agreed {
        is_http2: connection.alpn_protocol() == Some(b"h2"),
        asked: connection.server_name().map(|name| name.to_ascii_lowercase().into()),
        certificates: tls.certificates.clone(),
    };
    Some((TlsStream::Server(stream).into(), agreed))
}

/// Answers, and takes what still comes for a moment: closing at once would throw the answer away.
async fn refuse(mut stream: TcpStream, answer: &[u8]) {
    let refusing = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        let mut scratch = [0; 1024];
        let mut rest = REFUSED_BYTES;
        while let count @ 1.. = stream.read(&mut scratch).await? {
            rest = rest.saturating_sub(count);
            if rest == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    // whoever it is may have gone
    let _ = tokio::time::timeout(REFUSED, refusing).await;
}

/// A resumed session brings the client's certificate along, and nobody has looked at its end since.
fn is_resumed_with_outdated_certificate(connection: &rustls::ServerConnection) -> bool {
    if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
        return false;
    }
    let Some([certificate, ..]) = connection.peer_certificates() else { return false };
    !Validity::of(certificate).is_some_and(|validity| validity.contains(now()))
}
