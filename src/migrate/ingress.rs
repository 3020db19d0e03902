//! Ingress objects with canary annotations.
//!
//! As the controller documents it: precedence is header, cookie, weight; `always` and `never` are the values of a plain
//! header and of the cookie; `canary-by-header-value` wins over `-pattern`; a canary belongs to the main Ingress with
//! the same host and path, whose other annotations count.

use super::documents::{endpoint, list_of, origin_of, pairs_of, text_of};
use super::draft::{Draft, TOP};
use serde_json::{Map, Value, json};

const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// A path of a rule, with where it leads.
struct Rule<'v> {
    host: &'v str,
    path: &'v str,
    path_type: &'v str,
    backend: &'v Value,
    ingress: &'v Value,
}

pub(super) fn read(documents: &[Value], draft: &mut Draft) {
    let mut rules = Vec::new();
    for document in documents {
        match text_of(document, "/kind") {
            "Ingress" => rules.extend(rules_of(document)),
            other => {
                draft.left_out(TOP, &origin_of(document), format!("objects of the kind `{other}` are not read here"))
            }
        }
    }
    let (canaries, mains): (Vec<Rule<'_>>, Vec<Rule<'_>>) = rules.into_iter().partition(|rule| rule.is_canary());
    let mut is_taken = vec![false; canaries.len()];
    for main in &mains {
        let of_same = |canary: &&Rule<'_>| canary.host == main.host && canary.path == main.path;
        let at = canaries.iter().position(|canary| of_same(&canary));
        if let Some(at) = at {
            is_taken[at] = true;
        }
        add(main, at.map(|at| &canaries[at]), draft);
    }
    for (canary, _) in canaries.iter().zip(is_taken).filter(|(_, is_taken)| !is_taken) {
        let text = format!(
            "no main Ingress has the host `{}` and the path `{}`, so the canary gets nothing",
            canary.host, canary.path
        );
        draft.left_out(TOP, &origin_of(canary.ingress), text);
    }
}

fn rules_of(ingress: &Value) -> Vec<Rule<'_>> {
    let mut rules = Vec::new();
    for rule in list_of(ingress, "/spec/rules") {
        for path in list_of(rule, "/http/paths") {
            let backend = path.pointer("/backend").unwrap_or(&Value::Null);
            let host = text_of(rule, "/host");
            rules.push(Rule {
                host,
                path: text_of(path, "/path"),
                path_type: text_of(path, "/pathType"),
                backend,
                ingress,
            });
        }
    }
    if let Some(backend) = ingress.pointer("/spec/defaultBackend") {
        rules.push(Rule { host: "", path: "", path_type: "Prefix", backend, ingress });
    }
    rules
}

impl Rule<'_> {
    fn annotation(&self, key: &str) -> &str {
        let annotations = self.ingress.pointer("/metadata/annotations");
        annotations.and_then(|all| all.get(format!("{PREFIX}{key}"))).and_then(Value::as_str).unwrap_or_default()
    }

    fn is_canary(&self) -> bool {
        self.annotation("canary") == "true"
    }

    /// The endpoint behind it.
    fn endpoint(&self, draft: &mut Draft) -> Option<String> {
        let service = text_of(self.backend, "/service/name");
        if service.is_empty() {
            draft.left_out(TOP, &origin_of(self.ingress), "a backend that is a `resource` and no service");
            return None;
        }
        let port = text_of(self.backend, "/service/port/number").parse().unwrap_or_else(|_| {
            let named = text_of(self.backend, "/service/port/name");
            draft.left_out(
                TOP,
                &origin_of(self.ingress),
                format!("the port `{named}` of {service} is a name: 80 stands for it"),
            );
            80
        });
        Some(endpoint(service, text_of(self.ingress, "/metadata/namespace"), port))
    }
}

fn add(main: &Rule<'_>, canary: Option<&Rule<'_>>, draft: &mut Draft) {
    let Some(stable) = main.endpoint(draft) else { return };
    let canary = canary.and_then(|canary| canary.endpoint(draft).map(|endpoint| (canary, endpoint)));
    let service = match &canary {
        None => json!({ "variants": { "stable": { "weight": 100, "endpoints": [stable] } } }),
        Some((canary, endpoint)) => {
            let (weight, total) = weights(canary, draft);
            let mut service = json!({ "variants": {
                "stable": { "weight": total - weight, "endpoints": [stable] },
                "canary": { "weight": weight, "endpoints": [endpoint] },
            } });
            let cohorts = cohorts(canary, draft);
            if !cohorts.is_empty() {
                service["cohorts"] = Value::from(cohorts);
            }
            service
        }
    };
    let name = draft.service(text_of(main.backend, "/service/name"), service);
    let place = format!("services.{name}");
    if let Some((canary, _)) = &canary {
        let text = "nginx draws a lot for each request; Ringway keeps a client where it is. `hashOn` says what makes a client the same";
        draft.note(&place, &origin_of(canary.ingress), text);
        others(canary, &place, draft);
    }
    others(main, &place, draft);
    let route = route(main, &name, draft);
    draft.route(route);
}

/// The weight of the canary, and the total.
fn weights(canary: &Rule<'_>, draft: &mut Draft) -> (u32, u32) {
    let mut read = |key: &str, default: u32| {
        let text = canary.annotation(key);
        match text.parse() {
            Ok(number) => number,
            Err(_) if text.is_empty() => default,
            Err(_) => {
                draft.left_out(TOP, &origin_of(canary.ingress), format!("`{key}: {text}` is no number"));
                default
            }
        }
    };
    let total = read("canary-weight-total", 100).max(1);
    (read("canary-weight", 0).min(total), total)
}

fn cohorts(canary: &Rule<'_>, draft: &mut Draft) -> Vec<Value> {
    let mut cohorts = Vec::new();
    let mut add = |cohort: &str, when: Value, variant: &str| {
        cohorts.push(json!({ "name": cohort, "when": when, "weights": { variant: 100 } }));
    };
    let header = canary.annotation("canary-by-header");
    let (value, pattern) = (canary.annotation("canary-by-header-value"), canary.annotation("canary-by-header-pattern"));
    let origin = origin_of(canary.ingress);
    if header.is_empty() && !(value.is_empty() && pattern.is_empty()) {
        draft.left_out(TOP, &origin, "`canary-by-header-value` and `-pattern` mean nothing without `canary-by-header`");
    } else if !value.is_empty() {
        add("by-header", json!({ "header": { "name": header, "exact": value } }), "canary");
    } else if !pattern.is_empty() {
        match regex::Regex::new(pattern) {
            Ok(_) => add("by-header", json!({ "header": { "name": header, "regex": pattern } }), "canary"),
            Err(_) => {
                let text = format!(
                    "the pattern `{pattern}` for {header} is no regular expression without look-around and back-references"
                );
                draft.left_out(TOP, &origin, text);
            }
        }
    } else if !header.is_empty() {
        add("by-header", json!({ "header": { "name": header, "exact": "always" } }), "canary");
        add("not-by-header", json!({ "header": { "name": header, "exact": "never" } }), "stable");
    }
    let cookie = canary.annotation("canary-by-cookie");
    if !cookie.is_empty() {
        add("by-cookie", json!({ "cookie": { "name": cookie, "exact": "always" } }), "canary");
        add("not-by-cookie", json!({ "cookie": { "name": cookie, "exact": "never" } }), "stable");
    }
    cohorts
}

/// What else stands in an Ingress.
fn others(rule: &Rule<'_>, place: &str, draft: &mut Draft) {
    let origin = origin_of(rule.ingress);
    for (key, value) in pairs_of(rule.ingress, "/metadata/annotations") {
        let Some(key) = key.strip_prefix(PREFIX) else { continue };
        let value = value.as_str().unwrap_or_default();
        let what = match key {
            _ if key.starts_with("canary") && key != "canary-affinity-behavior" => continue,
            _ if rule.is_canary() => "the controller ignores it on a canary, mostly; it was not looked at".to_owned(),
            "affinity" | "session-cookie-name" => {
                "clients stay with their variant by `hashOn`, such as `[{ issueCookie: ringway-id }]`; for endpoints there is \
                 `loadBalancing: consistentHash`".to_owned()
            }
            "ssl-redirect" | "force-ssl-redirect" => "write a route with `redirect: { scheme: https }`".to_owned(),
            "rewrite-target" => "write `rewrite` on the route".to_owned(),
            "proxy-read-timeout" | "proxy-connect-timeout" | "proxy-send-timeout" => "write `timeouts` on the route".to_owned(),
            "limit-rps" | "limit-rpm" => "write `rateLimit` on the route".to_owned(),
            "whitelist-source-range" => "Ringway does not refuse clients by address".to_owned(),
            _ => "it was not looked at".to_owned(),
        };
        draft.left_out(place, &origin, format!("{key}: {value}: {what}"));
    }
    if !list_of(rule.ingress, "/spec/tls").is_empty() && !rule.is_canary() {
        let text = "spec.tls: put the certificates into files and name them in `listeners[].tls`";
        draft.left_out(TOP, &origin, text);
    }
}

fn route(main: &Rule<'_>, service: &str, draft: &mut Draft) -> Value {
    let mut route = Map::new();
    if !main.host.is_empty() {
        route.insert("hostnames".to_owned(), json!([main.host]));
    }
    let uses_regex = main.annotation("use-regex") == "true";
    let kind = match main.path_type {
        "Exact" => "exact",
        _ if uses_regex && regex::Regex::new(main.path).is_ok() => "regex",
        "ImplementationSpecific" if main.path.len() > 1 => {
            let text = format!("the path {} is taken by whole segments; nginx takes it byte by byte", main.path);
            draft.note(TOP, &origin_of(main.ingress), text);
            "prefix"
        }
        _ => "prefix",
    };
    if !(main.path.is_empty() || main.path == "/" && kind == "prefix") {
        route.insert("matches".to_owned(), json!([{ "path": { kind: main.path } }]));
    }
    route.insert("service".to_owned(), Value::from(service));
    Value::Object(route)
}
