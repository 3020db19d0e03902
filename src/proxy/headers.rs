//! What header fields mean to a proxy: which end here, which are believed, and which are added.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::borrow::Cow;

use super::error::ProxyError;
use crate::routing::forged::{KEPT_FROM_CONNECTION, is_ours};
use crate::telemetry::spans::{Remote, traceparent};
use crate::upstream::{Fields, is_forbidden_trailer};

/// `x-ringway-service`, `x-ringway-cohort` and `x-ringway-variant`: what was decided.
pub const X_RINGWAY_SERVICE: HeaderName = HeaderName::from_static("x-ringway-service");
/// See [`X_RINGWAY_SERVICE`].
pub const X_RINGWAY_COHORT: HeaderName = HeaderName::from_static("x-ringway-cohort");
/// See [`X_RINGWAY_SERVICE`].
pub const X_RINGWAY_VARIANT: HeaderName = HeaderName::from_static("x-ringway-variant");

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The request id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// The fields that end at this hop, whatever `Connection` says.
const HOP_BY_HOP_NAMES: [(Fields, HeaderName); 7] = [
    (Fields::CONNECTION, header::CONNECTION),
    (Fields::TE, header::TE),
    (Fields::TRANSFER_ENCODING, header::TRANSFER_ENCODING),
    (Fields::UPGRADE, header::UPGRADE),
    (Fields::KEEP_ALIVE, KEEP_ALIVE),
    (Fields::PROXY_CONNECTION, PROXY_CONNECTION),
    (Fields::HTTP2_SETTINGS, HTTP2_SETTINGS),
];
const HOP_BY_HOP: Fields = Fields::CONNECTION
    .and(Fields::TE)
    .and(Fields::TRANSFER_ENCODING)
    .and(Fields::UPGRADE)
    .and(Fields::KEEP_ALIVE)
    .and(Fields::PROXY_CONNECTION)
    .and(Fields::HTTP2_SETTINGS);

/// What a request asks of the connection itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HopByHop {
    /// It asks for a WebSocket (RFC 6455).
    pub wants_websocket: bool,
    /// It takes trailer fields.
    pub takes_trailers: bool,
}

/// Removes the fields that end at this hop (RFC 9110 §7.6.1) and says what they asked for.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap, relied_on: &[HeaderName], fields: Fields) -> HopByHop {
    let mut asked = HopByHop::default();
    if !fields.has(HOP_BY_HOP) {
        return asked;
    }
    let mut named: SmallVec<[HeaderName; 4]> = SmallVec::new();
    let mut has_upgrade_token = false;
    for line in headers.get_all(header::CONNECTION) {
        for token in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            has_upgrade_token |= token.eq_ignore_ascii_case(b"upgrade");
            if let Ok(name) = HeaderName::from_bytes(token)
                && !is_kept_from_connection(&name, relied_on)
            {
                named.push(name);
            }
        }
    }
    if has_upgrade_token {
        let mut upgrades = headers.get_all(header::UPGRADE).iter();
        let first = upgrades.next();
        asked.wants_websocket =
            first.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket")) && upgrades.next().is_none();
    }
    if let Some(te) = headers.get(header::TE) {
        let tokens = te.as_bytes().split(|byte| *byte == b',');
        asked.takes_trailers = tokens.map(<[u8]>::trim_ascii).any(|token| token.eq_ignore_ascii_case(b"trailers"));
    }
    for name in named {
        headers.remove(name);
    }
    for (field, name) in HOP_BY_HOP_NAMES {
        if fields.has(field) {
            headers.remove(name);
        }
    }
    asked
}

fn is_kept_from_connection(name: &HeaderName, relied_on: &[HeaderName]) -> bool {
    let text = name.as_str();
    KEPT_FROM_CONNECTION.contains(&text)
        || text.starts_with("x-forwarded-")
        || is_ours(text)
        || relied_on.contains(name)
}

/// Keeps the names in `Trailer` that may be trailers, or removes the field.
pub fn sanitize_trailer_names(headers: &mut HeaderMap, relied_on: &[HeaderName]) {
    let mut kept: Vec<String> = Vec::new();
    for line in headers.get_all(header::TRAILER) {
        let names = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let names = names.filter_map(|name| HeaderName::from_bytes(name).ok());
        let names = names.filter(|name| !is_forbidden_trailer(name, relied_on));
        kept.extend(names.map(|name| name.to_string()));
    }
    headers.remove(header::TRAILER);
    if let Ok(value) = HeaderValue::from_str(&kept.join(", "))
        && !kept.is_empty()
    {
        headers.insert(header::TRAILER, value);
    }
}

/// Refuses a request that has been through this process before, and gives the signature of this hop otherwise (RFC 9110
/// §7.6.3).
pub(super) fn via<'n>(
    headers: &HeaderMap,
    fields: Fields,
    http2: bool,
    name: &'n ViaName,
) -> Result<&'n HeaderValue, ProxyError> {
    let has_been_here = || {
        let lines = headers.get_all(header::VIA).iter();
        let mut hops = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        hops.any(|hop| hop.trim_ascii().ends_with(name.pseudonym.as_bytes()))
    };
    if fields.has(Fields::VIA) && has_been_here() {
        return Err(ProxyError::Loop);
    }
    Ok(if http2 { &name.http2 } else { &name.http1 })
}

/// The name under which this process signs `Via`. It is its own: two Ringways in a row are not a loop.
#[derive(Debug)]
pub struct ViaName {
    pseudonym: String,
    http1: HeaderValue,
    http2: HeaderValue,
}

impl ViaName {
    /// A new name.
    pub fn random() -> ViaName {
        let pseudonym = format!("ringway-{:08x}", fastrand::u32(..));
        let value = |version: &str| {
            HeaderValue::from_str(&format!("{version} {pseudonym}")).unwrap_or(HeaderValue::from_static("1.1 ringway"))
        };
        ViaName { http1: value("1.1"), http2: value("2.0"), pseudonym }
    }
}

/// Joins the crumbs of a cookie, which HTTP/2 may split, into one line (RFC 9113 §8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Takes out what a trusted peer said about the way of a request, and gives it with the peer behind it.
pub(super) fn forwarded_for<'p>(
    headers: &mut HeaderMap,
    fields: Fields,
    peer: &'p HeaderValue,
) -> Cow<'p, HeaderValue> {
    if !fields.has(Fields::EXTENDED) {
        return Cow::Borrowed(peer);
    }
    let before = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let hops: SmallVec<[&[u8]; 4]> = before.chain([peer.as_bytes()]).collect();
    if hops.len() == 1 {
        return Cow::Borrowed(peer);
    }
    let line = HeaderValue::from_bytes(&hops.join(&b", "[..]));
    drop(hops);
    headers.remove(X_FORWARDED_FOR);
    line.map_or(Cow::Borrowed(peer), Cow::Owned)
}

/// A new id for a request, unless a trusted peer gave it one. At most 128 visible ASCII characters are believed.
pub(super) fn request_id(headers: &mut HeaderMap, fields: Fields, peer_trusted: bool) -> Option<[u8; 36]> {
    if fields.has(Fields::X_REQUEST_ID) {
        let is_good = |value: &HeaderValue| {
            let bytes = value.as_bytes();
            !bytes.is_empty() && bytes.len() <= 128 && bytes.iter().all(u8::is_ascii_graphic)
        };
        if peer_trusted && headers.get(X_REQUEST_ID).is_some_and(is_good) {
            return None;
        }
        headers.remove(X_REQUEST_ID);
    }
    let mut text = [0; 36];
    write_uuid(fastrand::u128(..), &mut text);
    Some(text)
}

/// A new W3C trace context, unless the request came with a valid one (Trace Context, level 1, §3.2).
pub(super) fn trace_context(headers: &mut HeaderMap, fields: Fields) -> Option<[u8; 55]> {
    if fields.has(Fields::TRACEPARENT) {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let first = lines.next();
        if first.is_some_and(|value| Remote::read(value.as_bytes()).is_some()) && lines.next().is_none() {
            return None;
        }
        headers.remove(TRACEPARENT);
    }
    if fields.has(Fields::TRACESTATE) {
        headers.remove(TRACESTATE);
    }
    Some(traceparent(fastrand::u128(1..), fastrand::u64(1..), 1))
}

fn write_hex(bytes: &[u8], to: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(to.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// A random UUID (RFC 9562, version 4).
fn write_uuid(random: u128, to: &mut [u8; 36]) {
    let mut bytes = random.to_be_bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    *to = *b"00000000-0000-0000-0000-000000000000";
    for (from, at) in [(0..4, 0), (4..6, 9), (6..8, 14), (8..10, 19), (10..16, 24)] {
        let part = &bytes[from];
        write_hex(part, &mut to[at..at + 2 * part.len()]);
    }
}

/// Removes from an answer what ends at this hop, and names that only Ringway sets.
pub(super) fn strip_answer(headers: &mut HeaderMap, fields: Fields) {
    strip_hop_by_hop(headers, &[], fields);
    if fields.has(Fields::EXTENDED) {
        let ours = headers.keys().filter(|name| is_ours(name.as_str()));
        let ours: SmallVec<[HeaderName; 2]> = ours.cloned().collect();
        for name in ours {
            headers.remove(name);
        }
    }
}

/// Does the same for an answer before the answer, which must not have a length (RFC 9110 §8.6).
pub(super) fn strip_interim(headers: &mut HeaderMap) {
    strip_answer(headers, Fields::of(headers));
    headers.remove(header::CONTENT_LENGTH);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::forged::testing::{headers, names};

    #[test]
    fn what_a_connection_names_ends_here_but_not_what_belongs_to_the_request() {
        let mut lines = headers(&[
            ("connection", "close, X-Secret-Hop, Cookie, HOST, x-forwarded-for, x-plan"),
            ("x-secret-hop", "1"),
            ("cookie", "a=b"),
            ("host", "a"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-plan", "pro"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAA"),
        ]);
        let asked = {
            let fields = Fields::of(&lines);
            strip_hop_by_hop(&mut lines, &[HeaderName::from_static("x-plan")], fields)
        };
        assert_eq!(asked, HopByHop::default());
        assert_eq!(names(&lines), ["cookie", "host", "x-forwarded-for", "x-plan"]);
    }

    #[test]
    fn only_a_plain_websocket_upgrade_is_one() {
        for (connection, upgrade, wanted) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "WebSocket", true),
            ("keep-alive", "websocket", false),
            ("upgrade", "websocket, h2c", false),
            ("upgrade", "h2c", false),
        ] {
            let mut lines = headers(&[("connection", connection), ("upgrade", upgrade)]);
            let fields = Fields::of(&lines);
            assert_eq!(strip_hop_by_hop(&mut lines, &[], fields).wants_websocket, wanted, "{connection} {upgrade}");
        }
    }

    #[test]
    fn a_trusted_peer_may_say_where_a_request_came_from() {
        let mut lines = headers(&[("x-forwarded-for", "1.2.3.4"), ("x-ringway-cohort", "staff")]);
        let fields = Fields::of(&lines);
        crate::routing::forged::strip_forged(&mut lines, fields, true, None, &[]);
        let peer = HeaderValue::from_static("10.0.0.1");
        assert_eq!(*forwarded_for(&mut lines, fields, &peer), "1.2.3.4, 10.0.0.1");
        assert!(lines.is_empty());
        assert_eq!(*forwarded_for(&mut lines, fields, &peer), "10.0.0.1");
    }

    #[test]
    fn a_loop_is_seen_and_a_chain_is_not_one() {
        let (mine, other) = (ViaName::random(), ViaName::random());
        let mut lines = HeaderMap::new();
        let mut add = |http2, name| {
            let fields = Fields::of(&lines);
            let value = via(&lines, fields, http2, name)?.clone();
            lines.append(header::VIA, value);
            Ok(())
        };
        assert_eq!(add(false, &other), Ok(()));
        assert_eq!(add(true, &mine), Ok(()));
        assert_eq!(add(false, &mine), Err(ProxyError::Loop));
    }

    #[test]
    fn a_valid_trace_context_is_passed_on_and_an_invalid_one_replaced() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (mut lines, fields) = (HeaderMap::new(), Fields::default());
        let made = trace_context(&mut lines, fields).unwrap();
        assert!(Remote::read(&made).is_some_and(Remote::is_sampled));
        for (text, is_kept) in [
            (valid, true),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("<script>", false),
        ] {
            let mut lines = headers(&[("traceparent", text), ("tracestate", "a=1")]);
            let fields = Fields::of(&lines);
            assert_eq!(trace_context(&mut lines, fields).is_none(), is_kept, "{text}");
            assert_eq!(lines.len(), if is_kept { 2 } else { 0 }, "{text}");
        }
        let mut twice = headers(&[("traceparent", valid), ("traceparent", valid)]);
        let fields = Fields::of(&twice);
        assert!(trace_context(&mut twice, fields).is_some() && twice.is_empty());
    }

    #[test]
    fn a_request_id_is_believed_from_trusted_peers_only() {
        let mut lines = headers(&[("x-request-id", "abc")]);
        let fields = Fields::of(&lines);
        assert_eq!(request_id(&mut lines, fields, true), None);
        assert_eq!(request_id(&mut lines, fields, false).unwrap()[14], b'4');
        assert!(lines.is_empty());
    }

    #[test]
    fn an_answer_cannot_speak_in_our_name() {
        let mut lines = headers(&[
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("x-ringway-variant", "no"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ]);
        let fields = Fields::of(&lines);
        strip_answer(&mut lines, fields);
        assert_eq!(names(&lines), ["set-cookie"]);
        assert_eq!(lines.get_all("set-cookie").iter().count(), 2);
    }
}
