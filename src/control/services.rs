//! The endpoints of variants, as people see them.

use crate::routing::snapshot::Variant;
use crate::upstream::{Endpoint, EndpointState, Target, Upstream};
use std::time::Instant;

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointView {
    /// Its address, or its name where nobody knows an address yet.
    pub address: String,
    /// `ready`, `ejected`, `unhealthy`, `draining` or `unresolved`.
    pub state: &'static str,
    /// Requests on their way to it.
    pub in_flight: u64,
    /// A person took it out of use.
    pub is_drained: bool,
    /// Why it is not in use.
    pub last_error: Option<String>,
}

/// The endpoints of a variant now.
pub fn endpoints(variant: &Variant, now: Instant) -> Vec<EndpointView> {
    let upstream = &variant.upstream;
    let resilience = &upstream.spec().resilience;
    let known = upstream.endpoints();
    let known = known.iter().map(|endpoint| {
        let (state, last_error) = match endpoint.state(resilience, now) {
            EndpointState::Healthy => ("ready", None),
            EndpointState::Unhealthy => ("unhealthy", Some("health checks fail".to_owned())),
            EndpointState::Draining => ("draining", None),
            EndpointState::Ejected => ("ejected", Some(ejected_because(endpoint.failures_in_a_row()))),
        };
        let in_flight = u64::from(endpoint.load().requests());
        let is_drained = endpoint.is_drained();
        EndpointView { address: endpoint.text().to_owned(), state, in_flight, is_drained, last_error }
    });
    let mut endpoints: Vec<EndpointView> = known.collect();
    if !upstream.is_resolved() {
        endpoints.extend(upstream.spec().targets.iter().filter_map(|target| match target {
            Target::Address(_) => None,
            Target::Name(name, port) => Some(EndpointView {
                address: format!("{name}:{port}"),
                state: "unresolved",
                in_flight: 0,
                is_drained: false,
                last_error: Some("the name has no address yet".to_owned()),
            }),
        }));
    }
    endpoints
}

/// What it means for an endpoint that a person takes it out of use or puts it back.
///
/// `instead` is the variant that serves when this one cannot, if there is one.
pub fn drained_in_words(upstream: &Upstream, endpoint: &Endpoint, is_drain: bool, instead: Option<&str>) -> String {
    let (address, now) = (endpoint.text(), Instant::now());
    let members = upstream.endpoints();
    let is_other = |other: &&std::sync::Arc<Endpoint>| other.address() != endpoint.address() && !other.is_drained();
    let others = members.iter().filter(is_other).count();
    match is_drain {
        true if others == 0 => match instead {
            Some(fallback) => {
                format!("{address} is drained; it was the last one, so {fallback} serves this variant's users")
            }
            None => format!("{address} is drained; it was the last one, and nobody else serves: its users get 503"),
        },
        true => format!("{address} is drained: what is in flight is finished, new requests go to the other {others}"),
        false if endpoint.is_paused(now) || endpoint.is_ejected(now) => {
            format!("{address} is no longer drained, and comes back when its ejection ends")
        }
        false => format!("{address} is in use"),
    }
}

fn ejected_because(failures: u32) -> String {
    match failures {
        0 => "its answers failed".to_owned(),
        1 => "the last connection to it failed".to_owned(),
        several => format!("the last {several} connections to it failed"),
    }
}
