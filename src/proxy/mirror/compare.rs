//! Two answers to one request: what differs. Pure: knows nothing of how they came.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

use super::json::{Differences, differ};
use crate::routing::mirror::Comparison;
use crate::telemetry::mirror::{DifferenceKind, DifferentPlace};

/// An answer, as far as it was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// `None` when it is longer than what is kept.
    pub(super) body: Option<Bytes>,
}

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kinds: Vec<DifferenceKind>,
    pub(super) places: Vec<DifferentPlace>,
    /// The bodies were to be compared, and one of them was not kept.
    pub(super) is_body_missing: bool,
    /// Places that are told.
    places_max: usize,
}

/// Places of a difference that are told; further ones are not looked for.
pub(super) const PLACES_MAX: usize = 16;
/// Fields that differ in an answer, mostly.
const NAMES_AT_HAND: usize = 4;
/// Characters of a value that are told.
const VALUE_CHARS_MAX: usize = 64;
/// What is told in place of a secret.
pub(super) const HIDDEN: &str = "(hidden)";

/// Fields that are not the same in two answers of one service: times, ids, and what belongs to the hop. Lengths are
/// those of bodies, which are compared.
const DIFFER_BY_NATURE: [&str; 22] = [
    "age",
    "alt-svc",
    "connection",
    "content-length",
    "date",
    "etag",
    "expires",
    "keep-alive",
    "last-modified",
    "nel",
    "report-to",
    "server",
    "server-timing",
    "set-cookie",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "via",
    "x-request-id",
    "x-response-time",
    "x-runtime",
];
/// Parts of names whose values are never told.
const SECRET_PARTS: [&str; 10] =
    ["authori", "authentic", "cookie", "token", "secret", "passw", "session", "credential", "api-key", "apikey"];
/// Fields that hold a URL, whose query may hold secrets.
const URL_FIELDS: [HeaderName; 5] =
    [header::LOCATION, header::CONTENT_LOCATION, header::LINK, header::REFRESH, header::REFERER];

/// Compares two answers. Without `has_places` it is only told which parts differ.
pub(super) fn compare(by: &Comparison, primary: &Seen, mirror: &Seen, has_places: bool) -> Found {
    let places_max = if has_places { PLACES_MAX } else { 0 };
    let mut found = Found { places_max, ..Found::default() };
    if by.status && primary.status != mirror.status {
        found.kinds.push(DifferenceKind::Status);
        found.place(|| ("status".into(), Some(primary.status.to_string()), Some(mirror.status.to_string())));
    }
    if by.headers {
        found.compare_headers(by, &primary.headers, &mirror.headers);
    }
    if by.body {
        match (&primary.body, &mirror.body) {
            (Some(one), Some(other)) if one == other => {}
            (Some(one), Some(other)) => {
                let is_json = is_plain_json(&primary.headers) && is_plain_json(&mirror.headers);
                found.compare_bodies(by, is_json, one, other);
            }
            _ => found.is_body_missing = true,
        }
    }
    found
}

/// True when the comparison has to read JSON, which takes time.
pub(super) fn needs_parsing(by: &Comparison, primary: &Seen, mirror: &Seen) -> bool {
    by.body
        && primary.body.as_ref().zip(mirror.body.as_ref()).is_some_and(|(one, other)| one != other)
        && is_plain_json(&primary.headers)
        && is_plain_json(&mirror.headers)
}

impl Found {
    fn place(&mut self, told: impl FnOnce() -> (String, Option<String>, Option<String>)) {
        if self.places.len() < self.places_max {
            let (place, primary, mirror) = told();
            self.places.push(DifferentPlace { place, primary, mirror });
        }
    }

    fn compare_headers(&mut self, by: &Comparison, primary: &HeaderMap, mirror: &HeaderMap) {
        let mut names = differing(primary, mirror);
        names.retain(|name| {
            let is_wanted = match &by.fields {
                Some(fields) => fields.contains(name),
                None => is_comparable(name),
            };
            is_wanted && !by.ignored_fields.contains(name)
        });
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        let is_different = !names.is_empty();
        for name in names {
            let place = || format!("header {}", cut(name.as_str()));
            self.place(|| (place(), shown_field(name, primary), shown_field(name, mirror)));
        }
        self.kinds.extend(is_different.then_some(DifferenceKind::Headers));
    }

    fn compare_bodies(&mut self, by: &Comparison, is_json: bool, primary: &[u8], mirror: &[u8]) {
        let places = if is_json { differ(primary, mirror, &by.ignored_places) } else { Differences::NotJson };
        match places {
            Differences::Places(places) if places.is_empty() => return,
            Differences::Places(places) => {
                places.into_iter().for_each(|of| self.place(|| (of.place, of.primary, of.mirror)));
            }
            Differences::NotJson => {
                let at = primary.iter().zip(mirror).take_while(|(one, other)| one == other).count();
                let length = |body: &[u8]| Some(format!("{} bytes", body.len()));
                self.place(|| (format!("byte {at}"), length(primary), length(mirror)));
            }
        }
        self.kinds.push(DifferenceKind::Body);
    }
}

/// The names of fields whose values differ, some of them more than once.
fn differing<'m>(primary: &'m HeaderMap, mirror: &'m HeaderMap) -> SmallVec<[&'m HeaderName; NAMES_AT_HAND]> {
    let mut found = SmallVec::new();
    // mostly the fields are the same and in the same order, so that no name has to be looked up
    if primary.len() == mirror.len() {
        let mut is_in_step = true;
        for ((name, one), (other_name, other)) in primary.iter().zip(mirror) {
            is_in_step &= name == other_name;
            if one != other {
                found.push(name);
            }
        }
        if is_in_step {
            return found;
        }
        found.clear();
    }
    let differs = |name: &&HeaderName| !primary.get_all(*name).iter().eq(mirror.get_all(*name).iter());
    found.extend(primary.keys().chain(mirror.keys()).filter(differs));
    found
}

fn is_comparable(name: &HeaderName) -> bool {
    !DIFFER_BY_NATURE.contains(&name.as_str()) && !name.as_str().starts_with("x-ringway-")
}

/// True for JSON that is not compressed.
fn is_plain_json(headers: &HeaderMap) -> bool {
    let is_plain = headers.get_all(header::CONTENT_ENCODING).iter().all(|coding| coding == "identity");
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    is_plain && (essence == "application/json" || essence.ends_with("+json"))
}

/// True for names of values that nobody may read.
pub(super) fn is_secret(name: &str) -> bool {
    let plain = name.to_ascii_lowercase().replace('_', "-");
    SECRET_PARTS.iter().any(|part| plain.contains(part))
}

fn shown_field(name: &HeaderName, headers: &HeaderMap) -> Option<String> {
    let first = headers.get(name)?;
    if is_secret(name.as_str()) {
        return Some(HIDDEN.to_owned());
    }
    let lines = headers.get_all(name).iter().take(PLACES_MAX).map(HeaderValue::as_bytes);
    let text = String::from_utf8_lossy(&lines.collect::<Vec<_>>().join(&b", "[..])).into_owned();
    if !URL_FIELDS.contains(name) {
        return Some(cut(&text));
    }
    let url = String::from_utf8_lossy(first.as_bytes()).into_owned();
    Some(url.split_once(['?', '#']).map_or_else(|| cut(&url), |(before, _)| format!("{}?(hidden)", cut(before))))
}

/// A text, short enough to be kept.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: u16, headers: &[(&str, &str)], body: &str) -> Seen {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        Seen { status, headers: map, body: Some(Bytes::from(body.to_owned())) }
    }

    fn by(fields: Option<&[&'static str]>, ignored: &[&'static str], places: &[&str]) -> Comparison {
        let names = |names: &[&'static str]| names.iter().map(|name| HeaderName::from_static(name)).collect();
        Comparison {
            status: true,
            headers: true,
            body: true,
            fields: fields.map(names),
            ignored_fields: names(ignored),
            ignored_places: places.iter().map(|place| place.parse().unwrap()).collect(),
        }
    }

    fn told(by: &Comparison, primary: &Seen, mirror: &Seen) -> String {
        let found = compare(by, primary, mirror, true);
        let mut text: Vec<String> = found.kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
        text.extend(found.places.iter().map(|place| {
            let side = |side: &Option<String>| side.clone().unwrap_or("-".to_owned());
            format!("{}: {} | {}", place.place, side(&place.primary), side(&place.mirror))
        }));
        text.extend(found.is_body_missing.then_some("missing".to_owned()));
        text.join("; ")
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    #[test]
    fn answers_are_the_same_or_it_is_told_where_not() {
        let (all, gzip) = (by(None, &[], &[]), ("content-encoding", "gzip"));
        for (primary, mirror, expected) in [
            (seen(200, &[], "a"), seen(200, &[], "a"), ""),
            (seen(200, &[], ""), seen(500, &[], ""), "status; status: 200 | 500"),
            (seen(200, &[("date", "1")], ""), seen(200, &[("date", "2"), ("server", "x")], ""), ""),
            (seen(200, &[("vary", "a")], ""), seen(200, &[], ""), "headers; header vary: a | -"),
            (
                seen(200, &[("x-a", "1"), ("x-a", "2")], ""),
                seen(200, &[("x-a", "1")], ""),
                "headers; header x-a: 1, 2 | 1",
            ),
            (seen(200, &[], "abcd"), seen(200, &[], "abXde"), "body; byte 2: 4 bytes | 5 bytes"),
            (seen(200, &[], "abc"), seen(200, &[], "ab"), "body; byte 2: 3 bytes | 2 bytes"),
            (seen(200, &[JSON], r#"{"a":1,"b":2}"#), seen(200, &[JSON], r#"{ "b": 2, "a": 1 }"#), ""),
            (seen(200, &[JSON], r#"{"a":1}"#), seen(200, &[JSON], r#"{"a":2}"#), "body; $.a: 1 | 2"),
            (seen(200, &[JSON], "{"), seen(200, &[JSON], "{}"), "body; byte 1: 1 bytes | 2 bytes"),
            (seen(200, &[JSON, gzip], "zip1"), seen(200, &[JSON, gzip], "zip2"), "body; byte 3: 4 bytes | 4 bytes"),
            (
                seen(200, &[("location", "/a?token=1")], ""),
                seen(200, &[("location", "/b?token=2")], ""),
                "headers; header location: /a?(hidden) | /b?(hidden)",
            ),
        ] {
            assert_eq!(told(&all, &primary, &mirror), expected, "{primary:?} {mirror:?}");
        }
    }

    #[test]
    fn only_what_is_wanted_is_compared() {
        let (one, other) =
            (seen(200, &[("x-a", "1"), ("x-b", "1")], "1"), seen(404, &[("x-a", "2"), ("x-b", "2")], "2"));
        assert_eq!(told(&Comparison::default(), &one, &other), "");
        let some = Comparison { status: false, body: false, ..by(Some(&["x-a"]), &[], &[]) };
        assert_eq!(told(&some, &one, &other), "headers; header x-a: 1 | 2");
        let others = Comparison { status: false, body: false, ..by(None, &["x-a"], &[]) };
        assert_eq!(told(&others, &one, &other), "headers; header x-b: 1 | 2");
    }

    #[test]
    fn ignored_places_of_json_do_not_count() {
        let by = by(None, &[], &["$.time", "$.items[*].id"]);
        let one = seen(200, &[JSON], r#"{"time":1,"items":[{"id":1,"n":1}]}"#);
        let same = seen(200, &[JSON], r#"{"items":[{"id":9,"n":1}]}"#);
        let other = seen(200, &[JSON], r#"{"time":2,"items":[{"id":9,"n":2}]}"#);
        assert_eq!(told(&by, &one, &same), "");
        assert_eq!(told(&by, &one, &other), "body; $.items[0].n: 1 | 2");
        assert!(needs_parsing(&by, &one, &other) && !needs_parsing(&by, &one, &one));
    }

    #[test]
    fn secrets_are_never_told() {
        let fields = ["set-cookie", "authorization", "x-api-key", "x-session-id", "www-authenticate"];
        let by = by(Some(&fields), &[], &[]);
        let lines = |value: &'static str| fields.map(|name| (name, value));
        let found = compare(&by, &seen(200, &lines("hush1"), ""), &seen(200, &lines("hush2"), ""), true);
        assert_eq!(found.places.len(), fields.len());
        assert!(!format!("{found:?}").contains("hush"), "{found:?}");
    }

    #[test]
    fn a_body_that_was_not_kept_is_told_as_such() {
        let long = Seen { body: None, ..seen(200, &[], "") };
        assert_eq!(told(&by(None, &[], &[]), &long, &seen(200, &[], "a")), "missing");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let names: Vec<String> = (0..100).map(|number| format!("x-{}{number}", "n".repeat(1000))).collect();
        let value = "v".repeat(10_000);
        let lines: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
        let found = compare(&by(None, &[], &[]), &seen(200, &lines, ""), &seen(200, &[], ""), true);
        let bytes: usize = found.places.iter().map(|place| format!("{place:?}").len()).sum();
        assert!(found.places.len() == PLACES_MAX && bytes < 8 * 1024, "{bytes}");
    }
}
