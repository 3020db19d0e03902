//! HTTPRoute objects: each rule is a route, and a service where it leads to backends.

use super::documents::{endpoint, list_of, origin_of, text_of};
use super::draft::{Draft, TOP, duration, literal, name, number};
use serde_json::{Map, Value, json};

pub(super) fn read(documents: &[Value], draft: &mut Draft) {
    for document in documents {
        match text_of(document, "/kind") {
            "HTTPRoute" => http_route(document, draft),
            "Gateway" => {
                draft.left_out(TOP, &origin_of(document), "write its listeners and certificates under `listeners`")
            }
            other => {
                draft.left_out(TOP, &origin_of(document), format!("objects of the kind `{other}` are not read here"))
            }
        }
    }
}

/// A rule with what it belongs to.
struct Rule<'v> {
    document: &'v Value,
    rule: &'v Value,
    origin: String,
}

fn http_route(document: &Value, draft: &mut Draft) {
    for (at, rule) in list_of(document, "/spec/rules").iter().enumerate() {
        let origin = format!("{}, rule {}", origin_of(document), at + 1);
        add(&Rule { document, rule, origin }, draft);
    }
}

fn add(rule: &Rule<'_>, draft: &mut Draft) {
    let mut route = Map::new();
    let hostnames = list_of(rule.document, "/spec/hostnames");
    if !hostnames.is_empty() {
        route.insert("hostnames".to_owned(), Value::from(hostnames));
    }
    let written = list_of(rule.rule, "/matches");
    let matches: Option<Vec<Value>> = written.iter().map(|one| matched(rule, one, draft)).collect();
    let Some(matches) = matches else {
        draft.left_out(TOP, &rule.origin, "the whole rule, as it would match other requests without its condition");
        return;
    };
    // one that any request meets says nothing
    if !matches.is_empty() && !matches.iter().all(|one| *one == json!({ "path": { "prefix": "/" } })) {
        route.insert("matches".to_owned(), Value::from(matches));
    }
    let mut remarks = Vec::new();
    let mirrors = filters(rule, &mut route, &mut remarks);
    if !route.contains_key("redirect") {
        let Some(name) = service(rule, &mirrors, draft) else { return };
        route.insert("service".to_owned(), Value::from(name));
    }
    timeouts(rule, &mut route, &mut remarks);
    let place = draft.route(Value::Object(route));
    // a route that needs no words is not written, so its remarks stand at the top
    let place = if rule.rule.get("matches").is_none() && hostnames.is_empty() { TOP.to_owned() } else { place };
    remarks.into_iter().for_each(|text| draft.left_out(&place, &rule.origin, text));
}

/// A condition; `None` after it was told that it cannot be had.
fn matched(rule: &Rule<'_>, one: &Value, draft: &mut Draft) -> Option<Value> {
    let mut matched = Map::new();
    if let Some(path) = one.get("path") {
        let value = path.get("value").and_then(Value::as_str).unwrap_or("/");
        let kind = match text_of(path, "/type") {
            "" | "PathPrefix" => "prefix",
            "Exact" => "exact",
            "RegularExpression" if is_regex(rule, value, draft) => "regex",
            "RegularExpression" => return None,
            other => {
                draft.left_out(TOP, &rule.origin, format!("the path type `{other}`"));
                return None;
            }
        };
        matched.insert("path".to_owned(), json!({ kind: value }));
    }
    if let Some(method) = one.get("method") {
        matched.insert("method".to_owned(), json!([method]));
    }
    for (theirs, ours) in [("/headers", "headers"), ("/queryParams", "query")] {
        let fields: Option<Vec<Value>> =
            list_of(one, theirs).iter().map(|field| self::field(rule, field, draft)).collect();
        let fields = fields?;
        if !fields.is_empty() {
            matched.insert(ours.to_owned(), Value::from(fields));
        }
    }
    if matched.is_empty() {
        matched.insert("path".to_owned(), json!({ "prefix": "/" }));
    }
    Some(Value::Object(matched))
}

fn field(rule: &Rule<'_>, field: &Value, draft: &mut Draft) -> Option<Value> {
    let (name, value) = (text_of(field, "/name"), text_of(field, "/value"));
    match text_of(field, "/type") {
        "" | "Exact" => Some(json!({ "name": name, "exact": value })),
        // Ringway looks for a match somewhere; here it is of the whole value
        "RegularExpression" if is_regex(rule, value, draft) => {
            Some(json!({ "name": name, "regex": format!("^(?:{value})$") }))
        }
        "RegularExpression" => None,
        other => {
            draft.left_out(TOP, &rule.origin, format!("the match type `{other}` of {name}"));
            None
        }
    }
}

fn is_regex(rule: &Rule<'_>, text: &str, draft: &mut Draft) -> bool {
    let is_one = regex::Regex::new(text).is_ok();
    if !is_one {
        draft.left_out(
            TOP,
            &rule.origin,
            format!("`{text}` is no regular expression without look-around and back-references"),
        );
    }
    is_one
}

/// Puts the filters of a rule on its route. Returns the mirrors, which belong to the service.
fn filters<'v>(rule: &Rule<'v>, route: &mut Map<String, Value>, remarks: &mut Vec<String>) -> Vec<&'v Value> {
    let mut mirrors = Vec::new();
    for filter in list_of(rule.rule, "/filters") {
        match text_of(filter, "/type") {
            "RequestHeaderModifier" => {
                route.insert("requestHeaders".to_owned(), edits(filter, "requestHeaderModifier"));
            }
            "ResponseHeaderModifier" => {
                route.insert("responseHeaders".to_owned(), edits(filter, "responseHeaderModifier"));
            }
            "RequestRedirect" => {
                route.insert("redirect".to_owned(), redirect(filter));
            }
            "URLRewrite" => {
                let rewrite = &filter["urlRewrite"];
                route.insert(
                    "rewrite".to_owned(),
                    of_parts([
                        ("hostname", rewrite.get("hostname").cloned()),
                        ("path", rewrite.get("path").map(path_edit)),
                    ]),
                );
            }
            "RequestMirror" => mirrors.push(&filter["requestMirror"]),
            other => remarks.push(format!("the filter `{other}`")),
        }
    }
    mirrors
}

fn of_parts<const N: usize>(parts: [(&str, Option<Value>); N]) -> Value {
    parts
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| (key.to_owned(), value)))
        .collect::<Map<_, _>>()
        .into()
}

fn edits(filter: &Value, key: &str) -> Value {
    let pairs = |list: &str| -> Option<Value> {
        let pairs: Map<String, Value> = list_of(&filter[key], list)
            .iter()
            .map(|pair| (text_of(pair, "/name").to_owned(), Value::from(literal(text_of(pair, "/value")))))
            .collect();
        (!pairs.is_empty()).then_some(pairs.into())
    };
    let remove = list_of(&filter[key], "/remove");
    let remove = (!remove.is_empty()).then(|| Value::from(remove));
    of_parts([("set", pairs("/set")), ("add", pairs("/add")), ("remove", remove)])
}

fn redirect(filter: &Value) -> Value {
    let redirect = &filter["requestRedirect"];
    let number_at = |key: &str| redirect.get(key).and_then(Value::as_str).and_then(number);
    of_parts([
        ("scheme", redirect.get("scheme").cloned()),
        ("hostname", redirect.get("hostname").cloned()),
        ("port", number_at("port")),
        ("path", redirect.get("path").map(path_edit)),
        ("status", number_at("statusCode")),
    ])
}

fn path_edit(path: &Value) -> Value {
    match text_of(path, "/type") {
        "ReplacePrefixMatch" => json!({ "replacePrefix": text_of(path, "/replacePrefixMatch") }),
        _ => json!({ "replaceFull": text_of(path, "/replaceFullPath") }),
    }
}

/// Adds the service of a rule, and tells its name.
fn service(rule: &Rule<'_>, mirrors: &[&Value], draft: &mut Draft) -> Option<String> {
    let mut remarks = Vec::new();
    let mut variants = Map::new();
    let backends = list_of(rule.rule, "/backendRefs");
    for backend in backends {
        let weight = backend.get("weight").and_then(Value::as_str).and_then(number).unwrap_or(Value::from(1));
        variant(rule, backend, weight, &mut variants, &mut remarks);
    }
    let is_served = variants.values().any(|variant| variant["weight"] != 0);
    if !is_served {
        draft.left_out(
            TOP,
            &rule.origin,
            "the whole rule: no backend has a weight, and all its requests would get 500",
        );
        return None;
    }
    let mirror = mirrors.first().map(|mirror| mirror_of(rule, mirror, &mut variants, &mut remarks));
    if mirrors.len() > 1 {
        remarks.push("all mirrors but the first".to_owned());
    }
    let mut service = json!({ "variants": variants });
    if let Some(mirror) = mirror {
        service["mirror"] = mirror;
    }
    let wanted = match backends {
        [backend] => text_of(backend, "/name"),
        _ => text_of(rule.document, "/metadata/name"),
    };
    let name = draft.service(wanted, service);
    let place = format!("services.{name}");
    if backends.len() > 1 {
        let text = "gateways draw a lot for each request; Ringway keeps a client where it is. `hashOn` says what makes a client the same";
        draft.note(&place, &rule.origin, text);
    }
    remarks.into_iter().for_each(|text| draft.left_out(&place, &rule.origin, text));
    Some(name)
}

/// Adds a backend as a variant, and tells its name.
fn variant(
    rule: &Rule<'_>,
    backend: &Value,
    weight: Value,
    variants: &mut Map<String, Value>,
    remarks: &mut Vec<String>,
) -> String {
    let service = text_of(backend, "/name");
    if !matches!(text_of(backend, "/kind"), "" | "Service") {
        remarks.push(format!("the backend {service} is no Service: its endpoint is a guess"));
    }
    let port = text_of(backend, "/port").parse().unwrap_or_else(|_| {
        remarks.push(format!("the backend {service} has no port: 80 stands for it"));
        80
    });
    let of_route = text_of(rule.document, "/metadata/namespace");
    let namespace = match text_of(backend, "/namespace") {
        "" => of_route,
        other => other,
    };
    let mut variant = json!({ "weight": weight, "endpoints": [endpoint(service, namespace, port)] });
    for filter in list_of(backend, "/filters") {
        match text_of(filter, "/type") {
            "RequestHeaderModifier" => variant["requestHeaders"] = edits(filter, "requestHeaderModifier"),
            "ResponseHeaderModifier" => variant["responseHeaders"] = edits(filter, "responseHeaderModifier"),
            other => remarks.push(format!("the filter `{other}` of the backend {service}")),
        }
    }
    let mut free = name(service);
    while variants.contains_key(&free) {
        free = format!("{}-{}", name(service).chars().take(56).collect::<String>(), variants.len() + 1);
    }
    variants.insert(free.clone(), variant);
    free
}

fn mirror_of(rule: &Rule<'_>, mirror: &Value, variants: &mut Map<String, Value>, remarks: &mut Vec<String>) -> Value {
    let to = variant(rule, &mirror["backendRef"], Value::from(0), variants, remarks);
    remarks.push("copies of requests other than GET and HEAD, and of bodies above 64KiB: see `mirror.methods` and `mirror.maxBody`".to_owned());
    let of_fraction = mirror.get("fraction").and_then(|fraction| {
        let part: f64 = text_of(fraction, "/numerator").parse().ok()?;
        let whole: f64 = text_of(fraction, "/denominator").parse().unwrap_or(100.0);
        (whole > 0.0).then(|| Value::from((part / whole * 1e6).round() / 1e4))
    });
    let percent = mirror.get("percent").and_then(Value::as_str).and_then(number).or(of_fraction);
    of_parts([("to", Some(Value::from(to))), ("percent", percent), ("compare", Some(json!([])))])
}

fn timeouts(rule: &Rule<'_>, route: &mut Map<String, Value>, remarks: &mut Vec<String>) {
    let written = text_of(rule.rule, "/timeouts/request");
    match duration(written) {
        Some(request) => {
            route.insert("timeouts".to_owned(), json!({ "request": request }));
        }
        None if written.is_empty() => {}
        None => remarks.push(format!("timeouts.request: {written}")),
    }
    for (pointer, text) in [
        ("/timeouts/backendRequest", "timeouts.backendRequest: see `retry.perTryTimeout`"),
        ("/retry", "retry: write `retry` on the route"),
        ("/sessionPersistence", "sessionPersistence: clients stay with their variant by `hashOn`"),
    ] {
        if rule.rule.pointer(pointer).is_some() {
            remarks.push(text.to_owned());
        }
    }
}
