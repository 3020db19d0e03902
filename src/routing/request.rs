//! A request as it came, to a request that can be understood in only one way. What is not, is refused here, before
//! anything is routed and before a byte of its body is read.

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use std::borrow::Cow;
use std::fmt;

use super::host::{self, Host, HostProblem};
use super::path::{self, PathProblem};
use super::snapshot::ListenerLimits;
use crate::upstream::{Fields, http1};

/// Where a request wants to go, validated and normalised. An ordinary request needs no memory for it.
#[derive(Debug)]
pub struct Destination {
    /// The authority as it is passed on; `None` for HTTP/1.0 without `Host`.
    pub authority: Option<HeaderValue>,
    /// The path as it is matched, when it differs from the one that is passed on.
    pub matched_path: Option<String>,
    /// The target as it is passed on, when it differs from the one that came.
    pub target: Option<Uri>,
    host: HostName,
}

/// A host, as routes are looked up by it.
#[derive(Debug, PartialEq, Eq)]
enum HostName {
    /// So many bytes at the begin of the authority.
    Beginning(usize),
    /// The authority writes it in another way: in capitals, or as an IPv6 address.
    Normalised(Box<str>),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// CONNECT and TRACE are not served.
    Method,
    /// The target is longer than the listener allows.
    TargetTooLong {
        /// So many it has.
        bytes: usize,
        /// So many it may have.
        limit: usize,
    },
    /// More header fields than the listener allows.
    TooManyFields {
        /// So many it has.
        fields: usize,
        /// So many it may have.
        limit: usize,
    },
    /// The body's framing is not plain `chunked` (RFC 9112 §6.1).
    TransferEncoding,
    /// The body's length is not said once, as one number (RFC 9110 §8.6).
    ContentLength,
    /// An expectation other than `100-continue`.
    Expectation,
    /// There is no host (RFC 9112 §3.2).
    NoHost,
    /// `Host` stands there more than once.
    HostTwice,
    /// The host is not one.
    Host(HostProblem),
    /// The target's authority and `Host` differ.
    HostMismatch,
    /// The request target is not one that a proxy serves.
    Target,
    /// The path cannot be read in only one way.
    Path(PathProblem),
}

impl Destination {
    /// The same request, asked of another host or for another target where one is given.
    pub fn rewritten(&self, authority: Option<HeaderValue>, target: Option<Uri>) -> Destination {
        let authority = authority.or_else(|| self.authority.clone());
        let parsed = authority.as_ref().and_then(|authority| host::parse(authority.as_bytes()).ok());
        let host = HostName::Normalised(parsed.map_or_else(Box::default, |host| host.name.as_ref().into()));
        let target = target.or_else(|| self.target.clone());
        Destination { authority, matched_path: self.matched_path.clone(), target, host }
    }

    /// The host: lower case, without port and trailing dot; empty for HTTP/1.0 without `Host`.
    pub fn host(&self) -> &str {
        match (&self.host, &self.authority) {
            (HostName::Normalised(name), _) => name,
            // a host is ASCII, so this is text
            (HostName::Beginning(bytes), Some(authority)) => {
                authority.as_bytes().get(..*bytes).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
            }
            (HostName::Beginning(_), None) => "",
        }
    }
}

impl Refused {
    /// The status that the client gets.
    pub fn status(self) -> StatusCode {
        match self {
            Refused::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refused::TargetTooLong { .. } => StatusCode::URI_TOO_LONG,
            Refused::TooManyFields { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refused::Expectation => StatusCode::EXPECTATION_FAILED,
            Refused::TransferEncoding
            | Refused::ContentLength
            | Refused::NoHost
            | Refused::HostTwice
            | Refused::Host(_)
            | Refused::HostMismatch
            | Refused::Target
            | Refused::Path(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The short text that the client gets.
    pub fn reason(self) -> &'static str {
        match self {
            Refused::Method => "CONNECT and TRACE are not served",
            Refused::TargetTooLong { .. } => "the request target is too long",
            Refused::TooManyFields { .. } => "too many header fields",
            Refused::TransferEncoding => "the transfer-encoding is not exactly chunked",
            Refused::ContentLength => "the content-length is not exactly one number",
            Refused::Expectation => "the expectation is not 100-continue",
            Refused::NoHost => "the request has no host",
            Refused::HostTwice => "the header host stands there twice",
            Refused::Host(problem) => problem.reason(),
            Refused::HostMismatch => "the request target and the host header name different hosts",
            Refused::Target => "the request target is not one that a proxy serves",
            Refused::Path(problem) => problem.reason(),
        }
    }
}

impl fmt::Display for Refused {
    /// The reason and, for who sets the limits, the numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        if let Refused::TargetTooLong { bytes, limit } = self {
            write!(f, ": {bytes} bytes, and the limit is {limit}")?;
        }
        if let Refused::TooManyFields { fields, limit } = self {
            write!(f, ": {fields}, and the limit is {limit}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// Says where a request wants to go. `fields` are those that it has.
///
/// # Errors
/// It is none, or one that could be understood in two ways; see [`Refused`].
pub fn validate(
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
    fields: Fields,
    limits: &ListenerLimits,
) -> Result<Destination, Refused> {
    if *method == Method::CONNECT || *method == Method::TRACE {
        return Err(Refused::Method);
    }
    let bytes = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if bytes > limits.target_bytes {
        return Err(Refused::TargetTooLong { bytes, limit: limits.target_bytes });
    }
    // as an endpoint would have to store them: each line, and so each crumb of a cookie, counts
    let lines = headers.len();
    if lines > limits.header_fields {
        return Err(Refused::TooManyFields { fields: lines, limit: limits.header_fields });
    }
    if fields.has(Fields::TRANSFER_ENCODING) {
        check_framing(version, headers)?;
    }
    // HTTP/1.1 was held to it when its head was read; the library of HTTP/2 looks at the first line alone
    if version == Version::HTTP_2 && http1::content_length(headers, fields).is_err() {
        return Err(Refused::ContentLength);
    }
    if fields.has(Fields::EXPECT) {
        check_expectation(headers)?;
    }
    let (host, authority) = read_host(uri, version, headers)?;
    let (matched_path, target) = read_path(method, uri)?;
    Ok(Destination { authority, matched_path, target, host })
}

/// The only transfer coding is a single `chunked`: anything else can be understood in two ways.
fn check_framing(version: Version, headers: &HeaderMap) -> Result<(), Refused> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    let is_plain = codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if is_plain && version == Version::HTTP_11 { Ok(()) } else { Err(Refused::TransferEncoding) }
}

fn check_expectation(headers: &HeaderMap) -> Result<(), Refused> {
    let is_known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(header::EXPECT).iter().all(is_known) { Ok(()) } else { Err(Refused::Expectation) }
}

/// The host of a request (RFC 9112 §3.2, RFC 9113 §8.3.1): said once, or twice in the same words.
fn read_host(uri: &Uri, version: Version, headers: &HeaderMap) -> Result<(HostName, Option<HeaderValue>), Refused> {
    if uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(Refused::Target);
    }
    let mut fields = headers.get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Refused::HostTwice);
    }
    let of_field = field.map(|field| host::parse(field.as_bytes())).transpose().map_err(Refused::Host)?;
    let Some(authority) = uri.authority() else {
        return match (of_field, version) {
            (Some(host), _) => Ok((HostName::from(host), field.cloned())),
            (None, Version::HTTP_10 | Version::HTTP_09) => Ok((HostName::Beginning(0), None)),
            (None, _) => Err(Refused::NoHost),
        };
    };
    let of_target = host::parse(authority.as_str().as_bytes()).map_err(Refused::Host)?;
    match of_field {
        Some(field) if field != of_target => return Err(Refused::HostMismatch),
        // the target does not stand in for it (RFC 9112 §3.2)
        None if version == Version::HTTP_11 => return Err(Refused::NoHost),
        Some(_) | None => {}
    }
    let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Refused::Target)?;
    Ok((HostName::from(of_target), Some(value)))
}

impl From<Host<'_>> for HostName {
    /// A name that could be borrowed is the begin of what it was read from.
    fn from(host: Host<'_>) -> HostName {
        match host.name {
            Cow::Borrowed(name) => HostName::Beginning(name.len()),
            Cow::Owned(name) => HostName::Normalised(name.into()),
        }
    }
}

/// The path that is matched and the target that is passed on; `None` where they are what came.
fn read_path(method: &Method, uri: &Uri) -> Result<(Option<String>, Option<Uri>), Refused> {
    let Some(came) = uri.path_and_query() else { return Err(Refused::Target) };
    if came.path() == "*" {
        return if *method == Method::OPTIONS { Ok((None, None)) } else { Err(Refused::Target) };
    }
    if !came.path().starts_with('/') {
        return Err(Refused::Target);
    }
    let normalised = path::normalise(came.path()).map_err(Refused::Path)?;
    let matched = match normalised.matched {
        Cow::Borrowed(matched) if matched.len() == came.path().len() => None,
        matched => Some(matched.into_owned()),
    };
    let is_same = matches!(normalised.forwarded, Cow::Borrowed(forwarded) if forwarded.len() == came.path().len());
    // `http://shop?a=b` has no slash of its own
    let has_slash = came.as_str().starts_with('/');
    if is_same && has_slash {
        return Ok((matched, None));
    }
    let target = match came.query() {
        Some(query) => format!("{}?{query}", normalised.forwarded),
        None => normalised.forwarded.into_owned(),
    };
    Ok((matched, Some(target.parse().map_err(|_| Refused::Target)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One request: `METHOD TARGET`, with lines of `name: value` below.
    fn ask(version: Version, text: &str) -> Result<Destination, Refused> {
        let mut lines = text.lines().map(str::trim);
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.map(|line| line.split_once(":").unwrap()) {
            let (name, value) = (http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.trim());
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let limits = ListenerLimits { header_fields: 5, target_bytes: 64, ..ListenerLimits::default() };
        validate(&method.parse().unwrap(), &target.parse().unwrap(), version, &headers, Fields::of(&headers), &limits)
    }

    fn refusal(version: Version, text: &str) -> Option<Refused> {
        ask(version, text).err()
    }

    #[test]
    fn a_host_is_said_once_or_twice_in_the_same_words() {
        for (text, host, authority) in [
            ("GET /\nhost: shop.example.com", "shop.example.com", "shop.example.com"),
            ("GET /\nhost: Shop.Example.com.:8080", "shop.example.com", "Shop.Example.com.:8080"),
            ("GET /\nhost: shop.example.com.:8080", "shop.example.com", "shop.example.com.:8080"),
            ("GET /\nhost: [2001:DB8::1]:80", "[2001:db8::1]", "[2001:DB8::1]:80"),
            ("GET http://a.example/x\nhost: a.example", "a.example", "a.example"),
            ("GET http://A.example:80/x\nhost: a.example:80", "a.example", "A.example:80"),
        ] {
            let found = ask(Version::HTTP_11, text).unwrap_or_else(|refused| panic!("{text}: {refused}"));
            assert_eq!(
                (found.host(), found.authority.as_ref().unwrap().as_bytes()),
                (host, authority.as_bytes()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_host_that_is_missing_doubtful_or_not_one_is_refused() {
        for (text, refused) in [
            ("GET /", Refused::NoHost),
            ("GET http://a.example/x", Refused::NoHost),
            ("GET /\nhost: a\nhost: a", Refused::HostTwice),
            ("GET /\nhost: a\nhost: b", Refused::HostTwice),
            ("GET /\nhost:", Refused::Host(HostProblem::Empty)),
            ("GET /\nhost: a, b", Refused::Host(HostProblem::Character)),
            ("GET /\nhost: user@a", Refused::Host(HostProblem::Character)),
            ("GET /\nhost: a/b", Refused::Host(HostProblem::Character)),
            ("GET /\nhost: h\u{f8}st", Refused::Host(HostProblem::Character)),
            ("GET /\nhost: a:0", Refused::Host(HostProblem::Port)),
            ("GET /\nhost: a:99999", Refused::Host(HostProblem::Port)),
            ("GET http://u:p@a.example/\nhost: a.example", Refused::Host(HostProblem::Port)),
            ("GET http://u@a.example/", Refused::Host(HostProblem::Character)),
            ("GET http://a.example/\nhost: b.example", Refused::HostMismatch),
            ("GET http://a.example:81/\nhost: a.example", Refused::HostMismatch),
            ("GET ftp://a.example/\nhost: a.example", Refused::Target),
        ] {
            assert_eq!(refusal(Version::HTTP_11, text), Some(refused), "{text}");
        }
    }

    #[test]
    fn a_host_may_be_missing_where_it_was_not_invented_yet() {
        let found = ask(Version::HTTP_10, "GET /").unwrap();
        assert_eq!((found.host(), &found.authority), ("", &None));
        assert_eq!(ask(Version::HTTP_10, "GET /\nhost: a").unwrap().host(), "a");
        assert_eq!(refusal(Version::HTTP_2, "GET /"), Some(Refused::NoHost));
        assert_eq!(refusal(Version::HTTP_2, "GET http://a/\nhost: b"), Some(Refused::HostMismatch));
    }

    #[test]
    fn a_target_is_a_path_or_asks_about_the_server() {
        for (text, refused) in [
            ("OPTIONS *\nhost: a", None),
            ("GET *\nhost: a", Some(Refused::Target)),
            ("GET http://a\nhost: a", None),
            ("GET a.example:80\nhost: a.example:80", Some(Refused::Target)),
            ("CONNECT a.example:80\nhost: a.example:80", Some(Refused::Method)),
            ("TRACE /\nhost: a", Some(Refused::Method)),
            ("GET /a%2Fb\nhost: a", Some(Refused::Path(PathProblem::EncodedSlash))),
            ("GET /..;/b\nhost: a", Some(Refused::Path(PathProblem::DotParameter))),
            ("GET /a?b=%2F..\\\nhost: a", None),
        ] {
            assert_eq!(refusal(Version::HTTP_11, text), refused, "{text}");
        }
    }

    #[test]
    fn what_is_passed_on_is_told_only_when_it_is_not_what_came() {
        for (text, matched, target) in [
            ("GET /a/b?x=/../y\nhost: a", None, None),
            ("GET /a/../b?x=1\nhost: a", Some("/b"), Some("/b?x=1")),
            ("GET /a//b\nhost: a", Some("/a/b"), None),
            ("GET /%61\nhost: a", Some("/a"), None),
            ("GET http://a/x/./y\nhost: a", Some("/x/y"), Some("/x/y")),
            ("GET http://a?b\nhost: a", None, Some("/?b")),
        ] {
            let found = ask(Version::HTTP_11, text).unwrap_or_else(|refused| panic!("{text}: {refused}"));
            let told = (found.matched_path.as_deref(), found.target.map(|target| target.to_string()));
            assert_eq!(told, (matched, target.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn a_body_is_framed_in_one_way() {
        for (version, codings, is_good) in [
            (Version::HTTP_11, &["chunked"][..], true),
            (Version::HTTP_11, &["Chunked"], true),
            (Version::HTTP_11, &["gzip, chunked"], false),
            (Version::HTTP_11, &["chunked, chunked"], false),
            (Version::HTTP_11, &[",chunked"], false),
            (Version::HTTP_11, &["identity"], false),
            (Version::HTTP_11, &["chunked", "chunked"], false),
            (Version::HTTP_10, &["chunked"], false),
            (Version::HTTP_2, &["chunked"], false),
        ] {
            let lines: String = codings.iter().map(|coding| format!("\ntransfer-encoding: {coding}")).collect();
            let expected = (!is_good).then_some(Refused::TransferEncoding);
            assert_eq!(refusal(version, &format!("POST /\nhost: a{lines}")), expected, "{version:?} {codings:?}");
        }
        for (lengths, is_good) in [
            (&["5"][..], true),
            (&["05"], true),
            (&["5", "5"], false),
            (&["5", "0"], false),
            (&[""], false),
            (&["+5"], false),
        ] {
            let lines: String = lengths.iter().map(|length| format!("\ncontent-length: {length}")).collect();
            let expected = (!is_good).then_some(Refused::ContentLength);
            assert_eq!(refusal(Version::HTTP_2, &format!("POST /\nhost: a{lines}")), expected, "{lengths:?}");
        }
    }

    #[test]
    fn only_one_expectation_is_known() {
        for (lines, is_good) in [
            ("expect: 100-continue", true),
            ("expect: 100-Continue", true),
            ("expect: 200-ok", false),
            ("expect: 100-continue, x", false),
            ("expect: 100-continue\nexpect: x", false),
        ] {
            let expected = (!is_good).then_some(Refused::Expectation);
            assert_eq!(refusal(Version::HTTP_11, &format!("POST /\nhost: a\n{lines}")), expected, "{lines}");
        }
    }

    #[test]
    fn targets_and_fields_have_limits() {
        let target = |bytes: usize| format!("GET /{}\nhost: a", "x".repeat(bytes - 1));
        assert_eq!(refusal(Version::HTTP_11, &target(64)), None);
        let refused = Refused::TargetTooLong { bytes: 65, limit: 64 };
        assert_eq!(refusal(Version::HTTP_11, &target(65)), Some(refused));
        let fields = |count: usize| format!("GET /\nhost: a{}", "\ncookie: a=b".repeat(count - 1));
        assert_eq!(refusal(Version::HTTP_11, &fields(5)), None);
        let refused = Refused::TooManyFields { fields: 6, limit: 5 };
        assert_eq!(refusal(Version::HTTP_11, &fields(6)), Some(refused));
    }

    #[test]
    fn each_refusal_has_the_status_of_its_rfc() {
        for (refused, status) in [
            (Refused::Method, 405),
            (Refused::TargetTooLong { bytes: 2, limit: 1 }, 414),
            (Refused::TooManyFields { fields: 2, limit: 1 }, 431),
            (Refused::Expectation, 417),
            (Refused::NoHost, 400),
            (Refused::TransferEncoding, 400),
            (Refused::ContentLength, 400),
        ] {
            assert_eq!(refused.status(), status, "{refused}");
            assert!(!refused.reason().is_empty());
        }
    }
}
