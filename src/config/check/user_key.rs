//! `hashOn`: where the user key is read.

use super::can_claims_be_believed;
use super::problems::Problems;
use super::texts::{check_cookie_name, check_header_name};
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{File, KeySource, Service};
use std::collections::{HashMap, HashSet};

/// Headers whose value is another one with each request: everyone would be reassigned all the time.
const PER_REQUEST: [&str; 16] = [
    "x-request-id",
    "request-id",
    "x-correlation-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "traceparent",
    "tracestate",
    "x-b3-traceid",
    "x-b3-spanid",
    "b3",
    "uber-trace-id",
    "cf-ray",
    "date",
    "if-modified-since",
    "content-length",
    "idempotency-key",
];

pub(super) fn check(file: &File, service: &Service, place: &Place, problems: &mut Problems<'_>) {
    let Some(sources) = &service.hash_on else { return };
    if sources.is_empty() {
        let last = problems.at(Code::EmptyHashOn, place, "`hashOn` is empty: there is nothing to tell users apart");
        last.help("write `hashOn: [{ cookie: uid }, clientIP]`, or remove the key for `[clientIP]`");
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut repeated = HashSet::new();
    for (index, source) in sources.iter().enumerate() {
        let at = place.index(index);
        check_source(file, source, &at, problems);
        if let Some(first) = seen.get(&identity(source)) {
            repeated.insert(index);
            let last = problems.at(Code::RepeatedKeySource, &at, "this source stands in the list before");
            last.also(&place.index(*first), "first here").help("remove one of the two");
        } else {
            seen.insert(identity(source), index);
        }
    }
    // Every request has an address, and whoever has no cookie is issued one: nothing is read after these. The
    // address right after a cookie is harmless: it says what becomes of clients that refuse cookies.
    let ends = |source: &KeySource| matches!(source, KeySource::ClientIp | KeySource::IssueCookie(_));
    let Some(end) = sources.iter().position(ends) else { return };
    for at in end + 1..sources.len() {
        let is_harmless =
            at == end + 1 && matches!((&sources[end], &sources[at]), (KeySource::IssueCookie(_), KeySource::ClientIp));
        if !is_harmless && !repeated.contains(&at) {
            let message = "this source is never reached: one before it always has a value";
            let last = problems.at(Code::KeySourceUnreached, &place.index(at), message);
            last.also(&place.index(end), "always has a value").help("put the most specific source first");
        }
    }
}

fn check_source(file: &File, source: &KeySource, place: &Place, problems: &mut Problems<'_>) {
    match source {
        KeySource::Header(name) => {
            let place = place.key("header");
            check_header_name(name, &place, problems);
            let lower = name.to_ascii_lowercase();
            if PER_REQUEST.contains(&lower.as_str()) {
                let message =
                    format!("`{name}` is another one with each request: users would change versions all the time");
                let last = problems.at(Code::PerRequestKey, &place, message);
                last.help("use what stays with a user: { cookie: uid }, { header: x-user-id } or clientIP");
            }
            check_not_stripped(name, &place, problems);
        }
        KeySource::Cookie(name) => check_cookie_name(name, &place.key("cookie"), problems),
        KeySource::IssueCookie(name) => check_cookie_name(name, &place.key("issueCookie"), problems),
        KeySource::Query(name) if name.is_empty() => {
            problems.at(Code::EmptyText, &place.key("query"), "the name of the query parameter is empty");
        }
        KeySource::JwtClaim(name) => {
            let place = place.key("jwtClaim");
            if name.is_empty() {
                problems.at(Code::EmptyText, &place, "the name of the claim is empty");
            }
            check_claim(file, &place, problems);
        }
        KeySource::Query(_) | KeySource::ClientIp => {}
    }
}

/// Claims count only when a listener verifies tokens, or a trusted proxy did.
pub(super) fn check_claim(file: &File, place: &Place, problems: &mut Problems<'_>) {
    if !can_claims_be_believed(file) {
        let last =
            problems.at(Code::ClaimWithoutKeys, place, "no listener verifies tokens: the claim is never believed");
        last.help("add `jwt: { keysFile: jwks.json }` to the listener");
    }
}

/// Ringway removes its own headers from requests before anything reads them.
pub(super) fn check_not_stripped(name: &str, place: &Place, problems: &mut Problems<'_>) {
    let lower = name.to_ascii_lowercase().replace(['_', '.'], "-");
    if lower.starts_with("x-ringway-") {
        let message = format!("the header `{name}` is removed from requests before anything reads it");
        problems.at(Code::StrippedHeader, place, message).help("choose a header of your own");
    }
}

/// Equal for sources that read the same: names of headers have no case.
fn identity(source: &KeySource) -> String {
    match source {
        KeySource::Header(name) => format!("header {}", name.to_ascii_lowercase()),
        other => format!("{other:?}"),
    }
}
