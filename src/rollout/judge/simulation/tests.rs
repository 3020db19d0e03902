//! What is promised of the judge, measured. The long forms make the tables of `docs/statistics.md`; the short ones run
//! with all other tests and fail when a change makes it clearly worse.

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
    for (name, base, fault) in [
        ("half fail", 0.002, Fault { errors: 0.5, ..Fault::default() }),
        ("+5 points", 0.002, Fault { errors: 0.05, ..Fault::default() }),
        ("0.2 -> 1", 0.002, Fault { errors: 0.008, ..Fault::default() }),
        ("2% +500ms", 0.002, Fault { slow_share: 0.02, slow_by_us: 500_000, ..Fault::default() }),
        ("1.3x latency", 0.002, Fault { slower_by: 0.3, ..Fault::default() }),
        ("+5 points at 2%", 0.02, Fault { errors: 0.05, ..Fault::default() }),
    ] {
        for steps in [Steps(vec![(0.01, 600)]), Steps(vec![(0.01, 600), (0.05, 600), (0.25, 600), (0.5, 600)])] {
            let world = |_| World { error_rate: base, fault, ..World::default() };
            print(&format!("{name}, {} steps", steps.0.len()), &Summary::of(world, &steps, &judge(), 0, runs));
            let policy = Policy::Judge(JudgeRules { count: Unit::Requests, ..JudgeRules::default() });
            print(&format!("{name}, {} steps, requests", steps.0.len()), &Summary::of(world, &steps, &policy, 0, runs));
        }
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
        for bad_max in [0.005, 0.0075, 0.01, 0.02, 0.04, 0.1, 0.25] {
            for p99_max_us in [200_000, 300_000, 500_000] {
                for failures in [1, 2, 3, 5, 9] {
                    let success_min = 1.0 - bad_max;
                    let p99_max_us = Some(p99_max_us);
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
