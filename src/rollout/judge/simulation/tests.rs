//! What is promised of the judge, measured. The long forms make the tables of `docs/statistics.md`; the short ones run
//! with all other tests and fail when a change makes it clearly worse.

use super::*;

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

#[test]
#[ignore]
fn false_alarms_in_full() {
    let runs = runs(10_000);
    for (name, count) in
        [("users", crate::rollout::judge::Unit::Users), ("requests", crate::rollout::judge::Unit::Requests)]
    {
        let policy = Policy::Judge(JudgeRules { count, ..JudgeRules::default() });
        print(name, &Summary::of(healthy, &four_steps(), &policy, 0, runs));
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
        }
    }
}
