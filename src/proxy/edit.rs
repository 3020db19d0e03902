//! Header edits of the file, on real messages: route, then cohort, then variant.

use http::{HeaderMap, HeaderValue};
use std::net::IpAddr;

use super::additions::Additions;
use super::forward::Decision;
use super::headers::{TRACEPARENT, X_REQUEST_ID};
use crate::config::files::Country;
use crate::config::template::Variable;
use crate::routing::Snapshot;
use crate::routing::client::ClientAddr;
use crate::routing::edit::{Edits, HeaderEdits, Values};
use crate::routing::routes::Route;
use crate::routing::snapshot::Service;

/// What edits may tell of a request, beyond what was decided. Kept only for requests that have edits before them.
pub(super) struct Told {
    client: IpAddr,
    country: Option<Country>,
    request_id: Option<HeaderValue>,
}

impl Told {
    /// What is known of a request that was given its id. `None` where nothing will be edited.
    pub(super) fn of(
        route: &Route,
        service: &Service,
        snapshot: &Snapshot,
        client: ClientAddr,
        headers: &HeaderMap,
        additions: &Additions<'_>,
    ) -> Option<Box<Told>> {
        if route.edits.is_empty() && !service.has_edits {
            return None;
        }
        let uses_country = service.edits().chain([&route.edits]).any(uses_country);
        let geo = snapshot.geo.as_deref().filter(|_| uses_country);
        let country = geo.and_then(|geo| geo.facts(client.ip, headers, client.peer_trusted).country);
        let new_id = additions.request_id.as_ref().and_then(|id| HeaderValue::from_bytes(id).ok());
        let request_id = new_id.or_else(|| headers.get(X_REQUEST_ID).cloned());
        Some(Box::new(Told { client: client.ip, country, request_id }))
    }
}

/// Edits a request that is about to be sent to a variant. What may be edited is put into the map for that.
pub(super) fn request(headers: &mut HeaderMap, additions: &mut Additions<'_>, decision: &Decision<'_>, variant: usize) {
    if decision.told.is_none() {
        return;
    }
    let id = additions.request_id.take().map(|id| HeaderValue::from_bytes(&id));
    let context = additions.traceparent.take().map(|context| HeaderValue::from_bytes(&context));
    for (name, value) in [(X_REQUEST_ID, id), (TRACEPARENT, context)] {
        if let Some(Ok(value)) = value {
            headers.insert(name, value);
        }
    }
    for (name, value) in std::mem::take(&mut additions.set) {
        headers.insert(name, value.clone());
    }
    apply(headers, decision, variant, |edits| edits.request.as_deref());
}

/// Edits the copy of a request that is made for a mirror's variant.
pub(super) fn copy(headers: &mut HeaderMap, decision: &Decision<'_>, variant: usize) {
    apply(headers, decision, variant, |edits| edits.request.as_deref());
}

/// Edits the answer of a variant.
pub(super) fn response(headers: &mut HeaderMap, decision: &Decision<'_>, variant: usize) {
    apply(headers, decision, variant, |edits| edits.response.as_deref());
}

/// Edits an answer of a route that no variant was asked for.
pub(super) fn local(
    headers: &mut HeaderMap,
    route: &Route,
    snapshot: &Snapshot,
    client: ClientAddr,
    asked: &HeaderMap,
) {
    let Some(edits) = &route.edits.response else { return };
    let geo = snapshot.geo.as_deref().filter(|_| uses_country(&route.edits));
    let country = geo.and_then(|geo| geo.facts(client.ip, asked, client.peer_trusted).country);
    let request_id = asked.get(X_REQUEST_ID).filter(|_| client.peer_trusted);
    let service = route.service.map_or("", |service| &*snapshot.services[service].name);
    edits.apply(headers, &Values { service, country, client: Some(client.ip), request_id, ..Values::default() });
}

fn apply(
    headers: &mut HeaderMap,
    decision: &Decision<'_>,
    variant: usize,
    side: impl Fn(&Edits) -> Option<&HeaderEdits>,
) {
    let Some(told) = &decision.told else { return };
    let service = decision.service;
    let (cohort, variant) = (&service.cohorts[decision.cohort], &service.variants[variant]);
    let values = Values {
        service: &service.name,
        cohort: &cohort.name,
        variant: &variant.name,
        bucket: Some(decision.bucket),
        country: told.country,
        client: Some(told.client),
        request_id: told.request_id.as_ref(),
    };
    for edits in [&decision.route.edits, &cohort.edits, &variant.edits] {
        if let Some(edits) = side(edits) {
            edits.apply(headers, &values);
        }
    }
}

fn uses_country(edits: &Edits) -> bool {
    [&edits.request, &edits.response].into_iter().flatten().any(|edits| edits.uses(Variable::GeoCountry))
}
