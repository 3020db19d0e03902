//! Where clients are sent instead, and what services are asked for instead, as in the Gateway API.

use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::borrow::Cow;

/// Sends clients to another address.
#[derive(Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// True for `https`, false for `http`; `None`: as the client came.
    pub https: Option<bool>,
    /// The host; `None`: as the client came.
    pub hostname: Option<Box<str>>,
    /// The port; `None`: that of the scheme where one is given, else as the client came.
    pub port: Option<u16>,
    /// The path; `None`: as the client came.
    pub path: Option<PathEdit>,
}

/// What the service is asked for instead.
#[derive(Debug)]
pub struct Rewrite {
    /// The host.
    pub hostname: Option<HeaderValue>,
    /// The path.
    pub path: Option<PathEdit>,
}

/// A change of a path.
#[derive(Debug, PartialEq, Eq)]
pub enum PathEdit {
    /// This path instead of all of it.
    Full(Box<str>),
    /// This, without a slash at its end, instead of the segments that the route matched.
    Prefix(Box<str>),
}

/// A request's address, as the client sees it.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'o> {
    /// It came by TLS, as far as that is known.
    pub is_https: bool,
    /// Host and, where the client wrote one, port.
    pub authority: &'o str,
    /// The path as it is passed on.
    pub path: &'o str,
    /// The query, without `?`.
    pub query: Option<&'o str>,
    /// How many segments of the path the route matched as its prefix.
    pub segments: usize,
}

/// Characters that RFC 3986 does not let stand in a path or a query.
const NOT_IN_URLS: AsciiSet = CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'#');

impl PathEdit {
    /// The prefix form of a text of the file.
    pub fn prefix(text: &str) -> PathEdit {
        PathEdit::Prefix(text.trim_end_matches('/').into())
    }

    /// The path that comes out for `path`, of which the route matched so many segments. It begins with one slash.
    ///
    /// ```text
    /// matched /foo, prefix /xyz:  /foo/bar → /xyz/bar    /foo → /xyz    /foo/ → /xyz/
    /// matched /foo, prefix "":    /foo/bar → /bar        /foo → /       /foo/ → /
    /// ```
    pub fn apply<'p>(&'p self, path: &'p str, segments: usize) -> Cow<'p, str> {
        match self {
            PathEdit::Full(full) => Cow::Borrowed(full),
            PathEdit::Prefix(prefix) => {
                let rest = behind(path, segments);
                if prefix.is_empty() {
                    // two slashes at the begin would be read as a host where this is taken for a reference
                    let rest = rest.trim_start_matches('/');
                    return Cow::Owned(format!("/{rest}"));
                }
                Cow::Owned(format!("{prefix}{rest}"))
            }
        }
    }
}

impl Redirect {
    /// The `Location` for a request; `None` for a request that is there already.
    pub fn location(&self, from: &Origin<'_>) -> Option<HeaderValue> {
        let is_https = self.https.unwrap_or(from.is_https);
        let (came_host, came_port) = split_port(from.authority);
        let host = self.hostname.as_deref().unwrap_or(came_host);
        let usual = |is_https: bool| if is_https { 443 } else { 80 };
        let came_port = came_port.unwrap_or(usual(from.is_https));
        let port = self.port.unwrap_or(if self.https.is_some() { usual(is_https) } else { came_port });
        let path = self.path.as_ref().map_or(Cow::Borrowed(from.path), |edit| edit.apply(from.path, from.segments));
        let is_there =
            is_https == from.is_https && host.eq_ignore_ascii_case(came_host) && port == came_port && path == from.path;
        if is_there {
            return None;
        }
        let mut location = String::new();
        // a client of HTTP/1.0 need not say which host it means
        if !host.is_empty() {
            location.push_str(if is_https { "https://" } else { "http://" });
            location.push_str(host);
            if port != usual(is_https) {
                location.push(':');
                location.push_str(&port.to_string());
            }
        }
        location.extend(utf8_percent_encode(&path, &NOT_IN_URLS));
        if let Some(query) = from.query {
            location.push('?');
            location.extend(utf8_percent_encode(query, &NOT_IN_URLS));
        }
        HeaderValue::from_str(&location).ok()
    }
}

impl Rewrite {
    /// The target that the service is asked for; `None` where the path stays.
    pub fn target(&self, path: &str, query: Option<&str>, segments: usize) -> Option<PathAndQuery> {
        let path = self.path.as_ref()?.apply(path, segments);
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        };
        PathAndQuery::try_from(target).ok()
    }
}

/// What is left of a path behind so many segments: empty, or with a slash at its begin. Runs of slashes count as
/// one, as they do when prefixes are matched.
fn behind(path: &str, segments: usize) -> &str {
    let mut rest = path;
    for _ in 0..segments {
        let segment = rest.trim_start_matches('/');
        rest = segment.find('/').map_or("", |end| &segment[end..]);
    }
    rest
}

/// Host and port of an authority that was found valid.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in the description of `ReplacePrefixMatch` (Gateway API, `HTTPPathModifier`), and what it leaves open.
    #[test]
    fn prefixes_are_replaced_as_in_the_gateway_api() {
        for (path, matched, replacement, result) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            // not in that table
            ("/foo", "/foo", "/xyz/", "/xyz"),
            ("/foo/bar/", "/foo/bar", "/x/y", "/x/y/"),
            ("/foo/bar", "/", "/xyz", "/xyz/foo/bar"),
            ("/", "/", "/xyz", "/xyz/"),
            ("/foo//bar", "/foo", "", "/bar"),
            ("//foo//bar", "/foo", "/xyz", "/xyz//bar"),
            ("/foo//a.example/", "/foo", "/", "/a.example/"),
            ("/f%6Fo/b%20r", "/foo", "/xyz", "/xyz/b%20r"),
        ] {
            let segments = matched.trim_end_matches('/').matches('/').count();
            assert_eq!(PathEdit::prefix(replacement).apply(path, segments), result, "{path} {matched} {replacement:?}");
        }
        assert_eq!(PathEdit::Full("/new".into()).apply("/foo/bar", 1), "/new");
    }

    fn redirect(https: Option<bool>, hostname: Option<&str>, port: Option<u16>, path: Option<&str>) -> Redirect {
        let path = path.map(PathEdit::prefix);
        Redirect { status: StatusCode::FOUND, https, hostname: hostname.map(Into::into), port, path }
    }

    fn location(redirect: &Redirect, url: &str) -> Option<String> {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (authority, target) = rest.split_at(rest.find('/').unwrap());
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let from = Origin { is_https: scheme == "https", authority, path, query, segments: 1 };
        redirect.location(&from).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_is_not_written_stays_and_well_known_ports_are_left_out() {
        for (redirect, url, expected) in [
            (redirect(Some(true), None, None, None), "http://a.example/x?y=z", "https://a.example/x?y=z"),
            (redirect(Some(true), None, None, None), "http://a.example:8080/x", "https://a.example/x"),
            (redirect(Some(true), None, Some(8443), None), "http://a.example/x", "https://a.example:8443/x"),
            (redirect(Some(true), None, Some(443), None), "http://a.example/x", "https://a.example/x"),
            (redirect(Some(false), None, Some(443), None), "http://a.example/x", "http://a.example:443/x"),
            (redirect(None, Some("b.example"), None, None), "http://a.example:8080/x", "http://b.example:8080/x"),
            (redirect(None, Some("b.example"), None, None), "https://a.example/x", "https://b.example/x"),
            (redirect(None, None, None, Some("/new")), "http://[::1]:81/foo/bar", "http://[::1]:81/new/bar"),
            (redirect(None, None, None, Some("")), "http://a.example/foo//b.example/", "http://a.example/b.example/"),
        ] {
            assert_eq!(location(&redirect, url).as_deref(), Some(expected), "{redirect:?} {url}");
        }
    }

    #[test]
    fn a_request_that_is_there_already_is_not_sent_anywhere() {
        for (redirect, url) in [
            (redirect(Some(true), None, None, None), "https://a.example/x"),
            (redirect(None, Some("A.example"), None, None), "http://a.example:80/x?y"),
            (redirect(None, None, None, Some("/foo")), "http://a.example/foo/bar"),
        ] {
            assert_eq!(location(&redirect, url), None, "{redirect:?} {url}");
        }
    }

    #[test]
    fn nothing_of_a_request_ends_the_header() {
        let to = redirect(Some(true), None, None, None);
        let from = Origin {
            is_https: false,
            authority: "a.example",
            path: "/a\r\nset-cookie: x=1/\"<>",
            query: Some("é\r\n\r\n<script>"),
            segments: 0,
        };
        let location = to.location(&from).unwrap();
        let text = location.to_str().unwrap();
        assert_eq!(text, "https://a.example/a%0D%0Aset-cookie:%20x=1/%22%3C%3E?%C3%A9%0D%0A%0D%0A%3Cscript%3E");
    }

    proptest::proptest! {
        #[test]
        fn a_replaced_path_is_a_path(path in "(/{1,2}[a-c.%]{0,3}){1,5}", segments in 0usize..4, to in "(/[x-z]{1,2}){0,2}/?") {
            let edit = PathEdit::prefix(&to);
            let result = edit.apply(&path, segments.min(path.split('/').filter(|part| !part.is_empty()).count()));
            proptest::prop_assert!(result.starts_with('/'), "{}", result);
            proptest::prop_assert!(!edit.eq(&PathEdit::prefix("")) || !result.starts_with("//"), "{}", result);
        }
    }
}
