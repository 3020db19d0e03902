//! `tests` of the file: whether they can be run at all. Running them is up to routing.

use super::problems::Problems;
use super::texts::{check_header_value, check_method};
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{File, Service, Test, TestExpect};
use crate::config::suggest::known;
use crate::model::{EVERYONE, Reason};

pub(super) fn check(file: &File, problems: &mut Problems<'_>) {
    for (index, test) in file.tests.iter().enumerate() {
        let place = Place::root().key("tests").index(index);
        check_request(test, &place.key("request"), problems);
        check_expect(file, &test.expect, &place.key("expect"), problems);
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

fn check_expect(file: &File, expect: &TestExpect, place: &Place, problems: &mut Problems<'_>) {
    if *expect == TestExpect::default() {
        let last = problems.at(Code::EmptyExpectation, place, "the test expects nothing");
        last.help("add one of route, service, cohort, variant and reason");
    }
    if let Some(name) = &expect.service {
        check_name(name, "service", file.services.keys().map(String::as_str).collect(), place, problems);
    }
    let named = expect.service.as_ref().and_then(|name| file.services.get(name));
    let services: Vec<&Service> = named.map_or_else(|| file.services.values().collect(), |service| vec![service]);
    if let Some(name) = &expect.cohort {
        let cohorts = services.iter().flat_map(|service| &service.cohorts).map(|cohort| cohort.name.as_str());
        check_name(name, "cohort", cohorts.chain([EVERYONE]).collect(), place, problems);
    }
    if let Some(name) = &expect.variant {
        let variants = services.iter().flat_map(|service| service.variants.keys()).map(String::as_str);
        check_name(name, "variant", variants.collect(), place, problems);
    }
    if let Some(name) = &expect.reason {
        check_name(name, "reason", Reason::ALL.iter().map(|reason| reason.as_str()).collect(), place, problems);
    }
    if let Some(name) = &expect.route {
        let unnamed = |(index, route): (usize, &crate::config::schema::Route)| {
            route.name.clone().unwrap_or_else(|| format!("routes[{index}]"))
        };
        let routes: Vec<String> = file.routes.iter().enumerate().map(unnamed).collect();
        check_name(name, "route", routes.iter().map(String::as_str).collect(), place, problems);
    }
}

fn check_name(name: &str, what: &str, names: Vec<&str>, place: &Place, problems: &mut Problems<'_>) {
    if !names.contains(&name) {
        let message = format!("the test expects the {what} `{name}`, which does not exist");
        let last = problems.at(Code::UnknownExpectation, &place.key(what), message);
        let mut names = names;
        names.sort_unstable();
        names.dedup();
        last.help(known(name, &format!("{what}s"), names));
    }
}
