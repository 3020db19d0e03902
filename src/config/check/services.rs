//! `services`: variants, endpoints, headers, fallback, override and salt. Weights, the user key and cohorts have
//! files of their own.

use super::edits::{self, Subject};
use super::listeners::check_networks;
use super::problems::Problems;
use super::texts::{check_header_name, check_header_value, endpoint_error};
use super::{cohorts, faults, mirror, names, resilience, tls, user_key, weights};
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{File, Override, Service, Variant};
use crate::config::suggest::known;
use std::collections::HashMap;

/// The endpoints and headers of a variant, sorted: two variants with the same ones are one version.
type Destination<'s> = (Vec<&'s String>, Vec<(&'s String, &'s String)>);

pub(super) fn check(file: &File, problems: &mut Problems<'_>) {
    let root = Place::root().key("services");
    if file.services.is_empty() {
        let last = problems.anywhere(Code::NoServices, "there is no service");
        last.help("add `services: { shop: { variants: { stable: { endpoints: [127.0.0.1:3001] } } } }`");
    }
    names::check_similar(
        file.services.keys().map(|name| (name.as_str(), root.key(name.as_str()))),
        "service",
        problems,
    );
    for (name, service) in &file.services {
        let place = root.key(name.as_str());
        names::check_key(name, "service", &place, problems);
        check_service(file, service, &place, problems);
    }
}

fn check_service(file: &File, service: &Service, place: &Place, problems: &mut Problems<'_>) {
    check_variants(file, service, &place.key("variants"), problems);
    weights::check(service, place, problems);
    user_key::check(file, service, &place.key("hashOn"), problems);
    cohorts::check(file, service, &place.key("cohorts"), problems);
    if let Some(rule) = &service.override_ {
        check_override(rule, &place.key("override"), problems);
    }
    check_salt(service, place, problems);
    mirror::check(service, &place.key("mirror"), problems);
    faults::check(service, &place.key("faults"), problems);
    if let Some(fallback) = &service.fallback
        && fallback != "none"
        && !service.variants.contains_key(fallback)
    {
        let message = format!("`fallback` names the variant `{fallback}`, which does not exist");
        let names = service.variants.keys().map(String::as_str).chain(["none"]);
        let last = problems.at(Code::UnknownVariant, &place.key("fallback"), message);
        last.help_with(|| known(fallback, "variants", names));
    }
}

fn check_variants(file: &File, service: &Service, place: &Place, problems: &mut Problems<'_>) {
    if service.variants.is_empty() {
        let last = problems.at(Code::NoVariants, place, "the service has no variants");
        last.help("add `stable: { endpoints: [127.0.0.1:3001] }`");
    }
    let names = service.variants.keys().map(|name| (name.as_str(), place.key(name.as_str())));
    names::check_similar(names, "variant", problems);
    let mut seen: HashMap<Destination<'_>, Place> = HashMap::new();
    for (name, variant) in &service.variants {
        let place = place.key(name.as_str());
        names::check_key(name, "variant", &place, problems);
        check_variant(variant, &place, problems);
        let subject = Subject { file, has_assignment: true };
        edits::check(variant.request_headers.as_ref(), variant.response_headers.as_ref(), subject, &place, problems);
        let mut endpoints: Vec<&String> = variant.endpoints.iter().collect();
        endpoints.sort();
        let mut headers: Vec<(&String, &String)> = variant.set_headers.iter().collect();
        headers.extend(variant.request_headers.iter().flat_map(|edits| edits.set.iter().chain(&edits.add)));
        headers.sort();
        match seen.get(&(endpoints.clone(), headers.clone())) {
            Some(first) if !endpoints.is_empty() => {
                let message = format!("`{name}` leads to the same endpoints as another variant, with the same headers");
                let last = problems.at_key(Code::SameEndpoints, &place, message);
                last.also(first, "the other one").help("give each version endpoints of its own, or `setHeaders`");
            }
            _ => {
                seen.insert((endpoints, headers), place);
            }
        }
    }
}

fn check_variant(variant: &Variant, place: &Place, problems: &mut Problems<'_>) {
    let endpoints = place.key("endpoints");
    if variant.endpoints.is_empty() {
        let last = problems.at(Code::NoEndpoints, &endpoints, "the variant has no endpoints");
        last.help("add one: `endpoints: [127.0.0.1:3001]`");
    }
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (index, endpoint) in variant.endpoints.iter().enumerate() {
        if let Some(help) = endpoint_error(endpoint) {
            let message = format!("`{endpoint}` is not an endpoint, host:port");
            problems.at(Code::BadEndpoint, &endpoints.index(index), message).help(help);
        } else if let Some(first) = seen.insert(endpoint, index) {
            let message = format!("the endpoint `{endpoint}` stands here twice");
            let last = problems.at(Code::RepeatedEndpoint, &endpoints.index(index), message);
            last.also(&endpoints.index(first), "first here").help("remove one; it would get twice the requests");
        }
    }
    for (name, value) in &variant.set_headers {
        check_set_header(name, value, &place.key("setHeaders").key(name.as_str()), problems);
    }
    resilience::check_variant(variant, place, problems);
    tls::check_variant(variant, place, problems);
    if variant.version.as_deref() == Some("") {
        problems.at(Code::EmptyText, &place.key("version"), "the version is empty").help("remove the key");
    }
}

/// Headers that frame a message, name its host or tell the assignment are the proxy's own.
fn check_set_header(name: &str, value: &str, place: &Place, problems: &mut Problems<'_>) {
    const FORBIDDEN: [&str; 14] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
        "expect",
        "via",
        "forwarded",
    ];
    let lower = name.to_ascii_lowercase().replace('_', "-");
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        let last = problems.at_key(Code::BadHeaderName, place, format!("`{name}` is not a header name"));
        last.help("header names are letters, digits and `-`, such as x-feature-checkout");
    } else if FORBIDDEN.contains(&lower.as_str())
        || lower.starts_with("x-ringway-")
        || lower.starts_with("x-forwarded-")
    {
        let last =
            problems.at_key(Code::ForbiddenHeader, place, format!("the header `{name}` is set by ringway itself"));
        last.help("choose another name, such as x-feature-checkout");
    }
    check_header_value(value, place, problems);
}

fn check_override(rule: &Override, place: &Place, problems: &mut Problems<'_>) {
    let header = place.key("header");
    let is_name = check_header_name(&rule.header, &header, problems);
    if is_name && rule.header.to_ascii_lowercase().starts_with("x-ringway-") {
        let message = format!("the header `{}` is removed from requests before anything reads it", rule.header);
        problems.at(Code::ForbiddenHeader, &header, message).help("choose another name, such as x-canary");
    }
    if rule.secret_file.is_none() && rule.from.is_empty() {
        let message = "the override has neither a secret nor networks: it could never be believed";
        let last = problems.at_key(Code::OverrideUnproven, place, message);
        last.help("add `secretFile: override.key` for signed ones, or `from: [10.0.0.0/8]`");
    }
    if rule.secret_file.as_deref().is_some_and(|path| path.as_os_str().is_empty()) {
        problems.at(Code::EmptyText, &place.key("secretFile"), "the path is empty");
    }
    for (index, network) in rule.from.iter().enumerate() {
        if network.prefix_len() == 0 {
            let message = format!("`{network}` is everybody: anyone could choose their version");
            let last = problems.at(Code::OverrideFromAnyone, &place.key("from").index(index), message);
            last.help("name your own networks, or sign overrides with `secretFile`");
        }
    }
    check_networks(&rule.from, &place.key("from"), problems);
}

fn check_salt(service: &Service, place: &Place, problems: &mut Problems<'_>) {
    if service.salt.is_some() && service.salt_file.is_some() {
        let last = problems.at_key(Code::SaltTwice, &place.key("saltFile"), "the service has `salt` and `saltFile`");
        last.also(&place.key("salt"), "the other one").help("keep one of the two");
    }
    if service.salt.as_deref() == Some("") {
        let last = problems.at(Code::EmptyText, &place.key("salt"), "the salt is empty");
        last.help("remove the key for the default, the service's name");
    }
    if service.salt_file.as_deref().is_some_and(|path| path.as_os_str().is_empty()) {
        problems.at(Code::EmptyText, &place.key("saltFile"), "the path is empty");
    }
}
