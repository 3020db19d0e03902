//! The parts of an imagined request, held to the same rules as those of a real one.

use http::{Method, header};

use super::{ImaginedRequest, Refusal, clean};
use crate::routing::snapshot::ListenerLimits;
use crate::routing::{host, path};

/// Where a request wants to go.
pub(super) struct Target {
    pub(super) host: String,
    /// As it is matched.
    pub(super) path: String,
    pub(super) query: Option<String>,
}

pub(super) fn read(request: &ImaginedRequest, limits: &ListenerLimits) -> Result<Target, Refusal> {
    let refuse = |status: u16, message: String| Refusal { status, message: clean(&message) };
    if request.method == Method::CONNECT || request.method == Method::TRACE {
        return Err(refuse(405, format!("{} is not served", request.method)));
    }
    let Some((authority, target)) = split(&request.url) else {
        return Err(refuse(400, format!("`{}` is not an absolute URL", request.url)));
    };
    if target.len() > limits.target_bytes {
        let message = format!("the target has {} bytes; the limit is {}", target.len(), limits.target_bytes);
        return Err(refuse(414, message));
    }
    if request.headers.len() > limits.header_fields {
        let message = format!("{} header fields; the limit is {}", request.headers.len(), limits.header_fields);
        return Err(refuse(431, message));
    }
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let named = hosts.next().map_or(authority.as_bytes(), |host| host.as_bytes());
    if hosts.next().is_some() {
        return Err(refuse(400, "the header host stands there twice".to_owned()));
    }
    let host = host::parse(named).map_err(|problem| refuse(400, problem.to_string()))?.name.into_owned();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    let normalised = path::normalise(path).map_err(|problem| refuse(400, problem.to_string()))?;
    Ok(Target { host, path: normalised.matched.into_owned(), query })
}

/// The port that a URL names.
pub(super) fn port(url: &str) -> Option<u16> {
    host::parse(split(url)?.0.as_bytes()).ok()?.port
}

/// Host with port, and path with query: what a client makes of a URL. User and fragment are not sent.
fn split(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (!host.is_empty()).then_some((host, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_as_a_client_splits_it() {
        for (url, parts) in [
            ("https://a.example", Some(("a.example", ""))),
            ("HTTP://a.example:80/x?y=z#f", Some(("a.example:80", "/x?y=z"))),
            ("https://a.example?y=/", Some(("a.example", "?y=/"))),
            ("https://u:p@a.example/@", Some(("a.example", "/@"))),
            ("ws://[::1]:8080/", Some(("[::1]:8080", "/"))),
            ("https:///x", None),
            ("ftp://a.example/", None),
            ("a.example/", None),
            ("", None),
        ] {
            assert_eq!(split(url), parts, "{url}");
        }
        assert_eq!(port("http://a.example:8080/"), Some(8080));
        assert_eq!(port("http://a.example/"), None);
    }
}
