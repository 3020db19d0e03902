//! What a client may use, and for how long (security.md section 8; docs/reference/limits.md).

use crate::support::raw::{PATIENCE, Raw, eventually};
use crate::support::recording::{Gate, Recording};
use crate::support::server::Proxy;
use std::time::{Duration, Instant};

/// No longer than the timeout of the test by far, and far below the defaults.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn slow_headers_are_cut_by_total_time_not_by_progress() {
    let upstream = Recording::echo();
    let proxy = Proxy::before_with(&upstream, "timeouts: { requestHeaders: 300ms }");
    for start in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: shop\r\n", "PRI * HTTP/2.0\r\n\r\nSM"] {
        let began = Instant::now();
        let mut client = proxy.connect();
        client.send(start);
        client.rest();
        assert!(began.elapsed() < SOON, "{start:?} is kept open");
    }
    // one byte each 20 ms is progress, but no request
    let began = Instant::now();
    let mut client = proxy.connect().with_patience(Duration::from_millis(20));
    client.send("GET / HTTP/1.1\r\nhost: shop\r\nx-slow: ");
    while client.try_send("a").is_ok() {
        assert!(began.elapsed() < SOON, "a drip keeps a connection open");
        client.rest();
    }
    assert_eq!(upstream.byte_count(), 0);
}

#[test]
fn a_second_request_that_never_ends_is_cut_too() {
    let upstream = Recording::echo();
    let proxy = Proxy::before_with(&upstream, "timeouts: { requestHeaders: 300ms }");
    let began = Instant::now();
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: shop\r\n\r\n");
    assert_eq!(client.response().status, 200);
    client.send("GET / HTTP/1.1\r\nho");
    client.rest();
    assert!(began.elapsed() < SOON);
}

/// RFC 9110 §15.5.9.
#[test]
fn a_slow_body_is_answered_with_408() {
    let upstream = Recording::echo();
    let proxy = Proxy::before_with(&upstream, "timeouts: { idle: 300ms }");
    for head in ["content-length: 10\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n5\r\nab"] {
        let mut client = proxy.connect();
        client.send(format!("POST / HTTP/1.1\r\nhost: shop\r\n{head}"));
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (408, "408 the request body came too slowly\n"));
        client.finish().expect_close();
    }
    // fewer than 1 KiB in the time of the timeout is no progress
    let began = Instant::now();
    let mut client = proxy.connect().with_patience(Duration::from_millis(50));
    client.send("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 100000\r\n\r\n");
    let response = loop {
        assert!(began.elapsed() < SOON, "a drip keeps a request open");
        client.send("a");
        if let Ok(response) = client.try_response_to("POST") {
            break response;
        }
    };
    assert_eq!(response.status, 408);
    let fault = [("outcome", "rejected")];
    proxy.wait_for_metric("ringway_http_request_duration_seconds_count", &fault, 3.0);
}

/// A client that takes nothing of its answer holds a connection of the service: not for longer than `idle`.
#[test]
fn a_client_that_does_not_read_is_cut() {
    let upstream = Recording::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
        while exchange.send([b'a'; 64 * 1024]) {}
    });
    let proxy = Proxy::before_with(&upstream, "timeouts: { idle: 300ms }");
    let mut client = Raw::connect_with_small_window(proxy.address());
    client.send("GET / HTTP/1.1\r\nhost: shop\r\n\r\n");
    eventually("the request", || upstream.count() == 1);
    proxy.wait_for_metric("ringway_http_requests_in_flight", &[], 0.0);
    eventually("the end of the service's connection", || upstream.open() == 0);
    proxy.wait_for_metric("ringway_downstream_connections", &[], 0.0);
    // the service did nothing wrong
    assert_eq!(proxy.metrics().sum("ringway_http_request_duration_seconds_count", &[("outcome", "error")]), 0.0);
}

#[test]
fn an_idle_connection_is_parked_and_closed_when_its_time_is_up() {
    let upstream = Recording::echo();
    let proxy = Proxy::before_with(&upstream, "timeouts: { keepAlive: 1500ms }");
    let mut client = proxy.connect();
    let mut parked = proxy.connect();
    for connection in [&mut client, &mut parked] {
        connection.send("GET / HTTP/1.1\r\nhost: shop\r\n\r\n");
        assert_eq!(connection.response().status, 200);
    }
    let began = Instant::now();
    // after 1 s without a request the connection gives back its buffers; it still serves
    let mut patient = parked.with_patience(Duration::from_millis(1150));
    assert!(patient.try_response_to("GET").is_err_and(|error| error.starts_with("waiting")));
    let mut parked = patient.with_patience(PATIENCE);
    parked.send("GET /parked HTTP/1.1\r\nhost: shop\r\n\r\n");
    assert_eq!(parked.response().status, 200);
    client.expect_close();
    let closed_after = began.elapsed();
    assert!(closed_after >= Duration::from_millis(1400) && closed_after < SOON, "{closed_after:?}");
    parked.expect_close();
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let upstream = Recording::echo();
    let proxy = Proxy::before_with(&upstream, "limits: { maxBodyBytes: 10B }");
    let post = |lines: &str| proxy.ask(format!("POST / HTTP/1.1\r\nhost: shop\r\n{lines}"));
    assert_eq!(post("content-length: 10\r\n\r\n0123456789").text(), "0123456789");
    let before = upstream.count();
    // what is said to be too long is refused before the service is asked, and before the client sends it
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 11\r\nexpect: 100-continue\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.informational.len()), (413, 0));
    assert_eq!(response.text(), "413 request body too large\n");
    assert_eq!(upstream.count(), before);
    let chunked = post("transfer-encoding: chunked\r\n\r\n6\r\n012345\r\n5\r\n67890\r\n0\r\n\r\n");
    assert_eq!(chunked.status, 413);
}

#[test]
fn a_connection_serves_only_so_many_requests() {
    let upstream = Recording::echo();
    let proxy = Proxy::before_with(&upstream, "limits: { maxRequestsPerConnection: 3 }");
    let mut client = proxy.connect();
    for number in 1..=3 {
        client.send("GET / HTTP/1.1\r\nhost: shop\r\n\r\n");
        let response = client.response();
        let connection = response.header("connection");
        assert_eq!((response.status, connection), (200, (number == 3).then_some("close")));
    }
    client.expect_close();
}

#[test]
fn there_are_only_so_many_connections() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Recording::start(move |exchange| {
        held.pass();
        exchange.ok("");
    });
    let proxy = Proxy::before_with(&upstream, "limits: { maxConnections: 2 }");
    let mut clients = [proxy.connect(), proxy.connect()];
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: shop\r\n\r\n");
    }
    eventually("both requests", || upstream.count() == 2);
    proxy.connect().expect_close();
    gate.open();
    for mut client in clients {
        assert_eq!(client.response().status, 200);
    }
    // as others leave, there is room again
    eventually("room", || {
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").try_response_to("GET").is_ok()
    });
}

/// At the cap, whoever has been silent for longest makes room.
#[test]
fn the_longest_silence_makes_room() {
    const GET: &str = "GET / HTTP/1.1\r\nhost: shop\r\n\r\n";
    let upstream = Recording::echo();
    let proxy = Proxy::before_with(&upstream, "limits: { maxConnections: 2 }");
    let mut first = proxy.connect();
    proxy.wait_for_metric("ringway_downstream_connections_total", &[], 1.0);
    let mut second = proxy.connect();
    proxy.wait_for_metric("ringway_downstream_connections_total", &[], 2.0);
    let mut third = proxy.connect();
    assert_eq!(third.send(GET).response().status, 200);
    first.expect_close();
    assert_eq!(second.send(GET).response().status, 200);
}

/// Field count, header block, and target, each at its limit and one beyond it.
#[test]
fn heads_at_the_limit_pass_and_beyond_it_do_not() {
    let upstream = Recording::echo();
    let proxy =
        Proxy::before_with(&upstream, "limits: { maxHeaderFields: 20, maxHeaderBytes: 4KiB, maxTargetBytes: 100B }");
    let ask = |target: &str, lines: &str| {
        let response = Raw::connect(proxy.address())
            .send(format!("GET {target} HTTP/1.1\r\nhost: shop\r\n{lines}\r\n"))
            .try_response_to("GET");
        response.map_or(0, |response| response.status)
    };
    assert_eq!(ask("/", &"a: b\r\n".repeat(19)), 200);
    assert_eq!(ask("/", &"a: b\r\n".repeat(20)), 431);
    assert_eq!(ask("/", &format!("a: {}\r\n", "b".repeat(4000))), 200);
    assert_eq!(ask("/", &format!("a: {}\r\n", "b".repeat(4100))), 431);
    assert_eq!(ask(&format!("/{}", "a".repeat(99)), ""), 200);
    assert_eq!(ask(&format!("/{}", "a".repeat(100)), ""), 414);
    assert_eq!(ask(&format!("/?{}", "a".repeat(99)), ""), 414);
    assert_eq!(upstream.count(), 3);
    proxy.wait_for_metric("ringway_unrouted_requests_total", &[("code", "431")], 2.0);
    proxy.wait_for_metric("ringway_unrouted_requests_total", &[("code", "414")], 2.0);
}
