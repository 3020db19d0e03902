//! Endpoints that are left alone because of what they answer.

use super::{answering, ask_as_many, endpoints, shop, states};
use crate::service::{Service, Wire};
use crate::story::{Story, eventually};

const EJECTED: [f64; 3] = [2.0, 0.0, 1.0];

/// Answers 5xx, breaks off, or says nothing: an endpoint that fails in one of these ways.
fn failing(how: usize) -> Service {
    match how {
        0 => Service::wired(answering("500 Broken")),
        1 => Service::wired(|wire: &mut Wire| {
            wire.request();
            wire.reset();
        }),
        2 => Service::wired(|wire: &mut Wire| {
            wire.request();
            wire.wait_for_end();
        }),
        _ => Service::wired(|wire: &mut Wire| {
            wire.request();
            wire.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
            wire.reset();
        }),
    }
}

#[test]
fn one_of_three_that_fails_is_ejected_in_whatever_way_it_fails() {
    for how in 0..4 {
        let services = [Service::named("a"), failing(how), Service::named("b")];
        let keys = format!(
            "{}, outlierDetection: {{ consecutiveErrors: 3, ejectFor: 1h, maxEjectedPercent: 34 }}",
            endpoints(&services.each_ref())
        );
        let story = Story::with(&shop(&[("stable", &keys)], "", "timeouts: { request: 300ms }"), 2, |options| options);
        let mut failed = 0;
        eventually("ejection", || {
            failed += ask_as_many(story.at(), 1, 6).iter().filter(|answer| !answer.is_ok()).count();
            let found = states(&story, "stable");
            if found == EJECTED { Ok(()) } else { Err(format!("{how}: {found:?}")) }
        });
        assert!((3..=12).contains(&failed), "{how}: {failed}");
        let answers = ask_as_many(story.at(), 4, 25);
        assert!(answers.iter().all(|answer| answer.is_ok()), "{how}: {answers:?}");
        let ejections = story.metrics().sum("ringway_upstream_ejections_total", &[("cause", "consecutive_errors")]);
        assert_eq!(ejections, 1.0);
        println!("{how}: ejected after {failed} failed requests, then 0 of 100");
    }
}

#[test]
fn the_only_endpoint_is_not_ejected_unless_the_file_says_so() {
    for (percent, is_ejected) in [(50, false), (100, true)] {
        let (stable, canary) = (Service::named("stable"), Service::wired(answering("500 Broken")));
        let outliers = format!("outlierDetection: {{ consecutiveErrors: 3, maxEjectedPercent: {percent} }}");
        let story = Story::begin(&shop(
            &[
                ("stable", &format!("weight: 0, {}", endpoints(&[&stable]))),
                ("canary", &format!("weight: 100, {}, {outliers}", endpoints(&[&canary]))),
            ],
            "",
            "",
        ));
        let answers = ask_as_many(story.at(), 1, 30);
        let failed = answers.iter().filter(|answer| answer.status == 500).count();
        assert_eq!(failed, if is_ejected { 3 } else { 30 });
        story.expect_metric(
            "ringway_upstream_endpoints",
            &[("variant", "canary"), ("state", "ejected")],
            f64::from(u8::from(is_ejected)),
        );
        let fallbacks = story.metrics().sum("ringway_fallback_total", &[("variant", "canary"), ("cause", "ejected")]);
        assert_eq!(fallbacks, if is_ejected { 27.0 } else { 0.0 });
    }
}

#[test]
fn an_ejection_ends() {
    let services = [Service::named("a"), Service::wired(answering("500 Broken"))];
    let keys =
        format!("{}, outlierDetection: {{ consecutiveErrors: 1, ejectFor: 300ms }}", endpoints(&services.each_ref()));
    let story = Story::begin(&shop(&[("stable", &keys)], "", ""));
    for round in 1..4 {
        eventually("another error", || {
            let answers = ask_as_many(story.at(), 1, 2);
            if answers.iter().any(|answer| answer.status == 500) { Ok(()) } else { Err(format!("{round}")) }
        });
    }
    eventually("three ejections", || {
        let ejections = story.metrics().sum("ringway_upstream_ejections_total", &[]);
        if ejections >= 3.0 { Ok(()) } else { Err(format!("{ejections}")) }
    });
}

#[test]
fn users_stay_with_their_endpoint_and_come_back_to_it() {
    let mut services = ["a", "b", "c", "d"].map(Service::named);
    let keys = format!("{}, loadBalancing: consistentHash", endpoints(&services.each_ref()));
    let story = Story::with(&shop(&[("stable", &keys)], "", "timeouts: { connect: 300ms }"), 2, |options| options);
    let whom = || -> Vec<String> {
        let mut client = story.client();
        (0..200).map(|user| client.get("/", &format!("cookie: uid=u-{user}\r\n")).body).collect()
    };
    let before = whom();
    assert_eq!(whom(), before);
    let of = |name: &str| before.iter().filter(|body| body.starts_with(name)).count();
    assert!(["a", "b", "c", "d"].iter().all(|name| (25..80).contains(&of(name))), "{before:?}");
    services[2].close();
    for (was, is) in before.iter().zip(whom()) {
        assert!(*was == is || (was.starts_with('c') && !is.starts_with('c')), "{was} {is}");
    }
    services[2].open_named("c");
    eventually("everybody's return", || if whom() == before { Ok(()) } else { Err(String::new()) });
}
