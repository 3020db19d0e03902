//! Exchanges as most clients have them.

use crate::support::recording::Recording;
use crate::support::server::Proxy;

#[test]
fn a_connection_is_kept_and_used_again() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.connect();
    for body in ["one", "two", "three"] {
        client.send(format!("POST /a?b HTTP/1.1\r\nhost: shop\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, body));
    }
    let seen = upstream.wait_for(3);
    assert_eq!(upstream.connections(), 1);
    assert_eq!((seen[0].target.as_str(), seen[0].header("content-length")), ("/a?b", Some("3")));
    proxy.wait_for_metric("ringway_http_requests_total", &[("service", "shop"), ("code", "200")], 3.0);
}
