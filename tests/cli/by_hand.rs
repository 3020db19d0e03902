//! What `migrate` writes beside what a person wrote for the same input, from the public documentation of the other proxy and
//! that of Ringway, before the program was asked: the same requests must get the same. Names, order and layout are free.

use http::{HeaderMap, HeaderName, HeaderValue};
use ringway::config::{Loaded, Source, load_texts};
use ringway::migrate::{Kind, migrate};
use ringway::routing::explain::{ImaginedRequest, explain};
use ringway::routing::prepare::{Prepared, assemble};
use ringway::telemetry::Registry;
use ringway::upstream::Upstreams;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

const KINDS: [(Kind, &str, &str); 4] = [
    (Kind::IngressNginx, "ingress-nginx", "yaml"),
    (Kind::GatewayApi, "gateway-api", "yaml"),
    (Kind::ArgoRollouts, "argo-rollouts", "yaml"),
    (Kind::Nginx, "nginx", "conf"),
];

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/migrate/by-hand").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn open(text: String) -> Prepared {
    let compile = |loaded: Loaded| assemble(loaded, &Upstreams::default(), &Registry::new(1, 10_000));
    load_texts(vec![Source::new("a.yaml", text)]).and_then(compile).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Both, by the input's name: what the program wrote, and what was written by hand.
fn both(kind: Kind, name: &str, ending: &str) -> [Prepared; 2] {
    let input = Source::new("input", read(&format!("{name}.{ending}")));
    let migrated = migrate(kind, &[input]).unwrap();
    [open(migrated.text), open(read(&format!("{name}.expected.yaml")))]
}

/// A line such as `GET http://a.example/ x-beta=1`.
fn request(line: &str) -> ImaginedRequest {
    let mut words = line.split(' ');
    let (method, url) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().to_owned());
    let mut headers = HeaderMap::new();
    for (name, value) in words.map(|word| word.split_once('=').unwrap()) {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    }
    ImaginedRequest { method, url, headers, peer: Ipv4Addr::LOCALHOST.into(), listener: None }
}

/// Who serves it, in the words of the other end: endpoints with their share of such users, what is changed on the way, or where
/// the client is sent instead.
fn what_it_gets(prepared: &Prepared, request: &ImaginedRequest) -> String {
    let (file, snapshot) = (&prepared.loaded.file, &prepared.snapshot);
    let explained = explain(file, snapshot, request);
    let answer = match explained.outcome {
        Ok(answer) => answer,
        Err(refusal) => return format!("{} {:?}", refusal.status, refusal.location),
    };
    let service = &file.services[answer.service.as_str()];
    let endpoints = |variant: &str| service.variants[variant].endpoints.join(" ");
    let mut shares: BTreeMap<String, f64> = BTreeMap::new();
    for share in answer.shares.iter().filter(|share| share.share > 0.0) {
        *shares.entry(endpoints(&share.variant)).or_default() += share.share;
    }
    // without a salt in the file it is the service's name, which is free
    let bucket = answer.bucket.filter(|_| service.salt.is_some());
    let chosen = answer.variant.filter(|_| service.salt.is_some() || shares.len() == 1);
    let is_its = |at: usize, name: Option<&str>| {
        name.map_or(format!("routes[{at}]") == answer.route, |name| name == answer.route)
    };
    let route = file.routes.iter().enumerate().find(|(at, route)| is_its(*at, route.name.as_deref()));
    let edits = route.map(|(_, route)| (&route.request_headers, &route.response_headers, &route.rewrite));
    format!("{:?} of {shares:?}, bucket {bucket:?}, {edits:?}", chosen.as_deref().map(endpoints))
}

#[test]
fn the_same_requests_get_the_same_as_by_hand() {
    let mut differences = Vec::new();
    for (kind, name, ending) in KINDS {
        let [program, hand] = both(kind, name, ending);
        let lines = read(&format!("{name}.requests"));
        assert!(lines.lines().count() >= 3, "{name}");
        for line in lines.lines() {
            let request = request(line);
            let [found, expected] = [&program, &hand].map(|prepared| what_it_gets(prepared, &request));
            if found != expected {
                differences.push(format!("{name}: {line}\n  the program: {found}\n  by hand:     {expected}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn steps_are_those_that_were_written_by_hand() {
    let [program, hand] = both(Kind::ArgoRollouts, "argo-rollouts", "yaml");
    let rollouts = [&program, &hand].map(|prepared| {
        let service = &prepared.loaded.file.services["harbour"];
        let names: Vec<_> = service.cohorts.iter().map(|cohort| (cohort.name.clone(), cohort.when.clone())).collect();
        (names, service.rollout.clone().unwrap())
    });
    let [(found_cohorts, found), (cohorts, expected)] = rollouts;
    assert_eq!((found.steps.len(), &found.steps), (6, &expected.steps));
    assert_eq!((found.id, found.to, found.from), (expected.id, expected.to, expected.from));
    assert_eq!(found_cohorts.len(), cohorts.len());
    assert_eq!(found_cohorts[0].0, cohorts[0].0);
}
