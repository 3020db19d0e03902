//! What metrics tell of a snapshot: weights and endpoints.

use super::certificates::certificates;
use crate::model::BUCKETS;
use crate::routing::Snapshot;
use crate::routing::snapshot::{Cohort, Service};
use crate::telemetry::Slot;
use crate::telemetry::metrics::{EndpointFact, Facts, WeightFact};
use crate::upstream::Upstream;
use std::time::Instant;

/// The facts of now.
pub(super) fn facts(snapshot: &Snapshot, now: Instant) -> Facts {
    let cohorts = snapshot.services.iter().flat_map(|service| service.cohorts.iter());
    Facts {
        rev: snapshot.rev.to_string(),
        weights: cohorts.flat_map(weights).collect(),
        endpoints: snapshot.services.iter().flat_map(|service| endpoints(service, now)).collect(),
        certificates: certificates(snapshot),
    }
}

/// The slots that requests of a snapshot are recorded in.
pub(super) fn slots(snapshot: &Snapshot) -> Vec<Slot> {
    let cohorts = snapshot.services.iter().flat_map(|service| service.cohorts.iter());
    cohorts.flat_map(|cohort| cohort.slots.iter().copied()).collect()
}

fn weights(cohort: &Cohort) -> impl Iterator<Item = (Slot, WeightFact)> {
    let sum: f64 = cohort.weights.iter().map(|weight| weight.as_f64()).sum();
    cohort.slots.iter().zip(&cohort.weights).enumerate().map(move |(variant, (slot, weight))| {
        let configured = if sum > 0.0 { weight.as_f64() / sum } else { 0.0 };
        let in_force = f64::from(cohort.layout.width_of(variant)) / f64::from(BUCKETS);
        (*slot, WeightFact { configured, in_force })
    })
}

fn endpoints(service: &Service, now: Instant) -> impl Iterator<Item = EndpointFact> {
    service.variants.iter().flat_map(move |variant| {
        [("healthy", false), ("ejected", true)].map(|(state, is_ejected)| EndpointFact {
            service: service.name.to_string(),
            variant: variant.name.to_string(),
            state,
            count: count(&variant.upstream, now, is_ejected),
        })
    })
}

fn count(upstream: &Upstream, now: Instant, is_ejected: bool) -> u64 {
    upstream.endpoints().iter().filter(|endpoint| endpoint.is_ejected(now) == is_ejected).count() as u64
}
