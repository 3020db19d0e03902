//! `cohorts` of a service.

use super::edits::{self, Subject};
use super::implied::{Budget, is_always_true, is_implied};
use super::problems::Problems;
use super::{conditions, names};
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{Cohort, File, Service};
use crate::model::EVERYONE;
use std::collections::HashMap;

pub(super) fn check(file: &File, service: &Service, place: &Place, problems: &mut Problems<'_>) {
    let mut named: HashMap<&str, Place> = HashMap::new();
    for (index, cohort) in service.cohorts.iter().enumerate() {
        let place = place.index(index);
        let name_place = place.key("name");
        names::check_value(&cohort.name, "cohort", &name_place, problems);
        if let Some(first) = named.get(cohort.name.as_str()) {
            let message = format!("a second cohort `{}`", cohort.name);
            let last = problems.at(Code::DuplicateCohort, &name_place, message);
            last.also(first, "the first one").help("give it another name, or unite the two with `any`");
        } else {
            named.insert(&cohort.name, name_place);
        }
        check_condition_given(cohort, &place, index + 1 == service.cohorts.len(), problems);
        let subject = Subject { file, has_assignment: true };
        edits::check(cohort.request_headers.as_ref(), cohort.response_headers.as_ref(), subject, &place, problems);
        if let Some(condition) = &cohort.when {
            conditions::check(file, condition, &place.key("when"), problems);
        }
    }
    let names = service.cohorts.iter().enumerate();
    let names = names.map(|(index, cohort)| (cohort.name.as_str(), place.index(index).key("name")));
    names::check_similar(names, "cohort", problems);
    check_reached(&service.cohorts, place, problems);
}

fn check_condition_given(cohort: &Cohort, place: &Place, is_last: bool, problems: &mut Problems<'_>) {
    if cohort.name == EVERYONE {
        if !is_last {
            let message = "the cohort `everyone` takes every request: cohorts after it are never reached";
            problems.at(Code::EveryoneNotLast, &place.key("name"), message).help("move it to the end of the list");
        }
        if cohort.when.is_some() {
            let message = "the cohort `everyone` takes the rest, and has no condition";
            let last = problems.at_key(Code::EveryoneWithWhen, &place.key("when"), message);
            last.help("remove `when`, or give the cohort another name");
        }
    } else if cohort.when.is_none() {
        let message = format!("the cohort `{}` does not say which requests belong to it", cohort.name);
        let last = problems.at(Code::CohortWithoutWhen, &place.key("name"), message);
        last.help("add `when: { .. }`; the cohort that takes the rest is called `everyone`");
    }
}

/// The first cohort that matches wins, so one whose condition implies an earlier one gets nothing.
fn check_reached(cohorts: &[Cohort], place: &Place, problems: &mut Problems<'_>) {
    let mut budget = Budget::default();
    for (index, cohort) in cohorts.iter().enumerate() {
        let Some(condition) = &cohort.when else { continue };
        let earlier = cohorts[..index].iter().enumerate().find_map(|(at, earlier)| {
            let covers = earlier.name != EVERYONE
                && earlier.when.as_ref().is_some_and(|earlier| is_implied(earlier, condition, &mut budget));
            covers.then_some((at, earlier))
        });
        if let Some((at, earlier)) = earlier {
            let is_always = earlier.when.as_ref().is_some_and(|earlier| is_always_true(earlier, &mut budget));
            let reason = if is_always { "is always true" } else { "is true whenever this one is" };
            let message = format!(
                "the cohort `{}` is never reached: the condition of `{}` before it {reason}",
                cohort.name, earlier.name
            );
            let last = problems.at(Code::UnreachableCohort, &place.index(index).key("name"), message);
            last.also(&place.index(at).key("when"), "this one takes its requests")
                .help("put the narrower cohort first");
        }
    }
}
