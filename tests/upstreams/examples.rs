//! The examples of rollouts in `config/`, each run by the real program from its first share to its last.

use std::path::Path;

use crate::binary::Binary;
use crate::rollouts::Release;
use crate::service::Service;

/// Each with its service, the cohort and the share of its first step (none when it begins with an approval), and what everyone
/// has of the new version in the end.
type Example = (&'static str, &'static str, Option<(&'static str, f64)>, f64);

const EXAMPLES: [Example; 6] = [
    ("rollout-canary.yaml", "shop", Some(("everyone", 0.01)), 100.0),
    ("rollout-rings.yaml", "shop", Some(("staff", 50.0)), 98.0),
    ("rollout-blue-green.yaml", "shop", None, 100.0),
    ("rollout-versions-by-header.yaml", "api", Some(("everyone", 1.0)), 100.0),
    ("rollout-flag.yaml", "shop", Some(("testers", 90.0)), 90.0),
    ("rollout-gates.yaml", "shop", Some(("partners", 50.0)), 100.0),
];

/// Holds, approvals, and more steps than any example has.
const TURNS_MAX: usize = 40;

/// The example with services of the test, ports of its own, and windows that are open.
fn example(name: &str, old: &Service, new: &Service) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap();
    let text = text.replace("127.0.0.1:8080", "127.0.0.1:0");
    let text =
        text.replace("localhost:3001", &new.address.to_string()).replace("127.0.0.1:3001", &old.address.to_string());
    let text = text.replace("127.0.0.1:3002", &new.address.to_string());
    let text = text.replace("mon-thu 01:00-05:00", "00:00-24:00").replace("mon-thu 09:00-15:00", "00:00-24:00");
    let text = text.replace(", freezes: [2026-12-18/2027-01-03]", "");
    text + "admin: { address: 'unix:admin.sock' }\ntelemetry: { address: 127.0.0.1:0 }\n"
}

fn share(status: &serde_json::Value, cohort: &str, to: &str) -> f64 {
    let cohorts = status["cohorts"].as_array().unwrap();
    let found = cohorts.iter().find(|known| known["name"] == cohort).unwrap();
    let variant = found["variants"].as_array().unwrap().iter().find(|variant| variant["name"] == to).unwrap();
    (variant["configuredShare"].as_f64().unwrap() * 1e8).round() / 1e6
}

#[test]
fn every_example_of_a_rollout_runs_to_its_end() {
    for (name, service, first, last) in EXAMPLES {
        let (stable, canary) = (Service::named("old"), Service::named("new"));
        let dir = tempfile::tempdir().unwrap();
        for file in ["beta.txt", "countries.csv"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(file);
            std::fs::copy(from, dir.path().join(file)).unwrap();
        }
        let binary = Binary::start_in(dir, &example(name, &stable, &canary));
        let release = Release { stable, canary, binary };
        let status = || {
            let text = release.done(&["status", service, "-o", "json"]);
            serde_json::from_str::<serde_json::Value>(&text).unwrap()["services"][0].clone()
        };
        let to = status()["to"].as_str().unwrap().to_owned();
        let mut shares = Vec::new();
        for _ in 0..TURNS_MAX {
            let now = status();
            shares.push(share(&now, first.map_or("everyone", |(cohort, _)| cohort), &to));
            match now["phase"].as_str().unwrap() {
                "promoted" => break,
                "awaiting-approval" => {
                    release.done(&["approve", service, "--as", "alex", "--group", "release-managers"]);
                }
                _ => drop(release.done(&["promote", service, "--yes"])),
            }
        }
        let end = status();
        assert_eq!((end["phase"].as_str(), share(&end, "everyone", &to)), (Some("promoted"), last), "{name}: {end:#}");
        assert_eq!(shares[0], first.map_or(0.0, |(_, share)| share), "{name}: {shares:?}");
        assert!(shares.is_sorted(), "{name}: {shares:?}");
        let users = release.users("/");
        let got = users.get("new").map_or(0, Vec::len) as f64 / 4.0;
        assert!((got - last).abs() < 8.0, "{name}: {got} %");
        release.done(&["audit", "verify", "state/audit.jsonl"]);
        println!("{name}: {} shares, the first {} %", shares.len(), shares[0]);
    }
}
