//! Large bodies: streamed, in order, and never faster than the slower end takes them.

use crate::support::raw::{PATIENCE, Raw, eventually};
use crate::support::recording::{Gate, Recording};
use crate::support::server::Proxy;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const PIECE: usize = 64 * 1024;
const PIECES: usize = 512;
const BODY: usize = PIECE * PIECES;
/// What the two ends' sockets, their buffers and ours may hold together while one end takes nothing.
const IN_FLIGHT_MAX: usize = 20 * 1024 * 1024;

/// The piece of a body: no two are the same, so that a piece that is lost, doubled or swapped is seen.
fn piece(number: usize) -> Vec<u8> {
    (number as u64).to_le_bytes().repeat(PIECE / 8)
}

fn is_whole(body: &[u8]) -> bool {
    body.len() == BODY && body.chunks(PIECE).enumerate().all(|(number, bytes)| bytes == piece(number))
}

/// Waits until a count has not moved for a while, and tells it.
fn settled(count: impl Fn() -> usize) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let (mut last, mut since) = (count(), Instant::now());
    while since.elapsed() < Duration::from_millis(150) {
        assert!(Instant::now() < deadline, "it never stops: {last}");
        std::thread::park_timeout(Duration::from_millis(5));
        if count() != last {
            (last, since) = (count(), Instant::now());
        }
    }
    last
}

#[test]
fn a_client_that_reads_slowly_holds_up_the_service() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let upstream = Recording::start(move |exchange| {
        exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n"));
        for number in 0..PIECES {
            if !exchange.send(piece(number)) {
                return;
            }
            count.fetch_add(PIECE, SeqCst);
        }
    });
    let proxy = Proxy::before(&upstream);
    let mut client = Raw::connect_with_small_window(proxy.address());
    client.send("GET / HTTP/1.1\r\nhost: shop\r\n\r\n");
    assert_eq!(client.head().unwrap().status, 200);
    let in_flight = settled(|| sent.load(SeqCst));
    assert!(in_flight < IN_FLIGHT_MAX, "{in_flight} bytes wait for the client");
    let mut body = Vec::with_capacity(BODY);
    while body.len() < BODY {
        body.extend(client.bytes(1));
    }
    assert!(is_whole(&body));
}

#[test]
fn a_service_that_reads_slowly_holds_up_the_client() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Recording::start(move |exchange| {
        held.pass();
        let is_whole = is_whole(exchange.body());
        exchange.ok(if is_whole { "whole" } else { "broken" });
    });
    for framing in ["content-length", "chunked"] {
        let proxy = Proxy::before(&upstream);
        let client = proxy.connect();
        let sent = Arc::new(AtomicUsize::new(0));
        let (mut stream, count) = (client.stream().try_clone().unwrap(), sent.clone());
        let sender = std::thread::spawn(move || {
            use std::io::Write;
            let is_chunked = framing == "chunked";
            let line = if is_chunked { "transfer-encoding: chunked".into() } else { format!("content-length: {BODY}") };
            write!(stream, "POST / HTTP/1.1\r\nhost: shop\r\n{line}\r\n\r\n").unwrap();
            for number in 0..PIECES {
                let bytes = piece(number);
                if is_chunked {
                    write!(stream, "{PIECE:x}\r\n").unwrap();
                }
                stream.write_all(&bytes).unwrap();
                if is_chunked {
                    stream.write_all(b"\r\n").unwrap();
                }
                count.fetch_add(PIECE, SeqCst);
            }
            if is_chunked {
                stream.write_all(b"0\r\n\r\n").unwrap();
            }
        });
        if framing == "content-length" {
            let in_flight = settled(|| sent.load(SeqCst));
            assert!(in_flight < IN_FLIGHT_MAX, "{in_flight} bytes wait for the service");
        }
        gate.open();
        let mut client = client;
        assert_eq!(client.response().text(), "whole", "{framing}");
        sender.join().unwrap();
    }
}

/// Requests that the client abandons are recorded as cancelled, and the service is told by a closed connection.
#[test]
fn a_client_that_goes_away_is_recorded_as_cancelled() {
    let upstream = Recording::start(|exchange| {
        if exchange.seen.target == "/body" {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc");
        }
        assert!(exchange.wait_for_close(), "the proxy keeps a connection that nobody wants");
        exchange.close();
    });
    let proxy = Proxy::before(&upstream);
    let mut waiting = proxy.connect();
    waiting.send("GET /wait HTTP/1.1\r\nhost: shop\r\n\r\n");
    let mut reading = proxy.connect();
    reading.send("GET /body HTTP/1.1\r\nhost: shop\r\n\r\n");
    assert_eq!(reading.head().unwrap().status, 200);
    let mut sending = proxy.connect();
    sending.send("POST /send HTTP/1.1\r\nhost: shop\r\ncontent-length: 10\r\n\r\nabc");
    eventually("the requests", || upstream.count() == 3);
    proxy.wait_for_metric("ringway_http_requests_in_flight", &[], 3.0);
    drop((waiting, reading));
    sending.reset();
    proxy.wait_for_metric("ringway_http_request_duration_seconds_count", &[("outcome", "cancelled")], 3.0);
    proxy.wait_for_metric("ringway_http_requests_in_flight", &[], 0.0);
    proxy.wait_for_metric("ringway_downstream_connections", &[], 0.0);
    eventually("the end of the service's connections", || upstream.open() == 0);
    // none of them counts against the variant
    assert_eq!(proxy.metrics().sum("ringway_users_with_errors", &[]), 0.0);
}

/// Body lengths around the sizes of buffers.
#[test]
fn bodies_of_all_sizes_come_back_as_they_were() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.connect();
    for base in [0_usize, 1, 4096, 8192, 16 * 1024, 64 * 1024, 128 * 1024, 256 * 1024] {
        for length in [base, base + 1, base.saturating_sub(1)] {
            let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            client.send(format!("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: {length}\r\n\r\n")).send(&body);
            let response = client.response();
            assert!(response.status == 200 && response.body == body, "{length}");
        }
    }
}
