//! Several rings at once, ways back by degrees, windows of time, and what a killed process still knows.

use std::time::SystemTime;

use crate::rollouts::{Release, failing, file};
use crate::service::Service;
use crate::story::eventually;

/// The share of a cohort in percent.
fn share(release: &Release, cohort: &str) -> f64 {
    let status = release.status();
    let cohorts = status["cohorts"].as_array().unwrap();
    let found = cohorts.iter().find(|known| known["name"] == cohort).unwrap();
    let canary = found["variants"].as_array().unwrap().iter().find(|variant| variant["name"] == "canary").unwrap();
    (canary["configuredShare"].as_f64().unwrap() * 1e8).round() / 1e6
}

#[test]
fn a_version_that_hurts_one_ring_is_taken_from_that_ring_alone() {
    // the new version fails everybody of the first ring, once the second one has it too
    let canary = Service::wired(|wire| {
        while let Some(request) = wire.request() {
            let is_bad = request.path == "/two" && request.header("x-ringway-cohort") == Some("beta");
            let head = if is_bad { "HTTP/1.1 500 Broken" } else { "HTTP/1.1 200 OK" };
            if !wire.send(format!("{head}\r\ncontent-length: 7\r\n\r\ncanary ")) {
                return;
            }
        }
    });
    let stable = Service::named("stable");
    let text = file(&stable.address.to_string(), &canary.address.to_string(), "v1", 0);
    let text = text.replace("    rollout:", "    cohorts: [{ name: beta, when: { percent: 50 } }]\n    rollout:");
    let text = text.replace(
        "steps: [{ cohort: everyone, ramp: [20, 50, 100], hold: 1h }]",
        "steps: [{ cohort: beta, weight: 50, hold: 1h }, { cohort: everyone, weight: 50, hold: 1h }]",
    );
    let release = Release::of(stable, canary, &text);
    release.wait_for("progressing");
    release.done(&["promote", "shop", "--yes"]);
    assert_eq!((share(&release, "beta"), share(&release, "everyone")), (50.0, 50.0));
    release.users("/one");
    eventually("both rings are watched", || {
        let status = release.status();
        let gates = status["gates"].as_array().unwrap();
        let passes =
            |cohort| gates.iter().any(|g| g["cohort"] == cohort && g["name"] == "errors" && g["verdict"] == "pass");
        if passes("beta") && passes("everyone") { Ok(()) } else { Err(format!("{status:#}")) }
    });
    release.users("/two");
    let status = release.wait_for("rolled-back");
    assert!(status["why"].as_str().unwrap().contains("shop/beta"), "{status:#}");
    assert_eq!((share(&release, "beta"), share(&release, "everyone")), (0.0, 50.0));
}

#[test]
fn a_way_back_by_degrees_has_its_stations() {
    let on_harm = "onHarm: { gradual: [20, 0], every: 2s }";
    let release = Release::half(Service::named("stable"), failing(), on_harm);
    release.wait_for("progressing");
    release.users("/");
    release.wait_for("rolled-back");
    assert_eq!(release.share(), 20.0, "{}", release.binary.log());
    eventually("the end of the way", || match release.share() {
        0.0 => Ok(()),
        share => Err(format!("{share}")),
    });
    let audit = release.audit();
    assert!(audit.contains("50 % → 20 %") && audit.contains("20 % → 0 %: on the way back"), "{audit}");
}

/// The wall clock of a zone, so many minutes from now, as `HH:MM`.
fn clock(minutes: i64, zone: &str) -> String {
    let now = jiff::Zoned::now().in_tz(zone).unwrap();
    (&now + jiff::SignedDuration::from_mins(minutes)).strftime("%H:%M").to_string()
}

/// Windows that are closed now, each for another reason, and will be for hours.
fn closed() -> [String; 3] {
    let today = jiff::Zoned::now().in_tz("Asia/Tokyo").unwrap();
    let dates: Vec<String> = (-1..=1)
        .map(|day| (&today + jiff::SignedDuration::from_hours(24 * day)).strftime("%Y-%m-%d").to_string())
        .collect();
    [
        // another hour of the day, by the clock of a zone that is 5:45 ahead
        format!("tz: Asia/Kathmandu, allow: ['{}-{}']", clock(600, "Asia/Kathmandu"), clock(660, "Asia/Kathmandu")),
        // another day of the week: neither yesterday, nor today, nor tomorrow
        format!("tz: America/New_York, allow: ['{} 00:00-24:00']", far_day("America/New_York")),
        // always, but for a freeze
        format!("tz: Asia/Tokyo, allow: ['mon-sun 00:00-24:00'], freezes: [{}]", dates.join(", ")),
    ]
}

/// The day of the week three days from now.
fn far_day(zone: &str) -> String {
    let day = &jiff::Zoned::now().in_tz(zone).unwrap() + jiff::SignedDuration::from_hours(72);
    day.strftime("%a").to_string().to_lowercase()
}

/// A window that is open now, by the clock of a zone with summer time.
fn open() -> String {
    format!("tz: Europe/Oslo, allow: ['{}-{}']", clock(-120, "Europe/Oslo"), clock(120, "Europe/Oslo"))
}

#[test]
fn a_window_holds_a_step_and_no_way_back() {
    let (stable, canary) = (Service::named("stable"), Service::named("canary"));
    let text = file(&stable.address.to_string(), &canary.address.to_string(), "v1", 0);
    let text = text.replace("hold: 1h }", "hold: 1s, window: nights }");
    let text = |window: &str| format!("{text}windows: {{ nights: {{ {window} }} }}\n");
    let [first, rest @ ..] = closed();
    let release = Release::of(stable, canary, &text(&first));
    let status = release.wait_for("awaiting-window");
    assert!(status["why"].as_str().unwrap().contains("the window nights is closed"), "{status:#}");
    assert_eq!(release.share(), 0.0);
    for window in rest {
        release.binary.write(&text(&window));
        release.done(&["reload"]);
        assert_eq!((release.phase().as_str(), release.share()), ("awaiting-window", 0.0), "{window}");
    }
    // opening it releases the step
    release.binary.write(&text(&open()));
    release.done(&["reload"]);
    release.wait_for("progressing");
    assert_eq!(release.share(), 20.0);

    // it closes in the middle: the next step is due, and waits
    release.binary.write(&text(&first));
    release.done(&["reload"]);
    release.users("/");
    release.wait_for("awaiting-window");
    assert_eq!(release.share(), 20.0, "the next share waits");
    release.done(&["rollback", "shop"]);
    assert_eq!(release.share(), 0.0, "no window holds a rollback");
}

/// Harm is answered while the window is closed, too.
#[test]
fn a_closed_window_holds_no_rollback_of_the_judge() {
    let (stable, canary) = (Service::named("stable"), failing());
    let text = file(&stable.address.to_string(), &canary.address.to_string(), "v1", 0);
    let text = text.replace("ramp: [20, 50, 100], hold: 1h }", "ramp: [50, 100], hold: 1h, window: nights }");
    let text = |window: &str| format!("{text}windows: {{ nights: {{ {window} }} }}\n");
    let release = Release::of(stable, canary, &text(&open()));
    release.wait_for("progressing");
    release.binary.write(&text(&closed()[2]));
    release.done(&["reload"]);
    release.users("/");
    let status = release.wait_for("rolled-back");
    assert_eq!(release.share(), 0.0, "{status:#}");
}

/// Requests of the new version that the gate of errors knows of.
fn judged(release: &Release) -> Option<u64> {
    let text = release.gate("errors")["text"].as_str()?.to_owned();
    let after = text.split("n = ").nth(1)?.split(", evidence").next()?.replace(',', "");
    after.parse().ok()
}

#[test]
fn a_killed_process_forgets_no_evidence() {
    let mut release = Release::half(Service::named("stable"), Service::named("canary"), "gates: {}");
    release.wait_for("progressing");
    release.users("/");
    let before = eventually("requests that are judged", || match judged(&release) {
        Some(count) if count > 150 => Ok(count),
        other => Err(format!("{other:?}")),
    });
    let kept = release.binary.dir.path().join("state/judge.bin");
    let seen = SystemTime::now();
    let mut client = release.binary.client();
    eventually("evidence on the disk", || {
        client.get("/", "cookie: uid=user-1\r\n");
        let written = kept.metadata().and_then(|meta| meta.modified()).map_err(|error| error.to_string())?;
        if written > seen { Ok(()) } else { Err(format!("{written:?}")) }
    });
    release.kill_and_restart();
    let after = eventually("the judge's first word", || judged(&release).ok_or_else(|| release.binary.log()));
    assert!(after >= before, "{after} of {before}\n{}", release.binary.log());
    assert!(release.binary.log_has("the judge goes on with what it had seen"), "{}", release.binary.log());

    release.binary.signal(rustix::process::Signal::KILL);
    std::fs::write(&kept, "ringway.judge/1\nnonsense").unwrap();
    release.binary.restart();
    let anew = eventually("the judge's first word", || judged(&release).ok_or_else(|| release.binary.log()));
    assert!(
        anew < before && release.binary.log_has("evidence of steps begins anew"),
        "{anew}\n{}",
        release.binary.log()
    );
}

/// A version that is good on `/` and fails elsewhere.
fn good_at_first() -> Service {
    Service::wired(|wire| {
        while let Some(request) = wire.request() {
            let head = if request.path == "/" { "HTTP/1.1 200 OK" } else { "HTTP/1.1 500 Broken" };
            if !wire.send(format!("{head}\r\ncontent-length: 7\r\n\r\ncanary ")) {
                return;
            }
        }
    })
}

/// Everybody on the new version, and so nobody to be compared with at the same time.
#[test]
fn a_ring_with_nobody_left_is_compared_with_its_past() {
    let begin = || {
        let (stable, canary) = (Service::named("stable"), good_at_first());
        let text = file(&stable.address.to_string(), &canary.address.to_string(), "v1", 0);
        let release = Release::of(stable, canary, &text.replace("ramp: [20, 50, 100]", "ramp: [50, 100]"));
        release.wait_for("progressing");
        release
    };
    // the gate's word on the step that has begun, which comes with the next second
    let judged = |release: &Release, verdict: &str, text: &str| {
        eventually(verdict, || match release.gate("errors") {
            gate if gate["verdict"] == verdict && gate["text"].as_str().unwrap().contains(text) => {
                Ok(gate["text"].as_str().unwrap().to_owned())
            }
            gate => {
                release.users("/");
                Err(format!("{gate:#}"))
            }
        })
    };
    // without a past nothing can be said, and nothing is done
    let hasty = begin();
    hasty.done(&["promote", "shop", "--yes"]);
    assert_eq!(hasty.share(), 100.0);
    hasty.users("/");
    let text = judged(&hasty, "unknown", "compared with nothing: nobody is on stable");
    assert!(text.contains("holdback"), "{text}");
    hasty.users("/bad");
    assert_eq!(hasty.phase(), "progressing");

    // with one, harm is seen
    let release = begin();
    (0..4).for_each(|_| drop(release.users("/")));
    eventually("the past", || {
        match release.binary.metrics().sum("ringway_http_requests_total", &[("variant", "stable")]) {
            count if count >= 600.0 && release.gate("errors")["verdict"] == "pass" => Ok(()),
            count => Err(format!("{count}")),
        }
    });
    release.done(&["promote", "shop", "--yes"]);
    assert_eq!(release.share(), 100.0);
    release.users("/");
    judged(&release, "pass", "before the step");
    release.users("/bad");
    let why = release.wait_for("rolled-back")["why"].as_str().unwrap().to_owned();
    assert!(why.contains("errors") && why.contains("before the step"), "{why}");
}
