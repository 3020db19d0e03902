//! A real Prometheus scrapes the telemetry door, and PromQL gives back what was recorded.
//!
//! Needs the program `prometheus` (Debian package of the same name; `tests/run.sh` installs it). Without it the tests
//! skip, loudly; with `RINGWAY_REQUIRE_TOOLS=1` a missing program is a failure.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod proxy;
mod server;

use ringway::model::{Failure, FallbackCause, Outcome, Reason};
use ringway::telemetry::door::{self, Door};
use ringway::telemetry::health::Health;
use ringway::telemetry::metrics::{Facts, Metrics, WeightFact};
use ringway::telemetry::{Finished, Judged, Registry, Shard, Slot};
use server::Prometheus;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// A telemetry door in this process, and the shard of the only worker behind it.
struct Story {
    registry: Arc<Registry>,
    shard: Arc<Shard>,
    metrics: Arc<Metrics>,
    address: SocketAddr,
}

async fn story() -> Story {
    let (registry, health) = (Registry::new(1, 10_000), Health::new());
    health.start();
    health.reload_applied(1);
    let metrics = Arc::new(Metrics::new(Arc::clone(&registry), Arc::clone(&health), None).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(door::serve(listener, Door::new(health, Arc::clone(&metrics)), std::future::pending()));
    Story { shard: registry.shard(0), registry, metrics, address }
}

impl Story {
    fn slot(&self, cohort: &str, variant: &str) -> Slot {
        self.registry.slot("shop", cohort, variant, Reason::Split)
    }

    fn requests(&self, slot: Slot, count: u64, status: u16, latency_ms: u64) {
        for user in 0..count {
            self.shard.begin(slot);
            let finished = Finished {
                reason: Reason::Split,
                status,
                outcome: Outcome::of_status(status),
                latency_us: latency_ms * 1_000,
                overhead_us: Some(30),
                user: Some(user.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                judged: Judged::default(),
            };
            self.shard.finish(slot, &finished);
        }
    }
}

/// The queries of docs/guides/first-split.md; the second test holds the page to them.
const ERROR_RATIO: &str = "sum by (cohort, variant) (rate(ringway_http_request_duration_seconds_count{outcome=\"error\"}[5m]))\n  \
                           / sum by (cohort, variant) (rate(ringway_http_request_duration_seconds_count[5m]))";
const P99: &str =
    "histogram_quantile(0.99, sum by (cohort, variant, le) (rate(ringway_http_request_duration_seconds_bucket[5m])))";
const SHARE: &str = "sum by (cohort, variant) (rate(ringway_http_request_duration_seconds_count[5m]))\n  \
                     / on (cohort) group_left sum by (cohort) (rate(ringway_http_request_duration_seconds_count[5m]))";

#[tokio::test]
async fn prometheus_gives_back_what_was_recorded() {
    let story = story().await;
    let (stable, canary) = (story.slot("beta", "stable"), story.slot("beta", "canary"));
    let (everyone, _) = (story.slot("everyone", "stable"), story.slot("everyone", "canary"));
    let weight = |ratio| WeightFact { configured: ratio, in_force: ratio };
    let weights = HashMap::from([(stable, weight(0.9)), (canary, weight(0.1))]);
    story.metrics.state(Facts { rev: "3f9c21".into(), weights, ..Facts::default() });

    let Some(prometheus) = Prometheus::start(story.address).await else { return };
    // Series are at 0 from the start, so that the first request is an increase: without this sample it would not be.
    let zero = "ringway_http_request_duration_seconds_count{cohort=\"beta\",variant=\"canary\",outcome=\"error\"}";
    prometheus.expect(zero, "", 0.0).await;

    story.requests(stable, 900, 200, 20);
    story.requests(canary, 98, 200, 20);
    story.requests(canary, 2, 503, 2_000);
    story.requests(everyone, 1_000, 200, 8);
    story.requests(everyone, 10, 404, 8);
    story.shard.fallback(canary, FallbackCause::Connect, Failure::Connect, Some(7));

    // 2 of 100; a 404 is nobody's fault upstream
    prometheus.expect(ERROR_RATIO, "beta/canary", 0.02).await;
    prometheus.expect(ERROR_RATIO, "beta/stable", 0.0).await;
    prometheus.expect(ERROR_RATIO, "everyone/stable", 0.0).await;
    // the 99th of 100 lies in the middle of the two slow ones, which are between 1 s and 2.5 s
    prometheus.expect(P99, "beta/canary", 1.0 + 1.5 * 0.5).await;
    prometheus.expect(P99, "beta/stable", 0.01 + 0.015 * 0.99).await;
    prometheus.expect(P99, "everyone/stable", 0.005 + 0.005 * 0.99).await;
    prometheus.expect(SHARE, "beta/canary", 0.1).await;
    prometheus.expect("ringway_variant_weight_ratio", "beta/canary", 0.1).await;
    prometheus.expect("ringway_fallback_total{cause=\"connect\"}", "beta/canary", 1.0).await;
    prometheus.expect("ringway_http_requests_in_flight", "beta/canary", 0.0).await;
    prometheus.expect("ringway_config_last_reload_successful", "", 1.0).await;
    prometheus.expect("ringway_config_info{rev=\"3f9c21\"}", "", 1.0).await;
    prometheus.expect("up", "", 1.0).await;
}

/// Native buckets are 4.4 % wide, where the classic ones only say "between 1 s and 2.5 s".
#[tokio::test]
async fn a_scraper_that_asks_for_native_histograms_gets_them() {
    let story = story().await;
    let (stable, canary) = (story.slot("beta", "stable"), story.slot("beta", "canary"));
    let arguments = ["--enable-feature=native-histograms"];
    let Some(prometheus) = Prometheus::start_with(story.address, &arguments).await else { return };
    let count = "histogram_count(sum by (cohort, variant) (ringway_http_request_duration_seconds))";
    prometheus.expect(count, "beta/canary", 0.0).await;

    story.requests(stable, 900, 200, 20);
    story.requests(canary, 98, 200, 20);
    story.requests(canary, 2, 503, 2_000);
    prometheus.expect(count, "beta/canary", 100.0).await;
    prometheus.expect(count, "beta/stable", 900.0).await;
    let sum = "histogram_sum(sum by (cohort, variant) (ringway_http_request_duration_seconds))";
    prometheus.expect(sum, "beta/canary", 98.0 * 0.02 + 2.0 * 2.0).await;
    let quantile =
        |q| format!("histogram_quantile({q}, sum by (cohort, variant) (ringway_http_request_duration_seconds))");
    for (q, variant, latency) in [(0.5, "beta/canary", 0.02), (0.99, "beta/canary", 2.0), (0.99, "beta/stable", 0.02)] {
        let found = prometheus.value(&quantile(q), variant).await;
        assert!((found / latency - 1.0).abs() < 0.045, "{q} of {variant}: {found} s, not {latency} s");
    }
    // all else comes the same way
    prometheus.expect("ringway_http_requests_in_flight", "beta/canary", 0.0).await;
    prometheus.expect("ringway_config_last_reload_successful", "", 1.0).await;
    prometheus.expect("count(process_start_time_seconds > 1)", "", 1.0).await;
}

#[test]
fn the_guide_shows_the_queries_that_are_tested() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guides/first-split.md")).unwrap();
    for query in [ERROR_RATIO, P99, SHARE] {
        assert!(guide.contains(query), "docs/guides/first-split.md lacks:\n{query}");
    }
}
