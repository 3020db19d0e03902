//! A request as it came, to a request that can be understood in only one way. What is not, is refused here, before
//! anything is routed and before a byte of its body is read.

use http::{HeaderMap, Method, Uri, Version, header};
use std::borrow::Cow;

use super::error::ProxyError;
use crate::routing::snapshot::ListenerLimits;
use crate::routing::{host, path};

/// Where a request wants to go, validated and normalised.
#[derive(Debug)]
pub struct Destination {
    /// Lower case, without port and trailing dot; empty for HTTP/1.0 without `Host`.
    pub host: String,
    /// The authority as it is passed on.
    pub authority: Option<http::HeaderValue>,
    /// The path as it is matched, when it differs from the one that is passed on.
    pub matched_path: Option<String>,
    /// The target as it is passed on, when it differs from the one that came.
    pub target: Option<Uri>,
}

/// Says what a request is, or why it is none.
pub fn validate(
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
    limits: &ListenerLimits,
) -> Result<Destination, ProxyError> {
    if *method == Method::CONNECT || *method == Method::TRACE {
        return Err(ProxyError::MethodNotAllowed);
    }
    let target_bytes = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > limits.target_bytes {
        return Err(ProxyError::TargetTooLong);
    }
    if field_count(headers) > limits.header_fields {
        return Err(ProxyError::TooManyFields);
    }
    check_framing(version, headers)?;
    check_expectation(headers)?;
    let (host, authority) = read_host(uri, version, headers)?;
    let (matched_path, target) = read_path(method, uri)?;
    Ok(Destination { host, authority, matched_path, target })
}

/// Header fields as an endpoint would have to store them: each cookie crumb counts.
fn field_count(headers: &HeaderMap) -> usize {
    headers.len()
}

/// The only transfer coding is a single `chunked`: anything else can be understood in two ways.
fn check_framing(version: Version, headers: &HeaderMap) -> Result<(), ProxyError> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    let is_plain = codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if is_plain && version == Version::HTTP_11 { Ok(()) } else { Err(ProxyError::BadTransferEncoding) }
}

fn check_expectation(headers: &HeaderMap) -> Result<(), ProxyError> {
    match headers.get(header::EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Err(ProxyError::BadExpectation),
        _ => Ok(()),
    }
}

/// The host of a request (RFC 9112 §3.2, RFC 9113 §8.3.1): said once, or twice in the same words.
fn read_host(
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
) -> Result<(String, Option<http::HeaderValue>), ProxyError> {
    if uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(ProxyError::BadTarget);
    }
    let mut fields = headers.get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(ProxyError::BadHost);
    }
    let parse = |bytes: &[u8]| match host::parse(bytes) {
        Ok(parsed) => Ok((parsed.name.into_owned(), parsed.port)),
        Err(_) => Err(ProxyError::BadHost),
    };
    let of_field = match field {
        Some(field) => Some(parse(field.as_bytes())?),
        None => None,
    };
    let of_target = match uri.authority() {
        Some(authority) => Some(parse(authority.as_str().as_bytes())?),
        None => None,
    };
    match (of_target, of_field) {
        (Some(target), Some(field)) if target != field => Err(ProxyError::HostMismatch),
        (Some(_), None) if version == Version::HTTP_11 => Err(ProxyError::BadHost),
        (Some((name, _)), _) => {
            let authority = uri.authority().and_then(|authority| http::HeaderValue::from_str(authority.as_str()).ok());
            Ok((name, authority))
        }
        (None, Some((name, _))) => Ok((name, field.cloned())),
        (None, None) if version == Version::HTTP_10 || version == Version::HTTP_09 => Ok((String::new(), None)),
        (None, None) => Err(ProxyError::BadHost),
    }
}

/// The path that is matched and the target that is passed on; `None` where they are what came.
fn read_path(method: &Method, uri: &Uri) -> Result<(Option<String>, Option<Uri>), ProxyError> {
    let Some(came) = uri.path_and_query() else { return Err(ProxyError::BadTarget) };
    if came.path() == "*" {
        return if *method == Method::OPTIONS { Ok((None, None)) } else { Err(ProxyError::BadTarget) };
    }
    if !came.path().starts_with('/') {
        return Err(ProxyError::BadTarget);
    }
    let normalised = path::normalise(came.path()).map_err(|_| ProxyError::BadPath)?;
    let matched = match normalised.matched {
        Cow::Borrowed(matched) if matched.len() == came.path().len() => None,
        matched => Some(matched.into_owned()),
    };
    let is_same = matches!(normalised.forwarded, Cow::Borrowed(forwarded) if forwarded.len() == came.path().len());
    if is_same {
        return Ok((matched, None));
    }
    let target = match came.query() {
        Some(query) => format!("{}?{query}", normalised.forwarded),
        None => normalised.forwarded.into_owned(),
    };
    Ok((matched, Some(target.parse().map_err(|_| ProxyError::BadPath)?)))
}
