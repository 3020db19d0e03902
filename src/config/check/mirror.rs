//! `mirror` of a service.

use super::problems::Problems;
use super::texts::{check_header_name, check_method};
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{Mirror, MirrorPart, Service};
use crate::config::suggest::known;
use crate::model::{EVERYONE, JsonPath};
use std::time::Duration;

/// The longest body of a request that may be copied, in bytes.
const BODY_MAX: u64 = 1 << 20;
/// The longest that a copy may take.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// The most copies of one worker that may be under way.
const IN_FLIGHT_MAX: u32 = 1024;
/// Places in JSON that may be ignored: each is looked at for each member of a body.
const PLACES_MAX: usize = 64;
/// Methods that change nothing (RFC 9110 §9.2.1).
const SAFE: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];

pub(super) fn check(service: &Service, place: &Place, problems: &mut Problems<'_>) {
    let Some(mirror) = &service.mirror else { return };
    check_to(service, mirror, place, problems);
    check_methods(mirror, &place.key("methods"), problems);
    check_cohorts(service, mirror, &place.key("cohorts"), problems);
    check_limits(mirror, place, problems);
    check_comparison(mirror, place, problems);
}

fn check_to(service: &Service, mirror: &Mirror, place: &Place, problems: &mut Problems<'_>) {
    if !service.variants.contains_key(&mirror.to) {
        let message = format!("`to` names the variant `{}`, which does not exist", mirror.to);
        let last = problems.at(Code::UnknownVariant, &place.key("to"), message);
        last.help_with(|| known(&mirror.to, "variants", service.variants.keys().map(String::as_str)));
    } else if service.variants.len() == 1 {
        let message = format!("`{}` is the only variant: it serves every request, and no request is copied", mirror.to);
        let last = problems.at(Code::MirrorOfNothing, &place.key("to"), message);
        last.help("add the variant whose answers are to be compared, with `weight: 0`");
    } else if mirror.percent.is_some_and(|percent| percent.0.is_zero()) {
        let last = problems.at(Code::MirrorOfNothing, &place.key("percent"), "0 % of the requests are copied");
        last.help("remove `mirror`, or raise the percentage");
    }
}

fn check_methods(mirror: &Mirror, place: &Place, problems: &mut Problems<'_>) {
    let Some(methods) = &mirror.methods else { return };
    if methods.is_empty() {
        problems.at(Code::EmptyList, place, "`methods` is empty").help("add GET, or remove the key");
    }
    for (index, method) in methods.iter().enumerate() {
        let place = place.index(index);
        check_method(method, &place, problems);
        if !SAFE.contains(&method.as_str()) && !method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let message = format!("a copied {method} is carried out twice, by two variants");
            let last = problems.at(Code::MirrorRepeatsChanges, &place, message);
            last.help(
                "make sure that `to` changes nothing when it sees the header x-ringway-mirror, or remove the method",
            );
        }
    }
}

fn check_cohorts(service: &Service, mirror: &Mirror, place: &Place, problems: &mut Problems<'_>) {
    let Some(cohorts) = &mirror.cohorts else { return };
    if cohorts.is_empty() {
        problems.at(Code::EmptyList, place, "`cohorts` is empty").help("add a cohort, or remove the key");
    }
    for (index, name) in cohorts.iter().enumerate() {
        if name != EVERYONE && !service.cohorts.iter().any(|cohort| cohort.name == *name) {
            let message = format!("the cohort `{name}` does not exist");
            let last = problems.at(Code::MirrorOfUnknownCohort, &place.index(index), message);
            let names = service.cohorts.iter().map(|cohort| cohort.name.as_str());
            last.help_with(|| known(name, "cohorts", names.chain([EVERYONE])));
        }
    }
}

fn check_limits(mirror: &Mirror, place: &Place, problems: &mut Problems<'_>) {
    if mirror.max_body.is_some_and(|size| size.0 > BODY_MAX) {
        problems.at(Code::LimitOutOfRange, &place.key("maxBody"), "`maxBody` must be at most 1MiB");
    }
    if mirror.max_in_flight.is_some_and(|most| !(1..=IN_FLIGHT_MAX).contains(&most)) {
        let message = format!("`maxInFlight` must be from 1 to {IN_FLIGHT_MAX}");
        problems.at(Code::LimitOutOfRange, &place.key("maxInFlight"), message);
    }
    let timeout = mirror.timeout.map(|timeout| timeout.0);
    if timeout.is_some_and(|timeout| timeout.is_zero() || timeout > TIMEOUT_MAX) {
        let last = problems.at(Code::LimitOutOfRange, &place.key("timeout"), "`timeout` must be from 1ms to 1m");
        last.help("remove the key for the default, 5s");
    }
}

fn check_comparison(mirror: &Mirror, place: &Place, problems: &mut Problems<'_>) {
    let ignored = place.key("ignore");
    let (headers, paths) = (ignored.key("headers"), ignored.key("jsonPaths"));
    for (index, name) in mirror.headers.iter().flatten().enumerate() {
        check_header_name(name, &place.key("headers").index(index), problems);
    }
    for (index, name) in mirror.ignore.headers.iter().enumerate() {
        check_header_name(name, &headers.index(index), problems);
    }
    for (index, path) in mirror.ignore.json_paths.iter().enumerate() {
        if let Err(why) = path.parse::<JsonPath>() {
            let last = problems.at(Code::BadJsonPath, &paths.index(index), format!("`{path}` is not a path: {why}"));
            last.help("write it like $.time, $.items[*].id, $['a b'] or $..traceId");
        }
    }
    if mirror.ignore.json_paths.len() > PLACES_MAX {
        problems.at(Code::LimitOutOfRange, &paths, format!("`jsonPaths` has at most {PLACES_MAX} paths"));
    }
    let compares = |part| mirror.compare.as_ref().is_none_or(|parts| parts.contains(&part));
    for (is_given, part, word, place) in [
        (mirror.headers.is_some(), MirrorPart::Headers, "headers", place.key("headers")),
        (!mirror.ignore.headers.is_empty(), MirrorPart::Headers, "headers", headers),
        (!mirror.ignore.json_paths.is_empty(), MirrorPart::Body, "body", paths),
    ] {
        if is_given && !compares(part) {
            let message = format!("this is for the comparison of the {word}, which is not compared");
            let last = problems.at_key(Code::MirrorSettingUnused, &place, message);
            last.help(format!("add `{word}` to `compare`, or remove this key"));
        }
    }
}
