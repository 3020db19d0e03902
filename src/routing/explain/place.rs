//! Where a request gets, and nothing about why: for who has many of them.

use super::{ImaginedRequest, Refusal, Snapshot, clean, listener, read, strip, traffic};
use crate::config::schema::File;
use crate::model::{Bucket, Reason};
use crate::routing::assign::Assignment;
use crate::routing::client::{ClientAddr, client_ip};
use crate::routing::snapshot::ListenerRules;
use crate::routing::view::RequestView;

/// Where a request gets; positions are those of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The service.
    pub service: usize,
    /// The cohort.
    pub cohort: usize,
    /// The variant.
    pub variant: usize,
    /// Why this variant.
    pub reason: Reason,
    /// Where the user falls; by lot without a user key.
    pub bucket: Bucket,
    /// The request brought a user key.
    pub has_key: bool,
    /// The position of the source where it was read.
    pub key_source: Option<usize>,
}

/// Places a request by the look-ups that [`explain`](super::explain) tells of.
///
/// # Errors
/// It gets to no service.
pub fn place(file: &File, snapshot: &Snapshot, request: &ImaginedRequest) -> Result<Placed, Refusal> {
    let mut unread = Vec::new();
    let default = ListenerRules::untrusting();
    let rules = listener(file, snapshot, request, &mut unread).unwrap_or(&default);
    let read = read::read(request, &rules.limits)?;
    let client = client_ip(request.peer, &rules.trust.proxies, &read.headers);
    let headers = strip(snapshot, &read.headers, client.peer_trusted, &mut unread);
    let (host, path, query) = (read.destination.host(), read.path(), read.query());
    let geo = snapshot.geo.as_deref();
    let view = RequestView::new(&request.method, host, path, query, &headers, client, &rules.trust, geo);
    let nowhere = || {
        let message = clean(&format!("no route for {} {host}{path}", request.method));
        Refusal { status: 404, message, location: None }
    };
    let found = snapshot.routes.find(&view).ok_or_else(nowhere)?;
    traffic::redirect(found, &read, request, &view, &mut unread)?;
    let service = found.route.service.ok_or_else(nowhere)?;
    Ok(Placed::of(service, &snapshot.services[service].assign(&view)))
}

/// Places a request at the service of this position, wherever the routes would lead it. What it says about the user is
/// believed, and its address is that of the user: it comes from somebody who asks on the user's behalf.
///
/// # Errors
/// No client could send it.
pub fn place_at(
    file: &File,
    snapshot: &Snapshot,
    service: usize,
    request: &ImaginedRequest,
) -> Result<Placed, Refusal> {
    let mut unread = Vec::new();
    let default = ListenerRules::untrusting();
    let rules = listener(file, snapshot, request, &mut unread).unwrap_or(&default);
    let read = read::read(request, &rules.limits)?;
    let client = ClientAddr { ip: request.peer.to_canonical(), peer_trusted: true };
    let headers = strip(snapshot, &read.headers, client.peer_trusted, &mut unread);
    let (host, path, query) = (read.destination.host(), read.path(), read.query());
    let geo = snapshot.geo.as_deref();
    let view = RequestView::new(&request.method, host, path, query, &headers, client, &rules.trust, geo);
    Ok(Placed::of(service, &snapshot.services[service].assign(&view)))
}

impl Placed {
    fn of(service: usize, assignment: &Assignment<'_>) -> Placed {
        Placed {
            service,
            cohort: assignment.cohort,
            variant: assignment.variant,
            reason: assignment.reason,
            bucket: assignment.bucket,
            has_key: assignment.user.as_ref().is_some_and(|user| user.issued().is_none()),
            key_source: assignment.user.as_ref().map(|user| user.source()),
        }
    }
}
