//! Each condition with whether it held and the value that it saw.

use http::{HeaderName, header};
use std::fmt::Display;

use super::trace::{Step, quoted};
use crate::config::files::GeoFacts;
use crate::config::schema::Platform;
use crate::model::BUCKETS;
use crate::routing::condition::{Condition, GeoTest};
use crate::routing::user_key::UserKey;
use crate::routing::view::RequestView;
use crate::routing::{cookies, device, query};

/// Entries of a list that are shown.
const SHOWN_MAX: usize = 4;

/// A condition, and everything inside of it, as it was for a request.
pub(super) fn step(condition: &Condition, view: &RequestView<'_>, user: Option<&UserKey<'_>>) -> Step {
    let parts = match condition {
        Condition::Any(parts) | Condition::All(parts) => parts.iter().map(|part| step(part, view, user)).collect(),
        Condition::Not(part) => vec![step(part, view, user)],
        _ => Vec::new(),
    };
    let text = match seen(condition, view, user) {
        Some(seen) => format!("{}: saw {seen}", described(condition)),
        None => described(condition),
    };
    Step::new("condition", text).holds(condition.holds(view, user)).parts(parts)
}

/// True when the condition depends on the user's bucket, which for a new user is drawn by lot.
pub(super) fn is_by_lot(condition: &Condition) -> bool {
    match condition {
        Condition::Any(parts) | Condition::All(parts) => parts.iter().any(is_by_lot),
        Condition::Not(part) => is_by_lot(part),
        Condition::Percent(..) => true,
        _ => false,
    }
}

fn described(condition: &Condition) -> String {
    match condition {
        Condition::Any(_) => "any of these".to_owned(),
        Condition::All(_) => "all of these".to_owned(),
        Condition::Not(_) => "not".to_owned(),
        Condition::Header(name, test) => format!("header {name} {test}"),
        Condition::Query(name, test) => format!("query {name} {test}"),
        Condition::Cookie(name, test) => format!("cookie {name} {test}"),
        Condition::Path(test) => format!("path {test}"),
        Condition::Method(methods) => format!("method is {}", list(methods)),
        Condition::Host(patterns) => format!("host is {}", list(patterns)),
        Condition::ClientIp(networks) => format!("clientIP in {}", list(networks)),
        Condition::Geo(test) => format!("geo {}", described_geo(test)),
        Condition::UserList(list, path) => format!("user key in {path} ({} keys)", list.len()),
        Condition::UserId(from, to) => format!("user key is a number from {from} to {to}"),
        Condition::Percent(_, below) => format!("percent {}", f64::from(*below) * 100.0 / f64::from(BUCKETS)),
        Condition::Device(platforms) => {
            let names: Vec<&str> = platforms.iter().map(|platform| platform_name(*platform)).collect();
            format!("device is {}", list(&names))
        }
        Condition::JwtClaim(name, test) => format!("jwtClaim {name} {test}"),
    }
}

/// What the request has where the condition looks; `None` for conditions that look at others.
fn seen(condition: &Condition, view: &RequestView<'_>, user: Option<&UserKey<'_>>) -> Option<String> {
    let option = |value: Option<&[u8]>| value.map_or("nothing".to_owned(), quoted);
    let key = |user: Option<&UserKey<'_>>| user.map_or("no user key".to_owned(), shown_key);
    Some(match condition {
        Condition::Any(_) | Condition::All(_) | Condition::Not(_) => return None,
        Condition::Header(name, _) => seen_header(view, name),
        Condition::Query(name, _) => {
            let value = view.query.and_then(|text| query::parameter(text, name));
            option(value.as_deref().map(str::as_bytes))
        }
        Condition::Cookie(name, _) => option(cookies::cookie(view.headers, name)),
        Condition::Path(_) => quoted(view.path.as_bytes()),
        Condition::Method(_) => view.method.to_string(),
        Condition::Host(_) => quoted(view.host.as_bytes()),
        Condition::ClientIp(_) => view.client_ip().to_string(),
        Condition::Geo(_) => seen_geo(view.geo()),
        Condition::UserList(..) | Condition::UserId(..) => key(user),
        Condition::Percent(salt, below) => match user {
            Some(user) if user.issued().is_none() => {
                format!("bucket {} of its own salt, below {below} is in", salt.bucket(user.as_bytes()).number())
            }
            _ => key(user),
        },
        Condition::Device(_) => platform_name(device::platform(view.headers)).to_owned(),
        Condition::JwtClaim(name, _) => match view.claims() {
            None => "no token that is believed".to_owned(),
            Some(claims) => option(claims.claim_text(name).as_deref().map(str::as_bytes)),
        },
    })
}

/// A user key as it is shown; one that was just issued is nobody's yet.
pub(super) fn shown_key(user: &UserKey<'_>) -> String {
    match user.issued() {
        Some(_) => "a new id".to_owned(),
        None => quoted(user.as_bytes()),
    }
}

fn seen_header(view: &RequestView<'_>, name: &HeaderName) -> String {
    let lines: Vec<String> =
        view.headers.get_all(name).iter().take(SHOWN_MAX).map(|line| quoted(line.as_bytes())).collect();
    match lines.as_slice() {
        [] => "nothing".to_owned(),
        _ if is_secret(name) => "a value that is not shown".to_owned(),
        lines => lines.join(" and "),
    }
}

fn is_secret(name: &HeaderName) -> bool {
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE].contains(name)
}

fn seen_geo(facts: &GeoFacts<'_>) -> String {
    let facts = [
        facts.country.map(|country| format!("country {}", country.as_str())),
        facts.continent.map(|continent| format!("continent {}", continent.as_str())),
        facts.subdivision.map(|subdivision| format!("subdivision {subdivision}")),
        facts.city.map(|city| format!("city {city}")),
        facts.asn.map(|asn| format!("asn {asn}")),
    ];
    let known: Vec<String> = facts.into_iter().flatten().collect();
    if known.is_empty() { "an unknown place".to_owned() } else { known.join(", ") }
}

fn described_geo(test: &GeoTest) -> String {
    let countries: Vec<&str> = test.countries.iter().map(|country| country.as_str()).collect();
    let continents: Vec<&str> = test.continents.iter().map(|continent| continent.as_str()).collect();
    let lists = [
        ("country", list(&countries)),
        ("continent", list(&continents)),
        ("subdivision", list(&test.subdivisions)),
        ("city", list(&test.cities)),
        ("asn", list(&test.asns)),
    ];
    let lists: Vec<String> = lists
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| format!("{name} is {values}"))
        .collect();
    lists.join(" and ")
}

fn list<T: Display>(values: &[T]) -> String {
    let mut shown: Vec<String> = values.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    if values.len() > SHOWN_MAX {
        shown.push(format!("{} more", values.len() - SHOWN_MAX));
    }
    shown.join(", ")
}

fn platform_name(platform: Platform) -> &'static str {
    match platform {
        Platform::Ios => "ios",
        Platform::Android => "android",
        Platform::Windows => "windows",
        Platform::Macos => "macos",
        Platform::Linux => "linux",
        Platform::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::snapshot_of;
    use super::super::{ImaginedRequest, explain};
    use super::*;

    /// The first cohort's condition as it is told for a request, with one line for each condition.
    fn told(when: &str, url: &str, lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let text = format!(
            "listeners: [{{ address: 127.0.0.1:8080 }}]\nservices:\n  shop:\n    hashOn: [{{ header: x-user-id }}]\n    \
             variants: {{ stable: {{ endpoints: [127.0.0.1:1] }} }}\n    cohorts: [{{ name: a, when: {when} }}]\n"
        );
        let (loaded, snapshot) = snapshot_of(&text);
        let request = ImaginedRequest {
            method: http::Method::GET,
            url: url.to_owned(),
            headers: lines
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), http::HeaderValue::from_static(value)))
                .collect(),
            peer: "192.0.2.1".parse().unwrap(),
            listener: None,
        };
        let explained = explain(&loaded.file, &snapshot, &request);
        let cohort = explained.trace.iter().find(|step| step.kind == "cohort").unwrap();
        let mut told = Vec::new();
        flatten(&cohort.parts[0], &mut told);
        told
    }

    fn flatten(step: &Step, told: &mut Vec<String>) {
        let sign = if step.holds == Some(true) { "yes" } else { "no" };
        told.push(format!("{sign} {}", step.text));
        step.parts.iter().for_each(|part| flatten(part, told));
    }

    #[test]
    fn each_kind_of_condition_tells_what_it_saw() {
        for (when, url, lines, expected) in [
            ("{ header: { name: x-a, exact: '1' } }", "http://a/", &[][..], "no header x-a is 1: saw nothing"),
            ("{ header: { name: x-a, exact: '1' } }", "http://a/", &[("x-a", "1")], "yes header x-a is 1: saw \"1\""),
            ("{ query: { name: v, exact: '2' } }", "http://a/?v=%32", &[], "yes query v is 2: saw \"2\""),
            (
                "{ cookie: { name: b, present: true } }",
                "http://a/",
                &[("cookie", "s=secret; b=1")],
                "yes cookie b is present: saw \"1\"",
            ),
            (
                "{ header: { name: authorization, contains: x } }",
                "http://a/",
                &[("authorization", "Basic xyz")],
                "yes header authorization contains x: saw a value that is not shown",
            ),
            ("{ path: { prefix: /api } }", "http://a/apix", &[], "no path begins with /api: saw \"/apix\""),
            ("{ method: [POST] }", "http://a/", &[], "no method is POST: saw GET"),
            ("{ host: ['*.a.example'] }", "http://b.a.example/", &[], "yes host is *.a.example: saw \"b.a.example\""),
            ("{ clientIP: [192.0.2.0/24] }", "http://a/", &[], "yes clientIP in 192.0.2.0/24: saw 192.0.2.1"),
            (
                "{ userId: { range: [5, 9] } }",
                "http://a/",
                &[("x-user-id", "7")],
                "yes user key is a number from 5 to 9: saw \"7\"",
            ),
            ("{ userId: { range: [5, 9] } }", "http://a/", &[], "no user key is a number from 5 to 9: saw no user key"),
            (
                "{ device: { platform: [ios, android] } }",
                "http://a/",
                &[("user-agent", "curl/8")],
                "no device is ios, android: saw other",
            ),
        ] {
            assert_eq!(told(when, url, lines), [expected], "{when}");
        }
    }

    #[test]
    fn a_tree_is_told_as_a_tree() {
        let when = "{ any: [{ not: { method: [GET] } }, { all: [{ host: [a] }, { percent: 50 }] }] }";
        let lines = told(when, "http://a/", &[("x-user-id", "u-1842")]);
        assert_eq!(lines[..3], ["yes any of these", "no not", "yes method is GET: saw GET"]);
        assert!(lines[5].starts_with("yes percent 50: saw bucket "), "{lines:?}");
    }
}
