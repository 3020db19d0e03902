//! D4 and D8: which host and which path a request is for (RFC 9112 §3, RFC 9110 §7.2), and that nobody reaches a host
//! that the file does not name. Each refused request is answered with exactly this status, and nothing of it reaches
//! the service.

use crate::support::raw::Raw;
use crate::support::recording::Recording;
use crate::support::server::{LISTENER, Proxy};
use std::net::SocketAddr;

/// Requests that are refused, as they are sent, with the status.
const REFUSED: [(&[u8], u16); 89] = [
    // RFC 9112 §3.2, R17: exactly one Host, and a host it must be
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop\r\nhost: shop\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop\r\nHOST: evil\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost:\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost:  \t\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: a,b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: user@shop\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: user:pass@shop\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop/path\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop?x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop#x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop\\x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: http://shop\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop:0\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop:99999\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop:65536\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop:-1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop:+80\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop:80x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop:80:80\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: :80\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: ::1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: [::1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: [::1]x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: [fe80::1%25eth0]\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: [192.0.2.1]\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: a..b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: .\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: .shop\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: sh%6fp\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: sh\xc3\xb8p\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: \xff\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop\x00\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: *\r\n\r\n", 400),
    (b"GET / HTTP/1.0\r\nhost: a, b\r\n\r\n", 400),
    (b"GET / HTTP/1.0\r\nhost: a\r\nhost: a\r\n\r\n", 400),
    // RFC 9112 §3.2.2, R16: absolute form
    (b"GET http://shop/ HTTP/1.1\r\n\r\n", 400),
    (b"GET http://shop/ HTTP/1.1\r\nhost: evil\r\n\r\n", 400),
    (b"GET http://evil/ HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET http://shop:81/ HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET http://user@shop/ HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET http://u:p@shop/ HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET http://shop@evil/ HTTP/1.1\r\nhost: evil\r\n\r\n", 400),
    (b"GET ftp://shop/ HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET file:///etc/passwd HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET http:///x HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET http://:80/x HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET http://a..b/ HTTP/1.1\r\nhost: a..b\r\n\r\n", 400),
    // authority and asterisk form, for methods that have none
    (b"GET shop:80 HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET shop HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET * HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"POST * HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\n\r\n", 400),
    (b"GET *x HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    // D7: paths that services read in different ways
    (b"GET /a%2fb HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET /a%5Cb HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET /a\\b HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET /a%00b HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET /a%zz HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET /a% HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET /..;/a HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET /%c0%af HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET /\xc3\xb8 HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET /a b HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET /a\tb HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET  / HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET / HTTP/1.1 \r\nhost: shop\r\n\r\n", 400),
    // D8: this is no forward proxy
    (b"CONNECT shop:443 HTTP/1.1\r\nhost: shop:443\r\n\r\n", 405),
    (b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: 169.254.169.254\r\n\r\n", 405),
    (b"CONNECT / HTTP/1.1\r\nhost: shop\r\n\r\n", 405),
    (b"TRACE / HTTP/1.1\r\nhost: shop\r\n\r\n", 405),
    (b"TRACE / HTTP/1.1\r\nhost: shop\r\nmax-forwards: 0\r\n\r\n", 405),
    // a target has no fragment (RFC 9112 §3.2)
    (b"GET /a#b HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    // versions and lines
    (b"GET / HTTP/1.1\nhost: shop\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop\n\r\n", 400),
    (b"GET / HTTP/1.2\r\nhost: shop\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nhost: shop\r\n\r\n", 400),
    (b"GET / HTTP/0.9\r\nhost: shop\r\n\r\n", 400),
    (b"GET / http/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET /\r\nhost: shop\r\n\r\n", 400),
    (b"G\xffT / HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop\r\nno colon\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop\r\nx : a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop\r\n: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop\r\nx: a\r\n folded\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop\r\nx: a\rb\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: shop\r\nx: a\x00b\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
];

#[test]
fn what_is_no_host_or_no_target_is_refused_before_anything_is_sent() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let status_of = |request: &[u8]| proxy.connect().send(request).try_response_to("GET").map(|answer| answer.status);
    let told: Vec<_> = REFUSED.iter().map(|(request, _)| status_of(request)).collect();
    let wrong = REFUSED.iter().zip(&told).filter(|((_, status), got)| *got != &Ok(*status));
    let wrong: Vec<_> = wrong.map(|((request, status), got)| (String::from_utf8_lossy(request), status, got)).collect();
    assert!(wrong.is_empty(), "request, status expected, status got: {wrong:#?}");
    let (fields, block, crumbs) = ("a: b\r\n".repeat(100), "b".repeat(32 * 1024), "cookie: a=b\r\n".repeat(100));
    let long = |length: usize| format!("GET /{} HTTP/1.1\r\nhost: shop\r\n\r\n", "a".repeat(length));
    for (request, status) in [
        (long(8192), 414),
        (long(30_000), 414),
        // longer than a whole header block may be
        (long(70_000), 414),
        (format!("GET / HTTP/1.1\r\nhost: shop\r\n{fields}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nhost: shop\r\n{crumbs}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nhost: shop\r\na: {block}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", "a".repeat(256)), 400),
    ] {
        let response = proxy.ask(&request);
        assert_eq!(response.status, status, "{}..", &request[..40.min(request.len())]);
    }
    assert_eq!((upstream.connections(), upstream.byte_count()), (0, 0));
}

/// Requests that pass, with the target and the host that the service sees.
const PASSED: [(&str, &str, &str); 19] = [
    ("GET / HTTP/1.1\r\nhost: shop\r\n\r\n", "/", "shop"),
    ("GET / HTTP/1.1\r\nhost: shop:80\r\n\r\n", "/", "shop:80"),
    ("GET / HTTP/1.1\r\nhost: shop:65535\r\n\r\n", "/", "shop:65535"),
    ("GET / HTTP/1.1\r\nHOST:shop\r\n\r\n", "/", "shop"),
    // as they came; they are routed as shop.example.com
    ("GET / HTTP/1.1\r\nhost: shop.example.com.\r\n\r\n", "/", "shop.example.com."),
    ("GET / HTTP/1.1\r\nhost: SHOP.Example.COM\r\n\r\n", "/", "SHOP.Example.COM"),
    ("GET / HTTP/1.1\r\nhost: [2001:db8::1]:8080\r\n\r\n", "/", "[2001:db8::1]:8080"),
    ("GET / HTTP/1.1\r\nhost: 192.0.2.1\r\n\r\n", "/", "192.0.2.1"),
    ("GET http://shop/a?b HTTP/1.1\r\nhost: shop\r\n\r\n", "/a?b", "shop"),
    ("GET http://shop HTTP/1.1\r\nhost: shop\r\n\r\n", "/", "shop"),
    ("GET http://shop?b HTTP/1.1\r\nhost: shop\r\n\r\n", "/?b", "shop"),
    ("GET https://shop/ HTTP/1.1\r\nhost: shop\r\n\r\n", "/", "shop"),
    ("GET http://SHOP/ HTTP/1.1\r\nhost: shop\r\n\r\n", "/", "SHOP"),
    ("GET http://shop/ HTTP/1.0\r\n\r\n", "/", "shop"),
    // two slashes are a path, not a host
    ("GET //evil.example/a HTTP/1.1\r\nhost: shop\r\n\r\n", "//evil.example/a", "shop"),
    ("GET /a/../b/./c HTTP/1.1\r\nhost: shop\r\n\r\n", "/b/c", "shop"),
    ("GET /%61%2e%2e/a?../../b=%2f HTTP/1.1\r\nhost: shop\r\n\r\n", "/%61%2e%2e/a?../../b=%2f", "shop"),
    ("GET /%2e%2e/a HTTP/1.1\r\nhost: shop\r\n\r\n", "/a", "shop"),
    ("GET /a:b@c;d=e,f HTTP/1.1\r\nhost: shop\r\n\r\n", "/a:b@c;d=e,f", "shop"),
    // hyper cuts a fragment off before anybody sees it
];

#[test]
fn what_is_a_host_and_a_target_reaches_the_service_unambiguously() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    for (request, target, host) in PASSED {
        assert_eq!(proxy.ask(request).status, 200, "{request}");
        let seen = upstream.last();
        assert_eq!((seen.target.as_str(), seen.header("host")), (target, Some(host)), "{request}");
    }
    let long = format!("/{}", "a".repeat(8191));
    let fields = "a: b\r\n".repeat(99);
    assert_eq!(proxy.ask(format!("GET {long} HTTP/1.1\r\nhost: shop\r\n\r\n")).status, 200);
    assert_eq!(proxy.ask(format!("GET / HTTP/1.1\r\nhost: shop\r\n{fields}\r\n")).status, 200);
    assert_eq!(upstream.last().all("a").len(), 99);
}

/// A route for one host: no other host, however it is written, leads anywhere.
fn with_one_host(upstream: SocketAddr) -> Proxy {
    let yaml = format!(
        "{LISTENER}services: {{ shop: {{ variants: {{ stable: {{ endpoints: [$stable] }} }} }} }}\n\
         routes: [{{ hostnames: [shop.example.com], service: shop }}]\n"
    );
    Proxy::start(&yaml, &[("stable", upstream)])
}

#[test]
fn a_host_is_found_however_it_is_written() {
    let upstream = Recording::echo();
    let proxy = with_one_host(upstream.address);
    for host in
        ["shop.example.com", "SHOP.example.COM", "shop.example.com.", "shop.example.com:8080", "shop.example.com.:80"]
    {
        assert_eq!(proxy.ask(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).status, 200, "{host}");
        assert_eq!(upstream.last().header("host"), Some(host));
    }
}

/// D8: CONNECT, absolute form, unknown hosts, addresses of metadata services, our own address, the service's.
#[test]
fn a_proxy_leads_nowhere_but_to_its_services() {
    let (upstream, elsewhere) = (Recording::echo(), Recording::echo());
    let proxy = with_one_host(upstream.address);
    let own = proxy.address().to_string();
    let other = elsewhere.address.to_string();
    let hosts = [
        "169.254.169.254",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "metadata.google.internal",
        "evil.example",
        &own,
        &other,
    ];
    let mut probes = 0;
    let mut probe = |request: String, statuses: &[u16]| {
        let status = Raw::connect(proxy.address()).send(&request).response().status;
        assert!(statuses.contains(&status), "{request}: {status}");
        probes += 1;
    };
    for host in hosts {
        probe(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"), &[404]);
        probe(format!("GET / HTTP/1.0\r\nhost: {host}\r\n\r\n"), &[404]);
        probe(format!("GET http://{host}/ HTTP/1.1\r\nhost: {host}\r\n\r\n"), &[404]);
        probe(format!("GET https://{host}/ HTTP/1.1\r\nhost: {host}\r\n\r\n"), &[404]);
        probe(format!("GET http://{host}/ HTTP/1.1\r\nhost: shop.example.com\r\n\r\n"), &[400]);
        probe(format!("GET http://shop.example.com/ HTTP/1.1\r\nhost: {host}\r\n\r\n"), &[400]);
        probe(format!("GET http://shop.example.com@{host}/ HTTP/1.1\r\nhost: {host}\r\n\r\n"), &[400]);
        probe(format!("CONNECT {host}:80 HTTP/1.1\r\nhost: {host}:80\r\n\r\n"), &[400, 405]);
        probe(format!("GET {host} HTTP/1.1\r\nhost: {host}\r\n\r\n"), &[400]);
        // other names for a host are not the host
        probe(format!("GET / HTTP/1.1\r\nhost: {host}\r\nx-forwarded-host: shop.example.com\r\n\r\n"), &[404]);
        probe(format!("GET / HTTP/1.1\r\nhost: {host}\r\nx-host: shop.example.com\r\n\r\n"), &[404]);
        probe(format!("GET //{host}/ HTTP/1.1\r\nhost: {host}\r\n\r\n"), &[404]);
    }
    probe("GET / HTTP/1.0\r\n\r\n".to_owned(), &[404]);
    println!("{probes} probes");
    assert_eq!((upstream.byte_count(), elsewhere.byte_count()), (0, 0));
}
