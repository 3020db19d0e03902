//! Requests that are sent again: where that is safe, and never many.

use super::{answering, ask_as_many, endpoints, shop};
use crate::client::Client2;
use crate::peer::Peer;
use crate::service::{Service, Wire};
use crate::story::{DOORS, Story};
use bytes::Bytes;
use http_body_util::Full;
use std::time::{Duration, Instant};

const ON_ALL: &str = "on: [connect, reset, timeout, 502, 503, 504], backoff: { base: 1ms, max: 2ms }";

fn retries(story: &Story, result: &str) -> f64 {
    story.metrics().sum("ringway_http_retries_total", &[("result", result)])
}

fn errors(story: &Story, variant: &str) -> f64 {
    let labels = [("variant", variant), ("outcome", "error")];
    story.metrics().sum("ringway_http_request_duration_seconds_count", &labels)
}

/// Battery D16: everything fails, and what reaches the canary is at most a fifth more than was asked.
#[test]
fn a_canary_that_always_fails_gets_at_most_a_fifth_more() {
    const REQUESTS: usize = 1_200;
    let (stable, canary) = (Service::named("stable"), Service::wired(answering("503 Broken")));
    let story = Story::with(
        &shop(
            &[
                ("stable", &format!("weight: 0, {}", endpoints(&[&stable]))),
                ("canary", &format!("weight: 100, {}", endpoints(&[&canary]))),
            ],
            "",
            &format!("retry: {{ attempts: 3, {ON_ALL} }}"),
        ),
        2,
        |options| options,
    );
    let answers = ask_as_many(story.at(), 12, REQUESTS / 12);
    assert!(answers.iter().all(|answer| answer.status == 503 && answer.is_whole), "{answers:?}");
    let ratio = canary.requests() as f64 / REQUESTS as f64;
    assert!((1.1..=1.2).contains(&ratio), "{ratio}");
    assert_eq!(stable.requests(), 0, "never to another variant");
    assert_eq!(errors(&story, "canary"), REQUESTS as f64, "each request counts once");
    assert_eq!(retries(&story, "failure"), (canary.requests() - REQUESTS) as f64);
    assert!(retries(&story, "no_budget") > 900.0);
    println!("{REQUESTS} requests, {} attempts: {ratio}", canary.requests());
}

/// Every first attempt fails, every second is answered: users are served, and the variant is blamed all the same.
#[test]
fn the_first_attempt_is_what_counts() {
    let (good, bad) = (Service::named("good"), Service::wired(answering("503 Broken")));
    let keys = endpoints(&[&good, &bad]);
    let route = format!("retry: {{ {ON_ALL}, budget: {{ percent: 100 }} }}");
    let story = Story::begin(&shop(&[("stable", &keys)], "", &route));
    let answers = ask_as_many(story.at(), 1, 100);
    assert!(answers.iter().all(|answer| answer.is_ok() && answer.body == "good /a"), "{answers:?}");
    assert_eq!((bad.requests(), good.requests()), (50, 100), "a second try goes to another endpoint");
    story.expect_metric("ringway_http_requests_total", &[("code", "200")], 100.0);
    assert_eq!((errors(&story, "stable"), retries(&story, "success")), (50.0, 50.0));
}

#[test]
fn across_variants_only_when_told_so() {
    for (across, status) in [(false, 503), (true, 200)] {
        let (stable, canary) = (
            Service::wired(|wire: &mut Wire| {
                while let Some(request) = wire.request() {
                    let flag = request.header("x-flag").unwrap_or("none").to_owned();
                    wire.ok(&format!("stable {flag} {}", request.header("x-ringway-variant").unwrap()));
                }
            }),
            Service::wired(answering("503 Broken")),
        );
        let route = format!("retry: {{ {ON_ALL}, budget: {{ percent: 100 }}, acrossVariants: {across} }}");
        let story = Story::begin(&shop(
            &[
                ("stable", &format!("weight: 0, {}", endpoints(&[&stable]))),
                ("canary", &format!("weight: 100, {}, setHeaders: {{ x-flag: on }}", endpoints(&[&canary]))),
            ],
            "",
            &route,
        ));
        let answers = ask_as_many(story.at(), 1, 10);
        assert!(answers.iter().all(|answer| answer.status == status), "{answers:?}");
        let fallbacks = story.metrics().sum("ringway_fallback_total", &[("variant", "canary"), ("cause", "retry")]);
        if across {
            // nothing of the canary is left in what stable gets
            assert!(answers.iter().all(|answer| answer.body == "stable none stable"), "{answers:?}");
            assert_eq!((fallbacks, canary.requests(), stable.requests()), (10.0, 10, 10));
        } else {
            assert_eq!((fallbacks, canary.requests(), stable.requests()), (0.0, 20, 0));
        }
    }
}

#[test]
fn only_what_may_be_repeated_is_and_the_rest_passes() {
    let count = |method: &str, body: &str, status: &'static str, retry: &str| {
        let service = Service::wired(answering(status));
        let story = Story::begin(&shop(&[("stable", &endpoints(&[&service]))], "", &format!("retry: {{ {retry} }}")));
        let answer = story.client().ask(method, "/a", "", body);
        assert!(answer.is_whole && status.starts_with(&answer.status.to_string()), "{answer:?}");
        service.requests()
    };
    for (method, body, status, retry, attempts) in [
        ("GET", "", "503 Broken", ON_ALL, 2),
        ("DELETE", "", "502 Broken", ON_ALL, 2),
        ("POST", "", "503 Broken", ON_ALL, 1),
        ("PATCH", "", "503 Broken", ON_ALL, 1),
        ("PUT", "body", "503 Broken", ON_ALL, 1),
        ("GET", "", "500 Broken", ON_ALL, 1),
        ("GET", "", "404 None", ON_ALL, 1),
        ("GET", "", "503 Broken", "on: [connect, reset]", 1),
        ("GET", "", "503 Broken", "attempts: 0, on: [503]", 1),
        ("GET", "", "503 Broken", "attempts: 3, on: [503], backoff: { base: 1ms }", 4),
        ("GET", "", "503 Broken", "attempts: 3, on: [503], budget: { percent: 0, min: 1 }", 2),
        ("GET", "", "503 Later\r\nretry-after: 0", ON_ALL, 2),
        ("GET", "", "503 Later\r\nretry-after: 60", ON_ALL, 1),
        ("GET", "", "503 Later\r\nretry-after: Wed, 21 Oct 2026 07:28:00 GMT", ON_ALL, 1),
    ] {
        assert_eq!(count(method, body, status, retry), attempts, "{method} {body} {status} {retry}");
    }
}

#[test]
fn a_slow_attempt_ends_in_time_for_another_and_a_broken_one_is_repeated() {
    for how in ["timeout", "reset"] {
        let service = Service::wired(move |wire: &mut Wire| match (wire.number, how) {
            (0, "timeout") => {
                wire.request();
                wire.wait_for_end();
            }
            (0, _) => {
                wire.request();
                wire.reset();
            }
            _ => {
                while wire.request().is_some() {
                    wire.ok("second");
                }
            }
        });
        let route = format!("timeouts: {{ request: 10s }}, retry: {{ on: [{how}], perTryTimeout: 200ms }}");
        let story = Story::begin(&shop(&[("stable", &endpoints(&[&service]))], "", &route));
        let began = Instant::now();
        assert_eq!(story.client().get("/a", "").body, "second", "{how}");
        assert!(began.elapsed() < Duration::from_secs(3));
        assert_eq!(errors(&story, "stable"), 1.0);
    }
}

/// A service that comes up a moment later: any method may be sent again when no connection was opened.
#[test]
fn who_cannot_connect_tries_again() {
    let mut service = Service::absent();
    let route = "retry: { attempts: 10, on: [connect], backoff: { base: 200ms, max: 200ms }, budget: { min: 100 } }";
    let story = Story::begin(&shop(&[("stable", &endpoints(&[&service]))], "", route));
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| story.client().ask("POST", "/a", "", "body"));
        crate::story::eventually("a first attempt", || {
            let metrics = story.metrics();
            let failed = metrics.sum("ringway_http_retries_total", &[("result", "failure")]);
            if failed >= 1.0 { Ok(()) } else { Err(format!("{failed}")) }
        });
        service.open_named("stable");
        asked.join().unwrap()
    });
    assert_eq!((answer.status, answer.body.as_str()), (200, "stable /a"));
}

/// What an HTTP/2 service refuses to look at is sent again, whatever its method and with its body.
#[test]
fn a_refused_stream_is_sent_again() {
    let peer = Peer::start();
    let variant = format!("{{ endpoints: [\"{}\"], protocol: h2c }}", peer.address);
    let story = Story::begin(&format!("{DOORS}services: {{ shop: {{ variants: {{ stable: {variant} }} }} }}\n"));
    let body = "x".repeat(20_000);
    for path in ["/refuse-first/a", "/refuse-first/b"] {
        let answer = story.client().ask("POST", path, "", &body);
        assert!(answer.is_ok() && answer.body == format!("peer {path} 20000"), "{answer:?}");
        let request = http::Request::post(format!("http://shop{path}")).body(Full::new(Bytes::from(body.clone())));
        let answer = Client2::connect(story.at()).ask(request.unwrap());
        assert!(answer.is_ok() && answer.body == format!("peer {path} 20000"), "{answer:?}");
    }
    let always = story.client().ask("POST", "/refused", "", "body");
    assert_eq!(always.status, 502, "{always:?}");
    assert_eq!(errors(&story, "stable"), 1.0);
}
