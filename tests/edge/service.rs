//! A service that speaks one protocol, and does what the path says.

use crate::authority::{Authority, Issued};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, Incoming};
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_rustls::TlsAcceptor;

/// What a service speaks, and so do clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    H2c,
    /// HTTP/2 within TLS.
    Http2,
}

/// A running service.
pub struct Service {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    name: &'static str,
    seen: Mutex<Vec<Seen>>,
    cancelled: AtomicUsize,
    certificates: AtomicUsize,
}

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
}

pub type Body = BoxBody<Bytes, hyper::Error>;

impl Service {
    /// `issued` is presented, and with it a certificate of `clients` is asked for, where the service speaks TLS.
    pub fn start(name: &'static str, protocol: Protocol, issued: &Issued, clients: Option<&Authority>) -> Service {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let none = AtomicUsize::new(0);
        let state =
            Arc::new(State { name, seen: Mutex::default(), cancelled: AtomicUsize::new(0), certificates: none });
        let acceptor = (protocol == Protocol::Http2).then(|| acceptor(issued, clients.map(Authority::roots)));
        let shared = state.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    let (state, acceptor) = (shared.clone(), acceptor.clone());
                    tokio::spawn(async move {
                        match acceptor {
                            None => serve(TokioIo::new(stream), protocol, state).await,
                            Some(acceptor) => {
                                let Ok(stream) = acceptor.accept(stream).await else { return };
                                let proven = stream.get_ref().1.peer_certificates().is_some();
                                state.certificates.fetch_add(usize::from(proven), SeqCst);
                                serve(TokioIo::new(stream), protocol, state).await;
                            }
                        }
                    });
                }
            });
        });
        Service { address, state }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// The last request that was no health check.
    pub fn last(&self) -> Seen {
        let seen = self.seen().into_iter().rfind(|seen| !seen.is_check());
        seen.expect("the service got a request")
    }

    /// Requests that were no health checks.
    pub fn count(&self) -> usize {
        self.seen().iter().filter(|seen| !seen.is_check()).count()
    }

    pub fn checks(&self) -> usize {
        self.seen().iter().filter(|seen| seen.is_check()).count()
    }

    /// Requests to `/hang` that were given up.
    pub fn cancelled(&self) -> usize {
        self.state.cancelled.load(SeqCst)
    }

    /// Connections whose other end has proved who it is.
    pub fn certificates(&self) -> usize {
        self.state.certificates.load(SeqCst)
    }
}

impl Seen {
    fn is_check(&self) -> bool {
        self.path == "/healthz" || self.path.starts_with("/grpc.health")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

fn acceptor(issued: &Issued, clients: Option<RootCertStore>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(roots) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap(),
        ),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(issued.chain(), issued.private_key()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(io: impl Read + Write + Unpin + Send + 'static, protocol: Protocol, state: Arc<State>) {
    let service = service_fn(move |request| answer(request, state.clone()));
    // how a connection ends is between its two ends
    let _ = match protocol {
        Protocol::Http1 => {
            hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades().await
        }
        _ => hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
    };
}

async fn answer(mut request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, hyper::Error> {
    let path = request.uri().path().to_owned();
    state.seen.lock().unwrap().push(Seen { path: path.clone(), headers: request.headers().clone() });
    Ok(match path.as_str() {
        "/echo" => Response::new(full(request.into_body().collect().await?.to_bytes())),
        "/trailers" => {
            let whole = request.into_body().collect().await?;
            let told = whole.trailers().and_then(|trailers| trailers.get("x-check").cloned());
            let told = told.unwrap_or(HeaderValue::from_static("none"));
            // HTTP/1.1 has trailers in chunks only
            let (more, body) = piecewise();
            let _ = more.send(whole.to_bytes()).await;
            let body = body.with_trailers(with("x-sum", told));
            Response::builder().header("trailer", "x-sum").body(body.boxed()).unwrap()
        }
        "/early" => Response::builder().status(StatusCode::FORBIDDEN).body(full("early")).unwrap(),
        "/hang" => {
            let _given_up = GivenUp(state);
            std::future::pending().await
        }
        // each message comes back as it comes
        "/duplex" => {
            let body = request.into_body().with_trailers(with("grpc-status", HeaderValue::from_static("0")));
            Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap()
        }
        "/only" => Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "5")
            .body(Empty::new().map_err(never).boxed())
            .unwrap(),
        "/grpc.health.v1.Health/Check" => {
            request.body_mut().collect().await?;
            let serving = Full::new(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1])).map_err(never);
            let body = serving.with_trailers(with("grpc-status", HeaderValue::from_static("0")));
            Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap()
        }
        "/ws" => switch(request),
        _ => {
            request.body_mut().collect().await?;
            let text = format!("{} {path}", state.name);
            let head = Response::builder().header("server", "sample").header("content-length", text.len());
            // over HTTP/2, hyper sends what it is given
            head.body(full(if request.method() == Method::HEAD { String::new() } else { text })).unwrap()
        }
    })
}

/// Echoes what comes after the switch.
fn switch(mut request: Request<Incoming>) -> Response<Body> {
    let key = request.headers()["sec-websocket-key"].clone();
    let switched = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(switched) = switched.await else { return };
        let (mut read, mut write) = tokio::io::split(TokioIo::new(switched));
        // how a tunnel ends is between its two ends
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let head = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let head =
        head.header("connection", "upgrade").header("upgrade", "websocket").header("sec-websocket-accept", accept);
    head.body(full("")).unwrap()
}

struct GivenUp(Arc<State>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.cancelled.fetch_add(1, SeqCst);
    }
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(never).boxed()
}

fn never(never: Infallible) -> hyper::Error {
    match never {}
}

pub async fn with(name: &'static str, value: HeaderValue) -> Option<Result<HeaderMap, hyper::Error>> {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, value);
    Some(Ok(trailers))
}

/// A body without a length, that ends when its sender is dropped.
pub fn piecewise() -> (Sender<Bytes>, Body) {
    let (sender, receiver) = channel(4);
    (sender, Pieces(receiver).boxed())
}

struct Pieces(Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
