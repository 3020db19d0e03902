//! A client of HTTP/1.1 or HTTP/2, plain or within TLS.

use crate::service::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authority::{Authority, Issued};
use crate::support::raw::PATIENCE;

/// A connection.
pub enum Caller {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

/// Runs a client, but not for ever.
pub fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async { tokio::time::timeout(PATIENCE * 3, client).await });
    let result = result.expect("the client is done in time");
    runtime.shutdown_background();
    result
}

/// What a client within TLS believes and presents.
pub fn tls(authority: &Authority, certificate: Option<&Issued>, is_http2: bool) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(authority.roots());
    let mut config = match certificate {
        Some(issued) => builder.with_client_auth_cert(issued.chain(), issued.private_key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![if is_http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    config
}

impl Caller {
    pub async fn plain(to: SocketAddr, is_http2: bool) -> Caller {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Caller::on(stream, is_http2).await
    }

    /// Within TLS, by the protocol that `config` offers; an error when there is no connection.
    pub async fn secure(to: SocketAddr, name: &str, config: &ClientConfig) -> std::io::Result<Caller> {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Caller::secure_on(stream, name, config).await
    }

    pub async fn secure_on(stream: TcpStream, name: &str, config: &ClientConfig) -> std::io::Result<Caller> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(config.clone())).connect(name, stream).await?;
        let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(agreed, Some(config.alpn_protocols[0].clone()));
        Ok(Caller::on(stream, agreed.as_deref() == Some(b"h2")).await)
    }

    async fn on(
        stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
        is_http2: bool,
    ) -> Caller {
        let io = TokioIo::new(stream);
        if is_http2 { Caller::Http2(start_http2(io).await) } else { Caller::Http1(start_http1(io).await) }
    }

    pub async fn begin(&mut self, mut request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match self {
            Caller::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Caller::Http1(sender) => {
                let host = request.uri().authority().unwrap().as_str().parse().unwrap();
                request.headers_mut().insert("host", host);
                *request.uri_mut() = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    pub async fn ask(&mut self, request: Request<Body>) -> hyper::Result<Answer> {
        let (head, body) = self.begin(request).await?.into_parts();
        let whole = body.collect().await?;
        let trailers = whole.trailers().cloned().unwrap_or_default();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: whole.to_bytes(), trailers })
    }
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

async fn start_http1(io: impl Read + Write + Send + Unpin + 'static) -> http1::SendRequest<Body> {
    let (sender, connection) = http1::handshake(io).await.unwrap();
    // it ends with the sender
    tokio::spawn(connection.with_upgrades());
    sender
}

async fn start_http2(io: impl Read + Write + Send + Unpin + 'static) -> http2::SendRequest<Body> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Comes from this address.
pub async fn from(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}
