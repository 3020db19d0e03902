//! gRPC over h2c: streams in both directions that live as long as they like, and trailers that say how it went.

use super::client::{ask, ask_with, begin, connect, finish, request, run};
use super::service::Service;
use crate::support::server::{LISTENER, Proxy};
use bytes::Bytes;
use http::{HeaderMap, Method};

const LINES: [(&str, &str); 3] =
    [("content-type", "application/grpc+proto"), ("te", "trailers"), ("grpc-timeout", "1M")];

fn before(service: &Service, protocol: &str) -> Proxy {
    let yaml = format!(
        "{LISTENER}services:\n  shop: {{ variants: {{ stable: {{ endpoints: [$stable], protocol: {protocol} }} }} }}\n\
         routes: [{{ service: shop, timeouts: {{ request: 1s }} }}]\n"
    );
    Proxy::start(&yaml, &[("stable", service.address)])
}

/// A gRPC message: not compressed, its length, its bytes.
fn message(text: &str) -> Bytes {
    [&[0][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat().into()
}

#[test]
fn messages_pass_both_ways_while_the_stream_is_open() {
    for protocol in ["h2c", "auto"] {
        let service = Service::echo();
        let proxy = before(&service, protocol);
        run(async {
            let mut sender = connect(proxy.address()).await;
            let (response, mut stream) =
                begin(&mut sender, request(Method::POST, "/shop.Cart/Watch", &LINES), false).await.unwrap();
            stream.send_data(message("one"), false).unwrap();
            let mut answer = response.await.unwrap();
            assert_eq!(
                (answer.status(), &answer.headers()["content-type"]),
                (200.into_status(), &"application/grpc".parse().unwrap())
            );
            // each answer comes before the next message is sent
            for text in ["one", "two", "three"] {
                if text != "one" {
                    stream.send_data(message(text), false).unwrap();
                }
                let mut got = Vec::new();
                while got.len() < message(text).len() {
                    let data = answer.body_mut().data().await.unwrap().unwrap();
                    answer.body_mut().flow_control().release_capacity(data.len()).unwrap();
                    got.extend_from_slice(&data);
                }
                assert_eq!(got, message(text));
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "3".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
            let end = finish(answer).await.unwrap();
            assert!(end.body.is_empty());
            assert_eq!(
                (&end.trailers["grpc-status"], &end.trailers["x-sum"]),
                (&"0".parse().unwrap(), &"3".parse().unwrap())
            );
        });
        let seen = service.last();
        let of = |name: &str| seen.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(
            (of("te"), of("content-type"), of("grpc-timeout")),
            (Some("trailers"), Some("application/grpc+proto"), Some("1M"))
        );
        assert_eq!((seen.uri().authority().unwrap().as_str(), seen.uri().path()), ("shop", "/shop.Cart/Watch"));
        assert_eq!(
            (of("host"), of("x-ringway-variant"), of("x-forwarded-for")),
            (None, Some("stable"), Some("127.0.0.1"))
        );
        assert!(of("via").unwrap().starts_with("2.0 ringway-"));
        proxy.wait_for_metric("ringway_http_requests_total", &[("code", "200")], 1.0);
    }
}

#[test]
fn an_answer_of_trailers_only_is_passed_on() {
    let service = Service::echo();
    let proxy = before(&service, "h2c");
    run(async {
        let mut sender = connect(proxy.address()).await;
        let answer = ask_with(&mut sender, request(Method::POST, "/trailers-only", &LINES), &message("a"), None).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.headers["grpc-status"].to_str().unwrap()), (200, "12"));
        assert_eq!(answer.headers["grpc-message"], "unimplemented");
        assert!(answer.body.is_empty() && answer.trailers.is_empty());
    });
}

/// Many streams share one connection to the service, and none waits for another.
#[test]
fn streams_share_connections_and_nothing_else() {
    let service = Service::echo();
    let proxy = before(&service, "h2c");
    run(async {
        let mut sender = connect(proxy.address()).await;
        let mut open = Vec::new();
        for number in 0..50 {
            let path = format!("/{number}");
            let (response, mut stream) = begin(&mut sender, request(Method::POST, &path, &LINES), false).await.unwrap();
            stream.send_data(message(&path), false).unwrap();
            open.push((path, response, stream));
        }
        // the last one ends first
        while let Some((path, response, mut stream)) = open.pop() {
            stream.send_data(Bytes::new(), true).unwrap();
            let answer = finish(response.await.unwrap()).await.unwrap();
            assert_eq!(answer.body, message(&path));
        }
    });
    assert_eq!(service.seen.lock().unwrap().len(), 50);
    assert_eq!(proxy.metrics().sum("ringway_upstream_connections_total", &[]), 1.0);
}

/// A client of HTTP/1.1 before a service of HTTP/2: body, trailers, and no field of the connection.
#[test]
fn http_1_clients_reach_services_of_http_2() {
    let service = Service::echo();
    let proxy = before(&service, "h2c");
    let response = proxy.ask(
        "POST /a?b HTTP/1.1\r\nhost: shop:81\r\nte: trailers\r\nconnection: te, x-hop\r\nx-hop: 1\r\n\
         transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n",
    );
    assert_eq!((response.status, response.text().as_str()), (200, "abc"));
    let seen = service.last();
    assert_eq!(seen.uri().to_string(), "http://shop:81/a?b");
    let names: Vec<&str> = seen.headers().keys().map(http::HeaderName::as_str).collect();
    for name in ["host", "connection", "x-hop", "transfer-encoding"] {
        assert!(!names.contains(&name), "{names:?}");
    }
    run(async {
        // and without a body there is none
        let mut sender = connect(proxy.address()).await;
        assert_eq!(ask(&mut sender, super::client::get("/", &[])).await.unwrap().status, 200);
    });
}

/// To a client of gRPC a failure is a status in trailers, and trailers are all there is of the answer; to others it is one
/// of HTTP.
#[test]
fn what_fails_here_is_told_in_the_words_of_grpc() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let yaml = "listeners: [{ address: 127.0.0.1:0, limits: { maxBodyBytes: 10B } }]\n\
         services: { shop: { variants: { stable: { endpoints: [$stable], protocol: h2c } } } }\n\
         routes:\n  - { hostnames: [shop], service: shop, matches: [{ path: { prefix: /shop } }] }\n  \
         - { hostnames: [shop], service: shop, matches: [{ path: { exact: /once } }], \
         rateLimit: { requests: 1, per: 1h } }\n";
    let proxy = Proxy::start(yaml, &[("stable", dead)]);
    let native = [("content-type", "application/grpc+proto"), ("te", "trailers")];
    let too_long = [("content-type", "application/grpc"), ("content-length", "11")];
    run(async {
        let mut sender = connect(proxy.address()).await;
        for (path, lines, expected, message) in [
            ("/shop", &native[..], "14", "no endpoint of the service is reachable"),
            ("/none", &native, "12", "no route for this request"),
            ("/once", &native, "14", "no endpoint of the service is reachable"),
            ("/once", &native, "8", "too many requests"),
            ("/a%2fb", &native, "13", "ambiguous"),
            ("/shop", &too_long, "8", "request body too large"),
        ] {
            let is_all = lines != too_long;
            let (response, _stream) = begin(&mut sender, request(Method::POST, path, lines), is_all).await.unwrap();
            let answer = finish(response.await.unwrap()).await.unwrap();
            let status = answer.headers["grpc-status"].to_str().unwrap();
            assert_eq!((answer.status, status), (200, expected), "{path}");
            assert_eq!(answer.headers["content-type"], "application/grpc");
            let told = answer.headers["grpc-message"].to_str().unwrap();
            assert!(message == "ambiguous" || told == message, "{path}: {told}");
            assert!(
                answer.body.is_empty() && answer.trailers.is_empty() && !answer.headers.contains_key("content-length")
            );
        }
        // gRPC-Web has its status in the body, and JSON none
        for kind in ["application/grpc-web", "application/grpc-web+proto", "application/json"] {
            let answer = ask(&mut sender, request(Method::POST, "/none", &[("content-type", kind)])).await.unwrap();
            assert_eq!((answer.status, answer.headers.contains_key("grpc-status")), (404, false), "{kind}");
        }
    });
    // what is counted is what went wrong
    proxy.wait_for_metric("ringway_http_requests_total", &[("code", "503")], 2.0);
    proxy.wait_for_metric("ringway_unrouted_requests_total", &[("code", "404")], 4.0);
}

/// Statuses are compared as such.
trait IntoStatus {
    fn into_status(self) -> http::StatusCode;
}

impl IntoStatus for u16 {
    fn into_status(self) -> http::StatusCode {
        http::StatusCode::from_u16(self).unwrap()
    }
}

/// The client's deadline bounds the wait where the route has none, and goes on to the service.
#[test]
fn a_deadline_of_the_client_is_kept_and_passed_on() {
    let upstream = crate::support::recording::Recording::start(|exchange| {
        exchange.wait_for_close();
    });
    let proxy = Proxy::before(&upstream);
    run(async {
        let mut sender = connect(proxy.address()).await;
        let lines = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "50m")];
        let began = std::time::Instant::now();
        let answer = ask(&mut sender, request(Method::POST, "/shop.Cart/Get", &lines)).await.unwrap();
        let status = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
        assert_eq!((answer.status, status("grpc-status").as_str()), (200, "4"), "DEADLINE_EXCEEDED");
        assert_eq!(status("grpc-message"), "the service took too long");
        assert!(began.elapsed() >= std::time::Duration::from_millis(50));
    });
    assert_eq!(upstream.last().header("grpc-timeout"), Some("50m"));
}
