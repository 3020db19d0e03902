//! Rollout objects of Argo Rollouts with the canary strategy: steps become steps, header routes cohorts, analyses gates.

use super::documents::{endpoint, list_of, origin_of, pairs_of, text_of};
use super::draft::{Draft, TOP, duration, name};
use serde_json::{Value, json};

/// Who approves what waits for a person there.
const APPROVERS: &str = "release-managers";

pub(super) fn read(documents: &[Value], draft: &mut Draft) {
    for document in documents {
        match text_of(document, "/kind") {
            "Rollout" if document.pointer("/spec/strategy/canary").is_some() => rollout(document, documents, draft),
            "Rollout" => draft.left_out(
                TOP,
                &origin_of(document),
                "only the canary strategy is read: for blue-green, write one step of 100",
            ),
            // they are looked up where a rollout names them
            "Service" | "AnalysisTemplate" | "ClusterAnalysisTemplate" => {}
            other => {
                draft.left_out(TOP, &origin_of(document), format!("objects of the kind `{other}` are not read here"))
            }
        }
    }
}

/// The steps in the making.
#[derive(Default)]
struct Steps {
    steps: Vec<Value>,
    cohorts: Vec<Value>,
    gates: Vec<Value>,
    reached: u32,
    approve: bool,
    remarks: Vec<String>,
}

fn rollout(document: &Value, documents: &[Value], draft: &mut Draft) {
    let canary = &document["spec"]["strategy"]["canary"];
    let mut steps = Steps::default();
    for step in list_of(canary, "/steps") {
        steps.add(step, documents);
    }
    if steps.reached < 100 {
        steps.share("everyone", 100);
    }
    let own_name = name(text_of(document, "/metadata/name"));
    let mut ends = |key: &str| {
        let service = text_of(canary, key);
        let service = if service.is_empty() {
            steps.remarks.push(format!(
                "{}: without it pods are weighed by their number; give both versions a Service and write its address",
                &key[1..]
            ));
            format!("{own_name}-{}", key[1..].trim_end_matches("Service"))
        } else {
            service.to_owned()
        };
        endpoint(&service, text_of(document, "/metadata/namespace"), port(&service, documents, &mut steps.remarks))
    };
    let (stable, new) = (ends("/stableService"), ends("/canaryService"));
    let image = text_of(document, "/spec/template/spec/containers/0/image");
    let version = image.rsplit('/').next().and_then(|last| last.split_once(':')).map_or("next", |(_, tag)| tag);
    let mut service = json!({ "variants": {
        "stable": { "weight": 100, "endpoints": [stable] },
        "canary": { "weight": 0, "endpoints": [new] },
    } });
    if !steps.cohorts.is_empty() {
        service["cohorts"] = Value::from(steps.cohorts);
    }
    service["rollout"] =
        json!({ "id": name(&format!("{own_name}-{version}")), "to": "canary", "from": "stable", "steps": steps.steps });
    if !steps.gates.is_empty() {
        service["rollout"]["gates"] = json!({ "prometheus": steps.gates });
    }
    let service = draft.service(&own_name, service);
    let (place, origin) = (format!("services.{service}.rollout"), origin_of(document));
    draft.note(
        &place,
        &origin,
        "gates for errors, latency and the sample ratio are on without being written; harm takes the release back",
    );
    others(canary, &mut steps.remarks);
    steps.remarks.into_iter().for_each(|text| draft.left_out(&place, &origin, text));
    draft.route(json!({ "service": service }));
}

/// The port of a Service, if it is among the documents.
fn port(service: &str, documents: &[Value], remarks: &mut Vec<String>) -> u64 {
    let is_it =
        |document: &&Value| text_of(document, "/kind") == "Service" && text_of(document, "/metadata/name") == service;
    let found = documents.iter().find(is_it).and_then(|document| text_of(document, "/spec/ports/0/port").parse().ok());
    found.unwrap_or_else(|| {
        remarks
            .push(format!("the port of {service} is not known: 80 stands for it. Give the file with the Service too"));
        80
    })
}

impl Steps {
    fn add(&mut self, step: &Value, documents: &[Value]) {
        for (kind, value) in pairs_of(step, "") {
            match kind {
                "setWeight" => match value.as_str().and_then(|text| text.parse::<u32>().ok()) {
                    Some(weight) if weight > self.reached && weight <= 100 => {
                        self.reached = weight;
                        self.share("everyone", weight);
                    }
                    Some(0) if self.reached == 0 => {}
                    _ => self.remarks.push(format!(
                        "setWeight {}: shares only grow from step to step",
                        value.as_str().unwrap_or("?")
                    )),
                },
                "pause" => self.pause(value),
                "setHeaderRoute" => self.header_route(value),
                "analysis" => self.analysis(value, documents),
                "setCanaryScale" => self.remarks.push("setCanaryScale: Ringway does not scale pods".to_owned()),
                "setMirrorRoute" => {
                    self.remarks.push("setMirrorRoute: write `mirror` on the service; it is no step".to_owned())
                }
                other => self.remarks.push(format!("the step `{other}`")),
            }
        }
    }

    fn share(&mut self, cohort: &str, weight: u32) {
        let mut step = json!({ "cohort": cohort, "weight": weight });
        if std::mem::take(&mut self.approve) {
            step["approve"] = json!([APPROVERS]);
        }
        self.steps.push(step);
    }

    /// A pause holds the step before it, or waits for a person before the next one.
    fn pause(&mut self, pause: &Value) {
        let written = text_of(pause, "/duration");
        if written.is_empty() {
            self.approve = true;
            return;
        }
        let with_unit =
            if written.bytes().all(|byte| byte.is_ascii_digit()) { format!("{written}s") } else { written.to_owned() };
        match (duration(&with_unit), self.steps.last_mut()) {
            (Some(hold), Some(step)) if step.get("hold").is_none() => step["hold"] = Value::from(hold),
            _ => self.remarks.push(format!("the pause of {written}: it holds no share of its own")),
        }
    }

    fn header_route(&mut self, route: &Value) {
        let matches = list_of(route, "/match");
        let cohort = name(text_of(route, "/name"));
        let conditions: Option<Vec<Value>> = matches.iter().map(condition).collect();
        let is_new = self.cohorts.iter().all(|known| known["name"] != *cohort) && cohort != "everyone";
        match conditions {
            Some(mut conditions) if is_new && !conditions.is_empty() => {
                let when = if conditions.len() == 1 { conditions.remove(0) } else { json!({ "any": conditions }) };
                self.cohorts.push(json!({ "name": cohort, "when": when }));
                self.share(&cohort, 100);
            }
            Some(conditions) if conditions.is_empty() => {
                self.remarks.push(format!(
                    "setHeaderRoute {cohort} without a match: the cohort keeps the new version to the end"
                ));
            }
            _ => {
                self.remarks.push(format!("setHeaderRoute {cohort}: its match has no counterpart, or it is set twice"))
            }
        }
    }

    /// Metrics of Prometheus become gates, which watch all the time and not only at their step.
    fn analysis(&mut self, analysis: &Value, documents: &[Value]) {
        for template in list_of(analysis, "/templates") {
            let wanted = text_of(template, "/templateName");
            let is_it = |document: &&Value| {
                text_of(document, "/kind").ends_with("AnalysisTemplate")
                    && text_of(document, "/metadata/name") == wanted
            };
            let Some(found) = documents.iter().find(is_it) else {
                self.remarks.push(format!("the analysis {wanted}: give the file with its template too, or write a gate under `gates.prometheus`"));
                continue;
            };
            for metric in list_of(found, "/spec/metrics") {
                match gate(metric, list_of(analysis, "/args"), list_of(found, "/spec/args")) {
                    Some(gate) if self.gates.iter().any(|known| known["name"] == gate["name"]) => {}
                    Some(gate) => self.gates.push(gate),
                    None => self.remarks.push(format!(
                        "the metric {} of the analysis {wanted}: only a Prometheus query with known arguments and a successCondition like \
                         `result[0] >= 0.95` becomes a gate",
                        text_of(metric, "/name")
                    )),
                }
            }
        }
    }
}

fn condition(one: &Value) -> Option<Value> {
    let value = one.get("headerValue")?;
    let mut header = json!({ "name": text_of(one, "/headerName") });
    match (text_of(value, "/exact"), text_of(value, "/prefix"), text_of(value, "/regex")) {
        (exact, "", "") if !exact.is_empty() => header["exact"] = Value::from(exact),
        ("", prefix, "") if !prefix.is_empty() => header["prefix"] = Value::from(prefix),
        ("", "", regex) if regex::Regex::new(regex).is_ok() && !regex.is_empty() => {
            header["regex"] = Value::from(format!("^(?:{regex})$"));
        }
        _ => return None,
    }
    Some(json!({ "header": header }))
}

fn gate(metric: &Value, given: &[Value], declared: &[Value]) -> Option<Value> {
    let prometheus = metric.pointer("/provider/prometheus")?;
    let mut query = text_of(prometheus, "/query").split_whitespace().collect::<Vec<_>>().join(" ");
    for arg in given.iter().chain(declared) {
        if let Some(value) = arg.get("value").and_then(Value::as_str) {
            let key = text_of(arg, "/name");
            query =
                query.replace(&format!("{{{{args.{key}}}}}"), value).replace(&format!("{{{{ args.{key} }}}}"), value);
        }
    }
    let condition = text_of(metric, "/successCondition");
    let compared = condition.strip_prefix("result[0]").or_else(|| condition.strip_prefix("result"))?.trim();
    let number = compared.trim_start_matches(['<', '>', '=', '!']).trim();
    number.parse::<f64>().ok()?;
    let comparison = &compared[..compared.len() - compared.trim_start_matches(['<', '>', '=', '!']).len()];
    let address = text_of(prometheus, "/address");
    let is_known = !query.is_empty() && !query.contains("{{") && address.starts_with("http") && !comparison.is_empty();
    let mut gate = json!({ "name": name(text_of(metric, "/name")), "url": address, "query": query, "passWhen": format!("{comparison} {number}") });
    if let Some(every) = duration(text_of(metric, "/interval")) {
        gate["every"] = Value::from(every);
    }
    is_known.then_some(gate)
}

fn others(canary: &Value, remarks: &mut Vec<String>) {
    for (key, _) in pairs_of(canary, "") {
        match key {
            "steps" | "stableService" | "canaryService" => {}
            "trafficRouting" => remarks
                .push("trafficRouting: Ringway routes by itself; take the objects of the other router away".to_owned()),
            "analysis" => {
                remarks.push("analysis in the background: write its queries as `gates.prometheus`".to_owned())
            }
            "maxSurge"
            | "maxUnavailable"
            | "canaryMetadata"
            | "stableMetadata"
            | "dynamicStableScale"
            | "scaleDownDelaySeconds" => {
                remarks.push(format!("{key}: pods are the affair of your deployment"));
            }
            other => remarks.push(other.to_owned()),
        }
    }
}
