//! The whole way: real users of two cohorts, a canary that fails some of them and is slow, and what PromQL says of it.

use crate::server::Prometheus;
use crate::{ERROR_RATIO, P99, SHARE};
use ringway::server::{Options, Running, start};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Answers each request after a while; every `fails` one of them with 503.
fn service(takes: Duration, fails: Option<usize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut count = 0;
        // one connection at a time, as there is one worker and one client
        for stream in listener.incoming() {
            serve(stream.unwrap(), takes, fails, &mut count);
        }
    });
    address
}

fn serve(mut stream: TcpStream, takes: Duration, fails: Option<usize>, count: &mut usize) {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(got @ 1..) = stream.read(&mut buffer) {
        read.extend_from_slice(&buffer[..got]);
        if !read.ends_with(b"\r\n\r\n") {
            continue;
        }
        read.clear();
        std::thread::park_timeout(takes);
        *count += 1;
        let status = if fails.is_some_and(|every| count.is_multiple_of(every)) { "503 Unwell" } else { "200 OK" };
        if write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn proxy(dir: &tempfile::TempDir, stable: SocketAddr, canary: SocketAddr) -> Running {
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: \"unix:admin.sock\" }}\n\
         telemetry: {{ address: 127.0.0.1:0 }}\n\
         services:\n  shop:\n    hashOn: [{{ cookie: uid }}]\n    variants:\n      \
         stable: {{ weight: 100, endpoints: [\"{stable}\"] }}\n      \
         canary: {{ weight: 0, endpoints: [\"{canary}\"] }}\n    cohorts:\n      \
         - {{ name: beta, when: {{ header: {{ name: x-beta, exact: \"1\" }} }}, weights: {{ stable: 50, canary: 50 }} }}\n"
    );
    let config = dir.path().join("ringway.yaml");
    std::fs::write(&config, text).unwrap();
    start(&Options { workers: Some(1), ..Options::new(config) }).unwrap_or_else(|error| panic!("{error}"))
}

/// Asks as a user; the variant is nobody's business here.
fn ask(client: &mut TcpStream, user: usize, cohort: &str) -> u16 {
    let beta = if cohort == "beta" { "x-beta: 1\r\n" } else { "" };
    write!(client, "GET / HTTP/1.1\r\nhost: shop\r\ncookie: uid=u-{user}\r\n{beta}\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let length = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    assert!(length.contains("content-length: 0"), "{length}");
    String::from_utf8_lossy(&answer[9..12]).parse().unwrap()
}

#[tokio::test]
async fn prometheus_sees_whom_the_canary_hurts() {
    // a tenth of the canary's answers fail, and all of them take more than 25 ms and far less than 2.5 s
    let (stable, canary) = (service(Duration::ZERO, None), service(Duration::from_millis(30), Some(10)));
    let dir = tempfile::tempdir().unwrap();
    // a thread of its own, as starting is not for async code
    let running = std::thread::scope(|scope| scope.spawn(|| proxy(&dir, stable, canary)).join().unwrap());
    let Some(prometheus) = Prometheus::start(running.telemetry).await else { return };
    let zero = "ringway_http_request_duration_seconds_count{cohort=\"beta\",variant=\"canary\",outcome=\"error\"}";
    prometheus.expect(zero, "", 0.0).await;

    let (mut client, mut failed) = (TcpStream::connect(running.listeners[0].1).unwrap(), 0);
    for user in 0..200 {
        failed += usize::from(ask(&mut client, user, "beta") == 503);
        assert_eq!(ask(&mut client, user, "everyone"), 200);
    }
    let count = "sum by (cohort, variant) (ringway_http_request_duration_seconds_count)";
    prometheus.expect(count, "everyone/stable", 200.0).await;
    prometheus.expect(count, "everyone/canary", 0.0).await;
    let canary = prometheus.value(count, "beta/canary").await;
    assert!((60.0..140.0).contains(&canary), "{canary} of 200 users");
    assert_eq!(failed, (canary / 10.0) as usize);
    prometheus.expect(count, "beta/stable", 200.0 - canary).await;

    prometheus.expect(ERROR_RATIO, "beta/canary", failed as f64 / canary).await;
    prometheus.expect(ERROR_RATIO, "beta/stable", 0.0).await;
    prometheus.expect(ERROR_RATIO, "everyone/stable", 0.0).await;
    prometheus.expect(SHARE, "beta/canary", canary / 200.0).await;
    let slow = prometheus.value(P99, "beta/canary").await;
    assert!(slow > 0.025 && slow < 2.5, "p99 of the canary: {slow} s");
    for fast in ["beta/stable", "everyone/stable"] {
        let fast = prometheus.value(P99, fast).await;
        assert!(fast < slow, "p99: {fast} s of stable, {slow} s of the canary");
    }
    prometheus.expect("ringway_http_requests_in_flight", "beta/canary", 0.0).await;
    prometheus.expect("ringway_panics_total", "", 0.0).await;
}
