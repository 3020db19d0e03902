//! What is promised of the judge, measured. The long forms make the tables of `docs/statistics.md`; the short ones run
//! with all other tests and fail when a change makes it clearly worse.

#![cfg(test)]

use super::*;
use crate::rollout::judge::Unit;

/// Runs of a long form: `RINGWAY_RUNS`, or this.
fn runs(most: u64) -> u64 {
    std::env::var("RINGWAY_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(most)
}

fn judge() -> Policy {
    Policy::Judge(JudgeRules::default())
}

/// A healthy release of some service: error rates from 0.01 % to 5 %, small and large, with days, outages, clients that
/// are broken and clients that are slow.
fn healthy(seed: u64) -> World {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let between = |rng: &mut fastrand::Rng, low: f64, high: f64| low * (high / low).powf(rng.f64());
    let outage = Outage { from_s: rng.u64(..400), for_s: rng.u64(20..120), error_rate: between(&mut rng, 0.02, 0.8) };
    World {
        requests_per_s: between(&mut rng, 10.0, 500.0),
        users: between(&mut rng, 500.0, 20_000.0) as u32,
        error_rate: between(&mut rng, 1e-4, 0.05),
        swing: 0.7 * rng.f64(),
        swing_s: between(&mut rng, 300.0, 7_200.0),
        outage: (rng.f64() < 0.3).then_some(outage),
        broken_users: if rng.bool() { 0.002 } else { 0.0 },
        retry_s: between(&mut rng, 1.0, 30.0),
        slow_users: if rng.bool() { 0.005 } else { 0.0 },
        median_us: between(&mut rng, 2_000.0, 400_000.0),
        spread: 0.3 + rng.f64(),
        outcomes: Vec::new(),
        load: None,
        fault: Fault::default(),
    }
}

fn four_steps() -> Steps {
    Steps(vec![(0.01, 120), (0.05, 120), (0.25, 120), (0.5, 120)])
}

fn print(name: &str, summary: &Summary) {
    let of = |level: f64| {
        let show = |value: Option<u64>| value.map_or("never".to_owned(), |value| value.to_string());
        let (seconds, requests) =
            (summary.quantile(level, |run| run.seconds), summary.quantile(level, |run| run.canary_requests));
        format!("{} s, {} requests", show(seconds), show(requests))
    };
    println!(
        "| {name} | {} | {:.2} % (at most {:.2} %) | {} | {} | {:.1} | {} | {} | {:?} |",
        summary.runs,
        summary.rate() * 100.0,
        summary.rate_at_most() * 100.0,
        of(0.5),
        of(0.95),
        summary.harmed_mean(),
        summary.paused,
        summary.held,
        summary.gates,
    );
}

/// Without the watch over stable, which pauses and so would end runs before their time.
fn without_collateral() -> JudgeRules {
    JudgeRules { collateral: None, ..JudgeRules::default() }
}

#[test]
#[ignore]
fn false_alarms_in_full() {
    let runs = runs(10_000);
    let policy = Policy::Judge(without_collateral());
    print("healthy releases", &Summary::of(healthy, &four_steps(), &policy, 0, runs));
}

#[test]
#[ignore]
fn false_pauses_in_full() {
    let runs = runs(2_000);
    print("healthy, as they are", &Summary::of(healthy, &four_steps(), &judge(), 0, runs));
    let calm = |seed| World { outage: None, ..healthy(seed) };
    print("healthy, no outage", &Summary::of(calm, &four_steps(), &judge(), 0, runs));
    let even = |seed| World { swing: 0.0, ..calm(seed) };
    print("healthy, no outage, no swing", &Summary::of(even, &four_steps(), &judge(), 0, runs));
}

#[test]
#[ignore]
fn false_alarms_by_unit_in_full() {
    let runs = runs(2_000);
    for (name, count) in [("users", Unit::Users), ("requests", Unit::Requests)] {
        let policy = Policy::Judge(JudgeRules { count, ..without_collateral() });
        let world = |seed| World { broken_users: 0.002, slow_users: 0.005, ..healthy(seed) };
        print(name, &Summary::of(world, &four_steps(), &policy, 0, runs));
    }
}

#[test]
#[ignore]
fn power_in_full() {
    let runs = runs(1_000);
    let slower = ("all answers take 1.3 times as long", Fault { slower_by: 0.3, ..Fault::default() });
    for (name, fault) in FAULTS.into_iter().take(4).chain([slower]) {
        for (users, count) in [(20_000, Unit::Users), (100_000, Unit::Users), (20_000, Unit::Requests)] {
            let policy = Policy::Judge(JudgeRules { count, ..JudgeRules::default() });
            let world = |_| World { fault, users, ..World::default() };
            let summary = Summary::of(world, &five_minutes_each(), &policy, 0, runs);
            print(&format!("{name}, {users} users, by {count:?}"), &summary);
        }
    }
}

/// A healthy service of 0.5 to 5 requests a second, and ten minutes for each of three steps.
fn quiet(seed: u64) -> World {
    let rate = 0.5 * 10f64.powf(fastrand::Rng::with_seed(seed ^ 0x0a17).f64());
    World { requests_per_s: rate, users: 500, ..healthy(seed) }
}

fn ten_minutes_each() -> Steps {
    Steps(vec![(0.1, 600), (0.3, 600), (0.5, 600)])
}

/// Services that have hardly a second with requests to both versions.
#[test]
#[ignore]
fn quiet_services_in_full() {
    let policy = Policy::Judge(without_collateral());
    print("quiet, healthy", &Summary::of(quiet, &ten_minutes_each(), &policy, 0, runs(5_000)));
    let (_, half_fail) = FAULTS[0];
    let calm = |seed| World { fault: half_fail, outage: None, broken_users: 0.0, ..quiet(seed) };
    print("quiet, half fail", &Summary::of(calm, &ten_minutes_each(), &policy, 0, runs(5_000) / 10));
}

#[test]
fn a_quiet_service_is_judged_as_well() {
    let policy = Policy::Judge(without_collateral());
    let healthy = Summary::of(quiet, &ten_minutes_each(), &policy, 0, 60);
    assert!(healthy.rate() <= 0.05, "{:.3}", healthy.rate());
    let (_, half_fail) = FAULTS[0];
    let world = |_| World { requests_per_s: 1.0, users: 500, fault: half_fail, ..World::default() };
    let harmed = Summary::of(world, &ten_minutes_each(), &policy, 0, 40);
    let median = harmed.quantile(0.5, |run| run.seconds);
    assert!(harmed.rate() > 0.95 && median.is_some_and(|seconds| seconds < 300), "{:.2}, {median:?}", harmed.rate());
}

/// How soon a test would notice a fault that knows it beforehand: one alternative, the right one, and all of the evidence
/// on the first second. No test that may be looked at all the time does clearly better (Wald, 1945).
#[test]
#[ignore]
fn known_beforehand_in_full() {
    for (name, fault_rate) in [("+5 points", 0.052), ("0.2 % to 1 %", 0.01)] {
        let ratio = fault_rate / 0.002;
        let ln_ratio =
            |is_bad: bool, of: f64, to: f64| if is_bad { (to / of).ln() } else { ((1.0 - to) / (1.0 - of)).ln() };
        let requests = |seed: u64| {
            let (mut rng, mut ln, mut requests, mut bad) = (fastrand::Rng::with_seed(seed), 0.0, 0, 0);
            while ln < 20f64.ln() || bad < 3 {
                let is_bad = rng.f64() < fault_rate;
                ln += ln_ratio(is_bad, 0.0024, fault_rate);
                (requests, bad) = (requests + 1, bad + u64::from(is_bad));
            }
            requests
        };
        let mut all: Vec<u64> = (0..runs(10_000)).map(requests).collect();
        all.sort_unstable();
        let at = |level: f64| all[(all.len() as f64 * level) as usize];
        println!("| {name} ({ratio:.0} times) | {} requests | {} requests |", at(0.5), at(0.95));
    }
}

/// The service on which rules are compared: 500 requests a second, 0.2 % errors, with what happens to healthy ones.
fn service(seed: u64, is_calm: bool, fault: Fault) -> World {
    let world = World { fault, ..World::default() };
    let healthy = healthy(seed);
    match is_calm {
        true => world,
        false => World {
            outage: healthy.outage,
            swing: healthy.swing,
            swing_s: healthy.swing_s,
            broken_users: 0.002,
            ..world
        },
    }
}

const FAULTS: [(&str, Fault); 5] = [
    ("half fail", Fault { from_s: 0, errors: 0.5, slow_share: 0.0, slow_by_us: 0, slower_by: 0.0 }),
    ("+5 points", Fault { from_s: 0, errors: 0.05, slow_share: 0.0, slow_by_us: 0, slower_by: 0.0 }),
    ("0.2 % to 1 %", Fault { from_s: 0, errors: 0.008, slow_share: 0.0, slow_by_us: 0, slower_by: 0.0 }),
    ("2 % take 500 ms more", Fault { from_s: 0, errors: 0.0, slow_share: 0.02, slow_by_us: 500_000, slower_by: 0.0 }),
    ("half fail after 7 min", Fault { from_s: 420, errors: 0.5, slow_share: 0.0, slow_by_us: 0, slower_by: 0.0 }),
];

fn five_minutes_each() -> Steps {
    Steps(vec![(0.01, 300), (0.05, 300), (0.25, 300), (0.5, 300)])
}

/// Rules that a careful person could have come up with for this one service.
fn candidates() -> Vec<ThresholdRule> {
    let mut rules = Vec::new();
    for every_s in [15, 60] {
        for bad_max in [0.01, 0.02, 0.05, 0.1, 0.25] {
            for failures in [1, 2, 4, 9] {
                let (success_min, p99_max_us) = (1.0 - bad_max, Some(300_000));
                rules.push(ThresholdRule {
                    every_s,
                    window_s: every_s,
                    success_min,
                    p99_max_us,
                    failures,
                    forgets: true,
                });
            }
        }
    }
    rules
}

/// The rules that take back at most 1 in 100 healthy releases.
fn tuned(is_calm: bool, runs: u64) -> Vec<ThresholdRule> {
    let is_quiet = |rule: &ThresholdRule| {
        let (policy, mut alarms) = (Policy::Threshold(*rule), 0);
        (0..runs).all(|seed| {
            let run = run(&service(seed, is_calm, Fault::default()), &five_minutes_each(), &policy, seed);
            alarms += u64::from(matches!(run.end, End::RolledBack(_)));
            alarms <= runs / 100
        })
    };
    candidates().into_iter().filter(is_quiet).collect()
}

#[test]
#[ignore]
fn against_thresholds_in_full() {
    let runs = runs(100);
    let steps = five_minutes_each();
    for is_calm in [true, false] {
        let world = |fault| move |seed| service(seed, is_calm, fault);
        let mut policies = vec![
            ("judge".to_owned(), judge()),
            ("argo".to_owned(), Policy::Threshold(ThresholdRule::ARGO)),
            ("flagger".to_owned(), Policy::Threshold(ThresholdRule::FLAGGER)),
        ];
        let quiet = tuned(is_calm, runs);
        println!("calm: {is_calm}; quiet rules: {} of {}", quiet.len(), candidates().len());
        // of the quiet ones, for each fault the best by hindsight
        for (name, fault) in FAULTS {
            let harmed = |rule: &ThresholdRule| {
                let policy = Policy::Threshold(*rule);
                Summary::of(world(fault), &steps, &policy, 0, (runs / 10).max(5)).harmed
            };
            if let Some(best) = quiet.iter().min_by_key(|rule| harmed(rule)) {
                policies.push((format!("best for {name}: {best:?}"), Policy::Threshold(*best)));
            }
        }
        for (name, policy) in policies {
            print(&format!("{name}: healthy"), &Summary::of(world(Fault::default()), &steps, &policy, 0, runs));
            for (fault_name, fault) in FAULTS {
                print(&format!("{name}: {fault_name}"), &Summary::of(world(fault), &steps, &policy, 0, runs));
            }
        }
    }
}

fn runs_of(fault: Fault, steps: &Steps, runs: u64) -> Summary {
    Summary::of(|_| World { fault, ..World::default() }, steps, &judge(), 0, runs)
}

/// Small services, so that it takes seconds even without optimization.
#[test]
fn healthy_releases_are_not_taken_back() {
    let world = |seed| {
        let world = healthy(seed);
        World {
            requests_per_s: world.requests_per_s.min(40.0),
            users: world.users.min(2_000),
            broken_users: 0.002,
            ..world
        }
    };
    let steps = Steps(vec![(0.05, 40), (0.25, 40), (0.5, 40)]);
    let summary = Summary::of(world, &steps, &Policy::Judge(without_collateral()), 0, 300);
    assert!(summary.rolled_back.len() <= 3, "{summary:?}");
}

#[test]
fn what_fails_half_of_the_time_is_taken_back_within_seconds() {
    let summary = runs_of(Fault { errors: 0.5, ..Fault::default() }, &five_minutes_each(), 100);
    assert!(summary.quantile(0.95, |run| run.seconds).is_some_and(|seconds| seconds <= 5), "{summary:?}");
    assert!(summary.quantile(0.95, |run| run.canary_requests).is_some_and(|requests| requests <= 30), "{summary:?}");
}

#[test]
fn what_fails_a_little_more_is_taken_back_soon() {
    let steps = five_minutes_each();
    for (fault, seconds) in [
        (Fault { errors: 0.05, ..Fault::default() }, 30),
        (Fault { errors: 0.008, ..Fault::default() }, 300),
        (Fault { slow_share: 0.02, slow_by_us: 500_000, ..Fault::default() }, 300),
    ] {
        let summary = runs_of(fault, &steps, 15);
        assert!(
            summary.quantile(0.5, |run| run.seconds).is_some_and(|median| median <= seconds),
            "{fault:?}: {summary:?}"
        );
        assert_eq!(summary.rolled_back.len(), 15, "{fault:?}");
    }
}

#[test]
fn a_seed_tells_the_whole_story() {
    let world = World { requests_per_s: 50.0, fault: Fault { errors: 0.1, ..Fault::default() }, ..World::default() };
    let again = || run(&world, &four_steps(), &judge(), 11);
    assert_eq!(again(), again());
    assert_ne!(again(), run(&world, &four_steps(), &judge(), 12));
}

#[test]
fn thresholds_notice_late_and_take_back_the_healthy() {
    let fails =
        |_| World { requests_per_s: 50.0, fault: Fault { errors: 0.5, ..Fault::default() }, ..World::default() };
    let steps = Steps(vec![(0.1, 360)]);
    let late = Summary::of(fails, &steps, &Policy::Threshold(ThresholdRule::FLAGGER), 0, 3);
    assert_eq!(late.quantile(0.5, |run| run.seconds), Some(300));
    let near = |_| World { requests_per_s: 50.0, error_rate: 0.01, ..World::default() };
    let wrong = Summary::of(near, &Steps(vec![(0.2, 600)]), &Policy::Threshold(ThresholdRule::FLAGGER), 0, 5);
    assert!(wrong.rolled_back.len() >= 2, "{wrong:?}");
    let judged = Summary::of(near, &Steps(vec![(0.2, 600)]), &judge(), 0, 5);
    assert!(judged.rolled_back.is_empty(), "{judged:?}");
}
