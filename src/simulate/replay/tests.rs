//! Logs through a file with a rollout.

#![cfg(test)]

use super::*;
use crate::config::{Source, load_texts};
use crate::rollout::state::Phase;
use crate::routing::prepare::assemble;
use crate::simulate::simulate;
use crate::telemetry::Registry;
use crate::upstream::Upstreams;
use std::fmt::Write;

const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:8080 }]
services:
  shop:
    hashOn: [{ cookie: uid }]
    variants:
      stable: { weight: 80, endpoints: ["127.0.0.1:1"] }
      canary: { weight: 20, endpoints: ["127.0.0.1:2"] }
    cohorts:
      - { name: staff, when: { header: { name: x-employee, present: true } }, weights: { canary: 100 } }
      - { name: phones, when: { device: { platform: [ios, android] } } }
    rollout:
      id: v2
      to: canary
      steps:
        - { cohort: everyone, ramp: [5, 50], hold: 20s }
routes:
  - { hostnames: [shop.example.com], service: shop }
"#;

fn prepared(text: &str) -> Prepared {
    let loaded = load_texts(vec![Source::new("a.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}"));
    assemble(loaded, &Upstreams::default(), &Registry::new(1, 0)).unwrap_or_else(|errors| panic!("{errors}"))
}

/// `seconds` of a log in Envoy's format: so many requests a second by 500 users, and every 500th fails.
fn log(seconds: u64, per_s: u64) -> String {
    let (mut text, mut rng) = (String::new(), fastrand::Rng::with_seed(1));
    for second in 0..seconds {
        for number in 0..per_s {
            let (user, status) = (rng.u64(..500), if rng.u64(..500) == 0 { 503 } else { 200 });
            let (minute, second) = (second / 60, second % 60);
            let ms = rng.u64(20..60);
            let _ = writeln!(
                text,
                "[2026-11-21T08:{minute:02}:{second:02}.{:03}Z] \"GET /a HTTP/1.1\" {status} - 0 154 {ms} 11 \
                 \"192.0.2.{}\" \"agent-{user}\" \"id\" \"shop.example.com\" \"10.0.0.5:80\"",
                number * 1_000 / per_s,
                user % 250,
            );
        }
    }
    text
}

fn options(fault: &str) -> Options {
    let injections = (!fault.is_empty()).then(|| fault.parse().unwrap()).into_iter().collect();
    Options { rollout_of: Some("shop".to_owned()), injections, ..Options::default() }
}

#[test]
fn a_log_tells_what_share_each_variant_really_gets() {
    let prepared = prepared(FILE);
    let report = simulate(&prepared, None, Options::default(), &log(20, 100)).unwrap();
    let everyone = &report.json["services"][0]["cohorts"][2];
    assert_eq!((&everyone["name"], &everyone["requests"]), (&"everyone".into(), &2_000.into()));
    let share = everyone["variants"][1]["share"].as_f64().unwrap();
    assert!((share - 0.2).abs() < 0.05, "{share}");
    assert_eq!(everyone["variants"][1]["fileShare"], 0.2);
    assert_eq!(report.json["usersBy"]["addressAndAgent"], 2_000);
    assert!(everyone["users"].as_u64().is_some_and(|users| (450..=500).contains(&users)), "{everyone}");
    assert!(report.text.starts_with("2,000 lines (envoy) of 19s\n"), "{}", report.text);
    assert!(report.text.contains("note: shop/staff is decided by what this log may not hold"), "{}", report.text);
    assert_eq!((report.phase, &report.json["rollout"]), (None, &serde_json::Value::Null));
}

#[test]
fn what_ringway_decided_then_is_taken_where_the_log_hides_why() {
    let line = |cohort: &str, bucket: u32| {
        format!(
            "{{\"ts\":\"2026-11-21T08:26:00Z\",\"client\":\"192.0.2.7\",\"method\":\"GET\",\"host\":\"shop.example.com\",\
             \"path\":\"/\",\"service\":\"shop\",\"cohort\":\"{cohort}\",\"bucket\":{bucket},\"status\":200}}\n"
        )
    };
    let log = [line("staff", 900_000), line("everyone", 10), line("everyone", 900_000)].concat();
    let report = simulate(&prepared(FILE), None, Options::default(), &log).unwrap();
    let cohorts = &report.json["services"][0]["cohorts"];
    assert_eq!((&cohorts[0]["requests"], &cohorts[0]["variants"][1]["requests"]), (&1.into(), &1.into()));
    assert_eq!((&cohorts[2]["requests"], &cohorts[2]["variants"][1]["requests"]), (&2.into(), &1.into()));
    assert_eq!(report.json["usersBy"]["loggedBucket"], 3);
}

#[test]
fn who_moves_is_told_by_cohort() {
    let (this, other) = (prepared(FILE), prepared(&FILE.replace("stable: { weight: 80", "stable: { weight: 20")));
    let report = simulate(&this, Some(&other), Options::default(), &log(20, 100)).unwrap();
    let against = &report.json["against"];
    // 20 of 40 was the canary's part, and is 20 of 100
    let share = against["share"].as_f64().unwrap();
    assert!((share - 0.3).abs() < 0.06, "{share}");
    assert_eq!(against["moves"].as_array().map(Vec::len), Some(1), "{against}");
    assert_eq!((&against["moves"][0]["from"], &against["moves"][0]["to"]), (&"canary".into(), &"stable".into()));
    let same = simulate(&this, Some(&this), Options::default(), &log(5, 100)).unwrap();
    assert_eq!(same.json["against"]["requests"], 0);
}

#[test]
fn a_healthy_version_is_promoted_and_a_bad_one_taken_back_in_the_time_of_the_log() {
    let (prepared, log) = (prepared(FILE), log(110, 40));
    let healthy = simulate(&prepared, None, options(""), &log).unwrap();
    assert_eq!(healthy.phase, Some(Phase::Promoted), "{}", healthy.text);
    let bad = simulate(&prepared, None, options("canary: error=50%, step=1"), &log).unwrap();
    assert_eq!(bad.phase, Some(Phase::RolledBack), "{}", bad.text);
    let rollout = &bad.json["rollout"];
    assert!(rollout["secondsToNotice"].as_u64().is_some_and(|seconds| seconds <= 20), "{rollout}");
    let (got, harmed) = (rollout["canaryRequests"].as_u64().unwrap(), rollout["harmedRequests"].as_u64().unwrap());
    assert!(harmed >= 3 && harmed < got && got < 100, "{harmed} of {got}");
    let last = &rollout["events"].as_array().unwrap().last().unwrap()["sentence"];
    assert!(last.as_str().unwrap().starts_with("rolled back shop/everyone 5 % → 0 %: errors"), "{last}");
    assert_eq!(bad.text, simulate(&prepared, None, options("canary: error=50%, step=1"), &log).unwrap().text);
    let slow = simulate(&prepared, None, options("canary: latency=x3"), &log).unwrap();
    assert_eq!(slow.phase, Some(Phase::RolledBack), "{}", slow.text);
}

#[test]
fn what_cannot_be_read_or_reaches_nothing_is_counted_and_the_first_is_shown() {
    let mut text = log(1, 2);
    text += "rubbish \u{1b}[2J\n\nmore rubbish\n";
    text += &log(1, 1).replace("shop.example.com", "other.example.com");
    let report = simulate(&prepared(FILE), None, Options::default(), &text).unwrap();
    let lines = &report.json["lines"];
    assert_eq!((&lines["read"], &lines["unreadable"]), (&5.into(), &2.into()));
    assert_eq!((&lines["firstUnreadable"]["line"], &report.json["refused"]["requests"]), (&3.into(), &1.into()));
    assert!(report.text.contains("2 lines cannot be read; the first is line 3: it has no [time]"), "{}", report.text);
    assert!(report.text.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", report.text);
    let replay_of = options("other: error=1%");
    let error = simulate(&prepared(FILE), None, replay_of, "").err().unwrap();
    assert!(error.contains("what is released is canary"), "{error}");
}

#[test]
fn a_log_with_a_gap_of_years_takes_no_years() {
    let prepared = prepared(FILE);
    let late = log(70, 20) + &log(2, 20).replace("2026-11-21T08", "2036-11-21T08");
    let report = simulate(&prepared, None, options(""), &late).unwrap();
    assert!(report.phase.is_some(), "{}", report.text);
}
