//! TLS toward endpoints.

use crate::authority::{Authority, Issued};
use crate::service::Service;
use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};
use http::Version;
use ringway::control::ReloadResult;
use std::io::Write;
use std::net::TcpListener;

const STABLE_AND_CANARY: &str = "hashOn: [{ header: x-user }]";

/// A proxy whose variant `canary`, which gets everything, is spoken to as this says.
fn proxy(service: &Service, variant: &str, stable: &Recording, files: &[(&'static str, String)]) -> Proxy {
    let upstreams = vec![("canary", service.address), ("stable", stable.address)];
    let setup = Setup { upstreams, files: files.to_vec(), workers: 1 };
    let yaml = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nservices:\n  shop:\n    {STABLE_AND_CANARY}\n    variants:\n      \
         stable: {{ weight: 0, endpoints: [$stable] }}\n      canary: {{ weight: 100, endpoints: [$canary], {variant} }}\n"
    );
    Proxy::set_up(&yaml, &setup)
}

#[test]
fn each_protocol_over_tls() {
    let authority = Authority::new("upstream");
    let issued = authority.issue(&["shop.internal"]);
    for (offered, protocol, spoken) in [
        (&["h2", "http/1.1"][..], "http1", Version::HTTP_11),
        (&["h2", "http/1.1"], "http2", Version::HTTP_2),
        (&["h2", "http/1.1"], "auto", Version::HTTP_2),
        (&["http/1.1"], "auto", Version::HTTP_11),
        (&[], "auto", Version::HTTP_11),
        (&[], "http1", Version::HTTP_11),
    ] {
        let (service, stable) = (Service::start(&issued, offered, None), Recording::text("stable"));
        let variant = format!("protocol: {protocol}, tls: {{ caFile: ca.pem, serverName: shop.internal }}");
        let proxy = proxy(&service, &variant, &stable, &[("ca.pem", authority.pem())]);
        for _ in 0..3 {
            assert_eq!(proxy.get("/", "").text(), "over tls", "{protocol} {offered:?}");
        }
        let seen = service.last();
        assert_eq!(seen.version, spoken, "{protocol} {offered:?}");
        if spoken == Version::HTTP_2 {
            assert_eq!(seen.uri, "https://shop.example.com/");
        }
        assert_eq!(seen.headers["x-ringway-variant"], "canary");
        assert_eq!(service.connections(), 1, "{protocol} {offered:?}");
        let large = "x".repeat(300_000);
        let request =
            format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\nconnection: close\r\n\r\n{large}");
        assert_eq!(proxy.ask(request).body.len(), 300_000);
        assert_eq!(stable.count(), 0);
    }
}

#[test]
fn the_name_is_that_of_the_endpoint_unless_another_is_given() {
    let authority = Authority::new("upstream");
    let service = Service::start(&authority.issue(&["localhost"]), &[], None);
    let stable = Recording::text("stable");
    // the certificate has the address 127.0.0.1
    let proxy = proxy(&service, "tls: { caFile: ca.pem }", &stable, &[("ca.pem", authority.pem())]);
    assert_eq!(proxy.get("/", "").text(), "over tls");
}

#[test]
fn an_endpoint_that_cannot_prove_itself_gets_no_request() {
    let (authority, stranger) = (Authority::new("upstream"), Authority::new("stranger"));
    let tls = "tls: { caFile: ca.pem, serverName: shop.internal }";
    let expired = authority.issue_with(&["shop.internal"], 1, (2020, 2021));
    let cases: [(Issued, &[&str], &str); 4] = [
        (stranger.issue(&["shop.internal"]), &[], ""),
        (authority.issue(&["other.internal"]), &[], ""),
        (expired, &[], ""),
        (authority.issue(&["shop.internal"]), &["http/1.1"], "protocol: http2, "),
    ];
    for (issued, offered, protocol) in cases {
        let (service, stable) = (Service::start(&issued, offered, None), Recording::text("stable"));
        let proxy = proxy(&service, &format!("{protocol}{tls}"), &stable, &[("ca.pem", authority.pem())]);
        let response = proxy.get("/", "");
        assert_eq!(response.text(), "stable", "the fallback stands in");
        proxy.wait_for_metric("ringway_fallback_total", &[("variant", "canary"), ("cause", "tls")], 1.0);
        assert!(service.seen().is_empty());
    }
}

#[test]
fn an_endpoint_that_speaks_plain_http_is_no_endpoint() {
    let authority = Authority::new("upstream");
    let (plain, stable) = (TcpListener::bind("127.0.0.1:0").unwrap(), Recording::text("stable"));
    let address = plain.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let setup = Setup {
        upstreams: vec![("canary", address), ("stable", stable.address)],
        files: vec![("ca.pem", authority.pem())],
        workers: 1,
    };
    let yaml = "listeners: [{ address: 127.0.0.1:0 }]\nservices:\n  shop:\n    fallback: none\n    variants:\n      \
                stable: { weight: 0, endpoints: [$stable] }\n      \
                canary: { weight: 100, endpoints: [$canary], tls: { caFile: ca.pem, serverName: a.internal } }\n";
    let proxy = Proxy::set_up(yaml, &setup);
    assert_eq!(proxy.get("/", "").status, 503);
    assert_eq!(stable.count(), 0);
}

#[test]
fn a_handshake_that_stalls_is_a_connect_timeout() {
    let authority = Authority::new("upstream");
    let (silent, stable) = (TcpListener::bind("127.0.0.1:0").unwrap(), Recording::text("stable"));
    let setup = Setup {
        upstreams: vec![("canary", silent.local_addr().unwrap()), ("stable", stable.address)],
        files: vec![("ca.pem", authority.pem())],
        workers: 1,
    };
    let yaml = "listeners: [{ address: 127.0.0.1:0 }]\nroutes: [{ service: shop, timeouts: { connect: 200ms } }]\n\
                services:\n  shop:\n    variants:\n      stable: { weight: 0, endpoints: [$stable] }\n      \
                canary: { weight: 100, endpoints: [$canary], tls: { caFile: ca.pem, serverName: a.internal } }\n";
    let proxy = Proxy::set_up(yaml, &setup);
    assert_eq!(proxy.get("/", "").text(), "stable");
    proxy.wait_for_metric("ringway_fallback_total", &[("variant", "canary"), ("cause", "connect_timeout")], 1.0);
}

#[test]
fn our_own_certificate_is_presented_and_a_new_one_at_once() {
    let (authority, ours) = (Authority::new("upstream"), Authority::new("ours"));
    let (first, second) = (ours.issue(&["ringway"]), ours.issue(&["ringway"]));
    for protocol in ["http1", "http2"] {
        let offered: &[&str] = if protocol == "http2" { &["h2"] } else { &[] };
        let service = Service::start(&authority.issue(&["shop.internal"]), offered, Some(&ours));
        let stable = Recording::text("stable");
        let files =
            [("ca.pem", authority.pem()), ("our.crt", first.certificate.clone()), ("our.key", first.key.clone())];
        let variant = format!(
            "protocol: {protocol}, tls: {{ caFile: ca.pem, serverName: shop.internal, clientCertFile: our.crt, \
             clientKeyFile: our.key }}"
        );
        let proxy = proxy(&service, &variant, &stable, &files);
        assert_eq!(proxy.get("/", "").text(), "over tls");
        assert_eq!(service.last().client_certificate.unwrap(), first.chain()[0].to_vec());
        std::fs::write(proxy.file("our.crt"), &second.certificate).unwrap();
        std::fs::write(proxy.file("our.key"), &second.key).unwrap();
        assert!(!matches!(proxy.running.reload().unwrap(), ReloadResult::Rejected(_)));
        assert_eq!(proxy.get("/", "").text(), "over tls");
        assert_eq!(service.last().client_certificate.unwrap(), second.chain()[0].to_vec(), "{protocol}");
    }
}

#[test]
fn sessions_to_endpoints_resume() {
    let authority = Authority::new("upstream");
    let service = Service::start(&authority.issue(&["shop.internal"]), &[], None);
    let stable = Recording::text("stable");
    let proxy =
        proxy(&service, "tls: { caFile: ca.pem, serverName: shop.internal }", &stable, &[("ca.pem", authority.pem())]);
    // each of two at a time needs a connection of its own, and an aborted one is not used again
    for _ in 0..5 {
        let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf";
        let mut client = proxy.connect();
        client.send(request);
        proxy.wait_for_metric("ringway_http_requests_in_flight", &[("variant", "canary")], 1.0);
        assert_eq!(proxy.get("/", "").text(), "over tls");
        client.reset();
        proxy.wait_for_metric("ringway_http_requests_in_flight", &[("variant", "canary")], 0.0);
    }
    let resumed = service.seen().iter().filter(|seen| seen.is_resumed).count();
    assert!(service.connections() > 1 && resumed > 0, "{resumed} of {}", service.connections());
}
