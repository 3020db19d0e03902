//! The simulator says what the real program does: the same users, requests and faults, through both.
//!
//! Each service has a rollout and a seed of its own. The client says which of its requests the canary must fail, so that both
//! see the same faults. Compared is after how many requests the version was taken back; both look once a second, so they may
//! differ by the requests of a second, and by a tenth for what falls into another second.

use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway::config::{Loaded, Source, load_texts};
use ringway::control::plans::plan;
use ringway::rollout::judge::{Counted, GroupSet, Met, Side, Tally, Tick};
use ringway::rollout::state::Phase;
use ringway::routing::Snapshot;
use ringway::routing::explain::{ImaginedRequest, place};
use ringway::routing::prepare::assemble;
use ringway::simulate::{Paper, Past};
use ringway::telemetry::Registry;
use ringway::upstream::Upstreams;

use crate::binary::Binary;
use crate::service::Service;
use crate::story::{eventually, pause};

const SERVICES: u64 = 6;

/// Of each service; the share of the canary is 20 %.
const REQUESTS_PER_S: usize = 40;

/// Part of the canary's requests that fail.
const FAULTS: f64 = 0.1;

/// The longest that it may take, in seconds.
const SECONDS_MAX: usize = 60;

/// One request: who asks, and whether the canary fails it.
#[derive(Clone, Copy)]
struct Ask {
    user: u32,
    is_faulty: bool,
}

fn asks(seed: u64) -> Vec<Ask> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..SECONDS_MAX * REQUESTS_PER_S).map(|_| Ask { user: rng.u32(..400), is_faulty: rng.f64() < FAULTS }).collect()
}

/// Each service with the canary at `weight`, and a rollout to 20 %.
fn file(stable: &str, canary: &str, weight: u32) -> String {
    let mut text = "listeners: [{ address: 127.0.0.1:0 }]\nadmin: { address: 'unix:admin.sock' }\n\
                    telemetry: { address: 127.0.0.1:0 }\nstateDir: state\nservices:\n"
        .to_owned();
    for seed in 0..SERVICES {
        text += &format!(
            "  s{seed}:\n    hashOn: [{{ cookie: uid }}]\n    variants:\n      \
             stable: {{ weight: {}, endpoints: [{stable}] }}\n      \
             canary: {{ weight: {weight}, endpoints: [{canary}] }}\n    \
             rollout:\n      id: v1\n      to: canary\n      gates: {{ latency: {{ off: true }} }}\n      \
             steps: [{{ cohort: everyone, weight: 20, hold: 1h }}]\n",
            100 - weight
        );
    }
    text += "routes:\n";
    for seed in 0..SERVICES {
        text += &format!("  - {{ hostnames: [s{seed}.example.com], service: s{seed} }}\n");
    }
    text
}

/// Fails the requests that say so.
fn faulty() -> Service {
    Service::wired(|wire| {
        while let Some(request) = wire.request() {
            let status = if request.header("x-fault").is_some() { "500 Broken" } else { "200 OK" };
            if !wire.send(format!("HTTP/1.1 {status}\r\ncontent-length: 6\r\n\r\ncanary")) {
                return;
            }
        }
    })
}

#[test]
fn the_simulator_takes_back_when_the_real_program_does() {
    let (stable, canary) = (Service::named("stable"), faulty());
    let text = |weight| file(&stable.address.to_string(), &canary.address.to_string(), weight);
    let loaded = load_texts(vec![Source::new("a.yaml", text(20))]).unwrap_or_else(|errors| panic!("{errors}"));
    let registry = Registry::new(1, 0);
    let prepared = assemble(loaded, &Upstreams::default(), &registry).unwrap_or_else(|errors| panic!("{errors}"));
    let simulated: Vec<usize> =
        (0..SERVICES).map(|seed| simulated(&prepared.loaded, &prepared.snapshot, seed)).collect();
    let real = real(&text(0));
    println!("taken back after so many requests: really {real:?}, on paper {simulated:?}");
    for (seed, (real, simulated)) in real.iter().zip(&simulated).enumerate() {
        let allowed = REQUESTS_PER_S + simulated.max(real) / 10;
        assert!(
            real.abs_diff(*simulated) <= allowed,
            "seed {seed}: taken back after {real} requests, the simulator says {simulated}"
        );
    }
    let sums = (real.iter().sum::<usize>() as f64, simulated.iter().sum::<usize>() as f64);
    let tick = (SERVICES as usize * REQUESTS_PER_S) as f64 / 2.0;
    assert!((sums.0 - sums.1).abs() <= 0.1 * sums.1 + tick, "together: {real:?} and {simulated:?}");
}

/// After how many requests each service's canary was taken back.
fn real(text: &str) -> Vec<usize> {
    let binary = Binary::start(text, &[]);
    let mut client = binary.client();
    let asks: Vec<Vec<Ask>> = (0..SERVICES).map(asks).collect();
    eventually("all rollouts under way", || match events(&binary, "step-began").len() {
        found if found as u64 == SERVICES => Ok(()),
        found => Err(format!("{found} of {SERVICES}\n{}", binary.log())),
    });
    let mut sent_ms = Vec::new();
    for at in 0..SECONDS_MAX * REQUESTS_PER_S {
        let due = Duration::from_secs_f64(1.0 / REQUESTS_PER_S as f64);
        let begun = std::time::Instant::now();
        sent_ms.push(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
        for (seed, asks) in asks.iter().enumerate() {
            let fault = if asks[at].is_faulty { "x-fault: 1\r\n" } else { "" };
            let lines = format!("host: s{seed}.example.com\r\ncookie: uid=user-{}\r\n{fault}", asks[at].user);
            client.get("/", &lines);
        }
        if at % REQUESTS_PER_S == 0 {
            if events(&binary, "rolled-back").len() as u64 == SERVICES {
                break;
            }
            // a connection has a number of requests after which it is closed
            client = binary.client();
        }
        pause(due.saturating_sub(begun.elapsed()));
    }
    let mut after = vec![0; SERVICES as usize];
    for (service, unix_ms) in events(&binary, "rolled-back") {
        let seed: usize = service.trim_start_matches('s').parse().unwrap();
        after[seed] = sent_ms.partition_point(|sent| *sent <= unix_ms);
    }
    assert!(after.iter().all(|after| *after > 0), "not all were taken back: {after:?}\n{}", binary.log());
    after
}

/// Events of the audit log by kind: service and time.
fn events(binary: &Binary, kind: &str) -> Vec<(String, u64)> {
    let text = std::fs::read_to_string(binary.dir.path().join("state/audit.jsonl")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_kind = lines.filter(|line| line["action"] == kind);
    let unix_ms = |line: &Value| line["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    of_kind.map(|line| (line["service"].as_str().unwrap().to_owned(), unix_ms(&line) as u64)).collect()
}

/// The same on paper.
fn simulated(loaded: &Loaded, snapshot: &Snapshot, seed: u64) -> usize {
    let name = format!("s{seed}");
    let service = &loaded.file.services[&name];
    let mut paper = Paper::new(plan(&name, service), service, 0).unwrap();
    let nothing = |_: &str, _: Option<&_>| Past::default();
    paper.begin(&nothing);
    let mut counted = Counted::default();
    for (second, asks) in asks(seed).chunks(REQUESTS_PER_S).enumerate() {
        let (mut canary, mut stable) = ((Side::default(), Met::default()), (Side::default(), Met::default()));
        for ask in asks {
            let (variant, group) = placed(loaded, snapshot, &name, ask.user);
            let is_canary = variant == "canary";
            let (side, met) = if is_canary { &mut canary } else { &mut stable };
            let is_error = is_canary && ask.is_faulty;
            side.errors.add(Tally::new(u64::from(is_error), 1));
            met.seen.insert(group);
            if is_error {
                met.errors.insert(group);
            } else {
                met.timed.insert(group);
            }
        }
        let users = counted.count(&canary.1, &stable.1);
        (canary.0.users, stable.0.users) = (Some(users.0), Some(users.1));
        let tick = Tick { at_s: 0, canary_share: paper.share("everyone"), canary: canary.0, stable: stable.0 };
        paper.second(&mut |_| Some(tick.clone()), &nothing);
        if paper.phase() == Phase::RolledBack {
            return (second + 1) * REQUESTS_PER_S;
        }
    }
    panic!("never taken back: {}", paper.why());
}

fn placed<'s>(loaded: &Loaded, snapshot: &'s Snapshot, service: &str, user: u32) -> (&'s str, u32) {
    let mut headers = HeaderMap::new();
    headers.insert("cookie", HeaderValue::from_str(&format!("uid=user-{user}")).unwrap());
    let (url, peer) = (format!("http://{service}.example.com/"), "127.0.0.1".parse().unwrap());
    let request = ImaginedRequest { method: Method::GET, url, headers, peer, listener: None };
    let placed = place(&loaded.file, snapshot, &request).unwrap();
    (&snapshot.services[placed.service].variants[placed.variant].name, GroupSet::group_of(placed.bucket.number()))
}
