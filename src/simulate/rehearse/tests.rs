//! A plan of two rings, healthy and broken.

#![cfg(test)]

use super::*;
use crate::config::{Source, load_texts};
use crate::control::plans::plan;

const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:8080 }]
services:
  shop:
    variants:
      stable: { weight: 100, endpoints: ["127.0.0.1:1"] }
      canary: { weight: 0, endpoints: ["127.0.0.1:2"] }
    cohorts: [{ name: beta, when: { percent: 20 } }]
    rollout:
      id: v2
      to: canary
      steps:
        - { cohort: beta, weight: 50, hold: 30s }
        - { approve: [managers] }
        - { cohort: everyone, ramp: [20, 50], hold: 30s }
"#;

fn rehearsal() -> Rehearsal {
    let file = load_texts(vec![Source::new("a.yaml", FILE)]).unwrap_or_else(|errors| panic!("{errors}")).file;
    let service = file.services["shop"].clone();
    Rehearsal {
        plan: plan("shop", &service),
        service,
        parts: vec![("beta".to_owned(), 0.2), ("everyone".to_owned(), 0.8)],
        world: World { requests_per_s: 60.0, users: 3_000, ..World::default() },
        outages: 0.0,
    }
}

fn runs(fault: &str, runs: u64) -> Summary {
    let injections: Vec<Injection> = (!fault.is_empty()).then(|| fault.parse().unwrap()).into_iter().collect();
    rehearsal().runs(&injections, 0, runs, 2, &mut |_| ())
}

#[test]
fn a_healthy_release_goes_through_all_rings_and_its_approval() {
    let summary = runs("", 6);
    assert_eq!(summary.count(End::Promoted), 6, "{summary:?}");
    let took = summary.spread(End::Promoted, |run| run.seconds).unwrap();
    assert!((90..120).contains(&took.median), "{took:?}");
    assert_eq!(summary.rollback_rate(), 0.0);
    assert!(summary.rollback_rate_at_most() > 0.3, "six runs say little");
}

#[test]
fn a_bad_release_is_taken_back_from_the_ring_that_it_hurts() {
    let summary = runs("canary: error=50%, cohort=everyone", 6);
    assert_eq!(summary.count(End::RolledBack), 6, "{summary:?}");
    assert_eq!(summary.counts(|run| run.cohort.as_deref())["everyone"], 6);
    assert_eq!(summary.counts(|run| run.gate)["errors"], 6);
    let spread = summary.spread(End::RolledBack, |run| run.fault_seconds).unwrap();
    assert!(spread.p95 <= 5, "{spread:?}");
    for run in &summary.runs {
        assert!(run.seconds > 30, "the first ring was fine: {run:?}");
        assert!(run.harmed >= 3 && run.harmed <= run.canary_requests && run.users <= run.canary_requests, "{run:?}");
        assert!(run.sentence.starts_with("rolled back shop/everyone 20 % → 0 %: errors"), "{}", run.sentence);
    }
}

#[test]
fn a_fault_may_begin_at_a_later_step() {
    let run = rehearsal().run(3, &["canary: latency=x3, step=3".parse().unwrap()]).unwrap();
    assert_eq!((run.end, run.gate), (End::RolledBack, Some("latency")), "{run:?}");
    assert!(run.seconds >= 31 && run.fault_seconds < run.seconds - 30, "{run:?}");
}

#[test]
fn outcomes_are_rehearsed_where_it_is_said_how_many_there_are() {
    let gates = "gates: { outcomes: [{ name: orders, header: { name: x-order, present: true } }, { name: signups }], \
                 prometheus: [{ name: memory, url: \"https://prometheus.example.com\", query: up, passWhen: \"< 2\" }] }";
    let text = FILE.replace("      to: canary\n", &format!("      to: canary\n      {gates}\n"));
    let file = load_texts(vec![Source::new("a.yaml", &text)]).unwrap_or_else(|errors| panic!("{errors}")).file;
    let service = file.services["shop"].clone();
    let world = World { outcomes: vec![0.3, 0.0], ..rehearsal().world };
    let rehearsal = Rehearsal { plan: plan("shop", &service), service, world, ..rehearsal() };
    let summary = |fault: &str| {
        let faults: Vec<Injection> = (!fault.is_empty()).then(|| fault.parse().unwrap()).into_iter().collect();
        rehearsal.runs(&faults, 0, 4, 2, &mut |_| ())
    };
    assert_eq!(summary("").count(End::Promoted), 4);
    let fewer = summary("canary: outcomes=x0.4");
    assert_eq!(fewer.count(End::Paused), 4, "{fewer:?}");
    assert!(fewer.runs.iter().all(|run| run.harmed > 0 && run.sentence.contains("orders")), "{fewer:?}");
    let silent = rehearsal.silent_gates();
    assert_eq!(silent.len(), 2, "{silent:?}");
    assert!(
        silent[0].starts_with("signups (an outcome: --outcome signups=5%") && silent[1].starts_with("memory (a query")
    );
    let columns = vec![Column { name: "healthy".to_owned(), is_broken: false, summary: summary("") }];
    let report = Report { rehearsal: &rehearsal, seed: 0, columns };
    assert!(report.to_text().contains("not rehearsed, as if these gates passed: signups"), "{}", report.to_text());
    assert_eq!(report.to_json()["notRehearsed"].as_array().map(Vec::len), Some(2));
}

#[test]
fn the_same_seed_is_the_same_run_whoever_runs_it() {
    let one = rehearsal().runs(&[], 5, 3, 1, &mut |_| ());
    let mut heard = 0;
    let two = rehearsal().runs(&[], 5, 3, 2, &mut |done| heard = done);
    assert_eq!((one, heard), (two, 3));
}

#[test]
fn the_report_has_a_table_and_a_document() {
    let rehearsal = rehearsal();
    let column = |name: &str, fault: &str| {
        let is_broken = !fault.is_empty();
        Column { name: name.to_owned(), is_broken, summary: runs(fault, 2) }
    };
    let columns = vec![column("healthy", ""), column("canary: error=50%", "canary: error=50%")];
    let report = Report { rehearsal: &rehearsal, seed: 0, columns };
    let (text, json) = (report.to_text(), report.to_json());
    assert!(
        text.contains("shop v2: 60 requests/s, 3,000 users, 0.2 % errors, latency p50 40 ms, p99 162 ms"),
        "{text}"
    );
    assert!(text.contains("rolled back                 0 of 2 (at most 77.64 %)  2 of 2"), "{text}");
    assert!(text.contains("by cohort                   –                         beta 2"), "{text}");
    assert_eq!(json["results"][1]["rolledBack"], 2);
    assert_eq!(json["results"][0]["secondsToRollback"], serde_json::Value::Null);
}
