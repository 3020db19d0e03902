//! Redirects and rewrites of the file, on real requests.

use http::header;
use http::uri::PathAndQuery;
use http::{Response, Uri, request};

use super::edit;
use super::error::ProxyError;
use crate::routing::Snapshot;
use crate::routing::client::ClientAddr;
use crate::routing::redirect::Origin;
use crate::routing::request::Destination;
use crate::routing::routes::Found;

/// What a request is, as far as redirects look at it.
pub(super) struct Asked<'r> {
    pub(super) head: &'r request::Parts,
    pub(super) destination: &'r Destination,
    pub(super) client: ClientAddr,
    pub(super) is_https: bool,
}

/// The answer of a route that sends clients elsewhere; `None` when the request is for the route's service.
pub(super) fn answer(
    found: Found<'_>,
    asked: &Asked<'_>,
    snapshot: &Snapshot,
) -> Result<Option<Response<()>>, ProxyError> {
    let route = found.route;
    let Some(redirect) = &route.redirect else { return Ok(None) };
    let target = target(asked.destination, &asked.head.uri);
    let authority = asked.destination.authority.as_ref().and_then(|authority| authority.to_str().ok());
    let from = Origin {
        is_https: asked.is_https,
        authority: authority.unwrap_or_default(),
        path: target.map_or("/", PathAndQuery::path),
        query: target.and_then(PathAndQuery::query),
        segments: found.segments,
    };
    let Some(location) = redirect.location(&from) else {
        // nobody may be sent where he is: with a service behind it he has arrived, without one he would go in circles
        return if route.service.is_some() { Ok(None) } else { Err(ProxyError::Loop) };
    };
    let mut response = Response::new(());
    *response.status_mut() = redirect.status;
    let headers = response.headers_mut();
    edit::local(headers, route, snapshot, asked.client, &asked.head.headers);
    headers.insert(header::LOCATION, location);
    Ok(Some(response))
}

/// What the service is asked for where that is not what the client asked for, by which all was decided.
pub(super) fn rewrite(found: Found<'_>, head: &mut request::Parts, destination: &Destination) -> Option<Destination> {
    let rewrite = found.route.rewrite.as_ref()?;
    // `OPTIONS *` was answered before, so this is a path
    let came = target(destination, &head.uri)?;
    let target = rewrite.target(came.path(), came.query(), found.segments);
    if let Some(hostname) = &rewrite.hostname {
        head.headers.insert(header::HOST, hostname.clone());
    }
    Some(destination.rewritten(rewrite.hostname.clone(), target.map(Uri::from)))
}

fn target<'r>(destination: &'r Destination, uri: &'r Uri) -> Option<&'r PathAndQuery> {
    destination.target.as_ref().unwrap_or(uri).path_and_query()
}
