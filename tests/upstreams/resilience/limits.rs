//! A variant that has too much to do takes nothing from the others.

use super::{endpoints, shop};
use crate::client::Client;
use crate::service::{Service, Wire};
use crate::story::{Story, eventually};
use std::time::{Duration, Instant};

/// Answers nothing, ever.
fn stuck() -> Service {
    Service::wired(|wire: &mut Wire| {
        wire.request();
        wire.wait_for_end();
    })
}

const LIMITS: &str = "limits: { maxConnections: 4, maxPending: 3, maxRequests: 4 }";

/// Sends so many requests that nobody answers, and leaves them there.
fn ask_in_vain(story: &Story, count: usize) -> Vec<Client> {
    let ask = |user: usize| {
        let mut client = Client::connect(story.at());
        client.send(format!("GET /stuck HTTP/1.1\r\nhost: shop\r\ncookie: uid=u-{user}\r\n\r\n").as_bytes()).unwrap();
        client
    };
    (0..count).map(ask).collect()
}

fn in_use(story: &Story, variant: &str, of: &str) -> f64 {
    story.metrics().sum("ringway_upstream_in_use", &[("variant", variant), ("of", of)])
}

#[test]
fn a_stuck_canary_takes_no_worker_and_no_descriptor_from_stable() {
    let (stable, canary) = (Service::named("stable"), stuck());
    let text = shop(
        &[
            ("stable", &format!("weight: 0, {}", endpoints(&[&stable]))),
            ("canary", &format!("weight: 100, {}, {LIMITS}", endpoints(&[&canary]))),
        ],
        "    cohorts: [{ name: staff, when: { header: { name: x-staff, present: true } }, weights: { stable: 1 } }]\n",
        "timeouts: { connect: 500ms, request: 1h }",
    );
    let story = Story::with(&text, 2, |options| options);
    let stuck = ask_in_vain(&story, 4);
    eventually("four in flight", || match in_use(&story, "canary", "requests") {
        4.0 => Ok(()),
        other => Err(format!("{other}")),
    });
    // what is beyond waits for at most the connect timeout, and is served by stable
    let began = Instant::now();
    let answers = super::ask_as_many(story.at(), 20, 1);
    assert!(answers.iter().all(|answer| answer.is_ok() && answer.body == "stable /a"), "{answers:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!((in_use(&story, "canary", "connections"), canary.connections()) == (4.0, 4));
    let blamed = story.metrics().sum("ringway_fallback_total", &[("variant", "canary"), ("cause", "limit")]);
    assert_eq!(blamed, 20.0);
    // those who are stable's do not notice
    let mut client = story.client();
    let began = Instant::now();
    assert!((0..100).all(|_| client.get("/a", "x-staff: 1\r\n").is_ok()));
    println!("100 requests of stable beside a stuck canary took {:?}", began.elapsed());
    drop(stuck);
    eventually("an end", || match ["requests", "pending"].map(|of| in_use(&story, "canary", of)) {
        [0.0, 0.0] => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn without_a_fallback_what_is_beyond_gets_503_and_counts_against_the_variant() {
    let service = stuck();
    let keys = format!("{}, {LIMITS}", endpoints(&[&service]));
    let text = shop(&[("stable", &keys)], "", "timeouts: { connect: 100ms, request: 1h }");
    let story = Story::begin(&text.replace("telemetry: { ", "telemetry: { accessLog: { path: log }, "));
    let _stuck = ask_in_vain(&story, 4);
    eventually("four in flight", || match in_use(&story, "stable", "requests") {
        4.0 => Ok(()),
        other => Err(format!("{other}")),
    });
    let answers = super::ask_as_many(story.at(), 10, 1);
    assert!(answers.iter().all(|answer| answer.status == 503 && answer.is_whole), "{answers:?}");
    story.expect_metric("ringway_http_request_duration_seconds_count", &[("outcome", "error")], 10.0);
}

/// More clients than connections, and connections that come back: all are served, on no more connections than allowed.
#[test]
fn who_waits_is_served_when_a_connection_comes_back() {
    for protocol in ["http1", "auto"] {
        let service = Service::named("stable");
        let keys = format!(
            "{}, protocol: {protocol}, limits: {{ maxConnections: 2, maxPending: 100, maxRequests: 100 }}",
            endpoints(&[&service])
        );
        let story = Story::with(&shop(&[("stable", &keys)], "", "timeouts: { connect: 10s }"), 2, |options| options);
        let answers = super::ask_as_many(story.at(), 16, 25);
        assert!(answers.iter().all(|answer| answer.is_ok()), "{answers:?}");
        assert!(in_use(&story, "stable", "connections") <= 2.0);
        println!("16 clients, 2 connections at a time, 2 workers: 400 served on {} connections", service.connections());
    }
}
