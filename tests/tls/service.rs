//! A service that speaks TLS, HTTP/1.1 or HTTP/2 by ALPN, and tells what it saw.

use crate::authority::{Authority, Issued};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio_rustls::TlsAcceptor;

/// A running service.
pub struct Service {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

/// What it saw of a request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub version: http::Version,
    pub uri: String,
    pub headers: HeaderMap,
    pub is_resumed: bool,
    pub client_certificate: Option<Vec<u8>>,
}

impl Service {
    /// Presents a certificate, and speaks these protocols. With `clients` it asks for a certificate of theirs.
    pub fn start(issued: &Issued, protocols: &[&str], clients: Option<&Authority>) -> Service {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Some(authority) => {
                let roots = Arc::new(authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(issued.chain(), issued.private_key()).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (log, count) = (seen.clone(), connections.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let acceptor = TlsAcceptor::from(Arc::new(config));
                while let Ok((stream, _)) = listener.accept().await {
                    count.fetch_add(1, SeqCst);
                    tokio::spawn(serve(acceptor.clone(), stream, log.clone()));
                }
            });
        });
        Service { address, seen, connections }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the service got a request")
    }

    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

async fn serve(acceptor: TlsAcceptor, stream: tokio::net::TcpStream, log: Arc<Mutex<Vec<Seen>>>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let connection = stream.get_ref().1;
    let is_http2 = connection.alpn_protocol() == Some(b"h2");
    let is_resumed = connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    let certificate = connection.peer_certificates().map(|chain| chain[0].to_vec());
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = Seen {
            version: request.version(),
            uri: request.uri().to_string(),
            headers: request.headers().clone(),
            is_resumed,
            client_certificate: certificate.clone(),
        };
        log.lock().unwrap().push(seen);
        answer(request)
    });
    let io = TokioIo::new(stream);
    // how a connection ends is between its two ends
    let _ = if is_http2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
    };
}

/// The body comes back; `/grpc` is answered with trailers.
async fn answer(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let is_grpc = request.uri().path() == "/grpc";
    let body = request.into_body().collect().await?.to_bytes();
    if is_grpc {
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
        return Ok(Response::new(Full::new(body).with_trailers(async { Some(Ok(trailers)) }).boxed()));
    }
    let body = if body.is_empty() { Bytes::from_static(b"over tls") } else { body };
    Ok(Response::new(Full::new(body).boxed()))
}
