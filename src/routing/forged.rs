//! Header fields that a peer must not tell. They are removed before anything is decided, in the proxy and in
//! `explain` alike.

use http::header::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use crate::upstream::Fields;

/// Fields that say where a request came from. From a peer that is not trusted they say nothing.
const ORIGIN_FIELDS: [&str; 8] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "forwarded",
];

/// Fields that a `Connection` header cannot take away: they belong to the request, not to the connection.
pub const KEPT_FROM_CONNECTION: [&str; 11] = [
    "host",
    "content-length",
    "content-type",
    "authorization",
    "cookie",
    "set-cookie",
    "cache-control",
    "via",
    "forwarded",
    "traceparent",
    "x-request-id",
];

/// The mark of a copied request. From a trusted peer it is believed: a copy must not be copied again.
pub const X_RINGWAY_MIRROR: HeaderName = HeaderName::from_static("x-ringway-mirror");

/// On connections of our own: the variant that is probed. Toward endpoints: that this is a probe. From a peer: nothing.
pub const X_RINGWAY_PROBE: HeaderName = HeaderName::from_static("x-ringway-probe");

/// Removes what a peer must not tell (`fields` are those that are there): fields of ours, origins from peers that are
/// not trusted, and other spellings (`x_user`, `x.user`) of names that rules rely on, which many services cannot tell
/// apart from the real ones.
pub fn strip_forged(
    headers: &mut HeaderMap,
    fields: Fields,
    peer_trusted: bool,
    geo_header: Option<&HeaderName>,
    relied_on: &[HeaderName],
) {
    let tells_geo = !peer_trusted && geo_header.is_some();
    if !tells_geo && !fields.has(Fields::EXTENDED.and(Fields::ALIAS)) {
        return;
    }
    let has_aliases = fields.has(Fields::ALIAS);
    let mut forged: SmallVec<[HeaderName; 4]> = SmallVec::new();
    for name in headers.keys() {
        let text = name.as_str();
        let is_geo = !peer_trusted && geo_header == Some(name);
        // few names begin like any of ours or of those that say an origin: the others need one look
        let is_named = text.starts_with("x-") || text.starts_with("forwarded");
        let is_origin = is_named && !peer_trusted && ORIGIN_FIELDS.contains(&text);
        let is_ours = is_named && is_ours(text) && !(peer_trusted && *name == X_RINGWAY_MIRROR);
        if is_geo || is_origin || is_ours || (has_aliases && is_alias(text, relied_on)) {
            forged.push(name.clone());
        }
    }
    for name in forged {
        headers.remove(name);
    }
}

/// True for names that only Ringway sets.
pub fn is_ours(name: &str) -> bool {
    name.starts_with("x-ringway-")
}

/// True for another spelling of a name that something relies on.
fn is_alias(name: &str, relied_on: &[HeaderName]) -> bool {
    if !name.bytes().any(|byte| byte == b'_' || byte == b'.') {
        return false;
    }
    let plain = name.replace(['_', '.'], "-");
    is_ours(&plain)
        || ORIGIN_FIELDS.contains(&plain.as_str())
        || KEPT_FROM_CONNECTION.contains(&plain.as_str())
        || plain == "transfer-encoding"
        || relied_on.iter().any(|relied| relied.as_str().replace(['_', '.'], "-") == plain && relied.as_str() != name)
}

#[cfg(test)]
pub(crate) mod testing {
    use http::header::{HeaderMap, HeaderName, HeaderValue};

    pub(crate) fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// In the order of the alphabet: a map in which something was removed has no other.
    pub(crate) fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{headers, names};
    use super::*;

    #[test]
    fn forged_fields_and_their_other_spellings_are_removed() {
        let mut lines = headers(&[
            ("x-ringway-cohort", "staff"),
            ("X_Ringway_Variant", "canary"),
            ("x.ringway.cohort", "staff"),
            ("x_employee", "1"),
            ("x-employee", "1"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x_real_ip", "1.2.3.4"),
            ("cf-ipcountry", "NO"),
            ("x_other", "kept"),
        ]);
        let relied_on = [HeaderName::from_static("x-employee"), HeaderName::from_static("cf-ipcountry")];
        let fields = Fields::of(&lines);
        strip_forged(&mut lines, fields, false, Some(&relied_on[1]), &relied_on);
        assert_eq!(names(&lines), ["x-employee", "x_other"]);
    }
}
