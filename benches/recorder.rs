//! What recording costs a request: `cargo bench --bench recorder`.

#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use ringway::model::{Outcome, Reason};
use ringway::telemetry::access_log::{Entry, LineFormat};
use ringway::telemetry::health::Health;
use ringway::telemetry::metrics::Metrics;
use ringway::telemetry::recorder::{Finished, Judged, Registry, Slot};
use ringway::telemetry::windows::Windows;
use std::hint::black_box;
use std::sync::Arc;

/// Latencies and users that differ from request to request, so that no bucket or register stays in a register.
struct Traffic {
    random: u64,
}

impl Traffic {
    fn next(&mut self) -> Finished {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        Finished {
            reason: Reason::Split,
            status: 200,
            outcome: Outcome::Success,
            latency_us: 500 + self.random % 5_000,
            overhead_us: Some(self.random % 64),
            user: Some(self.random.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            judged: Judged::default(),
        }
    }
}

fn slots(registry: &Registry, services: usize) -> Vec<Slot> {
    let names = (0..services).flat_map(|service| ["stable", "canary"].map(|variant| (service, variant)));
    names.map(|(service, variant)| registry.slot(&service.to_string(), "everyone", variant, Reason::Split)).collect()
}

fn record(c: &mut Criterion) {
    let registry = Registry::new(1, 10_000);
    let (slots, shard) = (slots(&registry, 1), registry.shard(0));
    let mut traffic = Traffic { random: 0x2545_f491_4f6c_dd1d };
    c.bench_function("traffic of the benches alone", |b| b.iter(|| black_box(traffic.next())));
    c.bench_function("begin and finish", |b| {
        b.iter(|| {
            let finished = traffic.next();
            let slot = slots[(finished.latency_us & 1) as usize];
            shard.begin(black_box(slot));
            shard.finish(slot, black_box(&finished));
        });
    });
}

fn write_line(c: &mut Criterion) {
    let entry = Entry {
        unix_ms: 1_795_249_560_007,
        listener: "public",
        client: Some("192.0.2.7".parse().unwrap()),
        method: "GET",
        host: b"shop.example.com",
        path: "/products/1842/reviews?page=2",
        route: "shop",
        service: "shop",
        cohort: "everyone",
        variant: "stable",
        reason: Some(Reason::Split),
        bucket: Some(161_139),
        rev: "3f9c21",
        status: 200,
        flags: "",
        duration_us: 21_034,
        upstream_us: Some(20_777),
        bytes_in: 0,
        attempts: 1,
        bytes_out: 1024,
        protocol: "HTTP/1.1",
        request_id: b"018f3a5e-7a0c-7c2b-9f1e-2d3c4b5a6978",
        trace_id: b"4bf92f3577b34da6a3ce929d0e0e4736",
        endpoint: "10.0.0.5:8080",
        user_agent: b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    };
    let (mut format, mut buffer) = (LineFormat::default(), Vec::with_capacity(4096));
    c.bench_function("access log line", |b| {
        b.iter(|| {
            buffer.clear();
            format.write(black_box(&entry), &mut buffer);
            black_box(buffer.len())
        });
    });
}

fn read(c: &mut Criterion) {
    let registry = Registry::new(2, 100_000);
    let slots = slots(&registry, 50);
    let (shard, mut traffic) = (registry.shard(0), Traffic { random: 1 });
    let mut windows = Windows::new(Arc::clone(&registry));
    let mut now = 0;
    let record_some = |traffic: &mut Traffic| {
        for slot in &slots {
            shard.begin(*slot);
            shard.finish(*slot, &traffic.next());
        }
    };
    c.bench_function("tick of 100 busy slots", |b| {
        b.iter(|| {
            record_some(&mut traffic);
            now += 1;
            windows.tick(now);
        });
    });
    c.bench_function("15 minutes of a slot", |b| b.iter(|| windows.stats(black_box(slots[7]), 900)));
    let metrics = Metrics::new(Arc::clone(&registry), Health::new(), None).unwrap();
    c.bench_function("metrics of 100 busy slots", |b| b.iter(|| metrics.text().unwrap().len()));
}

criterion_group!(benches, record, write_line, read);
criterion_main!(benches);
