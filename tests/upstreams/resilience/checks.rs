//! Active health checks.

use super::{answering, ask_as_many, endpoints, shop, states};
use crate::peer::Peer;
use crate::service::{Service, Wire};
use crate::story::{Story, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const OFTEN: &str = "interval: 50ms, timeout: 500ms, healthyThreshold: 2, unhealthyThreshold: 2";

/// A service that serves well, and says of itself what it is told to say.
fn moody(name: &'static str, is_well: &Arc<AtomicBool>) -> Service {
    let is_well = is_well.clone();
    Service::wired(move |wire: &mut Wire| {
        while let Some(request) = wire.request() {
            match (request.path.as_str(), is_well.load(SeqCst)) {
                ("/healthz", false) => wire.send("HTTP/1.1 503 Unwell\r\ncontent-length: 0\r\n\r\n"),
                ("/healthz", true) => wire.send("HTTP/1.1 204 Well\r\n\r\n"),
                (path, _) => wire.ok(&format!("{name} {path}")),
            };
        }
    })
}

fn expect_states(story: &Story, variant: &str, wanted: [f64; 3]) {
    eventually(&format!("{variant}: {wanted:?}"), || {
        let found = states(story, variant);
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn an_endpoint_that_says_it_is_unwell_gets_nothing_until_it_is_well() {
    let mood = Arc::new(AtomicBool::new(true));
    let (one, other) = (moody("one", &mood), moody("other", &Arc::new(AtomicBool::new(true))));
    let keys = format!("{}, healthCheck: {{ path: /healthz, {OFTEN} }}", endpoints(&[&one, &other]));
    let story = Story::begin(&shop(&[("stable", &keys)], "", ""));
    expect_states(&story, "stable", [2.0, 0.0, 0.0]);
    mood.store(false, SeqCst);
    expect_states(&story, "stable", [1.0, 1.0, 0.0]);
    let answers = ask_as_many(story.at(), 2, 50);
    assert!(answers.iter().all(|answer| answer.body == "other /a"), "{answers:?}");
    mood.store(true, SeqCst);
    expect_states(&story, "stable", [2.0, 0.0, 0.0]);
    let answers = ask_as_many(story.at(), 2, 50);
    assert_eq!(answers.iter().filter(|answer| answer.body == "one /a").count(), 50);
    let checks = |result| story.metrics().sum("ringway_upstream_health_checks_total", &[("result", result)]);
    assert!(checks("passed") >= 4.0 && checks("failed") >= 2.0);
}

#[test]
fn a_canary_that_is_unwell_falls_back_and_a_stable_that_is_goes_on() {
    let mood = Arc::new(AtomicBool::new(false));
    let (stable, canary) = (moody("stable", &mood), moody("canary", &mood));
    let check = format!("healthCheck: {{ path: /healthz, {OFTEN} }}");
    let text = shop(
        &[
            ("stable", &format!("weight: 50, {}, {check}", endpoints(&[&stable]))),
            ("canary", &format!("weight: 50, {}, {check}", endpoints(&[&canary]))),
        ],
        "",
        "",
    );
    let story = Story::begin(&text);
    expect_states(&story, "canary", [0.0, 1.0, 0.0]);
    expect_states(&story, "stable", [0.0, 1.0, 0.0]);
    // nobody stands in for stable: its health is not believed when it speaks against all of it
    let answers = ask_as_many(story.at(), 4, 25);
    assert!(answers.iter().all(|answer| answer.is_ok() && answer.body == "stable /a"), "{answers:?}");
    let blamed = story.metrics().sum("ringway_fallback_total", &[("variant", "canary"), ("cause", "ejected")]);
    assert!(blamed > 20.0, "{blamed}");
    // a reload of something else keeps what is known; one without the check does not ask
    story.apply(&text.replace("shop:\n    hashOn", "shop:\n    exposeAssignment: true\n    hashOn"));
    assert_eq!(states(&story, "canary"), [0.0, 1.0, 0.0]);
    story.apply(&text.replace(&check, ""));
    expect_states(&story, "canary", [1.0, 0.0, 0.0]);
    let answers = ask_as_many(story.at(), 4, 25);
    assert!(answers.iter().any(|answer| answer.body == "canary /a"));
}

#[test]
fn checks_by_connection_and_by_grpc_find_what_they_should() {
    let (open, closed, grpc) = (Service::named("open"), Service::absent(), Peer::start());
    let tcp = format!("{}, healthCheck: {{ tcp: {{}}, {OFTEN} }}", endpoints(&[&open, &closed]));
    // this peer answers every path with 200 and a text: an answer, and not one of the health protocol
    let grpc = format!("endpoints: [\"{}\"], protocol: h2c, healthCheck: {{ grpc: {{}}, {OFTEN} }}", grpc.address);
    let by_path = format!(
        "{}, healthCheck: {{ path: /, expect: [404], {OFTEN} }}",
        endpoints(&[&open, &Service::wired(answering("404 None"))])
    );
    let text = shop(
        &[
            ("stable", &format!("weight: 1, {tcp}")),
            ("canary", &format!("weight: 1, {grpc}")),
            ("third", &format!("weight: 1, {by_path}")),
        ],
        "",
        "",
    );
    let story = Story::begin(&text);
    expect_states(&story, "stable", [1.0, 1.0, 0.0]);
    expect_states(&story, "canary", [0.0, 1.0, 0.0]);
    let health = crate::peer::serving_path();
    assert_eq!(health, "/grpc.health.v1.Health/Check");
    let serving = Peer::start_serving();
    let text = text.replace(
        &grpc,
        &format!(
            "endpoints: [\"{}\"], protocol: h2c, healthCheck: {{ grpc: {{ service: shop.Cart }}, {OFTEN} }}",
            serving.address
        ),
    );
    story.apply(&text);
    eventually("checks that pass", || {
        let passed =
            story.metrics().sum("ringway_upstream_health_checks_total", &[("variant", "canary"), ("result", "passed")]);
        if passed >= 2.0 { Ok(()) } else { Err(format!("{passed}")) }
    });
    assert_eq!(states(&story, "canary"), [1.0, 0.0, 0.0]);
}
