//! What a file that fits the schema still gets wrong. Pure: looks at nothing but the file.
//!
//! Every rule has a code in [`super::codes`]; all are run, whatever the others find.

mod admin;
mod cohorts;
mod conditions;
mod countries;
mod edits;
mod faults;
mod gates;
mod implied;
mod limits;
mod listeners;
mod mirror;
mod names;
mod problems;
mod redirects;
mod resilience;
mod rollout;
mod routes;
mod services;
mod tests_section;
mod texts;
mod tls;
mod traces;
mod user_key;
mod weights;
mod windows;

pub use names::is_name;

use super::diagnostic::Diagnostic;
use super::place::Place;
use super::schema::{Condition, File};
use super::source::Span;
use super::tree::Node;
use problems::Problems;

/// Runs every rule; each diagnostic comes with the place that it is about.
pub(crate) fn check(file: &File, tree: &Node, spans: &dyn Fn(&Place) -> Span) -> Vec<(Place, Diagnostic)> {
    let mut problems = Problems::new(tree, spans);
    listeners::check(file, &mut problems);
    services::check(file, &mut problems);
    routes::check(file, &mut problems);
    windows::check(file, &mut problems);
    rollout::check(file, &mut problems);
    gates::check_notifiers(file, &mut problems);
    traces::check(file, &mut problems);
    tests_section::check(file, &mut problems);
    problems.into_found()
}

/// True when claims of tokens can be believed: a listener verifies them, or a trusted proxy did.
fn can_claims_be_believed(file: &File) -> bool {
    file.listeners.iter().any(|listener| listener.jwt.is_some() || !listener.trusted_proxies.is_empty())
}

/// Calls `visit` for a condition and for everything inside of it, with its place.
fn each_condition<'c>(condition: &'c Condition, place: &Place, visit: &mut dyn FnMut(&'c Condition, &Place)) {
    visit(condition, place);
    let mut each = |inner: &'c [Condition], place: Place| {
        for (index, condition) in inner.iter().enumerate() {
            each_condition(condition, &place.index(index), visit);
        }
    };
    match condition {
        Condition::Any(inner) => each(inner, place.key("any")),
        Condition::All(inner) => each(inner, place.key("all")),
        Condition::Not(inner) => each_condition(inner, &place.key("not"), visit),
        _ => {}
    }
}
