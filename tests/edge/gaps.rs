//! What no other test sees: resumption across workers, the rules of routes over HTTP/2, checks by TLS and by the PROXY
//! protocol, the system's authorities, and edits of copies.

use crate::authority::Authority;
use crate::caller::{Caller, run, tls};
use crate::service::{Protocol, Service, full};
use crate::support::raw::eventually;
use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};
use http::Request;
use rustls::HandshakeKind;
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;

/// A proxy with TLS and one service; `$stable` is the address.
fn proxy(authority: &Authority, service: std::net::SocketAddr, shop: &str, routes: &str, workers: usize) -> Proxy {
    let issued = authority.issue(&["a.example", "shop.internal"]);
    let yaml = format!(
        "listeners: [{{ address: 127.0.0.1:0, tls: {{ certificates: [{{ certFile: a.crt, keyFile: a.key }}] }} }}]\n\
         services:\n  shop:\n    {shop}\n{routes}"
    );
    let files = vec![("a.crt", issued.certificate.clone()), ("a.key", issued.key.clone()), ("ca.crt", authority.pem())];
    Proxy::set_up(&yaml, &Setup { upstreams: vec![("stable", service)], files, workers })
}

#[test]
fn sessions_resume_on_whatever_worker_they_land() {
    let (authority, upstream) = (Authority::new("test"), Recording::text("hello"));
    let shop = "variants: { stable: { endpoints: [$stable] } }";
    let proxy = proxy(&authority, upstream.address, shop, "", 2);
    let config = Arc::new(tls(&authority, None, false));
    let mut kinds = Vec::new();
    for _ in 0..40 {
        let name = rustls_pki_types::ServerName::try_from("a.example").unwrap();
        let connection = rustls::ClientConnection::new(config.clone(), name).unwrap();
        let socket = std::net::TcpStream::connect(proxy.address()).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, socket);
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        kinds.push(stream.conn.handshake_kind().unwrap());
    }
    assert_eq!(kinds[0], HandshakeKind::Full);
    // the kernel spreads connections by their ports: that all of 39 met the worker of the first is no chance to fear
    assert!(kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{kinds:?}");
}

#[test]
fn limits_edits_and_resets_are_the_same_over_http2() {
    let authority = Authority::new("test");
    let upstream = Recording::text("hello");
    let shop = "cohorts: [{ name: gone, when: { header: { name: x-gone, present: true } } }]\n    \
                faults: [{ variant: stable, cohort: gone, percent: 100, abort: reset, until: \"2040-01-01T00:00:00Z\" }]\n    \
                variants: { stable: { endpoints: [$stable], responseHeaders: { set: { x-version: \"${variant}\" } } } }";
    let routes = "routes: [{ service: shop, rateLimit: { requests: 2, per: 1h, key: { header: x-key } }, \
                  requestHeaders: { set: { x-group: \"${cohort}\" } } }]\n";
    let proxy = proxy(&authority, upstream.address, shop, routes, 1);
    let get = |lines: &[(&str, &str)]| {
        let request = Request::get("https://a.example/");
        lines.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(full("")).unwrap()
    };
    run(async {
        let mut caller = Caller::secure(proxy.address(), "a.example", &tls(&authority, None, true)).await.unwrap();
        for status in [200, 200, 429, 429] {
            let answer = caller.ask(get(&[("x-key", "k")])).await.unwrap();
            assert_eq!((answer.status, answer.headers.contains_key("retry-after")), (status, status == 429));
            assert_eq!(answer.header("x-version"), (status == 200).then_some("stable"));
        }
        assert_eq!(upstream.last().header("x-group"), Some("everyone"));
        let reset = caller.ask(get(&[("x-key", "other"), ("x-gone", "1")])).await.unwrap_err();
        assert!(format!("{reset:?}").contains("Reset"), "{reset:?}");
        // the stream was reset, and not the connection
        assert_eq!(caller.ask(get(&[("x-key", "third")])).await.unwrap().status, 200);
    });
    assert_eq!(upstream.count(), 3);
}

#[test]
fn an_endpoint_within_tls_is_checked_within_tls() {
    let (authority, stranger) = (Authority::new("test"), Authority::new("stranger"));
    for (issuer, result) in [(&authority, "passed"), (&stranger, "failed")] {
        let service = Service::start("shop", Protocol::Http2, &issuer.issue(&["shop.internal"]), None);
        let shop = "variants: { stable: { endpoints: [$stable], protocol: http2, \
                    tls: { caFile: ca.crt, serverName: shop.internal }, healthCheck: { path: /healthz, interval: 1s } } }";
        let proxy = proxy(&authority, service.address, shop, "", 1);
        let checks = |result| proxy.metrics().sum("ringway_upstream_health_checks_total", &[("result", result)]);
        eventually("a check", || checks(result) >= 1.0);
        assert_eq!((service.checks() > 0, service.count()), (result == "passed", 0));
    }
}

#[test]
fn a_check_is_told_as_one_by_the_proxy_protocol() {
    let authority = Authority::new("test");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shop = "variants: { stable: { endpoints: [$stable], proxyProtocol: v1, healthCheck: { path: /healthz, interval: 1s } } }";
    let _proxy = proxy(&authority, address, shop, "", 1);
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("PROXY ") && head.contains("\r\nGET /healthz HTTP/1.1\r\n"), "{head}");
}

#[test]
fn an_endpoint_that_no_authority_of_the_system_vouches_for_gets_nothing() {
    let authority = Authority::new("test");
    let service = Service::start("shop", Protocol::Http2, &authority.issue(&["shop.internal"]), None);
    let shop = "variants: { stable: { endpoints: [$stable], protocol: http2, tls: { serverName: shop.internal } } }";
    let proxy = proxy(&authority, service.address, shop, "", 1);
    run(async {
        let mut caller = Caller::secure(proxy.address(), "a.example", &tls(&authority, None, true)).await.unwrap();
        let answer = caller.ask(Request::get("https://a.example/").body(full("")).unwrap()).await.unwrap();
        assert_eq!(answer.status, 503);
    });
    assert_eq!(service.count(), 0);
}

#[test]
fn a_copy_has_the_edits_of_the_variant_that_it_goes_to() {
    let (authority, stable, next) = (Authority::new("test"), Recording::text("hello"), Recording::text("hello"));
    let shop = format!(
        "variants:\n      stable: {{ weight: 1, endpoints: [$stable], requestHeaders: {{ set: {{ x-old: \"1\" }} }} }}\n      \
         next: {{ weight: 0, endpoints: [\"{}\"], requestHeaders: {{ set: {{ x-new: \"${{variant}}\" }}, remove: [x-gone] }} }}\n    \
         mirror: {{ to: next }}",
        next.address
    );
    let routes = "routes: [{ service: shop, requestHeaders: { set: { x-group: \"${cohort}\" } } }]\n";
    let proxy = proxy(&authority, stable.address, &shop, routes, 1);
    run(async {
        let mut caller = Caller::secure(proxy.address(), "a.example", &tls(&authority, None, true)).await.unwrap();
        let request = Request::get("https://a.example/").header("x-gone", "1").body(full("")).unwrap();
        assert_eq!(caller.ask(request).await.unwrap().status, 200);
    });
    let (user, copy) = (stable.last(), next.wait_for(1).remove(0));
    let names = ["x-group", "x-old", "x-new", "x-gone"];
    assert_eq!(names.map(|name| user.header(name)), [Some("everyone"), Some("1"), None, Some("1")]);
    assert_eq!(names.map(|name| copy.header(name)), [Some("everyone"), None, Some("next"), None]);
}
