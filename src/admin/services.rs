//! `ringway.services/v1`: services with their variants, endpoints and cohorts.

use super::status::source;
use crate::config::{Loaded, Place};
use crate::control::{EndpointView, Handle, Trial, endpoints};
use crate::model::BUCKETS;
use crate::routing::snapshot::{Cohort, Service, Variant};
use serde_json::{Value, json};
use std::time::Instant;

/// Weights are in percent as the file writes them, shares from 0 to 1.
pub(super) fn services(handle: &Handle) -> Value {
    let (snapshot, in_force) = (handle.snapshot(), handle.in_force());
    let now = Instant::now();
    let trials = handle.trials();
    let trial = |name: &str| trials.get(name).map(|trial| &**trial);
    let of = |service: &Service| self::service(service, &in_force.loaded, now, trial(&service.name));
    let services: Vec<Value> = snapshot.services.iter().map(of).collect();
    json!({ "schema": "ringway.services/v1", "services": services })
}

fn service(of: &Service, loaded: &Loaded, now: Instant, trial: Option<&Trial>) -> Value {
    let hash_on: Vec<String> = of.key_sources.iter().map(|source| source.describe()).collect();
    json!({
        "name": &*of.name,
        "variants": of.variants.iter().map(|of| variant(of, now)).collect::<Vec<_>>(),
        "cohorts": of.cohorts.iter().map(|cohort| self::cohort(cohort, of, loaded, trial)).collect::<Vec<_>>(),
        "remainder": &*of.variants[of.remainder].name,
        "fallback": of.fallback.map(|at| &*of.variants[at].name),
        "hashOn": hash_on,
        "mirror": of.mirror.is_some(),
        "override": of.override_.is_some(),
    })
}

fn variant(of: &Variant, now: Instant) -> Value {
    json!({
        "name": &*of.name,
        "version": of.version,
        "inFlight": of.upstream.load().requests(),
        "endpoints": endpoints(of, now).iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn endpoint(of: &EndpointView) -> Value {
    json!({ "address": of.address, "state": of.state, "inFlight": of.in_flight, "isDrained": of.is_drained,
        "lastError": of.last_error })
}

/// The condition is what stands in the file.
fn cohort(of: &Cohort, service: &Service, loaded: &Loaded, trial: Option<&Trial>) -> Value {
    let written = loaded.file.services.get(&*service.name);
    let at = written.and_then(|written| written.cohorts.iter().position(|cohort| *cohort.name == *of.name));
    let place = at.map(|at| Place::root().key("services").key(&*service.name).key("cohorts").index(at).key("when"));
    let condition = place.and_then(|place| loaded.text_at(&place));
    let in_file = of.weights_in_file();
    let variants = service.variants.iter().enumerate().map(|(at, variant)| {
        json!({
            "name": &*variant.name,
            "weight": of.weights[at].as_f64(),
            "source": source(of, at, trial),
            "configuredShare": f64::from(of.layout.width_of(at)) / f64::from(BUCKETS),
            "fileWeight": in_file[at].as_f64(),
        })
    });
    json!({ "name": &*of.name, "condition": condition, "variants": variants.collect::<Vec<_>>() })
}
