//! Weights that are in force in the place of the file's: those of a rollout, of a rollback, of a person.
//!
//! Laid over the file when it is compiled, so that a change of weights is one more snapshot and nothing else. Who has the
//! last word on a weight is not decided here.

use std::collections::BTreeMap;

use super::snapshot::{Cohort, Variant};
use crate::model::{Layout, Weight};
use crate::telemetry::Registry;

/// The cohorts whose weights are not the file's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlay {
    /// By service, then by cohort.
    services: BTreeMap<String, BTreeMap<String, Ruled>>,
}

/// The weights of a cohort, and by whose word.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruled {
    /// Variants with their weights; those that are not named have none.
    pub weights: Vec<(String, Weight)>,
    /// By whose word.
    pub source: WeightSource,
}

/// By whose word weights are in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightSource {
    /// A step of the rollout.
    Step {
        /// Its number, from 1.
        number: usize,
        /// Of how many.
        of: usize,
    },
    /// A rollback.
    Rollback,
    /// A person.
    Person {
        /// Who.
        actor: String,
    },
}

/// What a cohort has in the place of its own weights.
#[derive(Clone, Debug, PartialEq)]
pub struct RuledBy {
    /// By whose word.
    pub source: WeightSource,
    /// What the file says, one weight for each variant.
    pub in_file: Box<[Weight]>,
}

impl Overlay {
    /// Weights for a cohort; `None` gives it back to the file. Says whether that changes anything.
    pub fn set(&mut self, service: &str, cohort: &str, ruled: Option<Ruled>) -> bool {
        let Some(ruled) = ruled else {
            return self.services.get_mut(service).is_some_and(|cohorts| cohorts.remove(cohort).is_some());
        };
        let cohorts = self.services.entry(service.to_owned()).or_default();
        cohorts.insert(cohort.to_owned(), ruled.clone()).as_ref() != Some(&ruled)
    }

    /// Forgets services that are gone.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.services.retain(|service, cohorts| is_there(service) && !cohorts.is_empty());
    }

    /// True when all cohorts have the weights of the file.
    pub fn is_empty(&self) -> bool {
        self.services.values().all(BTreeMap::is_empty)
    }

    /// Gives the cohorts of a service the weights that are in force. Weights of variants that are gone do not count; where
    /// none is left the file's stay.
    pub(super) fn apply(
        &self,
        service: &str,
        variants: &[Variant],
        remainder: usize,
        cohorts: &mut [Cohort],
        registry: &Registry,
    ) {
        let Some(ruled) = self.services.get(service) else { return };
        for cohort in cohorts {
            let Some(ruled) = ruled.get(&*cohort.name) else { continue };
            let of = |variant: &Variant| {
                let found = ruled.weights.iter().find(|(name, _)| **name == *variant.name);
                found.map_or(Weight::ZERO, |(_, weight)| *weight)
            };
            let weights: Box<[Weight]> = variants.iter().map(of).collect();
            let Ok(layout) = Layout::new(&weights, remainder) else { continue };
            let in_file = std::mem::replace(&mut cohort.weights, weights);
            cohort.layout = layout;
            cohort.ruled_by = Some(RuledBy { source: ruled.source.clone(), in_file });
            let reason = cohort.usual_reason();
            for variant in variants {
                registry.slot(service, &cohort.name, &variant.name, reason);
            }
        }
    }
}

impl Cohort {
    /// The weights that the file gives, one for each variant.
    pub fn weights_in_file(&self) -> &[Weight] {
        self.ruled_by.as_ref().map_or(&self.weights, |ruled| &ruled.in_file)
    }

    /// By whose word a variant has its weight: `the file`, or `rollout step 2/5; the file says 0`.
    pub fn source_of(&self, variant: usize) -> String {
        self.source_for(variant, "")
    }

    /// The same with how much longer it holds (`, 42m more`), which is told of what people set.
    pub fn source_for(&self, variant: usize, more: &str) -> String {
        let Some(ruled) = &self.ruled_by else { return "the file".to_owned() };
        let in_file = ruled.in_file.get(variant).copied().unwrap_or(Weight::ZERO);
        let more = if matches!(ruled.source, WeightSource::Person { .. }) { more } else { "" };
        format!("{}{more}; the file says {in_file}", ruled.source)
    }
}

impl std::fmt::Display for WeightSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WeightSource::Step { number, of } => write!(f, "rollout step {number}/{of}"),
            WeightSource::Rollback => f.write_str("rolled back"),
            WeightSource::Person { actor } => write!(f, "set by {actor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load_texts};
    use crate::model::{Bucket, Reason};
    use crate::routing::Snapshot;
    use crate::routing::prepare::{assemble, recompile};
    use crate::upstream::Upstreams;

    const SHOP: &str = "listeners: [{ address: 127.0.0.1:8080 }]\nservices:\n  shop:\n    variants:\n      \
        stable: { weight: 100, endpoints: [127.0.0.1:1] }\n      canary: { weight: 0, endpoints: [127.0.0.1:2] }\n";

    fn compiled(overlay: &Overlay) -> Snapshot {
        let loaded = load_texts(vec![Source::new("a.yaml", SHOP)]).unwrap_or_else(|errors| panic!("{errors}"));
        let (upstreams, registry) = (Upstreams::default(), Registry::new(1, 10_000));
        let prepared = assemble(loaded, &upstreams, &registry).unwrap_or_else(|errors| panic!("{errors}"));
        recompile(&prepared.loaded, &prepared.references, &upstreams, &registry, overlay).unwrap()
    }

    fn shares(share: u64) -> Vec<(String, Weight)> {
        vec![("canary".to_owned(), Weight::whole(share)), ("stable".to_owned(), Weight::whole(100 - share))]
    }

    #[test]
    fn what_is_in_force_replaces_the_files_weights_and_says_by_whose_word() {
        let mut overlay = Overlay::default();
        let step = Ruled { weights: shares(10), source: WeightSource::Step { number: 2, of: 6 } };
        assert!(overlay.set("shop", "everyone", Some(step.clone())));
        assert!(!overlay.set("shop", "everyone", Some(step)));
        let snapshot = compiled(&overlay);
        let cohort = &snapshot.services[0].cohorts[0];
        assert_eq!(cohort.layout.width_of(1), 100_000);
        assert_eq!(cohort.source_of(1), "rollout step 2/6; the file says 0");
        assert_eq!(cohort.weights_in_file(), [Weight::whole(100), Weight::ZERO]);
        assert_eq!(cohort.variant_of(Bucket::new(5).unwrap()), (1, Reason::Split));
    }

    #[test]
    fn who_was_taken_back_is_held_and_the_file_comes_back() {
        let mut overlay = Overlay::default();
        overlay.set("shop", "everyone", Some(Ruled { weights: shares(0), source: WeightSource::Rollback }));
        let snapshot = compiled(&overlay);
        assert_eq!(snapshot.services[0].cohorts[0].variant_of(Bucket::new(5).unwrap()), (0, Reason::Held));
        assert!(overlay.set("shop", "everyone", None) && overlay.is_empty());
        assert_eq!(compiled(&overlay).services[0].cohorts[0].source_of(0), "the file");
    }

    #[test]
    fn weights_of_variants_that_are_gone_leave_the_file_in_force() {
        let mut overlay = Overlay::default();
        let gone = vec![("next".to_owned(), Weight::HUNDRED)];
        overlay.set("shop", "everyone", Some(Ruled { weights: gone, source: WeightSource::Rollback }));
        assert!(compiled(&overlay).services[0].cohorts[0].ruled_by.is_none());
    }
}
