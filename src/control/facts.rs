//! What metrics tell of a snapshot: weights and endpoints.

use super::certificates::certificates;
use crate::model::BUCKETS;
use crate::routing::Snapshot;
use crate::routing::snapshot::{Cohort, Service};
use crate::telemetry::Slot;
use crate::telemetry::metrics::{EndpointFact, Facts, UpstreamFact, WeightFact};
use crate::upstream::{EndpointState, Upstream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// The facts of now.
pub(super) fn facts(snapshot: &Snapshot, now: Instant) -> Facts {
    let cohorts = snapshot.services.iter().flat_map(|service| service.cohorts.iter());
    Facts {
        rev: snapshot.rev.to_string(),
        weights: cohorts.flat_map(weights).collect(),
        endpoints: snapshot.services.iter().flat_map(|service| endpoints(service, now)).collect(),
        upstreams: snapshot.services.iter().flat_map(upstreams).collect(),
        certificates: certificates(snapshot),
        ..Facts::default()
    }
}

/// The slots that requests of a snapshot are recorded in.
pub(super) fn slots(snapshot: &Snapshot) -> Vec<Slot> {
    let cohorts = snapshot.services.iter().flat_map(|service| service.cohorts.iter());
    cohorts.flat_map(|cohort| cohort.slots.iter().copied()).collect()
}

fn weights(cohort: &Cohort) -> impl Iterator<Item = (Slot, WeightFact)> {
    let in_file = cohort.weights_in_file();
    let sum: f64 = in_file.iter().map(|weight| weight.as_f64()).sum();
    cohort.slots.iter().zip(in_file).enumerate().map(move |(variant, (slot, weight))| {
        let configured = if sum > 0.0 { weight.as_f64() / sum } else { 0.0 };
        let in_force = f64::from(cohort.layout.width_of(variant)) / f64::from(BUCKETS);
        (*slot, WeightFact { configured, in_force })
    })
}

fn endpoints(service: &Service, now: Instant) -> impl Iterator<Item = EndpointFact> {
    service.variants.iter().flat_map(move |variant| {
        EndpointState::ALL.map(|state| EndpointFact {
            service: service.name.to_string(),
            variant: variant.name.to_string(),
            state: state.as_str(),
            count: count(&variant.upstream, now, state),
        })
    })
}

fn count(upstream: &Upstream, now: Instant, state: EndpointState) -> u64 {
    let resilience = &upstream.spec().resilience;
    upstream.endpoints().iter().filter(|endpoint| endpoint.state(resilience, now) == state).count() as u64
}

/// Ejections and checks only of variants that have such a thing.
fn upstreams(service: &Service) -> impl Iterator<Item = UpstreamFact> {
    service.variants.iter().map(move |variant| {
        let (resilience, load) = (&variant.upstream.spec().resilience, variant.upstream.load());
        let read = |count: &AtomicU64| count.load(Relaxed);
        let counts = &load.counts;
        let ejections = [
            ("consecutive_errors", read(&counts.ejected_consecutive)),
            ("success_rate", read(&counts.ejected_success_rate)),
        ];
        let checks = [("passed", read(&counts.checks_passed)), ("failed", read(&counts.checks_failed))];
        UpstreamFact {
            service: service.name.to_string(),
            variant: variant.name.to_string(),
            ejections: if resilience.outliers.is_some() { ejections.into() } else { Vec::new() },
            checks: if resilience.check.is_some() { checks.into() } else { Vec::new() },
            in_use: vec![
                ("connections", u64::from(load.connections())),
                ("requests", u64::from(load.requests())),
                ("pending", u64::from(load.pending())),
            ],
        }
    })
}
