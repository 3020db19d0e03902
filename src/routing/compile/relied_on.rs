//! The headers that rules of a file read or write: what clients send under other spellings of them is not believed.

use http::HeaderName;

use crate::config::schema;

/// Every header that a rule of the file reads.
pub(super) fn relied_on(file: &schema::File) -> Vec<HeaderName> {
    let mut names: Vec<&str> = Vec::new();
    if let Some(schema::GeoSource::Header(name)) = &file.geo {
        names.push(name);
    }
    for service in file.services.values() {
        names.extend(service.override_.as_ref().map(|override_| override_.header.as_str()));
        for source in service.hash_on.iter().flatten() {
            if let schema::KeySource::Header(name) = source {
                names.push(name);
            }
        }
        let conditions = service.cohorts.iter().filter_map(|cohort| cohort.when.as_ref());
        let gates = service.rollout.iter().flat_map(|rollout| &rollout.gates.outcomes);
        let conditions = conditions.chain(gates.filter_map(|gate| gate.among.as_ref()));
        conditions.for_each(|condition| collect_headers(condition, &mut names));
        names.extend(service.variants.values().flat_map(|variant| variant.set_headers.keys()).map(String::as_str));
        let edits = service.variants.values().map(|variant| &variant.request_headers);
        let edits = edits.chain(service.cohorts.iter().map(|cohort| &cohort.request_headers)).flatten();
        names.extend(edits.flat_map(schema::HeaderEdits::written));
    }
    let matches = file.routes.iter().flat_map(|route| &route.matches);
    names.extend(matches.flat_map(|one| &one.headers).map(|field| field.name.as_str()));
    let edits = file.routes.iter().filter_map(|route| route.request_headers.as_ref());
    names.extend(edits.flat_map(schema::HeaderEdits::written));
    let limits = file.listeners.iter().map(|listener| &listener.rate_limit);
    let limits = limits.chain(file.routes.iter().map(|route| &route.rate_limit)).flatten();
    names.extend(limits.filter_map(|limit| match &limit.key {
        schema::RateKey::Header(name) => Some(name.as_str()),
        _ => None,
    }));
    let mut names: Vec<HeaderName> =
        names.into_iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect();
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}

fn collect_headers<'f>(condition: &'f schema::Condition, names: &mut Vec<&'f str>) {
    match condition {
        schema::Condition::Any(parts) | schema::Condition::All(parts) => {
            parts.iter().for_each(|part| collect_headers(part, names));
        }
        schema::Condition::Not(part) => collect_headers(part, names),
        schema::Condition::Header(field) => names.push(&field.name),
        schema::Condition::Query(_)
        | schema::Condition::Cookie(_)
        | schema::Condition::Path(_)
        | schema::Condition::Method(_)
        | schema::Condition::Host(_)
        | schema::Condition::ClientIp(_)
        | schema::Condition::Geo(_)
        | schema::Condition::UserList(_)
        | schema::Condition::UserId(_)
        | schema::Condition::Percent(_)
        | schema::Condition::Device(_)
        | schema::Condition::JwtClaim(_) => {}
    }
}
