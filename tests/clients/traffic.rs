//! Redirects, rewrites and header edits, as clients and services see them.

use crate::support::recording::Recording;
use crate::support::server::Proxy;

const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:0, trustedProxies: [127.0.0.9/32] }]
services:
  shop:
    hashOn: [{ header: x-user }]
    salt: shop-v42
    variants:
      stable:
        weight: 100
        endpoints: [$stable]
        requestHeaders: { set: { x-order: variant }, add: { x-trail: "variant ${variant}" } }
        responseHeaders: { set: { x-served-by: "${service}/${cohort}/${variant}" }, remove: [server] }
      canary: { weight: 0, endpoints: [$canary] }
    cohorts:
      - name: staff
        when: { header: { name: x-employee, exact: "1" } }
        weights: { canary: 100 }
        requestHeaders: { set: { x-order: cohort }, add: { x-trail: "cohort ${cohort}" } }
geo: { header: cf-ipcountry }
routes:
  - hostnames: [shop.example.com]
    service: shop
    requestHeaders:
      set: { x-order: route, x-who: "${clientIP} ${bucket} ${geo.country}", x-id: "${requestId}", x-place: "${geo.country}" }
      add: { x-trail: "route" }
      remove: [x-secret]
    responseHeaders: { set: { x-frame-options: DENY, x-id: "${requestId}" }, add: { link: "</a.css>" } }
  - name: api
    hostnames: [api.example.com]
    service: shop
    matches: [{ path: { prefix: /v1 } }, { path: { prefix: /old/api } }]
    rewrite: { hostname: api.internal, path: { replacePrefix: /v2/ } }
  - hostnames: [one.example.com]
    service: shop
    rewrite: { path: { replaceFull: /index.html } }
  - hostnames: [old.example.com]
    redirect: { scheme: https, hostname: www.example.com, path: { replacePrefix: /shop }, status: 308 }
    responseHeaders: { set: { strict-transport-security: max-age=31536000 } }
    matches: [{ path: { prefix: /legacy } }]
  - hostnames: [secure.example.com]
    service: shop
    redirect: { scheme: https, status: 301 }
    responseHeaders: { set: { x-redirected-by: "${service}", x-served-by: "${service}/${variant}" } }
  - hostnames: [round.example.com]
    redirect: { hostname: round.example.com }
"#;

fn start() -> (Recording, Recording, Proxy) {
    let answer = |exchange: &mut crate::support::recording::Exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nserver: old\r\nlink: </b.css>\r\ncontent-length: 2\r\n\r\nok");
    };
    let (stable, canary) = (Recording::start(answer), Recording::start(answer));
    let proxy = Proxy::start(FILE, &[("stable", stable.address), ("canary", canary.address)]);
    (stable, canary, proxy)
}

#[test]
fn headers_are_edited_by_route_then_cohort_then_variant() {
    let (stable, canary, proxy) = start();
    let lines = "x-user: u-1842\r\nx-secret: 1\r\nx-trail: client\r\n";
    let answer = proxy.get("/", lines);
    let seen = stable.last();
    assert_eq!(seen.header("x-order"), Some("variant"));
    assert_eq!(seen.all("x-trail"), ["client", "route", "variant stable"]);
    assert_eq!((seen.header("x-secret"), seen.header("x-place")), (None, None));
    assert_eq!(seen.header("x-who"), Some("127.0.0.1 161139"));
    let id = seen.header("x-request-id").unwrap().to_owned();
    assert_eq!((seen.header("x-id"), answer.header("x-id")), (Some(&*id), Some(&*id)));
    assert_eq!(answer.header("x-served-by"), Some("shop/everyone/stable"));
    assert_eq!((answer.header("server"), answer.header("x-frame-options")), (None, Some("DENY")));
    assert_eq!(answer.all("link"), ["</b.css>", "</a.css>"]);

    let head = "GET / HTTP/1.1\r\nhost: shop.example.com\r\nx-employee: 1\r\ncf-ipcountry: NO\r\n\r\n";
    let answer = proxy.connect_trusted().send(head).response();
    let seen = canary.last();
    assert_eq!((seen.header("x-order"), seen.header("x-place")), (Some("cohort"), Some("NO")));
    assert_eq!(seen.all("x-trail"), ["route", "cohort staff"]);
    assert_eq!((answer.header("x-served-by"), answer.header("server")), (None, Some("old")));
}

/// A client that sends what an edit sets changes nothing, in any spelling.
#[test]
fn what_is_set_cannot_be_forged() {
    let (stable, _, proxy) = start();
    for name in ["x-order", "X-Order", "x_order", "x.order"] {
        proxy.get("/", &format!("{name}: forged\r\n"));
        let seen = stable.last();
        let all: Vec<_> = seen.headers.iter().filter(|(name, _)| name.replace(['_', '.'], "-") == "x-order").collect();
        assert_eq!(all.len(), 1, "{name}: {all:?}");
        assert_eq!(seen.header("x-order"), Some("variant"));
    }
}

#[test]
fn a_service_is_asked_for_what_the_rewrite_says() {
    let (stable, _, proxy) = start();
    for (host, target, asked, authority) in [
        ("api.example.com", "/v1/items?page=2", "/v2/items?page=2", "api.internal"),
        ("api.example.com", "/v1", "/v2", "api.internal"),
        ("api.example.com", "/v1/", "/v2/", "api.internal"),
        ("api.example.com", "/old/api/x/", "/v2/x/", "api.internal"),
        ("api.example.com", "/old//api/x", "/v2/x", "api.internal"),
        ("api.example.com", "/a/../v1/b%20c", "/v2/b%20c", "api.internal"),
        ("one.example.com", "/any/path?q=%22", "/index.html?q=%22", "one.example.com"),
    ] {
        let answer = proxy.ask(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        let seen = stable.last();
        assert_eq!((answer.status, seen.target.as_str()), (200, asked), "{target}");
        assert_eq!((seen.header("host"), seen.header("x-forwarded-host")), (Some(authority), Some(host)), "{target}");
    }
    // only whole segments are a prefix
    let count = stable.count();
    assert_eq!(proxy.ask("GET /v10 HTTP/1.1\r\nhost: api.example.com\r\n\r\n").status, 404);
    assert_eq!(stable.count(), count);
}

#[test]
fn a_redirect_is_answered_here() {
    let (stable, canary, proxy) = start();
    for (host, target, status, location) in [
        ("old.example.com", "/legacy/a?b=c", 308, "https://www.example.com/shop/a?b=c"),
        ("old.example.com:8080", "/legacy", 308, "https://www.example.com/shop"),
        (
            "old.example.com",
            "/legacy//evil.example/%0d%0aset-cookie:x",
            308,
            "https://www.example.com/shop//evil.example/%0d%0aset-cookie:x",
        ),
        ("old.example.com", "/legacy/?a={b|c}", 308, "https://www.example.com/shop/?a=%7Bb%7Cc%7D"),
        ("Secure.example.com", "/x", 301, "https://Secure.example.com/x"),
    ] {
        let answer = proxy.ask(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        assert_eq!((answer.status, answer.header("location")), (status, Some(location)), "{host}{target}");
        assert_eq!((answer.header("content-length"), answer.body.len()), (Some("0"), 0));
    }
    let answer = proxy.ask("GET /legacy HTTP/1.1\r\nhost: old.example.com\r\n\r\n");
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    // a redirect that leads nowhere else is not sent
    assert_eq!(proxy.ask("GET / HTTP/1.1\r\nhost: round.example.com\r\n\r\n").status, 508);
    assert_eq!((stable.byte_count(), canary.byte_count()), (0, 0));
    proxy.wait_for_metric("ringway_unrouted_requests_total", &[("code", "308")], 5.0);
}

/// With a service behind it, a redirect lets those pass who are where it leads.
#[test]
fn who_came_by_tls_is_not_sent_to_tls() {
    let (stable, _, proxy) = start();
    let head = "GET /x HTTP/1.1\r\nhost: secure.example.com\r\nx-forwarded-proto: https\r\n\r\n";
    assert_eq!(proxy.connect_trusted().send(head).response().status, 200);
    assert_eq!(stable.count(), 1);
    // from others it is not believed
    let answer = proxy.ask(head);
    assert_eq!((answer.status, answer.header("x-redirected-by")), (301, Some("shop")));
    assert_eq!(answer.header("x-served-by"), None, "nobody has served it");
    assert_eq!(stable.count(), 1);
}

/// Nobody reads the body of a request that is redirected: it must not become the next request.
#[test]
fn a_body_that_is_redirected_is_no_request() {
    let (stable, _, proxy) = start();
    let mut client = proxy.connect();
    let inner = "GET /smuggled HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";
    let length = inner.len();
    client.send(format!("POST /legacy HTTP/1.1\r\nhost: old.example.com\r\ncontent-length: {length}\r\n\r\n"));
    assert_eq!(client.response().status, 308);
    client.send(inner).finish();
    client.rest();
    assert_eq!(stable.count(), 0);
}
