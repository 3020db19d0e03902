//! Injected faults: who meets them, what clients see, and that they count against the variant.

use std::time::{Duration, Instant};

use crate::support::raw::eventually;
use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};

const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:0 }]
telemetry: { address: 127.0.0.1:0, accessLog: { path: $dir/access.log } }
services:
  shop:
    variants:
      stable: { weight: 100, endpoints: [$stable] }
      canary: { weight: 0, endpoints: [$canary] }
    cohorts:
      - { name: aborted, when: { header: { name: x-drill, exact: abort } }, weights: { canary: 100 } }
      - { name: late, when: { header: { name: x-drill, exact: late } }, weights: { canary: 100 } }
      - { name: held, when: { header: { name: x-drill, exact: held } }, weights: { canary: 100 } }
      - { name: cut, when: { header: { name: x-drill, exact: cut } }, weights: { canary: 100 } }
      - { name: over, when: { header: { name: x-drill, exact: over } }, weights: { canary: 100 } }
    faults:
      - { variant: canary, cohort: aborted, percent: 100, abort: { status: 503 }, until: "2999-01-01T00:00:00Z" }
      - { variant: canary, cohort: aborted, percent: 100, delay: { p50: 1ms, p99: 2ms }, until: "2999-01-01T00:00:00Z" }
      - { variant: canary, cohort: late, percent: 100, delay: { fixed: 300ms }, until: "2999-01-01T00:00:00+01:00" }
      - { variant: canary, cohort: held, percent: 100, delay: { fixed: 5m }, until: "2999-01-01T00:00:00Z" }
      - { variant: canary, cohort: cut, percent: 100, abort: reset, until: "2999-01-01T00:00:00Z" }
      - { variant: canary, cohort: over, percent: 100, abort: { status: 503 }, until: "2020-01-01T00:00:00Z" }
routes:
  - { hostnames: [shop], service: shop }
  - { hostnames: [patient], service: shop, timeouts: { request: 0s } }
  - { hostnames: [hasty], service: shop, timeouts: { request: 100ms } }
"#;

struct Story {
    stable: Recording,
    canary: Recording,
    proxy: Proxy,
}

fn start() -> Story {
    let (stable, canary) = (Recording::text("stable"), Recording::text("canary"));
    let setup = Setup { upstreams: vec![("stable", stable.address), ("canary", canary.address)], ..Setup::default() };
    let proxy = Proxy::set_up(FILE, &setup);
    Story { stable, canary, proxy }
}

fn request(host: &str, drill: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: {host}\r\nx-drill: {drill}\r\n\r\n")
}

impl Story {
    fn expect_injected(&self, cohort: &str, kind: &str, count: f64) {
        let labels = [("service", "shop"), ("cohort", cohort), ("variant", "canary"), ("kind", kind)];
        self.proxy.wait_for_metric("ringway_faults_injected_total", &labels, count);
    }

    fn expect_flags(&self, flags: &str) {
        let wanted = format!("\"flags\":\"{flags}\"");
        eventually(&wanted, || {
            std::fs::read_to_string(self.proxy.file("access.log")).unwrap_or_default().contains(&wanted)
        });
    }
}

#[test]
fn an_abort_counts_against_the_variant_that_never_saw_it() {
    let story = start();
    for _ in 0..3 {
        let answer = story.proxy.ask(request("shop", "abort"));
        assert_eq!((answer.status, answer.text().as_str()), (503, "503 a fault was injected\n"));
    }
    assert_eq!(story.canary.byte_count(), 0);
    story.expect_injected("aborted", "abort", 3.0);
    story.expect_injected("aborted", "delay", 3.0);
    let errors = [("cohort", "aborted"), ("variant", "canary"), ("outcome", "error")];
    story.proxy.wait_for_metric("ringway_http_request_duration_seconds_count", &errors, 3.0);
    story.expect_flags("DI,FI");
    // it is nobody else's
    assert_eq!(story.proxy.ask(request("shop", "none")).text(), "stable");
    assert_eq!((story.proxy.ask(request("shop", "over")).text().as_str(), story.stable.count()), ("canary", 1));
    assert_eq!(story.proxy.metrics().sum("ringway_faults_injected_total", &[("variant", "stable")]), 0.0);
}

#[test]
fn a_delay_is_the_variants_latency_and_no_longer_than_the_route_waits() {
    let story = start();
    let began = Instant::now();
    assert_eq!(story.proxy.ask(request("shop", "late")).text(), "canary");
    assert!(began.elapsed() >= Duration::from_millis(300));
    story.expect_flags("DI");
    let slow = [("cohort", "late"), ("outcome", "success"), ("le", "0.25")];
    story.proxy.wait_for_metric("ringway_http_request_duration_seconds_count", &slow[..2], 1.0);
    assert_eq!(story.proxy.metrics().sum("ringway_http_request_duration_seconds_bucket", &slow), 0.0);
    // with a body as well
    let head = "POST / HTTP/1.1\r\nhost: shop\r\nx-drill: late\r\ncontent-length: 3\r\n\r\nabc";
    assert_eq!(story.proxy.ask(head).status, 200);
    assert_eq!(story.canary.last().body, b"abc");

    let asked = story.canary.count();
    assert_eq!(story.proxy.ask(request("hasty", "late")).status, 504);
    assert_eq!(story.canary.count(), asked);
    story.expect_flags("UT");
}

#[test]
fn a_reset_leaves_the_client_without_an_answer() {
    let story = start();
    let mut client = story.proxy.connect();
    client.send(request("shop", "none"));
    assert_eq!(client.response().status, 200);
    client.send(request("shop", "cut"));
    client.expect_close();
    story.expect_injected("cut", "reset", 1.0);
    story.expect_flags("FI");
    let errors = [("cohort", "cut"), ("outcome", "error")];
    story.proxy.wait_for_metric("ringway_http_request_duration_seconds_count", &errors, 1.0);
    assert_eq!(story.canary.byte_count(), 0);
}

/// A client that goes away while its request is held back counts as gone, not as the variant's error.
#[test]
fn who_does_not_wait_is_gone() {
    let story = start();
    let mut client = story.proxy.connect();
    client.send(request("patient", "held"));
    story.expect_injected("held", "delay", 1.0);
    client.reset();
    let gone = [("cohort", "held"), ("outcome", "cancelled")];
    story.proxy.wait_for_metric("ringway_http_request_duration_seconds_count", &gone, 1.0);
    assert_eq!(story.canary.byte_count(), 0);
}
