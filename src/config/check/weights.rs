//! The weights of a service and of its cohorts.

use super::problems::Problems;
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::Service;
use crate::config::suggest::known;
use crate::model::EVERYONE;

pub(super) fn check(service: &Service, place: &Place, problems: &mut Problems<'_>) {
    check_own(service, &place.key("variants"), problems);
    for (index, cohort) in service.cohorts.iter().enumerate() {
        let Some(weights) = &cohort.weights else { continue };
        let place = place.key("cohorts").index(index).key("weights");
        for name in weights.keys().filter(|name| !service.variants.contains_key(*name)) {
            let message =
                format!("cohort `{}` gives weight to the variant `{name}`, which does not exist", cohort.name);
            let last = problems.at_key(Code::UnknownVariant, &place.key(name.as_str()), message);
            last.help_with(|| known(name, "variants", service.variants.keys().map(String::as_str)));
        }
        if weights.values().all(|weight| weight.0.is_zero()) {
            let message =
                format!("the weights of cohort `{}` sum to 0: none of its requests has a variant", cohort.name);
            let last = problems.at(Code::WeightsSumToZero, &place, message);
            last.help("give at least one variant a weight above 0, or remove `weights` to use the variants' own");
        }
    }
}

/// The variants' own weights, which every cohort without weights uses.
fn check_own(service: &Service, place: &Place, problems: &mut Problems<'_>) {
    let is_only = service.variants.len() == 1;
    for (name, _) in service.variants.iter().filter(|(_, variant)| variant.weight.is_none() && !is_only) {
        let message = format!("the variant `{name}` has no weight, and it is not the only one");
        let last = problems.at_key(Code::MissingWeight, &place.key(name.as_str()), message);
        last.help("add `weight: 0` for none, or its share");
    }
    let everyone = service.cohorts.iter().find(|cohort| cohort.name == EVERYONE);
    let is_used = everyone.is_none_or(|cohort| cohort.weights.is_none())
        || service.cohorts.iter().any(|cohort| cohort.weights.is_none());
    let all_zero = !service.variants.is_empty()
        && service.variants.values().all(|variant| variant.weight.is_some_and(|weight| weight.0.is_zero()));
    if is_used && all_zero {
        let message = "the weights of the variants sum to 0: requests would have no variant";
        let last = problems.at_key(Code::WeightsSumToZero, place, message);
        last.help("give at least one variant a weight above 0");
    }
}
