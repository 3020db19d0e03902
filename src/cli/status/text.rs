//! The status as people read it.

use serde_json::Value;

use super::gates::{gates, why_unknown};
use super::rollout_of;
use crate::cli::grid::Grid;
use crate::cli::words::{count, dash, each, elapsed, milliseconds, share, weight, word};
use std::path::Path;

/// What the door told: `ringway.status/v1`, the list of rollouts, and the names of the files.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) status: Value,
    pub(super) rollouts: Value,
    pub(super) files: Value,
}

impl Seen {
    /// All of it. `now` is in seconds since 1970.
    pub(super) fn text(&self, now: u64) -> String {
        let mut text = String::new();
        if let Some(problem) = self.status["problem"].as_str() {
            let line = crate::model::printable(problem);
            text.push_str(&format!("✗ the last reload was rejected: {line}\n  `ringway check` shows where\n\n"));
        }
        for service in each(&self.status["services"]) {
            text.push_str(&self.of_service(service, now));
            text.push('\n');
        }
        text
    }

    /// What changes now and then: a line for each service, cohort and gate, without figures.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for service in each(&self.status["services"]) {
            let (name, phase) = (word(&service["name"]), word(&service["phase"]));
            let rev = word(&self.status["rev"]);
            match service["step"].as_u64() {
                Some(step) => {
                    let why = service["why"].as_str().filter(|why| !why.is_empty());
                    let why = why.map_or_else(String::new, |why| format!(": {}", crate::model::printable(why)));
                    lines.push(format!("{name} {phase} step {step}/{} rev {rev}{why}", service["steps"]));
                }
                None => lines.push(format!("{name} {phase} rev {rev}")),
            }
            for cohort in each(&service["cohorts"]) {
                for variant in each(&cohort["variants"]).filter(|variant| variant["source"] != "file") {
                    let (cohort, variant_name) = (word(&cohort["name"]), word(&variant["name"]));
                    let (weight, source) = (weight(&variant["weight"]), word(&variant["source"]));
                    lines.push(format!("{name}/{cohort} {variant_name} {weight} ({source})"));
                }
            }
            for gate in each(&service["gates"]) {
                let (cohort, gate_name) = (word(&gate["cohort"]), word(&gate["name"]));
                lines.push(format!("{name}/{cohort} gate {gate_name}: {}", word(&gate["verdict"])));
            }
        }
        lines
    }

    fn of_service(&self, service: &Value, now: u64) -> String {
        let rollout = rollout_of(&self.rollouts, &service["name"]);
        let (name, phase) = (word(&service["name"]), word(&service["phase"]));
        let loaded = self.status["loadedUnixSeconds"].as_u64().unwrap_or(now);
        let rev = format!(
            "rev {}, {}loaded {} ago",
            word(&self.status["rev"]),
            self.file(),
            elapsed(now.saturating_sub(loaded))
        );
        let mut text = match (service["step"].as_u64(), rollout) {
            (Some(step), Some(rollout)) => {
                let (from, to) = (version(rollout, "from"), version(rollout, "to"));
                format!("{name}   {from} → {to}   {phase}   step {step}/{}   {rev}\n", service["steps"])
            }
            _ => format!("{name}   {phase}   {rev}\n"),
        };
        if let Some(why) = service["why"].as_str().filter(|why| !why.is_empty()) {
            text.push_str(&format!("       {}\n", crate::model::printable(why)));
        }
        if let Some(rollout) = rollout {
            for line in given(service, rollout) {
                text.push_str(&format!("       {line}\n"));
            }
            let rings: Vec<String> = each(&rollout["plan"]).map(ring).collect();
            text.push_str(&format!("       {}\n", rings.join("   ")));
        }
        text.push_str(&format!("\n{}", figures(service)));
        let gates = rollout.map(gates).filter(|gates| !gates.is_empty());
        gates.inspect(|gates| text.push_str(&format!("\n{}", gates.text())));
        rollout.into_iter().flat_map(why_unknown).for_each(|line| text.push_str(&format!("{line}\n")));
        text
    }

    /// `ringway.yaml, `, or how many files there are.
    fn file(&self) -> String {
        let names: Vec<String> = each(&self.files).map(word).collect();
        match names.as_slice() {
            [] => String::new(),
            [one] => {
                format!("{}, ", Path::new(one).file_name().map_or(one.as_str().into(), |name| name.to_string_lossy()))
            }
            several => format!("{} files, ", several.len()),
        }
    }
}

/// The version of a side, or the name of its variant.
fn version(rollout: &Value, side: &str) -> String {
    let version = &rollout[format!("{side}Version")];
    if version.is_string() { word(version) } else { word(&rollout[side]) }
}

/// Cohorts whose share is not the file's, the one of this step first: who asked for it, and what they get.
fn given(service: &Value, rollout: &Value) -> Vec<String> {
    let current = each(&rollout["plan"]).find(|step| step["state"] == "current").map(|step| &step["cohort"]);
    let mut lines = Vec::new();
    for cohort in each(&service["cohorts"]) {
        let Some(variant) = each(&cohort["variants"]).find(|variant| variant["name"] == rollout["to"]) else {
            continue;
        };
        let is_current = current == Some(&cohort["name"]);
        let source = word(&variant["source"]);
        // what earlier steps gave stands in the line of rings
        if !is_current && (source == "file" || source.starts_with("rollout step")) {
            continue;
        }
        let of_rollout = each(&rollout["cohorts"]).find(|of| of["name"] == cohort["name"]);
        let users = of_rollout.map_or_else(dash, |of| count(&of["users"]));
        let line = format!(
            "{}: {} {} ({source}), actual {}, {users} users so far",
            word(&cohort["name"]),
            word(&variant["name"]),
            weight(&variant["weight"]),
            share(&variant["share"], 1),
        );
        let at = if is_current { 0 } else { lines.len() };
        lines.insert(at, line);
    }
    lines
}

/// `✔ staff 100 %`, `▸ beta 10 %`, `• everyone 1→100 %`, `⏸ approve`.
fn ring(step: &Value) -> String {
    let is_approval = step["approve"].is_array();
    let mark = match step["state"].as_str() {
        Some("done") => "✔",
        Some("skipped") => "–",
        _ if is_approval => "⏸",
        Some("current") => "▸",
        _ => "•",
    };
    if is_approval {
        return format!("{mark} approve");
    }
    let cohort = word(&step["cohort"]);
    let ramp: Vec<f64> = each(&step["ramp"]).filter_map(Value::as_f64).collect();
    match (ramp.first(), ramp.last()) {
        (Some(first), Some(last)) => format!("{mark} {cohort} {first}→{last} %"),
        _ => format!("{mark} {cohort} {}", weight(&step["weight"])),
    }
}

/// Who gets what, and how it goes.
fn figures(service: &Value) -> String {
    let header = ["COHORT", "VARIANT", "SHARE", "RPS", "SUCCESS", "P50", "P95", "P99", "N", "WEIGHT"];
    let mut grid = Grid::new(&header, &[2, 3, 4, 5, 6, 7, 8]);
    for cohort in each(&service["cohorts"]) {
        for variant in each(&cohort["variants"]) {
            grid.row(row(cohort, variant));
        }
    }
    grid.text()
}

/// One row of the figures.
pub(in crate::cli) fn row(cohort: &Value, variant: &Value) -> [String; 10] {
    let (requests, errors) = (variant["requests"].as_f64(), variant["errors"].as_f64());
    let success = match (requests, errors) {
        (Some(requests), Some(errors)) if requests > 0.0 => {
            // only all of them is 100 %: no rounding up
            format!("{:.2} %", ((1.0 - errors / requests) * 10_000.0).floor() / 100.0)
        }
        _ => dash(),
    };
    [
        word(&cohort["name"]),
        word(&variant["name"]),
        share(&variant["share"], 1),
        format!("{:.1}", variant["rps"].as_f64().unwrap_or_default()),
        success,
        milliseconds(&variant["p50"]),
        milliseconds(&variant["p95"]),
        milliseconds(&variant["p99"]),
        count(&variant["requests"]),
        format!("{} ({})", weight(&variant["weight"]), word(&variant["source"])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen() -> Seen {
        let variant = |name: &str, weight: f64, source: &str, share: f64, requests: u64, errors: u64| {
            json!({ "name": name, "weight": weight, "source": source, "share": share, "rps": 91.0, "requests": requests,
                "errors": errors, "p50": 21.2, "p95": 64.0, "p99": 118.4 })
        };
        let step =
            |cohort: &str, weight: f64, state: &str| json!({ "cohort": cohort, "weight": weight, "state": state });
        Seen {
            status: json!({ "rev": "3f9c21", "loadedUnixSeconds": 1_000, "services": [{
                "name": "shop", "phase": "progressing", "why": "", "step": 2, "steps": 4,
                "cohorts": [{ "name": "beta", "variants": [
                    variant("stable", 90.0, "file", 0.899, 243_720, 170),
                    variant("canary", 10.0, "rollout step 2/4; the file says 0", 0.101, 27_301, 0),
                ] }],
                "gates": [{ "name": "errors", "cohort": "beta", "verdict": "pass" }],
            }] }),
            rollouts: json!([{
                "service": "shop", "from": "stable", "to": "canary", "fromVersion": "v41", "toVersion": "v42",
                "plan": [step("staff", 100.0, "done"), step("beta", 10.0, "current"),
                    { "approve": ["sre"], "state": "next" },
                    { "cohort": "everyone", "ramp": [1.0, 10.0, 100.0], "state": "next" }],
                "cohorts": [{ "name": "beta", "fileShare": 0.0, "users": 8_412 }],
                "gates": [{ "name": "errors", "cohort": "beta", "verdict": "pass", "evidence": 1.3, "needed": 20.0,
                    "stable": { "rate": 0.0007 }, "canary": { "rate": 0.0009 },
                    "difference": { "value": 0.0002, "low": -0.0002, "high": 0.0006 } }],
            }]),
            files: json!(["/etc/ringway/ringway.yaml"]),
        }
    }

    #[test]
    fn a_release_is_told_from_its_first_line_to_its_gates() {
        let text = seen().text(1_720);
        let expected = "\
shop   v41 → v42   progressing   step 2/4   rev 3f9c21, ringway.yaml, loaded 12m ago
       beta: canary 10 % (rollout step 2/4; the file says 0), actual 10.1 %, 8,412 users so far
       ✔ staff 100 %   ▸ beta 10 %   ⏸ approve   • everyone 1→100 %

COHORT   VARIANT    SHARE    RPS    SUCCESS    P50    P95     P99         N   WEIGHT
beta     stable    89.9 %   91.0    99.93 %   21ms   64ms   118ms   243,720   90 % (file)
beta     canary    10.1 %   91.0   100.00 %   21ms   64ms   118ms    27,301   10 % (rollout step 2/4; the file says 0)

GATE     STABLE   CANARY   DIFFERENCE (95 %)        EVIDENCE OF HARM   VERDICT
errors   0.07 %   0.09 %   +0.02pp [-0.02, +0.06]   ▏ 1.3 of 20        ✔ pass

";
        assert_eq!(text, expected, "{text}");
    }

    #[test]
    fn lines_tell_what_changes_and_no_figures() {
        let lines = seen().lines();
        assert_eq!(
            lines,
            [
                "shop progressing step 2/4 rev 3f9c21",
                "shop/beta canary 10 % (rollout step 2/4; the file says 0)",
                "shop/beta gate errors: pass"
            ]
        );
    }
}
