//! Ordinary exchanges over HTTP/2, and how they end early.

use super::client::{ask, ask_with, begin, connect, connect_with, finish, get, request, run, until};
use super::frames::{Frames, GOAWAY, SETTINGS, frame};
use crate::support::raw::eventually;
use crate::support::recording::Recording;
use crate::support::server::Proxy;
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

#[test]
fn one_port_serves_both_protocols_at_the_same_time() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let mut old = proxy.connect();
    run(async {
        let mut sender = connect(proxy.address()).await;
        for number in 0..10 {
            let body = format!("body {number}");
            let answer = ask_with(&mut sender, request(Method::POST, "/", &[]), body.as_bytes(), None).await.unwrap();
            assert_eq!((answer.status, answer.text()), (200, body.clone()));
            old.send(format!("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
            assert_eq!(old.response().text(), body);
        }
    });
    proxy.wait_for_metric("ringway_downstream_connections_total", &[], 2.0);
}

/// Another library's client than the one that the other tests use.
#[test]
fn hypers_client_is_served() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    run(async {
        let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let body = Bytes::from(vec![7; 300_000]);
        let request = http::Request::post("http://shop/a").body(Full::new(body.clone())).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
    });
}

#[test]
fn answers_without_a_body_and_local_ones() {
    let upstream = Recording::start(|exchange| {
        let head = if exchange.seen.target == "/204" { "204 No Content" } else { "200 OK\r\ncontent-length: 5" };
        exchange.send(format!("HTTP/1.1 {head}\r\n\r\n"));
    });
    let proxy = Proxy::before(&upstream);
    run(async {
        let mut sender = connect(proxy.address()).await;
        let head = ask(&mut sender, request(Method::HEAD, "/", &[])).await.unwrap();
        assert_eq!((head.status, &head.headers["content-length"], head.body.len()), (200, &"5".parse().unwrap(), 0));
        assert_eq!(ask(&mut sender, get("/204", &[])).await.unwrap().status, 204);
        let local = ask(&mut sender, get("/%2f", &[])).await.unwrap();
        assert_eq!((local.status, local.text().as_str()), (400, "400 the path has an encoded slash\n"));
        assert!(!local.headers.contains_key("connection"));
    });
}

/// RFC 9113 §8.1. Early hints are of use only when they come before the answer does.
#[test]
fn informational_answers_come_before_the_answer() {
    let (go, waits) = std::sync::mpsc::channel::<()>();
    let waits = std::sync::Mutex::new(waits);
    let upstream = Recording::start(move |exchange| {
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: x\r\nx: y\r\n\r\n";
        exchange.send(format!("HTTP/1.1 100 Continue\r\n\r\n{hints}"));
        waits.lock().unwrap().recv().unwrap();
        exchange.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let proxy = Proxy::before(&upstream);
    run(async {
        let mut sender = connect(proxy.address()).await;
        let (mut response, _) = begin(&mut sender, get("/", &[]), true).await.unwrap();
        let hints = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(
            (hints.status().as_u16(), &hints.headers()["link"], hints.headers().len()),
            (103, &"</a.css>".parse().unwrap(), 1)
        );
        go.send(()).unwrap();
        let next = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(next.status().as_u16(), 102);
        let answer = finish(response.await.unwrap()).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str(), answer.headers.get("link")), (200, "ok", None));
    });
}

/// RFC 9110 §10.1.1: who waits to be told that its body is wanted is told so, and then sends it.
#[test]
fn an_expectation_is_met_on_a_stream() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    run(async {
        let mut sender = connect(proxy.address()).await;
        let asked = request(Method::POST, "/", &[("expect", "100-continue")]);
        let (mut response, mut body) = begin(&mut sender, asked, false).await.unwrap();
        let told = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(told.status().as_u16(), 100);
        body.send_data(Bytes::from("wanted"), true).unwrap();
        assert_eq!(finish(response.await.unwrap()).await.unwrap().text(), "wanted");
        // refused before anybody wants its body
        let asked = request(Method::POST, "/%2f", &[("expect", "100-continue")]);
        let (response, _body) = begin(&mut sender, asked, false).await.unwrap();
        assert_eq!(response.await.unwrap().status().as_u16(), 400);
    });
    assert_eq!(upstream.seen().len(), 1);
}

/// RFC 9113 §10.5: it is told why, not taken for a client that makes mistakes.
#[test]
fn who_asks_too_much_for_nothing_is_told_to_calm_down() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let mut client = Frames::connect(proxy.address());
    // settings that change nothing, more than a connection may send for nothing
    let many = frame(SETTINGS, 0, 0, &[]).repeat(64);
    let goodbye = loop {
        client.send(&many);
        let told = std::iter::from_fn(|| client.next()).take(64).find(|frame| frame.kind == GOAWAY);
        if told.is_some() {
            break told;
        }
    };
    let calm = u32::from(h2::Reason::ENHANCE_YOUR_CALM).to_be_bytes();
    assert_eq!(goodbye.unwrap().payload[4..8], calm);
    assert_eq!(proxy.get("/", "").status, 200);
}

/// A stream that nobody reads holds up its own request, and no other one on the connection.
#[test]
fn a_slow_stream_holds_up_its_service_only() {
    const PIECE: usize = 64 * 1024;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let upstream = Recording::start(move |exchange| {
        if exchange.seen.target != "/large" {
            return exchange.ok("small");
        }
        exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 512 * PIECE));
        for number in 0..512_u32 {
            if !exchange.send((number as u8).to_le_bytes().repeat(PIECE)) {
                return;
            }
            count.fetch_add(PIECE, SeqCst);
        }
    });
    let proxy = Proxy::before(&upstream);
    run(async {
        // a window of 64 KiB a stream, and a wide one for the connection
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(65_535).initial_connection_window_size(1 << 20);
        let (mut sender, _) = connect_with(proxy.address(), &mut builder).await;
        let (response, _) = begin(&mut sender, get("/large", &[]), true).await.unwrap();
        let large = response.await.unwrap();
        for _ in 0..50 {
            assert_eq!(ask(&mut sender, get("/small", &[])).await.unwrap().text(), "small");
        }
        let in_flight = sent.load(SeqCst);
        assert!(in_flight < 16 << 20, "{in_flight} bytes wait for a stream that nobody reads");
        let body = finish(large).await.unwrap().body;
        assert_eq!(body.len(), 512 * PIECE);
        assert!(body.chunks(PIECE).enumerate().all(|(number, piece)| piece.iter().all(|byte| *byte == number as u8)));
    });
}

#[test]
fn a_stream_that_the_client_resets_is_recorded_as_cancelled() {
    let upstream = Recording::start(|exchange| {
        assert!(exchange.wait_for_close(), "the proxy keeps a connection that nobody wants");
        exchange.close();
    });
    let proxy = Proxy::before(&upstream);
    run(async {
        let mut sender = connect(proxy.address()).await;
        let (response, mut stream) = begin(&mut sender, get("/", &[]), true).await.unwrap();
        until(|| upstream.count() == 1).await;
        stream.send_reset(h2::Reason::CANCEL);
        assert!(response.await.is_err());
        let cancelled = [("outcome", "cancelled")];
        until(|| proxy.metrics().sum("ringway_http_request_duration_seconds_count", &cancelled) == 1.0).await;
    });
    eventually("the end of the service's connection", || upstream.open() == 0);
}

/// A body that breaks off must not look like one that is complete.
#[test]
fn an_answer_that_breaks_off_is_reset() {
    let upstream = Recording::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc");
        exchange.close();
    });
    let proxy = Proxy::before(&upstream);
    run(async {
        let mut sender = connect(proxy.address()).await;
        let (response, _) = begin(&mut sender, get("/", &[]), true).await.unwrap();
        // the reset may be here before anybody has looked at the head
        let error = match response.await {
            Ok(response) => finish(response).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.is_reset(), "{error}");
    });
    proxy.wait_for_metric("ringway_http_request_duration_seconds_count", &[("outcome", "error")], 1.0);
}

#[test]
fn a_slow_body_is_answered_with_408() {
    let upstream = Recording::echo();
    let proxy = Proxy::before_with(&upstream, "timeouts: { idle: 300ms }");
    run(async {
        let mut sender = connect(proxy.address()).await;
        let (response, mut stream) = begin(&mut sender, request(Method::POST, "/", &[]), false).await.unwrap();
        stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
        assert_eq!(finish(response.await.unwrap()).await.unwrap().status, 408);
        // the connection is good for others
        assert_eq!(ask(&mut sender, get("/", &[])).await.unwrap().status, 200);
    });
}

/// A window that stays shut holds a connection of the service: not for longer than `idle`.
#[test]
fn a_stream_that_nobody_reads_is_cut() {
    let upstream = Recording::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
        while exchange.send([b'a'; 64 * 1024]) {}
    });
    let proxy = Proxy::before_with(&upstream, "timeouts: { idle: 300ms }");
    run(async {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1000);
        let (mut sender, _) = connect_with(proxy.address(), &mut builder).await;
        let (response, _) = begin(&mut sender, get("/", &[]), true).await.unwrap();
        let mut stalled = response.await.unwrap();
        until(|| upstream.open() == 0).await;
        let mut end = stalled.body_mut().data().await;
        while let Some(Ok(_)) = end {
            end = stalled.body_mut().data().await;
        }
        assert!(end.is_some_and(|end| end.is_err_and(|error| error.is_reset())));
    });
    proxy.wait_for_metric("ringway_http_requests_in_flight", &[], 0.0);
    assert_eq!(proxy.metrics().sum("ringway_http_request_duration_seconds_count", &[("outcome", "error")]), 0.0);
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let upstream = Recording::echo();
    let proxy = Proxy::before_with(&upstream, "limits: { maxBodyBytes: 10B }");
    run(async {
        let mut sender = connect(proxy.address()).await;
        let sized = request(Method::POST, "/", &[("content-length", "11")]);
        assert_eq!(ask_with(&mut sender, sized, b"01234567890", None).await.unwrap().status, 413);
        let streamed = request(Method::POST, "/", &[]);
        assert_eq!(ask_with(&mut sender, streamed, b"01234567890", None).await.unwrap().status, 413);
    });
    assert!(upstream.seen().iter().all(|seen| !seen.is_complete));
}

#[test]
fn idle_and_worn_connections_are_closed_in_the_ordinary_way() {
    let upstream = Recording::echo();
    let idle = Proxy::before_with(&upstream, "timeouts: { keepAlive: 300ms, requestHeaders: 300ms }");
    let worn = Proxy::before_with(&upstream, "limits: { maxRequestsPerConnection: 3 }");
    run(async {
        let (mut sender, ended) = connect_with(idle.address(), &mut h2::client::Builder::new()).await;
        assert_eq!(ask(&mut sender, get("/", &[])).await.unwrap().status, 200);
        ended.await.unwrap().unwrap();
        // one that never asks
        let (_sender, ended) = connect_with(idle.address(), &mut h2::client::Builder::new()).await;
        ended.await.unwrap().unwrap();

        let (mut sender, ended) = connect_with(worn.address(), &mut h2::client::Builder::new()).await;
        // the client may send some more before it has read the GOAWAY
        let mut served = 0;
        while let Ok(answer) = ask(&mut sender, get("/", &[])).await {
            assert_eq!(answer.status, 200);
            served += 1;
            assert!(served < 10, "a worn connection goes on");
        }
        assert!(served >= 3, "{served}");
        ended.await.unwrap().unwrap();
    });
}
