//! A machine that is busy, or a database that both versions share: what the watch over stable makes of it.

#![cfg(test)]

use super::*;

/// A service that answers within a millisecond or two, and what the machine does to it.
fn on_a_machine(load: Option<Load>) -> impl Fn(u64) -> World {
    move |_| World { requests_per_s: 100.0, users: 5_000, median_us: 1_000.0, spread: 0.4, load, ..World::default() }
}

/// Longer than an alarm must last until a person is asked.
fn steps() -> Steps {
    Steps(vec![(0.1, 200), (0.5, 200)])
}

fn runs(load: Option<Load>, runs: u64) -> Vec<Run> {
    let world = on_a_machine(load);
    (0..runs).map(|seed| run(&world(seed), &steps(), &Policy::Judge(JudgeRules::default()), seed)).collect()
}

/// Five in ten seconds are slow for everybody, by 1 to 3 ms: many times what the service takes, and nobody is hurt.
#[test]
fn a_busy_machine_freezes_no_release_of_a_fast_service() {
    let busy = Load { from_s: 0, seconds: 0.5, by_us: 2_000 };
    for run in runs(Some(busy), 12) {
        assert_eq!((run.end, run.seconds), (End::Promoted, 400), "nothing was frozen meanwhile");
    }
}

/// One second in 40 in which the machine stands still, for a quarter of one: late, for all, and over at once.
#[test]
fn a_machine_that_stops_for_a_second_freezes_none_either() {
    for run in runs(Some(Load { from_s: 0, seconds: 0.025, by_us: 250_000 }), 12) {
        assert_eq!(run.end, End::Promoted);
    }
}

/// The new version brings down what both versions share: frozen within the step, and a person is asked.
#[test]
fn what_hurts_both_versions_is_still_noticed() {
    for by_us in [20_000, 200_000] {
        for run in runs(Some(Load { from_s: 30, seconds: 1.0, by_us }), 6) {
            assert_eq!(run.end, End::Paused(Some(Gate::Collateral)), "{by_us}");
            assert!(run.seconds < 30 + 300 + 15, "{by_us}: {}", run.seconds);
        }
    }
}
