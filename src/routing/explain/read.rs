//! The parts of an imagined request, held to the same rules as those of a real one.

use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};

use super::{ImaginedRequest, Refusal, clean};
use crate::routing::host;
use crate::routing::request::{Destination, Refused, validate};
use crate::routing::snapshot::ListenerLimits;

/// What a header line has beside name and value: `: ` and the end of the line.
const LINE_BYTES: usize = 4;

/// A request as it would come by HTTP/1.1.
pub(super) struct Read {
    pub(super) destination: Destination,
    pub(super) uri: Uri,
    /// With the host of the URL, where no header names another.
    pub(super) headers: HeaderMap,
}

impl Read {
    /// The path as it is matched.
    pub(super) fn path(&self) -> &str {
        self.destination.matched_path.as_deref().unwrap_or_else(|| self.uri.path())
    }

    /// The query, without `?`.
    pub(super) fn query(&self) -> Option<&str> {
        self.uri.query()
    }
}

pub(super) fn read(request: &ImaginedRequest, limits: &ListenerLimits) -> Result<Read, Refusal> {
    let Some((authority, target)) = split(&request.url) else {
        let message = format!("`{}` is not an absolute URL", request.url);
        return Err(Refusal { status: StatusCode::BAD_REQUEST.as_u16(), message: clean(&message), location: None });
    };
    let mut headers = request.headers.clone();
    if !headers.contains_key(header::HOST) {
        let host = HeaderValue::from_bytes(authority.as_bytes());
        headers.insert(header::HOST, host.map_err(|_| Refused::Host(host::HostProblem::Character))?);
    }
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let too_long = Refused::TargetTooLong { bytes: target.len(), limit: limits.target_bytes };
    let uri: Uri = match target.parse() {
        Ok(uri) => uri,
        Err(_) if target.len() > limits.target_bytes => return Err(too_long.into()),
        Err(_) => return Err(Refused::Target.into()),
    };
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_BYTES).sum::<usize>();
    if bytes > limits.header_bytes {
        let message = format!("the header fields have {bytes} bytes, and the limit is {}", limits.header_bytes);
        return Err(Refusal { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.as_u16(), message, location: None });
    }
    let destination =
        validate(&request.method, &uri, Version::HTTP_11, &headers, crate::upstream::Fields::of(&headers), limits)?;
    Ok(Read { destination, uri, headers })
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        Refusal { status: refused.status().as_u16(), message: refused.to_string(), location: None }
    }
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
