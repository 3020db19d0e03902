//! Which hosts may be asked for on a connection (RFC 9110 §7.4 and §15.5.20).

use crate::authority::Authority;
use crate::client::Client;
use crate::handshakes::proxy;
use crate::support::recording::Recording;

#[test]
fn a_host_that_the_certificate_does_not_name_is_misdirected() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let (shop, other) =
        (authority.issue(&["shop.example", "www.shop.example", "*.cdn.example"]), authority.issue(&["other.example"]));
    let proxy = proxy(&upstream, &[&shop, &other], "", &[]);
    for (asked, host, status) in [
        ("shop.example", "shop.example", 200),
        ("shop.example", "SHOP.example:8443", 200),
        ("shop.example", "shop.example.", 200),
        ("shop.example", "www.shop.example", 200),
        ("shop.example", "a.cdn.example", 200),
        ("a.cdn.example", "b.cdn.example", 200),
        ("shop.example", "127.0.0.1", 200),
        ("shop.example", "other.example", 421),
        ("shop.example", "a.b.cdn.example", 421),
        ("shop.example", "10.0.0.1", 421),
        ("other.example", "shop.example", 421),
        // without a name there is nothing to differ from
        ("127.0.0.1", "shop.example", 200),
        ("127.0.0.1", "whatever.example", 200),
    ] {
        let before = upstream.count();
        let answer = Client::new(&authority, asked).get(proxy.address(), host);
        assert_eq!(answer.status, status, "{asked} then {host}");
        assert_eq!(upstream.count() - before, usize::from(status == 200), "{asked} then {host}");
    }
    proxy.wait_for_metric("ringway_unrouted_requests_total", &[("code", "421")], 4.0);
}

#[test]
fn a_misdirected_request_leaves_the_connection_usable() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    let mut connected = Client::new(&authority, "a.example").connect(proxy.address()).unwrap();
    assert_eq!(connected.get("b.example").status, 421);
    assert_eq!(connected.get("a.example").status, 200);
}
