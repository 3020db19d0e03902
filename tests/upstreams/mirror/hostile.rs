//! Mirrors that misbehave, while users are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::{Seen, answer, mirrored};
use crate::binary::Binary;
use crate::client::Client;
use crate::service::{Service, Wire};
use crate::story::{Story, eventually, shop};

/// More than may wait (256) and be under way (4).
const REQUESTS: usize = 400;

fn endless(wire: &mut Wire) {
    let _ = wire.request();
    wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    while wire.send(format!("10000\r\n{}\r\n", "x".repeat(65536))) {}
}

fn gigabyte(wire: &mut Wire, sent: &AtomicUsize) {
    while wire.request().is_some() {
        wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 1 << 30));
        for _ in 0..1 << 14 {
            if !wire.send([b'x'; 65536]) {
                return;
            }
            sent.fetch_add(65536, SeqCst);
        }
    }
}

fn drip(wire: &mut Wire) {
    while wire.request().is_some() {
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
        wire.drip(Duration::from_secs(1), std::iter::repeat_n(vec![b'x'], 1000));
    }
}

fn reset(wire: &mut Wire) {
    let _ = wire.request();
    wire.reset();
}

/// How long a copy may take to connect.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Users are served while all that they ask is copied to this canary. `hangs`: copies only end with their time.
fn expect_unnoticed(name: &str, canary: &Service, hangs: bool) {
    let seen = Seen::default();
    let stable = seen.answering(|request| answer("", &request.path));
    let story = Story::begin(&mirrored(&stable, canary, 0, ", maxInFlight: 4, timeout: 10s"));
    let (began, mut client, mut longest) = (Instant::now(), story.client(), Duration::ZERO);
    for number in 0..REQUESTS {
        let asked = Instant::now();
        let answer = client.get(&format!("/{number}"), "");
        assert!(answer.is_ok() && answer.body == format!("/{number}"), "{name}: {answer:?}");
        longest = longest.max(asked.elapsed());
    }
    let took = began.elapsed();
    let all = || story.metrics().sum("ringway_mirror_requests_total", &[]);
    let dropped = story.copies("dropped");
    println!("{name}: the longest of {REQUESTS} requests took {longest:?}; {dropped} copies dropped");
    assert!(longest < Duration::from_secs(8), "{name}: {longest:?}");
    if hangs {
        // once a connection has timed out, copies fail at once and none has to wait: so a slow machine drops none
        let is_full = dropped > 0.0 || took > CONNECT_MAX;
        assert!(is_full && took < Duration::from_secs(30), "{name}: {dropped} dropped in {took:?}");
        let ended = || story.copies("timeout") + story.copies("failed");
        eventually("the first ends", || if ended() >= 4.0 { Ok(()) } else { Err(ended().to_string()) });
    } else {
        eventually("every copy's end", || if all() == REQUESTS as f64 { Ok(()) } else { Err(all().to_string()) });
    }
    let metrics = story.metrics();
    assert_eq!(metrics.sum("ringway_http_requests_total", &[("code", "200")]), REQUESTS as f64);
    assert_eq!(metrics.sum("ringway_panics_total", &[]), 0.0);
    // what copies find out about an endpoint is not held against it when users ask
    let healthy = [("variant", "canary"), ("state", "healthy")];
    assert_eq!(metrics.sum("ringway_upstream_endpoints", &healthy), 1.0, "{name}");
}

#[test]
fn a_mirror_that_is_not_there_is_not_noticed() {
    expect_unnoticed("refuses", &Service::absent(), false);
    expect_unnoticed("resets", &Service::wired(reset), false);
    let (hole, waiting) = Service::black_hole();
    expect_unnoticed("swallows connections", &hole, true);
    drop(waiting);
}

#[test]
fn a_mirror_that_is_slow_is_not_noticed() {
    expect_unnoticed("says nothing", &Service::wired(Wire::wait_for_end), true);
    expect_unnoticed("a byte a second", &Service::wired(drip), true);
}

#[test]
fn a_mirror_without_an_end_is_not_noticed() {
    expect_unnoticed("endless", &Service::wired(endless), false);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    expect_unnoticed("1 GiB", &Service::wired(move |wire| gigabyte(wire, &counted)), false);
    let per_copy = sent.load(SeqCst) / REQUESTS;
    println!("of each GiB {per_copy} bytes left the service");
    assert!(per_copy < 8 << 20, "{per_copy}");
}

#[test]
fn copies_that_time_out_make_room_for_the_next() {
    let (seen, canary) = (Seen::default(), Service::wired(|wire| wire.wait_for_end()));
    let stable = seen.answering(|_| answer("", ""));
    let story = Story::begin(&mirrored(&stable, &canary, 0, ", maxInFlight: 2, timeout: 50ms"));
    let mut client = story.client();
    for _ in 0..10 {
        assert!(client.get("/", "").is_ok());
    }
    story.expect_copies("timeout", 10.0);
    assert_eq!(story.copies("dropped"), 0.0);
}

/// Bodies of 64 KiB both ways, and a mirror that never answers: what is kept for it is bounded.
#[test]
fn a_mirror_that_hangs_takes_a_bounded_amount_of_memory() {
    const REQUESTS: usize = 1000;
    let stable = Service::wired(|wire| {
        while wire.request().is_some() {
            if !wire.ok(&"a".repeat(60_000)) {
                return;
            }
        }
    });
    let canary = Service::wired(|wire| wire.wait_for_end());
    let text = mirrored(&stable, &canary, 0, ", methods: [POST], timeout: 1m");
    let without = shop(&stable.address.to_string(), &canary.address.to_string(), 0);
    let resident = |text: &str| {
        let binary = Binary::start(text, &["--workers", "1"]);
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let mut client = Client::connect(binary.listener);
                    for _ in 0..REQUESTS / 10 {
                        assert!(client.ask("POST", "/", "", &"b".repeat(60_000)).is_ok());
                    }
                });
            }
        });
        let metrics = binary.metrics();
        let dropped = metrics.sum("ringway_mirror_requests_total", &[("result", "dropped")]);
        (metrics.sum("process_resident_memory_bytes", &[]) / f64::from(1 << 20), dropped)
    };
    let ((alone, _), (with, dropped)) = (resident(&without), resident(&text));
    println!(
        "{REQUESTS} requests: {alone:.1} MiB without a mirror, {with:.1} MiB with one that hangs; {dropped} dropped"
    );
    assert!(with - alone < 32.0, "{alone} {with}");
    // 4 MiB hold some 35 pairs of 117 KiB
    assert!(dropped > 900.0, "{dropped}");
}
