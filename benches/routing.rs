//! What a request pays for being understood: route, cohort and assignment on a snapshot.
//!
//! `cargo bench --bench routing`

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use ringway::config::files::References;
use ringway::config::{Source, load_texts};
use ringway::routing::client::ClientAddr;
use ringway::routing::{Foundation, Overlay, RequestView, Snapshot, Trust, compile};
use ringway::telemetry::Registry;
use ringway::upstream::Upstreams;
use std::fmt::Write;
use std::hint::black_box;

/// Ten routes by path below one host, and as many further hosts as asked for; one service with eight cohorts.
fn file(hosts: usize) -> String {
    let mut text = String::from(
        "listeners: [{ address: 127.0.0.1:8080 }]\n\
         services:\n  shop:\n    hashOn: [{ cookie: uid }, clientIP]\n    variants:\n      \
         stable: { weight: 90, endpoints: [127.0.0.1:3001] }\n      \
         canary: { weight: 10, endpoints: [127.0.0.1:3002] }\n    cohorts:\n",
    );
    for cohort in 0..4 {
        let _ = writeln!(
            text,
            "      - {{ name: plan{cohort}, when: {{ header: {{ name: x-plan, exact: p{cohort} }} }} }}"
        );
        let _ = writeln!(text, "      - {{ name: net{cohort}, when: {{ clientIP: [10.{cohort}.0.0/16] }} }}");
    }
    text.push_str("routes:\n");
    for route in 0..9 {
        let _ = writeln!(
            text,
            "  - {{ hostnames: [shop.example.com], matches: [{{ path: {{ prefix: /api/v{route} }} }}], service: shop }}"
        );
    }
    text.push_str("  - { hostnames: [shop.example.com], service: shop }\n");
    for host in 0..hosts {
        let _ = writeln!(text, "  - {{ hostnames: [h{host}.example.com], service: shop }}");
    }
    text
}

fn snapshot(hosts: usize) -> Snapshot {
    let loaded = load_texts(vec![Source::new("bench.yaml", file(hosts))]).expect("the file is valid");
    let (references, _) = References::load(&loaded.file);
    let (upstreams, registry) = (Upstreams::default(), Registry::new(1, 10_000));
    let overlay = Overlay::default();
    let on = Foundation { references: &references, upstreams: &upstreams, registry: &registry, overlay: &overlay };
    compile(&loaded.file, &loaded.rev, &on).expect("a valid file compiles")
}

fn route_and_assign(snapshot: &Snapshot, headers: &HeaderMap, trust: &Trust, host: &str) -> (usize, usize) {
    let client = ClientAddr { ip: [203, 0, 113, 7].into(), peer_trusted: false };
    let path = "/api/v7/items";
    let view = RequestView::new(&Method::GET, host, path, Some("page=2"), headers, client, trust, None);
    let route = snapshot.routes.find(&view).expect("there is a route");
    let assignment = snapshot.services[route.route.service.expect("it leads to a service")].assign(&view);
    (assignment.cohort, assignment.variant)
}

fn bench(criterion: &mut Criterion) {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("cookie", "session=0123456789abcdef0123456789abcdef; uid=3f2b8c1e-9d47-4a6b-8a52-0c1de94f7a10"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let trust = Trust::default();
    for hosts in [0, 1_000] {
        let snapshot = snapshot(hosts);
        criterion.bench_function(&format!("route, cohort, assign: 10 routes, 8 cohorts, {hosts} further hosts"), |b| {
            b.iter(|| route_and_assign(black_box(&snapshot), &headers, &trust, "shop.example.com"));
        });
    }
    // a file has room for about ten thousand hosts when one route names them all
    let names: Vec<String> = (0..10_000).map(|host| format!("h{host}.example.com")).collect();
    let text = file(0).replace(
        "hostnames: [shop.example.com], service",
        &format!("hostnames: [shop.example.com, {}], service", names.join(", ")),
    );
    let loaded = load_texts(vec![Source::new("bench.yaml", text)]).expect("the file is valid");
    let (references, _) = References::load(&loaded.file);
    let (upstreams, registry) = (Upstreams::default(), Registry::new(1, 10_000));
    let overlay = Overlay::default();
    let on = Foundation { references: &references, upstreams: &upstreams, registry: &registry, overlay: &overlay };
    let snapshot = compile(&loaded.file, &loaded.rev, &on).expect("a valid file compiles");
    criterion.bench_function("route, cohort, assign: 10 routes, 8 cohorts, 10000 exact hosts", |b| {
        b.iter(|| route_and_assign(black_box(&snapshot), &headers, &trust, "shop.example.com"));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
