//! Exchanges as most clients have them.

use crate::support::raw::Framing;
use crate::support::recording::{Exchange, Gate, Recording};
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

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Recording::start(|exchange| {
        let target = exchange.seen.target.clone();
        exchange.ok(&target);
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.connect();
    let requests: String = (0..20)
        .map(|n| format!("POST /{n} HTTP/1.1\r\nhost: shop\r\ncontent-length: 3\r\n\r\nabc"))
        .chain(["GET /last HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n".to_owned()])
        .collect();
    client.send(requests);
    for n in 0..20 {
        assert_eq!(client.response().text(), format!("/{n}"));
    }
    assert_eq!(client.response().text(), "/last");
    client.expect_close();
}

#[test]
fn chunks_pass_both_ways() {
    let upstream = Recording::start(|exchange| {
        let body = exchange.body().to_vec();
        exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for byte in body {
            exchange.send([b"1\r\n".as_slice(), &[byte], b"\r\n"].concat());
        }
        exchange.send("0\r\n\r\n");
    });
    let proxy = Proxy::before(&upstream);
    let head = "POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n";
    let response = proxy.ask(format!("{head}3\r\nabc\r\n000a;x=\"y\"\r\n0123456789\r\n0\r\n\r\n"));
    assert_eq!((response.text().as_str(), response.framing("POST")), ("abc0123456789", Ok(Framing::Chunked)));
    let seen = upstream.last();
    assert_eq!((seen.header("transfer-encoding"), seen.header("content-length")), (Some("chunked"), None));
    assert_eq!(seen.body, b"abc0123456789");
}

/// A chunk is passed on when it is there, not when the body is complete.
#[test]
fn chunks_do_not_wait_for_each_other() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Recording::start(move |exchange| {
        exchange.read_some();
        exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
        held.pass();
        exchange.send("3\r\ntwo\r\n0\r\n\r\n");
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_eq!(client.head().unwrap().status, 200);
    let first = client.bytes(8);
    assert_eq!(first, b"3\r\none\r\n");
    client.send("0\r\n\r\n");
    gate.open();
    assert_eq!(client.bytes(13), b"3\r\ntwo\r\n0\r\n\r\n");
}

#[test]
fn answers_without_a_body_have_none() {
    let upstream = Recording::start(|exchange| {
        let head = match exchange.seen.target.as_str() {
            "/204" => "204 No Content\r\nx-a: b",
            "/304" => "304 Not Modified\r\netag: \"a\"\r\ncontent-length: 5",
            _ => "200 OK\r\ncontent-length: 5",
        };
        let body = if exchange.seen.method == "GET" && head.starts_with("200") { "hello" } else { "" };
        exchange.send(format!("HTTP/1.1 {head}\r\n\r\n{body}"));
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.connect();
    for (method, target, status, length) in [
        ("HEAD", "/", 200, Some("5")),
        ("GET", "/204", 204, None),
        // it may say the length that a 200 would have (RFC 9110 §15.4.5)
        ("GET", "/304", 304, Some("5")),
        ("HEAD", "/304", 304, Some("5")),
        ("GET", "/", 200, Some("5")),
    ] {
        client.send(format!("{method} {target} HTTP/1.1\r\nhost: shop\r\n\r\n"));
        let response = client.response_to(method);
        assert_eq!((response.status, response.header("content-length")), (status, length), "{method} {target}");
        assert_eq!(response.header("transfer-encoding"), None);
        assert!(client.leftover().is_empty(), "{method} {target}");
    }
    assert_eq!(upstream.connections(), 1);
}

/// A client that has sent HEAD reads no body, and would take one for its next answer; also where lines before the
/// request, which some servers skip, are why it is refused.
#[test]
fn a_head_that_is_refused_is_answered_without_a_body() {
    let upstream = Recording::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
    });
    let proxy = Proxy::before(&upstream);
    for before in ["", "\r\n", "\r\n\r\n", "\n", "\r\n\n", "\r", "\r\n\r", " "] {
        let mut client = proxy.connect();
        let answer =
            client.send(format!("{before}HEAD / HTTP/1.1\r\nhost: shop\r\nno field\r\n\r\n")).response_to("HEAD");
        assert_eq!(answer.status, 400, "{before:?}");
        assert_eq!(client.rest(), b"", "{before:?}");
    }
    assert!(upstream.seen().is_empty());
}

fn trailing(exchange: &mut Exchange) {
    let body = exchange.body().to_vec();
    let trailers: String = exchange.seen.trailers.iter().map(|(name, value)| format!("{name}={value} ")).collect();
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, x-ringway-variant\r\n\r\n";
    let text = format!("{}|{trailers}", String::from_utf8_lossy(&body));
    let end = "0\r\nx-sum: 7\r\nx-ringway-variant: forged\r\n\r\n";
    exchange.send(format!("{head}{:x}\r\n{text}\r\n{end}", text.len()));
}

/// Trailers pass both ways, whatever the method (security.md section 3: naive proxies lose both on GET).
#[test]
fn trailers_pass_both_ways() {
    let upstream = Recording::start(trailing);
    let proxy = Proxy::before(&upstream);
    for method in ["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"] {
        let response = proxy.ask(format!(
            "{method} / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\nTE: trailers\r\n\
             trailer: x-sum, content-length, x-ringway-cohort\r\n\r\n\
             3\r\nabc\r\n0\r\nx-sum: 42\r\nX-Ringway-Cohort: staff\r\n\r\n"
        ));
        assert_eq!(response.text(), "abc|x-sum=42 ", "{method}");
        assert_eq!(response.trailers, [("x-sum".to_owned(), "7".to_owned())], "{method}");
        let seen = upstream.last();
        assert_eq!((seen.header("te"), seen.header("connection")), (Some("trailers"), Some("te")), "{method}");
        assert_eq!((seen.header("trailer"), seen.header("transfer-encoding")), (Some("x-sum"), Some("chunked")));
    }
}

/// A GET may have a body; most proxies that are built naively lose it when its length is not known.
#[test]
fn a_get_with_a_body_keeps_it() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        let sized = proxy.ask(format!("{method} / HTTP/1.1\r\nhost: shop\r\ncontent-length: 3\r\n\r\nabc"));
        assert_eq!(sized.text(), "abc", "{method}");
        let head = format!("{method} / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunked = proxy.ask(format!("{head}3\r\nabc\r\n0\r\n\r\n"));
        assert_eq!(chunked.text(), "abc", "{method}");
    }
}

#[test]
fn an_expectation_is_met_when_the_body_is_wanted() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.connect();
    for expect in ["100-continue", "100-Continue"] {
        client.send(format!("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 3\r\nExpect: {expect}\r\n\r\n"));
        assert_eq!(client.head().unwrap().status, 100);
        let response = client.send("abc").response();
        assert_eq!((response.status, response.text().as_str()), (200, "abc"));
        assert_eq!(upstream.last().header("expect"), None);
    }
}

/// RFC 9110 §10.1.1: the answer without 100 must not leave the client and us at odds about where the next request
/// begins.
#[test]
fn an_expectation_that_is_refused_ends_the_connection() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    for (line, status) in [("Expect: 100-continue\r\nhost: a\r\n", 400), ("Expect: 200-ok\r\n", 417)] {
        let mut client = proxy.connect();
        client.send(format!("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 48\r\n{line}\r\n"));
        let response = client.response();
        assert_eq!((response.status, response.informational.len()), (status, 0), "{line}");
        // what would be the body reads like a request, and must not be taken for one
        client.send("GET /smuggled HTTP/1.1\r\nhost: shop\r\nx: abcde\r\n\r\n");
        client.expect_close();
    }
    assert_eq!(upstream.byte_count(), 0);
}

/// The service may refuse before it has read the body: the answer passes, and the body cannot become a request.
#[test]
fn an_early_answer_reaches_the_client() {
    let upstream = Recording::start(|exchange| {
        exchange.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
        exchange.close();
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 100000\r\n\r\nabc");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
    client.send("GET /smuggled HTTP/1.1\r\nhost: shop\r\n\r\n").finish();
    client.rest();
    assert_eq!(upstream.count(), 1);
}

#[test]
fn clients_of_http_1_0_get_what_they_understand() {
    let upstream = Recording::start(|exchange| {
        exchange.body();
        exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    });
    let proxy = Proxy::before(&upstream);
    for lines in ["", "host: shop\r\n"] {
        let mut client = proxy.connect();
        client.send(format!("GET / HTTP/1.0\r\n{lines}\r\n"));
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, "abc"));
        assert_eq!((response.framing("GET"), response.header("transfer-encoding")), (Ok(Framing::UntilClose), None));
    }
    let seen = upstream.seen();
    assert_eq!((seen[0].version.as_str(), seen[0].header("host")), ("HTTP/1.1", Some("")));
    assert_eq!(seen[1].header("host"), Some("shop"));
}

#[test]
fn a_client_of_http_1_0_may_keep_its_connection() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.connect();
    for body in ["one", "two"] {
        client.send(format!(
            "POST / HTTP/1.0\r\nhost: shop\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\n{body}"
        ));
        let response = client.response();
        assert_eq!(response.text(), body);
        assert_eq!(response.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("keep-alive"));
    }
}

#[test]
fn the_same_port_speaks_both_protocols_and_ignores_a_few_empty_lines() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    // PRI is no method before the preface is complete
    let mut client = proxy.connect();
    assert_eq!(client.send("P").send("OST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx").response().status, 200);
    assert_eq!(proxy.ask("\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n").status, 200);
    let mut preface = proxy.connect();
    preface.send("PRI * HTTP/2.0\r\n\r\n").send("SM\r\n\r\n").send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let settings = preface.bytes(9);
    assert_eq!((settings[3], settings[4]), (4, 0), "SETTINGS come first (RFC 9113 §3.4)");
}
