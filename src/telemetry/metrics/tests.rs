//! What is exposed, by the words of the exposition.

#![cfg(test)]

use super::super::recorder::{Finished, Judged, OTHER, Slot};
use super::*;
use crate::model::{Failure, FallbackCause, InjectedKind, Outcome, Reason};
use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::process::{Command, Stdio};

struct Story {
    recorder: Arc<Registry>,
    health: Arc<Health>,
    metrics: Metrics,
}

fn story(max_series: u32) -> Story {
    let (recorder, health) = (Registry::new(2, max_series), Health::new());
    let metrics = Metrics::new(Arc::clone(&recorder), Arc::clone(&health), None).unwrap();
    Story { recorder, health, metrics }
}

impl Story {
    fn text(&self) -> String {
        String::from_utf8(self.metrics.text().unwrap()).unwrap()
    }

    /// The value of a series of our own, by its exact name and labels.
    fn value(&self, series: &str) -> Option<f64> {
        let text = self.text();
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series))?;
        line.rsplit_once(' ').unwrap().1.parse().ok()
    }

    fn request(&self, slot: Slot, status: u16, latency_us: u64) {
        let shard = self.recorder.shard(usize::from(status) % 2);
        let outcome = Outcome::of_status(status);
        let (reason, user, judged) = (Reason::Split, Some(latency_us), Judged::default());
        let overhead_us = Some(30);
        shard.begin(slot);
        shard.finish(slot, &Finished { reason, status, outcome, latency_us, overhead_us, user, judged });
    }
}

fn upstream_fact(service: &str, variant: &str) -> UpstreamFact {
    UpstreamFact {
        service: service.into(),
        variant: variant.into(),
        ejections: vec![("consecutive_errors", 3)],
        checks: vec![("passed", 5)],
        in_use: vec![("connections", 7)],
    }
}

fn series(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0).collect()
}

#[test]
fn the_text_of_a_few_requests_is_known_line_by_line() {
    let story = story(10_000);
    let slot = story.recorder.slot("shop", "beta", "canary", Reason::Split);
    story.health.reload_applied(1_700_000_000);
    story.health.reload_rejected("line 3");
    story.metrics.state(Facts {
        rollouts: Vec::new(),
        leftovers: Vec::new(),
        state_durable: None,
        notifiers: Vec::new(),
        probes: Vec::new(),
        spans: Vec::new(),
        rev: "3f9c21".into(),
        weights: HashMap::from([(slot, WeightFact { configured: 0.05, in_force: 0.1 })]),
        endpoints: vec![EndpointFact { service: "shop".into(), variant: "canary".into(), state: "healthy", count: 2 }],
        upstreams: vec![upstream_fact("shop", "canary")],
        certificates: vec![CertificateFact {
            listener: "public".into(),
            name: "shop.example.com".into(),
            expires_unix_seconds: 1_800_000_000,
        }],
    });
    for latency_us in [5_000, 6_000, 20_000_000] {
        story.request(slot, 200, latency_us);
    }
    story.request(slot, 503, 800_000);
    let shard = story.recorder.shard(0);
    shard.fallback(slot, FallbackCause::ConnectTimeout, Failure::Connect, Some(1));
    shard.retried(slot, crate::model::RetryResult::NoBudget);
    shard.fault_injected(slot, InjectedKind::Delay);
    shard.begin(slot);
    shard.unrouted(404);
    shard.downstream_opened();
    shard.downstream_opened();
    shard.downstream_closed();
    shard.upstream_opened();
    shard.panicked();

    let text = story.text();
    let own: Vec<_> = text.lines().filter(|line| line.starts_with("ringway_")).collect();
    let expected = include_str!("expected.txt").replace("VERSION", env!("CARGO_PKG_VERSION"));
    assert_eq!(own.join("\n"), expected.trim_end(), "\n{}", own.join("\n"));
}

#[test]
fn series_exist_at_zero_from_the_start_and_every_family_has_one() {
    let story = story(10_000);
    let slot = story.recorder.slot("shop", "everyone", "stable", Reason::Only);
    let (configured, in_force) = (1.0, 1.0);
    story.metrics.state(Facts {
        state_durable: None,
        rollouts: Vec::new(),
        leftovers: Vec::new(),
        notifiers: Vec::new(),
        probes: Vec::new(),
        spans: Vec::new(),
        rev: "1".into(),
        weights: HashMap::from([(slot, WeightFact { configured, in_force })]),
        endpoints: vec![EndpointFact { service: "s".into(), variant: "v".into(), state: "healthy", count: 0 }],
        upstreams: vec![upstream_fact("s", "v")],
        certificates: vec![CertificateFact { listener: "l".into(), name: "n".into(), expires_unix_seconds: 0 }],
    });
    for code in [200, 500, 502, 503, 504] {
        let labels = format!(r#"service="shop",cohort="everyone",variant="stable",reason="only",code="{code}""#);
        assert_eq!(story.value(&format!("ringway_http_requests_total{{{labels}}}")), Some(0.0), "{code}");
    }
    let text = story.text();
    for family in RECORDED {
        assert!(text.contains(&format!("# TYPE {} ", family.name)), "{} is missing", family.name);
    }
}

#[test]
fn no_series_appears_twice() {
    let story = story(1_000);
    for number in 0..100 {
        let slot = story.recorder.slot("shop", "everyone", &number.to_string(), Reason::Split);
        story.request(slot, 200, 10);
    }
    let text = story.text();
    let all = series(&text);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn a_flood_of_names_and_codes_stays_within_the_cap_and_loses_no_count() {
    let story = story(2_000);
    let first = story.recorder.slot("first", "everyone", "stable", Reason::Split);
    story.request(first, 200, 10);
    story.text();
    for number in 0..300 {
        let slot = story.recorder.slot("shop", "everyone", &number.to_string(), Reason::Split);
        story.request(slot, 200, 10);
    }
    for code in 100..=999 {
        story.request(first, code, 10);
    }
    let text = story.text();
    assert!(series(&text).len() <= 2_000, "{}", series(&text).len());
    assert!(text.contains(r#"service="first""#), "who came first stays");
    let requests = text.lines().filter(|line| line.starts_with("ringway_http_requests_total"));
    let sum: f64 = requests.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert_eq!(sum, 1.0 + 300.0 + 900.0);
    let folded = story.value("ringway_series_folded_total").unwrap();
    assert!(folded > 200.0 && folded < 300.0, "{folded}");
    let other = format!(
        r#"ringway_http_requests_total{{service="{OTHER}",cohort="{OTHER}",variant="{OTHER}",reason="split",code="200"}}"#
    );
    assert_eq!(story.value(&other), Some(folded));
    assert_eq!(series(&story.text()).len(), series(&text).len(), "and stays the same");
}

#[test]
fn what_is_folded_never_falls_when_its_names_go() {
    let story = story(600);
    for number in 0..100 {
        let slot = story.recorder.slot("shop", "everyone", &number.to_string(), Reason::Split);
        story.request(slot, 200, 10);
    }
    let folded = || {
        let text = story.text();
        let mut lines = text.lines().filter(|line| line.starts_with("ringway_http_requests_total"));
        let line = lines.find(|line| line.contains(OTHER) && line.contains(r#"code="200""#)).unwrap().to_owned();
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    let before = folded();
    story.recorder.keep(&[]);
    story.recorder.sweep(1_000_000);
    assert_eq!(folded(), before);
    assert!(before > 50.0);
}

/// Skipped only where there is no promtool and nobody insists (`RINGWAY_REQUIRE_TOOLS`).
#[test]
fn promtool_finds_nothing_to_complain_about() {
    let story = story(10_000);
    let slot = story.recorder.slot("shop", "quo\"te\\\n", "canary", Reason::Split);
    story.request(slot, 200, 10);
    let check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut check) = check else {
        assert!(std::env::var_os("RINGWAY_REQUIRE_TOOLS").is_none(), "promtool is missing");
        return;
    };
    check.stdin.take().unwrap().write_all(&story.metrics.text().unwrap()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
