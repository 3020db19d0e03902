//! What a route does to a request and its answer: redirects, rewrites and header edits, as the proxy does them.

use http::uri::PathAndQuery;

use super::read::Read;
use super::trace::{Step, quoted};
use super::{Answer, ImaginedRequest, Refusal};
use crate::model::{BUCKETS, percent};
use crate::routing::edit::{Edits, HeaderEdits, Values};
use crate::routing::fault::Fault;
use crate::routing::limit::RateLimit;
use crate::routing::redirect::Origin;
use crate::routing::routes::Found;
use crate::routing::snapshot::{ListenerRules, Service};
use crate::routing::vary::{CachePolicy, Shared};
use crate::routing::view::{RequestView, unix_seconds};

/// Where a request is sent by its route; `None` when it is for the route's service.
pub(super) fn redirect(
    found: Found<'_>,
    read: &Read,
    request: &ImaginedRequest,
    view: &RequestView<'_>,
    trace: &mut Vec<Step>,
) -> Result<(), Refusal> {
    let route = found.route;
    let Some(redirect) = &route.redirect else { return Ok(()) };
    let is_told = view.client.peer_trusted && view.headers.get("x-forwarded-proto").is_some_and(|told| told == "https");
    let authority = read.destination.authority.as_ref().and_then(|authority| authority.to_str().ok());
    let target = read.target();
    let from = Origin {
        is_https: is_told || request.url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")),
        authority: authority.unwrap_or_default(),
        path: target.map_or("/", PathAndQuery::path),
        query: target.and_then(PathAndQuery::query),
        segments: found.segments,
    };
    let status = redirect.status.as_u16();
    let Some(location) = redirect.location(&from) else {
        trace.push(Step::new("redirect", format!("{status}: the request is there already")).holds(false));
        if route.service.is_some() {
            return Ok(());
        }
        let message = format!("{} leads back to where the request is", route.name);
        return Err(Refusal { status: 508, message, location: None });
    };
    let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
    trace.push(Step::new("redirect", format!("{}: {status} to {location}", route.name)).holds(true));
    let client = Some(view.client_ip());
    let country = view.geo().country;
    trace.extend(edits(
        "answer",
        &[("route", &route.edits)],
        &Values { client, country, ..Values::default() },
        response,
    ));
    Err(Refusal { status, message: format!("{} sends clients to {location}", route.name), location: Some(location) })
}

/// What the service is asked for where that is not what the client asked for.
pub(super) fn rewrite(found: Found<'_>, read: &Read) -> Option<Step> {
    let rewrite = found.route.rewrite.as_ref()?;
    let target = read.target()?;
    let mut changes = Vec::new();
    if let Some(hostname) = &rewrite.hostname {
        changes.push(format!("host {}", String::from_utf8_lossy(hostname.as_bytes())));
    }
    if let Some(rewritten) = rewrite.target(target.path(), target.query(), found.segments) {
        changes.push(format!("path {} instead of {}", rewritten.path(), target.path()));
    }
    Some(Step::new("rewrite", format!("the service is asked for {}", changes.join(", "))))
}

/// The limits that a request meets. What is left of a quota is known to the running process alone.
pub(super) fn limits(rules: &ListenerRules, found: Found<'_>) -> Vec<Step> {
    let of = |whose: &str, limit: &Option<RateLimit>| {
        limit.as_ref().map(|limit| Step::new("limit", format!("{whose}: {}", limit.describe())))
    };
    of("listener", &rules.rate_limit).into_iter().chain(of("route", &found.route.rate_limit)).collect()
}

/// The faults that requests like this one may have.
pub(super) fn faults(service: &Service, answer: &Answer) -> Vec<Step> {
    let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    let may_have = |fault: &&Fault| {
        let cohort = fault.cohort.map(|cohort| &service.cohorts[cohort].name);
        is(&answer.variant, &service.variants[fault.variant].name)
            && cohort.is_none_or(|cohort| is(&answer.cohort, cohort))
    };
    let step = |fault: &Fault| {
        let what = match (&fault.delay, fault.abort) {
            (Some(_), Some(_)) => "are delayed and aborted",
            (Some(_), None) => "are delayed",
            (None, _) => "are aborted",
        };
        let whom = if fault.sticky.is_some() { "users" } else { "requests" };
        let share = percent(f64::from(fault.share) / f64::from(BUCKETS));
        let is_over = fault.until.is_some_and(|until| unix_seconds() >= until);
        let over = if is_over { "; it is over" } else { "" };
        let variant = &service.variants[fault.variant].name;
        Step::new("fault", format!("{share} of the {whom} of {variant} {what}{over}")).holds(!is_over)
    };
    service.faults.iter().filter(may_have).map(step).collect()
}

/// What shared caches are told of the answer.
pub(super) fn cache(found: Found<'_>, service: &Service, answer: &Answer, source: Option<usize>) -> Option<Step> {
    let (policy, at) = (found.route.cache, answer.cohort.as_ref()?);
    let cohort = service.cohorts.iter().position(|cohort| *cohort.name == **at)?;
    let text = match (policy, service.vary.shared(cohort, source, answer.reason?)) {
        (CachePolicy::Off, _) => "the answer passes as it is (cache: off)".to_owned(),
        (CachePolicy::Private, _) => "the answer is made private (cache: private)".to_owned(),
        (CachePolicy::Vary, Shared::Same) => return None,
        (CachePolicy::Vary, Shared::Vary(names, _)) => {
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            format!("the answer varies by {}", names.join(", "))
        }
        (CachePolicy::Vary, Shared::Private) => {
            "the answer is made private: what decided is told by no header".to_owned()
        }
    };
    Some(Step::new("cache", text))
}

/// The header edits of a request that has its variant, and of its answer.
pub(super) fn headers(found: Found<'_>, service: &Service, answer: &Answer, view: &RequestView<'_>) -> Vec<Step> {
    let is = |wanted: &Option<String>, name: &str| wanted.as_deref() == Some(name);
    let cohort = service.cohorts.iter().find(|cohort| is(&answer.cohort, &cohort.name));
    let variant = service.variants.iter().find(|variant| is(&answer.variant, &variant.name));
    let mut all: Vec<(&str, &Edits)> = vec![("route", &found.route.edits)];
    all.extend(cohort.map(|cohort| ("cohort", &cohort.edits)));
    all.extend(variant.map(|variant| ("variant", &variant.edits)));
    let request_id = view.headers.get("x-request-id").filter(|_| view.client.peer_trusted);
    let values = Values {
        service: &service.name,
        cohort: answer.cohort.as_deref().unwrap_or_default(),
        variant: answer.variant.as_deref().unwrap_or_default(),
        bucket: answer.bucket,
        country: view.geo().country,
        client: Some(view.client_ip()),
        request_id,
    };
    edits("request", &all, &values, request).into_iter().chain(edits("answer", &all, &values, response)).collect()
}

fn request(edits: &Edits) -> Option<&HeaderEdits> {
    edits.request.as_deref()
}

fn response(edits: &Edits) -> Option<&HeaderEdits> {
    edits.response.as_deref()
}

fn edits(
    what: &str,
    all: &[(&str, &Edits)],
    values: &Values<'_>,
    side: impl Fn(&Edits) -> Option<&HeaderEdits>,
) -> Option<Step> {
    let mut parts = Vec::new();
    for (owner, edits) in all {
        let Some(edits) = side(edits) else { continue };
        parts.extend(edits.remove.iter().map(|name| Step::new("edit", format!("{owner}: without {name}"))));
        for (verb, lines) in [("", &edits.set), ("and one more ", &edits.add)] {
            for (name, template) in lines {
                let text = match template.value(values) {
                    Some(value) => format!("{owner}: {verb}{name} {}", quoted(value.as_bytes())),
                    None => format!("{owner}: {verb}{name}, with a value that is not known here or empty"),
                };
                parts.push(Step::new("edit", text));
            }
        }
    }
    (!parts.is_empty()).then(|| Step::new("headers", format!("of the {what}")).parts(parts))
}

impl Read {
    /// The target as it is passed on, but for rewrites.
    fn target(&self) -> Option<&PathAndQuery> {
        self.destination.target.as_ref().unwrap_or(&self.uri).path_and_query()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::snapshot_of;
    use super::super::{ImaginedRequest, explain};

    const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:8080 }]
services:
  shop:
    hashOn: [{ header: x-user-id }]
    variants:
      stable: { endpoints: ["127.0.0.1:1"], responseHeaders: { add: { x-by: "${variant} ${requestId}" } } }
routes:
  - hostnames: [shop.example.com]
    matches: [{ path: { prefix: /v1 } }]
    service: shop
    redirect: { scheme: https }
    rewrite: { hostname: shop.internal, path: { replacePrefix: "" } }
    requestHeaders: { set: { x-group: "${cohort}-${bucket}" }, remove: [x-debug] }
tests:
  - { request: { url: "http://shop.example.com/v1/x?y=z" }, expect: { redirect: "https://shop.example.com/v1/x?y=z" } }
  - { request: { url: "https://shop.example.com/v1/x" }, expect: { variant: stable } }
"#;

    fn explained(url: &str) -> super::super::Explanation {
        let (loaded, snapshot) = snapshot_of(FILE);
        let headers = [(http::HeaderName::from_static("x-user-id"), "1".parse().unwrap())].into_iter().collect();
        let (method, peer) = (http::Method::GET, "198.51.100.7".parse().unwrap());
        let request = ImaginedRequest { method, url: url.to_owned(), headers, peer, listener: None };
        explain(&loaded.file, &snapshot, &request)
    }

    #[test]
    fn a_redirect_is_explained() {
        let explained = explained("http://shop.example.com/v1/x?y=z");
        let text = explained.to_text();
        assert!(
            text.contains("→ redirected with 302: routes[0] sends clients to https://shop.example.com/v1/x?y=z\n"),
            "{text}"
        );
        let json = explained.to_json();
        assert_eq!(json["redirect"]["location"], "https://shop.example.com/v1/x?y=z");
        assert!(json["refused"].is_null());
    }

    #[test]
    fn a_rewrite_and_the_edits_are_explained() {
        let text = explained("https://shop.example.com/v1/x").to_text();
        for line in [
            "✗ 302: the request is there already",
            "the service is asked for host shop.internal, path /x instead of /v1/x",
            "of the request",
            "route: without x-debug",
            "route: x-group \"everyone-",
            "variant: and one more x-by \"stable\"",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn a_test_may_expect_a_redirect() {
        let verdicts = |text: &str| {
            let (loaded, snapshot) = snapshot_of(text);
            let verdicts = crate::routing::expect::run_tests(&loaded.file, &snapshot);
            verdicts.into_iter().map(|verdict| verdict.has_passed()).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(FILE), [true, true]);
        let other = FILE.replace("expect: { redirect: \"https://shop", "expect: { redirect: \"https://other");
        assert_eq!(verdicts(&other), [false, true]);
        let none = FILE.replace("expect: { variant: stable }", "expect: { redirect: \"https://a/\" }");
        assert_eq!(verdicts(&none), [true, false]);
    }
}
