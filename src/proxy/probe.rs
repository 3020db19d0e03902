//! Requests of our own, by which a cohort that is too small to speak gets a signal.
//!
//! They take the way of every request, from the route to the endpoint, on connections that the control thread hands to
//! a worker within the process. The connection is what makes them probes: nothing that a client sends can. They name
//! their variant, stand for any client that they like, and leave no trace in what is recorded of users.

use http::{HeaderMap, HeaderValue};
use ipnet::{IpNet, Ipv4Net};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use tokio::net::TcpStream;

use super::connection::{self, Connection, Origin};
use super::error::ProxyError;
use super::forward::Decision;
use super::worker::Worker;
use crate::routing::client::{ClientAddr, client_ip};
use crate::routing::forged::X_RINGWAY_PROBE;
use crate::routing::snapshot::ListenerRules;

/// What the endpoint is told.
const TOLD: HeaderValue = HeaderValue::from_static("1");

/// A probe comes from here, and is believed whatever it says of the client that it stands for.
static OURSELVES: [IpNet; 1] = [IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 32))];

/// Serves a connection of our own as if it had come to a listener.
pub(super) fn serve(worker: &Rc<Worker>, listener: SocketAddr, stream: std::net::TcpStream) {
    let current = worker.current();
    let Some(rules) = current.rules(&listener).cloned() else { return };
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    if worker.open_connection(&rules) {
        let serving = connection::serve(worker.clone(), listener, rules, stream, peer, Origin::Ourselves);
        tokio::task::spawn_local(serving);
    }
}

/// Who the client of a request is and, for a probe, the variant that it names. To be called before what is ours is
/// removed. Of requests of clients nothing is believed here that a listener does not believe.
#[inline]
pub(super) fn whose(
    connection: &Connection,
    rules: &ListenerRules,
    headers: &HeaderMap,
) -> (ClientAddr, Option<HeaderValue>) {
    let peer = connection.peer.ip();
    match connection.origin {
        Origin::Clients => (client_ip(peer, &rules.trust.proxies, headers), None),
        Origin::Ourselves => (client_ip(peer, &OURSELVES, headers), headers.get(&X_RINGWAY_PROBE).cloned()),
    }
}

/// Gives a probe the variant that it names, and tells the endpoint that it is one.
#[inline]
pub(super) fn decide(
    decision: &mut Decision<'_>,
    wanted: Option<HeaderValue>,
    headers: &mut HeaderMap,
) -> Result<(), ProxyError> {
    let Some(wanted) = wanted else { return Ok(()) };
    let named = decision.service.variants.iter().position(|variant| variant.name.as_bytes() == wanted.as_bytes());
    (decision.variant, decision.is_probe) = (named.ok_or(ProxyError::NoRoute)?, true);
    headers.insert(X_RINGWAY_PROBE, TOLD);
    Ok(())
}
