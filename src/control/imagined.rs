//! Configurations that are only looked at: a text that somebody writes, a weight that somebody tries.

use super::InForce;
use crate::config::{ConfigErrors, Loaded, Source, load_texts};
use crate::model::Weight;
use crate::rollout::split::Split;
use crate::routing::prepare::{Prepared, assemble};
use crate::routing::snapshot::{Cohort, Service};
use crate::routing::{Overlay, Ruled, Snapshot, WeightSource, recompile};
use crate::telemetry::Registry;
use crate::upstream::Upstreams;
use std::path::PathBuf;

/// A weight that somebody tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightTrial {
    /// The service.
    pub service: String,
    /// The cohort.
    pub cohort: String,
    /// The variant.
    pub variant: String,
    /// Its share, in percent of the cohort.
    pub share: Weight,
}

/// What somebody writes, as far as it can be looked at.
pub enum Draft {
    /// All of it.
    Whole(Box<Prepared>),
    /// It names files that those in force do not name: they are not read, as whoever writes could learn of files that
    /// are none of their business.
    Unread(Box<Loaded>, Vec<PathBuf>),
}

/// Looks at a text in the place of the files in force. Nothing is written, recorded or connected to.
///
/// # Errors
/// Everything that is wrong with it, but for its tests.
pub fn draft(text: String, in_force: &InForce) -> Result<Draft, ConfigErrors> {
    let of_now = in_force.loaded.sources.first();
    let base = of_now.map_or_else(|| PathBuf::from("."), |source| source.base.clone());
    let name = of_now.map_or("ringway.yaml", |source| source.name.as_str());
    let loaded = load_texts(vec![Source { base, ..Source::new(name, text) }])?;
    let unread: Vec<PathBuf> = loaded.named_files().into_iter().filter(|path| !in_force.named.contains(path)).collect();
    if !unread.is_empty() {
        return Ok(Draft::Unread(Box::new(loaded), unread));
    }
    let prepared = assemble(loaded, &Upstreams::default(), &Registry::new(1, 0))?;
    Ok(Draft::Whole(Box::new(prepared)))
}

/// The files in force, compiled for looking at.
///
/// # Errors
/// A file that they name has changed since, and cannot be used.
pub fn in_force_again(in_force: &InForce) -> Result<Prepared, ConfigErrors> {
    assemble(in_force.loaded.clone(), &Upstreams::default(), &Registry::new(1, 0))
}

/// What is in force with one weight changed; the remainder takes or gives the rest.
///
/// # Errors
/// There is no such service, cohort or variant, or the others leave too little.
pub fn with_trial(in_force: &InForce, snapshot: &Snapshot, trial: &WeightTrial) -> Result<Snapshot, String> {
    let WeightTrial { service, cohort, variant, share } = trial;
    let mut overlay = Overlay::default();
    for service in &snapshot.services {
        for cohort in service.cohorts.iter().filter(|cohort| cohort.ruled_by.is_some()) {
            overlay.set(&service.name, &cohort.name, ruled(service, cohort));
        }
    }
    let found = snapshot.service(service).ok_or_else(|| format!("there is no service `{service}`"))?;
    let of_service = found.cohorts.iter().find(|known| *known.name == **cohort);
    let of_service = of_service.ok_or_else(|| format!("service {service} has no cohort `{cohort}`"))?;
    if !found.variants.iter().any(|known| *known.name == **variant) {
        return Err(format!("service {service} has no variant `{variant}`"));
    }
    let remainder = &*found.variants[found.remainder].name;
    let weights = found.variants.iter().zip(&of_service.weights).map(|(variant, weight)| (&*variant.name, *weight));
    let split = Split::of_weights(weights, remainder).with(variant, *share, remainder);
    let split = split.ok_or_else(|| format!("the other variants leave less than {share} % of {cohort}"))?;
    let weights = split.shares().map(|(variant, weight)| (variant.to_owned(), weight)).collect();
    let source = WeightSource::Person { actor: "a trial".to_owned() };
    overlay.set(service, cohort, Some(Ruled { weights, source }));
    let (upstreams, registry) = (Upstreams::default(), Registry::new(1, 0));
    recompile(&in_force.loaded, &in_force.references, &upstreams, &registry, &overlay)
        .map_err(|error| error.to_string())
}

fn ruled(service: &Service, cohort: &Cohort) -> Option<Ruled> {
    let source = cohort.ruled_by.as_ref()?.source.clone();
    let weights = service.variants.iter().zip(&cohort.weights);
    let weights = weights.map(|(variant, weight)| (variant.name.to_string(), *weight)).collect();
    Some(Ruled { weights, source })
}
