//! Why a request gets what it gets: the same look-ups that the proxy does, with what each one saw.
//!
//! Only the trace is made here. Every decision comes from the code that serves real requests: `client_ip`,
//! `strip_forged`, `RouteTable::find` and `Service::assign`.

mod answer;
mod conditions;
mod mirror;
mod place;
mod read;
mod render;
mod trace;
mod traffic;

use http::{HeaderMap, Method};
use std::net::{IpAddr, SocketAddr};

use super::Snapshot;
use super::client::client_ip;
use super::forged::strip_forged;
use super::snapshot::ListenerRules;
use super::view::{RequestView, Trust};
use crate::config::schema::File;
pub use answer::{Answer, Share, UserKeyFacts};
pub use place::{Placed, place, place_at};
pub use trace::{Step, clean, quoted};

/// A request that nobody sent.
#[derive(Clone, Debug)]
pub struct ImaginedRequest {
    /// The method.
    pub method: Method,
    /// An absolute URL. The header `host`, where there is one, replaces its host.
    pub url: String,
    /// The header fields.
    pub headers: HeaderMap,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The address of the listener that it comes to. `None`: the one with the URL's port, else the file's first.
    pub listener: Option<SocketAddr>,
}

/// What a request gets, and every step on the way.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The revision of the configuration.
    pub rev: String,
    /// Method, host and path.
    pub request: String,
    /// The steps in their order.
    pub trace: Vec<Step>,
    /// What it gets.
    pub outcome: Result<Answer, Refusal>,
}

/// Why a request gets to no service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status that the client gets.
    pub status: u16,
    /// Why.
    pub message: String,
    /// Where the client is sent instead.
    pub location: Option<String>,
}

/// Explains a request. Pure but for the clock, which tells whether overrides and tokens have expired, and for the
/// lot that is drawn for requests without a user key.
pub fn explain(file: &File, snapshot: &Snapshot, request: &ImaginedRequest) -> Explanation {
    let mut trace = Vec::new();
    let outcome = explain_into(file, snapshot, request, &mut trace);
    let request = clean(&format!("{} {}", request.method, request.url));
    Explanation { rev: snapshot.rev.to_string(), request, trace, outcome }
}

fn explain_into(
    file: &File,
    snapshot: &Snapshot,
    request: &ImaginedRequest,
    trace: &mut Vec<Step>,
) -> Result<Answer, Refusal> {
    let rules = listener(file, snapshot, request, trace);
    let default = ListenerRules::untrusting();
    let rules = rules.unwrap_or(&default);
    let read = read::read(request, &rules.limits)?;
    let client = client_ip(request.peer, &rules.trust.proxies, &read.headers);
    let headers = strip(snapshot, &read.headers, client.peer_trusted, trace);
    let geo = snapshot.geo.as_deref();
    let (host, path, query) = (read.destination.host(), read.path(), read.query());
    let view = RequestView::new(&request.method, host, path, query, &headers, client, &rules.trust, geo);
    trace.push(trace::client(&view, request.peer));
    let nowhere = || {
        let message = clean(&format!("no route for {} {host}{path}", request.method));
        Refusal { status: 404, message, location: None }
    };
    let found = snapshot.routes.find(&view).ok_or_else(nowhere)?;
    let route = found.route;
    traffic::redirect(found, &read, request, &view, trace)?;
    let service = &snapshot.services[route.service.ok_or_else(nowhere)?];
    let described = format!("{} leads to service {} ({host}{path})", route.name, service.name);
    trace.push(Step::new("route", described));
    let answer = answer::answer(file, service, route, &view, trace);
    trace.extend(traffic::limits(rules, found));
    trace.extend(traffic::faults(service, &answer));
    trace.extend(traffic::rewrite(found, &read));
    trace.extend(traffic::headers(found, service, &answer, &view));
    let source = service.key_sources.iter().position(|source| Some(source.describe()) == answer.user_key.from);
    trace.extend(traffic::cache(found, service, &answer, source.filter(|_| answer.user_key.present)));
    Ok(answer)
}

/// The rules of the listener that the request comes to.
fn listener<'s>(
    file: &File,
    snapshot: &'s Snapshot,
    request: &ImaginedRequest,
    trace: &mut Vec<Step>,
) -> Option<&'s ListenerRules> {
    let with_port = read::port(&request.url)
        .and_then(|port| file.listeners.iter().map(|listener| listener.address).find(|address| address.port() == port));
    let first = file.listeners.first().map(|listener| listener.address);
    let address = request.listener.or(with_port).or(first)?;
    let rules = snapshot.rules(&address)?;
    if file.listeners.len() > 1 {
        trace.push(Step::new("listener", format!("{} ({address})", rules.name)));
    }
    Some(rules)
}

/// The header fields that are left, as the proxy would leave them.
fn strip(snapshot: &Snapshot, came: &HeaderMap, peer_trusted: bool, trace: &mut Vec<Step>) -> HeaderMap {
    let mut headers = came.clone();
    let fields = crate::upstream::Fields::of(&headers);
    strip_forged(&mut headers, fields, peer_trusted, snapshot.geo_header(), &snapshot.relied_on);
    let removed = came.keys().filter(|name| !headers.contains_key(*name));
    let removed: Vec<&str> = removed.map(|name| name.as_str()).collect();
    if !removed.is_empty() {
        let text = format!("removed before any rule reads them, as they may be forged: {}", removed.join(", "));
        trace.push(Step::new("headers", text));
    }
    headers
}

impl ListenerRules {
    /// What is believed and allowed where no listener says so: nobody, and the defaults.
    fn untrusting() -> ListenerRules {
        let (trust, limits, timeouts) = (Trust::default(), Default::default(), Default::default());
        ListenerRules { name: "".into(), tls: None, proxy_protocol: None, trust, limits, timeouts, rate_limit: None }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::super::prepare::assemble;
    use super::Snapshot;
    use crate::config::{Loaded, Source, load_texts};
    use crate::telemetry::Registry;
    use crate::upstream::Upstreams;

    /// The snapshot of a text.
    pub(in super::super) fn snapshot_of(text: &str) -> (Loaded, Snapshot) {
        let loaded = load_texts(vec![Source::new("a.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}"));
        let prepared = assemble(loaded, &Upstreams::default(), &Registry::new(1, 10_000));
        let prepared = prepared.unwrap_or_else(|errors| panic!("{errors}"));
        (prepared.loaded, prepared.snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::snapshot_of;
    use super::*;

    const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:8080, trustedProxies: [10.0.0.0/8] }]
services:
  shop:
    salt: shop-v42
    hashOn: [{ header: x-user-id }, { cookie: uid }, clientIP]
    variants:
      stable: { weight: 50, endpoints: ["127.0.0.1:1"] }
      canary: { weight: 50, endpoints: ["127.0.0.1:2", "shop.internal:80"] }
    cohorts:
      - name: staff
        when: { any: [{ header: { name: x-employee, exact: "1" } }, { not: { clientIP: [0.0.0.0/0] } }] }
        weights: { canary: 100 }
      - { name: beta, when: { cookie: { name: beta, present: true } }, weights: { stable: 100 } }
routes:
  - { hostnames: [shop.example.com], service: shop, timeouts: { request: 15s } }
"#;

    fn ask(url: &str, lines: &[(&'static str, &str)]) -> Explanation {
        let (loaded, snapshot) = snapshot_of(FILE);
        let headers =
            lines.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect();
        let peer = "198.51.100.7".parse().unwrap();
        let request = ImaginedRequest { method: Method::GET, url: url.to_owned(), headers, peer, listener: None };
        explain(&loaded.file, &snapshot, &request)
    }

    #[test]
    fn the_answer_is_the_one_that_the_contract_gives() {
        let explained = ask("https://shop.example.com/cart?x=1", &[("x-user-id", "u-1842")]);
        let answer = explained.outcome.unwrap();
        assert_eq!((answer.service.as_str(), answer.cohort.as_deref()), ("shop", Some("everyone")));
        assert_eq!((answer.bucket, answer.variant.as_deref()), (Some(161_139), Some("canary")));
        assert_eq!(answer.user_key.from.as_deref(), Some("header x-user-id"));
    }

    #[test]
    fn the_whole_trace_reads_like_this() {
        let explained = ask(
            "https://shop.example.com/cart",
            &[("cookie", "uid=alice@example.com; secret=hidden; beta=yes"), ("x-ringway-cohort", "staff")],
        );
        insta::assert_snapshot!(explained.to_text());
        let json = explained.to_json();
        assert_eq!(json["schema"], "ringway.explain/v1");
        assert_eq!(json["cohort"], "beta");
        assert!(!json.to_string().contains("hidden"));
    }

    #[test]
    fn a_refused_request_is_told_with_its_status() {
        for (url, lines, status, message) in [
            ("https://shop.example.com/a%2Fb", &[][..], 400, "the path has an encoded slash"),
            ("https://shop_,example.com/", &[], 400, "the host has a character that no host has"),
            ("https://other.example.com/", &[], 404, "no route for GET other.example.com/"),
            ("https://shop.example.com/", &[("host", "nowhere")], 404, "no route for GET nowhere/"),
            ("shop.example.com/", &[], 400, "`shop.example.com/` is not an absolute URL"),
        ] {
            let refusal = Refusal { status, message: message.to_owned(), location: None };
            assert_eq!(ask(url, lines).outcome.unwrap_err(), refusal, "{url}");
        }
        let long = format!("http://shop.example.com/{}", "a".repeat(9_000));
        assert_eq!(ask(&long, &[]).outcome.unwrap_err().status, 414);
        let wide = "x".repeat(40_000);
        assert_eq!(ask("http://shop.example.com/", &[("x-wide", &wide)]).outcome.unwrap_err().status, 431);
    }

    #[test]
    fn nothing_of_a_request_steers_the_terminal() {
        let explained = ask("https://shop.example.com/\u{1b}[2J", &[("cookie", "beta=\t\u{202e}x")]);
        let text = explained.to_text();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn any_request_is_explained(url in "(https?://)?[ -~\u{7f}-\u{ff}]{0,60}", cookie in "[ -~]{0,60}") {
            let explained = ask(&url, &[("cookie", &cookie), ("x-forwarded-for", &cookie)]);
            proptest::prop_assert!(explained.to_text().lines().count() > 2);
            explained.to_json();
        }
    }
}
