//! `routes`.

use super::conditions::check_field;
use super::edits::{self, Subject};
use super::limits;
use super::listeners::check_not_zero;
use super::problems::Problems;
use super::redirects;
use super::texts::{check_header_name, check_host, check_method, check_path, check_regex};
use super::user_key::check_not_stripped;
use super::{names, resilience};
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{File, PathMatch, Route, RouteMatch};
use crate::config::suggest::{known, listed};
use std::collections::{HashMap, HashSet};

pub(super) fn check(file: &File, problems: &mut Problems<'_>) {
    if file.routes.is_empty() {
        if file.services.len() > 1 {
            let message = format!("there are {} services, and no routes lead to them", file.services.len());
            let last = problems.at_key(Code::RoutesMissing, &Place::root().key("services"), message);
            let first = file.services.keys().next().map_or("shop", String::as_str);
            last.help(format!("add `routes: [{{ hostnames: [{first}.example.com], service: {first} }}, ..]`"));
        }
        return;
    }
    let place = Place::root().key("routes");
    let mut named: HashMap<&str, Place> = HashMap::new();
    let mut seen: HashMap<String, Place> = HashMap::new();
    for (index, route) in file.routes.iter().enumerate() {
        let place = place.index(index);
        check_route(file, route, &place, problems);
        if let Some(name) = &route.name {
            let place = place.key("name");
            names::check_value(name, "route", &place, problems);
            if let Some(first) = named.get(name.as_str()) {
                let last = problems.at(Code::DuplicateRoute, &place, format!("a second route `{name}`"));
                last.also(first, "the first one").help("give one of them another name");
            } else {
                named.insert(name, place);
            }
        }
        check_reached(route, place, &mut seen, problems);
    }
    let used: HashSet<&str> = file.routes.iter().filter_map(|route| route.service.as_deref()).collect();
    if used.iter().any(|name| !file.services.contains_key(*name)) {
        return; // a misspelt name most likely meant one of the services that seem to be left out
    }
    for name in file.services.keys().filter(|name| !used.contains(name.as_str())) {
        let place = Place::root().key("services").key(name.as_str());
        let last = problems.at_key(Code::ServiceUnreached, &place, format!("no route leads to the service `{name}`"));
        last.help(format!("add `{{ service: {name} }}` with its hosts to `routes`, or remove the service"));
    }
}

fn check_route(file: &File, route: &Route, place: &Place, problems: &mut Problems<'_>) {
    if let Some(service) = &route.service
        && !file.services.contains_key(service)
    {
        let message = format!("the service `{service}` does not exist");
        let last = problems.at(Code::UnknownService, &place.key("service"), message);
        last.help_with(|| known(service, "services", file.services.keys().map(String::as_str)));
    }
    redirects::check(route, place, problems);
    if let Some(limit) = &route.rate_limit {
        limits::check(limit, true, &place.key("rateLimit"), problems);
    }
    let subject = Subject { file, has_assignment: route.service.is_some() };
    edits::check(route.request_headers.as_ref(), route.response_headers.as_ref(), subject, place, problems);
    for (index, host) in route.hostnames.iter().enumerate() {
        check_host(host, &place.key("hostnames").index(index), problems);
    }
    for (index, matches) in route.matches.iter().enumerate() {
        check_match(matches, &place.key("matches").index(index), problems);
    }
    let timeouts = place.key("timeouts");
    check_not_zero("connect", route.timeouts.connect, &timeouts, problems);
    check_not_zero("idle", route.timeouts.idle, &timeouts, problems);
    if let Some(retry) = &route.retry {
        resilience::check_retry(file, route, retry, &place.key("retry"), problems);
    }
}

fn check_match(matches: &RouteMatch, place: &Place, problems: &mut Problems<'_>) {
    if *matches == RouteMatch::default() {
        let last = problems.at(Code::EmptyList, place, "this match says nothing");
        last.help(format!("add one of {}, or remove `matches`", listed(["path", "method", "headers", "query"])));
    }
    match &matches.path {
        Some(PathMatch::Exact(path)) => check_path(path, &place.key("path").key("exact"), problems),
        Some(PathMatch::Prefix(path)) => check_path(path, &place.key("path").key("prefix"), problems),
        Some(PathMatch::Regex(pattern)) => check_regex(pattern, &place.key("path").key("regex"), problems),
        None => {}
    }
    for (index, method) in matches.method.iter().enumerate() {
        check_method(method, &place.key("method").index(index), problems);
    }
    for (index, field) in matches.headers.iter().enumerate() {
        let place = place.key("headers").index(index);
        check_field(field, &place, problems);
        if !field.name.is_empty() && check_header_name(&field.name, &place.key("name"), problems) {
            check_not_stripped(&field.name, &place.key("name"), problems);
        }
    }
    for (index, field) in matches.query.iter().enumerate() {
        check_field(field, &place.key("query").index(index), problems);
    }
}

/// Ties go by order, so a route with the conditions of an earlier one gets nothing.
fn check_reached(route: &Route, place: Place, seen: &mut HashMap<String, Place>, problems: &mut Problems<'_>) {
    let mut hosts: Vec<String> = route.hostnames.iter().map(|host| host.to_ascii_lowercase()).collect();
    hosts.sort();
    let mut matches: Vec<String> = route.matches.iter().map(|matches| format!("{matches:?}")).collect();
    matches.sort();
    let conditions = format!("{hosts:?}{matches:?}");
    if let Some(first) = seen.get(&conditions) {
        let message = "this route is never reached: an earlier one has the same conditions";
        let last = problems.at(Code::RouteUnreached, &place.key("service"), message);
        last.also(&first.key("service"), "this one takes its requests").help("remove it, or narrow its conditions");
    } else {
        seen.insert(conditions, place);
    }
}
