//! D2: every pair of protocols, and everything that is forwarded between them.

use crate::authority::Authority;
use crate::caller::{Caller, run, tls};
use crate::service::{Protocol, Service, full, piecewise, with};
use crate::support::server::{Proxy, Setup};
use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use Protocol::{H2c, Http1, Http2};

const PROTOCOLS: [Protocol; 3] = [Http1, H2c, Http2];

/// What is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Get,
    Head,
    PostWithLength,
    PostInPieces,
    Trailers,
    Megabyte,
    EarlyAnswer,
    Cancellation,
    Cookies,
    ForwardedHeaders,
    GrpcUnary,
    GrpcStream,
    GrpcTrailersOnly,
    WebSocket,
}

const CASES: [Case; 14] = [
    Case::Get,
    Case::Head,
    Case::PostWithLength,
    Case::PostInPieces,
    Case::Trailers,
    Case::Megabyte,
    Case::EarlyAnswer,
    Case::Cancellation,
    Case::Cookies,
    Case::ForwardedHeaders,
    Case::GrpcUnary,
    Case::GrpcStream,
    Case::GrpcTrailersOnly,
    Case::WebSocket,
];

impl Case {
    fn applies(self, client: Protocol, upstream: Protocol) -> bool {
        match self {
            // crumbs are of HTTP/2
            Case::Cookies => client != Http1,
            // gRPC is HTTP/2 at both ends
            Case::GrpcUnary | Case::GrpcStream | Case::GrpcTrailersOnly => client != Http1 && upstream != Http1,
            // extended CONNECT of HTTP/2 becomes an upgrade of HTTP/1.1
            Case::WebSocket => upstream == Http1,
            _ => true,
        }
    }
}

/// One pair, with the proxy between.
struct Pair<'p> {
    client: Protocol,
    upstream: Protocol,
    proxy: &'p Proxy,
    service: &'p Service,
    tls: &'p ClientConfig,
}

#[test]
fn every_pair_of_protocols_forwards_everything() {
    let authority = Authority::new("test");
    let issued = authority.issue(&["http1.example", "h2c.example", "http2.example"]);
    let services = PROTOCOLS.map(|protocol| Service::start("service", protocol, &issued, None));
    let names = ["http1", "h2c", "http2"];
    let setup = Setup {
        upstreams: names.into_iter().zip(services.iter().map(|service| service.address)).collect(),
        files: vec![("a.crt", issued.certificate.clone()), ("a.key", issued.key.clone()), ("ca.crt", authority.pem())],
        workers: 1,
    };
    let proxy = Proxy::set_up(FILE, &setup);
    let tls = tls(&authority, None, true);
    let mut tried = 0;
    for client in PROTOCOLS {
        for (upstream, service) in PROTOCOLS.into_iter().zip(&services) {
            let pair = Pair { client, upstream, proxy: &proxy, service, tls: &tls };
            for case in CASES.into_iter().filter(|case| case.applies(client, upstream)) {
                println!("{client:?} to {upstream:?}: {case:?}");
                run(pair.check(case));
                tried += 1;
            }
        }
    }
    println!("9 pairs, {tried} cells");
    assert_eq!(tried, 9 * 9 + 6 + 3 * 4 + 3);
}

const FILE: &str = "
listeners:
  - { address: 127.0.0.1:0 }
  - { address: 127.0.0.2:0, tls: { certificates: [{ certFile: a.crt, keyFile: a.key }] } }
services:
  http1: { variants: { stable: { endpoints: [$http1] } } }
  h2c: { variants: { stable: { endpoints: [$h2c], protocol: h2c } } }
  http2: { variants: { stable: { endpoints: [$http2], protocol: http2, tls: { caFile: ca.crt, serverName: http2.example } } } }
routes:
  - { hostnames: [http1.example], service: http1 }
  - { hostnames: [h2c.example], service: h2c }
  - { hostnames: [http2.example], service: http2 }
";

impl Pair<'_> {
    fn host(&self) -> &'static str {
        match self.upstream {
            Http1 => "http1.example",
            H2c => "h2c.example",
            Http2 => "http2.example",
        }
    }

    async fn connect(&self) -> Caller {
        let listeners = &self.proxy.running.listeners;
        match self.client {
            Http1 => Caller::plain(listeners[0].1, false).await,
            H2c => Caller::plain(listeners[0].1, true).await,
            Http2 => Caller::secure(listeners[1].1, self.host(), self.tls).await.unwrap(),
        }
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let scheme = if self.client == Http2 { "https" } else { "http" };
        Request::builder().method(method).uri(format!("{scheme}://{}{path}", self.host()))
    }

    async fn check(&self, case: Case) {
        let mut caller = self.connect().await;
        match case {
            Case::Get => {
                let answer = caller.ask(self.request(Method::GET, "/hello?a=b").body(full("")).unwrap()).await.unwrap();
                assert_eq!((answer.status, answer.text()), (200, "service /hello"));
                assert_eq!(answer.header("content-length"), Some("14"));
            }
            Case::Head => {
                let answer = caller.ask(self.request(Method::HEAD, "/hello").body(full("")).unwrap()).await.unwrap();
                assert_eq!((answer.status, answer.body.len()), (200, 0));
                assert_eq!(answer.header("content-length"), Some("14"));
            }
            Case::PostWithLength => {
                let answer =
                    caller.ask(self.request(Method::POST, "/echo").body(full("0123456789")).unwrap()).await.unwrap();
                assert_eq!((answer.status, answer.text()), (200, "0123456789"));
                assert_eq!(self.service.last().header("content-length"), Some("10"));
            }
            Case::PostInPieces => self.pieces(&mut caller).await,
            Case::Trailers => self.trailers(&mut caller).await,
            Case::Megabyte => {
                let body: Vec<u8> = (0..1_048_576_u32).map(|number| (number % 251) as u8).collect();
                let request = self.request(Method::POST, "/echo").body(full(body.clone())).unwrap();
                let answer = caller.ask(request).await.unwrap();
                assert!(answer.status == 200 && answer.body == body, "{} {}", answer.status, answer.body.len());
            }
            Case::EarlyAnswer => {
                let (_more, body) = piecewise();
                let answer = caller.ask(self.request(Method::POST, "/early").body(body).unwrap()).await.unwrap();
                assert_eq!((answer.status, answer.text()), (403, "early"));
            }
            Case::Cancellation => self.cancellation(caller).await,
            Case::Cookies => {
                let request = self.request(Method::GET, "/").header("cookie", "a=1").header("cookie", "b=2");
                caller.ask(request.body(full("")).unwrap()).await.unwrap();
                let seen = self.service.last();
                assert_eq!(seen.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
            }
            Case::ForwardedHeaders => self.forwarded(&mut caller).await,
            Case::GrpcUnary => {
                let message = full(&b"\0\0\0\0\x02hi"[..]);
                let answer = caller.ask(self.grpc("/duplex").body(message).unwrap()).await.unwrap();
                assert_eq!((answer.status, &answer.body[..]), (200, &b"\0\0\0\0\x02hi"[..]));
                assert_eq!(answer.trailers["grpc-status"], "0");
                assert_eq!(self.service.last().header("te"), Some("trailers"));
            }
            Case::GrpcStream => self.stream(&mut caller).await,
            Case::GrpcTrailersOnly => {
                let answer = caller.ask(self.grpc("/only").body(full("")).unwrap()).await.unwrap();
                assert_eq!((answer.status, answer.header("grpc-status"), answer.body.len()), (200, Some("5"), 0));
            }
            Case::WebSocket => self.websocket(&mut caller).await,
        }
    }

    fn grpc(&self, path: &str) -> http::request::Builder {
        self.request(Method::POST, path).header("content-type", "application/grpc").header("te", "trailers")
    }

    async fn pieces(&self, caller: &mut Caller) {
        let (more, body) = piecewise();
        let feed = async move {
            for _ in 0..10 {
                more.send(Bytes::from_static(b"piece")).await.unwrap();
            }
        };
        let request = self.request(Method::POST, "/echo").body(body).unwrap();
        let (answer, ()) = tokio::join!(caller.ask(request), feed);
        assert_eq!(answer.unwrap().text(), "piece".repeat(10));
        assert_eq!(self.service.last().header("content-length"), None);
    }

    async fn trailers(&self, caller: &mut Caller) {
        // without a length, as HTTP/1.1 has trailers in chunks only
        let (more, body) = piecewise();
        more.send(Bytes::from_static(b"data")).await.unwrap();
        drop(more);
        let body = body.with_trailers(with("x-check", HeaderValue::from_static("17"))).boxed();
        let request = self.request(Method::POST, "/trailers").header("te", "trailers").header("trailer", "x-check");
        let answer = caller.ask(request.body(body).unwrap()).await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "data"));
        assert_eq!(
            answer.trailers.get("x-sum").map(HeaderValue::as_bytes),
            Some(&b"17"[..]),
            "{answer:?} {:?}",
            self.service.last()
        );
    }

    async fn cancellation(&self, mut caller: Caller) {
        let (asked, cancelled) = (self.service.count(), self.service.cancelled());
        let request = self.request(Method::GET, "/hang").body(full("")).unwrap();
        let client = tokio::spawn(async move { caller.begin(request).await.map(drop) });
        until(|| self.service.count() > asked).await;
        client.abort();
        until(|| self.service.cancelled() > cancelled).await;
    }

    async fn forwarded(&self, caller: &mut Caller) {
        let request =
            self.request(Method::GET, "/").header("x-forwarded-for", "203.0.113.9").header("x-ringway-cohort", "me");
        caller.ask(request.body(full("")).unwrap()).await.unwrap();
        let seen = self.service.last();
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(seen.header("x-forwarded-proto"), Some(if self.client == Http2 { "https" } else { "http" }));
        assert_eq!(seen.header("x-forwarded-host"), Some(self.host()));
        assert_eq!(seen.header("x-ringway-cohort"), Some("everyone"));
        assert!(seen.header("via").unwrap().starts_with(if self.client == Http1 { "1.1" } else { "2" }), "{seen:?}");
    }

    async fn stream(&self, caller: &mut Caller) {
        let (more, body) = piecewise();
        more.send(Bytes::from_static(b"first")).await.unwrap();
        let mut answer = caller.begin(self.grpc("/duplex").body(body).unwrap()).await.unwrap().into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        for number in 0..20 {
            let message = Bytes::from(format!("message {number}"));
            more.send(message.clone()).await.unwrap();
            assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), message);
        }
        drop(more);
        let trailers = answer.collect().await.unwrap().trailers().cloned().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
    }

    async fn websocket(&self, caller: &mut Caller) {
        let is_http1 = self.client == Http1;
        let request = self.request(if is_http1 { Method::GET } else { Method::CONNECT }, "/ws");
        let mut request = request.header("sec-websocket-version", "13").body(full("")).unwrap();
        if is_http1 {
            let lines = [("connection", "upgrade"), ("upgrade", "websocket")];
            for (name, value) in lines.into_iter().chain([("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]) {
                request.headers_mut().insert(name, HeaderValue::from_static(value));
            }
        } else {
            request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
            // whether it is spoken is known when the settings of the other end have come
            caller.ask(self.request(Method::GET, "/").body(full("")).unwrap()).await.unwrap();
        }
        let answer = caller.begin(request).await.unwrap();
        assert_eq!(answer.status(), if is_http1 { 101 } else { 200 });
        let mut tunnel = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        for _ in 0..10 {
            tunnel.write_all(b"\x81\x85\0\0\0\0hello").await.unwrap();
            let mut back = [0; 11];
            tunnel.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"\x81\x85\0\0\0\0hello");
        }
    }
}

/// Polls until something is so, while connections go on.
async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}
