//! Mixed versions and shared caches: no answer of one version is stored for users of another.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, VARY};

use super::forward::Decision;
use crate::routing::vary::{CachePolicy, Shared};
use crate::upstream::Fields;

/// Fields that tell shared caches apart from `Cache-Control`, and would overrule it (RFC 9213, and what came before it).
const TARGETED: [HeaderName; 4] = [
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("cloudflare-cdn-cache-control"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("x-accel-expires"),
];

/// Says in an answer what shared caches must know of it. `fields` are those that it came with.
pub(super) fn guard(headers: &mut HeaderMap, fields: Fields, decision: &Decision<'_>) {
    match decision.route.cache {
        CachePolicy::Off => {}
        CachePolicy::Private => keep_private(headers, fields),
        CachePolicy::Vary => match decision.service.vary.shared(decision.cohort, decision.source, decision.reason) {
            Shared::Same => {}
            Shared::Vary(names, value) => add_vary(headers, fields, names, value),
            Shared::Private => keep_private(headers, fields),
        },
    }
}

/// Adds the names to `Vary`, unless they are there or nothing shared may keep the answer anyway.
fn add_vary(headers: &mut HeaderMap, fields: Fields, names: &[HeaderName], value: &HeaderValue) {
    if is_private(headers, fields) {
        return;
    }
    let has = |name: &HeaderName| {
        let members = headers.get_all(VARY).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        members
            .map(<[u8]>::trim_ascii)
            .any(|member| member == b"*" || member.eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    if !fields.has(Fields::VARY) || !names.iter().all(has) {
        headers.append(VARY, value.clone());
    }
}

/// Keeps an answer out of shared caches, and leaves to the client's own what the service said about it.
fn keep_private(headers: &mut HeaderMap, fields: Fields) {
    if fields.has(Fields::TARGETED_CACHE) {
        for name in TARGETED {
            headers.remove(name);
        }
    }
    if is_private(headers, fields) {
        return;
    }
    if !fields.has(Fields::CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        return;
    }
    let mut directives = vec![b"private".to_vec()];
    for line in headers.get_all(CACHE_CONTROL) {
        directives.extend(members(line.as_bytes()).filter(|one| !is_for_shared(one)).map(<[u8]>::to_vec));
    }
    if let Ok(value) = HeaderValue::from_bytes(&directives.join(&b", "[..])) {
        headers.insert(CACHE_CONTROL, value);
    }
}

/// True for an answer that a shared cache may keep: it must not carry one user's cookie to others.
pub(super) fn is_shared(headers: &HeaderMap) -> bool {
    headers.get_all(CACHE_CONTROL).iter().any(|line| {
        let line = line.as_bytes().to_ascii_lowercase();
        [&b"public"[..], b"s-maxage"].iter().any(|word| memchr::memmem::find(&line, word).is_some())
    })
}

/// True for an answer that no shared cache keeps. `private="field"` is about that field alone.
fn is_private(headers: &HeaderMap, fields: Fields) -> bool {
    if !fields.has(Fields::CACHE_CONTROL) {
        return false;
    }
    let all = headers.get_all(CACHE_CONTROL).iter().flat_map(|line| members(line.as_bytes()));
    let is_targeted = fields.has(Fields::TARGETED_CACHE) && TARGETED.iter().any(|name| headers.contains_key(name));
    let mut all = all.map(<[u8]>::to_ascii_lowercase);
    !is_targeted && all.any(|one| one == b"no-store" || one == b"private")
}

fn is_for_shared(directive: &[u8]) -> bool {
    let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    [&b"public"[..], b"private", b"s-maxage", b"proxy-revalidate"].contains(&name.as_slice())
}

/// The directives of a line: commas within quotes belong to a value.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let parts = line.split(move |byte| {
        is_quoted ^= *byte == b'"';
        *byte == b',' && !is_quoted
    });
    parts.map(<[u8]>::trim_ascii).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::forged::testing::headers;

    fn value(headers: &HeaderMap, name: &HeaderName) -> String {
        headers.get_all(name).iter().map(|line| line.to_str().unwrap()).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn an_answer_is_made_private_once() {
        for (given, expected) in [
            (&[][..], "private"),
            (&["public, max-age=60"], "private, max-age=60"),
            (&["max-age=60, S-MaxAge = 600", "must-revalidate"], "private, max-age=60, must-revalidate"),
            (&["no-store"], "no-store"),
            (&["Private, max-age=5"], "Private, max-age=5"),
            (&["private=\"set-cookie, x\", max-age=9"], "private, max-age=9"),
            (&["x=\"a, public\", max-age=1"], "private, x=\"a, public\", max-age=1"),
        ] {
            let mut lines = headers(&given.iter().map(|text| ("cache-control", *text)).collect::<Vec<_>>());
            let fields = Fields::of(&lines);
            keep_private(&mut lines, fields);
            assert_eq!(value(&lines, &CACHE_CONTROL), expected, "{given:?}");
        }
        let mut lines = headers(&[("cache-control", "no-store"), ("cdn-cache-control", "max-age=600")]);
        let fields = Fields::of(&lines);
        keep_private(&mut lines, fields);
        assert!(!lines.contains_key("cdn-cache-control"));
    }

    #[test]
    fn vary_names_what_it_did_not_name_before() {
        let names = [http::header::COOKIE, HeaderName::from_static("x-user")];
        let ours = HeaderValue::from_static("cookie, x-user");
        for (given, expected) in [
            (&[][..], "cookie, x-user"),
            (&[("vary", "Accept-Encoding")][..], "Accept-Encoding | cookie, x-user"),
            (&[("vary", "X-User"), ("vary", "a,COOKIE")], "X-User | a,COOKIE"),
            (&[("vary", "*")], "*"),
            (&[("cache-control", "private")], ""),
            (&[("cache-control", "no-store"), ("surrogate-control", "max-age=9")], "cookie, x-user"),
        ] {
            let mut lines = headers(given);
            let fields = Fields::of(&lines);
            add_vary(&mut lines, fields, &names, &ours);
            assert_eq!(value(&lines, &VARY), expected, "{given:?}");
        }
    }
}
