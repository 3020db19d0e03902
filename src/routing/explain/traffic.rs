//! What a route does to a request and its answer: redirects, rewrites and header edits, as the proxy does them.

use http::uri::PathAndQuery;

use super::read::Read;
use super::trace::{Step, quoted};
use super::{Answer, ImaginedRequest, Refusal};
use crate::routing::edit::{Edits, HeaderEdits, Values};
use crate::routing::redirect::Origin;
use crate::routing::routes::Found;
use crate::routing::snapshot::Service;
use crate::routing::view::RequestView;

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
