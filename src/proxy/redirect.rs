//! Redirects and rewrites of the file, on real requests.

use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Response, Uri, Version, request};

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
    pub(super) has_body: bool,
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
    if asked.has_body && asked.head.version != Version::HTTP_2 {
        // nobody reads this body: what comes after it could be read in two ways
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(Some(response))
}

/// Changes what the service is asked for, after all was decided by what the client asked for.
pub(super) fn rewrite(found: Found<'_>, uri: &Uri, destination: &mut Destination) {
    let Some(rewrite) = &found.route.rewrite else { return };
    if let Some(hostname) = &rewrite.hostname {
        destination.authority = Some(hostname.clone());
    }
    let Some(came) = target(destination, uri) else { return };
    // `OPTIONS *` was answered before, so this is a path
    let rewritten = rewrite.target(came.path(), came.query(), found.segments);
    if let Some(rewritten) = rewritten {
        destination.target = Some(Uri::from(rewritten));
    }
}

fn target<'r>(destination: &'r Destination, uri: &'r Uri) -> Option<&'r PathAndQuery> {
    destination.target.as_ref().unwrap_or(uri).path_and_query()
}
