//! `tests` of the file: whether they can be run at all. Running them is up to routing.

use super::problems::Problems;
use super::texts::{check_header_value, check_method};
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{File, Route, Test, TestExpect};
use crate::config::suggest::known;
use crate::model::{DEFAULT_ROUTE, EVERYONE, Reason};
use std::collections::BTreeSet;

/// The most names that are looked through for the one that was meant.
const NAMES_MAX: usize = 200;

pub(super) fn check(file: &File, problems: &mut Problems<'_>) {
    let unnamed = |(index, route): (usize, &Route)| route.name.clone().unwrap_or_else(|| format!("routes[{index}]"));
    let mut routes: Vec<String> = file.routes.iter().enumerate().map(unnamed).collect();
    if routes.is_empty() {
        routes.push(DEFAULT_ROUTE.to_owned());
    }
    for (index, test) in file.tests.iter().enumerate() {
        let place = Place::root().key("tests").index(index);
        check_request(test, &place.key("request"), problems);
        check_expect(file, &routes, &test.expect, &place.key("expect"), problems);
    }
}

fn check_request(test: &Test, place: &Place, problems: &mut Problems<'_>) {
    let url = &test.request.url;
    let is_absolute = url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !is_absolute {
        let last = problems.at(Code::BadTestUrl, &place.key("url"), format!("`{url}` is not an absolute URL"));
        last.help("write it like https://shop.example.com/cart");
    }
    if let Some(method) = &test.request.method {
        check_method(method, &place.key("method"), problems);
    }
    for (name, value) in &test.request.headers {
        let place = place.key("headers").key(name.as_str());
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            let last = problems.at_key(Code::BadHeaderName, &place, format!("`{name}` is not a header name"));
            last.help("header names are letters, digits and `-`");
        }
        check_header_value(value, &place, problems);
    }
}

fn check_expect(file: &File, routes: &[String], expect: &TestExpect, place: &Place, problems: &mut Problems<'_>) {
    if *expect == TestExpect::default() {
        let last = problems.at(Code::EmptyExpectation, place, "the test expects nothing");
        last.help("add one of route, service, cohort, variant, reason and redirect");
    }
    let mut check = |what: &str, expected: &Option<String>, names: &mut dyn Iterator<Item = &str>| {
        if let Some(name) = expected {
            check_name(name, what, names, place, problems);
        }
    };
    let named = expect.service.as_ref().and_then(|name| file.services.get(name));
    let services = || file.services.values().filter(|service| named.is_none_or(|named| std::ptr::eq(named, *service)));
    let cohorts = services().flat_map(|service| &service.cohorts).map(|cohort| cohort.name.as_str());
    let variants = services().flat_map(|service| service.variants.keys()).map(String::as_str);
    check("service", &expect.service, &mut file.services.keys().map(String::as_str));
    check("cohort", &expect.cohort, &mut [EVERYONE].into_iter().chain(cohorts));
    check("variant", &expect.variant, &mut variants.into_iter());
    check("reason", &expect.reason, &mut Reason::ALL.iter().map(|reason| reason.as_str()));
    check("route", &expect.route, &mut routes.iter().map(String::as_str));
}

fn check_name(
    name: &str,
    what: &str,
    names: &mut dyn Iterator<Item = &str>,
    place: &Place,
    problems: &mut Problems<'_>,
) {
    let mut others = BTreeSet::new();
    for known in names {
        if known == name {
            return;
        }
        if others.len() < NAMES_MAX {
            others.insert(known);
        }
    }
    let message = format!("the test expects the {what} `{name}`, which does not exist");
    let last = problems.at(Code::UnknownExpectation, &place.key(what), message);
    last.help_with(|| known(name, &format!("{what}s"), others));
}
