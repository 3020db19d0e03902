//! Windows of a recorder that is told stories.

#![cfg(test)]

use super::super::recorder::{Finished, Judged, Shard};
use super::pack::{pack, unpack};
use super::*;
use crate::model::{Failure, FallbackCause, LATENCY_MAX_US, Reason};
use proptest::prelude::*;

struct Story {
    windows: Windows,
    shard: Arc<Shard>,
    slot: Slot,
}

fn story() -> Story {
    let registry = Registry::new(1, 10_000);
    let slot = registry.slot("shop", "everyone", "canary", Reason::Split);
    Story { shard: registry.shard(0), windows: Windows::new(registry), slot }
}

impl Story {
    fn requests(&self, count: u64, outcome: Outcome, latency_us: u64) -> &Story {
        let reason = Reason::Split;
        for _ in 0..count {
            self.shard.begin(self.slot);
            self.shard.finish(
                self.slot,
                &Finished {
                    reason,
                    status: 200,
                    outcome,
                    latency_us,
                    overhead_us: None,
                    user: None,
                    judged: Judged::default(),
                },
            );
        }
        self
    }

    fn stats(&self, last_seconds: u64) -> WindowStats {
        self.windows.stats(self.slot, last_seconds)
    }
}

#[test]
fn a_window_holds_its_seconds_and_no_others() {
    let mut story = story();
    story.windows.tick(100);
    story.requests(10, Outcome::Success, 1_000).requests(2, Outcome::Error, 50_000);
    story.windows.tick(101);
    story.requests(3, Outcome::Cancelled, 9_000_000);
    story.shard.fallback(story.slot, FallbackCause::Connect, Failure::Connect, None);
    story.windows.tick(102);

    let last = story.stats(1);
    assert_eq!((last.requests, last.outcomes, last.fallbacks), (3, [0, 0, 0, 3, 0], 1));
    assert_eq!((last.rps, last.latency), (3.0, None));
    let both = story.stats(2);
    assert_eq!((both.requests, both.outcomes, both.rps), (15, [10, 0, 2, 3, 0], 7.5));
    assert_eq!(story.stats(60).rps, 5.0, "three seconds are known");
    let slow = both.latency.unwrap();
    assert!(slow.p50.abs_diff(1_000) <= 10 && slow.p99.abs_diff(50_000) <= 500, "{slow:?}");
    assert!(both.success_latency.unwrap().p99.abs_diff(1_000) <= 10);
}

#[test]
fn what_is_older_than_fifteen_minutes_is_forgotten() {
    let mut story = story();
    story.requests(5, Outcome::Success, 10);
    story.windows.tick(1);
    for second in 2..=WINDOW_SECONDS {
        story.windows.tick(second);
    }
    assert_eq!(story.stats(WINDOW_SECONDS).requests, 5);
    story.windows.tick(WINDOW_SECONDS + 1);
    assert_eq!(story.stats(WINDOW_SECONDS).requests, 0);
    assert_eq!(story.stats(3_600).requests, 5, "spans of 10 seconds know of it");
    (WINDOW_SECONDS + 2..=WINDOW_SECONDS + 91).for_each(|second| story.windows.tick(second));
    assert_eq!((story.windows.tiers[0].spans.len(), story.windows.tiers[0].bytes), (0, 0));
}

#[test]
fn a_clock_that_stands_still_loses_nothing_and_one_that_jumps_ends_the_window() {
    let mut story = story();
    story.windows.tick(10);
    story.requests(1, Outcome::Success, 10);
    story.windows.tick(10);
    story.windows.tick(9);
    assert_eq!(story.stats(10).requests, 0);
    story.windows.tick(11);
    assert_eq!(story.stats(10).requests, 1);
    story.windows.tick(10_000);
    assert_eq!(story.stats(900).requests, 0);
    assert_eq!(story.windows.covered_seconds(900), 900);
}

#[test]
fn the_memory_is_bounded() {
    let mut story = story();
    story.windows.tiers[0].bytes = WINDOW_BYTES_MAX - 100;
    for second in 1..=5 {
        story.requests(1, Outcome::Success, 10);
        story.windows.tick(second);
    }
    assert!(story.windows.tiers[0].spans.len() <= 1);
    assert!(story.windows.covered_seconds(900) <= 1);
}

proptest! {
    #[test]
    fn packed_latencies_come_out_as_they_went_in(
        success in proptest::collection::btree_map(0usize..2560, 1u64..1 << 40, 0..50),
        others in proptest::collection::btree_map(0usize..2560, 1u64..300, 0..50),
    ) {
        let packed = pack(success.clone().into_iter(), others.clone().into_iter());
        let (mut out_success, mut out_others) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
        unpack(&packed, |bucket, is_success, count| {
            if is_success { &mut out_success } else { &mut out_others }.insert(bucket, count);
        });
        prop_assert_eq!((success, others), (out_success, out_others));
    }

    #[test]
    fn quantiles_are_within_one_percent(mut latencies in proptest::collection::vec(1u64..=LATENCY_MAX_US, 1..200)) {
        let mut story = story();
        for latency in &latencies {
            story.requests(1, Outcome::Success, *latency);
        }
        story.windows.tick(1);
        latencies.sort_unstable();
        let exact = |quantile: f64| latencies[(quantile * latencies.len() as f64).ceil() as usize - 1];
        let seen = story.stats(1).latency.unwrap();
        for (quantile, value) in [(0.5, seen.p50), (0.95, seen.p95), (0.99, seen.p99)] {
            let exact = exact(quantile);
            prop_assert!(value.abs_diff(exact) as f64 <= 0.01 * exact as f64, "{quantile}: {value} for {exact}");
        }
    }
}

#[test]
fn long_windows_know_what_was_and_what_is() {
    let mut story = story();
    for second in 1..=REACH_SECONDS + 100 {
        story.requests(1, Outcome::Success, 1_000);
        if second % 100 == 0 {
            story.requests(1, Outcome::Error, 90_000);
        }
        story.windows.tick(second);
    }
    for (window, requests) in [(60, 61), (900, 909), (3_600, 3_636)] {
        assert_eq!(story.stats(window).requests, requests, "{window}");
    }
    // the last 40 seconds are in shorter spans, and of the first minute there is more than was asked for
    let all = story.stats(REACH_SECONDS).requests;
    assert!((21_816..=21_816 + 61).contains(&all), "{all}");
    let whole = story.windows.whole(&[story.slot], 900);
    assert_eq!((whole.requests, whole.errors, whole.latencies.total()), (909, 9, 909));
    assert_eq!(whole.codes.into_iter().collect::<Vec<_>>(), [(200, 909)]);
    assert_eq!(whole.latencies.quantiles([0.5]).map(|[p50]| p50.abs_diff(1_000) <= 10), Some(true));
}

#[test]
fn a_series_has_each_request_once_in_the_step_of_its_second() {
    let mut story = story();
    for second in 1..=1_000 {
        story.requests(second % 3, Outcome::Success, 100 * second);
        story.windows.tick(second);
    }
    let cut = story.windows.cut(900, 300);
    assert_eq!((cut.step, cut.to, cut.from), (3, 999, 99));
    let points = story.windows.series(&[story.slot], &cut);
    assert_eq!(points.len(), 300);
    assert!(points.iter().all(|point| point.requests == 3 && point.errors == 0));
    assert!(points[299].latency.unwrap().p99.abs_diff(99_800) <= 998);
    let cut = story.windows.cut(3_600, 300);
    assert_eq!((cut.step, cut.to), (20, 1_000));
    let points = story.windows.series(&[story.slot], &cut);
    assert_eq!(points.iter().map(|point| point.requests).sum::<u64>(), 999 + 1);
    assert_eq!(story.windows.cut(REACH_SECONDS, 300).step, 120);
}

/// What the page asks for when it looks back as far as it can. Prints how long that takes.
#[test]
#[ignore = "takes a minute; run it with --ignored --nocapture to see the figure"]
fn six_hours_of_ten_cohorts() {
    let registry = Registry::new(1, 10_000);
    let names = (0..10).flat_map(|cohort| ["stable", "canary"].map(|variant| (format!("cohort-{cohort}"), variant)));
    let slots: Vec<Slot> =
        names.map(|(cohort, variant)| registry.slot("shop", &cohort, variant, Reason::Split)).collect();
    let (shard, mut windows) = (registry.shard(0), Windows::new(Arc::clone(&registry)));
    for second in 1..=REACH_SECONDS {
        for (at, slot) in slots.iter().enumerate() {
            let latency_us = 1_000 + (second * 7_919 + at as u64 * 104_729) % 200_000;
            let (outcome, reason) = (Outcome::Success, Reason::Split);
            shard.begin(*slot);
            shard.finish(
                *slot,
                &Finished {
                    reason,
                    status: 200,
                    outcome,
                    latency_us,
                    overhead_us: None,
                    user: None,
                    judged: Judged::default(),
                },
            );
        }
        windows.tick(second);
    }
    let begun = std::time::Instant::now();
    let cut = windows.cut(REACH_SECONDS, 300);
    let requests: u64 = slots.iter().flat_map(|slot| windows.series(&[*slot], &cut)).map(|point| point.requests).sum();
    println!("6 h of 10 cohorts and 2 variants: {:?}", begun.elapsed());
    println!("bytes: {:?}", windows.tiers.iter().map(|tier| tier.bytes).collect::<Vec<_>>());
    assert_eq!(requests, REACH_SECONDS * 20);
}
