//! Several rings at once, ways back by degrees, windows of time, and what a killed process still knows.

use std::time::{SystemTime, UNIX_EPOCH};

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

#[test]
fn a_window_holds_a_step_and_no_way_back() {
    let hour = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3_600 + 12) % 24;
    let closed = format!("mon-sun {hour:02}:00-{hour:02}:01");
    let (stable, canary) = (Service::named("stable"), Service::named("canary"));
    let text = file(&stable.address.to_string(), &canary.address.to_string(), "v1", 0);
    let text = text.replace("hold: 1h }", "hold: 1h, window: nights }");
    let text = |allow: &str| format!("{text}windows: {{ nights: {{ tz: UTC, allow: ['{allow}'] }} }}\n");
    let release = Release::of(stable, canary, &text(&closed));
    release.wait_for("awaiting-window");
    assert_eq!(release.share(), 0.0);
    release.binary.write(&text("mon-sun 00:00-24:00"));
    release.done(&["reload"]);
    release.wait_for("progressing");
    assert_eq!(release.share(), 20.0);
    release.binary.write(&text(&closed));
    release.done(&["reload"]);
    release.done(&["rollback", "shop"]);
    assert_eq!(release.share(), 0.0, "no window holds a rollback");
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
